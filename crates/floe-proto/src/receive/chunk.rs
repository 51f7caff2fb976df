//! One chunk of the receiving half: header, seal, record.
//!
//! Until a chunk's SEAL agrees with what was hashed while it was written, nothing vouches for its
//! bytes; once it is recorded, its range is not written again. A chunk whose stream was lost, or
//! that is sealed and not recorded, blocks its range for any other: no late write may meet newer
//! bytes.

use super::carried::{Arrival, Carried};
use super::entry::{RecvEntry, Stage};
use super::{Heard, Receiver, violation};
use crate::disk::{DiskOp, Journal, Lane};
use crate::frame::{Await, Content, EntryBody, Frame, Header, Seal, SeqRange, Verdict};
use crate::io::{Io, ReceiveOp};
use alloc::vec::Vec;
use floe_types::planted::{self, Bug};
use floe_types::{
    ByteCount, ChunkDigest, ChunkSize, Code, EntryIndex, Fault, Limits, Offset, Range, Seq,
    StreamId, Subtree, Time,
};

/// A chunk that has begun and is not recorded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Chunk {
    pub(super) entry: EntryIndex,
    pub(super) stream: StreamId,
    pub(super) start: Offset,
    /// Its end, if the header said its length.
    pub(super) end: Option<Offset>,
    /// How far pieces have come.
    pub(super) at: Offset,
    /// What of it counts as under way.
    pub(super) came: ByteCount,
    pub(super) use_of: Use,
    pub(super) awaits: Await,
    /// Ahead, from the header; then from what was written.
    pub(super) ahead: Option<ChunkDigest>,
    pub(super) writes: u32,
    pub(super) digest: Option<ChunkDigest>,
    pub(super) seal: Option<Seal>,
}

/// What is done with a chunk's pieces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Use {
    /// Written.
    Write,
    /// It is recorded already: read and dropped, acknowledged again.
    Already,
    /// Its entry failed or ended here: read and dropped.
    Drop,
    /// Too many objects are open: read and dropped, and sent again.
    Refused,
    /// Its stream is lost: only its writes are awaited.
    Abandoned,
}

impl Chunk {
    /// Whether nothing else may be written where it is, until it is over.
    pub(super) fn keeps_its_place(&self) -> bool {
        self.use_of == Use::Abandoned || (self.use_of == Use::Write && self.seal.is_some())
    }

    fn begun(stream: StreamId, header: &Header) -> Self {
        Self {
            entry: header.entry.index,
            stream,
            start: header.offset,
            end: header.len.map(|len| header.offset.plus(len)),
            at: header.offset,
            came: ByteCount::ZERO,
            use_of: Use::Drop,
            awaits: header.awaits,
            ahead: header.digest,
            writes: 0,
            digest: None,
            seal: None,
        }
    }

    /// What it touches for certain: all of it, or, where its length is not said, what came.
    pub(super) fn range(&self) -> Range {
        let least = self.at.max(self.start.plus(ByteCount(1)));
        Range::new(self.start, self.end.unwrap_or(least))
    }

    /// Where it ends at the latest: a chunk is never longer than its start is aligned.
    pub(super) fn far(&self) -> Offset {
        let max = ChunkSize::MAX.bytes().0;
        let aligned = if self.start.0 == 0 { max } else { 1 << self.start.0.trailing_zeros() };
        self.end.unwrap_or_else(|| self.start.plus(ByteCount(max.min(aligned))))
    }
}

