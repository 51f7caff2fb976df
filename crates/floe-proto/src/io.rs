//! What a session has given out and not yet got back, and what waits to be taken: operations,
//! frames, events.
//!
//! The halves of transfers push here; `Session` hands out. Every operation has one owner until it
//! ends.

use crate::causes::CauseClock;
use crate::command::Event;
use crate::disk::{DiskOp, Lane};
use crate::frame::{CommittedEntry, DoneEntry, Entry, Frame, SeqRange};
use crate::turns::Turns;
use crate::unsaid::Unsaid;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use floe_types::{
    ByteCount, EntryIndex, Limits, OpId, Range, RequestId, Seq, StreamId, Time, TransferId,
};

/// Whom the end of an operation is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Owner {
    Send(TransferId, SendOp),
    Receive(TransferId, ReceiveOp),
    Request(RequestId),
}

/// An operation of a sending half.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum SendOp {
    Open(EntryIndex),
    List(EntryIndex),
    /// A read for whatever that stream has under way: the number tells a later task from an
    /// earlier, the count is what it holds of the buffers.
    Read(EntryIndex, StreamId, u64, ByteCount),
    Check(EntryIndex),
    Spend(EntryIndex),
    Release(EntryIndex),
}

/// An operation of a receiving half.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum ReceiveOp {
    Open(EntryIndex),
    /// On that stream; the count is what it holds of the buffers.
    Write(EntryIndex, Seq, StreamId, ByteCount),
    Record(EntryIndex, Seq),
    Forget(EntryIndex, Range),
    Checkpoint(EntryIndex),
    /// A batch; its members are kept beside.
    Commit(u64),
    Discard(EntryIndex),
    Release(EntryIndex),
}

/// One stream, seen from the queues.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Pipe<P> {
    /// The hot frames of a sender, in order.
    pub(crate) out: VecDeque<Frame<P>>,
    /// Those of a receiver, in order: a rate limit on DATA does not hold them up.
    pub(crate) answers: VecDeque<Frame<P>>,
    /// The number of a PING to be said.
    pub(crate) ping: Option<u64>,
    /// The number of the last PING heard and not answered.
    pub(crate) pong: Option<u64>,
    /// DATA frames among them.
    pub(crate) data_queued: u32,
    /// Recorded chunks to be told.
    pub(crate) stored: Vec<SeqRange>,
    /// Operations to be run beside this stream.
    pub(crate) ops: VecDeque<(OpId, DiskOp<P>)>,
    /// Bytes of writes given out and not ended.
    pub(crate) writing: ByteCount,
    /// The chunk whose HEADER came last on this stream, whatever became of it.
    pub(crate) carries: Option<Seq>,
    pub(crate) heard: Time,
    pub(crate) said: Time,
    /// The peer has heard all that was said before then: it answered a PING of that time.
    pub(crate) answered: Time,
    pub(crate) clock: CauseClock,
    /// Set once it is to be hung up: nothing new goes out on it.
    pub(crate) closing: bool,
}

/// Whether an object is small: many such may be open at once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Extent {
    Small,
    Large,
}

impl Extent {
    /// That of an object of this size; one of unknown size is large.
    pub(crate) fn of(size: Option<ByteCount>) -> Self {
        match size {
            Some(size) if size <= Limits::UNASKED_BYTES => Self::Small,
            _ => Self::Large,
        }
    }
}

/// How many objects are open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct OpenObjects {
    small: u32,
    large: u32,
}

impl OpenObjects {
    pub(crate) fn has_room(self, extent: Extent, limits: &Limits) -> bool {
        match extent {
            Extent::Small => self.small < limits.small_objects_open_max,
            Extent::Large => self.large < limits.objects_open_max,
        }
    }

    /// Whether there is room for a small one that has to be opened beyond the bound.
    pub(crate) fn has_room_beyond(self, limits: &Limits) -> bool {
        self.small < limits.small_objects_open_max.saturating_mul(2)
    }

    pub(crate) fn add(&mut self, extent: Extent) {
        *self.of(extent) += 1;
    }

    pub(crate) fn remove(&mut self, extent: Extent) {
        *self.of(extent) -= 1;
    }

    fn of(&mut self, extent: Extent) -> &mut u32 {
        match extent {
            Extent::Small => &mut self.small,
            Extent::Large => &mut self.large,
        }
    }
}

/// What is announced to the peer and has not ended, as it counts there.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Announced {
    pub(crate) entries: usize,
    /// Directories that have not ended: what ends them may wait to be announced.
    pub(crate) dirs: usize,
    pub(crate) next: Next,
}

/// Whether a walk waits until others have ended, or until what was said is taken.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum Next {
    #[default]
    Free,
    HeldBack,
}

