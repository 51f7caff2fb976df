//! What holds DATA back: a transfer's own rate, or pause, and a rate that the session has together
//! with others; whoever counts for all of them says when DATA may go on. The slower one holds.

use super::{Half, Session};
use crate::bucket::Bucket;
use floe_types::{ByteCount, Time, TransferId};

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

    /// Changes what holds back one transfer.
    pub(super) fn limit(&mut self, transfer: TransferId, change: impl FnOnce(&mut Option<Bucket>)) {
        if let Some(half) = self.transfers.get_mut(&transfer) {
            change(half.bucket_mut());
            self.io.wake_streams();
        }
    }

    /// Whether DATA waits for that.
    pub(super) fn is_held(&self, now: Time) -> bool {
        now < self.held_until
    }
}

impl<P: Clone> Half<P> {
    pub(super) const fn bucket(&self) -> Option<&Bucket> {
        match self {
            Self::Send(half) => half.bucket(),
            Self::Receive(half) => half.bucket(),
        }
    }

    pub(super) fn bucket_mut(&mut self) -> &mut Option<Bucket> {
        match self {
            Self::Send(half) => half.bucket_mut(),
            Self::Receive(half) => half.bucket_mut(),
        }
    }
}
