//! The rate of a ticket: one account for all its sessions, which outlives each of them.

use floe_proto::bucket::{Bucket, set_rate};
use floe_types::{ByteCount, Rate, Time};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What all sessions of a ticket may move together.
#[derive(Debug, Default)]
pub struct Throttle(Mutex<Option<Bucket>>);

impl Throttle {
    /// The ticket's rate from now on; what is owed stays owed while there is one.
    pub fn set(&self, rate: Option<Rate>, now: Time) {
        set_rate(&mut self.lock(), rate, now);
    }

    /// Bytes have moved; from when on more may.
    pub fn charge(&self, bytes: ByteCount, now: Time) -> Time {
        match self.lock().as_mut() {
            None => Time(0),
            Some(bucket) => {
                bucket.charge(bytes, now);
                bucket.opens_at(now)
            }
        }
    }

    /// From when on anything may move.
    #[must_use]
    pub fn opens_at(&self, now: Time) -> Time {
        self.lock().as_ref().map_or(Time(0), |bucket| bucket.opens_at(now))
    }

    /// Whether there is nothing to remember: no rate, or nothing owed.
    #[must_use]
    pub fn is_even(&self, now: Time) -> bool {
        self.lock().as_ref().is_none_or(|bucket| bucket.is_open(now))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(bytes_per_sec: u64) -> Option<Rate> {
        Rate::new(bytes_per_sec)
    }

    #[test]
    fn all_that_charge_wait_for_what_all_have_moved() {
        let throttle = Throttle::default();
        assert_eq!(throttle.charge(ByteCount(1 << 40), Time(5)), Time(0), "no rate");
        throttle.set(rate(1000), Time(0));
        assert!(throttle.is_even(Time(0)));
        let waits = [1000, 500, 500].map(|bytes| throttle.charge(ByteCount(bytes), Time(0)));
        assert_eq!(waits, [Time(1_000_000), Time(1_500_000), Time(2_000_000)]);
        assert_eq!(throttle.opens_at(Time(500_000)), Time(2_000_000));
        assert!(!throttle.is_even(Time(1_999_999)) && throttle.is_even(Time(2_000_000)));
    }

    #[test]
    fn a_changed_rate_forgives_nothing_and_none_forgives_all() {
        let throttle = Throttle::default();
        throttle.set(rate(1000), Time(0));
        throttle.charge(ByteCount(10_000), Time(0));
        throttle.set(rate(1000), Time(0));
        assert_eq!(throttle.opens_at(Time(0)), Time(10_000_000));
        throttle.set(rate(10_000), Time(0));
        assert_eq!(throttle.opens_at(Time(0)), Time(1_000_000));
        throttle.set(None, Time(0));
        assert_eq!(throttle.opens_at(Time(0)), Time(0));
    }
}
