//! A stage that is taken up again: what counts, what space it takes, what is written over.

use super::*;
use floe_store::simulated::Survivors;

/// Makes a hole and records it.
fn write_hole(sink: &dyn Sink, nth: u64) {
    sink.write_hole(chunk(nth)).unwrap();
    sink.record(chunk(nth), &ChunkDigest::of_zeros(chunk(nth)).unwrap()).unwrap();
}

fn held(have: &[Subtree]) -> Vec<u64> {
    (0..16).filter(|nth| have.iter().any(|one| one.range.covers(chunk(*nth)))).collect()
}

/// Changes the slot that stands so many before the end of the journal.
fn change_slot(disk: &SimulatedDisk, before_end: u64, change: impl Fn(&mut [u8])) {
    let journal = past_the_store(disk, ".journal");
    let size = disk.stat(&journal).unwrap().size.0;
    let at = Offset(size - before_end * SLOT as u64);
    let mut slot = [0; SLOT];
    assert_eq!(disk.read_at(&journal, at, &mut slot), Ok(SLOT));
    change(&mut slot);
    disk.write_at(&journal, at, &slot).unwrap();
}

#[test]
fn what_is_written_over_without_being_forgotten_counts_no_more() {
    let spec = spec("x", 4);
    for seed in 0..32 {
        let disk = SimulatedDisk::default();
        let store = LocalStore::new(disk.clone()).unwrap();
        let (sink, _, _) = stage(&store, &spec);
        (0..3).for_each(|nth| write(&*sink, nth));
        sink.checkpoint().unwrap();
        sink.write_at(Offset(CHUNK + 70_000), b"from a peer that was not told of it").unwrap();
        write(&*sink, 3);
        let bytes: Vec<u8> = (0..4).flat_map(content).collect();
        let (size, root) = (ByteCount(4 * CHUNK), Root::of(&bytes));
        let answers = store.commit(vec![Commit::Object { sink, size, root }]);
        assert_eq!(answers[0].as_ref().unwrap_err().code, Code::Integrity);
        drop(store);
        if seed > 0 {
            disk.cut(seed);
        }
        let (_, have, _) = stage(&LocalStore::new(disk.clone()).unwrap(), &spec);
        assert!(!held(&have).contains(&1), "seed {seed}: {have:?}");
        assert!([0, 2].iter().all(|nth| held(&have).contains(nth)), "seed {seed}: {have:?}");
    }
}

/// What happens to a stage before it is taken up again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Kill,
    PowerLoss,
    FailedSync,
    Gap,
    Damage,
}

#[test]
fn a_recorded_hole_takes_no_space_when_its_stage_is_taken_up_again() {
    let spec = SinkSpec { holes: ByteCount(4 * CHUNK), ..spec("x", 8) };
    for fate in [Fate::Kill, Fate::PowerLoss, Fate::FailedSync, Fate::Gap, Fate::Damage] {
        let disk = SimulatedDisk::default();
        let store = LocalStore::new(disk.clone()).unwrap();
        let (sink, _, _) = stage(&store, &spec);
        for nth in 0..8 {
            if nth % 2 == 0 {
                write(&*sink, nth)
            } else {
                write_hole(&*sink, nth)
            }
            if nth == 3 {
                sink.checkpoint().unwrap();
            }
        }
        if fate == Fate::FailedSync {
            disk.set_breaks(Breaks { syncs: 1, ..Breaks::default() });
            sink.checkpoint().unwrap_err();
        }
        drop((sink, store));
        match fate {
            Fate::Kill | Fate::FailedSync => {}
            Fate::PowerLoss => disk.reboot(),
            Fate::Gap => change_slot(&disk, 2, |slot| slot.fill(0)),
            Fate::Damage => change_slot(&disk, 2, |slot| slot[9] ^= 1),
        }
        let took = disk.space(&past_the_store(&disk, ".stage"));
        assert_eq!(took, ByteCount(4 * CHUNK), "{fate:?}");
        let (sink, have, _) = stage(&LocalStore::new(disk.clone()).unwrap(), &spec);
        let gone = if matches!(fate, Fate::Gap | Fate::Damage) { 6 } else { 9 };
        let expected: Vec<_> = (0..8).filter(|nth| *nth != gone).collect();
        assert_eq!(held(&have), expected, "{fate:?}");
        drop(sink);
        let takes = disk.space(&past_the_store(&disk, ".stage"));
        assert_eq!(takes, took, "{fate:?}");
    }
}

