//! Sources that cannot be read twice (standard input): chunks are read ahead, whole, and kept until
//! recorded.
//!
//! Reads run beside the lead stream, in order, one at a time; its loss ends the session. A chunk
//! that the receiver holds already is dropped here; every other goes to the streams with its digest
//! known. A chunk that is recorded is spent: should another session go on with the source, it
//! begins with what was spent, and what was not is read again from what the engine kept.

use super::claims::{Claims, Compared, Filled};
use super::{Sender, Stage, Tell};
use crate::disk::{DiskDone, DiskOp, Ends, Keep, Lane};
use crate::frame::Frame;
use crate::io::{Io, SendOp};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use floe_types::{
    ByteCount, ChunkDigest, Code, EntryIndex, Fault, Offset, Range, StreamId, Subtree,
};

/// The reading of one such source.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Fill<P> {
    /// The chunk being read.
    start: Offset,
    at: Offset,
    pieces: Vec<(ByteCount, P)>,
    reading: Option<u64>,
    end: SourceEnd,
    chunks: VecDeque<Filled<P>>,
    /// Bytes in `pieces`, `chunks` and `claims`.
    held: ByteCount,
    /// What earlier sessions spent, and this one has not come to.
    spent: VecDeque<Subtree>,
    /// What the receiver says it holds.
    pub(super) claims: Claims<P>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum SourceEnd {
    Ahead,
    Reached,
}

impl<P> Fill<P> {
    pub(super) fn new(spent: Vec<Subtree>) -> Self {
        Self {
            start: Offset::ZERO,
            at: Offset::ZERO,
            pieces: Vec::new(),
            reading: None,
            end: SourceEnd::Ahead,
            chunks: VecDeque::new(),
            held: ByteCount::ZERO,
            spent: spent.into(),
            claims: Claims::new(),
        }
    }

    pub(super) fn has_chunk(&self) -> bool {
        !self.chunks.is_empty()
    }

    pub(super) fn chunk_len(&self) -> Option<ByteCount> {
        self.chunks.front().map(|chunk| chunk.range.len())
    }

    pub(super) fn take_chunk(&mut self) -> Option<Filled<P>> {
        let chunk = self.chunks.pop_front()?;
        self.held = self.held.minus(chunk.range.len());
        Some(chunk)
    }

    /// A chunk was not recorded: it goes out again, first.
    pub(super) fn give_back(&mut self, chunk: Filled<P>) {
        self.held = self.held.plus(chunk.range.len());
        self.chunks.push_front(chunk);
    }

    /// Whether a chunk is being read: until it is whole, nothing else may be hashed there.
    pub(super) fn is_within_chunk(&self) -> bool {
        self.reading.is_some() || !self.pieces.is_empty()
    }

    pub(super) fn is_over(&self) -> bool {
        self.end == SourceEnd::Reached && self.chunks.is_empty() && !self.claims.is_gathering()
    }

    pub(super) fn clear(&mut self) -> ByteCount {
        self.chunks.clear();
        self.pieces.clear();
        self.claims = Claims::new();
        self.end = SourceEnd::Reached;
        core::mem::take(&mut self.held)
    }

    /// What was spent and comes next.
    fn next_spent(&mut self) -> Option<Filled<P>> {
        if self.reading.is_some() || !self.pieces.is_empty() {
            return None;
        }
        let next = self.spent.front().filter(|next| next.range.start() == self.start)?;
        let Subtree { range, digest } = *next;
        self.spent.pop_front();
        (self.start, self.at) = (range.end(), range.end());
        Some(Filled { range, digest, attempts: 0, pieces: Vec::new() })
    }

    /// Where the chunk being read may end at most.
    fn chunk_end(&self, chunk: ByteCount) -> Offset {
        let end = self.start.plus(chunk);
        self.spent.front().map_or(end, |next| next.range.start().min(end))
    }
}

impl<P: Clone> Sender<P> {
    /// Goes on with such a source: what was spent, then the next piece, if the window and the
    /// buffers have room for its chunk.
    pub(super) fn fill(&mut self, stream: StreamId, io: &mut Io<P>) {
        let Some(index) = self.once.filter(|_| io.lead == Some(stream)) else { return };
        while let Some(spent) = self.filling(index).and_then(Fill::next_spent) {
            self.filled(index, spent, io);
        }
        self.read_ahead(index, stream, io);
    }

    /// The reading of such an entry, while its chunks go.
    fn filling(&mut self, index: EntryIndex) -> Option<&mut Fill<P>> {
        let entry = self.entries.lend(&index)?;
        entry.fill.as_mut().filter(|_| entry.stage == Stage::Sending)
    }

    fn read_ahead(&mut self, index: EntryIndex, stream: StreamId, io: &mut Io<P>) {
        let room = self.fill_room(io);
        let chunk = self.options.chunk.bytes();
        let piece_max = io.piece_len(self.piece, ByteCount(self.limits.piece_bytes_min.into()));
        let (in_flight, number) = (self.in_flight, self.next_task);
        let Some(fill) = self.filling(index) else { return };
        let more = fill.end == SourceEnd::Ahead && fill.reading.is_none();
        let begun = !fill.pieces.is_empty() || fill.claims.is_gathering();
        let held = fill.held.plus(in_flight);
        if !more || !(begun || held.0 == 0 || held.plus(chunk) <= room) {
            return;
        }
        let end = fill.chunk_end(chunk);
        let piece = Range::new(fill.at, fill.at.plus(piece_max).min(end));
        let ends = if piece.end() == end { Ends::Chunk } else { Ends::More };
        fill.reading = Some(number);
        let start = fill.start;
        self.next_task += 1;
        io.buffered = io.buffered.plus(piece.len());
        let entry = self.entry_id(index);
        let op = DiskOp::Read { entry, chunk: start, piece, ends, keep: Keep::Bytes };
        let why = SendOp::Read(index, stream, number, piece.len());
        self.submit(index, Lane::Stream(stream), op, why, io);
    }

