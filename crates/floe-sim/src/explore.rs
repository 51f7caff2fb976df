//! Every interleaving of a small transfer, over the real core: states told apart by their hash,
//! breadth first as long as what is to be gone on from fits into memory, then from places drawn
//! among that, each for a while depth first, until there are no more.
//!
//! One object of three chunks, two streams, one loss of the whole session, and up to two faults in
//! all: a stream cut, a byte of a piece flipped, an operation that fails, a process killed, a power
//! cut. What an end gives out is taken at once; a step is one frame delivered, one operation done,
//! one dial answered, or one fault. The second stream can only be the second: the lead is another
//! kind, so there is no symmetry to use. Disks are a model (`disk`): which bytes are staged and
//! recorded, and what stands under the final name. Time stands still but where nothing else is
//! left. A state costs its hash, 8 bytes in a table, once its steps were taken.

mod disk; // which chunks are staged, recorded, committed
mod mixer; // a hash of a state
mod state; // one state, and its steps

use crate::dice::Dice;
use floe_proto::frame::Direction;
use mixer::Mixer;
use state::{Small, Step};
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::rc::Rc;

/// What is explored.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Which way the object goes.
    pub direction: Direction,
    /// Faults in all.
    pub faults: u8,
    /// Losses of the session among them.
    pub restarts: u8,
    /// States at most.
    pub states_max: usize,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// Distinct states.
    pub states: usize,
    /// Steps taken.
    pub steps: u64,
    /// States in which the transfer is over.
    pub ends: u64,
    /// So many steps deep every state was seen.
    pub depth_of_all: u32,
    /// Steps to the farthest state.
    pub depth: u32,
    /// Whether there are no others.
    pub all: bool,
    /// The first promise that was broken, and the way to it.
    pub broken: Option<(String, Vec<String>)>,
}

/// States that are gone on from breadth first; a state takes some kilobytes.
const FRONTIER_MAX: usize = 100_000;
/// New states that are looked at from one of them on, depth first, before another has its turn.
const DIVE_STATES: usize = 20_000;

/// Explores.
#[must_use]
pub fn explore(bounds: Bounds) -> Found {
    let mut search = Search::new(bounds);
    let mut frontier = VecDeque::from([search.first()]);
    while let Some(place) = frontier.pop_front() {
        search.found.depth_of_all = place.depth;
        let Some(next) = search.expand(&place) else { return search.found() };
        frontier.extend(next);
        if frontier.len() > FRONTIER_MAX {
            return search.dive(&mut frontier);
        }
    }
    search.found.all = true;
    search.found()
}

/// A state on the way.
struct Place {
    state: Small,
    depth: u32,
    way: Option<Rc<Way>>,
}

/// How a state was come by.
struct Way {
    step: Step,
    before: Option<Rc<Way>>,
}

struct Search {
    seen: HashSet<u64, BuildHasherDefault<Mixer>>,
    dice: Dice,
    bounds: Bounds,
    found: Found,
}

impl Search {
    fn new(bounds: Bounds) -> Self {
        let (seen, dice, found) = (HashSet::default(), Dice::new(1), Found::default());
        Self { seen, dice, bounds, found }
    }

    fn first(&mut self) -> Place {
        let Bounds { direction, faults, restarts, .. } = self.bounds;
        let state = Small::new(direction, faults, restarts);
        self.seen.insert(key_of(&state));
        Place { state, depth: 0, way: None }
    }

    /// The new states behind one; `None` once a promise is broken, or there were enough.
    fn expand(&mut self, place: &Place) -> Option<Vec<Place>> {
        self.found.depth = self.found.depth.max(place.depth);
        if place.state.is_over() {
            self.found.ends += 1;
        }
        let mut next = Vec::new();
        for step in place.state.steps() {
            let mut state = place.state.clone();
            self.found.steps += 1;
            let broken = state.take(step).err();
            let way = || Some(Rc::new(Way { step, before: place.way.clone() }));
            if let Some(what) = broken {
                self.found.broken = Some((what, steps_of(way())));
                return None;
            }
            if self.seen.insert(key_of(&state)) {
                next.push(Place { state, depth: place.depth + 1, way: way() });
            }
        }
        (self.seen.len() < self.bounds.states_max).then_some(next)
    }

    /// Goes on from one place after the other, each drawn, until there were enough, or all: what a
    /// dive leaves, a few hundred places at most, waits like the others.
    fn dive(mut self, frontier: &mut VecDeque<Place>) -> Found {
        while !frontier.is_empty() {
            let at = self.dice.index(frontier.len());
            let mut stack: Vec<Place> = frontier.swap_remove_back(at).into_iter().collect();
            let enough = self.seen.len() + DIVE_STATES;
            while let Some(place) = stack.pop() {
                let Some(mut next) = self.expand(&place) else { return self.found() };
                while !next.is_empty() {
                    let at = self.dice.index(next.len());
                    stack.push(next.swap_remove(at));
                }
                if self.seen.len() > enough {
                    break;
                }
            }
            frontier.extend(stack);
        }
        self.found.all = true;
        self.found()
    }

    fn found(self) -> Found {
        Found { states: self.seen.len(), ..self.found }
    }
}

fn key_of(state: &Small) -> u64 {
    let mut hasher = Mixer::default();
    state.hash(&mut hasher);
    hasher.finish()
}

fn steps_of(mut way: Option<Rc<Way>>) -> Vec<String> {
    let mut steps = Vec::new();
    while let Some(last) = way {
        steps.push(format!("{:?}", last.step));
        way = last.before.clone();
    }
    steps.reverse();
    steps
}