impl Announced {
    /// Whether there may be one more: half of the bound is for what the peer counts and this end
    /// does not any more. Where nothing can end before it, there must be.
    pub(crate) fn has_room(&self, limits: &Limits) -> bool {
        // More than by default no peer has to take.
        let most = limits.announced_bytes_max.min(Limits::default().announced_bytes_max);
        self.entries == 0 || ByteCount::of_len(self.entries + self.dirs).0 <= most.0 / 2
    }
}

/// The queues of a session.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Io<P> {
    pub(crate) pipes: BTreeMap<StreamId, Pipe<P>>,
    pub(crate) lead: Option<StreamId>,
    /// Cold frames for the lead stream, in order.
    pub(crate) cold: Unsaid<P>,
    pub(crate) session_ops: VecDeque<(OpId, DiskOp<P>)>,
    owners: BTreeMap<OpId, Owner>,
    next_op: u64,
    pub(crate) events: VecDeque<Event>,
    wakes: BTreeSet<Lane>,
    pub(crate) next_seq: Seq,
    last_ping: u64,
    /// Objects that receivers have open, or are about to.
    pub(crate) open: OpenObjects,
    /// Ranges that receivers hold of them.
    pub(crate) ranges_held: usize,
    /// What senders have announced.
    pub(crate) announced: Announced,
    /// Streams that wait for a rate limit.
    pub(crate) turns: Turns,
    /// Payload bytes the core and its operations hold.
    pub(crate) buffered: ByteCount,
    pub(crate) buffers_max: ByteCount,
    /// The time of the present input.
    pub(crate) now: Time,
    /// Nothing that counts for a shared rate is begun before.
    pub(crate) held_until: Time,
    /// What was hashed for the peer, or is about to be, and no DATA stands for, as it counts: of
    /// what it says that it has a part; holes, as in a window.
    pub(crate) hashed: ByteCount,
}

/// How many bytes that are read and hashed count for a rate as one that is sent: some cores hash a
/// hundred times what a slow ticket may send, and what is held is not to be paid for again.
const HASHED_FOR_ONE: u64 = 16;

impl<P> Pipe<P> {
    fn new(now: Time) -> Self {
        Self {
            out: VecDeque::new(),
            answers: VecDeque::new(),
            ping: None,
            pong: None,
            data_queued: 0,
            stored: Vec::new(),
            ops: VecDeque::new(),
            writing: ByteCount::ZERO,
            carries: None,
            heard: now,
            said: now,
            answered: now,
            clock: CauseClock::new(now),
            closing: false,
        }
    }
}

impl<P> Io<P> {
    /// What the peer said that it has is read and hashed here.
    pub(crate) fn count_compared(&mut self, len: ByteCount) {
        self.hashed = self.hashed.plus(ByteCount(len.0 / HASHED_FOR_ONE));
    }

    /// Whether what counts for a shared rate has to wait.
    pub(crate) fn is_held(&self) -> bool {
        self.now < self.held_until
    }

    pub(crate) fn new(buffers_max: ByteCount, now: Time) -> Self {
        Self {
            pipes: BTreeMap::new(),
            lead: None,
            cold: Unsaid::new(),
            session_ops: VecDeque::new(),
            owners: BTreeMap::new(),
            next_op: 0,
            events: VecDeque::new(),
            wakes: BTreeSet::new(),
            next_seq: Seq(0),
            last_ping: 0,
            open: OpenObjects::default(),
            ranges_held: 0,
            announced: Announced::default(),
            turns: Turns::default(),
            buffered: ByteCount::ZERO,
            buffers_max,
            now,
            held_until: Time(0),
            hashed: ByteCount::ZERO,
        }
    }

    pub(crate) fn add_pipe(&mut self, stream: StreamId, now: Time) {
        self.pipes.insert(stream, Pipe::new(now));
        self.lead.get_or_insert(stream);
        self.wake(Lane::Stream(stream));
    }

    /// A stream is gone: what was queued on it is dropped, what was given out to run beside it
    /// still ends. Returns the operations that were never given out.
    pub(crate) fn remove_pipe(&mut self, stream: StreamId) -> Option<Pipe<P>> {
        let mut pipe = self.pipes.remove(&stream)?;
        for frame in pipe.out.drain(..) {
            if let Frame::Data(data) = frame {
                self.buffered = self.buffered.minus(data.len);
            }
        }
        Some(pipe)
    }

    /// Queues an operation; its end is told to `owner`.
    pub(crate) fn submit(&mut self, lane: Lane, op: DiskOp<P>, owner: Owner) {
        let id = OpId(self.next_op);
        self.next_op += 1;
        self.owners.insert(id, owner);
        match lane {
            Lane::Stream(stream) if self.pipes.contains_key(&stream) => {
                if let Some(pipe) = self.pipes.get_mut(&stream) {
                    pipe.ops.push_back((id, op));
                }
                self.wake(lane);
            }
            Lane::Stream(_) | Lane::Session => {
                self.session_ops.push_back((id, op));
                self.wake(Lane::Session);
            }
        }
    }

