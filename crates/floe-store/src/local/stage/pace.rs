//! How a staged file meets its device: space set aside ahead, write-back started early, memory
//! given back behind.
//!
//! Measured on ext4: preallocation doubles the rate of new files, and write-back in steps of 32 MiB
//! makes write and final sync together nearly three times as fast. All of it is advice; only a lack
//! of space is an answer.

use crate::disk::{Disk, DiskResult};
use crate::local::reserve::{Asked, Reserve};
use floe_types::{ByteCount, Code, Offset, Range, RangeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Space is set aside so far ahead.
const RESERVE_BYTES: u64 = 64 << 20;
/// Write-back is started every so many bytes.
const STEP_BYTES: u64 = 32 << 20;
/// Objects at least this large do not stay in memory once they are written back.
const LARGE_BYTES: u64 = 256 << 20;

/// The pace of one file.
#[derive(Debug)]
pub(super) struct Pace {
    size: Option<ByteCount>,
    /// Space is set aside below this offset.
    reserved: AtomicU64,
    reserving: Mutex<()>,
    flow: Mutex<Flow>,
}

#[derive(Debug, Default)]
struct Flow {
    /// Written since the last step.
    written: RangeSet,
    bytes: u64,
    /// Its write-back started with the last step.
    behind: RangeSet,
}

impl Pace {
    pub(super) fn new(size: Option<ByteCount>, holes: ByteCount) -> Self {
        // Without a size nothing is set aside: what is too much would have to be given back. Nor is
        // it where there are holes: it would fill them.
        let ahead = size.is_some() && holes == ByteCount::ZERO;
        let reserved = AtomicU64::new(if ahead { 0 } else { u64::MAX });
        Self { size, reserved, reserving: Mutex::default(), flow: Mutex::default() }
    }

    /// Sets space aside for a range about to be written. Where that cannot be done, what comes back
    /// is held while it is written.
    pub(super) fn reserve<'a, D: Disk>(
        &self,
        disk: &D,
        file: &D::Handle,
        range: Range,
        keep: &'a Reserve,
        recorded: impl Fn() -> RangeSet,
    ) -> DiskResult<Option<Asked<'a>>> {
        let ask = |bytes| keep.ask(disk, file, bytes);
        match self.reserved.load(Ordering::Acquire) {
            u64::MAX => return ask(range.len()),
            reserved if range.end().0 <= reserved => return Ok(None),
            _ => {}
        }
        let _one_at_a_time = self.reserving.lock().unwrap_or_else(PoisonError::into_inner);
        let from = self.reserved.load(Ordering::Acquire);
        if from == u64::MAX {
            return ask(range.len());
        }
        if range.end().0 <= from {
            return Ok(None);
        }
        let size = self.size.map_or(range.end().0, |size| size.0);
        let ahead = range.end().0.checked_next_multiple_of(RESERVE_BYTES).unwrap_or(size);
        let near = range.end().0;
        let far = ahead.min(size).max(near);
        // Where there is no room ahead, for this much there may be.
        // What an earlier run was given takes no more: what it recorded, and what was set aside
        // ahead of that.
        let is_asked = keep.keep() != ByteCount::ZERO;
        let recorded = if is_asked { recorded() } else { RangeSet::new() };
        let ahead = match is_asked && from == 0 {
            true => {
                let allocated = disk.stat(file)?.allocated.0;
                allocated.saturating_sub(recorded.len().0).min(RESERVE_BYTES)
            }
            false => 0,
        };
        let more = |to: u64| {
            let within = recorded.within(Range::new(Offset(from), Offset(to)));
            let held = within.map(|range| range.len().0).sum::<u64>() + ahead;
            ByteCount((to - from).saturating_sub(held))
        };
        let (to, asked) = match ask(more(far)) {
            Ok(asked) => (far, asked),
            Err(_) => (near, ask(more(near))?),
        };
        match disk.allocate(file, Range::new(Offset(from), Offset(to))) {
            Ok(()) => self.reserved.store(to, Ordering::Release),
            Err(error) if matches!(error.code(), Code::NoSpace | Code::Quota) => return Err(error),
            Err(_) => {
                self.reserved.store(u64::MAX, Ordering::Release);
                drop(asked);
                return ask(range.len());
            }
        }
        Ok(None)
    }

    /// Notes what was written, and starts to write back what is due.
    pub(super) fn wrote<D: Disk>(&self, disk: &D, file: &D::Handle, range: Range) {
        if self.size.is_some_and(|size| size.0 < STEP_BYTES) {
            return;
        }
        let mut flow = self.flow.lock().unwrap_or_else(PoisonError::into_inner);
        flow.written.insert(range);
        flow.bytes += range.len().0;
        if flow.bytes < STEP_BYTES {
            return;
        }
        flow.bytes = 0;
        let due = std::mem::take(&mut flow.written);
        let behind = std::mem::replace(&mut flow.behind, due.clone());
        drop(flow);
        for range in due.iter() {
            let _ = disk.start_write_back(file, range);
        }
        if self.size.is_none_or(|size| size.0 >= LARGE_BYTES) {
            for range in behind.iter() {
                let _ = disk.drop_cache(file, range);
            }
        }
    }
}
