//! A token bucket over DATA bytes: the rate limit, in integers.
//!
//! A piece may go while the balance is not negative and is then charged whole, so the rate holds
//! over any span longer than a few pieces. One that is shut lets nothing go, and forgives nothing.

use floe_types::{ByteCount, Micros, Rate, Time};

/// The balance of one rate limit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bucket {
    /// Nothing while it is shut.
    rate: Option<Rate>,
    /// Bytes times 10^6, so that no microsecond is lost to rounding. Negative: in debt.
    balance: i128,
    at: Time,
}

const SCALE: i128 = 1_000_000;
/// What may pile up while nothing is sent.
const BURST: Micros = Micros::from_millis(20);

impl Bucket {
    /// Nothing was sent yet.
    #[must_use]
    pub const fn new(rate: Rate, now: Time) -> Self {
        Self { rate: Some(rate), balance: 0, at: now }
    }

    /// Another rate from now on; what is owed stays owed.
    pub fn set_rate(&mut self, rate: Rate, now: Time) {
        self.refill(now);
        self.rate = Some(rate);
    }

    /// Bytes a second; nothing while it is shut.
    #[must_use]
    pub const fn rate(&self) -> Option<Rate> {
        self.rate
    }

    fn per_sec(&self) -> i128 {
        self.rate.map_or(0, |rate| i128::from(rate.bytes_per_sec()))
    }

    fn refill(&mut self, now: Time) {
        let per_sec = self.per_sec();
        let burst = per_sec * i128::from(BURST.0);
        self.balance = (self.balance + per_sec * i128::from(now.since(self.at).0)).min(burst);
        self.at = self.at.max(now);
    }

    /// Whether a piece may go now.
    #[must_use]
    pub fn is_open(&self, now: Time) -> bool {
        let mut refilled = *self;
        refilled.refill(now);
        self.rate.is_some() && refilled.balance >= 0
    }

    /// A piece goes.
    pub fn charge(&mut self, bytes: ByteCount, now: Time) {
        self.refill(now);
        self.balance -= i128::from(bytes.0) * SCALE;
    }

    /// When the next piece may go; never, by itself, where it is shut.
    #[must_use]
    pub fn opens_at(&self, now: Time) -> Time {
        if self.rate.is_none() {
            return Time(u64::MAX);
        }
        let mut refilled = *self;
        refilled.refill(now);
        let debt = (-refilled.balance).max(0);
        let per_sec = self.per_sec();
        let wait = (debt + per_sec - 1) / per_sec;
        now.plus(Micros(u64::try_from(wait).unwrap_or(u64::MAX)))
    }
}

/// Another rate, or none: what is owed stays owed while there is one.
pub fn set_rate(bucket: &mut Option<Bucket>, rate: Option<Rate>, now: Time) {
    match (bucket.as_mut(), rate) {
        (Some(bucket), Some(rate)) => bucket.set_rate(rate, now),
        (_, rate) => *bucket = rate.map(|rate| Bucket::new(rate, now)),
    }
}

/// Lets nothing go until there is another rate, or none.
pub fn shut(bucket: &mut Option<Bucket>, now: Time) {
    let shut = bucket.get_or_insert(Bucket { rate: None, balance: 0, at: now });
    shut.refill(now);
    shut.rate = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_the_rate_over_a_second() {
        let mut bucket = Bucket::new(Rate::new(10_000_000).unwrap(), Time(0));
        let (mut now, mut sent) = (Time(0), 0u64);
        while now < Time(10_000_000) {
            if bucket.is_open(now) {
                bucket.charge(ByteCount(262_144), now);
                sent += 262_144;
            } else {
                assert!(bucket.opens_at(now) > now);
                now = bucket.opens_at(now);
            }
        }
        assert!((98_000_000..=103_000_000).contains(&sent), "{sent}");
    }

    #[test]
    fn what_is_owed_stays_owed_at_another_rate() {
        let mut bucket = Bucket::new(Rate::new(1000).unwrap(), Time(0));
        bucket.charge(ByteCount(10_000), Time(0));
        bucket.set_rate(Rate::new(2000).unwrap(), Time(5_000_000));
        assert_eq!(bucket.opens_at(Time(5_000_000)), Time(7_500_000));
    }

    #[test]
    fn one_that_is_shut_opens_for_another_rate_only_and_owes_what_it_owed() {
        let mut bucket = None;
        set_rate(&mut bucket, Rate::new(1000), Time(0));
        bucket.as_mut().unwrap().charge(ByteCount(10_000), Time(0));
        for _ in 0..2 {
            shut(&mut bucket, Time(2_000_000));
            for now in [2_000_000, 1 << 40, u64::MAX] {
                assert!(!bucket.unwrap().is_open(Time(now)));
                assert_eq!(bucket.unwrap().opens_at(Time(now)), Time(u64::MAX));
            }
        }
        // Nothing was paid off meanwhile: 8000 bytes are still owed.
        set_rate(&mut bucket, Rate::new(1000), Time(100_000_000));
        assert_eq!(bucket.unwrap().opens_at(Time(100_000_000)), Time(108_000_000));
        let mut fresh = None;
        shut(&mut fresh, Time(0));
        assert!(!fresh.unwrap().is_open(Time(1)));
        set_rate(&mut fresh, None, Time(1));
        assert_eq!(fresh, None);
    }
}
