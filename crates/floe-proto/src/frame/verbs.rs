//! What a ticket allows, as one byte of bits.

/// The verbs a ticket allows.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Verbs(pub u8);

impl Verbs {
    /// Read objects.
    pub const READ: Self = Self(1);
    /// List directories and stat entries.
    pub const LIST: Self = Self(2);
    /// Write objects under names that nothing has.
    pub const WRITE_NEW: Self = Self(4);
    /// Replace objects.
    pub const OVERWRITE: Self = Self(8);
    /// Remove and rename.
    pub const REMOVE: Self = Self(16);
    /// Make directories.
    pub const MAKE_DIRECTORY: Self = Self(64);
    /// All of them.
    pub const ALL: Self = Self(95);

    /// Those that change something.
    pub const CHANGES: Self = Self(92);
    /// Those that show something of what stands.
    pub const SHOWS: Self = Self(3);
    /// No verb: the server changes nothing, whatever a ticket allows.
    pub const UNCHANGING: Self = Self(32);

    /// What the first of them does.
    #[must_use]
    pub const fn name(self) -> &'static str {
        const NAMES: [&str; 7] =
            ["read", "list", "write", "overwrite", "remove", "use", "make directory"];
        let first = self.0.trailing_zeros() as usize;
        if first < NAMES.len() { NAMES[first] } else { "use" }
    }

    /// The verbs that `held` lacks.
    #[must_use]
    pub const fn beyond(self, held: Self) -> Self {
        Self(self.0 & !held.0)
    }

    /// Whether every verb of `other` is among these.
    #[must_use]
    pub const fn allow(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The verbs of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The verbs that both have.
    #[must_use]
    pub const fn only(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}
