//! The disk is outside the core, exactly as the network is: operations out, completions in.
//!
//! Every operation ends exactly once, also after its stream or transfer is gone; none is ever
//! cancelled. COMMIT and DISCARD of an entry are issued only when no other operation of it is under
//! way.

use crate::frame::{
    Basis, EntryBody, Receipt, ReceiptWish, RecogniseWish, Reply, Request, ResumeWish,
};
use alloc::vec::Vec;
use floe_types::{
    ByteCount, ChunkDigest, Component, EntryId, Fault, Freshness, Metadata, Micros, ObjectPath,
    Offset, Precondition, Range, Root, SourceVersion, StreamId, Subtree,
};

/// Where an operation runs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Lane {
    /// Beside that stream's socket; the operations of one stream are submitted in order.
    Stream(StreamId),
    /// Any disk thread.
    Session,
}

/// How long an operation waited and worked, as the engine measured it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Took {
    /// From submission to start.
    pub queued: Micros,
    /// From start to end.
    pub busy: Micros,
    /// Whether its thread waited for anything but a core meanwhile.
    pub waited: Waited,
}

/// Whether a thread waited for anything but a core: for a device, a lock, another program.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Waited {
    /// It did, or nobody knows.
    #[default]
    Yes,
    /// It did not: however long it took, it was the processor's time.
    No,
}

/// Whether a piece ends its chunk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ends {
    /// More pieces of the chunk follow on this stream.
    More,
    /// The last: the completion carries the chunk's digest.
    Chunk,
}

/// What is done with the bytes of a read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Keep {
    /// They are handed to the core, to be sent.
    Bytes,
    /// Only their hash is wanted.
    Digest,
}

/// How an entry is opened.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum OpenHow {
    /// To be sent; `Named`: a link is followed (only the root of a put).
    Source(Followed),
    /// To be received.
    Sink(SinkWish),
    /// So many bytes that are nobody's, made where they are read; no path is looked at.
    ProbeSource(ByteCount),
    /// What is written goes nowhere; no path is looked at.
    ProbeSink,
    /// A directory to be received into: made if missing. With `Absent`, nothing of one that stands
    /// is changed.
    Directory(Precondition),
}

/// Whether a link is followed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Followed {
    /// A person named it: it is.
    Named,
    /// It was found in a tree: it is not.
    Found,
}

/// How a file is to be staged.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SinkWish {
    /// Its size, if known.
    pub size: Option<ByteCount>,
    /// How much of it is to be holes: a hint.
    pub holes: ByteCount,
    /// The sender's version, if it has one.
    pub version: Option<SourceVersion>,
    /// Whether that can be trusted.
    pub freshness: Freshness,
    /// Mode and mtime it gets.
    pub metadata: Metadata,
    /// What must hold of the final name.
    pub precondition: Precondition,
    /// What to do with an earlier stage.
    pub resume: ResumeWish,
    /// How a finished object is recognised.
    pub recognise: RecogniseWish,
    /// Whether chunks are recorded in a journal.
    pub journal: Journal,
}

/// Whether chunks are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Journal {
    /// They are.
    Kept,
    /// An object of one chunk: committed, or sent again.
    None,
}

/// An operation. Paths are whole: the transfer's base and the entry's own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DiskOp<P> {
    /// Open an entry.
    Open {
        /// Which.
        entry: EntryId,
        /// Where.
        path: ObjectPath,
        /// To do what.
        how: OpenHow,
    },
    /// One page of names of a directory that is sent.
    List {
        /// The directory's entry.
        entry: EntryId,
        /// Where.
        path: ObjectPath,
        /// Where the page starts.
        after: Option<Vec<u8>>,
        /// At most so many names.
        max: u32,
    },
    /// Read and hash a piece. The engine hashes the pieces of a chunk in order, from `chunk`.
    Read {
        /// Which.
        entry: EntryId,
        /// Where its chunk starts.
        chunk: Offset,
        /// What to read; less is returned only at the object's end.
        piece: Range,
        /// Whether it ends its chunk.
        ends: Ends,
        /// What becomes of the bytes.
        keep: Keep,
    },
    /// Whether a chunk is still a hole of the source, and then its digest.
    ReadHole {
        /// Which.
        entry: EntryId,
        /// What.
        chunk: Range,
    },
    /// The source's version now.
    Check {
        /// Which.
        entry: EntryId,
    },
    /// Hash and write a piece; the very bytes that are hashed are written.
    Write {
        /// Which.
        entry: EntryId,
        /// Where its chunk starts.
        chunk: Offset,
        /// Where in the object.
        piece: Range,
        /// Whether it ends its chunk.
        ends: Ends,
        /// The bytes.
        bytes: P,
    },
    /// The chunk whose last piece was not marked as last (its length became known with SEAL) ends
    /// here.
    Finish {
        /// Which.
        entry: EntryId,
        /// Where the chunk starts.
        chunk: Offset,
    },
    /// Make a chunk read as zeros, and hash it as such.
    WriteHole {
        /// Which.
        entry: EntryId,
        /// What.
        chunk: Range,
    },
    /// Append to the journal, no sync.
    Record {
        /// Which.
        entry: EntryId,
        /// What.
        chunk: Range,
        /// Its digest.
        digest: ChunkDigest,
    },
    /// Take recorded chunks back.
    Forget {
        /// Which.
        entry: EntryId,
        /// What.
        range: Range,
    },
    /// Make what is recorded durable.
    Checkpoint {
        /// Which.
        entry: EntryId,
    },
    /// Make entries visible, whole and durable.
    Commit {
        /// Which, and how.
        batch: Vec<CommitOp>,
        /// Whether its objects are signed for, then answered `Signed`.
        receipts: ReceiptWish,
    },
    /// Remove a stage.
    Discard {
        /// Which.
        entry: EntryId,
    },
    /// The receiver recorded this chunk of a source that cannot be read twice: its bytes are not
    /// needed again, only its digest, should another session go on with the source.
    Spend {
        /// Which.
        entry: EntryId,
        /// What.
        chunk: Range,
        /// Its digest.
        digest: ChunkDigest,
    },
    /// The entry's handle is not needed any more; what is staged stays.
    Release {
        /// Which.
        entry: EntryId,
    },
    /// Do a request.
    Apply {
        /// Which.
        request: Request,
    },
}

