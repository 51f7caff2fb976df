//! The disk of this machine, method by method, where no other test goes.

use crate::tree::{Tree, path};
use floe_store::disk::{Access, Disk, DiskError, FileKind, Lock, Name, XATTR_BYTES_MAX};
use floe_store::{Commit, Overwrite, Store};
use floe_types::{ByteCount, Code, Metadata, Mode, Offset, Range, Timestamp};
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn name(text: &str) -> Name<'_> {
    Name::new(text.as_bytes()).unwrap()
}

const MODE: Mode = Mode::from_bits(0o640);

#[test]
fn writes_reads_cuts_and_punches() {
    let tree = Tree::new();
    let disk = tree.disk();
    let root = disk.root().unwrap();
    let file = disk.create_file(&root, name("f"), MODE).unwrap();
    let again = disk.create_file(&root, name("f"), MODE).map_err(DiskError::code);
    assert_eq!(again.err(), Some(Code::Exists));
    let (whole, size) = (Range::new(Offset(0), Offset(1 << 20)), ByteCount(1 << 20));
    disk.allocate(&file, whole).unwrap();
    assert_eq!(disk.stat(&file).unwrap().size, ByteCount(0), "the size stays");
    assert!(std::fs::metadata(tree.at("f")).unwrap().blocks() >= 2048, "the space is there");
    disk.write_at(&file, Offset(0), &vec![7; 1 << 20]).unwrap();
    disk.start_write_back(&file, whole).unwrap();
    disk.sync_data(&file).unwrap();
    disk.punch(&file, Range::new(Offset(4096), Offset(8192))).unwrap();
    let mut into = [1; 8192];
    assert_eq!(disk.read_at(&file, Offset(0), &mut into).unwrap(), 8192);
    assert!(into[..4096].iter().all(|byte| *byte == 7));
    assert!(into[4096..].iter().all(|byte| *byte == 0));
    assert_eq!(disk.stat(&file).unwrap().size, size);
    disk.drop_cache(&file, whole).unwrap();
    disk.truncate(&file, ByteCount(10)).unwrap();
    disk.sync_file(&file).unwrap();
    assert_eq!(disk.read_at(&file, Offset(3), &mut into).unwrap(), 7);
    assert_eq!(disk.read_at(&file, Offset(10), &mut into).unwrap(), 0);
    disk.allocate(&file, Range::new(Offset(5), Offset(5))).unwrap();
    for beyond in [Offset(u64::MAX), Offset(1 << 63)] {
        assert_eq!(disk.write_at(&file, beyond, b"x").unwrap_err().code(), Code::LimitExceeded);
    }
    disk.sync_directory(&root).unwrap();
    disk.sync_file_system(&root).unwrap();
}

#[test]
fn what_memory_holds_is_read_without_waiting() {
    let tree = Tree::new();
    let disk = tree.disk();
    let root = disk.root().unwrap();
    let file = disk.create_file(&root, name("f"), MODE).unwrap();
    disk.write_at(&file, Offset(0), b"just written").unwrap();
    let mut into = [0; 64];
    // A file system may not offer it; then it says so, and never waits.
    if let Some(count) = disk.read_cached(&file, Offset(5), &mut into).unwrap() {
        assert_eq!(&into[..count], b"written");
    }
}

#[test]
fn sets_modes_times_and_attributes() {
    let tree = Tree::new();
    let disk = tree.disk();
    let root = disk.root().unwrap();
    let file = disk.create_file(&root, name("f"), MODE).unwrap();
    let time = Timestamp::new(-5, 123_456_789).unwrap();
    disk.set_mtime(&file, time).unwrap();
    disk.set_mode(&file, Mode::from_bits(0o604)).unwrap();
    let stat = disk.stat_at(&root, name("f")).unwrap();
    assert_eq!((stat.mtime, stat.mode), (time, Mode::from_bits(0o604)));
    disk.make_link(&root, name("l"), b"f").unwrap();
    let later = Timestamp::new(1_000_000_000, 1).unwrap();
    disk.set_mtime_at(&root, name("l"), later).unwrap();
    assert_eq!(disk.stat_at(&root, name("l")).unwrap().mtime, later);
    assert_eq!(disk.stat(&file).unwrap().mtime, time, "the link's own time was set");
    disk.make_directory(&root, name("d"), Mode::from_bits(0o700)).unwrap();
    let directory = disk.open_child(&root, name("d")).unwrap();
    disk.set_mode(&directory, Mode::from_bits(0o555)).unwrap();
    disk.set_mtime(&directory, time).unwrap();
    assert_eq!(disk.stat(&directory).unwrap().mtime, time);

    assert_eq!(disk.xattr(&file, "user.floe").unwrap(), None);
    disk.set_xattr(&file, "user.floe", &[9; 100]).unwrap();
    disk.set_xattr(&file, "user.floe", &[8; 68]).unwrap();
    assert_eq!(disk.xattr(&file, "user.floe").unwrap(), Some(vec![8; 68]));
    disk.set_xattr(&file, "user.floe", &[8; XATTR_BYTES_MAX + 1]).unwrap();
    assert_eq!(disk.xattr(&file, "user.floe").unwrap(), None, "longer than any of ours");
    disk.remove_xattr(&file, "user.floe").unwrap();
    disk.remove_xattr(&file, "user.floe").unwrap();
}

