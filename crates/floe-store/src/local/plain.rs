//! One object being staged without a journal: small enough to be sent again, so it costs as few
//! calls as can be.
//!
//! Its file has a name that nobody else was given, so it needs no lock; it is made by the first
//! write and closed by the record of its one chunk, with mode, mtime and mark already set, so that
//! a thousand of them wait for their commit without a descriptor. What is not committed goes when
//! the handle does.

use crate::api::{Result, SinkSpec};
use crate::disk::{Access, Disk, DiskResult, Doing, Name};
use crate::local::area::{Areas, Berth, STAGE_MODE, name};
use crate::local::hole;
use crate::local::metadata;
use floe_types::{ByteCount, ChunkDigest, Code, Fault, ObjectPath, Offset, Range, Root};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A stage without a journal.
pub(super) struct Plain<D: Disk> {
    disk: Arc<D>,
    state: Mutex<State<D>>,
}

enum State<D: Disk> {
    /// Nothing was written.
    Unborn,
    /// Bytes are written up to `end`.
    Open { made: Made<D>, file: D::Handle, end: ByteCount },
    /// Nothing is expected any more; `ready` says what metadata and mark it has. The file stays
    /// open only where its mode would keep its owner from opening it to sync it.
    Closed { made: Made<D>, file: Option<D::Handle>, end: ByteCount, ready: Ready },
    /// It has its final name, or none.
    Gone,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Ready {
    size: ByteCount,
    root: Root,
}

/// A file in an area; dropping it removes it, unless its name was cleared because it has another
/// one now.
struct Made<D: Disk> {
    disk: Arc<D>,
    berth: Berth<D>,
    name: String,
}

impl<D: Disk> Made<D> {
    fn open(&self, access: Access) -> DiskResult<D::Handle> {
        self.disk.open_file(&self.berth.handle, name(&self.name)?, access)
    }

    /// Opens it to be written, if need be with a mode that lets its owner.
    fn open_to_write(&self) -> DiskResult<D::Handle> {
        match self.open(Access::ReadWrite) {
            Err(error) if error.code() == Code::PermissionDenied => {
                self.disk.set_mode(&self.open(Access::Read)?, STAGE_MODE)?;
                self.open(Access::ReadWrite)
            }
            answer => answer,
        }
    }
}

impl<D: Disk> Drop for Made<D> {
    fn drop(&mut self) {
        if let Ok(file) = name(&self.name) {
            let _ = self.disk.remove_file(&self.berth.handle, file);
        }
    }
}

/// Where a plain stage is made.
pub(super) struct Yard<'a, D: Disk> {
    pub(super) areas: &'a Arc<Areas<D>>,
    pub(super) place: &'a ObjectPath,
    pub(super) spec: &'a SinkSpec,
    /// Its final name, in quotes.
    pub(super) shown: &'a str,
}

impl<D: Disk> Plain<D> {
    pub(super) fn new(disk: &Arc<D>) -> Self {
        Self { disk: Arc::clone(disk), state: Mutex::new(State::Unborn) }
    }

    /// Whether nothing was written.
    pub(super) fn is_unborn(&self) -> bool {
        matches!(*self.state(), State::Unborn)
    }

    pub(super) fn write_at(&self, yard: &Yard<'_, D>, at: Offset, bytes: &[u8]) -> Result<()> {
        let doing = format_args!("write stage of {} at {at}", yard.shown);
        let range = Range::at(at, ByteCount::of_len(bytes.len()))
            .filter(|range| yard.spec.size.is_none_or(|size| range.end().0 <= size.0))
            .ok_or_else(|| Fault::new(Code::LimitExceeded, format!("{doing}: past its end")))?;
        let mut state = self.state();
        let (made, file, end) = self.opened(&mut state, yard)?;
        let asked = made.berth.reserve().ask(&*self.disk, &file, range.len());
        let write = |_asked| self.disk.write_at(&file, at, bytes);
        let written = asked.and_then(write).doing(doing);
        *state = State::Open { made, file, end: end.max(ByteCount(range.end().0)) };
        written
    }

    pub(super) fn write_hole(&self, yard: &Yard<'_, D>, range: Range) -> Result<()> {
        let doing = format_args!("write stage of {} at {}", yard.shown, range.start());
        if yard.spec.size.is_some_and(|size| range.end().0 > size.0) {
            return Err(Fault::new(Code::LimitExceeded, format!("{doing}: past its end")));
        }
        let mut state = self.state();
        let (made, file, end) = self.opened(&mut state, yard)?;
        let keep = made.berth.reserve();
        let written = hole::make(&*self.disk, &file, range, keep).doing(doing);
        *state = State::Open { made, file, end: end.max(ByteCount(range.end().0)) };
        written
    }

