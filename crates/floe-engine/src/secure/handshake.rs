//! From a fresh TCP connection to a `Secured`: the only part of the transport that waits, never
//! beyond its deadline.
//!
//! A peer that speaks something else is recognised by its first bytes and named, so that a wrong
//! port or a forgotten `--plaintext` is one clear line.

use super::config::{self, TlsServer};
use super::tls::{Outlet, Tls, text};
use super::verify::KeyMismatch;
use super::{Closing, Secured, is_retry};
use crate::identity::{Identity, KeyPin};
use floe_proto::greeting::ALPN;
use floe_types::{Code, Fault};
use rustls::pki_types::{DnsName, ServerName};
use rustls::server::{Accepted, AcceptedAlert, Acceptor};
use rustls::{AlertDescription, CertificateError, ClientConnection, Connection, OtherError};
use rustls::{Error, InvalidMessage};
use std::io::{self, ErrorKind, Read};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Secures a client's connection to the server whose key is pinned.
///
/// # Errors
/// `ServerKeyMismatch` names both keys; `ProtocolMismatch`: the peer speaks something else;
/// `Tls`: TLS failed; `TimedOut`; `ConnectionLost`.
pub async fn client_handshake(
    socket: TcpStream,
    pin: KeyPin,
    deadline: Instant,
) -> Result<Secured, Fault> {
    client_handshake_as(socket, pin, None, deadline).await
}

/// As `client_handshake`; proves to the server, where it asks, that this client holds a key. Only
/// the server whose key is pinned sees which.
///
/// # Errors
/// As `client_handshake`.
pub async fn client_handshake_as(
    socket: TcpStream,
    pin: KeyPin,
    own: Option<&Identity>,
    deadline: Instant,
) -> Result<Secured, Fault> {
    let conn = Connection::Client(client(pin, own)?);
    let mut handshake = Handshake::new(Inlet::new(socket), conn);
    match timeout_at(deadline, handshake.run()).await {
        Err(_) => Err(Fault::new(Code::TimedOut, "TLS handshake with the server")),
        Ok(Err(stop)) => Err(client_fault(&stop, handshake.first(), pin)),
        Ok(Ok(())) => handshake.finish("the server"),
    }
}

/// The key that a server shows, for a person to compare. Nothing is told to the server and nothing
/// is trusted by it: that the server holds the key is proved by a connection that pins it.
///
/// # Errors
/// As `client_handshake`.
pub async fn shown_key(socket: TcpStream, deadline: Instant) -> Result<KeyPin, Fault> {
    // No key has this hash: the handshake stops where the server has shown its own.
    let pin = KeyPin([0; 32]);
    let mut handshake = Handshake::new(Inlet::new(socket), Connection::Client(client(pin, None)?));
    match timeout_at(deadline, handshake.run()).await {
        Err(_) => Err(Fault::new(Code::TimedOut, "TLS handshake with the server")),
        Ok(Err(stop)) => match mismatch(&stop) {
            Some(mismatch) => Ok(mismatch.found),
            None => Err(client_fault(&stop, handshake.first(), pin)),
        },
        Ok(Ok(())) => Err(Fault::new(Code::Tls, "the server shows no key")),
    }
}

fn client(pin: KeyPin, own: Option<&Identity>) -> Result<ClientConnection, Fault> {
    let fail = |error: Error| Fault::new(Code::Tls, text(&error));
    // Which key is expected, not which host: nobody checks it against a certificate.
    let name = DnsName::try_from(pin.server_name());
    let name = name.map_err(|_| Fault::new(Code::Tls, "server name"))?;
    ClientConnection::new(config::client(pin, own)?, ServerName::DnsName(name)).map_err(fail)
}

/// Secures a connection that a server accepted.
///
/// # Errors
/// `ProtocolMismatch`: the peer speaks something else, also TLS without ALPN `floe/1`; `Tls`,
/// `TimedOut`, `ConnectionLost`.
pub async fn server_handshake(
    socket: TcpStream,
    tls: &TlsServer,
    deadline: Instant,
) -> Result<Secured, Fault> {
    hear_client(socket, deadline).await?.secure(tls, deadline).await
}

