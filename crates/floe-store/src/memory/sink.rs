//! Stages in memory: their bytes, what of them is recorded, and who owns them.

use super::tree::File;
use super::{MemoryStore, fault};
use crate::api::{self, Basis, Journaling, OwnerId, Result, Resume, Sink, SinkSpec};
use crate::fields::PutFields;
use floe_types::{
    ByteCount, ChunkDigest, ChunkSize, Code, Freshness, ObjectPath, Offset, Range, RangeSet,
    SourceVersion, Subtree, Subtrees,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Names a stage.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct StageKey {
    path: ObjectPath,
    owner: OwnerId,
    /// The source's version as bytes; for a stage without a journal, its own token.
    version: Vec<u8>,
}

impl StageKey {
    pub(super) fn of(spec: &SinkSpec) -> Self {
        Self::named(&spec.key())
    }

    pub(super) fn named(stage: &api::StageKey) -> Self {
        let mut version = Vec::new();
        version.put_optional(stage.version, PutFields::put_version);
        Self { path: stage.path.clone(), owner: stage.owner, version }
    }

    fn is_kin(&self, other: &Self) -> bool {
        self.path == other.path && self.owner == other.owner && self.version != other.version
    }
}

/// One handle of a stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token(pub(super) u64);

/// Bytes that wait for their commit.
pub(super) struct Stage {
    bytes: Vec<u8>,
    chunks: BTreeMap<Offset, Subtree>,
    version: Option<SourceVersion>,
    /// Whether its records name that version.
    basis: Basis,
    pub(super) owner: Option<Token>,
    /// Whether it outlives its handle.
    pub(super) keeps: bool,
}

impl Stage {
    /// How far it is written.
    pub(super) fn written(&self) -> ByteCount {
        ByteCount::of_len(self.bytes.len())
    }

    fn forget(&mut self, range: Range) {
        self.chunks.retain(|_, chunk| chunk.range.intersect(range).is_empty());
    }

    /// The whole object, if it is that.
    pub(super) fn whole(&self, size: ByteCount) -> Option<Vec<u8>> {
        let mut recorded = RangeSet::new();
        self.chunks.values().for_each(|chunk| recorded.insert(chunk.range));
        let all = Range::new(Offset::ZERO, Offset(size.0));
        (!self.keeps || recorded.covers(all)).then_some(())?;
        self.bytes.get(..size.to_len()?).map(<[u8]>::to_vec)
    }
}

/// The handle of one object being staged.
pub(super) struct MemorySink {
    store: MemoryStore,
    pub(super) key: StageKey,
    pub(super) token: Token,
    pub(super) spec: SinkSpec,
    pub(super) standing: Option<Arc<File>>,
    committed: AtomicBool,
}

impl MemorySink {
    pub(super) fn new(
        store: MemoryStore,
        mut key: StageKey,
        token: Token,
        spec: SinkSpec,
        standing: Option<Arc<File>>,
    ) -> Self {
        if spec.journaling == Journaling::None {
            key.version = token.0.to_be_bytes().to_vec();
        }
        Self { store, key, token, spec, standing, committed: AtomicBool::new(false) }
    }

    pub(super) fn is_committed(&self) -> bool {
        self.committed.load(Ordering::Acquire)
    }

    pub(super) fn set_committed(&self) {
        self.committed.store(true, Ordering::Release);
    }

    /// Opens the stage now, and says what it holds.
    pub(super) fn begin(&self, resume: Resume) -> Result<(Vec<Subtree>, Basis)> {
        let mut state = self.store.lock();
        let own = state.stages.remove(&self.key);
        if own.as_ref().is_some_and(|stage| stage.owner.is_some()) {
            state.stages.extend(own.map(|stage| (self.key.clone(), stage)));
            return Err(fault(Code::AlreadyRunning, format_args!("stage {:?}", self.spec.path)));
        }
        let unowned: Vec<_> = state
            .stages
            .iter()
            .filter(|(key, stage)| stage.keeps && stage.owner.is_none() && self.key.is_kin(key))
            .map(|(key, _)| key.clone())
            .collect();
        let mut adopted = None;
        for key in unowned.into_iter().filter(|_| own.is_none() || resume == Resume::Discard) {
            adopted = state.stages.remove(&key);
        }
        let adopted = adopted.map(|stage| Stage { basis: Basis::Content, ..stage });
        let earlier = own.or(adopted).filter(|_| resume == Resume::Continue);
        let mut stage = earlier.unwrap_or_else(|| self.fresh());
        stage.owner = Some(self.token);
        stage.version = self.spec.version;
        let doubtful = self.spec.freshness == Freshness::Fresh || self.spec.version.is_none();
        let basis = if doubtful { Basis::Content } else { stage.basis };
        let fits = |chunk: &Subtree| fits(chunk.range, self.spec.size);
        stage.chunks.retain(|_, chunk| fits(chunk));
        let have = have(&stage, basis);
        state.stages.insert(self.key.clone(), stage);
        Ok((have, basis))
    }

    fn fresh(&self) -> Stage {
        let keeps = self.spec.journaling == Journaling::Journal;
        let settled = self.spec.freshness == Freshness::Settled && self.spec.version.is_some();
        Stage {
            bytes: Vec::new(),
            chunks: BTreeMap::new(),
            version: self.spec.version,
            basis: if settled { Basis::Version } else { Basis::Content },
            owner: None,
            keeps,
        }
    }

    fn with<R>(&self, doing: &str, at: Offset, change: impl FnOnce(&mut Stage) -> R) -> Result<R> {
        let owned = |stage: &Stage| stage.owner == Some(self.token);
        if !self.store.lock().stages.get(&self.key).is_some_and(owned) {
            self.begin(Resume::Discard)?;
        }
        let mut state = self.store.lock();
        match state.stages.get_mut(&self.key).filter(|stage| owned(stage)) {
            Some(stage) => Ok(change(stage)),
            None => {
                let doing = format_args!("{doing} {:?} at {at}", self.spec.path);
                Err(fault(Code::NotFound, doing))
            }
        }
    }
}

impl Sink for MemorySink {
    fn write_at(&self, at: Offset, bytes: &[u8]) -> Result<()> {
        let len = ByteCount::of_len(bytes.len());
        let room = self.spec.size.unwrap_or(self.store.lock().room);
        let range = Range::at(at, len).filter(|range| range.end().0 <= room.0);
        let bounds = range.and_then(|range| {
            Some((ByteCount(range.start().0).to_len()?, ByteCount(range.end().0).to_len()?))
        });
        let Some((start, end)) = bounds else {
            let doing = format_args!("write stage of {:?} at {at}", self.spec.path);
            return Err(fault(Code::LimitExceeded, doing));
        };
        self.with("write stage of", at, |stage| {
            stage.bytes.resize(stage.bytes.len().max(end), 0);
            stage.bytes[start..end].copy_from_slice(bytes);
        })
    }

    fn write_hole(&self, chunk: Range) -> Result<()> {
        let len = chunk.len().to_len().unwrap_or(usize::MAX);
        self.write_at(chunk.start(), &vec![0; len])
    }

    fn record(&self, chunk: Range, digest: &ChunkDigest) -> Result<()> {
        let subtree = Subtree { range: chunk, digest: *digest };
        self.with("record chunk of", chunk.start(), |stage| {
            stage.forget(chunk);
            stage.chunks.insert(chunk.start(), subtree);
        })
    }

    fn forget(&self, range: Range) -> Result<()> {
        self.with("forget chunk of", range.start(), |stage| stage.forget(range))
    }

    fn checkpoint(&self) -> Result<()> {
        Ok(())
    }

    // Its commit does not fail half way.
    fn has_final_name(&self) -> bool {
        false
    }
}

impl Drop for MemorySink {
    fn drop(&mut self) {
        let mut state = self.store.lock();
        let Some(stage) = state.stages.get_mut(&self.key) else { return };
        if stage.owner == Some(self.token) {
            stage.owner = None;
            if !stage.keeps {
                state.stages.remove(&self.key);
            }
        }
    }
}

/// Whether a chunk can be one of an object of this size.
fn fits(chunk: Range, size: Option<ByteCount>) -> bool {
    let whole = chunk.len().0.is_power_of_two() && chunk.len() >= ChunkSize::MIN.bytes();
    match size {
        Some(size) => chunk.end().0 == size.0 || whole && chunk.end().0 < size.0,
        None => whole,
    }
}

fn have(stage: &Stage, basis: Basis) -> Vec<Subtree> {
    let chunks = stage.chunks.values().copied();
    if basis == Basis::Content {
        return chunks.collect();
    }
    let mut merged = Subtrees::new();
    chunks.for_each(|chunk| {
        let _ = merged.insert(chunk);
    });
    merged.iter().collect()
}
