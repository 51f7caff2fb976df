//! How fast a transfer goes that gives way to others: a pure controller over round trips, in
//! integers.
//!
//! What a round trip takes beyond the shortest of late is a queue. Alone on a path a transfer keeps
//! a short one, so that the link is never idle; a queue that does not go when this end sends less
//! is somebody else's, and the rate is halved until it does. As LEDBAT++, but with a rate in place
//! of a window: a program cannot set TCP's, and a rate over round trips is the same.
//!
//! ```text
//!            Climbing --(queue, loss)--> Steady --(now and then)--> Looking --> Steady
//!                ^                         |   |
//!                +------(no queue)---------+   +--(somebody else's)--> Yielding --> Climbing
//! ```
//! The shortest round trip is the kernel's, of the last minutes; this end's own queue would creep
//! into it, so it is let go of now and then. A queue that overflows before it is as long as wished
//! is short: half of it is wished from then on.

use crate::bucket::Bucket;
use crate::command::PathSample;
use alloc::collections::BTreeMap;
use floe_types::{ByteCount, Micros, Rate, StreamId, Time};

/// The controller, and the limit that it sets.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Background {
    bucket: Bucket,
    /// Bytes a second.
    rate: u64,
    phase: Phase,
    streams: BTreeMap<StreamId, Seen>,
    /// When this period began, and when time was last asked for.
    began: Time,
    woken: Time,
    /// Whether anything was sent, or acknowledged, since then.
    active: bool,
    period: Period,
    /// Goodput of the period before.
    before: u64,
    /// What was delivered beside a queue of this end's own, a mean over so many periods: what the
    /// path holds.
    full: u64,
    fulls: u64,
    /// The shortest round trip.
    base: Micros,
    /// The queue of the period before, and the longest of late.
    queue: Micros,
    peak: Micros,
    /// The queue that is wished for.
    target: Micros,
    /// Periods in a row with a queue that is too long, or with hardly any.
    above: u32,
    below: u32,
    /// Periods in a row in which others have what the path held before.
    lacking: u32,
    /// How long a path is to be without a queue before it is tried again.
    quiet: Micros,
    /// Losses before belong to one that was acted on.
    heeded: Time,
    look_at: Time,
}

/// What one period showed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Period {
    acked: u64,
    lost: u64,
    /// The shortest queue seen in it.
    queue: Option<Micros>,
}

/// What a stream had done when it was sampled last.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Seen {
    acked: ByteCount,
    again: ByteCount,
    shortest: Micros,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Phase {
    /// Half as fast again each round trip, or twice, until there is a queue.
    Climbing,
    /// As fast as keeps the queue as long as wished.
    Steady,
    /// Slow, for a look at the path without this end's own queue; then as fast as before.
    Looking { until: Time, back: u64 },
    /// Half as fast each period while there is a queue, then as slow as that for a while.
    Yielding { until: Time },
}

const FIRST: u64 = 128 << 10;
/// Slower than this it would seem to stand still, and acknowledgements come too rarely to tell
/// when the path is free again.
const FLOOR: u64 = 32 << 10;
const CEILING: u64 = 1 << 40;
/// Half of what LEDBAT++ has: a call beside it does not hear so much, and what is measured scatters
/// less.
const TARGET: Micros = Micros(25_000);
const TARGET_MIN: Micros = Micros(5_000);
/// A loss with less of a queue says nothing of how long a queue can be.
const VISIBLE: Micros = Micros(4_000);
const PERIOD_MIN: Micros = Micros(50_000);
const PERIOD_MAX: Micros = Micros(400_000);
const RUSH_MIN: Micros = Micros(20_000);
/// Losses within so many periods are of one cause.
const LOSS_PERIODS: u64 = 3;
/// Periods after which a queue that does not drain is somebody else's,
const PATIENCE: u32 = 5;
/// and after which a path without one is free.
const FREE: u32 = 4;
/// How long a path is left alone, and twice as long each time that somebody was there: what others
/// have only begun grows meanwhile, and what they leave for a moment is not worth a queue.
const QUIET: Micros = Micros::from_secs(4);
const QUIET_MAX: Micros = Micros::from_secs(8);
/// How long there is no queue before those are taken to be gone that had made one.
const GONE: Micros = Micros::from_secs(2);
/// Acknowledgements that wait for a further segment, up to 40 ms, make the smoothed round trip of a
/// slow sender look that much longer.
const LATE: Micros = Micros(10_000);
/// Periods of less than was delivered before that are no accident.
const LACKING: u32 = 5;
/// Slower than most others grow.
const FULLS: u64 = 200;
/// Periods that a look takes, and time from one to the next: it costs some percent.
const LOOK_PERIODS: u64 = 2;
const LOOK_EVERY: Micros = Micros::from_secs(10);
const SECOND: Micros = Micros::from_secs(1);

