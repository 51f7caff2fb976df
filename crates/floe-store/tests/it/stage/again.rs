//! A stage that is taken up again: what counts, what space it takes, what is written over.

use super::*;

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
    let (_, have, _) = stage(&with_room(Some(ByteCount(whole / 2 * CHUNK))), &spec);
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
