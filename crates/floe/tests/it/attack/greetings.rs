//! HELLO and JOIN that should let nobody in: forged, cut, replayed, of others, out of turn.

use super::fort::Fort;
use super::peer::{Answer, Peer, Ticket, VIOLATION, join_mac};
use super::wire::{self, Cbor, at, code, cold, head, hot, kind, map};
use crate::stage::wait_until;
use std::fs;

type Hello = fn(&Ticket, &[u8; 32]) -> Vec<u8>;

const fn closed(code: u64) -> Answer {
    Answer::Close(Some(code))
}

fn hello(ticket: &Ticket, exporter: &[u8; 32]) -> Cbor {
    ticket.hello(b"floe/1", exporter)
}

/// What stands in place of HELLO, or before it.
const HELLOS: &[(&str, Answer, Hello)] = &[
    ("a ticket that nobody gave", closed(code::TICKET_UNKNOWN), |_, exporter| {
        cold(kind::HELLO, &hello(&Ticket::forged(), exporter))
    }),
    ("another key's signature", closed(code::TICKET_UNKNOWN), |ticket, exporter| {
        let forged = Ticket::forged().sign(b"floe/1", exporter);
        cold(kind::HELLO, &hello(ticket, exporter).with(3, &forged[..]))
    }),
    ("a signature for plaintext", closed(code::TICKET_UNKNOWN), |ticket, exporter| {
        let other = ticket.sign(b"floe/1 plaintext", exporter);
        cold(kind::HELLO, &hello(ticket, exporter).with(3, &other[..]))
    }),
    ("a signature of another connection", closed(code::TICKET_UNKNOWN), |ticket, _| {
        cold(kind::HELLO, &hello(ticket, &[7; 32]))
    }),
    ("a signature of zeros", closed(code::TICKET_UNKNOWN), |ticket, exporter| {
        cold(kind::HELLO, &hello(ticket, exporter).with(3, &[0; 64][..]))
    }),
    ("nobody", closed(code::NOT_ALLOWED), |ticket, exporter| {
        cold(kind::HELLO, &hello(ticket, exporter).without(2).without(3))
    }),
    ("a ticket without a signature", VIOLATION, |ticket, exporter| {
        cold(kind::HELLO, &hello(ticket, exporter).without(3))
    }),
    ("a signature without a ticket", VIOLATION, |ticket, exporter| {
        cold(kind::HELLO, &hello(ticket, exporter).without(2))
    }),
    ("a signature cut short", VIOLATION, |ticket, exporter| {
        cold(kind::HELLO, &hello(ticket, exporter).with(3, &[1; 63][..]))
    }),
    ("a ticket cut short", VIOLATION, |ticket, exporter| {
        cold(kind::HELLO, &hello(ticket, exporter).with(2, &[1; 15][..]))
    }),
    ("a client of 17 bytes", VIOLATION, |ticket, exporter| {
        cold(kind::HELLO, &hello(ticket, exporter).with(1, &[1; 17][..]))
    }),
    ("an agent of 129 bytes", VIOLATION, |ticket, exporter| {
        cold(kind::HELLO, &hello(ticket, exporter).with(4, Cbor::text(&"a".repeat(129))))
    }),
    ("an agent that is not text", VIOLATION, |ticket, exporter| {
        cold(kind::HELLO, &hello(ticket, exporter).with(4, Cbor::Text(vec![0xff])))
    }),
    ("abilities of -1", VIOLATION, |ticket, exporter| {
        cold(kind::HELLO, &hello(ticket, exporter).with(0, Cbor::Negative(0)))
    }),
    ("a body cut short", VIOLATION, |ticket, exporter| {
        let body = hello(ticket, exporter).bytes();
        hot(kind::HELLO, 0, &body[..body.len() - 1])
    }),
    ("bytes behind the body", VIOLATION, |ticket, exporter| {
        hot(kind::HELLO, 0, &[hello(ticket, exporter).bytes(), vec![0]].concat())
    }),
    ("a flag", VIOLATION, |ticket, exporter| hot(kind::HELLO, 1, &hello(ticket, exporter).bytes())),
    ("a reserved byte", closed(code::MISMATCH), |_, _| head(1, kind::HELLO, 0, 1)),
    ("a frame of 4097 bytes", VIOLATION, |_, _| head(4097, kind::HELLO, 0, 0)),
    ("a frame of 2^32-1 bytes", closed(code::MISMATCH), |_, _| head(u32::MAX, kind::HELLO, 0, 0)),
    ("a frame to skip of 2^32-1 bytes", closed(code::MISMATCH), |_, _| head(u32::MAX, 0xff, 0, 0)),
    ("16 frames to skip", VIOLATION, |ticket, exporter| {
        [hot(0x80, 0xff, b"?").repeat(16), cold(kind::HELLO, &hello(ticket, exporter))].concat()
    }),
    ("a kind that nobody knows", VIOLATION, |_, _| hot(0x40, 0, b"")),
    ("OPEN before it", VIOLATION, |_, _| cold(kind::OPEN, &wire::open(0, 1, at("kept")))),
    ("PING before it", VIOLATION, |_, _| hot(kind::PING, 0, &[0; 8])),
    ("CHALLENGE", VIOLATION, |_, _| hot(kind::CHALLENGE, 0, &[0; 32])),
    ("WELCOME", VIOLATION, |_, _| cold(kind::WELCOME, &map([]))),
    ("JOINED", VIOLATION, |_, _| hot(kind::JOINED, 0, b"")),
    ("HELLO twice", VIOLATION, |ticket, exporter| {
        cold(kind::HELLO, &hello(ticket, exporter)).repeat(2)
    }),
];

