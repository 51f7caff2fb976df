//! What a peer can cause is bounded: what waits to be said, what is open, how long a stream is
//! silent.

use crate::answers::digest;
use crate::disk::{Bytes, Disk};
use crate::hand::*;
use crate::transfers::path;
use floe_proto::command::{Command, Config, Event, Role, TransferOptions};
use floe_proto::disk::DiskOp;
use floe_proto::frame::{
    Basis, Direction, Frame, Level, More, Recursive, Request, SeqRange, Verbs, Want,
};
use floe_proto::session::Asked;
use floe_types::{
    ByteCount, ChainingValue, ChunkDigest, Code, EntryCount, EntryId, EntryIndex, Micros, Offset,
    Range, Rate, RequestId, StreamId, Subtree, TransferId,
};

fn opens(it: &Hand) -> usize {
    it.ops.iter().filter(|(_, _, op)| is_open(op)).count()
}

fn want(index: u64, have: Vec<Subtree>) -> Frame<Bytes> {
    let (basis, finished, more) = (Basis::Content, None, More::Last);
    Frame::Want(Want { entry: entry(index), basis, have, finished, more })
}

#[test]
fn a_peer_that_says_ping_and_does_not_read_hears_the_last_pong() {
    let mut it = Hand::new(Role::Server, config());
    it.stuck = vec![LEAD];
    (0..10_000).for_each(|nth| it.hears(LEAD, Frame::Ping(nth)));
    it.stuck.clear();
    it.poll();
    assert_eq!(it.said, [(LEAD, Frame::Pong(9_999))]);
}

#[test]
fn a_request_counts_until_its_reply_is_taken() {
    let mut it = Hand::new(Role::Server, config());
    it.stuck = vec![LEAD];
    let request = |nth| Frame::Request(RequestId(nth), Request::MakeDirectory { path: path("x") });
    for nth in 0..64 {
        it.hears(LEAD, request(nth));
        it.does_all();
    }
    let mut stuck = it.session.clone();
    assert!(stuck.handle_frame(LEAD, request(64), it.now).is_err());
    it.stuck.clear();
    it.poll();
    it.hears(LEAD, request(64));
    it.does_all();
    it.session.handle_command(Command::Drain, it.now).unwrap();
    it.poll();
    assert!(it.has_said(|frame| matches!(frame, Frame::Close(_))), "requests are not over");
}

#[test]
fn a_request_that_is_refused_counts_until_its_reply_is_taken() {
    let may_not = || Request::Remove { path: path("x"), recursive: Recursive::No };
    let may = || Request::MakeDirectory { path: path("x") };
    let begin = || {
        let verbs = Verbs::MAKE_DIRECTORY;
        let mut it = Hand::new(Role::Server, Config { verbs, ..config() });
        it.stuck = vec![LEAD];
        it
    };
    let mut it = begin();
    it.hears(LEAD, Frame::Request(RequestId(7), may_not()));
    let again = it.try_hears(LEAD, Frame::Request(RequestId(7), may()));
    assert!(again.is_err(), "the refusal would free the number of one that runs");
    let mut it = begin();
    (0..64).for_each(|nth| it.hears(LEAD, Frame::Request(RequestId(nth), may_not())));
    assert!(it.try_hears(LEAD, Frame::Request(RequestId(64), may())).is_err());
    let mut it = begin();
    it.hears(LEAD, Frame::Request(RequestId(7), may_not()));
    it.stuck.clear();
    it.poll();
    it.hears(LEAD, Frame::Request(RequestId(7), may()));
    assert_eq!(it.ops.len(), 1, "its number is free again");
}

#[test]
fn a_server_does_not_listen_to_a_peer_that_does_not_read() {
    let mut it = Hand::new(Role::Server, Config { verbs: Verbs(0), ..config() });
    it.stuck = vec![LEAD];
    let mut heard = 0;
    while it.session.hearing(LEAD) == Asked::Yes {
        it.hears(LEAD, open(TransferId(heard), Direction::Get));
        heard += 1;
        assert!(heard < 10_000, "it listens for ever");
    }
    assert_eq!(it.session.hearing(SECOND), Asked::Yes);
    it.stuck.clear();
    it.poll();
    assert_eq!(it.session.hearing(LEAD), Asked::Yes);
}

