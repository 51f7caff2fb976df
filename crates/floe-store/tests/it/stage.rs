//! What only a disk can show of stages: their files, damage in them, other boots, other mounts,
//! full disks.

use crate::mounted::with_tmpfs;
use floe_store::disk::{Access, Disk, Name};
use floe_store::faulty::{Faults, FaultyDisk};
use floe_store::kernel::KernelDisk;
use floe_store::local::LocalStore;
use floe_store::simulated::{Breaks, SimulatedDisk, SimulatedHandle};
use floe_store::{
    Basis, Commit, Follow, Journaling, OpenedEntry, OpenedSink, OwnerId, Recognise, Resume, Sink,
    SinkSpec, Store,
};
use floe_types::digest::ChunkHasher;
use floe_types::{
    ByteCount, ChunkDigest, Code, Freshness, Metadata, Mode, ObjectPath, Offset, Precondition,
    Range, Root, SourceVersion, Subtree, Timestamp,
};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mod again;
mod others;

pub const CHUNK: u64 = 256 << 10;
const CHUNK_LEN: usize = 256 << 10;

pub fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text.as_bytes()).unwrap()
}

pub fn content(nth: u64) -> Vec<u8> {
    (0..CHUNK).map(|at| (at.wrapping_mul(nth + 3) >> 5 ^ nth).to_le_bytes()[0]).collect()
}

pub fn chunk(nth: u64) -> Range {
    Range::new(Offset(nth * CHUNK), Offset((nth + 1) * CHUNK))
}

fn digest(nth: u64) -> ChunkDigest {
    let mut hasher = ChunkHasher::new(chunk(nth).start());
    hasher.update(&content(nth));
    hasher.finish().unwrap()
}

pub fn spec(at: &str, chunks: u64) -> SinkSpec {
    let (size, mtime) = (ByteCount(chunks * CHUNK), Timestamp::new(10, 0).unwrap());
    SinkSpec {
        path: path(at),
        owner: OwnerId([3; 32]),
        size: Some(size),
        holes: ByteCount::ZERO,
        version: Some(SourceVersion { inode: 1, size, mtime, ctime: mtime }),
        freshness: Freshness::Settled,
        metadata: Metadata { mode: Mode::from_bits(0o640), mtime },
        precondition: Precondition::None,
        resume: Resume::Continue,
        recognise: Recognise::ByVersion,
        journaling: Journaling::Journal,
    }
}

/// Stages chunks and says what a stage held before.
pub fn stage(store: &dyn Store, spec: &SinkSpec) -> (Arc<dyn Sink>, Vec<Subtree>, Basis) {
    match store.open_sink(spec.clone(), &|_, _| {}).unwrap() {
        OpenedSink::Staged { sink, have, basis } => (sink, have, basis),
        OpenedSink::Finished { .. } => panic!("nothing is finished"),
    }
}

pub fn write(sink: &dyn Sink, nth: u64) {
    sink.write_at(chunk(nth).start(), &content(nth)).unwrap();
    sink.record(chunk(nth), &digest(nth)).unwrap();
}

fn finish(store: &dyn Store, spec: &SinkSpec, chunks: u64) {
    let (sink, have, _) = stage(store, spec);
    for nth in 0..chunks {
        if !have.iter().any(|subtree| subtree.range.covers(chunk(nth))) {
            write(&*sink, nth);
        }
    }
    let bytes: Vec<u8> = (0..chunks).flat_map(content).collect();
    let (size, root) = (ByteCount(chunks * CHUNK), Root::of(&bytes));
    store.commit(vec![Commit::Object { sink, size, root }]).remove(0).unwrap();
    let OpenedEntry::File { source, .. } = store.open(&spec.path, Follow::No).unwrap() else {
        panic!("a file");
    };
    let mut read = vec![0; bytes.len() + 1];
    assert_eq!(source.read_at(Offset::ZERO, &mut read).unwrap(), bytes.len());
    assert!(read[..bytes.len()] == bytes);
}

/// The one file in `.floe` that ends so.
fn staged_file(root: &Path, ending: &str) -> std::path::PathBuf {
    let names = std::fs::read_dir(root.join(".floe")).unwrap();
    let mut found = names
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_str().unwrap().ends_with(ending));
    let file = found.next().unwrap();
    assert_eq!(found.next(), None);
    file
}

