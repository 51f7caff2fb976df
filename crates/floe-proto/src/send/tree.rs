//! The tree of a sending half: entries are opened ahead, announced in order, and ended.
//!
//! `walk` says what comes next; here it becomes operations and announcements, within bounds.

use super::entry::{SendEntry, Stage, WantOf};
use super::{Ending, Listing, Sender, Tell};
use crate::command::{Event, Walk as WalkState};
use crate::disk::{DiskOp, Followed, Lane, OpenHow, Opened, Reread};
use crate::entries::Tally;
use crate::frame::{Entry, EntryBody, Failed, Frame, Pace, Unasked};
use crate::io::{Io, Next, Owner, SendOp};
use crate::plan::ChunkPlan;
use crate::walk::{OpenedChild, Room, Step};
use floe_types::{
    ByteCount, Code, EntryCount, EntryId, EntryIndex, Fault, Limits, ObjectPath, RangeSet,
};

impl<P: Clone> Sender<P> {
    /// Goes on with the walk as far as bounds allow, and says COMPLETE when all is ended.
    pub(crate) fn advance(&mut self, io: &mut Io<P>) {
        loop {
            // What is found may be refused name by name, and each time that is said.
            if io.cold.holds_walks() {
                io.announced.next = Next::HeldBack;
                return;
            }
            match self.walk.step(self.room(io)) {
                Step::Open(index, path) => self.open(index, path, io),
                Step::List(index, path, after) => self.list(index, &path, after, io),
                Step::NoPath { index, dir, name, why } => {
                    let detail = alloc::format!("path of {name:?}: {why}");
                    let fault = Fault::new(Code::NameTooLong, detail);
                    self.report_failure(index, dir, fault, Tell::Peer, io);
                }
                Step::Announce(index) => self.announce(index, io),
                Step::End { index, begun, path, metadata } => {
                    let body = EntryBody::DirectoryEnd { begun, metadata };
                    self.entries
                        .insert(index, SendEntry::announced_end(path.clone(), body.clone()));
                    self.count_announced(index, io);
                    self.queue_announcement(Entry { index, path, replaces: None, body }, io);
                }
                Step::Wait => {
                    if !io.announced.has_room(&self.limits) {
                        io.announced.next = Next::HeldBack;
                    }
                    return;
                }
                Step::Over => break,
            }
        }
        if self.walk.is_over() {
            self.summary.walk = WalkState::Ended;
            if self.entries.is_empty() && self.ending == Ending::Running {
                self.ending = Ending::Complete;
                io.say(Frame::Complete(self.id, EntryCount(self.announced)));
            }
        }
    }

    /// What the peer's limits of entries ahead and this end's of open objects leave.
    fn room(&self, io: &Io<P>) -> Room {
        let Tally { ahead, open, open_small, .. } = self.entries.tally();
        let limits = &self.limits;
        // More than by default no client takes, and it says of itself nothing else.
        let ahead_max = limits.entries_ahead_max.min(Limits::default().entries_ahead_max);
        // What is being opened may turn out to be either.
        let small = (limits.small_objects_open_max as usize).saturating_sub(open_small + open);
        Room {
            open: (limits.objects_open_max as usize).saturating_sub(open).min(small),
            announce: match io.announced.has_room(limits) {
                true => (ahead_max as usize).saturating_sub(ahead),
                false => 0,
            },
        }
    }

    fn open(&mut self, index: EntryIndex, path: ObjectPath, io: &mut Io<P>) {
        let followed = if path.is_root() { Followed::Named } else { Followed::Found };
        match self.full_path(&path) {
            Ok(full) => {
                self.entries.insert(index, SendEntry::opening(path));
                self.submit_open(index, full, followed, io);
            }
            Err(fault) => {
                self.entries.insert(index, SendEntry::opening(path));
                self.walk.opened(index, OpenedChild::Gone);
                self.fail(index, fault, Tell::Peer, io);
            }
        }
    }

    /// How an entry is opened: nothing of the store in a probe.
    pub(super) fn open_how(&self, followed: Followed) -> OpenHow {
        self.options.probe.map_or(OpenHow::Source(followed), OpenHow::ProbeSource)
    }

    fn submit_open(
        &mut self,
        index: EntryIndex,
        path: ObjectPath,
        followed: Followed,
        io: &mut Io<P>,
    ) {
        let how = self.open_how(followed);
        let op = DiskOp::Open { entry: self.entry_id(index), path, how };
        self.submit(index, Lane::Session, op, SendOp::Open(index), io);
    }

    fn list(
        &mut self,
        index: EntryIndex,
        path: &ObjectPath,
        after: Option<alloc::vec::Vec<u8>>,
        io: &mut Io<P>,
    ) {
        let refused = match (self.listing, self.full_path(path)) {
            (Listing::Allowed, Ok(path)) => {
                let max = self.limits.page_entries_max;
                let op = DiskOp::List { entry: self.entry_id(index), path, after, max };
                io.submit(Lane::Session, op, Owner::Send(self.id, SendOp::List(index)));
                return;
            }
            (Listing::Allowed, Err(fault)) => fault,
            (Listing::Refused, _) => {
                let shown = self.full_path(path).unwrap_or_else(|_| path.clone());
                Fault::new(Code::NotAllowed, alloc::format!("list {shown:?}"))
            }
        };
        self.walk.cut_short(index);
        self.report_failure(index, path.clone(), refused, Tell::Peer, io);
    }

