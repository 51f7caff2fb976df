//! What holds DATA back: a transfer's own rate, or pause, and a rate that the session has together
//! with others; whoever counts for all of them says when DATA may go on. The slower one holds.
//! A shared rate counts also what is hashed for the peer in place of DATA, and holds that back.

use super::{Half, Session};
use crate::bucket::Bucket;
use crate::command::Role;
use crate::io::Next;
use alloc::vec::Vec;
use floe_types::{ByteCount, Rate, Time, TransferId};

impl<P: Clone> Session<P> {
    /// DATA that was sent and taken, of all transfers.
    #[must_use]
    pub const fn data_bytes(&self) -> ByteCount {
        self.data_bytes
    }

    /// What counts for a rate that is shared: DATA; of holes a smallest chunk each; and a sixteenth
    /// of what the peer said that it has, which was read and hashed here for it.
    #[must_use]
    pub fn tolled_bytes(&self) -> ByteCount {
        self.data_bytes.plus(self.io.hashed)
    }

    /// Neither sends nor takes DATA before a time, nor hashes in place of it.
    pub fn hold_data(&mut self, until: Time, now: Time) {
        self.io.now = now;
        let sooner = until < self.io.held_until;
        self.io.held_until = until;
        if sooner {
            self.io.wake_streams();
            for half in self.transfers.values_mut() {
                if let Half::Receive(half) = half {
                    half.settle(&mut self.io, now);
                }
            }
        }
    }

    /// Whether walks wait, and what they waited for has come.
    pub(super) fn may_go_on_announcing(&self) -> bool {
        let has_room = self.io.announced.has_room(&self.config.limits);
        self.io.announced.next == Next::HeldBack && has_room && !self.io.cold.holds_walks()
    }

    /// What waited until others of the session ended, or what was said was taken, is announced.
    pub(super) fn go_on_announcing(&mut self) {
        if !self.may_go_on_announcing() {
            return;
        }
        self.io.announced.next = Next::Free;
        for half in self.transfers.values_mut() {
            if let Half::Send(half) = half {
                half.advance(&mut self.io);
            }
        }
    }

    /// Changes what holds back one transfer.
    pub(super) fn limit(&mut self, transfer: TransferId, change: impl FnOnce(&mut Option<Bucket>)) {
        if let Some(half) = self.transfers.get_mut(&transfer) {
            change(half.bucket_mut());
            self.io.wake_streams();
        }
    }

    /// What all transfers together may move in a second, where each has its limit.
    pub(super) fn limit_of_all(&self) -> Option<u64> {
        let rate = |half: &Half<P>| half.bucket().and_then(Bucket::rate).map(Rate::bytes_per_sec);
        let rates: Option<Vec<u64>> = self.transfers.values().map(rate).collect();
        rates.map(|rates| rates.into_iter().fold(0, u64::saturating_add))
    }

    /// A server's limit of a get, and not more than its client asked for in OPEN.
    pub(super) fn within_what_was_asked(
        &self,
        transfer: TransferId,
        rate: Option<Rate>,
    ) -> Option<Rate> {
        let asked = match self.transfers.get(&transfer) {
            Some(Half::Send(half)) if self.role == Role::Server => half.asked_rate(),
            _ => None,
        };
        rate.into_iter().chain(asked).min_by_key(|rate| rate.bytes_per_sec())
    }

    /// Whether DATA waits for that.
    pub(super) fn is_held(&self, now: Time) -> bool {
        now < self.io.held_until
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
