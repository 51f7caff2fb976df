//! Whom work is done for, where it is shared out: a session, or all sessions of a ticket.

use std::sync::atomic::{AtomicU64, Ordering};

/// Whose jobs and open files they are, to what serves many.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Customer(u64);

impl Customer {
    /// All that nobody has to share with others.
    pub const ANYBODY: Self = Self(0);

    /// The process itself, where it is to have its turns as others do.
    pub const ITSELF: Self = Self(u64::MAX);

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
}
