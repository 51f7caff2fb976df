//! What the receiver says, and what follows from it.

use super::chunk::Phase;
use super::claims::Filled;
use super::entry::{Restart, SendEntry, WantOf};
use super::{Ending, Sender, Signed, Stage, Tell};
use crate::command::{Event, Violation};
use crate::disk::{DiskOp, Followed, Lane};
use crate::frame::{
    Basis, CommittedEntry, Content, DoneEntry, EntryBody, Failed, Frame, More, Receipt,
    ReceiptWish, RecogniseWish, SeqRange, Verdict, Want,
};
use crate::io::{Io, SendOp};
use crate::plan::{Again, ChunkPlan};
use alloc::vec::Vec;
use floe_types::planted::{self, Bug};
use floe_types::{
    ByteCount, ChunkDigest, ChunkSize, Code, EntryIndex, Fault, Freshness, Offset, Range, RangeSet,
    Root, Seq, SourceVersion, StreamId, Subtree, Subtrees,
};

type Heard = Result<(), Violation>;

/// The receiver broke a rule.
const fn violation(what: &'static str) -> Heard {
    Err(Violation { what })
}

impl<P: Clone> Sender<P> {
    pub(crate) fn handle_opened(&mut self, window: ByteCount, io: &mut Io<P>) {
        self.window = self.window.min(window);
        io.wake_streams();
    }

    pub(crate) fn handle_want(&mut self, want: Want, io: &mut Io<P>) -> Heard {
        let index = want.entry.index;
        let Some(entry) = self.entries.lend(&index) else { return self.known(index) };
        if entry.stage == Stage::Ending {
            return Ok(());
        }
        if entry.want != WantOf::First {
            // All of it is on its way, or was: what the receiver holds changes nothing.
            if want.more == More::Last {
                entry.want = WantOf::First;
                self.ready.insert(index);
                io.wake_streams();
            }
            return Ok(());
        }
        if entry.stage != Stage::Announced || !matches!(entry.body, Some(EntryBody::File { .. })) {
            return violation("WANT for an entry that is not awaiting it");
        }
        if self.options.probe.is_some() && (want.finished.is_some() || !want.have.is_empty()) {
            return violation("WANT of a probe that holds something");
        }
        let end = entry.size.map_or(u64::MAX, |size| size.0);
        for subtree in want.have {
            let past = entry.checks.back().map_or(Offset::ZERO, |last| last.range.end());
            if subtree.range.start() < past || subtree.range.end().0 > end {
                return violation("WANT ranges overlap or exceed the object");
            }
            let len = subtree.range.len().0;
            let whole = len.is_power_of_two() && len >= ChunkSize::MIN.bytes().0;
            if entry.size.is_some() && !whole && subtree.range.end().0 != end {
                return violation("a WANT range that no chunks make");
            }
            entry.checks.push_back(subtree);
        }
        if entry.checks.len() > self.limits.have_ranges_max as usize {
            return violation("WANT has too many ranges");
        }
        if want.more == More::Follows {
            return Ok(());
        }
        entry.stage = Stage::Sending;
        match (entry.fill.is_some(), entry.size) {
            (true, _) => {
                let sought = self.options.recognise == RecogniseWish::ByContent;
                if want.finished.is_some() && !sought {
                    return violation("WANT with a root that nobody asked for");
                }
                self.want_of_stream(index, want.finished);
            }
            (false, Some(size)) => self.want_of_file(index, size, want.basis, want.finished),
            (false, None) => return violation("WANT for an object without size"),
        }
        self.ready.insert(index);
        self.settle(index, io);
        io.wake_streams();
        Ok(())
    }

    fn want_of_stream(&mut self, index: EntryIndex, finished: Option<Root>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        let checks = core::mem::take(&mut entry.checks);
        if let Some(fill) = entry.fill.as_mut() {
            checks.into_iter().for_each(|claim| fill.claims.insert(claim));
            finished.into_iter().for_each(|root| fill.claims.finish(root));
        }
    }

