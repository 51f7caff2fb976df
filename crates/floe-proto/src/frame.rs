//! Every frame of floe/1 as a value (PROTOCOL.md, frames). Bytes are the codec's matter.
//!
//! Kinds come in three groups: greeting (before a session exists), transfer, and request. Cold
//! frames travel on the session's lead stream (the one that said HELLO); hot ones (HEADER, VERDICT,
//! DATA, SEAL, STORED, CORRUPT) on the stream that carries their chunk. A lost lead stream ends the
//! session; another lost stream only itself.

mod request; // requests beside any transfer
mod receipt; // what a server signs of objects
mod stats; // what one end measured
mod packing; // how pieces are packed
mod priority; // whether a transfer gives way
mod verbs; // what a ticket allows

pub use packing::{PackLevel, Packing};
pub use priority::Priority;
pub use receipt::{RECEIPT_LEAVES_MAX, Receipt, ReceiptWish};
pub use request::{Recursive, Replace, Reply, Request, RootWish, Speeds, Stat};
pub use stats::{Causes, Stats, Work};
pub use verbs::Verbs;

use alloc::string::String;
use alloc::vec::Vec;
use floe_types::{
    ByteCount, ChunkDigest, ChunkSize, EntryCount, EntryId, EntryIndex, Fault, Freshness, Metadata,
    Micros, ObjectPath, Offset, Precondition, Range, Rate, RequestId, Root, Seq, SourceVersion,
    Subtree, TransferId,
};

/// One frame. `P` is the payload of DATA: opaque to the core.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Frame<P> {
    /// Plaintext only, the server's first word: 32 bytes that stand for the TLS exporter.
    Challenge([u8; 32]),
    /// The first stream authenticates.
    Hello(Hello),
    /// It is let in.
    Welcome(Welcome),
    /// A further stream joins.
    Join(Join),
    /// It is let in.
    Joined,
    /// Not now: come back after so long.
    Busy(Micros),
    /// The session ends; both directions drain first. `None`: in good order.
    Close(Option<Fault>),
    /// Are you there? The number comes back.
    Ping(u64),
    /// Here.
    Pong(u64),
    /// A transfer begins.
    Open(Open),
    /// It may.
    Opened(Opened),
    /// Entries, in the order of the walk.
    Entries(TransferId, Vec<Entry>),
    /// What the receiver holds of an entry, and so what it wants.
    Want(Want),
    /// What of that the sender does not confirm.
    Drop(EntryId, Vec<Range>),
    /// A chunk comes (or would: see `Await`).
    Header(Header),
    /// What the receiver says to headers that await it.
    Verdict(SeqRange, Verdict),
    /// A piece of a chunk.
    Data(Data<P>),
    /// The chunk is whole, and this is its digest.
    Seal(Seal),
    /// Chunks are recorded.
    Stored(Vec<SeqRange>, Level),
    /// A chunk did not agree with its seal: send it again.
    Corrupt(Seq),
    /// Entries are whole: size and root.
    Done(TransferId, Vec<DoneEntry>),
    /// What the server signs of objects whose COMMITTED follows.
    Receipt(TransferId, Receipt),
    /// Entries are committed: durable under their names.
    Committed(TransferId, Vec<CommittedEntry>),
    /// One entry failed, at either side.
    Failed(Failed),
    /// All entries were announced and ended; so many.
    Complete(TransferId, EntryCount),
    /// All of them ended here too.
    Completed(TransferId),
    /// The transfer ends early; staged data stay.
    Cancel(TransferId, Fault),
    /// A request.
    Request(RequestId, Request),
    /// Its answer.
    Reply(RequestId, Result<Reply, Fault>),
    /// Time by cause and path samples, at most one a second.
    Stats(Stats),
}

/// What the sender of HELLO wants to be let in as.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Hello {
    /// Ability bits: `Holes::ABILITY`, `Packing::ABILITY`, `Packing::ENTRIES_ABILITY`.
    pub abilities: u64,
    /// Random, kept by the client: part of a stage's key.
    pub client: [u8; 16],
    /// Which ticket, and the proof that its secret is known; `None` is anonymous.
    pub proof: Option<TicketProof>,
    /// Name and version of the program, for logs.
    pub agent: String,
}

/// Proof of a ticket.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TicketProof {
    /// The ticket's id.
    pub ticket: [u8; 16],
    /// Ed25519 over ("floe/1 hello", ALPN, exporter).
    pub signature: [u8; 64],
}

