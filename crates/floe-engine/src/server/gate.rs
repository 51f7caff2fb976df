//! How many connections may be in their greeting at once: so many in all, so many of one address.
//!
//! More wait their turn, within their own deadline, holding a descriptor and nothing else: so many
//! of all as there are descriptors for. An address may fill them. When no place is left, one that
//! has fewer than another takes the place of that one's oldest wait, which is closed. While others
//! wait, a greeting that takes long is cut short. So neither one address nor a few can keep the
//! others from being let in.

use crate::rules::Caps;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::time::{Instant, sleep_until};

const PLACES_MAX: usize = 4096;
/// What a greeting may take while others wait: several round trips of a bad path.
const HASTE: Duration = Duration::from_secs(2);

/// Counts connections that are not let in yet.
pub(super) struct Gate {
    all: Mutex<Arc<Semaphore>>,
    street: Mutex<Street>,
    /// How many wait although their own address may greet.
    crowd: watch::Sender<usize>,
}

/// Everybody in front of the gate.
struct Street {
    free: usize,
    /// How many of one address may greet.
    own_max: usize,
    next: u64,
    addresses: HashMap<IpAddr, Neighbours>,
}

/// The connections of one address.
struct Neighbours {
    greeting: Arc<Semaphore>,
    /// Those in their greeting among them.
    places: usize,
    /// Those that wait, the oldest first, and how they are told to leave.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A place in front of the gate.
pub(super) struct Place {
    gate: Arc<Gate>,
    address: IpAddr,
    number: u64,
    own: Arc<Semaphore>,
    hold: Hold,
}

/// Whether a place is still its holder's.
enum Hold {
    /// Until this is told.
    While(oneshot::Receiver<()>),
    /// For the greeting.
    Sure,
    /// Another has it.
    Lost,
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
    pub(super) fn new(sockets: usize, caps: Caps) -> Arc<Self> {
        let (free, own_max) = (sockets.min(PLACES_MAX), caps.greetings_per_address as usize);
        Arc::new(Self {
            all: Mutex::new(Arc::new(Semaphore::new(caps.greetings as usize))),
            street: Mutex::new(Street { free, own_max, next: 0, addresses: HashMap::new() }),
            crowd: watch::Sender::new(0),
        })
    }

    /// Other caps for who comes from now on; those that greet already do not count any more.
    pub(super) fn set_caps(&self, caps: Caps) {
        let fresh = Arc::new(Semaphore::new(caps.greetings as usize));
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.lock().own_max = caps.greetings_per_address as usize;
    }

