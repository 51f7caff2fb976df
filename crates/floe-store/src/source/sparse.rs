//! Where a file holds nothing: asked of the file system, in whole smallest chunks.
//!
//! What lies between two holes that are closer than a chunk is read with them. A disk that does not
//! tell has no holes.

use crate::api::Stands;
use crate::disk::{Disk, DiskResult};
use floe_types::{ByteCount, ChunkSize, Code, Limits, Offset, Range};

/// So many stretches of a file are looked at; what lies behind is read.
const STEPS_MAX: usize = 64 << 10;

/// The holes of a file of this size.
pub(super) fn holes<D: Disk>(disk: &D, file: &D::Handle, size: ByteCount) -> Vec<Range> {
    let (mut found, mut at) = (Vec::new(), Offset::ZERO);
    if size < ChunkSize::MIN.bytes() {
        return found;
    }
    for _ in 0..STEPS_MAX {
        let Some((hole, next)) = hole_after(disk, file, at, size) else { break };
        found.extend(hole);
        if found.len() >= 2 * Limits::HOLES_MAX {
            keep_longest(&mut found);
        }
        if next <= at {
            break;
        }
        at = next;
    }
    keep_longest(&mut found);
    found.sort_unstable();
    found
}

/// What stands in a range now.
pub(super) fn standing_in<D: Disk>(disk: &D, file: &D::Handle, range: Range) -> DiskResult<Stands> {
    match disk.next_data(file, range.start()) {
        Ok(data) => {
            let size = disk.stat(file)?.size;
            let whole = range.end().0 <= size.0 && data.is_none_or(|data| data >= range.end());
            Ok(if whole { Stands::Hole } else { Stands::Bytes })
        }
        Err(error) if error.code() == Code::Unsupported => Ok(Stands::Bytes),
        Err(error) => Err(error),
    }
}

/// The next hole, if it has whole chunks, and where to go on; nothing where there is none.
fn hole_after<D: Disk>(
    disk: &D,
    file: &D::Handle,
    from: Offset,
    size: ByteCount,
) -> Option<(Option<Range>, Offset)> {
    let end = Offset(size.0);
    let start = disk.next_hole(file, from).ok().filter(|start| *start < end)?;
    let data = disk.next_data(file, start).ok()?.unwrap_or(end).min(end);
    let grain = ChunkSize::MIN.bytes().0;
    let first = start.0.checked_next_multiple_of(grain)?;
    let last = if data == end { end.0 } else { data.0 - data.0 % grain };
    let hole = (first < last).then(|| Range::new(Offset(first), Offset(last)));
    Some((hole, data))
}

fn keep_longest(found: &mut Vec<Range>) {
    if found.len() > Limits::HOLES_MAX {
        found.sort_unstable_by_key(|hole| std::cmp::Reverse(hole.len()));
        found.truncate(Limits::HOLES_MAX);
    }
}
