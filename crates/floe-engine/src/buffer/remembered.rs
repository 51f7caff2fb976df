//! What sessions remember on behalf of their peers, as a part of what a pool may lend: names that
//! were announced, ranges that are held, answers that wait.
//!
//! Peers choose how much that is. Together they may have half of the pool; past that, whoever has
//! more than half of its share ends, and comes again. An honest session is far below.

use super::{Charge, Pool};
use floe_types::ByteCount;
use std::sync::atomic::Ordering;

/// What one session remembers, while this lives.
pub struct Remembered {
    charge: Charge,
}

/// Whether a session may go on with what it remembers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Weight {
    /// It may.
    Fair,
    /// Memory is short, and it has more than its part.
    TooMuch,
}

impl Pool {
    /// Counts what a session remembers.
    #[must_use]
    pub fn remembered(&self) -> Remembered {
        Remembered { charge: self.charge() }
    }
}

impl Remembered {
    /// So much now, of a session that may hold `share` in buffers.
    pub fn set(&mut self, now: ByteCount, share: ByteCount) -> Weight {
        let before = self.charge.bytes as u64;
        self.charge.set(now.to_len().unwrap_or(usize::MAX));
        let home = &self.charge.home;
        if now.0 >= before {
            home.remembered_bytes.fetch_add(now.0 - before, Ordering::Relaxed);
        } else {
            home.remembered_bytes.fetch_sub(before - now.0, Ordering::Relaxed);
        }
        let all = home.remembered_bytes.load(Ordering::Relaxed);
        let short = all > home.bound / 2 && now.0 > share.0 / 2;
        if short { Weight::TooMuch } else { Weight::Fair }
    }
}

impl Drop for Remembered {
    fn drop(&mut self) {
        self.set(ByteCount::ZERO, ByteCount::ZERO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_more_than_its_part_ends_while_memory_is_short() {
        let pool = Pool::bounded(ByteCount(0), ByteCount(1000));
        let share = ByteCount(400);
        let (mut small, mut large) = (pool.remembered(), pool.remembered());
        assert_eq!(large.set(ByteCount(450), share), Weight::Fair);
        assert_eq!(small.set(ByteCount(100), share), Weight::Fair);
        assert_eq!(large.set(ByteCount(450), share), Weight::TooMuch);
        assert_eq!(pool.held(), ByteCount(550));
        drop(large);
        assert_eq!(small.set(ByteCount(300), share), Weight::Fair);
        drop(small);
        assert_eq!(pool.held(), ByteCount::ZERO);
    }
}
