//! The journal of one stage while it is written: appends, checkpoints, and what a failed sync ends.
//!
//! A record is one write without a sync: it survives the death of the process. A checkpoint says
//! that a sync begins, syncs the data, appends the record that says how far it covers, and syncs
//! the journal. A forgotten range may have been durable, so its record must be before new bytes are
//! written over it. Bytes that come where something is recorded forget it, whether or not anybody
//! asked for that: no record ever outlives its bytes. After a failed sync memory shows bytes that
//! the disk may not hold, also of chunks not recorded yet: nothing more is recorded through this
//! handle, and whoever opens the stage next finds the beginning of a sync without an end, and
//! writes again what it keeps (see `recover`). The same holds where the process died in the sync
//! and nobody was told how it ended.

use crate::api::Result;
use crate::disk::{Disk, DiskError, DiskResult, Doing};
use crate::journal::{Binding, Record, SlotIndex};
use crate::local::reserve::PAGE;
use crate::replay::JournalBytes;
use crate::source::fill;
use floe_types::planted::{self, Bug};
use floe_types::{ByteCount, ChunkDigest, Code, Fault, Offset, Range, RangeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Forgotten ranges that wait for a sync; at more they are synced at once.
const UNSYNCED_RANGES_MAX: usize = 4096;

/// A journal that is being written.
pub(super) struct Ledger<D: Disk> {
    disk: Arc<D>,
    file: D::Handle,
    binding: Binding,
    written: Mutex<Written>,
    /// One sync at a time.
    synced: Mutex<Synced>,
}

struct Written {
    next: SlotIndex,
    recorded: RangeSet,
    /// Forgotten and not yet durably so.
    unsynced: RangeSet,
    syncs: Syncs,
}

/// How the syncs of a stage went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Syncs {
    Good,
    /// One failed: nothing is recorded or committed any more.
    Failed,
}

/// What one sync at a time may do.
struct Synced {
    /// Nothing was appended behind this slot since the last good checkpoint.
    settled: Option<SlotIndex>,
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
    /// What is recorded.
    pub(super) recorded: RangeSet,
}

impl<D: Disk> Ledger<D> {
    /// The ledger of a journal whose head, and slots up to `next`, are written.
    pub(super) fn new(disk: Arc<D>, file: D::Handle, binding: Binding, at: Continued) -> Self {
        let Continued { next, recorded } = at;
        let (unsynced, syncs) = (RangeSet::new(), Syncs::Good);
        Self {
            disk,
            file,
            binding,
            written: Mutex::new(Written { next, recorded, unsynced, syncs }),
            synced: Mutex::new(Synced { settled: None }),
        }
    }

    /// Whether the next record takes another page of the disk.
    pub(super) fn begins_page(&self) -> bool {
        self.binding.offset(self.written().next).0.is_multiple_of(PAGE.0)
    }

    pub(super) fn record(&self, chunk: Range, digest: ChunkDigest) -> DiskResult<()> {
        let mut written = self.written();
        if written.syncs == Syncs::Failed {
            return Err(DiskError::new(Code::Io)); // its bytes may be among those that were lost
        }
        self.append(&mut written, &Record::Chunk(chunk, digest))?;
        written.recorded.insert(chunk);
        if planted::is(Bug::CheckpointCoversMore) {
            let covered = Record::Checkpoint(written.next);
            self.append(&mut written, &covered)?;
        }
        Ok(())
    }

    pub(super) fn forget(&self, range: Range) -> DiskResult<()> {
        let mut written = self.written();
        self.append(&mut written, &Record::Forget(range))?;
        written.recorded.remove(range);
        written.unsynced.insert(range);
        let many = written.unsynced.iter().nth(UNSYNCED_RANGES_MAX).is_some();
        drop(written);
        if many { self.sync_forgotten() } else { Ok(()) }
    }

    /// To be called before bytes of `range` are written. What is recorded there is forgotten, and
    /// durably so.
    pub(super) fn before_write(&self, range: Range) -> DiskResult<()> {
        let written = self.written();
        let (recorded, waits) = (written.recorded.touches(range), written.unsynced.touches(range));
        drop(written);
        if recorded {
            self.forget(range)?;
        }
        if recorded || waits { self.sync_forgotten() } else { Ok(()) }
    }

    /// What is recorded.
    pub(super) fn recorded(&self) -> RangeSet {
        self.written().recorded.clone()
    }

    /// Whether every byte of `range` is recorded.
    pub(super) fn covers(&self, range: Range) -> bool {
        self.written().recorded.covers(range)
    }

    /// Makes `names` (those of both files) durable, then data and journal. An append that fails
    /// fails the checkpoint alone: no sync failed.
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
        // The names first: with synced bytes under the name of an earlier stage, that one's journal
        // would speak of them.
        names().inspect_err(|_| self.fail())?;
        self.append(&mut self.written(), &Record::Syncing).doing(what)?;
        if !planted::is(Bug::CheckpointBeforeTheData) {
            self.sync(|| self.disk.sync_data(data)).doing(what)?;
        }
        let appended = self.append(&mut self.written(), &Record::Checkpoint(covered));
        let after = appended.doing(what)?;
        self.sync(|| self.disk.sync_data(&self.file)).doing(what)?;
        synced.settled = (after.0 == covered.0 + 2).then_some(after);
        Ok(())
    }

    /// Syncs the data for good, before its commit. The journal is not needed after it.
    pub(super) fn sync_whole(&self, data: &D::Handle, what: &str) -> Result<()> {
        let mut synced = self.synced(what)?;
        self.append(&mut self.written(), &Record::Syncing).doing(what)?;
        synced.settled = None;
        if planted::is(Bug::SkipTheSyncOfAStage) {
            return Ok(());
        }
        self.sync(|| self.disk.sync_file(data)).doing(what)
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The turn to sync.
    fn synced(&self, what: &str) -> Result<MutexGuard<'_, Synced>> {
        let synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if self.written().syncs == Syncs::Failed {
            return Err(Fault::new(Code::Io, format!("{what}: a sync of it failed before")));
        }
        Ok(synced)
    }

    fn sync(&self, sync: impl FnOnce() -> DiskResult<()>) -> DiskResult<()> {
        sync().inspect_err(|_| self.fail())
    }

    fn fail(&self) {
        self.written().syncs = Syncs::Failed;
    }

    fn append(&self, written: &mut Written, record: &Record) -> DiskResult<SlotIndex> {
        let slot = self.binding.encode(written.next, record);
        self.disk.write_at(&self.file, self.binding.offset(written.next), &slot)?;
        written.next.0 += 1;
        Ok(written.next)
    }

    fn sync_forgotten(&self) -> DiskResult<()> {
        let _turn = self.synced("sync journal").map_err(|fault| DiskError::new(fault.code))?;
        // They stay in the set until they are durable: a write beside this one must wait too.
        let waiting = self.written().unsynced.clone();
        if waiting.is_empty() {
            return Ok(());
        }
        self.sync(|| self.disk.sync_data(&self.file))?;
        let mut written = self.written();
        waiting.iter().for_each(|range| written.unsynced.remove(range));
        Ok(())
    }
}
