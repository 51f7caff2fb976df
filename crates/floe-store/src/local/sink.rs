//! The handle of one object being staged, whichever way it is staged.
//!
//! Where the object was recognised as finished, nothing is made before the first write.

use crate::api::{Basis, Result, Resume, Sink, SinkSpec};
use crate::disk::{Disk, DiskResult, Name};
use crate::local::Ground;
use crate::local::plain::{Plain, Yard};
use crate::local::stage::{self, Stage};
use crate::local::standing::Standing;
use floe_types::{
    ByteCount, ChunkDigest, Code, Fault, ObjectPath, Offset, Precondition, Range, Root, Subtree,
};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A stage of a local store.
pub(crate) struct LocalSink<D: Disk> {
    ground: Arc<Ground<D>>,
    pub(super) spec: SinkSpec,
    /// The final name as it is shown, in quotes.
    pub(super) shown: String,
    /// The directory that holds the area it is staged in.
    pub(super) place: ObjectPath,
    pub(super) standing: Option<Standing>,
    body: Body<D>,
    phase: Mutex<Phase>,
}

enum Body<D: Disk> {
    Journaled { stage: OnceLock<Box<Stage<D>>>, opening: Mutex<()> },
    Plain(Plain<D>),
}

/// How far its commit is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It has no final name.
    Staging,
    /// It has; the directory may not be synced.
    Renamed,
    /// It is visible and durable.
    Committed,
    /// It was discarded.
    Discarded,
}

impl<D: Disk> LocalSink<D> {
    /// A sink without a journal; nothing is made yet.
    pub(super) fn plain(
        ground: &Arc<Ground<D>>,
        called: (SinkSpec, String),
        place: ObjectPath,
        standing: Option<Standing>,
    ) -> Self {
        let body = Body::Plain(Plain::new(&ground.disk));
        Self::new(ground, called, place, standing, body)
    }

    /// A sink with a journal; nothing is made yet.
    pub(super) fn journaled(
        ground: &Arc<Ground<D>>,
        called: (SinkSpec, String),
        place: ObjectPath,
        standing: Option<Standing>,
    ) -> Self {
        let body = Body::Journaled { stage: OnceLock::new(), opening: Mutex::default() };
        Self::new(ground, called, place, standing, body)
    }

    fn new(
        ground: &Arc<Ground<D>>,
        (spec, shown): (SinkSpec, String),
        place: ObjectPath,
        standing: Option<Standing>,
        body: Body<D>,
    ) -> Self {
        let phase = Mutex::new(Phase::Staging);
        Self { ground: Arc::clone(ground), spec, shown, place, standing, body, phase }
    }

    /// Opens the stage now, and says what it holds. Nothing to do without a journal.
    pub(super) fn begin(
        &self,
        resume: Resume,
        progress: crate::api::Progress<'_>,
    ) -> Result<(Vec<Subtree>, Basis)> {
        let Body::Journaled { stage, opening } = &self.body else {
            return Ok((Vec::new(), Basis::Content));
        };
        let _one_at_a_time = opening.lock().unwrap_or_else(PoisonError::into_inner);
        if stage.get().is_some() {
            return Ok((Vec::new(), Basis::Content));
        }
        let berth = self.ground.areas.enter(&self.place)?;
        let spec = SinkSpec { resume, ..self.spec.clone() };
        let opened = stage::open(&self.ground.disk, berth, (&spec, &self.shown), progress)?;
        let _ = stage.set(Box::new(opened.stage));
        Ok((opened.have, opened.basis))
    }

    /// Whether nothing was written.
    pub(super) fn is_untouched(&self) -> bool {
        match &self.body {
            Body::Journaled { stage, .. } => stage.get().is_none(),
            Body::Plain(plain) => plain.is_unborn(),
        }
    }

    /// Whether what stands there stays, if it is the object: where nothing may be replaced also if
    /// it was written again. A small one comes before it is heard of that it stands.
    pub(super) fn is_to_be_kept(&self) -> bool {
        match *self.phase() {
            Phase::Staging => self.is_untouched() || self.spec.precondition == Precondition::Absent,
            Phase::Discarded => true,
            Phase::Renamed | Phase::Committed => false,
        }
    }

    pub(super) fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn prepare(&self, size: ByteCount, root: Root) -> Result<()> {
        match &self.body {
            Body::Journaled { .. } => self.stage()?.prepare(&self.spec, size, root),
            Body::Plain(plain) => plain.prepare(&self.yard(), size, root),
        }
    }