/// The session begins.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Welcome {
    /// Ability bits: `Holes::ABILITY`, `Receipt::ABILITY`, `PROBES`, `Packing::ABILITY`,
    /// `Packing::ENTRIES_ABILITY`.
    pub abilities: u64,
    /// Names the session to JOIN.
    pub session: [u8; 16],
    /// Proves a JOIN.
    pub secret: [u8; 32],
    /// What the ticket allows.
    pub verbs: Verbs,
    /// The longest piece the server takes, in bytes.
    pub piece_bytes_max: u32,
    /// Streams the session may have.
    pub streams_max: u32,
    /// Entries announced and not ended that a transfer may have.
    pub entries_ahead_max: u32,
    /// Name and version of the program, for logs.
    pub agent: String,
    /// Which key the server will be known by, where this connection knows it by one that goes.
    pub successor: Option<Successor>,
}

/// The key that takes the place of the one a connection was secured with (PROTOCOL.md, another
/// key). Nothing here is checked: the engine signs and verifies.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Successor {
    /// The public key: SubjectPublicKeyInfo, DER.
    pub key: Vec<u8>,
    /// How it signs: a SignatureScheme of TLS.
    pub scheme: u16,
    /// By that key, over ("floe/1 successor", channel name, exporter).
    pub signature: Vec<u8>,
    /// Until when the server has the old one, at most: seconds since 1970.
    pub until: u64,
}

/// A further stream of a session.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Join {
    /// Which session.
    pub session: [u8; 16],
    /// HMAC-SHA-256 by the session's secret over ("floe/1 join", exporter).
    pub mac: [u8; 32],
}

/// Which way a transfer goes, seen from the client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Direction {
    /// The client sends.
    Put,
    /// The server sends.
    Get,
}

/// How chunks are sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Pace {
    /// Header, data and seal back to back, many chunks in flight.
    Streaming,
    /// The article's dialogue: digest ahead, one chunk, every step acknowledged.
    Lockstep,
}

/// A transfer begins.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Open {
    /// Its id, chosen by the client.
    pub transfer: TransferId,
    /// Which way.
    pub direction: Direction,
    /// Put: the final path of the tree. Get: the path to read.
    pub path: ObjectPath,
    /// The sender's nominal chunk size.
    pub chunk: ChunkSize,
    /// The bytes the sender may hand to the network before they are recorded.
    pub window: ByteCount,
    /// How chunks are sent.
    pub pace: Pace,
    /// Put: what must hold of final names.
    pub precondition: Precondition,
    /// Put: what to do with stages of an earlier run.
    pub resume: ResumeWish,
    /// Put: how finished objects are recognised.
    pub recognise: RecogniseWish,
    /// Get: whether a small file may come before it was wanted.
    pub unasked: Unasked,
    /// Put: whether the server signs for what it commits.
    pub receipts: ReceiptWish,
    /// That it is a probe, and how many bytes a get of it sends at most. Said only to servers that
    /// take probes.
    pub probe: Option<ByteCount>,
    /// Get: how the server packs what it sends. Of a put it says nothing.
    pub packing: Packing,
    /// Get: whether what the server sends gives way. Of a put it says nothing.
    pub priority: Priority,
    /// Get: bytes of pieces a second, at most. Of a put it says nothing.
    pub rate: Option<Rate>,
}

/// Whether the small file that is all of a get may come behind its ENTRY, before WANT: what the
/// receiver holds of it would come for nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Unasked {
    /// It waits for WANT.
    #[default]
    Refused,
    /// Nothing stands at the receiver.
    Welcome,
}

/// What to do with stages of an earlier run.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum ResumeWish {
    /// Continue them.
    #[default]
    Continue,
    /// Discard them first.
    Discard,
}

/// How finished objects are recognised.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum RecogniseWish {
    /// By the mark of their source's version.
    #[default]
    ByVersion,
    /// Also by hashing what stands there.
    ByContent,
}

/// A transfer may begin.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Opened {
    /// Which.
    pub transfer: TransferId,
    /// Names it to any server with this key and store; opaque, authenticated by the server.
    pub handle: Vec<u8>,
    /// The window the receiver grants: not above what was asked.
    pub window: ByteCount,
}

/// One entry of a walk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// Its name in the transfer: unique, in no order.
    pub index: EntryIndex,
    /// Its path beneath the transfer's; the root of the walk is the empty path.
    pub path: ObjectPath,
    /// The same path was announced under this index, but its source changed: the receiver lets
    /// go of that entry (its stage stays, under its version) and takes this one instead.
    pub replaces: Option<EntryIndex>,
    /// What it is.
    pub body: EntryBody,
}

