//! The chunk plan of one object: what is still to be sent, cut into chunks as streams pull them.
//!
//! One plan is shared by all streams: no fixed split, so a slow stream gets less. What a lost
//! stream had under way comes back and goes out first. A chunk starts at a multiple of its own
//! nominal size and is shorter only at the object's end; where what is missing is not aligned to
//! the wished size, smaller chunks lead up to it.

use alloc::collections::BTreeMap;
use floe_types::{ByteCount, ChunkDigest, ChunkSize, Offset, Range, RangeSet};

/// What is to be sent of one object.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ChunkPlan {
    missing: RangeSet,
    again: BTreeMap<Offset, Again>,
    size: ByteCount,
}

/// A chunk that was sent before: the same range, and the digest it must meet if it was sealed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Again {
    pub(crate) range: Range,
    pub(crate) digest: Option<ChunkDigest>,
    pub(crate) attempts: u32,
}

/// A chunk to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Pulled {
    pub(crate) range: Range,
    /// Set where it was sent before.
    pub(crate) again: Option<Again>,
}

impl ChunkPlan {
    /// A plan for everything but `have`.
    pub(crate) fn new(size: ByteCount, have: &RangeSet) -> Self {
        let mut missing = RangeSet::new();
        missing.insert(Range::new(Offset::ZERO, Offset(size.0)));
        have.iter().for_each(|range| missing.remove(range));
        Self { missing, again: BTreeMap::new(), size }
    }

    /// The next chunk, lowest first, those that come again before all others.
    pub(crate) fn pull(&mut self, nominal: ChunkSize) -> Option<Pulled> {
        if let Some((_, again)) = self.again.pop_first() {
            return Some(Pulled { range: again.range, again: Some(again) });
        }
        let range = cut(self.missing.first()?, nominal, self.size);
        self.missing.remove(range);
        Some(Pulled { range, again: None })
    }

    /// The length the next chunk would have.
    pub(crate) fn peek_len(&self, nominal: ChunkSize) -> Option<ByteCount> {
        match self.again.first_key_value() {
            Some((_, again)) => Some(again.range.len()),
            None => Some(cut(self.missing.first()?, nominal, self.size).len()),
        }
    }

    /// A chunk that was not recorded comes back.
    pub(crate) fn give_back(&mut self, again: Again) {
        self.again.insert(again.range.start(), again);
    }

    /// More is missing than the receiver said: what the sender did not confirm.
    pub(crate) fn add(&mut self, range: Range) {
        self.missing.insert(range);
    }

    /// Whether nothing is left to pull.
    pub(crate) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.again.is_empty()
    }

    /// Bytes left to pull, as far as they are known.
    pub(crate) fn len(&self) -> ByteCount {
        let again: u64 = self.again.values().map(|again| again.range.len().0).sum();
        self.missing.len().plus(ByteCount(again))
    }
}

/// The first chunk of a missing range: as large as alignment and the wish allow. It may be shorter
/// than its nominal size only where it ends with the object.
pub(crate) fn cut(missing: Range, nominal: ChunkSize, size: ByteCount) -> Range {
    let start = missing.start().0;
    let grain = ChunkSize::MIN.bytes().0;
    let to_the_end = missing.end().0 == size.0;
    let mut len = nominal.bytes().0;
    while len > grain && (!start.is_multiple_of(len) || (!to_the_end && len > missing.len().0)) {
        len /= 2;
    }
    Range::new(Offset(start), Offset(start.saturating_add(len)).min(missing.end()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use floe_types::Subtree;
    use proptest::prelude::*;

    const KIB: u64 = 1024;

    fn drain(plan: &mut ChunkPlan, nominal: ChunkSize) -> Vec<Range> {
        let mut ranges = Vec::new();
        while let Some(pulled) = plan.pull(nominal) {
            ranges.push(pulled.range);
        }
        ranges
    }

    #[test]
    fn what_comes_back_goes_out_first() {
        let mut plan = ChunkPlan::new(ByteCount(3 << 20), &RangeSet::new());
        let first = plan.pull(ChunkSize::DEFAULT).unwrap();
        plan.pull(ChunkSize::DEFAULT).unwrap();
        plan.give_back(Again { range: first.range, digest: None, attempts: 1 });
        assert_eq!(plan.pull(ChunkSize::DEFAULT).unwrap().range, first.range);
        assert_eq!(plan.len(), ByteCount(1 << 20));
    }

    proptest! {
        #[test]
        fn chunks_are_aligned_and_cover_exactly_what_is_missing(
            size in 0..40_000 * KIB,
            have in prop::collection::vec((0u64..150, 1u64..9), 0..6),
            shift in 0u32..7,
        ) {
            let nominal = ChunkSize::new((256 * KIB) << shift).unwrap();
            let mut held = RangeSet::new();
            for (start, len) in have {
                let grain = 256 * KIB;
                let range = Range::new(Offset(start * grain), Offset((start + len) * grain));
                held.insert(range.intersect(Range::new(Offset::ZERO, Offset(size))));
            }
            let mut plan = ChunkPlan::new(ByteCount(size), &held);
            let mut covered = held.clone();
            for range in drain(&mut plan, nominal) {
                prop_assert!(Subtree::is_aligned(range), "{range:?}");
                prop_assert!(range.len() <= nominal.bytes());
                prop_assert!(!covered.touches(range));
                let whole = range.len().0.is_power_of_two() && range.len().0 >= 256 * KIB;
                prop_assert!(whole || range.end().0 == size, "{range:?}");
                covered.insert(range);
            }
            prop_assert!(covered.covers(Range::new(Offset::ZERO, Offset(size))));
        }
    }
}
