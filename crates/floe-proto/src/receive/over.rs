//! How a chunk ends. While an operation refers to it, it stays, and its number means it: one that
//! comes again is a violation until then, and means another chunk from then on.

use super::Receiver;
use super::chunk::{Chunk, Use};
use alloc::vec::Vec;
use floe_types::{EntryIndex, Seq, StreamId};

impl Receiver {
    /// A chunk is over.
    pub(super) fn take_chunk(&mut self, seq: Seq) -> Option<Chunk> {
        let chunk = self.drop_chunk(seq)?;
        self.in_flight = self.in_flight.minus(chunk.came);
        Some(chunk)
    }

    /// Nothing refers to a chunk any more, and its number means nothing.
    pub(super) fn drop_chunk(&mut self, seq: Seq) -> Option<Chunk> {
        self.holes_due.remove(&seq);
        self.chunks.remove(&seq)
    }

    /// A chunk is given up: kept only while writes of it are under way.
    pub(super) fn abandon(&mut self, seq: Seq) {
        let Some(chunk) = self.chunks.get_mut(&seq) else { return };
        if chunk.seal.is_some() && chunk.use_of == Use::Write {
            return;
        }
        self.in_flight = self.in_flight.minus(core::mem::take(&mut chunk.came));
        if chunk.writes == 0 {
            self.drop_chunk(seq);
        } else {
            chunk.use_of = Use::Abandoned;
        }
    }

    /// As `abandon`, also of a hole that waits: it is sealed from its header on, and comes again.
    pub(super) fn abandon_unless_begun(&mut self, seq: Seq) {
        if let Some(hole) = self.chunks.get_mut(&seq).filter(|_| self.holes_due.contains_key(&seq))
        {
            hole.seal = None;
        }
        self.abandon(seq);
    }

    pub(super) fn abandon_stream(&mut self, stream: StreamId) {
        let seqs: Vec<_> = self
            .chunks
            .iter()
            .filter(|(_, chunk)| chunk.stream == stream)
            .map(|(seq, _)| *seq)
            .collect();
        for seq in seqs {
            if let Some(chunk) = self.chunks.get_mut(&seq)
                && chunk.digest.is_none()
            {
                chunk.seal = None;
            }
            self.abandon_unless_begun(seq);
        }
    }

    pub(super) fn abandon_entry(&mut self, index: EntryIndex) {
        for chunk in self.chunks.values_mut().filter(|chunk| chunk.entry == index) {
            chunk.use_of = if chunk.writes > 0 { Use::Abandoned } else { Use::Drop };
            self.in_flight = self.in_flight.minus(core::mem::take(&mut chunk.came));
        }
        let current: Vec<_> = self.current.values().map(|carried| carried.seq).collect();
        self.chunks.retain(|seq, chunk| {
            chunk.entry != index || chunk.use_of == Use::Abandoned || current.contains(seq)
        });
        self.holes_due.retain(|seq, _| self.chunks.contains_key(seq));
    }
}
