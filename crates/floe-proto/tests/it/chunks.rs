//! Chunks at the receiver: what is verified is never written over, whatever a peer sends and in
//! whatever order operations end.

use crate::hand::*;
use crate::transfers::path;
use floe_proto::command::Event;
use floe_proto::disk::{DiskDone, DiskOp, Opened};
use floe_proto::frame::{Basis, Entry, EntryBody, Frame};
use floe_types::{
    ByteCount, ChunkDigest, ChunkHasher, Code, EntryIndex, Fault, Freshness, Offset, Range, Root,
    StreamId, Subtree, TransferId,
};

fn digest_of(bytes: &[u8]) -> ChunkDigest {
    let mut hasher = ChunkHasher::new(Offset(0));
    hasher.update(bytes);
    hasher.finish().unwrap()
}

fn committed(it: &Hand) -> bool {
    it.has_said(|frame| matches!(frame, Frame::Committed(..)))
}

fn writes(it: &Hand) -> usize {
    it.ops.iter().filter(|(_, _, op)| is_write(op)).count()
}

/// A file of two chunks, the first (or both) recorded.
fn with_chunks(recorded: u64) -> Hand {
    let mut it = Hand::receiving();
    it.hears_file(2 * GRAIN);
    for nth in 0..recorded {
        it.hears_chunk(LEAD, nth, nth * GRAIN, (nth + 1) * GRAIN);
    }
    it.does_all();
    it
}

#[test]
fn a_chunk_without_length_does_not_write_over_what_is_verified() {
    let mut it = with_chunks(2);
    it.hears(SECOND, header(7, 0, 0, None));
    it.hears(SECOND, piece(7, 0, &[0; 4096]));
    assert_eq!(writes(&it), 0);
    it.hears(LEAD, done(0, 2 * GRAIN));
    it.does_all();
    assert!(committed(&it));
    assert_eq!(it.disk.files.values().next(), Some(&content(0, 2 * GRAIN)));
}

#[test]
fn a_chunk_without_length_may_not_run_into_what_is_held() {
    let mut it = Hand::receiving();
    it.hears_file(2 * GRAIN);
    it.hears_chunk(LEAD, 0, GRAIN, 2 * GRAIN);
    it.does_all();
    it.hears(LEAD, header(1, 0, 0, None));
    it.hears(LEAD, data(1, 0, 0, GRAIN));
    assert!(it.try_hears(LEAD, data(1, 0, GRAIN, GRAIN + 1)).is_err());
}

#[test]
fn a_chunk_without_length_reaches_as_far_as_its_start_is_aligned() {
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    it.hears(LEAD, header(0, 0, GRAIN, None));
    it.hears(LEAD, data(0, GRAIN, GRAIN, 2 * GRAIN));
    assert!(it.try_hears(LEAD, data(0, GRAIN, 2 * GRAIN, 3 * GRAIN)).is_err());
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    assert!(it.try_hears(LEAD, header(0, 0, 5, None)).is_err());
}

/// Of eight chunks every second is recorded, and no more than two ranges may be told.
fn with_more_than_can_be_told(basis: Basis) -> Hand {
    let mut config = config();
    config.limits.have_ranges_max = 2;
    config.limits.want_ranges_max = 2;
    let mut it = Hand::receiving_with(config);
    it.hears(LEAD, entries(vec![file(0, "", 8 * GRAIN, 1)]));
    let chunk = |nth: u64| {
        let (start, end) = (nth * GRAIN, (nth + 1) * GRAIN);
        let mut hasher = ChunkHasher::new(Offset(start));
        hasher.update(&content(start, end));
        let range = Range::new(Offset(start), Offset(end));
        Subtree { range, digest: hasher.finish().unwrap() }
    };
    let have: Vec<_> = [0, 2, 4, 6].into_iter().map(chunk).collect();
    // The disk opens its own stage too.
    let (_, id, op) = it.takes(is_open);
    it.disk.run(0, op);
    it.disk.stages.entry(path("f")).or_default().held.clone_from(&have);
    it.ends(id, DiskDone::Opened(Opened::Sink { have, basis, finished: None }));
    it
}

