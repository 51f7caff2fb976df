//! Chunks that lie: of what they are, where they go, how long they are, and what was said of them.

use super::channel::Link;
use super::fort::Fort;
use super::peer::{Answer, Peer, VIOLATION};
use super::wire::{self, at, code, cold, data, head, header, hot, kind, map, seal, value};

const SIZE: u32 = 300_000;
const CHUNK: u32 = 262_144;
const PIECE: [u8; 1000] = [7; 1000];

/// A session in which `x`, of `SIZE` bytes, is put and wanted.
fn putting(fort: &Fort) -> Peer {
    putting_by(fort.peer())
}

/// The same, of a peer that was let in already.
pub fn putting_by(mut peer: Peer) -> Peer {
    peer.say(&begins_to_put());
    peer.hears(kind::OPENED);
    peer.hears(kind::WANT);
    peer
}

fn begins_to_put() -> Vec<u8> {
    let open = wire::open(0, 0, at("x")).with(3, u64::from(CHUNK));
    let entry = wire::file(0, at(""), SIZE.into());
    [cold(kind::OPEN, &open), wire::entries(0, &[entry])].concat()
}

/// A command that runs again may be served before the server has read what its killed run said.
#[test]
fn what_came_first_takes_no_stage_from_what_came_later() {
    let fort = Fort::plain();
    let again = || {
        let mut peer = Peer::over(Link::Plain(Link::tcp(fort.server.port)));
        let challenge = peer.hears(kind::CHALLENGE).body;
        let hello = fort.owner.hello(b"floe/1 plaintext", &challenge.try_into().unwrap());
        peer.enter(&hello.with(1, &[9; 16][..]))
    };
    let (mut first, second) = (again(), again());
    let mut second = putting_by(second);
    let taken_over = Answer::Close(Some(code::TAKEN_OVER));
    first.say(&begins_to_put());
    assert_eq!(first.verdict(), Answer::Failed(code::TAKEN_OVER));
    let asks = cold(kind::REQUEST, &wire::request(0, wire::STAT, at("kept")));
    second.say(&asks);
    assert_eq!(second.answer(), Answer::Done);
    // And the later one takes over from it.
    let mut third = putting_by(again());
    assert_eq!(second.verdict(), taken_over);
    third.say(&asks);
    assert_eq!(third.answer(), Answer::Done);
    drop((first, second, third));
    fort.stands();
}

/// HEADER with flags and fields as they are given.
fn raw_header(flags: u8, body: &[&[u8]]) -> Vec<u8> {
    hot(kind::HEADER, flags, &body.concat())
}

fn numbers(all: &[u64]) -> Vec<u8> {
    all.iter().flat_map(|number| number.to_be_bytes()).collect()
}

/// Headers that no chunk has, behind WANT.
fn headers() -> Vec<(&'static str, Vec<u8>)> {
    let fixed = numbers(&[0, 0, 0]);
    let long = [7; 200];
    vec![
        ("a transfer that was never opened", header(0, 9, 0, 0, CHUNK)),
        ("transfer 2^32-1", header(0, u32::MAX, 0, 0, CHUNK)),
        ("an entry that was never announced", header(0, 0, 1, 0, CHUNK)),
        ("entry 2^64-1", header(0, 0, u64::MAX, 0, CHUNK)),
        ("an offset of 1", header(0, 0, 0, 1, CHUNK)),
        ("an offset beyond the size", header(0, 0, 0, 524_288, CHUNK)),
        ("an offset of 2^63", header(0, 0, 0, 1 << 63, CHUNK)),
        ("the last offset there is", header(0, 0, 0, u64::MAX - 262_143, CHUNK)),
        ("a chunk beyond the size", header(0, 0, 0, 262_144, CHUNK)),
        ("a length of 0", header(0, 0, 0, 0, 0)),
        ("a length of no chunk", header(0, 0, 0, 0, 1000)),
        ("a length above the greatest", header(0, 0, 0, 0, 16_777_217)),
        ("a length of 2^32-1", header(0, 0, 0, 0, u32::MAX)),
        ("the kept flag 0x20", raw_header(0x20, &[&fixed, &[0; 4]])),
        ("the kept flag 0x40", raw_header(0x40, &[&fixed, &[0; 4]])),
        (
            "a root without a value",
            raw_header(0x0a, &[&fixed, &[0; 4], &[0, 4, 0, 0], &long[..32]]),
        ),
        (
            "a value without a root at 0",
            raw_header(0x06, &[&fixed, &[0; 4], &[0, 4, 0, 0], &long[..32]]),
        ),
        ("a hole without a length", raw_header(0x1c, &[&fixed, &[0; 4], &long[..64]])),
        ("a hole that waits", raw_header(0x1f, &[&fixed, &[0; 4], &[0, 4, 0, 0], &long[..64]])),
        ("a HEADER cut short", raw_header(0, &[&fixed, &[0; 3]])),
        ("a HEADER too long", raw_header(0, &[&fixed, &[0; 5]])),
    ]
}

