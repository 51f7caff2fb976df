//! What one end measured: time by cause, and its path.

use floe_types::{ByteCount, Micros};

/// What one end measured since the session began, by cause: why it is slow.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Stats {
    /// Stream-time by cause.
    pub causes: Causes,
    /// Bytes of DATA payload so far.
    pub data_bytes: ByteCount,
    /// The path's smallest round trip, if known.
    pub round_trip: Option<Micros>,
    /// Whether this end has anything to do now; `None` from a peer that does not tell.
    pub work: Option<Work>,
}

/// Whether an end has anything to do: an operation that has not ended, a frame that waits to be
/// taken, a rate limit that waits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Work {
    /// Nothing: it waits for its peer.
    None,
    /// It has.
    UnderWay,
}

/// Stream-time by cause: every stream is in exactly one at a time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Causes {
    /// The sender waits for its disk.
    pub source_disk: Micros,
    /// The sender hashes or encrypts.
    pub cpu: Micros,
    /// The sender waits for room in the socket: the path carries no more.
    pub network: Micros,
    /// The sender's window is full.
    pub window: Micros,
    /// The rate limit holds the sender back.
    pub limiter: Micros,
    /// The receiver waits for data.
    pub starved: Micros,
    /// The receiver writes.
    pub sink_disk: Micros,
    /// The receiver syncs and commits.
    pub sync: Micros,
    /// No buffers.
    pub memory: Micros,
    /// No work.
    pub idle: Micros,
    /// The sender waits for room in the socket: losses hold the path down.
    pub loss: Micros,
    /// The sender waits for room in the socket: the receiver's TCP offers no larger window.
    pub peer_socket: Micros,
    /// The receiver decrypts and hashes.
    pub sink_cpu: Micros,
}
