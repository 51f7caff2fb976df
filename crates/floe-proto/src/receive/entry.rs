//! One entry of the receiving half: announced, opened, wanted.

use super::checkpoint::Checkpoints;
use super::coarse::{Coarse, coarsened};
use super::reach::Reach;
use super::{Heard, Receiver, Replacing, violation};
use crate::command::Event;
use crate::disk::{DiskOp, Journal, Lane, OpenHow, SinkWish};
use crate::entries::{Tallied, Tally};
use crate::frame::{Basis, DoneEntry, Entry, EntryBody, Frame, More, Want};
use crate::io::{Extent, Io, Owner, ReceiveOp};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use floe_types::{
    ByteCount, Code, EntryIndex, Fault, Freshness, Limits, ObjectPath, Offset, Precondition, Range,
    RangeSet, Root, Subtree, Subtrees, Time,
};

/// Where an entry stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Stage {
    /// Its directory is not made yet, or (a directory's end) has entries that have not ended.
    Waiting,
    /// Its stage is being opened, or its directory made.
    Opening,
    /// Chunks come.
    Open,
    /// In a batch, or being committed.
    Committing,
    /// It ended; its operations are awaited, then its handle is released.
    Ending,
}

/// What becomes of a stage at the end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum LastWish {
    /// Made durable, then kept.
    Checkpoint,
    /// Kept.
    Release,
    /// Removed.
    Discard,
    /// Nothing is held.
    Nothing,
}

/// One entry.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct RecvEntry {
    pub(super) path: ObjectPath,
    /// What it counts of what the session may have announced, until nothing of it is under way.
    footprint: usize,
    pub(super) body: EntryBody,
    pub(super) stage: Stage,
    pub(super) size: Option<ByteCount>,
    pub(super) journal: Journal,
    /// Operations under way.
    pub(super) ops: u32,
    /// Where its chunks may be, while its size is not known.
    pub(super) reach: Reach,
    /// What is being forgotten of an earlier run.
    pub(super) forgetting: RangeSet,
    /// What is recorded, or was and is confirmed.
    pub(super) held: Subtrees,
    /// What an earlier run recorded of a version that is not trusted: held once DONE did not take
    /// it back.
    pub(super) suspects: BTreeMap<Offset, Subtree>,
    /// How many ranges of both its sender was told.
    pub(super) ranges_told: usize,
    /// How many ranges count for the session.
    pub(super) ranges_counted: usize,
    /// Bytes of an object without a journal that came and are not committed.
    pub(super) unrecorded: ByteCount,
    pub(super) finished: Option<Root>,
    pub(super) done: Option<DoneEntry>,
    pub(super) checkpoint: Checkpoints,
    pub(super) wish: LastWish,
    pub(super) word: Word,
    pub(super) slot: Slot,
}

/// Whether an entry counts among the objects that are open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Slot {
    None,
    Taken(Extent),
}

/// Whether the peer is told how an entry ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Word {
    Owed,
    /// It was replaced.
    None,
}

impl Receiver {
    pub(crate) fn handle_entries<P: Clone>(
        &mut self,
        list: Vec<Entry>,
        io: &mut Io<P>,
        now: Time,
    ) -> Heard {
        // What the sender counts is never less: some have ended here of which it has not heard.
        let mut ahead = self.entries.tally().ahead;
        for entry in list {
            if self.entries.contains_key(&entry.index) {
                return violation("an ENTRY index twice");
            }
            self.last_index = self.last_index.max(Some(entry.index));
            self.announced = self.announced.saturating_add(1);
            // One that replaces another takes its place.
            if !matches!(entry.body, EntryBody::Directory) && entry.replaces.is_none() {
                ahead += 1;
            }
            if ahead > self.limits.entries_ahead_max as usize {
                return violation("too many entries ahead");
            }
            self.announced_entry(entry, io, now)?;
        }
        self.settle(io, now);
        Ok(())
    }

