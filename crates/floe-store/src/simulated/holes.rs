//! Holes of a simulated file: its pages that are all zeros, however they came to be.

use super::cut::PAGE_BYTES;
use super::world::World;
use crate::disk::{DiskError, DiskResult};
use floe_types::{ByteCount, Code, Offset};

/// Fails where this disk knows no holes.
pub(super) fn offered(world: &World) -> DiskResult<()> {
    match world.breaks.without_holes {
        true => Err(DiskError::new(Code::Unsupported)),
        false => Ok(()),
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
