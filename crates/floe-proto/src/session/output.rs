//! What a session hands out: frames, operations, wake-ups, events, and the time it wants to be
//! woken.

use super::{Half, Session};
use crate::command::{Event, Role};
use crate::disk::{DiskOp, Lane};
use crate::frame::{Causes, Data, Frame, Level, Packing, Priority};
use crate::session::ending::State;
use floe_types::{ByteCount, OpId, StreamId, Time, TransferId};

impl<P: Clone> Session<P> {
    /// How many bytes of the next DATA of a stream may be taken; 0: leave it in the socket.
    #[must_use]
    pub fn data_room(&self, stream: StreamId) -> ByteCount {
        if self.is_held(self.io.now) {
            return ByteCount::ZERO;
        }
        match self.receiver_on(stream).and_then(|id| self.transfers.get(&id)) {
            Some(Half::Receive(half)) => half.data_room(stream, &self.io, self.io.now),
            _ => self.config.piece_bytes,
        }
    }

    /// Whether a frame of a stream is to be taken now: asked before each, since one may have many
    /// answers. A server leaves them in the socket while the peer does not read what it is
    /// answered: what waits to be said is bounded, and the peer is found by its silence.
    #[must_use]
    pub fn hearing(&self, stream: StreamId) -> Asked {
        let is_lead = self.io.lead == Some(stream);
        let full = self.io.unsaid(stream) >= UNSAID_MAX || is_lead && self.io.cold.is_long();
        match self.role {
            Role::Server if full => Asked::No,
            Role::Server | Role::Client => Asked::Yes,
        }
    }

    /// About what the frames take that wait to be taken, but for those of chunks.
    #[must_use]
    pub const fn unsaid_bytes(&self) -> ByteCount {
        ByteCount(self.io.cold.bytes() as u64)
    }

    /// About what it has in memory on the peer's behalf, but for pieces: frames that wait to be
    /// taken, what was announced, and what ranges are held.
    #[must_use]
    pub fn remembered(&self) -> ByteCount {
        let half = |half: &Half<P>| match half {
            Half::Send(half) => half.footprint(),
            Half::Receive(half) => half.footprint(),
        };
        let halves: usize = self.transfers.values().map(half).sum();
        let announced = self.io.announced.entries + self.io.announced.dirs;
        self.unsaid_bytes().plus(ByteCount::of_len(halves + announced))
    }

    /// What the session may hold in pieces.
    #[must_use]
    pub const fn budget(&self) -> ByteCount {
        self.io.buffers_max
    }

    /// Bytes of a frame came that is not whole yet: the peer is alive.
    pub fn handle_bytes(&mut self, stream: StreamId, now: Time) {
        if let Some(pipe) = self.io.pipes.get_mut(&stream) {
            pipe.heard = now;
        }
    }

    /// The next frame for a stream. Call it when the writer has room: not calling is back-pressure.
    pub fn poll_frame(&mut self, stream: StreamId, now: Time) -> Option<Frame<P>> {
        self.io.now = now;
        let hearing = self.hearing(stream);
        let frame = self.next_frame(stream, now)?;
        if let Some(pipe) = self.io.pipes.get_mut(&stream) {
            // A peer that only answers still wants to know whether it is heard.
            if !matches!(frame, Frame::Pong(_)) {
                pipe.said = now;
            }
            if hearing == Asked::No {
                // It reads: it is alive, though it is not listened to.
                pipe.heard = now;
            }
        }
        self.note_move(&frame, now);
        Some(frame)
    }

    fn next_frame(&mut self, stream: StreamId, now: Time) -> Option<Frame<P>> {
        let pipe = self.io.pipes.get_mut(&stream)?;
        if let Some(number) = pipe.pong.take() {
            return Some(Frame::Pong(number));
        }
        if let Some(number) = pipe.ping.take() {
            return Some(Frame::Ping(number));
        }
        if self.io.lead == Some(stream)
            && let Some(frame) = self.io.cold.pop()
        {
            let answers = match (&frame, self.role) {
                (Frame::Reply(id, _), Role::Server) => self.requests.remove(id),
                _ => false,
            };
            if answers || self.may_go_on_announcing() {
                self.settle(now);
            }
            return Some(frame);
        }
        if self.io.lead == Some(stream) {
            for half in self.transfers.values_mut() {
                if let Half::Send(half) = half {
                    half.ask_of_dropped(&mut self.io);
                }
            }
        }
        self.pump(stream, now);
        let pipe = self.io.pipes.get_mut(&stream)?;
        if !pipe.stored.is_empty() {
            let count = pipe.stored.len().min(STORED_RANGES);
            let ranges = pipe.stored.drain(..count).collect();
            return Some(Frame::Stored(ranges, Level::Recorded));
        }
        if let Some(answer) = pipe.answers.pop_front() {
            return Some(answer);
        }
        if let Some(Frame::Data(data)) = pipe.out.front() {
            let (seq, len) = (data.seq, data.len);
            if !self.pays(stream, seq, len, now) {
                return None;
            }
        }
        let pipe = self.io.pipes.get_mut(&stream)?;
        let frame = pipe.out.pop_front()?;
        if let Frame::Data(Data { len, .. }) = &frame {
            pipe.data_queued -= 1;
            self.io.buffered = self.io.buffered.minus(*len);
            self.data_bytes = self.data_bytes.plus(*len);
            self.pump(stream, now);
        }
        Some(frame)
    }

