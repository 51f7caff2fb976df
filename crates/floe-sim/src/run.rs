//! Many seeds beside each other, and one seed again.

use crate::trace::Telling;
use crate::world::{Broken, Tally, World};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seeds {
    /// The first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// After so many failures the rest is not run.
    pub failures_max: usize,
}

/// What they came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Seeds that ended well.
    pub passed: u64,
    /// The others, ascending.
    pub failed: Vec<(u64, Broken)>,
    /// Sums over all that ended well.
    pub sum: Tally,
}

/// Runs one seed.
///
/// # Errors
/// The promise that was broken, or the panic.
pub fn seed(seed: u64, telling: Telling) -> Result<Tally, Broken> {
    match attempt(seed, telling) {
        Err(broken) if telling == Telling::Nothing => {
            Err(told(broken, attempt(seed, Telling::Last)))
        }
        result => result,
    }
}

/// What failed first, with the trace of the same seed again; that it does not fail again is a
/// fault of its own.
fn told(first: Broken, again: Result<Tally, Broken>) -> Broken {
    match again {
        Err(again) if again.what == first.what => again,
        Err(again) => Broken { what: format!("{}; again: {}", first.what, again.what), ..again },
        Ok(_) => Broken { what: format!("{}; again it passes", first.what), ..first },
    }
}

fn attempt(seed: u64, telling: Telling) -> Result<Tally, Broken> {
    let run = AssertUnwindSafe(|| World::new(seed, telling).run());
    catch_unwind(run).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        let what = format!("it panics: {}", text.unwrap_or_default());
        Err(Broken { what, trace: Vec::new() })
    })
}

/// Runs seeds on all processors; `heard` is told of each.
pub fn seeds(seeds: Seeds, heard: &(dyn Fn(u64, &Result<Tally, Broken>) + Sync)) -> Report {
    let next = AtomicU64::new(seeds.first);
    let end = seeds.first.saturating_add(seeds.count);
    let report = Mutex::new(Report::default());
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end || is_enough(&report, seeds.failures_max) {
                        return;
                    }
                    let result = seed(number, Telling::Nothing);
                    heard(number, &result);
                    note(&report, number, result);
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    report.failed.sort_by_key(|(seed, _)| *seed);
    report
}

fn is_enough(report: &Mutex<Report>, failures_max: usize) -> bool {
    let report = report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    report.failed.len() >= failures_max
}

fn note(report: &Mutex<Report>, seed: u64, result: Result<Tally, Broken>) {
    let mut report = report.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match result {
        Err(broken) => report.failed.push((seed, broken)),
        Ok(tally) => {
            report.passed += 1;
            report.sum = report.sum.plus(tally);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fail_again_has_failed() {
        let broken = |what: &str| Broken { what: what.to_owned(), trace: vec![what.to_owned()] };
        assert_eq!(told(broken("a"), Ok(Tally::default())).what, "a; again it passes");
        assert_eq!(told(broken("a"), Err(broken("a"))), broken("a"));
        let other = told(broken("a"), Err(broken("b")));
        assert_eq!((&*other.what, &*other.trace[0]), ("a; again: b", "b"));
    }
}