#[test]
fn what_is_held_and_cannot_be_told_is_forgotten_before_it_is_written_over() {
    for basis in [Basis::Version, Basis::Content] {
        let mut it = with_more_than_can_be_told(basis);
        let told = |frame: &Frame<_>| match frame {
            Frame::Want(want) => want.have.len() == 2,
            _ => false,
        };
        assert!(it.has_said(told));
        it.hears(SECOND, header(7, 0, 6 * GRAIN, Some(GRAIN)));
        assert_eq!(it.session.data_room(SECOND), ByteCount::ZERO);
        it.does(|op| matches!(op, DiskOp::Forget { .. }));
        let held: Vec<_> = it.disk.stages[&path("f")].held.iter().map(|one| one.range).collect();
        let chunk = |nth: u64| Range::new(Offset(nth * GRAIN), Offset((nth + 1) * GRAIN));
        assert_eq!(held, [chunk(0), chunk(2)], "{basis:?}");
        it.hears_pieces(SECOND, 7, 6 * GRAIN, 7 * GRAIN);
        assert_eq!(writes(&it), 1);
    }
}

#[test]
fn a_chunk_that_is_held_in_part_is_a_violation() {
    let mut it = with_chunks(1);
    assert!(it.try_hears(LEAD, header(7, 0, 0, Some(2 * GRAIN))).is_err());
}

#[test]
fn of_two_chunks_of_one_range_only_the_later_is_written() {
    let mut it = Hand::receiving();
    it.hears_file(2 * GRAIN);
    it.hears_chunk(LEAD, 0, GRAIN, 2 * GRAIN);
    it.does_all();
    it.hears(LEAD, header(1, 0, 0, Some(GRAIN)));
    it.hears(LEAD, piece(1, 0, &[1; 4096]));
    it.hears(SECOND, header(2, 0, 0, Some(GRAIN)));
    assert_eq!(it.session.data_room(SECOND), ByteCount(0), "a write of that range is under way");
    it.does(is_write);
    assert!(it.session.data_room(SECOND).0 > 0);
    it.hears(SECOND, data(2, 0, 0, GRAIN));
    it.hears(SECOND, seal(2, 0, GRAIN));
    it.hears(LEAD, piece(1, 4096, &[1; 4096]));
    assert_eq!(writes(&it), 1, "what was superseded is not written");
    it.hears(LEAD, done(0, 2 * GRAIN));
    it.does_all();
    assert!(committed(&it));
}

#[test]
fn a_chunk_that_comes_again_while_it_is_recorded_is_not_written_again() {
    let mut it = with_chunks(1);
    it.hears_chunk(SECOND, 5, GRAIN, 2 * GRAIN);
    it.does(is_write);
    it.loses(SECOND);
    it.hears(LEAD, header(6, 0, GRAIN, Some(GRAIN)));
    assert_eq!(it.session.data_room(LEAD), ByteCount(0), "its record is under way");
    it.does(is_record);
    assert!(it.session.data_room(LEAD).0 > 0);
    it.hears(LEAD, piece(6, 0, &[1; 4096]));
    it.hears(LEAD, done(0, 2 * GRAIN));
    it.hears(LEAD, piece(6, 4096, &[1; 4096]));
    it.does_all();
    assert!(committed(&it));
}

#[test]
fn a_piece_that_is_handed_in_without_room_fails_its_entry_and_is_not_written() {
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![file(0, "", 9, 1)]));
    it.hears(LEAD, header(0, 0, 0, Some(9)));
    it.hears(LEAD, data(0, 0, 0, 9));
    assert_eq!(writes(&it), 0);
    assert!(it.has_said(|frame| matches!(frame, Frame::Failed(_))));
}

