//! How many connections may be in their greeting at once: so many in all, so many of one address.
//!
//! More wait, within their own deadline, holding a descriptor and nothing else: so many of all as
//! there are descriptors for. An address may fill them. Who has said nothing yet has no turn. When
//! no place is left, one that has fewer than another takes the place of that one's oldest wait,
//! which is closed; where all have as few, that of the oldest that has said nothing. While others
//! wait, a greeting that takes long is cut short, the sooner the more they are: who waits has a
//! turn after about two seconds, however many stand before it. That is so for the turns of one
//! address as well: its own cut each other short, and nobody else's, but not before half a second:
//! where more than four to a turn wait there it takes longer, and where more than twenty do, longer
//! than anybody waits. So neither one address nor thousands that are idle can keep the others from
//! being let in, nor a few silent ones who shares an address with them.

use crate::rules::Caps;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep_until};

const PLACES_MAX: usize = 4096;
/// What a greeting may take while others wait: several round trips of a bad path.
const HASTE: Duration = Duration::from_secs(2);
/// What it may take at least, whoever waits: a round trip; and how often that is looked at.
const HASTE_MIN: Duration = Duration::from_millis(100);
/// Neighbours may all be honest, and far away: one of them has a round trip or two.
const OWN_HASTE_MIN: Duration = Duration::from_millis(500);

/// How many may be told to leave and not be gone yet.
const EXITS: usize = 64;

/// Held until a connection that gave way to another is closed.
pub(super) type Exit = OwnedSemaphorePermit;

/// Counts connections that are not let in yet.
pub(super) struct Gate {
    all: Mutex<Arc<Turns>>,
    /// Half of the places: whoever has a turn is hurried only while somebody has a place to wait.
    turns_max: usize,
    street: Mutex<Street>,
    exits: Arc<Semaphore>,
}

/// Everybody in front of the gate.
struct Street {
    free: usize,
    /// How many of one address may greet.
    own_max: usize,
    next: u64,
    addresses: HashMap<IpAddr, Neighbours>,
    /// Those that wait and have said nothing yet, the oldest first.
    silent: BTreeMap<u64, IpAddr>,
}

/// The connections of one address.
struct Neighbours {
    turns: Arc<Turns>,
    /// Those in their greeting among them.
    places: usize,
    /// Those that wait, the oldest first, and how they are told to leave.
    waiting: BTreeMap<u64, oneshot::Sender<Exit>>,
}

/// So many at once, of all or of one address.
struct Turns {
    free: Arc<Semaphore>,
    count: usize,
    /// How many wait for one.
    waiting: AtomicUsize,
}

/// One of them, until it is dropped.
struct Turn {
    of: Arc<Turns>,
    _held: OwnedSemaphorePermit,
}

/// A place in front of the gate.
pub(super) struct Place {
    gate: Arc<Gate>,
    address: IpAddr,
    number: u64,
    own: Arc<Turns>,
    hold: Hold,
}

/// Whether a place is still its holder's.
enum Hold {
    /// Until this is told.
    While(oneshot::Receiver<Exit>),
    /// For the greeting.
    Sure,
    /// Another has it.
    Lost,
}

/// A place in the gate, held for the greeting.
pub(super) struct Permit {
    own: Turn,
    all: Turn,
    since: Instant,
    _place: Place,
}

impl Gate {
    /// A gate that nobody waits at; `sockets` may.
    pub(super) fn new(sockets: usize, caps: Caps) -> Arc<Self> {
        let street = Street {
            free: sockets.min(PLACES_MAX),
            own_max: caps.greetings_per_address as usize,
            next: 0,
            addresses: HashMap::new(),
            silent: BTreeMap::new(),
        };
        let turns_max = (street.free / 2).max(1);
        Arc::new(Self {
            all: Mutex::new(Turns::new(turns_max.min(caps.greetings as usize))),
            turns_max,
            street: Mutex::new(street),
            exits: Arc::new(Semaphore::new(EXITS)),
        })
    }

    /// Other caps for who comes from now on; those that greet already do not count any more.
    pub(super) fn set_caps(&self, caps: Caps) {
        let fresh = Turns::new(self.turns_max.min(caps.greetings as usize));
        *self.all.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        self.lock().own_max = caps.greetings_per_address as usize;
    }

