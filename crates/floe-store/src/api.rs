//! The contract of a store: what the engine may ask, and what an answer promises.
//!
//! Everything is synchronous and may block on a disk; the engine calls from its disk threads. Every
//! method may be called from several threads at once. Errors are `Fault`s whose detail names
//! operation and path, escaped. A conformance suite (`conformance`) holds every implementation to
//! this page.

use floe_types::{
    ByteCount, ChunkDigest, Code, Component, DiskSpeed, EntryKind, Fault, Freshness, Metadata,
    ObjectPath, Offset, Precondition, Range, Root, SourceVersion, Subtree,
};
use std::any::Any;
use std::sync::Arc;

/// What a store answers.
pub type Result<T> = std::result::Result<T, Fault>;

/// Told by a long operation how far it is: bytes done, bytes in all. Called at least once a second.
pub type Progress<'a> = &'a (dyn Fn(ByteCount, ByteCount) + Sync);

/// Bytes that are read.
pub trait Source: Send + Sync {
    /// The version now, from the open handle; `None` where there is none (a pipe).
    ///
    /// # Errors
    /// The system's.
    fn version(&self) -> Result<Option<SourceVersion>>;

    /// Reads at `at` until `into` is full or the object ends; the count is short only at the end,
    /// and 0 past it.
    ///
    /// # Errors
    /// The system's. A source that cannot be read twice refuses any `at` but the next.
    fn read_at(&self, at: Offset, into: &mut [u8]) -> Result<usize>;

    /// As `read_at` if it can be done without waiting for a device (page cache); `None` if it
    /// cannot.
    ///
    /// # Errors
    /// As `read_at`.
    fn read_cached(&self, at: Offset, into: &mut [u8]) -> Result<Option<usize>>;

    /// Ranges that hold nothing and read as zeros, ascending: each starts at a multiple of the
    /// smallest chunk, and ends at one or with the object. At most `Limits::HOLES_MAX`, the
    /// longest. A hint: what is a hole may be written at any time, and what is left out be one.
    /// Empty where that cannot be told.
    fn holes(&self) -> Vec<Range> {
        Vec::new()
    }

    /// What stands in a range now.
    ///
    /// # Errors
    /// The system's.
    fn standing_in(&self, _range: Range) -> Result<Stands> {
        Ok(Stands::Bytes)
    }
}

/// What a range of a source holds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Stands {
    /// Nothing: it reads as zeros.
    Hole,
    /// Bytes, as far as can be told.
    Bytes,
}

/// One object being staged. Dropping the last handle keeps what is staged and gives up its
/// ownership.
pub trait Sink: Any + Send + Sync {
    /// Writes bytes of a chunk that is not recorded. Nothing vouches for them until `record`.
    ///
    /// # Errors
    /// The system's; `NoSpace` where the disk is full.
    fn write_at(&self, at: Offset, bytes: &[u8]) -> Result<()>;

    /// Makes a chunk that is not recorded read as zeros, whatever was written there before, without
    /// space where the disk can do so. Nothing vouches for them until `record`.
    ///
    /// # Errors
    /// As `write_at`.
    fn write_hole(&self, chunk: Range) -> Result<()>;

    /// Records that all bytes of `chunk` are written and have this digest. Not durable before
    /// `checkpoint`. Survives a kill of the process at any instant after it returned.
    ///
    /// # Errors
    /// The system's.
    fn record(&self, chunk: Range, digest: &ChunkDigest) -> Result<()>;

    /// Takes back what was recorded in `range`: those bytes will be written again.
    ///
    /// # Errors
    /// The system's.
    fn forget(&self, range: Range) -> Result<()>;

    /// Makes everything recorded so far durable: data, then journal (and, the first time, their
    /// names).
    ///
    /// # Errors
    /// The system's. After a failed sync nothing since the last good checkpoint counts as recorded.
    fn checkpoint(&self) -> Result<()>;

    /// Whether the object has had its final name, though its commit may have failed after that.
    fn has_final_name(&self) -> bool;
}

/// Whether a link at the end of a source path is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follow {
    /// It is (a SRC that a person named).
    Yes,
    /// It is not (everything in a tree).
    No,
}

/// An entry opened to be read.
pub enum OpenedEntry {
    /// A file.
    File {
        /// Its bytes.
        source: Arc<dyn Source>,
        /// Its version at open.
        version: Option<SourceVersion>,
        /// Whether that version can be trusted.
        freshness: Freshness,
        /// Its metadata.
        metadata: Metadata,
    },
    /// A directory.
    Directory {
        /// Its metadata.
        metadata: Metadata,
    },
    /// A symbolic link.
    Link {
        /// Its text.
        target: Vec<u8>,
        /// Its metadata.
        metadata: Metadata,
    },
}

/// Who stages: a digest over ticket, client id and direction. Part of a stage's key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OwnerId(pub [u8; 32]);

/// What to do with an earlier stage of the same key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Resume {
    /// Continue it.
    Continue,
    /// Discard it first (`--no-resume`).
    Discard,
}

