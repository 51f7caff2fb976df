//! Fuzz targets: functions that take any bytes and panic where a promise is broken.
//!
//! The fuzzers in `fuzz_targets/` and the replay in `tests/it` call the same functions.
//! CONTRIBUTING.md says how to run them, docs/crash-contract.md what they check. A module imports
//! only modules listed above it.

pub mod heap; // how much memory a call takes
mod wire; // what every target on frames does
pub mod frames; // target: streams of frames
pub mod bodies; // target: one frame
pub mod session; // target: one session, driven
pub mod journal; // target: a stage's journal
pub mod tickets; // target: tickets and fingerprints
pub mod state; // target: files of the state directory
pub mod texts; // target: what a person types
pub mod raw; // target: a connection of the article's wire
pub mod paths; // target: names and paths
pub mod packed; // target: pieces that travel packed

#[global_allocator]
static ALLOCATOR: heap::Counted = heap::Counted;

/// A target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name: that of its fuzzer and of its corpus.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target { name: "frames", run: frames::run },
    Target { name: "bodies", run: bodies::run },
    Target { name: "session", run: session::run },
    Target { name: "journal", run: journal::run },
    Target { name: "tickets", run: tickets::run },
    Target { name: "state", run: state::run },
    Target { name: "texts", run: texts::run },
    Target { name: "raw", run: raw::run },
    Target { name: "paths", run: paths::run },
    Target { name: "packed", run: packed::run },
];
