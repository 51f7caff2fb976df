//! Other versions, other keys, other protocols, records that lie: on the way to a session, at both
//! ends.

use super::channel::{Link, client_hello, serve};
use super::fort::Fort;
use super::peer::{Answer, Peer};
use super::wire::{Cbor, cold, hot, kind};
use crate::stage::{Ended, Server, Stage};
use floe_engine::identity::KeyPin;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

/// A ClientHello as a TLS 1.2 client says it; `version` is the highest it knows.
fn hello_of(version: [u8; 2]) -> Vec<u8> {
    let alpn = b"\x00\x10\x00\x09\x00\x07\x06floe/1";
    let groups = b"\x00\x0a\x00\x04\x00\x02\x00\x1d";
    let signatures = b"\x00\x0d\x00\x06\x00\x04\x04\x03\x08\x04";
    let extensions = [&alpn[..], groups, signatures].concat();
    let mut hello = version.to_vec();
    hello.extend([7; 32]);
    hello.extend(b"\x00\x00\x04\xc0\x2b\xc0\x2f\x01\x00");
    hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    hello.extend(extensions);
    record(22, &handshake(1, &hello))
}

fn handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &u32::try_from(body.len()).unwrap().to_be_bytes()[1..], body].concat()
}

fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind, 3, 3][..], &len, body].concat()
}

/// A fatal alert, and which.
fn alert(answer: &[u8]) -> Option<u8> {
    match answer {
        [21, 3, _, 0, 2, 2, which, ..] => Some(*which),
        _ => None,
    }
}

const PROTOCOL_VERSION: u8 = 70;
const NO_APPLICATION_PROTOCOL: u8 = 120;

#[test]
fn nothing_but_tls_1_3_with_its_own_name_is_answered() {
    let fort = Fort::new();
    let endless = [&[1, 0xff, 0xff, 0xff][..], &[0; 16_000]].concat();
    let endless = [record(22, &endless), record(22, &[0; 16_384]).repeat(64)].concat();
    let hello = fort.owner.hello(b"floe/1 plaintext", &[0; 32]);
    for (name, bytes, which) in [
        ("TLS 1.2", hello_of([3, 3]), Some(PROTOCOL_VERSION)),
        ("TLS 1.1", hello_of([3, 2]), Some(PROTOCOL_VERSION)),
        ("TLS 1.0", hello_of([3, 1]), Some(PROTOCOL_VERSION)),
        ("SSL 3.0", hello_of([3, 0]), Some(PROTOCOL_VERSION)),
        ("SSL 2.0", b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10".to_vec(), None),
        ("floe without TLS", cold(kind::HELLO, &hello), None),
        ("a record above the limit", [&[22, 3, 3, 0xff, 0xff][..], &[0; 70_000]].concat(), None),
        ("a record of no kind", record(0x63, &[0; 100]), None),
        ("application data first", record(23, &[0; 100]), None),
        ("an alert first", record(21, &[2, 40]), None),
        ("a handshake of 16 MiB", endless, None),
        ("a ClientHello that is cut", client_hello()[..80].to_vec(), None),
    ] {
        let mut socket = Link::tcp(fort.server.port);
        // It may be ended before all is said.
        let _ = socket.write_all(&bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _ = socket.read_to_end(&mut answer);
        assert!(answer.len() < 100, "{name}: {} bytes", answer.len());
        if which.is_some() {
            assert_eq!(alert(&answer), which, "{name}");
        }
    }
    for (name, alpn, which) in [
        ("HTTP", &[&b"h2"[..], b"http/1.1"][..], Some(NO_APPLICATION_PROTOCOL)),
        ("a version to come", &[b"floe/2"], Some(NO_APPLICATION_PROTOCOL)),
        ("nothing", &[], None),
    ] {
        let mut peer = match Link::tls(fort.server.port, alpn) {
            Ok(link) => Peer::over(link),
            Err(error) => {
                assert!(which.is_some() && error.to_string().contains("ApplicationProtocol"));
                continue;
            }
        };
        let hello = fort.owner.hello(b"floe/1", &peer.link.exporter());
        peer.say(&cold(kind::HELLO, &hello));
        assert_eq!(peer.answer(), Answer::End, "{name}");
        assert!(which.is_none(), "{name} was agreed on");
    }
    fort.stands();
}

/// A byte that was changed on the way ends the connection, and says nothing.
#[test]
fn a_record_that_was_changed_ends_its_session() {
    let fort = Fort::new();
    for bytes in [record(23, &[0x5a; 100]), record(22, &handshake(1, &[0; 50])), vec![0xff; 50]] {
        let mut peer = fort.peer();
        peer.link.socket().write_all(&bytes).unwrap();
        assert_eq!(peer.answer(), Answer::End);
    }
    fort.stands();
}

/// A server by hand; what the client said to it, all of it.
fn hostile(answer: impl FnOnce(TcpStream) -> Vec<u8> + Send + 'static) -> (u16, Receiver<Vec<u8>>) {
    hostile_at(0, answer)
}

/// At a port that is free.
fn hostile_at(
    port: u16,
    answer: impl FnOnce(TcpStream) -> Vec<u8> + Send + 'static,
) -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(crate::stage::PATIENCE)).unwrap();
        drop(listener);
        let _ = tell.send(answer(socket));
    });
    (port, told)
}

