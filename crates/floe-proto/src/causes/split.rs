//! What samples of TCP and of the thread say of a wait for the socket, in integers.
//!
//! The peer's window is the limit where it was full and no more than what was sent in a round trip;
//! one that is full and large belongs to somebody who does not read. Losses are the limit where
//! there were some and the round trip is hardly longer than the shortest: no queue stands before
//! the narrowest place, so that place is not full. Else it is, and its own losses are how TCP finds
//! that out.

use crate::command::{Congestion, PathSample};
use floe_types::{Micros, Time};

/// How a wait is split until the next sample.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Split {
    last: Option<PathSample>,
    at: Time,
    /// Bytes sent, and sent again, of the last seconds: each sample takes a sixteenth away.
    sent: u64,
    sent_again: u64,
    /// Thousandths for the processor of this end.
    cpu: u64,
    /// Thousandths of the rest for the peer's window.
    peer: u64,
    path: Path,
}

/// What holds a path down.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Path {
    Full,
    Lossy,
}

/// A thread that works less than this waits for others.
const WORKS_LITTLE: u64 = 500;
/// One that works more waits for nothing.
const WORKS_ALWAYS: u64 = 900;
/// A thread that has a processor for so little of the time in which it works shares it with others,
/// or has a quota, and does not get to what it waits for when that comes;
const STRETCH: u64 = 3;
/// if it does anything.
const WORKS_AT_ALL: u64 = 100;
/// Bytes sent for each that is sent again, at most, where losses hold a path down: one packet of
/// 2,000 keeps CUBIC and Reno far below what paths carry on which they would matter,
const SENT_PER_LOSS: u64 = 2_000;
/// and BBR gives way only to many.
const SENT_PER_LOSS_MODEL: u64 = 8;
/// Round trips vary by so much without any queue.
const JITTER: u64 = 500;

impl Split {
    pub(super) fn new(now: Time) -> Self {
        Self { last: None, at: now, sent: 0, sent_again: 0, cpu: 0, peer: 0, path: Path::Full }
    }

    pub(super) fn sample(&mut self, sample: &PathSample, now: Time) {
        let passed = now.since(self.at).0;
        if passed == 0 {
            return;
        }
        // The connection began with the stream; the thread worked before it came.
        let (worked, ran) = (sample.worked, sample.ran);
        let first = PathSample { worked, ran, ..PathSample::default() };
        let last = self.last.replace(*sample).unwrap_or(first);
        self.at = now;
        // A stream that moves to another thread begins to count anew.
        let worked = sample.worked.0.saturating_sub(last.worked.0);
        let works = thousandths(worked, passed);
        let ran = sample.ran.0.saturating_sub(last.ran.0);
        // It is kept waiting for a processor also where it seems to rest: nobody tells that.
        let starves = ran > 0 && ran.saturating_mul(STRETCH) <= worked && works >= WORKS_AT_ALL;
        self.cpu = match works {
            _ if starves => 1_000,
            0..WORKS_LITTLE => 0,
            _ => thousandths(works - WORKS_LITTLE, WORKS_ALWAYS - WORKS_LITTLE),
        };
        let sent = sample.sent.minus(last.sent).0;
        self.sent = faded(self.sent).saturating_add(sent);
        let again = sample.sent_again.minus(last.sent_again).0;
        self.sent_again = faded(self.sent_again).saturating_add(again);
        let sending = sample.sending.0.saturating_sub(last.sending.0);
        let limited = sample.peer_limited.0.saturating_sub(last.peer_limited.0);
        let trip_bytes = sent.saturating_mul(sample.round_trip.0) / passed;
        let small = sample.peer_window.0 / 2 <= trip_bytes;
        self.peer = if small { thousandths(limited, sending) } else { 0 };
        self.path = if self.is_lossy(sample) { Path::Lossy } else { Path::Full };
    }

    fn is_lossy(&self, sample: &PathSample) -> bool {
        let per_loss = match sample.congestion {
            Congestion::Losses => SENT_PER_LOSS,
            Congestion::Model => SENT_PER_LOSS_MODEL,
        };
        let losses = self.sent_again > 0 && self.sent_again.saturating_mul(per_loss) >= self.sent;
        let least = sample.round_trip_min.0;
        losses && sample.round_trip.0 <= least.saturating_add(least / 4).saturating_add(JITTER)
    }

    /// Of a wait for room in the socket: the processor's part, the peer's window's, the losses',
    /// and the path's.
    pub(super) fn of_sending(&self, spent: Micros) -> [Micros; 4] {
        let [cpu, rest] = parts(spent, self.cpu);
        let [peer, rest] = parts(rest, self.peer);
        match self.path {
            Path::Lossy => [cpu, peer, rest, Micros::ZERO],
            Path::Full => [cpu, peer, Micros::ZERO, rest],
        }
    }

    /// Of a wait for data: the processor's part, and what is left.
    pub(super) fn of_receiving(&self, spent: Micros) -> [Micros; 2] {
        parts(spent, self.cpu)
    }
}

fn faded(bytes: u64) -> u64 {
    bytes - bytes / 16
}

/// At most all of them.
fn thousandths(part: u64, whole: u64) -> u64 {
    part.min(whole).saturating_mul(1_000).checked_div(whole).unwrap_or(0)
}

fn parts(spent: Micros, thousandths: u64) -> [Micros; 2] {
    let first = spent.0.saturating_mul(thousandths) / 1_000;
    [Micros(first), Micros(spent.0 - first)]
}
