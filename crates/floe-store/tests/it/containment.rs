//! Attempts to leave the root, to reach `.floe`, and to hang a thread.

use crate::tree::{Tree, path};
use floe_store::disk::{Access, Disk, DiskError, Name};
use floe_store::kernel::KernelDisk;
use floe_store::local::LocalStore;
use floe_store::{Depth, Detail, Follow, OpenedEntry, Overwrite, RootWanted, Store};
use floe_types::{Code, Component, Mode, Offset};
use rustix::fs::{CWD, FileType, RenameFlags, inotify, mknodat, renameat_with};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn read(tree: &Tree, of: &str, follow: Follow) -> Result<Vec<u8>, Code> {
    match tree.store().open(&path(of), follow).map_err(|fault| fault.code)? {
        OpenedEntry::File { source, .. } => {
            let mut into = vec![0; 64];
            let count = source.read_at(Offset::ZERO, &mut into).map_err(|fault| fault.code)?;
            into.truncate(count);
            Ok(into)
        }
        OpenedEntry::Directory { .. } => Ok(b"directory".to_vec()),
        OpenedEntry::Link { .. } => Ok(b"link".to_vec()),
    }
}

#[test]
fn no_link_is_passed_on_a_path_that_writes() {
    let tree = Tree::new();
    tree.file("d/f", b"f");
    tree.file("g", b"g");
    tree.link("../outside", "out");
    tree.link("d", "in");
    for link in ["out", "in"] {
        let inside = |name: &str| path(&format!("{link}/{name}"));
        let store = tree.store();
        let codes = [
            store.make_dir(&inside("x")),
            store.make_dir(&inside("x/y")),
            store.make_dir(&path(link)),
            store.remove(&inside("secret"), Depth::Single, &|| true),
            store.remove(&inside("f"), Depth::Recursive, &|| true),
            store.rename(&path("g"), &inside("g"), Overwrite::Allowed),
            store.rename(&inside("secret"), &path("h"), Overwrite::Allowed),
        ]
        .map(|answer| answer.map_err(|fault| fault.code));
        assert_eq!(codes, [Err(Code::NotDirectory); 7], "{link}");
    }
    assert!(tree.at("d/f").exists());
    tree.store().remove(&path("out"), Depth::Recursive, &|| true).unwrap();
    tree.assert_contained();
}

#[test]
fn links_that_stay_beneath_are_followed_to_read() {
    let tree = Tree::new();
    tree.file("d/e/f", b"inside");
    tree.link("d/e", "e");
    tree.link("../e/./../e/f", "d/up");
    tree.link("e", "twice");
    tree.link("..", "d/e/parent");
    tree.link(".", "here");
    for of in ["e/f", "twice/f", "here/here/e/f", "e/parent/e/f", "d/e/parent/up"] {
        assert_eq!(read(&tree, of, Follow::Yes).as_deref(), Ok(&b"inside"[..]), "{of}");
    }
    assert_eq!(read(&tree, "d/up", Follow::No).as_deref(), Ok(&b"link"[..]));
    assert_eq!(read(&tree, "twice", Follow::Yes).as_deref(), Ok(&b"directory"[..]));
    assert_eq!(read(&tree, "here", Follow::Yes).as_deref(), Ok(&b"directory"[..]));
    for of in ["e", "twice", "here/d/e", "d/e/parent/e"] {
        let page = tree.store().list(&path(of), None, 10, Detail::Names).unwrap();
        let names: Vec<_> = page.names.iter().map(|listed| listed.name.to_string()).collect();
        assert_eq!(names, ["f", "parent"], "{of}");
    }
}

#[test]
fn links_that_lead_out_are_refused() {
    let tree = Tree::new();
    tree.file("d/f", b"inside");
    tree.link("../outside", "out");
    tree.link("d/../../outside", "winding");
    tree.link("out/secret", "chained");
    tree.link("../../outside/secret", "d/file");
    symlink(tree.outside(), tree.at("absolute")).unwrap();
    symlink(tree.at("d"), tree.at("absolute-inside")).unwrap();
    symlink("/proc/self/root", tree.at("magic")).unwrap();
    let refused = Err(Code::PermissionDenied);
    for of in ["out/secret", "winding/secret", "absolute/secret", "absolute-inside/f", "magic/etc"]
    {
        assert_eq!(read(&tree, of, Follow::No), refused, "{of}");
        assert_eq!(read(&tree, of, Follow::Yes), refused, "{of}");
    }
    for of in ["chained", "d/file", "out", "magic"] {
        assert_eq!(read(&tree, of, Follow::Yes), refused, "{of}");
        assert_eq!(read(&tree, of, Follow::No).as_deref(), Ok(&b"link"[..]), "{of}");
    }
    for of in ["out", "winding", "absolute", "magic"] {
        let fault = tree.store().list(&path(of), None, 10, Detail::Stats).unwrap_err();
        assert_eq!(fault.code, Code::PermissionDenied, "{of}");
    }
}

