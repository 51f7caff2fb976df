//! A stage whose bytes count against a ticket's quota.

use super::book::Keeping;
use super::meter::{Item, Meter, Outcome, Rest};
use super::usage::{Extent, Pending, What};
use floe_store::{Commit, Journaling, OpenedSink, Sink, SinkSpec, StageKey, Store, Wanted};
use floe_types::{ByteCount, ChunkDigest, Code, Fault, Offset, Range, Root};
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Result<T> = std::result::Result<T, Fault>;

/// A stage, and what is set aside for it. Dropping it leaves what is staged set aside.
pub(super) struct MeteredSink {
    whole: Arc<dyn Sink>,
    meter: Arc<Meter>,
    stage: StageKey,
    size: Option<ByteCount>,
    keeping: Keeping,
    phase: Mutex<Phase>,
}

/// Whether something is set aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// The object stood there, and nothing was written.
    Untouched,
    /// Its size is, or how far it is written.
    Reserved,
    /// It is counted, or came to nothing.
    Over,
}

/// Opens a stage by `open`, and sets its bytes aside before any of them is written.
///
/// # Errors
/// As `Meter::hold`; what `open` says.
pub(super) fn open_sink(
    meter: &Arc<Meter>,
    store: &dyn Store,
    spec: &SinkSpec,
    open: impl FnOnce() -> Result<OpenedSink>,
) -> Result<OpenedSink> {
    let stage = spec.key();
    if spec.journaling == Journaling::Journal {
        meter.expect(&stage, extent_of(spec))?;
    }
    let opened = match open() {
        // It may have failed after it took another one over.
        Err(fault) => {
            meter.look_again(&stage);
            return Err(fault);
        }
        Ok(opened) => opened,
    };
    let (sink, have, basis) = match opened {
        OpenedSink::Finished { root, basis, sink } => {
            meter.look_again(&stage);
            let sink = MeteredSink::new(sink, meter, spec, Phase::Untouched);
            return Ok(OpenedSink::Finished { root, basis, sink });
        }
        OpenedSink::Staged { sink, have, basis } => (sink, have, basis),
    };
    let bytes = spec.size.map_or_else(|| meter.written(&stage), Ok);
    let held = bytes.and_then(|bytes| meter.hold(&stage, bytes, kind_of(spec)));
    if let Err(fault) = held {
        // What an earlier run staged stays for when there is room.
        if !have.is_empty() {
            drop(sink);
        } else if let Err(fault) = store.discard(sink) {
            tracing::warn!(%fault, "a stage beyond its ticket's quota stays");
        }
        if spec.journaling == Journaling::Journal {
            meter.give_up(&stage, extent_of(spec));
        }
        return Err(fault);
    }
    let sink = MeteredSink::new(sink, meter, spec, Phase::Reserved);
    Ok(OpenedSink::Staged { sink, have, basis })
}

fn extent_of(spec: &SinkSpec) -> Extent {
    if spec.size.is_some() { Extent::Known } else { Extent::Growing }
}

fn kind_of(spec: &SinkSpec) -> (Keeping, Extent) {
    let keeping = match spec.journaling {
        Journaling::Journal => Keeping::Yes,
        Journaling::None => Keeping::No,
    };
    (keeping, extent_of(spec))
}

/// Commits a batch whose stages are metered. Nobody moves away links that are found to stand.
pub(super) fn commit(meter: &Meter, batch: Vec<Commit>, wanted: Wanted<'_>) -> Vec<Result<()>> {
    let stands = |commit: &Commit| match commit {
        Commit::Link { path, target, .. } => meter.has_link(path, target),
        Commit::Object { .. } | Commit::Directory { .. } => false,
    };
    match batch.iter().any(stands) {
        true => meter.change_names(|| commit_here(meter, batch, wanted)),
        false => commit_here(meter, batch, wanted),
    }
}

fn commit_here(meter: &Meter, batch: Vec<Commit>, wanted: Wanted<'_>) -> Vec<Result<()>> {
    let mut answers: Vec<Result<()>> = Vec::with_capacity(batch.len());
    let (mut items, mut places) = (Vec::new(), Vec::new());
    for (nth, commit) in batch.into_iter().enumerate() {
        answers.push(unwrapped(meter, commit).map(|(item, sink)| {
            items.push(item);
            places.push((nth, sink));
        }));
    }
    for ((nth, sink), Outcome { answer, rest }) in
        places.into_iter().zip(meter.commit(items, wanted))
    {
        if let (Some(sink), Rest::Nothing) = (sink, rest) {
            sink.is_over();
        }
        answers[nth] = answer;
    }
    answers
}