const SLOT: usize = 128;

#[test]
fn every_prefix_of_a_journal_is_continued_without_a_guess() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    let spec = spec("x", 5);
    let (sink, _, _) = stage(&store, &spec);
    (0..3).for_each(|nth| write(&*sink, nth));
    drop(sink);
    let journal = staged_file(directory.path(), ".journal");
    let bytes = std::fs::read(&journal).unwrap();
    let head = bytes.len() - 3 * SLOT;
    let cuts = (0..head).step_by(61).chain((head..=bytes.len()).step_by(11)).chain([bytes.len()]);
    for len in cuts {
        let staged = staged_file(directory.path(), ".stage");
        let kept = std::fs::read(&staged).unwrap();
        std::fs::write(&journal, &bytes[..len]).unwrap();
        let (sink, have, _) = stage(&store, &spec);
        let held: u64 = have.iter().map(|subtree| subtree.range.len().0).sum();
        let whole = len.saturating_sub(head) / SLOT;
        assert_eq!(held, whole as u64 * CHUNK, "{len} of {} bytes", bytes.len());
        drop(sink);
        std::fs::write(&staged, kept).unwrap();
    }
    std::fs::write(&journal, &bytes[..head + SLOT + 9]).unwrap();
    finish(&store, &spec, 5);
}

#[test]
fn a_flipped_byte_anywhere_is_never_trusted() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    let spec = spec("x", 5);
    let (sink, _, _) = stage(&store, &spec);
    (0..3).for_each(|nth| write(&*sink, nth));
    sink.checkpoint().unwrap();
    // A chunk was taken back, and other bytes are there now: no flip may bring it to life.
    sink.forget(chunk(1)).unwrap();
    sink.write_at(chunk(1).start(), &[0xaa; CHUNK_LEN]).unwrap();
    drop(sink);
    let journal = staged_file(directory.path(), ".journal");
    let staged = staged_file(directory.path(), ".stage");
    let (bytes, kept) = (std::fs::read(&journal).unwrap(), std::fs::read(&staged).unwrap());
    let head = bytes.len() - 6 * SLOT;
    for at in (0..bytes.len()).step_by(13) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 0x08;
        std::fs::write(&journal, &flipped).unwrap();
        std::fs::write(&staged, &kept).unwrap();
        let (sink, have, basis) = stage(&store, &spec);
        let held: Vec<_> = have.iter().map(|subtree| subtree.range).collect();
        let expected = if at < head { vec![] } else { vec![chunk(0), chunk(2)] };
        let lost = expected.iter().filter(|range| !held.contains(range)).count();
        assert!(held.iter().all(|range| expected.contains(range)) && lost <= 1, "byte {at}");
        assert_eq!(basis, Basis::Version);
        drop(sink);
    }
    std::fs::write(&journal, &bytes).unwrap();
    std::fs::write(&staged, &kept).unwrap();
    finish(&store, &spec, 5);
}

/// A file in `.floe` of a simulated disk, opened past the store.
fn past_the_store_names(disk: &SimulatedDisk) -> Vec<Vec<u8>> {
    let area = disk.open_child(&disk.root().unwrap(), Name::RESERVED).unwrap();
    disk.list(&area, None, 100).unwrap().names
}

fn past_the_store(disk: &SimulatedDisk, ending: &str) -> SimulatedHandle {
    let area = disk.open_child(&disk.root().unwrap(), Name::RESERVED).unwrap();
    let names = past_the_store_names(disk);
    let name = names.iter().find(|name| name.ends_with(ending.as_bytes())).unwrap();
    disk.open_file(&area, Name::new(name).unwrap(), Access::ReadWrite).unwrap()
}

/// Stages five chunks of six, the first two covered by a checkpoint.
fn stage_five(disk: &SimulatedDisk) -> SinkSpec {
    let spec = spec("x", 6);
    let store = LocalStore::new(disk.clone()).unwrap();
    let (sink, _, _) = stage(&store, &spec);
    (0..2).for_each(|nth| write(&*sink, nth));
    sink.checkpoint().unwrap();
    (2..5).for_each(|nth| write(&*sink, nth));
    spec
}

