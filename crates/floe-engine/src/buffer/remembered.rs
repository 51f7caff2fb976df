//! What sessions remember on behalf of their peers: names that were announced, ranges that are
//! held, answers that wait.
//!
//! Peers choose how much that is. Past half of what the pool may lend, all sessions together, who
//! has more than half of its share, and than a usual tree takes, ends and comes again. Past all of
//! it the one ends that has most, of the party that has most, whoever it is that grows: so one with
//! a thousand sessions takes nothing from one that has a single one, and who sits still stays no
//! longer than who works. All that have no ticket are one party before they are many.

use super::{Bell, Pool};
use crate::customer::Customer;
use floe_types::ByteCount;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A tree of 4,096 entries ahead, with paths of some hundred bytes, and the answers of it.
const USUAL: ByteCount = ByteCount(6 << 20);

/// What all sessions of a pool remember.
#[derive(Default)]
pub(super) struct Sum {
    bytes: AtomicU64,
    /// Locked before the part of one, and only while memory is short, or one comes or goes.
    sessions: Mutex<Vec<Arc<Own>>>,
}

/// One session, as the others see it.
struct Own {
    party: Customer,
    part: Mutex<Part>,
    /// Has it look, where another found that it has to end.
    bell: Arc<dyn Bell>,
}

/// What one has of the sum. What one still has that has to end goes with it, and is not counted:
/// nobody else has to end for what is about to be freed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Has(u64),
    /// It has to end, and does not know.
    Over,
    /// It was told.
    Told,
}

/// What one session remembers, while this lives.
pub struct Remembered {
    own: Arc<Own>,
    pool: Pool,
}

/// Whether a session may go on with what it remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// It may.
    Fair,
    /// Memory is short, and it has more than its part: told once.
    TooMuch,
}

impl Pool {
    /// Counts what a session of a party remembers; the bell rings when it should say so again.
    #[must_use]
    pub fn remembered(&self, party: Customer, bell: Arc<dyn Bell>) -> Remembered {
        let own = Arc::new(Own { party, part: Mutex::new(Part::Has(0)), bell });
        lock(&self.store.remembered.sessions).push(Arc::clone(&own));
        Remembered { own, pool: self.clone() }
    }
}

impl Remembered {
    /// So much now, of a session that may hold `share` in buffers.
    pub fn set(&self, now: ByteCount, share: ByteCount) -> Weight {
        let (sum, bound) = (&self.pool.store.remembered, self.pool.store.bound);
        let all = self.own.change(sum, Part::Has(now.0));
        if all > bound / 2 && now.0 > (share.0 / 2).max(USUAL.0) {
            self.own.change(sum, Part::Over);
        } else if all > bound {
            sum.relieve(bound);
        }
        let mut part = lock(&self.own.part);
        match *part {
            Part::Over => {
                *part = Part::Told;
                Weight::TooMuch
            }
            Part::Has(_) | Part::Told => Weight::Fair,
        }
    }

    /// Whether it was told to end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        *lock(&self.own.part) == Part::Told
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        let sum = &self.pool.store.remembered;
        lock(&sum.sessions).retain(|one| !Arc::ptr_eq(one, &self.own));
        self.own.change(sum, Part::Has(0));
    }
}

impl Own {
    /// Another part, unless it is over; what all have then.
    fn change(&self, sum: &Sum, to: Part) -> u64 {
        let mut part = lock(&self.part);
        let Part::Has(before) = *part else { return sum.bytes.load(Ordering::Relaxed) };
        *part = to;
        let now = self::bytes(to);
        if now == before {
            sum.bytes.load(Ordering::Relaxed)
        } else if now > before {
            sum.bytes.fetch_add(now - before, Ordering::Relaxed) + (now - before)
        } else {
            sum.bytes.fetch_sub(before - now, Ordering::Relaxed) - (before - now)
        }
    }
}

impl Sum {
    /// Has sessions end, those that have most, until all have no more than the bound.
    fn relieve(&self, bound: u64) {
        let sessions = lock(&self.sessions);
        while self.bytes.load(Ordering::Relaxed) > bound {
            let Some(own) = heaviest(&sessions) else { return };
            own.change(self, Part::Over);
            own.bell.ring();
        }
    }
}

/// The one that has most, of the party that has most.
fn heaviest(sessions: &[Arc<Own>]) -> Option<&Arc<Own>> {
    let crowd = |own: &Own| Some(own.party).filter(|party| !party.is_stranger());
    let (mut crowds, mut parties) = (BTreeMap::new(), BTreeMap::new());
    let mut all = Vec::new();
    for own in sessions {
        let bytes = bytes(*lock(&own.part));
        if bytes > 0 {
            *crowds.entry(crowd(own)).or_insert(0) += bytes;
            *parties.entry(own.party).or_insert(0) += bytes;
            all.push((own, bytes));
        }
    }
    let rank = |(own, bytes): &(&Arc<Own>, u64)| (crowds[&crowd(own)], parties[&own.party], *bytes);
    all.into_iter().max_by_key(rank).map(|(own, _)| own)
}

