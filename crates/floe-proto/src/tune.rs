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
    /// What the server takes.
    streams_max: u32,
    target: u32,
    dialing: u32,
    failures: u32,
    retry_at: Time,
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
/// Below this much work a further stream is not worth its dial.
const WORTH_A_STREAM: ByteCount = ByteCount(4 << 20);

impl Tune {
    pub(crate) const fn new(wish: StreamCount, streams_max: u32, now: Time) -> Self {
        let target = match wish {
            StreamCount::Fixed(count) => count,
            StreamCount::Auto => AUTO_FIRST,
        };
        Self {
            wish,
            streams_max,
            target,
            dialing: 0,
            failures: 0,
            retry_at: now,
            sampled: now,
            bytes: ByteCount::ZERO,
            before: ByteCount::ZERO,
            settled: Settled::No,
        }
    }

    /// Whether to dial now: there is work for one more, and fewer than wished are up or being
    /// dialed.
    pub(crate) fn wants_dial(&self, streams: u32, backlog: ByteCount, now: Time) -> bool {
        let worth = backlog.0 > WORTH_A_STREAM.0 * u64::from(streams + self.dialing);
        let wanted = streams + self.dialing < self.target.min(self.streams_max);
        streams > 0 && wanted && worth && now >= self.retry_at
    }

    pub(crate) fn dialed(&mut self) {
        self.dialing += 1;
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

    fn run(streams_max: u32, rate_of: impl Fn(u32) -> u64) -> u32 {
        let mut tune = Tune::new(StreamCount::Auto, streams_max, Time(0));
        let (mut streams, mut moved) = (1, 0);
        for second in 1..30 {
            let now = Time(second * 1_000_000);
            while tune.wants_dial(streams, ByteCount(u64::MAX / 2), now) {
                tune.dialed();
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
        assert_eq!(run(64, |streams| u64::from(streams) * 10_000_000), 8);
        assert_eq!(run(64, |_| 100_000_000), 3);
        assert_eq!(run(64, |streams| u64::from(streams.min(5)) * 10_000_000), 6);
        assert_eq!(run(4, |streams| u64::from(streams) * 10_000_000), 4, "what the server takes");
    }

    #[test]
    fn gives_up_dialing_after_repeated_failures() {
        let mut tune = Tune::new(StreamCount::Fixed(4), 64, Time(0));
        let mut now = Time(0);
        for _ in 0..5 {
            assert!(tune.wants_dial(1, ByteCount(u64::MAX / 8), now));
            tune.dialed();
            tune.dial_failed(1, now);
            now = now.plus(SECOND);
        }
        assert!(!tune.wants_dial(1, ByteCount(u64::MAX / 8), now));
    }
}