/// How a finished object is recognised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recognise {
    /// By its xattr: it must match its own size and mtime, and name the sender's version.
    ByVersion,
    /// Also by hashing what stands there, if its size is the same (`--checksum`).
    ByContent,
}

/// Whether a stage keeps a journal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Journaling {
    /// Chunks are recorded and can be resumed.
    Journal,
    /// An object of one chunk: staged, committed or sent again.
    None,
}

/// What is to be staged.
#[derive(Clone, Debug)]
pub struct SinkSpec {
    /// The final path.
    pub path: ObjectPath,
    /// Who stages.
    pub owner: OwnerId,
    /// Its size, if the sender knows.
    pub size: Option<ByteCount>,
    /// How much of it takes no space, as the sender says: a hint for what to set aside.
    pub holes: ByteCount,
    /// The sender's version of its source, if it has one.
    pub version: Option<SourceVersion>,
    /// Whether that version can be trusted.
    pub freshness: Freshness,
    /// Mode and mtime that the object gets.
    pub metadata: Metadata,
    /// What must hold of the final name; checked at open (early) and at commit (for sure). An
    /// object that was committed of this very version, and is as it was then, is finished whatever
    /// must hold: whoever repeats a commit may not have heard of it.
    pub precondition: Precondition,
    /// What to do with an earlier stage.
    pub resume: Resume,
    /// How a finished object is recognised.
    pub recognise: Recognise,
    /// Whether to keep a journal.
    pub journaling: Journaling,
}

impl SinkSpec {
    /// The stage that it asks for.
    #[must_use]
    pub fn key(&self) -> StageKey {
        StageKey { path: self.path.clone(), owner: self.owner, version: self.version }
    }
}

/// What makes a stage: different versions to one path are staged apart, and the last one committed
/// stands.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct StageKey {
    /// The final path.
    pub path: ObjectPath,
    /// Who stages.
    pub owner: OwnerId,
    /// The source's version, if it has one.
    pub version: Option<SourceVersion>,
}

/// What the receiver's subtrees rest on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Basis {
    /// The very version the sender named, and not a fresh one: the sender may trust them.
    Version,
    /// Another version, a fresh one, or none: the sender reads and hashes again before it trusts
    /// them.
    Content,
}

/// A sink, or why none is needed.
pub enum OpenedSink {
    /// Staged: continue with what is missing.
    Staged {
        /// The stage.
        sink: Arc<dyn Sink>,
        /// The complete subtrees it holds, ascending, not overlapping. With `Basis::Content` they
        /// are chunk by chunk.
        have: Vec<Subtree>,
        /// What they rest on.
        basis: Basis,
    },
    /// The object stands there whole, with this root.
    Finished {
        /// Its root.
        root: Root,
        /// What that rests on: `Version`, nothing need be sent; `Content`, the sender compares
        /// roots.
        basis: Basis,
        /// To be used if the sender's root differs: a stage as from `Staged`, with nothing in it.
        sink: Arc<dyn Sink>,
    },
}

/// One entry to be made visible.
pub enum Commit {
    /// A staged object.
    Object {
        /// Its stage; the store knows it from `open_sink`.
        sink: Arc<dyn Sink>,
        /// Its size.
        size: ByteCount,
        /// Its verified root.
        root: Root,
    },
    /// A symbolic link.
    Link {
        /// Its final path.
        path: ObjectPath,
        /// Its text.
        target: Vec<u8>,
        /// Its metadata (only the mtime is applied).
        metadata: Metadata,
        /// What must hold of the final name.
        precondition: Precondition,
    },
    /// A directory whose entries are all finished: its mode and mtime are applied.
    Directory {
        /// Its path.
        path: ObjectPath,
        /// Its metadata.
        metadata: Metadata,
    },
}

/// Whether a directory was there before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Begun {
    /// It was made, now or by a transfer that has not committed it.
    Made,
    /// It stood there.
    Stood,
}

/// Whether something below goes too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Only the entry itself.
    Single,
    /// Everything beneath it as well.
    Recursive,
}

/// Whether a name that stands in the way is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Overwrite {
    /// It is.
    Allowed,
    /// It is not.
    Refused,
}

/// Where a root may come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootWanted {
    /// Only from the xattr.
    IfKnown,
    /// Computed if need be (`--hash`).
    Computed,
}

/// What stands at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stat {
    /// Its kind.
    pub kind: EntryKind,
    /// Its size in bytes (0 for a directory; the length of a link's text).
    pub size: ByteCount,
    /// Its metadata.
    pub metadata: Metadata,
    /// A link's text.
    pub target: Option<Vec<u8>>,
    /// A file's root, if known or asked for.
    pub root: Option<Root>,
}

/// A place in a directory, opaque but for the store that gave it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Cursor(pub Vec<u8>);

/// How much a page says of each name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// Names only, for a walk.
    Names,
    /// A `Stat` each (root only if known), for a listing.
    Stats,
}

/// One name of a page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The name.
    pub name: Component,
    /// What stands there, with `Detail::Stats`; `None` also where it vanished or is a device,
    /// socket or FIFO.
    pub stat: Option<Stat>,
}

