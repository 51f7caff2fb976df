//! How many streams a client uses: a pure controller over goodput, in integers.
//!
//! Fixed: as many as asked, once there is work for them. Auto: few at first. Whenever goodput has
//! stopped growing by itself, more are tried; if they bring less than a tenth, that was enough. A
//! long path starts with four and doubles, up to 32: there one stream's share of losses and of
//! socket buffers is what limits. A short one starts with two and adds one at a time, up to eight.
//!
//! There is work for a further stream where what is left is as much as all of them would carry in a
//! second, going by what those that are there carry.
//!
//! ```text
//!  Climbing --(plateau)--> more streams --(up)--> Climbing --(plateau, a tenth gained)--> more ...
//!                                                    \--(plateau, nothing gained)--> Settled
//! ```

use crate::command::StreamCount;
use floe_types::{ByteCount, Limits, Micros, Time};

/// The controller.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Tune {
    wish: StreamCount,
    /// What the server takes.
    streams_max: u32,
    /// What a further stream needs to be worth its dial, at most.
    worth_max: ByteCount,
    target: u32,
    dialing: u32,
    failures: u32,
    retry_at: Time,
    /// The backlog costs a look at every entry: it is asked for at most so often.
    look_at: Time,
    sampled: Time,
    bytes: ByteCount,
    /// Goodput of the period before, in bytes a second.
    last: u64,
    /// Goodput before the newest streams came.
    before: u64,
    round_trip: Option<Micros>,
    settled: Settled,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Settled {
    No,
    Yes,
}

/// How the number of streams grows.
#[derive(Clone, Copy)]
struct Steps {
    first: u32,
    times: u32,
    plus: u32,
    most: u32,
}

const SHORT: Steps = Steps { first: 2, times: 1, plus: 1, most: 8 };
const LONG: Steps = Steps { first: 4, times: 2, plus: 0, most: 32 };
const LONG_ROUND_TRIP: Micros = Micros(5_000);
const PERIOD_TRIPS: u64 = 6;
const PERIOD_MIN: Micros = Micros(500_000);
const PERIOD_MAX: Micros = Micros(2_000_000);
const SECOND: Micros = Micros::from_secs(1);
const DIAL_FAILURES_MAX: u32 = 5;
const LOOK: Micros = Micros(10_000);
const WORTH_MIN: ByteCount = ByteCount(256 << 10);
/// On a long path, before goodput is known.
const WORTH_FAR: ByteCount = ByteCount(1 << 20);

