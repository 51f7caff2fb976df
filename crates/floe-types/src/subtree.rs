//! Complete BLAKE3 subtrees of one object: what is verified so far, merged as far as it goes.
//!
//! BLAKE3 splits n bytes at the largest power of two below n, so an aligned power-of-two range is a
//! node of every tree it can be part of, and two such buddies merge. The node at offset 0 is never
//! merged early: it might be the root, whose value differs. That leaves O(log n) nodes for a prefix
//! of any length, plus one a gap.
//!
//! ```text
//!  0        1M       2M                4M                          8M       9M
//!  |--cv----|--cv----|------cv---------|------------cv-------------|--cv----| five nodes: 9 MiB
//! ```

use crate::digest::{ChainingValue, ChunkDigest, Root};
use crate::number::{ByteCount, Offset};
use crate::range::{Range, RangeSet};
use alloc::collections::BTreeMap;
use blake3::hazmat::{Mode, merge_subtrees_non_root, merge_subtrees_root};

/// One complete subtree: a range, aligned to its own (rounded up) length, and its digest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Subtree {
    /// Its bytes.
    pub range: Range,
    /// Its digest; `root` only where the range starts at 0 and is one chunk.
    pub digest: ChunkDigest,
}

/// The complete subtrees of one object, keyed by start.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Subtrees {
    nodes: BTreeMap<Offset, Node>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Node {
    end: Offset,
    digest: ChunkDigest,
}

/// The smallest chunk, and so the smallest alignment of a subtree that is not an object's last.
const GRAIN: u64 = 256 * 1024;

impl Subtree {
    /// Whether the range can be a node: not empty, and aligned to its length rounded up to a power
    /// of two.
    #[must_use]
    pub fn is_aligned(range: Range) -> bool {
        let len = range.len().0;
        len > 0
            && len
                .checked_next_power_of_two()
                .is_some_and(|nominal| range.start().0.is_multiple_of(nominal.max(GRAIN)))
    }
}

impl Subtrees {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a subtree that is verified, and merges what became complete. Returns false, and changes
    /// nothing, where the range is not aligned or touches one already there.
    #[must_use]
    pub fn insert(&mut self, subtree: Subtree) -> bool {
        if !Subtree::is_aligned(subtree.range) || self.touches(subtree.range) {
            return false;
        }
        let (mut start, mut node) =
            (subtree.range.start(), Node { end: subtree.range.end(), digest: subtree.digest });
        while let Some((buddy_start, merged)) = self.merge_with_buddy(start, node) {
            self.nodes.remove(&start.max(buddy_start));
            self.nodes.remove(&start.min(buddy_start));
            (start, node) = (start.min(buddy_start), merged);
        }
        self.nodes.insert(start, node);
        true
    }

    fn merge_with_buddy(&self, start: Offset, node: Node) -> Option<(Offset, Node)> {
        let len = node.end.0 - start.0;
        if !len.is_power_of_two() {
            return None;
        }
        let buddy_start = Offset(start.0 ^ len);
        let buddy = *self.nodes.get(&buddy_start)?;
        let left_start = start.min(buddy_start);
        if buddy.end.0 - buddy_start.0 != len || left_start == Offset::ZERO {
            return None;
        }
        let (left, right) = if start < buddy_start { (node, buddy) } else { (buddy, node) };
        Some((
            buddy_start,
            Node { end: right.end, digest: parent(left.digest.value, right.digest.value) },
        ))
    }

    /// Takes away every subtree that touches `range`; what they covered beyond it is gone too.
    pub fn remove(&mut self, range: Range) {
        self.nodes.retain(|start, node| Range::new(*start, node.end).intersect(range).is_empty());
    }

    /// Whether any subtree shares a byte with `range`.
    #[must_use]
    pub fn touches(&self, range: Range) -> bool {
        !range.is_empty()
            && self
                .nodes
                .range(..range.end())
                .next_back()
                .is_some_and(|(_, node)| node.end > range.start())
    }

    /// Whether every byte of `range` is covered. An empty range is.
    #[must_use]
    pub fn covers(&self, range: Range) -> bool {
        let mut at = range.start();
        while at < range.end() {
            let covering = self.nodes.range(..=at).next_back().filter(|(_, node)| node.end > at);
            let Some((_, node)) = covering else { return false };
            at = node.end;
        }
        true
    }

    /// The subtrees, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Subtree> + '_ {
        self.nodes.iter().map(|(start, node)| Subtree {
            range: Range::new(*start, node.end),
            digest: node.digest,
        })
    }

    /// What is covered.
    #[must_use]
    pub fn ranges(&self) -> RangeSet {
        let mut set = RangeSet::new();
        self.iter().for_each(|subtree| set.insert(subtree.range));
        set
    }

    /// How many bytes are covered.
    #[must_use]
    pub fn len(&self) -> ByteCount {
        ByteCount(self.iter().map(|subtree| subtree.range.len().0).sum())
    }

    /// How many subtrees there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is covered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The chaining value of exactly `range`, if the subtrees within it make it.
    #[must_use]
    pub fn value(&self, range: Range) -> Option<ChainingValue> {
        if let Some(node) = self.nodes.get(&range.start())
            && node.end == range.end()
        {
            return Some(node.digest.value);
        }
        let (left, right) = split(range)?;
        Some(parent(self.value(left)?, self.value(right)?).value)
    }

    /// The root of an object of `size` bytes, if every byte of it is covered and nothing beyond.
    #[must_use]
    pub fn root(&self, size: ByteCount) -> Option<Root> {
        let whole = Range::new(Offset::ZERO, Offset(size.0));
        if whole.is_empty() {
            return self.is_empty().then(Root::of_nothing);
        }
        if self.nodes.last_key_value()?.1.end != whole.end() {
            return None;
        }
        let first = self.nodes.get(&Offset::ZERO)?;
        if first.end == whole.end() {
            return first.digest.root;
        }
        let (left, right) = split(whole)?;
        let hash = merge_subtrees_root(&self.value(left)?.0, &self.value(right)?.0, Mode::Hash);
        Some(Root(*hash.as_bytes()))
    }
}

