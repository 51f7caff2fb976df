//! Pages of directories that a peer asks for: none is read while much waits to be said already, as
//! no walk goes on then. Those that are read meanwhile count as long as any can be.

use crate::files::Op;
use floe_proto::disk::DiskOp;
use floe_proto::frame::Request;
use floe_types::{ByteCount, OpId};
use std::collections::{BTreeSet, VecDeque};

/// What waits to be said before no page is read; far more than a client leaves that reads.
const UNSAID_MAX: ByteCount = ByteCount(512 << 10);
/// A page takes one frame.
const PAGE_BYTES: u64 = 64 << 10;

/// Those of one session.
#[derive(Default)]
pub(super) struct Pages {
    wanted: VecDeque<(OpId, Op)>,
    under_way: BTreeSet<OpId>,
}

/// Whether one may be read, whatever waits: nobody takes it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Taker {
    Here,
    Gone,
}

impl Pages {
    /// An operation has ended.
    pub(super) fn ended(&mut self, op: OpId) {
        self.under_way.remove(&op);
    }

    /// Keeps an operation back if it reads a page; else it is given back.
    pub(super) fn keep(&mut self, op: OpId, what: Op) -> Option<(OpId, Op)> {
        if matches!(what, DiskOp::Apply { request: Request::List { .. } }) {
            self.wanted.push_back((op, what));
            return None;
        }
        Some((op, what))
    }

    /// The next that may be read while so much waits to be said.
    pub(super) fn next(&mut self, unsaid: ByteCount, taker: Taker) -> Option<(OpId, Op)> {
        if unsaid >= self.room() && taker == Taker::Here {
            return None;
        }
        let next = self.wanted.pop_front()?;
        self.under_way.insert(next.0);
        Some(next)
    }

    /// Below how much that waits to be said one that is kept back may be read; 0 where none is.
    pub(super) fn next_below(&self) -> ByteCount {
        if self.wanted.is_empty() { ByteCount::ZERO } else { self.room() }
    }

    fn room(&self) -> ByteCount {
        UNSAID_MAX.minus(ByteCount(self.under_way.len() as u64 * PAGE_BYTES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::{EntryCount, ObjectPath};

    #[test]
    fn no_page_is_read_while_much_waits_to_be_said() {
        let mut pages = Pages::default();
        let list = |nth| {
            let (path, max) = (ObjectPath::root(), EntryCount(256));
            (OpId(nth), DiskOp::Apply { request: Request::List { path, after: None, max } })
        };
        for nth in 0..64 {
            let (op, what) = list(nth);
            assert!(pages.keep(op, what).is_none());
        }
        let begun = |pages: &mut Pages, unsaid, taker| {
            std::iter::from_fn(|| pages.next(ByteCount(unsaid), taker)).count()
        };
        assert_eq!(begun(&mut pages, 0, Taker::Here), 8);
        (0..8).for_each(|nth| pages.ended(OpId(nth)));
        assert_eq!(begun(&mut pages, 500 << 10, Taker::Here), 1);
        pages.ended(OpId(8));
        assert_eq!(begun(&mut pages, 512 << 10, Taker::Here), 0);
        assert_eq!(pages.next_below(), UNSAID_MAX);
        assert_eq!(begun(&mut pages, 4 << 20, Taker::Gone), 55);
        assert_eq!(pages.next_below(), ByteCount::ZERO);
    }
}
