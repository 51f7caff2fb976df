//! Every power cut of two small works, on the real store: a put of three chunks whose process dies
//! once before, and the commit of a batch.
//!
//! A case is: so many operations of the disk, then the death of the process; begun again, so many
//! more; then a cut that keeps exactly one subset of what was not synced. Every number of
//! operations and every subset is a case (after a death, of many effects only some subsets). Cuts
//! that leave the same disk behind the same answer are looked at once. After each the final names
//! show what stood there or what was sent, whole, and what was answered is there; the same work,
//! begun again, ends well, and reads nothing anew that a checkpoint covers. Beside it:
//! `floe_store::simulated`.

mod work; // what is put, and what may be found

use crate::dice::Dice;
use floe_store::simulated::{Breaks, SimulatedDisk};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use work::{Answer, Work};

pub use work::Kind;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Which work.
    pub kind: Kind,
    /// Whether the process dies once before the cut, at any operation, or not at all. With a death
    /// not every subset of many effects is a case: see `SUBSETS_OF_MAX`.
    pub restarts: u8,
    /// Of the deaths before the cut only each so many is tried; 1: all.
    pub every: u64,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Found {
    /// Cuts.
    pub cases: u64,
    /// States of the disk that they left, with what was answered before: each is looked at once.
    pub states: usize,
    /// Disks of which not every subset was a case.
    pub drawn_of: u64,
    /// The most effects that were not synced at once: two to that power are the subsets.
    pub unsynced_max: usize,
    /// Operations of the work without a death.
    pub operations: u64,
    /// The first case that broke a promise.
    pub broken: Option<String>,
}

/// Tries every case, on all processors.
#[must_use]
pub fn every_cut(bounds: Bounds) -> Found {
    let work = Work::new(bounds.kind);
    let found = Mutex::new(Found { operations: operations_of(&work), ..Found::default() });
    let judged = Judged::default();
    let deaths = if bounds.restarts == 0 { 0 } else { operations_of(&work) };
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let death = next.fetch_add(1, Ordering::Relaxed) * bounds.every.max(1);
                    if death > deaths || is_broken(&found) {
                        return;
                    }
                    cuts_after(&work, death, &judged, (bounds, &found));
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    Found { states: judged.count(), ..found }
}

/// What was looked at already: cuts after different operations leave the same disk.
#[derive(Default)]
struct Judged(Mutex<HashSet<(u64, bool, u64)>>);

impl Judged {
    /// Whether a disk with an answer is to be looked at.
    fn is_new(&self, disk: &SimulatedDisk, answer: &Answer) -> bool {
        let key = (disk.fingerprint(), answer.committed, answer.covered);
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(key)
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).len()
    }
}

fn is_broken(found: &Mutex<Found>) -> bool {
    found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).broken.is_some()
}

fn operations_of(work: &Work) -> u64 {
    let disk = work.prepared();
    disk.set_breaks(Breaks::default());
    let _ = work.run(&disk);
    disk.operations()
}

/// The work on a disk that is gone after so many operations; how many it took.
fn broken_off(work: &Work, disk: &SimulatedDisk, after: u64) -> (Answer, u64) {
    disk.set_breaks(Breaks { operations_max: Some(after), ..Breaks::default() });
    let answer = work.run(disk);
    (answer, disk.operations())
}

/// Every cut of a second run, where the first died after `death` operations: what that one was
/// told holds as well.
fn cuts_after(work: &Work, death: u64, judged: &Judged, (bounds, found): (Bounds, &Mutex<Found>)) {
    let all_of_max = if bounds.restarts == 0 { usize::MAX } else { SUBSETS_OF_MAX };
    let first = work.prepared();
    let told = (death > 0).then(|| broken_off(work, &first, death).0);
    first.set_breaks(Breaks::default());
    for operation in 0.. {
        let disk = first.twin();
        let (again, took) = broken_off(work, &disk, operation);
        let answer = told.iter().fold(again, Answer::after);
        let unsynced = disk.unsynced();
        let place = format!("death after {death}, cut after {operation}");
        let (cases, broken) = subsets(work, &disk, (&answer, judged), all_of_max, &place);
        let mut all = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        all.cases += cases;
        all.drawn_of += u64::from(unsynced > all_of_max);
        all.unsynced_max = all.unsynced_max.max(unsynced);
        if let Some(what) = broken {
            all.broken.get_or_insert(what);
        }
        if took <= operation || all.broken.is_some() {
            return;
        }
    }
}

/// Subsets of what is not synced on a disk: how many, and the first that breaks a promise.
fn subsets(
    work: &Work,
    disk: &SimulatedDisk,
    (answer, judged): (&Answer, &Judged),
    all_of_max: usize,
    place: &str,
) -> (u64, Option<String>) {
    let unsynced = disk.unsynced();
    let mut cases = 0;
    let broken = chosen(unsynced, all_of_max).find_map(|subset| {
        cases += 1;
        let after = disk.copy();
        after.cut_choosing(&|nth| subset >> nth & 1 == 1);
        if !judged.is_new(&after, answer) {
            return None;
        }
        let broken = work.judge(&after, answer).err()?;
        Some(format!("{place}, kept {subset:0unsynced$b}: {broken}"))
    });
    (cases, broken)
}

/// With a death before them, cuts are as many as operations to the power of two, times the subsets:
/// of more effects than so many (2 to the power of 21 subsets at worst) only those are cases that
/// keep or lose at most three effects, and some drawn. Without a death all are.
const SUBSETS_OF_MAX: usize = 12;
const DRAWN: usize = 2_048;

fn chosen(effects: usize, all_of_max: usize) -> Box<dyn Iterator<Item = u64>> {
    let all = (1u64 << effects) - 1;
    if effects <= all_of_max {
        return Box::new(0..=all);
    }
    let bit = |nth: usize| 1u64 << nth;
    let three = move |first: usize| {
        (first..effects).flat_map(move |second| {
            (second..effects).map(move |third| bit(first) | bit(second) | bit(third))
        })
    };
    let few = (0..effects).flat_map(three).chain([0]);
    let mut dice = Dice::new(effects as u64);
    let drawn = std::iter::repeat_with(move || dice.below(all + 1)).take(DRAWN);
    Box::new(few.flat_map(move |few| [few, all ^ few]).chain(drawn))
}