#[test]
fn what_is_recognised_is_not_written_over() {
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![file(0, "", 5, 1)]));
    it.hears(LEAD, header(0, 0, 0, Some(5)));
    let (_, id, _) = it.takes(is_open);
    let (have, finished) = (Vec::new(), Some(Root::of(&content(0, 5))));
    it.ends(id, DiskDone::Opened(Opened::Sink { have, basis: Basis::Version, finished }));
    it.hears(LEAD, piece(0, 0, b"other"));
    assert_eq!(writes(&it), 0);
    assert!(it.ops.iter().any(|(_, _, op)| is_commit(op)));
}

#[test]
fn a_stream_goes_on_after_its_chunk_was_abandoned_and_then_sealed() {
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    it.hears(SECOND, header(0, 0, 0, Some(4 * GRAIN)));
    it.hears_pieces(SECOND, 0, 0, 4 * GRAIN);
    assert_eq!(writes(&it), 4);
    let replaces = Some(EntryIndex(0));
    it.hears(LEAD, entries(vec![Entry { replaces, ..file(1, "", 4 * GRAIN, 2) }]));
    it.hears(SECOND, seal(0, 0, 4 * GRAIN));
    it.does_all();
    it.hears(SECOND, header(1, 1, 0, Some(4 * GRAIN)));
    assert!(it.session.data_room(SECOND).0 > 0, "the stream is dead");
    it.hears_pieces(SECOND, 1, 0, 4 * GRAIN);
    it.hears(SECOND, seal(1, 0, 4 * GRAIN));
    it.hears(LEAD, done(1, 4 * GRAIN));
    it.does_all();
    assert!(committed(&it));
}

#[test]
fn a_source_that_changes_while_its_old_version_is_committed_waits_for_that() {
    let mut it = with_chunks(2);
    it.hears(LEAD, done(0, 2 * GRAIN));
    let replaces = Some(EntryIndex(0));
    it.hears(LEAD, entries(vec![Entry { replaces, ..file(1, "", GRAIN, 2) }]));
    assert!(!it.ops.iter().any(|(_, _, op)| is_open(op)), "two stages of one path at once");
    it.does(is_commit);
    assert!(!committed(&it), "what was replaced is let go of without a word");
    it.does(is_open);
    it.hears(LEAD, header(5, 1, 0, Some(GRAIN)));
    it.hears(LEAD, data(5, 0, 0, GRAIN));
    it.hears(LEAD, seal(5, 0, GRAIN));
    it.hears(LEAD, done(1, GRAIN));
    it.hears(LEAD, Frame::Complete(T, floe_types::EntryCount(2)));
    it.does_all();
    assert!(it.has_said(|frame| matches!(frame, Frame::Completed(_))));
    assert_eq!(it.disk.files.values().next(), Some(&content(0, GRAIN)));
    let finished = |event: &&Event| matches!(event, Event::EntryFinished { .. });
    assert_eq!(it.events.iter().filter(finished).count(), 1);
}

#[test]
fn a_batch_of_which_one_fails_ends_a_transfer_that_stops_at_the_first_failure() {
    for failing in 0..3 {
        let mut it = Hand::getting("d", fail_fast());
        let files = (1..4).map(|nth| file(nth, &format!("f{nth}"), 5, nth));
        it.hears(LEAD, entries([dir(0, "")].into_iter().chain(files).collect()));
        it.hears(LEAD, entries(vec![end_of(4, "", 0)]));
        (0..4).for_each(|_| it.does(is_open));
        for nth in 1..4 {
            it.hears(LEAD, header(nth, nth, 0, Some(5)));
            it.hears(LEAD, data(nth, 0, 0, 5));
            it.hears(LEAD, seal(nth, 0, 5));
            it.hears(LEAD, done(nth, 5));
        }
        (0..3).for_each(|_| it.does(is_write));
        let (_, id, _) = it.takes(is_commit);
        let fault = || Err(Fault::new(Code::NoSpace, ""));
        let results = (0..3).map(|nth| if nth == failing { fault() } else { Ok(()) }).collect();
        it.ends(id, DiskDone::Committed(results));
        it.does_all();
        assert_eq!(it.result().expect("it never ends").unwrap_err().code, Code::NoSpace);
        let finished = |event: &&Event| matches!(event, Event::EntryFinished { .. });
        assert_eq!(it.events.iter().filter(finished).count(), 2, "two of them stand");
    }
}

