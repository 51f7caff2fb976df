//! One chunk on one stream: read, HEADER, DATA, SEAL; or read and compared; or sent from what is
//! held.
//!
//! ```text
//!  streaming   Sending --------------------------------> over  (digest behind the data)
//!  lockstep    Digesting -> Waiting (VERDICT) -> Sending --> over  (digest ahead)
//!  hole        Digesting ------------------------------> over  (nothing but a header)
//!  check       Digesting ------------------------------> over  (nothing sent if it agrees)
//! ```

use super::entry::{SendEntry, WantOf};
use super::flights::Flight;
use super::{Queued, Sender, Stage, Tell};
use crate::causes::Cause;
use crate::disk::{DiskDone, DiskOp, Ends, Keep, Lane};
use crate::frame::{Await, Content, Data, Frame, Header, Pace, Seal};
use crate::io::{Io, SendOp};
use crate::plan::{Again, content_of};
use alloc::collections::VecDeque;
use floe_types::planted::{self, Bug};
use floe_types::{
    ByteCount, ChunkDigest, ChunkSize, Code, EntryIndex, Fault, Offset, Range, Seq, StreamId,
    Subtree,
};

/// What a stream has under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Task<P> {
    pub(super) number: u64,
    pub(super) entry: EntryIndex,
    pub(super) purpose: Purpose,
    pub(super) range: Range,
    pub(super) content: Content,
    pub(super) phase: Phase,
    /// How far the present phase has read, or sent.
    pub(super) at: Offset,
    pub(super) reading: bool,
    /// The digest it must meet, or that was found in the first pass.
    pub(super) digest: Option<ChunkDigest>,
    pub(super) seq: Option<Seq>,
    /// Pieces that are held, and so not read: a source that cannot be read twice.
    pub(super) held: VecDeque<(ByteCount, P)>,
}

/// What a task is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Purpose {
    /// To be sent.
    Send,
    /// Read and compared with what the receiver holds.
    Check(Subtree),
    /// Read and hashed, to compare the whole with the receiver's root.
    Hash,
}

/// How far a task is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Phase {
    Digesting,
    Waiting,
    Sending,
}

/// DATA frames queued on a stream before the next read waits.
const DATA_QUEUED_MAX: u32 = 2;

impl<P: Clone> Sender<P> {
    /// Gives a stream work: the next piece of what it has under way, or the next chunk. Says what
    /// it waits for.
    pub(crate) fn pump(&mut self, stream: StreamId, io: &mut Io<P>) -> Cause {
        self.fill(stream, io);
        loop {
            let queued = io.pipes.get(&stream).map_or(0, |pipe| pipe.data_queued);
            if let Some(task) = self.tasks.get(&stream) {
                if task.reading {
                    return Cause::SourceDisk;
                }
                if task.phase == Phase::Waiting {
                    return Cause::Window;
                }
                if queued >= DATA_QUEUED_MAX {
                    if self.bucket.as_ref().is_some_and(|bucket| !bucket.is_open(io.now)) {
                        return Cause::Limiter;
                    }
                    return Cause::Network;
                }
                if !task.held.is_empty() {
                    self.send_held(stream, io);
                    continue;
                }
                if io.buffered >= io.buffers_max && queued > 0 {
                    return Cause::Memory;
                }
                self.read_on(stream, io);
                return Cause::SourceDisk;
            }
            if !self.pull(stream, io) {
                return match self.is_window_full() {
                    true => Cause::Window,
                    // The producer of what cannot be read twice keeps its stream waiting.
                    false if self.is_busy_on(stream, io) => Cause::SourceDisk,
                    false => Cause::Idle,
                };
            }
        }
    }

    /// Whether this transfer has work under way on a stream: no other transfer may use it then.
    pub(crate) fn is_busy_on(&self, stream: StreamId, io: &Io<P>) -> bool {
        self.tasks.contains_key(&stream)
            || (io.lead == Some(stream)
                && self
                    .once
                    .and_then(|index| self.entries.get(&index))
                    .is_some_and(SendEntry::is_filling))
    }

