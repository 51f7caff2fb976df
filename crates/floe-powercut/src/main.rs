//! `floe-powercut`: plays rounds of power cuts under the real binary, and says what they met.

use floe_powercut::dice::Dice;
use floe_powercut::mounted;
use floe_powercut::program::Program;
use floe_powercut::round::{self, Tally, Trouble};
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "usage: floe-powercut [--seed N] [--rounds N] [--dir DIR] [--floe PROGRAM]

Plays rounds: a transfer by the real binary whose one side stands on a file system that forgets what
was not synced when its power is cut. Round n of seed s is the one round of seed s + n - 1. Needs
/dev/fuse and root. DIR is where it works (else the directory for temporary files); PROGRAM is the
binary (else the one of this repository is built).

Exit status: 0 the contract held, 1 it did not or nothing was dropped, 2 usage, 3 this machine
cannot play.
";
const CANNOT: u8 = 3;

struct Flags {
    seed: u64,
    rounds: u64,
    dir: PathBuf,
    program: Option<PathBuf>,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(flags) = flags(&words) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    if let Some(why) = mounted::missing() {
        eprintln!("floe-powercut: NOTHING WAS TESTED: {why}");
        return ExitCode::from(CANNOT);
    }
    match run(&flags) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("floe-powercut: {error}");
            ExitCode::from(CANNOT)
        }
    }
}

fn flags(words: &[String]) -> Option<Flags> {
    let mut flags = Flags { seed: 1, rounds: 20, dir: std::env::temp_dir(), program: None };
    for pair in words.chunks(2) {
        let [flag, value] = pair else { return None };
        match flag.as_str() {
            "--seed" => flags.seed = value.parse().ok()?,
            "--rounds" => flags.rounds = value.parse().ok()?,
            "--dir" => flags.dir = value.into(),
            "--floe" => flags.program = Some(value.into()),
            _ => return None,
        }
    }
    Some(flags)
}

fn run(flags: &Flags) -> io::Result<ExitCode> {
    let program = flags.program.clone().map_or_else(Program::built, |at| Ok(Program::at(at)))?;
    let began = Instant::now();
    let (mut sum, mut failed) = (Tally::default(), 0);
    for seed in (flags.seed..).take(usize::try_from(flags.rounds).unwrap_or(usize::MAX)) {
        let dir = tempfile::Builder::new().prefix("floe-powercut-").tempdir_in(&flags.dir)?;
        match round::play(&program, seed, dir.path()) {
            Ok(tally) => add(&mut sum, &tally),
            Err(Trouble::Machine(error)) => {
                return Err(io::Error::new(error.kind(), format!("seed {seed}: {error}")));
            }
            Err(Trouble::Broken(what)) => {
                failed += 1;
                println!("seed {seed}: {what}");
                println!("  its story: {}", round::Story::drawn(&mut Dice::new(seed)));
                println!(
                    "  again: cargo run --release -p floe-powercut -- --seed {seed} --rounds 1"
                );
                keep_logs(dir.path(), seed);
            }
        }
    }
    print(flags, &sum, failed, began);
    let proves = sum.toll.dropped > 0;
    if !proves {
        println!("NOTHING WAS DROPPED at any cut: this proves nothing");
    }
    Ok(if failed == 0 && proves { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn add(sum: &mut Tally, one: &Tally) {
    sum.cuts += one.cuts;
    sum.cuts_after_done += one.cuts_after_done;
    sum.nothing += one.nothing;
    sum.old += one.old;
    sum.new += one.new;
    sum.spared += one.spared;
    sum.calls += one.calls;
    sum.toll.add(one.toll);
}

fn print(flags: &Flags, sum: &Tally, failed: u64, began: Instant) {
    println!(
        "seed {}, {} rounds, {failed} failed, in {} s: {} cuts ({} after a command was done), {} \
         calls, {} unsynced effects dropped and {} kept; final names showed nothing {} times, the \
         old version {}, the new one {}; {} checkpointed bytes were not sent again",
        flags.seed,
        flags.rounds,
        began.elapsed().as_secs(),
        sum.cuts,
        sum.cuts_after_done,
        sum.calls,
        sum.toll.dropped,
        sum.toll.kept,
        sum.nothing,
        sum.old,
        sum.new,
        sum.spared,
    );
}

/// What the programs of a failed round wrote stays.
fn keep_logs(dir: &Path, seed: u64) {
    let kept = dir.with_file_name(format!("floe-powercut-failed-{seed}"));
    let copied = std::fs::create_dir_all(&kept).and_then(|()| {
        for entry in std::fs::read_dir(dir.join("logs"))? {
            let entry = entry?;
            std::fs::copy(entry.path(), kept.join(entry.file_name()))?;
        }
        Ok(())
    });
    match copied {
        Ok(()) => println!("  logs: {}", kept.display()),
        Err(error) => println!("  logs: {error}"),
    }
}
