//! How many ranges are held, of all objects of a session together.
//!
//! Neighbours join, and a sender goes from an object's start to its end: so there are few, whatever
//! its holes, since these are held like bytes. They are as many as chunks only where a peer leaves
//! every second one out.

use super::Receiver;
use crate::io::Io;
use floe_types::{Code, EntryIndex, Fault};

impl Receiver {
    /// How many more there may be.
    pub(super) fn room_for_ranges<P>(&self, io: &Io<P>) -> u32 {
        let left = (self.limits.held_ranges_max as usize).saturating_sub(io.ranges_held);
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// What is held of an entry has changed.
    pub(super) fn count_ranges<P>(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        let count = entry.held.count() + entry.suspects.len();
        io.ranges_held = (io.ranges_held + count) - entry.ranges_counted;
        entry.ranges_counted = count;
    }

    /// Why what came of an entry is too much to be remembered, if it is.
    pub(super) fn too_many_ranges<P>(&self, index: EntryIndex, io: &Io<P>) -> Option<Fault> {
        let most = self.limits.held_ranges_max;
        let entry = self.entries.get(&index).filter(|_| io.ranges_held > most as usize)?;
        let path = &entry.path;
        let what = "what came does not join, and is more ranges than can be remembered";
        Some(Fault::new(Code::LimitExceeded, alloc::format!("write \"{path}\": {what} ({most})")))
    }
}
