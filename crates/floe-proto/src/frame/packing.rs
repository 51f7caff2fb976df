//! How pieces are packed on their way: a wish, and its bounds. Packing itself is the engine's.

/// How what is sent is packed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Packing {
    /// Not at all.
    Never,
    /// While the network is the limit and the bytes shrink.
    #[default]
    Auto,
    /// Always, with this effort; what does not shrink goes as it is.
    Level(PackLevel),
}

/// A level of zstd, from 1 to 19.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct PackLevel(u8);

impl Packing {
    /// The ability bit of an end that takes packed pieces.
    pub const ABILITY: u64 = 8;
    /// The ability bit of an end that takes packed ENTRIES.
    pub const ENTRIES_ABILITY: u64 = 16;
    /// Both.
    pub const ABILITIES: u64 = Self::ABILITY | Self::ENTRIES_ABILITY;

    /// What an end that chooses this lets others choose at most; `None` is no packing at all.
    #[must_use]
    pub const fn most(self) -> Option<PackLevel> {
        match self {
            Self::Never => None,
            Self::Auto => Some(PackLevel::AUTO_MAX),
            Self::Level(level) => Some(level),
        }
    }
}

impl PackLevel {
    /// The least effort.
    pub const MIN: Self = Self(1);
    /// The most that is chosen unasked.
    pub const AUTO_MAX: Self = Self(3);
    /// The most.
    pub const MAX: Self = Self(19);

    /// A level, if it is one.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        if number >= Self::MIN.0 && number <= Self::MAX.0 { Some(Self(number)) } else { None }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}
