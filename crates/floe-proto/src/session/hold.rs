//! A rate that a session has together with others: whoever counts for all of them says when DATA
//! may go on.

use super::Session;
use floe_types::{ByteCount, Time};

impl<P: Clone> Session<P> {
    /// DATA that was sent and taken, of all transfers.
    #[must_use]
    pub const fn data_bytes(&self) -> ByteCount {
        self.data_bytes
    }

    /// Neither sends nor takes DATA before a time.
    pub fn hold_data(&mut self, until: Time, now: Time) {
        self.io.now = now;
        let sooner = until < self.held_until;
        self.held_until = until;
        if sooner {
            self.io.wake_streams();
        }
    }

    /// Whether DATA waits for that.
    pub(super) fn is_held(&self, now: Time) -> bool {
        now < self.held_until
    }
}
