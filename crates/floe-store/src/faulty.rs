//! Any disk, broken by a seed: what can go wrong on a real one, on purpose and again.
//!
//! The nth operation of a seed meets the same fate every time. Where threads race for their turns
//! their order is the scheduler's, so a test that wants the same faults in the same places uses one
//! thread. A fault happens instead of the operation, except where it says otherwise. Nothing here
//! forgets unsynced bytes: that is a simulation's part.

mod dice;
mod disk;

use crate::disk::Disk;
use dice::Dice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How often something goes wrong: this many times in `PER` tries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Chance(pub u32);

impl Chance {
    /// What a chance counts against.
    pub const PER: u32 = 10_000;
    /// It never happens.
    pub const NEVER: Self = Self(0);
    /// It happens every time.
    pub const ALWAYS: Self = Self(Self::PER);
}

/// What can go wrong. `Faults::default()` is a disk without fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Faults {
    /// A read gives fewer bytes than there are, but some.
    pub short_read: Chance,
    /// A read gives EIO.
    pub read_error: Chance,
    /// Memory holds nothing of what is asked for.
    pub cache_miss: Chance,
    /// A write gives EIO; a part of its bytes may be written.
    pub write_error: Chance,
    /// A sync gives EIO; nothing was made durable. Without `FaultyDisk::losing` the next one writes
    /// it all the same.
    pub sync_error: Chance,
    /// An open, stat, list or lock gives EIO.
    pub lookup_error: Chance,
    /// Making, renaming or removing a name gives EIO; nothing changed.
    pub name_error: Chance,
    /// Making, renaming or removing a name gives EIO, but it happened.
    pub name_error_after: Chance,
    /// Setting mode, time or an extended attribute gives EIO.
    pub metadata_error: Chance,
    /// The file system offers no extended attributes.
    pub without_xattr: Offer,
    /// The file system cannot set space aside.
    pub without_allocate: Offer,
    /// The file system tells of no holes, and makes none.
    pub without_holes: Offer,
    /// After so many bytes written, every write gives ENOSPC, the one that meets the end after a
    /// part; so does what makes or moves a name. Less than is left is set aside, and told as free.
    pub space_bytes_max: Option<floe_types::ByteCount>,
    /// After so many operations, every one gives EIO: the device is gone.
    pub operations_max: Option<u64>,
}

/// Whether something is offered at all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Offer {
    /// As the disk below does.
    #[default]
    AsBelow,
    /// It is refused as unsupported.
    Refused,
}

/// How often each happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Injected {
    /// Reads cut short.
    pub short_reads: u64,
    /// Failed reads.
    pub read_errors: u64,
    /// Cache misses.
    pub cache_misses: u64,
    /// Failed writes.
    pub write_errors: u64,
    /// Writes without space.
    pub no_space: u64,
    /// Failed syncs.
    pub sync_errors: u64,
    /// Failed opens, stats, lists and locks.
    pub lookup_errors: u64,
    /// Names that failed, whether or not they changed.
    pub name_errors: u64,
    /// Failed metadata.
    pub metadata_errors: u64,
    /// What was asked of a device that is gone.
    pub gone: u64,
}

/// A disk around another. See the module. Clones are the same disk, where those of `D` are.
#[derive(Clone)]
pub struct FaultyDisk<D> {
    below: D,
    state: Arc<State<D>>,
}

struct State<D> {
    faults: Mutex<Faults>,
    /// Lets the next sync of the disk below fail in its own way.
    lose: Option<fn(&D, u32)>,
    dice: Dice,
    written: AtomicU64,
    operations: AtomicU64,
    counts: Counts,
}

impl<D: Disk> FaultyDisk<D> {
    /// Breaks `below` in these ways, drawn from this seed.
    pub fn new(below: D, seed: u64, faults: Faults) -> Self {
        Self::with(below, seed, faults, None)
    }

    /// As `new`, but a sync that fails is one of the disk below, which `lose` tells how many of the
    /// next fail: what becomes of the bytes is its own affair.
    pub fn losing(below: D, seed: u64, faults: Faults, lose: fn(&D, u32)) -> Self {
        Self::with(below, seed, faults, Some(lose))
    }

    fn with(below: D, seed: u64, faults: Faults, lose: Option<fn(&D, u32)>) -> Self {
        let state = State {
            faults: Mutex::new(faults),
            lose,
            dice: Dice::new(seed),
            written: AtomicU64::new(0),
            operations: AtomicU64::new(0),
            counts: Counts::default(),
        };
        Self { below, state: Arc::new(state) }
    }

    /// Breaks it in these ways from now on. What is counted goes on being counted.
    pub fn set_faults(&self, faults: Faults) {
        *self.state.faults.lock().unwrap_or_else(PoisonError::into_inner) = faults;
    }

    fn faults(&self) -> Faults {
        *self.state.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was injected so far.
    pub fn injected(&self) -> Injected {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Injected {
            short_reads: read(&self.state.counts.short_reads),
            read_errors: read(&self.state.counts.read_errors),
            cache_misses: read(&self.state.counts.cache_misses),
            write_errors: read(&self.state.counts.write_errors),
            no_space: read(&self.state.counts.no_space),
            sync_errors: read(&self.state.counts.sync_errors),
            lookup_errors: read(&self.state.counts.lookup_errors),
            name_errors: read(&self.state.counts.name_errors),
            metadata_errors: read(&self.state.counts.metadata_errors),
            gone: read(&self.state.counts.gone),
        }
    }

    /// How many bytes were to be written so far.
    pub fn written(&self) -> floe_types::ByteCount {
        floe_types::ByteCount(self.state.written.load(Ordering::Relaxed))
    }

    /// How many operations were asked for so far; one run without fault tells where a test may cut.
    pub fn operations(&self) -> u64 {
        self.state.operations.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
struct Counts {
    short_reads: AtomicU64,
    read_errors: AtomicU64,
    cache_misses: AtomicU64,
    write_errors: AtomicU64,
    no_space: AtomicU64,
    sync_errors: AtomicU64,
    lookup_errors: AtomicU64,
    name_errors: AtomicU64,
    metadata_errors: AtomicU64,
    gone: AtomicU64,
}
