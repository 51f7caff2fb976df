//! Holes: said in a header alone, made at the other end; sent as bytes where one end knows none.

mod waiting; // for their place, for a rate, in the window

use crate::disk::Disk;
use crate::hand::*;
use crate::transfers::{assert_whole, content, path, run};
use crate::world::{Faults, Setup};
use floe_proto::command::{Config, Holes, Violation};
use floe_proto::disk::{DiskDone, DiskOp};
use floe_proto::frame::{Await, Content, Direction, EntryBody, Frame, Header, Level, Pace};
use floe_types::{ByteCount, ChunkDigest, Code, Offset, Range, Root, Seq};
use std::sync::LazyLock;

const BOTH: [Direction; 2] = [Direction::Put, Direction::Get];
const GRAINS: usize = 22;
/// Those that have bytes; the last is short.
const FULL: [usize; 4] = [1, 2, 9, 21];
const SIZE: usize = GRAINS * (256 << 10) - 100;
const FULL_BYTES: u64 = 4 * GRAIN - 100;

/// A file with holes, one of them at its start.
fn sparse() -> Disk {
    static BYTES: LazyLock<Vec<u8>> = LazyLock::new(sparse_bytes);
    let mut disk = Disk::default();
    disk.files.insert(path("file"), BYTES.clone());
    disk
}

fn sparse_bytes() -> Vec<u8> {
    let (mut bytes, grain) = (content("file", SIZE), 256 << 10);
    for nth in (0..GRAINS).filter(|nth| !FULL.contains(nth)) {
        bytes[nth * grain..(nth + 1) * grain].fill(0);
    }
    bytes
}

#[test]
fn holes_are_not_sent_and_are_holes_at_the_other_end() {
    for direction in BOTH {
        for (streams, pace) in [(1, Pace::Streaming), (3, Pace::Streaming), (1, Pace::Lockstep)] {
            let (source, mut setup) = (sparse(), Setup::new(direction, "file"));
            setup.streams = streams;
            setup.options.pace = pace;
            let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
            assert_whole(&run, &source, &sink);
            assert_eq!(run.summary.bytes_sent, ByteCount(FULL_BYTES), "{direction:?} {pace:?}");
            assert_eq!(run.summary.bytes_total, ByteCount::of_len(SIZE));
            assert_eq!(run.summary.bytes_stored, ByteCount::of_len(SIZE));
            assert!((3..20).contains(&sink.holes_written), "{} holes", sink.holes_written);
        }
    }
}

#[test]
fn an_object_that_is_one_hole_arrives() {
    for direction in BOTH {
        for size in [256 << 10, (256 << 10) + 1, 40 << 20] {
            let mut source = Disk::default();
            source.files.insert(path("file"), vec![0; size]);
            let setup = Setup::new(direction, "file");
            let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
            assert_whole(&run, &source, &sink);
            assert_eq!(run.summary.bytes_sent, ByteCount::ZERO);
        }
    }
}

#[test]
fn without_the_ability_zeros_are_sent() {
    for direction in BOTH {
        let (source, mut setup) = (sparse(), Setup::new(direction, "file"));
        setup.holes = Holes::AsBytes;
        let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
        assert_whole(&run, &source, &sink);
        assert_eq!(run.summary.bytes_sent, ByteCount::of_len(SIZE));
        assert_eq!(sink.holes_written, 0);
    }
}

#[test]
fn a_sparse_file_survives_a_cut_at_every_frame() {
    for direction in BOTH {
        for streams in [1, 3] {
            for cut in 1..200 {
                let (source, mut setup) = (sparse(), Setup::new(direction, "file"));
                (setup.streams, setup.seed) = (streams, cut);
                let faults = Faults { cut_at: Some(cut), ..Faults::default() };
                let (run, sink) = run(&setup, &source, Disk::default(), faults);
                assert_whole(&run, &source, &sink);
                let most = 2 * FULL_BYTES + (1 << 20);
                let sent: u64 = run.sent.iter().map(|sent| sent.0).sum();
                assert!(sent <= most, "{sent} bytes at cut {cut}");
                if run.frames < cut {
                    break;
                }
            }
        }
    }
}

