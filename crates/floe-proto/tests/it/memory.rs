//! What a peer can have a session remember is bounded in bytes.

use crate::disk::{Bytes, Disk};
use crate::hand::*;
use crate::transfers::path;
use floe_proto::command::{Config, Role};
use floe_proto::disk::{DiskDone, DiskOp};
use floe_proto::frame::{Direction, Entry, Failed, Frame, Open, Recursive, Request, Verbs};
use floe_proto::session::Asked;
use floe_types::{
    ByteCount, Code, Component, EntryId, Fault, Limits, ObjectPath, RequestId, TransferId,
};

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

/// Announces what it may in some transfers, in directories that are not made: what of it all was
/// heard counts so much.
fn announced(entry: impl Fn(u64) -> Entry) -> usize {
    let mut it = Hand::new(Role::Server, config());
    let mut bytes = 0;
    for transfer in (0..16).map(TransferId) {
        it.hears(LEAD, open(transfer, Direction::Put));
        let dirs = (0..=253).map(|names| at(deep(names), dir(names as u64, "")));
        it.hears(LEAD, Frame::Entries(transfer, dirs.collect()));
        for nth in 0..4000 {
            let entry = entry(1000 + nth);
            bytes += entry.path.footprint();
            if it.try_hears(LEAD, Frame::Entries(transfer, vec![entry])).is_err() {
                return bytes;
            }
        }
    }
    bytes
}

#[test]
fn what_is_announced_in_all_transfers_is_bounded_in_bytes() {
    let files = announced(|nth| at(beneath(&deep(253), nth), file(nth, "", 5, nth)));
    assert!((16 << 20..=49 << 20).contains(&files), "{files}");
    let dirs = announced(|nth| at(beneath(&deep(253), nth), dir(nth, "")));
    assert!((16 << 20..=49 << 20).contains(&dirs), "{dirs}");
}

#[test]
fn a_sender_holds_back_what_would_take_much_memory_until_others_have_ended() {
    let mut config = config();
    config.limits.small_objects_open_max = 8192;
    config.limits.objects_open_max = 512;
    let mut disk = Disk::default();
    disk.dirs.extend((1..=253).map(deep));
    disk.files.extend((0..2500).map(|nth| (beneath(&deep(253), nth), vec![7; 5])));
    let mut it = Hand::putting(disk, "d", options(), config);
    it.does_all();
    let mut told = Vec::new();
    let hear = |it: &mut Hand, told: &mut Vec<Entry>| {
        let lists = it.said.drain(..).filter_map(|(_, frame)| match frame {
            Frame::Entries(_, list) => Some(list),
            _ => None,
        });
        told.extend(lists.flatten());
    };
    hear(&mut it, &mut told);
    let bytes: usize = told.iter().map(|entry| entry.path.footprint()).sum();
    assert!((20 << 20..25 << 20).contains(&bytes), "{bytes}");
    // What was told fails there, one by one.
    let is_file = |entry: &Entry| entry.path.components().len() == 253;
    let mut at = 0;
    while let Some(entry) = told.get(at) {
        at += 1;
        if !is_file(entry) {
            continue;
        }
        let (entry, path) = (EntryId { transfer: T, index: entry.index }, entry.path.clone());
        let fault = Fault::new(Code::NoSpace, "");
        it.hears(LEAD, Frame::Failed(Failed { entry, path, fault }));
        it.does_all();
        hear(&mut it, &mut told);
    }
    assert_eq!(told.iter().filter(|entry| is_file(entry)).count(), 2500);
}

#[test]
fn a_sender_goes_on_however_much_memory_one_entry_takes() {
    let mut config = config();
    config.limits.announced_bytes_max = ByteCount(64);
    let mut disk = Disk::default();
    disk.dirs.insert(path("t"));
    for name in ["t/a", "t/b", "t/c"] {
        disk.files.insert(path(name), vec![7; 5]);
    }
    let mut it = Hand::putting(disk, "t", options(), config);
    it.does_all();
    for index in 1..=3 {
        let list = |(_, frame): &(_, Frame<Bytes>)| match frame {
            Frame::Entries(_, list) => list.len(),
            _ => 0,
        };
        let count: usize = it.said.iter().map(list).sum();
        assert_eq!(count, 1 + index, "the directory, and one more at a time");
        let (path, fault) = (path("x"), Fault::new(Code::NoSpace, ""));
        let entry = entry(index as u64);
        it.hears(LEAD, Frame::Failed(Failed { entry, path, fault }));
        it.does_all();
    }
}