#[test]
fn holes_that_are_recorded_are_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let whole = 2_048;
    let spec = SinkSpec { holes: ByteCount(whole / 2 * CHUNK), ..spec("x", whole) };
    let with_room = |room| {
        let faults = Faults { space_bytes_max: room, ..Faults::default() };
        let disk = FaultyDisk::new(KernelDisk::open(directory.path()).unwrap(), 1, faults);
        LocalStore::new(disk).unwrap()
    };
    let (sink, _, _) = stage(&with_room(None), &spec);
    (0..whole / 2).for_each(|nth| write_hole(&*sink, nth));
    drop(sink);
    let tight = with_room(Some(ByteCount(whole / 8 * CHUNK)));
    let refused = tight.open_sink(spec.clone(), &|_, _| {}).err().unwrap();
    assert_eq!(refused.code, Code::NoSpace);
    // And a few blocks for its journal.
    let (_, have, _) = stage(&with_room(Some(ByteCount((whole / 2 + 1) * CHUNK))), &spec);
    assert_eq!(have.iter().map(|one| one.range.len().0).sum::<u64>(), whole / 2 * CHUNK);
}

#[test]
fn what_a_checkpoint_covers_is_trusted_unread_although_a_power_loss_took_a_later_slot() {
    let disk = SimulatedDisk::default();
    let spec = stage_five(&disk);
    disk.reboot();
    change_slot(&disk, 2, |slot| slot.fill(0));
    let store = LocalStore::new(disk.clone()).unwrap();
    let read = AtomicU64::new(0);
    let progress = |so_far: ByteCount, _: ByteCount| read.store(so_far.0, Ordering::Relaxed);
    let OpenedSink::Staged { have, .. } = store.open_sink(spec.clone(), &progress).unwrap() else {
        panic!("staged")
    };
    assert_eq!(held(&have), [0, 1, 2, 4]);
    assert_eq!(read.into_inner(), 2 * CHUNK, "what lies past the checkpoint is hashed again");
    finish(&store, &spec, 6);
}

/// Standard input that had come to its end: its producer is gone, and nobody can give it again.
#[test]
fn the_short_end_of_an_object_of_unknown_size_is_held_after_its_process_died() {
    let disk = SimulatedDisk::default();
    let spec = SinkSpec { size: None, version: None, ..spec("x", 1) };
    let bytes = b"13 bytes long";
    let range = Range::new(Offset::ZERO, Offset(bytes.len() as u64));
    let digest = {
        let mut hasher = ChunkHasher::new(Offset::ZERO);
        hasher.update(bytes);
        hasher.finish().unwrap()
    };
    {
        let store = LocalStore::new(disk.clone()).unwrap();
        let (sink, ..) = stage(&store, &spec);
        sink.write_at(Offset::ZERO, bytes).unwrap();
        sink.record(range, &digest).unwrap();
    }
    for rebooted in [false, true] {
        let disk = if rebooted { disk.copy() } else { disk.twin() };
        let store = LocalStore::new(disk).unwrap();
        let (_, have, _) = stage(&store, &spec);
        assert_eq!(have, [Subtree { range, digest }], "{rebooted}");
    }
}

fn at(disk: &SimulatedDisk, secs: i64) {
    disk.set_now(Timestamp::new(secs, 0).unwrap());
}

/// Four chunks of one path, of the version that this inode says.
fn version(inode: u64) -> SinkSpec {
    let spec = spec("x", 4);
    let version = spec.version.map(|version| SourceVersion { inode, ..version });
    SinkSpec { version, ..spec }
}