#[test]
fn no_timer_is_due_while_a_long_commit_runs() {
    let mut it = with_chunks(2);
    it.hears(LEAD, done(0, 2 * GRAIN));
    assert!(it.ops.iter().any(|(_, _, op)| is_commit(op)));
    for _ in 0..20 {
        it.passes(1_000_000);
        let due = it.session.poll_timeout().unwrap();
        assert!(due > it.now, "due at {due}, now {}", it.now);
    }
}

#[test]
fn a_small_object_that_comes_again_before_its_commit_is_not_stored() {
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![dir(0, ""), file(1, "a", 5, 1), file(2, "b", 5, 2)]));
    (0..3).for_each(|_| it.does(is_open));
    for (stream, seq) in [(SECOND, 0), (LEAD, 1)] {
        it.hears(stream, header(seq, 1, 0, Some(5)));
        it.hears(stream, data(seq, 0, 0, 5));
        it.hears(stream, seal(seq, 0, 5));
        it.does_all();
    }
    assert!(
        !it.has_said(|frame| matches!(frame, Frame::Stored(..))),
        "it counts on: {:?}",
        it.said
    );
    it.hears(LEAD, done(1, 5));
    it.passes(1_000_000);
    it.does_all();
    assert!(committed(&it));
}

#[test]
fn more_than_the_window_is_a_violation() {
    let mut it = Hand::receiving();
    it.hears_file(64 * GRAIN * 4);
    let bytes = content(0, GRAIN);
    for nth in 0..81 {
        it.hears(LEAD, header(nth, 0, nth * GRAIN, Some(GRAIN)));
        let heard = it.try_hears(LEAD, piece(nth, 0, &bytes));
        assert_eq!(heard.is_err(), nth == 80, "{nth}");
        if heard.is_ok() {
            it.hears(LEAD, seal_of(nth, nth * GRAIN, &bytes));
        }
    }
}

#[test]
fn entries_that_failed_are_not_under_way() {
    let mut it = Hand::receiving();
    let files = (1..6).map(|nth| file(nth, &format!("f{nth}"), GRAIN, nth));
    it.hears(LEAD, entries([dir(0, "")].into_iter().chain(files).collect()));
    (0..6).for_each(|_| it.does(is_open));
    for nth in 1..6 {
        it.hears(LEAD, header(nth, nth, 0, Some(GRAIN)));
        it.hears(LEAD, data(nth, 0, 0, GRAIN));
        it.fails(is_write, Code::NoSpace);
    }
    assert_eq!(it.session.summary(T).unwrap().window_bytes_max, ByteCount(GRAIN));
}

#[test]
fn a_done_below_what_came_fails_the_entry() {
    let mut it = Hand::receiving();
    let Entry { index, path, replaces, body } = file(0, "", 0, 1);
    let EntryBody::File { metadata, .. } = body else { unreachable!() };
    let (size, version, freshness) = (None, None, Freshness::Fresh);
    let body = EntryBody::File { size, holes: ByteCount::ZERO, version, freshness, metadata };
    it.hears(LEAD, entries(vec![Entry { index, path, replaces, body }]));
    it.does(is_open);
    it.hears_chunk(LEAD, 0, 0, GRAIN);
    it.hears_chunk(LEAD, 1, GRAIN, 2 * GRAIN);
    it.does_all();
    it.hears(LEAD, done(0, GRAIN));
    let code = |frame: &Frame<_>| match frame {
        Frame::Failed(failed) => failed.fault.code == Code::Integrity,
        _ => false,
    };
    assert!(it.has_said(code), "{:?}", it.said);
}

