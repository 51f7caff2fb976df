//! What one end answers: to a chunk whose length is not said, to the digest of one that it may
//! hold, to what is not allowed, and to frames that contradict what was said before them.

use crate::disk::{Bytes, Disk, METADATA};
use crate::hand::*;
use crate::transfers::path;
use floe_proto::command::{Command, Config, Event, Role, TransferOptions};
use floe_proto::disk::{DiskDone, DiskOp};
use floe_proto::frame::{
    Await, Basis, Direction, DoneEntry, Entry, Frame, Header, More, Opened, Pace, RecogniseWish,
    Reply, Request, RootWish, Seal, SeqRange, Stat, Verbs, Verdict, Want,
};
use floe_types::{
    ByteCount, ChunkDigest, ChunkHasher, ChunkSize, Code, Component, EntryCount, EntryId,
    EntryIndex, EntryKind, Fault, Offset, RequestId, Root, Seq, StreamId, TransferId,
};

pub fn digest(start: u64, end: u64) -> ChunkDigest {
    let mut hasher = ChunkHasher::new(Offset(start));
    hasher.update(&content(start, end));
    hasher.finish().unwrap()
}

fn committed(it: &Hand) -> bool {
    it.has_said(|frame| matches!(frame, Frame::Committed(..)))
}

#[test]
fn a_chunk_without_length_ends_with_its_seal_and_is_recorded() {
    let mut it = Hand::receiving();
    it.hears_file(2 * GRAIN);
    for nth in 0..2 {
        it.hears(LEAD, header(nth, 0, nth * GRAIN, None));
        it.hears(LEAD, data(nth, nth * GRAIN, nth * GRAIN, (nth + 1) * GRAIN));
        it.does(is_write);
        assert!(!it.ops.iter().any(|(_, _, op)| is_record(op)), "nobody vouches for it yet");
        it.hears(LEAD, seal(nth, nth * GRAIN, (nth + 1) * GRAIN));
        it.does(|op| matches!(op, DiskOp::Finish { .. }));
        it.does(is_record);
    }
    it.hears(LEAD, done(0, 2 * GRAIN));
    it.does_all();
    assert!(committed(&it));
    assert_eq!(it.disk.files.values().next(), Some(&content(0, 2 * GRAIN)));
}

/// A receiver that holds a chunk from a version it cannot trust, and hears the digest of one.
fn asked(digest: ChunkDigest) -> Hand {
    let mut it = Hand::receiving();
    it.hears_file(2 * GRAIN);
    it.hears_chunk(LEAD, 0, 0, GRAIN);
    it.does_all();
    let mut next = Hand::receiving();
    next.disk = it.disk;
    next.hears(LEAD, entries(vec![file(0, "", 2 * GRAIN, 2)]));
    next.does(is_open);
    let Frame::Header(plain) = header(1, 0, 0, Some(GRAIN)) else { panic!("not a header") };
    let awaiting = Header { awaits: Await::Verdict, digest: Some(digest), ..plain };
    next.hears(LEAD, Frame::Header(awaiting));
    next
}

fn verdict(it: &Hand) -> Option<Verdict> {
    it.said.iter().find_map(|(_, frame)| match frame {
        Frame::Verdict(seqs, verdict) if seqs.first == Seq(1) => Some(*verdict),
        _ => None,
    })
}

#[test]
fn a_chunk_that_is_held_under_an_old_version_is_not_sent_if_its_digest_is_the_same() {
    let it = asked(digest(0, GRAIN));
    assert_eq!(verdict(&it), Some(Verdict::Have));
    assert!(!it.ops.iter().any(|(_, _, op)| matches!(op, DiskOp::Forget { .. })));
}

#[test]
fn a_chunk_that_is_held_under_an_old_version_is_forgotten_and_sent_if_it_differs() {
    let mut it = asked(digest(GRAIN, 2 * GRAIN));
    assert_eq!(verdict(&it), Some(Verdict::Send));
    it.does(|op| matches!(op, DiskOp::Forget { .. }));
}

/// A sender that waits for the verdict on its first chunk; the number of that chunk.
fn waiting() -> (Hand, Seq) {
    let mut disk = Disk::default();
    disk.files.insert(path("f"), content(0, GRAIN));
    let options = TransferOptions { pace: Pace::Lockstep, ..options() };
    let mut it = Hand::putting(disk, "f", options, config());
    it.does(is_open);
    it.hears(LEAD, want_all(0));
    it.does_all();
    let asked = it.said.iter().find_map(|(_, frame)| match frame {
        Frame::Header(header) if header.awaits == Await::Verdict => Some(header.seq),
        _ => None,
    });
    (it, asked.expect("no HEADER that awaits a verdict"))
}