/// As a power loss leaves it where names survive in any order: the stage went, its journal did not.
#[test]
fn a_journal_that_came_back_is_not_of_a_newer_stage() {
    let spec = spec("x", 4);
    for made_at in [100, 200] {
        let disk = SimulatedDisk::default();
        at(&disk, 100);
        let store = LocalStore::new(disk.clone()).unwrap();
        let (sink, _, _) = stage(&store, &spec);
        (0..3).for_each(|nth| write(&*sink, nth));
        sink.checkpoint().unwrap();
        let mut old = vec![0; 1 << 16];
        let count = disk.read_at(&past_the_store(&disk, ".journal"), Offset(0), &mut old).unwrap();
        store.discard(sink).unwrap();
        at(&disk, made_at);
        let (sink, have, _) = stage(&store, &spec);
        assert!(have.is_empty());
        sink.write_at(chunk(2).start(), &content(0)).unwrap();
        drop((sink, store));
        disk.write_at(&past_the_store(&disk, ".journal"), Offset(0), &old[..count]).unwrap();
        let (_, have, _) = stage(&LocalStore::new(disk.clone()).unwrap(), &spec);
        // Made in the same tick the two cannot be told apart: the journal that is there counts.
        let expected: &[u64] = if made_at == 100 { &[0, 1, 2] } else { &[] };
        assert_eq!(held(&have), expected);
    }
}

#[test]
fn a_kill_while_a_stage_is_adopted_loses_nothing_of_it() {
    let (first, second) = (version(1), version(2));
    let mut whole = 0;
    for (operation, without_birth) in (0..200).flat_map(|nth| [(nth, false), (nth, true)]) {
        let disk = SimulatedDisk::default();
        let sound = Breaks { without_birth, ..Breaks::default() };
        disk.set_breaks(sound);
        at(&disk, 100);
        let (sink, _, _) = stage(&LocalStore::new(disk.clone()).unwrap(), &first);
        (0..3).for_each(|nth| write(&*sink, nth));
        drop(sink);
        at(&disk, 200);
        let store = LocalStore::new(disk.clone()).unwrap();
        disk.set_breaks(Breaks { operations_max: Some(operation), ..sound });
        whole += u64::from(store.open_sink(second.clone(), &|_, _| {}).is_ok());
        drop(store);
        disk.set_breaks(sound);
        let (sink, have, basis) = stage(&LocalStore::new(disk.clone()).unwrap(), &second);
        let place = format!("{operation}, {without_birth}");
        assert_eq!((held(&have), basis), (vec![0, 1, 2], Basis::Content), "{place}");
        drop(sink);
        finish(&LocalStore::new(disk.clone()).unwrap(), &second, 4);
        let area = disk.open_child(&disk.root().unwrap(), Name::RESERVED);
        assert!(area.is_err(), "{place}: {:?}", past_the_store_names(&disk));
    }
    assert!((1..390).contains(&whole), "{whole}");
}

/// One file is staged under A, adopted by B, which writes over it, and adopted by A again: whatever
/// names a power loss keeps, no record of A's first journal is trusted of B's bytes.
#[test]
fn a_journal_of_an_earlier_life_of_its_own_file_is_never_trusted_after_a_power_loss() {
    let (a, b) = (version(1), version(2));
    for operation in 0..80 {
        for seed in 1..24 {
            let disk = SimulatedDisk::default();
            at(&disk, 100);
            let store = LocalStore::new(disk.clone()).unwrap();
            let (sink, _, _) = stage(&store, &a);
            (0..4).for_each(|nth| write(&*sink, nth));
            sink.checkpoint().unwrap();
            drop((sink, store));
            // What B dies in is not the removal of A's journal, or it is.
            at(&disk, 200);
            let store = LocalStore::new(disk.clone()).unwrap();
            let (sink, _, _) = stage(&store, &b);
            sink.forget(chunk(1)).unwrap();
            sink.write_at(chunk(1).start(), &content(9)).unwrap();
            drop((sink, store));
            at(&disk, 300);
            let store = LocalStore::new(disk.clone()).unwrap();
            disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
            let _ = store.open_sink(a.clone(), &|_, _| {});
            drop(store);
            disk.cut_keeping(seed, Survivors::AnyChanges);
            let (sink, have, _) = stage(&LocalStore::new(disk.clone()).unwrap(), &a);
            assert!(!held(&have).contains(&1), "operation {operation}, seed {seed}");
            drop(sink);
        }
    }
}

