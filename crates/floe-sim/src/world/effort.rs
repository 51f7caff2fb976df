//! What an errand costs: the bytes that came, and how often what was under way was lost.
//!
//! A session that ends before its transfer is one loss, whichever end it was and however many
//! streams it had; a stream is one where its session goes on at both ends. Bytes count where they
//! come: what was sent to a process that is no more costs nothing.

use crate::peer::LinkId;
use std::collections::BTreeSet;

/// What an errand cost so far.
#[derive(Default)]
pub(super) struct Effort {
    /// Bytes of pieces that came.
    came: u64,
    losses: u64,
    /// Bytes of pieces that were sent, and how many they were at the last loss.
    sent: u64,
    sent_at_loss: u64,
    /// Links of streams that were lost, to one of their ends or to both.
    lost: BTreeSet<LinkId>,
}

impl Effort {
    /// A piece was sent.
    pub(super) const fn count_sent(&mut self, bytes: u64) {
        self.sent += bytes;
    }

    /// A piece came.
    pub(super) const fn count_came(&mut self, bytes: u64) {
        self.came += bytes;
    }

    /// The session that carries it ended before its transfer.
    pub(super) const fn lose_session(&mut self) {
        self.lose();
    }

    /// A stream of a session that goes on was lost.
    pub(super) fn lose_stream(&mut self, link: LinkId) {
        if self.lost.insert(link) {
            self.lose();
        }
    }

    /// Where nothing was sent since the loss before, what is lost was under way then, too: both
    /// together are one window.
    const fn lose(&mut self) {
        if self.sent > self.sent_at_loss {
            self.sent_at_loss = self.sent;
            self.losses += 1;
        }
    }

    /// What came beyond `size` bytes and one window for each loss, in words.
    pub(super) fn excess(&self, size: u64, window: u64) -> Option<String> {
        let Self { came, losses, .. } = self;
        let most = size + losses * window;
        (*came > most)
            .then(|| format!("{came} bytes came of {size}, after {losses} losses: above {most}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_go_with_their_session_are_one_loss() {
        let mut effort = Effort::default();
        effort.lose_session();
        assert_eq!(effort.losses, 0, "nothing was under way");
        effort.count_sent(8);
        effort.lose_stream(LinkId(1));
        effort.lose_stream(LinkId(2));
        effort.lose_session();
        assert_eq!(effort.losses, 1);
        effort.count_sent(8);
        effort.lose_stream(LinkId(1));
        assert_eq!(effort.losses, 1, "the other end sees it go");
        effort.lose_stream(LinkId(3));
        assert_eq!(effort.losses, 2);
    }

    #[test]
    fn each_loss_allows_one_window() {
        let mut effort = Effort::default();
        effort.count_sent(10);
        effort.lose_session();
        effort.count_came(14);
        assert_eq!(effort.excess(10, 4), None);
        effort.count_came(1);
        assert!(effort.excess(10, 4).is_some());
    }
}
