//! Commits: small entries in batches, large objects alone; and what follows from their ends.
//!
//! A batch closes when it is full, when it is old, or when nothing else of the transfer is in
//! progress: then waiting for more would only cost time. It never exceeds half a window, so the
//! sender is never stuck behind it. While nothing is being committed it closes earlier, where a
//! commit takes no longer than a full batch takes to come: else whoever sends and who commits would
//! wait for each other in turn.

use super::entry::{LastWish, Stage, Word};
use super::{Heard, Receiver, violation};
use crate::disk::{CommitOp, CommitWhat, DiskDone, DiskOp, Journal, Lane};
use crate::entries::Tally;
use crate::frame::{DoneEntry, EntryBody, Frame, RECEIPT_LEAVES_MAX, Receipt};
use crate::io::{Io, Owner, ReceiveOp};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use floe_types::planted::{self, Bug};
use floe_types::{ByteCount, Code, EntryIndex, Fault, Limits, Micros, Offset, Range, Root, Time};

/// What waits to be committed, and what is being committed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Batch {
    waiting: Vec<EntryIndex>,
    bytes: ByteCount,
    since: Option<Time>,
    running: BTreeMap<u64, Running>,
    next: u64,
    /// How long the last commit of a batch took.
    took: Micros,
}

/// What is being committed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Running {
    members: Vec<EntryIndex>,
    since: Time,
}

/// Of a full batch, what is worth a commit while there is none.
const WORTH: usize = 4;

impl Batch {
    fn add(&mut self, index: EntryIndex, bytes: ByteCount, now: Time) {
        self.waiting.push(index);
        self.bytes = self.bytes.plus(bytes);
        self.since.get_or_insert(now);
    }

    pub(super) fn forget(&mut self, index: EntryIndex) {
        self.waiting.retain(|waiting| *waiting != index);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.bytes = ByteCount::ZERO;
        self.since = None;
    }

    pub(super) fn due(&self, limits: &Limits) -> Option<Time> {
        Some(self.since?.plus(limits.batch))
    }

    pub(super) fn is_running(&self, index: EntryIndex) -> bool {
        self.running.values().any(|batch| batch.members.contains(&index))
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether to commit what waits, though it is not full: nothing is being committed, and a
    /// commit takes no longer than a full batch takes to come, at the pace of what has come.
    fn is_worth(&self, entries_max: usize, now: Time) -> bool {
        let Some(since) = self.since.filter(|_| self.is_quiet()) else { return false };
        let count = self.waiting.len();
        let whole = now.since(since).0.saturating_mul(entries_max as u64);
        count >= (entries_max / WORTH).max(2) && self.took.0.saturating_mul(count as u64) <= whole
    }
}

impl Receiver {
    pub(crate) fn handle_done<P: Clone>(
        &mut self,
        list: &[DoneEntry],
        io: &mut Io<P>,
        now: Time,
    ) -> Heard {
        for done in list {
            self.known(done.index)?;
            let Some(entry) = self.entries.lend(&done.index) else { continue };
            if entry.stage == Stage::Ending {
                continue; // it has failed here, of which its sender has not heard
            }
            if entry.stage == Stage::Committing && entry.finished.is_some() {
                continue; // it stands there already: what came before WANT was not needed
            }
            if !matches!(entry.body, EntryBody::File { .. }) || entry.done.is_some() {
                return violation("DONE for an entry that is not open");
            }
            if entry.size.is_some_and(|size| size != done.size) {
                return violation("DONE with another size");
            }
            entry.size = Some(done.size);
            entry.done = Some(*done);
            self.try_finish(done.index, io, now);
        }
        self.settle(io, now);
        Ok(())
    }

