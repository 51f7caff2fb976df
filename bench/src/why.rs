//! Whether floe names what limits it: transfers with a limit that is constructed, run again and
//! again, and what the real program says of each; and how near `floe doctor` comes to their rate.
//!
//! One run in two is asked for events (`--json`), the others for the line that people read: both
//! have to be right. A disk is slow because its program's reads or writes are held back; a path is
//! that of `floe-bench wan`; a processor is slow by a quota of its control group.

mod quota; // a slow processor
mod disk; // a slow disk
mod bed; // directories, and the two programs

use crate::figure::{Figure, number};
use crate::joined::{Joined, RMEM, Setting};
use crate::report::machine;
use crate::session::Way;
use crate::site::Site;
use crate::{Result, session};
use bed::Bed;
use floe_types::ByteCount;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// Options of `floe-bench why`.
#[derive(clap::Args, Clone, Debug)]
pub struct WhyArgs {
    /// Runs of each
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Only these limits
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Which way
    #[arg(long, value_delimiter = ',', default_value = "put,get")]
    ways: Vec<Way>,
    /// Where files lie (tmpfs)
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// Seconds after which a transfer is given up
    #[arg(long, default_value_t = 120)]
    cap: u64,
    /// The program to ask; without it, floe is built from this workspace
    #[arg(long)]
    floe: Option<PathBuf>,
    /// Prints what each run said
    #[arg(long, short)]
    verbose: bool,
}

/// One end of a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Where the bytes come from.
    Sender,
    /// Where they go.
    Receiver,
}

/// A limit that is made, and what is to be said of it.
pub struct Bottleneck {
    name: &'static str,
    /// What is moved: some seconds' worth.
    size: ByteCount,
    made: Made,
    /// Its name for programs.
    limit: &'static str,
    /// For people.
    words: &'static str,
}

