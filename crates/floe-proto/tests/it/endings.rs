//! Entries that fail, are replaced, or are stopped: every one of them ends, and so does the
//! transfer.

use crate::disk::Disk;
use crate::hand::*;
use crate::transfers::{path, run, tree};
use crate::world::{Faults, Setup};
use floe_proto::command::{Config, Event};
use floe_proto::disk::{DiskDone, DiskOp};
use floe_proto::frame::{CommittedEntry, Direction, Entry, EntryBody, Failed, Frame, Verbs};
use floe_types::{Code, Component, EntryIndex, Fault, ObjectPath};

fn failed(index: u64, path: &str, code: Code) -> Frame<crate::disk::Bytes> {
    let path = if path.is_empty() { ObjectPath::root() } else { crate::transfers::path(path) };
    Frame::Failed(Failed { entry: entry(index), path, fault: Fault::new(code, "") })
}

#[test]
fn a_directory_that_cannot_be_listed_fails_and_the_tree_ends() {
    for direction in [Direction::Put, Direction::Get] {
        for seed in 1..20 {
            let mut source = tree();
            source.unlistable.insert(path("t/a"));
            let setup = Setup { seed, ..Setup::new(direction, "t") };
            let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
            assert_eq!(run.result.unwrap().unwrap_err().code, Code::Partial);
            assert_eq!(run.failed.len(), 1, "{:?}", run.failed);
            assert!(sink.files.contains_key(&path("t/z/big")));
            assert!(sink.dirs.contains(&path("t/a")));
        }
    }
}

#[test]
fn a_directory_that_can_neither_be_listed_nor_made_ends() {
    for mkdir_first in [true, false] {
        let mut it = Hand::receiving();
        it.hears(LEAD, entries(vec![dir(0, "")]));
        if mkdir_first {
            it.fails(is_open, Code::NotDirectory);
            it.hears(LEAD, failed(0, "", Code::NotAllowed));
        } else {
            it.hears(LEAD, failed(0, "", Code::NotAllowed));
            it.fails(is_open, Code::NotDirectory);
        }
        it.hears(LEAD, entries(vec![end_of(1, "", 0)]));
        it.hears(LEAD, Frame::Complete(T, floe_types::EntryCount(2)));
        assert!(it.has_said(|frame| matches!(frame, Frame::Completed(_))));
    }
}

#[test]
fn a_directory_fails_while_its_parent_is_being_made_and_counts_once() {
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![dir(0, ""), dir(1, "d")]));
    it.hears(LEAD, failed(1, "d", Code::PermissionDenied));
    it.hears(LEAD, entries(vec![end_of(2, "d", 1), end_of(3, "", 0)]));
    it.does(is_open);
    assert!(!it.ops.iter().any(|(_, _, op)| is_commit(op)), "the parent ended before its child");
    it.does(|op| matches!(op, DiskOp::Open { .. }));
    it.does_all();
    it.hears(LEAD, Frame::Complete(T, floe_types::EntryCount(4)));
    assert!(it.has_said(|frame| matches!(frame, Frame::Completed(_))));
}

#[test]
fn a_directory_that_cannot_be_made_is_one_failure_whatever_lies_in_it() {
    for direction in [Direction::Put, Direction::Get] {
        for seed in 1..20 {
            let mut sink = Disk::default();
            sink.files.insert(path("t/a"), b"in the way".to_vec());
            let setup = Setup { seed, ..Setup::new(direction, "t") };
            let (run, sink) = run(&setup, &tree(), sink, Faults::default());
            assert_eq!(run.result.unwrap().unwrap_err().code, Code::Partial);
            assert_eq!(run.server_result.unwrap().unwrap_err().code, Code::Partial);
            let told: Vec<_> = run.failed.iter().map(|(path, fault)| (path, fault.code)).collect();
            assert_eq!(told, [(&path("a"), Code::NotDirectory)], "{direction:?} {seed}");
            assert_eq!(run.summary.entries_failed.0, 1);
            assert!(sink.files.contains_key(&path("t/z/big")));
        }
    }
}