#[test]
fn bytes_that_came_into_a_hole_are_read_and_sent() {
    for direction in BOTH {
        let (source, setup) = (sparse(), Setup::new(direction, "file"));
        let mut meanwhile = sparse_bytes();
        meanwhile[12 << 18] = 1;
        let mut reading = source.clone();
        reading.filled.insert(path("file"), meanwhile.clone());
        let (run, sink) = run(&setup, &reading, Disk::default(), Faults::default());
        let mut now = source.clone();
        now.files.insert(path("file"), meanwhile);
        assert_whole(&run, &now, &sink);
        assert!(run.summary.bytes_sent.0 > FULL_BYTES);
    }
}

#[test]
fn holes_take_the_place_of_what_another_version_had_staged() {
    for direction in BOTH {
        // Lost half way, then begun again after the source became another.
        let (mut dense, setup) = (Disk::default(), Setup::new(direction, "file"));
        dense.files.insert(path("file"), content("other", SIZE));
        let mut full = Disk::default();
        full.full = Some(path("file"));
        let (failed, mut sink) = run(&setup, &dense, full, Faults::default());
        assert!(failed.result.is_some_and(|result| result.is_err()));
        sink.full = None;
        let stage = sink.stages.entry(path("file")).or_default();
        stage.bytes = content("other", SIZE);
        let (run, sink) = run(&setup, &sparse(), sink, Faults::default());
        assert_whole(&run, &sparse(), &sink);
        assert_eq!(run.summary.bytes_sent, ByteCount(FULL_BYTES));
    }
}

fn hole(seq: u64, start: u64, end: u64) -> Frame<crate::disk::Bytes> {
    let range = Range::new(Offset(start), Offset(end));
    Frame::Header(Header {
        seq: Seq(seq),
        entry: entry(0),
        offset: range.start(),
        len: Some(range.len()),
        awaits: Await::Implied,
        digest: ChunkDigest::of_zeros(range),
        content: Content::Hole,
    })
}

fn is_hole(op: &DiskOp<crate::disk::Bytes>) -> bool {
    matches!(op, DiskOp::WriteHole { .. })
}

fn violates(heard: Result<(), Violation>) -> &'static str {
    heard.unwrap_err().what
}

#[test]
fn a_hole_is_recorded_and_told_like_any_chunk() {
    let mut it = Hand::receiving();
    it.hears_file(8 * GRAIN);
    it.hears(LEAD, hole(0, 0, 4 * GRAIN));
    it.does(is_hole);
    it.does(is_record);
    let stored = |frame: &Frame<_>| matches!(frame, Frame::Stored(_, Level::Recorded));
    assert!(it.has_said(stored));
    // Once more: it is held.
    it.said.clear();
    it.hears(LEAD, hole(1, 0, 4 * GRAIN));
    assert!(it.has_said(stored) && it.ops.is_empty());
    it.hears(LEAD, hole(2, 4 * GRAIN, 8 * GRAIN));
    it.does_all();
    let (size, root) = (ByteCount(8 * GRAIN), Root::of(&vec![0; 8 << 18]));
    let index = entry(0).index;
    it.hears(LEAD, Frame::Done(T, vec![floe_proto::frame::DoneEntry { index, size, root }]));
    it.does(is_commit);
    assert!(it.has_said(|frame| matches!(frame, Frame::Committed(..))));
}

#[test]
fn a_hole_needs_the_ability_and_nothing_follows_it() {
    let mut it = Hand::receiving_with(Config { holes: Holes::AsBytes, ..config() });
    it.hears_file(4 * GRAIN);
    let what = violates(it.try_hears(LEAD, hole(0, 0, GRAIN)));
    assert_eq!(what, "a hole from a peer that did not say it knows them");
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    it.hears(LEAD, hole(0, 0, GRAIN));
    let behind = data(0, 0, 0, 5);
    assert_eq!(violates(it.try_hears(LEAD, behind)), "DATA of no chunk of this stream");
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    it.hears(LEAD, hole(0, 0, GRAIN));
    let sealed = seal_of(0, 0, &vec![0; 1 << 18]);
    assert_eq!(violates(it.try_hears(LEAD, sealed)), "SEAL of no chunk of this stream");
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    let beyond = it.try_hears(LEAD, hole(0, 4 * GRAIN, 8 * GRAIN));
    assert_eq!(violates(beyond), "a chunk beyond the object");
}

