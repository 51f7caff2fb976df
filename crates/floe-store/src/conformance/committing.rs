//! Commits: whole and at once, alone where one fails, with everything made on the way.

use super::{
    MIB, Make, QUIET, assert_missing, code, commit, finished, must, path, read, sent, small,
    staged, time,
};
use crate::api::{Begun, Commit, Follow, OpenedEntry, OwnerId, RootWanted, Store};
use floe_types::{ByteCount, Code, EntryKind, Metadata, Mode, ObjectPath, Precondition, Root};
use std::sync::Arc;

pub(super) fn run(make: Make<'_>) {
    the_old_version_stays_until_the_new_one_is_whole(make);
    nothing_is_replaced_that_must_be_absent(make);
    directories_and_files_do_not_replace_each_other(make);
    one_that_fails_holds_no_other_up(make);
    what_nobody_wants_any_more_does_not_come_late(make);
    many_small_objects_at_once(make);
    objects_without_bytes(make);
    objects_of_unknown_size(make);
    every_mode(make);
    links(make);
    directories_get_their_metadata_last(make);
    a_directory_that_stands_is_known_and_left_alone(make);
    a_commit_may_be_repeated(make);
    what_was_committed_by_another_meanwhile_is_the_same_object(make);
    a_root_is_no_object(make);
}

fn the_old_version_stays_until_the_new_one_is_whole(make: Make<'_>) {
    let subject = make();
    let (store, old, new) = (subject.store(), sent("a/x", MIB, 30), sent("a/x", 2 * MIB, 31));
    old.put(&*store);
    old.assert_stands(&*store);
    let (sink, _, _) = staged(&*store, &new.spec);
    new.write(&*sink, new.chunk(0));
    old.assert_stands(&*store);
    let early = commit(&*store, new.committed(Arc::clone(&sink)));
    assert_eq!(code(early), Some(Code::Integrity));
    old.assert_stands(&*store);
    new.write(&*sink, new.chunk(1));
    must(commit(&*store, new.committed(sink)));
    new.assert_stands(&*store);
}

fn nothing_is_replaced_that_must_be_absent(make: Make<'_>) {
    for seed in [32, 33] {
        let subject = make();
        let (store, old) = (subject.store(), sent("x", MIB, 34));
        let mut new = if seed == 32 { sent("x", MIB, seed) } else { small("x", MIB, seed) };
        new.spec.precondition = Precondition::Absent;
        let (sink, _, _) = staged(&*store, &new.spec);
        new.write_all(&*sink);
        old.put(&*store);
        assert_eq!(code(commit(&*store, new.committed(sink))), Some(Code::Exists));
        old.assert_stands(&*store);
        assert_eq!(code(store.open_sink(new.spec.clone(), QUIET)), Some(Code::Exists));
        must(store.remove(&path("x"), crate::api::Depth::Single, &|| true));
        let (_sink, have, _) = staged(&*store, &new.spec);
        assert!(have.is_empty(), "the stage went with its precondition");
    }
}

fn directories_and_files_do_not_replace_each_other(make: Make<'_>) {
    let subject = make();
    let (store, object) = (subject.store(), sent("d", MIB, 35));
    let (sink, _, _) = staged(&*store, &object.spec);
    object.write_all(&*sink);
    must(store.begin_directory(&path("d"), Precondition::None));
    assert_eq!(code(store.open_sink(object.spec.clone(), QUIET)), Some(Code::IsDirectory));
    let answer = commit(&*store, object.committed(Arc::clone(&sink)));
    assert_eq!(code(answer), Some(Code::IsDirectory));
    must(store.remove(&path("d"), crate::api::Depth::Recursive, &|| true));
    must(commit(&*store, object.committed(sink)));
    object.assert_stands(&*store);
    let beneath = sent("d/x", MIB, 36);
    assert_eq!(code(store.open_sink(beneath.spec, QUIET)), Some(Code::NotDirectory));
    assert_eq!(
        code(store.begin_directory(&path("d"), Precondition::None)),
        Some(Code::NotDirectory)
    );
    assert_eq!(
        code(store.begin_directory(&path("d/e"), Precondition::None)),
        Some(Code::NotDirectory)
    );
    object.assert_stands(&*store);
}

