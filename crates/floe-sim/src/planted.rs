//! Bugs on purpose, one after the other: the seeds must catch each, or the explored small world
//! must. A machine that finds no bug is suspect.
//!
//! They stand in the code behind the feature `planted` (`floe_types::planted`), which only this
//! crate can ask for; with it, one build holds them all, and one at a time is planted.

use crate::explore::{Bounds, explore};
use crate::run::{self, Seeds};
use floe_proto::frame::Direction;
use floe_types::planted::{Bug, plant};

/// What became of one bug.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Caught {
    /// By a seed: the seeds that it took, the one that caught it, and what it said.
    BySeeds {
        /// How many ran.
        took: u64,
        /// Which caught it.
        seed: u64,
        /// The promise that was broken.
        what: String,
    },
    /// By the small world that is explored, after so many states.
    ByExploring {
        /// How many.
        states: usize,
        /// The promise that was broken.
        what: String,
    },
    /// Not at all.
    No,
}

/// States of the small world in which a bug must show.
const STATES_MAX: usize = 100_000;

/// Plants one bug and runs at most so many seeds, then explores.
#[must_use]
pub fn catch(bug: Bug, seeds: u64) -> Caught {
    plant(Some(bug));
    let caught = by_seeds(seeds).or_else(by_exploring).unwrap_or(Caught::No);
    plant(None);
    caught
}

fn by_seeds(count: u64) -> Option<Caught> {
    let report = run::seeds(Seeds { first: 1, count, failures_max: 1 }, &|_, _| {});
    let (seed, broken) = report.failed.first()?;
    let took = report.passed + report.failed.len() as u64;
    Some(Caught::BySeeds { took, seed: *seed, what: broken.what.clone() })
}

fn by_exploring() -> Option<Caught> {
    [Direction::Put, Direction::Get].into_iter().find_map(|direction| {
        let bounds = Bounds { direction, faults: 2, restarts: 1, states_max: STATES_MAX };
        let found = explore(bounds);
        let (what, _) = found.broken?;
        Some(Caught::ByExploring { states: found.states, what })
    })
}
