//! Directories where nothing may be replaced, and runs that die: who made one, and what it is in
//! the end.

use super::*;
use floe_store::Begun;
use floe_store::disk::Disk;

fn metadata(mode: u32) -> Metadata {
    Metadata { mode: Mode::from_bits(mode), mtime: Timestamp::new(55, 3).unwrap() }
}

/// As the core has it: what stands there stays as it is, what was made is ended.
fn put_tree(store: &dyn Store, file: &Object, metadata: Metadata) -> Result<(), Fault> {
    let begin = |text| Ok((path(text), store.begin_directory(&path(text), Precondition::Absent)?));
    let begun = [begin("d")?, begin("d/e")?];
    file.transfer(store)?;
    for (path, begun) in begun.into_iter().rev() {
        if begun == Begun::Made {
            store.commit(vec![Commit::Directory { path, metadata }]).remove(0)?;
        }
    }
    Ok(())
}

fn file() -> Object {
    let mut file = object("d/e/x", 100, 1);
    file.spec.precondition = Precondition::Absent;
    file
}

/// A run that dies at an operation.
fn die_at(operation: u64, disk: &SimulatedDisk, metadata: Metadata) {
    let before = store(disk);
    disk.set_breaks(Breaks { operations_max: Some(operation), ..Breaks::default() });
    let _ = put_tree(&before, &file(), metadata);
}

/// Of the changes of one inode that was never synced, a power loss kept a later one alone, or the
/// names in it: no file system with a journal does that.
fn is_lost(disk: &SimulatedDisk, path: &ObjectPath) -> bool {
    let opened = disk.open_directory(&disk.root().unwrap(), path.components());
    let Ok(directory) = opened else { return false };
    let is_empty = disk.list(&directory, None, 1).unwrap().names.is_empty();
    let is_marked = disk.xattr(&directory, "user.floe.begun").unwrap().is_some();
    let mode = disk.stat(&directory).unwrap().mode.bits();
    !is_marked && (mode == 0o700 || mode == 0o600 && !is_empty)
}

fn wanted_or_open(found: Option<(Vec<u8>, Option<Metadata>)>, wanted: Metadata) -> bool {
    let open = Metadata { mode: Mode::from_bits(u32::from(wanted.mode.bits()) | 0o700), ..wanted };
    found.is_some_and(|(_, found)| [Some(wanted), Some(open)].contains(&found))
}

#[test]
fn a_directory_that_a_killed_run_made_gets_its_metadata_where_nothing_may_be_replaced() {
    for wanted in [0o750, 0o555].map(metadata) {
        let run = |disk: &SimulatedDisk| put_tree(&store(disk), &file(), wanted);
        let count = operations(&SimulatedDisk::default, &|disk| run(disk).unwrap());
        for operation in 0..=count {
            let disk = SimulatedDisk::default();
            die_at(operation, &disk, wanted);
            disk.set_breaks(Breaks::default());
            run(&disk).unwrap_or_else(|fault| panic!("operation {operation}: {fault}"));
            disk.cut(operation);
            let after = store(&disk);
            assert!(file().stands(&after), "operation {operation}");
            for path in ["d", "d/e"].map(path) {
                // Where its mode keeps its owner out, it is set behind the mark's end.
                let found = shown(&after, &path);
                assert!(wanted_or_open(found.clone(), wanted), "{operation}: {path}: {found:?}");
            }
        }
    }
}

#[test]
fn a_directory_that_a_run_made_before_a_power_loss_gets_its_metadata() {
    let wanted = metadata(0o750);
    let run = |disk: &SimulatedDisk| put_tree(&store(disk), &file(), wanted);
    let count = operations(&SimulatedDisk::default, &|disk| run(disk).unwrap());
    let mut looks = 0;
    for operation in 0..=count {
        for seed in 0..4 * SEEDS {
            let disk = SimulatedDisk::default();
            die_at(operation, &disk, wanted);
            disk.cut(seed * 10_007 + operation);
            let place = format!("operation {operation}, seed {seed}");
            let kept: Vec<_> =
                ["d", "d/e"].map(path).into_iter().filter(|at| !is_lost(&disk, at)).collect();
            run(&disk).unwrap_or_else(|fault| panic!("{place}: {fault}"));
            disk.cut(seed);
            assert!(file().stands(&store(&disk)), "{place}");
            for path in &kept {
                let found = shown(&store(&disk), path).unwrap().1;
                assert_eq!(found, Some(wanted), "{place}: {path}");
            }
            looks += kept.len();
        }
    }
    assert!(looks > 1000, "{looks}");
}

#[test]
fn a_directory_that_stood_there_is_durable_once_that_is_told() {
    for seed in 0..16 {
        let disk = SimulatedDisk::default();
        // Made by somebody who died, and never ended or synced.
        store(&disk).begin_directory(&path("a/d"), Precondition::None).unwrap();
        let local = store(&disk);
        let begun = local.begin_directory(&path("a/d"), Precondition::Absent).unwrap();
        assert_eq!(begun, Begun::Stood);
        drop(local);
        disk.cut(seed);
        assert!(shown(&store(&disk), &path("a/d")).is_some(), "seed {seed}");
    }
}

/// Then nothing says who made it.
#[test]
fn without_extended_attributes_what_a_killed_run_made_counts_as_having_stood() {
    let disk = SimulatedDisk::default();
    disk.set_breaks(Breaks { without_xattr: true, ..Breaks::default() });
    let begin = || store(&disk).begin_directory(&path("d"), Precondition::Absent).unwrap();
    assert_eq!([begin(), begin()], [Begun::Made, Begun::Stood]);
}

#[test]
fn what_looks_like_a_directory_that_was_just_made_and_holds_something_stood_there() {
    let disk = SimulatedDisk::default();
    let (local, file) = (store(&disk), object("d/x", 10, 1));
    file.transfer(&local).unwrap();
    let commit = Commit::Directory { path: path("d"), metadata: metadata(0o600) };
    local.commit(vec![commit]).remove(0).unwrap();
    let begun = store(&disk).begin_directory(&path("d"), Precondition::Absent).unwrap();
    assert_eq!(begun, Begun::Stood);
    assert_eq!(shown(&local, &path("d")).unwrap().1, Some(metadata(0o600)));
}