    fn announced_entry<P: Clone>(&mut self, entry: Entry, io: &mut Io<P>, now: Time) -> Heard {
        if self.ending != super::Ending::Running {
            return if self.is_stopped() { Ok(()) } else { violation("ENTRY after COMPLETE") };
        }
        let Entry { index, path, replaces, body } = entry;
        if replaces.is_some() && !matches!(body, EntryBody::File { .. }) {
            return violation("what replaces a file is none");
        }
        if let Some(old) = replaces {
            self.replaced(old, &path, io)?;
        }
        if self.options.probe.is_some() {
            match body {
                EntryBody::File { size, holes: ByteCount::ZERO, .. } => {
                    if size.is_none_or(|size| size > Limits::PROBE_BYTES_MAX) {
                        return violation("a probe of more than its bound");
                    }
                }
                _ => return violation("a probe of more than bytes"),
            }
        }
        if let EntryBody::DirectoryEnd { .. } = body {
            return self.directory_ended(index, path, body, io, now);
        }
        let parent = path.split_last().map(|(parent, _)| parent);
        let first = self.announced == 1 || replaces.is_some();
        match &parent {
            None if !first => return violation("ENTRY outside the tree"),
            Some(parent) if !self.dirs.contains_key(parent) => match (replaces, &body) {
                (Some(_), EntryBody::File { .. }) => return self.came_too_late(index, path, io),
                _ => return violation("ENTRY outside its directory"),
            },
            Some(parent)
                if replaces.is_none() && self.dirs.get(parent).is_some_and(|dir| dir.is_over()) =>
            {
                return violation("ENTRY behind the end of its directory");
            }
            _ => {}
        }
        let size = size_of(&body);
        let id = self.entry_id(index);
        self.summary.entries_found.0 += 1;
        self.summary.bytes_total = self.summary.bytes_total.plus(size.unwrap_or_default());
        io.events.push_back(Event::EntryFound { entry: id, size });
        if matches!(body, EntryBody::Directory) {
            self.enter_directory(index, path.clone())?;
        }
        // Without a journal nothing is acknowledged before the commit: it must fit the window.
        let unrecorded_max = self.options.chunk.bytes().min(ByteCount(self.options.window.0 / 2));
        // Holes cut an object into chunks, and in lockstep each waits for STORED.
        let holes = match &body {
            EntryBody::File { holes, .. } => *holes,
            _ => ByteCount::ZERO,
        };
        let small = size.is_some_and(|size| size <= unrecorded_max) && holes == ByteCount::ZERO;
        let journal = if small { Journal::None } else { Journal::Kept };
        self.entries.insert(index, RecvEntry::announced(path, body, size, journal, now));
        if let Some(old) = replaces {
            self.wait_behind(old, index);
        }
        self.begin_in(parent, index, io, now);
        Ok(())
    }

    pub(super) fn begin<P: Clone>(&mut self, index: EntryIndex, io: &mut Io<P>, now: Time) {
        let Some(entry) = self.entries.lend(&index) else { return };
        if entry.stage != Stage::Waiting || self.behind.values().any(|behind| *behind == index) {
            return;
        }
        if let EntryBody::Link { .. } = entry.body {
            return self.commit_soon(index, io, now);
        }
        if let EntryBody::File { .. } = entry.body {
            if entry.slot == Slot::None && !io.open.has_room(entry.extent(), &self.limits) {
                self.queue.push_back(index);
                return;
            }
            self.take_slot(index, io);
        }
        self.open(index, io);
    }

    /// An object counts as open from here on, until it is gone.
    pub(super) fn take_slot<P>(&mut self, index: EntryIndex, io: &mut Io<P>) {
        if let Some(entry) = self.entries.lend(&index)
            && entry.slot == Slot::None
        {
            entry.slot = Slot::Taken(entry.extent());
            io.open.add(entry.extent());
        }
    }

    /// Objects that waited are opened as others of the session go.
    pub(crate) fn open_queued<P: Clone>(&mut self, io: &mut Io<P>, now: Time) {
        while let Some(index) = self.queue.front().copied() {
            let extent = self.entries.get(&index).map_or(Extent::Small, RecvEntry::extent);
            if !io.open.has_room(extent, &self.limits) {
                return;
            }
            self.queue.pop_front();
            self.begin(index, io, now);
        }
    }

    pub(super) fn open<P: Clone>(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let precondition = self.precondition();
        let Some(entry) = self.entries.lend(&index) else { return };
        entry.stage = Stage::Opening;
        let how = match &entry.body {
            EntryBody::File { .. } if self.options.probe.is_some() => OpenHow::ProbeSink,
            EntryBody::File { size, holes, version, freshness, metadata } => {
                OpenHow::Sink(SinkWish {
                    size: *size,
                    holes: *holes,
                    version: *version,
                    freshness: *freshness,
                    metadata: *metadata,
                    precondition,
                    resume: self.options.resume,
                    recognise: self.options.recognise,
                    journal: entry.journal,
                })
            }
            _ => OpenHow::Directory(precondition),
        };
        match self.full_path(index) {
            Ok(path) => {
                let op = DiskOp::Open { entry: self.entry_id(index), path, how };
                self.submit(index, Lane::Session, op, ReceiveOp::Open(index), io);
            }
            Err(fault) => self.open_failed(index, fault, io),
        }
    }

