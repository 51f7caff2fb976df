//! Through the door: seeds that always run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod seeds;
mod worlds;
