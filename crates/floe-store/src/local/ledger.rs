//! The journal of one stage while it is written: appends, checkpoints, and what a failed sync takes
//! back.
//!
//! A record is one write without a sync: it survives the death of the process. A checkpoint syncs
//! the data, appends the record that says how far it covers, and syncs the journal. A forgotten
//! range may have been durable, so its record must be before new bytes are written over it. After a
//! failed sync nothing since the last good checkpoint counts, also for a process that reads the
//! journal later; a second failure ends the stage.

use crate::api::Result;
use crate::disk::{Disk, DiskError, DiskResult, Doing};
use crate::journal::{Binding, Record, SlotIndex};
use crate::replay::{JournalBytes, touched_since};
use crate::source::fill;
use floe_types::{ByteCount, ChunkDigest, Code, Fault, Offset, Range, RangeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// After so many failed syncs a stage takes nothing more.
const SYNC_FAILURES_MAX: u32 = 2;
/// Forgotten ranges that wait for a sync; at more they are synced at once.
const UNSYNCED_RANGES_MAX: usize = 4096;

/// A journal that is being written.
pub(super) struct Ledger<D: Disk> {
    disk: Arc<D>,
    file: D::Handle,
    binding: Binding,
    written: Mutex<Written>,
    /// Whether a forgotten range waits for a sync; asked before every write.
    has_unsynced: AtomicBool,
    /// One sync at a time.
    synced: Mutex<Synced>,
}

struct Written {
    next: SlotIndex,
    recorded: RangeSet,
    /// Forgotten and not yet durably so.
    unsynced: RangeSet,
}

struct Synced {
    /// Records below this slot are durable, and their bytes.
    covered: SlotIndex,
    /// Nothing was appended behind this slot since the last good checkpoint.
    settled: Option<SlotIndex>,
    failures: u32,
}

/// A journal's file as bytes.
pub(super) struct FileBytes<'a, D: Disk> {
    pub(super) disk: &'a D,
    pub(super) file: &'a D::Handle,
}

impl<D: Disk> JournalBytes for FileBytes<'_, D> {
    fn size(&self) -> Result<ByteCount> {
        Ok(self.disk.stat(self.file).doing("stat journal")?.size)
    }

    fn read(&self, at: Offset, into: &mut [u8]) -> Result<usize> {
        let read = |at, into: &mut [u8]| self.disk.read_at(self.file, at, into).map(Some);
        Ok(fill(at, into, read).doing("read journal")?.unwrap_or(0))
    }
}

/// Where a journal that is continued stands.
pub(super) struct Continued {
    /// The slot behind its last record.
    pub(super) next: SlotIndex,
    /// Records below this slot are durable, and their bytes.
    pub(super) covered: SlotIndex,
    /// What is recorded.
    pub(super) recorded: RangeSet,
}

impl<D: Disk> Ledger<D> {
    /// The ledger of a journal whose head, and slots up to `next`, are written.
    pub(super) fn new(disk: Arc<D>, file: D::Handle, binding: Binding, at: Continued) -> Self {
        let Continued { next, covered, recorded } = at;
        let unsynced = RangeSet::new();
        Self {
            disk,
            file,
            binding,
            written: Mutex::new(Written { next, recorded, unsynced }),
            has_unsynced: AtomicBool::new(false),
            synced: Mutex::new(Synced { covered, settled: None, failures: 0 }),
        }
    }

    pub(super) fn record(&self, chunk: Range, digest: ChunkDigest) -> DiskResult<()> {
        let mut written = self.written();
        self.append(&mut written, &Record::Chunk(chunk, digest))?;
        written.recorded.insert(chunk);
        Ok(())
    }

    pub(super) fn forget(&self, range: Range) -> DiskResult<()> {
        let mut written = self.written();
        self.append(&mut written, &Record::Forget(range))?;
        written.recorded.remove(range);
        written.unsynced.insert(range);
        self.has_unsynced.store(true, Ordering::Release);
        let many = written.unsynced.iter().nth(UNSYNCED_RANGES_MAX).is_some();
        drop(written);
        if many { self.sync_forgotten() } else { Ok(()) }
    }

    /// To be called before bytes of `range` are written.
    pub(super) fn before_write(&self, range: Range) -> DiskResult<()> {
        if !self.has_unsynced.load(Ordering::Acquire) || !self.written().unsynced.touches(range) {
            return Ok(());
        }
        self.sync_forgotten()
    }

