//! What the engine asks of a session, and what a session tells it.

use crate::frame::{
    Causes, Direction, Pace, Packing, Priority, Receipt, ReceiptWish, RecogniseWish, Reply,
    Request, ResumeWish, Unasked, Verbs,
};
use floe_types::{
    ByteCount, ChunkSize, EntryCount, EntryId, Fault, Limits, Micros, ObjectPath, Precondition,
    Rate, RequestId, Root, StreamId, TransferId,
};

/// Which end this is. Only clients dial, choose transfer ids and tune.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// It said HELLO.
    Client,
    /// It said WELCOME.
    Server,
}

/// How many streams a client uses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StreamCount {
    /// So many.
    Fixed(u32),
    /// Few at first, more while goodput grows by a tenth: by the path's round trip.
    Auto,
}

/// What a session is made with.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// Every bound.
    pub limits: Limits,
    /// What the ticket allows. A server checks it; a client refuses early.
    pub verbs: Verbs,
    /// The largest piece both ends take.
    pub piece_bytes: ByteCount,
    /// Streams the client may use in all.
    pub streams: StreamCount,
    /// What buffers the session may hold at first; `handle_budget` changes it.
    pub buffers: ByteCount,
    /// How holes of sources go.
    pub holes: Holes,
}

/// How holes go between two ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Holes {
    /// As holes: both ends know them.
    AsHoles,
    /// As zeros.
    AsBytes,
}

impl Holes {
    /// The ability bit of an end that knows holes.
    pub const ABILITY: u64 = 1;

    /// How they go to and from a peer of these abilities.
    #[must_use]
    pub const fn with(peer: u64) -> Self {
        if peer & Self::ABILITY == 0 { Self::AsBytes } else { Self::AsHoles }
    }
}

/// How a transfer is done.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TransferOptions {
    /// The sender's nominal chunk size.
    pub chunk: ChunkSize,
    /// The bytes handed to the network and not yet recorded.
    pub window: ByteCount,
    /// How chunks are sent.
    pub pace: Pace,
    /// What must hold of final names.
    pub precondition: Precondition,
    /// What to do with stages of an earlier run.
    pub resume: ResumeWish,
    /// How finished objects are recognised.
    pub recognise: RecogniseWish,
    /// Get: whether a small file may come before it was wanted.
    pub unasked: Unasked,
    /// Put: whether the server signs for what it commits.
    pub receipts: ReceiptWish,
    /// Whether the first failed entry ends the transfer.
    pub on_failure: OnFailure,
    /// The rate of DATA that this end sends at most (on a get: asked by taking no more).
    pub rate: Option<Rate>,
    /// That it is a probe, which measures a path: of bytes that are nobody's, so many on a get, and
    /// never committed.
    pub probe: Option<ByteCount>,
    /// How the sender packs what it sends.
    pub packing: Packing,
    /// Whether the sender gives way to other traffic on the path.
    pub priority: Priority,
}

/// The ability bit of a server that takes probes, and measures itself when it is asked.
pub const PROBES: u64 = 4;

impl Default for TransferOptions {
    fn default() -> Self {
        Self {
            chunk: ChunkSize::DEFAULT,
            window: Limits::WINDOW_BYTES,
            pace: Pace::Streaming,
            precondition: Precondition::None,
            resume: ResumeWish::Continue,
            recognise: RecogniseWish::ByVersion,
            unasked: Unasked::Refused,
            receipts: ReceiptWish::None,
            on_failure: OnFailure::Continue,
            rate: None,
            probe: None,
            packing: Packing::Auto,
            priority: Priority::Normal,
        }
    }
}

/// What the first failed entry of a tree does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnFailure {
    /// The others go on.
    Continue,
    /// The transfer ends (`--fail-fast`).
    Stop,
}

/// What is asked of a session: of a server's all but `Transfer` and `Request`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Command {
    /// Move a tree.
    Transfer {
        /// Which way.
        direction: Direction,
        /// Its root in this end's store.
        local: ObjectPath,
        /// Its root in the server's store.
        remote: ObjectPath,
        /// How.
        options: TransferOptions,
    },
    /// Ask something.
    Request(Request),
    /// End a transfer: take a checkpoint of what is staged and keep it.
    Cancel(TransferId, Fault),
    /// Change a transfer's rate; one that is paused goes on.
    Limit(TransferId, Option<Rate>),
    /// Let nothing of a transfer's bytes go, nor take any, until `Limit`.
    Pause(TransferId),
    /// Take no new work; finish what runs (checkpointing it), then close. Ends with `Event::Ended`.
    Drain,
    /// End now: checkpoint what is staged, say CLOSE, then `Event::Ended`.
    Close(Option<Fault>),
}

/// What a command became.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Accepted {
    /// A transfer with this id.
    Transfer(TransferId),
    /// A request with this id.
    Request(RequestId),
    /// It is done.
    Done,
}

/// Why a stream is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lost {
    /// The connection ended, or broke.
    Connection,
    /// Nothing was heard for too long.
    Silence,
    /// This end hung it up.
    HungUp,
}

/// What a peer did that the protocol does not allow. Sticky: the session is over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Violation {
    /// What, in a few words.
    pub what: &'static str,
}