fn parent(left: ChainingValue, right: ChainingValue) -> ChunkDigest {
    let value = ChainingValue(merge_subtrees_non_root(&left.0, &right.0, Mode::Hash));
    ChunkDigest { value, root: None }
}

/// Splits where BLAKE3 does; `None` where both halves would be below the grain.
fn split(range: Range) -> Option<(Range, Range)> {
    let len = range.len().0;
    if len <= GRAIN {
        return None;
    }
    let middle = Offset(range.start().0 + (len.next_power_of_two() / 2));
    Some((Range::new(range.start(), middle), Range::new(middle, range.end())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ChunkHasher;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    const KIB: u64 = 1024;
    const MIB: u64 = 1024 * KIB;

    fn content(size: u64) -> Vec<u8> {
        (0..size)
            .map(|i| u8::try_from(i.wrapping_mul(2_654_435_761) >> 7 & 0xff).unwrap())
            .collect()
    }

    fn chunk(bytes: &[u8], start: u64, end: u64) -> Subtree {
        let mut hasher = ChunkHasher::new(Offset(start));
        hasher.update(&bytes[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()]);
        Subtree { range: Range::new(Offset(start), Offset(end)), digest: hasher.finish().unwrap() }
    }

    #[test]
    fn root_is_what_blake3_gives_at_every_boundary() {
        for c in [256 * KIB, MIB] {
            for size in [0, 1, 1024, 1025, c - 1, c, c + 1, 2 * c, 2 * c + 1, 3 * c, 5 * c + 77] {
                let bytes = content(size);
                let mut trees = Subtrees::new();
                let mut start = 0;
                while start < size {
                    let end = (start + c).min(size);
                    assert!(trees.insert(chunk(&bytes, start, end)));
                    start = end;
                }
                assert_eq!(
                    trees.root(ByteCount(size)),
                    Some(Root::of(&bytes)),
                    "chunk {c} size {size}"
                );
                assert_eq!(trees.root(ByteCount(size + 1)), None);
            }
        }
    }

    #[test]
    fn a_long_prefix_takes_few_nodes() {
        let mut trees = Subtrees::new();
        let digest = ChunkDigest { value: ChainingValue([7; 32]), root: None };
        for nth in 0..4095u64 {
            let range = Range::new(Offset(nth * MIB), Offset((nth + 1) * MIB));
            assert!(trees.insert(Subtree { range, digest }));
        }
        assert!(trees.iter().count() <= 24, "{}", trees.iter().count());
    }

    #[test]
    fn covers_what_neighbours_cover_together() {
        let bytes = content(2 * MIB);
        let mut trees = Subtrees::new();
        assert!(trees.insert(chunk(&bytes, 0, MIB)));
        assert!(trees.insert(chunk(&bytes, MIB, MIB + 256 * KIB)));
        let covers = |start, end| trees.covers(Range::new(Offset(start), Offset(end)));
        assert!(covers(0, MIB + 256 * KIB) && covers(5, 6) && covers(MIB - 1, MIB + 1));
        assert!(!covers(0, MIB + 256 * KIB + 1) && !covers(MIB + 256 * KIB, 2 * MIB));
        assert!(covers(7 * MIB, 7 * MIB));
    }

    #[test]
    fn refuses_overlap_and_bad_alignment() {
        let bytes = content(2 * MIB);
        let mut trees = Subtrees::new();
        assert!(trees.insert(chunk(&bytes, 0, MIB)));
        assert!(!trees.insert(chunk(&bytes, 0, 256 * KIB)));
        assert!(!Subtree::is_aligned(Range::new(Offset(256 * KIB), Offset(256 * KIB + MIB))));
        assert!(!Subtree::is_aligned(Range::new(Offset(5), Offset(6))));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_order_and_mixed_sizes_give_the_same_root(
            size in 1..6 * MIB,
            order in prop::collection::vec(any::<u32>(), 64),
            cuts in prop::collection::vec(0u32..3, 64),
        ) {
            let bytes = content(size);
            let mut chunks = Vec::new();
            let (mut start, mut nth) = (0, 0);
            while start < size {
                let mut len = (256 * KIB) << cuts[nth % 64];
                while start % len != 0 { len /= 2; }
                let end = (start + len).min(size);
                chunks.push(chunk(&bytes, start, end));
                (start, nth) = (end, nth + 1);
            }
            let mut keyed: Vec<_> =
                chunks.into_iter().enumerate().map(|(i, c)| (order[i % 64], i, c)).collect();
            keyed.sort_by_key(|(key, i, _)| (*key, *i));
            let mut trees = Subtrees::new();
            for (_, _, subtree) in keyed {
                prop_assert!(trees.insert(subtree));
            }
            prop_assert_eq!(trees.root(ByteCount(size)), Some(Root::of(&bytes)));
        }
    }
}
