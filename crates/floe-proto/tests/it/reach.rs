//! Where chunks of an object may be: short ones only at its end, also where nobody knows it yet;
//! and not so far apart that what is held takes memory without a bound.

use crate::disk::Disk;
use crate::hand::*;
use crate::transfers::{assert_whole, run};
use crate::world::{Faults, Setup};
use floe_proto::frame::{Direction, Entry, EntryBody, Frame};
use floe_types::{Code, Limits, StreamId};

/// A file of unknown size, open.
fn unsized_file() -> Hand {
    let mut it = Hand::receiving();
    let Entry { index, path, replaces, mut body } = file(0, "", 0, 1);
    if let EntryBody::File { size, version, .. } = &mut body {
        (*size, *version) = (None, None);
    }
    it.hears(LEAD, entries(vec![Entry { index, path, replaces, body }]));
    it.does(is_open);
    it
}

/// A chunk up to its SEAL, whose HEADER says its length, or not.
fn chunk(it: &mut Hand, stream: StreamId, seq: u64, bytes: [u64; 2], said: bool) -> bool {
    let [start, end] = bytes;
    let mut frames = vec![header(seq, 0, start, said.then_some(end - start))];
    frames.extend((start..end).step_by(256 << 10).map(|at| {
        let to = (at + GRAIN).min(end);
        data(seq, start, at, to)
    }));
    frames.push(seal(seq, start, end));
    frames.into_iter().all(|frame| it.try_hears(stream, frame).is_ok())
}

#[test]
fn without_a_size_a_short_chunk_is_the_last_in_whatever_order_they_come() {
    let (first, second, short) = ([0, GRAIN], [GRAIN, 2 * GRAIN], [2 * GRAIN, 2 * GRAIN + 5]);
    for said in [true, false] {
        for order in [[first, second, short], [short, first, second], [second, short, first]] {
            let mut it = unsized_file();
            for (nth, bytes) in (0..).zip(order) {
                let stream = if nth % 2 == 0 { LEAD } else { SECOND };
                assert!(chunk(&mut it, stream, 2 * nth, bytes, said), "{order:?}");
                it.does_all();
                // It comes once more where it was CORRUPT, or its stream was lost.
                assert!(chunk(&mut it, stream, 2 * nth + 1, bytes, said), "{order:?}, again");
                it.does_all();
            }
            it.hears(LEAD, done(0, 2 * GRAIN + 5));
            it.does_all();
            assert!(it.has_said(|frame| matches!(frame, Frame::Committed(..))), "{order:?}");
        }
    }
}

#[test]
fn without_a_size_nothing_is_beyond_a_short_chunk() {
    let (short, longer) = ([GRAIN, GRAIN + 1], [GRAIN, GRAIN + 2]);
    let (next, beyond) = ([2 * GRAIN, 3 * GRAIN], [2 * GRAIN, 2 * GRAIN + 1]);
    for said in [true, false] {
        for (first, second) in [
            (short, beyond),
            (beyond, short),
            (short, next),
            (next, short),
            (short, longer),
            (longer, short),
        ] {
            let mut it = unsized_file();
            assert!(chunk(&mut it, LEAD, 0, first, said));
            assert!(!chunk(&mut it, SECOND, 1, second, said), "{first:?} {second:?} {said}");
        }
    }
}

/// Its HEADER said nothing of its end.
#[test]
fn a_chunk_is_short_only_where_the_object_ends_also_where_its_length_comes_last() {
    for said in [true, false] {
        let mut it = Hand::receiving();
        it.hears_file(4 * GRAIN + 5);
        assert!(chunk(&mut it, LEAD, 0, [4 * GRAIN, 4 * GRAIN + 5], said));
        assert!(chunk(&mut it, LEAD, 1, [GRAIN, 2 * GRAIN], said));
        assert!(!chunk(&mut it, LEAD, 2, [2 * GRAIN, 2 * GRAIN + 5], said));
    }
}

/// Limits with which so many ranges may be held.
fn few(held_ranges_max: u32) -> Limits {
    let most = held_ranges_max / 2;
    Limits { held_ranges_max, have_ranges_max: most, want_ranges_max: most, ..Limits::default() }
}

fn too_many(frame: &Frame<crate::disk::Bytes>) -> Option<u64> {
    match frame {
        Frame::Failed(failed) => {
            assert_eq!(failed.fault.code, Code::LimitExceeded);
            Some(failed.entry.index.0)
        }
        _ => None,
    }
}

#[test]
fn chunks_that_do_not_join_end_their_entry_and_not_the_session() {
    let mut it = Hand::receiving_with(floe_proto::command::Config { limits: few(4), ..config() });
    let size = 40 * GRAIN;
    it.hears(LEAD, entries(vec![dir(0, ""), file(1, "a", size, 1), file(2, "b", size, 2)]));
    (0..3).for_each(|_| it.does(is_open));
    let one = |it: &mut Hand, seq: u64, index: u64, nth: u64| {
        it.hears(LEAD, header(seq, index, nth * GRAIN, Some(GRAIN)));
        it.hears_pieces(LEAD, seq, nth * GRAIN, (nth + 1) * GRAIN);
        it.hears(LEAD, seal(seq, nth * GRAIN, (nth + 1) * GRAIN));
        it.does_all();
    };
    // Three of each, of which none joins.
    (0..3).for_each(|nth| one(&mut it, nth, 1, 1 + 4 * nth));
    (0..3).for_each(|nth| one(&mut it, 3 + nth, 2, 1 + 4 * nth));
    assert!(!it.has_said(|frame| too_many(frame).is_some()));
    one(&mut it, 6, 2, 13);
    assert!(it.has_said(|frame| too_many(frame) == Some(2)), "one more than there may be");
    // What it held is free, and what joins needs no more.
    for (seq, nth) in (7..).zip([4, 8, 0]) {
        one(&mut it, seq, 1, nth);
    }
    assert!(!it.has_said(|frame| too_many(frame) == Some(1)));
}

/// Its sender goes from start to end, and its holes are held like its bytes.
#[test]
fn a_file_with_many_holes_is_held_in_few_ranges() {
    let (grains, grain) = (120, 256 << 10);
    let mut source = Disk::default();
    let mut bytes = vec![0; grains * grain];
    (0..grains).step_by(2).for_each(|nth| bytes[nth * grain] = 1);
    source.files.insert(crate::transfers::path("file"), bytes);
    for direction in [Direction::Put, Direction::Get] {
        let mut setup = Setup { streams: 3, ..Setup::new(direction, "file") };
        setup.limits = few(40);
        let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
        assert_whole(&run, &source, &sink);
        assert!(sink.holes_written >= 60, "{} holes", sink.holes_written);
    }
}

#[test]
fn no_chunk_begins_where_its_object_ends() {
    for said in [Some(1), None] {
        let mut it = Hand::receiving();
        it.hears(LEAD, entries(vec![file(0, "", 2 * GRAIN, 1)]));
        it.does(is_open);
        assert!(it.try_hears(LEAD, header(0, 0, 2 * GRAIN, said)).is_err(), "{said:?}");
        let mut it = Hand::receiving();
        it.hears(LEAD, entries(vec![file(0, "", 2 * GRAIN, 1)]));
        it.does(is_open);
        assert!(it.try_hears(LEAD, header(0, 0, GRAIN, said.map(|_| GRAIN))).is_ok());
    }
}