    fn all(&self) -> Arc<Semaphore> {
        Arc::clone(&self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, Street> {
        self.street.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place to wait, unless there are too many.
    pub(super) fn place(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let address = block_of(address);
        let mut street = self.lock();
        if street.free == 0 && !street.make_room_for(address) {
            return None;
        }
        street.free -= 1;
        let number = street.next;
        street.next += 1;
        let (told, hears) = oneshot::channel();
        let own_max = street.own_max;
        let neighbours = street.addresses.entry(address).or_insert_with(|| Neighbours {
            greeting: Arc::new(Semaphore::new(own_max)),
            places: 0,
            waiting: BTreeMap::new(),
        });
        neighbours.places += 1;
        neighbours.waiting.insert(number, told);
        let own = Arc::clone(&neighbours.greeting);
        Some(Place { gate: Arc::clone(self), address, number, own, hold: Hold::While(hears) })
    }
}

impl Street {
    /// Takes a place from the address that has most, if that leaves it as many as the newcomer's.
    fn make_room_for(&mut self, newcomer: IpAddr) -> bool {
        let has = self.addresses.get(&newcomer).map_or(0, |neighbours| neighbours.places);
        let waiting = self.addresses.iter().filter(|(_, theirs)| !theirs.waiting.is_empty());
        let most = waiting.max_by_key(|(_, theirs)| theirs.places);
        let Some(address) = most.filter(|(_, theirs)| theirs.places > has + 1).map(|(a, _)| *a)
        else {
            return false;
        };
        let Some(theirs) = self.addresses.get_mut(&address) else { return false };
        let Some((_, told)) = theirs.waiting.pop_first() else { return false };
        // Whoever is not there any more leaves all the same.
        let _ = told.send(());
        self.leave(address);
        true
    }

    fn leave(&mut self, address: IpAddr) {
        let Some(neighbours) = self.addresses.get_mut(&address) else { return };
        neighbours.places -= 1;
        self.free += 1;
        if neighbours.places == 0 {
            self.addresses.remove(&address);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut street = self.gate.lock();
        let waited =
            street.addresses.get_mut(&self.address).map(|neighbours| &mut neighbours.waiting);
        let still = waited.is_some_and(|waiting| waiting.remove(&self.number).is_some());
        if still || matches!(self.hold, Hold::Sure) {
            street.leave(self.address);
        }
    }
}

impl Place {
    /// Waits for a turn; `None` where another took the place.
    pub(super) async fn pass(mut self) -> Option<Permit> {
        let Hold::While(hears) = std::mem::replace(&mut self.hold, Hold::Lost) else { return None };
        let (own, gate) = (Arc::clone(&self.own), Arc::clone(&self.gate));
        let turn = async move {
            let own = own.acquire_owned().await.ok()?;
            let everybody = gate.all();
            let all = match Arc::clone(&everybody).try_acquire_owned() {
                Ok(all) => all,
                Err(_) => {
                    let _waits = Waits::new(&gate.crowd);
                    everybody.acquire_owned().await.ok()?
                }
            };
            Some((own, all))
        };
        let (own, all) = tokio::select! {
            turn = turn => turn?,
            _ = hears => return None,
        };
        let mut street = self.gate.lock();
        let waiting = &mut street.addresses.get_mut(&self.address)?.waiting;
        waiting.remove(&self.number)?;
        drop(street);
        self.hold = Hold::Sure;
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

    const CAPS: Caps = Caps {
        greetings: 256,
        greetings_per_address: 32,
        sessions: 1,
        sessions_per_ticket: None,
        sessions_per_address: None,
    };

    async fn is_pending<T>(mut waits: Pin<&mut impl Future<Output = T>>) -> bool {
        std::future::poll_fn(|cx| Poll::Ready(waits.as_mut().poll(cx).is_pending())).await
    }

    /// Takes the whole gate, from eight addresses.
    async fn crowd(gate: &Arc<Gate>) -> Vec<Permit> {
        let mut held = Vec::new();
        for nth in 0..CAPS.greetings {
            let address =
                IpAddr::from([10, 0, 0, u8::try_from(nth / CAPS.greetings_per_address).unwrap()]);
            held.push(gate.place(address).unwrap().pass().await.unwrap());
        }
        // A task that has done so much is told to wait where it need not: another turn.
        tokio::task::yield_now().await;
        held
    }

    #[tokio::test]
    async fn an_address_waits_for_its_own_and_holds_up_no_other() {
        let gate = Gate::new(PLACES_MAX, CAPS);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut held = Vec::new();
        for _ in 0..CAPS.greetings_per_address {
            held.push(gate.place(one).unwrap().pass().await.unwrap());
        }
        let waits = gate.place(one).unwrap().pass();
        tokio::pin!(waits);
        assert!(is_pending(waits.as_mut()).await);
        drop(gate.place(other).unwrap().pass().await.unwrap());
        held.pop();
        drop(waits.await.unwrap());
        drop(held);
        assert!(gate.lock().addresses.is_empty());
    }

    #[tokio::test]
    async fn who_comes_when_no_place_is_left_takes_one_of_the_address_that_has_most() {
        let gate = Gate::new(12, CAPS);
        let from = |nth: u8| IpAddr::from([10, 0, 0, nth]);
        let mut all: Vec<_> = std::iter::from_fn(|| gate.place(from(1))).collect();
        assert_eq!(all.len(), 12, "one that is alone has all");
        for (nth, share) in [(2, 6), (3, 4), (4, 3)] {
            let taken: Vec<_> = std::iter::from_fn(|| gate.place(from(nth))).collect();
            assert_eq!(taken.len(), share);
            all.extend(taken);
            let most = gate.lock().addresses.values().map(|their| their.places).max();
            assert!(most <= Some(share + 1), "{most:?}");
        }
        let oldest = all.remove(0);
        assert!(oldest.pass().await.is_none(), "another has its place");
        let newest = all.pop().unwrap();
        let passed = newest.pass().await;
        assert!(passed.is_some());
        drop((passed, all));
        assert!(gate.lock().addresses.is_empty() && gate.lock().free == 12);
    }

    #[tokio::test]
    async fn a_greeting_that_takes_long_is_pressed_only_while_others_wait() {
        let gate = Gate::new(PLACES_MAX, CAPS);
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
