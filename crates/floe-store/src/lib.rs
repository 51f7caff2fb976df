//! Where objects rest: `Store`, `Source` and `Sink` over the narrow `Disk` seam.
//!
//! Synchronous and single-minded: no sockets, no protocol, no async. The engine joins it with floe-proto.

pub mod api; // the contract: Store, Source, Sink and their values
pub mod disk; // the seam below: every effect the local store has on a machine
pub mod kernel; // the disk of this machine

pub use api::*;