#[test]
fn honest_senders_never_meet_the_bound_of_what_is_announced() {
    let limits = Limits::default();
    // The longest path: its first names are as long as they may be.
    let mut names = vec![Component::new(&[b'x'; 255]).unwrap(); 14];
    names.extend(vec![Component::new(b"x").unwrap(); 241]);
    let longest = ObjectPath::from_components(names.clone()).unwrap().footprint();
    let prefix = |len: usize| ObjectPath::from_components(names[..len].to_vec()).unwrap();
    let chain: usize = (0..=255).map(|len| prefix(len).footprint()).sum();
    // Directories that lie in each other, in every transfer, with nothing else: or up to half.
    let most = chain * limits.transfers_max as usize + longest;
    assert!((most as u64) < limits.announced_bytes_max.0, "{most}");
    assert!(limits.announced_bytes_max.0 / 2 + longest as u64 + 512 < limits.announced_bytes_max.0);
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
    assert!(it.session.remembered() > it.session.unsaid_bytes());
    assert!(!it.ops.iter().any(|(_, _, op)| matches!(op, DiskOp::Open { .. })));
    it.stuck.clear();
    it.poll();
    assert_eq!(it.session.unsaid_bytes().0, 0);
}

/// A get of what lies at the deepest paths, whose client takes nothing of what is said.
fn getting_from_the_deep(depth: usize, names: u64) -> Hand {
    let mut it = Hand::new(Role::Server, config());
    it.disk.dirs.extend((1..=depth).map(deep));
    it.disk.files.extend((0..names).map(|nth| (beneath(&deep(depth), nth), vec![7; 5])));
    it.hears(LEAD, Frame::Open(Open { path: path("d"), ..opening(T, Direction::Get) }));
    it.stuck = vec![LEAD];
    it
}

#[test]
fn a_server_walks_no_further_while_what_it_says_takes_much_memory() {
    let mut it = getting_from_the_deep(100, 2000);
    let goes_on = |it: &mut Hand| {
        while let Some((_, _, op)) = it.ops.first() {
            let fails = matches!(op, DiskOp::Open { path, .. } if path.components().len() == 101);
            match fails {
                true => it.fails(is_open, Code::PermissionDenied),
                false => it.does(|_| true),
            }
            assert!(it.session.unsaid_bytes().0 < 1 << 20, "{:?}", it.session.unsaid_bytes());
        }
    };
    goes_on(&mut it);
    it.stuck.clear();
    it.poll();
    goes_on(&mut it);
    let failed = |frame: &&(_, Frame<Bytes>)| matches!(frame.1, Frame::Failed(_));
    assert_eq!(it.said.iter().filter(failed).count(), 2000);
}

#[test]
fn a_directory_that_is_being_made_counts_until_it_is_though_its_end_fails_at_its_sender() {
    let mut it = Hand::receiving();
    it.hears(LEAD, entries(vec![dir(0, ""), dir(1, "d"), end_of(2, "d", 1)]));
    let fault = Fault::new(Code::Io, "");
    let failed = Failed { entry: entry(2), path: path("d"), fault };
    assert!(it.try_hears(LEAD, Frame::Failed(failed)).is_err());
}

#[test]
fn directories_of_transfers_that_are_stopped_count_while_they_are_being_made() {
    let mut it = Hand::new(Role::Server, config());
    let mut transfers = (0..16).map(TransferId);
    let broken = transfers.find(|transfer| {
        it.hears(LEAD, open(*transfer, Direction::Put));
        let chain = (0..=253).map(|names| at(deep(names), dir(names as u64, "")));
        if it.try_hears(LEAD, Frame::Entries(*transfer, chain.collect())).is_err() {
            return true;
        }
        for _ in 0..=253 {
            it.does(|op| matches!(op, DiskOp::Open { path, .. } if path.components().len() < 255));
        }
        let broken = (0..1500).any(|nth| {
            let path = beneath(&deep(253), nth);
            let (begun, ended) = (1000 + 2 * nth, 1001 + 2 * nth);
            let ends = at(path.clone(), end_of(ended, "", begun));
            let both = vec![at(path, dir(begun, "")), ends];
            it.try_hears(LEAD, Frame::Entries(*transfer, both)).is_err()
        });
        if !broken {
            it.hears(LEAD, Frame::Cancel(*transfer, Fault::new(Code::Io, "")));
        }
        broken
    });
    assert!(broken.is_some_and(|transfer| transfer.0 < 4), "{broken:?}");
}
