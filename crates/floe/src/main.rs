//! floe moves large files between machines: whole, verified, resumable.
//!
//! This is the binary: arguments become settings, settings become one command, and a command ends with
//! an exit status. The protocol is in floe-proto, disks are in floe-store, sockets and threads in
//! floe-engine. A module imports only modules listed above it.

#![allow(dead_code)]

mod fault; // how a command fails: line, hint, exit status
mod civil; // time and quantities as text
mod output; // standard output as data
mod args; // the flags that commands share
mod remote; // what an argument names
mod place; // where a SRC goes
mod event; // events for programs
mod progress; // how far a transfer is
mod report; // what is told of transfers
mod signals; // what Ctrl-C means

fn main() {}
