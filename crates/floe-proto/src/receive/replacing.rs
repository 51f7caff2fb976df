//! Entries that take the place of another: its source changed, and it is sent again.

use super::entry::{LastWish, Word};
use super::{Heard, Receiver, violation};
use crate::frame::{EntryBody, Failed, Frame};
use crate::io::Io;
use floe_types::{Code, EntryIndex, Fault, ObjectPath};

impl Receiver {
    /// The sender's source changed: that entry is let go of, without a word. What is being
    /// committed cannot be called back, and is whole: the one that replaces it waits for it.
    pub(super) fn replaced<P: Clone>(
        &mut self,
        old: EntryIndex,
        path: &ObjectPath,
        io: &mut Io<P>,
    ) -> Heard {
        self.known(old)?;
        // Of one object only what becomes of it last counts: that it failed, its sender hears late.
        let had_failed = path.is_root() && self.first_fault.take().is_some();
        if had_failed {
            self.summary.entries_failed.0 = self.summary.entries_failed.0.saturating_sub(1);
        }
        let Some(entry) = self.entries.lend(&old) else {
            if had_failed {
                self.summary.entries_found.0 = self.summary.entries_found.0.saturating_sub(1);
            }
            return Ok(());
        };
        if entry.path != *path || !matches!(entry.body, EntryBody::File { .. }) {
            return violation("ENTRY replaces another path");
        }
        if entry.word == Word::None {
            return violation("ENTRY replaces what was replaced");
        }
        entry.word = Word::None;
        let (size, held) = (entry.size.unwrap_or_default(), entry.held.len());
        self.summary.bytes_total = self.summary.bytes_total.minus(size);
        self.summary.bytes_stored = self.summary.bytes_stored.minus(held);
        self.summary.entries_found.0 = self.summary.entries_found.0.saturating_sub(1);
        self.end_entry(old, LastWish::Release, io);
        Ok(())
    }

    /// One that replaces another begins when that is gone; what the other waited for itself, it
    /// waits for in its place.
    pub(super) fn wait_behind(&mut self, old: EntryIndex, index: EntryIndex) {
        let waited = self.behind.iter().find(|(_, next)| **next == old).map(|(first, _)| *first);
        let first = waited.or_else(|| self.entries.contains_key(&old).then_some(old));
        if let Some(first) = first {
            self.behind.insert(first, index);
        }
    }

    /// What it replaces had failed here before its sender could hear of that, and then the
    /// directory ended.
    pub(super) fn came_too_late<P>(
        &self,
        index: EntryIndex,
        path: ObjectPath,
        io: &mut Io<P>,
    ) -> Heard {
        let detail = alloc::format!("write {path:?}: its directory is finished");
        let fault = Fault::new(Code::SourceChanged, detail);
        io.say(Frame::Failed(Failed { entry: self.entry_id(index), path, fault }));
        Ok(())
    }
}
