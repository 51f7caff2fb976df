//! `floe-sim`: runs seeds, and one seed again with its trace; explores a small world; plants bugs
//! and says what catches them.

use floe_proto::frame::Direction;
use floe_sim::cuts::{self, Kind};
use floe_sim::explore::{self, Bounds};
use floe_sim::run::{self, Seeds};
use floe_sim::trace::{Telling, tell};
use floe_sim::world::{Broken, Tally, World};
use std::process::ExitCode;

const USAGE: &str = "\
usage: floe-sim seeds [--count N] [--from SEED] [--failures N]     500 from 1, until 10 failed
       floe-sim replay SEED                                        all that happens, told
       floe-sim explore [--states N] [--faults N] [--restarts N]   1000000, 2, 1
       floe-sim cuts [--every N]                                   a death at each Nth operation: 1
       floe-sim planted [--count N] [BUG]                          300 seeds a bug, or that one

The last with --features planted; then each of them takes --bug BUG, too.
Status 0: no promise was broken (planted: each bug was caught). 1: else. 2: usage.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    #[cfg(feature = "planted")]
    let Some(words) = planted(words) else { return usage() };
    match words[..] {
        ["--help" | "-h"] | [_, "--help" | "-h"] => {
            tell(USAGE.trim_end());
            ExitCode::SUCCESS
        }
        ["seeds", ref flags @ ..] => match seeds(flags) {
            Some(seeds) => run_seeds(seeds),
            None => usage(),
        },
        ["explore", ref flags @ ..] => match bounds(flags) {
            Some(bounds) => run_explore(bounds),
            None => usage(),
        },
        ["cuts"] => run_cuts(1),
        ["cuts", "--every", every] => every.parse().map_or_else(|_| usage(), run_cuts),
        ["planted"] => run_planted("", 300),
        ["planted", bug] => run_planted(bug, 300),
        ["planted", "--count", count, ref bug @ ..] => match (count.parse(), bug) {
            (Ok(count), []) => run_planted("", count),
            (Ok(count), [bug]) => run_planted(bug, count),
            _ => usage(),
        },
        ["replay", seed] => seed.parse().map_or_else(|_| usage(), replay),
        _ => usage(),
    }
}

/// Plants the bug that `--bug` names, if it is there; the other words.
#[cfg(feature = "planted")]
fn planted(mut words: Vec<&str>) -> Option<Vec<&str>> {
    if let Some(at) = words.iter().position(|word| *word == "--bug") {
        floe_types::planted::plant(Some(named_bug(words.get(at + 1)?)?));
        words.drain(at..at + 2);
    }
    Some(words)
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}

