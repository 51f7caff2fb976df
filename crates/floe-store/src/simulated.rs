//! A disk in memory that loses power: what was not synced may be there after the cut, in part, or
//! not.
//!
//! Harsh where real disks are: unsynced writes survive page by page, by the dice, some of them torn
//! between sectors or with a byte that is another; a sync of a
//! directory makes only its own names durable (a rename is one effect, in both directories or
//! none); a failed sync leaves bytes that can be read, are never written, and are not tried again.
//! It is told once to each handle that was open then (to one opened later only if nobody was told),
//! as Linux does. After a cut only new handles work. Clones are the same disk.

mod holes; // where its files have none of their bytes, and what takes space
mod world; // what is seen, and what would survive
mod cut; // what is there after a cut
mod disk; // each method of `Disk`
mod glance; // what stands at a path

pub use glance::Glance;

use crate::disk::{Locality, Reuse};
use floe_types::{ByteCount, ObjectPath, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use world::World;

/// A simulated disk. See the module.
#[derive(Clone)]
pub struct SimulatedDisk {
    world: Arc<Mutex<World>>,
}

/// An open file or directory; its lock ends with it.
pub struct SimulatedHandle {
    world: Arc<Mutex<World>>,
    inode: u64,
    id: u64,
    boot: u64,
    /// So many failures of its own syncs it knows of, and so many of its file system's.
    told: Mutex<(u64, u64)>,
}

/// What breaks on purpose, until it is set otherwise.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Breaks {
    /// So many syncs of files fail, the next ones.
    pub syncs: u32,
    /// So many operations succeed before the device is gone.
    pub operations_max: Option<u64>,
    /// Writes beyond so many bytes in all files find no space.
    pub space_bytes_max: Option<ByteCount>,
    /// Extended attributes are refused.
    pub without_xattr: bool,
    /// It tells of no holes, and makes none.
    pub without_holes: bool,
    /// Whether ids of mounts come again.
    pub mount_ids: Reuse,
    /// It does not tell when a file was made.
    pub without_birth: bool,
    /// What it says of itself. Layered, a sync of the whole tells of no failure.
    pub locality: Locality,
}

/// Which changes of names that were not synced are there after a cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Survivors {
    /// Some first part of them: a journaling file system writes them in order.
    FirstChanges,
    /// Any of them, each whole: nothing but a sync orders them.
    AnyChanges,
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self { world: Arc::new(Mutex::new(World::new())) }
    }
}

impl SimulatedDisk {
    /// Breaks things from now on.
    pub fn set_breaks(&self, breaks: Breaks) {
        let mut world = self.lock();
        world.breaks = breaks;
        world.operations = 0;
    }

    /// So many syncs fail from now on, as those of `Breaks::syncs` do.
    pub fn fail_syncs(&self, count: u32) {
        self.lock().breaks.syncs = count;
    }

    /// How many operations there were since breaks were set.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Sets the clock that stamps what changes.
    pub fn set_now(&self, now: Timestamp) {
        self.lock().now = now;
    }

    /// Makes the directory at a path, which stands, another mount: what is made beneath it from now
    /// on is on it.
    pub fn mount_at(&self, path: &ObjectPath) {
        self.lock().mount_at(path);
    }

    /// Another boot without a loss, as after an orderly shutdown.
    pub fn reboot(&self) {
        let mut world = self.lock();
        world.settle_all();
        world.inodes.values_mut().for_each(|inode| inode.lock = None);
        world.boot += 1;
    }

    /// Another disk in the same state; handles of this one do not work there.
    #[must_use]
    pub fn copy(&self) -> Self {
        let mut world = self.lock().clone();
        world.boot += 1;
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// As `copy`, in the same boot: what a process that died had open is free there.
    #[must_use]
    pub fn twin(&self) -> Self {
        let mut world = self.lock().clone();
        world.inodes.values_mut().for_each(|inode| inode.lock = None);
        Self { world: Arc::new(Mutex::new(world)) }
    }

    /// The power fails: what is synced stays, of the rest the dice of `seed` decide. Nothing is
    /// broken afterwards.
    pub fn cut(&self, seed: u64) {
        self.lock().cut(seed, Survivors::FirstChanges);
    }

    /// As `cut`, on a file system that keeps these of the changes of names.
    pub fn cut_keeping(&self, seed: u64, survivors: Survivors) {
        self.lock().cut(seed, survivors);
    }

    /// How many effects are not durable: changes of names, and effects on files (a write with the
    /// stamp that it sets is one).
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.lock().unsynced()
    }

    /// As `cut`, where of the unsynced effects those stay, each whole, whose number `stays` names:
    /// changes of names first, in order, then effects on files.
    pub fn cut_choosing(&self, stays: &dyn Fn(usize) -> bool) {
        self.lock().cut_choosing(stays);
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SimulatedHandle {
    fn drop(&mut self) {
        let mut world = self.world.lock().unwrap_or_else(PoisonError::into_inner);
        if self.boot == world.boot {
            world.unlock(self.inode, self.id);
        }
    }
}
