//! Chunks handed to the network and not yet recorded, by their number and by their entry.

use crate::frame::Content;
use alloc::collections::{BTreeMap, BTreeSet};
use floe_types::{ByteCount, ChunkDigest, EntryIndex, Range, Seq, StreamId};

/// A chunk handed to the network and not yet recorded.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Flight<P> {
    pub(super) entry: EntryIndex,
    pub(super) range: Range,
    pub(super) content: Content,
    pub(super) stream: StreamId,
    pub(super) digest: Option<ChunkDigest>,
    pub(super) attempts: u32,
    /// Kept until it is recorded, where the source cannot be read twice.
    pub(super) kept: alloc::vec::Vec<(ByteCount, P)>,
}

impl<P> Flight<P> {
    pub(super) fn window_bytes(&self) -> ByteCount {
        self.content.window_bytes(self.range.len())
    }
}

/// All of a half.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Flights<P> {
    by_seq: BTreeMap<Seq, Flight<P>>,
    by_entry: BTreeSet<(EntryIndex, Seq)>,
}

impl<P> Flights<P> {
    pub(super) const fn new() -> Self {
        Self { by_seq: BTreeMap::new(), by_entry: BTreeSet::new() }
    }

    pub(super) fn insert(&mut self, seq: Seq, flight: Flight<P>) {
        self.by_entry.insert((flight.entry, seq));
        self.by_seq.insert(seq, flight);
    }

    pub(super) fn remove(&mut self, seq: Seq) -> Option<Flight<P>> {
        let flight = self.by_seq.remove(&seq)?;
        self.by_entry.remove(&(flight.entry, seq));
        Some(flight)
    }

    pub(super) fn known(&mut self, seq: Seq) -> Option<&mut Flight<P>> {
        self.by_seq.get_mut(&seq)
    }

    pub(super) fn contains(&self, seq: Seq) -> bool {
        self.by_seq.contains_key(&seq)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_seq.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (Seq, &Flight<P>)> {
        self.by_seq.iter().map(|(seq, flight)| (*seq, flight))
    }

    /// The numbers of those between two, both included.
    pub(super) fn between(&self, first: Seq, last: Seq) -> impl Iterator<Item = Seq> + '_ {
        self.by_seq.range(first..=last).map(|(seq, _)| *seq)
    }

    /// Those of one entry.
    pub(super) fn of(&self, index: EntryIndex) -> impl Iterator<Item = (Seq, &Flight<P>)> {
        let range = (index, Seq(0))..=(index, Seq(u64::MAX));
        let seqs = self.by_entry.range(range).map(|(_, seq)| *seq);
        seqs.filter_map(|seq| Some((seq, self.by_seq.get(&seq)?)))
    }
}
