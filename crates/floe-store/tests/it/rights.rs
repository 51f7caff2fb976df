//! What a user without rights may do. Needs to be root to become someone else; passes untested
//! where it is not.

use crate::tree::{Tree, path};
use floe_store::kernel::KernelDisk;
use floe_store::local::LocalStore;
use floe_store::{
    Begun, Commit, Detail, Follow, Journaling, OpenedEntry, OpenedSink, OwnerId, Recognise, Resume,
    RootWanted, SinkSpec, Store,
};
use floe_types::digest::ChunkHasher;
use floe_types::{
    ByteCount, Code, Freshness, Metadata, Mode, Offset, Precondition, Range, Root, Timestamp,
};
use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_res_uid;
use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};

/// Runs `act` on a store that a thread of another user opened; that thread ends with it.
fn as_nobody(tree: &Tree, act: impl FnOnce(LocalStore<KernelDisk>) + Send) {
    if !geteuid().is_root() {
        return;
    }
    set_permissions(tree.at("..").as_path(), Permissions::from_mode(0o755)).unwrap();
    std::thread::scope(|scope| {
        let run = || {
            let nobody = Uid::from_raw(65_534);
            set_thread_res_uid(nobody, nobody, nobody).unwrap();
            act(LocalStore::open(&tree.at("")).unwrap());
        };
        scope.spawn(run).join().unwrap();
    });
}

/// Made by a run that was killed before it marked it; one that its owner may not read; a copy of
/// one that was begun elsewhere.
#[test]
fn a_directory_that_nobody_came_to_mark_is_taken_up_by_its_owner_without_rights() {
    let tree = Tree::new();
    set_mode(&tree, "", 0o777);
    as_nobody(&tree, |store| {
        let make = |name: &str, mode| {
            std::fs::DirBuilder::new().mode(mode).create(tree.at(name)).unwrap();
        };
        let begin = |name: &str| store.begin_directory(&path(name), Precondition::Absent).unwrap();
        make("killed", 0o600);
        make("closed", 0o300);
        assert_eq!((begin("killed"), begin("closed")), (Begun::Made, Begun::Stood));
        assert_eq!(begin("own"), Begun::Made);
        let mark = |name: &str| {
            let mut value = [0; 64];
            let read = rustix::fs::getxattr(tree.at(name), "user.floe.begun", &mut value);
            read.map(|len| value[..len].to_vec())
        };
        make("copy", 0o755);
        let Ok(value) = mark("own") else { return }; // a file system without
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(tree.at("copy"), "user.floe.begun", &value, flags).unwrap();
        assert_eq!(begin("copy"), Begun::Stood);
        for name in ["killed", "own"] {
            let metadata =
                Metadata { mode: Mode::from_bits(0o300), mtime: Timestamp::new(1, 0).unwrap() };
            let commit = Commit::Directory { path: path(name), metadata };
            store.commit(vec![commit]).remove(0).unwrap();
            assert_eq!(tree.at(name).metadata().unwrap().permissions().mode() & 0o777, 0o300);
            assert_eq!(begin(name), Begun::Stood);
        }
    });
}

