//! A server's sessions by id, for JOIN, and who owns which stage, for take-over.
//!
//! A stage has one live owner. Whoever opens one that another session of this server holds ends
//! that session first: it is the same client, come back. Unless that one came later: then the one
//! that asks is what a killed command left on its way. A claim lasts as long as the entry is open,
//! not as long as its session. The share of the buffers that a session may hold changes as sessions
//! come and go.

mod shares; // what each may hold in buffers

use crate::customer::Customer;
use crate::grant::{Bounds, Meter};
use crate::rules::Caps;
use crate::running::Running;
use crate::ticket::TicketId;
use floe_proto::greeting::Channel;
use floe_store::{OwnerId, StageKey};
use floe_types::ByteCount;
use shares::Shares;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A session as JOIN finds it.
pub struct Member {
    /// The session.
    pub running: Arc<Running>,
    /// What a JOIN must prove to know.
    pub secret: [u8; 32],
    /// What its first stream runs over.
    pub channel: Channel,
    /// The ticket it began with, and what that allowed then; nothing for an anonymous one.
    pub pass: Option<Pass>,
    /// The connections that it may have, as it was told.
    pub streams_max: u32,
    /// Whom it counts for.
    pub party: Party,
}

/// With what a session was let in.
#[derive(Clone)]
pub struct Pass {
    /// Which ticket.
    pub id: TicketId,
    /// What it allowed.
    pub bounds: Bounds,
    /// What it brings in is counted here.
    pub meter: Option<Arc<Meter>>,
}

impl Pass {
    /// Whether its holder may measure the path and the server: not where each transfer is counted.
    #[must_use]
    pub fn takes_probes(&self) -> bool {
        self.bounds.uses.is_none()
    }
}

/// A session's id.
pub type SessionId = [u8; 16];

/// The sessions of a server.
pub struct Registry {
    state: Mutex<State>,
    sessions_max: usize,
}

/// Whom a session counts for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Party {
    /// Whoever holds this ticket.
    Ticket([u8; 16]),
    /// Somebody without one, at this address or in this block of addresses.
    Address(IpAddr),
}

impl Party {
    /// One of how many it may have of what there is for all.
    const fn share(self) -> usize {
        match self {
            Self::Ticket(_) => 2,
            Self::Address(_) => 16,
        }
    }

    /// A customer that this party is from now on.
    fn customer(self) -> Customer {
        match self {
            Self::Ticket(_) => Customer::next(),
            Self::Address(_) => Customer::next_stranger(),
        }
    }

    const fn is_strange(self) -> bool {
        matches!(self, Self::Address(_))
    }
}

/// Counts as a session of its party while it lives.
pub struct Guest {
    registry: Arc<Registry>,
    party: Party,
    customer: Customer,
}

impl Guest {
    /// What all sessions of its party are to lanes.
    #[must_use]
    pub const fn customer(&self) -> Customer {
        self.customer
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        state.guests -= 1;
        state.strangers.guests -= usize::from(self.party.is_strange());
        if let Some((count, _)) = state.parties.get_mut(&self.party) {
            *count -= 1;
            if *count == 0 {
                state.parties.remove(&self.party);
            }
        }
    }
}

/// A further connection of a session, which counts for its party while it lives.
pub struct Seat {
    registry: Arc<Registry>,
    party: Party,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        state.strangers.seats -= usize::from(self.party.is_strange());
        if let Some(count) = state.seats.get_mut(&self.party) {
            *count -= 1;
            if *count == 0 {
                state.seats.remove(&self.party);
            }
        }
    }
}

struct State {
    guests: usize,
    parties: HashMap<Party, (usize, Customer)>,
    /// Connections beside the first of each session.
    seats: HashMap<Party, usize>,
    /// What those without a ticket have of both.
    strangers: Strangers,
    members: HashMap<SessionId, Arc<Member>>,
    /// Sessions that change something, by owner, the earlier first; also some that have let go.
    changing: HashMap<OwnerId, Vec<Weak<Running>>>,
    /// At so many owners those that have none any more are forgotten.
    changing_max: usize,
    claims: HashMap<StageKey, Holder>,
    /// How many claims there were.
    claimed: u64,
    /// Sessions with transfers.
    shares: Shares,
}

/// Sessions and further connections of those without a ticket.
#[derive(Default)]
struct Strangers {
    guests: usize,
    seats: usize,
}

/// When a session's first connection was accepted, among all.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Arrival(u64);