    fn want_of_file(
        &mut self,
        index: EntryIndex,
        size: ByteCount,
        basis: Basis,
        finished: Option<Root>,
    ) {
        let Some(entry) = self.entries.lend(&index) else { return };
        let mut held = RangeSet::new();
        entry.checks.iter().for_each(|subtree| held.insert(subtree.range));
        entry.plan = ChunkPlan::new(size, &held, &entry.holes);
        entry.whole = finished;
        let same = basis == Basis::Version && entry.freshness == Freshness::Settled;
        if same || planted::is(Bug::StaleWant) {
            let trusted = core::mem::take(&mut entry.checks);
            for subtree in trusted {
                if !entry.known.insert(subtree) {
                    entry.plan.add(subtree.range, &entry.holes);
                    continue;
                }
                self.summary.bytes_resumed = self.summary.bytes_resumed.plus(subtree.range.len());
                self.summary.bytes_stored = self.summary.bytes_stored.plus(subtree.range.len());
            }
        }
    }

    /// What the receiver holds was read here and hashed.
    pub(super) fn compared(
        &mut self,
        index: EntryIndex,
        held: Subtree,
        now: ChunkDigest,
        io: &mut Io<P>,
    ) {
        if held.digest.value == now.value {
            self.summary.bytes_resumed = self.summary.bytes_resumed.plus(held.range.len());
            self.summary.bytes_stored = self.summary.bytes_stored.plus(held.range.len());
            self.know(index, Subtree { range: held.range, digest: now });
            return;
        }
        io.say(Frame::Drop(self.entry_id(index), alloc::vec![held.range]));
        if let Some(entry) = self.entries.lend(&index) {
            entry.plan.add(held.range, &entry.holes);
            self.ready.insert(index);
        }
    }

    /// Whether all of an entry went: then its source is looked at once more, and DONE follows.
    pub(super) fn settle(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let id = self.entry_id(index);
        let Some(entry) = self.entries.lend(&index) else { return };
        let read = entry.fill.as_ref().is_none_or(super::fill::Fill::is_over);
        let over = entry.checks.is_empty() && entry.plan.is_empty() && entry.tasks == 0 && read;
        let (Stage::Sending, true, Some(size)) = (entry.stage, over, entry.size) else { return };
        let Some(root) = entry.known.root(size) else { return };
        if let Some(whole) = entry.whole.take() {
            if whole == root {
                self.summary.bytes_resumed = self.summary.bytes_resumed.plus(size);
                self.summary.bytes_stored = self.summary.bytes_stored.plus(size);
            } else {
                // An empty object has no range: the first byte of what stands there is dropped.
                let all = Range::new(Offset::ZERO, Offset(size.0.max(1)));
                io.say(Frame::Drop(id, alloc::vec![all]));
                if size > ByteCount::ZERO {
                    entry.known = Subtrees::new();
                    entry.plan = ChunkPlan::new(size, &RangeSet::new(), &entry.holes);
                    self.ready.insert(index);
                    return io.wake_streams();
                }
            }
        }
        entry.stage = Stage::Checking;
        if entry.version.is_some() {
            self.submit(
                index,
                Lane::Session,
                DiskOp::Check { entry: id },
                SendOp::Check(index),
                io,
            );
        } else {
            self.say_done(index, size, root, io);
        }
    }

    fn say_done(&mut self, index: EntryIndex, size: ByteCount, root: Root, io: &mut Io<P>) {
        if let Some(entry) = self.entries.lend(&index) {
            entry.stage = Stage::Done;
            io.say_done(self.id, DoneEntry { index, size, root });
        }
    }

    pub(super) fn checked(
        &mut self,
        index: EntryIndex,
        version: Option<SourceVersion>,
        io: &mut Io<P>,
    ) {
        let Some(entry) = self.entries.get(&index) else { return };
        if entry.stage != Stage::Checking {
            return;
        }
        let same = version == entry.version || planted::is(Bug::MissAChangedSource);
        match entry.size.and_then(|size| Some((size, entry.known.root(size)?))) {
            Some((size, root)) if same => self.say_done(index, size, root, io),
            _ => self.source_changed(index, io),
        }
    }

    /// The source is not what it was: once more from its new version, then it fails.
    pub(super) fn source_changed(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let Some(entry) = self.entries.get(&index) else { return };
        let path = entry.path.clone();
        let before = entry.version.filter(|_| !entry.amid);
        let again = entry.restart == Restart::Possible && entry.fill.is_none();
        let gone = entry.fill.is_some();
        let full = self.full_path(&path);
        // The path that a person knows: that of an object sent alone is empty in its tree.
        let shown = full.clone().unwrap_or_else(|_| path.clone());
        if let (true, Ok(full)) = (again, full) {
            let size = entry.size.unwrap_or_default();
            let dropped = self.end_entry_here(index, io);
            self.summary.bytes_total = self.summary.bytes_total.minus(size);
            let next = self.walk.take_index();
            let followed = if path.is_root() { Followed::Named } else { Followed::Found };
            self.entries.insert(next, SendEntry::replacing(path, index, before, dropped));
            self.count_announced(next, io);
            let how = self.open_how(followed);
            let op = DiskOp::Open { entry: self.entry_id(next), path: full, how };
            return self.submit(next, Lane::Session, op, SendOp::Open(next), io);
        }
        let code = if gone { Code::SourceGone } else { Code::SourceChanged };
        self.fail(index, Fault::new(code, alloc::format!("read {shown:?}")), Tell::Peer, io);
    }

