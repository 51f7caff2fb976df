//! The pieces of a chunk: let in, written, and what follows from the end of a write.

use super::chunk::{Chunk, Use};
use super::entry::Stage;
use super::{Heard, Receiver, violation};
use crate::disk::{DiskDone, DiskOp, Ends, Lane};
use crate::frame::{Await, Data};
use crate::io::{Io, ReceiveOp};
use floe_types::{ByteCount, Code, EntryIndex, Fault, Range, Seq, StreamId, Time};

impl Receiver {
    /// How many bytes of DATA may be taken from a stream now.
    pub(crate) fn data_room<P>(&self, stream: StreamId, io: &Io<P>, now: Time) -> ByteCount {
        let Some((chunk, pipe)) = self.current_chunk(stream).zip(io.pipes.get(&stream)) else {
            return self.piece;
        };
        if chunk.use_of != Use::Write {
            return self.piece;
        }
        let Some(entry) = self.entries.get(&chunk.entry) else { return self.piece };
        let waiting = matches!(entry.stage, Stage::Waiting | Stage::Opening);
        let blocked = self.chunks.iter().any(|(_, other)| {
            other.use_of == Use::Abandoned
                && other.entry == chunk.entry
                && !other.range().intersect(chunk.range()).is_empty()
        });
        let ahead_max = self.piece.0 * u64::from(self.limits.pieces_ahead_max);
        let crowded = pipe.writing.0 > 0
            && (pipe.writing.plus(self.piece).0 > ahead_max
                || io.buffered.plus(self.piece) > io.buffers_max);
        let limited = self.bucket.as_ref().is_some_and(|bucket| !bucket.is_open(now));
        if waiting || entry.forgetting > 0 || blocked || crowded || limited {
            return ByteCount::ZERO;
        }
        self.piece
    }

    fn current_chunk(&self, stream: StreamId) -> Option<&Chunk> {
        self.chunks.get(self.current.get(&stream)?)
    }

    /// Whether a stream carries a chunk of this transfer.
    pub(crate) fn is_on(&self, stream: StreamId) -> bool {
        self.current.contains_key(&stream)
    }

    pub(crate) fn handle_data<P: Clone>(
        &mut self,
        stream: StreamId,
        data: Data<P>,
        io: &mut Io<P>,
        now: Time,
    ) -> Heard {
        if self.current.get(&stream) != Some(&data.seq) {
            return violation("DATA of no chunk of this stream");
        }
        self.summary.bytes_sent = self.summary.bytes_sent.plus(data.len);
        if let Some(bucket) = self.bucket.as_mut() {
            bucket.charge(data.len, now);
        }
        let Some(chunk) = self.chunks.get_mut(&data.seq) else { return Ok(()) };
        if chunk.awaits == Await::Verdict {
            return violation("DATA before its VERDICT");
        }
        let far = chunk.range().end();
        let end = chunk.at.plus(data.len);
        if chunk.start.plus(data.at) != chunk.at
            || data.len.0 == 0
            || end > far
            || chunk.seal.is_some()
        {
            return violation("DATA out of place");
        }
        let piece = Range::new(chunk.at, end);
        chunk.at = end;
        if chunk.use_of != Use::Write {
            return Ok(());
        }
        let index = chunk.entry;
        if self.entries.get(&index).and_then(|entry| entry.size).is_some_and(|size| end.0 > size.0)
        {
            return violation("DATA beyond the object");
        }
        chunk.writes += 1;
        self.in_flight = self.in_flight.plus(data.len);
        self.summary.window_bytes_max = self.summary.window_bytes_max.max(self.in_flight);
        let ends = if chunk.end == Some(end) { Ends::Chunk } else { Ends::More };
        let start = chunk.start;
        if let Some(pipe) = io.pipes.get_mut(&stream) {
            pipe.writing = pipe.writing.plus(data.len);
        }
        io.buffered = io.buffered.plus(data.len);
        let entry = self.entry_id(index);
        let op = DiskOp::Write { entry, chunk: start, piece, ends, bytes: data.bytes };
        self.submit(
            index,
            Lane::Stream(stream),
            op,
            ReceiveOp::Write(index, data.seq, data.len),
            io,
        );
        Ok(())
    }

    pub(super) fn write_ended<P: Clone>(
        &mut self,
        index: EntryIndex,
        seq: Seq,
        len: ByteCount,
        done: DiskDone<P>,
        io: &mut Io<P>,
    ) {
        io.buffered = io.buffered.minus(len);
        let Some(chunk) = self.chunks.get_mut(&seq) else { return };
        chunk.writes -= 1;
        let stream = chunk.stream;
        if let Some(pipe) = io.pipes.get_mut(&stream) {
            pipe.writing = pipe.writing.minus(len);
        }
        io.wake(Lane::Stream(stream));
        if chunk.use_of != Use::Write {
            if chunk.use_of == Use::Abandoned && chunk.writes == 0 {
                let came = ByteCount(chunk.at.0 - chunk.start.0);
                self.in_flight = self.in_flight.minus(came);
                self.chunks.remove(&seq);
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
