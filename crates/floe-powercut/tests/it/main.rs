//! What the real code keeps on a mounted tree that loses power. Where the machine cannot mount,
//! each test says so past the capture of the tests' output (`Mounted::or_skipped`).

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod state; // the state directory of a client or a server
