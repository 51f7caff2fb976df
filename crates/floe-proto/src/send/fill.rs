//! Sources that cannot be read twice (standard input): chunks are read ahead, whole, and kept until
//! recorded.
//!
//! Reads run beside the lead stream, in order, one at a time; its loss ends the session anyway. A
//! chunk whose digest the receiver holds already is dropped here; every other goes to the streams
//! with its digest known.

use super::{Sender, Stage, Tell};
use crate::disk::{DiskDone, DiskOp, Ends, Keep, Lane};
use crate::frame::Frame;
use crate::io::{Io, SendOp};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use floe_types::{ByteCount, ChunkDigest, EntryIndex, Offset, Range, StreamId, Subtree, Subtrees};

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
    /// Bytes in `pieces` and `chunks`.
    held: ByteCount,
    /// What the receiver says it holds.
    pub(super) have: Subtrees,
}

/// A chunk read whole.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Filled<P> {
    pub(super) range: Range,
    pub(super) digest: Option<ChunkDigest>,
    pub(super) attempts: u32,
    pub(super) pieces: Vec<(ByteCount, P)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum SourceEnd {
    Ahead,
    Reached,
}

impl<P> Fill<P> {
    pub(super) fn new() -> Self {
        Self {
            start: Offset::ZERO,
            at: Offset::ZERO,
            pieces: Vec::new(),
            reading: None,
            end: SourceEnd::Ahead,
            chunks: VecDeque::new(),
            held: ByteCount::ZERO,
            have: Subtrees::new(),
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

    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    pub(super) fn is_over(&self) -> bool {
        self.end == SourceEnd::Reached && self.chunks.is_empty()
    }

    pub(super) fn clear(&mut self) -> ByteCount {
        self.chunks.clear();
        self.pieces.clear();
        self.end = SourceEnd::Reached;
        core::mem::take(&mut self.held)
    }
}

impl<P: Clone> Sender<P> {
    /// Reads the next piece of such a source, if the window and the buffers have room for its
    /// chunk.
    pub(super) fn fill(&mut self, stream: StreamId, io: &mut Io<P>) {
        if io.lead != Some(stream) {
            return;
        }
        let room = self.window.min(ByteCount(io.buffers_max.0 / 2));
        let chunk = self.options.chunk.bytes();
        let piece_max = io.piece_len(self.piece, ByteCount(self.limits.piece_bytes_min.into()));
        let (in_flight, number) = (self.in_flight, self.next_task);
        let found = self.entries.iter_mut().find_map(|(index, entry)| {
            let sending = entry.stage == Stage::Sending;
            let fill = entry.fill.as_mut().filter(|_| sending)?;
            let more = fill.end == SourceEnd::Ahead && fill.reading.is_none();
            let begun = !fill.pieces.is_empty();
            let held = fill.held.plus(in_flight);
            (more && (begun || held.0 == 0 || held.plus(chunk) <= room)).then_some((*index, fill))
        });
        let Some((index, fill)) = found else { return };
        let end = fill.start.plus(chunk);
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

    pub(super) fn is_filling(&self, index: EntryIndex, number: u64) -> bool {
        let fill = self.entries.get(&index).and_then(|entry| entry.fill.as_ref());
        fill.is_some_and(|fill| fill.reading == Some(number))
    }

    pub(super) fn fill_read_ended(&mut self, index: EntryIndex, done: DiskDone<P>, io: &mut Io<P>) {
        let chunk = self.options.chunk.bytes();
        let Some(entry) = self.entries.get_mut(&index) else { return };
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
        let whole = fill.at == fill.start.plus(chunk);
        if !whole && digest.is_none() && len.0 > 0 {
            return io.wake(Lane::Stream(io.lead.unwrap_or_default()));
        }
        if !whole {
            fill.end = SourceEnd::Reached;
        }
        let range = Range::new(fill.start, fill.at);
        fill.start = fill.at;
        let pieces = core::mem::take(&mut fill.pieces);
        if !range.is_empty() {
            self.filled(index, Filled { range, digest, attempts: 0, pieces }, io);
        }
        self.end_of_fill(index, io);
        self.settle(index, io);
        io.wake_streams();
    }

    /// A chunk is read whole: sent, unless the receiver holds it.
    fn filled(&mut self, index: EntryIndex, chunk: Filled<P>, io: &mut Io<P>) {
        let id = self.entry_id(index);
        let Some(digest) = chunk.digest else { return self.source_changed(index, io) };
        let Some(entry) = self.entries.get_mut(&index) else { return };
        let Some(fill) = entry.fill.as_mut() else { return };
        let range = chunk.range;
        self.summary.bytes_total = self.summary.bytes_total.plus(range.len());
        if fill.have.value(range) == Some(digest.value) {
            fill.held = fill.held.minus(range.len());
            io.buffered = io.buffered.minus(range.len());
            self.summary.bytes_resumed = self.summary.bytes_resumed.plus(range.len());
            self.summary.bytes_stored = self.summary.bytes_stored.plus(range.len());
        } else {
            if fill.have.touches(range) {
                io.say(Frame::Drop(id, alloc::vec![range]));
            }
            fill.chunks.push_back(chunk);
            self.ready.insert(index);
        }
        self.know(index, Subtree { range, digest });
    }

    /// The source's end is known: so is its size, and that nothing beyond it is confirmed.
    fn end_of_fill(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let id = self.entry_id(index);
        let Some(entry) = self.entries.get_mut(&index) else { return };
        let Some(fill) = entry.fill.as_ref().filter(|fill| fill.end == SourceEnd::Reached) else {
            return;
        };
        entry.size = Some(ByteCount(fill.at.0));
        let beyond = Range::new(fill.at, Offset(u64::MAX));
        if fill.have.touches(beyond) {
            io.say(Frame::Drop(id, alloc::vec![beyond]));
        }
    }
}
