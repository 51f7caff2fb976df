//! Chunks of entries that ended here before the receiver heard of it: until then they count in the
//! window, as they do there.
//!
//! The receiver hears it from FAILED, or from the ENTRY that replaces the one that ended. Neither
//! is answered; a PING behind it is.

use super::Sender;
use crate::frame::Frame;
use crate::io::Io;
use alloc::collections::VecDeque;
use floe_types::{ByteCount, EntryIndex};

/// What still counts.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Dropped {
    /// Said, or queued to be said, and nothing asked behind it.
    told: ByteCount,
    /// By the number of a PING behind it, ascending.
    asked: VecDeque<(u64, ByteCount)>,
}

impl Dropped {
    /// The frame that tells the receiver is queued.
    pub(super) fn told(&mut self, len: ByteCount) {
        self.told = self.told.plus(len);
    }

    /// A PING was answered: what counts no more.
    pub(super) fn heard(&mut self, number: u64) -> ByteCount {
        let mut left = ByteCount::ZERO;
        while let Some((_, len)) = self.asked.front().filter(|(asked, _)| *asked <= number) {
            left = left.plus(*len);
            self.asked.pop_front();
        }
        left
    }
}

impl<P: Clone> Sender<P> {
    /// Ends an entry of which the receiver is still to hear: what of the window it keeps until
    /// then.
    pub(super) fn end_entry_here(&mut self, index: EntryIndex, io: &mut Io<P>) -> ByteCount {
        let before = self.in_flight;
        let kept = self.entries.lend(&index).map(|entry| core::mem::take(&mut entry.dropped));
        self.end_entry(index, io);
        let dropped = before.minus(self.in_flight);
        self.in_flight = before;
        dropped.plus(kept.unwrap_or_default())
    }

    /// Asks for an answer once all that was said on the lead stream is handed out.
    pub(crate) fn ask_of_dropped(&mut self, io: &mut Io<P>) {
        let Some(lead) = io.lead.filter(|_| io.cold.is_empty()) else { return };
        let len = core::mem::take(&mut self.dropped.told);
        if len != ByteCount::ZERO {
            let number = io.take_ping();
            self.dropped.asked.push_back((number, len));
            io.say_on(lead, Frame::Ping(number));
        }
    }
}
