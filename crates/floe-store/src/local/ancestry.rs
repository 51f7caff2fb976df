//! Which directories must be synced before an answer may say that a name in them is durable.
//!
//! A directory needs a sync while a name in it was made or changed and no sync followed (`dirty`),
//! and once in the life of a process (`seen`): an earlier one may have died between making a name
//! and syncing it. A name is durable when its directory and all of that one's ancestors need none.

use crate::api::Result;
use crate::disk::{Disk, Doing};
use floe_types::planted::{self, Bug};
use floe_types::{Code, Fault, ObjectPath};
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
    seen: BTreeSet<ObjectPath>,
    turn: Turn,
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
            if let Some(turn) = self.needs(&path) {
                match sync(disk, root, &path) {
                    Ok(()) => self.synced(path, turn),
                    // Not made here, and not ours to read: whoever made it has seen to it.
                    Err(fault) if fault.code == Code::PermissionDenied && turn == UNCHANGED => {
                        self.synced(path, turn);
                    }
                    Err(fault) => {
                        failed.insert(path, fault);
                    }
                }
            }
        }
        failed
    }

    /// Forgets what it knows of `path` and all beneath it: something else may stand there from now
    /// on.
    pub(crate) fn moved(&self, path: &ObjectPath) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.seen.retain(|seen| !path.contains(seen));
        known.dirty.retain(|dirty, _| !path.contains(dirty));
    }

    /// The directories at or beneath `path` that have changes.
    pub(crate) fn dirty_beneath(&self, path: &ObjectPath) -> BTreeSet<ObjectPath> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.dirty.keys().filter(|dirty| path.contains(dirty)).cloned().collect()
    }

    /// The turn of the last change, if the directory needs a sync.
    fn needs(&self, path: &ObjectPath) -> Option<Turn> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match known.dirty.get(path) {
            Some(turn) => Some(*turn),
            None => (!known.seen.contains(path)).then_some(UNCHANGED),
        }
    }

    fn synced(&self, path: ObjectPath, turn: Turn) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.dirty.get(&path) == Some(&turn) {
            known.dirty.remove(&path);
        }
        if known.seen.len() >= SEEN_MAX {
            known.seen.clear();
        }
        known.seen.insert(path);
    }
}

fn sync<D: Disk>(disk: &D, root: &D::Handle, path: &ObjectPath) -> Result<()> {
    if planted::is(Bug::ForgetTheSyncOfDirectories) {
        return Ok(());
    }
    disk.open_directory(root, path.components())
        .and_then(|directory| disk.sync_directory(&directory))
        .doing(format_args!("sync directory {path:?}"))
}
