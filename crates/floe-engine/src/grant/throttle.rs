//! The rate of a ticket: one account for all its sessions, which outlives each of them.

use floe_proto::bucket::Bucket;
use floe_types::{ByteCount, Rate, Time};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What all sessions of a ticket may move together.
#[derive(Debug, Default)]
pub struct Throttle {
    bucket: Mutex<Option<Account>>,
}

#[derive(Debug)]
struct Account {
    rate: Rate,
    bucket: Bucket,
}

impl Throttle {
    /// The ticket's rate from now on; what is owed stays owed while there is one.
    pub fn set(&self, rate: Option<Rate>, now: Time) {
        let mut account = self.lock();
        match (account.as_mut(), rate) {
            (Some(account), Some(rate)) if account.rate == rate => {}
            (Some(account), Some(rate)) => {
                account.bucket.set_rate(rate, now);
                account.rate = rate;
            }
            (_, rate) => {
                *account = rate.map(|rate| Account { rate, bucket: Bucket::new(rate, now) });
            }
        }
    }

    /// Bytes have moved; from when on more may.
    pub fn charge(&self, bytes: ByteCount, now: Time) -> Time {
        match self.lock().as_mut() {
            None => Time(0),
            Some(account) => {
                account.bucket.charge(bytes, now);
                account.bucket.opens_at(now)
            }
        }
    }

    /// From when on anything may move.
    #[must_use]
    pub fn opens_at(&self, now: Time) -> Time {
        self.lock().as_ref().map_or(Time(0), |account| account.bucket.opens_at(now))
    }

    /// Whether there is nothing to remember: no rate, or nothing owed.
    #[must_use]
    pub fn is_even(&self, now: Time) -> bool {
        self.lock().as_ref().is_none_or(|account| account.bucket.is_open(now))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Account>> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
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
