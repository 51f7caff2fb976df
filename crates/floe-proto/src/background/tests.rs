//! The controller on a bottleneck of one queue, as a fluid, in steps of a millisecond; beside it
//! a flow that fills the queue until it loses, as bulk TCP does.

use super::*;
use alloc::collections::VecDeque;

const STEP: Micros = Micros(1_000);
const SAMPLE_STEPS: u64 = 20;
const STREAM: StreamId = StreamId(0);
const OWN: usize = 0;
const OTHER: usize = 1;

/// A link whose one queue both flows share.
struct Path {
    /// Bytes a second.
    link: u64,
    base: Micros,
    buffer: u64,
    /// Bytes in the queue: this end's, and the other's.
    queued: [u64; 2],
    /// What left it, and the round trip then, which the sender learns a base later.
    learned: VecDeque<(u64, Micros)>,
    /// Of this many bytes one is lost on the way, whatever the queue.
    noise: Option<u64>,
    /// How long the link stands still at most, now and then; it makes up for it.
    stall: Micros,
    stalled_until: Time,
    owed: u64,
    dice: u64,
    smoothed: Micros,
    shortest: Micros,
    acked: u64,
    lost: u64,
    /// What TCP lets each have under way: a twenty-fifth more each round trip, and three tenths
    /// less after a loss. Nothing of the other while it is not there.
    windows: [u64; 2],
    grown: [Time; 2],
    /// Of what part the other's grows.
    eager: u64,
    now: Time,
    control: Background,
    /// What both got since this was set to nothing.
    got: [u64; 2],
    /// The longest queue since then.
    longest: Micros,
}

impl Path {
    fn new(mbit: u64, base_ms: u64, buffer_ms: u64) -> Self {
        let link = mbit * 125_000;
        let base = Micros::from_millis(base_ms);
        let mut learned = VecDeque::new();
        learned.resize(usize::try_from(base_ms).unwrap(), (0, base));
        Self {
            link,
            base,
            buffer: link * buffer_ms / 1_000,
            queued: [0; 2],
            learned,
            noise: None,
            stall: Micros::ZERO,
            stalled_until: Time(0),
            owed: 0,
            dice: 1,
            smoothed: base,
            shortest: Micros(u64::MAX),
            acked: 0,
            lost: 0,
            windows: [link / 8, 0],
            grown: [Time(0); 2],
            eager: 25,
            now: Time(0),
            control: Background::new(Time(0)),
            got: [0; 2],
            longest: Micros::ZERO,
        }
    }

    fn round_trip(&self) -> Micros {
        Micros(self.base.0 + self.queued.iter().sum::<u64>() * 1_000_000 / self.link)
    }

    fn step(&mut self) {
        self.now = self.now.plus(STEP);
        let trip = self.round_trip().0;
        let [own, other] = self.windows.map(|window| window * STEP.0 / trip);
        let paced = self.control.rate * STEP.0 / 1_000_000;
        let arriving = [paced.min(own), other];
        let room = self.buffer - self.queued.iter().sum::<u64>().min(self.buffer);
        let leaves = self.leaves();
        let over = arriving.iter().sum::<u64>().saturating_sub(room + leaves);
        let all = arriving.iter().sum::<u64>().max(1);
        for (flow, arrives) in arriving.into_iter().enumerate() {
            let dropped = (over * arrives).div_ceil(all);
            self.queued[flow] += arrives.saturating_sub(dropped);
            if flow == OWN {
                self.lost += dropped;
            }
            // TCP does not grow a window that is not used.
            let used = flow == OTHER || paced * 2 > own;
            self.grow(flow, dropped > 0, used);
        }
        let total = self.queued.iter().sum::<u64>();
        let mut left = [0; 2];
        for (left, queued) in left.iter_mut().zip(&mut self.queued) {
            *left = (leaves * *queued / total.max(1)).min(*queued);
            *queued -= *left;
        }
        self.got = [self.got[0] + left[0], self.got[1] + left[1]];
        self.longest = self.longest.max(Micros(self.round_trip().0 - self.base.0));
        self.learned.push_back((left[0], self.round_trip()));
        if let Some((acked, round_trip)) = self.learned.pop_front().filter(|(acked, _)| *acked > 0)
        {
            self.acked += acked;
            if self.noise.is_some_and(|one| self.acked / one != (self.acked - acked) / one) {
                self.lost += 1448;
                self.grow(OWN, true, true);
            }
            self.smoothed = Micros((self.smoothed.0 * 7 + round_trip.0) / 8);
            self.shortest = self.shortest.min(round_trip);
        }
    }

    /// What the link carries in this step.
    fn leaves(&mut self) -> u64 {
        let whole = self.owed + self.link * STEP.0 / 1_000_000;
        self.dice = self.dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let drawn = self.dice >> 33;
        if self.stall > Micros::ZERO && drawn.is_multiple_of(200) {
            self.stalled_until = self.now.plus(Micros(drawn % self.stall.0));
        }
        let stalls = self.now < self.stalled_until;
        self.owed = if stalls { whole } else { 0 };
        if stalls { 0 } else { whole }
    }

    fn grow(&mut self, flow: usize, lost: bool, used: bool) {
        if self.now.since(self.grown[flow]) < self.round_trip() {
            return;
        }
        let window = &mut self.windows[flow];
        match lost {
            true => *window = *window * 7 / 10,
            false if used && flow == OWN => *window += *window / 5,
            false if used => *window += *window / self.eager,
            false => {}
        }
        self.grown[flow] = self.now;
    }