#[test]
fn a_lock_is_had_once_and_ends_with_its_handle() {
    let tree = Tree::new();
    let disk = tree.disk();
    let root = disk.root().unwrap();
    let first = disk.create_file(&root, name("f"), MODE).unwrap();
    let second = disk.open_file(&root, name("f"), Access::ReadWrite).unwrap();
    assert_eq!(disk.try_lock(&first).unwrap(), Lock::Taken);
    assert_eq!(disk.try_lock(&second).unwrap(), Lock::HeldElsewhere);
    drop(first);
    assert_eq!(disk.try_lock(&second).unwrap(), Lock::Taken);
}

#[test]
fn names_are_linked_renamed_and_removed() {
    let tree = Tree::new();
    let disk = tree.disk();
    let root = disk.root().unwrap();
    drop(disk.create_file(&root, name("f"), MODE).unwrap());
    disk.make_directory(&root, Name::RESERVED, Mode::from_bits(0o700)).unwrap();
    let stages = disk.open_child(&root, Name::RESERVED).unwrap();
    disk.link((&root, name("f")), (&stages, name("g"))).unwrap();
    assert_eq!(disk.stat_at(&stages, name("g")).unwrap().links, 2);
    let taken = disk.link((&root, name("f")), (&stages, name("g"))).unwrap_err();
    assert_eq!(taken.code(), Code::Exists);
    let refused =
        disk.rename((&stages, name("g")), (&root, name("f")), Overwrite::Refused).unwrap_err();
    assert_eq!(refused.code(), Code::Exists);
    disk.rename((&stages, name("g")), (&root, name("h")), Overwrite::Refused).unwrap();
    assert_eq!(disk.remove_file(&root, Name::RESERVED).unwrap_err().code(), Code::IsDirectory);
    assert_eq!(disk.remove_directory(&root, name("h")).unwrap_err().code(), Code::NotDirectory);
    disk.remove_directory(&root, Name::RESERVED).unwrap();
    assert_eq!(
        disk.open_file(&root, name("no"), Access::Read).err().unwrap().code(),
        Code::NotFound
    );
    assert_eq!(disk.stat(&root).unwrap().kind, FileKind::Directory);
}

#[test]
fn two_file_systems_are_told_from_every_other_failure() {
    let (here, memory) = (Tree::new(), std::path::Path::new("/dev/shm"));
    let there = tempfile::tempdir_in(memory).unwrap();
    let (a, b) = (here.disk(), floe_store::kernel::KernelDisk::open(there.path()).unwrap());
    let (from, to) = (a.root().unwrap(), b.root().unwrap());
    if a.file_system(&from).unwrap().mount_id == b.file_system(&to).unwrap().mount_id {
        return; // the temporary directory is in memory too
    }
    drop(a.create_file(&from, name("f"), MODE).unwrap());
    let moved = a.rename((&from, name("f")), (&to, name("f")), Overwrite::Allowed).unwrap_err();
    assert!(moved.is_cross_device());
    let missing = a.rename((&from, name("g")), (&from, name("h")), Overwrite::Allowed);
    assert!(!missing.unwrap_err().is_cross_device());
}

#[test]
fn says_where_it_is() {
    let tree = Tree::new();
    let disk = tree.disk();
    let root = disk.root().unwrap();
    assert_eq!(disk.file_system(&root).unwrap(), disk.file_system(&root).unwrap());
    assert!(disk.free_space(&root).unwrap() > ByteCount(0));
    assert_eq!(disk.boot_id().unwrap(), disk.boot_id().unwrap());
    assert!(disk.now().secs() > 1_700_000_000);
}

#[test]
fn a_root_that_is_no_directory_is_refused() {
    let tree = Tree::new();
    tree.file("f", b"");
    let open = |of: &str| {
        floe_store::kernel::KernelDisk::open(&tree.at(of)).map_err(DiskError::code).err()
    };
    assert_eq!(open("f"), Some(Code::NotDirectory));
    assert_eq!(open("no"), Some(Code::NotFound));
}

#[test]
fn a_directory_keeps_its_bits_beyond_permissions() {
    let tree = Tree::new();
    for bits in [0o2775, 0o1777, 0o2555] {
        std::fs::create_dir(tree.at("d")).unwrap();
        std::fs::set_permissions(tree.at("d"), Permissions::from_mode(bits)).unwrap();
        let mode = || std::fs::metadata(tree.at("d")).unwrap().mode() & 0o7777;
        tree.store().begin_directory(&path("d"), floe_types::Precondition::None).unwrap();
        assert_eq!(mode(), bits | 0o700);
        let metadata = Metadata { mode: Mode::from_bits(0o750), mtime: Timestamp::default() };
        let commit = Commit::Directory { path: path("d"), metadata };
        tree.store().commit(vec![commit]).remove(0).unwrap();
        assert_eq!(mode(), bits & 0o7000 | 0o750);
        std::fs::remove_dir(tree.at("d")).unwrap();
    }
}
