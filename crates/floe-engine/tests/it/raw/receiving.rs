//! Connections that become files, or leave nothing.

use super::{Face, content, read_to_end, reset, terms, visible, write_like_the_article};
use floe_engine::raw::{Framing, Happening, Inbox, Listening, Stop, Terms, Watch, Work};
use floe_types::{Code, Root};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;

fn inbox(directory: &Path, terms: Terms) -> Face {
    Face::start(Work::Receive(Inbox::open(directory).unwrap()), terms)
}

fn failure(face: &Face) -> Code {
    match face.next() {
        Happening::Failed { fault, .. } => fault.code,
        other => panic!("{other:?}"),
    }
}

/// Takes one connection's file and checks it against what was sent.
fn expect_file(face: &Face, directory: &Path, bytes: &[u8]) -> String {
    match face.next() {
        Happening::Received { name, size, root, peer } => {
            let name = name.to_string();
            assert_eq!(fs::read(directory.join(&name)).unwrap(), bytes);
            assert_eq!((size.0, root), (bytes.len() as u64, Root::of(bytes)));
            assert!(name.ends_with(&format!("-{}", peer.port())), "{name}");
            name
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_listener_waits_until_the_end_of_a_connection_is_told() {
    let directory = TempDir::new().unwrap();
    let listening = Listening::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
    let address = listening.addresses()[0];
    let stop = Stop::new().unwrap();
    let (counted, (tell, told)) = (stop.clone(), channel());
    let watch: Watch = Arc::new(move |_| tell.send(counted.connections()).unwrap());
    let work = Work::Receive(Inbox::open(directory.path()).unwrap());
    let asked = stop.clone();
    let listener = thread::spawn(move || listening.run(work, terms(Framing::Open), &asked, &watch));
    TcpStream::connect(address).unwrap().write_all(b"bytes").unwrap();
    assert_eq!(told.recv().unwrap(), 1, "while it is told, there is something to wait for");
    stop.drain();
    listener.join().unwrap().unwrap();
}

#[test]
fn bytes_become_a_file_when_the_peer_closes() {
    let directory = TempDir::new().unwrap();
    let face = inbox(directory.path(), terms(Framing::Open));
    for (seed, len) in [(1, 0), (2, 1), (3, 256 << 10), (4, (1 << 20) + 7)] {
        let bytes = content(seed, len);
        let stream = face.connect();
        write_like_the_article(&stream, &bytes);
        drop(stream);
        expect_file(&face, directory.path(), &bytes);
    }
    assert_eq!(visible(directory.path()).len(), 4);
}

#[test]
fn the_close_comes_after_the_commit() {
    let directory = TempDir::new().unwrap();
    let face = inbox(directory.path(), terms(Framing::Open));
    let mut stream = face.connect();
    stream.write_all(&content(1, 100_000)).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&stream).unwrap(), b"");
    assert_eq!(visible(directory.path()).len(), 1);
}

#[test]
fn a_reset_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let face = inbox(directory.path(), terms(Framing::Open));
    let mut stream = face.connect();
    stream.write_all(&content(1, 3 << 20)).unwrap();
    reset(stream);
    assert_eq!(failure(&face), Code::ConnectionLost);
    assert_eq!(visible(directory.path()), [""; 0]);
}

#[test]
fn silence_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let terms = Terms { idle: Duration::from_millis(50), ..terms(Framing::Open) };
    let face = inbox(directory.path(), terms);
    let mut stream = face.connect();
    // The silence may be over before everything is written.
    let _ = stream.write_all(&content(1, 300_000));
    assert_eq!(failure(&face), Code::TimedOut);
    assert!(read_to_end(&stream).is_err(), "the peer is told by a reset");
    assert_eq!(visible(directory.path()), [""; 0]);
}

#[test]
fn a_sized_connection_is_exactly_as_long_as_announced() {
    let directory = TempDir::new().unwrap();
    let face = inbox(directory.path(), terms(Framing::Sized));
    for len in [0, 1, 256 << 10, (1 << 20) + 1] {
        let bytes = content(1, len);
        for (announced, code) in [
            (len as u64 + 1, Some(Code::ConnectionLost)),
            (len as u64, None),
            ((len as u64).wrapping_sub(1), Some(Code::Violation)),
        ] {
            let before = visible(directory.path());
            let mut stream = face.connect();
            stream.write_all(&announced.to_be_bytes()).unwrap();
            // A refusal may come before everything is written.
            let _ = stream.write_all(&bytes);
            drop(stream);
            match code {
                Some(code) => {
                    assert_eq!(failure(&face), code, "{len} of {announced}");
                    assert_eq!(visible(directory.path()), before);
                }
                None => drop(expect_file(&face, directory.path(), &bytes)),
            }
        }
    }
}

