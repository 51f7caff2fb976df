//! How many ranges are held that came and did not join, of all objects of a session together.
//!
//! Neighbours join, and a sender goes from an object's start to its end, and from the start of each
//! gap of what is held to its end: so beyond what was told to be held there are few more ranges,
//! whatever its holes, since these are held like bytes. They are as many as chunks only where a
//! peer leaves every second one out.

use super::Receiver;
use crate::io::Io;
use floe_types::{Code, EntryIndex, Fault};

impl Receiver {
    /// What is held of an entry has changed.
    pub(super) fn count_ranges<P>(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        // What came fills gaps: at most one more range than there were.
        let count = entry.held.count().saturating_sub(entry.ranges_told + 1);
        io.ranges_held = (io.ranges_held + count) - entry.ranges_counted;
        entry.ranges_counted = count;
    }

    /// Nothing more comes of an entry that is to be remembered.
    pub(super) fn forget_ranges<P>(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        io.ranges_held -= core::mem::take(&mut entry.ranges_counted);
    }

    /// Why what came of an entry is too much to be remembered, if it is.
    pub(super) fn too_many_ranges<P>(&self, index: EntryIndex, io: &Io<P>) -> Option<Fault> {
        let most = self.limits.held_ranges_max;
        let full = io.ranges_held > most as usize;
        let entry = self.entries.get(&index).filter(|entry| full && entry.ranges_counted > 0)?;
        let path = &entry.path;
        let what = "what came does not join, and is more ranges than can be remembered";
        Some(Fault::new(Code::LimitExceeded, alloc::format!("write \"{path}\": {what} ({most})")))
    }
}
