//! Neither end has anything left to do, and the transfer is not over: the client begins again.

use crate::disk::{Bytes, Disk};
use crate::hand::*;
use floe_proto::command::{Command, Event, Role};
use floe_proto::frame::{Basis, Frame, More, Opened, Request, RootWish, Stats, Want, Work};
use floe_types::{ByteCount, Code, Limits, ObjectPath, Rate};

const SECOND: u64 = 1_000_000;

/// A client that announced an entry of two chunks.
fn announced(options: floe_proto::command::TransferOptions) -> Hand {
    let mut disk = Disk::default();
    disk.files.insert(crate::transfers::path("f"), content(0, 2 * GRAIN));
    let mut it = Hand::putting(disk, "f", options, config());
    it.hears(
        LEAD,
        Frame::Opened(Opened { transfer: T, handle: vec![], window: ByteCount(1 << 22) }),
    );
    it.does_all();
    it
}

fn stats(work: Option<Work>) -> Frame<Bytes> {
    Frame::Stats(Stats { work, ..Stats::default() })
}

/// A WANT after which another must come: a flipped bit of key 5.
fn want(more: More) -> Frame<Bytes> {
    let (have, finished) = (Vec::new(), None);
    Frame::Want(Want { entry: entry(0), basis: Basis::Version, have, finished, more })
}

/// A second goes by: the peer is alive, has heard all, and says so.
fn second(it: &mut Hand, work: Option<Work>) {
    let before = it.said.len();
    it.passes(SECOND);
    let ping = |(stream, frame): &(_, Frame<Bytes>)| match frame {
        Frame::Ping(number) => Some((*stream, *number)),
        _ => None,
    };
    let pings: Vec<_> = it.said[before..].iter().filter_map(ping).collect();
    pings.into_iter().for_each(|(stream, number)| it.hears(stream, Frame::Pong(number)));
    it.hears(LEAD, stats(work));
    it.hears(SECOND_STREAM, Frame::Ping(1));
}

const SECOND_STREAM: floe_types::StreamId = crate::hand::SECOND;

fn heartbeat_secs() -> u64 {
    Limits::default().heartbeat.0 / SECOND
}

fn limit_secs() -> u64 {
    Limits::default().stall.0 / SECOND
}

#[test]
fn a_client_begins_again_where_neither_end_has_anything_to_do() {
    let mut it = announced(options());
    it.hears(LEAD, want(More::Follows));
    for _ in 0..limit_secs() - 1 {
        second(&mut it, Some(Work::None));
    }
    assert_eq!(it.result(), None);
    assert!(!it.events.contains(&Event::Stalled));
    // The peer is asked whether it heard all after a heartbeat's time.
    for _ in 0..heartbeat_secs() + 1 {
        second(&mut it, Some(Work::None));
    }
    it.does_all();
    assert!(it.events.contains(&Event::Stalled));
    assert_eq!(it.result().unwrap().unwrap_err().code, Code::TimedOut);
    assert!(it.has_said(|frame| matches!(frame, Frame::Close(Some(fault)) if
        fault.code == Code::TimedOut)));
}

/// What is under way to it is: a link that holds everything back for a minute each way.
#[test]
fn a_peer_that_has_not_heard_all_is_waited_for() {
    let mut it = announced(options());
    it.hears(LEAD, want(More::Follows));
    let waits = |it: &mut Hand, secs| {
        for _ in 0..secs {
            it.passes(SECOND);
            it.hears(LEAD, stats(Some(Work::None)));
            it.hears(SECOND_STREAM, Frame::Ping(1));
        }
    };
    waits(&mut it, 2 * limit_secs());
    for answers in [SECOND_STREAM, LEAD] {
        assert!(!it.events.contains(&Event::Stalled), "{answers:?} was not heard yet");
        let asked = it.said.iter().rev().find_map(|(stream, frame)| match frame {
            Frame::Ping(number) if *stream == answers => Some(*number),
            _ => None,
        });
        it.hears(answers, Frame::Pong(asked.unwrap()));
    }
    waits(&mut it, limit_secs() - 1);
    assert!(!it.events.contains(&Event::Stalled), "it had that long to act on what it heard");
    waits(&mut it, 1);
    assert!(it.events.contains(&Event::Stalled));
}