    /// Takes the next check or chunk for a stream. False: there is none, or the window is full.
    fn pull(&mut self, stream: StreamId, io: &mut Io<P>) -> bool {
        if self.options.pace == Pace::Lockstep && !self.flights.is_empty() {
            return false;
        }
        let mut without = alloc::vec::Vec::new();
        let (mut pulled, mut full) = (false, false);
        for index in self.ready.iter().copied() {
            let Some(entry) = self.entries.get(&index) else {
                without.push(index);
                continue;
            };
            if !entry.has_work() {
                without.push(index);
                continue;
            }
            if entry.want == WantOf::Behind && io.lead != Some(stream) {
                continue;
            }
            let compares = entry.checks.front().is_some() || entry.whole.is_some();
            if compares && io.is_held() {
                break;
            }
            let next = entry.checks.front().map(|_| ByteCount::ZERO);
            let held = entry.fill.as_ref().and_then(|fill| fill.chunk_len());
            let planned = entry.plan.peek_window(self.options.chunk);
            let len = next.or(held).or(planned).unwrap_or_default();
            let len = if planted::is(Bug::WindowOffByOne) { ByteCount(1) } else { len };
            let own = self.lost_of(index, len);
            let others = self.in_flight.minus(own);
            let fits = others.plus(len) <= self.window || others.0 == 0;
            // What comes back to be compared needs no room, and stands before what was lost.
            let returns = next.is_some() && entry.lost.0 > 0;
            if entry.whole.is_some() || returns || (fits && (own.0 > 0 || !full)) {
                pulled = self.start(index, stream, io);
                break;
            }
            // What was lost with a stream may keep the window full until it comes again.
            full = true;
            if self.lost.0 == 0 {
                break;
            }
        }
        for index in without {
            self.ready.remove(&index);
        }
        pulled
    }

    fn start(&mut self, index: EntryIndex, stream: StreamId, io: &mut Io<P>) -> bool {
        let number = self.next_task;
        let chunk = self.options.chunk;
        let lockstep = self.options.pace == Pace::Lockstep;
        let Some(entry) = self.entries.lend(&index) else { return false };
        let mut content = Content::Bytes;
        let (range, purpose, again, held) = if let Some(check) = entry.checks.pop_front() {
            // One operation is never more than a chunk.
            if check.range.len() <= ChunkSize::MAX.bytes() {
                content = content_of(check.range, &entry.holes);
            }
            (check.range, Purpose::Check(check), None, VecDeque::new())
        } else if let Some(filled) = entry.fill.as_mut().and_then(super::fill::Fill::take_chunk) {
            let again = Again {
                range: filled.range,
                content,
                digest: Some(filled.digest),
                attempts: filled.attempts,
            };
            (filled.range, Purpose::Send, Some(again), filled.pieces.into())
        } else if let Some(pulled) = entry.plan.pull(chunk) {
            content = pulled.content;
            let purpose = if entry.whole.is_some() { Purpose::Hash } else { Purpose::Send };
            (pulled.range, purpose, pulled.again, VecDeque::new())
        } else {
            return false;
        };
        self.next_task += 1;
        entry.tasks += 1;
        let digest = again.and_then(|again| again.digest);
        let ahead = lockstep && held.is_empty() || content == Content::Hole;
        let digesting = purpose != Purpose::Send || ahead;
        let phase = if digesting { Phase::Digesting } else { Phase::Sending };
        // Nothing is sent of what is compared, and next to nothing of a hole.
        match (purpose, content) {
            (Purpose::Send, Content::Bytes) => {}
            (_, Content::Hole) => io.hashed = io.hashed.plus(content.window_bytes(range.len())),
            (_, Content::Bytes) => io.count_compared(range.len()),
        }
        let at = range.start();
        let kept = held.iter().cloned().collect();
        let mut task = Task {
            number,
            entry: index,
            purpose,
            range,
            content,
            phase,
            at,
            reading: false,
            digest,
            seq: None,
            held,
        };
        if purpose == Purpose::Send {
            let seq = io.take_seq();
            task.seq = Some(seq);
            let attempts = again.map_or(0, |again| again.attempts);
            let flight = Flight { entry: index, range, content, stream, digest, attempts, kept };
            self.put_in_window(seq, flight);
        }
        self.tasks.insert(stream, task);
        if phase == Phase::Sending {
            let awaits = if lockstep { Await::Verdict } else { Await::Implied };
            self.say_header(stream, awaits, io);
        }
        true
    }

