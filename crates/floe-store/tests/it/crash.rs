//! The crash contract: the power fails, or the process dies, before every single operation of a
//! disk.
//!
//! After each cut the final name shows the old version or the new one, whole; what was answered is
//! there; and the same transfer, begun again, ends with the right bytes.

use floe_store::local::LocalStore;
use floe_store::simulated::{Breaks, SimulatedDisk};
use floe_store::{
    Basis, Commit, Follow, Journaling, OpenedEntry, OpenedSink, OwnerId, Recognise, Resume, Sink,
    SinkSpec, Source, Store,
};
use floe_types::digest::ChunkHasher;
use floe_types::{
    ByteCount, ChunkDigest, Code, Fault, Freshness, Metadata, Mode, ObjectPath, Offset,
    Precondition, Range, RangeSet, Root, SourceVersion, Timestamp,
};
use std::collections::BTreeMap;
use std::sync::Arc;

mod directories;
mod renamed;
mod standing;
mod syncs;

const CHUNK: u64 = 256 << 10;
const SEEDS: u64 = 4;

fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text.as_bytes()).unwrap()
}

/// What a sender sends.
#[derive(Clone)]
struct Object {
    spec: SinkSpec,
    bytes: Vec<u8>,
}

/// Versions share their first chunk, so that there is something to adopt.
fn object(at: &str, size: u64, seed: u64) -> Object {
    let bytes: Vec<u8> = (0..size)
        .map(|nth| {
            let salt = if nth < CHUNK { 0 } else { seed };
            (nth.wrapping_mul(0x9e37_79b9) >> 9 ^ salt.wrapping_mul(0x55)).to_le_bytes()[0]
        })
        .collect();
    let at_time = Timestamp::new(1_000 + i64::try_from(seed).unwrap(), 7).unwrap();
    let version =
        SourceVersion { inode: seed, size: ByteCount(size), mtime: at_time, ctime: at_time };
    let spec = SinkSpec {
        path: path(at),
        owner: OwnerId([1; 32]),
        size: Some(ByteCount(size)),
        holes: ByteCount::ZERO,
        version: Some(version),
        freshness: Freshness::Settled,
        metadata: Metadata { mode: Mode::from_bits(0o644), mtime: at_time },
        precondition: Precondition::None,
        resume: Resume::Continue,
        recognise: Recognise::ByVersion,
        journaling: if size > CHUNK { Journaling::Journal } else { Journaling::None },
    };
    Object { spec, bytes }
}

/// The same with holes in place of two chunks.
fn sparse(at: &str, size: u64, seed: u64) -> Object {
    let mut object = object(at, size, seed);
    for chunk in [object.chunks()[1], object.chunks()[3]] {
        let (start, end) = (chunk.start().0, chunk.end().0);
        object.bytes[usize::try_from(start).unwrap()..usize::try_from(end).unwrap()].fill(0);
        object.spec.holes = object.spec.holes.plus(chunk.len());
    }
    object
}

impl Object {
    fn slice(&self, range: Range) -> &[u8] {
        &self.bytes
            [usize::try_from(range.start().0).unwrap()..usize::try_from(range.end().0).unwrap()]
    }

    fn digest(&self, range: Range) -> ChunkDigest {
        let mut hasher = ChunkHasher::new(range.start());
        hasher.update(self.slice(range));
        hasher.finish().unwrap()
    }

    fn chunks(&self) -> Vec<Range> {
        let size = self.bytes.len() as u64;
        (0..size.div_ceil(CHUNK))
            .map(|nth| Range::new(Offset(nth * CHUNK), Offset(((nth + 1) * CHUNK).min(size))))
            .collect()
    }

