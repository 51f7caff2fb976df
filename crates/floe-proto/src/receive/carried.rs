//! The chunk that each stream carries, and how much of it was heard.

use super::Receiver;
use floe_types::{Seq, StreamId};

/// The last chunk that began on a stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Carried {
    pub(super) seq: Seq,
    pub(super) arrival: Arrival,
}

/// How much of a chunk was heard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Arrival {
    /// More of it may come.
    Begun,
    /// All of it: nothing more of it may come, also once it is recorded and forgotten.
    Whole,
}

impl Receiver {
    /// The chunk of which a stream may still bring pieces.
    pub(super) fn begun_on(&self, stream: StreamId) -> Option<Seq> {
        let carried = self.current.get(&stream)?;
        Some(carried.seq).filter(|_| carried.arrival == Arrival::Begun)
    }

    /// Whether a stream carries a chunk of this transfer.
    pub(crate) fn is_on(&self, stream: StreamId) -> bool {
        self.current.contains_key(&stream)
    }

    /// Another transfer's chunk begins on a stream: what this one had there is over.
    pub(crate) fn leave(&mut self, stream: StreamId) {
        if let Some(carried) = self.current.remove(&stream) {
            self.abandon(carried.seq);
        }
    }
}