    /// HEADER goes as soon as the chunk is known to come; with the digest where it is known.
    fn say_header(&mut self, stream: StreamId, awaits: Await, io: &mut Io<P>) {
        let id = self.id;
        let Some(task) = self.tasks.get_mut(&stream) else { return };
        let Some(seq) = task.seq else { return };
        if awaits == Await::Verdict {
            task.phase = Phase::Waiting;
        }
        let digest = if awaits == Await::Verdict { task.digest } else { None };
        let entry = floe_types::EntryId { transfer: id, index: task.entry };
        let (offset, len) = (task.range.start(), Some(task.range.len()));
        let content = Content::Bytes;
        let header = Header { seq, entry, offset, len, awaits, digest, content };
        io.say_on(stream, Frame::Header(header));
    }

    fn read_on(&mut self, stream: StreamId, io: &mut Io<P>) {
        if self.tasks.get(&stream).is_some_and(|task| task.content == Content::Hole) {
            return self.read_hole(stream, io);
        }
        let piece_max =
            io.piece_len(self.piece_max(), ByteCount(self.limits.piece_bytes_min.into()));
        let Some(task) = self.tasks.get_mut(&stream) else { return };
        let end = task.at.plus(piece_max).min(task.range.end());
        let piece = Range::new(task.at, end);
        let ends = if end == task.range.end() { Ends::Chunk } else { Ends::More };
        let keep = if task.phase == Phase::Sending { Keep::Bytes } else { Keep::Digest };
        task.reading = true;
        let (index, number, chunk) = (task.entry, task.number, task.range.start());
        let asked = if keep == Keep::Bytes { piece.len() } else { ByteCount::ZERO };
        io.buffered = io.buffered.plus(asked);
        let op = DiskOp::Read { entry: self.entry_id(index), chunk, piece, ends, keep };
        self.submit(
            index,
            Lane::Stream(stream),
            op,
            SendOp::Read(index, stream, number, asked),
            io,
        );
    }

    fn send_held(&mut self, stream: StreamId, io: &mut Io<P>) {
        let Some(task) = self.tasks.get_mut(&stream) else { return };
        let Some((len, bytes)) = task.held.pop_front() else { return };
        let Some(seq) = task.seq else { return };
        let at = ByteCount(task.at.0 - task.range.start().0);
        task.at = task.at.plus(len);
        let (end, digest) = (task.at == task.range.end(), task.digest);
        io.buffered = io.buffered.plus(len);
        io.say_on(stream, Frame::Data(Data { seq, at, len, bytes }));
        if let (true, Some(digest)) = (end, digest) {
            self.seal(stream, digest, io);
        }
    }

    pub(super) fn read_ended(
        &mut self,
        index: EntryIndex,
        stream: StreamId,
        number: u64,
        done: DiskDone<P>,
        queued: Queued,
        io: &mut Io<P>,
    ) {
        if self.is_filling(index, number) {
            return self.fill_read_ended(index, done, io);
        }
        let Some(task) = self.tasks.get(&stream).filter(|task| task.number == number) else {
            return;
        };
        if task.content == Content::Hole {
            return self.hole_read(index, stream, done, io);
        }
        let phase = task.phase;
        let (len, bytes, digest) = match done {
            DiskDone::Read { bytes, len, digest } => (len, bytes, digest),
            DiskDone::Failed(fault) => return self.fail(index, fault, Tell::Peer, io),
            _ => {
                return self.fail(
                    index,
                    Fault::new(Code::Other, "read answered wrongly"),
                    Tell::Peer,
                    io,
                );
            }
        };
        if let (Queued::Inline, Some(pipe)) = (queued, io.pipes.get_mut(&stream)) {
            pipe.clock.blame(Cause::Cpu);
        }
        let Some(task) = self.tasks.get_mut(&stream) else { return };
        task.reading = false;
        let from = task.at;
        task.at = task.at.plus(len);
        let at_end = task.at == task.range.end();
        if !at_end && digest.is_some() || len == ByteCount::ZERO {
            return self.source_changed(index, io);
        }
        match (phase, bytes) {
            (Phase::Sending, Some(bytes)) => {
                let Some(seq) = task.seq else { return };
                let at = ByteCount(from.0 - task.range.start().0);
                io.buffered = io.buffered.plus(len);
                io.say_on(stream, Frame::Data(Data { seq, at, len, bytes }));
                if let Some(digest) = digest {
                    self.seal(stream, digest, io);
                }
            }
            (Phase::Sending, None) => self.source_changed(index, io),
            (Phase::Digesting | Phase::Waiting, _) => {
                if let Some(digest) = digest {
                    self.digested(stream, digest, io);
                }
            }
        }
    }