    /// Once all of an object is held and nothing of it is under way: its root is compared, and it
    /// is committed.
    pub(super) fn try_finish<P: Clone>(&mut self, index: EntryIndex, io: &mut Io<P>, now: Time) {
        let Some(entry) = self.entries.lend(&index) else { return };
        let (Stage::Open, Some(done)) = (entry.stage, entry.done) else { return };
        if entry.ops > 0 {
            return;
        }
        if self.options.probe.is_some() {
            let fault = Fault::new(Code::Unsupported, "commit a probe");
            return self.fail_and(index, fault, LastWish::Discard, io);
        }
        // What is empty has one root, whatever stands there.
        let possible = done.size > ByteCount::ZERO || done.root == Root::of_nothing();
        if entry.finished == Some(done.root) && possible {
            // What was sent all the same has been counted as it came.
            let found = done.size.minus(entry.held.len());
            self.summary.bytes_resumed = self.summary.bytes_resumed.plus(found);
            self.summary.bytes_stored = self.summary.bytes_stored.plus(found);
            return self.commit_soon(index, io, now);
        }
        for (_, suspect) in core::mem::take(&mut entry.suspects) {
            // The sender read those bytes again and did not take them back.
            let _inserted = entry.held.insert(suspect);
        }
        let beyond = Range::new(Offset(done.size.0), Offset(u64::MAX));
        match entry.held.root(done.size) {
            None if entry.held.touches(beyond) => {
                let detail = alloc::format!("write \"{}\": more than its size came", entry.path);
                self.fail_and(index, Fault::new(Code::Integrity, detail), LastWish::Discard, io);
            }
            None => {}
            Some(root) if root == done.root || planted::is(Bug::CommitWithoutRootCheck) => {
                self.commit_soon(index, io, now);
            }
            Some(_) => {
                let detail = alloc::format!("write \"{}\"", entry.path);
                self.fail_and(index, Fault::new(Code::Integrity, detail), LastWish::Discard, io);
            }
        }
    }

    /// Puts an entry into the batch; a large object is committed at once.
    pub(super) fn commit_soon<P: Clone>(&mut self, index: EntryIndex, io: &mut Io<P>, now: Time) {
        self.pass_over_all(index);
        let Some(entry) = self.entries.lend(&index) else { return };
        entry.stage = Stage::Committing;
        let bytes = entry.size.unwrap_or_default();
        if entry.journal == Journal::Kept && matches!(entry.body, EntryBody::File { .. }) {
            return self.commit(alloc::vec![index], io);
        }
        self.batch.add(index, bytes, now);
    }

    pub(super) fn flush_if_due<P: Clone>(&mut self, io: &mut Io<P>, now: Time) {
        let batch = &self.batch;
        if batch.waiting.is_empty() {
            return self.batch.clear();
        }
        let bytes_max = self.limits.batch_bytes_max.min(ByteCount(self.options.window.0 / 2));
        let entries_max = self.limits.batch_entries_max as usize;
        let full = batch.waiting.len() >= entries_max || batch.bytes >= bytes_max;
        let old = batch.due(&self.limits).is_some_and(|due| due <= now);
        let alone = batch.running.is_empty() && self.nothing_else();
        if full || old || alone || batch.is_worth(entries_max, now) {
            let waiting = core::mem::take(&mut self.batch.waiting);
            self.batch.clear();
            // What one receipt can be for.
            for part in waiting.chunks(RECEIPT_LEAVES_MAX as usize) {
                self.commit(part.to_vec(), io);
            }
        }
    }

    /// Whether every entry waits for a commit (or for others that do).
    pub(super) fn nothing_else(&self) -> bool {
        let Tally { open, waiting, .. } = self.entries.tally();
        open == 0 && (waiting == 0 || !self.queue.is_empty())
    }