#[test]
fn a_peer_that_reads_slowly_is_not_silent_and_one_that_does_not_read_is() {
    for reads in [true, false] {
        let mut it = Hand::new(Role::Server, Config { verbs: Verbs(0), ..config() });
        it.stuck = vec![LEAD];
        (0..2000).for_each(|nth| it.hears(LEAD, open(TransferId(nth), Direction::Get)));
        for _ in 0..5 {
            it.session.handle_bytes(SECOND, it.now);
            it.passes(30_000_000);
            if reads {
                assert!(it.session.poll_frame(LEAD, it.now).is_some());
            }
        }
        let hung_up = it.events.contains(&Event::HangUp(LEAD));
        assert_eq!(hung_up, !reads);
    }
}

#[test]
fn what_a_peer_says_it_has_counts_for_a_shared_rate_and_waits_while_it_holds() {
    let mut disk = Disk::default();
    disk.files.insert(path("file"), content(0, 4 * GRAIN));
    let mut it = Hand::putting(disk, "file", options(), config());
    it.does(is_open);
    it.session.hold_data(it.now.plus(Micros(1_000_000)), it.now);
    let range = Range::new(Offset(0), Offset(4 * GRAIN));
    it.hears(LEAD, want(0, vec![Subtree { range, digest: digest(0, 4 * GRAIN) }]));
    assert!(it.ops.is_empty(), "the rate holds: {:?}", it.ops);
    it.passes(1_000_000);
    it.does_all();
    assert!(!it.has_said(|frame| matches!(frame, Frame::Data(_))));
    assert_eq!(it.session.data_bytes(), ByteCount::ZERO);
    assert_eq!(it.session.tolled_bytes(), ByteCount(GRAIN / 4), "it was read and hashed");
}

/// A put of one file over two streams at a rate, up to where the rate holds it up.
fn limited() -> Hand {
    let mut disk = Disk::default();
    disk.files.insert(path("file"), content(0, 24 * GRAIN));
    let rate = Rate::new(GRAIN);
    let mut it = Hand::putting(disk, "file", TransferOptions { rate, ..options() }, config());
    it.does(is_open);
    it.hears(LEAD, want(0, Vec::new()));
    it.does_all();
    it
}

#[test]
fn a_rate_limit_does_not_hold_up_heartbeats() {
    let mut it = limited();
    it.said.clear();
    for stream in [LEAD, SECOND] {
        it.hears(stream, Frame::Ping(7));
        assert_eq!(it.said.pop(), Some((stream, Frame::Pong(7))));
    }
}

#[test]
fn streams_take_turns_at_a_rate_limit() {
    let mut it = limited();
    let count = |it: &Hand, stream: StreamId| {
        let data = |(on, frame): &&(StreamId, Frame<Bytes>)| {
            *on == stream && matches!(frame, Frame::Data(_))
        };
        it.said.iter().filter(data).count()
    };
    for _ in 0..10 {
        it.passes(1_000_000);
        it.does_all();
    }
    let (lead, second) = (count(&it, LEAD), count(&it, SECOND));
    assert!(lead + second >= 10 && lead.abs_diff(second) <= 1, "{lead} and {second}");
}

#[test]
fn a_stream_on_which_bytes_come_is_not_silent() {
    let mut it = Hand::receiving();
    for _ in 0..10 {
        it.passes(20_000_000);
        it.session.handle_bytes(LEAD, it.now);
    }
    assert!(it.session.poll_timeout().is_some());
    it.hears(LEAD, entries(vec![file(0, "", 1, 1)]));
    assert_eq!(opens(&it), 1, "the session is over");
}

