//! One object being staged with a journal: a file of bytes, and the ledger of which of them are
//! verified.
//!
//! Its owner holds the lock of the file for as long as the stage lives, through every rename. What
//! is written here is preallocated in steps, written back early, and not kept in memory where the
//! object is large. How an earlier stage is taken up again is in `claim`.

mod key; // the names of its files
mod pace; // how it meets its device
mod others; // stages of the same path and owner
mod claim; // how it comes to be owned

use crate::api::{Basis, Result, SinkSpec, StageKey};
use crate::disk::{Disk, DiskResult, Doing, Name};
use crate::local::area::{Berth, name};
use crate::local::hole;
use crate::local::ledger::Ledger;
use crate::local::metadata;
use crate::local::reserve::PAGE;
use floe_types::{ByteCount, ChunkDigest, Code, Fault, Offset, Range, Root, Subtree};
use key::Key;
use pace::Pace;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) use claim::open;
pub(super) use others::remove_all;

/// A stage that this handle owns.
pub(super) struct Stage<D: Disk> {
    disk: Arc<D>,
    berth: Berth<D>,
    key: Key,
    /// Its final name, in quotes.
    shown: String,
    size: Option<ByteCount>,
    file: D::Handle,
    ledger: Ledger<D>,
    pace: Pace,
    names_synced: AtomicBool,
}

/// A stage and what it holds.
pub(super) struct Opened<D: Disk> {
    pub(super) stage: Stage<D>,
    pub(super) have: Vec<Subtree>,
    pub(super) basis: Basis,
}

impl<D: Disk> Stage<D> {
    fn new(
        disk: &Arc<D>,
        berth: Berth<D>,
        (spec, shown): (&SinkSpec, &str),
        key: Key,
        (file, ledger): (D::Handle, Ledger<D>),
    ) -> Self {
        Self {
            disk: Arc::clone(disk),
            berth,
            key,
            shown: shown.to_owned(),
            size: spec.size,
            file,
            ledger,
            pace: Pace::new(spec.size, spec.holes),
            names_synced: AtomicBool::new(false),
        }
    }

    pub(super) fn write_at(&self, at: Offset, bytes: &[u8]) -> Result<()> {
        let doing = format_args!("write stage of {} at {at}", self.shown);
        let range = Range::at(at, ByteCount::of_len(bytes.len()))
            .filter(|range| self.size.is_none_or(|size| range.end().0 <= size.0))
            .ok_or_else(|| Fault::new(Code::LimitExceeded, format!("{doing}: past its end")))?;
        let write = || {
            self.ledger.before_write(range)?;
            let (keep, recorded) = (self.berth.reserve(), || self.ledger.recorded());
            let asked = self.pace.reserve(&*self.disk, &self.file, range, keep, recorded)?;
            let written = self.disk.write_at(&self.file, at, bytes);
            drop(asked);
            written
        };
        write().doing(doing)?;
        self.pace.wrote(&*self.disk, &self.file, range);
        Ok(())
    }

    pub(super) fn write_hole(&self, range: Range) -> Result<()> {
        let doing = format_args!("write stage of {} at {}", self.shown, range.start());
        if self.size.is_some_and(|size| range.end().0 > size.0) {
            return Err(Fault::new(Code::LimitExceeded, format!("{doing}: past its end")));
        }
        self.ledger.before_write(range).doing(doing)?;
        hole::make(&*self.disk, &self.file, range, self.berth.reserve()).doing(doing)
    }

    pub(super) fn record(&self, chunk: Range, digest: &ChunkDigest) -> Result<()> {
        let doing = format_args!("record chunk of {} at {}", self.shown, chunk.start());
        let at_start = chunk.start() == Offset::ZERO;
        if !Subtree::is_aligned(chunk) || digest.root.is_some() != at_start {
            return Err(Fault::new(Code::Usage, format!("{doing}: it is no chunk")));
        }
        let room = || match self.ledger.begins_page() {
            true => self.berth.reserve().ask(&*self.disk, &self.file, PAGE),
            false => Ok(None),
        };
        let _asked = room().doing(doing)?;
        self.ledger.record(chunk, *digest).doing(doing)
    }

    pub(super) fn forget(&self, range: Range) -> Result<()> {
        let doing = format_args!("forget chunk of {} at {}", self.shown, range.start());
        self.ledger.forget(range).doing(doing)
    }

    pub(super) fn checkpoint(&self) -> Result<()> {
        let names = || {
            if self.names_synced.load(Ordering::Acquire) {
                return Ok(());
            }
            self.berth.sync_names()?;
            self.names_synced.store(true, Ordering::Release);
            Ok(())
        };
        self.ledger.checkpoint(&self.file, &names, &format!("sync stage of {}", self.shown))
    }