    fn commit<P: Clone>(&mut self, indices: Vec<EntryIndex>, io: &mut Io<P>) {
        let mut members = Vec::new();
        let mut batch = Vec::new();
        for index in indices {
            let path = match self.full_path(index) {
                Ok(path) => path,
                Err(fault) => {
                    self.fail(index, fault, io);
                    continue;
                }
            };
            let precondition = self.precondition();
            let entry_id = self.entry_id(index);
            let Some(entry) = self.entries.lend(&index) else { continue };
            let what = match &entry.body {
                EntryBody::Link { target, metadata } => {
                    CommitWhat::Link { target: target.clone(), metadata: *metadata, precondition }
                }
                EntryBody::DirectoryEnd { metadata, .. } => {
                    CommitWhat::Directory { metadata: *metadata }
                }
                EntryBody::File { .. } | EntryBody::Directory => {
                    let Some(done) = entry.done else { continue };
                    CommitWhat::Object { size: done.size, root: done.root }
                }
            };
            entry.ops += 1;
            members.push(index);
            batch.push(CommitOp { entry: entry_id, path, what });
        }
        if batch.is_empty() {
            return;
        }
        let number = self.batch.next;
        self.batch.next += 1;
        self.batch.running.insert(number, Running { members, since: io.now });
        let owner = Owner::Receive(self.id, ReceiveOp::Commit(number));
        let receipts = self.options.receipts;
        io.submit(Lane::Session, DiskOp::Commit { batch, receipts }, owner);
    }

    pub(super) fn commit_ended<P: Clone>(
        &mut self,
        number: u64,
        done: DiskDone<P>,
        io: &mut Io<P>,
    ) {
        let Some(Running { members, since }) = self.batch.running.remove(&number) else { return };
        if members.len() > 1 {
            self.batch.took = io.now.since(since);
        }
        let (done, receipt) = match done {
            DiskDone::Signed(results, receipt) => (DiskDone::Committed(results), Some(receipt)),
            done => (done, None),
        };
        let results = match done {
            DiskDone::Committed(results) if results.len() == members.len() => results,
            DiskDone::Failed(fault) => members.iter().map(|_| Err(fault.clone())).collect(),
            _ => {
                let fault = Fault::new(Code::Other, "commit answered wrongly");
                members.iter().map(|_| Err(fault.clone())).collect()
            }
        };
        for index in &members {
            if let Some(entry) = self.entries.lend(index) {
                entry.ops -= 1;
            }
        }
        if let Some(receipt) = receipt {
            self.say_receipt(&members, &results, receipt, io);
        }
        // Those that are committed first: a failure may stop the transfer, and they stand.
        for (index, _) in members.iter().zip(&results).filter(|(_, result)| result.is_ok()) {
            self.committed(*index, io);
        }
        for (index, result) in members.into_iter().zip(results) {
            match result {
                Ok(()) => {}
                // Given up for want of anybody who would hear of it: the next session goes on with
                // what was synced just now.
                Err(fault) if fault.code == Code::Interrupted && self.is_stopped() => {
                    self.end_entry(index, LastWish::Checkpoint, io);
                }
                Err(fault) => self.fail(index, fault, io),
            }
            self.release_if_quiet(index, io);
        }
    }

    /// Says what was signed, if an object of it is told.
    fn say_receipt<P: Clone>(
        &self,
        members: &[EntryIndex],
        results: &[Result<(), Fault>],
        receipt: Receipt,
        io: &mut Io<P>,
    ) {
        let is_told = |(index, result): (&EntryIndex, &Result<(), Fault>)| {
            let entry = self.entries.get(index).filter(|_| result.is_ok());
            entry.is_some_and(|entry| entry.word == Word::Owed && entry.done.is_some())
        };
        if members.iter().zip(results).any(is_told) {
            io.say(Frame::Receipt(self.id, receipt));
        }
    }

    fn committed<P: Clone>(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        entry.wish = LastWish::Nothing;
        let object = entry.done.map(|done| (done.size, done.root));
        let path = entry.path.clone();
        match entry.word {
            Word::Owed => self.finished_entry(index, path, object, io),
            Word::None => self.end_entry(index, LastWish::Nothing, io),
        }
    }
}
