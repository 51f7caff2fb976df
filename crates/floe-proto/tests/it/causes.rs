//! Where the time goes, as TCP and the thread tell it, and which limit follows.

use crate::disk::{Bytes, Disk};
use crate::hand::*;
use floe_proto::causes::Limit;
use floe_proto::command::{Congestion, PathSample};
use floe_proto::disk::{Took, Waited};
use floe_proto::frame::{Causes, Direction, Frame, Opened, Stats};
use floe_types::{ByteCount, Micros, StreamId};

const STREAMS: [StreamId; 2] = [LEAD, SECOND];
const QUARTER: u64 = 250_000;

/// A client that puts, and whose sockets are full.
fn full() -> Hand {
    let mut disk = Disk::default();
    disk.files.insert(crate::transfers::path("f"), content(0, 16 * GRAIN));
    let mut it = Hand::putting(disk, "f", options(), config());
    let opened = Opened { transfer: T, handle: vec![], window: ByteCount(4 << 20) };
    it.hears(LEAD, Frame::Opened(opened));
    it.does_all();
    it.stuck = STREAMS.to_vec();
    it.hears(LEAD, want_all(0));
    it.does_all();
    it
}

/// What a quarter of a second of a stream comes to on a path that is full: 100 ms, 1 MB a second,
/// and a queue as long as the path.
fn full_path() -> PathSample {
    PathSample {
        round_trip: Micros(200_000),
        round_trip_min: Micros(100_000),
        peer_window: ByteCount(4 << 20),
        sending: Micros(QUARTER),
        sent: ByteCount(250_000),
        ..PathSample::default()
    }
}

/// Ten seconds go by, of which each quarter is alike; the receiver spends its time so.
fn spend(it: &mut Hand, quarter: PathSample, theirs: Causes) -> Causes {
    for nth in 1..=40 {
        let so_far = PathSample {
            sending: Micros(quarter.sending.0 * nth),
            peer_limited: Micros(quarter.peer_limited.0 * nth),
            sent: ByteCount(quarter.sent.0 * nth),
            sent_again: ByteCount(quarter.sent_again.0 * nth),
            worked: Micros(quarter.worked.0 * nth),
            ran: Micros(quarter.ran.0 * nth),
            ..quarter
        };
        it.passes(QUARTER);
        for stream in STREAMS {
            it.session.handle_path(stream, so_far, it.now);
        }
    }
    it.hears(LEAD, Frame::Stats(Stats { causes: theirs, ..Stats::default() }));
    it.session.summary(T).unwrap().causes
}

fn starved() -> Causes {
    Causes { starved: Micros(20_000_000), ..Causes::default() }
}

fn limit_of(quarter: PathSample, theirs: Causes) -> Option<Limit> {
    let causes = spend(&mut full(), quarter, theirs);
    let limited = causes.limit(Direction::Put)?;
    assert!(limited.percent >= 90, "{limited:?} of {causes:?}");
    Some(limited.by)
}

#[test]
fn a_full_socket_is_what_tcp_says_it_waits_for() {
    let full = full_path();
    // A queue of its own length: the path is full, and CUBIC finds out by losing packets.
    let found_out = PathSample { sent_again: ByteCount(2_500), ..full };
    let lossy = PathSample { round_trip: Micros(101_000), ..found_out };
    // One packet of 10,000 is no reason for anything.
    let hardly = PathSample { sent_again: ByteCount(25), ..lossy };
    let bbr = PathSample { congestion: Congestion::Model, ..lossy };
    let broken = PathSample { sent_again: ByteCount(60_000), ..bbr };
    let idle = PathSample { round_trip: Micros(101_000), ..full };
    // 25 KB in a round trip, through a window of 25 KB.
    let small = PathSample {
        sent: ByteCount(62_500),
        peer_limited: Micros(QUARTER),
        peer_window: ByteCount(25_000),
        ..idle
    };
    // Somebody on the way does not read: the window is much larger than what goes in a round trip.
    let proxy = PathSample { peer_window: ByteCount(4 << 20), ..small };
    for (sample, limit) in [
        (full, Limit::Network),
        (found_out, Limit::Network),
        (lossy, Limit::Loss),
        (hardly, Limit::Network),
        (bbr, Limit::Network),
        (broken, Limit::Loss),
        (small, Limit::PeerSocket),
        (proxy, Limit::Network),
    ] {
        assert_eq!(limit_of(sample, starved()), Some(limit), "{sample:?}");
    }
}

#[test]
fn a_thread_that_never_rests_waits_for_nothing() {
    let always = PathSample { worked: Micros(QUARTER), ..full_path() };
    assert_eq!(limit_of(always, starved()), Some(Limit::SenderCpu));
    // Half of the time is what keeping a path full may cost.
    let half = PathSample { worked: Micros(QUARTER / 2), ..full_path() };
    assert_eq!(limit_of(half, starved()), Some(Limit::Network));
}

