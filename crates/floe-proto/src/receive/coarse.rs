//! A list of what is held, made short enough to be told.

use alloc::vec::Vec;
use floe_types::{ChunkSize, Range, Subtree, Subtrees};

/// A list that is short enough.
pub(super) struct Coarse {
    pub(super) told: Vec<Subtree>,
    /// All that is held in here is not told. The sender sends it, so it must be forgotten: what is
    /// recorded and not known here would be written over.
    pub(super) untold: Option<Range>,
}

/// A list too long to be told chunk by chunk is merged evenly, level by level: the sender has to
/// gather what one subtree covers before it can compare. What is too long even so is cut.
pub(super) fn coarsened(mut have: Vec<Subtree>, ranges_max: u32) -> Coarse {
    let mut level = ChunkSize::MIN.bytes().0;
    while have.len() > ranges_max as usize && level < u64::MAX / 2 {
        have = merged_once(&have, level);
        level *= 2;
    }
    let first = have.get(ranges_max as usize).map(|first| first.range.start());
    let last = have.last().map(|last| last.range.end());
    have.truncate(ranges_max as usize);
    let untold = first.zip(last).map(|(start, end)| Range::new(start, end));
    Coarse { told: have, untold }
}

/// Merges neighbours of `level` bytes that make one subtree of twice that.
fn merged_once(have: &[Subtree], level: u64) -> Vec<Subtree> {
    let mut merged: Vec<Subtree> = Vec::new();
    for next in have {
        let buddies = merged.last().filter(|last| {
            last.range.len().0 == level
                && next.range.len().0 == level
                && last.range.start().0.is_multiple_of(2 * level)
                && last.range.end() == next.range.start()
        });
        let pair = buddies.and_then(|last| {
            let mut pair = Subtrees::new();
            let both = pair.insert(*last) && pair.insert(*next);
            pair.iter().next().filter(|one| both && one.range.len().0 == 2 * level)
        });
        if let Some(pair) = pair {
            merged.pop();
            merged.push(pair);
        } else {
            merged.push(*next);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::{ChainingValue, ChunkDigest, Offset, Range};

    fn chunks(nth: core::ops::Range<u64>) -> Vec<Subtree> {
        let grain = ChunkSize::MIN.bytes().0;
        nth.map(|nth| Subtree {
            range: Range::new(Offset(nth * grain), Offset((nth + 1) * grain)),
            digest: ChunkDigest { value: ChainingValue([7; 32]), root: None },
        })
        .collect()
    }

    #[test]
    fn a_long_list_is_merged_evenly_and_the_first_chunk_is_left_alone() {
        let grain = ChunkSize::MIN.bytes().0;
        assert_eq!(coarsened(chunks(0..8), 8).told.len(), 8);
        let lens = |list: Coarse| -> Vec<u64> {
            assert_eq!(list.untold, None);
            list.told.iter().map(|one| one.range.len().0 / grain).collect()
        };
        assert_eq!(lens(coarsened(chunks(0..8), 5)), [1, 1, 2, 2, 2]);
        assert_eq!(lens(coarsened(chunks(0..8), 4)), [1, 1, 2, 4]);
        assert_eq!(lens(coarsened(chunks(3..9), 4)), [1, 2, 2, 1]);
    }

    #[test]
    fn what_cannot_be_merged_is_cut_and_the_rest_is_named() {
        let alternate: Vec<_> =
            [0, 2, 4, 6, 7].iter().flat_map(|nth| chunks(*nth..nth + 1)).collect();
        let Coarse { told, untold } = coarsened(alternate, 2);
        assert_eq!(told, [chunks(0..1), chunks(2..3)].concat());
        let grain = ChunkSize::MIN.bytes().0;
        assert_eq!(untold, Some(Range::new(Offset(4 * grain), Offset(8 * grain))));
    }
}
