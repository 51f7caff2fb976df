//! What a peer can have a session remember is bounded in bytes.

use crate::disk::Bytes;
use crate::hand::*;
use floe_proto::command::{Config, Role};
use floe_proto::disk::{DiskDone, DiskOp};
use floe_proto::frame::{Direction, Entry, Frame, Open, Recursive, Request, Verbs};
use floe_proto::session::Asked;
use floe_types::{Code, Component, Fault, ObjectPath, RequestId};

/// A path of names of 0x7f, each of which is shown as six bytes.
fn shown_long() -> ObjectPath {
    let name = Component::new(&[0x7f; 255]).unwrap();
    ObjectPath::from_components(vec![name; 16]).unwrap()
}

/// A path of so many names of one byte.
fn deep(names: usize) -> ObjectPath {
    ObjectPath::from_components(vec![Component::new(b"d").unwrap(); names]).unwrap()
}

fn beneath(dir: &ObjectPath, nth: u64) -> ObjectPath {
    dir.join(Component::new(nth.to_string().as_bytes()).unwrap()).unwrap()
}

fn at(path: ObjectPath, entry: Entry) -> Entry {
    Entry { path, ..entry }
}

/// About what a frame takes beside itself, as far as it matters here.
fn taken(frame: &Frame<Bytes>) -> usize {
    match frame {
        Frame::Failed(failed) => failed.path.footprint() + failed.fault.detail.len(),
        Frame::Cancel(_, fault) | Frame::Reply(_, Err(fault)) => fault.detail.len(),
        _ => 0,
    }
}

fn said_bytes(it: &Hand) -> usize {
    it.said.iter().map(|(_, frame)| taken(frame)).sum()
}

/// The root of the put fails with a line as long as its path.
fn root_fails(it: &mut Hand) {
    it.hears(LEAD, entries(vec![dir(0, "")]));
    let (_, id, _) = it.takes(is_open);
    let detail = format!("make {:?}", shown_long());
    assert!(detail.len() > 24_000);
    it.ends(id, DiskDone::Failed(Fault::new(Code::NotDirectory, detail)));
}

#[test]
fn what_fails_with_its_directory_says_a_short_line() {
    let mut it = Hand::new(Role::Server, config());
    let open = Open { path: shown_long(), ..opening(T, Direction::Put) };
    it.hears(LEAD, Frame::Open(open));
    root_fails(&mut it);
    it.stuck = vec![LEAD];
    let mut next = 1;
    while it.session.hearing(LEAD) == Asked::Yes && next < 60_000 {
        let children = (next..next + 900).map(|nth| file(nth, &nth.to_string(), 5, nth));
        it.hears(LEAD, entries(children.collect()));
        next += 900;
    }
    it.stuck.clear();
    it.poll();
    let failed = |frame: &Frame<Bytes>| matches!(frame, Frame::Failed(_));
    assert!(it.said.iter().filter(|(_, frame)| failed(frame)).count() > 900);
    let longest = it.said.iter().map(|(_, frame)| taken(frame)).max();
    assert!(longest < Some(9 << 10), "{longest:?}");
    assert!(said_bytes(&it) < 5 << 20, "{}", said_bytes(&it));
}

#[test]
fn what_is_refused_is_told_in_a_short_line() {
    let mut it = Hand::new(Role::Server, Config { verbs: Verbs(0), ..config() });
    it.stuck = vec![LEAD];
    let open = Open { path: shown_long(), ..opening(T, Direction::Get) };
    it.hears(LEAD, Frame::Open(open));
    let remove = Request::Remove { path: shown_long(), recursive: Recursive::No };
    it.hears(LEAD, Frame::Request(RequestId(0), remove));
    it.stuck.clear();
    it.poll();
    let faults = it.said.iter().filter(|(_, frame)| taken(frame) > 0).count();
    assert_eq!(faults, 2);
    assert!(said_bytes(&it) <= 1024, "{}", said_bytes(&it));
}

#[test]
fn a_server_does_not_listen_while_what_it_says_takes_much_memory() {
    let mut it = Hand::receiving();
    root_fails(&mut it);
    let chain = (1..=253).map(|names| at(deep(names), dir(names as u64, "")));
    it.hears(LEAD, entries(chain.collect()));
    it.stuck = vec![LEAD];
    let mut next = 1000;
    while it.session.hearing(LEAD) == Asked::Yes {
        it.hears(LEAD, entries(vec![at(beneath(&deep(253), next), file(next, "", 5, next))]));
        next += 1;
    }
    assert_eq!(it.session.hearing(SECOND), Asked::Yes);
    it.stuck.clear();
    it.poll();
    assert!(said_bytes(&it) < 5 << 20, "{}", said_bytes(&it));
    assert_eq!(it.session.hearing(LEAD), Asked::Yes);
}

/// What is counted of frames goes as they go.
#[test]
fn what_is_not_said_yet_counts_until_it_is() {
    let mut it = Hand::receiving();
    it.poll();
    assert_eq!(it.session.unsaid_bytes().0, 0);
    it.stuck = vec![LEAD];
    root_fails(&mut it);
    (1..9).for_each(|nth| it.hears(LEAD, entries(vec![file(nth, &nth.to_string(), 5, nth)])));
    assert!(it.session.unsaid_bytes().0 > 9 * 512);
    assert!(!it.ops.iter().any(|(_, _, op)| matches!(op, DiskOp::Open { .. })));
    it.stuck.clear();
    it.poll();
    assert_eq!(it.session.unsaid_bytes().0, 0);
}