/// One entry to be made visible.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CommitOp {
    /// Which.
    pub entry: EntryId,
    /// Where.
    pub path: ObjectPath,
    /// What it is.
    pub what: CommitWhat,
}

/// What is made visible.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum CommitWhat {
    /// The entry's stage.
    Object {
        /// Its size.
        size: ByteCount,
        /// Its verified root.
        root: Root,
    },
    /// A link.
    Link {
        /// Its text.
        target: Vec<u8>,
        /// Its metadata.
        metadata: Metadata,
        /// What must hold of the final name.
        precondition: Precondition,
    },
    /// A directory's metadata.
    Directory {
        /// Its metadata.
        metadata: Metadata,
    },
}

/// What became of an operation.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum DiskDone<P> {
    /// `Open`.
    Opened(Opened),
    /// `List`.
    Listed {
        /// Names sorted by bytes.
        names: Vec<Component>,
        /// Where the next page starts.
        next: Option<Vec<u8>>,
        /// Names that no path may have, each as a fault that says so.
        passed_over: Vec<Fault>,
    },
    /// `Read`. `bytes` is `None` at the object's end and with `Keep::Digest`.
    Read {
        /// The bytes.
        bytes: Option<P>,
        /// How many; short only at the object's end.
        len: ByteCount,
        /// The chunk's digest, at its end or the object's, unless the chunk is empty.
        digest: Option<ChunkDigest>,
    },
    /// `ReadHole`: the chunk's digest; nothing where bytes stand there now.
    Hole {
        /// The chunk's digest.
        digest: Option<ChunkDigest>,
    },
    /// `Check`: the version now.
    Checked(Option<SourceVersion>),
    /// `Write`, `Finish`, `WriteHole`: the chunk's digest at its end.
    Wrote {
        /// The chunk's digest, at its end.
        digest: Option<ChunkDigest>,
    },
    /// `Record`.
    Recorded,
    /// `Forget`.
    Forgotten,
    /// `Checkpoint`.
    Checkpointed,
    /// `Commit`: for each, in order.
    Committed(Vec<Result<(), Fault>>),
    /// `Commit`: as `Committed`, and the objects that are committed are signed for.
    Signed(Vec<Result<(), Fault>>, Receipt),
    /// `Discard`.
    Discarded,
    /// `Spend`.
    Spent,
    /// `Release`.
    Released,
    /// `Apply`.
    Applied(Reply),
    /// A long operation is alive. Not its end.
    Working {
        /// Done so far.
        done: ByteCount,
        /// In all.
        of: ByteCount,
    },
    /// It failed.
    Failed(Fault),
}

impl<P> DiskDone<P> {
    /// The same with its faults cut to what the wire carries.
    #[must_use]
    pub(crate) fn told(self) -> Self {
        let each = |results: Vec<Result<(), Fault>>| {
            results.into_iter().map(|result| result.map_err(Fault::told)).collect()
        };
        match self {
            Self::Failed(fault) => Self::Failed(fault.told()),
            Self::Committed(results) => Self::Committed(each(results)),
            Self::Signed(results, receipt) => Self::Signed(each(results), receipt),
            done => done,
        }
    }
}

/// What an opened entry is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Opened {
    /// A source. `Directory` needs no handle; `DirectoryEnd` never appears.
    Source {
        /// What is announced: `EntryBody::File`, `Directory` or `Link`.
        body: EntryBody,
        /// Metadata of a directory, for its end.
        metadata: Metadata,
        /// Whether the bytes can be read again.
        reread: Reread,
        /// What of a file may be sent as holes: ascending, each from a multiple of the smallest
        /// chunk to one, or to the object's end.
        holes: Vec<Range>,
    },
    /// A stage.
    Sink {
        /// The complete subtrees it holds, ascending.
        have: Vec<Subtree>,
        /// What they rest on.
        basis: Basis,
        /// The object stands there whole with this root; then `have` is empty.
        finished: Option<Root>,
    },
    /// A directory stands.
    Directory(Standing),
}

/// Whether a directory was there before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Standing {
    /// It was made for a transfer, and none has committed it.
    Made,
    /// It stood there.
    Stood,
}

/// Whether bytes can be read again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reread {
    /// They can.
    Yes,
    /// They cannot (standard input): only of what is all of its transfer.
    No {
        /// What earlier sessions spent, ascending: known by digest, its bytes are gone.
        spent: Vec<Subtree>,
    },
}

impl<P> DiskOp<P> {
    /// The entry it is for, if one.
    #[must_use]
    pub const fn entry(&self) -> Option<EntryId> {
        match self {
            Self::Open { entry, .. }
            | Self::List { entry, .. }
            | Self::Read { entry, .. }
            | Self::ReadHole { entry, .. }
            | Self::Check { entry }
            | Self::Write { entry, .. }
            | Self::Finish { entry, .. }
            | Self::WriteHole { entry, .. }
            | Self::Record { entry, .. }
            | Self::Forget { entry, .. }
            | Self::Checkpoint { entry }
            | Self::Discard { entry }
            | Self::Spend { entry, .. }
            | Self::Release { entry } => Some(*entry),
            Self::Commit { .. } | Self::Apply { .. } => None,
        }
    }
}