    pub(crate) fn handle_verdict(
        &mut self,
        stream: StreamId,
        seqs: SeqRange,
        verdict: Verdict,
        io: &mut Io<P>,
    ) {
        let Some(task) = self.tasks.get_mut(&stream) else { return };
        let Some(seq) = task.seq.filter(|seq| seqs.first <= *seq && *seq <= seqs.last) else {
            return;
        };
        if task.phase != Phase::Waiting {
            return;
        }
        match verdict {
            Verdict::Send => {
                task.phase = Phase::Sending;
                task.at = task.range.start();
            }
            Verdict::Have => {
                let (index, range, digest) = (task.entry, task.range, task.digest);
                self.end_task(stream);
                // It was read and hashed all the same.
                io.count_compared(range.len());
                self.summary.bytes_resumed = self.summary.bytes_resumed.plus(range.len());
                self.stored(seq, io);
                if let Some(digest) = digest {
                    self.know(index, Subtree { range, digest });
                }
                self.settle(index, io);
            }
            Verdict::Refuse => {
                self.end_task(stream);
                self.take_flight(seq, io);
            }
        }
        io.wake_streams();
    }

    pub(crate) fn handle_stored(&mut self, ranges: &[SeqRange], io: &mut Io<P>) {
        for range in ranges {
            let all = planted::is(Bug::TakeOneStoredForAll);
            let first = if all { Seq(0) } else { range.first };
            let seqs: Vec<_> = self.flights.between(first, range.last).collect();
            for seq in seqs {
                self.stored(seq, io);
            }
        }
    }

    fn stored(&mut self, seq: Seq, io: &mut Io<P>) {
        let Some(flight) = self.take_flight(seq, io) else { return };
        self.summary.bytes_stored = self.summary.bytes_stored.plus(flight.range.len());
        let once = self.entries.get(&flight.entry).is_some_and(|entry| entry.fill.is_some());
        if let (true, Some(digest)) = (once, flight.digest) {
            self.spend(flight.entry, flight.range, digest, io);
        }
    }

    pub(crate) fn handle_corrupt(&mut self, seq: Seq, io: &mut Io<P>) {
        let attempts_max = self.limits.chunk_attempts_max;
        let Some(flight) = self.flights.known(seq) else { return };
        if let Some(entry) = self.entries.lend(&flight.entry)
            && entry.want != WantOf::First
        {
            // The receiver had no room for it, and read none of it.
            entry.want = WantOf::Awaited;
            return self.send_again(seq, io);
        }
        flight.attempts += 1;
        let (index, attempts) = (flight.entry, flight.attempts);
        if attempts >= attempts_max {
            let path = self.entries.get(&index).map(|entry| entry.path.clone()).unwrap_or_default();
            let path = self.full_path(&path).unwrap_or(path);
            let detail = alloc::format!("send \"{path}\": {attempts} attempts");
            return self.fail(index, Fault::new(Code::Integrity, detail), Tell::Peer, io);
        }
        self.send_again(seq, io);
    }

    /// A chunk goes back to the plan.
    pub(super) fn send_again(&mut self, seq: Seq, io: &mut Io<P>) {
        let Some(flight) = self.take_flight(seq, io) else { return };
        if flight.content == Content::Bytes {
            self.summary.bytes_repeated = self.summary.bytes_repeated.plus(flight.range.len());
        }
        let index = flight.entry;
        if !self.takes_chunks(index) {
            return;
        }
        let Some(entry) = self.entries.lend(&index) else { return };
        let (range, content) = (flight.range, flight.content);
        let (digest, attempts) = (flight.digest, flight.attempts);
        if let (Some(fill), Some(digest)) = (entry.fill.as_mut(), digest) {
            io.buffered = io.buffered.plus(range.len());
            fill.give_back(Filled { range, digest, attempts, pieces: flight.kept });
        } else if !planted::is(Bug::LoseARetransmission) {
            entry.plan.give_back(Again { range, content, digest, attempts });
        }
        self.ready.insert(index);
        io.wake_streams();
    }

