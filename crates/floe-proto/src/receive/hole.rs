//! A chunk that is a hole: all of it came with its header, and none of it needs a buffer.
//!
//! So it cannot be left in the socket while its place is not free: it waits here. What waits is
//! bounded by the window, in which a hole counts as the smallest chunk.

use super::chunk::{Chunk, Use};
use super::{Heard, Receiver, violation};
use crate::command::{Holes, Violation};
use crate::disk::{DiskOp, Lane};
use crate::frame::{Content, Header, Seal};
use crate::io::{Io, ReceiveOp};
use alloc::vec::Vec;
use floe_types::{ByteCount, ChunkSize, Seq};

impl Receiver {
    /// What the SEAL of a hole would be.
    pub(super) fn seal_of_hole(&self, header: &Header) -> Result<Seal, Violation> {
        if self.holes == Holes::AsBytes {
            return Err(Violation { what: "a hole from a peer that did not say it knows them" });
        }
        // Without a size a short one could stand anywhere.
        let entry = self.entries.get(&header.entry.index);
        if entry.is_some_and(|entry| entry.size.is_none()) {
            return Err(Violation { what: "a hole in an object of unknown size" });
        }
        match (header.len, header.digest) {
            (Some(len), Some(digest)) => Ok(Seal { seq: header.seq, len, digest }),
            _ => Err(Violation { what: "a hole without length or digest" }),
        }
    }

    /// A hole counts as under way once it begins. Those that wait are bounded apart: what they wait
    /// for may be what was begun for the same place and lost its stream.
    pub(super) fn hole_heard<P: Clone>(&mut self, seq: Seq, io: &mut Io<P>) -> Heard {
        self.holes_due.insert(seq, None);
        self.begin_holes(io);
        let counts = |seq: &Seq| {
            let chunk = self.chunks.get(seq);
            chunk.map_or(0, |chunk| Content::Hole.window_bytes(chunk.range().len()).0)
        };
        let due = ByteCount(self.holes_due.keys().map(counts).sum());
        let most = self.options.window.plus(ChunkSize::MAX.bytes());
        if self.in_flight > most || due > most {
            return violation("more is under way than the window");
        }
        Ok(())
    }

    /// Begins the holes whose place is free, and answers those that are not needed. Each is hashed
    /// here, whatever it cost the peer: they count for a rate, and wait where that holds.
    pub(super) fn begin_holes<P: Clone>(&mut self, io: &mut Io<P>) {
        if io.is_held() {
            return;
        }
        // What stood in the way of one is looked at before all others are.
        let stands = |seq: &Seq| self.chunks.get(seq).is_some_and(Chunk::keeps_its_place);
        let due = self.holes_due.iter().filter(|(_, before)| !before.as_ref().is_some_and(stands));
        let due: Vec<_> = due.map(|(seq, _)| *seq).collect();
        for seq in due {
            let Some(chunk) = self.chunks.get(&seq) else {
                self.holes_due.remove(&seq);
                continue;
            };
            let (index, stream, range) = (chunk.entry, chunk.stream, chunk.range());
            if chunk.use_of != Use::Write {
                self.answer_unwritten(seq, io);
            } else if self.is_unsettled(chunk, range) {
                continue;
            } else if let Some(before) = self.before(seq, chunk, range) {
                self.holes_due.insert(seq, Some(before));
                continue;
            } else if let Some(chunk) = self.chunks.get_mut(&seq) {
                chunk.writes += 1;
                chunk.came = Content::Hole.window_bytes(range.len());
                self.in_flight = self.in_flight.plus(chunk.came);
                self.summary.window_bytes_max = self.summary.window_bytes_max.max(self.in_flight);
                io.hashed = io.hashed.plus(chunk.came);
                let op = DiskOp::WriteHole { entry: self.entry_id(index), chunk: range };
                let why = ReceiveOp::Write(index, seq, stream, ByteCount::ZERO);
                self.submit(index, Lane::Stream(stream), op, why, io);
            }
            self.holes_due.remove(&seq);
        }
    }
}