#[test]
fn objects_are_opened_as_others_are_gone() {
    let mut config = config();
    config.limits.objects_open_max = 2;
    let mut it = Hand::receiving_with(config);
    let size = GRAIN;
    let files = (1..7).map(|nth| file(nth, &format!("f{nth}"), size, nth));
    it.hears(LEAD, entries([dir(0, "")].into_iter().chain(files).collect()));
    it.hears(LEAD, entries(vec![end_of(7, "", 0)]));
    it.does(is_open);
    for nth in 1..7 {
        assert!(opens(&it) <= 2, "{nth}");
        it.does(is_open);
        it.hears(LEAD, header(nth, nth, 0, Some(size)));
        it.hears(LEAD, data(nth, 0, 0, size));
        it.hears(LEAD, seal(nth, 0, size));
        it.hears(LEAD, done(nth, size));
        it.does(is_write);
        it.passes(200_000);
        it.does(is_commit);
    }
    it.does_all();
    it.hears(LEAD, Frame::Complete(T, EntryCount(8)));
    assert!(it.has_said(|frame| matches!(frame, Frame::Completed(_))));
}

#[test]
fn small_objects_that_come_unasked_are_opened_within_a_bound_and_then_sent_again() {
    let mut config = config();
    config.limits.small_objects_open_max = 2;
    let mut it = Hand::receiving_with(config);
    let files = (1..7).map(|nth| file(nth, &format!("f{nth}"), 5, nth));
    it.hears(LEAD, entries([dir(0, "")].into_iter().chain(files).collect()));
    it.does(is_open);
    for nth in 1..5 {
        it.hears(LEAD, header(nth, nth, 0, Some(5)));
        it.does(is_open);
        it.hears(LEAD, data(nth, 0, 0, 5));
        it.hears(LEAD, seal(nth, 0, 5));
    }
    it.hears(LEAD, header(5, 5, 0, Some(5)));
    assert_eq!(opens(&it), 0);
    it.hears(LEAD, data(5, 0, 0, 5));
    it.hears(LEAD, seal(5, 0, 5));
    assert!(it.has_said(|frame| *frame == Frame::Corrupt(floe_types::Seq(5))));
}

#[test]
fn a_range_that_no_chunks_make_is_a_violation() {
    let digest = ChunkDigest { value: ChainingValue([7; 32]), root: None };
    for (end, is_violation) in [(100, true), (GRAIN, false), (GRAIN + 7, true)] {
        let mut disk = Disk::default();
        disk.files.insert(path("file"), content(0, 4 * GRAIN));
        let mut it = Hand::putting(disk, "file", options(), config());
        it.does(is_open);
        let range = Range::new(Offset(0), Offset(end));
        let heard = it.try_hears(LEAD, want(0, vec![Subtree { range, digest }]));
        assert_eq!(heard.is_err(), is_violation, "{end}");
    }
}

#[test]
fn a_get_on_a_stream_does_not_keep_a_put_from_it() {
    let mut it = Hand::getting("x", options());
    it.hears(LEAD, entries(vec![file(0, "", 2 * GRAIN, 1)]));
    it.does(is_open);
    it.hears_chunk(SECOND, 0, 0, GRAIN);
    it.disk.files.insert(path("y"), content(0, 4 * GRAIN));
    let (local, remote) = (path("y"), path("y"));
    let direction = Direction::Put;
    let command = Command::Transfer { direction, local, remote, options: options() };
    it.session.handle_command(command, it.now).unwrap();
    it.poll();
    it.does(is_open);
    let entry = EntryId { transfer: TransferId(1), index: EntryIndex(0) };
    let (have, finished) = (Vec::new(), None);
    let basis = Basis::Content;
    it.hears(LEAD, Frame::Want(Want { entry, basis, have, finished, more: More::Last }));
    let reads = |lane| {
        let on = move |op: &&Op| op.0 == lane && matches!(op.2, DiskOp::Read { .. });
        it.ops.iter().filter(on).count()
    };
    assert!(reads(floe_proto::disk::Lane::Stream(SECOND)) > 0, "{:?}", it.ops);
}