#[test]
fn an_object_of_several_chunks_that_fill_the_window_is_recorded() {
    let mut it = Hand::new(floe_proto::command::Role::Server, config());
    let mut asked = opening(T, floe_proto::frame::Direction::Put);
    (asked.chunk, asked.window) = (floe_types::ChunkSize::DEFAULT, ByteCount(2 * GRAIN));
    it.hears(LEAD, Frame::Open(asked));
    it.hears_file(4 * GRAIN);
    it.hears_chunk(LEAD, 0, 0, GRAIN);
    it.does_all();
    assert!(it.has_said(|frame| matches!(frame, Frame::Stored(..))), "{:?}", it.said);
}

#[test]
fn entries_that_have_ended_and_directories_are_not_ahead() {
    let mut config = config();
    (config.limits.entries_ahead_max, config.limits.batch_entries_max) = (2, 2);
    let mut it = Hand::receiving_with(config);
    it.hears(LEAD, entries(vec![dir(0, ""), file(1, "a", 0, 1), file(2, "b", 0, 2)]));
    (0..3).for_each(|_| it.does(is_open));
    it.hears(LEAD, done(1, 0));
    it.hears(LEAD, done(2, 0));
    it.does(is_commit);
    // What was committed is still being released.
    it.hears(LEAD, entries(vec![file(3, "c", 0, 3), file(4, "d", 0, 4)]));
    assert!(it.try_hears(LEAD, entries(vec![file(5, "e", 0, 5)])).is_err());
}

#[test]
fn a_quarter_of_a_batch_is_committed_while_none_is_unless_commits_are_slow() {
    let mut config = config();
    config.limits.batch = floe_types::Micros::from_secs(3_600);
    config.limits.batch_entries_max = 8;
    let mut it = Hand::receiving_with(config);
    let files = (1..20).map(|nth| file(nth, &format!("f{nth}"), 0, nth));
    it.hears(LEAD, entries([dir(0, "")].into_iter().chain(files).collect()));
    (0..20).for_each(|_| it.does(is_open));
    let commits = |it: &Hand| {
        let sizes = it.ops.iter().filter_map(|(_, _, op)| match op {
            DiskOp::Commit { batch, .. } => Some(batch.len()),
            _ => None,
        });
        sizes.collect::<Vec<_>>()
    };
    it.hears(LEAD, done(1, 0));
    assert!(commits(&it).is_empty(), "an eighth");
    it.hears(LEAD, done(2, 0));
    assert_eq!(commits(&it), [2]);
    (3..8).for_each(|nth| it.hears(LEAD, done(nth, 0)));
    assert_eq!(commits(&it), [2], "one is running");
    it.passes(1_000_000);
    it.does(is_commit);
    assert_eq!(commits(&it), [5], "it took as long as these five needed to come");
    it.passes(1_000_000);
    it.does(is_commit);
    // These come in no time, and a commit takes a second.
    (8..15).for_each(|nth| it.hears(LEAD, done(nth, 0)));
    assert!(commits(&it).is_empty());
    it.hears(LEAD, done(15, 0));
    assert_eq!(commits(&it), [8], "it is full");
}

#[test]
fn a_transfer_id_is_never_used_twice() {
    for id in [0, u32::MAX] {
        let mut it = Hand::receiving();
        let again = open(TransferId(id), floe_proto::frame::Direction::Put);
        assert!(it.try_hears(LEAD, again).is_err());
    }
}

#[test]
fn what_a_lost_stream_carried_goes_again_once_the_peer_is_known_to_live() {
    let mut disk = crate::disk::Disk::default();
    disk.files.insert(path("file"), content(0, 2 * GRAIN));
    let mut it = Hand::putting(disk, "file", options(), config());
    it.does(is_open);
    it.hears(LEAD, want_all(0));
    it.does_all();
    let headers = |it: &Hand, on: StreamId| {
        let is_one = |(stream, frame): &&(StreamId, Frame<_>)| {
            *stream == on && matches!(frame, Frame::Header(_))
        };
        it.said.iter().filter(is_one).count()
    };
    let (kept, lost) = (headers(&it, LEAD), headers(&it, StreamId(1)));
    assert!(lost > 0);
    it.passes(1);
    it.loses(StreamId(1));
    it.does_all();
    assert_eq!(headers(&it, LEAD), kept, "the peer may be dead, and this stream with it");
    let asked = it.said.iter().find_map(|(stream, frame)| match frame {
        Frame::Ping(number) if *stream == LEAD => Some(*number),
        _ => None,
    });
    it.hears(LEAD, Frame::Pong(asked.unwrap() - 1));
    it.does_all();
    assert_eq!(headers(&it, LEAD), kept, "an older answer shows nothing");
    it.hears(LEAD, Frame::Pong(asked.unwrap()));
    it.does_all();
    assert_eq!(headers(&it, LEAD), kept + lost);
}

