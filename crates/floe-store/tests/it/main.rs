//! Through the door: stores and disks on real directories.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod browse;
mod conformance;
mod confined;
mod containment;
mod crash;
mod faulty;
mod kernel;
mod mounted;
mod rights;
mod reserve;
mod sparse;
mod stage;
mod tree;
