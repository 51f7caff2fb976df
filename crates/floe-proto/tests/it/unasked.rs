//! The small file that is all of a get, sent before it is wanted.

use crate::disk::Disk;
use crate::hand::{self, Hand, LEAD, T, config};
use crate::transfers::{assert_whole, content, one_file, path, run};
use crate::world::{AfterLoss, Faults, Setup};
use floe_proto::command::{Config, Role, TransferOptions};
use floe_proto::frame::{CommittedEntry, Direction, Frame, Open, Pace, Unasked};
use floe_types::{EntryIndex, Root};

/// A server with a file of this length that heard OPEN.
fn asked(len: usize, change: impl Fn(&mut Open)) -> Hand {
    asked_with(config(), len, change)
}

fn asked_with(config: Config, len: usize, change: impl Fn(&mut Open)) -> Hand {
    let mut it = Hand::new(Role::Server, config);
    it.disk.files.insert(path("f"), content("f", len));
    let mut open = Open { unasked: Unasked::Welcome, ..hand::opening(T, Direction::Get) };
    change(&mut open);
    it.hears(LEAD, Frame::Open(open));
    it.does_all();
    it
}

fn goes(it: &Hand) -> bool {
    it.has_said(|frame| matches!(frame, Frame::Header(_)))
}

#[test]
fn a_small_file_goes_behind_its_entry_on_the_lead_and_all_of_it() {
    for len in [1, 1024, 65_536] {
        let mut it = asked(len, |_| {});
        let order: Vec<_> = it
            .said
            .iter()
            .filter_map(|(stream, frame)| match frame {
                Frame::Entries(..) => Some((*stream, "ENTRIES")),
                Frame::Header(_) => Some((*stream, "HEADER")),
                Frame::Data(_) => Some((*stream, "DATA")),
                Frame::Seal(_) => Some((*stream, "SEAL")),
                Frame::Done(..) => Some((*stream, "DONE")),
                _ => None,
            })
            .collect();
        let expected = ["ENTRIES", "HEADER", "DATA", "SEAL", "DONE"].map(|name| (LEAD, name));
        assert_eq!(order, expected, "{len} bytes");
        it.hears(LEAD, hand::want_all(0));
        let headers = it.said.iter().filter(|(_, said)| matches!(said, Frame::Header(_))).count();
        assert_eq!(headers, 1, "WANT asks for nothing more");
        assert!(it.try_hears(LEAD, hand::want_all(0)).is_err(), "only one WANT is passed over");
    }
}

#[test]
fn nothing_else_goes_before_it_is_wanted() {
    assert!(!goes(&asked(1024, |open| open.unasked = Unasked::Refused)));
    assert!(!goes(&asked(1024, |open| open.pace = Pace::Lockstep)));
    assert!(!goes(&asked(65_537, |_| {})));
    let mut tree = Hand::new(Role::Server, config());
    tree.disk.dirs.insert(path("f"));
    tree.disk.files.insert(path("f/small"), content("small", 10));
    let open = Open { unasked: Unasked::Welcome, ..hand::opening(T, Direction::Get) };
    tree.hears(LEAD, Frame::Open(open));
    tree.does_all();
    assert!(tree.has_said(|frame| matches!(frame, Frame::Entries(..))) && !goes(&tree));
}

#[test]
fn it_is_done_where_the_receiver_did_not_need_it() {
    let mut it = asked(1024, |_| {});
    let root = Some(Root::of(&content("f", 1024)));
    let index = EntryIndex(0);
    it.hears(LEAD, Frame::Committed(T, vec![CommittedEntry { index, root }]));
    it.does_all();
    assert!(it.has_said(|frame| matches!(frame, Frame::Complete(..))));
    it.hears(LEAD, Frame::Completed(T));
    assert_eq!(it.result(), Some(Ok(())));
}

#[test]
fn what_is_not_taken_before_it_is_wanted_is_no_attempt_and_waits_for_that() {
    let mut once = config();
    once.limits.chunk_attempts_max = 1;
    let mut it = asked_with(once, 1024, |_| {});
    let last = |it: &Hand| {
        it.said.iter().rev().find_map(|(_, frame)| match frame {
            Frame::Header(header) => Some(header.seq),
            _ => None,
        })
    };
    let first = last(&it).unwrap();
    it.hears(LEAD, Frame::Corrupt(first));
    it.does_all();
    assert_eq!(last(&it), Some(first), "it goes again at once, to no room");
    assert!(!it.has_said(|frame| matches!(frame, Frame::Failed(_))), "it was an attempt");
    it.hears(LEAD, hand::want_all(0));
    it.does_all();
    let second = last(&it).filter(|second| *second != first);
    it.hears(LEAD, Frame::Corrupt(second.expect("it goes again once it is wanted")));
    assert!(it.has_said(|frame| matches!(frame, Frame::Failed(_))), "that was one");
}

#[test]
fn a_small_get_arrives_whole_whatever_is_cut_or_damaged() {
    let options =
        |setup: &Setup| TransferOptions { unasked: Unasked::Welcome, ..setup.options.clone() };
    for (streams, len) in [(1, 1), (1, 1024), (3, 65_536), (1, 65_537), (1, 262_145)] {
        for after_loss in [AfterLoss::Rerun, AfterLoss::Reconnect] {
            let source = one_file(len);
            let setup = Setup { streams, after_loss, ..Setup::new(Direction::Get, "file") };
            let setup = Setup { options: options(&setup), ..setup };
            let (plain, sink) = run(&setup, &source, Disk::default(), Faults::default());
            assert_whole(&plain, &source, &sink);
            for at in 1..=plain.frames {
                let faults = Faults { cut_at: Some(at), ..Faults::default() };
                let (run, sink) = run(&setup, &source, Disk::default(), faults);
                assert_whole(&run, &source, &sink);
            }
            let faults = Faults { flip_at: Some(1), ..Faults::default() };
            let (run, sink) = run(&setup, &source, Disk::default(), faults);
            assert_whole(&run, &source, &sink);
        }
    }
}

#[test]
fn an_older_version_and_an_object_that_stands_there_do_not_disturb_it() {
    for old in [content("file", 5000), content("other", 5000), content("other", 17)] {
        let source = one_file(5000);
        let setup = Setup::new(Direction::Get, "file");
        let options = TransferOptions { unasked: Unasked::Welcome, ..setup.options.clone() };
        let setup = Setup { options, ..setup };
        let mut sink = Disk::default();
        sink.files.insert(path("file"), old);
        let (first, sink) = run(&setup, &source, sink, Faults::default());
        assert_whole(&first, &source, &sink);
        let (again, sink) = run(&setup, &source, sink, Faults::default());
        assert_whole(&again, &source, &sink);
    }
}
