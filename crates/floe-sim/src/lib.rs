//! Whole transfers in one deterministic world: the real protocol and the real local store over
//! simulated networks, disks, clocks and machines, driven by one seed.
//!
//! Virtual time, no threads, no chance but the seed's. The oracle is the crash contract, looked at
//! after every operation of a disk, and again as if the power failed then. A module imports only
//! modules listed above it.

pub mod dice; // numbers of a seed
pub mod options; // what can go wrong
pub mod trace; // what happened
pub mod content; // what is moved
pub mod link; // a connection
pub mod wire; // frames to bytes and back
pub mod machine; // a disk, a clock, other programs
pub mod pipe; // standard input
pub mod peer; // one end of a session
pub mod oracle; // the promises
pub mod world; // all of it
pub mod run; // many seeds
pub mod cuts; // every power cut of a small put and of a batch
pub mod explore; // every interleaving of a small transfer
#[cfg(feature = "planted")]
pub mod planted; // bugs on purpose