#[test]
fn nothing_follows_a_chunk_that_is_over_however_it_ended() {
    let zeros = vec![0; 1 << 18];
    for late in [data(0, 0, 0, 5), seal_of(0, 0, &zeros)] {
        // A hole that was made and recorded, and one whose digest was another.
        let mut it = Hand::receiving();
        it.hears_file(4 * GRAIN);
        it.hears(LEAD, hole(0, 0, GRAIN));
        it.does_all();
        assert!(it.has_said(|frame| matches!(frame, Frame::Stored(..))));
        assert_eq!(it.session.data_room(LEAD), config().piece_bytes, "it must be heard");
        assert!(violates(it.try_hears(LEAD, late.clone())).ends_with("of no chunk of this stream"));
        // Bytes that were sealed and recorded.
        let mut it = Hand::receiving();
        it.hears_file(4 * GRAIN);
        it.hears_chunk(LEAD, 0, 0, GRAIN);
        it.does_all();
        assert!(it.has_said(|frame| matches!(frame, Frame::Stored(..))));
        assert!(violates(it.try_hears(LEAD, late)).ends_with("of no chunk of this stream"));
    }
}

/// A number is used once; a sender that lies may use it again, when the hole that had it is given
/// up and was never made.
#[test]
fn a_hole_that_was_given_up_is_not_made_of_a_chunk_that_has_its_number() {
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    // The hole waits for the chunk in its place to be recorded, and bytes take its place.
    it.hears_chunk(LEAD, 0, 0, GRAIN);
    it.hears(LEAD, hole(10, 0, GRAIN));
    it.hears(LEAD, header(11, 0, 0, Some(GRAIN)));
    it.hears(SECOND, header(10, 0, GRAIN, Some(GRAIN)));
    it.hears(SECOND, data(10, GRAIN, GRAIN, GRAIN + 1000));
    it.does_all();
    it.hears(SECOND, data(10, GRAIN, GRAIN + 1000, 2 * GRAIN));
    it.hears(SECOND, seal(10, GRAIN, 2 * GRAIN));
    it.does_all();
    let held = &it.disk.stages.values().next().unwrap().bytes;
    let (from, to) = ((1 << 18), (2 << 18));
    assert!(
        held[from..to] == crate::hand::content(GRAIN, 2 * GRAIN)[..],
        "zeros, under a digest of bytes"
    );
}

#[test]
fn a_hole_in_an_object_of_unknown_size_is_a_violation() {
    let mut it = Hand::receiving();
    let mut unknown = file(0, "", 4 * GRAIN, 1);
    if let EntryBody::File { size, version, .. } = &mut unknown.body {
        (*size, *version) = (None, None);
    }
    it.hears(LEAD, entries(vec![unknown]));
    it.does(is_open);
    let what = violates(it.try_hears(LEAD, hole(0, 0, GRAIN)));
    assert_eq!(what, "a hole in an object of unknown size");
}

#[test]
fn a_hole_with_another_digest_is_corrupt() {
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    let Frame::Header(header) = hole(0, 0, GRAIN) else { unreachable!() };
    let of_ones = seal_of(0, 0, &vec![1; 1 << 18]);
    let Frame::Seal(seal) = of_ones else { unreachable!() };
    it.hears(LEAD, Frame::Header(Header { digest: Some(seal.digest), ..header }));
    it.does(is_hole);
    assert!(it.has_said(|frame| *frame == Frame::Corrupt(Seq(0))));
    it.hears(LEAD, hole(1, 0, GRAIN));
    it.does(is_hole);
    it.does(is_record);
}