/// A client of which the ClientHello was heard, and nothing was said to.
pub(crate) struct Heard {
    inlet: Inlet,
    accepted: Accepted,
}

/// Hears what a client says first, and nothing more.
///
/// # Errors
/// As `server_handshake`.
pub(crate) async fn hear_client(socket: TcpStream, deadline: Instant) -> Result<Heard, Fault> {
    let mut inlet = Inlet::new(socket);
    match timeout_at(deadline, hear(&mut inlet)).await {
        Err(_) => Err(late()),
        Ok(Err(stop)) => Err(server_fault(&stop, inlet.first())),
        Ok(Ok(accepted)) => Ok(Heard { inlet, accepted }),
    }
}

async fn hear(inlet: &mut Inlet) -> Result<Accepted, Stop> {
    let mut acceptor = Acceptor::default();
    loop {
        inlet.socket.readable().await.map_err(Stop::Io)?;
        match acceptor.read_tls(inlet) {
            Ok(0) => return Err(Stop::Ended),
            Ok(_) => {}
            Err(error) if is_retry(&error) => continue,
            Err(error) => return Err(Stop::Io(error)),
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => return Ok(accepted),
            Err((error, alert)) => return Err(refused(error, alert, inlet)),
        }
    }
}

impl Heard {
    /// What it calls the server, if it does.
    pub(crate) fn server_name(&self) -> Option<String> {
        self.accepted.client_hello().server_name().map(str::to_owned)
    }

    /// Secures the connection with this key.
    ///
    /// # Errors
    /// As `server_handshake`.
    pub(crate) async fn secure(self, tls: &TlsServer, until: Instant) -> Result<Secured, Fault> {
        let Self { inlet, accepted } = self;
        let conn = match accepted.into_connection(tls.0.clone()) {
            Ok(conn) => conn,
            Err((error, alert)) => {
                return Err(server_fault(&refused(error, alert, &inlet), inlet.first()));
            }
        };
        let mut handshake = Handshake::new(inlet, Connection::Server(conn));
        match timeout_at(until, handshake.run()).await {
            Err(_) => Err(late()),
            Ok(Err(stop)) => Err(server_fault(&stop, handshake.first())),
            Ok(Ok(())) => handshake.finish("the client"),
        }
    }
}

fn late() -> Fault {
    Fault::new(Code::TimedOut, "TLS handshake with a client")
}

fn refused(error: Error, mut alert: AcceptedAlert, inlet: &Inlet) -> Stop {
    // A peer that takes none has lost nothing.
    let _ = alert.write(&mut Outlet(&inlet.socket));
    Stop::Tls(error)
}

/// Waits until the whole first record of a client has come, or what cannot become one, or its end.
/// Takes nothing, and needs no memory here: who begins a handshake and does not go on costs a
/// socket.
pub async fn first_record(socket: &TcpStream) {
    let mut head = [0; RECORD_HEAD];
    loop {
        let Ok(ready) = socket.ready(Interest::READABLE).await else { return };
        let len = match socket.peek(&mut head).await {
            Ok(RECORD_HEAD) => RECORD_HEAD + usize::from(u16::from_be_bytes([head[3], head[4]])),
            // One that cannot be a handshake need not be waited for.
            Ok(1..) if head[0] == HANDSHAKE => RECORD_HEAD,
            _ => return,
        };
        let here = rustix::io::ioctl_fionread(socket).unwrap_or(u64::MAX);
        let whole = head[0] != HANDSHAKE || len > RECORD_BYTES_MAX || here >= len as u64;
        if whole || ready.is_read_closed() {
            return;
        }
        // What is here was seen: only more of it, or its end, is news.
        let _ = socket.try_io(Interest::READABLE, || Err::<(), _>(ErrorKind::WouldBlock.into()));
    }
}

/// The head of a record, the type of those of a handshake, and the longest (RFC 8446, 5.1).
const RECORD_HEAD: usize = 5;
const HANDSHAKE: u8 = 22;
const RECORD_BYTES_MAX: usize = RECORD_HEAD + (16 << 10);

/// Takes a connection as it is, where both ends asked for plaintext.
#[must_use]
pub fn plaintext(socket: TcpStream) -> Secured {
    Secured { socket, tls: None, peer: None, closing: Closing::Open, broken: None }
}