const fn bytes(part: Part) -> u64 {
    match part {
        Part::Has(bytes) => bytes,
        Part::Over | Part::Told => 0,
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct Rung(AtomicUsize);

    impl Bell for Rung {
        fn ring(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const fn mib(count: u64) -> ByteCount {
        ByteCount(count << 20)
    }

    /// A pool that may lend so much, and sessions of it.
    fn pool(bound: u64) -> (Pool, impl Fn(Customer) -> (Remembered, Arc<Rung>)) {
        let pool = Pool::bounded(ByteCount(0), mib(bound));
        let own = pool.clone();
        (pool, move |party| {
            let bell = Arc::new(Rung::default());
            (own.remembered(party, Arc::clone(&bell) as Arc<dyn Bell>), bell)
        })
    }

    #[test]
    fn who_has_more_than_its_part_ends_while_memory_is_short() {
        let (pool, session) = pool(32);
        let share = mib(16);
        let [usual, large, next] = [(); 3].map(|()| session(Customer::next()).0);
        assert_eq!(large.set(mib(10), share), Weight::Fair);
        assert_eq!(usual.set(mib(6), share), Weight::Fair);
        assert_eq!(large.set(mib(11), share), Weight::TooMuch);
        // Once, and it is not counted any more.
        assert_eq!(large.set(mib(12), share), Weight::Fair);
        assert!(large.is_over() && !usual.is_over());
        assert_eq!(next.set(mib(9), share), Weight::Fair);
        drop(large);
        assert_eq!(next.set(mib(10), share), Weight::Fair);
        assert_eq!(next.set(mib(11), share), Weight::TooMuch);
        drop((usual, next));
        assert_eq!(pool.store.remembered.bytes.load(Ordering::Relaxed), 0);
        assert!(lock(&pool.store.remembered.sessions).is_empty());
    }

    #[test]
    fn of_sessions_without_transfers_those_of_whoever_has_most_end() {
        let (_pool, session) = pool(32);
        let (many, one) = (Customer::next(), session(Customer::next()).0);
        // What any session may have as long as few have transfers.
        let share = mib(32);
        assert_eq!(one.set(mib(6), share), Weight::Fair);
        let crowd: Vec<_> = (0..20).map(|_| session(many)).collect();
        for (own, _) in &crowd {
            let _ = own.set(mib(4), share);
        }
        let stays = |(own, _): &&(Remembered, Arc<Rung>)| !own.is_over();
        for (own, bell) in &crowd {
            if bell.0.load(Ordering::Relaxed) > 0 {
                let _ = own.set(mib(4), share);
                assert!(own.is_over());
            }
        }
        assert_eq!(crowd.iter().filter(stays).count(), 6);
        // Not even if it is the one that grows, and has more than each of them.
        assert_eq!(one.set(mib(8), share), Weight::Fair);
        assert_eq!(crowd.iter().filter(stays).count(), 6);
    }

    #[test]
    fn who_has_most_ends_though_another_grows_and_once_for_each_need() {
        let (_pool, session) = pool(32);
        let share = mib(2);
        let trees: Vec<_> = (0..8).map(|_| session(Customer::next())).collect();
        for (own, _) in &trees {
            assert_eq!(own.set(mib(4), share), Weight::Fair);
        }
        let late = session(Customer::next()).0;
        assert_eq!(late.set(mib(3), share), Weight::Fair);
        let rung = || trees.iter().filter(|(_, bell)| bell.0.load(Ordering::Relaxed) > 0).count();
        assert_eq!(rung(), 1);
        assert_eq!(late.set(mib(4), share), Weight::Fair);
        assert_eq!(rung(), 1);
        let told = trees.iter().filter(|(own, _)| own.set(mib(4), share) == Weight::TooMuch);
        assert_eq!(told.count(), 1);
    }

    #[test]
    fn many_without_a_ticket_are_one_party_before_they_are_many() {
        let (_pool, session) = pool(32);
        let share = mib(32);
        let guest = session(Customer::next()).0;
        assert_eq!(guest.set(mib(6), share), Weight::Fair);
        let strangers: Vec<_> = (0..40).map(|_| session(Customer::next_stranger())).collect();
        for (own, _) in &strangers {
            let _ = own.set(mib(1), share);
        }
        assert_eq!(guest.set(mib(6), share), Weight::Fair);
        let rung = strangers.iter().filter(|(_, bell)| bell.0.load(Ordering::Relaxed) > 0);
        assert_eq!(rung.count(), 14);
    }
}