#[test]
fn after_another_boot_only_what_a_checkpoint_covers_is_trusted_unread() {
    let disk = SimulatedDisk::default();
    let spec = stage_five(&disk);
    let bytes = past_the_store(&disk, ".stage");
    disk.write_at(&bytes, chunk(3).start(), b"rot").unwrap();
    drop(bytes);
    disk.reboot();

    let store = LocalStore::new(disk.clone()).unwrap();
    let (done, all) = (AtomicU64::new(0), AtomicU64::new(0));
    let progress = |so_far: ByteCount, of: ByteCount| {
        done.store(so_far.0, Ordering::Relaxed);
        all.store(of.0, Ordering::Relaxed);
    };
    let OpenedSink::Staged { sink, have, basis } =
        store.open_sink(spec.clone(), &progress).unwrap()
    else {
        panic!("staged")
    };
    let held: Vec<_> = have.iter().map(|subtree| subtree.range).collect();
    assert_eq!(held, [chunk(0), chunk(1), chunk(2), chunk(4)]);
    assert_eq!(basis, Basis::Version);
    assert_eq!((done.into_inner(), all.into_inner()), (3 * CHUNK, 3 * CHUNK), "hashed again");
    drop(sink);
    let quiet = |_, _| panic!("all of it is covered now");
    drop(store.open_sink(spec.clone(), &quiet).unwrap());
    finish(&store, &spec, 6);
}

#[test]
fn a_stage_on_another_mount_rests_beside_its_object() {
    let disk = SimulatedDisk::default();
    let store = LocalStore::new(disk.clone()).unwrap();
    store.make_dir(&path("m")).unwrap();
    disk.mount_at(&path("m"));
    let beneath = spec("m/deep/x", 3);
    let (sink, _, _) = stage(&store, &beneath);
    write(&*sink, 0);
    drop(sink);
    finish(&store, &beneath, 3);
    let target = Commit::Link {
        path: path("m/l"),
        target: b"x".to_vec(),
        metadata: beneath.metadata,
        precondition: Precondition::None,
    };
    store.commit(vec![target]).remove(0).unwrap();
    let names = |at: &str| {
        let names = path(at).components().to_vec();
        let directory = disk.open_directory(&disk.root().unwrap(), &names).unwrap();
        disk.list(&directory, None, 100).unwrap().names
    };
    assert_eq!(names("m/deep"), [b"x"], "the area went with its last stage");
    assert_eq!(names(""), [b"m"]);
}

#[test]
fn a_real_mount_is_crossed_by_no_rename() {
    with_tmpfs("a_real_mount_is_crossed_by_no_rename", c"size=4m", |directory, point| {
        let store = LocalStore::open(directory).unwrap();
        finish(&store, &spec("m/x", 4), 4);
        let big = store.open_sink(spec("m/big", 1000), &|_, _| {});
        assert_eq!(big.err().unwrap().code, Code::NoSpace, "refused before a byte is written");
        let mut unknown = spec("m/x", 4);
        (unknown.size, unknown.version) = (None, None);
        let (sink, _, _) = stage(&store, &unknown);
        let full = (0..100).find_map(|nth| sink.write_at(chunk(nth).start(), &content(nth)).err());
        assert_eq!(full.unwrap().code, Code::NoSpace);
        store.discard(sink).unwrap();
        let stat = store.stat(&path("m/x"), floe_store::RootWanted::Computed, &|_, _| {}).unwrap();
        assert_eq!(stat.size, ByteCount(4 * CHUNK), "the old version stands");
        assert!(!point.join(".floe").exists());
    });
}

#[test]
fn a_full_disk_is_said_so_and_the_stage_goes_on_later() {
    let disk = SimulatedDisk::default();
    let store = LocalStore::new(disk.clone()).unwrap();
    let spec = spec("x", 4);
    let (sink, _, _) = stage(&store, &spec);
    write(&*sink, 0);
    let room = Some(ByteCount(CHUNK + 5000));
    disk.set_breaks(Breaks { space_bytes_max: room, ..Breaks::default() });
    let full = sink.write_at(chunk(1).start(), &content(1)).unwrap_err();
    assert_eq!(full.code, Code::NoSpace);
    drop(sink);
    disk.set_breaks(Breaks::default());
    let (sink, have, _) = stage(&store, &spec);
    assert_eq!(have.len(), 1);
    drop(sink);
    finish(&store, &spec, 4);
}