    fn announce(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        let Some(body) = entry.body.clone() else { return };
        let path = entry.path.clone();
        entry.stage = Stage::Announced;
        self.summary.entries_found.0 += 1;
        let size = match &body {
            EntryBody::File { size, .. } => *size,
            _ => None,
        };
        self.summary.bytes_total = self.summary.bytes_total.plus(size.unwrap_or_default());
        io.events
            .push_back(Event::EntryFound { entry: EntryId { transfer: self.id, index }, size });
        if matches!(body, EntryBody::Directory) {
            let metadata = entry.metadata;
            self.entries.remove(&index);
            self.begin_directory(index, path.clone(), io);
            if let Some(metadata) = metadata {
                self.walk.enter(index, path.clone(), metadata);
            }
        } else {
            self.count_announced(index, io);
        }
        self.queue_announcement(Entry { index, path, replaces: None, body }, io);
        self.send_unasked(index);
    }

    /// The small file that is all of a get goes right behind its ENTRY, where it is welcome.
    fn send_unasked(&mut self, index: EntryIndex) {
        let welcome =
            self.options.unasked == Unasked::Welcome && self.options.pace == Pace::Streaming;
        let Some(entry) = self.entries.lend(&index) else { return };
        let once = entry.fill.is_some();
        let small = |size: &ByteCount| (1..=Limits::UNASKED_BYTES.0).contains(&size.0);
        let Some(size) = entry.size.filter(small) else { return };
        if !welcome || once || !entry.path.is_root() {
            return;
        }
        (entry.stage, entry.want) = (Stage::Sending, WantOf::Behind);
        entry.plan = ChunkPlan::new(size, &RangeSet::new(), &entry.holes);
        self.ready.insert(index);
    }

    fn queue_announcement(&mut self, entry: Entry, io: &mut Io<P>) {
        self.announced += 1;
        io.say_entry(self.id, entry);
    }

    pub(super) fn opened(&mut self, index: EntryIndex, opened: Opened, io: &mut Io<P>) {
        let Opened::Source { body, metadata, reread, holes } = opened else { return };
        let (body, holes) = self.known_holes(body, holes);
        let Some(entry) = self.entries.lend(&index) else { return };
        if let Reread::No { .. } = reread {
            self.once = Some(index);
        }
        entry.opened(body, metadata, reread);
        entry.holes = holes;
        if entry.stage == Stage::Ending {
            return;
        }
        if let Some(replaces) = entry.replaces {
            let (path, body) = (entry.path.clone(), entry.body.clone());
            if let Some(body @ EntryBody::File { size, .. }) = body {
                entry.stage = Stage::Announced;
                self.dropped.told(core::mem::take(&mut entry.dropped));
                self.summary.bytes_total = self.summary.bytes_total.plus(size.unwrap_or_default());
                self.queue_announcement(Entry { index, path, replaces: Some(replaces), body }, io);
            } else {
                let path = self.full_path(&path).unwrap_or(path);
                let detail = alloc::format!("open {path:?} again: it is no file any more");
                let fault = Fault::new(Code::SourceChanged, detail);
                self.fail(index, fault, Tell::Peer, io);
            }
            return;
        }
        self.walk.opened(index, OpenedChild::Ready);
    }

    /// A name in a directory that no path may have.
    pub(super) fn pass_over(&mut self, dir: EntryIndex, fault: Fault, io: &mut Io<P>) {
        let path = self.walk.path_of(dir);
        let unannounced = self.walk.take_index();
        let entry = self.entry_id(unannounced);
        self.summary.entries_skipped.0 += 1;
        io.say(Frame::Failed(Failed { entry, path: path.clone(), fault: fault.clone() }));
        io.events.push_back(Event::EntrySkipped { path, fault });
    }

    pub(super) fn open_failed(&mut self, index: EntryIndex, fault: Fault, io: &mut Io<P>) {
        self.walk.opened(index, OpenedChild::Gone);
        if self.entries.get(&index).is_none_or(|entry| entry.stage == Stage::Ending) {
            return;
        }
        let entry = self.entries.get(&index);
        let gone = matches!(fault.code, Code::NotFound | Code::NotDirectory | Code::NotRegular);
        if gone && entry.is_some_and(|entry| entry.replaces.is_some()) {
            // The file that was being sent is none any more.
            let detail = alloc::format!("{} again: {}", fault.detail, fault.code.text());
            let fault = Fault::new(Code::SourceChanged, detail);
            return self.fail(index, fault, Tell::Peer, io);
        }
        let is_root = entry.is_some_and(|entry| entry.path.is_root());
        if fault.code == Code::NotRegular && !is_root {
            let Some(entry) = self.entries.lend(&index) else { return };
            entry.stage = Stage::Ending;
            let path = entry.path.clone();
            self.summary.entries_skipped.0 += 1;
            let id = self.entry_id(index);
            io.say(Frame::Failed(Failed { entry: id, path: path.clone(), fault: fault.clone() }));
            io.events.push_back(Event::EntrySkipped { path, fault });
            return;
        }
        self.fail(index, fault, Tell::Peer, io);
    }
}
