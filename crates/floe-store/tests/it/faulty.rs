//! The disk that breaks by a seed.

use crate::tree::{Tree, path};
use floe_store::disk::{Access, Disk, Name};
use floe_store::faulty::{Chance, Faults, FaultyDisk, Injected, Offer};
use floe_store::local::LocalStore;
use floe_store::{Depth, Follow, OpenedEntry, RootWanted, Store};
use floe_types::{ByteCount, Code, Mode, Offset, Root};

const MODE: Mode = Mode::from_bits(0o600);

fn name() -> Name<'static> {
    Name::new(b"f").unwrap()
}

/// What a fixed sequence of operations meets: one letter each.
fn fates(seed: u64, faults: Faults) -> (String, Injected) {
    let tree = Tree::new();
    tree.file("f", &[3; 4096]);
    let root = tree.disk().root().unwrap();
    let disk = FaultyDisk::new(tree.disk(), seed, faults);
    let mut letters = String::new();
    for nth in 0..200_u64 {
        let Ok(file) = disk.open_file(&root, name(), Access::ReadWrite) else {
            letters.push('o');
            continue;
        };
        let mut into = [0; 1000];
        letters.push(match disk.read_at(&file, Offset(nth), &mut into) {
            Ok(1000) => '.',
            Ok(0) => panic!("a short read is never an end"),
            Ok(_) => 's',
            Err(_) => 'r',
        });
        letters.push(match disk.write_at(&file, Offset(nth), &[3; 100]) {
            Ok(()) => '.',
            Err(error) if error.code() == Code::NoSpace => 'n',
            Err(_) => 'w',
        });
        letters.push(if disk.sync_data(&file).is_ok() { '.' } else { 'f' });
    }
    (letters, disk.injected())
}

fn count(letters: &str, letter: char) -> u64 {
    letters.chars().filter(|found| *found == letter).count() as u64
}

#[test]
fn the_same_seed_meets_the_same_fate_and_counts_it() {
    let faults = Faults {
        short_read: Chance(1000),
        read_error: Chance(300),
        write_error: Chance(300),
        sync_error: Chance(500),
        lookup_error: Chance(200),
        ..Faults::default()
    };
    let (first, counts) = fates(1, faults);
    assert_eq!((first.clone(), counts), fates(1, faults));
    assert_ne!(first, fates(2, faults).0);
    assert_eq!(count(&first, 's'), counts.short_reads);
    assert_eq!(count(&first, 'r'), counts.read_errors);
    assert_eq!(count(&first, 'w'), counts.write_errors);
    assert_eq!(count(&first, 'f'), counts.sync_errors);
    assert_eq!(count(&first, 'o'), counts.lookup_errors);
    assert!(counts.short_reads > 0 && counts.sync_errors > 0 && counts.read_errors > 0);
}

#[test]
fn without_faults_it_is_the_disk_below() {
    let (letters, counts) = fates(9, Faults::default());
    assert_eq!(letters, "...".repeat(200));
    assert_eq!(counts, Injected::default());
}

#[test]
fn a_full_disk_takes_a_part_and_then_nothing() {
    let tree = Tree::new();
    let faults = Faults { space_bytes_max: Some(ByteCount(250)), ..Faults::default() };
    let disk = FaultyDisk::new(tree.disk(), 0, faults);
    let root = disk.root().unwrap();
    let file = disk.create_file(&root, name(), MODE).unwrap();
    let write = |at| disk.write_at(&file, Offset(at), &[1; 100]).map_err(|error| error.code());
    assert_eq!(
        [write(0), write(100), write(200), write(300)],
        [Ok(()), Ok(()), Err(Code::NoSpace), Err(Code::NoSpace)]
    );
    assert_eq!(disk.stat(&file).unwrap().size, ByteCount(250));
    assert_eq!(disk.injected().no_space, 2);
}

#[test]
fn a_name_can_change_although_it_failed() {
    let tree = Tree::new();
    let faults = Faults { name_error_after: Chance::ALWAYS, ..Faults::default() };
    let disk = FaultyDisk::new(tree.disk(), 0, faults);
    let root = disk.root().unwrap();
    assert_eq!(disk.create_file(&root, name(), MODE).err().unwrap().code(), Code::Io);
    assert!(tree.at("f").exists());
    let before =
        FaultyDisk::new(tree.disk(), 0, Faults { name_error: Chance::ALWAYS, ..Faults::default() });
    assert_eq!(before.remove_file(&root, name()).unwrap_err().code(), Code::Io);
    assert!(tree.at("f").exists());
}

