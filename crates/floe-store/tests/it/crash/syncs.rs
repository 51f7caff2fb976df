//! Syncs that fail, also while their process dies, and power that fails where a stage begins anew.
//!
//! A failed sync leaves pages that read well and are not on the disk, and is told once: whoever
//! asks again hears that all is well. So nothing that such a sync should have written may count
//! later, unless it was written again.

use super::*;
use floe_store::Overwrite;
use floe_store::disk::Locality;
use floe_store::faulty::{Chance, Faults, FaultyDisk};
use floe_store::simulated::Survivors;

/// A stage of `object` and its sink.
fn staged(store: &dyn Store, object: &Object) -> Arc<dyn Sink> {
    match store.open_sink(object.spec.clone(), &|_, _| {}).unwrap() {
        OpenedSink::Staged { sink, .. } => sink,
        OpenedSink::Finished { .. } => panic!("nothing stands there"),
    }
}

fn write(sink: &dyn Sink, object: &Object, nth: usize) {
    let chunk = object.chunks()[nth];
    sink.write_at(chunk.start(), object.slice(chunk)).unwrap();
}

fn record(sink: &dyn Sink, object: &Object, nth: usize) -> Result<(), Fault> {
    let chunk = object.chunks()[nth];
    sink.record(chunk, &object.digest(chunk))
}

fn failing(syncs: u32) -> Breaks {
    Breaks { syncs, ..Breaks::default() }
}

/// The same command once more: answered, and what was answered is there after a cut.
fn finishes(disk: &SimulatedDisk, object: &Object, place: &str) {
    let local = store(disk);
    object.transfer(&local).unwrap_or_else(|fault| panic!("{place}: {fault}"));
    drop(local);
    disk.cut(7);
    assert!(object.stands(&store(disk)), "{place}: answered, so durable");
}

#[test]
fn a_chunk_written_before_a_failed_checkpoint_and_recorded_after_it_is_not_trusted() {
    let new = object("x", 4 * CHUNK, 2);
    let disk = SimulatedDisk::default();
    let local = store(&disk);
    let sink = staged(&local, &new);
    write(&*sink, &new, 0);
    record(&*sink, &new, 0).unwrap();
    write(&*sink, &new, 1);
    disk.set_breaks(failing(1));
    assert_eq!(sink.checkpoint().unwrap_err().code, Code::Io);
    let _ = record(&*sink, &new, 1);
    drop((sink, local));
    finishes(&disk, &new, "recorded late");
}

/// Its size is lost with the byte that gave it that, and a hole has no other.
#[test]
fn a_hole_at_the_end_has_its_size_after_a_failed_sync() {
    for (size, forgets) in [(4 * CHUNK, false), (3 * CHUNK + 20_000, false), (4 * CHUNK, true)] {
        let new = sparse("x", size, 2);
        let disk = SimulatedDisk::default();
        let local = store(&disk);
        let sink = staged(&local, &new);
        for (nth, chunk) in new.chunks().into_iter().enumerate() {
            match nth % 2 {
                0 => write(&*sink, &new, nth),
                _ => sink.write_hole(chunk).unwrap(),
            }
            record(&*sink, &new, nth).unwrap();
        }
        disk.set_breaks(failing(1));
        let failed = local.commit(vec![new.commit(sink)]).remove(0).unwrap_err();
        assert_eq!(failed.detail, "sync stage of \"x\"");
        drop(local);
        if forgets {
            // As where a WANT cannot tell of it: it is made once more.
            let (local, last) = (store(&disk), new.chunks()[3]);
            let sink = staged(&local, &new);
            sink.forget(last).unwrap();
            sink.write_hole(last).unwrap();
            record(&*sink, &new, 3).unwrap();
        }
        finishes(&disk, &new, &format!("{size} bytes"));
    }
}

/// That it is shorter than an earlier version is lost as well.
#[test]
fn a_shorter_version_ends_where_it_does_after_a_failed_sync() {
    let (long, new) = (object("x", 4 * CHUNK, 2), object("x", 2 * CHUNK, 2));
    let disk = SimulatedDisk::default();
    let local = store(&disk);
    drop(long.fill(&local).unwrap());
    disk.set_breaks(Breaks::default());
    let (sink, _) = new.fill(&local).unwrap();
    disk.set_breaks(failing(1));
    let failed = local.commit(vec![new.commit(sink)]).remove(0).unwrap_err();
    assert_eq!(failed.detail, "sync stage of \"x\"");
    drop(local);
    finishes(&disk, &new, "shorter");
}

#[test]
fn a_failed_sync_of_the_file_system_commits_nothing_of_another_batch() {
    for locality in [Locality::Local, Locality::Layered] {
        a_sync_of_all_fails(locality);
    }
}

fn a_sync_of_all_fails(locality: Locality) {
    let objects: Vec<_> = (0..140).map(|nth| object(&format!("d/f{nth}"), 500, nth + 1)).collect();
    let disk = SimulatedDisk::default();
    disk.set_breaks(Breaks { locality, ..Breaks::default() });
    let local = store(&disk);
    let mut entries: Vec<_> =
        objects.iter().map(|object| object.commit(object.fill(&local).unwrap().0)).collect();
    let second = entries.split_off(70);
    disk.set_breaks(Breaks { locality, ..failing(1) });
    let mut answers = local.commit(entries);
    assert!(answers.iter().all(Result::is_err), "its sync failed");
    answers.extend(local.commit(second));
    drop(local);
    disk.cut(3);
    let after = store(&disk);
    for (object, answer) in objects.iter().zip(&answers) {
        assert!(answer.is_err() || object.stands(&after), "{:?}: answered", object.spec.path);
    }
    assert!(commit_batch(&after, &objects).iter().all(Result::is_ok));
}

