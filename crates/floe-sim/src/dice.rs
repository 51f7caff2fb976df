//! Numbers that are a function of a seed (SplitMix64, Steele et al. 2014): all chance of a world
//! comes from here.

use floe_store::faulty::Chance;
use floe_types::Micros;

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

impl Dice {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to but not including `end`; 0 where that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// As `below`, of memory.
    pub fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap_or(0)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// A span of at most `most`, short ones more often than long ones.
    pub fn span(&mut self, most: Micros) -> Micros {
        let shift = self.below(8);
        Micros(self.below((most.0 >> shift) + 1))
    }

    /// Whether it happens this time.
    pub fn hits(&mut self, chance: Chance) -> bool {
        chance != Chance::NEVER && self.below(u64::from(Chance::PER)) < u64::from(chance.0)
    }

    /// Whether it happens, once in so many tries.
    pub fn one_in(&mut self, tries: u64) -> bool {
        self.below(tries) == 0
    }

    /// One of several; the first where there are none to choose from is the caller's matter.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.index(from.len()))
    }
}