#[test]
fn a_device_that_is_gone_stays_gone() {
    let tree = Tree::new();
    let faults = Faults { operations_max: Some(2), ..Faults::default() };
    let disk = FaultyDisk::new(tree.disk(), 0, faults);
    let root = disk.root().unwrap();
    let file = disk.create_file(&root, name(), MODE).unwrap();
    for _ in 0..3 {
        assert_eq!(disk.sync_file(&file).unwrap_err().code(), Code::Io);
    }
    assert_eq!((disk.operations(), disk.injected().gone), (5, 3));
}

#[test]
fn what_is_not_offered_is_refused() {
    let tree = Tree::new();
    let faults = Faults {
        without_xattr: Offer::Refused,
        without_allocate: Offer::Refused,
        cache_miss: Chance::ALWAYS,
        metadata_error: Chance::NEVER,
        ..Faults::default()
    };
    let disk = FaultyDisk::new(tree.disk(), 0, faults);
    let root = disk.root().unwrap();
    let file = disk.create_file(&root, name(), MODE).unwrap();
    assert_eq!(disk.set_xattr(&file, "user.floe", b"x").unwrap_err().code(), Code::Unsupported);
    assert_eq!(disk.xattr(&file, "user.floe").unwrap(), None);
    let range = floe_types::Range::new(Offset(0), Offset(1));
    assert_eq!(disk.allocate(&file, range).unwrap_err().code(), Code::Unsupported);
    assert_eq!(disk.read_cached(&file, Offset(0), &mut [0; 4]).unwrap(), None);
}

#[test]
fn a_short_read_gives_something() {
    let tree = Tree::new();
    tree.file("f", b"0123456789");
    let faults = Faults { short_read: Chance::ALWAYS, ..Faults::default() };
    let disk = FaultyDisk::new(tree.disk(), 5, faults);
    let root = disk.root().unwrap();
    let file = disk.open_file(&root, name(), Access::Read).unwrap();
    for _ in 0..100 {
        assert_eq!(disk.read_at(&file, Offset(3), &mut [0; 2]).unwrap(), 1);
        assert!((1..4).contains(&disk.read_at(&file, Offset(3), &mut [0; 4]).unwrap()));
    }
}

#[test]
fn a_source_fills_what_the_disk_gives_in_bits() {
    let tree = Tree::new();
    let bytes: Vec<u8> = (0..20_000_u32).map(|nth| nth.to_be_bytes()[3]).collect();
    tree.file("f", &bytes);
    let faults = Faults { short_read: Chance(9000), ..Faults::default() };
    let store = LocalStore::new(FaultyDisk::new(tree.disk(), 6, faults)).unwrap();
    let OpenedEntry::File { source, .. } = store.open(&path("f"), Follow::No).unwrap() else {
        panic!("f is a file")
    };
    let mut into = vec![0; 30_000];
    assert_eq!(source.read_at(Offset(100), &mut into).unwrap(), 19_900);
    assert_eq!(into[..19_900], bytes[100..]);
    let stat = store.stat(&path("f"), RootWanted::Computed, &|_, _| {}).unwrap();
    assert_eq!(stat.root, Some(Root::of(&bytes)));
}

#[test]
fn removal_on_a_failing_disk_says_so_and_goes_on_when_asked_again() {
    let tree = Tree::new();
    for nth in 0..60 {
        tree.file(&format!("d/{}/{}/{nth}", nth % 5, nth % 3), b"x");
    }
    let faults = Faults {
        lookup_error: Chance(300),
        name_error: Chance(300),
        name_error_after: Chance(300),
        sync_error: Chance(300),
        ..Faults::default()
    };
    let store = (0..100)
        .find_map(|seed| LocalStore::new(FaultyDisk::new(tree.disk(), seed, faults)).ok())
        .unwrap();
    let mut failures = 0;
    for _ in 0..1000 {
        match store.remove(&path("d"), Depth::Recursive, &|| true) {
            Ok(()) => break,
            Err(fault) if fault.code == Code::Io => failures += 1,
            Err(fault) if fault.code == Code::NotFound => break, // gone, though it said not
            Err(fault) => panic!("{fault}"),
        }
    }
    assert!(failures > 0);
    assert!(!tree.at("d").exists());
}