#[test]
fn a_tree_whose_root_cannot_be_made_fails_once_with_that_fault() {
    for direction in [Direction::Put, Direction::Get] {
        for seed in 1..20 {
            let mut sink = Disk::default();
            sink.files.insert(path("t"), b"in the way".to_vec());
            let setup = Setup { seed, ..Setup::new(direction, "t") };
            let (run, sink) = run(&setup, &tree(), sink, Faults::default());
            assert_eq!(run.result.unwrap().unwrap_err().code, Code::NotDirectory);
            assert_eq!(run.server_result.unwrap().unwrap_err().code, Code::NotDirectory);
            assert_eq!(run.failed.len(), 1, "{direction:?} {seed} {:?}", run.failed);
            assert_eq!(sink.files[&path("t")], b"in the way");
        }
    }
}

/// No frame can say its path, so it is told with that of its directory.
#[test]
fn a_name_whose_path_is_too_long_fails_and_the_tree_ends() {
    let mut disk = Disk::default();
    let mut deepest = path("t");
    disk.dirs.insert(deepest.clone());
    for len in [255; 15].into_iter().chain([253]) {
        deepest = deepest.join(Component::new(&vec![b'd'; len]).unwrap()).unwrap();
        disk.dirs.insert(deepest.clone());
    }
    let mut it = Hand::putting(disk, "t", options(), config());
    let lists_it = |op: &DiskOp<_>| matches!(op, DiskOp::List { path, .. } if *path == deepest);
    while !it.ops.iter().any(|(_, _, op)| lists_it(op)) {
        it.does(|_| true);
    }
    let (_, list, _) = it.takes(lists_it);
    let names = ["one", "two"].map(|name| Component::new(name.as_bytes()).unwrap()).to_vec();
    it.ends(list, DiskDone::Listed { names, next: None, passed_over: Vec::new() });
    it.does_all();
    let failed = it.said.iter().filter_map(|(_, frame)| match frame {
        Frame::Failed(failed) => Some((failed.fault.code, failed.path.components().len())),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), [(Code::NameTooLong, 16); 2]);
    let lists = it.said.iter().filter_map(|(_, frame)| match frame {
        Frame::Entries(_, list) => Some(list.clone()),
        _ => None,
    });
    let ends = lists.flatten().filter(|entry| matches!(entry.body, EntryBody::DirectoryEnd { .. }));
    let ended: Vec<_> = ends.map(|end| CommittedEntry { index: end.index, root: None }).collect();
    assert_eq!(ended.len(), 17, "the walk goes on");
    it.hears(LEAD, Frame::Committed(T, ended));
    it.hears(LEAD, Frame::Completed(T));
    assert_eq!(it.result().unwrap().unwrap_err().code, Code::Partial);
}

#[test]
fn what_has_no_path_at_the_sender_is_a_failure_at_the_receiver() {
    let mut it = Hand::getting("t", options());
    it.hears(LEAD, entries(vec![dir(0, ""), dir(1, "d")]));
    it.hears(LEAD, failed(2, "d", Code::NameTooLong));
    it.hears(LEAD, entries(vec![end_of(3, "d", 1), end_of(4, "", 0)]));
    it.does_all();
    it.hears(LEAD, Frame::Complete(T, floe_types::EntryCount(4)));
    assert_eq!(it.result().unwrap().unwrap_err().code, Code::Partial);
}