fn one_that_fails_holds_no_other_up(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    must(store.begin_directory(&path("in/the/way"), Precondition::None));
    let (first, bad, last) = (small("a", 10, 37), small("in/the/way2", 10, 38), sent("b", MIB, 39));
    let (one, _, _) = staged(&*store, &first.spec);
    let (two, _, _) = staged(&*store, &bad.spec);
    let (three, _, _) = staged(&*store, &last.spec);
    first.write_all(&*one);
    bad.write_all(&*two);
    last.write_all(&*three);
    must(store.begin_directory(&path("in/the/way2"), Precondition::None));
    let answers = store.commit(vec![
        first.committed(one),
        bad.committed(two),
        link("in/the/way", b"elsewhere", Precondition::None),
        last.committed(three),
    ]);
    let codes: Vec<_> = answers.into_iter().map(code).collect();
    assert_eq!(codes, [None, Some(Code::IsDirectory), Some(Code::IsDirectory), None]);
    first.assert_stands(&*store);
    last.assert_stands(&*store);
}

/// A commit that was stuck comes no more once its session was cut off, entry by entry: the next one
/// may have committed another version meanwhile (seed 12059823).
fn what_nobody_wants_any_more_does_not_come_late(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    let metadata = |secs| Metadata { mode: Mode::from_bits(0o701), mtime: time(secs) };
    let links = ["d/k", "d/l"].map(|at| link(at, b"old", Precondition::None));
    let directory = Commit::Directory { path: path("d"), metadata: metadata(7) };
    must(store.begin_directory(&path("d"), Precondition::None));
    must(commit(&*store, link("d/l", b"new", Precondition::None)));
    let mut batch = Vec::from(links);
    let versions = [small("x", 10, 51), sent("y", MIB, 52)];
    for object in &versions {
        let (old, new) = (object, sent(if batch.len() == 2 { "x" } else { "y" }, 9, 53));
        let (sink, _, _) = staged(&*store, &old.spec);
        old.write_all(&*sink);
        new.put(&*store);
        batch.push(old.committed(sink));
    }
    // One that stands whole, and is to have another mode.
    let mut kept = sent("k", MIB, 54);
    kept.put(&*store);
    let as_it_was = kept.spec.metadata;
    kept.spec.metadata = metadata(8);
    let (root, _, sink) = finished(&*store, &kept.spec);
    batch.push(Commit::Object { sink, size: kept.size(), root });
    batch.push(directory);
    let before = must(store.stat(&path("d"), RootWanted::IfKnown, QUIET)).metadata.mode;
    let asked = std::cell::Cell::new(0);
    let told = store.commit_while(batch, &|| asked.replace(asked.get() + 1) < 1);
    let codes: Vec<_> = told.into_iter().map(code).collect();
    assert_eq!(codes[0], None);
    assert_eq!(codes[1..], [Some(Code::Interrupted); 5]);
    assert!(matches!(must(store.open(&path("d/k"), Follow::No)),
        OpenedEntry::Link { target, .. } if target == b"old"));
    assert!(matches!(must(store.open(&path("d/l"), Follow::No)),
        OpenedEntry::Link { target, .. } if target == b"new"));
    for at in ["x", "y"] {
        sent(at, 9, 53).assert_stands(&*store);
    }
    assert_eq!(must(store.stat(&path("d"), RootWanted::IfKnown, QUIET)).metadata.mode, before);
    assert_eq!(must(store.stat(&path("k"), RootWanted::IfKnown, QUIET)).metadata, as_it_was);
    // What had a journal is all there yet.
    let (_, have, _) = staged(&*store, &versions[1].spec);
    let ranges: Vec<_> = have.iter().map(|held| held.range).collect();
    assert_eq!(ranges, [versions[1].chunk(0)]);
}