    /// Whether the rate limit lets a piece go; it is charged if so. Streams that were refused have
    /// their turns first.
    fn pays(&mut self, stream: StreamId, seq: floe_types::Seq, len: ByteCount, now: Time) -> bool {
        if self.is_held(now) {
            return false;
        }
        let yields = self.yields(now);
        let paying = self.transfers.iter_mut().find_map(|(id, half)| match half {
            Half::Send(half) if half.has_flight(seq) => Some((*id, half)),
            _ => None,
        });
        let Some((id, half)) = paying else {
            self.io.turns.leave(stream);
            return true;
        };
        let background =
            self.background.as_mut().filter(|_| half.priority() == Priority::Background);
        if half.bucket().is_some() || background.is_some() {
            let open = !half.is_limited(yields, now);
            if !open || !self.io.turns.may_go((id, stream), &self.io.pipes) {
                self.io.turns.wait((id, stream));
                if let Some(next) = self.io.turns.next(id)
                    && open
                {
                    self.io.wake(Lane::Stream(next));
                }
                return false;
            }
            self.io.turns.gone((id, stream));
            if let Some(bucket) = half.bucket_mut() {
                bucket.charge(len, now);
            }
            if let Some(background) = background {
                background.charge(len, now);
            }
        }
        half.count_sent(len);
        true
    }

    /// How the pieces of a transfer that this end sends are to be packed.
    #[must_use]
    pub fn packing(&self, transfer: TransferId) -> Packing {
        match self.transfers.get(&transfer) {
            Some(Half::Send(half)) => half.packing(),
            Some(Half::Receive(_)) | None => Packing::Never,
        }
    }

    /// Where the peer's time went since the session began, as it told last.
    #[must_use]
    pub const fn peer_causes(&self) -> Causes {
        self.peer_stats.causes
    }

    /// The next operation for a lane.
    pub fn poll_disk(&mut self, lane: Lane, now: Time) -> Option<(OpId, DiskOp<P>)> {
        self.io.now = now;
        match lane {
            Lane::Session => self.io.session_ops.pop_front(),
            Lane::Stream(stream) => {
                self.pump(stream, now);
                self.io.pipes.get_mut(&stream)?.ops.pop_front()
            }
        }
    }

    /// A lane that was given work, or room, since it was last named here.
    pub fn poll_wake(&mut self) -> Option<Lane> {
        self.io.next_wake()
    }

    /// The next thing to be told.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.io.events.pop_front()
    }

    /// When `handle_timeout` wants to be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        if self.state == State::Ended {
            return None;
        }
        let limits = &self.config.limits;
        let mut next: Option<Time> = None;
        let mut sooner = |time: Time| next = Some(next.map_or(time, |next| next.min(time)));
        for pipe in self.io.pipes.values().filter(|pipe| !pipe.closing) {
            sooner(pipe.said.plus(limits.heartbeat));
            sooner(pipe.heard.plus(limits.silence));
        }
        for half in self.transfers.values() {
            if let Half::Receive(half) = half {
                half.next_timeout().into_iter().for_each(&mut sooner);
            }
            if let Some(bucket) = half.bucket()
                && !bucket.is_open(self.io.now)
            {
                sooner(bucket.opens_at(self.io.now));
            }
        }
        self.yields_until().for_each(&mut sooner);
        if self.is_held(self.io.now) {
            sooner(self.io.held_until);
        }
        if self.role == Role::Client && !self.transfers.is_empty() {
            sooner(self.tune.next_timeout());
        }
        [self.stats_due(), self.stalls_at()].into_iter().flatten().for_each(sooner);
        next
    }
}

/// Whether frames of a stream are asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Asked {
    /// What comes is left in the socket.
    No,
    /// They are.
    Yes,
}

/// Frames that wait for a peer that does not read, before it is not listened to any more.
const UNSAID_MAX: usize = 1024;
/// Ranges of one STORED: 16 bytes each.
const STORED_RANGES: usize = 1024;
