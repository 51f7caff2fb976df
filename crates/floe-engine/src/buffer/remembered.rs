//! What sessions remember on behalf of their peers: names that were announced, ranges that are
//! held, answers that wait.
//!
//! Peers choose how much that is. Past half of what the pool may lend, all sessions together, who
//! has more than half of its share ends, and comes again; not who has as little as a tree takes
//! whose paths are of usual length, unless all together have as much as the pool may lend.

use super::Pool;
use floe_types::ByteCount;
use std::sync::atomic::Ordering;

/// A tree of 4,096 entries ahead, with paths of some hundred bytes, and the answers of it.
const USUAL: ByteCount = ByteCount(6 << 20);

/// What one session remembers, while this lives.
pub struct Remembered {
    bytes: u64,
    pool: Pool,
    /// It was told to end: what it still has goes with it.
    over: bool,
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
    /// Counts what a session remembers.
    #[must_use]
    pub fn remembered(&self) -> Remembered {
        Remembered { bytes: 0, pool: self.clone(), over: false }
    }
}

impl Remembered {
    /// So much now, of a session that may hold `share` in buffers.
    pub fn set(&mut self, now: ByteCount, share: ByteCount) -> Weight {
        let now = if self.over { 0 } else { now.0 };
        let (all, bound) = (self.count(now), self.pool.store.bound);
        let least = if all > bound { 0 } else { USUAL.0 };
        if now <= (share.0 / 2).max(least) || all <= bound / 2 {
            return Weight::Fair;
        }
        // Nobody else has to end for what is about to be freed.
        self.over = true;
        self.count(0);
        Weight::TooMuch
    }

    /// What all have then.
    fn count(&mut self, now: u64) -> u64 {
        let before = std::mem::replace(&mut self.bytes, now);
        let all = &self.pool.store.remembered_bytes;
        if now == before {
            all.load(Ordering::Relaxed)
        } else if now > before {
            all.fetch_add(now - before, Ordering::Relaxed) + (now - before)
        } else {
            all.fetch_sub(before - now, Ordering::Relaxed) - (before - now)
        }
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        self.count(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_more_than_its_part_ends_while_memory_is_short() {
        let mib = |count: u64| ByteCount(count << 20);
        let (pool, share) = (Pool::bounded(ByteCount(0), mib(32)), mib(16));
        let [mut usual, mut large, mut next] = [(); 3].map(|()| pool.remembered());
        assert_eq!(large.set(mib(10), share), Weight::Fair);
        assert_eq!(usual.set(mib(6), share), Weight::Fair);
        assert_eq!(large.set(mib(11), share), Weight::TooMuch);
        // Once, and it is not counted any more.
        assert_eq!(large.set(mib(12), share), Weight::Fair);
        assert_eq!(next.set(mib(9), share), Weight::Fair);
        drop(large);
        assert_eq!(next.set(mib(10), share), Weight::Fair);
        assert_eq!(next.set(mib(11), share), Weight::TooMuch);
        // Whoever has no more than a tree takes stays, while all have less than there is.
        let mut many: Vec<_> = (0..5).map(|_| pool.remembered()).collect();
        let set = |one: &mut Remembered| one.set(mib(6), mib(6));
        let told: Vec<_> = many.iter_mut().map(set).collect();
        assert_eq!(told[..4], [Weight::Fair; 4]);
        assert_eq!(told[4], Weight::TooMuch);
        // Who does not grow is looked at all the same.
        let mut late = pool.remembered();
        assert_eq!(late.set(mib(3), mib(6)), Weight::Fair);
        assert_eq!(many[0].set(mib(6), mib(6)), Weight::TooMuch);
    }
}
