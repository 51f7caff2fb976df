//! How many connections may be in their greeting at once: 256 in all, 32 of one address.
//!
//! More wait their turn, within their own deadline, holding a descriptor and nothing else; beyond
//! `WAITING_MAX` they are closed. So one address cannot keep others from being let in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const GREETING_MAX: usize = 256;
const GREETING_MAX_PER_ADDRESS: usize = 32;
const WAITING_MAX: usize = 4096;

/// Counts connections that are not let in yet.
pub(super) struct Gate {
    all: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    addresses: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// A place in front of the gate.
pub(super) struct Place {
    own: Arc<Semaphore>,
    _waiting: OwnedSemaphorePermit,
}

/// A place in the gate, held for the greeting.
pub(super) struct Permit {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _place: Place,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(GREETING_MAX)),
            waiting: Arc::new(Semaphore::new(WAITING_MAX)),
            addresses: Mutex::default(),
        }
    }

    /// A place to wait, unless there are too many.
    pub(super) fn place(&self, address: IpAddr) -> Option<Place> {
        let waiting = Arc::clone(&self.waiting).try_acquire_owned().ok()?;
        let address = block_of(address);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let own = addresses
            .entry(address)
            .or_insert_with(|| Arc::new(Semaphore::new(GREETING_MAX_PER_ADDRESS)));
        Some(Place { own: Arc::clone(own), _waiting: waiting })
    }

    /// Waits for a turn.
    pub(super) async fn pass(&self, place: Place) -> Option<Permit> {
        let own = Arc::clone(&place.own).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Permit { _own: own, _all: all, _place: place })
    }

    /// Forgets an address that nobody comes from any more.
    pub(super) fn forget(&self, address: IpAddr) {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let address = block_of(address);
        // One handle is the map's own.
        if addresses.get(&address).is_some_and(|own| Arc::strong_count(own) == 1) {
            addresses.remove(&address);
        }
    }
}

/// Whoever has one IPv6 address has 2^64 of them: they count as one.
fn block_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_waits_for_its_own_and_holds_up_no_other() {
        let gate = Gate::new();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut held = Vec::new();
        for _ in 0..GREETING_MAX_PER_ADDRESS {
            held.push(gate.pass(gate.place(one).unwrap()).await.unwrap());
        }
        let waits = gate.pass(gate.place(one).unwrap());
        tokio::pin!(waits);
        assert!(
            std::future::poll_fn(|cx| std::task::Poll::Ready(waits.as_mut().poll(cx)))
                .await
                .is_pending()
        );
        drop(gate.pass(gate.place(other).unwrap()).await.unwrap());
        gate.forget(other);
        held.pop();
        drop(waits.await.unwrap());
        drop(held);
        gate.forget(one);
        assert!(gate.addresses.lock().unwrap().is_empty());
    }
}