impl Receiver {
    pub(crate) fn handle_header<P: Clone>(
        &mut self,
        stream: StreamId,
        header: Header,
        io: &mut Io<P>,
    ) -> Heard {
        let index = header.entry.index;
        self.known(index)?;
        if let Some(before) = self.current.get(&stream)
            && header.seq <= before.seq
        {
            return violation("sequence numbers do not ascend");
        }
        // Also while another stream carries it, though it is over: its pieces would be this one's.
        let carried = self.current.values().any(|carried| carried.seq == header.seq);
        if carried || self.chunks.contains_key(&header.seq) {
            return violation("a sequence number twice");
        }
        if let Some(before) = self.current.remove(&stream) {
            self.abandon(before.seq);
        }
        let mut chunk = Chunk::begun(stream, &header);
        if header.content == Content::Hole {
            chunk.seal = Some(self.seal_of_hole(&header)?);
            chunk.at = chunk.range().end();
        }
        if let Some(entry) = self.entries.get(&index) {
            if !matches!(entry.body, EntryBody::File { .. }) {
                return violation("HEADER for an entry that has no bytes");
            }
            self.check_place(index, chunk.range(), chunk.end)?;
        }
        if let Some(entry) = self.entries.get(&index) {
            chunk.use_of = match entry.stage {
                Stage::Open | Stage::Opening | Stage::Waiting => {
                    if entry.held.covers(chunk.range()) {
                        Use::Already
                    } else if entry.held.touches(chunk.range()) {
                        return violation("a chunk that is held in part");
                    } else {
                        Use::Write
                    }
                }
                Stage::Committing => Use::Already,
                Stage::Ending => Use::Drop,
            };
        }
        if chunk.use_of == Use::Write {
            self.check_wanted(index)?;
            self.supersede(index, chunk.range());
            chunk.use_of = self.open_for_chunk(index, io);
        }
        self.chunks.insert(header.seq, chunk);
        let arrival = match header.content {
            Content::Bytes => Arrival::Begun,
            Content::Hole => Arrival::Whole,
        };
        self.current.insert(stream, Carried { seq: header.seq, arrival });
        self.verdict(header.seq, io);
        match header.content {
            Content::Bytes => Ok(()),
            Content::Hole => self.hole_heard(header.seq, io),
        }
    }

    /// Only small files come before their WANT, which says what of them is held.
    fn check_wanted(&self, index: EntryIndex) -> Heard {
        let Some(entry) = self.entries.get(&index) else { return Ok(()) };
        let small = entry.size.is_some_and(|size| size <= Limits::UNASKED_BYTES);
        match entry.stage {
            Stage::Waiting | Stage::Opening if !small => violation("HEADER before WANT"),
            _ => Ok(()),
        }
    }

    /// A chunk that comes again takes the place of one that is not whole: its stream was lost, as
    /// the sender knows already.
    fn supersede(&mut self, index: EntryIndex, range: Range) {
        for seq in self.touching(index, range) {
            // Two holes that wait would wait for each other.
            self.abandon_unless_begun(seq);
        }
    }

    /// A chunk of an object that waits comes unasked, on the lead: what would let others end is
    /// behind it. The object is opened beyond the limit, within a bound; beyond that its chunk
    /// comes again.
    fn open_for_chunk<P: Clone>(&mut self, index: EntryIndex, io: &mut Io<P>) -> Use {
        if !self.queue.contains(&index) {
            return Use::Write;
        }
        if !io.open.has_room_beyond(&self.limits) {
            return Use::Refused;
        }
        self.queue.retain(|waiting| *waiting != index);
        self.take_slot(index, io);
        self.open(index, io);
        Use::Write
    }

    /// Chunks of an entry that are written and touch a range.
    fn touching(&self, index: EntryIndex, range: Range) -> Vec<Seq> {
        self.chunks
            .iter()
            .filter(|(_, chunk)| chunk.entry == index && chunk.use_of == Use::Write)
            .filter(|(_, chunk)| !chunk.range().intersect(range).is_empty())
            .map(|(seq, _)| *seq)
            .collect()
    }

    /// Chunks of an entry that are written.
    fn all_written(&self, index: EntryIndex) -> Vec<Seq> {
        self.touching(index, Range::new(Offset::ZERO, Offset(u64::MAX)))
    }

    /// Chunks of an entry that was just opened get their verdicts.
    pub(super) fn verdicts_due<P: Clone>(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let seqs: Vec<_> = self
            .chunks
            .iter()
            .filter(|(_, chunk)| chunk.entry == index)
            .map(|(seq, _)| *seq)
            .collect();
        for seq in seqs {
            self.verdict(seq, io);
        }
    }

