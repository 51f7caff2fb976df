//! Whether a transfer keeps to `--limit`: how long it takes, start-up included, against its size
//! over its limit, and what the interface carried in the worst tenth of a second, with headers.

use crate::beside::bed::Bed;
use crate::figure::number;
use crate::joined::{Joined, Setting};
use crate::report::machine;
use crate::session::Way;
use crate::{Result, session};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Options of `floe-bench limit`.
#[derive(clap::Args, Clone, Debug)]
pub struct LimitArgs {
    /// Limits, kilobytes a second
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    limits: Vec<u64>,
    /// The link's rate, Mbit a second
    #[arg(long, default_value_t = 200)]
    rate: u64,
    /// Round-trip times, milliseconds
    #[arg(long, value_delimiter = ',', default_value = "0,40")]
    rtt: Vec<u64>,
    /// Which way
    #[arg(long, value_delimiter = ',', default_value = "put,get")]
    ways: Vec<Way>,
    /// Seconds that each transfer is to take
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(2..))]
    seconds: u64,
    /// Where files lie (tmpfs)
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// The program to measure; without it, floe is built from this workspace
    #[arg(long)]
    floe: Option<PathBuf>,
}

/// One transfer.
struct Kept {
    took: Duration,
    /// What the worst part carried, of what the limit allows.
    worst: f64,
}

/// How much more or less than its size over its limit a transfer may take.
const ERROR_MAX: f64 = 0.05;
const PART: Duration = Duration::from_millis(100);

/// Measures and prints; fails where a limit is not kept.
pub fn run(args: &LimitArgs) -> Result<()> {
    let program = session::program(args.floe.as_deref())?;
    machine().iter().for_each(|line| println!("- {line}"));
    println!("- link: {} Mbit/s each way; transfers of {} s\n", args.rate, args.seconds);
    println!("| limit, kB/s | RTT, ms | way | took, s | off | worst 100 ms / limit |");
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut worst: f64 = 0.0;
    for limit in &args.limits {
        for rtt_ms in &args.rtt {
            for way in &args.ways {
                let kept = args.measure(*limit, *rtt_ms, *way, &program)?;
                let took = kept.took.as_secs_f64();
                let off = took / number(args.seconds) - 1.0;
                worst = worst.max(off.abs());
                let (off, most) = (off * 100.0, kept.worst);
                println!("| {limit} | {rtt_ms} | {way:?} | {took:.2} | {off:+.1} % | {most:.2} |");
            }
        }
    }
    if worst > ERROR_MAX {
        return Err(format!("a limit was missed by {:.1} %", worst * 100.0));
    }
    Ok(())
}

impl LimitArgs {
    fn measure(&self, limit: u64, rtt_ms: u64, way: Way, program: &Path) -> Result<Kept> {
        let link = Joined::lay(&Setting::plain(self.rate * 1_000_000, rtt_ms))?;
        let a_second = limit * 1000;
        let mut bed = Bed::make(&self.memory, program, link.site(), way, a_second * self.seconds)?;
        let (begun, mut last) = (Instant::now(), bed.moved()?);
        bed.transfer(&format!("--limit {a_second}"))?;
        let (mut worst, mut due): (f64, _) = (0.0, begun);
        while !bed.is_over()? {
            due += PART;
            sleep(due.saturating_duration_since(Instant::now()));
            let Ok(now) = bed.moved() else { break };
            let part = number((now - last).all) / (number(a_second) * PART.as_secs_f64());
            (worst, last) = (worst.max(part), now);
        }
        Ok(Kept { took: begun.elapsed(), worst })
    }
}
