//! Numbers that are a function of a seed (SplitMix64, Steele et al. 2014): every decision of a
//! round comes from here.

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub struct Dice {
    state: u64,
}

/// What the state grows by at each number.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Dice {
    /// The sequence of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// A sequence of its own for the nth of something, whatever is taken from this one meanwhile.
    #[must_use]
    pub fn fork(&self, nth: u64) -> Self {
        Self::new(mix(self.state ^ mix(nth.wrapping_add(STEP))))
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }

    /// A number from 0 up to but not including `end`; 0 where that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.number() % end.max(1)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// A number up to `most`, small ones as likely as large ones.
    pub fn scaled(&mut self, most: u64) -> u64 {
        let bits = u64::from(u64::BITS - most.leading_zeros());
        let shift = self.below(bits + 1);
        self.below((most >> shift).saturating_add(1))
    }

    /// An index of `len` things; 0 where there are none.
    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// Whether it happens, so many times in a hundred.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// One of several, of which there is at least one.
    pub fn of<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        const { assert!(N > 0) };
        from[self.index(N)]
    }
}

/// The nth number of the sequence that a salt stands for, without those before it.
pub(crate) const fn nth(salt: u64, nth: u64) -> u64 {
    mix(salt.wrapping_add(STEP.wrapping_mul(nth.wrapping_add(1))))
}

const fn mix(word: u64) -> u64 {
    let z = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_a_function_of_its_seed_and_can_be_entered_anywhere() {
        let (mut one, mut two) = (Dice::new(7), Dice::new(7));
        let numbers: Vec<u64> = (0..9).map(|_| one.number()).collect();
        assert!(numbers.iter().all(|number| *number == two.number()));
        assert!((0..9).all(|at| nth(7, at) == numbers[usize::try_from(at).unwrap()]));
        assert_ne!(Dice::new(7).fork(1).number(), Dice::new(7).fork(2).number());
        assert_ne!(Dice::new(7).fork(0).number(), Dice::new(8).fork(0).number());
    }

    #[test]
    fn scaled_numbers_reach_both_ends() {
        let mut dice = Dice::new(1);
        let all: Vec<u64> = (0..10_000).map(|_| dice.scaled(1000)).collect();
        assert!(all.iter().all(|number| *number <= 1000));
        assert!(all.contains(&0) && all.iter().any(|number| *number > 900));
    }
}