fn says_data(it: &Hand) -> bool {
    it.has_said(|frame| matches!(frame, Frame::Data(_)))
}

#[test]
fn a_sender_sends_what_is_asked_for_and_counts_what_is_there() {
    for (verdict, data, done) in
        [(Verdict::Send, true, true), (Verdict::Have, false, true), (Verdict::Refuse, false, false)]
    {
        let (mut it, seq) = waiting();
        let asked = it.said.iter().find(|(_, frame)| matches!(frame, Frame::Header(_)));
        let stream = asked.unwrap().0;
        assert!(!says_data(&it));
        it.hears(stream, Frame::Verdict(SeqRange { first: seq, last: seq }, verdict));
        if done {
            it.does_all();
        }
        assert_eq!(says_data(&it), data, "{verdict:?}");
        let says_done = it.has_said(|frame| {
            matches!(frame, Frame::Done(_, list) if list[0].root == Root::of(&content(0, GRAIN)))
        });
        assert_eq!(says_done, done, "{verdict:?}");
        // What the peer said that it has was hashed for it, and a sixteenth of it counts.
        let tolled = match verdict {
            Verdict::Refuse => 0,
            Verdict::Have => GRAIN / 16,
            Verdict::Send => GRAIN,
        };
        assert_eq!(it.session.tolled_bytes(), ByteCount(tolled), "{verdict:?}");
    }
}

/// A source with a directory of two entries.
fn two_entries() -> Disk {
    let mut disk = Disk::default();
    disk.dirs.insert(path("f"));
    disk.files.insert(path("f/a"), content(0, 5));
    disk.files.insert(path("f/b"), content(0, 5));
    disk
}

fn opens(name: &str) -> impl Fn(&DiskOp<Bytes>) -> bool {
    let wanted = path(name);
    move |op| match op {
        DiskOp::Open { path, .. } => *path == wanted,
        _ => false,
    }
}

fn is_refused(it: &Hand) -> bool {
    it.has_said(|frame| match frame {
        Frame::Failed(failed) => failed.fault.code == Code::NotAllowed,
        _ => false,
    })
}

#[test]
fn what_is_no_file_in_a_tree_is_skipped_and_told_and_the_tree_goes_on() {
    let mut it = Hand::putting(two_entries(), "f", options(), config());
    it.does(opens("f"));
    it.does(|op| matches!(op, DiskOp::List { .. }));
    it.fails(opens("f/a"), Code::NotRegular);
    it.does_all();
    let skipped: Vec<_> = it
        .events
        .iter()
        .filter_map(|event| match event {
            Event::EntrySkipped { path, fault } => Some((path.clone(), fault.code)),
            Event::EntryFailed { .. } => panic!("skipped is not failed"),
            _ => None,
        })
        .collect();
    assert_eq!(skipped, [(path("a"), Code::NotRegular)]);
    assert!(
        it.has_said(|frame| matches!(frame, Frame::Failed(failed) if failed.path == path("a")))
    );
    assert!(it.has_said(|frame| matches!(frame, Frame::Entries(_, list)
        if list.iter().any(|entry| entry.path == path("b")))));
    assert_eq!(it.result(), None, "the other file is under way");
}

#[test]
fn a_tree_is_not_listed_for_a_client_that_may_only_read() {
    for (verbs, lists) in [(Verbs::READ, false), (Verbs(Verbs::READ.0 | Verbs::LIST.0), true)] {
        let mut it = Hand::new(Role::Server, Config { verbs, ..config() });
        it.disk = two_entries();
        it.hears(LEAD, open(T, Direction::Get));
        it.does(is_open);
        let listed = it.ops.iter().any(|(_, _, op)| matches!(op, DiskOp::List { .. }));
        assert_eq!(listed, lists);
        let refused = it.has_said(
            |frame| matches!(frame, Frame::Failed(failed) if failed.fault.code == Code::NotAllowed),
        );
        assert_eq!(refused, !lists);
    }
}