impl Arrival {
    /// After all before.
    #[must_use]
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Whose a stage is.
struct Holder {
    /// Weak: the session holds the claim.
    running: Weak<Running>,
    arrival: Arrival,
    nth: u64,
}

/// The other session that holds a stage.
pub struct Held {
    /// That session.
    pub by: Arc<Running>,
    /// Whether it came after the one that asks.
    pub came_later: bool,
}

impl State {
    /// Tells the sessions whose share changed. Under the lock, so that what is told last is what
    /// was decided last. A session's own lock comes after this one, never before.
    fn share_out(&mut self) {
        let changed = self.shares.changed();
        if changed.is_empty() {
            return;
        }
        let changed: HashMap<_, _> = changed.into_iter().collect();
        for member in self.members.values() {
            if let Some(share) = changed.get(&member.party) {
                member.running.set_budget(*share);
            }
        }
    }
}

/// A stage that is a session's own until this is dropped.
pub struct Claim {
    registry: Arc<Registry>,
    key: StageKey,
    nth: u64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        if state.claims.get(&self.key).is_some_and(|holder| holder.nth == self.nth) {
            state.claims.remove(&self.key);
        }
    }
}

impl Registry {
    /// No sessions yet; all together may hold so much in buffers, and so many may come.
    #[must_use]
    pub fn new(buffers: ByteCount, sessions_max: usize) -> Self {
        let state = State {
            guests: 0,
            parties: HashMap::new(),
            seats: HashMap::new(),
            strangers: Strangers::default(),
            members: HashMap::new(),
            changing: HashMap::new(),
            changing_max: OWNERS_MIN,
            claims: HashMap::new(),
            claimed: 0,
            shares: Shares::new(buffers),
        };
        Self { state: Mutex::new(state), sessions_max }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a session of a party may hold in buffers that begins its first transfer next.
    #[must_use]
    pub fn share(&self, party: &Party) -> ByteCount {
        self.lock().shares.next(party)
    }

    /// Lets a session in, unless there are too many, or too many of its party: where the caps do
    /// not say, one ticket may have half of all, one address without a ticket a sixteenth. All
    /// without a ticket have half together: from enough addresses they would keep the others out.
    pub fn admit(self: &Arc<Self>, party: Party, caps: &Caps) -> Option<Guest> {
        let sessions_max = self.sessions_max.min(caps.sessions as usize);
        let own = match party {
            Party::Ticket(_) => caps.sessions_per_ticket,
            Party::Address(_) => caps.sessions_per_address,
        };
        let own_max = own.map_or(sessions_max.div_ceil(party.share()), |own| own as usize);
        let mut state = self.lock();
        let known = state.parties.get(&party).copied();
        let (own, customer) = known.unwrap_or_else(|| (0, party.customer()));
        let strange = party.is_strange() && state.strangers.guests >= sessions_max.div_ceil(2);
        if state.guests >= sessions_max || own >= own_max || strange {
            return None;
        }
        state.guests += 1;
        state.strangers.guests += usize::from(party.is_strange());
        state.parties.insert(party, (own + 1, customer));
        Some(Guest { registry: Arc::clone(self), party, customer })
    }

    /// Counts one more connection of a session, unless its party has its share of all there may be:
    /// one ticket half, one address without a ticket a sixteenth, each first of a session included.
    pub fn seat(self: &Arc<Self>, party: Party, sockets_max: usize) -> Option<Seat> {
        let own_max = sockets_max.div_ceil(party.share());
        let mut state = self.lock();
        let seats = state.seats.get(&party).copied().unwrap_or(0);
        let first = state.parties.get(&party).map_or(0, |(count, _)| *count);
        let strangers = &mut state.strangers;
        let all = strangers.guests + strangers.seats;
        if seats + first >= own_max || (party.is_strange() && all >= sockets_max.div_ceil(2)) {
            return None;
        }
        strangers.seats += usize::from(party.is_strange());
        state.seats.insert(party, seats + 1);
        Some(Seat { registry: Arc::clone(self), party })
    }

    /// Adds a session. It takes no share before it has a transfer.
    pub fn add(&self, id: SessionId, member: Member) {
        self.lock().members.insert(id, Arc::new(member));
    }

    /// A session is about to change something: sessions of the same owner that did so before, whose
    /// peer is gone, and of which something may be under way yet.
    #[must_use]
    pub fn left_before(&self, session: &Arc<Running>) -> Vec<Arc<Running>> {
        let mut state = self.lock();
        let State { changing, changing_max, .. } = &mut *state;
        if changing.len() > *changing_max {
            // Nobody says when one has let go.
            changing.retain(|_, own| {
                own.retain(may_change);
                !own.is_empty()
            });
            *changing_max = (2 * changing.len()).max(OWNERS_MIN);
        }
        let own = changing.entry(session.files.owner()).or_default();
        let is_it = |one: &Weak<Running>| std::ptr::eq(one.as_ptr(), Arc::as_ptr(session));
        if !own.iter().any(is_it) {
            own.retain(may_change);
            own.push(Arc::downgrade(session));
        }
        let before = own.iter().take_while(|one| !is_it(one)).filter_map(Weak::upgrade);
        before.filter(|one| one.files.is_deserted() && !one.is_released()).collect()
    }

    /// A transfer of a session begins: the others may get less.
    pub fn transfer_begins(&self, id: &SessionId) {
        let mut state = self.lock();
        let Some(member) = state.members.get(id).cloned() else { return };
        state.shares.begin(*id, member.party);
        // It may have come between two changes.
        member.running.set_budget(state.shares.of(&member.party));
        state.share_out();
    }

    /// A transfer of a session is over: the others may get more.
    pub fn transfer_ends(&self, id: &SessionId) {
        let mut state = self.lock();
        state.shares.end(id);
        state.share_out();
    }

    /// Removes a session; the others get more.
    pub fn remove(&self, id: &SessionId) {
        let mut state = self.lock();
        state.members.remove(id);
        state.shares.remove(id);
        state.share_out();
    }

    /// A session, if it runs here.
    #[must_use]
    pub fn find(&self, id: &SessionId) -> Option<Arc<Member>> {
        self.lock().members.get(id).cloned()
    }

    /// All sessions.
    #[must_use]
    pub fn members(&self) -> Vec<Arc<Member>> {
        self.lock().members.values().cloned().collect()
    }

    /// Claims a stage for a session that came when it did.
    ///
    /// # Errors
    /// The session that holds it, if another does.
    pub fn claim(
        self: &Arc<Self>,
        key: &StageKey,
        by: &Arc<Running>,
        arrival: Arrival,
    ) -> Result<Claim, Held> {
        let mut state = self.lock();
        let holder = state.claims.get(key).and_then(|holder| {
            let running = holder.running.upgrade()?;
            Some(Held { by: running, came_later: holder.arrival > arrival })
        });
        let mine = holder.as_ref().is_some_and(|held| Arc::ptr_eq(&held.by, by));
        match holder {
            Some(held) if !mine && !held.by.is_released() => return Err(held),
            _ => {}
        }
        state.claimed += 1;
        let nth = state.claimed;
        // Opened twice in one session, the first claim stands: the store refuses the second.
        if !mine {
            let running = Arc::downgrade(by);
            state.claims.insert(key.clone(), Holder { running, arrival, nth });
        }
        Ok(Claim { registry: Arc::clone(self), key: key.clone(), nth })
    }

    /// How many stages are claimed.
    #[must_use]
    pub fn claims(&self) -> usize {
        self.lock().claims.len()
    }
}

/// So many owners are not looked through.
const OWNERS_MIN: usize = 64;

/// Whether anything of a session may be under way.
fn may_change(session: &Weak<Running>) -> bool {
    session.upgrade().is_some_and(|session| !session.is_released())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_party_cannot_take_all_sessions() {
        let (registry, caps) = (Arc::new(Registry::new(ByteCount(0), 32)), Caps::default());
        let ticket = |nth| Party::Ticket([nth; 16]);
        let address = Party::Address(IpAddr::from([10, 0, 0, 1]));
        let first: Vec<_> = std::iter::from_fn(|| registry.admit(ticket(1), &caps)).collect();
        let anybody: Vec<_> = std::iter::from_fn(|| registry.admit(address, &caps)).collect();
        let second: Vec<_> = std::iter::from_fn(|| registry.admit(ticket(2), &caps)).collect();
        assert_eq!((first.len(), anybody.len(), second.len()), (16, 2, 14));
        drop(first);
        assert!(registry.admit(ticket(3), &caps).is_some());
        drop((anybody, second));
        assert!(registry.lock().parties.is_empty());
        // Many addresses leave half to those with tickets.
        let block = |nth| Party::Address(IpAddr::from([10, 0, 1, nth]));
        let crowd: Vec<_> = (0..32).filter_map(|nth| registry.admit(block(nth), &caps)).collect();
        let seats: Vec<_> = (0..32).filter_map(|nth| registry.seat(block(nth), 64)).collect();
        assert_eq!((crowd.len(), seats.len()), (16, 16));
        assert!(registry.admit(ticket(4), &caps).is_some());
        drop((crowd, seats));
        let few = Caps { sessions: 4, sessions_per_ticket: Some(3), ..caps };
        let first: Vec<_> = std::iter::from_fn(|| registry.admit(ticket(1), &few)).collect();
        let second: Vec<_> = std::iter::from_fn(|| registry.admit(ticket(2), &few)).collect();
        assert_eq!((first.len(), second.len()), (3, 1));
    }
}