/// How a limit is made.
#[derive(Clone, Copy, Debug)]
enum Made {
    /// A disk that moves so many bytes a second.
    Disk(Side, ByteCount),
    /// A processor that runs so many microseconds of each 20,000.
    Processor(Side, u32),
    /// A path.
    Path { bits: u64, rtt_ms: u64, loss_ppm: u32, rmem: &'static str },
}

const MIB: u64 = 1 << 20;
/// Windows of less than 32 KiB at the receiver.
const SMALL_RMEM: &str = "4096 32768 32768";

const BOTTLENECKS: [Bottleneck; 7] = [
    Bottleneck {
        name: "slow-source",
        size: ByteCount(16 * MIB),
        made: Made::Disk(Side::Sender, ByteCount(8 * MIB)),
        limit: "source_disk",
        words: "waiting for the sender's disk; more streams will not help",
    },
    Bottleneck {
        name: "slow-sink",
        size: ByteCount(16 * MIB),
        made: Made::Disk(Side::Receiver, ByteCount(8 * MIB)),
        limit: "sink_disk",
        words: "waiting for the receiver's disk; more streams will not help",
    },
    Bottleneck {
        name: "thin-link",
        size: ByteCount(16 * MIB),
        made: Made::Path { bits: 30_000_000, rtt_ms: 20, loss_ppm: 0, rmem: RMEM },
        limit: "network",
        words: "waiting for the network",
    },
    Bottleneck {
        name: "loss",
        size: ByteCount(10 * MIB),
        made: Made::Path { bits: 100_000_000, rtt_ms: 50, loss_ppm: 10_000, rmem: RMEM },
        limit: "loss",
        words: "waiting for the network, which loses packets; more streams may help",
    },
    Bottleneck {
        name: "receiver-window",
        size: ByteCount(10 * MIB),
        made: Made::Path { bits: 100_000_000, rtt_ms: 40, loss_ppm: 0, rmem: SMALL_RMEM },
        limit: "receiver_tcp_window",
        words: "waiting for the receiver's TCP window; a larger tcp_rmem there, or more streams, \
                may help",
    },
    Bottleneck {
        name: "sender-cpu",
        size: ByteCount(192 * MIB),
        made: Made::Processor(Side::Sender, 1_000),
        limit: "sender_cpu",
        words: "hashing and encrypting at the sender",
    },
    Bottleneck {
        name: "receiver-cpu",
        size: ByteCount(192 * MIB),
        made: Made::Processor(Side::Receiver, 1_000),
        limit: "receiver_cpu",
        words: "decrypting and hashing at the receiver",
    },
];

/// Of ten runs, so many have to be right.
const RIGHT_OF_TEN: usize = 9;
/// How far from their rate doctor may be, of it.
const FORETOLD_ERROR_MAX: f64 = 0.2;

/// Makes each limit, and prints how often it was named.
pub fn run(args: &WhyArgs) -> Result<()> {
    let program = session::program(args.floe.as_deref())?;
    // Of this process's first thread, before any other is started.
    let loopback = Site::loopback("cubic");
    for line in machine() {
        println!("- {line}");
    }
    println!("\n| limit | way | named right | median, s | MiB/s | doctor, of it | also named |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    let mut missed = Vec::new();
    for bottleneck in &BOTTLENECKS {
        if !args.only.is_empty() && !args.only.iter().any(|name| name == bottleneck.name) {
            continue;
        }
        for way in &args.ways {
            let outcome = bottleneck.try_out(*way, args, &program, &loopback)?;
            println!("{}", outcome.row(bottleneck, *way));
            if outcome.right * 10 < outcome.said.len() * RIGHT_OF_TEN {
                missed.push(format!("{} {way:?} was named right too seldom", bottleneck.name));
            }
            if (outcome.doctor() - 1.0).abs() > FORETOLD_ERROR_MAX {
                missed.push(format!("doctor is wrong of {} {way:?}", bottleneck.name));
            }
        }
    }
    if missed.is_empty() {
        return Ok(());
    }
    Err(missed.join(", "))
}

/// What the runs of one limit said.
#[derive(Default)]
struct Outcome {
    right: usize,
    said: Vec<String>,
    seconds: Vec<f64>,
    /// What doctor foretold, and what came of it, bytes a second.
    foretold: (f64, f64),
}

impl Outcome {
    fn median(&self) -> f64 {
        Figure::of(self.seconds.iter().copied()).map_or(0.0, |figure| figure.median)
    }

    /// What doctor foretold, of what came of it.
    fn doctor(&self) -> f64 {
        self.foretold.0 / self.foretold.1
    }

    fn row(&self, bottleneck: &Bottleneck, way: Way) -> String {
        let mut others: BTreeMap<&str, u32> = BTreeMap::new();
        for said in &self.said {
            if said != bottleneck.limit && said != bottleneck.words {
                *others.entry(said).or_default() += 1;
            }
        }
        let others: Vec<_> =
            others.iter().map(|(name, count)| format!("{name} ({count})")).collect();
        let (median, doctor) = (self.median(), self.doctor());
        let rate = number(bottleneck.size.0 / MIB) / median;
        let (name, right, all) = (bottleneck.name, self.right, self.said.len());
        let others = others.join(", ");
        let named = format!("{name} | {way:?} | {right} of {all}");
        format!("| {named} | {median:.1} | {rate:.1} | {doctor:.2} | {others} |")
    }
}

impl Bottleneck {
    fn try_out(
        &self,
        way: Way,
        args: &WhyArgs,
        program: &std::path::Path,
        loopback: &Site,
    ) -> Result<Outcome> {
        let link = self.setting().map(|setting| Joined::lay(&setting)).transpose()?;
        let site = link.as_ref().map_or_else(|| loopback.clone(), Joined::site);
        let cap = Duration::from_secs(args.cap);
        let mut bed = Bed::make(&args.memory, program, site, self, way)?;
        let foretold = bed.foretold(cap)?;
        if args.verbose {
            let (foretold, rate) = foretold;
            eprintln!("{} {way:?}: doctor {foretold:.0} B/s, then {rate:.0}", self.name);
        }
        let mut outcome = Outcome { foretold, ..Outcome::default() };
        for nth in 0..args.runs {
            let form = if nth % 2 == 0 { bed::Form::Events } else { bed::Form::Text };
            let (said, seconds) = bed.transfer(form, cap)?;
            if args.verbose {
                eprintln!("{} {way:?} {nth}: {said} in {seconds:.1} s", self.name);
            }
            outcome.right += usize::from(said == self.limit || said == self.words);
            outcome.said.push(said);
            outcome.seconds.push(seconds);
        }
        if let Some(link) = link.filter(|_| args.verbose) {
            eprintln!("{}", link.remark(self.name));
        }
        Ok(outcome)
    }

    fn setting(&self) -> Option<Setting> {
        let Made::Path { bits, rtt_ms, loss_ppm, rmem } = self.made else { return None };
        Some(Setting { loss_ppm, rmem, ..Setting::plain(bits, rtt_ms) })
    }
}