    /// Takes back what an earlier run held in a chunk's range, and answers a header that awaits it.
    fn verdict<P: Clone>(&mut self, seq: Seq, io: &mut Io<P>) {
        let Some(chunk) = self.chunks.get(&seq) else { return };
        let range = Range::new(chunk.start, chunk.far());
        let (index, awaits) = (chunk.entry, chunk.awaits);
        let (ahead, use_of, stream) = (chunk.ahead, chunk.use_of, chunk.stream);
        let stage = self.entries.get(&index).map(|entry| entry.stage);
        if matches!(stage, Some(Stage::Waiting | Stage::Opening)) {
            return;
        }
        let mut verdict = Verdict::Send;
        if use_of == Use::Write {
            let suspect =
                self.entries.get(&index).and_then(|entry| entry.suspects.get(&range.start()));
            let same = suspect.is_some_and(|held| {
                awaits == Await::Verdict
                    && held.range == range
                    && ahead.is_some_and(|ahead| ahead.value == held.digest.value)
            });
            if same {
                verdict = Verdict::Have;
            } else {
                self.forget(index, range, io);
            }
        }
        if use_of == Use::Drop {
            verdict = Verdict::Refuse;
        }
        if awaits == Await::Verdict {
            if let Some(chunk) = self.chunks.get_mut(&seq) {
                chunk.awaits = Await::Implied;
            }
            if verdict != Verdict::Send {
                self.drop_chunk(seq);
            }
            io.say_on(stream, Frame::Verdict(SeqRange { first: seq, last: seq }, verdict));
        }
    }

    pub(crate) fn handle_seal<P: Clone>(
        &mut self,
        stream: StreamId,
        seal: Seal,
        io: &mut Io<P>,
        now: Time,
    ) -> Heard {
        match self.current.get_mut(&stream) {
            Some(carried) if carried.seq == seal.seq && carried.arrival == Arrival::Begun => {
                carried.arrival = Arrival::Whole;
            }
            _ => return violation("SEAL of no chunk of this stream"),
        }
        if self.chunk_on(stream, seal.seq).is_none() {
            return Ok(());
        }
        let Some(chunk) = self.chunks.get_mut(&seal.seq) else { return Ok(()) };
        let len = ByteCount(chunk.at.0 - chunk.start.0);
        let whole = chunk.end.is_none_or(|end| end == chunk.at);
        if seal.len != len || !whole || len.0 == 0 {
            return violation("SEAL with another length");
        }
        if seal.digest.root.is_some() != (chunk.start == Offset::ZERO) {
            return violation("SEAL with a root where none belongs");
        }
        let (index, start, unended) = (chunk.entry, chunk.start, chunk.end.is_none());
        if unended {
            let range = Range::new(chunk.start, chunk.at);
            self.check_end(index, range)?;
        }
        let Some(chunk) = self.chunks.get_mut(&seal.seq) else { return Ok(()) };
        chunk.seal = Some(seal);
        if planted::is(Bug::AcknowledgeBeforeWritten) {
            io.say_stored(stream, seal.seq);
        }
        match chunk.use_of {
            Use::Write if unended => {
                chunk.end = Some(chunk.at);
                chunk.writes += 1;
                let op = DiskOp::Finish { entry: self.entry_id(index), chunk: start };
                let why = ReceiveOp::Write(index, seal.seq, stream, ByteCount::ZERO);
                self.submit(index, Lane::Stream(stream), op, why, io);
            }
            Use::Write => self.sealed(seal.seq, io, now),
            Use::Already | Use::Drop | Use::Refused | Use::Abandoned => {
                self.answer_unwritten(seal.seq, io);
            }
        }
        Ok(())
    }

    /// The end of a chunk that was not written.
    pub(super) fn answer_unwritten<P: Clone>(&mut self, seq: Seq, io: &mut Io<P>) {
        let Some(chunk) = self.chunks.get(&seq) else { return };
        let (index, stream, use_of) = (chunk.entry, chunk.stream, chunk.use_of);
        // Whatever it is, it goes with its last write: until then its number means it.
        if matches!(use_of, Use::Already | Use::Drop | Use::Refused) {
            self.abandon(seq);
        }
        // Without a journal it is held and not recorded: COMMITTED says so for all of it.
        let recorded = |entry: &RecvEntry| entry.journal == Journal::Kept;
        match use_of {
            Use::Already if self.entries.get(&index).is_none_or(recorded) => {
                io.say_stored(stream, seq);
            }
            Use::Refused => io.say_on(stream, Frame::Corrupt(seq)),
            Use::Already | Use::Write | Use::Drop | Use::Abandoned => {}
        }
    }