#[test]
fn no_link_leads_to_the_stages() {
    let tree = Tree::new();
    tree.file(".floe/stage", b"partial");
    tree.file("d/.floe/stage", b"partial");
    tree.link(".floe", "a");
    tree.link("../.floe/stage", "d/b");
    tree.link("d/../.floe", "c");
    tree.link("a/stage", "e");
    tree.link("d/.floe", "f");
    for of in ["a/stage", "d/b", "c/stage", "e", "a", "f/stage"] {
        assert_eq!(read(&tree, of, Follow::Yes), Err(Code::NotFound), "{of}");
    }
    for of in ["a", "c", "f"] {
        let fault = tree.store().list(&path(of), None, 10, Detail::Names).unwrap_err();
        assert_eq!(fault.code, Code::NotFound, "{of}");
    }
    let page = tree.store().list(&path("d"), None, 10, Detail::Names).unwrap();
    assert_eq!(page.names.len(), 1, "only b");
}

#[test]
fn links_without_end_are_bounded() {
    let tree = Tree::new();
    tree.link("loop", "loop");
    tree.link("pong/x", "ping");
    tree.link("ping/x", "pong");
    tree.link(&"./".repeat(1500), "dots");
    tree.link(&"d/../".repeat(700), "winding");
    std::fs::create_dir(tree.at("d")).unwrap();
    tree.link("nowhere", "dangling");
    for nth in 0..60 {
        tree.link(&format!("chain-{}", nth + 1), &format!("chain-{nth}"));
    }
    tree.file("chain-60", b"end");
    for (of, answer) in [
        ("loop", Err(Code::LimitExceeded)),
        ("loop/x", Err(Code::LimitExceeded)),
        ("ping", Err(Code::LimitExceeded)),
        ("winding", Err(Code::LimitExceeded)),
        ("chain-0", Err(Code::LimitExceeded)),
        ("chain-25", Ok(b"end".to_vec())),
        ("dots", Ok(b"directory".to_vec())),
        ("dangling", Err(Code::NotFound)),
        ("dangling/x", Err(Code::NotFound)),
    ] {
        assert_eq!(read(&tree, of, Follow::Yes), answer, "{of}");
    }
}

#[test]
fn devices_sockets_and_fifos_are_neither_opened_nor_waited_for() {
    let tree = Tree::new();
    let fifo = tree.at("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    let _socket = UnixListener::bind(tree.at("socket")).unwrap();
    tree.link("fifo", "to-fifo");
    for of in ["fifo", "socket", "to-fifo"] {
        assert_eq!(read(&tree, of, Follow::Yes), Err(Code::NotRegular), "{of}");
    }
    let stat = tree.store().stat(&path("fifo"), RootWanted::Computed, &|_, _| {});
    assert_eq!(stat.unwrap_err().code, Code::NotRegular);
    let page = tree.store().list(&path(""), None, 10, Detail::Stats).unwrap();
    let known: Vec<_> = page.names.iter().map(|listed| listed.stat.is_some()).collect();
    assert_eq!(known, [false, false, true]);
    let (disk, name) = (tree.disk(), Name::new(b"fifo").unwrap());
    let root = disk.root().unwrap();
    for access in [Access::Read, Access::ReadWrite] {
        assert_eq!(
            disk.open_file(&root, name, access).map_err(DiskError::code).err(),
            Some(Code::NotRegular)
        );
    }
    tree.store().remove(&path("fifo"), Depth::Single, &|| true).unwrap();

    let devices = LocalStore::open(Path::new("/dev")).unwrap();
    let null = devices.open(&path("null"), Follow::Yes).err().unwrap();
    assert_eq!(null.to_string(), "open \"null\": is not a regular file");
}

#[test]
fn a_fifo_is_not_even_opened() {
    let tree = Tree::new();
    let fifo = tree.at("fifo");
    mknodat(CWD, &fifo, FileType::Fifo, rustix::fs::Mode::RWXU, 0).unwrap();
    tree.file("file", b"");
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, &fifo, inotify::WatchFlags::OPEN).unwrap();
    assert_eq!(read(&tree, "fifo", Follow::Yes), Err(Code::NotRegular));
    let (disk, name) = (tree.disk(), Name::new(b"fifo").unwrap());
    let root = disk.root().unwrap();
    assert!(disk.open_file(&root, name, Access::Read).is_err());
    let mut buffer = [0; 64];
    assert_eq!(rustix::io::read(&watch, &mut buffer), Err(rustix::io::Errno::AGAIN));
    inotify::add_watch(&watch, tree.at("file"), inotify::WatchFlags::OPEN).unwrap();
    assert_eq!(read(&tree, "file", Follow::Yes).as_deref(), Ok(&b""[..]));
    assert!(rustix::io::read(&watch, &mut buffer).is_ok(), "an open is seen");
}