/// Bytes and seals that no chunk has.
fn pieces() -> Vec<(&'static str, Vec<u8>)> {
    let first = || header(0, 0, 0, 0, CHUNK);
    let after = |bytes: Vec<u8>| [first(), data(0, 0, &PIECE), bytes].concat();
    vec![
        ("DATA before any HEADER", data(0, 0, &PIECE)),
        ("DATA of another chunk", [first(), data(1, 0, &PIECE)].concat()),
        ("DATA of chunk 2^64-1", [first(), data(u64::MAX, 0, &PIECE)].concat()),
        ("DATA that begins at 1", [first(), data(0, 1, &PIECE)].concat()),
        ("DATA that begins at 2^64-1", [first(), data(0, u64::MAX, &PIECE)].concat()),
        ("DATA over DATA", after(data(0, 999, &PIECE))),
        ("DATA twice", after(data(0, 0, &PIECE))),
        ("DATA with a gap", after(data(0, 1001, &PIECE))),
        (
            "DATA beyond its chunk",
            [header(0, 0, 0, 262_144, 37_856), data(0, 0, &[7; 37_857])].concat(),
        ),
        ("DATA of nothing", [first(), data(0, 0, b"")].concat()),
        ("a piece above the limit", [first(), head(1_048_576 + 17, kind::DATA, 0, 0)].concat()),
        ("a piece of 2^32-1", [first(), head(u32::MAX, kind::DATA, 0, 0)].concat()),
        ("a SEAL before any HEADER", seal(0, CHUNK, [0; 32], Some([0; 32]))),
        ("a SEAL of another chunk", after(seal(1, 1000, [0; 32], Some([0; 32])))),
        ("a SEAL of less than came", after(seal(0, 999, [0; 32], Some([0; 32])))),
        ("a SEAL of more than came", after(seal(0, CHUNK, [0; 32], Some([0; 32])))),
        ("a SEAL of 0", after(seal(0, 0, [0; 32], Some([0; 32])))),
        ("a SEAL of 2^32-1", after(seal(0, u32::MAX, [0; 32], Some([0; 32])))),
        ("a SEAL without a root at 0", after(seal(0, 1000, [0; 32], None))),
        ("a SEAL cut short", after(hot(kind::SEAL, 0, &[0; 43]))),
        (
            "a number that comes again",
            [header(5, 0, 0, 0, CHUNK), header(5, 0, 0, 262_144, 37_856)].concat(),
        ),
        (
            "a number below the last",
            [header(5, 0, 0, 0, CHUNK), header(4, 0, 0, 262_144, 37_856)].concat(),
        ),
        ("a hole with DATA", [hole([1; 32], [2; 32]), data(0, 0, &PIECE)].concat()),
        (
            "a hole with a SEAL",
            [hole([1; 32], [2; 32]), seal(0, CHUNK, [0; 32], Some([0; 32]))].concat(),
        ),
    ]
}

/// What no sender says of its entries.
fn words() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("DONE of another size", done(0, 1)),
        ("DONE of 2^63-1 bytes", done(0, i64::MAX as u64)),
        ("DONE of an entry that was never announced", done(1, 3)),
        ("DONE twice", [done(0, SIZE.into()), done(0, SIZE.into())].concat()),
        ("COMPLETE of another count", complete(2)),
        ("COMPLETE of 2^32-1", complete(u32::MAX.into())),
        ("an index that stands", wire::entries(0, &[wire::file(0, at(""), 3)])),
        ("a second root", wire::entries(0, &[wire::file(1, at(""), 3)])),
        ("an entry in a file", wire::entries(0, &[wire::file(1, at("f"), 3)])),
        ("the end of what is no directory", wire::entries(0, &[wire::end(1, at(""), 0)])),
        (
            "an entry that replaces one to come",
            wire::entries(0, &[wire::file(1, at(""), 3).with(9, 5)]),
        ),
        (
            "an entry of a transfer that was never opened",
            wire::entries(7, &[wire::file(1, at(""), 3)]),
        ),
        ("DROP of a range that no size has", drop_of(i64::MAX as u64, 1)),
        ("DROP of nothing", drop_of(0, 0)),
    ]
}