fn set_mode(tree: &Tree, of: &str, mode: u32) {
    set_permissions(tree.at(of), Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_directory_that_may_only_be_searched_still_leads_to_its_files() {
    let tree = Tree::new();
    tree.file("d/e/f", b"bytes");
    for of in ["", "d", "d/e"] {
        set_mode(&tree, of, 0o711);
    }
    as_nobody(&tree, |store| {
        let OpenedEntry::File { source, .. } = store.open(&path("d/e/f"), Follow::No).unwrap()
        else {
            panic!("a file")
        };
        assert_eq!(source.read_at(Offset::ZERO, &mut [0; 9]).unwrap(), 5);
        for of in ["", "d"] {
            let fault = store.list(&path(of), None, 9, Detail::Names).unwrap_err();
            assert_eq!(fault.code, Code::PermissionDenied, "{of}");
        }
        let fault = store.make_dir(&path("d/new")).unwrap_err();
        assert_eq!(fault.to_string(), "make directory \"d/new\": permission denied");
    });
}

#[test]
fn a_file_that_may_not_be_read_still_has_a_size() {
    let tree = Tree::new();
    tree.file("f", b"bytes");
    set_mode(&tree, "f", 0o600);
    set_mode(&tree, "", 0o755);
    as_nobody(&tree, |store| {
        let stat = store.stat(&path("f"), RootWanted::IfKnown, &|_, _| {}).unwrap();
        assert_eq!((stat.size, stat.root), (ByteCount(5), None));
        let page = store.list(&path(""), None, 9, Detail::Stats).unwrap();
        assert_eq!(page.names[0].stat, Some(stat));
        let refused = store.stat(&path("f"), RootWanted::Computed, &|_, _| {}).unwrap_err();
        assert_eq!(refused.code, Code::PermissionDenied);
        let refused = store.open(&path("f"), Follow::Yes).err().unwrap();
        assert_eq!(refused.to_string(), "open \"f\": permission denied");
    });
}

#[test]
fn nothing_is_staged_in_another_users_area() {
    if !geteuid().is_root() {
        return;
    }
    let tree = Tree::new();
    std::fs::create_dir(tree.at(".floe")).unwrap();
    std::os::unix::fs::chown(tree.at(".floe"), Some(65_534), None).unwrap();
    let refused = tree.store().root_id().unwrap_err();
    assert_eq!(refused.code, Code::PermissionDenied);
    assert!(refused.to_string().contains("another user"), "{refused}");
    assert_eq!(std::fs::read_dir(tree.at(".floe")).unwrap().count(), 0);
}

#[test]
fn small_files_that_may_not_be_written_wait_for_their_commit_without_a_descriptor() {
    let tree = Tree::new();
    let mtime = Timestamp::new(10, 0).unwrap();
    let stage = |nth: u32| {
        let spec = SinkSpec {
            path: path(&format!("f{nth}")),
            owner: OwnerId([3; 32]),
            size: Some(ByteCount(5)),
            holes: ByteCount::ZERO,
            version: None,
            freshness: Freshness::Settled,
            metadata: Metadata { mode: Mode::from_bits(0o444), mtime },
            precondition: Precondition::None,
            resume: Resume::Continue,
            recognise: Recognise::ByVersion,
            journaling: Journaling::None,
        };
        let OpenedSink::Staged { sink, .. } = tree.store().open_sink(spec, &|_, _| {}).unwrap()
        else {
            panic!("nothing stands there")
        };
        sink.write_at(Offset::ZERO, b"bytes").unwrap();
        let mut hasher = ChunkHasher::new(Offset::ZERO);
        hasher.update(b"bytes");
        let chunk = Range::new(Offset::ZERO, Offset(5));
        sink.record(chunk, &hasher.finish().unwrap()).unwrap();
        sink
    };
    let sinks: Vec<_> = (0..20).map(stage).collect();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| {
        let file = std::fs::read_link(entry.ok()?.path()).ok()?;
        let name = file.file_name()?.to_str()?.to_owned();
        (file.starts_with(tree.at(".floe")) && name.contains('-')).then_some(name)
    });
    assert_eq!(open.count(), 0);
    let (size, root) = (ByteCount(5), Root::of(b"bytes"));
    let batch = sinks.into_iter().map(|sink| Commit::Object { sink, size, root }).collect();
    assert!(tree.store().commit(batch).iter().all(Result::is_ok));
    let mode = std::fs::metadata(tree.at("f7")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o444);
}

/// It is marked, and the mark goes before the mode that would keep it there.
#[test]
fn a_directory_whose_mode_keeps_its_owner_out_is_ended_by_who_may_not_write_it_then() {
    let tree = Tree::new();
    set_mode(&tree, "", 0o777);
    as_nobody(&tree, |store| {
        let d = path("d");
        let begin = |store: &LocalStore<KernelDisk>| {
            store.begin_directory(&d, Precondition::Absent).unwrap()
        };
        assert_eq!(begin(&store), Begun::Made);
        drop(store);
        let store = LocalStore::open(&tree.at("")).unwrap();
        assert_eq!(begin(&store), Begun::Made);
        let metadata = Metadata { mode: Mode::from_bits(0o555), mtime: Timestamp::default() };
        store.commit(vec![Commit::Directory { path: d.clone(), metadata }]).remove(0).unwrap();
        assert_eq!(begin(&store), Begun::Stood);
        let stat = store.stat(&d, RootWanted::IfKnown, &|_, _| {}).unwrap();
        assert_eq!(stat.metadata, metadata);
    });
}
