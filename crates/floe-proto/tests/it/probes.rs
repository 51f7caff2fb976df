//! Probes: bytes that are nobody's, for which no path is looked at and which nobody commits.

use crate::disk::{Bytes, Disk};
use crate::hand::*;
use crate::transfers::{one_file, run};
use crate::world::{Faults, Setup};
use floe_proto::command::{Config, Event, Role};
use floe_proto::disk::{DiskOp, OpenHow};
use floe_proto::frame::{
    Basis, CommittedEntry, Direction, Frame, More, Open, Pace, Request, Verbs, Want,
};
use floe_types::{ByteCount, Code, EntryIndex, Limits, ObjectPath, RequestId, Root};

const BOTH: [Direction; 2] = [Direction::Put, Direction::Get];
const SIZE: u64 = 3 * GRAIN + 5;

fn probe(direction: Direction, size: u64) -> Frame<Bytes> {
    Frame::Open(Open { probe: Some(ByteCount(size)), ..opening(T, direction) })
}

fn server(verbs: Verbs) -> Hand {
    Hand::new(Role::Server, Config { verbs, ..config() })
}

fn refusal(hand: &Hand) -> Option<Code> {
    hand.said.iter().find_map(|(_, frame)| match frame {
        Frame::Cancel(_, fault) | Frame::Reply(_, Err(fault)) => Some(fault.code),
        _ => None,
    })
}

#[test]
fn all_bytes_go_over_and_nothing_comes_of_them() {
    for direction in BOTH {
        for streams in [1, 3] {
            let mut setup = Setup { streams, ..Setup::new(direction, "file") };
            setup.options.probe = Some(ByteCount(SIZE));
            let stands = one_file(7);
            let (run, sink) = run(&setup, &Disk::default(), stands.clone(), Faults::default());
            assert_eq!(run.result.unwrap().unwrap_err().code, Code::Unsupported);
            assert_eq!(run.sent[0], ByteCount(SIZE), "{direction:?}");
            assert_eq!((sink.files, sink.stages.len()), (stands.files, 0), "{direction:?}");
        }
    }
}

#[test]
fn a_server_opens_no_path_for_one() {
    let mut it = server(Verbs::ALL);
    it.hears(LEAD, probe(Direction::Get, SIZE));
    let (_, _, op) = it.takes(is_open);
    assert!(matches!(op, DiskOp::Open { how: OpenHow::ProbeSource(ByteCount(SIZE)), .. }));
    let mut it = server(Verbs::ALL);
    it.hears(LEAD, probe(Direction::Put, 0));
    it.hears(LEAD, entries(vec![file(0, "", SIZE, 1)]));
    let (_, _, op) = it.takes(is_open);
    assert!(matches!(op, DiskOp::Open { how: OpenHow::ProbeSink, .. }));
}

#[test]
fn one_is_bytes_alone_and_needs_the_verb_of_its_way() {
    let mut it = server(Verbs::ALL);
    it.hears(LEAD, probe(Direction::Put, 0));
    assert!(it.try_hears(LEAD, entries(vec![dir(0, "")])).is_err());
    let mut it = server(Verbs::ALL);
    it.hears(LEAD, probe(Direction::Put, 0));
    let large = Limits::PROBE_BYTES_MAX.0 + 1;
    assert!(it.try_hears(LEAD, entries(vec![file(0, "", large, 1)])).is_err());
    for (verbs, direction) in [(Verbs::READ, Direction::Put), (Verbs::WRITE_NEW, Direction::Get)] {
        let mut it = server(verbs);
        it.hears(LEAD, probe(direction, 1));
        assert_eq!(refusal(&it), Some(Code::NotAllowed));
        assert!(it.ops.is_empty() && it.events.is_empty(), "{:?}", it.events);
    }
    let mut it = server(Verbs::ALL);
    it.hears(LEAD, probe(Direction::Get, Limits::PROBE_BYTES_MAX.0 + 1));
    assert_eq!(refusal(&it), Some(Code::LimitExceeded));
}

#[test]
fn nothing_is_hashed_that_does_not_go_over() {
    let mut it = server(Verbs::ALL);
    it.hears(LEAD, probe(Direction::Get, SIZE));
    it.does_all();
    let finished = Some(Root::of(b""));
    let want = Want {
        entry: entry(0),
        basis: Basis::Content,
        have: Vec::new(),
        finished,
        more: More::Last,
    };
    assert!(it.try_hears(LEAD, Frame::Want(want)).is_err());
    let mut it = server(Verbs::ALL);
    let open = Open { probe: Some(ByteCount(SIZE)), ..opening(T, Direction::Get) };
    it.hears(LEAD, Frame::Open(Open { pace: Pace::Lockstep, ..open }));
    assert_eq!(refusal(&it), Some(Code::Unsupported));
}

#[test]
fn nobody_says_that_he_committed_one() {
    let mut it = server(Verbs::ALL);
    it.hears(LEAD, probe(Direction::Get, SIZE));
    it.does_all();
    let root = Some(Root::of(b""));
    let committed = CommittedEntry { index: EntryIndex(0), root };
    assert!(it.try_hears(LEAD, Frame::Committed(T, vec![committed])).is_err());
    assert!(!it.events.iter().any(|event| matches!(event, Event::EntryFinished { .. })));
}

#[test]
fn a_server_measures_itself_for_who_may_write() {
    let request = || Frame::Request(RequestId(1), Request::Measure { path: ObjectPath::root() });
    let mut it = server(Verbs::READ.and(Verbs::LIST));
    it.hears(LEAD, request());
    assert_eq!(refusal(&it), Some(Code::NotAllowed));
    let mut it = server(Verbs::WRITE_NEW);
    it.hears(LEAD, request());
    let (_, _, op) = it.takes(|_| true);
    assert!(matches!(op, DiskOp::Apply { request: Request::Measure { .. } }));
}
