//! Where objects rest: `Store`, `Source` and `Sink` over the narrow `Disk` seam.
//!
//! Synchronous and single-minded: no sockets, no protocol, no async. The engine joins it with
//! floe-proto.

pub mod api; // the contract: Store, Source, Sink and their values
mod admit; // batches of which a part is let through
pub mod disk; // the seam below: every effect the local store has on a machine
pub mod kernel; // the disk of this machine
mod fields; // fixed fields as bytes
pub mod mark; // the extended attribute of a finished object
pub mod simulated; // a disk in memory that loses power
pub mod faulty; // any disk, broken by a seed
mod beneath; // where a path leads beneath a root
pub mod source; // bytes that are read: files, and streams that can be read once
mod browse; // what needs no stage: open, list, stat, remove, rename, make directories
pub mod journal; // the journal of a stage as bytes
pub mod replay; // what a journal's records mean, and how far they are trusted
pub mod measure; // how fast a disk is
pub mod local; // the store over a disk: staging, journal, commit
pub mod confined; // a part of a local store as a store of its own
pub mod memory; // a store in memory
pub mod conformance; // what every store promises, as checks

pub use admit::commit_admitted;
pub use api::*;
