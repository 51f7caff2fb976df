use super::*;
use crate::identity::{Identity, KeyPin};
use crate::state::State;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::Instant;

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dialled = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (dialled, listener.accept().await.unwrap().0)
}

fn identity() -> Identity {
    let dir = tempfile::tempdir().unwrap();
    Identity::load_or_create(&State::open(dir.path()).unwrap()).unwrap()
}

async fn pair(channel: Channel) -> (Secured, Secured) {
    let (dialled, accepted) = sockets().await;
    if channel == Channel::Plaintext {
        return (plaintext(dialled), plaintext(accepted));
    }
    let identity = identity();
    let tls = TlsServer::new(&identity).unwrap();
    let (client, server) = tokio::join!(
        client_handshake(dialled, identity.pin(), soon()),
        server_handshake(accepted, &tls, soon())
    );
    (client.unwrap(), server.unwrap())
}

/// Content that is a function of its offset.
fn content(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect()
}

async fn send_all(link: &mut Secured, bytes: &[u8]) {
    let mut rest = bytes;
    while !rest.is_empty() || link.has_unsent() {
        let accepted = link.write_plain(&[IoSlice::new(rest)]).unwrap();
        rest = &rest[accepted..];
        if link.flush().unwrap() == Flushed::Pending || (accepted == 0 && !rest.is_empty()) {
            link.socket().writable().await.unwrap();
        }
    }
}

async fn read_to_end(link: &mut Secured, portion: usize) -> (Vec<u8>, Ending) {
    let (mut all, mut into, mut scratch) = (Vec::new(), vec![0; portion], Scratch::new());
    loop {
        match link.read_plain(&mut into, &mut scratch).unwrap() {
            Took::Bytes(len) => all.extend_from_slice(&into[..len]),
            Took::WouldBlock => link.socket().readable().await.unwrap(),
            Took::End(ending) => return (all, ending),
        }
    }
}

#[tokio::test]
async fn carries_bytes_whole_in_portions_of_any_size() {
    for channel in [Channel::Tls, Channel::Plaintext] {
        for portion in [1, 8, 16_384, 100_000, 1 << 20] {
            let bytes = content(if portion == 1 { 70_000 } else { 3_000_017 });
            let (mut client, mut server) = pair(channel).await;
            let sending = async {
                send_all(&mut client, &bytes).await;
                while client.close().unwrap() == Flushed::Pending {
                    client.socket().writable().await.unwrap();
                }
            };
            let (_, (got, ending)) = tokio::join!(sending, read_to_end(&mut server, portion));
            assert!(got == bytes, "{channel:?} in portions of {portion}");
            let clean = if channel == Channel::Tls { Ending::CloseNotify } else { Ending::Fin };
            assert_eq!(ending, clean);
            assert!(client.write_plain(&[IoSlice::new(b"x")]).is_err(), "closed is closed");
        }
    }
}

#[tokio::test]
async fn vectored_parts_arrive_in_order() {
    for channel in [Channel::Tls, Channel::Plaintext] {
        let (mut client, mut server) = pair(channel).await;
        let parts = [IoSlice::new(b"head"), IoSlice::new(b""), IoSlice::new(b"body")];
        assert_eq!(client.write_plain(&parts).unwrap(), 8);
        let _ = client.close().unwrap();
        assert_eq!(read_to_end(&mut server, 64).await.0, b"headbody");
    }
}

#[tokio::test]
async fn a_cut_connection_is_not_a_clean_end() {
    let (mut client, mut server) = pair(Channel::Tls).await;
    send_all(&mut client, b"some").await;
    drop(client);
    assert_eq!(read_to_end(&mut server, 64).await, (b"some".to_vec(), Ending::Fin));
}

#[tokio::test]
async fn holds_a_bounded_amount_for_a_peer_that_does_not_read() {
    let (mut client, server) = pair(Channel::Tls).await;
    let bytes = content(1 << 20);
    let mut accepted = 0;
    loop {
        let now = client.write_plain(&[IoSlice::new(&bytes)]).unwrap();
        accepted += now;
        assert!(client.unsent_bytes().0 <= 300 << 10, "{}", client.unsent_bytes());
        if now == 0 {
            break;
        }
    }
    assert!(client.has_unsent() && accepted > 256 << 10);
    drop(server);
}

