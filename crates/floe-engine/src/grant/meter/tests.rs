use super::*;
use crate::grant::Fence;
use crate::grant::usage::Staged;
use floe_proto::frame::Verbs;
use floe_store::faulty::{Chance, Faults, FaultyDisk};
use floe_store::local::LocalStore;
use floe_store::memory::MemoryStore;
use floe_store::simulated::SimulatedDisk;
use floe_store::{Journaling, OpenedSink, OwnerId, Recognise, Resume, Sink, SinkSpec};
use floe_types::{
    ChunkDigest, ChunkHasher, EntryCount, Freshness, Metadata, Mode, Offset, Precondition, Range,
    Root, SourceVersion, Timestamp,
};
use std::path::PathBuf;

const TICKET: &str = "t";
const MIB: u64 = 1 << 20;

/// A ticket with a quota, its server's state and store.
struct Place {
    dir: tempfile::TempDir,
    store: MemoryStore,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), store: MemoryStore::default() }
    }

    fn state(&self) -> State {
        State::open(&self.dir.path().join("state")).unwrap()
    }

    fn meter(&self, quota: Quota) -> Arc<Meter> {
        let store = Arc::new(self.store.clone());
        Arc::new(Meter::open(&self.state(), TICKET, quota, store).unwrap())
    }

    fn fence(&self, meter: &Arc<Meter>) -> Fence {
        Fence::new(Arc::new(self.store.clone()), Verbs::ALL, Some(Arc::clone(meter)))
    }

    /// A store on a disk in place of the one in memory, and where that is.
    fn local(&self) -> (PathBuf, Arc<dyn Store>) {
        let root = self.dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        let store = Arc::new(LocalStore::open(&root).unwrap());
        (root, store)
    }

    /// Bytes used, bytes set aside.
    fn counts(&self) -> (u64, u64) {
        let account = Meter::peek(&self.state(), TICKET).unwrap();
        (account.used().bytes.0, account.reserved().bytes.0)
    }
}

fn bytes(most: u64) -> Quota {
    Quota { bytes: Some(ByteCount(most)), entries: None }
}

fn spec(path: &str, size: Option<u64>, inode: u64) -> SinkSpec {
    let stamp = Timestamp::new(0, 0).unwrap();
    let size = size.map(ByteCount);
    let of = SourceVersion { inode, size: size.unwrap_or_default(), mtime: stamp, ctime: stamp };
    SinkSpec {
        path: ObjectPath::parse(path.as_bytes()).unwrap(),
        owner: OwnerId([0; 32]),
        size,
        holes: ByteCount::ZERO,
        version: size.map(|_| of),
        freshness: Freshness::Settled,
        metadata: Metadata { mode: Mode::from_bits(0o644), mtime: stamp },
        precondition: Precondition::None,
        resume: Resume::Continue,
        recognise: Recognise::ByVersion,
        journaling: Journaling::Journal,
    }
}

fn open(store: &dyn Store, spec: &SinkSpec) -> Result<(Arc<dyn Sink>, usize), Fault> {
    match store.open_sink(spec.clone(), &|_, _| {})? {
        OpenedSink::Staged { sink, have, .. } => Ok((sink, have.len())),
        OpenedSink::Finished { .. } => panic!("nothing stands"),
    }
}

/// Writes and records one chunk of zeros.
fn put_chunk(sink: &dyn Sink, nth: u64) {
    let chunk = Range::at(Offset(nth * MIB), ByteCount(MIB)).unwrap();
    let zeros = vec![0; 1 << 20];
    sink.write_at(chunk.start(), &zeros).unwrap();
    sink.record(chunk, &digest(chunk, &zeros)).unwrap();
}

fn digest(chunk: Range, bytes: &[u8]) -> ChunkDigest {
    let mut hasher = ChunkHasher::new(chunk.start());
    hasher.update(bytes);
    hasher.finish().unwrap()
}