    /// Sends what is missing, as the other end does; answers how many bytes that were.
    fn fill(&self, store: &dyn Store) -> Result<(Arc<dyn Sink>, u64), Fault> {
        let (sink, have, basis) = match store.open_sink(self.spec.clone(), &|_, _| {})? {
            OpenedSink::Staged { sink, have, basis } => (sink, have, basis),
            OpenedSink::Finished { root, basis, sink } => {
                assert_eq!((root, basis), (Root::of(&self.bytes), Basis::Version));
                return Ok((sink, 0));
            }
        };
        let mut held = RangeSet::new();
        for subtree in have {
            if basis == Basis::Version || self.digest(subtree.range) == subtree.digest {
                held.insert(subtree.range);
            } else {
                sink.forget(subtree.range)?;
            }
        }
        let mut sent = 0;
        for (nth, chunk) in self.chunks().into_iter().enumerate() {
            if held.covers(chunk) {
                continue;
            }
            if self.slice(chunk).iter().all(|byte| *byte == 0) {
                // Over what a lost stream left there.
                sink.write_at(chunk.start(), &[7; 9_000])?;
                sink.write_hole(chunk)?;
            } else {
                let (first, rest) = self.slice(chunk).split_at(self.slice(chunk).len() / 2);
                sink.write_at(chunk.start(), first)?;
                sink.write_at(Offset(chunk.start().0 + first.len() as u64), rest)?;
            }
            sink.record(chunk, &self.digest(chunk))?;
            sent += chunk.len().0;
            if nth % 2 == 1 {
                sink.checkpoint()?;
            }
        }
        Ok((sink, sent))
    }

    fn commit(&self, sink: Arc<dyn Sink>) -> Commit {
        let (size, root) = (ByteCount::of_len(self.bytes.len()), Root::of(&self.bytes));
        Commit::Object { sink, size, root }
    }

    fn transfer(&self, store: &dyn Store) -> Result<u64, Fault> {
        let (sink, sent) = self.fill(store)?;
        store.commit(vec![self.commit(sink)]).remove(0)?;
        Ok(sent)
    }

    fn stands(&self, store: &dyn Store) -> bool {
        shown(store, &self.spec.path) == Some((self.bytes.clone(), Some(self.spec.metadata)))
    }
}

fn store(disk: &SimulatedDisk) -> LocalStore<SimulatedDisk> {
    LocalStore::new(disk.clone()).unwrap()
}

fn shown(store: &dyn Store, path: &ObjectPath) -> Option<(Vec<u8>, Option<Metadata>)> {
    match store.open(path, Follow::No) {
        Err(fault) => {
            assert_eq!(fault.code, Code::NotFound);
            None
        }
        Ok(OpenedEntry::Link { target, .. }) => Some((target, None)),
        Ok(OpenedEntry::Directory { metadata }) => Some((Vec::new(), Some(metadata))),
        Ok(OpenedEntry::File { source, metadata, .. }) => {
            let mut bytes = vec![0; 4 << 20];
            let count = Source::read_at(&*source, Offset::ZERO, &mut bytes).unwrap();
            bytes.truncate(count);
            Some((bytes, Some(metadata)))
        }
    }
}

/// The operations that `work` takes on a prepared disk.
fn operations(prepare: &dyn Fn() -> SimulatedDisk, work: &dyn Fn(&SimulatedDisk)) -> u64 {
    let disk = prepare();
    disk.set_breaks(Breaks::default());
    work(&disk);
    disk.operations()
}

fn with_old(old: &Object) -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    old.transfer(&store(&disk)).unwrap();
    disk.cut(0);
    disk
}

#[test]
fn a_power_cut_anywhere_shows_old_or_new_and_the_same_command_finishes() {
    cut_anywhere(&object("a/b/x", 2 * CHUNK, 1), &object("a/b/x", 4 * CHUNK + 1000, 2));
}

#[test]
fn a_power_cut_anywhere_in_a_sparse_file_shows_old_or_new() {
    cut_anywhere(&object("x", 2 * CHUNK, 1), &sparse("x", 3 * CHUNK + 20_000, 2));
}

fn cut_anywhere(old: &Object, new: &Object) {
    let count = operations(&|| with_old(old), &|disk| {
        new.transfer(&store(disk)).unwrap();
    });
    assert!(count > 40, "{count}");
    for operation in 0..=count {
        for seed in 0..SEEDS {
            let disk = with_old(old);
            let before = store(&disk);
            disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
            let answer = new.transfer(&before);
            drop(before);
            disk.cut(seed * 10_007 + operation);
            let after = store(&disk);
            let place = format!("operation {operation}, seed {seed}");
            assert!(new.stands(&after) || answer.is_err() && old.stands(&after), "{place}");
            new.transfer(&after).unwrap_or_else(|fault| panic!("{place}: {fault}"));
            assert!(new.stands(&after), "{place}");
            disk.cut(seed);
            assert!(new.stands(&store(&disk)), "{place}: answered, so durable");
        }
    }
}

