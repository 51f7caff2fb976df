//! What the files of a round hold: a function of a number, so that any of them can be told from
//! every other and from every mixture.

use crate::dice::Dice;
use std::fs::{self, File, FileTimes, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// One file of a tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planned {
    /// Where, beneath the top; empty where the top itself is the file.
    pub path: PathBuf,
    /// How many bytes.
    pub len: usize,
    /// What bytes.
    pub number: u64,
    /// The permission bits.
    pub mode: u32,
    /// Whole seconds since 1970 of its last change.
    pub mtime: u64,
}

/// What stands at a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// Nothing.
    Nothing,
    /// The planned file, whole, with its mode and time.
    Whole,
    /// The bytes of it, with another mode or time.
    OtherAttributes,
    /// Anything else.
    Other,
}

/// How much is transferred.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shape {
    /// One file of so many bytes at most, of any size below.
    File(usize),
    /// A tree of small files.
    Tree,
}

const MTIME_FIRST: u64 = 1_600_000_000;

/// The files of a shape; `number` tells versions apart.
pub fn plan(shape: Shape, dice: &mut Dice) -> Vec<Planned> {
    let file = |path: &str, len: usize, dice: &mut Dice| Planned {
        path: path.into(),
        len,
        number: dice.bits(),
        mode: dice.of([0o600, 0o640, 0o644, 0o755]),
        mtime: MTIME_FIRST + dice.below(100_000_000),
    };
    match shape {
        Shape::File(max) => vec![file("", len(max, dice), dice)],
        Shape::Tree => {
            let count = 1 + dice.below(40);
            let mut files = Vec::new();
            for nth in 0..count {
                let directory = dice.of(["", "a/", "a/b/", "c/d/e/"]);
                let len = len(if dice.happens(2) { 3 << 20 } else { 64 << 10 }, dice);
                files.push(file(&format!("{directory}f{nth}"), len, dice));
            }
            files
        }
    }
}

/// A length of any order of magnitude, and often one about a border.
fn len(max: usize, dice: &mut Dice) -> usize {
    const BORDERS: [usize; 8] = [0, 1, 4096, 65_536, 65_537, 262_144, 1 << 20, (1 << 20) + 1];
    if dice.happens(4) {
        return dice.of(BORDERS).min(max);
    }
    let bits = dice.below(u64::from(usize::BITS - max.leading_zeros()) + 1);
    dice.count_below(1 << bits).min(max)
}

impl Planned {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut dice = Dice::new(self.number);
        let mut bytes = Vec::with_capacity(self.len + 8);
        while bytes.len() < self.len {
            bytes.extend_from_slice(&dice.bits().to_le_bytes());
        }
        bytes.truncate(self.len);
        bytes
    }

    /// Where it is, beneath a top.
    #[must_use]
    pub fn beneath(&self, top: &Path) -> PathBuf {
        if self.path.as_os_str().is_empty() { top.to_owned() } else { top.join(&self.path) }
    }

    /// Writes it beneath a top and makes it durable, with every directory above it up to `root`.
    ///
    /// # Errors
    /// The system's.
    pub fn write(&self, top: &Path, root: &Path) -> io::Result<()> {
        let path = self.beneath(top);
        let parent = path.parent().unwrap_or(root);
        fs::create_dir_all(parent)?;
        let mut file = File::create(&path)?;
        file.write_all(&self.bytes())?;
        file.set_permissions(Permissions::from_mode(self.mode))?;
        let mtime = SystemTime::UNIX_EPOCH + Duration::from_secs(self.mtime);
        file.set_times(FileTimes::new().set_modified(mtime))?;
        file.sync_all()?;
        for directory in parent.ancestors().take_while(|one| one.starts_with(root)) {
            File::open(directory)?.sync_all()?;
        }
        Ok(())
    }

    /// Directories of the tree that it is in, from its own one up to the top.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.path.ancestors().skip(1)
    }

    /// What stands where it belongs.
    ///
    /// # Errors
    /// The system's.
    pub fn look(&self, top: &Path) -> io::Result<Standing> {
        let path = self.beneath(top);
        let found = match fs::symlink_metadata(&path) {
            Err(error) if is_absent(&error) => return Ok(Standing::Nothing),
            answer => answer?,
        };
        if !found.is_file() || fs::read(&path)? != self.bytes() {
            return Ok(Standing::Other);
        }
        let same = found.mode() & 0o7777 == self.mode
            && u64::try_from(found.mtime()).is_ok_and(|mtime| mtime == self.mtime);
        Ok(if same { Standing::Whole } else { Standing::OtherAttributes })
    }
}

/// Whether a directory has mode and mtime of another one.
///
/// # Errors
/// The system's.
pub fn is_like(directory: &Path, other: &Path) -> io::Result<bool> {
    let seen = |path: &Path| {
        let found = fs::symlink_metadata(path)?;
        Ok::<_, io::Error>((found.mode(), found.mtime(), found.mtime_nsec()))
    };
    Ok(seen(directory)? == seen(other)?)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}
