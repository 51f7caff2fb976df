//! What a transfer keeps of its rate while thousands of connections stand idle and others come for
//! a handshake and go.
//!
//! The server and the client that transfers share one core, and the attackers, threads of this
//! process, are held to another: so the two have the same share of the processor alone and under
//! siege, and what is lost is what the server does for those who come to nothing. Runs alone and
//! under siege alternate. Idle are sessions and further streams of one guest's ticket, as many as
//! the server lets it have, and for the rest connections before their greeting: half have said
//! nothing, half the beginning of a TLS record. Whoever is closed comes again after 5 s.

mod crowd; // those who stand and those who come and go

use crate::content::Content;
use crate::figure::{Figure, number};
use crate::process::{Process, await_that};
use crate::ready::make_ready;
use crate::report::machine;
use crate::session::Way;
use crate::{Result, accounts, session};
use crowd::{Crowd, Kind, Target};
use floe_engine::ticket::Ticket;
use floe_types::{ByteCount, parse_size};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Options of `floe-bench siege`.
#[derive(clap::Args, Clone, Debug)]
pub struct SiegeArgs {
    /// Bytes of the file
    #[arg(long, default_value = "2Gi", value_parser = size)]
    size: ByteCount,
    /// Pairs of runs, alone and under siege, each way
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Connections that stand idle
    #[arg(long, default_value_t = 10_000)]
    idle: usize,
    /// Handshakes begun a second
    #[arg(long, default_value_t = 500)]
    churn: u32,
    /// Which way
    #[arg(long, value_delimiter = ',', default_value = "put,get")]
    ways: Vec<Way>,
    /// Where files lie (tmpfs)
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// Seconds after which a transfer is given up
    #[arg(long, default_value_t = 120)]
    cap: u64,
    /// The program to measure; without it, floe is built from this workspace
    #[arg(long)]
    floe: Option<PathBuf>,
}

/// What is kept at least of the rate alone.
const KEPT_MIN: f64 = 0.80;
/// The budget of the server, and what a connection may cost beside it (SECURITY.md).
const MEMORY: u64 = 256 << 20;
const START: Duration = Duration::from_secs(20);
const PORT: u16 = 24_000;
/// Descriptors of this process beside one a connection.
const DESCRIPTORS: u64 = 2000;

/// What the runs of one way came to.
#[derive(Default)]
struct Tally {
    alone: Vec<f64>,
    besieged: Vec<f64>,
    handshakes: Vec<f64>,
    peak: u64,
    /// Processor time of the server's threads by their name, in all runs under siege.
    threads: BTreeMap<String, f64>,
}

/// Measures and prints.
pub fn run(args: &SiegeArgs) -> Result<()> {
    let program = session::program(args.floe.as_deref())?;
    let (own, other) = two_cores()?;
    raise_descriptors(args.idle)?;
    let bed = Bed::make(args, program, own)?;
    machine().iter().for_each(|line| println!("- {line}"));
    println!("- server and client on core {own}, attackers on core {other}\n");
    let mut missed = Vec::new();
    let mut told = false;
    for way in &args.ways {
        let mut tally = Tally::default();
        for pair in 0..args.pairs {
            // Whoever comes first has no advantage in all.
            for siege in if pair % 2 == 0 { [false, true] } else { [true, false] } {
                match siege {
                    false => tally.alone.push(bed.transfer(*way)?),
                    true => bed.besiege(*way, other, &mut tally, &mut told)?,
                }
            }
        }
        missed.extend(report(*way, &tally));
    }
    bed.server.end()?;
    if missed.is_empty() { Ok(()) } else { Err(missed.join("; ")) }
}

