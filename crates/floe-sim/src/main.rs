//! `floe-sim`: runs seeds, and one seed again with its trace; explores a small world; plants bugs
//! and says what catches them.

use floe_proto::frame::Direction;
use floe_sim::explore::{self, Bounds};
use floe_sim::planted::{self, Caught};
use floe_sim::run::{self, Seeds};
use floe_sim::trace::Telling;
use floe_sim::world::{Broken, Tally};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: floe-sim seeds [--count N] [--from SEED] [--failures N]
       floe-sim replay SEED
       floe-sim explore [--states N] [--faults N] [--restarts N]
       floe-sim planted [--count N]
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["seeds", ref flags @ ..] => match seeds(flags) {
            Some(seeds) => run_seeds(seeds),
            None => usage(),
        },
        ["explore", ref flags @ ..] => match bounds(flags) {
            Some(bounds) => run_explore(bounds),
            None => usage(),
        },
        ["planted", ref flags @ ..] => match seeds(flags) {
            Some(seeds) => run_planted(seeds.count),
            None => usage(),
        },
        ["replay", seed] => seed.parse().map_or_else(|_| usage(), replay),
        _ => usage(),
    }
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
            println!("seed {seed}: {}", broken.what);
            println!("  again: cargo run --release -p floe-sim -- replay {seed}");
        }
    });
    let Tally { events, elapsed, succeeded, failed, sessions, kills, cuts, looks, .. } = report.sum;
    println!(
        "{} seeds passed, {} failed, in {} s: {events} events, {} virtual hours, \
         {succeeded} commands ended well and {failed} did not, {sessions} sessions, \
         {kills} kills, {cuts} power cuts, {looks} looks",
        report.passed,
        report.failed.len(),
        began.elapsed().as_secs(),
        elapsed.0 / 3_600_000_000,
    );
    if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn replay(seed: u64) -> ExitCode {
    match run::seed(seed, Telling::Everything) {
        Ok(tally) => {
            println!("seed {seed} passes: {tally:?}");
            ExitCode::SUCCESS
        }
        Err(Broken { what, .. }) => {
            println!("seed {seed} fails: {what}");
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
            "{direction:?}: {} distinct states ({reach}), {} steps, {} ends, {} deep, in {} s",
            found.states,
            found.steps,
            found.ends,
            found.depth,
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

/// Plants every bug, one after the other. The copy is beneath `target/planted` and stays there.
fn run_planted(count: u64) -> ExitCode {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let repository = own.ancestors().nth(2).unwrap_or(own);
    let scratch = repository.join("target/planted");
    let mut well = ExitCode::SUCCESS;
    let patches = match planted::patches(repository) {
        Ok(patches) => patches,
        Err(error) => {
            eprintln!("floe-sim: read the patches: {error}");
            return ExitCode::FAILURE;
        }
    };
    for patch in patches {
        let name = patch.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let said = match planted::plant(repository, &scratch, &patch, count) {
            Ok(Caught::BySeeds(how)) => format!("caught by seeds: {how}"),
            Ok(Caught::ByExploring(how)) => format!("caught by exploring: {how}"),
            Ok(Caught::No) => "NOT CAUGHT".to_owned(),
            Ok(Caught::NotBuilt(why)) => format!("NOT BUILT: {why}"),
            Err(error) => format!("NOT RUN: {error}"),
        };
        if said.starts_with("NOT") {
            well = ExitCode::FAILURE;
        }
        println!("{name}: {said}");
    }
    well
}
