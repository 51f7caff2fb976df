//! Every interleaving of a small transfer, over the real core: breadth first, states told apart by
//! their hash.
//!
//! One object of three chunks, two streams, one loss of the whole session, and up to two faults in
//! all: a stream cut, a byte of a piece flipped, an operation that fails, a process killed, a power
//! cut. What an end gives out is taken at once; a step is one frame delivered, one operation done,
//! one dial answered, or one fault. The second stream can only be the second: the lead is another
//! kind, so there is no symmetry to use. Disks are a model (`disk`): which bytes are staged and
//! recorded, and what stands under the final name. Time stands still but where nothing else is
//! left.

mod disk; // which chunks are staged, recorded, committed
mod state; // one state, and its steps

use floe_proto::frame::Direction;
use state::{Small, Step};
use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

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
    /// Steps to the farthest state.
    pub depth: u32,
    /// Whether there are no others.
    pub all: bool,
    /// The first promise that was broken, and the way to it.
    pub broken: Option<(String, Vec<String>)>,
}

/// Explores.
#[must_use]
pub fn explore(bounds: Bounds) -> Found {
    let mut found = Found::default();
    let first = Small::new(bounds.direction, bounds.faults, bounds.restarts);
    let mut came_by: HashMap<u64, (u64, Option<Step>)> = HashMap::new();
    let key = key_of(&first);
    came_by.insert(key, (key, None));
    let mut queue = VecDeque::from([(key, 0, first)]);
    while let Some((from, depth, state)) = queue.pop_front() {
        found.depth = depth;
        let steps = state.steps();
        if state.is_over() {
            found.ends += 1;
        }
        for step in steps {
            let mut next = state.clone();
            found.steps += 1;
            let broken = next.take(step).err();
            let key = key_of(&next);
            let is_new = !came_by.contains_key(&key);
            if is_new {
                came_by.insert(key, (from, Some(step)));
            }
            if let Some(what) = broken {
                found.states = came_by.len();
                found.broken = Some((what, way_to(&came_by, from, step)));
                return found;
            }
            if is_new {
                queue.push_back((key, depth + 1, next));
            }
        }
        if came_by.len() >= bounds.states_max {
            found.states = came_by.len();
            return found;
        }
    }
    found.states = came_by.len();
    found.all = true;
    found
}

fn key_of(state: &Small) -> u64 {
    let mut hasher = DefaultHasher::new();
    state.hash(&mut hasher);
    hasher.finish()
}

fn way_to(came_by: &HashMap<u64, (u64, Option<Step>)>, from: u64, last: Step) -> Vec<String> {
    let mut way = vec![format!("{last:?}")];
    let mut at = from;
    while let Some((before, Some(step))) = came_by.get(&at) {
        way.push(format!("{step:?}"));
        at = *before;
    }
    way.reverse();
    way
}