#[test]
fn a_killed_process_loses_only_what_it_had_not_recorded() {
    let (old, new) = (object("x", 2 * CHUNK, 1), object("x", 4 * CHUNK + 1000, 2));
    let count = operations(&|| with_old(&old), &|disk| {
        new.transfer(&store(disk)).unwrap();
    });
    let mut resent = BTreeMap::new();
    for operation in 0..=count {
        let disk = with_old(&old);
        let before = store(&disk);
        disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
        let answer = new.transfer(&before);
        drop(before);
        disk.set_breaks(Breaks::default());
        let after = store(&disk);
        assert!(new.stands(&after) || answer.is_err() && old.stands(&after), "{operation}");
        let sent = new.transfer(&after).unwrap();
        *resent.entry(sent).or_insert(0) += 1;
        assert!(new.stands(&after));
        disk.cut(operation);
        assert!(new.stands(&store(&disk)), "{operation}");
    }
    assert!(resent.len() >= 5, "resumed after every chunk: {resent:?}");
}

#[test]
fn a_power_cut_while_a_stage_is_adopted_never_mixes_versions() {
    let first = object("x", 4 * CHUNK, 1);
    adopted_anywhere(&first, &|disk| drop(first.fill(&store(disk)).unwrap()));
}

#[test]
fn a_power_cut_after_adoption_keeps_no_chunk_that_was_never_synced() {
    let first = object("x", 4 * CHUNK, 1);
    adopted_anywhere(&first, &|disk| {
        let opened = store(disk).open_sink(first.spec.clone(), &|_, _| {}).unwrap();
        let OpenedSink::Staged { sink, .. } = opened else { panic!("nothing stands there") };
        let chunk = first.chunks()[0];
        sink.write_at(chunk.start(), first.slice(chunk)).unwrap();
        sink.record(chunk, &first.digest(chunk)).unwrap();
    });
}

/// Leaves a stage of `first`, and cuts the power at every operation of a transfer that adopts it.
fn adopted_anywhere(first: &Object, leave: &dyn Fn(&SimulatedDisk)) {
    let second = object("x", 4 * CHUNK, 2);
    let prepare = || {
        let disk = SimulatedDisk::default();
        leave(&disk);
        disk
    };
    let count = operations(&prepare, &|disk| {
        second.transfer(&store(disk)).unwrap();
    });
    for operation in 0..=count {
        for seed in 0..SEEDS {
            let disk = prepare();
            let before = store(&disk);
            disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
            let answer = second.transfer(&before);
            drop(before);
            disk.cut(seed * 10_007 + operation);
            let after = store(&disk);
            let place = format!("operation {operation}, seed {seed}");
            assert!(second.stands(&after) || answer.is_err(), "{place}");
            let next = if seed % 2 == 0 { first } else { &second };
            next.transfer(&after).unwrap_or_else(|fault| panic!("{place}: {fault}"));
            assert!(next.stands(&after), "{place}");
        }
    }
}

#[test]
fn a_failed_sync_anywhere_loses_no_answered_byte() {
    let new = object("d/x", 6 * CHUNK + 5, 2);
    for operation in 0..200 {
        for seed in 0..2 {
            let disk = SimulatedDisk::default();
            let local = store(&disk);
            let mut answers = Vec::new();
            for attempt in 0..4 {
                // The attempts differ in which sync fails; the last one meets a sound disk.
                let syncs = u32::from(attempt < 3 && operation >> attempt & 1 == 1);
                let Ok((sink, _)) = new.fill(&local) else { continue };
                disk.set_breaks(Breaks { syncs, ..Breaks::default() });
                answers.push(local.commit(vec![new.commit(sink)]).remove(0));
            }
            assert!(answers.last().unwrap().is_ok());
            drop(local);
            disk.cut(seed * 31 + operation);
            assert!(new.stands(&store(&disk)), "operation {operation}, seed {seed}");
        }
    }
}

