//! A range of a staged file that reads as zeros and takes no space, whatever stood there before.

use crate::disk::{Disk, DiskResult};
use crate::local::reserve::Reserve;
use floe_types::planted::{self, Bug};
use floe_types::{ByteCount, ChunkSize, Code, Offset, Range};

static ZEROS: [u8; 256 << 10] = [0; 256 << 10];

/// Makes one. No byte beside the range changes, whoever writes there meanwhile.
pub(super) fn make<D: Disk>(
    disk: &D,
    file: &D::Handle,
    range: Range,
    keep: &Reserve,
) -> DiskResult<()> {
    if range.is_empty() {
        return Ok(());
    }
    // It reaches so far; not by setting the size, which would cut off what another thread writes
    // behind it. Also where it does already: a sync that failed may have lost the byte that gave
    // it its size, and memory shows it all the same.
    disk.write_at(file, Offset(range.end().0 - 1), &[0])?;
    if planted::is(Bug::LeaveWhatStoodInAHole) {
        return Ok(());
    }
    // Only an object's last chunk has such an end: its last block would stay, for a part of it.
    let end = range.end().0.next_multiple_of(ChunkSize::MIN.bytes().0);
    match disk.punch(file, Range::new(range.start(), Offset(end))) {
        Err(error) if error.code() == Code::Unsupported => write_zeros(disk, file, range, keep),
        answer => answer,
    }
}

/// So many stretches of bytes are looked for.
const STRETCHES_MAX: usize = 4096;

/// How many bytes of a file are in no hole; `None` where the disk does not tell, or where there are
/// too many stretches of them.
pub(super) fn data_in<D: Disk>(disk: &D, file: &D::Handle) -> Option<ByteCount> {
    let (mut at, mut sum) = (Offset::ZERO, ByteCount::ZERO);
    for _ in 0..STRETCHES_MAX {
        let Some(start) = disk.next_data(file, at).ok()? else { return Some(sum) };
        at = disk.next_hole(file, start).ok()?;
        sum = sum.plus(Range::new(start, at).len());
    }
    None
}

fn write_zeros<D: Disk>(
    disk: &D,
    file: &D::Handle,
    range: Range,
    keep: &Reserve,
) -> DiskResult<()> {
    let mut at = range.start();
    while at < range.end() {
        let rest = Range::new(at, range.end()).len().to_len().unwrap_or(ZEROS.len());
        let len = rest.min(ZEROS.len());
        let _asked = keep.ask(disk, file, ByteCount::of_len(len))?;
        disk.write_at(file, at, &ZEROS[..len])?;
        at = at.plus(ByteCount::of_len(len));
    }
    Ok(())
}
