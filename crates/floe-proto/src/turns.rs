//! Whose turn it is to pay: streams that share a rate limit and were refused, in order.
//!
//! A limit has no memory of who was refused. The first to ask after it opens would take all of it,
//! and streams behind it would go silent.

use alloc::collections::{BTreeMap, VecDeque};
use floe_types::{StreamId, TransferId};

/// One stream of one transfer.
type Turn = (TransferId, StreamId);

/// The streams that wait.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Turns {
    waiting: VecDeque<Turn>,
    /// How often others let the first go ahead, and it did not come.
    passed: u32,
}

/// How often others let the first go ahead for each that waits: it may be stuck.
const PASSED_MAX: u32 = 4;

impl Turns {
    /// Whether a stream may go now: nobody waits, or it is the first of those that do.
    pub(crate) fn may_go<T>(&mut self, turn: Turn, alive: &BTreeMap<StreamId, T>) -> bool {
        self.waiting.retain(|(_, stream)| alive.contains_key(stream));
        let first = self.waiting.iter().position(|waiting| waiting.0 == turn.0);
        let Some(at) = first.filter(|at| self.waiting[*at] != turn) else { return true };
        self.passed += 1;
        if self.passed > PASSED_MAX.saturating_mul(u32::try_from(self.waiting.len()).unwrap_or(1)) {
            self.waiting.remove(at);
            self.passed = 0;
            return self.may_go(turn, alive);
        }
        false
    }

    /// A stream was refused.
    pub(crate) fn wait(&mut self, turn: Turn) {
        if !self.waiting.contains(&turn) {
            self.waiting.push_back(turn);
        }
    }

    /// It paid.
    pub(crate) fn gone(&mut self, turn: Turn) {
        self.waiting.retain(|waiting| *waiting != turn);
        self.passed = 0;
    }

    /// Whose turn it is in a transfer.
    pub(crate) fn next(&self, transfer: TransferId) -> Option<StreamId> {
        self.waiting.iter().find(|(of, _)| *of == transfer).map(|(_, stream)| *stream)
    }

    /// What a stream waited with is not wanted any more.
    pub(crate) fn leave(&mut self, stream: StreamId) {
        self.waiting.retain(|(_, waiting)| *waiting != stream);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A transfer is over.
    pub(crate) fn forget(&mut self, transfer: TransferId) {
        self.waiting.retain(|(of, _)| *of != transfer);
    }
}
