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

/// How many synced directories are remembered; beyond it they are forgotten, which only costs
/// syncs.
const SEEN_MAX: usize = 16_384;

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
}

/// What a directory was like before it was synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Look {
    inode: u64,
    ctime: Timestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Turn(u64);

/// The turn of a directory in which nothing was changed here.
const UNCHANGED: Turn = Turn(0);

impl Ancestry {
    /// Notes that a name in `directory` was made or changed. To be called after it was.
    pub(crate) fn touched(&self, directory: &ObjectPath) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.turn.0 += 1;
        let turn = known.turn;
        known.dirty.insert(directory.clone(), turn);
    }

    /// As `touched`, of the directory to which the first `len` names of `path` lead.
    pub(crate) fn touched_above(&self, path: &ObjectPath, len: usize) {
        let parent = |path: &ObjectPath| path.split_last().map(|(parent, _)| parent);
        let mut above = std::iter::successors(Some(path.clone()), parent);
        if let Some(directory) = above.find(|path| path.components().len() <= len) {
            self.touched(&directory);
        }
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
            Err(error) if error.code() == Code::PermissionDenied && turn == UNCHANGED => Ok(()),
            answer => answer.doing(format_args!("sync directory {path:?}")),
        }
    }

    /// Forgets what it knows of `path` and all beneath it: something else may stand there from now
    /// on.
    pub(crate) fn moved(&self, path: &ObjectPath) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.seen.retain(|seen, _| !path.contains(seen));
        known.dirty.retain(|dirty, _| !path.contains(dirty));
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
        if known.dirty.get(path) == Some(&turn) {
            known.dirty.remove(path);
        }
        if known.seen.len() >= SEEN_MAX {
            known.seen.clear();
        }
        match look {
            Some(look) => known.seen.insert(path.clone(), look),
            None => known.seen.remove(path),
        };
    }
}