fn finished(sink: Arc<dyn Sink>, size: u64) -> Commit {
    Commit::Object { sink, size: ByteCount(size), root: root_of_zeros(size) }
}

fn root_of_zeros(size: u64) -> Root {
    Root::of(&vec![0; usize::try_from(size).unwrap()])
}

fn commit(store: &dyn Store, entry: Commit) -> Result<(), Fault> {
    store.commit(vec![entry]).remove(0)
}

#[test]
fn one_process_counts_for_a_ticket() {
    let place = Place::new();
    let meter = place.meter(bytes(1));
    let store = Arc::new(place.store.clone());
    let second = Meter::open(&place.state(), TICKET, bytes(1), store);
    assert_eq!(second.err().map(|fault| fault.code), Some(Code::Busy));
    drop(meter);
    place.meter(bytes(1));
}

#[test]
fn what_is_announced_counts_until_it_is_committed_or_discarded() {
    let place = Place::new();
    let meter = place.meter(bytes(5 * MIB));
    let fence = place.fence(&meter);
    let (sink, _) = open(&fence, &spec("a", Some(3 * MIB), 1)).unwrap();
    assert_eq!(place.counts(), (0, 3 * MIB));
    let refused = open(&fence, &spec("b", Some(2 * MIB + 1), 2)).map(drop).unwrap_err();
    assert_eq!(refused.code, Code::Quota);
    assert!(refused.detail.contains("2097153 more bytes"), "{refused}");
    assert!(refused.detail.ends_with("has 2097152 left"), "{refused}");
    assert_eq!(place.store.staged(&spec("b", Some(2 * MIB + 1), 2).key()), Ok(None));
    let (other, _) = open(&fence, &spec("b", Some(2 * MIB), 2)).unwrap();
    fence.discard(other).unwrap();
    assert_eq!(place.counts(), (0, 3 * MIB));
    (0..3).for_each(|nth| put_chunk(&*sink, nth));
    commit(&fence, finished(Arc::clone(&sink), 3 * MIB)).unwrap();
    assert_eq!(place.counts(), (3 * MIB, 0));
    // Whoever was not told does it again.
    commit(&fence, finished(sink, 3 * MIB)).unwrap();
    assert_eq!(place.counts(), (3 * MIB, 0));
}

#[test]
fn another_version_takes_over_what_was_set_aside() {
    let place = Place::new();
    let meter = place.meter(bytes(3 * MIB));
    let fence = place.fence(&meter);
    let (sink, _) = open(&fence, &spec("a", Some(3 * MIB), 1)).unwrap();
    put_chunk(&*sink, 0);
    drop(sink);
    let (sink, have) = open(&fence, &spec("a", Some(2 * MIB), 2)).unwrap();
    assert_eq!((have, place.counts()), (1, (0, 2 * MIB)));
    drop(sink);
    // Too large, and what was staged stays.
    let refused = open(&fence, &spec("a", Some(4 * MIB), 3)).map(drop).unwrap_err();
    assert_eq!((refused.code, place.counts()), (Code::Quota, (0, MIB)));
}

#[test]
fn a_stage_of_unknown_size_counts_as_it_is_written() {
    let place = Place::new();
    let meter = place.meter(bytes(2 * MIB));
    let fence = place.fence(&meter);
    let (sink, _) = open(&fence, &spec("a", None, 0)).unwrap();
    (0..2).for_each(|nth| put_chunk(&*sink, nth));
    let refused = sink.write_at(Offset(2 * MIB), &[0]).unwrap_err();
    assert_eq!(refused.detail, "write \"a\": 1 more bytes, and its ticket has 0 left");
    drop(sink);
    assert_eq!(place.counts(), (0, 2 * MIB));
    // Another process finds what is written, whatever the file says.
    drop((fence, meter));
    let key = spec("a", None, 0).key();
    let staged = vec![Staged { stage: key, bytes: ByteCount(7), extent: Extent::Growing }];
    let usage = Usage { staged, ..Usage::default() };
    place.state().replace(&file_of(TICKET), &usage.format()).unwrap();
    drop(place.meter(bytes(2 * MIB)));
    assert_eq!(place.counts(), (0, 2 * MIB));
}

