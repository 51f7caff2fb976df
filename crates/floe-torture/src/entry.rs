//! What stands at a name: as it was made, and as it is found.
//!
//! A file is read whole and hashed, from one open handle, so that what is seen is one version. What
//! was hashed once is not hashed again while nothing about the file has changed.

use crate::content::{Root, root_of};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat, fstat, open, readlinkat, statat};
use rustix::io::Errno;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::Path;

/// What stands at a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    /// A file.
    File {
        /// Its length.
        size: u64,
        /// The root of its bytes.
        root: Root,
        /// Mode and time.
        metadata: Metadata,
    },
    /// A directory.
    Directory(Metadata),
    /// A symbolic link with its text.
    Link(Vec<u8>),
    /// Something that floe never makes.
    Other,
}

/// Mode and time of last change; nothing where it is not known what they must be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Metadata {
    /// Permission bits; `None` where any will do.
    pub(crate) mode: Option<u32>,
    /// Seconds and nanoseconds; `None` where any time will do.
    pub(crate) mtime: Option<(i64, u64)>,
}

/// How much has to agree.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Compare {
    /// Kind and bytes.
    Bytes,
    /// Mode and time of files, too; but a mode that keeps its owner out may still let the owner in:
    /// it is set behind the rename, and before COMMITTED.
    Seen,
    /// Mode and time of files as they must be.
    Files,
    /// And of directories.
    All,
}

/// What tells one state of a file from another without reading it.
type Stamp = (u64, u64, i64, (i64, u64), (i64, u64));

/// The root of a file that was read once.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    stamp: Stamp,
    root: Root,
}

impl Entry {
    /// What stands at a path now; `None` where nothing does.
    pub(crate) fn look(path: &Path, known: &mut Option<Known>) -> io::Result<Option<Self>> {
        let stat = match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno.into()),
        };
        match stat.st_mode & KIND {
            DIRECTORY => Ok(Some(Self::Directory(metadata(&stat)))),
            LINK => match readlinkat(CWD, path, Vec::new()) {
                Ok(text) => Ok(Some(Self::Link(text.into_bytes()))),
                Err(Errno::INVAL | Errno::NOENT) => Self::look(path, known),
                Err(errno) => Err(errno.into()),
            },
            FILE => Self::look_at_file(path, known),
            _ => Ok(Some(Self::Other)),
        }
    }

    /// The version behind one open handle.
    fn look_at_file(path: &Path, known: &mut Option<Known>) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = match open(path, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            // Renamed over or away since it was looked at.
            Err(Errno::NOENT | Errno::LOOP) => return Self::look(path, known),
            Err(errno) => return Err(errno.into()),
        };
        let stat = fstat(&file)?;
        if stat.st_mode & KIND != FILE {
            return Self::look(path, known);
        }
        let root = match known {
            Some(known) if known.stamp == stamp(&stat) => known.root,
            _ => root_of(&file)?,
        };
        *known = Some(Known { stamp: stamp(&stat), root });
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        Ok(Some(Self::File { size, root, metadata: metadata(&stat) }))
    }

    /// The length of a file; else 0.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::File { size, .. } => *size,
            _ => 0,
        }
    }

    /// The same bytes with whatever mode and time.
    pub(crate) fn bare(&self) -> Self {
        match self {
            Self::File { size, root, .. } => {
                let metadata = Metadata { mode: None, mtime: None };
                Self::File { size: *size, root: *root, metadata }
            }
            other => other.clone(),
        }
    }

    /// Whether what is found is this.
    pub(crate) fn agrees(&self, found: &Self, compare: Compare) -> bool {
        match (self, found) {
            (
                Self::File { size, root, metadata },
                Self::File { size: found_size, root: found_root, metadata: found },
            ) => {
                let bytes = size == found_size && root == found_root;
                let lent = compare < Compare::Files && metadata.lent().agrees(found);
                bytes && (compare == Compare::Bytes || lent || metadata.agrees(found))
            }
            (Self::Directory(metadata), Self::Directory(found)) => {
                compare < Compare::All || metadata.agrees(found)
            }
            (Self::Link(text), Self::Link(found)) => text == found,
            _ => false,
        }
    }
}

impl Metadata {
    /// With what its owner needs.
    fn lent(self) -> Self {
        Self { mode: self.mode.map(|mode| mode | OWNER_OPENS), ..self }
    }

    fn agrees(&self, found: &Self) -> bool {
        let time = self.mtime.is_none() || self.mtime == found.mtime;
        time && (self.mode.is_none() || self.mode == found.mode)
    }
}

/// Mode and time of what stands at a path.
pub(crate) fn metadata_of(path: &Path) -> io::Result<Metadata> {
    Ok(metadata(&statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?))
}

/// Reading and writing by the owner.
const OWNER_OPENS: u32 = 0o600;
const KIND: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;
const LINK: u32 = 0o120_000;
const FILE: u32 = 0o100_000;

fn metadata(stat: &Stat) -> Metadata {
    let mtime = Some((stat.st_mtime, stat.st_mtime_nsec));
    Metadata { mode: Some(stat.st_mode & 0o777), mtime }
}

fn stamp(stat: &Stat) -> Stamp {
    let (mtime, ctime) = ((stat.st_mtime, stat.st_mtime_nsec), (stat.st_ctime, stat.st_ctime_nsec));
    (stat.st_dev, stat.st_ino, stat.st_size, mtime, ctime)
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { size, root, metadata } => {
                let digits = root.to_hex();
                write!(f, "file of {size} bytes, blake3 {}…, {metadata}", &digits[..12])
            }
            Self::Directory(metadata) => write!(f, "directory, {metadata}"),
            Self::Link(text) => write!(f, "link to \"{}\"", floe_types::Escaped(text)),
            Self::Other => f.write_str("neither file, directory nor link"),
        }
    }
}

impl fmt::Display for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mode {
            Some(mode) => write!(f, "mode {mode:o}")?,
            None => f.write_str("any mode")?,
        }
        match self.mtime {
            Some((seconds, nanos)) => write!(f, ", changed {seconds}.{nanos:09}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn seen(path: &Path) -> Option<Entry> {
        Entry::look(path, &mut None).unwrap()
    }

    #[test]
    fn every_difference_of_a_file_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert_eq!(seen(&path), None);
        fs::write(&path, b"abc").unwrap();
        let mut known = None;
        let before = Entry::look(&path, &mut known).unwrap().unwrap();
        assert!(before.agrees(&seen(&path).unwrap(), Compare::All));
        fs::write(&path, b"abd").unwrap();
        let after = Entry::look(&path, &mut known).unwrap().unwrap();
        assert!(!before.agrees(&after, Compare::Bytes), "{before} {after}");
        fs::write(&path, b"abc").unwrap();
        let time = std::time::SystemTime::UNIX_EPOCH;
        File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        let dated = Entry::look(&path, &mut known).unwrap().unwrap();
        assert!(before.agrees(&dated, Compare::Bytes) && !before.agrees(&dated, Compare::Files));
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        symlink("nowhere", dir.path().join("l")).unwrap();
        assert_eq!(seen(&dir.path().join("l")), Some(Entry::Link(b"nowhere".to_vec())));
        assert!(matches!(seen(dir.path()), Some(Entry::Directory(_))));
    }
}
