//! A transfer's numbers over all the sessions it took.
//!
//! What went over the network adds up. How far it is, the last session knows best. What a session
//! finds at the receiver was there before this command only as far as no earlier session of the
//! same command can have sent it.

use floe_proto::command::{Packed, Summary};
use floe_proto::frame::Causes;
use floe_types::ByteCount;

/// Numbers of the sessions that are over.
#[derive(Default)]
pub(super) struct Totals {
    before: Option<Summary>,
    /// What the session under way had measured before this transfer began.
    others: Causes,
    /// What it had packed before.
    packed: Packed,
    /// The most bytes stored and entries committed that any session told of.
    reached: (ByteCount, u32),
}

impl Totals {
    /// A session takes the transfer up; it has measured, and packed, this for others.
    pub(super) fn begin(&mut self, before: &Summary) {
        (self.others, self.packed) = (before.causes, before.packed);
    }

    /// All of it, if the session under way ended here.
    pub(super) fn with(&self, now: &Summary) -> Summary {
        let own = now.causes.beyond(self.others);
        let packed = beyond(now.packed, self.packed);
        let Some(before) = &self.before else {
            return Summary { causes: own, packed, ..now.clone() };
        };
        let found = now.bytes_resumed.minus(before.bytes_sent);
        Summary {
            bytes_total: now.bytes_total.max(before.bytes_total),
            bytes_sent: before.bytes_sent.plus(now.bytes_sent),
            bytes_resumed: found.max(before.bytes_resumed),
            bytes_stored: now.bytes_stored.max(before.bytes_stored),
            window_bytes_max: now.window_bytes_max.max(before.window_bytes_max),
            bytes_repeated: before.bytes_repeated.plus(now.bytes_repeated),
            causes: own.plus(before.causes),
            packed: sum(packed, before.packed),
            ..now.clone()
        }
    }

    /// The session under way is over.
    pub(super) fn add(&mut self, now: &Summary) {
        self.before = Some(self.with(now));
    }

    /// All of it, with no session under way.
    pub(super) fn with_nothing(&self) -> Summary {
        self.before.clone().unwrap_or_default()
    }

    /// Whether anything got further than in the sessions that are over, and further than told
    /// here last.
    pub(super) fn is_beyond(&mut self, now: &Summary) -> bool {
        let reached = (now.bytes_stored, now.entries_committed.0);
        let beyond = reached.0 > self.reached.0 || reached.1 > self.reached.1;
        self.reached = (self.reached.0.max(reached.0), self.reached.1.max(reached.1));
        beyond
    }
}

fn sum(one: Packed, other: Packed) -> Packed {
    Packed {
        bytes: one.bytes.plus(other.bytes),
        saved: one.saved.plus(other.saved),
        unshrunk: one.unshrunk.plus(other.unshrunk),
    }
}

fn beyond(all: Packed, others: Packed) -> Packed {
    Packed {
        bytes: all.bytes.minus(others.bytes),
        saved: all.saved.minus(others.saved),
        unshrunk: all.unshrunk.minus(others.unshrunk),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::Micros;

    #[test]
    fn times_are_those_of_this_transfer() {
        let session = |cpu| Summary {
            causes: Causes { cpu: Micros(cpu), ..Causes::default() },
            packed: Packed { saved: ByteCount(cpu), ..Packed::default() },
            ..Summary::default()
        };
        let mut totals = Totals::default();
        totals.begin(&session(5));
        totals.add(&session(7));
        totals.begin(&Summary::default());
        assert_eq!(totals.with(&session(1)).causes.cpu, Micros(3));
        assert_eq!(totals.with(&session(1)).packed.saved, ByteCount(3));
    }

    #[test]
    fn what_this_command_sent_itself_was_not_there_before() {
        let session = |sent, resumed, stored| Summary {
            bytes_total: ByteCount(100),
            bytes_sent: ByteCount(sent),
            bytes_resumed: ByteCount(resumed),
            bytes_stored: ByteCount(stored),
            ..Summary::default()
        };
        let mut totals = Totals::default();
        totals.add(&session(50, 20, 60));
        assert!(totals.is_beyond(&session(50, 20, 60)));
        assert!(!totals.is_beyond(&session(0, 60, 60)));
        let all = totals.with(&session(35, 65, 100));
        assert_eq!((all.bytes_sent.0, all.bytes_resumed.0), (85, 20));
        assert_eq!(all.bytes_stored, ByteCount(100));
    }
}