/// What TCP says of a stream's path, and how busy the thread is that serves it; sampled by the
/// engine a few times a second. Times and counts are totals since the stream began.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct PathSample {
    /// Smoothed round trip.
    pub round_trip: Micros,
    /// The shortest of late.
    pub round_trip_min: Micros,
    /// The window that the peer's TCP offers now.
    pub peer_window: ByteCount,
    /// How long there was anything to send,
    pub sending: Micros,
    /// and of it, how long the peer's window was full.
    pub peer_limited: Micros,
    /// Bytes sent, again and again included,
    pub sent: ByteCount,
    /// and of them, those that were sent again.
    pub sent_again: ByteCount,
    /// Bytes that the peer's TCP acknowledged.
    pub acked: ByteCount,
    /// What the congestion control takes a loss for.
    pub congestion: Congestion,
    /// How long the thread had something to do,
    pub worked: Micros,
    /// and of it, how long it had a processor; zero where nobody knows.
    pub ran: Micros,
}

/// What a congestion control takes a loss for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Congestion {
    /// A sign that the path is full: it slows down (Reno, CUBIC).
    #[default]
    Losses,
    /// Noise: it knows the path by a model (BBR).
    Model,
}

/// What a session tells the engine.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// Open one more connection and JOIN it; answer with `handle_stream_up`, or
    /// `handle_dial_failed`.
    Dial,
    /// Send what is queued for that stream, then close it.
    HangUp(StreamId),
    /// An entry is announced (sender and receiver): for progress, totals and logs.
    EntryFound {
        /// Which.
        entry: EntryId,
        /// Its size, if it is a file and known.
        size: Option<ByteCount>,
    },
    /// What the server signed of objects: those that finish next.
    Receipted(TransferId, Receipt),
    /// An entry is committed.
    EntryFinished {
        /// Which.
        entry: EntryId,
        /// Its path beneath the transfer's.
        path: ObjectPath,
        /// A file's size and root; `None` for directories and links.
        object: Option<(ByteCount, Root)>,
    },
    /// An entry failed; the others go on.
    EntryFailed {
        /// Which.
        entry: EntryId,
        /// Its path beneath the transfer's.
        path: ObjectPath,
        /// Why.
        fault: Fault,
    },
    /// A device, socket or FIFO in a tree was passed over.
    EntrySkipped {
        /// Its path beneath the transfer's.
        path: ObjectPath,
        /// What it is.
        fault: Fault,
    },
    /// A transfer began (on a server: for its log).
    TransferBegun {
        /// Which.
        transfer: TransferId,
        /// Which way.
        direction: Direction,
        /// Its path in the server's store.
        path: ObjectPath,
    },
    /// An entry ends early while operations of it are under way: those that wait for more than a
    /// disk (for a producer, for an earlier chunk) are to be ended, as failed.
    EntryEnding(EntryId),
    /// A transfer is over.
    TransferFinished {
        /// Which.
        transfer: TransferId,
        /// How: `Partial` where some entries failed (or the entry's own fault where it was the only
        /// one).
        result: Result<(), Fault>,
        /// What it came to.
        summary: Summary,
    },
    /// Neither end has anything left to do, and a transfer or request is not over: the session ends
    /// with `TimedOut`. Something that was said did not arrive as it was said.
    Stalled,
    /// A request is answered.
    Replied(RequestId, Result<Reply, Fault>),
    /// The session is over: `None` in good order. No operation is under way any more.
    Ended(Option<Fault>),
}

/// What a transfer came to, or how far it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Summary {
    /// Sizes of all files found so far (unknown sizes count what was read).
    pub bytes_total: ByteCount,
    /// Bytes of DATA payload that went over the network, this way, repeated ones again.
    pub bytes_sent: ByteCount,
    /// Bytes not sent because the receiver held them already (stage, or finished object).
    pub bytes_resumed: ByteCount,
    /// Bytes of files that are verified at the receiver, as far as this end knows.
    pub bytes_stored: ByteCount,
    /// The largest number of bytes handed to the network and not yet recorded (at the receiver:
    /// that came and were not yet recorded).
    pub window_bytes_max: ByteCount,
    /// What of them went packed: counted by the engine, for all transfers of the session.
    pub packed: Packed,
    /// Bytes sent again after CORRUPT or a lost stream.
    pub bytes_repeated: ByteCount,
    /// Entries announced.
    pub entries_found: EntryCount,
    /// Entries committed.
    pub entries_committed: EntryCount,
    /// Entries failed.
    pub entries_failed: EntryCount,
    /// Entries passed over.
    pub entries_skipped: EntryCount,
    /// Whether the walk has come to its end.
    pub walk: Walk,
    /// Streams up now.
    pub streams: u32,
    /// Stream-time by cause, both ends.
    pub causes: Causes,
}

/// What packing did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Packed {
    /// Bytes of pieces that went, or came, packed,
    pub bytes: ByteCount,
    /// and those of them that this kept off the network.
    pub saved: ByteCount,
    /// Bytes of pieces that were tried and did not shrink, at the sender.
    pub unshrunk: ByteCount,
}

/// How far a walk is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Walk {
    /// There may be more entries.
    #[default]
    Underway,
    /// All are found.
    Ended,
}
