//! What a session moves is charged to the account that it shares with others.

use super::Core;
use crate::grant::Throttle;
use floe_types::{ByteCount, Time};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A session's part in a rate.
pub(super) struct Toll {
    throttle: Arc<Throttle>,
    /// What of its DATA, and of what was hashed in place of it, was charged.
    charged: AtomicU64,
    /// Until when its DATA is held back, as it was told.
    held: AtomicU64,
}

impl Toll {
    pub(super) fn new(throttle: Arc<Throttle>) -> Self {
        Self { throttle, charged: AtomicU64::new(0), held: AtomicU64::new(0) }
    }

    /// Whether DATA is to be held back for longer, or not as long, as it was told.
    pub(super) fn is_other(&self, now: Time) -> bool {
        let held = Time(self.held.load(Ordering::Relaxed));
        let opens = self.throttle.opens_at(now);
        opens != held && (now < opens || now < held)
    }

    /// Holds DATA back for as long as anything is owed.
    pub(super) fn look(&self, core: &mut Core, now: Time) {
        self.hold(core, self.throttle.opens_at(now), now);
    }

    /// Charges what has moved since it was asked last.
    pub(super) fn charge(&self, core: &mut Core, now: Time) {
        let total = core.tolled_bytes().0;
        let moved = total - self.charged.swap(total, Ordering::Relaxed);
        if moved > 0 {
            self.hold(core, self.throttle.charge(ByteCount(moved), now), now);
        }
    }

    fn hold(&self, core: &mut Core, until: Time, now: Time) {
        self.held.store(until.0, Ordering::Relaxed);
        core.hold_data(until, now);
    }
}
