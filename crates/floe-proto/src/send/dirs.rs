//! Directories that were announced and have not ended, and which of them the receiver could not
//! make.
//!
//! One that could not be made is one failure. What lies beneath it, and its end, follow from it:
//! the walk goes no further there, and what was announced already ends without a word.

use super::{Sender, Tell};
use crate::frame::EntryBody;
use crate::io::Io;
use alloc::collections::BTreeMap;
use floe_types::{EntryIndex, Fault, ObjectPath};

/// The directories of a sending half, from their announcement to the end of their end.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct SentDirs {
    begun: BTreeMap<EntryIndex, ObjectPath>,
    /// Those of them that the receiver could not make; none beneath another.
    failed: BTreeMap<EntryIndex, ObjectPath>,
    /// What they count of what the session has announced.
    bytes: usize,
}

impl SentDirs {
    fn begin(&mut self, index: EntryIndex, path: ObjectPath) {
        self.bytes += path.footprint();
        self.begun.insert(index, path);
    }

    /// The end of the directory that began with this index has ended: what counts no more.
    pub(super) fn end(&mut self, begun: EntryIndex) -> usize {
        self.failed.remove(&begun);
        let path = self.begun.remove(&begun);
        let bytes = path.map_or(0, |path| path.footprint()).min(self.bytes);
        self.bytes -= bytes;
        bytes
    }

    /// Whether an entry is in, or the end of, a directory that could not be made.
    pub(super) fn is_unwanted(&self, path: &ObjectPath) -> bool {
        self.failed.values().any(|dir| dir.contains(path))
    }
}

impl<P: Clone> Sender<P> {
    pub(super) fn begin_directory(&mut self, index: EntryIndex, path: ObjectPath, io: &mut Io<P>) {
        io.announced.dirs += path.footprint();
        self.dirs.begin(index, path);
    }

    /// The transfer ended early: none of them counts any more.
    pub(super) fn discount_directories(&mut self, io: &mut Io<P>) {
        io.announced.dirs -= core::mem::take(&mut self.dirs.bytes);
    }

    /// An entry that is no directory is announced, or is to take the place of one that was.
    pub(super) fn count_announced(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        let link = entry.body.as_ref().map_or(0, EntryBody::link_len);
        entry.announced_bytes = entry.path.footprint() + link;
        io.announced.entries += entry.announced_bytes;
    }

    /// The receiver says that it cannot make a directory, if that is what this index is: what is
    /// neither open nor a directory has ended already.
    pub(super) fn directory_failed(&mut self, index: EntryIndex, fault: Fault, io: &mut Io<P>) {
        let Some(path) = self.dirs.begun.get(&index).cloned() else { return };
        if self.dirs.is_unwanted(&path) {
            return;
        }
        self.dirs.failed.insert(index, path.clone());
        for child in self.walk.abandon(index) {
            self.end_entry(child, io);
        }
        if path.is_root() {
            self.unplaced.get_or_insert_with(|| fault.clone());
        }
        self.report_failure(index, path, fault, Tell::Nobody, io);
    }
}