    pub(super) fn precondition(&self) -> Precondition {
        match self.replacing {
            Replacing::Allowed => self.options.precondition,
            Replacing::Denied | Replacing::Unseen => Precondition::Absent,
        }
    }

    pub(super) fn full_path(&self, index: EntryIndex) -> Result<ObjectPath, Fault> {
        let path = self.entries.get(&index).map(|entry| entry.path.clone()).unwrap_or_default();
        self.base
            .join_path(&path)
            .map_err(|why| Fault::new(Code::BadPath, alloc::format!("write \"{path}\": {why}")))
    }

    pub(super) fn submit<P>(
        &mut self,
        index: EntryIndex,
        lane: Lane,
        op: DiskOp<P>,
        why: ReceiveOp,
        io: &mut Io<P>,
    ) {
        if let Some(entry) = self.entries.lend(&index) {
            entry.ops += 1;
        }
        io.submit(lane, op, Owner::Receive(self.id, why));
    }

    pub(super) fn sink_opened<P: Clone>(
        &mut self,
        index: EntryIndex,
        have: Vec<Subtree>,
        basis: Basis,
        finished: Option<Root>,
        io: &mut Io<P>,
        now: Time,
    ) {
        let id = self.entry_id(index);
        let Some(entry) = self.entries.lend(&index) else { return };
        if entry.wish == LastWish::Nothing {
            entry.wish = LastWish::Release;
        }
        if entry.stage != Stage::Opening {
            return;
        }
        entry.stage = Stage::Open;
        entry.checkpoint.last = now;
        entry.finished = finished;
        io.wake_streams();
        // The size that ENTRY named, not one that DONE did: without one there is no such version.
        let named = size_of(&entry.body);
        if let (Some(root), Basis::Version, Some(size)) = (finished, basis, named) {
            // Committed once more: an earlier run may have ended between its rename and its syncs.
            entry.done = Some(DoneEntry { index, size, root });
            self.summary.bytes_resumed = self.summary.bytes_resumed.plus(size);
            self.summary.bytes_stored = self.summary.bytes_stored.plus(size);
            self.commit_soon(index, io, now);
            return self.verdicts_due(index, io);
        }
        // The sender compares what rests on a version that is fresh: it may take it back.
        let fresh = matches!(entry.body, EntryBody::File { freshness: Freshness::Fresh, .. });
        let basis = if fresh { Basis::Content } else { basis };
        let Coarse { told: have, untold } = coarsened(have, self.limits.have_ranges_max);
        entry.ranges_told = have.len();
        let held: u64 = have.iter().map(|subtree| subtree.range.len().0).sum();
        self.summary.bytes_resumed = self.summary.bytes_resumed.plus(ByteCount(held));
        self.summary.bytes_stored = self.summary.bytes_stored.plus(ByteCount(held));
        for subtree in &have {
            match basis {
                Basis::Version => {
                    // The store's contract: aligned, ascending, not overlapping.
                    let _inserted = entry.held.insert(*subtree);
                }
                Basis::Content => {
                    entry.suspects.insert(subtree.range.start(), *subtree);
                }
            }
        }
        self.pass_over_held(index);
        // Before WANT, upon which the sender sends all that it does not tell.
        if let Some(range) = untold {
            self.take_back(index, range, io);
        }
        let lists: Vec<_> =
            have.chunks(self.limits.want_ranges_max as usize).map(<[_]>::to_vec).collect();
        let last = lists.len().saturating_sub(1);
        let mut lists: Vec<_> = lists.into_iter().enumerate().collect();
        if lists.is_empty() {
            lists.push((0, Vec::new()));
        }
        for (nth, have) in lists {
            let more = if nth < last { More::Follows } else { More::Last };
            io.say(Frame::Want(Want { entry: id, basis, have, finished, more }));
        }
        self.verdicts_due(index, io);
    }

    /// What the sender did not confirm is taken back.
    pub(crate) fn handle_drop<P: Clone>(
        &mut self,
        index: EntryIndex,
        ranges: &[Range],
        io: &mut Io<P>,
    ) -> Heard {
        self.known(index)?;
        for range in ranges {
            self.forget(index, *range, io);
        }
        Ok(())
    }