    /// Whether every byte of `range` is recorded.
    pub(super) fn covers(&self, range: Range) -> bool {
        self.written().recorded.covers(range)
    }

    /// Makes data and journal durable, and `names` between the two: the names of both files.
    pub(super) fn checkpoint(
        &self,
        data: &D::Handle,
        names: &dyn Fn() -> Result<()>,
        what: &str,
    ) -> Result<()> {
        let mut synced = self.synced(what)?;
        let covered = self.written().next;
        if synced.settled == Some(covered) {
            return Ok(());
        }
        if let Err(fault) = self.disk.sync_data(data).doing(what).and_then(|()| names()) {
            self.take_back(&mut synced);
            return Err(fault);
        }
        let appended = self.append(&mut self.written(), &Record::Checkpoint(covered));
        match appended.and_then(|after| self.disk.sync_data(&self.file).map(|()| after)) {
            Err(error) => {
                self.take_back(&mut synced);
                Err(error.fault(what))
            }
            Ok(after) => {
                synced.covered = covered;
                synced.settled = (after.0 == covered.0 + 1).then_some(after);
                Ok(())
            }
        }
    }

    /// Syncs the data for good, before its commit. The journal is not needed after it.
    pub(super) fn sync_whole(&self, data: &D::Handle, what: &str) -> Result<()> {
        let mut synced = self.synced(what)?;
        self.disk.sync_file(data).map_err(|error| {
            self.take_back(&mut synced);
            error.fault(what)
        })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn synced(&self, what: &str) -> Result<MutexGuard<'_, Synced>> {
        let synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced.failures >= SYNC_FAILURES_MAX {
            return Err(Fault::new(Code::Io, format!("{what}: its syncs failed before")));
        }
        Ok(synced)
    }

    fn append(&self, written: &mut Written, record: &Record) -> DiskResult<SlotIndex> {
        let slot = self.binding.encode(written.next, record);
        self.disk.write_at(&self.file, self.binding.offset(written.next), &slot)?;
        written.next.0 += 1;
        Ok(written.next)
    }

    fn sync_forgotten(&self) -> DiskResult<()> {
        let mut synced = self.synced("sync journal").map_err(|fault| DiskError::new(fault.code))?;
        // They stay in the set until they are durable: a write beside this one must wait too.
        let waiting = self.written().unsynced.clone();
        if waiting.is_empty() {
            return Ok(());
        }
        let answer = self.disk.sync_data(&self.file);
        if answer.is_err() {
            self.take_back(&mut synced);
        } else {
            let mut written = self.written();
            waiting.iter().for_each(|range| written.unsynced.remove(range));
            self.has_unsynced.store(!written.unsynced.is_empty(), Ordering::Release);
        }
        answer
    }

    /// A sync failed: what was recorded since the last good checkpoint counts no more, and durably
    /// so where that can be had. What was taken back or written over since then stays taken back.
    fn take_back(&self, synced: &mut Synced) {
        synced.failures += 1;
        synced.settled = None;
        if self.rewind(synced).is_err() {
            // The journal cannot be mended: without its head nothing of it counts.
            synced.failures = SYNC_FAILURES_MAX;
            let _ = self.disk.truncate(&self.file, ByteCount::ZERO);
            let _ = self.disk.sync_data(&self.file);
        }
    }

    /// One write says it all, so that a reader sees either the records or that they are taken back.
    fn rewind(&self, synced: &mut Synced) -> Result<()> {
        let mut written = self.written();
        let bytes = FileBytes { disk: &*self.disk, file: &self.file };
        let touched = touched_since(&bytes, self.binding, synced.covered, written.next)?;
        let (first, mut slots) = (written.next, Vec::new());
        let mut next = first;
        let mut put = |record| {
            slots.extend_from_slice(&self.binding.encode(next, &record));
            next.0 += 1;
            next
        };
        touched.iter().for_each(|range| {
            put(Record::Forget(range));
        });
        let covered = SlotIndex(put(Record::Checkpoint(first)).0 - 1);
        let at = self.binding.offset(first);
        self.disk.write_at(&self.file, at, &slots).doing("append to journal")?;
        written.next = next;
        touched.iter().for_each(|range| written.recorded.remove(range));
        self.disk.sync_data(&self.file).doing("sync journal")?;
        synced.covered = covered;
        written.unsynced = RangeSet::new();
        self.has_unsynced.store(false, Ordering::Release);
        Ok(())
    }
}