    /// Gives the staged file the size, the metadata and the mark that the object will have.
    pub(super) fn prepare(&self, spec: &SinkSpec, size: ByteCount, root: Root) -> Result<()> {
        let doing = format_args!("commit {}", self.shown);
        if size == ByteCount::ZERO && root != Root::of_nothing() {
            return Err(Fault::new(Code::Integrity, format!("{doing}: nothing has another root")));
        }
        if !self.ledger.covers(Range::new(Offset::ZERO, Offset(size.0))) {
            return Err(Fault::new(Code::Integrity, format!("{doing}: not all is recorded")));
        }
        let staged = self.disk.stat(&self.file).doing(doing)?.size;
        if staged < size {
            return Err(Fault::new(Code::Integrity, format!("{doing}: the stage is too short")));
        }
        // Also where it ends there already: a sync that failed may have lost that, and memory shows
        // it all the same.
        self.disk.truncate(&self.file, size).doing(doing)?;
        metadata::apply(&*self.disk, &self.file, spec, size, root).doing(doing)
    }

    pub(super) fn sync(&self) -> Result<()> {
        self.ledger.sync_whole(&self.file, &format!("sync stage of {}", self.shown))
    }

    /// After its rename: the mode that would have kept its owner from taking the stage up again
    /// after a crash.
    pub(super) fn complete(&self, spec: &SinkSpec) -> Result<()> {
        if !metadata::keeps_owner_out(spec) {
            return Ok(());
        }
        self.disk
            .set_mode(&self.file, spec.metadata.mode)
            .and_then(|()| self.disk.sync_file(&self.file))
            .doing(format_args!("commit {}", self.shown))
    }

    /// Where its file is.
    pub(super) fn spot<R>(
        &self,
        with: impl FnOnce(&D::Handle, Name<'_>) -> DiskResult<R>,
    ) -> DiskResult<R> {
        with(&self.berth.handle, name(&self.key.stage())?)
    }

    /// Removes its journal: the object is committed, and durably so. Its key has been free since
    /// the rename, and may be another's by now.
    pub(super) fn retire(&self) {
        // A journal without a stage means nothing; the sweep takes one that stays.
        let _ = others::remove(&*self.disk, &self.berth.handle, &self.key);
    }

    /// Removes it.
    pub(super) fn discard(&self) -> Result<()> {
        let doing = format_args!("discard stage of {}", self.shown);
        self.remove(&self.key.journal()).doing(doing)?;
        self.remove(&self.key.stage()).doing(doing)
    }

    fn remove(&self, file: &str) -> DiskResult<()> {
        remove(&*self.disk, &self.berth.handle, file).map(drop)
    }
}

/// What an area holds of this object.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Neither stage nor journal.
    Nothing,
    /// Its stage.
    Stage,
    /// A journal without its stage: it was renamed, and its process died before it took the journal
    /// away.
    Orphan,
}

/// Looks for this object's stage.
pub(super) fn find<D: Disk>(disk: &D, area: &D::Handle, spec: &SinkSpec) -> DiskResult<Found> {
    let key = Key::of(spec);
    let size = |file: &str| match disk.stat_at(area, name(file)?) {
        Err(error) if error.code() == Code::NotFound => Ok(None),
        answer => answer.map(|stat| Some(stat.size)),
    };
    Ok(match (size(&key.stage())?, size(&key.journal())?) {
        // An empty one holds nothing: it may be left of who only owned the key to clear it away.
        (Some(size), _) if size > ByteCount::ZERO => Found::Stage,
        (_, Some(_)) => Found::Orphan,
        (_, None) => Found::Nothing,
    })
}

/// How far a stage is written, if it stands. One with two names is the object by now: its process
/// died between the two steps of a rename.
pub(super) fn written<D: Disk>(
    disk: &D,
    area: &D::Handle,
    stage: &StageKey,
) -> DiskResult<Option<ByteCount>> {
    match disk.stat_at(area, name(&Key::named(stage).stage())?) {
        Err(error) if error.code() == Code::NotFound => Ok(None),
        answer => answer.map(|stands| (stands.links == 1).then_some(stands.size)),
    }
}

/// Removes an orphaned journal, unless another process has begun its key anew.
pub(super) fn clear<D: Disk>(disk: &D, area: &D::Handle, spec: &SinkSpec) {
    let key = Key::of(spec);
    let _ = others::settle(disk, area, &key).and_then(|()| others::remove(disk, area, &key));
}

/// Whether something was there to be removed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stood {
    There,
    Not,
}

/// Removes a file of an area, if it is there.
fn remove<D: Disk>(disk: &D, area: &D::Handle, file: &str) -> DiskResult<Stood> {
    match disk.remove_file(area, name(file)?) {
        Err(error) if error.code() == Code::NotFound => Ok(Stood::Not),
        answer => answer.map(|()| Stood::There),
    }
}
