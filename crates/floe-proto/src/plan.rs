//! The chunk plan of one object: what is still to be sent, cut into chunks as streams pull them.
//!
//! One plan is shared by all streams: no fixed split, so a slow stream gets less. What a lost
//! stream had under way comes back and goes out first. A chunk starts at a multiple of its own
//! nominal size and is shorter only at the object's end; where what is missing is not aligned to
//! the wished size, smaller chunks lead up to it. Holes are cut apart from bytes, and as long as
//! can be, whatever size is wished.

use crate::frame::Content;
use alloc::collections::BTreeMap;
use floe_types::{ByteCount, ChunkDigest, ChunkSize, Offset, Range, RangeSet};

/// What is to be sent of one object.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct ChunkPlan {
    /// To be sent as bytes.
    missing: RangeSet,
    /// To be sent as holes.
    holes: RangeSet,
    again: BTreeMap<Offset, Again>,
    size: ByteCount,
}

/// A chunk that was sent before: the same range, made of the same, and the digest it must meet if
/// it was sealed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Again {
    pub(crate) range: Range,
    pub(crate) content: Content,
    pub(crate) digest: Option<ChunkDigest>,
    pub(crate) attempts: u32,
}

/// A chunk to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Pulled {
    pub(crate) range: Range,
    pub(crate) content: Content,
    /// Set where it was sent before.
    pub(crate) again: Option<Again>,
}

impl ChunkPlan {
    /// A plan for everything but `have`. `holes` are the object's.
    pub(crate) fn new(size: ByteCount, have: &RangeSet, holes: &RangeSet) -> Self {
        let (missing, again) = (RangeSet::new(), BTreeMap::new());
        let mut plan = Self { missing, holes: RangeSet::new(), again, size };
        plan.add(Range::new(Offset::ZERO, Offset(size.0)), holes);
        for range in have.iter() {
            plan.missing.remove(range);
            plan.holes.remove(range);
        }
        plan
    }

    /// The next chunk, lowest first, those that come again before all others.
    pub(crate) fn pull(&mut self, nominal: ChunkSize) -> Option<Pulled> {
        if let Some((_, again)) = self.again.pop_first() {
            let Again { range, content, .. } = again;
            return Some(Pulled { range, content, again: Some(again) });
        }
        let (range, content) = self.next(nominal)?;
        match content {
            Content::Bytes => self.missing.remove(range),
            Content::Hole => self.holes.remove(range),
        }
        Some(Pulled { range, content, again: None })
    }

    /// What the next chunk would count in the window.
    pub(crate) fn peek_window(&self, nominal: ChunkSize) -> Option<ByteCount> {
        let (range, content) = match self.again.first_key_value() {
            Some((_, again)) => (again.range, again.content),
            None => self.next(nominal)?,
        };
        Some(content.window_bytes(range.len()))
    }

    fn next(&self, nominal: ChunkSize) -> Option<(Range, Content)> {
        let hole = self.holes.first().map(|hole| cut(hole, ChunkSize::MAX, self.size));
        match (self.missing.first(), hole) {
            (Some(bytes), Some(hole)) if hole.start() < bytes.start() => {
                Some((hole, Content::Hole))
            }
            (Some(bytes), _) => Some((cut(bytes, nominal, self.size), Content::Bytes)),
            (None, hole) => Some((hole?, Content::Hole)),
        }
    }

    /// A chunk that was not recorded comes back.
    pub(crate) fn give_back(&mut self, again: Again) {
        self.again.insert(again.range.start(), again);
    }

    /// More is missing than the receiver said: what the sender did not confirm.
    pub(crate) fn add(&mut self, range: Range, holes: &RangeSet) {
        self.missing.insert(range);
        for hole in holes.within(range) {
            self.missing.remove(hole);
            self.holes.insert(hole);
        }
    }

    /// Whether nothing is left to pull.
    pub(crate) fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.holes.is_empty() && self.again.is_empty()
    }

    /// Bytes left to be sent, as far as they are known: no holes.
    pub(crate) fn len(&self) -> ByteCount {
        let bytes = self.again.values().filter(|again| again.content == Content::Bytes);
        let again: u64 = bytes.map(|again| again.range.len().0).sum();
        self.missing.len().plus(ByteCount(again))
    }
}