/// What an announced entry is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum EntryBody {
    /// A file.
    File {
        /// Its size, if known.
        size: Option<ByteCount>,
        /// How much of it the sender means to send as holes: a hint.
        holes: ByteCount,
        /// Its source's version, if it has one.
        version: Option<SourceVersion>,
        /// Whether that can be trusted.
        freshness: Freshness,
        /// Its metadata.
        metadata: Metadata,
    },
    /// A directory begins: it is made, its entries follow.
    Directory,
    /// The directory announced as this index has had all its entries: metadata are applied.
    DirectoryEnd {
        /// The index of its `Directory`.
        begun: EntryIndex,
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

impl Entry {
    /// What it counts of what a session may have announced (PROTOCOL.md 3).
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.path.footprint() + self.body.link_len()
    }
}

impl EntryBody {
    /// Bytes of a link's text.
    pub(crate) const fn link_len(&self) -> usize {
        match self {
            Self::Link { target, .. } => target.len(),
            Self::File { .. } | Self::Directory | Self::DirectoryEnd { .. } => 0,
        }
    }
}

/// What the receiver holds of a file.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Want {
    /// Which.
    pub entry: EntryId,
    /// What it rests on.
    pub basis: Basis,
    /// Complete subtrees, ascending over all WANT frames of the entry.
    pub have: Vec<Subtree>,
    /// The whole object stands there with this root.
    pub finished: Option<Root>,
    /// Whether this is the entry's last WANT.
    pub more: More,
}

/// What the receiver's subtrees rest on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Basis {
    /// The version the sender named, settled: the sender may trust them.
    Version,
    /// Anything else: the sender reads and hashes those ranges again.
    Content,
}

/// Whether another frame of the same list follows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum More {
    /// One does.
    Follows,
    /// This was the last.
    Last,
}

/// Whether the sender waits for a VERDICT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Await {
    /// WANT has settled it: data follow at once.
    Implied,
    /// Data follow a VERDICT of `Send`.
    Verdict,
}

/// What a chunk is made of.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Content {
    /// Bytes: DATA and SEAL follow its header.
    Bytes,
    /// Zeros that take no space: nothing follows its header.
    Hole,
}

impl Content {
    /// What a chunk of this length counts in the window. A hole counts as the smallest chunk: it
    /// costs the receiver as much.
    #[must_use]
    pub fn window_bytes(self, len: ByteCount) -> ByteCount {
        match self {
            Self::Bytes => len,
            Self::Hole => len.min(ChunkSize::MIN.bytes()),
        }
    }
}

/// A chunk comes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Header {
    /// Its sequence number.
    pub seq: Seq,
    /// Its entry.
    pub entry: EntryId,
    /// Where it starts: a multiple of its nominal size.
    pub offset: Offset,
    /// Its length, if known: at most 16 MiB.
    pub len: Option<ByteCount>,
    /// Whether a verdict is awaited.
    pub awaits: Await,
    /// Its digest, where the sender knows it ahead.
    pub digest: Option<ChunkDigest>,
    /// What it is made of. A hole has length and digest, and awaits nothing.
    pub content: Content,
}

/// What the receiver says to a header.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verdict {
    /// Send the data.
    Send,
    /// It is here already, with that digest.
    Have,
    /// Not wanted: the entry failed here.
    Refuse,
}

/// A piece of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Data<P> {
    /// The chunk.
    pub seq: Seq,
    /// Where the piece starts, from the chunk's start.
    pub at: ByteCount,
    /// How long it is: what the head says.
    pub len: ByteCount,
    /// Its bytes.
    pub bytes: P,
}

/// A chunk is whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Seal {
    /// The chunk.
    pub seq: Seq,
    /// Its length.
    pub len: ByteCount,
    /// Its digest.
    pub digest: ChunkDigest,
}

/// Sequence numbers from the first to the last, both included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SeqRange {
    /// The first.
    pub first: Seq,
    /// The last; not before the first.
    pub last: Seq,
}

/// How safe a stored chunk is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Level {
    /// It survives a kill.
    Recorded,
    /// It survives a power loss.
    Durable,
}

/// An entry is whole.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DoneEntry {
    /// Which.
    pub index: EntryIndex,
    /// Its size.
    pub size: ByteCount,
    /// Its root.
    pub root: Root,
}

/// An entry is committed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CommittedEntry {
    /// Which.
    pub index: EntryIndex,
    /// A file's root; nothing for directories and links.
    pub root: Option<Root>,
}

/// An entry failed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Failed {
    /// Which.
    pub entry: EntryId,
    /// Its path beneath the transfer's, for entries the peer has not heard of.
    pub path: ObjectPath,
    /// Why.
    pub fault: Fault,
}
