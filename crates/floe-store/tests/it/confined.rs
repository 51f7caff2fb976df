//! A part of a store as a store of its own: nothing leads out of it, nothing tells where it lies.

use crate::tree::{Tree, path};
use floe_store::confined::Confined;
use floe_store::kernel::KernelDisk;
use floe_store::local::LocalStore;
use floe_store::{Begun, Commit, Depth, Detail, Follow, OpenedEntry, Overwrite, RootWanted, Store};
use floe_types::{Code, Fault, Metadata, Mode, Precondition, Timestamp};
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;

fn confined(tree: &Tree) -> Confined<KernelDisk> {
    Confined::new(Arc::new(LocalStore::open(&tree.at("")).unwrap()), path("team/box"))
}

fn link(at: &str, target: &str) -> Commit {
    let metadata = Metadata { mode: Mode::from_bits(0o777), mtime: Timestamp::default() };
    let target = target.as_bytes().to_vec();
    Commit::Link { path: path(at), target, metadata, precondition: Precondition::None }
}

/// Whatever a store answers to a path, as codes.
fn reads(store: &dyn Store, at: &str) -> [Result<(), Fault>; 3] {
    let at = path(at);
    [
        store.open(&at, Follow::Yes).map(|_| ()),
        store.list(&at, None, 10, Detail::Stats).map(|_| ()),
        store.stat(&at, RootWanted::Computed, &|_, _| {}).map(|_| ()),
    ]
}

#[test]
fn no_link_that_its_holder_makes_leads_out() {
    let tree = Tree::new();
    tree.file("secret", b"s");
    tree.file("team/plan", b"p");
    tree.file("team/box/own", b"o");
    let store = confined(&tree);
    let links = [
        link("up", ".."),
        link("file", "../plan"),
        link("top", "../../secret"),
        link("deep", "own/../../../secret"),
        link("in", "own"),
    ];
    assert!(store.commit(links.into()).into_iter().all(|answer| answer.is_ok()));
    for at in ["file", "top", "deep", "up/plan", "up/box/own", "up"] {
        for answer in reads(&store, at).into_iter().take(2) {
            let code = answer.unwrap_err().code;
            let refused = [Code::PermissionDenied, Code::NotDirectory, Code::NotFound];
            assert!(refused.contains(&code), "{at}: {code:?}");
        }
    }
    assert!(matches!(store.open(&path("in"), Follow::Yes), Ok(OpenedEntry::File { .. })));
    // The whole store follows them: it is its own.
    let whole = tree.store().open(&path("team/box/top"), Follow::Yes);
    assert!(matches!(whole, Ok(OpenedEntry::File { .. })));
}

#[test]
fn a_directory_that_became_a_link_is_not_entered() {
    let tree = Tree::new();
    tree.file("other/f", b"f");
    tree.file("team/x", b"x");
    tree.link("../other", "team/box");
    let store = confined(&tree);
    for answer in reads(&store, "f") {
        assert_eq!(answer.unwrap_err().code, Code::NotDirectory);
    }
    assert!(store.make_dir(&path("d")).is_err() && !tree.at("other/d").exists());
}

#[test]
fn the_root_of_it_is_not_its_holders_to_remove_or_rename() {
    let tree = Tree::new();
    tree.file("team/box/own", b"o");
    let store = confined(&tree);
    let root = path("");
    assert_eq!(store.remove(&root, Depth::Recursive, &|| true).unwrap_err().code, Code::Usage);
    for (from, to) in [(&root, &path("x")), (&path("own"), &root)] {
        let answer = store.rename(from, to, Overwrite::Allowed);
        assert_eq!(answer.unwrap_err().code, Code::Usage);
    }
    assert!(tree.at("team/box/own").exists());
}

#[test]
fn the_root_of_it_keeps_its_mode_and_time() {
    let tree = Tree::new();
    tree.file("team/box/own", b"o");
    let store = confined(&tree);
    let of = |at: &str| {
        let found = std::fs::metadata(tree.at(at)).unwrap();
        (found.mode(), found.mtime(), found.mtime_nsec())
    };
    let before = of("team/box");
    let metadata = Metadata { mode: Mode::from_bits(0), mtime: Timestamp::default() };
    let root = path("");
    for precondition in [Precondition::None, Precondition::Absent] {
        assert_eq!(store.begin_directory(&root, precondition).unwrap(), Begun::Stood);
    }
    let answers = store.commit(vec![Commit::Directory { path: root, metadata }]);
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!(of("team/box"), before);
    // What is in it is the holder's.
    std::fs::create_dir(tree.at("team/box/d")).unwrap();
    let answers = store.commit(vec![Commit::Directory { path: path("d"), metadata }]);
    assert!(answers.into_iter().all(|answer| answer.is_ok()));
    assert_eq!((of("team/box/d").0 & 0o777, of("team/box/d").1), (0, 0));
}

#[test]
fn no_fault_tells_where_it_lies() {
    let tree = Tree::new();
    tree.file("team/box/own", b"o");
    std::fs::create_dir(tree.at("team/box/d")).unwrap();
    let store = confined(&tree);
    let inside = path("own/x");
    let mut answers: Vec<Result<(), Fault>> = reads(&store, "own/x").into();
    answers.extend([
        store.make_dir(&inside),
        store.remove(&inside, Depth::Single, &|| true),
        store.remove(&path("d"), Depth::Single, &|| true),
        store.rename(&path("none"), &path("d/e"), Overwrite::Refused),
        store.begin_directory(&inside, Precondition::None).map(|_| ()),
    ]);
    answers.extend(store.commit(vec![link("own/x", "y"), link("", "y")]));
    for answer in answers {
        let fault = answer.unwrap_err();
        assert!(!fault.detail.contains("team") && !fault.detail.contains("box"), "{fault}");
    }
}
