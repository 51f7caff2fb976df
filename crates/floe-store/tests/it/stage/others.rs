//! What other processes left, or are at, in the same area.

use super::*;

fn commit(sink: Arc<dyn Sink>, chunks: u64) -> Commit {
    let bytes: Vec<u8> = (0..chunks).flat_map(content).collect();
    Commit::Object { sink, size: ByteCount(chunks * CHUNK), root: Root::of(&bytes) }
}

/// A commit that fails behind its rename.
fn renamed(disk: &SimulatedDisk, store: &dyn Store) -> Arc<dyn Sink> {
    for operations in 0..100 {
        let (sink, _, _) = stage(store, &spec("x", 2));
        (0..2).for_each(|nth| write(&*sink, nth));
        disk.set_breaks(Breaks { operations_max: Some(operations), ..Breaks::default() });
        let answer = store.commit(vec![commit(Arc::clone(&sink), 2)]).remove(0);
        disk.set_breaks(Breaks::default());
        if answer.is_err() && sink.has_final_name() {
            return sink;
        }
    }
    panic!("no operation fails behind the rename");
}

#[test]
fn who_ends_a_commit_takes_no_journal_of_who_began_the_same_key_meanwhile() {
    let disk = SimulatedDisk::default();
    let one = LocalStore::new(disk.clone()).unwrap();
    let first = renamed(&disk, &one);
    let other = LocalStore::new(disk.clone()).unwrap();
    // It stands there, and is written all the same.
    let opened = other.open_sink(spec("x", 2), &|_, _| {}).unwrap();
    let OpenedSink::Finished { sink: second, .. } = opened else { panic!("it stands") };
    write(&*second, 0);
    one.commit(vec![commit(first, 2)]).remove(0).unwrap();
    let left = past_the_store_names(&disk);
    assert!(left.iter().any(|name| name.ends_with(b".journal")), "{left:?}");
    write(&*second, 1);
    other.commit(vec![commit(second, 2)]).remove(0).unwrap();
    drop((one, other));
    assert!(disk.open_child(&disk.root().unwrap(), Name::RESERVED).is_err(), "all is gone");
}

#[test]
fn a_sweep_goes_on_where_one_place_fails() {
    let disk = SimulatedDisk::default();
    let store = LocalStore::new(disk.clone()).unwrap();
    for place in ["a", "b"] {
        store.make_dir(&path(place)).unwrap();
        disk.mount_at(&path(place));
        write(&*stage(&store, &spec(&format!("{place}/x"), 2)).0, 0);
    }
    // Something else has the area's name.
    let root = disk.root().unwrap();
    let a = disk.open_child(&root, Name::new(b"a").unwrap()).unwrap();
    let area = disk.open_child(&a, Name::RESERVED).unwrap();
    for name in disk.list(&area, None, 100).unwrap().names {
        disk.remove_file(&area, Name::new(&name).unwrap()).unwrap();
    }
    disk.remove_directory(&a, Name::RESERVED).unwrap();
    disk.create_file(&a, Name::RESERVED, Mode::from_bits(0o644)).unwrap();
    let b = disk.open_child(&root, Name::new(b"b").unwrap()).unwrap();
    assert!(disk.open_child(&b, Name::RESERVED).is_ok());
    let later = Timestamp::new(1_700_000_000 + 8 * 24 * 3600, 0).unwrap();
    disk.set_now(later);
    assert_eq!(store.sweep(later).unwrap_err().code, Code::NotDirectory);
    assert!(disk.open_child(&b, Name::RESERVED).is_err(), "it went with what was in it");
}

#[test]
fn only_the_very_directory_that_was_lent_gets_its_mode_back_and_only_if_it_has_the_lent_one() {
    type Meanwhile<'a> = &'a dyn Fn(&LocalStore<KernelDisk>, &Path);
    let swapped = |_: &_, root: &Path| {
        std::fs::rename(root.join("d"), root.join("old")).unwrap();
        std::fs::create_dir(root.join("d")).unwrap();
        std::fs::set_permissions(root.join("d"), PermissionsExt::from_mode(0o755)).unwrap();
    };
    let set = |_: &_, root: &Path| {
        std::fs::set_permissions(root.join("d"), PermissionsExt::from_mode(0o711)).unwrap();
    };
    let moved = |store: &LocalStore<KernelDisk>, _: &Path| {
        store.rename(&path("d"), &path("e"), floe_store::Overwrite::Refused).unwrap();
        store.make_dir(&path("d")).unwrap();
    };
    let removed = |store: &LocalStore<KernelDisk>, root: &Path| {
        store.remove(&path("d"), floe_store::Depth::Recursive, &|| true).unwrap();
        std::fs::create_dir(root.join("d")).unwrap();
        std::fs::set_permissions(root.join("d"), PermissionsExt::from_mode(0o511)).unwrap();
        store.begin_directory(&path("d"), Precondition::None).unwrap();
    };
    let cases: [(Meanwhile<'_>, &[(&str, u32)]); 4] = [
        (&swapped, &[("d", 0o755)]),
        (&set, &[("d", 0o711)]),
        (&moved, &[("e", 0o555)]),
        (&removed, &[("d", 0o511)]),
    ];
    for (nth, (meanwhile, modes)) in cases.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let closed = directory.path().join("d");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(&closed, PermissionsExt::from_mode(0o555)).unwrap();
        let store = LocalStore::open(directory.path()).unwrap();
        store.begin_directory(&path("d"), Precondition::None).unwrap();
        meanwhile(&store, directory.path());
        drop(store);
        for (name, mode) in modes {
            let found = std::fs::metadata(directory.path().join(name)).unwrap().permissions();
            assert_eq!(found.mode() & 0o777, *mode, "{nth}: {name}");
        }
    }
}

#[test]
fn a_directory_that_was_exchanged_is_looked_at_anew_when_it_begins() {
    let directory = tempfile::tempdir().unwrap();
    let (root, store) = (directory.path(), LocalStore::open(directory.path()).unwrap());
    let begin = || store.begin_directory(&path("d"), Precondition::None).unwrap();
    begin();
    drop(stage(&store, &spec("d/x", 1)));
    std::fs::rename(root.join("d"), root.join("old")).unwrap();
    std::fs::create_dir_all(root.join("d/y")).unwrap();
    begin();
    let opened = store.open_sink(spec("d/y", 1), &|_, _| {});
    assert_eq!(opened.err().unwrap().code, Code::IsDirectory);
}