#[tokio::test]
async fn takes_bytes_on_after_a_move_to_another_runtime() {
    let (mut client, mut server) = pair(Channel::Tls).await;
    send_all(&mut client, &content(40_000)).await;
    let mut first = vec![0; 10];
    while server.read_plain(&mut first, &mut Scratch::new()).unwrap() == Took::WouldBlock {
        server.socket().readable().await.unwrap();
    }
    let detached = server.detach().unwrap();
    let _ = client.close().unwrap();
    let rest = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { read_to_end(&mut detached.attach().unwrap(), 4096).await.0 })
    });
    assert!([first, rest.join().unwrap()].concat() == content(40_000));
}

#[tokio::test]
async fn both_ends_have_one_exporter_and_every_connection_another() {
    let (client, server) = pair(Channel::Tls).await;
    let exporter = client.exporter().unwrap();
    assert!(exporter.is_some() && exporter == server.exporter().unwrap());
    assert_ne!(exporter, pair(Channel::Tls).await.0.exporter().unwrap());
    assert_eq!(pair(Channel::Plaintext).await.0.exporter().unwrap(), None);
}

#[tokio::test]
async fn another_key_than_the_pinned_one_is_refused_by_name() {
    let (dialled, accepted) = sockets().await;
    let (identity, pin) = (identity(), KeyPin([9; 32]));
    let tls = TlsServer::new(&identity).unwrap();
    let (client, server) = tokio::join!(
        client_handshake(dialled, pin, soon()),
        server_handshake(accepted, &tls, soon())
    );
    let fault = client.unwrap_err();
    assert_eq!(fault.code, Code::ServerKeyMismatch);
    assert!(fault.detail.contains(&identity.pin().to_string()), "{fault}");
    assert!(fault.detail.contains(&pin.to_string()), "{fault}");
    assert_eq!(server.unwrap_err().code, Code::Tls);
}

#[tokio::test]
async fn a_server_that_shows_the_right_certificate_without_its_key_is_refused() {
    // The thief has the certificate, which is public, and a key of its own.
    let (dialled, accepted) = sockets().await;
    let (victim, thief) = (identity(), identity());
    assert!(TlsServer::new(&victim.with_key_of(&thief)).is_err(), "rustls would notice itself");
    let forged = TlsServer::forged(&victim, &thief);
    let (client, _server) = tokio::join!(
        client_handshake(dialled, victim.pin(), soon()),
        server_handshake(accepted, &forged, soon())
    );
    assert_eq!(client.unwrap_err().code, Code::Tls);
}

#[tokio::test]
async fn a_damaged_record_loses_the_connection() {
    let (mut client, server) = pair(Channel::Tls).await;
    let (tls_socket, tls) = (server.socket, server.tls);
    // Ten bytes that look like a record and are none of this connection's.
    assert_eq!(tls_socket.try_write(&[0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5]).unwrap(), 10);
    let (mut into, mut scratch) = ([0; 64], Scratch::new());
    let fault = loop {
        match client.read_plain(&mut into, &mut scratch) {
            Ok(_) => client.socket().readable().await.unwrap(),
            Err(fault) => break fault,
        }
    };
    assert_eq!(fault.code, Code::ConnectionLost);
    assert!(client.read_plain(&mut into, &mut scratch).is_err(), "sticky");
    drop(tls);
}

/// What a client that asks for TLS says of a server that answers so.
async fn answered(answer: &'static [u8]) -> Fault {
    let (dialled, accepted) = sockets().await;
    let mut sent = 0;
    while sent < answer.len() {
        accepted.writable().await.unwrap();
        sent += accepted.try_write(&answer[sent..]).unwrap();
    }
    client_handshake(dialled, KeyPin([0; 32]), soon()).await.unwrap_err()
}