/// One page of a directory, its names sorted by bytes. Names no path may have are left out of
/// them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The names.
    pub names: Vec<Listed>,
    /// Where the next page starts; `None` at the end.
    pub next: Option<Cursor>,
    /// Names that no path may have: `.floe`.
    pub passed_over: Vec<Vec<u8>>,
}

/// Whether whoever asked for something still wants it.
pub type Wanted<'a> = &'a dyn Fn() -> bool;

/// Where objects rest.
pub trait Store: Send + Sync {
    /// Opens an entry to be read.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, `NotRegular` for devices, sockets and FIFOs (never hangs on
    /// one), the system's.
    fn open(&self, path: &ObjectPath, follow: Follow) -> Result<OpenedEntry>;

    /// One page of a directory.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `PermissionDenied`, the system's.
    fn list(
        &self,
        path: &ObjectPath,
        after: Option<&Cursor>,
        max: usize,
        detail: Detail,
    ) -> Result<Page>;

    /// Creates or resumes the stage of an object, or recognises it as finished. Makes missing
    /// parents of the path.
    ///
    /// # Errors
    /// `IsDirectory`, `NotDirectory`, `Exists` (precondition), `AlreadyRunning` where another
    /// process owns the stage, `NoSpace`, `ReadOnly`, `PermissionDenied`, the system's.
    fn open_sink(&self, spec: SinkSpec, progress: Progress<'_>) -> Result<OpenedSink>;

    /// Makes a directory, and missing parents, if it is not there yet; not durable before its
    /// `Commit::Directory`. One that stands is made writable for its owner until then, unless the
    /// precondition is that nothing stands: then nothing of it is changed, and its name is durable.
    /// What a process made that died before that commit still counts as made.
    ///
    /// # Errors
    /// `NotDirectory`, `NoSpace`, `ReadOnly`, `PermissionDenied`, the system's.
    fn begin_directory(&self, path: &ObjectPath, precondition: Precondition) -> Result<Begun>;

    /// One that was made writable, and is not committed, gets back the mode it had.
    fn leave_directory(&self, path: &ObjectPath);

    /// Makes each entry visible, whole and durable; answers in order. One that fails does not hold
    /// others up. A stage that failed to commit is kept unless its precondition failed. `Conflict`
    /// where what stood there was changed meanwhile; one that another commit replaced came first.
    fn commit(&self, batch: Vec<Commit>) -> Vec<Result<()>> {
        self.commit_while(batch, &|| true)
    }

    /// As `commit`. What has no final name once nobody wants it is `Interrupted`: it may be older
    /// than what another session has committed meanwhile.
    fn commit_while(&self, batch: Vec<Commit>, wanted: Wanted<'_>) -> Vec<Result<()>>;

    /// Removes a stage and its journal. No other operation of it may be under way.
    ///
    /// # Errors
    /// The system's.
    fn discard(&self, sink: Arc<dyn Sink>) -> Result<()>;

    /// How far a stage with a journal is written, whoever owns it; `None` where there is none. May
    /// be out of date at once where somebody owns it.
    ///
    /// # Errors
    /// The system's.
    fn staged(&self, stage: &StageKey) -> Result<Option<ByteCount>>;

    /// What stands at a path; the last component is not followed.
    ///
    /// # Errors
    /// `NotFound`, `PermissionDenied`, the system's.
    fn stat(&self, path: &ObjectPath, root: RootWanted, progress: Progress<'_>) -> Result<Stat>;

    /// Removes an entry; a directory, empty or not, only with `Depth::Recursive`, depth first.
    /// Durable when it returns.
    ///
    /// # Errors
    /// `NotFound`, `IsDirectory` (a directory with `Depth::Single`), `NotEmpty` (what is removed
    /// is filled again as fast), `Interrupted` once nobody wants it, `Usage` for the root, the
    /// system's.
    fn remove(&self, path: &ObjectPath, depth: Depth, wanted: Wanted<'_>) -> Result<()>;

    /// Renames an entry; missing parents of `to` are not made. Durable when it returns.
    ///
    /// # Errors
    /// `NotFound`, `Exists`, `IsDirectory`, `NotDirectory`, `NotEmpty`, the system's.
    fn rename(&self, from: &ObjectPath, to: &ObjectPath, overwrite: Overwrite) -> Result<()>;

    /// Makes a directory, with missing parents; one that stands there already is no error. Durable
    /// when it returns.
    ///
    /// # Errors
    /// `NotDirectory`, the system's.
    fn make_dir(&self, path: &ObjectPath) -> Result<()>;

    /// Measures the disk of a directory, or of the nearest one above that stands: for some seconds,
    /// and one at a time. Leaves nothing.
    ///
    /// # Errors
    /// `Unsupported` where that cannot be done; `Busy`, `NoSpace`, the system's.
    fn measure(&self, path: &ObjectPath, _progress: Progress<'_>) -> Result<DiskSpeed> {
        Err(Fault::new(Code::Unsupported, format!("measure the disk of {path:?}")))
    }
}