/// Why a handshake stopped.
enum Stop {
    Io(io::Error),
    Tls(Error),
    Ended,
}

struct Handshake {
    inlet: Inlet,
    conn: Connection,
}

impl Handshake {
    fn new(inlet: Inlet, conn: Connection) -> Self {
        Self { inlet, conn }
    }

    fn first(&self) -> &[u8] {
        self.inlet.first()
    }

    async fn run(&mut self) -> Result<(), Stop> {
        loop {
            self.send().await?;
            if !self.conn.is_handshaking() {
                return Ok(());
            }
            self.inlet.socket.readable().await.map_err(Stop::Io)?;
            match self.conn.read_tls(&mut self.inlet) {
                Ok(0) => return Err(Stop::Ended),
                Ok(_) => {}
                Err(error) if is_retry(&error) => continue,
                Err(error) => return Err(Stop::Io(error)),
            }
            if let Err(error) = self.conn.process_new_packets() {
                // The alert that says why; a peer that takes none has lost nothing.
                let _ = self.conn.write_tls(&mut Outlet(&self.inlet.socket));
                return Err(Stop::Tls(error));
            }
        }
    }

    async fn send(&mut self) -> Result<(), Stop> {
        while self.conn.wants_write() {
            match self.conn.write_tls(&mut Outlet(&self.inlet.socket)) {
                Ok(_) => {}
                Err(error) if is_retry(&error) => {
                    self.inlet.socket.writable().await.map_err(Stop::Io)?;
                }
                Err(error) => return Err(Stop::Io(error)),
            }
        }
        Ok(())
    }

    /// TLS without ALPN is let through by rustls; here it ends.
    fn finish(self, peer: &str) -> Result<Secured, Fault> {
        if self.conn.alpn_protocol() != Some(ALPN) {
            let detail = format!("{peer} speaks TLS, but does not ask for floe/1");
            return Err(Fault::new(Code::ProtocolMismatch, detail));
        }
        let shown = self.conn.peer_certificates().and_then(|chain| chain.first());
        let peer = shown.map(KeyPin::of_certificate).transpose();
        let peer = peer.map_err(|error| Fault::new(Code::Tls, text(&error)))?;
        let (socket, tls) = (self.inlet.socket, Some(Box::new(Tls::new(self.conn))));
        Ok(Secured { socket, tls, peer, closing: Closing::Open, broken: None })
    }
}

/// The socket as rustls reads it; remembers the first bytes.
struct Inlet {
    socket: TcpStream,
    first: [u8; FIRST_BYTES],
    seen: usize,
}

const FIRST_BYTES: usize = 16;

impl Inlet {
    fn new(socket: TcpStream) -> Self {
        Self { socket, first: [0; FIRST_BYTES], seen: 0 }
    }

    fn first(&self) -> &[u8] {
        &self.first[..self.seen]
    }
}

impl Read for Inlet {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = self.socket.try_read(into)?;
        let room = &mut self.first[self.seen..];
        let kept = room.len().min(len);
        room[..kept].copy_from_slice(&into[..kept]);
        self.seen += kept;
        Ok(len)
    }
}

fn mismatch(stop: &Stop) -> Option<&KeyMismatch> {
    match stop {
        Stop::Tls(Error::InvalidCertificate(CertificateError::Other(OtherError(other)))) => {
            other.downcast_ref()
        }
        _ => None,
    }
}

fn client_fault(stop: &Stop, first: &[u8], pin: KeyPin) -> Fault {
    if let Some(mismatch) = mismatch(stop) {
        let detail = format!("the server shows {}, pinned is {pin}", mismatch.found);
        return Fault::new(Code::ServerKeyMismatch, detail);
    }
    let error = match stop {
        Stop::Io(error) => return super::lost("TLS handshake with the server", error),
        Stop::Ended => {
            let detail = "the server closed the connection in the TLS handshake";
            return speech_fault("the server", first)
                .unwrap_or_else(|| Fault::new(Code::ConnectionLost, detail));
        }
        Stop::Tls(error) => error,
    };
    match error {
        Error::AlertReceived(AlertDescription::NoApplicationProtocol) => {
            Fault::new(Code::ProtocolMismatch, "the server speaks TLS, but not floe/1")
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            speech_fault("the server", first).unwrap_or_else(|| {
                Fault::new(Code::ProtocolMismatch, "the server does not answer in TLS")
            })
        }
        error => {
            speech_fault("the server", first).unwrap_or_else(|| Fault::new(Code::Tls, text(error)))
        }
    }
}

