//! Signed receipts: what a server says it has committed, for who was not there.
//!
//! A server signs {root, size, path, ticket name, time} of each object of a put that asks for it,
//! one signature for a batch: over the root of a tree whose leaves are the objects (PROTOCOL.md,
//! receipts). The client checks that each object it hears COMMITTED of is in it, and appends a line
//! for each to a file, which anybody can verify later with nothing but the server's fingerprint.

mod statement; // what is said of one object, as bytes
mod tree; // many objects under one signature
mod sign; // objects signed for, and that checked
mod line; // one receipt as a line of a file
mod ledger; // the file
mod evidence; // what a client is told, against what it did

pub use ledger::{Ledger, Lines};
pub use line::{Receipt, Wrong};
pub use sign::sign;
pub use statement::Statement;

pub(crate) use evidence::Evidence;
