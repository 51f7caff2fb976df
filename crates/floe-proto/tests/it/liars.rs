//! Peers that lie about what they were told: each is found out, and nothing breaks.

use crate::disk::{Bytes, Disk};
use crate::hand::*;
use crate::transfers::path;
use floe_proto::frame::{CommittedEntry, Frame};
use floe_types::{EntryIndex, Root};

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