#[test]
fn nobody_is_let_in_by_a_hello_that_is_not_theirs() {
    let fort = Fort::new();
    for (name, answer, bytes) in HELLOS {
        let mut peer = fort.dial();
        let exporter = peer.link.exporter();
        peer.say(&bytes(&fort.owner, &exporter));
        assert_eq!(peer.verdict(), *answer, "{name}");
        assert_eq!(peer.answer(), Answer::End, "{name}");
    }
    // What is almost too much is not.
    let mut peer = fort.dial();
    peer.say(&hot(0x80, 0xff, b"?").repeat(15));
    let hello = fort.owner.hello(b"floe/1", &peer.link.exporter());
    peer.enter(&hello.with(0, u64::MAX).with(9, Cbor::text("what no HELLO has")));
    fort.stands();
}

#[test]
fn nobody_is_let_in_by_a_ticket_that_is_over() {
    let fort = Fort::new();
    let revoked = fort.grant("revoked", &["--allow", "all"]);
    let expired = fort.grant("expired", &["--allow", "all", "--expires", "2s"]);
    let mut session = fort.peer_of(&revoked);
    fort.ticket(&["revoke", "revoked"]);
    let try_with = |ticket: &Ticket| {
        let mut peer = fort.dial();
        let exporter = peer.link.exporter();
        peer.say(&cold(kind::HELLO, &hello(ticket, &exporter)));
        peer.answer()
    };
    assert_eq!(try_with(&revoked), closed(code::TICKET_UNKNOWN));
    wait_until("it is over", || try_with(&expired) == closed(code::TICKET_EXPIRED));
    // Nor is a stream of a session that is over with its ticket.
    assert!(matches!(session.verdict(), Answer::Close(Some(14))));
    let mut late = fort.dial();
    let join = session.join(&late.link.exporter());
    late.say(&cold(kind::JOIN, &join));
    assert_eq!(late.verdict(), closed(code::ELSEWHERE));
    fort.stands();
}

/// A ticket of another directory that the same state directory knows.
#[test]
fn a_ticket_is_for_one_directory() {
    let fort = Fort::new();
    let (other, state) = (fort.stage.path("other"), fort.stage.path("state-server"));
    fs::create_dir(&other).unwrap();
    let mut command = fort.stage.command();
    command.arg("serve").arg(&other).arg("--state").arg(&state);
    let beside = crate::stage::Server::start(command.args(["--listen", "127.0.0.1:0"]));
    let (other, state) = (other.to_str().unwrap(), state.to_str().unwrap());
    let args = ["ticket", "create", "theirs", "--allow", "all", "--root", other, "--state", state];
    let theirs = Ticket::parse(&fort.stage.run(&args).ok().text());
    Peer::greet(beside.port, &theirs);
    let mut peer = fort.dial();
    let exporter = peer.link.exporter();
    peer.say(&cold(kind::HELLO, &hello(&theirs, &exporter)));
    assert_eq!(peer.verdict(), closed(code::NOT_ALLOWED));
    fort.stands();
}

/// A session, and what says JOIN of it: the other end's exporter, and another session.
type Join = fn(&Peer, &Peer, &[u8; 32]) -> Cbor;