fn many_small_objects_at_once(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    let objects: Vec<_> =
        (0..200).map(|nth| small(&format!("d{}/f{nth}", nth % 7), nth * 31, nth)).collect();
    let batch = objects.iter().map(|object| {
        let (sink, _, _) = staged(&*store, &object.spec);
        object.write_all(&*sink);
        object.committed(sink)
    });
    let answers = store.commit(batch.collect());
    assert_eq!(answers.len(), 200);
    answers.into_iter().for_each(must);
    objects.iter().for_each(|object| object.assert_stands(&*store));
}

fn objects_without_bytes(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    for object in [sent("j", 0, 40), small("n", 0, 41)] {
        object.put(&*store);
        object.assert_stands(&*store);
        assert_eq!(object.root(), Root::of_nothing());
    }
}

fn objects_of_unknown_size(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    let (mut long, mut short) = (sent("j", 3 * MIB + 9, 42), small("n", 77, 43));
    for object in [&mut long, &mut short] {
        (object.spec.size, object.spec.version) = (None, None);
        object.put(&*store);
        object.assert_stands(&*store);
    }
}

fn every_mode(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    for (nth, bits) in [0o777, 0o600, 0o444, 0o000, 0o7755].into_iter().enumerate() {
        for mut object in [sent(&format!("j{nth}"), 9, 44), small(&format!("n{nth}"), 9, 44)] {
            object.spec.metadata.mode = Mode::from_bits(bits);
            object.put(&*store);
            let stat = must(store.stat(&object.spec.path, RootWanted::IfKnown, QUIET));
            assert_eq!(stat.metadata, object.spec.metadata);
            assert_eq!((stat.kind, stat.size), (EntryKind::File, ByteCount(9)));
        }
    }
}

fn link(at: &str, target: &[u8], precondition: Precondition) -> Commit {
    let metadata = Metadata { mode: Mode::from_bits(0o777), mtime: time(-5) };
    Commit::Link { path: path(at), target: target.to_vec(), metadata, precondition }
}

fn link_text(store: &dyn Store, at: &str) -> Vec<u8> {
    match must(store.open(&path(at), Follow::No)) {
        OpenedEntry::Link { target, metadata } => {
            assert_eq!(metadata.mtime, time(-5));
            target
        }
        _ => panic!("{at} is a link"),
    }
}

fn links(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    must(store.begin_directory(&path("d"), Precondition::None));
    must(commit(&*store, link("d/l", b"../../outside\xff", Precondition::None)));
    assert_eq!(link_text(&*store, "d/l"), b"../../outside\xff");
    for text in [&b"b"[..], b"../../outside\xfe"] {
        let refused = commit(&*store, link("d/l", text, Precondition::Absent));
        assert_eq!(code(refused), Some(Code::Exists));
    }
    let again = || link("d/l", b"../../outside\xff", Precondition::Absent);
    must(commit(&*store, again()));
    let mut later = again();
    if let Commit::Link { metadata, .. } = &mut later {
        metadata.mtime = time(-6);
    }
    assert_eq!(code(commit(&*store, later)), Some(Code::Exists), "another's link");
    must(commit(&*store, link("d/l", b"b", Precondition::None)));
    assert_eq!(link_text(&*store, "d/l"), b"b");
    assert_eq!(code(commit(&*store, link("d", b"b", Precondition::None))), Some(Code::IsDirectory));
    let object = sent("d/l", 10, 45);
    object.put(&*store);
    object.assert_stands(&*store);
    must(commit(&*store, link("d/l", b"c", Precondition::None)));
    assert_eq!(link_text(&*store, "d/l"), b"c");
}

