//! The rates of tickets: one account each, for all sessions, for as long as anything is owed.

use crate::grant::Throttle;
use crate::ticket::TicketId;
use floe_types::{Rate, Time};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
pub(super) struct Rates(Mutex<HashMap<TicketId, Arc<Throttle>>>);

impl Rates {
    /// The account of a ticket that may go so fast now.
    pub(super) fn set(&self, ticket: TicketId, rate: Option<Rate>, now: Time) -> Arc<Throttle> {
        let throttle = self.of(ticket, now);
        throttle.set(rate, now);
        throttle
    }

    fn of(&self, ticket: TicketId, now: Time) -> Arc<Throttle> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains_key(&ticket) {
            // One that nobody has and that owes something stays until it does not.
            all.retain(|_, throttle| Arc::strong_count(throttle) > 1 || !throttle.is_even(now));
        }
        Arc::clone(all.entry(ticket).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::ByteCount;

    #[test]
    fn what_is_owed_outlives_the_sessions() {
        let (rates, now) = (Rates::default(), Time(0));
        let (one, other) = (TicketId([1; 16]), TicketId([2; 16]));
        let first = rates.set(one, Rate::new(1000), now);
        let opens = first.charge(ByteCount(5000), now);
        drop(first);
        rates.of(other, now);
        assert_eq!(rates.of(one, now).opens_at(now), opens);
        rates.of(TicketId([3; 16]), opens);
        assert_eq!(rates.0.lock().unwrap().len(), 1, "those that are even are forgotten");
    }
}