#[test]
fn another_process_cannot_own_what_one_owns() {
    let directory = tempfile::tempdir().unwrap();
    let one = LocalStore::open(directory.path()).unwrap();
    let two = LocalStore::open(directory.path()).unwrap();
    let spec = spec("x", 2);
    let (sink, _, _) = stage(&one, &spec);
    write(&*sink, 0);
    let second = two.open_sink(spec.clone(), &|_, _| {});
    assert_eq!(second.err().unwrap().code, Code::AlreadyRunning);
    drop(sink);
    finish(&two, &spec, 2);
    drop((one, two));
    assert!(!directory.path().join(".floe").exists());
}

#[test]
fn what_dead_processes_left_goes_and_what_is_old_goes() {
    const DAY: i64 = 24 * 3600;
    let disk = SimulatedDisk::default();
    let store = LocalStore::new(disk.clone()).unwrap();
    let start = disk.now();
    let later = |days: i64| Timestamp::new(start.secs() + days * DAY, 0).unwrap();
    let (left, _, _) = stage(&store, &spec("old", 2));
    write(&*left, 0);
    drop(left);
    let mut small = spec("small", 1);
    small.journaling = Journaling::None;
    let (sink, _, _) = stage(&store, &small);
    write(&*sink, 0);
    // Power is lost: nothing removes the small stage.
    disk.reboot();
    drop((sink, store));
    let names = || {
        let area = disk.open_child(&disk.root().unwrap(), Name::RESERVED).unwrap();
        disk.list(&area, None, 100).unwrap().names.len()
    };
    assert_eq!(names(), 4, "a stage, its journal, a small one, and who made that");
    let store = LocalStore::new(disk.clone()).unwrap();
    let (alive, _, _) = stage(&store, &spec("alive", 2));
    assert_eq!(names(), 5, "what the dead left is gone, the rest may be continued");
    disk.set_now(later(6));
    assert_eq!(store.sweep(later(6)).unwrap(), 0);
    disk.set_now(later(8));
    assert_eq!(store.sweep(later(8)).unwrap(), 2, "old and unowned");
    write(&*alive, 0);
    drop(alive);
    finish(&store, &spec("alive", 2), 2);
    let (sink, have, _) = stage(&store, &spec("old", 2));
    assert!(have.is_empty());
    store.discard(sink).unwrap();
    assert!(disk.open_child(&disk.root().unwrap(), Name::RESERVED).is_err());
}

#[test]
fn the_area_is_private_and_a_link_is_no_area() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    std::fs::create_dir(directory.path().join(".floe")).unwrap();
    let (sink, _, _) = stage(&store, &spec("x", 2));
    let area = std::fs::metadata(directory.path().join(".floe")).unwrap();
    assert_eq!(area.permissions().mode() & 0o777, 0o700);
    store.discard(sink).unwrap();
    assert!(!directory.path().join(".floe").exists());
    let elsewhere = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), directory.path().join(".floe")).unwrap();
    let refused = store.open_sink(spec("x", 2), &|_, _| {}).err().unwrap();
    assert_eq!(refused.code, Code::NotDirectory);
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[test]
fn a_root_keeps_its_id() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    assert!(!directory.path().join(".floe").exists(), "nothing is made unasked");
    let id = store.root_id().unwrap();
    finish(&store, &spec("x", 2), 2);
    assert_eq!(LocalStore::open(directory.path()).unwrap().root_id().unwrap(), id);
    let names = std::fs::read_dir(directory.path().join(".floe")).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["id"]);
    std::fs::write(directory.path().join(".floe/id"), b"nonsense").unwrap();
    assert_eq!(store.root_id().unwrap_err().code, Code::State);
}

#[test]
fn an_object_that_was_changed_is_not_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    let spec = spec("x", 2);
    finish(&store, &spec, 2);
    let finished = || {
        let opened = store.open_sink(spec.clone(), &|_, _| {}).unwrap();
        matches!(opened, OpenedSink::Finished { .. })
    };
    assert!(finished());
    let file = std::fs::File::options().write(true).open(directory.path().join("x")).unwrap();
    std::os::unix::fs::FileExt::write_at(&file, b"changed", 5).unwrap();
    assert!(!finished(), "its mtime is another");
    let stat = store.stat(&spec.path, floe_store::RootWanted::IfKnown, &|_, _| {}).unwrap();
    assert_eq!(stat.root, None);
}

