//! The pieces of a chunk: let in, written, and what follows from the end of a write.
//!
//! A piece is written only where no other write can meet it: not before the stage is open, not
//! before what an earlier run recorded there is forgotten, not while another chunk of that range
//! still has writes under way or waits for its record.

use super::chunk::{Chunk, Use};
use super::entry::Stage;
use super::{Heard, Receiver, violation};
use crate::disk::{DiskDone, DiskOp, Ends, Lane};
use crate::frame::{Await, Data};
use crate::io::{Io, ReceiveOp};
use floe_types::planted::{self, Bug};
use floe_types::{ByteCount, ChunkSize, Code, EntryIndex, Fault, Range, Seq, StreamId, Time};

/// What a write counts in the buffers at least, for what is kept beside its bytes.
const WRITE_COST_MIN: ByteCount = ByteCount(16 << 10);

impl Receiver {
    /// How many bytes of DATA may be taken from a stream now.
    pub(crate) fn data_room<P>(&self, stream: StreamId, io: &Io<P>, now: Time) -> ByteCount {
        // What comes behind a whole chunk is no piece of it: it is heard at once.
        let begun = self.begun_on(stream).and_then(|seq| Some((seq, self.chunk_on(stream, seq)?)));
        let Some(((seq, chunk), pipe)) = begun.zip(io.pipes.get(&stream)) else {
            return self.piece;
        };
        if chunk.use_of != Use::Write {
            return self.piece;
        }
        let ahead_max = self.piece.0 * u64::from(self.limits.pieces_ahead_max);
        let crowded = pipe.writing.0 > 0
            && (pipe.writing.plus(self.piece).0 > ahead_max
                || io.buffered.plus(self.piece) > io.buffers_max);
        let limited = self.bucket.as_ref().is_some_and(|bucket| !bucket.is_open(now));
        let next = Range::new(chunk.start, chunk.end.unwrap_or(chunk.at.plus(self.piece)));
        if self.must_wait(seq, chunk, next) || crowded || limited {
            return ByteCount::ZERO;
        }
        self.piece
    }

    /// Whether a chunk may not be written yet up to the end of this range. Once it may, this stays
    /// so for as long as the chunk is written.
    pub(super) fn must_wait(&self, seq: Seq, chunk: &Chunk, next: Range) -> bool {
        self.entries.contains_key(&chunk.entry)
            && (self.is_unsettled(chunk, next) || self.before(seq, chunk, next).is_some())
    }

    /// Whether nobody knows yet what is to be done about this range of a chunk's entry.
    pub(super) fn is_unsettled(&self, chunk: &Chunk, next: Range) -> bool {
        self.entries.get(&chunk.entry).is_some_and(|entry| {
            matches!(entry.stage, Stage::Waiting | Stage::Opening) || entry.forgetting.touches(next)
        })
    }

    /// Another chunk that has a part of this range, and is not over.
    pub(super) fn before(&self, seq: Seq, chunk: &Chunk, next: Range) -> Option<Seq> {
        let blocks = |(nr, other): &(&Seq, &Chunk)| {
            **nr != seq
                && other.entry == chunk.entry
                && other.keeps_its_place()
                && !other.range().intersect(next).is_empty()
        };
        self.chunks.iter().find(blocks).map(|(nr, _)| *nr)
    }

    /// A chunk, if this stream began it.
    pub(super) fn chunk_on(&self, stream: StreamId, seq: Seq) -> Option<&Chunk> {
        self.chunks.get(&seq).filter(|chunk| chunk.stream == stream)
    }

