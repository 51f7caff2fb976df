//! The two works, and what may be found after each cut.

use crate::machine::{Look, known_root, look};
use floe_store::local::LocalStore;
use floe_store::simulated::SimulatedDisk;
use floe_store::{
    Basis, Commit, Journaling, OpenedSink, OwnerId, Recognise, Resume, Sink, SinkSpec, Store,
};
use floe_types::digest::ChunkHasher;
use floe_types::{
    ByteCount, ChunkDigest, Fault, Freshness, Metadata, Mode, ObjectPath, Offset, Precondition,
    Range, RangeSet, Root, SourceVersion, Timestamp,
};
use std::sync::Arc;

/// Which work.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A journaled put of three chunks over an older object.
    Put,
    /// A batch: a new directory with two small objects, one over an older one, and a link.
    Batch,
}

/// What a run came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Answer {
    /// Whether it was told to be committed.
    pub(super) committed: bool,
    /// Bytes that a checkpoint was told to cover.
    pub(super) covered: u64,
    /// Bytes that were written.
    sent: u64,
    fault: Option<Fault>,
}

impl Answer {
    /// With what a run before it was told.
    pub(super) fn after(self, before: &Self) -> Self {
        let committed = self.committed || before.committed;
        Self { committed, covered: self.covered.max(before.covered), ..self }
    }
}

/// A work.
pub(super) struct Work {
    kind: Kind,
    objects: Vec<Object>,
    old: Object,
}

/// One object that is sent.
struct Object {
    spec: SinkSpec,
    bytes: Vec<u8>,
    root: Root,
    chunks: Vec<(Range, ChunkDigest)>,
}

const CHUNK: usize = 256 << 10;
const LINK: &str = "d/link";
const LINK_TEXT: &[u8] = b"one";

impl Work {
    pub(super) fn new(kind: Kind) -> Self {
        let objects = match kind {
            Kind::Put => vec![Object::new("x", 2 * CHUNK + 900, 2)],
            Kind::Batch => vec![Object::new("d/one", 700, 3), Object::new("y", 0, 4)],
        };
        let place = if kind == Kind::Put { "x" } else { "y" };
        Self { kind, objects, old: Object::new(place, 500, 1) }
    }

    /// A disk with what stands there before, durably.
    pub(super) fn prepared(&self) -> SimulatedDisk {
        let disk = SimulatedDisk::default();
        if let Ok(store) = LocalStore::new(disk.clone()) {
            // It is looked at below: what is missing there breaks a promise.
            let _ =
                self.old.fill(&store).map(|(sink, _)| store.commit(vec![self.old.commit(sink)]));
        }
        disk.cut(0);
        disk
    }

    /// Does the work as far as the disk lets it.
    pub(super) fn run(&self, disk: &SimulatedDisk) -> Answer {
        let mut answer = Answer { committed: false, covered: 0, sent: 0, fault: None };
        if let Err(fault) = self.try_run(disk, &mut answer) {
            answer.fault = Some(fault);
        }
        answer
    }

    fn try_run(&self, disk: &SimulatedDisk, answer: &mut Answer) -> Result<(), Fault> {
        let store = LocalStore::new(disk.clone())?;
        let mut batch = Vec::new();
        if self.kind == Kind::Batch {
            store.begin_directory(&path("d"), Precondition::None)?;
        }
        for object in &self.objects {
            let (sink, filled) = object.fill(&store)?;
            answer.sent += filled.sent;
            answer.covered = answer.covered.max(filled.covered);
            batch.push(object.commit(sink));
        }
        if self.kind == Kind::Batch {
            let (target, precondition) = (LINK_TEXT.to_vec(), Precondition::None);
            let metadata = metadata(5);
            batch.push(Commit::Link { path: path(LINK), target, metadata, precondition });
            batch.push(Commit::Directory { path: path("d"), metadata: metadata_of_directory() });
        }
        store.commit(batch).into_iter().collect::<Result<Vec<()>, Fault>>()?;
        answer.committed = true;
        Ok(())
    }

    /// Looks at a disk that lost power after a run that was answered so.
    pub(super) fn judge(&self, disk: &SimulatedDisk, answer: &Answer) -> Result<(), String> {
        self.look_at(disk, answer.committed, "after the cut")?;
        let again = self.run(disk);
        if let Some(fault) = again.fault {
            return Err(format!("begun again it fails: {fault}"));
        }
        let size: u64 = self.objects.iter().map(|object| object.bytes.len() as u64).sum();
        if again.sent + answer.covered > size {
            return Err(format!("{} sent again, {} were covered", again.sent, answer.covered));
        }
        self.look_at(disk, true, "at the end")?;
        disk.cut_choosing(&|_| false);
        self.look_at(disk, true, "at the end, after a cut")
    }