    /// The one chunk is whole: where that is the object, it gets all it needs for its commit.
    pub(super) fn record(
        &self,
        yard: &Yard<'_, D>,
        chunk: Range,
        digest: &ChunkDigest,
    ) -> Result<()> {
        let (Some(size), Some(root)) = (yard.spec.size, digest.root) else { return Ok(()) };
        if chunk.start() != Offset::ZERO || chunk.len() != size {
            return Ok(());
        }
        self.prepare(yard, size, root)
    }

    /// Gives the staged file the size, the metadata and the mark that the object will have.
    pub(super) fn prepare(&self, yard: &Yard<'_, D>, size: ByteCount, root: Root) -> Result<()> {
        let doing = format_args!("commit {}", yard.shown);
        if size == ByteCount::ZERO && root != Root::of_nothing() {
            return Err(Fault::new(Code::Integrity, format!("{doing}: nothing has another root")));
        }
        let mut state = self.state();
        let wanted = Ready { size, root };
        if matches!(&*state, State::Closed { ready, .. } if *ready == wanted) {
            return Ok(());
        }
        if size > ByteCount::ZERO && matches!(*state, State::Unborn) {
            return Err(Fault::new(Code::Integrity, format!("{doing}: nothing is staged")));
        }
        let (made, file, end) = self.opened(&mut state, yard)?;
        if end < size {
            *state = State::Open { made, file, end };
            return Err(Fault::new(Code::Integrity, format!("{doing}: the stage is too short")));
        }
        let apply = || {
            if end > size {
                self.disk.truncate(&file, size)?;
            }
            metadata::apply_mark(&*self.disk, &file, yard.spec, size, root)?;
            if metadata::staging_mode(yard.spec).is_none() {
                self.disk.set_mode(&file, yard.spec.metadata.mode)?;
            }
            self.disk.set_mtime(&file, yard.spec.metadata.mtime)
        };
        match apply() {
            Ok(()) => {
                let file = Some(file).filter(|_| metadata::keeps_reader_out(yard.spec));
                *state = State::Closed { made, file, end: size, ready: wanted };
            }
            Err(error) => {
                *state = State::Open { made, file, end };
                return Err(error.fault(doing));
            }
        }
        Ok(())
    }

    /// Makes it durable by itself.
    pub(super) fn sync(&self, shown: &str) -> Result<()> {
        let sync = || match &*self.state() {
            State::Open { file, .. } | State::Closed { file: Some(file), .. } => {
                self.disk.sync_file(file)
            }
            State::Closed { made, file: None, .. } => {
                self.disk.sync_file(&made.open(Access::Read)?)
            }
            State::Unborn | State::Gone => Ok(()),
        };
        sync().doing(format_args!("sync stage of {shown}"))
    }

    /// Where its file is; nothing where it has none.
    pub(super) fn spot<R>(
        &self,
        with: impl FnOnce(&D::Handle, Name<'_>) -> DiskResult<R>,
    ) -> Option<DiskResult<R>> {
        match &*self.state() {
            State::Open { made, .. } | State::Closed { made, .. } => {
                Some(name(&made.name).and_then(|file| with(&made.berth.handle, file)))
            }
            State::Unborn | State::Gone => None,
        }
    }

    /// The area it is in.
    pub(super) fn berth(&self) -> Option<Berth<D>> {
        match &*self.state() {
            State::Open { made, .. } | State::Closed { made, .. } => Some(made.berth.again()),
            State::Unborn | State::Gone => None,
        }
    }

    /// It has its final name.
    pub(super) fn renamed(&self) {
        let state = std::mem::replace(&mut *self.state(), State::Gone);
        if let State::Open { mut made, .. } | State::Closed { mut made, .. } = state {
            made.name.clear();
        }
    }

    /// Removes it.
    pub(super) fn discard(&self) {
        *self.state() = State::Gone;
    }

    fn state(&self) -> MutexGuard<'_, State<D>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the file out of the state, made or opened where need be.
    fn opened(
        &self,
        state: &mut State<D>,
        yard: &Yard<'_, D>,
    ) -> Result<(Made<D>, D::Handle, ByteCount)> {
        let doing = format_args!("stage {}", yard.shown);
        match std::mem::replace(state, State::Gone) {
            State::Open { made, file, end } => Ok((made, file, end)),
            State::Closed { made, file, end, .. } => {
                let file = file.map_or_else(|| made.open_to_write().doing(doing), Ok)?;
                Ok((made, file, end))
            }
            State::Gone => Err(Fault::new(Code::NotFound, format!("{doing}: it is gone"))),
            State::Unborn => {
                *state = State::Unborn;
                let berth = yard.areas.enter(yard.place)?;
                let file_name = berth.fresh_name();
                let mode = metadata::staging_mode(yard.spec).unwrap_or(STAGE_MODE);
                let create = || self.disk.create_file(&berth.handle, name(&file_name)?, mode);
                let file = create().doing(doing)?;
                *state = State::Gone;
                let disk = Arc::clone(&self.disk);
                Ok((Made { disk, berth, name: file_name }, file, ByteCount::ZERO))
            }
        }
    }
}