    fn all(&self) -> Arc<Turns> {
        Arc::clone(&self.all.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> MutexGuard<'_, Street> {
        self.street.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until few enough are leaving.
    pub(super) async fn exit(&self) -> Exit {
        match Arc::clone(&self.exits).acquire_owned().await {
            Ok(exit) => exit,
            // It is closed by nobody.
            Err(_) => std::future::pending().await,
        }
    }

    /// A place to wait, unless there are too many; `exit` is for whoever has to leave for it.
    pub(super) fn place(self: &Arc<Self>, address: IpAddr, exit: Exit) -> Option<Place> {
        let address = block_of(address);
        let mut street = self.lock();
        if street.free == 0 && !street.make_room_for(address, exit) {
            return None;
        }
        street.free -= 1;
        let number = street.next;
        street.next += 1;
        let (told, hears) = oneshot::channel();
        let own_max = street.own_max;
        let neighbours = street.addresses.entry(address).or_insert_with(|| Neighbours {
            turns: Turns::new(own_max),
            places: 0,
            waiting: BTreeMap::new(),
        });
        neighbours.places += 1;
        neighbours.waiting.insert(number, told);
        let own = Arc::clone(&neighbours.turns);
        street.silent.insert(number, address);
        Some(Place { gate: Arc::clone(self), address, number, own, hold: Hold::While(hears) })
    }
}

impl Street {
    /// Takes a place from the address that has most, if that leaves it as many as the newcomer's;
    /// or else, for one that has none, from whoever has been silent for longest.
    fn make_room_for(&mut self, newcomer: IpAddr, exit: Exit) -> bool {
        let has = self.addresses.get(&newcomer).map_or(0, |neighbours| neighbours.places);
        let waiting = self.addresses.iter().filter(|(_, theirs)| !theirs.waiting.is_empty());
        let most = waiting.max_by_key(|(_, theirs)| theirs.places);
        let crowded =
            most.filter(|(_, theirs)| theirs.places > has + 1).and_then(|(at, theirs)| {
                let (oldest, _) = theirs.waiting.first_key_value()?;
                Some((*oldest, *at))
            });
        let silent = || self.silent.first_key_value().map(|(number, at)| (*number, *at));
        let Some((number, address)) = crowded.or_else(|| silent().filter(|_| has == 0)) else {
            return false;
        };
        let Some(theirs) = self.addresses.get_mut(&address) else { return false };
        let Some(told) = theirs.waiting.remove(&number) else { return false };
        // Whoever is not there any more leaves all the same.
        let _ = told.send(exit);
        self.silent.remove(&number);
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
        street.silent.remove(&self.number);
        let waited =
            street.addresses.get_mut(&self.address).map(|neighbours| &mut neighbours.waiting);
        let still = waited.is_some_and(|waiting| waiting.remove(&self.number).is_some());
        if still || matches!(self.hold, Hold::Sure) {
            street.leave(self.address);
        }
    }
}

impl Place {
    /// Waits until something was said, and then for a turn.
    ///
    /// # Errors
    /// Another took the place: its way out is to be held until the connection is closed.
    pub(super) async fn pass(
        mut self,
        said: impl Future<Output = ()>,
    ) -> Result<Permit, Option<Exit>> {
        let hold = std::mem::replace(&mut self.hold, Hold::Lost);
        let Hold::While(mut hears) = hold else { return Err(None) };
        let (own, gate) = (Arc::clone(&self.own), Arc::clone(&self.gate));
        let number = self.number;
        let turn = async move {
            said.await;
            gate.lock().silent.remove(&number);
            let own = own.take().await?;
            let all = gate.all().take().await?;
            Some((own, all))
        };
        let (own, all) = tokio::select! {
            turn = turn => turn.ok_or(None)?,
            exit = &mut hears => return Err(exit.ok()),
        };
        let mut street = self.gate.lock();
        let theirs = street.addresses.get_mut(&self.address);
        if theirs.and_then(|theirs| theirs.waiting.remove(&self.number)).is_none() {
            drop(street);
            return Err(hears.try_recv().ok());
        }
        drop(street);
        self.hold = Hold::Sure;
        Ok(Permit { own, all, since: Instant::now(), _place: self })
    }
}

impl Turns {
    fn new(count: usize) -> Arc<Self> {
        let free = Arc::new(Semaphore::new(count));
        Arc::new(Self { free, count, waiting: AtomicUsize::new(0) })
    }

    /// Waits for one, behind those who came before.
    async fn take(self: Arc<Self>) -> Option<Turn> {
        let held = match Arc::clone(&self.free).try_acquire_owned() {
            Ok(held) => held,
            Err(_) => {
                let _waits = Waits::new(&self.waiting);
                Arc::clone(&self.free).acquire_owned().await.ok()?
            }
        };
        Some(Turn { of: self, _held: held })
    }
}

impl Turn {
    /// Whether who took so long, and as long as any may, has taken long for how many wait.
    fn is_pressed(&self, taken: Duration, least: Duration) -> bool {
        let waiting = self.of.waiting.load(Ordering::Relaxed);
        waiting > 0 && taken >= haste(waiting, self.of.count).max(least)
    }
}

/// Somebody who waits for a turn.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Permit {
    /// Waits until this greeting has taken long for how many others wait.
    pub(super) async fn is_pressed(&self) {
        for ticks in 1.. {
            sleep_until(self.since + HASTE_MIN * ticks).await;
            let taken = self.since.elapsed();
            if self.own.is_pressed(taken, OWN_HASTE_MIN) || self.all.is_pressed(taken, HASTE_MIN) {
                return;
            }
        }
    }
}

/// What a greeting may take while so many wait for as many to end: those all have their turn within
/// `HASTE`, or as soon as can be.
fn haste(waiting: usize, turns: usize) -> Duration {
    let share = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let slots = share(turns.max(1));
    (HASTE * slots / slots.saturating_add(share(waiting))).max(HASTE_MIN)
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
mod tests;
