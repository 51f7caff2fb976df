//! What a server may say to `floe put` and `floe ls`, and in its greeting, and is not believed.

use super::host::{Victim, asked, challenge, host, opened, welcome, welcoming};
use super::peer::Peer;
use super::wire::{self, Cbor, NULL, at, cold, hot, kind, map};

/// A put of a file of four bytes that waits for WANT.
const PUT: &[&str] = &["put", "f", "URL/f", "--streams", "1"];

fn numbers(all: &[u64]) -> Vec<u8> {
    all.iter().flat_map(|number| number.to_be_bytes()).collect()
}

fn want(index: u64, ranges: &[(u64, u64)]) -> Cbor {
    let value = || Cbor::from(&[1; 32][..]);
    let range = |(start, len): &(u64, u64)| vec![(*start).into(), (*len).into(), value()].into();
    let ranges: Vec<_> = ranges.iter().map(range).collect();
    map([(0, 0.into()), (1, index.into()), (2, 1.into()), (3, ranges.into()), (5, 0.into())])
}

fn committed(index: u64) -> Vec<u8> {
    let one = vec![index.into(), Cbor::from(&[1; 32][..])];
    cold(kind::COMMITTED, &map([(0, 0.into()), (1, vec![one.into()].into())]))
}

/// Lies about a put that was announced.
fn lies() -> Vec<(&'static str, Vec<u8>)> {
    let opened = map([(0, 0.into()), (1, Cbor::from(&[][..])), (2, (1 << 20).into())]);
    vec![
        ("STORED of 2^64-1", hot(kind::STORED, 0, &numbers(&[u64::MAX, u64::MAX]))),
        ("STORED of all there are", hot(kind::STORED, 1, &numbers(&[0, u64::MAX]))),
        ("STORED backwards", hot(kind::STORED, 0, &numbers(&[1, 0]))),
        ("STORED of nothing", hot(kind::STORED, 0, b"")),
        ("CORRUPT of 2^64-1", hot(kind::CORRUPT, 0, &numbers(&[u64::MAX]))),
        (
            "VERDICT of 2^64-1",
            hot(kind::VERDICT, 0, &[&numbers(&[u64::MAX; 2])[..], &[1]].concat()),
        ),
        ("WANT of another entry", cold(kind::WANT, &want(u64::MAX, &[]))),
        ("WANT of another transfer", cold(kind::WANT, &want(0, &[]).with(0, 7))),
        ("WANT of a range not aligned", cold(kind::WANT, &want(0, &[(1, 1 << 18)]))),
        ("WANT of a range beyond the size", cold(kind::WANT, &want(0, &[(1 << 18, 1 << 18)]))),
        ("WANT of 2^63 bytes", cold(kind::WANT, &want(0, &[(0, 1 << 63)]))),
        ("WANT of -1", cold(kind::WANT, &want(0, &[]).with(1, Cbor::Negative(0)))),
        ("WANT twice", [cold(kind::WANT, &want(0, &[])), cold(kind::WANT, &want(0, &[]))].concat()),
        ("WANT of all, and of ranges", cold(kind::WANT, &want(0, &[(0, 4)]).with(4, &[1; 32][..]))),
        ("COMMITTED of another entry", committed(u64::MAX)),
        ("FAILED of another entry", {
            let failed = map([(0, 0.into()), (1, u64::MAX.into()), (2, at("f"))]);
            cold(kind::FAILED, &failed.with(3, wire::fault(0, "x")))
        }),
        ("COMPLETED before COMPLETE", cold(kind::COMPLETED, &map([(0, 0.into())]))),
        ("OPENED twice", cold(kind::OPENED, &opened)),
        ("RECEIPT that nobody asked for", receipt()),
        ("REPLY to nothing", cold(kind::REPLY, &map([(0, 77.into()), (1, 1.into())]))),
        ("ENTRIES", wire::entries(0, &[wire::file(0, at(""), 4)])),
        ("HEADER", wire::header(0, 0, 0, 0, 4)),
        ("DATA", wire::data(0, 0, b"evil")),
        ("COMPLETE", cold(kind::COMPLETE, &map([(0, 0.into()), (1, 1.into())]))),
        ("WELCOME again", cold(kind::WELCOME, &welcome())),
        ("CHALLENGE again", hot(kind::CHALLENGE, 0, &[0; 32])),
        ("HELLO", cold(kind::HELLO, &map([]))),
        ("JOINED", hot(kind::JOINED, 0, b"")),
        ("BUSY", cold(kind::BUSY, &map([(0, 0.into())]))),
        ("a kind that nobody knows", hot(0x40, 0, b"")),
        ("a reserved byte", wire::head(8, kind::PING, 0, 1)),
        ("a frame of 2^32-1 bytes", wire::head(u32::MAX, kind::WANT, 0, 0)),
        ("a body that is cut", hot(kind::WANT, 0, b"\xa5\x00")),
        ("a map of 2^64-1 pairs", hot(kind::WANT, 0, b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff")),
    ]
}

fn receipt() -> Vec<u8> {
    let leaves = vec![Cbor::from(&[1; 32][..])];
    let head = map([(0, 0.into()), (1, 0.into()), (2, Cbor::text("x")), (3, Cbor::from(&[][..]))]);
    let body = head.with(4, 0x0807).with(5, &[0; 64][..]).with(6, leaves);
    cold(kind::RECEIPT, &body)
}

#[test]
fn a_put_believes_no_lie_of_its_server() {
    let victim = Victim::new();
    for (name, bytes) in lies() {
        let port = welcoming(move |peer| {
            opened(peer);
            peer.hears(kind::ENTRIES);
            peer.say(&bytes);
        });
        victim.refuses(name, port, PUT);
    }
}

/// Lies in what grants a transfer.
#[test]
fn a_put_takes_no_grant_that_is_none() {
    let victim = Victim::new();
    let granted = map([(0, 0.into()), (1, Cbor::from(&[][..])), (2, (1 << 20).into())]);
    for (name, body) in [
        ("a window of 0", granted.clone().with(2, 0)),
        ("a window of -1", granted.clone().with(2, Cbor::Negative(0))),
        ("a window of 2^63", granted.clone().with(2, 1 << 63)),
        ("a window of 2^64-1", granted.clone().with(2, u64::MAX)),
        ("a handle of 1025 bytes", granted.clone().with(1, &[0; 1025][..])),
        ("no handle", granted.clone().without(1)),
        ("another transfer", granted.clone().with(0, 1)),
        ("null", granted.with(0, Cbor::raw(NULL))),
    ] {
        let port = welcoming(move |peer| {
            asked(peer);
            peer.say(&cold(kind::OPENED, &body));
        });
        victim.refuses(name, port, PUT);
    }
}

/// A server that finds every chunk corrupt is given up after eight attempts.
#[test]
fn a_put_of_what_is_always_corrupt_is_given_up() {
    let victim = Victim::new();
    let port = welcoming(|peer| {
        opened(peer);
        peer.hears(kind::ENTRIES);
        peer.say(&cold(kind::WANT, &want(0, &[])));
        let mut ended = false;
        while let Some(frame) = peer.next() {
            match frame.kind {
                kind::SEAL => peer.say(&hot(kind::CORRUPT, 0, &frame.body[..8])),
                kind::COMPLETE if !ended => {
                    ended = true;
                    peer.say(&cold(kind::COMPLETED, &map([(0, 0.into())])));
                }
                _ => {}
            }
        }
    });
    let ended = victim.run(port, PUT);
    assert_eq!(ended.status, 5, "{}", ended.err);
}

/// A greeting that is none, as the first that a client hears.
type Greeting = fn(&mut Peer);

const GREETINGS: &[(&str, Greeting)] = &[
    ("a challenge cut short", |peer| peer.say(&hot(kind::CHALLENGE, 0, &[3; 31]))),
    ("a challenge too long", |peer| peer.say(&hot(kind::CHALLENGE, 0, &[3; 33]))),
    ("two challenges", |peer| peer.say(&hot(kind::CHALLENGE, 0, &[3; 32]).repeat(2))),
    ("WELCOME before HELLO", |peer| peer.say(&cold(kind::WELCOME, &welcome()))),
    ("JOINED", |peer| {
        challenge(peer);
        peer.say(&hot(kind::JOINED, 0, b""));
    }),
    ("REPLY", |peer| {
        challenge(peer);
        peer.say(&cold(kind::REPLY, &map([(0, 0.into()), (1, 1.into())])));
    }),
    ("a frame of 4097 bytes", |peer| {
        challenge(peer);
        peer.say(&wire::head(4097, kind::WELCOME, 0, 0));
    }),
    ("16 frames to skip", |peer| {
        challenge(peer);
        peer.say(&hot(0x80, 0, b"").repeat(16));
        peer.say(&cold(kind::WELCOME, &welcome()));
    }),
];

fn other_key() -> Cbor {
    let key = welcome().with(8, &[1; 91][..]).with(9, 0x0403);
    key.with(10, &[2; 72][..]).with(11, 4_000_000_000)
}

fn welcomes() -> Vec<(&'static str, Cbor)> {
    vec![
        ("pieces of 0", welcome().with(4, 0)),
        ("pieces of 65535", welcome().with(4, 65_535)),
        ("pieces above the greatest", welcome().with(4, 16_777_217)),
        ("pieces of 2^64-1", welcome().with(4, u64::MAX)),
        ("no streams", welcome().with(5, 0)),
        ("2^32 streams", welcome().with(5, 1 << 32)),
        ("no entries", welcome().with(6, 0)),
        ("-1 entries", welcome().with(6, Cbor::Negative(0))),
        ("a session of 15 bytes", welcome().with(1, &[0; 15][..])),
        ("a secret of 33 bytes", welcome().with(2, &[0; 33][..])),
        ("verbs of -1", welcome().with(3, Cbor::Negative(0))),
        ("an agent of 129 bytes", welcome().with(7, Cbor::text(&"a".repeat(129)))),
        ("no agent", welcome().without(7)),
        ("a part of another key", welcome().with(8, &[1; 91][..])),
        ("a time of another key", welcome().with(11, 1)),
        ("another key of 2049 bytes", other_key().with(8, &[1; 2049][..])),
        ("a scheme of 2^16", other_key().with(9, 1 << 16)),
        ("a signature of 1025 bytes", other_key().with(10, &[1; 1025][..])),
        ("a time of 2^63", other_key().with(11, 1 << 63)),
        ("another key in plaintext", other_key()),
    ]
}

#[test]
fn a_client_takes_no_greeting_that_is_none() {
    let victim = Victim::new();
    for (name, greeting) in GREETINGS {
        victim.refuses(name, host(greeting), &["ls", "URL/"]);
    }
    for (name, welcome) in welcomes() {
        let port = host(move |peer| {
            challenge(peer);
            peer.say(&cold(kind::WELCOME, &welcome));
        });
        victim.refuses(name, port, &["ls", "URL/"]);
    }
    // Busy for half a million years: that is not waited for.
    let port = host(|peer| {
        challenge(peer);
        peer.say(&cold(kind::BUSY, &map([(0, u64::MAX.into())])));
    });
    victim.run(port, &["ls", "URL/"]).fails(6, &["busy"]);
}

/// Pages and stats that are none.
fn replies() -> Vec<(&'static str, Cbor)> {
    let page = |names: Vec<Cbor>| map([(0, 0.into()), (1, 3.into()), (4, names.into())]);
    let name = |bytes: &[u8]| Cbor::from(vec![Cbor::from(bytes)]);
    let stat = map([(0, 0.into()), (1, 3.into()), (2, wire::metadata())]);
    let with = |stat| page(vec![vec![Cbor::from(&b"f"[..]), stat].into()]);
    let many: Vec<_> = (0..257).map(|nth| name(format!("{nth:03}").as_bytes())).collect();
    vec![
        ("up", page(vec![name(b"..")])),
        ("nothing", page(vec![name(b"")])),
        ("a slash", page(vec![name(b"a/b")])),
        ("NUL", page(vec![name(b"a\0")])),
        ("reserved", page(vec![name(b".floe")])),
        ("257 names", page(many)),
        ("a cursor of 513 bytes", page(vec![]).with(5, &[0; 513][..])),
        ("a size of 2^63", with(stat.clone().with(1, 1 << 63))),
        ("a kind of 3", with(stat.clone().with(0, 3))),
        ("set-id bits", with(stat.clone().with(2, vec![0o4755.into(), 0.into(), 0.into()]))),
        ("a link of NUL", with(stat.clone().with(0, 2).with(3, &b"a\0"[..]))),
        (
            "nanoseconds of a second",
            with(stat.with(2, vec![0.into(), 0.into(), 1_000_000_000.into()])),
        ),
        ("another request", page(vec![]).with(0, 77)),
        ("request -1", page(vec![]).with(0, Cbor::Negative(0))),
        ("done", map([(0, 0.into()), (1, 1.into())])),
        ("an answer of kind 4", map([(0, 0.into()), (1, 4.into())])),
    ]
}

#[test]
fn a_listing_believes_no_page_that_is_none() {
    let victim = Victim::new();
    for (name, reply) in replies() {
        let port = welcoming(move |peer| {
            let asked = peer.hears(kind::REQUEST).map().at(0).clone();
            let reply =
                if *reply.at(0) == 0.into() { reply.clone().with(0, asked) } else { reply.clone() };
            peer.say(&cold(kind::REPLY, &reply));
        });
        victim.refuses(name, port, &["ls", "URL/d"]);
    }
}

/// Pages without an end: of names, a person sees them come; of none, nobody would know.
#[test]
fn a_listing_of_nothing_has_an_end() {
    let victim = Victim::new();
    let port = welcoming(|peer| {
        while let Some(frame) = peer.next() {
            if frame.kind == kind::REQUEST {
                let asked = frame.map().at(0).clone();
                let page = map([(0, asked), (1, 3.into()), (4, vec![].into())]);
                peer.say(&cold(kind::REPLY, &page.with(5, &b"on"[..])));
            }
        }
    });
    victim.run(port, &["ls", "URL/d"]).fails(6, &["pages without a name"]);
}