fn server_fault(stop: &Stop, first: &[u8]) -> Fault {
    match stop {
        Stop::Io(error) => super::lost("TLS handshake with a client", error),
        Stop::Ended => speech_fault("the client", first).unwrap_or_else(|| {
            let detail = "the client closed the connection in the TLS handshake";
            Fault::new(Code::ConnectionLost, detail)
        }),
        Stop::Tls(Error::NoApplicationProtocol) => {
            let detail = "the client speaks TLS, but does not ask for floe/1";
            Fault::new(Code::ProtocolMismatch, detail)
        }
        Stop::Tls(error @ Error::InvalidMessage(_)) => speech_fault("the client", first)
            .unwrap_or_else(|| Fault::new(Code::ProtocolMismatch, text(error))),
        Stop::Tls(error) => Fault::new(Code::Tls, text(error)),
    }
}

/// What somebody speaks who does not speak TLS; `None` for what is unknown or looks like TLS.
fn speech_fault(who: &str, first: &[u8]) -> Option<Fault> {
    match Speech::of(first)? {
        Speech::Tls => None,
        Speech::PlainFloe => Some(Fault::new(Code::Tls, format!("{who} speaks floe without TLS"))),
        speech => speech.fault(who),
    }
}

/// What the first bytes of a connection look like.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Speech {
    /// A request or an answer of HTTP.
    Http,
    /// An SSH banner.
    Ssh,
    /// A banner with a three-digit code.
    Mail,
    /// A TLS record.
    Tls,
    /// A frame head of floe.
    PlainFloe,
}

impl Speech {
    /// Recognises it; a few bytes are enough.
    pub(crate) fn of(first: &[u8]) -> Option<Self> {
        const HTTP: [&[u8]; 9] = [
            b"HTTP/",
            b"GET ",
            b"HEAD ",
            b"POST ",
            b"PUT ",
            b"OPTIONS ",
            b"DELETE ",
            b"CONNECT ",
            b"PRI * ",
        ];
        if HTTP.iter().any(|word| first.starts_with(word)) {
            return Some(Self::Http);
        }
        match first {
            [b'S', b'S', b'H', b'-', ..] => Some(Self::Ssh),
            [b'2', b'0' | b'2', b'0', b' ' | b'-', ..] => Some(Self::Mail),
            [0x15..=0x17, 3, 0..=4, ..] => Some(Self::Tls),
            // length below 4 KiB, any kind, flags, two zero bytes
            [0, 0, 0..=16, _, _, _, 0, 0, ..] => Some(Self::PlainFloe),
            _ => None,
        }
    }
    /// One line about a peer that speaks so where floe's frames were expected; `None` for floe.
    pub(crate) fn fault(self, who: &str) -> Option<Fault> {
        let (code, what) = match self {
            Self::Http => (Code::ProtocolMismatch, "speaks HTTP, not floe"),
            Self::Ssh => (Code::ProtocolMismatch, "speaks SSH, not floe"),
            Self::Mail => (Code::ProtocolMismatch, "greets like a mail or FTP server, not floe"),
            Self::Tls => (Code::Tls, "speaks TLS where plaintext was asked for"),
            Self::PlainFloe => return None,
        };
        Some(Fault::new(code, format!("{who} {what}")))
    }
}

/// A TLS client with the given application protocols, which may be none; its error, if any.
#[cfg(test)]
pub(super) async fn scan(socket: TcpStream, pin: KeyPin, alpn: &[&[u8]]) -> Option<Error> {
    let mut config = (*config::client(pin, None).unwrap()).clone();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::DnsName(DnsName::try_from("floe").unwrap());
    let conn = ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    match Handshake::new(Inlet::new(socket), Connection::Client(conn)).run().await {
        Err(Stop::Tls(error)) => Some(error),
        _ => None,
    }
}