    fn fill_room(&self, io: &Io<P>) -> ByteCount {
        self.window.min(ByteCount(io.buffers_max.0 / 2))
    }

    pub(super) fn is_filling(&self, index: EntryIndex, number: u64) -> bool {
        let fill = self.entries.get(&index).and_then(|entry| entry.fill.as_ref());
        fill.is_some_and(|fill| fill.reading == Some(number))
    }

    pub(super) fn fill_read_ended(&mut self, index: EntryIndex, done: DiskDone<P>, io: &mut Io<P>) {
        let chunk = self.options.chunk.bytes();
        let Some(entry) = self.entries.lend(&index) else { return };
        let Some(fill) = entry.fill.as_mut() else { return };
        fill.reading = None;
        let (bytes, len, digest) = match done {
            DiskDone::Read { bytes, len, digest } => (bytes, len, digest),
            DiskDone::Failed(fault) => return self.fail(index, fault, Tell::Peer, io),
            _ => return self.source_changed(index, io),
        };
        if entry.stage != Stage::Sending {
            return;
        }
        if let Some(bytes) = bytes {
            fill.pieces.push((len, bytes));
            fill.held = fill.held.plus(len);
            io.buffered = io.buffered.plus(len);
            fill.at = fill.at.plus(len);
        }
        let whole = fill.at == fill.chunk_end(chunk);
        if !whole && digest.is_none() && len.0 > 0 {
            return io.wake(Lane::Stream(io.lead.unwrap_or_default()));
        }
        if !whole {
            fill.end = SourceEnd::Reached;
        }
        let range = Range::new(fill.start, fill.at);
        fill.start = fill.at;
        let pieces = core::mem::take(&mut fill.pieces);
        match digest {
            Some(digest) if !range.is_empty() => {
                self.filled(index, Filled { range, digest, attempts: 0, pieces }, io);
            }
            _ if range.is_empty() => {}
            _ => return self.source_changed(index, io),
        }
        self.end_of_fill(index, io);
        self.settle(index, io);
        io.wake_streams();
    }

    /// A chunk is read whole: sent, unless the receiver holds it.
    fn filled(&mut self, index: EntryIndex, chunk: Filled<P>, io: &mut Io<P>) {
        let room = self.fill_room(io);
        let Some(entry) = self.entries.lend(&index) else { return };
        let Some(fill) = entry.fill.as_mut() else { return };
        let (range, digest) = (chunk.range, chunk.digest);
        let compared = fill.claims.compare(chunk, room);
        self.summary.bytes_total = self.summary.bytes_total.plus(range.len());
        self.know(index, Subtree { range, digest });
        self.act_on(index, compared, io);
    }

    fn act_on(&mut self, index: EntryIndex, compared: Compared<P>, io: &mut Io<P>) {
        let Compared { same, missing, refuted } = compared;
        if let Some(range) = refuted {
            io.say(Frame::Drop(self.entry_id(index), alloc::vec![range]));
        }
        for chunk in same {
            let len = chunk.range.len();
            self.summary.bytes_resumed = self.summary.bytes_resumed.plus(len);
            self.summary.bytes_stored = self.summary.bytes_stored.plus(len);
            let Some(fill) = self.entries.lend(&index).and_then(|entry| entry.fill.as_mut()) else {
                return;
            };
            if !chunk.pieces.is_empty() {
                fill.held = fill.held.minus(len);
                io.buffered = io.buffered.minus(len);
                self.spend(index, chunk.range, chunk.digest, io);
            }
        }
        if missing.iter().any(|chunk| chunk.pieces.is_empty()) {
            return self.fail(index, lost(), Tell::Peer, io);
        }
        let Some(entry) = self.entries.lend(&index) else { return };
        let Some(fill) = entry.fill.as_mut() else { return };
        if !missing.is_empty() {
            fill.chunks.extend(missing);
            self.ready.insert(index);
            io.wake_streams();
        }
    }

    /// A chunk of such a source is recorded: its bytes are not needed again.
    pub(super) fn spend(
        &mut self,
        index: EntryIndex,
        chunk: Range,
        digest: ChunkDigest,
        io: &mut Io<P>,
    ) {
        let op = DiskOp::Spend { entry: self.entry_id(index), chunk, digest };
        self.submit(index, Lane::Session, op, SendOp::Spend(index), io);
    }

    /// The source's end is known: so is its size, and that nothing beyond it is confirmed.
    fn end_of_fill(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        let Some(fill) = entry.fill.as_mut().filter(|fill| fill.end == SourceEnd::Reached) else {
            return;
        };
        let size = ByteCount(fill.at.0);
        entry.size = Some(size);
        let other = fill.claims.finished().filter(|root| entry.known.root(size) != Some(*root));
        let left = fill.claims.end(fill.at);
        if other.is_some() && size > ByteCount::ZERO {
            return self.fail(index, lost(), Tell::Peer, io);
        }
        // Of nothing nothing was spent: what stands there is another's, and is dropped.
        entry.whole = other;
        self.act_on(index, left, io);
    }
}

/// Bytes that were spent are needed again.
fn lost() -> Fault {
    Fault::new(Code::SourceGone, "the receiver lost what it had recorded of standard input")
}