#[test]
fn a_peer_that_works_is_waited_for() {
    let mut it = announced(options());
    for _ in 0..5 * limit_secs() {
        second(&mut it, Some(Work::UnderWay));
    }
    assert_eq!(it.result(), None);
}

/// It would keep its clients for ever, answering PING.
#[test]
fn a_peer_that_does_not_say_that_it_works_does_not() {
    let mut it = announced(options());
    for _ in 0..limit_secs() + heartbeat_secs() + 1 {
        second(&mut it, None);
    }
    it.does_all();
    assert_eq!(it.result().unwrap().unwrap_err().code, Code::TimedOut);
}

#[test]
fn a_peer_that_is_silent_is_not_idle() {
    let limits = Limits::default();
    let silence = limits.silence.0 / SECOND;
    let mut it = announced(options());
    it.hears(LEAD, want(More::Follows));
    for _ in 0..limit_secs() - 5 {
        second(&mut it, Some(Work::None));
    }
    for _ in 0..silence + 1 {
        it.passes(SECOND);
    }
    it.does_all();
    assert!(!it.events.contains(&Event::Stalled), "what it did last is not known");
    assert_eq!(it.result().unwrap().unwrap_err().code, Code::TimedOut);
}

#[test]
fn a_slow_disk_of_its_own_is_waited_for() {
    let mut it = announced(options());
    it.hears(LEAD, want(More::Last));
    assert!(!it.ops.is_empty());
    for _ in 0..5 * limit_secs() {
        second(&mut it, Some(Work::None));
    }
    assert_eq!(it.result(), None);
}

#[test]
fn a_rate_limit_is_waited_for() {
    let rate = Rate::new(100);
    let mut it = announced(floe_proto::command::TransferOptions { rate, ..options() });
    it.hears(LEAD, want(More::Last));
    it.does_all();
    for _ in 0..2 * limit_secs() {
        second(&mut it, Some(Work::None));
        it.does_all();
    }
    assert_eq!(it.result(), None);
}

#[test]
fn a_request_that_is_never_answered_ends() {
    let mut it = Hand::new(Role::Client, config());
    let path = ObjectPath::root();
    let request = Request::Stat { path, root: RootWish::IfKnown };
    it.session.handle_command(Command::Request(request), it.now).unwrap();
    it.poll();
    for _ in 0..limit_secs() + heartbeat_secs() + 1 {
        second(&mut it, Some(Work::None));
    }
    let answer = it.events.iter().find_map(|event| match event {
        Event::Replied(_, answer) => Some(answer.clone()),
        _ => None,
    });
    assert_eq!(answer.unwrap().unwrap_err().code, Code::TimedOut);
}

/// What a server says of its work, in STATS.
fn told(it: &Hand) -> Vec<Work> {
    let said = it.said.iter().filter_map(|(_, frame)| match frame {
        Frame::Stats(stats) => stats.work,
        _ => None,
    });
    said.collect()
}

#[test]
fn a_server_says_whether_it_has_anything_to_do() {
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![file(0, "", GRAIN, 1)]));
    it.passes(SECOND);
    it.does(is_open);
    it.passes(SECOND);
    assert_eq!(told(&it), [Work::UnderWay, Work::None]);
}

#[test]
fn a_server_says_so_once_more_after_the_last_request() {
    let mut it = Hand::new(Role::Server, config());
    it.passes(SECOND);
    it.passes(SECOND);
    assert_eq!(told(&it), [Work::None]);
    let path = ObjectPath::root();
    let request = Request::Stat { path, root: RootWish::IfKnown };
    it.hears(LEAD, Frame::Request(floe_types::RequestId(0), request));
    it.passes(SECOND);
    let (_, id, _) = it.ops.remove(0);
    let fault = floe_types::Fault::new(Code::NotFound, "");
    it.ends(id, floe_proto::disk::DiskDone::Failed(fault));
    it.passes(SECOND);
    it.passes(SECOND);
    assert_eq!(told(&it), [Work::None, Work::UnderWay, Work::None]);
}