impl Background {
    pub(crate) fn new(now: Time) -> Self {
        Self {
            bucket: Bucket::new(rate_of(FIRST), now),
            rate: FIRST,
            phase: Phase::Climbing,
            streams: BTreeMap::new(),
            began: now,
            woken: now,
            active: true,
            period: Period::default(),
            before: 0,
            full: 0,
            fulls: 0,
            base: Micros::ZERO,
            queue: Micros::ZERO,
            peak: Micros::ZERO,
            target: TARGET,
            above: 0,
            below: 0,
            lacking: 0,
            quiet: QUIET,
            heeded: now,
            look_at: now.plus(LOOK_EVERY),
        }
    }

    /// What holds DATA back.
    pub(crate) const fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Bytes go.
    pub(crate) fn charge(&mut self, len: ByteCount, now: Time) {
        self.active = true;
        self.bucket.charge(len, now);
    }

    /// How fast a socket may send: somewhat faster than the bucket fills, so that this is what
    /// holds back, and what it lets go does not go as a burst.
    pub(crate) fn pace(&self) -> Rate {
        rate_of(self.rate + self.rate / 4)
    }

    /// When a stream is to be sampled at the latest; of one on which nothing goes there is nothing
    /// to be learned.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.active.then(|| self.began.max(self.woken).plus(self.span()))
    }

    pub(crate) fn handle_timeout(&mut self, now: Time) {
        if self.next_timeout().is_some_and(|due| due <= now) {
            (self.woken, self.active) = (now, false);
        }
    }

    /// Only these streams are up.
    pub(crate) fn keep<T>(&mut self, up: &BTreeMap<StreamId, T>) {
        self.streams.retain(|stream, _| up.contains_key(stream));
    }

    /// What TCP says of a stream.
    pub(crate) fn path(&mut self, stream: StreamId, sample: &PathSample, now: Time) {
        let seen =
            Seen { acked: sample.acked, again: sample.sent_again, shortest: sample.round_trip_min };
        let Some(last) = self.streams.insert(stream, seen) else { return };
        let acked = seen.acked.minus(last.acked).0;
        // Of a stream that stands still the round trip is an old one.
        if acked > 0 {
            let shortest = self.streams.values().map(|seen| seen.shortest).min();
            self.base = shortest.unwrap_or_default();
            let queue = Micros(sample.round_trip.0.saturating_sub(self.base.0));
            self.peak = self.peak.max(queue);
            self.period.queue = Some(self.period.queue.map_or(queue, |least| least.min(queue)));
        }
        self.active |= acked > 0;
        self.period.acked += acked;
        self.period.lost += seen.again.minus(last.again).0;
        // Of less time than that nothing can be said: another stream may have ended a period now.
        let rushing = self.phase == Phase::Climbing
            && self.peak > self.target
            && now.since(self.began) >= RUSH_MIN;
        if rushing || now.since(self.began) >= self.span() {
            self.decide(now);
        }
    }

    /// How long a period is: a round trip, within bounds.
    fn span(&self) -> Micros {
        self.base.clamp(PERIOD_MIN, PERIOD_MAX)
    }

    fn decide(&mut self, now: Time) {
        let Period { acked, lost, queue } = core::mem::take(&mut self.period);
        let second = acked.saturating_mul(SECOND.0) / now.since(self.began).0.max(1);
        // Pieces come in bursts: the better of two periods.
        let delivered = second.max(self.before);
        self.before = second;
        self.began = now;
        let Some(queue) = queue else { return };
        let gone = matches!(self.phase, Phase::Yielding { .. });
        if lost > 0 && now >= self.heeded && !gone {
            self.heed_loss(delivered, now);
        }
        let phase = self.phase;
        match phase {
            Phase::Looking { until, back } if now >= until => {
                self.phase = Phase::Steady;
                self.rate = back;
                (self.above, self.below, self.quiet) = (0, 0, QUIET);
                self.look_at = now.plus(LOOK_EVERY.max(Micros(self.span().0 * 10 * LOOK_PERIODS)));
                // A queue that was short once may not be for ever.
                self.target = TARGET.min(Micros(self.target.0 + self.target.0 / 8));
            }
            Phase::Looking { .. } => {}
            Phase::Climbing if queue.0 > self.target.0 * 3 / 4 => {
                self.phase = Phase::Steady;
                self.rate = self.rate.min(delivered).max(self.rate / 2);
                (self.above, self.below) = (0, 0);
            }
            Phase::Climbing => self.rate = self.rate.max(self.climb_from(delivered)),
            Phase::Steady if self.lacks(queue, delivered) => self.give_way(now),
            Phase::Yielding { until } => self.yield_on(queue, until, now),
            Phase::Steady if queue > self.target => self.slow_down(queue, delivered, now),
            Phase::Steady => self.speed_up(queue, delivered, now),
        }
        self.queue = queue;
        self.peak = Micros(self.peak.0 / 2);
        self.rate = self.rate.clamp(FLOOR, CEILING);
        self.bucket.set_rate(rate_of(self.rate), now);
    }

    /// What a step up brings about is seen a round trip later: steps are long only far below what
    /// the path held before.
    fn climb_from(&self, delivered: u64) -> u64 {
        delivered
            + match self.full {
                0 => delivered / 2,
                full if self.rate <= full / 2 => delivered,
                _ => delivered / 4,
            }
    }

    /// Half as much again at once what TCP does by itself; and how long queues can be here.
    fn heed_loss(&mut self, delivered: u64, now: Time) {
        self.heeded = now.plus(Micros(self.span().0 * LOSS_PERIODS));
        let rate = self.rate.min(delivered).max(self.rate / 2);
        if self.peak < VISIBLE {
            self.rate = rate;
            return;
        }
        self.target = Micros(self.peak.0 / 2).clamp(TARGET_MIN, self.target);
        self.rate = rate / 2;
        match self.phase {
            _ if delivered < self.full / 3 * 2 => self.give_way(now),
            Phase::Climbing => {
                self.phase = Phase::Steady;
                (self.above, self.below) = (0, 0);
            }
            _ => {}
        }
    }

    /// Whether there is a queue, and less is delivered than the path has held: the rest is somebody
    /// else's.
    fn lacks(&mut self, queue: Micros, delivered: u64) -> bool {
        let waits = queue.0 > self.target.0 / 2;
        let lacks = waits && delivered < self.full / 3 * 2;
        self.lacking = if lacks { self.lacking + 1 } else { 0 };
        if waits && !lacks {
            // Of one period: the better of two is too much where bytes come in bursts.
            self.fulls = (self.fulls + 1).min(FULLS);
            self.full = (self.full * (self.fulls - 1) + self.before) / self.fulls;
        }
        self.lacking >= LACKING
    }

    /// The excess is to drain: less than the path delivers. One that does not is not this end's.
    fn slow_down(&mut self, queue: Micros, delivered: u64, now: Time) {
        let excess = queue.0 - self.target.0;
        self.below = 0;
        let stays = excess > self.target.0 / 4 && queue.0 > self.queue.0 / 8 * 7;
        self.above += u32::from(stays);
        // All that the path has held comes through: then the queue is hardly anybody else's.
        let patience = if delivered < self.full / 8 * 7 { PATIENCE } else { 4 * PATIENCE };
        if self.above > patience {
            return self.give_way(now);
        }
        let less = part(delivered, excess.min(self.within()), self.within());
        self.rate = (delivered - less).max(self.rate / 2);
    }

    /// Somebody else is there. What the path holds may be less than it was, too.
    fn give_way(&mut self, now: Time) {
        self.rate /= 2;
        self.lacking = 0;
        self.full -= self.full / 16;
        self.phase = Phase::Yielding { until: now.plus(self.quiet) };
        self.quiet = Micros(self.quiet.0 * 2).min(QUIET_MAX);
    }

    fn yield_on(&mut self, queue: Micros, until: Time, now: Time) {
        if queue > Micros(self.target.0 / 2).max(LATE) {
            self.rate /= 2;
            self.phase = Phase::Yielding { until: until.max(now.plus(GONE)) };
        } else if now >= until {
            self.phase = Phase::Climbing;
        }
        (self.above, self.below) = (0, 0);
    }

    fn speed_up(&mut self, queue: Micros, delivered: u64, now: Time) {
        self.above = 0;
        self.below = if queue.0 < self.target.0 / 2 { self.below + 1 } else { 0 };
        if now >= self.look_at && self.rate > 2 * FLOOR && self.below == 0 {
            let until = now.plus(Micros(self.span().0 * LOOK_PERIODS));
            self.phase = Phase::Looking { until, back: self.rate };
            self.rate /= 4;
            return;
        }
        // From what was delivered: a rate that is not used does not grow.
        let from = match self.full {
            0 => delivered,
            full => delivered.min(full + full / 16),
        };
        let lacking = self.target.0 - queue.0;
        let more = part(from, lacking, self.within()).min(from / 4);
        self.rate = self.rate.max(from + more);
        if self.below >= FREE {
            self.phase = Phase::Climbing;
        }
    }

    /// In what time a queue is to be as long as wished: what is seen is a round trip and a period
    /// old, and twice that does not overshoot.
    fn within(&self) -> u64 {
        2 * (self.base.0 + self.span().0)
    }
}

fn part(of: u64, some: u64, whole: u64) -> u64 {
    of.saturating_mul(some) / whole.max(1)
}

fn rate_of(bytes_per_sec: u64) -> Rate {
    Rate::new(bytes_per_sec).unwrap_or(Rate::MIN)
}

#[cfg(test)]
mod tests;