#[test]
fn a_size_that_cannot_be_is_refused_before_its_bytes() {
    let directory = TempDir::new().unwrap();
    let face = inbox(directory.path(), terms(Framing::Sized));
    for (size, code) in [
        (u64::MAX, Code::Violation),
        (1 << 63, Code::Violation),
        ((1 << 63) - 1, Code::NoSpace),
        (1 << 60, Code::NoSpace),
    ] {
        let mut stream = face.connect();
        stream.write_all(&size.to_be_bytes()).unwrap();
        assert_eq!(failure(&face), code);
        assert!(read_to_end(&stream).is_err(), "the peer is told by a reset");
    }
    assert_eq!(visible(directory.path()), [""; 0]);
    assert!(fs::read_dir(directory.path()).unwrap().next().is_none(), "not even a stage");
}

#[test]
fn half_a_size_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let face = inbox(directory.path(), terms(Framing::Sized));
    for len in 0..8 {
        face.connect().write_all(&vec![0; len]).unwrap();
        assert_eq!(failure(&face), Code::ConnectionLost);
    }
    assert_eq!(visible(directory.path()), [""; 0]);
}

#[test]
fn a_sized_peer_that_stays_open_is_whole_after_a_while() {
    let directory = TempDir::new().unwrap();
    let face = inbox(directory.path(), terms(Framing::Sized));
    let mut stream = face.connect();
    stream.write_all(&5_u64.to_be_bytes()).unwrap();
    stream.write_all(b"12345").unwrap();
    expect_file(&face, directory.path(), b"12345");
    assert_eq!(read_to_end(&stream).unwrap(), b"", "and is closed cleanly");
}

#[test]
fn fifty_at_once_become_fifty_files() {
    let directory = TempDir::new().unwrap();
    let face = inbox(directory.path(), terms(Framing::Open));
    let streams: Vec<_> = (0..50).map(|_| face.connect()).collect();
    face.await_connections(50);
    let mut sent = BTreeMap::new();
    for (seed, stream) in (0_u8..).zip(&streams) {
        sent.insert(stream.local_addr().unwrap(), content(seed, 400_000 + usize::from(seed)));
    }
    thread::scope(|scope| {
        for stream in streams {
            let bytes = &sent[&stream.local_addr().unwrap()];
            scope.spawn(move || write_like_the_article(&stream, bytes));
        }
    });
    for _ in 0..50 {
        let Happening::Received { peer, name, .. } = face.next() else { panic!("one failed") };
        let got = fs::read(directory.path().join(name.to_string())).unwrap();
        assert_eq!(Some(got), sent.remove(&peer));
    }
    assert_eq!(visible(directory.path()).len(), 50);
}

#[test]
fn connections_beyond_the_bound_wait_for_their_turn() {
    let directory = TempDir::new().unwrap();
    let terms = Terms { connections_max: 1, ..terms(Framing::Open) };
    let face = inbox(directory.path(), terms);
    let first = face.connect();
    face.await_connections(1);
    let mut second = face.connect();
    second.write_all(b"second").unwrap();
    drop(second);
    assert_eq!(face.stop.connections(), 1);
    drop(first);
    expect_file(&face, directory.path(), b"");
    expect_file(&face, directory.path(), b"second");
}

#[test]
fn cutting_off_keeps_nothing_of_what_is_not_whole() {
    let directory = TempDir::new().unwrap();
    for framing in [Framing::Open, Framing::Sized] {
        let face = inbox(directory.path(), terms(framing));
        let mut stream = face.connect();
        stream.write_all(&1_000_000_u64.to_be_bytes()).unwrap();
        stream.write_all(&content(1, 600_000)).unwrap();
        face.await_connections(1);
        face.stop.cut();
        assert_eq!(failure(&face), Code::Interrupted);
        assert_eq!(visible(directory.path()), [""; 0]);
    }
}

#[test]
fn draining_lets_connections_end() {
    let directory = TempDir::new().unwrap();
    let mut face = inbox(directory.path(), terms(Framing::Open));
    let mut stream = face.connect();
    face.await_connections(1);
    face.stop.drain();
    stream.write_all(b"late").unwrap();
    drop(stream);
    expect_file(&face, directory.path(), b"late");
    face.thread.take().unwrap().join().unwrap();
}