#[tokio::test]
async fn a_client_names_what_else_a_server_speaks() {
    for (answer, code, word) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], Code::ProtocolMismatch, "HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Code::ProtocolMismatch, "SSH"),
        (b"220 mail.example.org ESMTP\r\n", Code::ProtocolMismatch, "mail"),
        (b"\0\0\0\x20\x01\0\0\0................................", Code::Tls, "without TLS"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff", Code::ProtocolMismatch, "TLS"),
        (b"\x15\x03\x03\0\x02\x02\x78", Code::ProtocolMismatch, "not floe/1"),
    ] {
        let fault = answered(answer).await;
        assert_eq!(fault.code, code, "{fault}");
        assert!(fault.detail.contains(word), "{fault}");
    }
}

/// What a server that asks for TLS says of a client that begins so and then ends.
async fn begun(first: &'static [u8]) -> Fault {
    let (dialled, accepted) = sockets().await;
    assert_eq!(dialled.try_write(first).unwrap(), first.len());
    drop(dialled);
    let tls = TlsServer::new(&identity()).unwrap();
    server_handshake(accepted, &tls, soon()).await.unwrap_err()
}

#[tokio::test]
async fn a_server_names_what_else_a_client_speaks() {
    for (first, code, word) in [
        (&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], Code::ProtocolMismatch, "HTTP"),
        (b"SSH-2.0-x\r\n", Code::ProtocolMismatch, "SSH"),
        (b"\x16\x03\x01\0\x0agarbage...", Code::ProtocolMismatch, ""),
        (b"\xff\xfe\xfd\xfc\xfb\xfa", Code::ProtocolMismatch, ""),
        (b"", Code::ConnectionLost, "closed"),
    ] {
        let fault = begun(first).await;
        assert_eq!(fault.code, code, "{fault}");
        assert!(fault.detail.contains(word), "{fault}");
    }
}

/// A TLS client that is not floe, with these application protocols.
async fn scanned(alpn: &[&[u8]]) -> (Fault, Option<rustls::Error>) {
    let (dialled, accepted) = sockets().await;
    let identity = identity();
    let tls = TlsServer::new(&identity).unwrap();
    let scan = handshake::scan(dialled, identity.pin(), alpn);
    let (found, server) = tokio::join!(scan, server_handshake(accepted, &tls, soon()));
    (server.unwrap_err(), found)
}

#[tokio::test]
async fn a_tls_scanner_with_another_protocol_or_none_is_refused() {
    let (fault, found) = scanned(&[b"h2", b"http/1.1"]).await;
    assert_eq!(fault.code, Code::ProtocolMismatch, "{fault}");
    let alert = rustls::AlertDescription::NoApplicationProtocol;
    assert_eq!(found, Some(rustls::Error::AlertReceived(alert)));
    let (fault, found) = scanned(&[]).await;
    assert_eq!((fault.code, found), (Code::ProtocolMismatch, None), "{fault}");
}

#[tokio::test]
async fn a_silent_peer_is_given_up_at_the_deadline() {
    let (dialled, _accepted) = sockets().await;
    let over = Instant::now();
    let fault = client_handshake(dialled, KeyPin([0; 32]), over).await.unwrap_err();
    assert_eq!(fault.code, Code::TimedOut);
    let (_dialled, accepted) = sockets().await;
    let tls = TlsServer::new(&identity()).unwrap();
    let fault = server_handshake(accepted, &tls, over).await.unwrap_err();
    assert_eq!(fault.code, Code::TimedOut);
}

#[test]
fn recognises_what_connections_begin_with() {
    for (first, speech) in [
        (&b"GET / HTTP/1.0"[..], Some(Speech::Http)),
        (b"HTTP/1.1 200", Some(Speech::Http)),
        (b"SSH-2.0", Some(Speech::Ssh)),
        (b"220-hello", Some(Speech::Mail)),
        (b"\x16\x03\x01\x02\0", Some(Speech::Tls)),
        (b"\0\0\0\x20\x01\0\0\0", Some(Speech::PlainFloe)),
        (b"", None),
        (b"\xff\xff", None),
    ] {
        assert_eq!(Speech::of(first), speech, "{first:?}");
    }
}