    pub(crate) fn handle_data<P: Clone>(
        &mut self,
        stream: StreamId,
        data: Data<P>,
        io: &mut Io<P>,
        now: Time,
    ) -> Heard {
        if self.begun_on(stream) != Some(data.seq) {
            return violation("DATA of no chunk of this stream");
        }
        self.summary.bytes_sent = self.summary.bytes_sent.plus(data.len);
        if let Some(bucket) = self.bucket.as_mut() {
            bucket.charge(data.len, now);
        }
        let Some(chunk) = self.chunk_on(stream, data.seq) else { return Ok(()) };
        if chunk.awaits == Await::Verdict {
            return violation("DATA before its VERDICT");
        }
        let end = chunk.at.plus(data.len);
        let next = chunk.start.plus(data.at) == chunk.at;
        if !next || data.len.0 == 0 || end > chunk.far() {
            return violation("DATA out of place");
        }
        let mut piece = Range::new(chunk.at, end);
        if planted::is(Bug::WrongChunkOffset) {
            piece = Range::new(chunk.start, chunk.start.plus(data.len));
        }
        self.may_hold(data.seq, chunk, piece)?;
        let whole = Range::new(chunk.start, chunk.end.unwrap_or(end));
        let (writes, waits) = (chunk.use_of == Use::Write, self.must_wait(data.seq, chunk, whole));
        let (index, unended) = (chunk.entry, chunk.end.is_none());
        if unended {
            self.check_piece(index, piece)?;
        }
        let Some(chunk) = self.chunks.get_mut(&data.seq) else { return Ok(()) };
        chunk.at = end;
        if !writes {
            return Ok(());
        }
        if waits {
            // `data_room` said so: what was handed in all the same is written nowhere.
            let what = "a piece came before there was room for it";
            self.fail(index, Fault::new(Code::Other, what), io);
            return Ok(());
        }
        chunk.came = chunk.came.plus(data.len);
        self.in_flight = self.in_flight.plus(data.len);
        self.summary.window_bytes_max = self.summary.window_bytes_max.max(self.in_flight);
        if self.in_flight > self.options.window.plus(ChunkSize::MAX.bytes()) {
            return violation("more is under way than the window");
        }
        self.write(stream, data, piece, io);
        Ok(())
    }

    /// Whether a chunk may have bytes in a range: within the object, and not what another holds.
    fn may_hold(&self, seq: Seq, chunk: &Chunk, piece: Range) -> Heard {
        let Some(entry) = self.entries.get(&chunk.entry) else { return Ok(()) };
        if entry.size.is_some_and(|size| piece.end().0 > size.0) {
            return violation("DATA beyond the object");
        }
        // The header answered the rest for a chunk whose length it said.
        if chunk.end.is_some() || !matches!(entry.stage, Stage::Open) {
            return Ok(());
        }
        let runs_into = |other: &Chunk| {
            other.entry == chunk.entry
                && other.use_of == Use::Write
                && !other.range().intersect(piece).is_empty()
        };
        match chunk.use_of {
            Use::Already if !entry.held.covers(piece) => violation("a chunk that is held in part"),
            Use::Write
                if entry.held.touches(piece)
                    || self.chunks.iter().any(|(nr, one)| *nr != seq && runs_into(one)) =>
            {
                violation("a chunk that runs into another")
            }
            _ => Ok(()),
        }
    }

    fn write<P: Clone>(&mut self, stream: StreamId, data: Data<P>, piece: Range, io: &mut Io<P>) {
        let Some(chunk) = self.chunks.get_mut(&data.seq) else { return };
        chunk.writes += 1;
        let ends = if chunk.end == Some(chunk.at) { Ends::Chunk } else { Ends::More };
        let (start, index) = (chunk.start, chunk.entry);
        let cost = data.len.max(WRITE_COST_MIN);
        if let Some(pipe) = io.pipes.get_mut(&stream) {
            pipe.writing = pipe.writing.plus(cost);
        }
        io.buffered = io.buffered.plus(cost);
        let entry = self.entry_id(index);
        let op = DiskOp::Write { entry, chunk: start, piece, ends, bytes: data.bytes };
        let why = ReceiveOp::Write(index, data.seq, stream, cost);
        self.submit(index, Lane::Stream(stream), op, why, io);
    }

    pub(super) fn write_ended<P: Clone>(
        &mut self,
        index: EntryIndex,
        seq: Seq,
        done: DiskDone<P>,
        io: &mut Io<P>,
    ) {
        let Some(chunk) = self.chunks.get_mut(&seq) else { return };
        chunk.writes -= 1;
        if chunk.use_of != Use::Write {
            if chunk.use_of == Use::Abandoned && chunk.writes == 0 {
                self.drop_chunk(seq);
                io.wake_streams();
            }
            return;
        }
        match done {
            DiskDone::Wrote { digest } => {
                if digest.is_some() {
                    chunk.digest = digest;
                }
                let now = io.now;
                self.sealed(seq, io, now);
            }
            DiskDone::Failed(fault) => self.fail(index, fault, io),
            _ => self.fail(index, Fault::new(Code::Other, "write answered wrongly"), io),
        }
    }
}

/// A write gives back what it counted, whatever became of its chunk.
pub(super) fn give_back<P>(stream: StreamId, cost: ByteCount, io: &mut Io<P>) {
    io.buffered = io.buffered.minus(cost);
    if let Some(pipe) = io.pipes.get_mut(&stream) {
        pipe.writing = pipe.writing.minus(cost);
        io.wake(Lane::Stream(stream));
    }
}
