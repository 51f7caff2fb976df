//! Frames about what never was: a byte that changed on a plaintext link, or a peer that is wrong.
//! The session ends with a violation, and is begun again; nobody waits for what was meant.

use crate::disk::{Bytes, Disk};
use crate::hand::*;
use floe_proto::command::Violation;
use floe_proto::frame::{
    Basis, CommittedEntry, DoneEntry, Failed, Frame, Level, More, Opened, SeqRange, Verdict, Want,
};
use floe_types::{ByteCount, Code, EntryIndex, Fault, ObjectPath, Offset, Range, Root, Seq};

fn refuses(it: &mut Hand, frame: Frame<Bytes>) {
    let heard = it.try_hears(LEAD, frame.clone());
    assert!(matches!(heard, Err(Violation { .. })), "{frame:?} is taken");
    it.does_all();
    assert!(it.has_said(|said| matches!(said, Frame::Close(Some(fault)) if
        fault.code == Code::Violation)));
}

/// A client that has announced entry 0, and waits for WANT.
fn announced() -> Hand {
    let mut disk = Disk::default();
    disk.files.insert(crate::transfers::path("f"), content(0, GRAIN));
    let mut it = Hand::putting(disk, "f", options(), config());
    it.does_all();
    assert!(it.has_said(|frame| matches!(frame, Frame::Entries(..))));
    it
}

fn opened() -> Frame<Bytes> {
    Frame::Opened(Opened { transfer: T, handle: vec![], window: ByteCount(GRAIN) })
}

#[test]
fn opened_is_heard_once_and_by_who_asked() {
    let mut it = announced();
    it.hears(LEAD, opened());
    refuses(&mut it, opened());
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![file(0, "", 5, 1)]));
    refuses(&mut it, opened());
}

fn want(index: u64) -> Frame<Bytes> {
    let (have, finished, more) = (Vec::new(), None, More::Last);
    Frame::Want(Want { entry: entry(index), basis: Basis::Version, have, finished, more })
}

/// Seed 8303 of the simulation: the sender waited for ever for the WANT that named another entry.
#[test]
fn a_want_for_an_entry_that_never_was_ends_the_session() {
    refuses(&mut announced(), want(4));
}

#[test]
fn a_commit_or_failure_of_an_entry_that_never_was_ends_the_session() {
    let committed = CommittedEntry { index: EntryIndex(9), root: Some(Root([1; 32])) };
    refuses(&mut announced(), Frame::Committed(T, vec![committed]));
    let (path, fault) = (ObjectPath::root(), Fault::new(Code::NoSpace, ""));
    refuses(&mut announced(), Frame::Failed(Failed { entry: entry(9), path, fault }));
}

#[test]
fn an_answer_to_a_chunk_that_never_was_ends_the_session() {
    let far = SeqRange { first: Seq(0), last: Seq(1 << 40) };
    for frame in [
        Frame::Stored(vec![far], Level::Recorded),
        Frame::Verdict(far, Verdict::Have),
        Frame::Corrupt(Seq(1 << 40)),
    ] {
        let mut it = announced();
        it.hears(LEAD, want(0));
        it.does_all();
        refuses(&mut it, frame);
    }
}

#[test]
fn done_and_drop_of_an_entry_that_never_was_end_the_session() {
    let done = DoneEntry { index: EntryIndex(7), size: ByteCount(1), root: Root([1; 32]) };
    let drop = Frame::Drop(entry(7), vec![Range::new(Offset(0), Offset(1))]);
    for frame in [Frame::Done(T, vec![done]), drop] {
        let mut it = Hand::receiving();
        it.hears_file(GRAIN);
        refuses(&mut it, frame);
    }
}

#[test]
fn what_is_said_of_an_entry_that_has_ended_is_passed_over() {
    let mut it = announced();
    let (path, fault) = (ObjectPath::root(), Fault::new(Code::NoSpace, ""));
    it.hears(LEAD, Frame::Failed(Failed { entry: entry(0), path, fault }));
    it.does_all();
    it.hears(LEAD, want(0));
    assert!(it.has_said(|frame| matches!(frame, Frame::Complete(..))));
}