fn report(way: Way, tally: &Tally) -> Option<String> {
    let alone = Figure::of(tally.alone.iter().copied())?;
    let besieged = Figure::of(tally.besieged.iter().copied())?;
    let handshakes = Figure::of(tally.handshakes.iter().copied())?;
    let kept = besieged.median / alone.median;
    let figure = |of: Figure| format!("{:.3} ({:.0} %)", of.median, of.spread * 100.0);
    println!("\n| way | alone, GB/s (spread) | under siege | kept | handshakes/s | peak, MiB |");
    println!("| --- | --- | --- | --- | --- | --- |");
    println!(
        "| {way:?} | {} | {} | {kept:.3} | {:.0} ({:.0} %) | {} |",
        figure(alone),
        figure(besieged),
        handshakes.median,
        handshakes.spread * 100.0,
        tally.peak >> 20,
    );
    let threads = tally.threads.iter().map(|(name, cpu)| format!("{name} {cpu:.2} s"));
    println!("processor time of the server: {}", threads.collect::<Vec<_>>().join(", "));
    if !alone.counts_with(&besieged) {
        println!("the spread is too large to count");
    }
    (kept < KEPT_MIN).then(|| format!("{way:?}: {kept:.3} of its rate is kept, not {KEPT_MIN}"))
}

/// Two cores that this process may run on.
fn two_cores() -> Result<(usize, usize)> {
    let set = sched_getaffinity(None).map_err(|error| format!("ask for cores: {error}"))?;
    let mut cores = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    cores.next().zip(cores.next()).ok_or_else(|| "it takes two cores".to_owned())
}

/// Holds the calling thread, and what it starts from now on, to a core.
fn hold_to(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| format!("hold a thread to a core: {error}"))
}

fn raise_descriptors(idle: usize) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = idle as u64 + DESCRIPTORS;
    if current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })
        .map_err(|error| format!("RLIMIT_NOFILE of {wanted} (it is {maximum:?}): {error}"))
}

/// The directories, and the server.
struct Bed {
    dir: TempDir,
    program: PathBuf,
    server: Process,
    target: Target,
    args: SiegeArgs,
}

impl Bed {
    /// Makes it; holds this thread, and so both programs, to the core.
    fn make(args: &SiegeArgs, program: PathBuf, core: usize) -> Result<Self> {
        hold_to(core)?;
        let dir = tempfile::Builder::new().prefix("floe-bench-siege-").tempdir_in(&args.memory);
        let dir = dir.map_err(|e| format!("make a directory in {}: {e}", args.memory.display()))?;
        for part in ["root", "near"] {
            fs::create_dir(dir.path().join(part)).map_err(|e| format!("make {part}: {e}"))?;
        }
        Content::File(args.size).make(&dir.path().join("root/kept"))?;
        Content::File(args.size).make(&dir.path().join("source"))?;
        let port = PORT + u16::try_from(std::process::id() % 1000).unwrap_or(0);
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(&program);
        command.current_dir(dir.path()).args(["serve", "root", "--state", "server"]);
        command.args(["--memory", &MEMORY.to_string(), "--listen", &address]);
        let server = Process::start(&mut command, "serve", &dir.path().join("serve.log"))?;
        server.listening(port, START)?;
        let mut create = Command::new(&program);
        create.current_dir(dir.path()).args(["ticket", "create", "guest", "--allow", "read,list"]);
        let made = create.args(["--root", "root", "--state", "server"]).output();
        let made = made.map_err(|error| format!("make a ticket: {error}"))?;
        let text = String::from_utf8_lossy(&made.stdout).trim().to_owned();
        let ticket = text.parse::<Ticket>().map_err(|error| format!("make a ticket: {error}"))?;
        Ok(Self { dir, program, server, target: Target { port, ticket }, args: args.clone() })
    }

