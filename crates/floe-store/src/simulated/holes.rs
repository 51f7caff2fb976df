//! Holes of a simulated file as it tells of them: its pages that are all zeros, however they came
//! to be. And the pages that take space: those that were written, zeros or not, and not punched.

use floe_types::{ByteCount, Offset};
use std::collections::BTreeSet;

pub(super) const PAGE_BYTES: usize = 4096;

/// The pages of a file that take space.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Pages(BTreeSet<usize>);

impl Pages {
    /// All that are touched take space from now on.
    pub(super) fn fill(&mut self, from: usize, to: usize) {
        self.0.extend(from / PAGE_BYTES..to.div_ceil(PAGE_BYTES));
    }

    /// All that lie within whole take none any more.
    pub(super) fn free(&mut self, from: usize, to: usize) {
        let (first, end) = (from.div_ceil(PAGE_BYTES), to / PAGE_BYTES);
        self.0.retain(|page| *page < first || *page >= end);
    }

    pub(super) fn space(&self) -> ByteCount {
        ByteCount::of_len(self.0.len() * PAGE_BYTES)
    }
}

pub(super) fn next_data(bytes: &[u8], from: usize) -> Option<Offset> {
    first_page(bytes, from, |page| page.iter().any(|byte| *byte != 0))
}

pub(super) fn next_hole(bytes: &[u8], from: usize) -> Offset {
    let hole = first_page(bytes, from, |page| page.iter().all(|byte| *byte == 0));
    hole.unwrap_or(Offset(ByteCount::of_len(bytes.len()).0))
}

/// The first byte at or after an offset in a page that `is` so.
fn first_page(bytes: &[u8], from: usize, is: impl Fn(&[u8]) -> bool) -> Option<Offset> {
    let first = from / PAGE_BYTES;
    let nth = bytes.chunks(PAGE_BYTES).skip(first).position(is)?;
    Some(Offset(ByteCount::of_len(((first + nth) * PAGE_BYTES).max(from)).0))
}