impl Tune {
    pub(crate) const fn new(wish: StreamCount, limits: &Limits, now: Time) -> Self {
        let target = match wish {
            StreamCount::Fixed(count) => count,
            StreamCount::Auto => SHORT.first,
        };
        Self {
            wish,
            streams_max: limits.streams_max,
            worth_max: limits.stream_worth_bytes,
            target,
            dialing: 0,
            failures: 0,
            retry_at: now,
            look_at: now,
            sampled: now,
            bytes: ByteCount::ZERO,
            last: 0,
            before: 0,
            round_trip: None,
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
        let wished = self.target.min(self.streams_max);
        let room = wished.saturating_sub(streams + self.dialing);
        if streams == 0 || room == 0 || now < self.retry_at.max(self.look_at) {
            return 0;
        }
        self.look_at = now.plus(LOOK);
        let worth = self.worth(streams).0.max(1);
        let busy = u32::try_from(backlog().0 / worth).unwrap_or(u32::MAX);
        let dials = room.min(busy.saturating_sub(streams + self.dialing));
        self.dialing += dials;
        dials
    }

    /// What a stream of this path carries in a second, as far as that is known: with less left for
    /// each, a further one would hardly be up before all is over.
    fn worth(&self, streams: u32) -> ByteCount {
        let worth = match self.last {
            0 if self.is_long() => WORTH_FAR,
            0 => self.worth_max,
            second => ByteCount(second / u64::from(streams.max(1))).max(WORTH_MIN),
        };
        worth.min(self.worth_max)
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

    /// What TCP says of the path's round trip.
    pub(crate) fn path(&mut self, round_trip: Micros) {
        let first = self.round_trip.is_none();
        self.round_trip = Some(self.round_trip.map_or(round_trip, |best| best.min(round_trip)));
        if first && self.wish == StreamCount::Auto && self.is_long() {
            self.target = self.target.max(LONG.first);
        }
    }

    fn is_long(&self) -> bool {
        self.round_trip.is_some_and(|round_trip| round_trip >= LONG_ROUND_TRIP)
    }

    /// How long goodput is watched before it is judged: some round trips, or what a disk needs to
    /// show its pace.
    fn period(&self) -> Micros {
        let trips = self.round_trip.unwrap_or_default().0.saturating_mul(PERIOD_TRIPS);
        Micros(trips.clamp(PERIOD_MIN.0, PERIOD_MAX.0))
    }

    /// Looks at the goodput once a period. `moved` is all bytes moved so far, `limit` what may move
    /// in a second: where nearly that does, more streams could bring nothing.
    pub(crate) fn sample(&mut self, moved: ByteCount, limit: Option<u64>, now: Time) {
        let spent = now.since(self.sampled);
        if spent < self.period() {
            return;
        }
        let second = moved.minus(self.bytes).0.saturating_mul(SECOND.0) / spent.0.max(1);
        self.sampled = now;
        self.bytes = moved;
        if second == 0 || self.dialing > 0 {
            return;
        }
        let climbing = second > a_tenth_above(self.last);
        self.last = second;
        let judged = self.wish == StreamCount::Auto && self.settled == Settled::No;
        if !judged || climbing || limit.is_some_and(|limit| a_tenth_above(second) >= limit) {
            return;
        }
        let steps = if self.is_long() { LONG } else { SHORT };
        if second < a_tenth_above(self.before) || self.target >= steps.most {
            self.settled = Settled::Yes;
            return;
        }
        self.before = second;
        self.target = (self.target * steps.times + steps.plus).min(steps.most);
    }

    pub(crate) fn next_timeout(&self) -> Time {
        self.sampled.plus(self.period())
    }
}

const fn a_tenth_above(rate: u64) -> u64 {
    rate.saturating_add(rate / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Streams after 30 s, and how long it took to reach them, where `rate_of` gives the goodput of
    /// so many streams, each of which needs `ramp` to reach its share.
    fn run(round_trip: Micros, ramp: Micros, rate_of: impl Fn(u64) -> u64) -> (u32, Micros) {
        run_within(None, ENDLESS, round_trip, ramp, |ready, _| rate_of(ready))
    }

    fn run_within(
        limit: Option<u64>,
        size: u64,
        round_trip: Micros,
        ramp: Micros,
        rate_of: impl Fn(u64, Time) -> u64,
    ) -> (u32, Micros) {
        let mut tune = Tune::new(StreamCount::Auto, &Limits::default(), Time(0));
        tune.path(round_trip);
        let (mut came, mut moved, mut last) = (alloc::vec![Time(0)], 0, Time(0));
        for tick in 1..3_000 {
            let now = Time(tick * 10_000);
            let streams = u32::try_from(came.len()).unwrap();
            let left = ByteCount(size).minus(ByteCount(moved));
            for _ in 0..tune.dials(streams, || left, now) {
                tune.came_up();
                came.push(now);
                last = now;
            }
            // In thousandths of a stream.
            let ready: u64 = came
                .iter()
                .map(|since| (now.since(*since).0 * 1_000 / ramp.0.max(1)).min(1_000))
                .sum();
            moved += rate_of(ready, now).min(limit.unwrap_or(u64::MAX)) / 100;
            if now >= tune.next_timeout() {
                tune.sample(ByteCount(moved), limit, now);
            }
        }
        (u32::try_from(came.len()).unwrap(), now_since_start(last))
    }

    fn now_since_start(last: Time) -> Micros {
        last.since(Time(0))
    }

    const NEAR: Micros = Micros(100);
    const FAR: Micros = Micros(100_000);
    const LINK: u64 = 25_000_000;
    const ENDLESS: u64 = u64::MAX / 2;

    #[test]
    fn on_a_short_path_streams_are_added_while_they_pay() {
        assert_eq!(run(NEAR, NEAR, |ready| ready * 10_000).0, 8);
        assert_eq!(run(NEAR, NEAR, |_| 100_000_000).0, 3);
        assert_eq!(run(NEAR, NEAR, |ready| ready.min(5_000) * 10_000).0, 6);
    }

    #[test]
    fn on_a_long_path_with_losses_they_double_until_the_link_is_full() {
        let (streams, took) = run(FAR, Micros(500_000), |ready| (ready * 1_200).min(LINK));
        assert_eq!(streams, 32);
        assert!(took <= Micros::from_secs(8), "{took:?}");
        assert_eq!(run(FAR, Micros(500_000), |ready| (ready * 3_000).min(LINK)).0, 16);
    }

    #[test]
    fn on_a_clean_long_path_a_slow_start_is_not_mistaken_for_a_limit() {
        // One stream alone fills the link within 1.5 s.
        let (streams, _) = run(FAR, Micros(1_500_000), |ready| (ready * 25_000).min(LINK));
        assert_eq!(streams, 8);
    }

    #[test]
    fn a_limit_that_is_not_the_path_is_accepted_after_one_try() {
        let (streams, took) = run(FAR, NEAR, |_| 1_000_000);
        assert_eq!(streams, 8);
        assert!(took <= Micros::from_secs(3), "{took:?}");
    }

    #[test]
    fn a_disk_whose_pace_wavers_is_left_alone_once_it_has_shown_its_pace() {
        // 100 MB/s however many streams there are, and in every third second 60.
        let disk =
            |now: Time| if (now.0 / SECOND.0).is_multiple_of(3) { 60_000_000 } else { 100_000_000 };
        for path in [NEAR, FAR] {
            let (streams, took) = run_within(None, ENDLESS, path, NEAR, |_, now| disk(now));
            assert!(streams <= 16, "{path:?}: {streams}");
            assert!(took <= Micros::from_secs(4), "{path:?}: the last came after {took:?}");
        }
        // What changes later, for better or worse, adds none.
        let later = |now: Time| if now < Time(10_000_000) { 50_000_000 } else { 200_000_000 };
        let (streams, took) = run_within(None, ENDLESS, NEAR, NEAR, |_, now| later(now));
        assert!(streams == 3 && took <= Micros::from_secs(3), "{streams}, {took:?}");
    }

    #[test]
    fn within_a_limit_no_stream_is_added_that_could_bring_nothing() {
        let limited = |limit, trip, ramp| {
            run_within(Some(limit), ENDLESS, trip, ramp, |ready, _| (ready * 1_200).min(LINK)).0
        };
        assert_eq!((limited(1_000_000, NEAR, NEAR), limited(2_000_000, FAR, NEAR)), (2, 4));
        // Where losses keep four below it, more are.
        assert_eq!(limited(9_000_000, FAR, Micros(500_000)), 8);
    }

    #[test]
    fn what_ends_within_seconds_has_the_streams_of_what_never_ends() {
        // Each carries 250 kB a second: losses, or a small window, on a long path.
        let streams = |size| run_within(None, size, FAR, FAR, |ready, _| ready * 250).0;
        assert_eq!([40_000_000, 20_000_000, 2_000_000].map(streams), [32, 32, 4]);
        // Nor are there more than what is left would keep busy.
        assert_eq!(streams(500_000), 1);
    }

    #[test]
    fn dials_as_often_as_there_is_work_and_looks_at_it_now_and_then() {
        let mut tune = Tune::new(StreamCount::Fixed(8), &Limits::default(), Time(0));
        let work = |streams: u64| ByteCount(Limits::default().stream_worth_bytes.0 * streams);
        assert_eq!(tune.dials(1, || work(3), Time(0)), 2);
        assert_eq!(tune.dials(1, || panic!("too early"), Time(1)), 0);
        assert_eq!(tune.dials(1, || work(20), Time(LOOK.0)), 5);
    }

    #[test]
    fn gives_up_dialing_after_repeated_failures() {
        let mut tune = Tune::new(StreamCount::Fixed(4), &Limits::default(), Time(0));
        let mut now = Time(0);
        for _ in 0..5 {
            assert_ne!(tune.dials(1, || ByteCount(u64::MAX / 8), now), 0);
            tune.dial_failed(1, now);
            now = now.plus(SECOND);
        }
        assert_eq!(tune.dials(1, || ByteCount(u64::MAX / 8), now), 0);
    }
}
