//! The entries of a half of a transfer, and how many of them are in which state.
//!
//! There may be thousands, and what is asked of all of them is asked at every step: so they are
//! counted as they change. What was lent to be changed is counted when the sum is asked for.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::mem::size_of;
use floe_types::{EntryIndex, Subtree};

/// What one entry, or all of them, count as.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Tally {
    /// Announced and not ended.
    pub(crate) ahead: usize,
    /// What these count of what a session may have announced.
    pub(crate) ahead_bytes: usize,
    /// Ranges that are remembered of them.
    pub(crate) ranges: usize,
    /// Objects that are open, or about to be,
    pub(crate) open: usize,
    /// and those of them that are small.
    pub(crate) open_small: usize,
    /// Entries that wait for their turn to be opened.
    pub(crate) waiting: usize,
    /// Entries that will want a checkpoint.
    pub(crate) timed: usize,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.ahead += other.ahead;
        self.ahead_bytes += other.ahead_bytes;
        self.ranges += other.ranges;
        self.open += other.open;
        self.open_small += other.open_small;
        self.waiting += other.waiting;
        self.timed += other.timed;
    }

    fn subtract(&mut self, other: Self) {
        self.ahead -= other.ahead;
        self.ahead_bytes -= other.ahead_bytes;
        self.ranges -= other.ranges;
        self.open -= other.open;
        self.open_small -= other.open_small;
        self.waiting -= other.waiting;
        self.timed -= other.timed;
    }
}

/// An entry that can be counted.
pub(crate) trait Tallied {
    /// What it counts as now.
    fn tally(&self) -> Tally;
}

impl Tally {
    /// About what a process has in memory of entries of a type.
    pub(crate) const fn footprint<E>(&self) -> usize {
        // What a map's node costs beside what is in it, generously.
        self.ahead_bytes + self.ahead * size_of::<E>() + self.ranges * 2 * size_of::<Subtree>()
    }
}

/// Entries by their index.
#[derive(Clone, Debug)]
pub(crate) struct Entries<E> {
    map: BTreeMap<EntryIndex, E>,
    /// Of all but those that were lent.
    sum: Tally,
    lent: Vec<EntryIndex>,
}

/// Entries that are lent before they are counted again.
const LENT_MAX: usize = 4;

impl<E: Tallied> Entries<E> {
    pub(crate) const fn new() -> Self {
        const NONE: Tally = Tally {
            ahead: 0,
            ahead_bytes: 0,
            ranges: 0,
            open: 0,
            open_small: 0,
            waiting: 0,
            timed: 0,
        };
        Self { map: BTreeMap::new(), sum: NONE, lent: Vec::new() }
    }

    /// What all of them count as.
    pub(crate) fn tally(&self) -> Tally {
        let mut sum = self.sum;
        self.lent.iter().filter_map(|index| self.map.get(index)).for_each(|e| sum.add(e.tally()));
        sum
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(crate) fn contains_key(&self, index: &EntryIndex) -> bool {
        self.map.contains_key(index)
    }

    pub(crate) fn get(&self, index: &EntryIndex) -> Option<&E> {
        self.map.get(index)
    }

    /// An entry to be changed.
    pub(crate) fn lend(&mut self, index: &EntryIndex) -> Option<&mut E> {
        if !self.lent.contains(index) {
            if self.lent.len() >= LENT_MAX {
                self.sum = self.tally();
                self.lent.clear();
            }
            self.sum.subtract(self.map.get(index)?.tally());
            self.lent.push(*index);
        }
        self.map.get_mut(index)
    }

    pub(crate) fn insert(&mut self, index: EntryIndex, entry: E) {
        drop(self.remove(&index));
        self.sum.add(entry.tally());
        self.map.insert(index, entry);
    }

    pub(crate) fn remove(&mut self, index: &EntryIndex) -> Option<E> {
        let entry = self.map.remove(index)?;
        match self.lent.iter().position(|lent| lent == index) {
            Some(nth) => drop(self.lent.swap_remove(nth)),
            None => self.sum.subtract(entry.tally()),
        }
        Some(entry)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = EntryIndex> + '_ {
        self.map.keys().copied()
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &E> {
        self.map.values()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (EntryIndex, &E)> {
        self.map.iter().map(|(index, entry)| (*index, entry))
    }
}

// What is lent is no part of the state.

impl<E: PartialEq> PartialEq for Entries<E> {
    fn eq(&self, other: &Self) -> bool {
        self.map == other.map
    }
}

impl<E: Eq> Eq for Entries<E> {}

impl<E: Hash> Hash for Entries<E> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.map.hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::{Entries, Tallied, Tally};
    use floe_types::EntryIndex;
    use proptest::prelude::*;

    /// Counts as `ahead` its lowest bit, and so on.
    #[derive(Clone, PartialEq, Eq, Debug)]
    struct Bits(u8);

    impl Tallied for Bits {
        fn tally(&self) -> Tally {
            let bit = |nth: u8| usize::from(self.0 >> nth & 1);
            Tally {
                ahead: bit(0),
                ahead_bytes: usize::from(self.0),
                ranges: usize::from(self.0 / 2),
                open: bit(1),
                open_small: bit(2),
                waiting: bit(3),
                timed: bit(4),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_there_is(
            steps in prop::collection::vec((0_u8..4, 0_u64..12, 0_u8..32), 0..80),
        ) {
            let mut entries = Entries::new();
            for (what, index, bits) in steps {
                let index = EntryIndex(index);
                match what {
                    0 => entries.insert(index, Bits(bits)),
                    1 => drop(entries.remove(&index)),
                    _ => if let Some(entry) = entries.lend(&index) {
                        entry.0 = bits;
                    },
                }
                let mut all = Tally::default();
                entries.values().for_each(|entry| all.add(entry.tally()));
                prop_assert_eq!(entries.tally(), all);
            }
        }
    }
}