/// A put of two files, where the first fills the window and the second is wanted too.
fn put_of_two(disk: Disk) -> (Hand, u64) {
    let (mut it, first, second) = announced(disk);
    it.hears(LEAD, want_all(first));
    it.hears(LEAD, want_all(second));
    (it, second)
}

/// A put of two files, and which they are.
fn announced(disk: Disk) -> (Hand, u64, u64) {
    let options = TransferOptions { window: ByteCount(2 * GRAIN), ..options() };
    let mut it = Hand::putting(disk, "t", options, config());
    it.does_all();
    let index = |name: &str| {
        let lists = it.said.iter().filter_map(|(_, frame)| match frame {
            Frame::Entries(_, list) => Some(list),
            _ => None,
        });
        let mut entries = lists.flatten();
        entries.find(|entry| entry.path == path(name)).unwrap().index.0
    };
    let (first, second) = (index("a"), index("b"));
    (it, first, second)
}

fn two_files() -> Disk {
    let mut disk = Disk::default();
    disk.dirs.insert(path("t"));
    disk.files.insert(path("t/a"), content(0, 2 * GRAIN));
    disk.files.insert(path("t/b"), content(0, 2 * GRAIN));
    disk
}

fn chunks_of(it: &Hand, index: u64) -> usize {
    let headers = it.said.iter().filter_map(|(_, frame)| match frame {
        Frame::Header(header) => Some(header.entry),
        _ => None,
    });
    headers.filter(|of| *of == entry(index)).count()
}

/// Nothing of `second` goes before the answer to a PING that stands behind `told`.
fn goes_on_once_heard(mut it: Hand, second: u64, told: impl Fn(&Frame<Bytes>) -> bool) {
    it.does_all();
    assert_eq!(chunks_of(&it, second), 0, "two windows are under way");
    let lead: Vec<_> =
        it.said.iter().filter(|(on, _)| *on == LEAD).map(|(_, frame)| frame).collect();
    let told = lead.iter().position(|frame| told(frame)).expect("the receiver is told");
    let asked = lead.iter().enumerate().find_map(|(nth, frame)| match frame {
        Frame::Ping(number) if nth > told => Some(*number),
        _ => None,
    });
    let asked = asked.expect("nobody asks whether it was heard");
    it.hears(LEAD, Frame::Pong(asked - 1));
    it.does_all();
    assert_eq!(chunks_of(&it, second), 0, "an older answer says nothing of it");
    it.hears(LEAD, Frame::Pong(asked));
    it.does_all();
    assert_eq!(chunks_of(&it, second), 2);
    assert_eq!(it.session.summary(T).unwrap().window_bytes_max, ByteCount(2 * GRAIN));
}

#[test]
fn what_failed_at_the_sender_fills_its_window_until_the_receiver_has_heard() {
    let (mut it, second) = put_of_two(two_files());
    it.fails(|op| matches!(op, DiskOp::Read { .. }), Code::Io);
    goes_on_once_heard(it, second, |frame| matches!(frame, Frame::Failed(_)));
}

/// The receiver may have it whole, and says so only with its commit.
#[test]
fn what_a_lost_stream_carried_fills_the_window_until_it_goes_again() {
    let (mut it, first, second) = announced(two_files());
    let (early, late) = (first.min(second), first.max(second));
    it.hears(LEAD, want_all(late));
    it.does_all();
    assert_eq!((chunks_of(&it, early), chunks_of(&it, late)), (0, 2), "a window");
    it.hears(LEAD, want_all(early));
    it.loses(SECOND);
    it.does_all();
    let asked = it.said.iter().rev().find_map(|(_, frame)| match frame {
        Frame::Ping(number) => Some(*number),
        _ => None,
    });
    it.hears(LEAD, Frame::Pong(asked.expect("whether the peer lives")));
    it.does_all();
    assert_eq!((chunks_of(&it, early), chunks_of(&it, late)), (0, 3), "not a chunk more");
    let on_lead = it.said.iter().find_map(|(stream, frame)| match frame {
        Frame::Header(header) if *stream == LEAD => Some(header.seq),
        _ => None,
    });
    let stored = SeqRange { first: on_lead.unwrap(), last: on_lead.unwrap() };
    it.hears(LEAD, Frame::Stored(vec![stored], Level::Recorded));
    it.does_all();
    assert_eq!(chunks_of(&it, early), 1, "the window goes on");
}