fn seeds(flags: &[&str]) -> Option<Seeds> {
    let mut seeds = Seeds { first: 1, count: 500, failures_max: 10 };
    for pair in flags.chunks(2) {
        let [flag, value] = pair else { return None };
        match *flag {
            "--count" => seeds.count = value.parse().ok()?,
            "--from" => seeds.first = value.parse().ok()?,
            "--failures" => seeds.failures_max = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(seeds)
}

fn run_seeds(seeds: Seeds) -> ExitCode {
    let began = std::time::Instant::now();
    let report = run::seeds(seeds, &|seed, result| {
        if let Err(broken) = result {
            tell(&format!("seed {seed}: {}", broken.what));
            broken.trace.iter().for_each(|line| tell(&format!("    {line}")));
            tell(&format!("  again: cargo run --release -p floe-sim{} replay {seed}", again()));
        }
    });
    let Tally { events, elapsed, succeeded, failed, sessions, kills, cuts, looks, answers, .. } =
        report.sum;
    println!(
        "{} seeds passed, {} failed, in {} s: {events} events, {} virtual hours, \
         {succeeded} commands ended well and {failed} did not, {sessions} sessions, \
         {kills} kills, {cuts} power cuts, {looks} looks, {answers} requests answered",
        report.passed,
        report.failed.len(),
        began.elapsed().as_secs(),
        elapsed.0 / 3_600_000_000,
    );
    if report.failed.is_empty() && report.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What goes before the words of a command that is given again.
fn again() -> String {
    use floe_types::planted::{Bug, is};
    Bug::ALL
        .into_iter()
        .find(|bug| is(*bug))
        .map_or_else(|| " --".to_owned(), |bug| format!(" --features planted -- --bug {bug:?}"))
}

fn replay(seed: u64) -> ExitCode {
    tell(&format!("{:#?}", World::new(seed, Telling::Nothing).options()));
    match run::seed(seed, Telling::Everything) {
        Ok(tally) => {
            tell(&format!("seed {seed} passes: {tally:?}"));
            ExitCode::SUCCESS
        }
        Err(Broken { what, .. }) => {
            tell(&format!("seed {seed} fails: {what}"));
            ExitCode::FAILURE
        }
    }
}

fn bounds(flags: &[&str]) -> Option<Bounds> {
    let direction = Direction::Put;
    let mut bounds = Bounds { direction, faults: 2, restarts: 1, states_max: 1_000_000 };
    for pair in flags.chunks(2) {
        let [flag, value] = pair else { return None };
        match *flag {
            "--states" => bounds.states_max = value.parse().ok()?,
            "--faults" => bounds.faults = value.parse().ok()?,
            "--restarts" => bounds.restarts = value.parse().ok()?,
            _ => return None,
        }
    }
    Some(bounds)
}

fn run_explore(bounds: Bounds) -> ExitCode {
    let mut well = ExitCode::SUCCESS;
    for direction in [Direction::Put, Direction::Get] {
        let began = std::time::Instant::now();
        let found = explore::explore(Bounds { direction, ..bounds });
        let reach = if found.all { "all there are" } else { "there are more" };
        println!(
            "{direction:?}: {} distinct states ({reach}), all that are {} steps deep, the \
             farthest {}; {} steps, {} ends, in {} s",
            found.states,
            found.depth_of_all,
            found.depth,
            found.steps,
            found.ends,
            began.elapsed().as_secs(),
        );
        if let Some((what, way)) = found.broken {
            println!("{what}");
            way.iter().for_each(|step| println!("  {step}"));
            well = ExitCode::FAILURE;
        }
    }
    well
}

/// Every cut of both works, with a death before at each `every`th operation.
fn run_cuts(every: u64) -> ExitCode {
    let mut well = ExitCode::SUCCESS;
    for kind in [Kind::Put, Kind::Batch] {
        for restarts in [0, 1] {
            let began = std::time::Instant::now();
            let found = cuts::every_cut(cuts::Bounds { kind, restarts, every });
            println!(
                "{kind:?}, {restarts} restarts: {} cuts that left {} states, {} operations, at \
                 most {} effects not synced, subsets drawn of {} disks, in {} s",
                found.cases,
                found.states,
                found.operations,
                found.unsynced_max,
                found.drawn_of,
                began.elapsed().as_secs(),
            );
            if let Some(what) = found.broken {
                println!("{what}");
                well = ExitCode::FAILURE;
            }
        }
    }
    well
}

#[cfg(feature = "planted")]
fn named_bug(name: &str) -> Option<floe_types::planted::Bug> {
    use floe_types::planted::Bug;
    Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
}

/// Plants every bug, or the one that is named, one after the other.
#[cfg(feature = "planted")]
fn run_planted(only: &str, count: u64) -> ExitCode {
    use floe_sim::planted::{Caught, catch};
    let began = std::time::Instant::now();
    let all = floe_types::planted::Bug::ALL.to_vec();
    let bugs = if only.is_empty() { all } else { named_bug(only).into_iter().collect() };
    let mut caught = 0;
    // What panics on purpose is told below.
    std::panic::set_hook(Box::new(|_| {}));
    for bug in &bugs {
        let said = match catch(*bug, count) {
            Caught::BySeeds { took, seed, what } => {
                format!("by the oracle, after {took} seeds, in seed {seed}: {what}")
            }
            Caught::ByExploring { states, what } => {
                format!("by exploring, after {states} states: {what}")
            }
            Caught::No => {
                println!("{bug:?}: NOT CAUGHT");
                continue;
            }
        };
        caught += 1;
        println!("{bug:?}: {said}");
    }
    println!("{caught} of {} bugs caught, in {} s", bugs.len(), began.elapsed().as_secs());
    if caught == bugs.len() && caught > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "planted"))]
fn run_planted(_only: &str, _count: u64) -> ExitCode {
    eprintln!("floe-sim: bugs can be planted only with --features planted");
    ExitCode::from(2)
}