#[test]
fn after_a_failed_checkpoint_a_stage_takes_nothing_and_the_next_one_writes_again_what_it_keeps() {
    let new = object("x", 4 * CHUNK, 2);
    let chunks = new.chunks();
    let disk = SimulatedDisk::default();
    let local = store(&disk);
    let open = || match local.open_sink(new.spec.clone(), &|_, _| {}).unwrap() {
        OpenedSink::Staged { sink, have, .. } => (sink, have),
        OpenedSink::Finished { .. } => panic!("nothing stands there"),
    };
    let (sink, _) = open();
    let write = |nth: usize| {
        sink.write_at(chunks[nth].start(), new.slice(chunks[nth])).unwrap();
        sink.record(chunks[nth], &new.digest(chunks[nth]))
    };
    write(0).unwrap();
    write(1).unwrap();
    sink.checkpoint().unwrap();
    sink.forget(chunks[1]).unwrap();
    write(1).unwrap();
    write(2).unwrap();
    disk.set_breaks(Breaks { syncs: 1, ..Breaks::default() });
    assert_eq!(sink.checkpoint().unwrap_err().code, Code::Io);
    assert_eq!(write(3).unwrap_err().code, Code::Io);
    assert_eq!(sink.checkpoint().unwrap_err().code, Code::Io, "no second sync tells the truth");
    let commit = local.commit(vec![new.commit(Arc::clone(&sink))]).remove(0);
    assert!(commit.is_err());
    drop(sink);
    let (sink, have) = open();
    assert_eq!(have.iter().map(|held| held.range.len().0).sum::<u64>(), 3 * CHUNK);
    drop((sink, have));
    drop(local);
    disk.cut(1);
    let local = store(&disk);
    let (_, sent) = new.fill(&local).unwrap();
    assert_eq!(sent, CHUNK, "what memory showed was written again, and synced");
}

/// A small tree: files, a link, directories, in one batch.
fn batch(files: u64) -> Vec<Object> {
    (0..files).map(|nth| object(&format!("t/d{}/f{nth}", nth % 3), nth * 37, nth + 1)).collect()
}

fn commit_batch(store: &dyn Store, files: &[Object]) -> Vec<Result<(), Fault>> {
    let metadata = Metadata { mode: Mode::from_bits(0o750), mtime: Timestamp::new(55, 0).unwrap() };
    let mut entries = Vec::new();
    for file in files {
        match file.fill(store) {
            Ok((sink, _)) => entries.push(file.commit(sink)),
            Err(fault) => return vec![Err(fault)],
        }
    }
    let (target, precondition) = (b"f0".to_vec(), Precondition::None);
    entries.push(Commit::Link { path: path("t/l"), target, metadata, precondition });
    for at in ["t/d0", "t/d1", "t/d2", "t"] {
        if let Err(fault) = store.begin_directory(&path(at), Precondition::None) {
            return vec![Err(fault)];
        }
        entries.push(Commit::Directory { path: path(at), metadata });
    }
    store.commit(entries)
}

#[test]
fn a_power_cut_in_a_batch_keeps_whatever_was_answered() {
    for files in [3, 70] {
        let objects = batch(files);
        let count = operations(&SimulatedDisk::default, &|disk| {
            let answers = commit_batch(&store(disk), &objects);
            assert!(answers.iter().all(Result::is_ok));
        });
        let step = if files > 10 { 7 } else { 1 };
        for operation in (0..=count).step_by(step) {
            let disk = SimulatedDisk::default();
            let before = store(&disk);
            disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
            let answers = commit_batch(&before, &objects);
            drop(before);
            disk.cut(operation);
            let after = store(&disk);
            for (nth, object) in objects.iter().enumerate() {
                let answered = answers.len() > objects.len() && answers[nth].is_ok();
                let shown = shown(&after, &object.spec.path);
                assert!(shown.is_some() || !answered, "operation {operation}, file {nth}");
                assert!(shown.is_none() || object.stands(&after), "operation {operation}");
            }
            let again = commit_batch(&after, &objects);
            assert!(again.iter().all(Result::is_ok), "operation {operation}: {again:?}");
            drop(after);
            disk.cut(operation + 1);
            let last = store(&disk);
            assert!(objects.iter().all(|object| object.stands(&last)), "operation {operation}");
            assert_eq!(shown(&last, &path("t/l")).unwrap().0, b"f0");
            let metadata = shown(&last, &path("t/d1")).unwrap().1.unwrap();
            assert_eq!(metadata.mtime.secs(), 55);
        }
    }
}

#[test]
fn directories_made_in_the_course_of_a_process_are_durable_too() {
    let disk = SimulatedDisk::default();
    let local = store(&disk);
    let objects: Vec<_> =
        ["x", "a/x", "a/b/c/x", "a/b/d/e/x", "f/x"].iter().map(|at| object(at, 100, 1)).collect();
    for (nth, object) in objects.iter().enumerate() {
        object.transfer(&local).unwrap();
        let image = disk.copy();
        image.cut(nth as u64);
        let after = store(&image);
        assert!(objects[..=nth].iter().all(|object| object.stands(&after)), "{nth}");
    }
}
