//! What an entry is: kind, metadata, and the source version that says whether it is still the same
//! bytes.

use crate::number::{ByteCount, Micros};

/// What stands at a path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EntryKind {
    /// A named sequence of bytes.
    File,
    /// A directory, on the way in.
    Directory,
    /// A symbolic link; its text is kept as it is.
    Link,
}

/// Permission bits: never more than 0o777.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Mode(u16);

impl Mode {
    /// No bits.
    pub const NONE: Self = Self(0);

    /// The permission bits of a mode word; all others are dropped.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self((bits & 0o777) as u16)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }
}

/// A point in civil time: seconds since 1970 and nanoseconds of that second (always below 10^9).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp {
    secs: i64,
    nanos: u32,
}

impl Timestamp {
    /// The point, if `nanos` is below 10^9.
    #[must_use]
    pub const fn new(secs: i64, nanos: u32) -> Option<Self> {
        if nanos < 1_000_000_000 { Some(Self { secs, nanos }) } else { None }
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub const fn secs(self) -> i64 {
        self.secs
    }

    /// Nanoseconds of that second.
    #[must_use]
    pub const fn nanos(self) -> u32 {
        self.nanos
    }
}

/// What is kept of an entry beside its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Metadata {
    /// Permission bits.
    pub mode: Mode,
    /// Time of last change.
    pub mtime: Timestamp,
}

/// A source's version (docs/crash-contract.md, promise 5): never the device number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SourceVersion {
    /// Inode number.
    pub inode: u64,
    /// Size when asked.
    pub size: ByteCount,
    /// Time of last change of the bytes.
    pub mtime: Timestamp,
    /// Time of last change of the inode.
    pub ctime: Timestamp,
}

impl SourceVersion {
    /// Whether this was seen while the source was being changed from `before`: it has another size
    /// and the times of then. A truncation shows the new size before it shows new times.
    #[must_use]
    pub fn is_amid_change_from(&self, before: &Self) -> bool {
        self.size != before.size && Self { size: before.size, ..*self } == *before
    }
}

/// Whether a version can be trusted to name one content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Freshness {
    /// Its ctime was at least 2 s before the open: another change would show another stamp.
    Settled,
    /// Its ctime was less than 2 s before the open, or in the future: another change may share the
    /// stamp.
    Fresh,
}

/// How fast a disk is where it has nothing else to do.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DiskSpeed {
    /// Bytes a second that are written and made durable.
    pub write: ByteCount,
    /// Bytes a second that are read; what memory holds as far as it could not be made to forget.
    pub read: ByteCount,
    /// How long a few bytes take to be durable.
    pub sync: Micros,
    /// Bytes a second that a processor copies into memory, as a write does before any sync.
    pub copied_in: ByteCount,
    /// Bytes a second that it copies out of memory, as a read does of what is there.
    pub copied_out: ByteCount,
}

/// What must hold of the final name when an object is committed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Precondition {
    /// Nothing: an old version is replaced.
    #[default]
    None,
    /// Nothing may stand there (`--no-clobber`).
    Absent,
}
