//! Benchmarks of floe: ratios to raw limits of the same machine, measured in the same interleaved
//! run.
//!
//! `cargo run --release -p floe-bench -- loopback --size 4Gi --runs 5` builds floe and measures it.
//! Absolute numbers of a shared machine mean little; a ratio counts where the spread of both its
//! sides is below 15 %.

mod table; // medians, spreads, ratios; Markdown and JSON
mod process; // children, their processor time and memory
mod peer; // the raw limits: a plain loop at both ends
mod product; // floe as a person runs it
mod loopback; // everything over the loopback interface

use clap::Parser;
use std::process::ExitCode;

/// What went wrong, in words.
type Result<T> = std::result::Result<T, String>;

#[derive(Parser, Debug)]
#[command(name = "floe-bench", about = "Measures floe beside raw limits of the same machine")]
enum Bench {
    /// Put and get over the loopback interface, beside plain loops without hash and encryption
    Loopback(loopback::LoopbackArgs),
    /// One end of a plain loop, started by the others
    #[command(subcommand, hide = true)]
    Peer(peer::Peer),
}

fn main() -> ExitCode {
    let result = match Bench::parse() {
        Bench::Loopback(args) => loopback::run(&args),
        Bench::Peer(peer) => peer.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("floe-bench: {line}");
            ExitCode::FAILURE
        }
    }
}