/// An entry of a batch without its meter.
///
/// # Errors
/// `Quota`: there is no room for it.
fn unwrapped(meter: &Meter, commit: Commit) -> Result<(Item, Option<Arc<MeteredSink>>)> {
    Ok(match commit {
        Commit::Object { sink, size, root } => {
            let sink = MeteredSink::of(sink)?;
            let commit = Commit::Object { sink: Arc::clone(&sink.whole), size, root };
            (Item { commit, brings: sink.brings(size, root) }, Some(sink))
        }
        Commit::Link { ref path, ref target, .. } => {
            let brings = meter.link(path, target)?;
            (Item { commit, brings }, None)
        }
        Commit::Directory { .. } => (Item { commit, brings: None }, None),
    })
}

impl MeteredSink {
    fn new(whole: Arc<dyn Sink>, meter: &Arc<Meter>, spec: &SinkSpec, phase: Phase) -> Arc<Self> {
        Arc::new(Self {
            whole,
            meter: Arc::clone(meter),
            stage: spec.key(),
            size: spec.size,
            keeping: kind_of(spec).0,
            phase: Mutex::new(phase),
        })
    }

    /// The metered stage behind a sink, if it is one.
    ///
    /// # Errors
    /// `Usage`: it is not.
    pub(super) fn of(sink: Arc<dyn Sink>) -> Result<Arc<Self>> {
        let any: Arc<dyn Any + Send + Sync> = sink;
        any.downcast::<Self>()
            .map_err(|_| Fault::new(Code::Usage, "the stage is not of this ticket"))
    }

    /// Discards it.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn discard(&self, store: &dyn Store) -> Result<()> {
        store.discard(Arc::clone(&self.whole))?;
        if self.is_over() == Phase::Reserved {
            self.meter.forget(&self.stage);
        }
        Ok(())
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is set aside for it any more; what it was before.
    fn is_over(&self) -> Phase {
        std::mem::replace(&mut *self.phase(), Phase::Over)
    }

    /// What its commit brings in.
    fn brings(&self, size: ByteCount, root: Root) -> Option<Pending> {
        let what = What::Object { size, root, stage: self.stage.clone() };
        let entry = Pending { path: self.stage.path.clone(), what };
        (*self.phase() == Phase::Reserved).then_some(entry)
    }

    /// Whether bytes up to `end` may be written.
    fn make_room(&self, end: ByteCount) -> Result<()> {
        let mut phase = self.phase();
        if *phase == Phase::Untouched {
            let extent = if self.size.is_some() { Extent::Known } else { Extent::Growing };
            let bytes = self.size.unwrap_or_default();
            self.meter.hold(&self.stage, bytes, (self.keeping, extent))?;
            *phase = Phase::Reserved;
        }
        if self.size.is_none() {
            self.meter.grow(&self.stage, end)?;
        }
        self.meter.check(&self.stage.path)
    }
}

impl Drop for MeteredSink {
    fn drop(&mut self) {
        if *self.phase() == Phase::Reserved {
            self.meter.leave(&self.stage);
        }
    }
}

impl Sink for MeteredSink {
    fn write_at(&self, at: Offset, bytes: &[u8]) -> Result<()> {
        self.make_room(ByteCount(at.plus(ByteCount::of_len(bytes.len())).0))?;
        self.whole.write_at(at, bytes)
    }

    fn write_hole(&self, chunk: Range) -> Result<()> {
        // It counts as the zeros that it is read as.
        self.make_room(ByteCount(chunk.end().0))?;
        self.whole.write_hole(chunk)
    }

    fn record(&self, chunk: Range, digest: &ChunkDigest) -> Result<()> {
        self.whole.record(chunk, digest)
    }

    fn forget(&self, range: Range) -> Result<()> {
        self.whole.forget(range)
    }

    fn checkpoint(&self) -> Result<()> {
        self.whole.checkpoint()
    }

    fn has_final_name(&self) -> bool {
        self.whole.has_final_name()
    }
}