    /// Whether an index was announced, as far as this end remembers: none above the highest was.
    pub(super) fn known(&self, index: EntryIndex) -> Heard {
        if self.last_index.is_some_and(|last| index <= last) {
            Ok(())
        } else {
            violation("an entry that was not announced")
        }
    }

    /// Takes back what an earlier run recorded in a range.
    pub(super) fn forget<P: Clone>(&mut self, index: EntryIndex, range: Range, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        if entry.stage != Stage::Open {
            return;
        }
        entry.finished = None;
        // They do not overlap: those that touch a range stand together.
        let touched: Vec<_> = entry
            .suspects
            .range(..range.end())
            .rev()
            .map(|(_, subtree)| subtree.range)
            .take_while(|old| old.end() > range.start())
            .collect();
        for old in &touched {
            entry.suspects.remove(&old.start());
            self.summary.bytes_resumed = self.summary.bytes_resumed.minus(old.len());
            self.summary.bytes_stored = self.summary.bytes_stored.minus(old.len());
        }
        if !touched.is_empty() {
            self.count_ranges(index, io);
        }
        for old in touched.into_iter().rev() {
            self.take_back(index, old, io);
        }
    }

    /// Until the disk has forgotten it nothing is written there.
    fn take_back<P: Clone>(&mut self, index: EntryIndex, range: Range, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        entry.forgetting.insert(range);
        let op = DiskOp::Forget { entry: self.entry_id(index), range };
        self.submit(index, Lane::Session, op, ReceiveOp::Forget(index, range), io);
    }

    pub(super) fn checkpoint<P: Clone>(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let id = self.entry_id(index);
        let Some(entry) = self.entries.lend(&index) else { return };
        if entry.stage != Stage::Open {
            return;
        }
        entry.checkpoint.begin();
        let op = DiskOp::Checkpoint { entry: id };
        self.submit(index, Lane::Session, op, ReceiveOp::Checkpoint(index), io);
    }
}

impl Tallied for RecvEntry {
    fn tally(&self) -> Tally {
        let stage = |stages: &[Stage]| usize::from(stages.contains(&self.stage));
        // A directory is not ahead, only its end, which waits for nothing that is opened. Nor is
        // what was replaced while it was being committed: its sender counts the other alone. It
        // has a slot of those that are open until then.
        let gone = self.stage == Stage::Ending || self.word == Word::None;
        let ahead = !gone && !matches!(self.body, EntryBody::Directory);
        let is_end = matches!(self.body, EntryBody::DirectoryEnd { .. });
        Tally {
            ahead: usize::from(ahead),
            ahead_bytes: if ahead || self.stage == Stage::Ending { self.footprint } else { 0 },
            ranges: self.held.count() + self.suspects.len(),
            open: stage(&[Stage::Opening, Stage::Open]),
            open_small: 0,
            waiting: if is_end { 0 } else { stage(&[Stage::Waiting]) },
            timed: if self.journal == Journal::Kept { stage(&[Stage::Open]) } else { 0 },
        }
    }
}

impl RecvEntry {
    fn extent(&self) -> Extent {
        Extent::of(self.size)
    }

    /// When the next checkpoint is due: only while chunks come. The last one, of an entry that
    /// ends, is not timed.
    pub(super) fn checkpoint_due(&self, limits: &Limits) -> Option<Time> {
        (self.stage == Stage::Open).then(|| self.checkpoint.due(limits)).flatten()
    }

    pub(super) fn announced(
        path: ObjectPath,
        body: EntryBody,
        size: Option<ByteCount>,
        journal: Journal,
        now: Time,
    ) -> Self {
        Self {
            footprint: path.footprint() + body.link_len(),
            path,
            body,
            stage: Stage::Waiting,
            size,
            journal,
            ops: 0,
            reach: Reach::default(),
            forgetting: RangeSet::new(),
            held: Subtrees::new(),
            suspects: BTreeMap::new(),
            ranges_told: 0,
            ranges_counted: 0,
            unrecorded: ByteCount::ZERO,
            finished: None,
            done: None,
            checkpoint: Checkpoints::new(now),
            wish: LastWish::Nothing,
            word: Word::Owed,
            slot: Slot::None,
        }
    }
}

/// The size that an ENTRY names.
const fn size_of(body: &EntryBody) -> Option<ByteCount> {
    if let EntryBody::File { size, .. } = body { *size } else { None }
}