#[test]
fn roots_are_told_only_to_a_client_that_may_read() {
    let stat = Stat {
        kind: EntryKind::File,
        size: ByteCount(1),
        metadata: METADATA,
        target: None,
        root: Some(Root::of(b"x")),
    };
    let name = Component::new(b"x").unwrap();
    let page = Reply::Page { names: vec![(name, Some(stat.clone()))], next: None };
    let list = || Request::List { path: path(""), after: None, max: EntryCount(1) };
    let ask = |root| Request::Stat { path: path("x"), root };
    for (verbs, is_told) in [(Verbs::LIST, false), (Verbs::LIST.and(Verbs::READ), true)] {
        for (request, reply) in
            [(list(), page.clone()), (ask(RootWish::IfKnown), Reply::Stat(stat.clone()))]
        {
            let mut it = Hand::new(Role::Server, Config { verbs, ..config() });
            it.hears(LEAD, Frame::Request(RequestId(0), request));
            let (_, id, _) = it.ops.remove(0);
            it.ends(id, DiskDone::Applied(reply.clone()));
            let expected = if is_told { reply } else { reply.without_roots() };
            assert!(
                it.has_said(|frame| *frame == Frame::Reply(RequestId(0), Ok(expected.clone())))
            );
        }
        let mut it = Hand::new(Role::Server, Config { verbs, ..config() });
        it.hears(LEAD, Frame::Request(RequestId(0), ask(RootWish::Computed)));
        assert_eq!(it.ops.is_empty(), !is_told, "it is not computed either");
    }
    let Reply::Stat(bare) = Reply::Stat(stat.clone()).without_roots() else { panic!("no stat") };
    assert_eq!(bare, Stat { root: None, ..stat });
}

#[test]
fn what_stands_is_not_replaced_for_a_client_that_may_only_write() {
    let mut it = Hand::receiving_with(Config { verbs: Verbs::WRITE_NEW, ..config() });
    it.hears_file(GRAIN);
    it.hears_chunk(LEAD, 0, 0, GRAIN);
    it.hears(LEAD, done(0, GRAIN));
    while !it.ops.iter().any(|(_, _, op)| is_commit(op)) {
        it.passes(1_000_000);
        it.does(|op| !is_commit(op));
    }
    let (_, id, _) = it.takes(is_commit);
    let exists = Fault::new(Code::Exists, "commit");
    it.ends(id, DiskDone::Committed(vec![Err(exists)]));
    assert!(is_refused(&it) && !committed(&it));
}

type Frames = Vec<Frame<Bytes>>;

/// Cold frames travel on the lead only.
fn stream_of(frame: &Frame<Bytes>) -> StreamId {
    match frame {
        Frame::Header(_) | Frame::Data(_) | Frame::Seal(_) => SECOND,
        _ => LEAD,
    }
}

#[test]
fn directories_begin_and_end_once() {
    let in_dir = || entries(vec![dir(0, ""), dir(1, "d")]);
    for (what, frame) in [
        ("a directory twice", entries(vec![dir(2, "d")])),
        ("the end of no directory", entries(vec![end_of(2, "e", 1)])),
        ("the end of another directory", entries(vec![end_of(2, "d", 0)])),
        ("a directory's end twice", entries(vec![end_of(2, "d", 1), end_of(3, "d", 1)])),
        (
            "ENTRY behind the end of its directory",
            entries(vec![end_of(2, "d", 1), file(3, "d/f", GRAIN, 1)]),
        ),
    ] {
        let mut it = Hand::receiving();
        it.hears(LEAD, in_dir());
        let heard = it.try_hears(LEAD, frame);
        assert_eq!(heard.map_err(|violation| violation.what), Err(what));
    }
    let mut it = Hand::receiving();
    it.hears(LEAD, in_dir());
    let heard = it.try_hears(SECOND, header(0, 1, 0, Some(GRAIN)));
    let what = "HEADER for an entry that has no bytes";
    assert_eq!(heard.map_err(|violation| violation.what), Err(what));
}

