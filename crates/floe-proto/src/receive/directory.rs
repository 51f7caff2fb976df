//! Directories of the receiving half: made before what is in them begins, ended after all of it
//! has.

use super::entry::{RecvEntry, Stage};
use super::{Heard, Receiver, violation};
use crate::disk::{Journal, Standing};
use crate::frame::{EntryBody, Failed, Frame};
use crate::io::Io;
use alloc::vec::Vec;
use floe_types::{EntryIndex, Fault, ObjectPath, Precondition, Time};

/// A directory that has begun and not ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Dir {
    /// The entry that began it.
    begun: EntryIndex,
    state: DirState,
    /// Entries directly in it that have not ended.
    unfinished: u32,
    end: Option<EntryIndex>,
    waiting: Vec<EntryIndex>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum DirState {
    Making,
    Made,
    /// It stood there, and nothing that stands may be changed: it keeps its metadata.
    Kept,
    Failed(Fault),
}

impl Dir {
    const fn making(begun: EntryIndex) -> Self {
        Self { begun, state: DirState::Making, unfinished: 0, end: None, waiting: Vec::new() }
    }

    /// Its end was announced: nothing more may be, but in the place of what was.
    pub(super) const fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// One entry in it has ended.
    pub(super) const fn child_ended(&mut self) {
        self.unfinished = self.unfinished.saturating_sub(1);
    }
}

/// Names of the longest path, and the root.
const DEPTH_MAX: usize = 256;

impl Receiver {
    /// A directory begins: entries may be announced in it.
    pub(super) fn enter_directory(&mut self, index: EntryIndex, path: ObjectPath) -> Heard {
        // Those that are open lie in each other; of the others the ends are ahead.
        if self.dirs.len() > self.limits.entries_ahead_max as usize + DEPTH_MAX {
            return violation("too many directories that have not ended");
        }
        self.dirs_bytes += path.footprint();
        match self.dirs.insert(path, Dir::making(index)) {
            None => Ok(()),
            Some(_) => violation("a directory twice"),
        }
    }

    /// What all that was announced and has not ended counts.
    pub(crate) fn announced_bytes(&self) -> usize {
        self.entries.tally().ahead_bytes + self.dirs_bytes
    }

    /// About what it remembers.
    pub(crate) fn footprint(&self) -> usize {
        self.entries.tally().footprint::<RecvEntry>() + self.dirs_bytes
    }

    /// Begins an entry, or lets it wait until its directory is made.
    pub(super) fn begin_in<P: Clone>(
        &mut self,
        parent: Option<ObjectPath>,
        index: EntryIndex,
        io: &mut Io<P>,
        now: Time,
    ) {
        let Some(dir) = parent.and_then(|parent| self.dirs.get_mut(&parent)) else {
            return self.begin(index, io, now);
        };
        dir.unfinished += 1;
        match &dir.state {
            DirState::Making => dir.waiting.push(index),
            DirState::Made | DirState::Kept => self.begin(index, io, now),
            DirState::Failed(fault) => {
                let fault = fault.clone();
                self.open_failed(index, fault, io);
            }
        }
    }

    pub(super) fn directory_ended<P: Clone>(
        &mut self,
        index: EntryIndex,
        path: ObjectPath,
        body: EntryBody,
        io: &mut Io<P>,
        now: Time,
    ) -> Heard {
        let Some(dir) = self.dirs.get_mut(&path) else {
            return violation("the end of no directory");
        };
        if !matches!(body, EntryBody::DirectoryEnd { begun, .. } if begun == dir.begun) {
            return violation("the end of another directory");
        }
        if dir.end.replace(index).is_some() {
            return violation("a directory's end twice");
        }
        self.entries
            .insert(index, RecvEntry::announced(path.clone(), body, None, Journal::None, now));
        self.end_directory_if_quiet(&path, io, now);
        Ok(())
    }

    /// Applies a directory's metadata once all its entries ended.
    pub(super) fn end_directory_if_quiet<P: Clone>(
        &mut self,
        path: &ObjectPath,
        io: &mut Io<P>,
        now: Time,
    ) {
        let Some(dir) = self.dirs.get(path) else { return };
        let (Some(index), 0) = (dir.end, dir.unfinished) else { return };
        if self.entries.get(&index).is_some_and(|end| end.stage != Stage::Waiting) {
            return; // it is being committed already
        }
        match &dir.state {
            DirState::Making => {}
            DirState::Made => self.commit_soon(index, io, now),
            // Its name was durable when it had begun; what was made in it is with its own commits.
            DirState::Kept => self.finished_entry(index, path.clone(), None, io),
            DirState::Failed(fault) => {
                let fault = fault.clone();
                self.fail(index, fault, io);
            }
        }
    }

    pub(super) fn directory_made<P: Clone>(
        &mut self,
        index: EntryIndex,
        standing: Standing,
        io: &mut Io<P>,
    ) {
        let state = match (standing, self.precondition()) {
            (Standing::Stood, Precondition::Absent) => DirState::Kept,
            _ => DirState::Made,
        };
        self.directory_settled(index, state, io);
    }

    fn directory_settled<P: Clone>(&mut self, index: EntryIndex, state: DirState, io: &mut Io<P>) {
        let Some(entry) = self.entries.remove(&index) else { return };
        let Some(dir) = self.dirs.get_mut(&entry.path) else { return };
        dir.state = state;
        let waiting = core::mem::take(&mut dir.waiting);
        let now = io.now;
        for child in waiting {
            match self.dirs.get(&entry.path).map(|dir| dir.state.clone()) {
                Some(DirState::Failed(fault)) => self.open_failed(child, fault, io),
                _ => self.begin(child, io, now),
            }
        }
        self.end_directory_if_quiet(&entry.path, io, now);
    }

    pub(super) fn open_failed<P: Clone>(
        &mut self,
        index: EntryIndex,
        fault: Fault,
        io: &mut Io<P>,
    ) {
        let Some(entry) = self.entries.get(&index) else { return };
        if !matches!(entry.body, EntryBody::Directory) || entry.stage == Stage::Ending {
            return self.fail(index, fault, io);
        }
        let (id, path) = (self.entry_id(index), entry.path.clone());
        let fault = self.as_told(&path, fault);
        if !self.is_unplaced(&path) {
            // Said at once: nothing beneath it is wanted.
            let (entry, path, fault) = (id, path.clone(), fault.clone());
            io.say(Frame::Failed(Failed { entry, path: path.clone(), fault: fault.clone() }));
            if path.is_root() {
                self.unplaced = Some(fault.clone());
            }
            self.count_failure(entry, path, fault, io);
        }
        // What is announced in it fails with it, and that costs its sender next to nothing.
        self.directory_settled(index, DirState::Failed(fault.told()), io);
    }

    /// Whether an entry is in, or the end of, a directory that could not be made.
    pub(super) fn is_unplaced(&self, path: &ObjectPath) -> bool {
        let failed = |path: &ObjectPath| {
            self.dirs.get(path).is_some_and(|dir| matches!(dir.state, DirState::Failed(_)))
        };
        let above = |path: &ObjectPath| path.split_last().map(|(parent, _)| parent);
        core::iter::successors(Some(path.clone()), above).any(|path| failed(&path))
    }
}
