//! Draws from one seed (splitmix64): the same seed gives the same draws everywhere.

/// A source of draws.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The draws of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; zero where that is zero.
    pub const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.bits() % bound }
    }

    /// A count below `bound`; zero where that is zero.
    pub fn count_below(&mut self, bound: usize) -> usize {
        let drawn = self.below(u64::try_from(bound).unwrap_or(u64::MAX));
        usize::try_from(drawn).unwrap_or(0)
    }

    /// Whether something of `sixteenths` in sixteen happens.
    pub const fn happens(&mut self, sixteenths: u64) -> bool {
        self.below(16) < sixteenths
    }

    /// One of some.
    pub fn of<T: Copy, const N: usize>(&mut self, some: [T; N]) -> T {
        const { assert!(N > 0) };
        some[self.count_below(N)]
    }
}
