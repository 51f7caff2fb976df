//! What stands already, and power that fails: names that move, objects that are kept.

use super::*;
use floe_store::disk::{Access, Disk, Name, Reuse};
use floe_store::{Depth, Overwrite};

/// Writes over the start of a file past the store, as a program of this machine does.
fn write_past_the_store(disk: &SimulatedDisk, name: &str, bytes: &[u8]) {
    let root = disk.root().unwrap();
    let name = Name::new(name.as_bytes()).unwrap();
    let file = disk.open_file(&root, name, Access::ReadWrite).unwrap();
    disk.write_at(&file, Offset::ZERO, bytes).unwrap();
}

fn checked(object: &Object) -> Object {
    let spec = SinkSpec { recognise: Recognise::ByContent, ..object.spec.clone() };
    Object { spec, bytes: object.bytes.clone() }
}

/// As `--checksum` does: what is recognised by its bytes is compared by its root.
fn keep(store: &dyn Store, object: &Object) -> Result<(), Fault> {
    match store.open_sink(object.spec.clone(), &|_, _| {})? {
        OpenedSink::Finished { root, sink, .. } if root == Root::of(&object.bytes) => {
            store.commit(vec![object.commit(sink)]).remove(0)
        }
        _ => Err(Fault::new(Code::Integrity, "not recognised")),
    }
}

#[test]
fn a_mark_is_never_durable_before_the_bytes_it_vouches_for() {
    let (old, new) = (object("x", 2 * CHUNK, 1), object("x", 2 * CHUNK, 2));
    let prepare = || {
        let disk = with_old(&old);
        write_past_the_store(&disk, "x", &new.bytes);
        disk
    };
    let count = operations(&prepare, &|disk| keep(&store(disk), &checked(&new)).unwrap());
    for operation in 0..=count {
        for seed in 0..4 * SEEDS {
            let disk = prepare();
            let before = store(&disk);
            disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
            let _ = keep(&before, &checked(&new));
            drop(before);
            disk.cut(seed * 10_007 + operation);
            let after = store(&disk);
            new.transfer(&after).unwrap();
            assert!(new.stands(&after), "operation {operation}, seed {seed}");
        }
    }
}

/// A failed sync is told once; memory shows its bytes from then on, and every later sync is good.
#[test]
fn what_is_recognised_by_its_bytes_is_what_the_disk_holds() {
    let (old, new) = (object("x", 2 * CHUNK, 1), object("x", 2 * CHUNK, 2));
    for seed in 0..SEEDS {
        let disk = with_old(&old);
        write_past_the_store(&disk, "x", &new.bytes);
        disk.set_breaks(Breaks { syncs: 1, ..Breaks::default() });
        keep(&store(&disk), &checked(&new)).unwrap_err();
        let answer = keep(&store(&disk), &checked(&new));
        disk.cut(seed);
        assert!(answer.is_err() || new.stands(&store(&disk)), "answered, so durable");
        new.transfer(&store(&disk)).unwrap();
        disk.cut(seed);
        assert!(new.stands(&store(&disk)));
    }
}

#[test]
fn an_object_moved_into_a_directory_that_was_just_made_is_not_lost() {
    let moved = object("x", 100, 1);
    for seed in 0..16 {
        let disk = with_old(&moved);
        let local = store(&disk);
        // Makes a/b, which nobody has synced yet.
        let _ = local.open_sink(object("a/b/y", 100, 2).spec, &|_, _| {}).unwrap();
        local.rename(&moved.spec.path, &path("a/b/x"), Overwrite::Refused).unwrap();
        drop(local);
        disk.cut(seed);
        let stands = shown(&store(&disk), &path("a/b/x"));
        assert_eq!(stands.map(|(bytes, _)| bytes), Some(moved.bytes.clone()), "seed {seed}");
    }
}

/// Another process puts an object and dies at each operation; then this one, which was there
/// before, puts it too, and the power fails.
fn is_durable_whoever_began(
    prepare: &dyn Fn() -> (SimulatedDisk, LocalStore<SimulatedDisk>),
    object: &Object,
    when: &str,
) {
    let count = operations(&|| prepare().0, &|disk| {
        object.transfer(&store(disk)).unwrap();
    });
    for operation in 0..=count {
        let (disk, local) = prepare();
        let other = store(&disk);
        disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
        let _ = object.transfer(&other);
        drop(other);
        disk.set_breaks(Breaks::default());
        object.transfer(&local).unwrap();
        drop(local);
        disk.cut(operation);
        let stands = object.stands(&store(&disk));
        assert!(stands, "operation {operation}{when}: answered, so durable");
    }
}

