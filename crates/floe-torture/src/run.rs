//! Many rounds, some at a time, until the time is over or something broke.
//!
//! Everything lies in one directory, which goes in the end; what broke stays, to be looked at.

use crate::breach::Breach;
use crate::case::{Account, Case, lock};
use crate::dice::Dice;
use crate::plan::{Means, Plan};
use crate::room::Room;
use crate::round;
use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// What to torture, where and how long.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program under test.
    pub program: PathBuf,
    /// A directory on the disk under test, which exists.
    pub dir: PathBuf,
    /// What every decision comes from.
    pub seed: u64,
    /// No round begins later than this.
    pub time: Duration,
    /// This round only.
    pub only: Option<u64>,
    /// Rounds at once.
    pub jobs: u32,
    /// No file is larger, in bytes.
    pub size_max: u64,
}

/// A run, from its beginning to its end or until it is stopped.
pub struct Torture {
    options: Options,
    stopped: AtomicBool,
    next: AtomicU64,
    live: Mutex<Vec<Arc<Case>>>,
    sums: Mutex<Sums>,
}

#[derive(Default)]
struct Sums {
    account: Account,
    breaches: Vec<Breach>,
    failed: Option<io::Error>,
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Findings {
    /// What was done, and how large things became.
    pub account: Account,
    /// What did not hold.
    pub breaches: Vec<Breach>,
    /// What this system does not let us do.
    pub skipped: Vec<Skipped>,
    /// What is kept of the rounds that broke.
    pub kept: Option<PathBuf>,
}

/// What was not done, and why.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Skipped {
    /// Disks that fill: no file system may be mounted.
    SmallDisk,
    /// Clocks that jump: the clock of the wall is the machine's.
    Clock,
}

impl Skipped {
    /// In words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::SmallDisk => "disks that fill: only root may mount a small one",
            Self::Clock => {
                "clocks that jump: the wall clock is one for the whole machine (files get stamps \
                 of the past and the future instead)"
            }
        }
    }
}

impl Torture {
    /// Prepared, not begun.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            next: AtomicU64::new(options.only.unwrap_or(1)),
            options,
            stopped: AtomicBool::new(false),
            live: Mutex::default(),
            sums: Mutex::default(),
        }
    }

    /// Runs to the end; `tell` hears of the account after every round.
    ///
    /// # Errors
    /// The system's, where the directory cannot be used or nothing can be started. Never for what
    /// the program under test does.
    pub fn run(&self, tell: &(dyn Fn(&Account) + Sync)) -> io::Result<Findings> {
        let dir = self.make_dir()?;
        let small_disk = can_mount(&dir);
        let means = Means { size_max: self.options.size_max, small_disk };
        let begun = Instant::now();
        thread::scope(|scope| {
            for _ in 0..self.options.jobs.max(1) {
                scope.spawn(|| {
                    while let Some(number) = self.take(begun) {
                        if let Err(error) = self.round(&dir, number, means) {
                            self.stop();
                            lock(&self.sums).failed.get_or_insert(error);
                        }
                        tell(&lock(&self.sums).account);
                    }
                });
            }
        });
        let mut sums = lock(&self.sums);
        let kept = if sums.breaches.is_empty() {
            clear(&dir)?;
            None
        } else {
            Some(dir)
        };
        if let (Some(error), None) = (sums.failed.take(), &kept) {
            return Err(error);
        }
        let skipped = [(!small_disk).then_some(Skipped::SmallDisk), Some(Skipped::Clock)];
        Ok(Findings {
            account: sums.account.clone(),
            breaches: sums.breaches.clone(),
            skipped: skipped.into_iter().flatten().collect(),
            kept,
        })
    }

    /// Ends everything soon: `run` returns with what it found so far.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        lock(&self.live).iter().for_each(|case| case.stop());
    }

    /// The next round, if there is one.
    fn take(&self, begun: Instant) -> Option<u64> {
        let number = self.next.fetch_add(1, Ordering::AcqRel);
        let due = match self.options.only {
            Some(only) => number == only,
            None => begun.elapsed() < self.options.time,
        };
        let goes_on = !self.stopped.load(Ordering::Acquire) && lock(&self.sums).breaches.is_empty();
        (due && goes_on).then_some(number)
    }

    fn round(&self, dir: &Path, number: u64, means: Means) -> io::Result<()> {
        let dir = dir.join(format!("round-{number}"));
        fs::create_dir(&dir)?;
        let dice = Dice::new(self.options.seed).fork(number);
        let plan = Plan::roll(&mut dice.clone(), means);
        let case = Arc::new(Case::new(number, &dir.join("trace"))?);
        {
            let mut live = lock(&self.live);
            live.push(Arc::clone(&case));
            if self.stopped.load(Ordering::Acquire) {
                case.stop();
            }
        }
        let result = round::run(&case, &self.options.program, &dir, &plan, &dice);
        lock(&self.live).retain(|one| one.number != number);
        let breaches = case.breaches();
        let mut sums = lock(&self.sums);
        sums.account.add(&case.account());
        sums.breaches.extend(breaches.iter().cloned());
        drop(sums);
        if breaches.is_empty() {
            clear(&dir)?;
        } else {
            // The others need not go on.
            self.stop();
        }
        result
    }

    fn make_dir(&self) -> io::Result<PathBuf> {
        let name = format!("floe-torture-{}-{:x}", std::process::id(), self.options.seed);
        let dir = fs::canonicalize(&self.options.dir)?.join(name);
        DirBuilder::new().mode(0o700).create(&dir)?;
        Ok(dir)
    }
}

/// Whether a small disk can be mounted here.
fn can_mount(dir: &Path) -> bool {
    let tried = dir.join("mount");
    let mounted = Room::mount(tried.clone(), 1 << 20).is_ok();
    let _ = fs::remove_dir(tried);
    mounted
}

/// Removes a directory, also where modes of directories in it say no.
fn clear(dir: &Path) -> io::Result<()> {
    if fs::remove_dir_all(dir).is_ok() {
        return Ok(());
    }
    let mut open = vec![dir.to_owned()];
    while let Some(directory) = open.pop() {
        fs::set_permissions(&directory, Permissions::from_mode(0o700))?;
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                open.push(entry.path());
            }
        }
    }
    fs::remove_dir_all(dir)
}