const JOINS: &[(&str, Answer, Join)] = &[
    ("a MAC of zeros", closed(code::TICKET_UNKNOWN), |mine, _, exporter| {
        mine.join(exporter).with(1, &[0; 32][..])
    }),
    ("one bit of a MAC", closed(code::TICKET_UNKNOWN), |mine, _, exporter| {
        let mut mac = mine.join(exporter).at(1).string().to_vec();
        mac[31] ^= 1;
        mine.join(exporter).with(1, &mac[..])
    }),
    ("the lead's own MAC", closed(code::TICKET_UNKNOWN), |mine, _, _| {
        mine.join(&mine.link.exporter())
    }),
    ("a MAC for plaintext", closed(code::TICKET_UNKNOWN), |mine, _, exporter| {
        let secret = mine.welcome.as_ref().unwrap().at(2).string();
        let mac = join_mac(secret, b"floe/1 plaintext", exporter);
        mine.join(exporter).with(1, &mac[..])
    }),
    ("another's session by one's own secret", closed(code::TICKET_UNKNOWN), |mine, theirs, it| {
        mine.join(it).with(0, theirs.join(it).at(0).clone())
    }),
    ("a session that nobody has", closed(code::ELSEWHERE), |mine, _, exporter| {
        mine.join(exporter).with(0, &[9; 16][..])
    }),
    ("a MAC cut short", VIOLATION, |mine, _, exporter| mine.join(exporter).with(1, &[0; 31][..])),
    ("no MAC", VIOLATION, |mine, _, exporter| mine.join(exporter).without(1)),
    ("a session cut short", VIOLATION, |mine, _, exporter| {
        mine.join(exporter).with(0, &[0; 15][..])
    }),
    ("a session too long", VIOLATION, |mine, _, exporter| {
        mine.join(exporter).with(0, &[0; 17][..])
    }),
    ("a session that stands twice", VIOLATION, |mine, _, exporter| mine.join(exporter).twice(0)),
];

#[test]
fn nobody_joins_a_session_that_is_not_theirs() {
    let fort = Fort::with(&[], "[limits]\nstreams = 2\n");
    let guest = fort.grant("guest", &["--allow", "read,list"]);
    let (mut mine, theirs) = (fort.peer_of(&guest), fort.peer());
    for (name, answer, join) in JOINS {
        let mut peer = fort.dial();
        let join = join(&mine, &theirs, &peer.link.exporter());
        peer.say(&cold(kind::JOIN, &join));
        assert_eq!(peer.verdict(), *answer, "{name}");
        assert_eq!(peer.answer(), Answer::End, "{name}");
    }
    let join = |mine: &Peer| {
        let mut peer = fort.dial();
        let join = cold(kind::JOIN, &mine.join(&peer.link.exporter()));
        peer.say(&join);
        (peer, join)
    };
    let (mut second, said) = join(&mine);
    second.hears(kind::JOINED);
    let (mut third, _) = join(&mine);
    assert_eq!(third.verdict(), closed(code::LIMIT_EXCEEDED));
    let mut replay = fort.dial();
    replay.say(&said);
    let refused = [closed(code::TICKET_UNKNOWN), closed(code::LIMIT_EXCEEDED)];
    assert!(refused.contains(&replay.verdict()), "what was said once is said again");
    // None of that has disturbed the session; its end ends it for all.
    mine.say(&hot(kind::PING, 0, &[3; 8]));
    assert_eq!(mine.hear().unwrap().body, [3; 8]);
    let lead = mine.join(&[0; 32]);
    mine.say(&cold(kind::CLOSE, &map([])));
    assert_eq!(mine.answer(), Answer::End);
    assert_eq!(second.answer(), Answer::End);
    let mut late = fort.dial();
    let mac =
        join_mac(mine.welcome.as_ref().unwrap().at(2).string(), b"floe/1", &late.link.exporter());
    late.say(&cold(kind::JOIN, &lead.with(1, &mac[..])));
    assert_eq!(late.verdict(), closed(code::ELSEWHERE), "a session that has ended");
    fort.stands();
}

/// Cold frames on a stream that joined end the session, not only the stream.
#[test]
fn a_stream_that_joined_does_not_lead() {
    let fort = Fort::new();
    let ask = wire::request(0, wire::LIST, at(""));
    for (name, frame) in [
        ("OPEN", cold(kind::OPEN, &wire::open(0, 1, at("kept")))),
        ("REQUEST", cold(kind::REQUEST, &ask)),
        ("CLOSE", cold(kind::CLOSE, &map([]))),
        ("STATS", cold(kind::STATS, &map([(0, map([])), (1, 0.into())]))),
        ("HELLO", cold(kind::HELLO, &hello(&fort.owner, &[0; 32]))),
        ("JOIN", cold(kind::JOIN, &map([]))),
    ] {
        let mut lead = fort.peer();
        let mut second = fort.dial();
        let join = cold(kind::JOIN, &lead.join(&second.link.exporter()));
        second.say(&join);
        second.hears(kind::JOINED);
        second.say(&frame);
        assert_eq!(lead.verdict(), VIOLATION, "{name}");
        assert_eq!(second.verdict(), Answer::End, "{name}");
    }
    fort.stands();
}
