//! Which directories must be synced before an answer may say that a name in them is durable.
//!
//! A directory needs a sync while a name in it was made or changed here and no sync followed
//! (`dirty`), and where it is not as it was when it was last synced here (`seen`): another process
//! may have died between making a name and syncing it, before this one began or beside it. What a
//! directory is like is its inode and ctime; a ctime so new that another change could bear the same
//! one says nothing. A name is durable when its directory and all of that one's ancestors need no
//! sync.

use crate::api::Result;
use crate::disk::{Disk, DiskResult, Doing};
use crate::source::freshness_of;
use floe_types::planted::{self, Bug};
use floe_types::{Code, Fault, Freshness, ObjectPath, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

/// What the paths of synced directories may take; beyond it they are forgotten, which only costs
/// syncs.
const SEEN_BYTES_MAX: usize = 4 << 20;
/// The same of directories with changes: beyond it those that were changed longest ago are
/// forgotten, with what they were like, so that they are synced before anything in them is told.
const DIRTY_BYTES_MAX: usize = 4 << 20;

/// What is known of the directories beneath one root.
#[derive(Debug, Default)]
pub(crate) struct Ancestry {
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Directories with changes, and the turn of the last one.
    dirty: BTreeMap<ObjectPath, Turn>,
    seen: BTreeMap<ObjectPath, Look>,
    turn: Turn,
    /// What the paths of each take.
    dirty_bytes: usize,
    seen_bytes: usize,
    /// Whether a directory with changes was forgotten: any may be one.
    forgot: bool,
}

/// What a directory was like before it was synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Look {
    inode: u64,
    ctime: Timestamp,
}

/// When a directory was changed, among other changes here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Turn(u64);

/// The turn of a directory in which nothing was changed here.
const UNCHANGED: Turn = Turn(0);

impl Ancestry {
    /// Notes that a name in `directory` was made or changed. To be called after it was.
    pub(crate) fn touched(&self, directory: &ObjectPath) -> Turn {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.turn.0 += 1;
        let turn = known.turn;
        if known.dirty.insert(directory.clone(), turn).is_none() {
            known.dirty_bytes += directory.footprint();
            known.forget_oldest();
        }
        turn
    }

    /// As `touched`, of the directory to which the first `len` names of `path` lead: that one.
    pub(crate) fn touched_above(
        &self,
        path: &ObjectPath,
        len: usize,
    ) -> Option<(ObjectPath, Turn)> {
        let parent = |path: &ObjectPath| path.split_last().map(|(parent, _)| parent);
        let mut above = std::iter::successors(Some(path.clone()), parent);
        let directory = above.find(|path| path.components().len() <= len)?;
        let turn = self.touched(&directory);
        Some((directory, turn))
    }

    /// A directory was synced after it was touched.
    pub(crate) fn synced_since(&self, directory: &ObjectPath, turn: Turn) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clean(directory, turn);
    }

    /// Syncs `directories` and their ancestors as far as they need it. What could not be synced
    /// comes back.
    pub(crate) fn settle<D: Disk>(
        &self,
        disk: &D,
        root: &D::Handle,
        directories: &BTreeSet<ObjectPath>,
    ) -> BTreeMap<ObjectPath, Fault> {
        let mut chain = BTreeSet::new();
        for directory in directories {
            let mut next = Some(directory.clone());
            while let Some(path) = next {
                next = path.split_last().map(|(parent, _)| parent);
                if !chain.insert(path) {
                    break;
                }
            }
        }
        let mut failed = BTreeMap::new();
        for path in chain {
            if let Err(fault) = self.settle_one(disk, root, &path) {
                failed.insert(path, fault);
            }
        }
        failed
    }

    fn settle_one<D: Disk>(&self, disk: &D, root: &D::Handle, path: &ObjectPath) -> Result<()> {
        let (turn, seen) = self.known(path);
        let settled = || -> DiskResult<()> {
            let directory = disk.open_directory(root, path.components())?;
            let (now, stat) = (disk.now(), disk.stat(&directory)?);
            let look = Look { inode: stat.inode, ctime: stat.ctime };
            if turn == UNCHANGED && seen == Some(look) {
                return Ok(());
            }
            // The look is older than the sync: what changes between the two is synced once more.
            let tells = freshness_of(&stat, now) == Freshness::Settled;
            if !planted::is(Bug::ForgetTheSyncOfDirectories) {
                disk.sync_directory(&directory)?;
            }
            self.synced(path, turn, tells.then_some(look));
            Ok(())
        };
        match settled() {
            // Not made here, and not ours to read: whoever made it has seen to it.
            Err(error)
                if error.code() == Code::PermissionDenied
                    && turn == UNCHANGED
                    && !self.has_forgotten() =>
            {
                Ok(())
            }
            answer => answer.doing(format_args!("sync directory {path:?}")),
        }
    }

    /// Forgets what it knows of `path` and all beneath it: something else may stand there from now
    /// on.
    pub(crate) fn moved(&self, path: &ObjectPath) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.seen.retain(|seen, _| !path.contains(seen));
        known.dirty.retain(|dirty, _| !path.contains(dirty));
        known.seen_bytes = known.seen.keys().map(ObjectPath::footprint).sum();
        known.dirty_bytes = known.dirty.keys().map(ObjectPath::footprint).sum();
    }

    fn has_forgotten(&self) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).forgot
    }

    /// The directories at or beneath `path` that have changes.
    pub(crate) fn dirty_beneath(&self, path: &ObjectPath) -> BTreeSet<ObjectPath> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.dirty.keys().filter(|dirty| path.contains(dirty)).cloned().collect()
    }

    /// The turn of the last change here, and what it was like at its last sync here.
    fn known(&self, path: &ObjectPath) -> (Turn, Option<Look>) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = known.dirty.get(path).copied().unwrap_or(UNCHANGED);
        (turn, known.seen.get(path).copied())
    }

    fn synced(&self, path: &ObjectPath, turn: Turn, look: Option<Look>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.clean(path, turn);
        known.unsee(path);
        if let Some(look) = look {
            known.seen_bytes += path.footprint();
            if known.seen_bytes > SEEN_BYTES_MAX {
                (known.seen, known.seen_bytes) = (BTreeMap::new(), path.footprint());
            }
            known.seen.insert(path.clone(), look);
        }
    }
}