fn hole(value: [u8; 32], root: [u8; 32]) -> Vec<u8> {
    raw_header(0x1e, &[&numbers(&[0, 0, 0]), &[0; 4], &CHUNK.to_be_bytes(), &value, &root])
}

fn done(index: u64, size: u64) -> Vec<u8> {
    let one = vec![index.into(), size.into(), wire::Cbor::from(&[1; 32][..])];
    cold(kind::DONE, &map([(0, 0.into()), (1, vec![one.into()].into())]))
}

fn complete(count: u64) -> Vec<u8> {
    cold(kind::COMPLETE, &map([(0, 0.into()), (1, count.into())]))
}

fn drop_of(start: u64, len: u64) -> Vec<u8> {
    let range = vec![start.into(), len.into()];
    cold(kind::DROP, &map([(0, 0.into()), (1, 0.into()), (2, vec![range.into()].into())]))
}

#[test]
fn a_sender_that_lies_is_a_violation_and_leaves_nothing() {
    let fort = Fort::plain();
    for (name, bytes) in [headers(), pieces(), words()].concat() {
        let mut peer = putting(&fort);
        peer.say(&bytes);
        assert_eq!(peer.verdict(), VIOLATION, "{name}");
        assert_eq!(peer.answer(), Answer::End, "{name}");
        assert!(!fort.served("x").exists(), "{name}");
    }
    fort.stands();
}

/// What only a receiver may say of a put, and what only a server says.
#[test]
fn what_is_not_a_clients_to_say_is_a_violation() {
    let fort = Fort::plain();
    let all = numbers(&[0, u64::MAX]);
    for (name, bytes) in [
        ("STORED", hot(kind::STORED, 0, &numbers(&[0, 0]))),
        ("STORED of all there are", hot(kind::STORED, 1, &all)),
        ("CORRUPT", hot(kind::CORRUPT, 0, &numbers(&[0]))),
        ("CORRUPT of 2^64-1", hot(kind::CORRUPT, 0, &numbers(&[u64::MAX]))),
        ("VERDICT", hot(kind::VERDICT, 0, &[&numbers(&[0, 0])[..], &[1]].concat())),
        ("WANT", want(0, &[])),
        ("COMMITTED", committed(0, 0)),
        ("COMPLETED", cold(kind::COMPLETED, &map([(0, 0.into())]))),
        ("OPENED", cold(kind::OPENED, &map([(0, 0.into())]))),
        ("WELCOME", cold(kind::WELCOME, &map([]))),
        ("JOINED", hot(kind::JOINED, 0, b"")),
        ("BUSY", cold(kind::BUSY, &map([(0, 0.into())]))),
        ("CHALLENGE", hot(kind::CHALLENGE, 0, &[0; 32])),
        ("REPLY", cold(kind::REPLY, &map([(0, 0.into()), (1, 1.into())]))),
        ("RECEIPT", cold(kind::RECEIPT, &map([]))),
        ("OPEN of an id that was used", cold(kind::OPEN, &wire::open(0, 1, at("kept")))),
        ("kind 0", hot(0, 0, b"")),
        ("kind 0x0a", hot(0x0a, 0, b"")),
        ("kind 0x40", hot(0x40, 0, b"")),
        ("kind 0x7f", hot(0x7f, 0, b"")),
        ("a flag of PING", hot(kind::PING, 0x80, &[0; 8])),
        ("a PING cut short", hot(kind::PING, 0, &[0; 7])),
        ("a PING too long", hot(kind::PING, 0, &[0; 9])),
        ("a PONG too long", hot(kind::PONG, 0, &[0; 9])),
        ("a reserved byte", head(8, kind::PING, 0, 1)),
        ("the other reserved byte", head(8, kind::PING, 0, 0x100)),
        ("a frame of 65537 bytes", head(65_537, kind::REQUEST, 0, 0)),
        ("a frame of 2^31 bytes", head(1 << 31, kind::ENTRIES, 0, 0)),
        ("a frame to skip of 65537 bytes", head(65_537, 0x80, 0, 0)),
        ("a frame to skip of 2^32-1 bytes", head(u32::MAX, 0xff, 0, 0)),
    ] {
        let mut peer = putting(&fort);
        peer.say(&bytes);
        assert_eq!(peer.verdict(), VIOLATION, "{name}");
    }
    // What may come from a later version is passed over.
    let mut peer = putting(&fort);
    peer.say(&[hot(0x80, 0xff, &[0; 65_536]), hot(0xff, 1, b"")].concat());
    peer.say(&hot(kind::PING, 0, &[9; 8]));
    assert_eq!(peer.hear().unwrap().body, [9; 8]);
    drop(peer);
    fort.stands();
}

