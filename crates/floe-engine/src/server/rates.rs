//! The rates of tickets: each shared out evenly among the transfers that run with it.
//!
//! What one of them does not use is nobody's, so all of them together never go faster than the
//! ticket may. A share changes when a transfer begins or ends, or the ticket is changed.

use crate::running::Running;
use crate::ticket::TicketId;
use floe_proto::command::Command;
use floe_types::{Rate, TransferId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub(super) struct Rates {
    state: Mutex<HashMap<TicketId, Shared>>,
}

/// The transfers of one ticket.
#[derive(Default)]
struct Shared {
    rate: Option<Rate>,
    transfers: HashMap<u64, (Arc<Running>, TransferId)>,
    next: u64,
}

/// A transfer that has its share until this is dropped.
pub(super) struct Share {
    rates: Arc<Rates>,
    ticket: TicketId,
    nth: u64,
}

impl Rates {
    fn lock(&self) -> MutexGuard<'_, HashMap<TicketId, Shared>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transfer of a ticket begins, which had this rate when its session did.
    pub(super) fn begin(
        self: &Arc<Self>,
        ticket: TicketId,
        rate: Option<Rate>,
        running: &Arc<Running>,
        transfer: TransferId,
    ) -> Share {
        let mut state = self.lock();
        let shared = state.entry(ticket).or_default();
        if shared.transfers.is_empty() {
            // Later changes come by `set`.
            shared.rate = rate;
        }
        shared.next += 1;
        let nth = shared.next;
        shared.transfers.insert(nth, (Arc::clone(running), transfer));
        if shared.rate.is_some() {
            shared.tell();
        }
        Share { rates: Arc::clone(self), ticket, nth }
    }

    /// What a ticket may now.
    pub(super) fn set(&self, ticket: TicketId, rate: Option<Rate>) {
        if let Some(shared) = self.lock().get_mut(&ticket)
            && shared.rate != rate
        {
            shared.rate = rate;
            shared.tell();
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.rates.lock();
        let Some(shared) = state.get_mut(&self.ticket) else { return };
        shared.transfers.remove(&self.nth);
        if shared.transfers.is_empty() {
            state.remove(&self.ticket);
        } else if shared.rate.is_some() {
            shared.tell();
        }
    }
}

impl Shared {
    /// Tells each transfer its share.
    fn tell(&self) {
        let each = self.rate.map(|rate| share_of(rate, self.transfers.len()));
        for (running, transfer) in self.transfers.values() {
            // One that is over needs no command.
            let _ = running.command(Command::Limit(*transfer, each));
        }
    }
}

/// An even share, of which all together are no more than the rate; at least a byte a second.
fn share_of(rate: Rate, transfers: usize) -> Rate {
    Rate::new(rate.bytes_per_sec() / transfers.max(1) as u64).unwrap_or(Rate::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_no_more_than_the_rate() {
        let rate = Rate::new(1000).unwrap();
        let shares = [1, 3, 1000, 5000].map(|count| share_of(rate, count).bytes_per_sec());
        assert_eq!(shares, [1000, 333, 1, 1]);
    }
}
