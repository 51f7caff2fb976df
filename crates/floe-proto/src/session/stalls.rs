//! When neither end has anything left to do, and a transfer or request is not over: a client ends
//! the session, and begins again from the journal.
//!
//! Without TLS a byte of any frame may change on the way. Most such frames are violations; one that
//! still means something (another entry that has ended, one more WANT to come, a kind that is
//! skipped) leaves both ends waiting for each other, alive. A server says in STATS whether it has
//! anything to do, so a slow disk, a long hash and a rate limit are no stall: PROTOCOL.md, section
//! 13. One that never says so has nothing to do: it would keep its clients for ever.

use super::{Half, Session};
use crate::command::{Event, Role};
use crate::frame::{Frame, Stats, Work};
use crate::session::ending::State;
use floe_types::{Code, Fault, Micros, StreamId, Time};

/// Whether a server says STATS although nothing runs: the first, and one after the last request.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Owed {
    Yes,
    No,
}

impl<P: Clone> Session<P> {
    /// Whether this end has anything to do.
    fn work(&self) -> Work {
        let yields = self.yields(self.io.now);
        let waits = |half: &Half<P>| match half {
            Half::Send(half) => half.is_limited(yields, self.io.now),
            Half::Receive(half) => half.bucket().is_some_and(|own| !own.is_open(self.io.now)),
        };
        let held = self.is_held(self.io.now) && !self.transfers.is_empty();
        let quiet = self.io.is_idle() && !self.io.has_unsaid() && !held;
        if quiet && !self.transfers.values().any(waits) { Work::None } else { Work::UnderWay }
    }

    /// A frame that is about a transfer or request, or a sign that the peer works at one.
    pub(super) fn note_move(&mut self, frame: &Frame<P>, now: Time) {
        let waits = |stats: &Stats| stats.work != Some(Work::UnderWay);
        match frame {
            Frame::Ping(_) | Frame::Pong(_) => {}
            Frame::Stats(stats) if waits(stats) => {}
            _ => self.moved = now,
        }
    }

    /// The number of a PING is when it was said.
    pub(super) fn note_answer(&mut self, stream: StreamId, number: u64, now: Time) {
        let before = self.is_all_heard();
        if let Some(pipe) = self.io.pipes.get_mut(&stream) {
            pipe.answered = pipe.answered.max(Time(number.min(now.0)));
        }
        if !before && self.is_all_heard() {
            self.reached = now;
        }
    }

    /// Whether the peer has heard, on every stream, what was said there before things stood still:
    /// what it says of its work before is of no use.
    fn is_all_heard(&self) -> bool {
        let mut open = self.io.pipes.values().filter(|pipe| !pipe.closing);
        open.all(|pipe| pipe.answered > self.moved)
    }

    /// When a client ends a session in which nothing moves any more.
    pub(super) fn stalls_at(&self) -> Option<Time> {
        let runs = !(self.transfers.is_empty() && self.requests.is_empty());
        let open = matches!(self.state, State::Open | State::Draining);
        let waits = self.role == Role::Client
            && open
            && runs
            && self.is_heard()
            && self.is_all_heard()
            && self.work() == Work::None;
        waits.then(|| self.moved.max(self.reached).plus(self.config.limits.stall))
    }

    /// Whether the peer said anything of late: of one that is silent nobody knows what it does, and
    /// silence has a limit of its own.
    fn is_heard(&self) -> bool {
        let lead = self.io.lead.and_then(|lead| self.io.pipes.get(&lead));
        lead.is_some_and(|pipe| self.io.now.since(pipe.heard) <= self.config.limits.heartbeat)
    }

    /// Heartbeats ask this at least: what waited for long did not stand still.
    pub(super) fn end_stall(&mut self, now: Time) {
        if self.work() == Work::UnderWay {
            self.moved = now;
        }
        if self.stalls_at().is_some_and(|at| at <= now) {
            self.io.events.push_back(Event::Stalled);
            self.close(Some(Fault::new(Code::TimedOut, "neither end had anything left to do")));
        }
    }

    /// When a server says STATS.
    pub(super) fn stats_due(&self) -> Option<Time> {
        let runs = !(self.transfers.is_empty() && self.requests.is_empty());
        let due = self.role == Role::Server && (runs || self.stats_owed == Owed::Yes);
        due.then(|| self.stats_said.plus(SECOND))
    }

    pub(super) fn say_stats(&mut self, now: Time) {
        if self.stats_due().is_none_or(|due| now < due) {
            return;
        }
        self.stats_owed = if self.requests.is_empty() { Owed::No } else { Owed::Yes };
        let stats = self.stats(now);
        self.io.say(stats);
    }

    /// Says STATS ahead of the end of a transfer, where it has not of late: what kept one that was
    /// short would never be known.
    pub(super) fn say_last_stats(&mut self, now: Time) {
        if self.role != Role::Server || now < self.stats_said.plus(QUARTER) {
            return;
        }
        let ends = |frame: &Frame<P>| matches!(frame, Frame::Complete(..) | Frame::Completed(_));
        if let Some(at) = self.io.cold.last(ends) {
            let stats = self.stats(now);
            self.io.cold.insert(at, stats);
        }
    }

    fn stats(&mut self, now: Time) -> Frame<P> {
        self.stats_said = now;
        let (causes, data_bytes, round_trip) = (self.causes, self.data_bytes, self.round_trip);
        let work = Some(self.work());
        Frame::Stats(Stats { causes, data_bytes, round_trip, work })
    }
}

const SECOND: Micros = Micros::from_secs(1);
const QUARTER: Micros = Micros(250_000);
