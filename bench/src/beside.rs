//! What a transfer leaves to others: alone on an emulated path, beside one plain TCP connection
//! that moves bytes the same way as fast as it can, and alone again; in the background, and not.
//!
//! Both have the congestion control of the route. What the transfer moved is what the interface
//! carried without the other's bytes, so repeats and headers count as its own: no kindness to it.

pub mod bed; // the server, the transfer and its rival

use crate::figure::number;
use crate::joined::{Joined, Setting};
use crate::report::machine;
use crate::session::Way;
use crate::{Result, session};
use bed::{Bed, Moved};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Options of `floe-bench beside`.
#[derive(clap::Args, Clone, Debug)]
pub struct BesideArgs {
    /// The link's rate, Mbit a second
    #[arg(long, default_value_t = 100)]
    rate: u64,
    /// Round-trip times, milliseconds
    #[arg(long, value_delimiter = ',', default_value = "10,40,100")]
    rtt: Vec<u64>,
    /// How much waits for the link at most, KiB; without it, what the link carries in a round trip
    #[arg(long)]
    queue_kib: Option<u64>,
    /// The congestion control
    #[arg(long, default_value = "cubic")]
    congestion: String,
    /// Which way
    #[arg(long, value_delimiter = ',', default_value = "get,put")]
    ways: Vec<Way>,
    /// What the transfer is started with
    #[arg(long, value_delimiter = ',', default_value = "normal,background")]
    priorities: Vec<Priority>,
    /// Seconds of each part: alone, beside the other, alone again
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(5..))]
    seconds: u64,
    /// Print each second
    #[arg(long)]
    trace: bool,
    /// Where files lie (tmpfs)
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// The program to measure; without it, floe is built from this workspace
    #[arg(long)]
    floe: Option<PathBuf>,
}

/// Whether `--background` is given.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Priority {
    Normal,
    Background,
}

/// Of a link's bits, what TCP has for payload at an MTU of 1500 with timestamps.
const PAYLOAD: f64 = 1448.0 / 1500.0;
const SECOND: Duration = Duration::from_secs(1);

/// Shares of the link in each second, of the transfer and of the other.
struct Course {
    parts: [Vec<[f64; 2]>; 3],
}

/// Measures and prints.
pub fn run(args: &BesideArgs) -> Result<()> {
    let program = session::program(args.floe.as_deref())?;
    machine().iter().for_each(|line| println!("- {line}"));
    let queue = args.queue_kib.map_or("a round trip".to_owned(), |kib| format!("{kib} KiB"));
    println!("- link: {} Mbit/s each way, queue {queue}, {}", args.rate, args.congestion);
    println!("- shares of the link in percent; the first fourth of each part is not counted\n");
    println!("| RTT, ms | way | transfer | alone | beside: it / other | after | yields | back |");
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for rtt_ms in &args.rtt {
        for way in &args.ways {
            for priority in &args.priorities {
                let course = args.measure(*rtt_ms, *way, *priority, &program)?;
                let name = format!("{rtt_ms} | {way:?} | {priority:?}");
                println!("| {name} | {} |", course.line());
                if args.trace {
                    course.trace();
                }
            }
        }
    }
    Ok(())
}

impl BesideArgs {
    /// Each has a link of its own, so that nothing waits in it from the one before.
    fn measure(
        &self,
        rtt_ms: u64,
        way: Way,
        priority: Priority,
        program: &std::path::Path,
    ) -> Result<Course> {
        let link = Joined::lay(&Setting {
            congestion: self.congestion.clone(),
            queue_bytes: self.queue_kib.map(|kib| kib << 10),
            ..Setting::plain(self.rate * 1_000_000, rtt_ms)
        })?;
        let size = self.rate * 125_000 * (3 * self.seconds + 10);
        let mut bed = Bed::make(&self.memory, program, link.site(), way, size)?;
        bed.transfer(if priority == Priority::Background { "--background" } else { "" })?;
        let alone = self.watch(&mut bed)?;
        bed.compete()?;
        let beside = self.watch(&mut bed)?;
        bed.end_rival()?;
        let after = self.watch(&mut bed)?;
        Ok(Course { parts: [alone, beside, after] })
    }

    /// One part, second by second.
    fn watch(&self, bed: &mut Bed) -> Result<Vec<[f64; 2]>> {
        let mut shares = Vec::new();
        let (mut last, mut at) = (bed.moved()?, Instant::now());
        for _ in 0..self.seconds {
            sleep(SECOND);
            let (now, then) = (bed.moved()?, at);
            at = Instant::now();
            let share = |bytes: u64, of: f64| {
                number(bytes) * 8.0 / of / (number(self.rate) * 1e6) / (at - then).as_secs_f64()
            };
            let Moved { all, rival } = now - last;
            let rival = share(rival, PAYLOAD);
            shares.push([(share(all, 1.0) - rival).max(0.0), rival]);
            last = now;
        }
        Ok(shares)
    }
}

impl Course {
    fn line(&self) -> String {
        let [alone, beside, after] = &self.parts;
        let percent = |part: &[[f64; 2]], of: usize| {
            let steady = &part[part.len() / 4..];
            let mean =
                steady.iter().map(|shares| shares[of]).sum::<f64>() / number(steady.len() as u64);
            format!("{:.0}", mean * 100.0)
        };
        let since = |part: &[[f64; 2]], holds: &dyn Fn(f64) -> bool| {
            let first = part.iter().position(|shares| holds(shares[0]));
            first.map_or("never".to_owned(), |first| format!("{} s", first + 1))
        };
        format!(
            "{} | {} / {} | {} | {} | {}",
            percent(alone, 0),
            percent(beside, 0),
            percent(beside, 1),
            percent(after, 0),
            since(beside, &|own| own <= YIELDED),
            since(after, &|own| own >= TAKEN_BACK),
        )
    }

    fn trace(&self) {
        for (part, name) in self.parts.iter().zip(["alone", "beside", "after"]) {
            let shares = part.iter().map(|[own, other]| format!("{own:.2}/{other:.2}"));
            println!("  {name}: {}", shares.collect::<Vec<_>>().join(" "));
        }
    }
}

/// From which share on it has given way, and has the link again.
const YIELDED: f64 = 0.2;
const TAKEN_BACK: f64 = 0.8;
