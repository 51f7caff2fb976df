//! Through the door: a server and clients over loopback, in one process, with real directories.

#![allow(clippy::unwrap_used, clippy::expect_used)] // what a test needs is there, or it fails

mod house; // a server over a temporary directory, and clients of it
mod peer; // a client that a test leads by the hand
mod moves; // put and get: files, trees, resume
mod strangers; // garbage, forged joins, wrong keys and tickets
mod stages; // what a session holds of stages, and when it lets go
mod memory; // what peers can make a server hold
mod crowd; // many clients at once
mod raw; // the article's own wire
mod trust; // identity, locks and tickets among processes