    /// Makes the staged file durable by itself.
    pub(super) fn sync(&self) -> Result<()> {
        match &self.body {
            Body::Journaled { .. } => self.stage()?.sync(),
            Body::Plain(plain) => plain.sync(&self.shown),
        }
    }

    /// It has its final name.
    pub(super) fn renamed(&self) {
        *self.phase() = Phase::Renamed;
        if let Body::Plain(plain) = &self.body {
            plain.renamed();
        }
    }

    /// After its rename: what could not be done before.
    pub(super) fn complete(&self) -> Result<()> {
        match &self.body {
            Body::Journaled { .. } => self.stage()?.complete(&self.spec),
            Body::Plain(_) => Ok(()),
        }
    }

    /// The stage without a journal, if it is one: many of those are synced at once.
    pub(super) fn as_plain(&self) -> Option<&Plain<D>> {
        match &self.body {
            Body::Plain(plain) => Some(plain),
            Body::Journaled { .. } => None,
        }
    }

    /// Where the staged file is.
    pub(super) fn spot<R>(
        &self,
        with: impl FnOnce(&D::Handle, Name<'_>) -> DiskResult<R>,
    ) -> DiskResult<R> {
        let gone = || Err(crate::disk::DiskError::new(Code::NotFound));
        match &self.body {
            Body::Journaled { stage, .. } => {
                stage.get().map_or_else(gone, |stage| stage.spot(with))
            }
            Body::Plain(plain) => plain.spot(with).unwrap_or_else(gone),
        }
    }

    /// It is committed, and durably so: nothing of the stage is needed any more.
    pub(super) fn retire(&self) {
        match &self.body {
            Body::Journaled { stage, .. } => {
                if let Some(stage) = stage.get() {
                    stage.retire();
                }
            }
            Body::Plain(_) => {}
        }
    }

    /// Removes the stage.
    pub(super) fn discard(&self) -> Result<()> {
        let mut phase = self.phase();
        if *phase != Phase::Staging {
            return Ok(());
        }
        match &self.body {
            Body::Journaled { stage, .. } => stage.get().map_or(Ok(()), |stage| stage.discard())?,
            Body::Plain(plain) => plain.discard(),
        }
        *phase = Phase::Discarded;
        Ok(())
    }

    fn stage(&self) -> Result<&Stage<D>> {
        let Body::Journaled { stage, .. } = &self.body else { return Err(self.no_stage()) };
        if let Some(stage) = stage.get() {
            return Ok(stage);
        }
        self.begin(Resume::Discard, &|_, _| {})?;
        stage.get().map(|stage| &**stage).ok_or_else(|| self.no_stage())
    }

    fn no_stage(&self) -> Fault {
        Fault::new(Code::NotFound, format!("stage {}", self.shown))
    }

    fn yard(&self) -> Yard<'_, D> {
        Yard { areas: &self.ground.areas, place: &self.place, spec: &self.spec, shown: &self.shown }
    }
}

impl<D: Disk> Sink for LocalSink<D> {
    fn write_at(&self, at: Offset, bytes: &[u8]) -> Result<()> {
        match &self.body {
            Body::Journaled { .. } => self.stage()?.write_at(at, bytes),
            Body::Plain(plain) => plain.write_at(&self.yard(), at, bytes),
        }
    }

    fn write_hole(&self, chunk: Range) -> Result<()> {
        match &self.body {
            Body::Journaled { .. } => self.stage()?.write_hole(chunk),
            Body::Plain(plain) => plain.write_hole(&self.yard(), chunk),
        }
    }

    fn record(&self, chunk: Range, digest: &ChunkDigest) -> Result<()> {
        match &self.body {
            Body::Journaled { .. } => self.stage()?.record(chunk, digest),
            Body::Plain(plain) => plain.record(&self.yard(), chunk, digest),
        }
    }

    fn forget(&self, range: Range) -> Result<()> {
        match &self.body {
            Body::Journaled { stage, .. } => {
                stage.get().map_or(Ok(()), |stage| stage.forget(range))
            }
            Body::Plain(_) => Ok(()),
        }
    }

    fn checkpoint(&self) -> Result<()> {
        match &self.body {
            Body::Journaled { stage, .. } => stage.get().map_or(Ok(()), |stage| stage.checkpoint()),
            Body::Plain(_) => Ok(()),
        }
    }

    fn has_final_name(&self) -> bool {
        matches!(*self.phase(), Phase::Renamed | Phase::Committed)
    }
}
