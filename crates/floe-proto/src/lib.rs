//! floe/1 as a pure state machine: frames, sessions, transfers.
//!
//! No sockets, files, clocks, threads, randomness or logging; equal inputs give equal outputs. The
//! crate builds without std. A module imports only modules listed above it. PROTOCOL.md is the
//! normative text.

#![no_std]

extern crate alloc;

pub mod frame; // every frame of the wire as a value
pub mod disk; // what the core asks of disks, and what they answer
pub mod command; // what the engine asks of a session, and what it is told
pub mod codec; // frames to bytes and back
pub mod greeting; // from a connection to a session: steps consumed by value

pub mod bucket; // the rate limit
mod background; // how fast a transfer goes that gives way
mod turns; // whose turn it is to pay
pub mod causes; // where the time goes, and what that says
mod unsaid; // cold frames that wait to be taken
mod io; // what waits to be taken, and what is under way
mod entries; // entries, counted as they change
mod plan; // what is still to be sent of an object
mod walk; // the source's walk of a tree
mod tune; // how many streams a client uses
mod send; // the sending half of a transfer
mod receive; // the receiving half of a transfer
pub mod session; // all of it, for one peer
