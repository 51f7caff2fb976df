//! Transfers of this end that give way: one controller for all of them, since they share a path.
//!
//! Only the sender can: it knows from TCP how long a round trip takes with its data on the way, and
//! it sends less before the queue has it. What a receiver leaves in its socket was sent already.

use super::{Half, Session};
use crate::background::Background;
use crate::command::PathSample;
use crate::frame::Priority;
use crate::send::Yields;
use floe_types::{Rate, StreamId, Time};

impl<P: Clone> Session<P> {
    /// How fast each stream may send at most, where all that is sent gives way; its sockets are
    /// then to be sampled by `handle_glance` some dozen times a second.
    #[must_use]
    pub fn pace(&self) -> Option<Rate> {
        let mut senders = self.transfers.values().filter(|half| matches!(half, Half::Send(_)));
        let background = self.background.as_ref()?;
        senders.all(Half::gives_way).then(|| background.pace())
    }

    /// What TCP says of a path, for transfers that give way.
    pub fn handle_glance(&mut self, stream: StreamId, sample: &PathSample, now: Time) {
        let Some(background) = &mut self.background else { return };
        background.path(stream, sample, now);
        // Another rate: who waits asks anew when that is to let it go.
        if !self.io.turns.is_empty() && background.bucket().is_open(now) {
            self.io.wake_streams();
        }
    }

    /// There is a controller while there is such a transfer.
    pub(super) fn tend_background(&mut self, now: Time) {
        let wanted = self.transfers.values().any(Half::gives_way);
        match (&mut self.background, wanted) {
            (none @ None, true) => *none = Some(Background::new(now)),
            (some @ Some(_), false) => *some = None,
            (Some(background), true) => background.keep(&self.io.pipes),
            (None, false) => {}
        }
    }

    /// Whether that holds them back.
    pub(super) fn yields(&self, now: Time) -> Yields {
        let closed = |background: &Background| !background.bucket().is_open(now);
        if self.background.as_ref().is_some_and(closed) { Yields::Now } else { Yields::No }
    }

    /// When they may go on, and when their sockets are to be looked at.
    pub(super) fn yields_until(&self) -> impl Iterator<Item = Time> {
        let now = self.io.now;
        let opens = |background: &Background| {
            let bucket = background.bucket();
            (!bucket.is_open(now)).then(|| bucket.opens_at(now))
        };
        let background = self.background.as_ref();
        background.and_then(opens).into_iter().chain(background.and_then(Background::next_timeout))
    }
}

impl<P: Clone> Half<P> {
    pub(super) fn gives_way(&self) -> bool {
        match self {
            Self::Send(half) => half.priority() == Priority::Background,
            Self::Receive(_) => false,
        }
    }
}
