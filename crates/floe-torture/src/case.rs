//! What all parts of one round share: what was broken, what was counted, what happened when, and
//! how far the round is.

use crate::breach::{Breach, Promise};
use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often something happened, or how large something became, by its name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Account {
    /// Sums.
    pub sums: BTreeMap<&'static str, u64>,
    /// Largest values.
    pub peaks: BTreeMap<&'static str, u64>,
}

/// One round.
pub(crate) struct Case {
    /// Which.
    pub(crate) number: u64,
    begun: Instant,
    calm: OnceLock<Instant>,
    stopped: AtomicBool,
    trace: Mutex<Option<File>>,
    account: Mutex<Account>,
    breaches: Mutex<Vec<Breach>>,
}

/// How far a round is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Phase {
    /// Things go wrong.
    Trouble,
    /// Nothing goes wrong any more: everything has to finish.
    Calm,
}

/// Time as this process spent it: what it was frozen or starved for does not count, since whatever
/// it waits for was, too.
pub(crate) struct Awake {
    last: Instant,
    sum: Duration,
}

impl Awake {
    /// From now on.
    pub(crate) fn begin() -> Self {
        Self { last: Instant::now(), sum: Duration::ZERO }
    }

    /// The time so far; to be asked every few milliseconds.
    pub(crate) fn elapsed(&mut self) -> Duration {
        let now = Instant::now();
        self.sum += now.saturating_duration_since(self.last).min(STEP);
        self.last = now;
        self.sum
    }
}

/// What a few milliseconds may come to on a busy machine.
const STEP: Duration = Duration::from_millis(200);

impl Account {
    /// Adds another.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.sums {
            *self.sums.entry(name).or_default() += count;
        }
        for (name, peak) in &other.peaks {
            let mine = self.peaks.entry(name).or_default();
            *mine = (*mine).max(*peak);
        }
    }

    /// One sum; 0 where nothing was counted.
    #[must_use]
    pub fn sum(&self, name: &str) -> u64 {
        self.sums.get(name).copied().unwrap_or(0)
    }

    /// One largest value; 0 where there was none.
    #[must_use]
    pub fn peak(&self, name: &str) -> u64 {
        self.peaks.get(name).copied().unwrap_or(0)
    }
}

impl Case {
    /// A round, whose trace goes into a file.
    pub(crate) fn new(number: u64, trace: &Path) -> std::io::Result<Self> {
        Ok(Self {
            number,
            begun: Instant::now(),
            calm: OnceLock::new(),
            stopped: AtomicBool::new(false),
            trace: Mutex::new(Some(File::create(trace)?)),
            account: Mutex::default(),
            breaches: Mutex::default(),
        })
    }

    /// A line of the trace: milliseconds since the beginning, and what happened.
    pub(crate) fn note(&self, what: &dyn fmt::Display) {
        let at = self.begun.elapsed().as_millis();
        if let Some(file) = lock(&self.trace).as_mut() {
            // A trace that cannot be written is missed by nobody but who reads it.
            let _ = writeln!(file, "{at:>7} {what}");
        }
    }

    /// A promise did not hold.
    pub(crate) fn breach(&self, promise: Promise, seen: impl Into<String>) {
        let breach = Breach { round: self.number, promise, seen: seen.into() };
        self.note(&format_args!("BROKEN: {breach}"));
        let mut breaches = lock(&self.breaches);
        // What stays wrong is seen again and again.
        if breaches.len() < BREACHES_MAX && !breaches.contains(&breach) {
            breaches.push(breach);
        }
    }

    /// What did not hold so far.
    pub(crate) fn breaches(&self) -> Vec<Breach> {
        lock(&self.breaches).clone()
    }

    /// Counts one.
    pub(crate) fn count(&self, what: &'static str) {
        self.add(what, 1);
    }

    /// Counts several.
    pub(crate) fn add(&self, what: &'static str, count: u64) {
        *lock(&self.account).sums.entry(what).or_default() += count;
    }

    /// Keeps the largest.
    pub(crate) fn peak(&self, what: &'static str, value: u64) {
        let mut account = lock(&self.account);
        let peak = account.peaks.entry(what).or_default();
        *peak = (*peak).max(value);
    }

    /// What was counted.
    pub(crate) fn account(&self) -> Account {
        lock(&self.account).clone()
    }

    /// How far it is.
    pub(crate) fn phase(&self) -> Phase {
        if self.calm.get().is_none() { Phase::Trouble } else { Phase::Calm }
    }

    /// From now on nothing goes wrong.
    pub(crate) fn calm(&self) {
        self.calm.get_or_init(Instant::now);
    }

    /// Whether to go on: not after a person stopped it, nor after something broke.
    pub(crate) fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Acquire) && lock(&self.breaches).is_empty()
    }

    /// A person stopped it.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
    }

    /// Waits so long, but not beyond the end.
    pub(crate) fn pause(&self, span: Duration) {
        let until = Instant::now() + span;
        while self.goes_on() && Instant::now() < until {
            thread::sleep(TICK.min(until.saturating_duration_since(Instant::now())));
        }
    }
}

/// How often what others do is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(4);
const BREACHES_MAX: usize = 20;

/// The lock of a value that stays good whoever panics.
pub(crate) fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
