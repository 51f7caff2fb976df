//! Chunks that hold nothing: asked for once more when their turn comes, and told in a header alone.
//!
//! What a source said of its holes when it was opened is a hint. Where bytes came since, the chunk
//! is read like any other; whether the source has changed is for its version to say.

use super::chunk::Purpose;
use super::{Sender, Tell};
use crate::command::Holes;
use crate::disk::{DiskDone, DiskOp, Lane};
use crate::frame::{Await, Content, EntryBody, Frame, Header};
use crate::io::{Io, SendOp};
use alloc::vec::Vec;
use floe_types::{
    ByteCount, ChunkDigest, Code, EntryIndex, Fault, Range, RangeSet, StreamId, Subtree,
};

impl<P: Clone> Sender<P> {
    /// What of a source goes as holes, and what its announcement says of that.
    pub(super) fn known_holes(&self, body: EntryBody, holes: Vec<Range>) -> (EntryBody, RangeSet) {
        let mut known = RangeSet::new();
        if self.holes == Holes::AsHoles {
            holes.into_iter().for_each(|hole| known.insert(hole));
        }
        match body {
            EntryBody::File { size: Some(size), version, freshness, metadata, .. } => {
                let (size, holes) = (Some(size), known.len().min(size));
                (EntryBody::File { size, holes, version, freshness, metadata }, known)
            }
            body => (body, RangeSet::new()),
        }
    }

    /// Asks whether the chunk of a task is a hole yet.
    pub(super) fn read_hole(&mut self, stream: StreamId, io: &mut Io<P>) {
        let Some(task) = self.tasks.get_mut(&stream) else { return };
        task.reading = true;
        let (index, number, chunk) = (task.entry, task.number, task.range);
        let op = DiskOp::ReadHole { entry: self.entry_id(index), chunk };
        let why = SendOp::Read(index, stream, number, ByteCount::ZERO);
        self.submit(index, Lane::Stream(stream), op, why, io);
    }

    pub(super) fn hole_read(
        &mut self,
        index: EntryIndex,
        stream: StreamId,
        done: DiskDone<P>,
        io: &mut Io<P>,
    ) {
        let digest = match done {
            DiskDone::Hole { digest } => digest,
            DiskDone::Failed(fault) => return self.fail(index, fault, Tell::Peer, io),
            _ => {
                let fault = Fault::new(Code::Other, "read answered wrongly");
                return self.fail(index, fault, Tell::Peer, io);
            }
        };
        let Some(task) = self.tasks.get_mut(&stream) else { return };
        task.reading = false;
        match (digest, task.purpose) {
            (Some(digest), Purpose::Send) => self.say_hole(stream, digest, io),
            (Some(digest), _) => self.digested(stream, digest, io),
            (None, _) => self.filled_since(stream, io),
        }
    }

    /// The whole chunk is said with its header.
    fn say_hole(&mut self, stream: StreamId, digest: ChunkDigest, io: &mut Io<P>) {
        let Some(task) = self.tasks.get(&stream) else { return };
        let (Some(seq), index, range) = (task.seq, task.entry, task.range) else { return };
        if task.digest.is_some_and(|first| first != digest) {
            return self.source_changed(index, io);
        }
        self.end_task(stream);
        let (entry, offset, len) = (self.entry_id(index), range.start(), Some(range.len()));
        let (awaits, content) = (Await::Implied, Content::Hole);
        let digest_ahead = Some(digest);
        let header = Header { seq, entry, offset, len, awaits, digest: digest_ahead, content };
        io.say_on(stream, Frame::Header(header));
        if let Some(flight) = self.flights.known(seq) {
            flight.digest = Some(digest);
        }
        self.know(index, Subtree { range, digest });
        self.settle(index, io);
    }

    /// Bytes came where a hole was: they are read like any others, in chunks as long as any others.
    /// Where the hole was said, they are another version.
    fn filled_since(&mut self, stream: StreamId, io: &mut Io<P>) {
        let Some(task) = self.tasks.get_mut(&stream) else { return };
        let (index, range, purpose, seq) = (task.entry, task.range, task.purpose, task.seq);
        task.content = Content::Bytes;
        if let Some(entry) = self.entries.lend(&index) {
            entry.holes.remove(range);
        }
        if let (Purpose::Send, Some(seq)) = (purpose, seq) {
            self.end_task(stream);
            let said = self.take_flight(seq, io).is_some_and(|flight| flight.digest.is_some());
            if said {
                return self.source_changed(index, io);
            }
            if let Some(entry) = self.entries.lend(&index) {
                entry.plan.add(range, &entry.holes);
                self.ready.insert(index);
            }
        }
        io.wake_streams();
    }
}
