//! Holes that wait, and what they count meanwhile.

use super::{hole, is_hole, violates};
use crate::hand::*;
use floe_proto::frame::{Content, Frame};
use floe_types::{ByteCount, Seq, StreamId};

#[test]
fn a_hole_waits_for_writes_in_its_place() {
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    it.hears(LEAD, hole(0, GRAIN, 2 * GRAIN));
    it.does(is_hole);
    it.does(is_record);
    // A chunk whose stream is lost while it is written.
    it.hears(SECOND, header(1, 0, 0, Some(GRAIN)));
    it.hears_pieces(SECOND, 1, 0, GRAIN);
    it.loses(SECOND);
    it.hears(LEAD, hole(2, 0, GRAIN));
    assert!(!it.ops.iter().any(|op| is_hole(&op.2)), "a write is under way");
    it.does(is_write);
    it.does(is_hole);
    it.does(is_record);
}

/// Whoever claims holes has the server hash, at the cost of a header.
#[test]
fn holes_count_for_a_shared_rate_and_wait_while_it_holds() {
    for shortened in [false, true] {
        let mut it = Hand::receiving();
        it.hears_file(8 * GRAIN);
        let until = it.now.plus(floe_types::Micros(1_000_000));
        it.session.hold_data(until, it.now);
        it.hears(LEAD, hole(0, 0, 4 * GRAIN));
        assert!(!it.ops.iter().any(|op| is_hole(&op.2)), "the rate holds");
        assert_eq!(it.session.tolled_bytes(), ByteCount::ZERO);
        assert_eq!(it.session.poll_timeout(), Some(until));
        if shortened {
            it.session.hold_data(it.now, it.now);
            it.poll();
        } else {
            it.passes(1_000_000);
        }
        it.does(is_hole);
        it.does(is_record);
        assert_eq!(it.session.tolled_bytes(), ByteCount(GRAIN), "as a smallest chunk");
        assert_eq!(it.session.data_bytes(), ByteCount::ZERO);
    }
}

#[test]
fn a_hole_that_waits_gives_way_to_what_comes_in_its_place() {
    for second in [Content::Hole, Content::Bytes] {
        let mut it = Hand::receiving();
        it.hears_file(4 * GRAIN);
        it.hears(SECOND, header(0, 0, 0, Some(GRAIN)));
        it.hears_pieces(SECOND, 0, 0, GRAIN);
        it.loses(SECOND);
        it.hears(LEAD, hole(1, 0, GRAIN));
        match second {
            Content::Hole => it.hears(LEAD, hole(2, 0, GRAIN)),
            Content::Bytes => it.hears(LEAD, header(2, 0, 0, Some(GRAIN))),
        }
        assert!(!it.ops.iter().any(|op| is_hole(&op.2)), "a write is under way");
        it.does(is_write);
        match second {
            Content::Hole => it.does(is_hole),
            Content::Bytes => {
                assert!(it.ops.is_empty(), "nothing is made of what gave way");
                it.hears_pieces(LEAD, 2, 0, GRAIN);
                it.hears(LEAD, seal(2, 0, GRAIN));
                it.does(is_write);
            }
        }
        it.does(is_record);
        let stored = |frame: &Frame<_>| match frame {
            Frame::Stored(ranges, _) => ranges.iter().all(|range| range.first == Seq(2)),
            _ => false,
        };
        assert!(it.has_said(stored), "{:?}", it.said);
    }
}

#[test]
fn a_hole_that_comes_twice_is_made_once() {
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    it.hears(LEAD, hole(0, 0, GRAIN));
    it.hears(LEAD, hole(1, 0, GRAIN));
    it.does(is_hole);
    assert!(!it.ops.iter().any(|op| is_hole(&op.2)));
    it.does(is_record);
    assert!(!it.ops.iter().any(|op| is_hole(&op.2)));
    let both = |frame: &Frame<_>| match frame {
        Frame::Stored(ranges, _) => ranges.iter().any(|range| range.last == Seq(1)),
        _ => false,
    };
    assert!(it.has_said(both), "{:?}", it.said);
}

/// Those that are made, and those that a shared rate keeps waiting.
#[test]
fn holes_under_way_and_holes_that_wait_are_bounded_by_the_window() {
    for waits in [false, true] {
        let mut it = Hand::receiving();
        it.hears_file(4096 * GRAIN);
        if waits {
            it.session.hold_data(it.now.plus(floe_types::Micros(1_000_000)), it.now);
        }
        // The window, and what a peer may be beyond it.
        let most = ((4 << 20) + (16 << 20)) / GRAIN;
        for nth in 0..most {
            it.hears(LEAD, hole(nth, nth * GRAIN, (nth + 1) * GRAIN));
        }
        let one_more = it.try_hears(LEAD, hole(most, most * GRAIN, (most + 1) * GRAIN));
        assert_eq!(violates(one_more), "more is under way than the window");
    }
}

/// Seed 59861: what stands at the disk and what comes again for its place are one window.
#[test]
fn holes_that_come_again_after_lost_streams_are_one_window_at_a_slow_disk() {
    let mut it = Hand::receiving();
    it.hears_file(4096 * GRAIN);
    let (window, rounds) = ((4 << 20) / GRAIN, 8);
    // The disk does none of it meanwhile; more than the window and its play, if all counted.
    for (round, lost) in (0..rounds).zip((1..).map(StreamId)) {
        let stream = if round == rounds - 1 { LEAD } else { lost };
        it.session.handle_stream_up(stream, it.now);
        for nth in 0..window {
            it.hears(stream, hole(round * window + nth, nth * GRAIN, (nth + 1) * GRAIN));
        }
        if stream == lost {
            it.loses(stream);
        }
    }
    assert_eq!(it.ops.iter().filter(|op| is_hole(&op.2)).count() as u64, window);
    it.does_all();
    let last = Seq(rounds * window - 1);
    assert!(it.has_said(|frame| match frame {
        Frame::Stored(ranges, _) => ranges.iter().any(|range| range.last == last),
        _ => false,
    }));
}

/// What a hole waits for may be over in any way: each lets it go on.
#[test]
fn a_hole_goes_on_whatever_becomes_of_what_it_waited_for() {
    for fails in [false, true] {
        let mut it = Hand::receiving();
        it.hears_file(8 * GRAIN);
        it.hears(SECOND, header(0, 0, 0, Some(GRAIN)));
        it.hears_pieces(SECOND, 0, 0, GRAIN);
        it.hears(SECOND, header(1, 0, GRAIN, Some(GRAIN)));
        it.hears_pieces(SECOND, 1, GRAIN, 2 * GRAIN);
        it.loses(SECOND);
        // Over both: the second is still in its way when the first is over.
        it.hears(LEAD, hole(2, 0, 2 * GRAIN));
        it.does(is_write);
        assert!(!it.ops.iter().any(|op| is_hole(&op.2)), "another write is under way");
        match fails {
            true => it.fails(is_write, floe_types::Code::Io),
            false => it.does(is_write),
        }
        it.does(is_hole);
        it.does(is_record);
    }
}