    /// What the receiver signs of objects whose COMMITTED follows.
    pub(crate) fn handle_receipt(&mut self, receipt: Receipt, io: &mut Io<P>) -> Heard {
        if self.options.receipts == ReceiptWish::None {
            return violation("RECEIPT that nobody asked for");
        }
        // So no more of them wait than objects do, and all together are for no more.
        let leaves = u32::try_from(receipt.leaves.len()).unwrap_or(u32::MAX);
        self.signed_for = self.signed_for.saturating_add(leaves);
        if self.signed_for > self.announced {
            return violation("RECEIPT for more than was announced");
        }
        if core::mem::replace(&mut self.signed, Signed::Objects) == Signed::Objects {
            return violation("RECEIPT behind RECEIPT");
        }
        io.events.push_back(Event::Receipted(self.id, receipt));
        Ok(())
    }

    pub(crate) fn handle_committed(&mut self, list: &[CommittedEntry], io: &mut Io<P>) -> Heard {
        if list.iter().any(|committed| committed.root.is_some()) {
            self.signed = Signed::Nothing;
        }
        for committed in list {
            self.committed(*committed, io)?;
        }
        self.advance(io);
        Ok(())
    }

    fn committed(&mut self, committed: CommittedEntry, io: &mut Io<P>) -> Heard {
        if self.options.probe.is_some() {
            return violation("COMMITTED of a probe");
        }
        let index = committed.index;
        let Some(entry) = self.entries.get(&index) else { return self.known(index) };
        let stage = match (entry.want, entry.stage) {
            // What was sent before it was wanted was not needed. Behind DONE roots are compared.
            (WantOf::Behind | WantOf::Awaited, Stage::Sending | Stage::Checking) => {
                Stage::Announced
            }
            (_, stage) => stage,
        };
        let object = match (&entry.body, stage, entry.size) {
            (_, Stage::Ending | Stage::Opening, _) => return Ok(()),
            (Some(EntryBody::File { .. }), Stage::Announced, Some(size)) => {
                let Some(root) = committed.root else {
                    return violation("COMMITTED without a root");
                };
                self.summary.bytes_resumed = self.summary.bytes_resumed.plus(size);
                self.summary.bytes_stored = self.summary.bytes_stored.plus(size);
                Some((size, root))
            }
            (Some(EntryBody::File { .. }), Stage::Done, Some(size)) => {
                let root = entry.known.root(size);
                if root.is_none() || root != committed.root {
                    return violation("COMMITTED with another root");
                }
                root.map(|root| (size, root))
            }
            (Some(EntryBody::File { .. }), _, _) => return violation("COMMITTED before DONE"),
            _ if committed.root.is_some() => return violation("COMMITTED of no file with a root"),
            _ => None,
        };
        let path = entry.path.clone();
        let unrecorded = match stage {
            Stage::Announced => 0,
            _ => self.flights.of(index).map(|(_, flight)| flight.range.len().0).sum(),
        };
        self.summary.bytes_stored = self.summary.bytes_stored.plus(ByteCount(unrecorded));
        self.end_entry(index, io);
        self.summary.entries_committed.0 += 1;
        let entry = self.entry_id(index);
        io.events.push_back(Event::EntryFinished { entry, path, object });
        Ok(())
    }

    pub(crate) fn handle_failed(&mut self, failed: Failed, io: &mut Io<P>) -> Heard {
        let index = failed.entry.index;
        self.known(index)?;
        match self.entries.get(&index).map(|entry| self.dirs.is_unwanted(&entry.path)) {
            Some(true) => self.end_entry(index, io),
            Some(false) => self.fail(index, failed.fault, Tell::Nobody, io),
            None => self.directory_failed(index, failed.fault, io),
        }
        self.advance(io);
        Ok(())
    }

    /// Whether an index was ever given out: what comes for an entry that is gone is passed over.
    fn known(&self, index: EntryIndex) -> Heard {
        if self.walk.gave_out(index) {
            Ok(())
        } else {
            violation("an index that was never announced")
        }
    }

    pub(crate) fn handle_completed(&mut self) -> Heard {
        match self.ending {
            Ending::Complete => self.ending = Ending::Completed,
            Ending::Stopped(_) => {}
            _ => return violation("COMPLETED before COMPLETE"),
        }
        Ok(())
    }
}
