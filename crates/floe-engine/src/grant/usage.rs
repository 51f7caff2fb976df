//! What a ticket has brought in, as a file of the state directory: read, checked, written.
//!
//! Beside what is used it names what may be staged, and entries that were about to come to be when
//! it was written. Whoever reads it looks which of those stand: it is never less than the truth.

use super::quota::Load;
use data_encoding::HEXLOWER;
use floe_store::{OwnerId, StageKey};
use floe_types::{ByteCount, EntryCount, ObjectPath, Root, SourceVersion, Timestamp};
use serde::{Deserialize, Serialize};

/// What the file says.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    pub(super) used: Load,
    pub(super) staged: Vec<Staged>,
    pub(super) pending: Vec<Pending>,
}

/// A stage that may stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Staged {
    pub(super) stage: StageKey,
    /// What is set aside for it.
    pub(super) bytes: ByteCount,
    pub(super) extent: Extent,
}

/// Whether it is known how large an object becomes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Extent {
    /// It is, and set aside.
    Known,
    /// What is written is set aside.
    Growing,
}

/// An entry that is about to come to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pending {
    pub(super) path: ObjectPath,
    pub(super) what: What,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum What {
    Object { size: ByteCount, root: Root, stage: StageKey },
    Link,
    Directory,
}

impl Pending {
    /// The stage that it comes from.
    pub(super) fn stage(&self) -> Option<&StageKey> {
        match &self.what {
            What::Object { stage, .. } => Some(stage),
            What::Link | What::Directory => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    version: u32,
    bytes: u64,
    files: u32,
    staged: Vec<StagedLine>,
    pending: Vec<PendingLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StagedLine {
    stage: StageLine,
    bytes: u64,
    growing: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StageLine {
    /// In hexadecimal, here and below: names are bytes.
    path: String,
    owner: String,
    source: Option<SourceLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceLine {
    inode: u64,
    size: u64,
    mtime: (i64, u32),
    ctime: (i64, u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum PendingLine {
    Object { size: u64, root: String, stage: StageLine },
    Link { path: String },
    Directory { path: String },
}

impl Usage {
    /// Reads the bytes of the file.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(bytes: &[u8]) -> Result<Self, &'static str> {
        let whole: Whole = serde_json::from_slice(bytes).map_err(|_| "it is damaged")?;
        if whole.version != VERSION {
            return Err("it has another version");
        }
        let staged = whole.staged.into_iter().map(StagedLine::read);
        let pending = whole.pending.into_iter().map(PendingLine::read);
        Ok(Self {
            used: Load { bytes: ByteCount(whole.bytes), entries: EntryCount(whole.files) },
            staged: staged.collect::<Option<_>>().ok_or("it is damaged")?,
            pending: pending.collect::<Option<_>>().ok_or("it is damaged")?,
        })
    }

    /// The bytes of the file.
    #[must_use]
    pub fn format(&self) -> Vec<u8> {
        let whole = Whole {
            version: VERSION,
            bytes: self.used.bytes.0,
            files: self.used.entries.0,
            staged: self.staged.iter().map(StagedLine::of).collect(),
            pending: self.pending.iter().map(PendingLine::of).collect(),
        };
        let mut bytes = serde_json::to_vec(&whole).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

impl StagedLine {
    fn of(staged: &Staged) -> Self {
        let growing = staged.extent == Extent::Growing;
        Self { stage: StageLine::of(&staged.stage), bytes: staged.bytes.0, growing }
    }

    fn read(self) -> Option<Staged> {
        let extent = if self.growing { Extent::Growing } else { Extent::Known };
        Some(Staged { stage: self.stage.read()?, bytes: ByteCount(self.bytes), extent })
    }
}

impl StageLine {
    fn of(stage: &StageKey) -> Self {
        Self {
            path: text_of(&stage.path),
            owner: HEXLOWER.encode(&stage.owner.0),
            source: stage.version.map(|version| SourceLine {
                inode: version.inode,
                size: version.size.0,
                mtime: (version.mtime.secs(), version.mtime.nanos()),
                ctime: (version.ctime.secs(), version.ctime.nanos()),
            }),
        }
    }

    fn read(self) -> Option<StageKey> {
        let owner = OwnerId(bytes_of(&self.owner)?);
        let version = match self.source {
            None => None,
            Some(source) => Some(SourceVersion {
                inode: source.inode,
                size: ByteCount(source.size),
                mtime: Timestamp::new(source.mtime.0, source.mtime.1)?,
                ctime: Timestamp::new(source.ctime.0, source.ctime.1)?,
            }),
        };
        Some(StageKey { path: path_of(&self.path)?, owner, version })
    }
}

impl PendingLine {
    fn of(pending: &Pending) -> Self {
        match &pending.what {
            What::Object { size, root, stage } => Self::Object {
                size: size.0,
                root: HEXLOWER.encode(&root.0),
                stage: StageLine::of(stage),
            },
            What::Link => Self::Link { path: text_of(&pending.path) },
            What::Directory => Self::Directory { path: text_of(&pending.path) },
        }
    }

    fn read(self) -> Option<Pending> {
        Some(match self {
            Self::Object { size, root, stage } => {
                let (root, stage) = (Root(bytes_of(&root)?), stage.read()?);
                let what = What::Object { size: ByteCount(size), root, stage: stage.clone() };
                Pending { path: stage.path, what }
            }
            Self::Link { path } => Pending { path: path_of(&path)?, what: What::Link },
            Self::Directory { path } => Pending { path: path_of(&path)?, what: What::Directory },
        })
    }
}

fn text_of(path: &ObjectPath) -> String {
    HEXLOWER.encode(&path.to_bytes())
}

fn path_of(text: &str) -> Option<ObjectPath> {
    ObjectPath::parse(&HEXLOWER.decode(text.as_bytes()).ok()?).ok()
}

fn bytes_of<const LEN: usize>(text: &str) -> Option<[u8; LEN]> {
    HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok()
}

const VERSION: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_wrote_and_nothing_else() {
        let path = ObjectPath::parse(b"a/\xff").unwrap();
        let (mtime, ctime) = (Timestamp::new(-1, 5).unwrap(), Timestamp::new(9, 0).unwrap());
        let version = Some(SourceVersion { inode: 7, size: ByteCount(u64::MAX), mtime, ctime });
        let stage = StageKey { path: path.clone(), owner: OwnerId([1; 32]), version };
        let unversioned = StageKey { version: None, ..stage.clone() };
        let what = What::Object { size: ByteCount(7), root: Root([3; 32]), stage: stage.clone() };
        let usage = Usage {
            used: Load::of_entry(ByteCount(5)),
            staged: vec![
                Staged { stage, bytes: ByteCount(9), extent: Extent::Known },
                Staged { stage: unversioned, bytes: ByteCount(1), extent: Extent::Growing },
            ],
            pending: [what, What::Link, What::Directory]
                .map(|what| Pending { path: path.clone(), what })
                .into(),
        };
        let bytes = usage.format();
        assert_eq!(Usage::parse(&bytes), Ok(usage));
        let text = String::from_utf8(bytes).unwrap();
        for (from, to) in [
            ("\"version\":1", "\"version\":2"),
            ("\"root\"", "\"rot\""),
            ("0303", "03"),
            ("0303", "03030303"),
            ("link", "lynx"),
            ("{", "["),
        ] {
            assert!(Usage::parse(text.replacen(from, to, 1).as_bytes()).is_err(), "{to}");
        }
    }
}