#[test]
fn what_contradicts_what_was_said_before_ends_the_session() {
    let whole = |seq, start| header(seq, 0, start, Some(GRAIN));
    let with_root = {
        let mut hasher = ChunkHasher::new(Offset(0));
        hasher.update(&content(GRAIN, 2 * GRAIN));
        let (len, digest) = (ByteCount(GRAIN), hasher.finish().unwrap());
        Frame::Seal(Seal { seq: Seq(1), len, digest })
    };
    let shorter = Frame::Done(
        T,
        vec![DoneEntry { index: EntryIndex(0), size: ByteCount(GRAIN), root: Root::of(b"x") }],
    );
    let beyond = || vec![header(1, 0, GRAIN, None)];
    let other = Entry { replaces: Some(EntryIndex(0)), ..file(1, "x", GRAIN, 2) };
    let cases: Vec<(&str, Frames, Frame<Bytes>)> = vec![
        ("a sequence number twice", vec![whole(1, 0)], whole(1, GRAIN)),
        (
            "SEAL with a root where none belongs",
            vec![whole(1, GRAIN), data(1, GRAIN, GRAIN, 2 * GRAIN)],
            with_root,
        ),
        ("DONE with another size", vec![], shorter),
        ("DATA out of place", beyond(), data(1, GRAIN, GRAIN + 1, GRAIN + 2)),
        ("ENTRY replaces another path", vec![], entries(vec![other])),
        (
            "ENTRY after COMPLETE",
            vec![Frame::Complete(T, EntryCount(1))],
            entries(vec![file(1, "x", 1, 2)]),
        ),
        (
            "COMPLETE twice",
            vec![Frame::Complete(T, EntryCount(1))],
            Frame::Complete(T, EntryCount(1)),
        ),
    ];
    for (what, before, frame) in cases {
        let mut it = Hand::receiving();
        it.hears_file(2 * GRAIN);
        for frame in before {
            it.hears(stream_of(&frame), frame);
        }
        let other_stream = what == "a sequence number twice";
        let stream = if other_stream { LEAD } else { stream_of(&frame) };
        let heard = it.try_hears(stream, frame);
        assert_eq!(heard.map_err(|violation| violation.what), Err(what));
    }
}

/// DROP has no range that is empty: the other end would end the session.
#[test]
fn where_an_empty_object_stands_as_another_its_first_byte_is_dropped() {
    an_empty_object_drops_what_stands_there(Disk::default(), options());
}

/// Nothing of it was spent, so nothing is lost: it takes the place of what stands there.
#[test]
fn an_empty_stream_replaces_another_object_that_stands_there_whole() {
    let mut disk = Disk::default();
    disk.streams.insert(path("f"));
    let options = TransferOptions { recognise: RecogniseWish::ByContent, ..options() };
    an_empty_object_drops_what_stands_there(disk, options);
}

fn an_empty_object_drops_what_stands_there(mut disk: Disk, options: TransferOptions) {
    disk.files.insert(path("f"), Vec::new());
    let mut it = Hand::putting(disk, "f", options, config());
    it.does(is_open);
    it.does_all();
    let Frame::Want(none) = want_all(0) else { panic!("no WANT") };
    it.hears(LEAD, Frame::Want(floe_proto::frame::Want { finished: Some(Root([1; 32])), ..none }));
    it.does_all();
    let first = floe_types::Range::new(Offset(0), Offset(1));
    assert!(it.has_said(|frame| *frame == Frame::Drop(entry(0), vec![first])), "{:?}", it.said);
    assert!(it.has_said(|frame| *frame == done(0, 0)), "{:?}", it.said);
}

/// The fuzz target session: two transfers whose bytes come once share the lead stream, and one
/// hasher reads for both.
#[test]
fn a_chunk_that_comes_once_is_read_whole_before_another_transfer_reads() {
    let mut disk = Disk::default();
    let bytes = [content(0, 2 * GRAIN), content(GRAIN, 3 * GRAIN)];
    for (name, bytes) in ["f", "g"].into_iter().zip(&bytes) {
        disk.files.insert(path(name), bytes.clone());
        disk.streams.insert(path(name));
    }
    let wide = |name: &str| {
        let options = TransferOptions { chunk: ChunkSize::new(4 * GRAIN).unwrap(), ..options() };
        let (local, remote) = (path(name), path(name));
        Command::Transfer { direction: Direction::Put, local, remote, options }
    };
    let mut it = Hand::new(Role::Client, config());
    it.disk = disk;
    let transfers = [T, TransferId(1)];
    for name in ["f", "g"] {
        it.session.handle_command(wide(name), it.now).unwrap();
    }
    it.poll();
    it.does_all();
    // The later one is wanted first, and has read a piece when the earlier one is.
    for transfer in transfers.into_iter().rev() {
        let opened = Opened { transfer, handle: vec![], window: ByteCount(8 * GRAIN) };
        it.hears(LEAD, Frame::Opened(opened));
        let entry = EntryId { transfer, index: EntryIndex(0) };
        let (have, finished, more) = (Vec::new(), None, More::Last);
        it.hears(LEAD, Frame::Want(Want { entry, basis: Basis::Version, have, finished, more }));
        it.does(|op| matches!(op, DiskOp::Read { .. }));
    }
    it.does_all();
    for bytes in &bytes {
        let Frame::Seal(whole) = seal_of(0, 0, bytes) else { unreachable!() };
        let sealed = |frame: &Frame<Bytes>| match frame {
            Frame::Seal(seal) => seal.digest == whole.digest,
            _ => false,
        };
        assert!(it.has_said(sealed));
    }
}
