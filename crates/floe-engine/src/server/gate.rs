//! How many connections may be in their greeting at once: 256 in all, 32 of one address.
//!
//! More wait their turn, within their own deadline, holding a descriptor and nothing else: so many
//! of all as there are descriptors for, and of one address as many as are left for others; beyond
//! that they are closed. An address that is alone has half of the places, two have a third each.
//! While others wait, a greeting that takes long is cut short. So neither one address nor a few can
//! keep the others from being let in.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep_until};

const GREETING_MAX: usize = 256;
const GREETING_MAX_PER_ADDRESS: usize = 32;
const PLACES_MAX: usize = 4096;
/// What a greeting may take while others wait: several round trips of a bad path.
const HASTE: Duration = Duration::from_secs(2);

/// Counts connections that are not let in yet.
pub(super) struct Gate {
    all: Arc<Semaphore>,
    places: Arc<Semaphore>,
    addresses: Mutex<HashMap<IpAddr, Neighbours>>,
    /// How many wait although their own address may greet.
    crowd: watch::Sender<usize>,
}

/// The connections of one address.
struct Neighbours {
    greeting: Arc<Semaphore>,
    places: usize,
}

/// A place in front of the gate.
pub(super) struct Place {
    gate: Arc<Gate>,
    address: IpAddr,
    own: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

/// A place in the gate, held for the greeting.
pub(super) struct Permit {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    place: Place,
    since: Instant,
}

impl Gate {
    /// A gate that nobody waits at; `sockets` may.
    pub(super) fn new(sockets: usize) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(GREETING_MAX)),
            places: Arc::new(Semaphore::new(sockets.min(PLACES_MAX))),
            addresses: Mutex::default(),
            crowd: watch::Sender::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Neighbours>> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place to wait, unless there are too many.
    pub(super) fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = block_of(address);
        let mut addresses = self.lock();
        let neighbours = addresses.entry(address).or_insert_with(|| Neighbours {
            greeting: Arc::new(Semaphore::new(GREETING_MAX_PER_ADDRESS)),
            places: 0,
        });
        let place = if neighbours.places < self.places.available_permits() {
            Arc::clone(&self.places).try_acquire_owned().ok()
        } else {
            None
        };
        let Some(place) = place else {
            if neighbours.places == 0 {
                addresses.remove(&address);
            }
            return None;
        };
        neighbours.places += 1;
        let own = Arc::clone(&neighbours.greeting);
        Some(Place { gate: Arc::clone(self), address, own, _place: place })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut addresses = self.gate.lock();
        if let Some(neighbours) = addresses.get_mut(&self.address) {
            neighbours.places -= 1;
            if neighbours.places == 0 {
                addresses.remove(&self.address);
            }
        }
    }
}

impl Place {
    /// Waits for a turn.
    pub(super) async fn pass(self) -> Option<Permit> {
        let own = Arc::clone(&self.own).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.gate.all);
        let all = match Arc::clone(&all).try_acquire_owned() {
            Ok(all) => all,
            Err(_) => {
                let _waits = Waits::new(&self.gate.crowd);
                all.acquire_owned().await.ok()?
            }
        };
        Some(Permit { _own: own, _all: all, place: self, since: Instant::now() })
    }
}

/// Somebody who waits for the gate.
struct Waits<'a>(&'a watch::Sender<usize>);

impl<'a> Waits<'a> {
    fn new(crowd: &'a watch::Sender<usize>) -> Self {
        crowd.send_modify(|count| *count += 1);
        Self(crowd)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

impl Permit {
    /// Waits until this greeting has taken long and others wait.
    pub(super) async fn is_pressed(&self) {
        sleep_until(self.since + HASTE).await;
        let mut crowd = self.place.gate.crowd.subscribe();
        // The sender lives as long as the gate.
        let _ = crowd.wait_for(|waiting| *waiting > 0).await;
    }
}

/// Whoever has one IPv6 address has 2^64 of them: they count as one.
pub(super) fn block_of(address: IpAddr) -> IpAddr {
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
    use std::pin::Pin;
    use std::task::Poll;

    async fn is_pending<T>(mut waits: Pin<&mut impl Future<Output = T>>) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await
    }

    /// Takes the whole gate, from eight addresses.
    async fn crowd(gate: &Arc<Gate>) -> Vec<Permit> {
        let mut held = Vec::new();
        for nth in 0..GREETING_MAX {
            let address =
                IpAddr::from([10, 0, 0, u8::try_from(nth / GREETING_MAX_PER_ADDRESS).unwrap()]);
            held.push(gate.place(address).unwrap().pass().await.unwrap());
        }
        // A task that has done so much is told to wait where it need not: another turn.
        tokio::task::yield_now().await;
        held
    }

    #[tokio::test]
    async fn an_address_waits_for_its_own_and_holds_up_no_other() {
        let gate = Gate::new(PLACES_MAX);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut held = Vec::new();
        for _ in 0..GREETING_MAX_PER_ADDRESS {
            held.push(gate.place(one).unwrap().pass().await.unwrap());
        }
        let waits = gate.place(one).unwrap().pass();
        tokio::pin!(waits);
        assert!(is_pending(waits.as_mut()).await);
        drop(gate.place(other).unwrap().pass().await.unwrap());
        held.pop();
        drop(waits.await.unwrap());
        drop(held);
        assert!(gate.lock().is_empty());
    }

    #[tokio::test]
    async fn one_address_takes_only_some_of_the_places_and_is_forgotten() {
        let gate = Gate::new(PLACES_MAX);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let places: Vec<_> = std::iter::from_fn(|| gate.place(one)).collect();
        assert_eq!(places.len(), PLACES_MAX / 2);
        let others: Vec<_> = std::iter::from_fn(|| gate.place(other)).collect();
        assert_eq!(others.len(), PLACES_MAX / 4);
        drop((places, others));
        assert!(gate.lock().is_empty());
    }

    #[tokio::test]
    async fn a_greeting_that_takes_long_is_pressed_only_while_others_wait() {
        let gate = Gate::new(PLACES_MAX);
        let mut held = crowd(&gate).await;
        let mut slow = held.pop().unwrap();
        slow.since -= HASTE;
        {
            let pressed = slow.is_pressed();
            tokio::pin!(pressed);
            assert!(is_pending(pressed.as_mut()).await, "nobody waits");
            let next = gate.place(IpAddr::from([10, 1, 0, 0])).unwrap().pass();
            tokio::pin!(next);
            assert!(is_pending(next.as_mut()).await);
            pressed.await;
        }
        let next = gate.place(IpAddr::from([10, 1, 0, 0])).unwrap().pass();
        drop(slow);
        assert!(next.await.is_some());
    }
}
