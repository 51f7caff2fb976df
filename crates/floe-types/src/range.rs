//! Half-open ranges of offsets, and ordered sets of them.

use crate::number::{ByteCount, Offset};
use alloc::collections::BTreeMap;

/// The offsets from `start` up to but not including `end`; `start <= end` always.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Range {
    start: Offset,
    end: Offset,
}

impl Range {
    /// The range from `start` to `end`; empty when `end` is before `start`.
    #[must_use]
    pub fn new(start: Offset, end: Offset) -> Self {
        Self { start, end: end.max(start) }
    }

    /// The range of `len` bytes at `start`, if its end is an offset.
    #[must_use]
    pub fn at(start: Offset, len: ByteCount) -> Option<Self> {
        start.checked_plus(len).map(|end| Self { start, end })
    }

    /// The first offset.
    #[must_use]
    pub const fn start(self) -> Offset {
        self.start
    }

    /// The offset after the last.
    #[must_use]
    pub const fn end(self) -> Offset {
        self.end
    }

    /// How many bytes the range spans.
    #[must_use]
    pub const fn len(self) -> ByteCount {
        ByteCount(self.end.0 - self.start.0)
    }

    /// Whether it spans none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Whether every offset of `other` is in this range.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// What both share; empty when nothing.
    #[must_use]
    pub fn intersect(self, other: Self) -> Self {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }
}

/// A set of offsets as ordered ranges that neither overlap nor touch.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct RangeSet {
    ends: BTreeMap<Offset, Offset>,
}

impl RangeSet {
    /// No offsets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every offset of `range`.
    pub fn insert(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start(), range.end());
        while let Some((&s, &e)) = self.ends.range(..=end).next_back() {
            if e < start {
                break;
            }
            start = start.min(s);
            end = end.max(e);
            self.ends.remove(&s);
        }
        self.ends.insert(start, end);
    }

    /// Takes every offset of `range` away.
    pub fn remove(&mut self, range: Range) {
        if range.is_empty() {
            return;
        }
        while let Some((&s, &e)) = self.ends.range(..range.end()).next_back() {
            if e <= range.start() {
                break;
            }
            self.ends.remove(&s);
            if e > range.end() {
                self.ends.insert(range.end(), e);
            }
            if s < range.start() {
                self.ends.insert(s, range.start());
            }
        }
    }

    /// Whether every offset of `range` is in the set. An empty range is.
    #[must_use]
    pub fn covers(&self, range: Range) -> bool {
        range.is_empty()
            || self
                .ends
                .range(..=range.start())
                .next_back()
                .is_some_and(|(_, &end)| end >= range.end())
    }

    /// Whether any offset of `range` is in the set.
    #[must_use]
    pub fn touches(&self, range: Range) -> bool {
        !range.is_empty()
            && self
                .ends
                .range(..range.end())
                .next_back()
                .is_some_and(|(_, &end)| end > range.start())
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Range> + '_ {
        self.ends.iter().map(|(&start, &end)| Range { start, end })
    }

    /// What of it lies in a range, ascending.
    pub fn within(&self, range: Range) -> impl Iterator<Item = Range> + '_ {
        let before = self.ends.range(..range.start()).next_back();
        let from = before.map_or(range.start(), |(start, _)| *start);
        let near = self.ends.range(from..range.end());
        near.map(move |(&start, &end)| Range { start, end }.intersect(range))
            .filter(|part| !part.is_empty())
    }

    /// The lowest range.
    #[must_use]
    pub fn first(&self) -> Option<Range> {
        self.iter().next()
    }

    /// How many bytes the set holds.
    #[must_use]
    pub fn len(&self) -> ByteCount {
        ByteCount(self.iter().map(|range| range.len().0).sum())
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(a: u64, b: u64) -> Range {
        Range::new(Offset(a.min(b)), Offset(a.max(b)))
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_single_offsets(
            ops in prop::collection::vec((any::<bool>(), 0u64..40, 0u64..40), 0..60),
        ) {
            let mut set = RangeSet::new();
            let mut model = [false; 40];
            for (add, a, b) in ops {
                let r = range(a, b);
                if add { set.insert(r) } else { set.remove(r) }
                for i in r.start().0..r.end().0 {
                    model[usize::try_from(i).unwrap()] = add;
                }
            }
            prop_assert_eq!(set.len().0, model.iter().filter(|held| **held).count() as u64);
            for a in 0..40u64 {
                for b in a..40 {
                    let held = |i: u64| model[usize::try_from(i).unwrap()];
                    prop_assert_eq!(set.covers(range(a, b)), (a..b).all(held));
                    prop_assert_eq!(set.touches(range(a, b)), (a..b).any(held));
                    let mut within = [false; 40];
                    for part in set.within(range(a, b)) {
                        (part.start().0..part.end().0)
                            .for_each(|i| within[usize::try_from(i).unwrap()] = true);
                    }
                    let expected = |i: u64| (a..b).contains(&i) && held(i);
                    let is = |i: u64| within[usize::try_from(i).unwrap()];
                    prop_assert!((0..40).all(|i| is(i) == expected(i)));
                    let mut rest = set.clone();
                    set.within(range(a, b)).for_each(|part| rest.remove(part));
                    prop_assert!(!rest.touches(range(a, b)));
                    let within: u64 = set.within(range(a, b)).map(|part| part.len().0).sum();
                    prop_assert_eq!(within, (a..b).filter(|at| held(*at)).count() as u64);
                }
            }
            let ranges: alloc::vec::Vec<_> = set.iter().collect();
            prop_assert!(ranges.windows(2).all(|w| w[0].end() < w[1].start()));
        }
    }
}