#[test]
fn without_extended_attributes_objects_are_only_not_recognised() {
    let disk = SimulatedDisk::default();
    disk.set_breaks(Breaks { without_xattr: true, ..Breaks::default() });
    let store = LocalStore::new(disk).unwrap();
    finish(&store, &spec("x", 2), 2);
    finish(&store, &spec("x", 2), 2);
}

#[test]
fn a_directory_that_was_lent_gets_its_mode_back() {
    let directory = tempfile::tempdir().unwrap();
    let closed = directory.path().join("d");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o555)).unwrap();
    let mode = || std::fs::metadata(&closed).unwrap().permissions().mode() & 0o777;
    let store = LocalStore::open(directory.path()).unwrap();
    store.begin_directory(&path("d"), Precondition::None).unwrap();
    assert_eq!(mode(), 0o755);
    finish(&store, &spec("d/x", 2), 2);
    drop(store);
    assert_eq!(mode(), 0o555);
}

#[test]
fn a_journal_whose_stage_was_renamed_goes_when_its_object_is_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let area = directory.path().join(".floe");
    let store = LocalStore::open(directory.path()).unwrap();
    let spec = spec("f", 2);
    let (sink, ..) = stage(&store, &spec);
    let journal = staged_file(directory.path(), ".journal");
    let bytes = std::fs::read(&journal).unwrap();
    drop(sink);
    finish(&store, &spec, 2);
    drop(store);
    assert!(!area.exists(), "a commit leaves nothing");
    // As after the death of the process between the rename and the end of the commit.
    std::fs::create_dir(&area).unwrap();
    std::fs::write(&journal, bytes).unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    let opened = store.open_sink(spec, &|_, _| {}).unwrap();
    assert!(matches!(opened, OpenedSink::Finished { .. }));
    assert!(!area.exists(), "its journal, and the area that holds nothing else, are gone");
}

#[test]
fn a_commit_clears_away_what_else_its_sender_staged_for_that_name() {
    let disk = SimulatedDisk::default();
    let store = LocalStore::new(disk.clone()).unwrap();
    store.make_dir(&path("m")).unwrap();
    disk.mount_at(&path("m"));
    let stages = |at: &str| {
        let directory = disk.open_directory(&disk.root().unwrap(), path(at).components()).unwrap();
        let Ok(area) = disk.open_child(&directory, Name::RESERVED) else { return 0 };
        let names = disk.list(&area, None, 100).unwrap().names;
        names.iter().filter(|name| name.ends_with(b".stage")).count()
    };
    for (at, area) in [("x", ""), ("m/x", "m")] {
        let old = spec(at, 5);
        let mut small = spec(at, 1);
        small.journaling = Journaling::None;
        let mut stranger = old.clone();
        stranger.owner = OwnerId([9; 32]);
        for left in [&old, &stranger, &spec("other", 5)] {
            let (sink, _, _) = stage(&store, left);
            write(&*sink, 0);
        }
        let before = stages(area);
        finish(&store, &small, 1);
        assert_eq!(stages(area), before - 1, "its own of another version");
        drop(stage(&store, &old));
        // It stands already: nothing is staged, and what is left goes all the same.
        let OpenedSink::Finished { sink, root, .. } =
            store.open_sink(small.clone(), &|_, _| {}).unwrap()
        else {
            panic!("it stands")
        };
        let (held, _, _) = stage(&store, &spec(at, 3));
        let size = ByteCount(CHUNK);
        store.commit(vec![Commit::Object { sink, size, root }]).remove(0).unwrap();
        assert_eq!(stages(area), before, "one is held");
        store.discard(held).unwrap();
    }
    // What is old goes in every area that was entered.
    let later = Timestamp::new(disk.now().secs() + 8 * 24 * 3600, 0).unwrap();
    store.sweep(later).unwrap();
    assert_eq!((stages(""), stages("m")), (0, 0));
}