#[test]
fn an_object_that_is_kept_has_a_durable_name_whoever_gave_it() {
    let (first, second) = (object("d/f", 100, 1), object("d/x", 100, 2));
    let prepare = || {
        let disk = SimulatedDisk::default();
        let local = store(&disk);
        first.transfer(&local).unwrap();
        (disk, local)
    };
    is_durable_whoever_began(&prepare, &second, "");
}

/// One level below what this process synced.
#[test]
fn a_directory_that_another_process_made_is_durable_with_what_is_put_into_it() {
    let second = object("d/e/x", 100, 3);
    let at = |secs| Timestamp::new(1_700_000_000 + secs, 0).unwrap();
    for step in [0, 10] {
        let prepare = || {
            let disk = SimulatedDisk::default();
            let local = store(&disk);
            for (name, seed) in [("d/s/f", 1), ("d/s/g", 2)] {
                object(name, 100, seed).transfer(&local).unwrap();
                // What was synced is old by the next time, or as new as what comes.
                disk.set_now(at(i64::try_from(seed).unwrap() * step));
            }
            (disk, local)
        };
        is_durable_whoever_began(&prepare, &second, &format!(", {step} s apart"));
    }
}

#[test]
fn a_commit_that_was_not_heard_of_is_answered_again_where_nothing_may_be_replaced() {
    let mut new = object("d/x", 3 * CHUNK, 2);
    new.spec.precondition = Precondition::Absent;
    let count = operations(&SimulatedDisk::default, &|disk| {
        new.transfer(&store(disk)).unwrap();
    });
    for operation in 0..=count {
        let disk = SimulatedDisk::default();
        let before = store(&disk);
        disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
        let _ = new.transfer(&before);
        drop(before);
        disk.set_breaks(Breaks::default());
        let after = store(&disk);
        new.transfer(&after).unwrap_or_else(|fault| panic!("operation {operation}: {fault}"));
        drop(after);
        disk.cut(operation);
        assert!(new.stands(&store(&disk)), "operation {operation}: answered, so durable");
    }
    let mut other = object("d/x", 3 * CHUNK, 3);
    other.spec.precondition = Precondition::Absent;
    let disk = with_old(&new);
    assert_eq!(other.transfer(&store(&disk)).unwrap_err().code, Code::Exists);
    assert!(new.stands(&store(&disk)));
}

#[test]
fn a_link_whose_commit_was_not_heard_of_is_answered_again_where_nothing_may_be_replaced() {
    let metadata = Metadata { mode: Mode::from_bits(0o777), mtime: Timestamp::new(55, 3).unwrap() };
    let put = |local: &LocalStore<SimulatedDisk>| {
        local.begin_directory(&path("d"), Precondition::None)?;
        let (target, precondition) = (b"there".to_vec(), Precondition::Absent);
        let link = Commit::Link { path: path("d/l"), target, metadata, precondition };
        local.commit(vec![link]).remove(0)
    };
    let count = operations(&SimulatedDisk::default, &|disk| put(&store(disk)).unwrap());
    for operation in 0..=count {
        let disk = SimulatedDisk::default();
        let before = store(&disk);
        disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
        let _ = put(&before);
        drop(before);
        disk.set_breaks(Breaks::default());
        put(&store(&disk)).unwrap_or_else(|fault| panic!("operation {operation}: {fault}"));
        disk.cut(operation);
        let found = shown(&store(&disk), &path("d/l"));
        assert_eq!(found, Some((b"there".to_vec(), None)), "{operation}: answered, so durable");
    }
}

#[test]
fn another_name_of_an_object_keeps_its_mode_and_time() {
    let new = object("x", 2 * CHUNK, 2);
    for recognise in [Recognise::ByVersion, Recognise::ByContent] {
        let disk = with_old(&new);
        let root = disk.root().unwrap();
        let (name, other) = (Name::new(b"x").unwrap(), Name::new(b"yesterday").unwrap());
        disk.link((&root, name), (&root, other)).unwrap();
        let before = disk.stat_at(&root, other).unwrap();
        let mut again = new.clone();
        again.spec.recognise = recognise;
        keep(&store(&disk), &again).unwrap();
        assert_eq!(disk.stat_at(&root, other).unwrap(), before, "nothing to change");
        again.spec.metadata.mode = Mode::from_bits(0o600);
        again.transfer(&store(&disk)).unwrap();
        assert!(again.stands(&store(&disk)));
        let after = disk.stat_at(&root, other).unwrap();
        assert_eq!((after.mode, after.mtime, after.links), (before.mode, before.mtime, 1));
    }
}

