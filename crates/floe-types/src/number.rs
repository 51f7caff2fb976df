//! Offsets, counts, ids and time as distinct types, so that two bare integers never stand side by
//! side.
//!
//! Arithmetic that can leave the type's domain is checked or saturating by name; nothing wraps.

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub $inner);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number!(/// A position in an object, in bytes from its start.
    Offset(u64));
number!(/// A number of bytes.
    ByteCount(u64));
number!(/// A number of entries.
    EntryCount(u32));
number!(/// One TCP connection of a session; never used again within the session.
    StreamId(u32));
number!(/// One transfer of a session; chosen by the client, never used again within the session.
    TransferId(u32));
number!(/// Names an entry in its transfer; chosen by the sender, never used again there.
    EntryIndex(u64));
number!(/// A chunk's sequence number in its session; chosen by the sender, ascending, never used
    /// again.
    Seq(u64));
number!(/// One request (LIST, STAT, ...) of a session; chosen by the client.
    RequestId(u32));
number!(/// One disk operation of a session; every one ends exactly once.
    OpId(u64));
number!(/// A length of time in microseconds.
    Micros(u64));
number!(/// An instant in microseconds from an origin that only the engine (or a simulation)
    /// knows. It never goes back.
    Time(u64));

/// An entry of a session: its transfer and its index there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryId {
    /// The transfer.
    pub transfer: TransferId,
    /// The entry's index in it.
    pub index: EntryIndex,
}

impl Offset {
    /// The start of an object.
    pub const ZERO: Self = Self(0);

    /// The offset `count` further on; saturates at the largest offset.
    #[must_use]
    pub const fn plus(self, count: ByteCount) -> Self {
        Self(self.0.saturating_add(count.0))
    }

    /// The offset `count` further on, if there is one.
    #[must_use]
    pub fn checked_plus(self, count: ByteCount) -> Option<Self> {
        self.0.checked_add(count.0).map(Self)
    }
}

impl ByteCount {
    /// No bytes.
    pub const ZERO: Self = Self(0);

    /// The count as a length of memory, if this machine can hold it.
    #[must_use]
    pub fn to_len(self) -> Option<usize> {
        usize::try_from(self.0).ok()
    }

    /// A length of memory as a count.
    #[must_use]
    pub const fn of_len(len: usize) -> Self {
        Self(len as u64)
    }

    /// The sum; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference; zero when `other` is larger.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Micros {
    /// No time.
    pub const ZERO: Self = Self(0);

    /// So many seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// So many milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// The sum; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Time {
    /// The instant `span` later; saturates.
    #[must_use]
    pub const fn plus(self, span: Micros) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The span since `earlier`; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Micros {
        Micros(self.0.saturating_sub(earlier.0))
    }
}

impl EntryIndex {
    /// The index after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl Seq {
    /// The sequence number after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}
