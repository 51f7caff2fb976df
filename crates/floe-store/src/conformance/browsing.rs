//! What needs no stage: list, stat, remove, rename, make directories.

use super::{Make, QUIET, assert_missing, code, commit, must, path, sent, small, time};
use crate::api::{Commit, Depth, Detail, Follow, OpenedEntry, Overwrite, RootWanted, Store};
use floe_types::{Code, EntryKind, Metadata, Mode, ObjectPath, Offset, Precondition};

pub(super) fn run(make: Make<'_>) {
    lists_in_pages(make);
    says_what_stands(make);
    removes(make);
    renames(make);
    makes_directories(make);
    reads_at_any_offset(make);
}

fn names(store: &dyn Store, at: &str, max: usize) -> Vec<String> {
    let (mut names, mut after) = (Vec::new(), None);
    loop {
        let page = must(store.list(&path(at), after.as_ref(), max, Detail::Names));
        assert!(page.names.len() <= max);
        assert!(page.names.iter().all(|listed| listed.stat.is_none()));
        assert!(page.names.windows(2).all(|pair| pair[0].name < pair[1].name), "sorted");
        names.extend(page.names.iter().map(|listed| listed.name.to_string()));
        after = page.next;
        if after.is_none() {
            names.sort();
            return names;
        }
    }
}

fn lists_in_pages(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    let mut expected = Vec::new();
    for nth in 0..23 {
        small(&format!("d/f{nth}"), nth, nth).put(&*store);
        expected.push(format!("f{nth}"));
    }
    must(store.make_dir(&path("d/sub/below")));
    expected.push("sub".to_owned());
    expected.sort();
    for max in [1, 5, 24, 100] {
        assert_eq!(names(&*store, "d", max), expected, "{max} a page");
    }
    assert_eq!(names(&*store, "", 100), ["d"], "no stage is ever listed");
    let page = must(store.list(&path("d"), None, 100, Detail::Stats));
    for listed in page.names {
        let at = must(
            path("d")
                .join(listed.name)
                .map_err(|fault| floe_types::Fault::new(Code::BadPath, fault.to_string())),
        );
        assert_eq!(listed.stat, store.stat(&at, RootWanted::IfKnown, QUIET).ok(), "{at}");
    }
    assert_eq!(code(store.list(&path("none"), None, 5, Detail::Names)), Some(Code::NotFound));
    let file = store.list(&path("d/f1"), None, 5, Detail::Names);
    assert_eq!(code(file), Some(Code::NotDirectory));
}

fn says_what_stands(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    let object = sent("a/x", 100_000, 80);
    object.put(&*store);
    let stat = must(store.stat(&path("a/x"), RootWanted::Computed, QUIET));
    assert_eq!((stat.kind, stat.size), (EntryKind::File, object.size()));
    assert_eq!((stat.metadata, stat.root), (object.spec.metadata, Some(object.root())));
    let stat = must(store.stat(&ObjectPath::root(), RootWanted::IfKnown, QUIET));
    assert_eq!(stat.kind, EntryKind::Directory);
    let missing = store.stat(&path("a/y"), RootWanted::IfKnown, QUIET);
    assert_eq!(code(missing), Some(Code::NotFound));
    let metadata = Metadata { mode: Mode::from_bits(0o777), mtime: time(3) };
    let (target, precondition) = (b"gone".to_vec(), Precondition::None);
    must(commit(&*store, Commit::Link { path: path("l"), target, metadata, precondition }));
    let stat = must(store.stat(&path("l"), RootWanted::IfKnown, QUIET));
    assert_eq!((stat.kind, stat.target), (EntryKind::Link, Some(b"gone".to_vec())));
    assert_eq!(code(store.open(&path("l"), Follow::Yes)), Some(Code::NotFound));
}

fn removes(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    for at in ["d/a", "d/b/c", "d/b/e/f", "x"] {
        small(at, 3, 81).put(&*store);
    }
    must(store.remove(&path("x"), Depth::Single, &|| true));
    assert_missing(&*store, "x");
    assert_eq!(code(store.remove(&path("x"), Depth::Single, &|| true)), Some(Code::NotFound));
    assert_eq!(code(store.remove(&path("d"), Depth::Single, &|| true)), Some(Code::IsDirectory));
    must(store.remove(&path("d"), Depth::Recursive, &|| true));
    assert_missing(&*store, "d");
    let root = store.remove(&ObjectPath::root(), Depth::Recursive, &|| true);
    assert_eq!(code(root), Some(Code::Usage));
}

fn renames(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    let (one, two) = (small("a/x", 3, 82), small("b/y", 4, 83));
    one.put(&*store);
    two.put(&*store);
    let (from, to) = (path("a/x"), path("b/y"));
    assert_eq!(code(store.rename(&from, &to, Overwrite::Refused)), Some(Code::Exists));
    assert_eq!(code(store.rename(&path("a/z"), &to, Overwrite::Allowed)), Some(Code::NotFound));
    let lost = store.rename(&from, &path("c/x"), Overwrite::Allowed);
    assert_eq!(code(lost), Some(Code::NotFound), "no parent is made");
    two.assert_stands(&*store);
    must(store.rename(&from, &to, Overwrite::Allowed));
    assert_missing(&*store, "a/x");
    let mut moved = one;
    moved.spec.path = to;
    moved.assert_stands(&*store);
    must(store.rename(&path("b"), &path("c"), Overwrite::Refused));
    moved.spec.path = path("c/y");
    moved.assert_stands(&*store);
    let over = store.rename(&path("c/y"), &path("a"), Overwrite::Allowed);
    assert_eq!(code(over), Some(Code::IsDirectory));
    let over = store.rename(&path("a"), &path("c/y"), Overwrite::Allowed);
    assert_eq!(code(over), Some(Code::NotDirectory));
    let over = store.rename(&path("a"), &path("c"), Overwrite::Allowed);
    assert_eq!(code(over), Some(Code::NotEmpty));
    small("c/later", 1, 84).put(&*store);
}

fn makes_directories(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    must(store.make_dir(&path("a/b/c")));
    must(store.make_dir(&path("a/b/c")));
    let stat = must(store.stat(&path("a/b/c"), RootWanted::IfKnown, QUIET));
    assert_eq!(stat.kind, EntryKind::Directory);
    small("f", 1, 85).put(&*store);
    assert_eq!(code(store.make_dir(&path("f"))), Some(Code::NotDirectory));
    assert_eq!(code(store.make_dir(&path("f/g"))), Some(Code::NotDirectory));
}

fn reads_at_any_offset(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    let object = small("x", 1000, 86);
    object.put(&*store);
    let OpenedEntry::File { source, version, .. } = must(store.open(&path("x"), Follow::Yes))
    else {
        panic!("a file");
    };
    assert_eq!(must(source.version()), version);
    for (at, len, count) in [(0, 10, 10), (990, 10, 10), (995, 10, 5), (1000, 1, 0), (5000, 1, 0)] {
        let mut into = vec![0; len];
        assert_eq!(must(source.read_at(Offset(at), &mut into)), count);
        let expected = object.bytes.iter().skip(usize::try_from(at).unwrap_or(0)).take(count);
        assert!(into.iter().take(count).eq(expected));
    }
    let newer = small("x", 500, 87);
    newer.put(&*store);
    assert_eq!(must(source.read_at(Offset(0), &mut [0; 1000])), 1000, "an open source stays");
}