    /// One transfer, in GB/s.
    fn transfer(&self, way: Way) -> Result<f64> {
        let at = |name: &str| self.dir.path().join(name);
        for old in ["root/arrived", "near/arrived"].map(at) {
            if old.exists() {
                fs::remove_file(&old).map_err(|e| format!("remove {}: {e}", old.display()))?;
            }
        }
        make_ready(self.dir.path(), self.args.size)?;
        let ticket = fs::read_to_string(at("server/owner.ticket"));
        let ticket = ticket.map_err(|error| format!("read the owner's ticket: {error}"))?;
        let server = format!("floe://127.0.0.1:{}", self.target.port);
        let (from, to) = match way {
            Way::Put => ("source".to_owned(), format!("{server}/arrived")),
            Way::Get => (format!("{server}/kept"), "near/arrived".to_owned()),
        };
        let verb = if way == Way::Put { "put" } else { "get" };
        let mut command = Command::new(&self.program);
        command.current_dir(self.dir.path()).args([verb, "-q", &from, &to]);
        command.env("FLOE_TICKET", ticket.trim()).env("FLOE_STATE", "client");
        let begun = Instant::now();
        let client = Process::start(&mut command, "floe", &at("client.log"))?;
        if !client.over_within(Duration::from_secs(self.args.cap)) {
            return Err(format!("{way:?} did not end: {}", client.words()));
        }
        client.finish()?;
        Ok(number(self.args.size.0) / 1e9 / begun.elapsed().as_secs_f64())
    }

    /// One transfer under siege.
    fn besiege(&self, way: Way, core: usize, tally: &mut Tally, told: &mut bool) -> Result<()> {
        let pid = self.server.id();
        let open = || descriptors(pid);
        let before = open();
        let crowd = Crowd::begin(self.target.clone(), core)?;
        let mut left = self.args.idle;
        for kind in [Kind::Session, Kind::Stream, Kind::Silent] {
            let bytes = accounts::resident(pid).0;
            // Streams are a part of those that a session may have; the rest has said nothing.
            let asked = if kind == Kind::Stream { left / 4 } else { left };
            let stands = crowd.gather(kind, asked)?;
            left = left.saturating_sub(stands);
            if !*told && stands > 0 {
                let each = accounts::resident(pid).0.saturating_sub(bytes) / stands as u64;
                println!("- {kind:?}: {stands} stand, {each} bytes of the server each");
            }
        }
        *told = true;
        let threads = thread_times(pid);
        accounts::forget_peak(pid);
        crowd.churn(self.args.churn)?;
        let begun = Instant::now();
        let rate = self.transfer(way)?;
        let seconds = begun.elapsed().as_secs_f64();
        let done = crowd.end()?;
        tally.besieged.push(rate);
        tally.handshakes.push(number(done) / seconds);
        tally.peak = tally.peak.max(accounts::peak(pid).unwrap_or_default().0);
        for (name, cpu) in thread_times(pid) {
            let was = threads.get(&name).copied().unwrap_or(0.0);
            *tally.threads.entry(name).or_default() += cpu - was;
        }
        // What stood is gone before anything is measured alone.
        if !await_that(START, || open() <= before) {
            return Err(format!("{} of the server's connections are not gone", open() - before));
        }
        Ok(())
    }
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

/// Seconds that the threads of a process have run, by their names without a number.
fn thread_times(pid: u32) -> BTreeMap<String, f64> {
    let mut times = BTreeMap::new();
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    for task in tasks.into_iter().flatten().flatten() {
        let read = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let name = read("comm").trim().trim_end_matches(|c: char| c.is_ascii_digit()).to_owned();
        let name = name.trim_end_matches('-').to_owned();
        // The first number is nanoseconds on a processor.
        let ran = read("schedstat").split_whitespace().next().and_then(|ns| ns.parse().ok());
        *times.entry(name).or_default() += number(ran.unwrap_or(0)) / 1e9;
    }
    times
}

fn size(text: &str) -> std::result::Result<ByteCount, String> {
    parse_size(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transfer_that_keeps_too_little_is_a_failure() {
        let tally = |besieged: f64| Tally {
            alone: vec![1.0, 1.1, 0.9],
            besieged: vec![besieged; 3],
            handshakes: vec![100.0],
            ..Tally::default()
        };
        assert_eq!(report(Way::Get, &tally(0.81)), None);
        assert!(report(Way::Put, &tally(0.79)).is_some_and(|line| line.contains("Put: 0.790")));
    }

    #[test]
    fn threads_are_told_by_name() {
        let times = thread_times(std::process::id());
        assert!(times.values().sum::<f64>() > 0.0, "{times:?}");
    }
}