fn directories_get_their_metadata_last(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    let metadata = Metadata { mode: Mode::from_bits(0o555), mtime: time(77) };
    must(store.begin_directory(&path("a/b"), Precondition::None));
    must(store.begin_directory(&path("a/b"), Precondition::None));
    let object = small("a/b/x", 5, 46);
    let (sink, _, _) = staged(&*store, &object.spec);
    object.write_all(&*sink);
    let answers = store.commit(vec![
        object.committed(sink),
        link("a/b/l", b"x", Precondition::None),
        Commit::Directory { path: path("a/b"), metadata },
        Commit::Directory { path: path("a"), metadata },
        Commit::Directory { path: path("none"), metadata },
    ]);
    let codes: Vec<_> = answers.into_iter().map(code).collect();
    assert_eq!(codes, [None, None, None, None, Some(Code::NotFound)]);
    for at in ["a", "a/b"] {
        let stat = must(store.stat(&path(at), RootWanted::IfKnown, QUIET));
        assert_eq!((stat.kind, stat.metadata), (EntryKind::Directory, metadata), "{at}");
    }
    must(store.begin_directory(&path("a/b"), Precondition::None));
    let later = small("a/b/y", 5, 47);
    later.put(&*store);
    must(commit(&*store, Commit::Directory { path: path("a/b"), metadata }));
    let stat = must(store.stat(&path("a/b"), RootWanted::IfKnown, QUIET));
    assert_eq!(stat.metadata, metadata, "a directory that stood there and could not be written");
}

fn a_directory_that_stands_is_known_and_left_alone(make: Make<'_>) {
    let mut subject = make();
    let metadata = Metadata { mode: Mode::from_bits(0o555), mtime: time(77) };
    for _ in 0..3 {
        // Not committed yet: it is the transfer's own, also when that comes again, or its process
        // died.
        let store = subject.store();
        for _ in 0..2 {
            assert_eq!(must(store.begin_directory(&path("a"), Precondition::Absent)), Begun::Made);
        }
        drop(store);
        subject.restart();
    }
    let store = subject.store();
    assert_eq!(must(store.begin_directory(&path("a"), Precondition::Absent)), Begun::Made);
    must(commit(&*store, Commit::Directory { path: path("a"), metadata }));
    assert_eq!(must(store.begin_directory(&path("a"), Precondition::Absent)), Begun::Stood);
    let stat = must(store.stat(&path("a"), RootWanted::IfKnown, QUIET));
    assert_eq!(stat.metadata, metadata, "it was changed");
    assert_eq!(must(store.begin_directory(&path("a"), Precondition::None)), Begun::Stood);
    must(commit(&*store, Commit::Directory { path: path("a"), metadata }));
}

fn a_commit_may_be_repeated(make: Make<'_>) {
    let subject = make();
    let (store, object) = (subject.store(), sent("x", MIB, 48));
    let (sink, _, _) = staged(&*store, &object.spec);
    object.write_all(&*sink);
    must(commit(&*store, object.committed(Arc::clone(&sink))));
    must(commit(&*store, object.committed(Arc::clone(&sink))));
    must(store.discard(sink));
    object.assert_stands(&*store);
    assert_eq!(read(&*store, &path("x")).0.len(), 1 << 20);
}

/// A command whose end was not heard of, and the same once more, at the same moment.
fn what_was_committed_by_another_meanwhile_is_the_same_object(make: Make<'_>) {
    for mut object in [sent("x", MIB, 50), small("x", 9, 51)] {
        let subject = make();
        let store = subject.store();
        object.spec.precondition = Precondition::Absent;
        let mut twin = object.clone();
        twin.spec.owner = OwnerId([9; 32]);
        let (one, _, _) = staged(&*store, &object.spec);
        let (two, _, _) = staged(&*store, &twin.spec);
        object.write_all(&*one);
        twin.write_all(&*two);
        must(commit(&*store, object.committed(one)));
        must(commit(&*store, twin.committed(Arc::clone(&two))));
        must(commit(&*store, twin.committed(two)));
        object.assert_stands(&*store);
    }
}

fn a_root_is_no_object(make: Make<'_>) {
    let subject = make();
    let mut object = sent("x", 1, 49);
    object.spec.path = ObjectPath::root();
    assert_eq!(code(subject.store().open_sink(object.spec, QUIET)), Some(Code::IsDirectory));
    must(subject.store().begin_directory(&ObjectPath::root(), Precondition::None));
    assert_missing(&*subject.store(), "x");
}