    /// What both got of the link in so many seconds, in percent.
    fn run(&mut self, seconds: u64) -> [u64; 2] {
        self.got = [0; 2];
        self.longest = Micros::ZERO;
        for step in 0..seconds * 1_000 {
            self.step();
            if step % SAMPLE_STEPS == 0 {
                let sample = PathSample {
                    round_trip: self.smoothed,
                    round_trip_min: self.shortest.min(self.smoothed),
                    acked: ByteCount(self.acked),
                    sent_again: ByteCount(self.lost),
                    ..PathSample::default()
                };
                self.control.path(STREAM, &sample, self.now);
            }
        }
        self.got.map(|got| got * 100 / (self.link * seconds))
    }

    /// Bulk TCP comes, with what the path holds under way.
    fn compete(&mut self) {
        self.windows[OTHER] = self.link * self.base.0 / 1_000_000;
    }

    fn leave(&mut self) {
        self.windows[OTHER] = 0;
    }
}

/// Rate in Mbit/s, round trip and queue in ms.
const PATHS: [(u64, u64, u64); 7] = [
    (200, 10, 10),
    (200, 10, 100),
    (200, 100, 100),
    (1000, 30, 30),
    (20, 40, 200),
    (2, 60, 300),
    (200, 300, 300),
];

#[test]
fn alone_it_uses_the_link_and_keeps_the_queue_short() {
    for (mbit, base, queue) in PATHS {
        let mut path = Path::new(mbit, base, queue);
        path.run(15);
        // Looks at the base delay are in it.
        let [own, _] = path.run(60);
        assert!(own >= 90, "{mbit} {base} {queue}: {own} %");
        let longest = path.longest.0 / 1_000;
        assert!(longest <= 60.max(base / 2).min(queue), "{mbit} {base} {queue}: {longest} ms");
    }
}

#[test]
fn beside_bulk_tcp_it_yields_within_seconds_and_takes_the_link_back() {
    for (mbit, base, queue) in PATHS {
        let mut path = Path::new(mbit, base, queue);
        path.run(15);
        path.compete();
        // A round trip longer is a long time for both.
        path.run(3 + base / 100);
        let [own, other] = path.run(30);
        let floor = FLOOR * 100 / path.link;
        assert!(
            own <= 6 + floor && other >= 92 - floor,
            "{mbit} {base} {queue}: {own} % {other} %"
        );
        path.leave();
        path.run(6 + base / 15);
        let [own, _] = path.run(10);
        assert!(own >= 85, "{mbit} {base} {queue}: back to {own} %");
    }
}

/// It begins with a fifth of the link and would fill it in ten seconds or more: what it does not
/// take is taken now and then, and it grows all the same.
#[test]
fn beside_one_that_grows_slowly_it_takes_less_and_less() {
    for (mbit, base, queue) in PATHS {
        let mut path = Path::new(mbit, base, queue);
        path.eager = 100;
        path.run(15);
        path.compete();
        path.windows[OTHER] /= 5;
        let grown = 100 * base / 1_000 * 2;
        path.run(grown.max(10));
        let [own, other] = path.run(20);
        assert!(own <= 20 && other >= 70, "{mbit} {base} {queue}: {own} % {other} %");
    }
}

#[test]
fn beside_bulk_tcp_that_was_there_before_it_takes_little() {
    for (mbit, base, queue) in &PATHS[1..] {
        let mut path = Path::new(*mbit, *base, *queue);
        path.control.rate = 0;
        path.compete();
        path.run(10);
        path.shortest = Micros(u64::MAX);
        path.control = Background::new(path.now);
        path.run(2);
        let [own, other] = path.run(30);
        assert!(own <= 20 && other >= 80, "{mbit} {base} {queue}: {own} % {other} %");
    }
}

#[test]
fn losses_of_a_path_that_has_no_others_cost_little() {
    for base in [10, 100] {
        let mut path = Path::new(200, base, 100);
        path.noise = Some(1_000 * 1448);
        path.run(10);
        let [own, _] = path.run(30);
        assert!(own >= 60, "{base}: {own} %");
    }
}

/// A virtual machine, or a radio.
#[test]
fn a_link_that_stands_still_now_and_then_is_not_taken_for_one_with_others() {
    for (mbit, base, queue) in PATHS {
        let mut path = Path::new(mbit, base, queue);
        path.stall = Micros::from_millis(25);
        path.run(15);
        let [own, _] = path.run(60);
        assert!(own >= 85, "{mbit} {base} {queue}: {own} %");
    }
}

#[test]
fn what_is_not_used_does_not_grow_and_nothing_goes_below_the_floor() {
    let mut control = Background::new(Time(0));
    let mut sample = PathSample {
        round_trip: Micros(20_000),
        round_trip_min: Micros(20_000),
        ..PathSample::default()
    };
    for tick in 1..1_000 {
        // A disk gives 1 MB/s.
        sample.acked = ByteCount(tick * 20_000);
        control.path(STREAM, &sample, Time(tick * 20_000));
    }
    assert!((1_000_000..2_000_000).contains(&control.rate), "{}", control.rate);
    sample.round_trip = Micros(900_000);
    for tick in 1_000..2_000 {
        sample.acked = ByteCount(tick * 20_000);
        control.path(STREAM, &sample, Time(tick * 20_000));
    }
    assert_eq!(control.rate, FLOOR);
    assert_eq!(control.pace().bytes_per_sec(), FLOOR + FLOOR / 4);
}

#[test]
fn asks_for_time_once_a_period_though_nobody_samples() {
    let mut control = Background::new(Time(0));
    let first = control.next_timeout().unwrap();
    assert_eq!(first, Time(PERIOD_MIN.0));
    control.handle_timeout(first);
    // Nothing goes: nobody need look, until something does.
    assert_eq!(control.next_timeout(), None);
    control.charge(ByteCount(1), first);
    assert_eq!(control.next_timeout(), Some(first.plus(PERIOD_MIN)));
}
