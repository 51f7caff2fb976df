//! Where chunks of an object may be: short ones only at its end, also where nobody knows it yet.

use crate::hand::*;
use floe_proto::frame::{Entry, EntryBody, Frame};
use floe_types::StreamId;

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
    frames.extend((start..end).step_by(GRAIN as usize).map(|at| {
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
