//! What the real code keeps on a mounted tree that loses power. Where the machine cannot mount,
//! each test says so past the capture of the tests' output.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test fails by panicking

mod state; // the state directory of a client or a server

use floe_powercut::mounted::{Mounted, missing};
use std::io::Write;
use std::path::Path;

/// A mount, where this machine can.
fn mounted(dir: &Path) -> Option<Mounted> {
    if let Some(why) = missing() {
        let said = format!("\n*** SKIPPED, NOTHING WAS TESTED on a mounted tree: {why} ***\n");
        std::io::stderr().write_all(said.as_bytes()).unwrap();
        return None;
    }
    let at = dir.join("mount");
    std::fs::create_dir(&at).unwrap();
    Some(Mounted::new(&at).unwrap())
}