#[test]
fn a_sync_that_fails_while_its_process_dies_is_not_taken_for_a_good_one() {
    let new = object("x", 4 * CHUNK, 2);
    for commits in [false, true] {
        for operation in 0..8 {
            let disk = SimulatedDisk::default();
            let local = store(&disk);
            let sink = staged(&local, &new);
            let whole = if commits { 0..4 } else { 0..3 };
            for nth in whole {
                write(&*sink, &new, nth);
                record(&*sink, &new, nth).unwrap();
                if nth == 0 {
                    sink.checkpoint().unwrap();
                }
            }
            disk.set_breaks(Breaks { operations_max: Some(operation), ..failing(1) });
            let _ = match commits {
                true => local.commit(vec![new.commit(Arc::clone(&sink))]).remove(0),
                false => sink.checkpoint(),
            };
            drop((sink, local));
            disk.set_breaks(Breaks::default());
            finishes(&disk, &new, &format!("operation {operation}, commits: {commits}"));
        }
    }
}

#[test]
fn a_power_cut_while_a_stage_is_begun_anew_never_joins_old_records_to_new_bytes() {
    let new = object("x", 4 * CHUNK, 2);
    let anew =
        Object { spec: SinkSpec { resume: Resume::Discard, ..new.spec.clone() }, ..new.clone() };
    let prepare = || {
        let disk = SimulatedDisk::default();
        let (sink, _) = new.fill(&store(&disk)).unwrap();
        sink.checkpoint().unwrap();
        disk
    };
    let count = operations(&prepare, &|disk| drop(anew.fill(&store(disk)).unwrap()));
    for operation in 0..=count {
        for seed in 0..SEEDS {
            let disk = prepare();
            let before = store(&disk);
            disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
            drop(anew.fill(&before));
            drop(before);
            disk.cut(seed * 10_007 + operation);
            finishes(&disk, &new, &format!("operation {operation}, seed {seed}"));
        }
    }
}

#[test]
fn what_a_dead_process_forgot_stays_forgotten_when_it_is_written_over() {
    let (first, second) = (object("x", 4 * CHUNK, 1), object("x", 4 * CHUNK, 2));
    // The first content again, as another version.
    let third = Object { spec: object("x", 4 * CHUNK, 3).spec, bytes: first.bytes.clone() };
    for seed in 0..16 {
        let disk = SimulatedDisk::default();
        let local = store(&disk);
        let (sink, _) = first.fill(&local).unwrap();
        sink.checkpoint().unwrap();
        drop(sink);
        let sink = staged(&local, &second);
        sink.forget(second.chunks()[2]).unwrap();
        drop((sink, local));
        let local = store(&disk);
        let sink = staged(&local, &second);
        write(&*sink, &second, 2);
        disk.cut(seed);
        drop((sink, local));
        finishes(&disk, &third, &format!("seed {seed}"));
    }
}

#[test]
fn a_disk_that_is_full_at_a_checkpoint_takes_nothing_back() {
    let new = object("x", 4 * CHUNK, 2);
    let mut full = 0;
    for room in (0..2048).step_by(64).map(|more| ByteCount(2 * CHUNK + more)) {
        let disk = SimulatedDisk::default();
        let local = store(&disk);
        let sink = staged(&local, &new);
        for nth in 0..2 {
            write(&*sink, &new, nth);
            record(&*sink, &new, nth).unwrap();
        }
        disk.set_breaks(Breaks { space_bytes_max: Some(room), ..Breaks::default() });
        if let Err(fault) = sink.checkpoint() {
            assert_eq!(fault.code, Code::NoSpace);
            full += 1;
        }
        drop((sink, local));
        disk.set_breaks(Breaks::default());
        let (_, sent) = new.fill(&store(&disk)).unwrap();
        assert_eq!(sent, 2 * CHUNK, "{room:?}");
    }
    assert!((2..32).contains(&full), "{full}: either record may be the one too many");
}

/// Seed 15884 of the simulation: a directory was made, and making it failed all the same.
#[test]
fn what_a_failed_attempt_made_is_durable_with_the_answer_of_the_next() {
    let (first, new) = (object("y", 2 * CHUNK, 1), object("c/d/x", 2 * CHUNK, 2));
    let shaky = Faults {
        name_error_after: Chance(Chance::PER / 3),
        lookup_error: Chance(Chance::PER / 8),
        ..Faults::default()
    };
    let mut answered = 0;
    for seed in 0..300 {
        let below = SimulatedDisk::default();
        let disk = FaultyDisk::new(below.clone(), seed, Faults::default());
        let local = LocalStore::new(disk.clone()).unwrap();
        // As under a server: `.floe` stays, and is not what makes the root durable.
        local.root_id().unwrap();
        first.transfer(&local).unwrap();
        local.make_dir(&path("old/d")).unwrap();
        disk.set_faults(shaky);
        let _ = match seed % 4 {
            3 => local.rename(&path("old"), &path("c"), Overwrite::Refused),
            0 => local.make_dir(&path("c/d")),
            1 => local.begin_directory(&path("c/d"), Precondition::None).map(|_| ()),
            _ => new.transfer(&local).map(|_| ()),
        };
        disk.set_faults(Faults::default());
        if new.transfer(&local).is_err() {
            continue; // its own stage may be lost to it, until the next process
        }
        answered += 1;
        drop(local);
        below.cut_keeping(seed, Survivors::AnyChanges);
        assert!(new.stands(&store(&below)), "seed {seed}: answered, so durable");
    }
    assert!(answered > 200, "{answered}");
}
