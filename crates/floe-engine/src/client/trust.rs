//! Which key the server is known by, while a client runs.
//!
//! At first it is the one that was pinned. A server whose key is being replaced tells the other one
//! over a connection that the pinned key secured (`greeting::hello` checks that the other key says
//! so, too); from then on the client expects that. Whoever keeps pins asks for what was learned.

use crate::identity::{KeyPin, NewKey};
use crate::secure::Security;
use floe_proto::frame::Successor;
use floe_types::Timestamp;
use std::sync::{Mutex, PoisonError};

/// What connections are secured with.
pub(super) struct Trust {
    first: Security,
    /// In the order they were learned; each one's old key is new in the one before.
    learned: Mutex<Vec<NewKey>>,
}

impl Trust {
    pub(super) const fn new(first: Security) -> Self {
        Self { first, learned: Mutex::new(Vec::new()) }
    }

    /// With what the next connection is secured.
    pub(super) fn security(&self) -> Security {
        match self.new_keys().last() {
            Some(NewKey { new, .. }) => Security::Tls { pin: *new },
            None => self.first,
        }
    }

    pub(super) fn new_keys(&self) -> Vec<NewKey> {
        self.learned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A server that was known by `known` told of another key, which was checked.
    pub(super) fn learn(&self, known: Security, told: Option<&Successor>) {
        let (Security::Tls { pin: old }, Some(told)) = (known, told) else { return };
        let until = i64::try_from(told.until).ok().and_then(|secs| Timestamp::new(secs, 0));
        let until = until.unwrap_or_default();
        let fresh = NewKey { old, new: KeyPin::of_public_key(&told.key), until };
        let mut learned = self.learned.lock().unwrap_or_else(PoisonError::into_inner);
        let last = learned.last().map_or(self.first, |last| Security::Tls { pin: last.new });
        if last == known && fresh.new != old && learned.len() < LEARNED_MAX {
            learned.push(fresh);
        }
    }
}

/// A server that rotates its key more often than this while one command runs is let go on with the
/// last one.
const LEARNED_MAX: usize = 64;
