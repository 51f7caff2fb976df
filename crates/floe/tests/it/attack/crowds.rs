//! Ten thousand connections that stand and say nothing more, in each state in which one may; and
//! thousands that come and go. They come from addresses of their own, as far as they can.
//!
//! Needs RLIMIT_NOFILE of 16,384, here and for the server.

use super::channel::{Link, client_hello};
use super::fort::{Fort, resident};
use super::peer::{Answer, Peer, Ticket, join_mac};
use super::wire::{Cbor, code, cold, kind, map};
use crate::stage::{PATIENCE, wait_until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};
use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// As many as stand at once.
const CROWD: usize = 10_000;
/// What a server and this process may open.
const DESCRIPTORS: u32 = 16_384;
/// Those of a server that has so many in front of its gate; and those of one ticket in sessions,
/// which is half of what fits in half of 64 MiB.
const PLACES: usize = DESCRIPTORS as usize / 8;
const SEATS: usize = ((32 << 20) / SESSION_BYTES).div_ceil(2);
/// Those that had to leave and are not gone yet, and those that are accepted and closed at once.
const LEAVING: usize = 64 + 16;
/// What a connection may cost (SECURITY.md): before it is let in, and in a session; and all that
/// are in their greeting at once.
const WAITING_BYTES: u64 = 4 << 10;
const GREETING_BYTES: u64 = 16 << 20;
const SESSION_BYTES: usize = 60 << 10;

/// One crowd at a time: each takes most of what this process may open.
fn room() -> Option<MutexGuard<'static, ()>> {
    static ROOM: Mutex<()> = Mutex::new(());
    let room = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = u64::from(DESCRIPTORS);
    let wanted = Rlimit { current: Some(needed), maximum };
    let enough = current.is_none_or(|current| current >= needed);
    if enough || setrlimit(Resource::Nofile, wanted).is_ok() {
        return Some(room);
    }
    crate::stage::skip(&format!(
        "a crowd of {CROWD}: RLIMIT_NOFILE is {maximum:?}, not {DESCRIPTORS}"
    ));
    None
}

fn fort(flags: &[&str], settings: &str) -> Fort {
    Fort::with_descriptors(flags, settings, DESCRIPTORS)
}

/// A connection from an address of its own.
fn dial_from(nth: usize, port: u16) -> TcpStream {
    let [_, high, middle, low] = u32::try_from(nth + 0x1_0001).unwrap().to_be_bytes();
    let from = SocketAddr::from((Ipv4Addr::new(127, high, middle, low), 0));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&from.into()).unwrap();
    socket.connect(&SocketAddr::from(([127, 0, 0, 1], port)).into()).unwrap();
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    socket
}

fn descriptors(fort: &Fort) -> usize {
    fs::read_dir(format!("/proc/{}/fd", fort.server.pid())).unwrap().count()
}