/// What a chunk of an object with these holes is made of.
pub(crate) fn content_of(chunk: Range, holes: &RangeSet) -> Content {
    if holes.covers(chunk) { Content::Hole } else { Content::Bytes }
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

    fn drain(plan: &mut ChunkPlan, nominal: ChunkSize) -> Vec<Pulled> {
        core::iter::from_fn(|| plan.pull(nominal)).collect()
    }

    #[test]
    fn what_comes_back_goes_out_first() {
        let none = RangeSet::new();
        let mut plan = ChunkPlan::new(ByteCount(3 << 20), &none, &none);
        let Pulled { range, content, .. } = plan.pull(ChunkSize::DEFAULT).unwrap();
        plan.pull(ChunkSize::DEFAULT).unwrap();
        plan.give_back(Again { range, content, digest: None, attempts: 1 });
        assert_eq!(plan.pull(ChunkSize::DEFAULT).unwrap().range, range);
        assert_eq!(plan.len(), ByteCount(1 << 20));
    }

    #[test]
    fn a_hole_that_comes_back_is_one_yet() {
        let mut holes = RangeSet::new();
        holes.insert(Range::new(Offset::ZERO, Offset(3 << 20)));
        let mut plan = ChunkPlan::new(ByteCount(3 << 20), &RangeSet::new(), &holes);
        assert_eq!(plan.len(), ByteCount::ZERO, "nothing of it is sent");
        for _ in 0..2 {
            let Pulled { range, content, .. } = plan.pull(ChunkSize::DEFAULT).unwrap();
            assert_eq!((range.len().0, content), (3 << 20, Content::Hole));
            plan.give_back(Again { range, content, digest: None, attempts: 1 });
            assert_eq!(plan.len(), ByteCount::ZERO);
        }
    }

    fn grains(ranges: Vec<(u64, u64)>, size: u64) -> RangeSet {
        let (mut set, grain) = (RangeSet::new(), 256 * KIB);
        for (start, len) in ranges {
            let range = Range::new(Offset(start * grain), Offset((start + len) * grain));
            set.insert(range.intersect(Range::new(Offset::ZERO, Offset(size))));
        }
        set
    }

    proptest! {
        #[test]
        fn chunks_are_aligned_and_cover_exactly_what_is_missing(
            size in 0..40_000 * KIB,
            have in prop::collection::vec((0u64..150, 1u64..9), 0..6),
            holes in prop::collection::vec((0u64..150, 1u64..90), 0..6),
            shift in 0u32..7,
        ) {
            let nominal = ChunkSize::new((256 * KIB) << shift).unwrap();
            let (held, holes) = (grains(have, size), grains(holes, size));
            let mut plan = ChunkPlan::new(ByteCount(size), &held, &holes);
            let mut covered = held.clone();
            while let Some(peeked) = plan.peek_window(nominal) {
                let pulled = plan.pull(nominal).unwrap();
                let range = pulled.range;
                prop_assert_eq!(peeked, pulled.content.window_bytes(range.len()));
                prop_assert!(Subtree::is_aligned(range), "{range:?}");
                let longest = match pulled.content {
                    Content::Bytes => nominal,
                    Content::Hole => ChunkSize::MAX,
                };
                prop_assert!(range.len() <= longest.bytes());
                prop_assert_eq!(holes.touches(range), pulled.content == Content::Hole);
                prop_assert_eq!(holes.covers(range), pulled.content == Content::Hole);
                prop_assert!(!covered.touches(range));
                let whole = range.len().0.is_power_of_two() && range.len().0 >= 256 * KIB;
                prop_assert!(whole || range.end().0 == size, "{range:?}");
                covered.insert(range);
            }
            prop_assert!(covered.covers(Range::new(Offset::ZERO, Offset(size))));
            prop_assert!(plan.is_empty() && drain(&mut plan, nominal).is_empty());
        }
    }
}