/// Answers each flight of the client, until that goes.
fn plainly(answer: Vec<u8>) -> impl FnOnce(TcpStream) -> Vec<u8> {
    move |mut socket| {
        let (mut said, mut part) = (Vec::new(), [0; 4096]);
        let count = socket.read(&mut part).unwrap();
        said.extend(&part[..count]);
        let _ = socket.write_all(&answer);
        while let Ok(count @ 1..) = socket.read(&mut part) {
            said.extend(&part[..count]);
        }
        said
    }
}

/// As a server with that key, and that name of what is spoken; says `answer`, once it may.
fn securely(
    pem: &Path,
    alpn: &[&[u8]],
    answer: Vec<u8>,
) -> impl FnOnce(TcpStream) -> Vec<u8> + use<> {
    let config = serve(pem, alpn);
    move |socket| {
        let tls = rustls::ServerConnection::new(config).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, socket);
        let (mut said, mut part) = (Vec::new(), [0; 4096]);
        let _ = stream.write_all(&answer);
        while let Ok(count @ 1..) = stream.read(&mut part) {
            said.extend(&part[..count]);
        }
        said
    }
}

/// The owner of a server that is gone, and comes back as something else.
fn victim() -> (Stage, String) {
    let stage = Stage::new();
    let server: Server = stage.serve(&[]);
    let ticket = stage.owner_ticket().trim().to_owned();
    assert_eq!(server.terminate(), 0);
    (stage, ticket)
}

fn ls(stage: &Stage, port: u16, ticket: &str) -> Ended {
    stage.run_env(&["ls", &format!("floe://127.0.0.1:{port}/")], "FLOE_TICKET", ticket)
}

#[test]
fn a_client_says_nothing_to_a_server_that_is_not_its_own() {
    let (stage, ticket) = victim();
    let (other, _) = victim();
    let (own, other) =
        (stage.path("state-server/identity.pem"), other.path("state-server/identity.pem"));
    let mut server_hello = [3, 3].to_vec();
    server_hello.extend([8; 32]);
    server_hello.extend(b"\x00\xc0\x2f\x00");
    let challenge = hot(kind::CHALLENGE, 0, &[1; 32]);
    type Hostile = (u16, Receiver<Vec<u8>>);
    let cases: [(&str, Hostile, i32, &str); 6] = [
        ("another key", hostile(securely(&other, &[b"floe/1"], vec![])), 4, "key"),
        ("no name", hostile(securely(&own, &[], vec![])), 6, "floe/1"),
        ("another name", hostile(securely(&own, &[b"h2"], vec![])), 6, ""),
        ("TLS 1.2", hostile(plainly(record(22, &handshake(2, &server_hello)))), 6, ""),
        ("no TLS", hostile(plainly(challenge.clone())), 6, "TLS"),
        (
            "a record that lies",
            hostile(plainly([&[22, 3, 3, 0xff, 0xff][..], &[0; 70_000]].concat())),
            6,
            "",
        ),
    ];
    for (name, (port, said), status, text) in cases {
        let ended = ls(&stage, port, &ticket);
        assert_eq!(ended.status, status, "{name}: {}", ended.err);
        ended.fails(status, &[text]);
        let said = said.recv_timeout(crate::stage::PATIENCE).unwrap();
        // Nothing of a HELLO: what it says is a ClientHello and an alert, or nothing at all.
        assert!(said.is_empty() || (said[0] == 22 && said.len() < 4096), "{name}: {said:?}");
    }
    // Whoever has the right key cannot make TLS's client take a challenge for its exporter.
    let (port, said) = hostile(securely(&own, &[b"floe/1"], challenge));
    ls(&stage, port, &ticket).fails(6, &["broke the protocol"]);
    let hello = said.recv_timeout(crate::stage::PATIENCE).unwrap();
    assert_eq!(hello[4], kind::HELLO);
}

