//! The last of an entry: told, its handle released or its stage removed, its directory told.
//!
//! Nothing is released before the last operation of the entry has ended.

use super::Receiver;
use super::entry::{LastWish, Slot, Stage};
use crate::command::Event;
use crate::disk::{DiskOp, Journal, Lane};
use crate::frame::{CommittedEntry, EntryBody};
use crate::io::{Io, ReceiveOp};
use floe_types::{ByteCount, EntryId, EntryIndex, ObjectPath, Root};

impl Receiver {
    /// An entry stands committed: told, reported, counted.
    pub(super) fn finished_entry<P: Clone>(
        &mut self,
        index: EntryIndex,
        path: ObjectPath,
        object: Option<(ByteCount, Root)>,
        io: &mut Io<P>,
    ) {
        let root = object.map(|(_, root)| root);
        io.say_committed(self.id, CommittedEntry { index, root });
        self.summary.entries_committed.0 += 1;
        let entry = self.entry_id(index);
        io.events.push_back(Event::EntryFinished { entry, path, object });
        self.end_entry(index, LastWish::Release, io);
    }

    /// Drops an entry's work; its handle is released once nothing of it is under way.
    pub(super) fn end_entry<P: Clone>(
        &mut self,
        index: EntryIndex,
        wish: LastWish,
        io: &mut Io<P>,
    ) {
        let Some(entry) = self.entries.lend(&index) else { return };
        if entry.stage == Stage::Ending {
            return;
        }
        let unrecorded = core::mem::take(&mut entry.unrecorded);
        self.in_flight = self.in_flight.minus(unrecorded);
        if entry.stage == Stage::Committing && self.batch.is_running(index) {
            // Its commit cannot be called back: its end decides.
            return;
        }
        entry.stage = Stage::Ending;
        if entry.ops > 0 {
            io.events.push_back(Event::EntryEnding(EntryId { transfer: self.id, index }));
        }
        entry.wish = match (entry.wish, wish) {
            (LastWish::Nothing, _) => LastWish::Nothing,
            (_, LastWish::Checkpoint) if entry.journal == Journal::None => LastWish::Release,
            (_, wish) => wish,
        };
        self.batch.forget(index);
        self.abandon_entry(index);
        self.forget_ranges(index, io);
        io.wake_streams();
        self.release_if_quiet(index, io);
    }

    pub(super) fn release_if_quiet<P: Clone>(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        if entry.stage != Stage::Ending || entry.ops > 0 {
            return;
        }
        let id = self.entry_id(index);
        let Some(entry) = self.entries.lend(&index) else { return };
        let wish = core::mem::replace(&mut entry.wish, LastWish::Nothing);
        match wish {
            LastWish::Checkpoint => {
                entry.wish = LastWish::Release;
                self.submit(
                    index,
                    Lane::Session,
                    DiskOp::Checkpoint { entry: id },
                    ReceiveOp::Checkpoint(index),
                    io,
                );
            }
            LastWish::Release => {
                self.submit(
                    index,
                    Lane::Session,
                    DiskOp::Release { entry: id },
                    ReceiveOp::Release(index),
                    io,
                );
            }
            LastWish::Discard => {
                self.submit(
                    index,
                    Lane::Session,
                    DiskOp::Discard { entry: id },
                    ReceiveOp::Discard(index),
                    io,
                );
            }
            LastWish::Nothing => self.gone(index, io),
        }
    }

    /// An entry is gone: its directory may end.
    pub(super) fn gone<P: Clone>(&mut self, index: EntryIndex, io: &mut Io<P>) {
        self.forget_ranges(index, io);
        let Some(entry) = self.entries.remove(&index) else { return };
        let now = io.now;
        if let EntryBody::DirectoryEnd { .. } = entry.body
            && self.dirs.remove(&entry.path).is_some()
        {
            self.dirs_bytes -= entry.path.footprint();
        }
        if let Slot::Taken(extent) = entry.slot {
            io.open.remove(extent);
        }
        if let Some(next) = self.behind.remove(&index) {
            self.begin(next, io, now);
        }
        let Some((parent, _)) = entry.path.split_last() else { return };
        if let Some(dir) = self.dirs.get_mut(&parent) {
            dir.child_ended();
        }
        self.end_directory_if_quiet(&parent, io, now);
    }
}
