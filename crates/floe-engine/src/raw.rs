//! The article's own wire: bytes, then close; in front of them, if both ends want it, the size as 8
//! big-endian bytes.
//!
//! For `nc` and for programs that know nothing of floe. It has no encryption, no authentication, no
//! resume, and without the size it cannot notice truncation: a sender that dies closes its
//! connection as one that is done. What floe adds keeps to its own side: nothing partial is ever
//! visible under a final name, an end that is not whole is a reset and never a clean close, memory
//! is constant, every wait has a bound.
//!
//! One blocking thread a connection, at most `Terms::connections_max`; it does not run with the
//! lanes. Everything here blocks: call it from a thread of its own.

mod stop; // ends a listener, a transfer and every wait of theirs
mod wire; // framing, deadlines, faults of sockets, reading and hashing
mod local; // files that a person named, and the stage of what comes in
mod serve; // one connection that gets a file
mod receive; // one connection whose bytes become a file
mod listen; // accepting: one thread a connection, bounded
mod client; // the halves that dial: send and fetch

pub use client::{FetchInto, Fetched, PeerClose, SendFrom, Sent, fetch, send, split_file};
pub use listen::{Happening, Listening, Watch, Work};
pub use local::{Inbox, check_readable};
pub use stop::Stop;
pub use wire::{Brings, Framing, Incoming, Pace, Take, Terms, read_all, read_size};