#[test]
fn while_a_stage_of_unknown_size_cannot_be_looked_at_nobody_counts_it_as_less() {
    let place = Place::new();
    let staged = ["a", "b"].map(|path| Staged {
        stage: spec(path, (path == "a").then_some(MIB), 1).key(),
        bytes: ByteCount(if path == "a" { MIB } else { 7 }),
        extent: if path == "a" { Extent::Known } else { Extent::Growing },
    });
    let disk = FaultyDisk::new(SimulatedDisk::default(), 7, Faults::default());
    let store = LocalStore::new(disk.clone()).unwrap();
    let blind = Faults { lookup_error: Chance(10_000), ..Faults::default() };
    disk.set_faults(blind);
    let store: Arc<dyn Store> = Arc::new(store);
    let open = |staged: &[Staged]| {
        let usage = Usage { staged: staged.to_vec(), ..Usage::default() };
        place.state().replace(&file_of(TICKET), &usage.format()).unwrap();
        Meter::open(&place.state(), TICKET, bytes(2 * MIB), Arc::clone(&store)).map(drop)
    };
    assert_eq!(open(&staged[..1]), Ok(()), "one of known size counts as it did");
    assert_eq!(place.counts(), (0, MIB));
    assert_eq!(open(&staged).unwrap_err().code, Code::Busy);
    disk.set_faults(Faults::default());
    assert_eq!(open(&staged), Ok(()));
    assert_eq!(place.counts(), (0, 0), "neither stands");
}

#[test]
fn a_quota_that_shrinks_stops_writes_and_commits() {
    let place = Place::new();
    let meter = place.meter(bytes(2 * MIB));
    let fence = place.fence(&meter);
    let (sink, _) = open(&fence, &spec("a", Some(2 * MIB), 1)).unwrap();
    (0..2).for_each(|nth| put_chunk(&*sink, nth));
    meter.set_quota(bytes(2 * MIB - 1));
    assert_eq!(sink.write_at(Offset(0), &[0]).unwrap_err().code, Code::Quota);
    let refused = commit(&fence, finished(Arc::clone(&sink), 2 * MIB)).unwrap_err();
    assert_eq!((refused.code, place.counts()), (Code::Quota, (0, 2 * MIB)));
    meter.set_quota(Quota::default());
    commit(&fence, finished(sink, 2 * MIB)).unwrap();
    assert_eq!(place.counts(), (2 * MIB, 0));
}

#[test]
fn a_name_that_was_taken_meanwhile_gives_all_back() {
    let place = Place::new();
    let meter = place.meter(bytes(2 * MIB));
    let fence = place.fence(&meter);
    let spec = SinkSpec { precondition: Precondition::Absent, ..spec("a", Some(2 * MIB), 1) };
    let (sink, _) = open(&fence, &spec).unwrap();
    (0..2).for_each(|nth| put_chunk(&*sink, nth));
    let link = Commit::Link {
        path: spec.path.clone(),
        target: b"elsewhere".to_vec(),
        metadata: spec.metadata,
        precondition: Precondition::None,
    };
    commit(&place.store, link).unwrap();
    let refused = commit(&fence, finished(Arc::clone(&sink), 2 * MIB)).unwrap_err();
    assert_eq!((refused.code, place.counts()), (Code::Exists, (0, 0)));
    drop(sink);
    assert_eq!(place.counts(), (0, 0));
}