#[test]
fn magic_links_lead_nowhere() {
    let disk = KernelDisk::open(Path::new("/proc/self")).unwrap();
    let root = disk.root().unwrap();
    for name in ["root", "cwd"] {
        let component = Component::new(name.as_bytes()).unwrap();
        let opened = disk.open_directory(&root, std::slice::from_ref(&component));
        assert_eq!(opened.map_err(DiskError::code).err(), Some(Code::NotDirectory));
        let child = disk.open_child(&root, Name::from(&component));
        assert_eq!(child.map_err(DiskError::code).err(), Some(Code::NotDirectory));
    }
    let exe = disk.open_file(&root, Name::new(b"exe").unwrap(), Access::Read);
    assert_eq!(exe.map_err(DiskError::code).err(), Some(Code::NotRegular));
    let proc = LocalStore::new(disk).unwrap();
    for of in ["root/etc", "cwd/x", "exe"] {
        let fault = proc.open(&path(of), Follow::Yes).err().unwrap();
        assert_eq!(fault.code, Code::PermissionDenied, "{of}");
    }
}

#[test]
fn no_name_of_the_stores_own_can_be_a_path() {
    for bad in [&b""[..], b".", b"..", b"a/b", b"a\0b", &[b'x'; 256]] {
        assert!(Name::new(bad).is_none());
    }
    assert_eq!(Name::new(b".floe"), Some(Name::RESERVED));
}

/// Ends the exchanging thread, also where the test panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Exchanges a directory and a link to the outside as fast as it can, while `act` runs.
fn while_swapped(tree: &Tree, act: impl Fn()) {
    std::fs::create_dir(tree.at("d")).unwrap();
    tree.file("d/secret", b"inside");
    tree.link("../outside", "swap");
    let (a, b, done) = (tree.at("d"), tree.at("swap"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let _done = Done(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // Either may be gone for a moment; then there is nothing to exchange.
                let _ = renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE);
            }
        });
        act();
    });
    tree.assert_contained();
}

#[test]
fn a_link_swapped_in_while_reading_is_never_followed_out() {
    let tree = Tree::new();
    while_swapped(&tree, || {
        let mut inside = 0;
        for _ in 0..4000 {
            match read(&tree, "d/secret", Follow::Yes) {
                Ok(bytes) => {
                    assert_eq!(bytes, b"inside");
                    inside += 1;
                }
                Err(Code::PermissionDenied | Code::NotDirectory | Code::NotFound) => {}
                Err(code) => panic!("{code:?}"),
            }
            if let Ok(page) = tree.store().list(&path("d"), None, 9, Detail::Stats)
                && let Some(stat) = page.names.first().and_then(|listed| listed.stat.as_ref())
            {
                assert_eq!(stat.size.0, 6);
            }
        }
        assert!(inside > 0, "the race never went our way");
    });
}

#[test]
fn a_link_swapped_in_while_writing_is_never_followed_out() {
    let tree = Tree::new();
    while_swapped(&tree, || {
        for _ in 0..250 {
            let _ = tree.store().make_dir(&path("d/new/newer"));
            let _ = tree.store().remove(&path("d/new"), Depth::Recursive, &|| true);
            let _ = tree.store().rename(&path("d/secret"), &path("d/moved"), Overwrite::Allowed);
            let _ = tree.store().rename(&path("d/moved"), &path("d/secret"), Overwrite::Allowed);
        }
    });
}

#[test]
fn a_link_swapped_in_while_removing_costs_only_the_link() {
    let tree = Tree::new();
    while_swapped(&tree, || {
        for _ in 0..150 {
            let _ = std::fs::create_dir_all(tree.at("top/d/e"));
            let _ = std::fs::write(tree.at("top/d/e/secret"), b"x");
            let _ = std::fs::rename(tree.at("swap"), tree.at("top/d/swap"));
            let _ = tree.store().remove(&path("top"), Depth::Recursive, &|| true);
            let _ = tree.store().remove(&path("d"), Depth::Recursive, &|| true);
            let _ = std::fs::create_dir(tree.at("d"));
            let _ = std::fs::write(tree.at("d/secret"), b"inside");
            let _ = symlink("../outside", tree.at("swap"));
        }
    });
}

#[test]
fn a_mode_of_a_new_file_is_exact() {
    let tree = Tree::new();
    let disk = tree.disk();
    let root = disk.root().unwrap();
    for bits in [0o666, 0o777, 0o400, 0] {
        let name = Name::new(b"f").unwrap();
        let mode = Mode::from_bits(bits);
        let handle = disk.create_file(&root, name, mode).unwrap();
        assert_eq!(disk.stat(&handle).unwrap().mode, mode);
        disk.write_at(&handle, Offset(0), b"x").unwrap();
        disk.remove_file(&root, name).unwrap();
    }
}