/// A server with one key that tells of another, signed for by a third; the fingerprint it tells.
fn telling(
    own: &Path,
    told: &Path,
    signs: &Path,
) -> (Vec<u8>, impl FnOnce(TcpStream) -> Vec<u8> + use<>) {
    let cert = CertificateDer::from_pem_file(told).unwrap();
    let spki = ParsedCertificate::try_from(&cert).unwrap().subject_public_key_info().to_vec();
    let key = any_supported_type(&PrivateKeyDer::from_pem_file(signs).unwrap()).unwrap();
    let signer = key.choose_scheme(&[rustls::SignatureScheme::ECDSA_NISTP256_SHA256]).unwrap();
    let (config, told) = (serve(own, &[b"floe/1"]), spki.clone());
    let answer = move |socket| {
        let tls = rustls::ServerConnection::new(config).unwrap();
        let mut stream = rustls::StreamOwned::new(tls, socket);
        let mut part = [0; 4096];
        let count = stream.read(&mut part).unwrap();
        let exporter =
            stream.conn.export_keying_material([0; 32], b"EXPORTER-floe/1", Some(&[])).unwrap();
        let message = [&b"floe/1 successor\0floe/1"[..], &exporter].concat();
        let signature = signer.sign(&message).unwrap();
        let (told, signed) = (Cbor::from(&told[..]), Cbor::from(&signature[..]));
        let welcome = super::host::welcome().with(8, told).with(9, 0x0403).with(10, signed);
        let _ = stream.write_all(&cold(kind::WELCOME, &welcome.with(11, 4_000_000_000)));
        stream.conn.send_close_notify();
        let _ = stream.flush();
        part[..count].to_vec()
    };
    (spki, answer)
}

fn pinned(stage: &Stage) -> String {
    stage.run(&["hosts"]).ok().text().trim().rsplit('\t').next().unwrap().to_owned()
}

#[test]
fn another_key_is_taken_only_from_a_server_that_has_both() {
    let (other, _) = victim();
    let other = other.path("state-server/identity.pem");
    for (told_by_itself, taken) in [(false, false), (true, true)] {
        let stage = Stage::new();
        let server = stage.serve_and_log_in(&[]);
        let (own, port) = (stage.path("state-server/identity.pem"), server.port);
        assert_eq!(server.terminate(), 0);
        let before = pinned(&stage);
        let (spki, answer) = telling(&own, &other, if told_by_itself { &other } else { &own });
        let (_, said) = hostile_at(port, answer);
        let ended = stage.run(&["ls", "nas:/"]);
        let other = KeyPin::of_public_key(&spki).to_string();
        if taken {
            // What is told well is kept, though nothing else came of it.
            assert!(ended.err.contains(&other), "{}", ended.err);
            assert_eq!(pinned(&stage), other);
        } else {
            ended.fails(6, &["another key that is not the server's", "broke the protocol"]);
            assert_eq!(pinned(&stage), before);
        }
        assert_eq!(said.recv_timeout(crate::stage::PATIENCE).unwrap()[4], kind::HELLO);
    }
    // From whom the own key was not shown, nothing is heard at all.
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let port = server.port;
    assert_eq!(server.terminate(), 0);
    let before = pinned(&stage);
    let (_, said) = hostile_at(port, securely(&other, &[b"floe/1"], vec![]));
    stage.run(&["ls", "nas:/"]).fails(4, &["floe key show"]);
    assert_eq!(pinned(&stage), before);
    let _ = said.recv_timeout(crate::stage::PATIENCE).unwrap();
}

#[test]
fn another_key_is_never_taken_in_plaintext() {
    let port = super::host::host(|peer| {
        super::host::challenge(peer);
        let signed = super::host::welcome().with(8, &[1; 91][..]).with(9, 0x0403);
        let signed = signed.with(10, &[2; 72][..]).with(11, 4_000_000_000);
        peer.say(&cold(kind::WELCOME, &signed));
    });
    let victim = super::host::Victim::new();
    victim.refuses("another key in plaintext", port, &["ls", "URL/"]);
    assert!(!victim.stage.path("state/hosts.json").exists());
}