#[test]
fn the_walk_goes_no_further_in_a_directory_that_the_receiver_cannot_make() {
    let mut it = Hand::putting(tree(), "t", options(), config());
    it.does(|op| matches!(op, DiskOp::Open { .. }));
    it.does(|op| matches!(op, DiskOp::List { .. }));
    it.hears(LEAD, failed(0, "", Code::ReadOnly));
    it.does_all();
    let announced: Vec<_> = it
        .said
        .iter()
        .filter_map(|(_, frame)| match frame {
            Frame::Entries(_, list) => Some(list.clone()),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(announced.len(), 2, "the root and its end: {announced:?}");
    it.hears(LEAD, failed(announced[1].index.0, "", Code::ReadOnly));
    assert!(it.has_said(|frame| matches!(frame, Frame::Complete(..))));
}

#[test]
fn a_name_that_no_path_may_have_is_counted_by_both_ends_and_no_failure() {
    for direction in [Direction::Put, Direction::Get] {
        let mut source = tree();
        source.reserved.extend([path("t"), path("t/a")]);
        let setup = Setup::new(direction, "t");
        let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
        crate::transfers::assert_whole(&run, &source, &sink);
        assert_eq!(run.summary.entries_skipped.0, 2, "{direction:?}");
    }
}

/// A put of `file`, which was read and then changed; its other end holds nothing.
fn put_that_changed() -> Hand {
    let mut disk = Disk::default();
    disk.files.insert(path("file"), content(0, 2 * GRAIN));
    let mut it = Hand::putting(disk, "file", options(), config());
    it.does(is_open);
    it.hears(LEAD, want_all(0));
    it.disk.generation.insert(path("file"), 1);
    while !it.ops.iter().any(|(_, _, op)| is_open(op)) {
        it.does(|_| true);
    }
    it
}

#[test]
fn a_source_that_changed_and_is_gone_fails_under_the_index_that_the_peer_knows() {
    let want = Code::SourceChanged;
    for code in [Code::NotFound, Code::NotDirectory, Code::NotRegular] {
        let mut it = put_that_changed();
        it.fails(is_open, code);
        let told: Vec<_> = it
            .said
            .iter()
            .filter_map(|(_, frame)| match frame {
                Frame::Failed(failed) => Some((failed.entry, failed.fault.code)),
                _ => None,
            })
            .collect();
        assert_eq!(told, [(entry(0), want)]);
        it.does_all();
        assert!(it.has_said(|frame| matches!(frame, Frame::Complete(..))));
        it.hears(LEAD, Frame::Completed(T));
        assert_eq!(it.result().unwrap().unwrap_err().code, want);
    }
}

#[test]
fn a_source_that_changed_into_a_directory_fails_under_the_index_that_the_peer_knows() {
    let mut it = put_that_changed();
    it.disk.files.clear();
    it.disk.dirs.insert(path("file"));
    it.does(is_open);
    it.does_all();
    let known = |frame: &Frame<_>| match frame {
        Frame::Failed(failed) => {
            let fault = &failed.fault;
            let named = fault.code == Code::SourceChanged && fault.detail.contains("\"file\"");
            failed.entry == entry(0) && named
        }
        _ => false,
    };
    assert!(it.has_said(known), "{:?}", it.said);
}

#[test]
fn an_announced_file_that_is_none_any_more_ends() {
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![dir(0, ""), file(1, "x", 5, 1)]));
    it.does(is_open);
    it.does(is_open);
    it.hears(LEAD, failed(1, "x", Code::NotRegular));
    it.hears(LEAD, entries(vec![end_of(2, "", 0)]));
    it.hears(LEAD, Frame::Complete(T, floe_types::EntryCount(3)));
    it.does_all();
    assert!(it.has_said(|frame| matches!(frame, Frame::Completed(_))), "{:?}", it.said);
}

#[test]
fn a_directory_that_stands_keeps_its_metadata_where_nothing_may_be_replaced() {
    for (verbs, commits) in [(Verbs::ALL, 1), (Verbs::WRITE_NEW, 0)] {
        let mut it = Hand::receiving_with(Config { verbs, ..config() });
        it.disk.dirs.insert(path("f"));
        it.hears(LEAD, entries(vec![dir(0, ""), end_of(1, "", 0)]));
        it.does(is_open);
        assert_eq!(it.ops.iter().filter(|(_, _, op)| is_commit(op)).count(), commits);
        it.does_all();
        assert!(it.has_said(|frame| matches!(frame, Frame::Committed(..))));
        it.hears(LEAD, Frame::Complete(T, floe_types::EntryCount(2)));
        assert!(it.has_said(|frame| matches!(frame, Frame::Completed(_))));
    }
}

fn announced(it: &Hand) -> usize {
    it.said.iter().filter(|(_, frame)| matches!(frame, Frame::Entries(..))).count()
}

