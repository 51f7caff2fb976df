//! Random numbers that are a function of a seed and a turn (SplitMix64, Steele et al. 2014): no
//! lock, no state but the turn.

use super::Chance;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) struct Dice {
    state: AtomicU64,
}

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: AtomicU64::new(seed) }
    }

    /// Whether it happens this time.
    pub(super) fn hits(&self, chance: Chance) -> bool {
        chance != Chance::NEVER && self.below(u64::from(Chance::PER)) < u64::from(chance.0)
    }

    /// A number from 0 up to but not including `end`, which is above 0. The bias of the remainder
    /// does not matter here.
    pub(super) fn below(&self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