    /// Once all of a chunk is written, hashed and sealed: it is recorded, or was corrupt.
    pub(super) fn sealed<P: Clone>(&mut self, seq: Seq, io: &mut Io<P>, now: Time) {
        let Some(chunk) = self.chunks.get_mut(&seq) else { return };
        let Some(seal) = chunk.seal else { return };
        if chunk.writes > 0 && !planted::is(Bug::RecordBeforeTheWriteEnded) {
            return;
        }
        let (index, stream) = (chunk.entry, chunk.stream);
        let any = planted::is(Bug::AcceptCorruptAsStored) && chunk.digest.is_some();
        if chunk.digest != Some(seal.digest) && !any {
            self.take_chunk(seq);
            io.wake_streams();
            return io.say_on(stream, Frame::Corrupt(seq));
        }
        let range = Range::new(chunk.start, chunk.at);
        let came = chunk.came;
        let Some(entry) = self.entries.lend(&index) else { return };
        match entry.journal {
            Journal::Kept => {
                let op = DiskOp::Record {
                    entry: self.entry_id(index),
                    chunk: range,
                    digest: seal.digest,
                };
                self.submit(index, Lane::Session, op, ReceiveOp::Record(index, seq), io);
            }
            Journal::None => {
                // It stays under way until the whole object is committed.
                entry.unrecorded = entry.unrecorded.plus(came);
                self.drop_chunk(seq);
                self.hold(index, Subtree { range, digest: seal.digest }, io, now);
            }
        }
    }

    pub(super) fn recorded<P: Clone>(
        &mut self,
        index: EntryIndex,
        seq: Seq,
        io: &mut Io<P>,
        now: Time,
    ) {
        // One whose entry has ended meanwhile is gone, and another may have its number.
        if self.chunks.get(&seq).is_none_or(|chunk| chunk.entry != index) {
            return;
        }
        let Some(chunk) = self.take_chunk(seq) else { return };
        let Some(seal) = chunk.seal else { return };
        let range = Range::new(chunk.start, chunk.at);
        if let Some(entry) = self.entries.lend(&index) {
            entry.checkpoint.recorded(range.len());
            if entry.checkpoint_due(&self.limits).is_some_and(|due| due <= now) {
                self.checkpoint(index, io);
            }
        }
        self.hold(index, Subtree { range, digest: seal.digest }, io, now);
        io.say_stored(chunk.stream, seq);
    }

    fn hold<P: Clone>(&mut self, index: EntryIndex, subtree: Subtree, io: &mut Io<P>, now: Time) {
        let Some(entry) = self.entries.lend(&index) else { return };
        if entry.held.insert(subtree) {
            self.summary.bytes_stored = self.summary.bytes_stored.plus(subtree.range.len());
            if entry.size.is_none() {
                self.summary.bytes_total = self.summary.bytes_total.plus(subtree.range.len());
            }
        }
        self.count_ranges(index, io);
        if let Some(fault) = self.too_many_ranges(index, io) {
            return self.fail(index, fault, io);
        }
        // What waited for this range to be written comes a second time.
        for seq in self.touching(index, subtree.range) {
            if !self.is_held(seq) {
                let fault = Fault::new(Code::Violation, "chunks of one object overlap");
                return self.fail(index, fault, io);
            }
            self.pass_over(seq);
            io.wake_streams();
        }
        self.try_finish(index, io, now);
    }

    /// What comes of a chunk is not written any more, and acknowledged all the same.
    fn pass_over(&mut self, seq: Seq) {
        let Some(chunk) = self.chunks.get_mut(&seq) else { return };
        chunk.use_of = Use::Already;
        self.in_flight = self.in_flight.minus(core::mem::take(&mut chunk.came));
    }

    /// Whether all of a chunk is held.
    fn is_held(&self, seq: Seq) -> bool {
        self.chunks.get(&seq).is_some_and(|chunk| {
            self.entries.get(&chunk.entry).is_some_and(|entry| entry.held.covers(chunk.range()))
        })
    }

    /// What came before WANT of an entry that an earlier run had recorded is not written again.
    pub(super) fn pass_over_held(&mut self, index: EntryIndex) {
        for seq in self.all_written(index) {
            if self.is_held(seq) {
                self.pass_over(seq);
            }
        }
    }

    /// An entry is held whole: nothing of it is written any more.
    pub(super) fn pass_over_all(&mut self, index: EntryIndex) {
        for seq in self.all_written(index) {
            self.pass_over(seq);
        }
    }
}
