//! Benchmarks of floe: beside its peers and the raw limits of the same machine, measured in the
//! same interleaved run.
//!
//! `cargo run --release -p floe-bench -- loopback` measures on this machine, `-- wan` over an
//! emulated long path; docs/performance.md says how to run them and what each job does. Absolute
//! numbers of a shared machine mean little; a ratio counts where the spread of both its sides is
//! below 15 %.

mod figure; // medians and spreads
mod os; // what has no safe wrapper
mod accounts; // what /proc tells of processes and interfaces
mod process; // children and their groups
mod content; // what is moved
mod plain; // the raw limits: a plain loop at both ends
mod peer; // peers as a table
mod site; // where the two ends run
mod ready; // the same machine before each transfer
mod stage; // servers, and one measured transfer
mod job; // the jobs
mod bar; // the bars
mod report; // Markdown and JSON
mod session; // what the commands share: options, files of results
mod loopback; // everything on this machine
mod link; // a long path as a program
mod joined; // two networks that it joins
mod wan; // everything over it
mod resume; // what it costs to continue
mod siege; // what a transfer keeps while others besiege the server
mod beside; // what a transfer leaves to others
mod limit; // whether a limit is kept, and how smoothly
mod further; // what small files cost on a long path, in round trips
mod why; // whether floe names what limits it

use clap::Parser;
use std::process::ExitCode;

/// What went wrong, in words.
type Result<T> = std::result::Result<T, String>;

#[derive(Parser, Debug)]
#[command(name = "floe-bench", about = "Measures floe beside its peers and raw limits")]
enum Bench {
    /// Put, get, trees, resume and crowds on this machine, over the loopback interface
    Loopback(loopback::LoopbackArgs),
    /// Put, get, small files and resume over an emulated long path, for each of its settings
    Wan(wan::WanArgs),
    /// How soon a command that was killed sends data again, and as after a power loss
    Resume(resume::ResumeArgs),
    /// What a transfer keeps of its rate under thousands of idle connections and handshakes
    Siege(siege::SiegeArgs),
    /// What a transfer leaves to a plain TCP connection beside it, in the background and not
    Beside(beside::BesideArgs),
    /// Whether a transfer keeps to its limit to the end, and how evenly
    Limit(limit::LimitArgs),
    /// How many round trips a small file takes, with its session and in one that stands
    Further(further::FurtherArgs),
    /// How often floe names the limit of a transfer that has one constructed for it
    Why(why::WhyArgs),
    /// The emulated path, started by the others
    #[command(hide = true)]
    Link(link::LinkArgs),
    /// The client of `further`, started by it
    #[command(hide = true)]
    Fetch(further::Fetch),
    /// One end of a plain loop, started by the others
    #[command(subcommand, hide = true)]
    Plain(plain::Plain),
}

fn main() -> ExitCode {
    let result = match Bench::parse() {
        Bench::Loopback(args) => loopback::run(&args),
        Bench::Wan(args) => wan::run(&args),
        Bench::Resume(args) => resume::run(&args),
        Bench::Siege(args) => siege::run(&args),
        Bench::Beside(args) => beside::run(&args),
        Bench::Limit(args) => limit::run(&args),
        Bench::Further(args) => further::run(&args),
        Bench::Why(args) => why::run(&args),
        Bench::Link(link) => link.run(),
        Bench::Fetch(fetch) => fetch.run(),
        Bench::Plain(plain) => plain.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            eprintln!("floe-bench: {line}");
            ExitCode::FAILURE
        }
    }
}