#[test]
fn a_change_that_is_under_way_when_the_source_is_opened_again_counts_once() {
    let mut disk = Disk::default();
    disk.files.insert(path("file"), content(0, 4 * GRAIN));
    let mut it = Hand::putting(disk, "file", options(), config());
    it.does(is_open);
    // It is shorter, and its times tell later: both belong to one truncation.
    it.disk.files.insert(path("file"), content(0, GRAIN));
    it.hears(LEAD, want_all(0));
    it.does_all();
    assert_eq!(announced(&it), 2);
    it.disk.generation.insert(path("file"), 1);
    it.hears(LEAD, want_all(1));
    it.does_all();
    assert_eq!(announced(&it), 3);
    it.disk.generation.insert(path("file"), 2);
    it.hears(LEAD, want_all(2));
    it.does_all();
    assert!(it.has_said(|frame| matches!(frame, Frame::Failed(f) if f.entry == entry(2))));
    assert_eq!(announced(&it), 3, "another change is one too many");
}

/// Seeds 10069243 and 10065759: a get of one file ended as partial, of one entry.
#[test]
fn of_one_object_only_what_becomes_of_it_last_counts() {
    for over in [false, true] {
        let mut it = Hand::receiving();
        it.hears(LEAD, entries(vec![file(0, "", 5, 1)]));
        it.does(is_open);
        it.hears(LEAD, header(0, 0, 0, Some(5)));
        it.hears(LEAD, data(0, 0, 0, 5));
        it.fails(is_write, Code::Io);
        if over {
            it.does_all();
        }
        let replaces = Some(EntryIndex(0));
        it.hears(LEAD, entries(vec![Entry { replaces, ..file(1, "", 6, 2) }]));
        it.does_all();
        it.hears(LEAD, header(1, 1, 0, Some(6)));
        it.hears(LEAD, data(1, 0, 0, 6));
        it.hears(LEAD, seal(1, 0, 6));
        it.hears(LEAD, done(1, 6));
        it.does_all();
        it.hears(LEAD, Frame::Complete(T, floe_types::EntryCount(2)));
        it.does_all();
        assert_eq!(it.result(), Some(Ok(())), "{over}");
    }
}

#[test]
fn what_replaces_an_entry_that_failed_may_come_after_its_directory_ended() {
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![dir(0, ""), file(1, "f", 5, 1), end_of(2, "", 0)]));
    (0..2).for_each(|_| it.does(is_open));
    it.hears(LEAD, header(0, 1, 0, Some(5)));
    it.hears(LEAD, data(0, 0, 0, 5));
    it.fails(is_write, Code::Io);
    it.does_all();
    let ended = |frame: &Frame<_>| matches!(frame, Frame::Committed(_, list) if list.len() == 1);
    assert!(it.has_said(ended), "the directory is done");
    let replaces = Some(EntryIndex(1));
    it.hears(LEAD, entries(vec![Entry { replaces, ..file(3, "f", 6, 2) }]));
    let late = |frame: &Frame<_>| {
        matches!(frame, Frame::Failed(failed) if
        failed.entry == entry(3) && failed.fault.code == Code::SourceChanged)
    };
    assert!(it.has_said(late));
    it.hears(LEAD, Frame::Complete(T, floe_types::EntryCount(4)));
    it.does_all();
    assert!(it.has_said(|frame| matches!(frame, Frame::Completed(_))));
    assert_eq!(it.result().unwrap().unwrap_err().code, Code::Partial);
    let unknown = Some(EntryIndex(9));
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![dir(0, "")]));
    let lie = entries(vec![Entry { replaces: unknown, ..file(1, "f", 6, 2) }]);
    assert!(it.try_hears(LEAD, lie).is_err());
}

/// Whoever it was for is gone: nothing failed, and it is not said to anybody (seed 14004904).
#[test]
fn what_is_given_up_when_the_peer_is_gone_ends_without_a_word() {
    let mut it = Hand::receiving();
    it.hears_file(5);
    it.hears_chunk(LEAD, 0, 0, 5);
    it.does_all();
    it.hears(LEAD, done(0, 5));
    let (_, id, _) = it.takes(is_commit);
    it.loses(LEAD);
    it.ends(id, DiskDone::Committed(vec![Err(Fault::new(Code::Interrupted, ""))]));
    it.does_all();
    assert_eq!(it.result().expect("it never ends").unwrap_err().code, Code::ConnectionLost);
    assert!(!it.events.iter().any(|event| matches!(event, Event::EntryFailed { .. })));
    assert!(!it.has_said(|frame| matches!(frame, Frame::Failed(_))));
    assert!(it.session.is_cut_off() || it.events.iter().any(|it| matches!(it, Event::Ended(_))));
}
