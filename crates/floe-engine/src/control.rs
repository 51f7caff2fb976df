//! What the operator of a server asks it, over a Unix socket in its state directory.
//!
//! One connection, one question, one answer, each a line of JSON. Only the user who runs the server
//! (and root, whom nobody can keep out) may ask: the socket is 0600, and whoever connects is looked
//! at. Several servers may share a state directory: each has a socket of its own, and whoever asks
//! asks all of them.

mod door; // the sockets
mod asking; // the operator's side

pub use asking::ask;
pub(crate) use door::Door;

use serde::{Deserialize, Serialize};

/// What is asked. An `id` is a session's (the first eight digits, as in the log) or a transfer's
/// (those, a dot, its number); what is done to a session is done to each transfer that it has.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "lowercase")]
pub enum Ask {
    /// What runs.
    Show,
    /// End it; what is staged stays.
    End {
        /// Which.
        id: String,
    },
    /// Let it have so many bytes a second, or as many as it can.
    Limit {
        /// Which.
        id: String,
        /// Not zero; nothing for no limit.
        rate: Option<u64>,
    },
    /// Move nothing until it is resumed.
    Pause {
        /// Which.
        id: String,
    },
    /// Go on, within the limit it had.
    Resume {
        /// Which.
        id: String,
    },
}

/// What is answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum Answer {
    /// What runs.
    Shown(Shown),
    /// It is done.
    Done,
    /// It is not.
    Failed {
        /// The number of an error code (PROTOCOL.md).
        code: u16,
        /// Operation and thing.
        detail: String,
    },
}

/// What runs at one server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// Its process.
    pub pid: u32,
    /// The directory it serves, safe to show.
    pub dir: String,
    /// When it began: seconds since 1970.
    pub since: i64,
    /// Whether it lets nobody in any more.
    pub draining: bool,
    /// Its sessions, the oldest first.
    pub sessions: Vec<LiveSession>,
    /// Sessions that are not among them: there are too many.
    pub more: usize,
}

/// A session that runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveSession {
    /// Eight digits.
    pub id: String,
    /// The name of its ticket.
    pub ticket: String,
    /// Where its first connection came from.
    pub client: String,
    /// The client's version, as it says.
    pub agent: String,
    /// When it began: seconds since 1970.
    pub since: i64,
    /// Its connections.
    pub streams: usize,
    /// Its transfers.
    pub transfers: Vec<LiveTransfer>,
}

/// A transfer that runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LiveTransfer {
    /// The session's id, a dot, its number.
    pub id: String,
    /// `put` or `get`.
    pub direction: String,
    /// Beneath the served directory: bytes as hex, names apart by `/`.
    pub path_hex: String,
    /// When it began: seconds since 1970.
    pub since: i64,
    /// Bytes of objects that are at the receiver,
    pub bytes_stored: u64,
    /// of so many that are known of.
    pub bytes_total: u64,
    /// Bytes that went over the network,
    pub bytes_moved: u64,
    /// and so many a second just now.
    pub rate: u64,
    /// The operator's limit in bytes a second.
    pub limit: Option<u64>,
    /// Whether the operator paused it.
    pub paused: bool,
}

/// The longest question, in bytes.
pub(crate) const ASK_BYTES_MAX: u64 = 4 << 10;
/// The longest answer.
pub(crate) const ANSWER_BYTES_MAX: u64 = 64 << 20;