impl Known {
    fn clean(&mut self, path: &ObjectPath, turn: Turn) {
        if self.dirty.get(path) == Some(&turn) {
            self.dirty.remove(path);
            self.dirty_bytes -= path.footprint();
        }
    }

    fn unsee(&mut self, path: &ObjectPath) {
        if self.seen.remove(path).is_some() {
            self.seen_bytes -= path.footprint();
        }
    }

    /// Keeps the later half of what was changed, if that is too much.
    fn forget_oldest(&mut self) {
        if self.dirty_bytes <= DIRTY_BYTES_MAX {
            return;
        }
        let mut turns: Vec<Turn> = self.dirty.values().copied().collect();
        turns.sort_unstable();
        let Some(middle) = turns.get(turns.len() / 2).copied() else { return };
        let (old, kept) = std::mem::take(&mut self.dirty)
            .into_iter()
            .partition::<BTreeMap<_, _>, _>(|(_, turn)| *turn < middle);
        self.dirty = kept;
        self.dirty_bytes = self.dirty.keys().map(ObjectPath::footprint).sum();
        self.forgot = true;
        old.keys().for_each(|path| self.unsee(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(nth: u64) -> ObjectPath {
        let deep = format!("{nth}/{}", "d/".repeat(200));
        ObjectPath::parse(deep.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_remembered_of_paths_is_bounded_by_bytes() {
        let ancestry = Ancestry::default();
        let look = Look { inode: 1, ctime: Timestamp::default() };
        for nth in 0..2000 {
            let turn = ancestry.touched(&long(nth));
            if nth % 2 == 0 {
                ancestry.synced(&long(nth), turn, Some(look));
            }
        }
        let known = ancestry.known.lock().unwrap();
        let of = |paths: &mut dyn Iterator<Item = &ObjectPath>| -> usize {
            paths.map(ObjectPath::footprint).sum()
        };
        let (dirty, seen) = (of(&mut known.dirty.keys()), of(&mut known.seen.keys()));
        assert_eq!((dirty, seen), (known.dirty_bytes, known.seen_bytes));
        assert!(dirty <= DIRTY_BYTES_MAX && seen <= SEEN_BYTES_MAX, "{dirty} {seen}");
        assert!(known.dirty.contains_key(&long(1999)) && known.forgot, "the last are known");
    }

    #[test]
    fn who_was_synced_after_its_change_is_not_remembered_and_who_changed_again_is() {
        let ancestry = Ancestry::default();
        let (one, other) = (long(1), long(2));
        let turns = [&one, &other].map(|path| ancestry.touched(path));
        ancestry.touched(&other);
        ancestry.synced_since(&one, turns[0]);
        ancestry.synced_since(&other, turns[1]);
        let known = ancestry.known.lock().unwrap();
        assert_eq!(known.dirty.keys().collect::<Vec<_>>(), [&other]);
        assert_eq!(known.dirty_bytes, other.footprint());
    }
}
