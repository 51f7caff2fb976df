//! How many streams a client uses: a pure controller over goodput, in integers.
//!
//! Fixed: as many as asked, once there is work for them. Auto: two, then one more a second while
//! goodput grew by a tenth since the last one came, up to eight.

use crate::command::StreamCount;
use floe_types::{ByteCount, Micros, Time};

/// The controller.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Tune {
    wish: StreamCount,
    target: u32,
    dialing: u32,
    failures: u32,
    retry_at: Time,
    /// The backlog costs a look at every entry: it is asked for at most so often.
    look_at: Time,
    sampled: Time,
    bytes: ByteCount,
    /// Goodput of the last second before the newest stream came, in bytes.
    before: ByteCount,
    settled: Settled,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Settled {
    No,
    Yes,
}

const AUTO_FIRST: u32 = 2;
const AUTO_MAX: u32 = 8;
const SECOND: Micros = Micros::from_secs(1);
const DIAL_FAILURES_MAX: u32 = 5;
const LOOK: Micros = Micros(10_000);
/// Below this much work a further stream is not worth its dial.
const WORTH_A_STREAM: ByteCount = ByteCount(4 << 20);

impl Tune {
    pub(crate) const fn new(wish: StreamCount, now: Time) -> Self {
        let target = match wish {
            StreamCount::Fixed(count) => count,
            StreamCount::Auto => AUTO_FIRST,
        };
        Self {
            wish,
            target,
            dialing: 0,
            failures: 0,
            retry_at: now,
            look_at: now,
            sampled: now,
            bytes: ByteCount::ZERO,
            before: ByteCount::ZERO,
            settled: Settled::No,
        }
    }

    /// How many dials to begin now: while there is work for one more, and fewer than wished are up
    /// or being dialed.
    pub(crate) fn dials(
        &mut self,
        streams: u32,
        backlog: impl FnOnce() -> ByteCount,
        now: Time,
    ) -> u32 {
        let room = self.target.saturating_sub(streams + self.dialing);
        if streams == 0 || room == 0 || now < self.retry_at.max(self.look_at) {
            return 0;
        }
        self.look_at = now.plus(LOOK);
        let worth = u32::try_from(backlog().0 / WORTH_A_STREAM.0).unwrap_or(u32::MAX);
        let dials = room.min(worth.saturating_sub(streams + self.dialing));
        self.dialing += dials;
        dials
    }

    pub(crate) fn came_up(&mut self) {
        self.dialing = self.dialing.saturating_sub(1);
        self.failures = 0;
    }

    /// A dial failed: a pause, and in the end fewer streams.
    pub(crate) fn dial_failed(&mut self, streams: u32, now: Time) {
        self.dialing = self.dialing.saturating_sub(1);
        self.failures += 1;
        self.retry_at = now.plus(SECOND);
        if self.failures >= DIAL_FAILURES_MAX {
            self.target = streams.max(1);
        }
    }

    /// Looks at the goodput once a second. `moved` is all bytes moved so far.
    pub(crate) fn sample(&mut self, moved: ByteCount, now: Time) {
        if now.since(self.sampled) < SECOND {
            return;
        }
        let spent = now.since(self.sampled).0.max(1);
        let second = moved.minus(self.bytes).0.saturating_mul(SECOND.0) / spent;
        self.sampled = now;
        self.bytes = moved;
        if self.wish != StreamCount::Auto || self.settled == Settled::Yes || second == 0 {
            return;
        }
        if second < self.before.0.saturating_add(self.before.0 / 10) {
            self.settled = Settled::Yes;
        } else if self.target < AUTO_MAX && self.dialing == 0 {
            self.target += 1;
        }
        self.before = ByteCount(second);
    }

    pub(crate) fn next_timeout(&self) -> Time {
        self.sampled.plus(SECOND)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(rate_of: impl Fn(u32) -> u64) -> u32 {
        let mut tune = Tune::new(StreamCount::Auto, Time(0));
        let (mut streams, mut moved) = (1, 0);
        for second in 1..30 {
            let now = Time(second * 1_000_000);
            for _ in 0..tune.dials(streams, || ByteCount(u64::MAX / 2), now) {
                tune.came_up();
                streams += 1;
            }
            moved += rate_of(streams);
            tune.sample(ByteCount(moved), now);
        }
        streams
    }

    #[test]
    fn grows_while_it_pays_and_stops_when_it_does_not() {
        assert_eq!(run(|streams| u64::from(streams) * 10_000_000), 8);
        assert_eq!(run(|_| 100_000_000), 3);
        assert_eq!(run(|streams| u64::from(streams.min(5)) * 10_000_000), 6);
    }

    #[test]
    fn dials_as_often_as_there_is_work_and_looks_at_it_now_and_then() {
        let mut tune = Tune::new(StreamCount::Fixed(8), Time(0));
        let work = |streams: u64| ByteCount(WORTH_A_STREAM.0 * streams);
        assert_eq!(tune.dials(1, || work(3), Time(0)), 2);
        assert_eq!(tune.dials(1, || panic!("too early"), Time(1)), 0);
        assert_eq!(tune.dials(1, || work(20), Time(LOOK.0)), 5);
    }

    #[test]
    fn gives_up_dialing_after_repeated_failures() {
        let mut tune = Tune::new(StreamCount::Fixed(4), Time(0));
        let mut now = Time(0);
        for _ in 0..5 {
            assert_ne!(tune.dials(1, || ByteCount(u64::MAX / 8), now), 0);
            tune.dial_failed(1, now);
            now = now.plus(SECOND);
        }
        assert_eq!(tune.dials(1, || ByteCount(u64::MAX / 8), now), 0);
    }
}
