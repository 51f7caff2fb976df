//! Peers that lie about what they were told: each is found out, and nothing breaks.

use crate::disk::{Bytes, Disk};
use crate::hand::*;
use crate::transfers::path;
use floe_proto::frame::{CommittedEntry, Entry, Frame, Opened};
use floe_types::{ByteCount, EntryCount, EntryIndex, Limits, Root};

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
