//! Peers that lie about what they were told: each is found out, and nothing breaks.

use crate::disk::{Bytes, Disk};
use crate::hand::*;
use crate::transfers::path;
use floe_proto::disk::{DiskDone, DiskOp, Opened as Open};
use floe_proto::frame::{Basis, CommittedEntry, DoneEntry, Entry, EntryBody, Frame, Opened};
use floe_types::{ByteCount, Code, EntryCount, EntryIndex, Fault, Limits, Root};

fn committed(index: u64, root: Option<Root>) -> Frame<Bytes> {
    Frame::Committed(T, vec![CommittedEntry { index: EntryIndex(index), root }])
}

#[test]
fn a_root_of_what_has_no_bytes_is_a_violation() {
    for (root, heard) in [(None, true), (Some(Root::of_nothing()), false)] {
        let mut disk = Disk::default();
        disk.links.insert(path("link"), b"x".to_vec());
        let mut it = Hand::putting(disk, "link", options(), config());
        it.does(is_open);
        assert_eq!(it.try_hears(LEAD, committed(0, root)).is_ok(), heard, "{root:?}");
    }
}

#[test]
fn directories_that_are_begun_and_never_end_are_bounded() {
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![dir(0, "")]));
    let most = u64::from(Limits::default().entries_ahead_max) + 256;
    let all = (1..=most + 1).map(|nth| (nth, it.try_hears(LEAD, beside(nth))));
    let refused = all.filter(|(_, heard)| heard.is_err()).map(|(nth, _)| nth).next();
    assert_eq!(refused, Some(most + 1));
}

fn beside(nth: u64) -> Frame<Bytes> {
    entries(vec![dir(nth, &format!("d{nth}"))])
}

#[test]
fn an_entry_is_replaced_once_and_by_a_file() {
    let again = |nth, entry: Entry| Entry { replaces: Some(EntryIndex(nth)), ..entry };
    for second in
        [again(0, file(2, "", GRAIN, 3)), again(1, dir(2, "")), again(1, end_of(2, "", 1))]
    {
        let mut it = Hand::receiving();
        it.hears(LEAD, entries(vec![file(0, "", GRAIN, 1)]));
        it.hears(LEAD, entries(vec![again(0, file(1, "", GRAIN, 2))]));
        assert!(it.try_hears(LEAD, entries(vec![second])).is_err());
    }
}

#[test]
fn a_transfer_of_nothing_is_not_complete() {
    let mut it = Hand::getting("f", options());
    let opened = Opened { transfer: T, handle: vec![], window: ByteCount(1 << 22) };
    it.hears(LEAD, Frame::Opened(opened));
    assert!(it.try_hears(LEAD, Frame::Complete(T, EntryCount(0))).is_err());
}

/// A number that two streams carry would be one chunk, hashed in two places.
#[test]
fn a_number_that_another_stream_carries_is_not_used_again() {
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    it.hears(LEAD, header(10, 0, 0, Some(GRAIN)));
    // It takes the place of the first, which is over; the lead still carries its number.
    it.hears(SECOND, header(1, 0, 0, Some(GRAIN)));
    it.hears(SECOND, data(1, 0, 0, 1000));
    it.does_all();
    assert!(it.try_hears(SECOND, header(10, 0, 0, Some(GRAIN))).is_err());
    // What the lead goes on with is no piece of anything.
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    it.hears(LEAD, header(10, 0, 0, Some(GRAIN)));
    it.hears(SECOND, header(11, 0, 0, Some(GRAIN)));
    it.hears(LEAD, data(10, 0, 0, 1000));
    assert!(!it.ops.iter().any(|(_, _, op)| is_write(op)));
}

/// An object that stands there under this root, announced without its size.
fn standing(basis: Basis, root: Root) -> DiskDone<Bytes> {
    DiskDone::Opened(Open::Sink { have: Vec::new(), basis, finished: Some(root) })
}

#[test]
fn nothing_is_not_committed_under_the_root_of_what_stands_there() {
    let root = Root::of(b"what stands there");
    let nothing = |root| {
        Frame::Done(T, vec![DoneEntry { index: EntryIndex(0), size: ByteCount::ZERO, root }])
    };
    let commits = |it: &Hand| {
        let mut all = it.ops.iter().filter_map(|(_, _, op)| match op {
            DiskOp::Commit { batch, .. } => Some(format!("{batch:?}")),
            _ => None,
        });
        all.next()
    };
    for (basis, early) in [(Basis::Content, false), (Basis::Version, true), (Basis::Version, false)]
    {
        let mut it = Hand::receiving();
        let mut unsized_file = file(0, "", 0, 1);
        if let EntryBody::File { size, .. } = &mut unsized_file.body {
            *size = None;
        }
        it.hears(LEAD, entries(vec![unsized_file]));
        let (_, open, _) = it.takes(is_open);
        if early {
            it.hears(LEAD, nothing(root));
        }
        it.ends(open, standing(basis, root));
        if !early {
            it.hears(LEAD, nothing(root));
        }
        assert_eq!(commits(&it), None, "{basis:?}, DONE early: {early}");
    }
}

#[test]
fn what_replaces_a_replacement_waits_for_the_first_as_well() {
    let again = |nth, entry: Entry| Entry { replaces: Some(EntryIndex(nth)), ..entry };
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![file(0, "", GRAIN, 1)]));
    let (_, open, _) = it.takes(is_open);
    it.hears(LEAD, entries(vec![again(0, file(1, "", GRAIN, 2))]));
    it.hears(LEAD, entries(vec![again(1, file(2, "", GRAIN, 3))]));
    assert!(!it.ops.iter().any(|(_, _, op)| is_open(op)), "the first is still being opened");
    it.ends(open, DiskDone::Failed(Fault::new(Code::Io, "")));
    assert_eq!(it.ops.iter().filter(|(_, _, op)| is_open(op)).count(), 1, "the last one's turn");
}

#[test]
fn done_of_what_has_failed_here_is_passed_over() {
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![dir(0, ""), file(1, "f", 5, 1), file(2, "g", 5, 2)]));
    (0..3).for_each(|_| it.does(is_open));
    it.hears(LEAD, header(0, 1, 0, Some(5)));
    it.hears(LEAD, data(0, 0, 0, 5));
    it.fails(is_write, Code::NoSpace);
    // Its release is under way.
    it.hears(LEAD, done(1, 5));
    it.hears(LEAD, done(1, 5));
}
