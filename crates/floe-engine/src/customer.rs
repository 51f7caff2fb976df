//! Whom work is done for, where it is shared out: a session, or all sessions of a ticket.

use std::sync::atomic::{AtomicU64, Ordering};

/// Whose jobs and open files they are, to what serves many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Customer(u64);

impl Customer {
    /// All that nobody has to share with others.
    pub const ANYBODY: Self = Self(0);

    /// The process itself, where it is to have its turns as others do.
    pub const ITSELF: Self = Self(STRANGE - 1);

    /// Whether it is nobody's in particular.
    #[must_use]
    pub const fn is_anybody(self) -> bool {
        self.0 == 0
    }

    /// Another one than all before.
    #[must_use]
    pub fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// The same, of somebody without a ticket.
    #[must_use]
    pub fn next_stranger() -> Self {
        Self(Self::next().0 | STRANGE)
    }

    /// Whether it is somebody without a ticket.
    #[must_use]
    pub const fn is_stranger(self) -> bool {
        self.0 & STRANGE != 0
    }
}

/// What the numbers of those without a ticket have in common.
const STRANGE: u64 = 1 << 63;