/// A client that puts `f` of this disk in small chunks, and has looked for its first hole.
fn looking_for_a_hole(disk: Disk, window: u64) -> Hand {
    let window = ByteCount(window);
    let options = floe_proto::command::TransferOptions { window, ..options() };
    let mut it = Hand::putting(disk, "f", options, config());
    it.does(is_open);
    it.hears(LEAD, want_all(0));
    it.does(|op| matches!(op, DiskOp::ReadHole { .. }));
    it
}

fn first_header(it: &Hand) -> Header {
    let header = it.said.iter().find_map(|(_, frame)| match frame {
        Frame::Header(header) => Some(*header),
        _ => None,
    });
    header.unwrap()
}

#[test]
fn a_long_hole_counts_as_a_short_chunk() {
    let disk = {
        let mut disk = Disk::default();
        disk.files.insert(path("f"), vec![0; 64 << 20]);
        disk
    };
    let mut it = looking_for_a_hole(disk, GRAIN);
    let first = first_header(&it);
    assert_eq!((first.content, first.len), (Content::Hole, Some(ByteCount(16 << 20))));
    assert!(it.ops.is_empty(), "the window is full");
    it.said.clear();
    it.hears(LEAD, Frame::Corrupt(Seq(0)));
    it.does(|op| matches!(op, DiskOp::ReadHole { .. }));
    let again = |frame: &Frame<_>| {
        let same = |header: &Header| (header.seq, header.len) == (Seq(1), first.len);
        matches!(frame, Frame::Header(header) if same(header))
    };
    assert!(it.has_said(again));
    assert_eq!(it.session.summary(T).unwrap().window_bytes_max, ByteCount(GRAIN));
}

#[test]
fn bytes_that_came_into_a_long_hole_go_in_chunks_as_wished() {
    let mut disk = Disk::default();
    disk.files.insert(path("f"), vec![0; 4 << 20]);
    disk.filled.insert(path("f"), content("came since", 4 << 20));
    let it = looking_for_a_hole(disk, GRAIN);
    let first = first_header(&it);
    assert_eq!((first.content, first.len), (Content::Bytes, Some(ByteCount(GRAIN))));
    assert_eq!(it.session.summary(T).unwrap().window_bytes_max, ByteCount(GRAIN));
}

#[test]
fn bytes_in_a_hole_that_was_sent_are_another_version() {
    let (mut disk, bytes) = (Disk::default(), content("came since", 4 << 20));
    disk.files.insert(path("f"), vec![0; 4 << 20]);
    let mut it = looking_for_a_hole(disk, 4 << 20);
    it.disk.filled.insert(path("f"), bytes);
    it.hears(LEAD, Frame::Corrupt(Seq(0)));
    it.does(|op| matches!(op, DiskOp::ReadHole { .. }));
    it.does(is_open);
    assert!(!it.has_said(|frame| matches!(frame, Frame::Data(_))));
}

#[test]
fn a_hole_that_cannot_be_made_fails_its_entry() {
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    it.hears(LEAD, hole(0, 0, GRAIN));
    it.fails(is_hole, Code::NoSpace);
    let no_space = |frame: &Frame<_>| match frame {
        Frame::Failed(failed) => failed.fault.code == Code::NoSpace,
        _ => false,
    };
    assert!(it.has_said(no_space));
}

#[test]
fn a_hole_that_cannot_be_looked_at_fails_its_entry() {
    let mut it = Hand::putting(sparse(), "file", options(), config());
    it.does(is_open);
    it.hears(LEAD, want_all(0));
    it.fails(|op| matches!(op, DiskOp::ReadHole { .. }), Code::Io);
    assert!(it.has_said(|frame| matches!(frame, Frame::Failed(_))));
}

#[test]
fn what_a_disk_says_to_another_question_is_no_hole() {
    let mut it = Hand::putting(sparse(), "file", options(), config());
    it.does(is_open);
    it.hears(LEAD, want_all(0));
    let (_, id, _) = it.takes(|op| matches!(op, DiskOp::ReadHole { .. }));
    it.ends(id, DiskDone::Released);
    assert!(it.has_said(|frame| matches!(frame, Frame::Failed(_))));
}