#[test]
fn a_stage_that_is_gone_gives_its_room_to_whoever_needs_it() {
    let place = Place::new();
    let meter = place.meter(bytes(3 * MIB));
    let fence = place.fence(&meter);
    let (sink, _) = open(&fence, &spec("a", Some(3 * MIB), 1)).unwrap();
    put_chunk(&*sink, 0);
    drop(sink);
    // Swept, or removed by hand: nobody told the meter.
    let (sink, _) = open(&place.store, &spec("a", Some(3 * MIB), 1)).unwrap();
    place.store.discard(sink).unwrap();
    assert_eq!(place.counts(), (0, 3 * MIB));
    let (_sink, _) = open(&fence, &spec("b", Some(2 * MIB), 2)).unwrap();
    assert_eq!(place.counts(), (0, 2 * MIB));
}

#[test]
fn a_crash_in_a_commit_counts_what_stands_and_nothing_twice() {
    for stands in [true, false] {
        let place = Place::new();
        let meter = place.meter(bytes(2 * MIB));
        let fence = place.fence(&meter);
        let spec = spec("a", Some(2 * MIB), 1);
        let (sink, _) = open(&fence, &spec).unwrap();
        (0..2).for_each(|nth| put_chunk(&*sink, nth));
        // The file as it is while a batch is under way.
        let (size, root) = (ByteCount(2 * MIB), root_of_zeros(2 * MIB));
        let what = What::Object { size, root, stage: spec.key() };
        let mut usage = read(&place.state(), &file_of(TICKET)).unwrap();
        usage.pending.push(Pending { path: spec.path.clone(), what });
        if stands {
            commit(&fence, finished(Arc::clone(&sink), 2 * MIB)).unwrap();
        }
        drop((sink, fence, meter));
        place.store.restart();
        place.state().replace(&file_of(TICKET), &usage.format()).unwrap();
        assert!(Meter::is_unsettled(&place.state(), TICKET).unwrap());
        for _ in 0..2 {
            drop(place.meter(bytes(2 * MIB)));
            let counts = if stands { (2 * MIB, 0) } else { (0, 2 * MIB) };
            assert_eq!(place.counts(), counts);
        }
    }
}

#[test]
fn directories_count_once_each_whoever_makes_them() {
    let place = Place::new();
    let quota = Quota { bytes: None, entries: Some(EntryCount(3)) };
    let meter = place.meter(quota);
    let fence = place.fence(&meter);
    let path = |text: &str| ObjectPath::parse(text.as_bytes()).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| fence.make_dir(&path("a/b")).unwrap());
        }
    });
    fence.make_dir(&path("c")).unwrap();
    let refused = fence.make_dir(&path("d")).unwrap_err();
    assert_eq!(refused.code, Code::Quota);
    assert!(place.store.stat(&path("d"), RootWanted::IfKnown, &|_, _| {}).is_err());
    drop((fence, meter));
    // What was not written down since is found standing.
    drop(place.meter(quota));
    let used = Meter::peek(&place.state(), TICKET).unwrap().used();
    assert_eq!(used.entries, EntryCount(3));
}

#[test]
fn a_damaged_file_opens_no_meter() {
    let place = Place::new();
    place.state().replace(&file_of(TICKET), b"{}").unwrap();
    let store = Arc::new(place.store.clone());
    let opened = Meter::open(&place.state(), TICKET, bytes(1), store);
    assert_eq!(opened.err().map(|fault| fault.code), Some(Code::State));
}

/// What stands in `/proc` of a thread that waits.
fn sleeps(thread: &std::path::Path) -> bool {
    let stat = std::fs::read_to_string(std::path::Path::new("/proc").join(thread).join("stat"));
    stat.is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S ")))
}

