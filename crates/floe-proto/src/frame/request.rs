//! Requests beside any transfer, and their answers.

use alloc::vec::Vec;
use floe_types::{
    ByteCount, Component, DiskSpeed, EntryCount, EntryKind, Metadata, ObjectPath, Root,
};

/// A request beside any transfer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    /// One page of a directory.
    List {
        /// Which.
        path: ObjectPath,
        /// Where the page starts; `None` at the start.
        after: Option<Vec<u8>>,
        /// At most so many names.
        max: EntryCount,
    },
    /// What stands at a path.
    Stat {
        /// Which.
        path: ObjectPath,
        /// Whether to compute an unknown root.
        root: RootWish,
    },
    /// Remove an entry.
    Remove {
        /// Which.
        path: ObjectPath,
        /// Whether with all beneath it.
        recursive: Recursive,
    },
    /// Rename an entry.
    Rename {
        /// From.
        from: ObjectPath,
        /// To.
        to: ObjectPath,
        /// Whether what stands there is replaced.
        replace: Replace,
    },
    /// Make a directory and missing parents.
    MakeDirectory {
        /// Which.
        path: ObjectPath,
    },
    /// Measure the server itself, and the disk of a directory.
    Measure {
        /// Which.
        path: ObjectPath,
    },
}

/// Whether to compute an unknown root.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RootWish {
    /// Only what is known.
    IfKnown,
    /// Compute it.
    Computed,
}

/// Whether a directory goes with all beneath it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Recursive {
    /// It does.
    Yes,
    /// Only the entry itself.
    No,
}

/// Whether what stands at the new name is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Replace {
    /// It is.
    Allowed,
    /// It is not.
    Refused,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reply {
    /// To REMOVE, RENAME, MKDIR: it is done and durable.
    Done,
    /// To STAT.
    Stat(Stat),
    /// To LIST.
    Page {
        /// Names and what stands there, sorted by bytes within the page.
        names: Vec<(Component, Option<Stat>)>,
        /// Where the next page starts; `None` at the end.
        next: Option<Vec<u8>>,
    },
    /// To MEASURE.
    Measured(Speeds),
}

/// How fast a machine is where each of its stages has it for itself: bytes a second.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Speeds {
    /// Its disk.
    pub disk: DiskSpeed,
    /// One core that hashes.
    pub hash: ByteCount,
    /// One core that encrypts.
    pub cipher: ByteCount,
}

impl Reply {
    /// The same without what objects' roots tell of their bytes.
    #[must_use]
    pub fn without_roots(mut self) -> Self {
        match &mut self {
            Self::Done | Self::Measured(_) => {}
            Self::Stat(stat) => stat.root = None,
            Self::Page { names, .. } => {
                for stat in names.iter_mut().filter_map(|(_, stat)| stat.as_mut()) {
                    stat.root = None;
                }
            }
        }
        self
    }
}

/// What stands at a path.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Stat {
    /// Its kind.
    pub kind: EntryKind,
    /// Its size.
    pub size: ByteCount,
    /// Its metadata.
    pub metadata: Metadata,
    /// A link's text.
    pub target: Option<Vec<u8>>,
    /// A file's root, if known.
    pub root: Option<Root>,
}