/// A state before a session: its name, the server's flags, and what is said.
type Before = (&'static str, &'static [&'static str], fn(&[u8]) -> &[u8]);

const BEFORE: [Before; 4] = [
    ("nothing is said", &[], |_| b""),
    ("half a ClientHello", &[], |hello| &hello[..hello.len() / 2]),
    ("a ClientHello, and nothing behind it", &[], |hello| hello),
    ("a challenge, and no HELLO", &["--plaintext"], |_| b""),
];

#[test]
fn ten_thousand_that_stand_before_a_session_are_bounded_and_ended_and_keep_nobody_out() {
    let Some(_room) = room() else { return };
    let hello = client_hello();
    for (state, flags, said) in BEFORE {
        let fort = fort(flags, "[limits]\ngreeting-time = \"3s\"\n");
        fort.serves();
        let (before, bytes) = (descriptors(&fort), resident(fort.server.pid()));
        let mut most = (0, 0);
        let mut crowd = Vec::new();
        for nth in 0..CROWD {
            let mut socket = dial_from(nth, fort.server.port);
            // One that was closed at once cannot be told anything.
            let _ = socket.write_all(said(&hello));
            crowd.push(socket);
            if nth % 1000 == 999 {
                most = most.max((descriptors(&fort) - before, resident(fort.server.pid())));
            }
            if nth == CROWD / 2 {
                fort.serves();
            }
        }
        fort.serves();
        most = most.max((descriptors(&fort) - before, resident(fort.server.pid())));
        let (stood, grown) = (most.0, most.1.saturating_sub(bytes));
        assert!(stood <= PLACES + LEAVING, "{state}: {stood} stood");
        assert!(stood >= PLACES / 8, "{state}: only {stood} ever stood");
        eprintln!("{state}: {stood} stood, {} bytes of the server each", grown / stood as u64);
        assert!(grown <= stood as u64 * WAITING_BYTES + GREETING_BYTES, "{state}: {grown} bytes");
        // All are ended, though none of them ends.
        wait_until(state, || descriptors(&fort) <= before);
        assert!(fort.resident(), "{state}");
        drop(crowd);
        fort.stands();
    }
}

/// Asks for a session from an address of its own; what the answer is.
fn knock(nth: usize, fort: &Fort, ticket: &Ticket) -> (Peer, Answer) {
    let mut peer = dial(nth, fort);
    let hello = match &peer.link {
        Link::Plain(_) => {
            let challenge = peer.hears(kind::CHALLENGE).body.try_into().unwrap();
            ticket.hello(b"floe/1 plaintext", &challenge)
        }
        Link::Tls(_) => ticket.hello(b"floe/1", &peer.link.exporter()),
    };
    peer.say(&cold(kind::HELLO, &hello));
    let heard = peer.next();
    let answer = heard.as_ref().map_or(Answer::End, |frame| frame.answer());
    peer.welcome = heard.filter(|it| it.kind == kind::WELCOME).map(|frame| frame.map());
    (peer, answer)
}

/// A connection from an address of its own, as far as a greeting.
fn dial(nth: usize, fort: &Fort) -> Peer {
    let socket = dial_from(nth, fort.server.port);
    Peer::over(match fort.is_plain() {
        true => Link::Plain(socket),
        false => Link::tls_over(socket, &[b"floe/1"]).unwrap(),
    })
}

/// Joins a session that runs over plaintext; what the answer is.
fn join(nth: usize, fort: &Fort, lead: &Peer) -> (Peer, Answer) {
    let mut peer = dial(nth, fort);
    let challenge: [u8; 32] = peer.hears(kind::CHALLENGE).body.try_into().unwrap();
    let welcome = lead.welcome.as_ref().unwrap();
    let mac = join_mac(welcome.at(2).string(), b"floe/1 plaintext", &challenge);
    let body: Cbor = map([(0, welcome.at(1).clone()), (1, mac[..].into())]);
    peer.say(&cold(kind::JOIN, &body));
    let answer = peer.answer();
    (peer, answer)
}

/// How much more is resident since, and that it is no more than what so many may cost.
#[track_caller]
fn costs(fort: &Fort, since: u64, count: usize, what: &str) {
    let grown = resident(fort.server.pid()).saturating_sub(since);
    eprintln!("{what}: {count} stand, {} bytes of the server each", grown / count as u64);
    assert!(
        grown <= (count * SESSION_BYTES) as u64 + (4 << 20),
        "{what}: {grown} bytes for {count}"
    );
}

#[test]
fn ten_thousand_that_ask_for_sessions_get_what_one_ticket_may_have_and_keep_nobody_out() {
    let Some(_room) = room() else { return };
    for (flags, asking) in [(&["--plaintext"][..], CROWD), (&[], 1000)] {
        let fort = fort(flags, "");
        let guest = fort.grant("guest", &["--allow", "read,list"]);
        fort.serves();
        let (before, bytes) = (descriptors(&fort), resident(fort.server.pid()));
        let mut crowd = Vec::new();
        for nth in 0..asking {
            match knock(nth, &fort, &guest) {
                (peer, Answer::Frame(kind::WELCOME)) => crowd.push(peer),
                (_, answer) => assert_eq!(answer, Answer::Frame(kind::BUSY), "{nth}"),
            }
            if nth % 2500 == 2499 {
                fort.serves();
            }
        }
        assert_eq!(crowd.len(), SEATS);
        fort.serves();
        costs(&fort, bytes, crowd.len(), "sessions without a transfer");
        drop(crowd);
        wait_until("the sessions are gone", || descriptors(&fort) <= before);
        fort.stands();
    }
}

#[test]
fn ten_thousand_that_join_sessions_get_what_one_ticket_may_have_and_keep_nobody_out() {
    let Some(_room) = room() else { return };
    let fort = fort(&["--plaintext"], "");
    let guest = fort.grant("guest", &["--allow", "read,list"]);
    fort.serves();
    let (before, bytes) = (descriptors(&fort), resident(fort.server.pid()));
    let leads: Vec<_> = (0..CROWD / 63 + 1).map(|nth| knock(nth, &fort, &guest).0).collect();
    let mut crowd = Vec::new();
    for nth in 0..CROWD {
        match join(nth, &fort, &leads[nth / 63]) {
            (peer, Answer::Frame(kind::JOINED)) => crowd.push(peer),
            (_, answer) => assert_eq!(answer, Answer::Close(Some(code::LIMIT_EXCEEDED)), "{nth}"),
        }
        if nth % 2500 == 2499 {
            fort.serves();
        }
    }
    assert_eq!(crowd.len() + leads.len(), SEATS);
    fort.serves();
    costs(&fort, bytes, crowd.len() + leads.len(), "sessions and streams that joined");
    drop((crowd, leads));
    wait_until("the sessions are gone", || descriptors(&fort) <= before);
    fort.stands();
}

/// Comes as far as its number says, and is gone: in good order, or with a reset.
fn come_and_go(nth: usize, fort: &Fort, hello: &[u8], guest: &Ticket) {
    match nth % 40 {
        0 => drop(knock(nth, fort, guest)),
        1..4 => drop(dial(nth, fort)),
        step => {
            let mut socket = dial_from(nth, fort.server.port);
            let said = [&hello[..0], &hello[..1], &hello[..hello.len() / 2], hello][step % 4];
            let _ = socket.write_all(said);
            if step % 3 == 0 {
                socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
            }
        }
    }
}

#[test]
fn six_thousand_that_come_and_go_leave_nothing_and_keep_nobody_out() {
    let Some(_room) = room() else { return };
    let fort = fort(&[], "");
    let guest = fort.grant("guest", &["--allow", "read,list"]);
    fort.serves();
    let before = descriptors(&fort);
    let hello = client_hello();
    std::thread::scope(|threads| {
        for from in 0..3 {
            let (fort, hello, guest) = (&fort, &hello, &guest);
            threads.spawn(move || {
                (0..2000).for_each(|nth| come_and_go(nth * 3 + from, fort, hello, guest));
            });
        }
        (0..5).for_each(|_| fort.serves());
    });
    wait_until("the connections are gone", || descriptors(&fort) <= before);
    fort.stands();
}