/// Torture, seed 20261129715, round 362.
#[test]
fn a_kill_while_a_stage_is_adopted_leaves_nothing_behind_when_yet_another_version_is_committed() {
    for operation in 0..60 {
        let disk = SimulatedDisk::default();
        at(&disk, 100);
        let (sink, _, _) = stage(&LocalStore::new(disk.clone()).unwrap(), &version(1));
        (0..3).for_each(|nth| write(&*sink, nth));
        drop(sink);
        at(&disk, 200);
        let store = LocalStore::new(disk.clone()).unwrap();
        disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
        let _ = store.open_sink(version(2), &|_, _| {});
        drop(store);
        disk.set_breaks(Breaks::default());
        at(&disk, 300);
        finish(&LocalStore::new(disk.clone()).unwrap(), &version(3), 4);
        // `.floe` goes with the last of them.
        let area = disk.open_child(&disk.root().unwrap(), Name::RESERVED);
        assert!(area.is_err(), "{operation}: {:?}", past_the_store_names(&disk));
    }
}

/// Two processes stage two versions of one object, and the adopting one comes between: what it
/// writes down is never beside the other's bytes.
#[test]
fn who_adopts_a_stage_owns_its_new_key_before_it_writes_down_what_counts() {
    let (first, second) = (version(1), version(2));
    let disk = SimulatedDisk::default();
    at(&disk, 100);
    let (sink, _, _) = stage(&LocalStore::new(disk.clone()).unwrap(), &first);
    (0..3).for_each(|nth| write(&*sink, nth));
    drop(sink);
    let old = past_the_store_names(&disk);
    let mut met = 0;
    for operation in 0..200 {
        let disk = disk.copy();
        at(&disk, 200);
        let store = LocalStore::new(disk.clone()).unwrap();
        disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
        let adopted = store.open_sink(second.clone(), &|_, _| {});
        disk.set_breaks(Breaks::default());
        let names = past_the_store_names(&disk);
        let is_new = |endings: &[&[u8]]| {
            let new = |name: &&Vec<u8>| !old.contains(name);
            names.iter().filter(new).any(|name| endings.iter().any(|end| name.ends_with(end)))
        };
        if is_new(&[b".rewrite", b".journal"]) {
            met += 1;
            assert!(is_new(&[b".stage"]), "{operation}: {names:?}");
        }
        drop(adopted);
    }
    assert!(met > 0);
}

/// A quota asks for it, whatever became of the directory that the object was for.
#[test]
fn a_stage_is_found_when_its_directory_has_become_something_else() {
    let directory = tempfile::tempdir().unwrap();
    let store = LocalStore::open(directory.path()).unwrap();
    let spec = SinkSpec { size: None, ..spec("d/x", 4) };
    let (sink, _, _) = stage(&store, &spec);
    write(&*sink, 0);
    drop(sink);
    let (was, key) = (directory.path().join("d"), spec.key());
    let staged = || store.staged(&key).map_err(|fault| fault.code);
    let whole = Ok(Some(ByteCount(CHUNK)));
    assert_eq!(staged(), whole);
    std::fs::remove_dir(&was).unwrap();
    assert_eq!(staged(), whole, "it is gone");
    std::fs::write(&was, b"").unwrap();
    assert_eq!(staged(), whole, "it is a file");
    std::fs::remove_file(&was).unwrap();
    std::os::unix::fs::symlink("elsewhere", &was).unwrap();
    assert_eq!(staged(), whole, "it is a link");
}