    /// An operation ended.
    pub(crate) fn end(&mut self, op: OpId) -> Option<Owner> {
        self.owners.remove(&op)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.owners.is_empty()
    }

    /// A cold frame for the lead stream.
    pub(crate) fn say(&mut self, frame: Frame<P>) {
        self.cold.push(frame);
        self.wake_lead();
    }

    /// An announcement.
    pub(crate) fn say_entry(&mut self, transfer: TransferId, entry: Entry) {
        self.say_with(|cold| cold.push_entry(transfer, entry));
    }

    /// An entry is whole.
    pub(crate) fn say_done(&mut self, transfer: TransferId, done: DoneEntry) {
        self.say_with(|cold| cold.push_done(transfer, done));
    }

    /// An entry is committed.
    pub(crate) fn say_committed(&mut self, transfer: TransferId, committed: CommittedEntry) {
        self.say_with(|cold| cold.push_committed(transfer, committed));
    }

    /// One that joins another wakes nobody.
    fn say_with(&mut self, push: impl FnOnce(&mut Unsaid<P>)) {
        let before = self.cold.len();
        push(&mut self.cold);
        if self.cold.len() > before {
            self.wake_lead();
        }
    }

    /// A hot frame for `stream`; dropped where that is gone (what it was about comes back by
    /// itself).
    pub(crate) fn say_on(&mut self, stream: StreamId, frame: Frame<P>) {
        if let Some(pipe) = self.pipes.get_mut(&stream) {
            match frame {
                Frame::Ping(number) => pipe.ping = Some(number),
                // A peer that says PING and does not read hears the last PONG only.
                Frame::Pong(number) => pipe.pong = Some(number),
                Frame::Verdict(..) | Frame::Corrupt(_) => pipe.answers.push_back(frame),
                Frame::Data(_) => {
                    pipe.data_queued += 1;
                    pipe.out.push_back(frame);
                }
                frame => pipe.out.push_back(frame),
            }
            self.wake(Lane::Stream(stream));
        }
    }

    /// Whether any frame waits to be taken.
    pub(crate) fn has_unsaid(&self) -> bool {
        let waits = |pipe: &Pipe<P>| {
            !(pipe.out.is_empty() && pipe.answers.is_empty() && pipe.stored.is_empty())
        };
        !self.cold.is_empty() || self.pipes.values().any(waits)
    }

    /// Frames that wait to be taken for a stream.
    pub(crate) fn unsaid(&self, stream: StreamId) -> usize {
        let cold = if self.lead == Some(stream) { self.cold.len() } else { 0 };
        cold + self.pipes.get(&stream).map_or(0, |pipe| pipe.answers.len() + pipe.stored.len())
    }

    /// A chunk is recorded: told on the stream that carried it.
    pub(crate) fn say_stored(&mut self, stream: StreamId, seq: Seq) {
        if let Some(pipe) = self.pipes.get_mut(&stream) {
            match pipe.stored.last_mut() {
                Some(last) if last.last.next() == seq => last.last = seq,
                _ => pipe.stored.push(SeqRange { first: seq, last: seq }),
            }
            self.wake(Lane::Stream(stream));
        }
    }

    pub(crate) fn wake(&mut self, lane: Lane) {
        self.wakes.insert(lane);
    }

    pub(crate) fn wake_lead(&mut self) {
        if let Some(lead) = self.lead {
            self.wake(Lane::Stream(lead));
        }
    }

    pub(crate) fn wake_streams(&mut self) {
        let lanes: Vec<_> = self.pipes.keys().map(|stream| Lane::Stream(*stream)).collect();
        self.wakes.extend(lanes);
    }

    pub(crate) fn next_wake(&mut self) -> Option<Lane> {
        self.wakes.pop_first()
    }

    /// A new sequence number.
    pub(crate) fn take_seq(&mut self) -> Seq {
        let seq = self.next_seq;
        self.next_seq = seq.next();
        seq
    }

    /// The number of a new PING: above those of all before it.
    pub(crate) fn take_ping(&mut self) -> u64 {
        self.last_ping = self.now.0.max(self.last_ping + 1);
        self.last_ping
    }

    /// The least share of one stream in the buffers, and so the largest piece it may read: a power
    /// of two.
    pub(crate) fn piece_len(&self, piece_max: ByteCount, piece_min: ByteCount) -> ByteCount {
        let streams = ByteCount::of_len(self.pipes.len().max(1)).0;
        let share = (self.buffers_max.0 / streams / PIECES_PER_STREAM).max(1);
        let rounded = if share.is_power_of_two() { share } else { share.next_power_of_two() / 2 };
        ByteCount(rounded).clamp(piece_min.min(piece_max), piece_max)
    }
}

/// Pieces a stream may hold at once: one under way with the disk, two queued, one spare.
const PIECES_PER_STREAM: u64 = 4;