fn want(index: u64, ranges: &[(u64, u64)]) -> Vec<u8> {
    let ranges: Vec<_> = ranges
        .iter()
        .map(|(start, len)| {
            vec![(*start).into(), (*len).into(), wire::Cbor::from(&[1; 32][..])].into()
        })
        .collect();
    let map = map([(0, 0.into()), (1, index.into()), (2, 1.into()), (3, ranges.into())]);
    cold(kind::WANT, &map.with(5, 0))
}

fn committed(index: u64, root: u8) -> Vec<u8> {
    let one = vec![index.into(), wire::Cbor::from(&[root; 32][..])];
    cold(kind::COMMITTED, &map([(0, 0.into()), (1, vec![one.into()].into())]))
}

/// A session that gets `kept` and heard what it is.
fn getting(fort: &Fort) -> (Peer, u64) {
    let mut peer = fort.peer();
    peer.say(&cold(kind::OPEN, &wire::open(0, 1, at("kept"))));
    peer.hears(kind::OPENED);
    let index = peer.hears(kind::ENTRIES).map().at(1).items()[0].at(0).uint();
    (peer, index)
}

#[test]
fn a_receiver_that_lies_is_a_violation() {
    let fort = Fort::plain();
    type Lie = fn(u64) -> Vec<u8>;
    let lies: &[(&str, Lie)] = &[
        ("STORED of a number that was never used", |_| {
            hot(kind::STORED, 0, &numbers(&[1 << 32, 1 << 32]))
        }),
        ("STORED of 2^64-1", |_| hot(kind::STORED, 1, &numbers(&[u64::MAX, u64::MAX]))),
        ("STORED of all there are", |_| hot(kind::STORED, 0, &numbers(&[0, u64::MAX]))),
        ("STORED backwards", |_| hot(kind::STORED, 0, &numbers(&[1, 0]))),
        ("STORED of nothing", |_| hot(kind::STORED, 0, b"")),
        ("STORED cut short", |_| hot(kind::STORED, 0, &[0; 15])),
        ("CORRUPT of a number that was never used", |_| {
            hot(kind::CORRUPT, 0, &numbers(&[1 << 32]))
        }),
        ("CORRUPT of 2^64-1", |_| hot(kind::CORRUPT, 0, &numbers(&[u64::MAX]))),
        ("VERDICT of a number that was never used", |_| {
            hot(kind::VERDICT, 0, &[&numbers(&[7, 7])[..], &[0]].concat())
        }),
        ("VERDICT that is none", |_| {
            hot(kind::VERDICT, 0, &[&numbers(&[0, 0])[..], &[3]].concat())
        }),
        ("VERDICT backwards", |_| hot(kind::VERDICT, 0, &[&numbers(&[1, 0])[..], &[0]].concat())),
        ("WANT of an entry that was never announced", |_| want(u64::MAX, &[])),
        ("WANT of a range beyond the size", |index| want(index, &[(262_144, 262_144)])),
        ("WANT of a range not aligned", |index| want(index, &[(1, 262_144)])),
        ("WANT of a range too short", |index| want(index, &[(0, 1)])),
        ("WANT of ranges that overlap", |index| want(index, &[(0, 100_000), (0, 100_000)])),
        ("WANT of a range beyond 2^63", |index| want(index, &[(i64::MAX as u64, i64::MAX as u64)])),
        ("WANT of 513 ranges", |index| {
            let ranges: Vec<_> = (0..513).map(|nth| (nth * 262_144, 262_144)).collect();
            want(index, &ranges)
        }),
        ("WANT twice", |index| [want(index, &[]), want(index, &[])].concat()),
        ("COMMITTED before anything was sent", |index| {
            [want(index, &[]), committed(index, 1)].concat()
        }),
        ("COMMITTED of what was never announced", |_| committed(u64::MAX, 1)),
        ("COMPLETED before COMPLETE", |_| cold(kind::COMPLETED, &map([(0, 0.into())]))),
        ("FAILED of what was never announced", |_| {
            cold(
                kind::FAILED,
                &map([(0, 0.into()), (1, u64::MAX.into()), (2, at("f")), (3, wire::fault(0, "x"))]),
            )
        }),
        ("HEADER", |index| header(0, 0, index, 0, 100_000)),
        ("DATA", |_| data(0, 0, &PIECE)),
        ("DONE", |index| done(index, 100_000)),
        ("ENTRIES", |_| wire::entries(0, &[wire::file(77, at(""), 3)])),
        ("COMPLETE", |_| complete(1)),
        ("DROP", |_| drop_of(0, 262_144)),
    ];
    for (name, lie) in lies {
        let (mut peer, index) = getting(&fort);
        peer.say(&lie(index));
        assert_eq!(peer.verdict(), VIOLATION, "{name}");
    }
    // A root that is not the sender's, of an object that was sent whole.
    let (mut peer, index) = getting(&fort);
    peer.say(&want(index, &[]));
    while peer.next().unwrap().kind != kind::DONE {}
    peer.say(&committed(index, 1));
    assert_eq!(peer.verdict(), VIOLATION, "COMMITTED of another root");
    fort.stands();
}