    fn look_at(&self, disk: &SimulatedDisk, committed: bool, when: &str) -> Result<(), String> {
        for object in &self.objects {
            let (place, there) = (&object.spec.path, look(disk, &object.spec.path));
            let is_old = *place == self.old.spec.path && self.old.is(&there);
            let before = self.old.spec.path != *place && there == Look::Absent || is_old;
            if !(object.is(&there) || before && !committed) {
                return Err(format!("{when}, {place} is {there:?}"));
            }
            let Look::File { root, .. } = there else { continue };
            if known_root(disk, place).is_some_and(|told| told != root) {
                return Err(format!("{when}, {place} is marked with another root"));
            }
        }
        if self.kind == Kind::Put {
            return Ok(());
        }
        let (link, directory) = (look(disk, &path(LINK)), look(disk, &path("d")));
        let link_right = link == Look::Link(LINK_TEXT.to_vec());
        let right = link_right && directory == Look::Directory(metadata_of_directory());
        let before = (link_right || link == Look::Absent) && !committed;
        if right || before { Ok(()) } else { Err(format!("{when}, {link:?} in {directory:?}")) }
    }
}

struct Filled {
    sent: u64,
    covered: u64,
}

impl Object {
    fn new(place: &str, size: usize, salt: u8) -> Self {
        let bytes: Vec<u8> = (0..size).map(|at| (at / 7).to_le_bytes()[0] ^ salt).collect();
        let len = ByteCount::of_len(size);
        let stamp = metadata(salt).mtime;
        let version = SourceVersion { inode: salt.into(), size: len, mtime: stamp, ctime: stamp };
        let journaling = if size > CHUNK { Journaling::Journal } else { Journaling::None };
        let spec = SinkSpec {
            path: path(place),
            owner: OwnerId([1; 32]),
            size: Some(len),
            holes: ByteCount::ZERO,
            version: Some(version),
            freshness: Freshness::Settled,
            metadata: metadata(salt),
            precondition: Precondition::None,
            resume: Resume::Continue,
            recognise: Recognise::ByVersion,
            journaling,
        };
        let mut chunks = Vec::new();
        for part in bytes.chunks(CHUNK) {
            let start = Offset((chunks.len() * CHUNK) as u64);
            let mut hasher = ChunkHasher::new(start);
            hasher.update(part);
            let range = Range::new(start, start.plus(ByteCount::of_len(part.len())));
            chunks.extend(hasher.finish().map(|digest| (range, digest)));
        }
        Self { spec, root: Root::of(&bytes), bytes, chunks }
    }

    /// Stages what is missing, with a checkpoint behind the second chunk.
    fn fill(&self, store: &dyn Store) -> Result<(Arc<dyn Sink>, Filled), Fault> {
        let mut filled = Filled { sent: 0, covered: 0 };
        let (sink, held) = match store.open_sink(self.spec.clone(), &|_, _| {})? {
            OpenedSink::Finished { sink, .. } => {
                // It may have been renamed only, and not synced: that is the commit's to promise.
                return Ok((sink, filled));
            }
            OpenedSink::Staged { sink, have, basis } => {
                let held = self.confirmed(&*sink, have, basis)?;
                (sink, held)
            }
        };
        for (nth, (range, digest)) in self.chunks.iter().enumerate() {
            if !held.covers(*range) {
                let start = nth * CHUNK;
                let part = &self.bytes[start..self.bytes.len().min(start + CHUNK)];
                sink.write_at(range.start(), part)?;
                sink.record(*range, digest)?;
                filled.sent += part.len() as u64;
            }
            if nth == 1 {
                sink.checkpoint()?;
                filled.covered = range.end().0;
            }
        }
        Ok((sink, filled))
    }

    /// What a stage holds rightly; the rest is forgotten.
    fn confirmed(
        &self,
        sink: &dyn Sink,
        have: Vec<floe_types::Subtree>,
        basis: Basis,
    ) -> Result<RangeSet, Fault> {
        let mut held = RangeSet::new();
        for subtree in have {
            let same = |(range, digest): &(Range, ChunkDigest)| {
                *range == subtree.range && digest.value == subtree.digest.value
            };
            if basis == Basis::Version || self.chunks.iter().any(same) {
                held.insert(subtree.range);
            } else {
                sink.forget(subtree.range)?;
            }
        }
        Ok(held)
    }

    fn commit(&self, sink: Arc<dyn Sink>) -> Commit {
        Commit::Object { sink, size: ByteCount::of_len(self.bytes.len()), root: self.root }
    }

    fn is(&self, there: &Look) -> bool {
        *there == Look::File { root: self.root, metadata: self.spec.metadata }
    }
}

fn metadata(salt: u8) -> Metadata {
    let mtime = Timestamp::new(1_000 + i64::from(salt), 7).unwrap_or_default();
    Metadata { mode: Mode::from_bits(0o640), mtime }
}

fn metadata_of_directory() -> Metadata {
    Metadata { mode: Mode::from_bits(0o750), ..metadata(9) }
}

/// A path of this module's own, which is one.
fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text.as_bytes()).unwrap_or_default()
}