#[test]
fn a_server_that_lifts_its_limit_leaves_the_one_that_was_asked_for() {
    let mut disk = Disk::default();
    disk.files.insert(path("f"), content(0, 2 * GRAIN));
    let mut it = Hand::new(Role::Server, config());
    it.disk = disk;
    let asked = floe_proto::frame::Open {
        path: path("f"),
        rate: Rate::new(GRAIN),
        ..opening(T, Direction::Get)
    };
    it.hears(LEAD, Frame::Open(asked));
    it.session.handle_command(Command::Limit(T, None), it.now).unwrap();
    it.does(is_open);
    it.hears(LEAD, want_all(0));
    for _ in 0..50 {
        it.does_all();
        it.passes(10_000);
    }
    let data = it.said.iter().filter_map(|(_, frame)| match frame {
        Frame::Data(data) => Some(data.len.0),
        _ => None,
    });
    let half = GRAIN / 2;
    assert!((half / 2..half * 5 / 4).contains(&data.sum::<u64>()), "half a second");
}

#[test]
fn what_replaces_another_needs_no_place_of_its_own() {
    let mut config = config();
    (config.limits.entries_ahead_max, config.limits.batch_entries_max) = (2, 2);
    let mut it = Hand::receiving_with(config);
    let two = vec![dir(0, ""), file(1, "a", 2 * GRAIN, 1), file(2, "b", 2 * GRAIN, 2)];
    it.hears(LEAD, entries(two));
    let replaces = Some(EntryIndex(1));
    let again = floe_proto::frame::Entry { replaces, ..file(3, "a", 2 * GRAIN, 3) };
    it.hears(LEAD, entries(vec![again]));
    assert!(it.try_hears(LEAD, entries(vec![file(4, "c", 1, 4)])).is_err(), "two are ahead");
}

#[test]
fn what_is_replaced_while_it_is_committed_needs_no_place() {
    let mut config = config();
    (config.limits.entries_ahead_max, config.limits.batch_entries_max) = (2, 2);
    let mut it = Hand::receiving_with(config);
    it.hears(LEAD, entries(vec![dir(0, ""), file(1, "a", 0, 1), file(2, "b", 0, 2)]));
    (0..3).for_each(|_| it.does(is_open));
    it.hears(LEAD, done(1, 0));
    it.passes(1_000_000);
    let (_, commit, _) = it.takes(is_commit);
    let replaces = Some(EntryIndex(1));
    let again = floe_proto::frame::Entry { replaces, ..file(3, "a", 0, 3) };
    it.hears(LEAD, entries(vec![again]));
    it.hears(LEAD, done(2, 0));
    it.passes(1_000_000);
    it.does(is_commit);
    assert!(it.has_said(|frame| matches!(frame, Frame::Committed(..))));
    // What replaces the first and this one are what its sender counts.
    it.hears(LEAD, entries(vec![file(4, "c", 0, 4)]));
    assert!(it.try_hears(LEAD, entries(vec![file(5, "d", 0, 5)])).is_err());
    let _running = commit;
}

#[test]
fn what_is_replaced_fills_the_window_until_the_receiver_has_heard() {
    let (mut it, second) = put_of_two(two_files());
    it.disk.generation.insert(path("t/a"), 1);
    while !it.ops.iter().any(|(_, _, op)| is_open(op)) {
        it.does(|_| true);
    }
    assert_eq!(chunks_of(&it, second), 0, "the receiver cannot know yet");
    let replaces =
        |list: &Vec<floe_proto::frame::Entry>| list.iter().any(|entry| entry.replaces.is_some());
    goes_on_once_heard(
        it,
        second,
        |frame| matches!(frame, Frame::Entries(_, list) if replaces(list)),
    );
}