#[test]
fn bytes_that_are_not_what_was_sealed_never_come_to_stand() {
    let fort = Fort::new();
    let whole = vec![7; CHUNK as usize];
    let right = (value(0, &whole), *blake3::hash(&whole).as_bytes());
    for (name, value, root) in [
        ("another value", [1; 32], right.1),
        ("another root", right.0, [1; 32]),
        ("both", [1; 32], [1; 32]),
    ] {
        let mut peer = putting(&fort);
        for seq in 0..8 {
            let sent = [header(seq, 0, 0, 0, CHUNK), data(seq, 0, &whole)].concat();
            peer.say(&[sent, seal(seq, CHUNK, value, Some(root))].concat());
            assert_eq!(peer.answer(), Answer::Frame(kind::CORRUPT), "{name}, {seq}");
        }
        peer.say(&cold(kind::CANCEL, &map([(0, 0.into()), (1, wire::fault(20, "x"))])));
        peer.say(&cold(kind::REQUEST, &wire::request(0, wire::STAT, at("x"))));
        assert_eq!(peer.verdict(), Answer::Fault(code::NOT_FOUND), "{name}");
    }
    let mut peer = putting(&fort);
    peer.say(&hole([1; 32], [2; 32]));
    assert_eq!(peer.answer(), Answer::Frame(kind::CORRUPT), "a hole that is none");
    drop(peer);
    // Sealed rightly, and then said to be another object.
    let mut peer = putting(&fort);
    let rest = vec![7; (SIZE - CHUNK) as usize];
    let tail = u32::try_from(rest.len()).unwrap();
    let first = [header(9, 0, 0, 0, CHUNK), data(9, 0, &whole)].concat();
    let second = [header(10, 0, 0, CHUNK.into(), tail), data(10, 0, &rest)].concat();
    peer.say(&[first, seal(9, CHUNK, right.0, Some(right.1))].concat());
    peer.say(&[second, seal(10, tail, wire::value(CHUNK.into(), &rest), None)].concat());
    peer.say(&done(0, SIZE.into()));
    assert_eq!(peer.verdict(), Answer::Failed(code::INTEGRITY), "DONE of another root");
    assert!(!fort.served("x").exists());
    drop(peer);
    fort.stands();
}

/// Who never set the ability may not use it.
#[test]
fn a_hole_that_was_not_agreed_on_is_a_violation() {
    let fort = Fort::new();
    let peer = fort.dial();
    let hello = fort.owner.hello(b"floe/1", &peer.link.exporter()).with(0, 0);
    let mut peer = peer.enter(&hello);
    let entry = wire::file(0, at(""), SIZE.into());
    peer.say(&[cold(kind::OPEN, &wire::open(0, 0, at("x"))), wire::entries(0, &[entry])].concat());
    peer.hears(kind::OPENED);
    peer.hears(kind::WANT);
    peer.say(&hole([1; 32], [2; 32]));
    assert_eq!(peer.verdict(), VIOLATION);
    fort.stands();
}