/// By a quota of its control group, or others on its core.
#[test]
fn a_thread_that_hardly_gets_a_processor_waits_for_that_alone() {
    let of = |worked: u64, ran: u64| {
        limit_of(PathSample { worked: Micros(worked), ran: Micros(ran), ..full_path() }, starved())
    };
    assert_eq!(of(QUARTER * 2 / 5, QUARTER / 8), Some(Limit::SenderCpu));
    assert_eq!(of(QUARTER * 2 / 5, QUARTER / 5), Some(Limit::Network), "it has half of one");
    assert_eq!(of(QUARTER / 20, QUARTER / 80), Some(Limit::Network), "it hardly works");
    assert_eq!(of(QUARTER * 2 / 5, 0), Some(Limit::Network), "nobody knows");
}

#[test]
fn what_a_thread_did_before_a_stream_came_is_not_the_streams() {
    let mut it = full();
    let worked = PathSample { worked: Micros(3_600_000_000), ..full_path() };
    for _ in 0..4 {
        it.passes(QUARTER);
        STREAMS.iter().for_each(|stream| it.session.handle_path(*stream, worked, it.now));
    }
    it.passes(QUARTER);
    let causes = it.session.summary(T).unwrap().causes;
    assert_eq!(causes.cpu, Micros::ZERO, "{causes:?}");
    assert!(causes.network >= Micros(2_000_000), "{causes:?}");
}

#[test]
fn a_receiver_whose_thread_never_rests_is_the_limit_of_who_waits_for_it() {
    let mut it = Hand::receiving();
    it.hears_file(4 * GRAIN);
    let always = PathSample { worked: Micros(QUARTER), ..PathSample::default() };
    for nth in 1..=40 {
        it.passes(QUARTER);
        let so_far = PathSample { worked: Micros(always.worked.0 * nth), ..always };
        for stream in STREAMS {
            it.session.handle_path(stream, so_far, it.now);
        }
    }
    let theirs = it.session.summary(T).unwrap().causes;
    assert!(theirs.sink_cpu > Micros(18_000_000), "{theirs:?}");
    // The sender's TCP sees a window that is shut.
    let shut = PathSample { peer_limited: Micros(QUARTER), ..full_path() };
    assert_eq!(limit_of(shut, theirs), Some(Limit::ReceiverCpu));
    assert_eq!(limit_of(shut, starved()), Some(Limit::Network));
}

#[test]
fn a_disk_that_makes_no_thread_wait_is_not_what_a_stream_waits_for() {
    for waited in [Waited::Yes, Waited::No] {
        let mut it = Hand::receiving();
        it.hears_file(8 * GRAIN);
        for nth in 0..4 {
            it.hears_chunk(LEAD, nth, nth * GRAIN, (nth + 1) * GRAIN);
        }
        it.hears(LEAD, header(4, 0, 4 * GRAIN, Some(GRAIN)));
        assert_eq!(it.session.data_room(LEAD), ByteCount::ZERO);
        it.now = it.now.plus(Micros(1_000_000));
        let (_, id, op) = it.takes(is_write);
        let done = it.disk.run(LEAD.0, op);
        let took = Took { queued: Micros(9), busy: Micros(9), waited };
        it.session.handle_disk(id, done, took, it.now);
        it.poll();
        let causes = it.session.summary(T).unwrap().causes;
        let (disk, cpu) = match waited {
            Waited::Yes => (1_000_000, 0),
            Waited::No => (0, 1_000_000),
        };
        assert_eq!((causes.sink_disk.0, causes.sink_cpu.0), (disk, cpu), "{causes:?}");
    }
}

#[test]
fn nothing_is_the_limit_while_the_other_end_has_said_too_little() {
    let causes = spend(&mut full(), full_path(), Causes::default());
    assert_eq!(causes.limit(Direction::Put), None);
    assert_eq!(Causes::default().limit(Direction::Get), None);
    assert_eq!(starved().limit(Direction::Get), None);
}

/// A transfer that is over within a second: what its server did is told before its end.
#[test]
fn a_server_says_what_it_did_before_a_transfer_ends() {
    for (took, told) in [(200_000, false), (300_000, true)] {
        let mut it = Hand::receiving();
        it.hears_file(GRAIN);
        it.hears_chunk(LEAD, 0, 0, GRAIN);
        it.passes(took);
        it.does_all();
        it.hears(LEAD, done(0, GRAIN));
        it.does_all();
        it.hears(LEAD, Frame::Complete(T, floe_types::EntryCount(1)));
        let at = |which: fn(&Frame<Bytes>) -> bool| it.said.iter().position(|(_, it)| which(it));
        let end = at(|frame| matches!(frame, Frame::Completed(_)));
        let stats = at(|frame| matches!(frame, Frame::Stats(_)));
        assert!(end.is_some(), "{:?}", it.said);
        assert_eq!(stats.is_some_and(|at| Some(at + 1) == end), told, "{took}: {:?}", it.said);
    }
}