    /// The bytes sent are hashed: SEAL, unless they are not what was there before.
    fn seal(&mut self, stream: StreamId, digest: ChunkDigest, io: &mut Io<P>) {
        let Some(task) = self.tasks.get(&stream) else { return };
        let (Some(seq), index, range) = (task.seq, task.entry, task.range) else { return };
        if task.digest.is_some_and(|first| first != digest) {
            return self.source_changed(index, io);
        }
        self.end_task(stream);
        io.say_on(stream, Frame::Seal(Seal { seq, len: range.len(), digest }));
        if let Some(flight) = self.flights.known(seq) {
            flight.digest = Some(digest);
        }
        self.know(index, Subtree { range, digest });
        self.settle(index, io);
    }

    /// A first pass is over: compare, or say the digest ahead.
    pub(super) fn digested(&mut self, stream: StreamId, digest: ChunkDigest, io: &mut Io<P>) {
        let Some(task) = self.tasks.get_mut(&stream) else { return };
        let (index, range, purpose) = (task.entry, task.range, task.purpose);
        match purpose {
            Purpose::Send => {
                if task.digest.is_some_and(|first| first != digest) {
                    return self.source_changed(index, io);
                }
                task.digest = Some(digest);
                task.at = range.start();
                self.say_header(stream, Await::Verdict, io);
            }
            Purpose::Check(subtree) => {
                self.end_task(stream);
                self.compared(index, subtree, digest, io);
                self.settle(index, io);
            }
            Purpose::Hash => {
                self.end_task(stream);
                self.know(index, Subtree { range, digest });
                self.settle(index, io);
            }
        }
    }

    pub(super) fn know(&mut self, index: EntryIndex, subtree: Subtree) {
        if let Some(entry) = self.entries.lend(&index)
            && !entry.known.touches(subtree.range)
        {
            // Ranges come from the plan or passed the receiver's checks: aligned, and not there
            // yet.
            let _inserted = entry.known.insert(subtree);
        }
    }

    pub(super) fn end_task(&mut self, stream: StreamId) -> Option<Task<P>> {
        let task = self.tasks.remove(&stream)?;
        if let Some(entry) = self.entries.lend(&task.entry) {
            entry.tasks -= 1;
        }
        Some(task)
    }

    /// Drops what streams have under way for an entry.
    pub(super) fn drop_tasks(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let streams: alloc::vec::Vec<_> = self
            .tasks
            .iter()
            .filter(|(_, task)| task.entry == index)
            .map(|(stream, _)| *stream)
            .collect();
        for stream in streams {
            self.end_task(stream);
            io.wake(Lane::Stream(stream));
        }
    }

    /// Takes every chunk of an entry out of the window.
    pub(super) fn drop_flights(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let seqs: alloc::vec::Vec<_> = self.flights.of(index).map(|(seq, _)| seq).collect();
        for seq in seqs {
            self.take_flight(seq, io);
        }
    }

    fn put_in_window(&mut self, seq: Seq, flight: Flight<P>) {
        self.give_back_lost(flight.entry, flight.window_bytes());
        self.in_flight = self.in_flight.plus(flight.window_bytes());
        self.flights.insert(seq, flight);
        self.summary.window_bytes_max = self.summary.window_bytes_max.max(self.in_flight);
    }

    pub(super) fn take_flight(&mut self, seq: Seq, io: &mut Io<P>) -> Option<Flight<P>> {
        let flight = self.flights.remove(seq)?;
        self.in_flight = self.in_flight.minus(flight.window_bytes());
        let kept: u64 = flight.kept.iter().map(|(len, _)| len.0).sum();
        io.buffered = io.buffered.minus(ByteCount(kept));
        io.wake_streams();
        Some(flight)
    }

    /// The stage in which chunks of an entry can still be asked for.
    pub(super) fn takes_chunks(&self, index: EntryIndex) -> bool {
        self.entries.get(&index).is_some_and(|entry| {
            matches!(entry.stage, Stage::Sending | Stage::Checking | Stage::Done)
        })
    }

    pub(super) fn piece_max(&self) -> ByteCount {
        self.piece
    }
}