#[test]
fn an_object_that_got_another_name_since_it_was_opened_is_a_conflict_where_it_differs() {
    for (mode, code) in [(0o644, None), (0o600, Some(Code::Conflict))] {
        let mut kept = object("x", 2 * CHUNK, 2);
        let disk = with_old(&kept);
        let local = store(&disk);
        kept.spec.metadata.mode = Mode::from_bits(mode);
        let opened = local.open_sink(kept.spec.clone(), &|_, _| {}).unwrap();
        let OpenedSink::Finished { sink, .. } = opened else { panic!("it stands") };
        let root = disk.root().unwrap();
        let (name, other) = (Name::new(b"x").unwrap(), Name::new(b"yesterday").unwrap());
        disk.link((&root, name), (&root, other)).unwrap();
        let answer = local.commit(vec![kept.commit(sink)]).remove(0);
        assert_eq!(answer.err().map(|fault| fault.code), code);
        assert_eq!(disk.stat_at(&root, other).unwrap().mode.bits(), 0o644);
        kept.transfer(&local).unwrap();
        assert!(kept.stands(&local), "the same again");
    }
}

/// A handle of the one staged file, past the store, and its name.
fn staged_name(disk: &SimulatedDisk) -> Vec<u8> {
    let area = disk.open_child(&disk.root().unwrap(), Name::RESERVED).unwrap();
    let names = disk.list(&area, None, 100).unwrap().names;
    names.into_iter().find(|name| name.ends_with(b".stage")).unwrap()
}

#[test]
fn a_stage_that_has_its_final_name_too_is_never_written() {
    let (first, second) = (object("x", 4 * CHUNK, 1), object("x", 4 * CHUNK, 2));
    for next in [&first, &second] {
        for resume in [Resume::Continue, Resume::Discard] {
            let disk = SimulatedDisk::default();
            drop(first.fill(&store(&disk)).unwrap());
            // A rename in two steps, and its process died between them.
            let (root, stage) = (disk.root().unwrap(), staged_name(&disk));
            let area = disk.open_child(&root, Name::RESERVED).unwrap();
            let name = Name::new(b"x").unwrap();
            disk.link((&area, Name::new(&stage).unwrap()), (&root, name)).unwrap();
            let mut again = next.clone();
            again.spec.resume = resume;
            let local = store(&disk);
            let (sink, _) = again.fill(&local).unwrap();
            assert!(shown(&local, &path("x")).unwrap().0 == first.bytes, "{resume:?}");
            local.commit(vec![again.commit(sink)]).remove(0).unwrap();
            assert!(again.stands(&local));
        }
    }
}

#[test]
fn where_ids_of_mounts_come_again_no_record_is_trusted_for_the_same_one() {
    let new = object("x", 2 * CHUNK + 5, 2);
    for (mount_ids, kept) in [(Reuse::Never, 2 * CHUNK), (Reuse::Possible, CHUNK)] {
        let disk = SimulatedDisk::default();
        disk.set_breaks(Breaks { mount_ids, ..Breaks::default() });
        let local = store(&disk);
        let OpenedSink::Staged { sink, .. } =
            local.open_sink(new.spec.clone(), &|_, _| {}).unwrap()
        else {
            panic!("nothing stands there")
        };
        for chunk in &new.chunks()[..2] {
            sink.write_at(chunk.start(), new.slice(*chunk)).unwrap();
            sink.record(*chunk, &new.digest(*chunk)).unwrap();
        }
        let area = disk.open_child(&disk.root().unwrap(), Name::RESERVED).unwrap();
        let stage = staged_name(&disk);
        let stage = disk.open_file(&area, Name::new(&stage).unwrap(), Access::ReadWrite).unwrap();
        disk.write_at(&stage, Offset::ZERO, b"what was written before the disk was pulled")
            .unwrap();
        drop((sink, stage, local));
        let (_, sent) = new.fill(&store(&disk)).unwrap();
        assert_eq!(sent, 2 * CHUNK + 5 - kept, "{mount_ids:?}");
    }
}

#[test]
fn a_kept_object_that_something_else_changes_or_removes_is_a_conflict() {
    let kept = object("x", 100, 1);
    let change = |disk: &SimulatedDisk| write_past_the_store(disk, "x", b"other");
    let remove = |disk: &SimulatedDisk| {
        let local = store(disk);
        local.remove(&path("x"), Depth::Single, &|| true).unwrap();
    };
    let changes: [&dyn Fn(&SimulatedDisk); 2] = [&change, &remove];
    for happens in changes {
        let disk = SimulatedDisk::default();
        let local = store(&disk);
        kept.transfer(&local).unwrap();
        let OpenedSink::Finished { sink, .. } =
            local.open_sink(kept.spec.clone(), &|_, _| {}).unwrap()
        else {
            panic!("it stands");
        };
        disk.set_now(Timestamp::new(1_800_000_000, 0).unwrap());
        happens(&disk);
        let fault = local.commit(vec![kept.commit(sink)]).remove(0).unwrap_err();
        assert_eq!(fault.code, Code::Conflict);
        kept.transfer(&local).unwrap();
        assert!(kept.stands(&local), "the same again");
    }
}