#[test]
fn a_commit_that_waits_for_directories_to_be_made_goes_on() {
    let place = Place::new();
    let meter = place.meter(Quota { entries: Some(EntryCount(100_000)), bytes: None });
    let long = |nth: usize| {
        let names = vec!["x".repeat(200); 19].join("/");
        ObjectPath::parse(format!("{nth}/{names}").as_bytes()).unwrap()
    };
    // As much as one part of the file may be.
    let count = PENDING_WEIGHT_MAX / weight(&long(100));
    let batch: Vec<_> = (0..count)
        .map(|nth| {
            let path = long(nth);
            let brings = meter.link(&path, b"x").unwrap();
            let (target, precondition) = (b"x".to_vec(), Precondition::None);
            let metadata = spec("x", None, 0).metadata;
            Item { commit: Commit::Link { path, target, metadata, precondition }, brings }
        })
        .collect();
    let (began, begun) = std::sync::mpsc::channel();
    let other = Arc::clone(&meter);
    let dir = long(999_999);
    let missing = || Ok(vec![dir.clone()]);
    let made = meter.bring(missing, &dir, || {
        let committing = std::thread::spawn(move || {
            began.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap();
            other.commit(batch, &|| true).len()
        });
        let thread = begun.recv().unwrap();
        while !sleeps(&thread) {
            std::thread::yield_now();
        }
        Ok(committing)
    });
    assert_eq!(made.unwrap().join().unwrap(), count);
}

/// Its commit was stuck until another session had put the link.
#[test]
fn what_is_given_up_is_not_charged() {
    let place = Place::new();
    let (root, store) = place.local();
    let quota = Quota { entries: Some(EntryCount(9)), bytes: None };
    let meter = Meter::open(&place.state(), TICKET, quota, Arc::clone(&store)).unwrap();
    let meter = Arc::new(meter);
    let fence = Fence::new(store, Verbs::ALL, Some(Arc::clone(&meter)));
    let link = Commit::Link {
        path: ObjectPath::parse(b"l").unwrap(),
        target: b"x".to_vec(),
        metadata: spec("x", None, 0).metadata,
        precondition: Precondition::None,
    };
    let (sink, _) = open(&fence, &spec("a", Some(MIB), 1)).unwrap();
    put_chunk(&*sink, 0);
    let wanted = || {
        let _ = std::os::unix::fs::symlink("x", root.join("l"));
        false
    };
    let told = fence.commit_while(vec![link, finished(sink, MIB)], &wanted);
    assert!(told.iter().all(|it| it.as_ref().unwrap_err().code == Code::Interrupted));
    let account = meter.lock().account;
    assert_eq!(account.used(), Load::NONE);
    assert_eq!(account.reserved(), Load::of_entry(ByteCount(MIB)), "its stage stays");
}

/// Its process died while it cleared away behind the commit, under the name that the stage had.
#[test]
fn a_short_file_of_a_stages_name_is_not_what_was_committed() {
    let place = Place::new();
    let (root, store) = place.local();
    let (spec, size) = (spec("a", Some(2 * MIB), 1), ByteCount(2 * MIB));
    let begun = || {
        let meter = Meter::open(&place.state(), TICKET, bytes(4 * MIB), Arc::clone(&store));
        Arc::new(meter.unwrap())
    };
    let meter = begun();
    let fence = Fence::new(Arc::clone(&store), Verbs::ALL, Some(Arc::clone(&meter)));
    let (sink, _) = open(&fence, &spec).unwrap();
    (0..2).for_each(|nth| put_chunk(&*sink, nth));
    let area = || std::fs::read_dir(root.join(".floe")).unwrap().map(|one| one.unwrap().path());
    let is_stage = |path: &PathBuf| path.extension().is_some_and(|it| it == "stage");
    let stage = area().find(is_stage).unwrap();
    let what = What::Object { size, root: root_of_zeros(size.0), stage: spec.key() };
    let mut usage = read(&place.state(), &file_of(TICKET)).unwrap();
    usage.pending.push(Pending { path: spec.path.clone(), what });
    commit(&fence, finished(sink, size.0)).unwrap();
    drop((fence, meter));
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(root.join(".floe")).unwrap();
    std::fs::write(&stage, "").unwrap();
    place.state().replace(&file_of(TICKET), &usage.format()).unwrap();
    drop(begun());
    assert_eq!(place.counts(), (size.0, 0));
}