#[test]
fn data_and_seal_without_their_header_are_a_violation() {
    for stream in [LEAD, SECOND] {
        for frame in [data(7, 0, 0, 10), seal(7, 0, 10)] {
            // Before any HEADER, of a number that had none, and on another stream than its own.
            let mut it = Hand::receiving();
            assert!(it.try_hears(stream, frame.clone()).is_err(), "{stream:?} {frame:?}");
            let mut it = Hand::receiving();
            it.hears_file(4 * GRAIN);
            it.hears(stream, header(6, 0, 0, Some(GRAIN)));
            assert!(it.try_hears(stream, frame.clone()).is_err(), "{stream:?} {frame:?}");
            let mut it = Hand::receiving();
            it.hears_file(4 * GRAIN);
            it.hears(if stream == LEAD { SECOND } else { LEAD }, header(7, 0, 0, Some(GRAIN)));
            assert!(it.try_hears(stream, frame.clone()).is_err(), "{stream:?} {frame:?}");
            // An end that only sends takes none at all.
            let mut it = Hand::new(floe_proto::command::Role::Server, config());
            it.hears(LEAD, open(T, floe_proto::frame::Direction::Get));
            assert!(it.try_hears(stream, frame.clone()).is_err(), "{stream:?} {frame:?}");
        }
    }
}

#[test]
fn what_is_under_way_of_a_transfer_that_was_stopped_is_passed_over() {
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    it.hears(SECOND, header(0, 0, 0, Some(GRAIN)));
    it.hears(SECOND, data(0, 0, 0, 10));
    let stop = floe_types::Fault::new(Code::Interrupted, "");
    it.hears(LEAD, Frame::Cancel(T, stop));
    it.does_all();
    it.hears(SECOND, data(0, 0, 10, GRAIN));
    it.hears(SECOND, seal(0, 0, GRAIN));
    // A HEADER that left before the other end was heard of.
    it.hears(SECOND, header(1, 0, GRAIN, Some(GRAIN)));
    it.hears(SECOND, data(1, GRAIN, GRAIN, 2 * GRAIN));
    it.hears(SECOND, seal(1, GRAIN, 2 * GRAIN));
    assert!(it.try_hears(SECOND, seal(2, GRAIN, 2 * GRAIN)).is_err());
}

#[test]
fn a_large_file_may_not_come_before_its_want_and_write_over_what_is_held() {
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![file(0, "", 4 * GRAIN, 1)]));
    assert!(it.ops.iter().any(|(_, _, op)| is_open(op)), "its stage is being opened");
    assert!(it.try_hears(LEAD, header(0, 0, 0, Some(GRAIN))).is_err());
}

#[test]
fn a_small_file_that_comes_before_its_want_does_not_write_over_what_is_held() {
    let mut it = Hand::receiving_with(config());
    it.hears(LEAD, entries(vec![file(0, "", 100, 1)]));
    it.hears(LEAD, header(0, 0, 0, Some(100)));
    let have = vec![Subtree {
        range: Range::new(Offset(0), Offset(100)),
        digest: digest_of(&content(0, 100)),
    }];
    let (_, id, _) = it.takes(is_open);
    let opened = Opened::Sink { have, basis: Basis::Version, finished: None };
    it.ends(id, DiskDone::Opened(opened));
    it.hears(LEAD, piece(0, 0, &[7; 100]));
    assert!(!it.ops.iter().any(|(_, _, op)| is_write(op)), "it is verified already");
}
