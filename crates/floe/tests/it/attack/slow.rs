//! Peers that begin and do not go on: before they are let in, and after; thousands that come and
//! go.

use super::channel::{Link, client_hello};
use super::fort::Fort;
use super::peer::Peer;
use super::wire::{self, at, cold, kind};
use crate::stage::{PATIENCE, wait_until};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// The deadline of these servers for a greeting.
const SHORT: &str = "[limits]\ngreeting-time = \"1s\"\n";

/// A connection that says a byte whenever the other end has not ended it, until it does.
fn drip(mut link: Link, bytes: &[u8]) {
    link.socket().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let until = Instant::now() + PATIENCE;
    let (mut bytes, mut part) = (bytes.iter(), [0; 1024]);
    while Instant::now() < until {
        if let Some(byte) = bytes.next() {
            let _ = link.write_all(&[*byte]);
            let _ = link.flush();
        }
        match link.read(&mut part) {
            Ok(count) if count > 0 => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            _ => return,
        }
    }
    panic!("it was never ended");
}

#[test]
fn who_never_ends_a_greeting_is_ended_and_holds_nobody_up() {
    let (tls, plain) = (Fort::with(&[], SHORT), Fort::with(&["--plaintext"], SHORT));
    let hello = client_hello();
    let (secure, bare) = (tls.server.port, plain.server.port);
    let cases: [(u16, bool, Vec<u8>); 6] = [
        (secure, false, vec![]),
        (secure, false, hello[..5].to_vec()),
        (secure, false, hello[..hello.len() - 200].to_vec()),
        (secure, true, wire::head(200, kind::HELLO, 0, 0)),
        (bare, false, vec![]),
        (bare, false, [wire::head(4000, kind::HELLO, 0, 0), vec![0xa5; 4000]].concat()),
    ];
    std::thread::scope(|threads| {
        // Fewer than one address may have at once, so that they wait for nothing but the deadline.
        for (port, handshake, bytes) in cases.iter().flat_map(|case| std::iter::repeat_n(case, 4)) {
            threads.spawn(move || {
                let link = match handshake {
                    true => Link::tls(*port, &[b"floe/1"]).unwrap(),
                    false => Link::Plain(Link::tcp(*port)),
                };
                drip(link, bytes);
            });
        }
        tls.serves();
        plain.serves();
    });
    tls.stands();
    plain.stands();
}

/// More of one address than may greet, each with a whole ClientHello and no more: they give way to
/// whoever waits there. Their own deadline is longer than any client waits.
#[test]
fn silent_greetings_of_an_address_give_way_to_who_waits_there() {
    let fort = Fort::with(&[], "[limits]\ngreeting-time = \"60s\"\ngreetings-per-address = 4\n");
    let hello = client_hello();
    let silent = || {
        let mut socket = Link::tcp(fort.server.port);
        socket.write_all(&hello).unwrap();
        socket
    };
    let crowd: Vec<_> = (0..10).map(|_| silent()).collect();
    fort.serves();
    drop(crowd);
    fort.stands();
}

/// What is begun in a session and not gone on with holds only its own session up.
#[test]
fn who_never_ends_a_frame_holds_nobody_up() {
    let fort = Fort::new();
    let open = cold(kind::OPEN, &wire::open(0, 0, at("x")));
    let mut peers = Vec::new();
    for bytes in [
        &open[..1],
        &open[..7],
        &open[..9],
        &open[..open.len() - 1],
        &wire::head(65_536, kind::ENTRIES, 0, 0),
        &wire::head(1_048_576 + 16, kind::DATA, 0, 0),
        &wire::head(65_536, 0xff, 0, 0),
        &wire::data(0, 0, &[0; 10])[..20],
    ] {
        for _ in 0..8 {
            let mut peer: Peer = fort.peer();
            peer.say(bytes);
            peers.push(peer);
        }
    }
    fort.serves();
    drop(peers);
    fort.stands();
}

fn descriptors(fort: &Fort) -> usize {
    fs::read_dir(format!("/proc/{}/fd", fort.server.pid())).unwrap().count()
}

/// Says the beginning of something, and is gone: in good order, or with a reset.
fn come_and_go(port: u16, nth: usize, hello: &[u8]) {
    let Ok(mut socket) = TcpStream::connect(("127.0.0.1", port)) else { return };
    let some: [&[u8]; 5] = [b"", &hello[..1], &hello[..hello.len() / 2], hello, b"GET / HTTP/1.1"];
    let _ = socket.write_all(some[nth % some.len()]);
    if nth.is_multiple_of(3) {
        socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn two_thousand_handshakes_that_are_dropped_leave_nothing() {
    let fort = Fort::new();
    fort.serves();
    let before = descriptors(&fort);
    let hello = client_hello();
    for nth in 0..2000 {
        come_and_go(fort.server.port, nth, &hello);
        if nth % 500 == 499 {
            fort.serves();
        }
    }
    // And sessions that are lost as soon as they begin.
    for _ in 0..50 {
        fort.peer();
    }
    wait_until("the connections are gone", || descriptors(&fort) <= before);
    fort.stands();
}
