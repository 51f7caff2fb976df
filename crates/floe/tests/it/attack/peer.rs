//! A client by hand: it greets as a client should, then says what it likes.

use super::channel::Link;
use super::wire::{Cbor, cold, kind, map};
use aws_lc_rs::hmac;
use aws_lc_rs::signature::Ed25519KeyPair;
use std::io::{Read, Write};
use std::sync::atomic::{AtomicU64, Ordering};

/// One connection.
pub struct Peer {
    pub link: Link,
    /// Every byte that came.
    pub heard: Vec<u8>,
    /// How many of them were taken as frames.
    taken: usize,
    pub welcome: Option<Cbor>,
}

/// A frame that came.
#[derive(Debug)]
pub struct Frame {
    pub kind: u8,
    pub body: Vec<u8>,
}

/// What a frame comes to, where an attack is judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// CLOSE with a code, or in good order.
    Close(Option<u64>),
    /// REPLY: a fault.
    Fault(u64),
    /// REPLY: done, a stat or a page.
    Done,
    /// FAILED, of an entry.
    Failed(u64),
    /// CANCEL, of a transfer.
    Cancel(u64),
    /// Another frame.
    Frame(u8),
    /// The connection ended.
    End,
}

pub const VIOLATION: Answer = Answer::Close(Some(super::wire::code::VIOLATION));

impl Frame {
    #[track_caller]
    pub fn map(&self) -> Cbor {
        let mut body = &self.body[..];
        let map = Cbor::read(&mut body);
        assert_eq!(body, b"", "bytes behind the map of a frame {:#x}", self.kind);
        map
    }

    pub fn answer(&self) -> Answer {
        let code = |map: &Cbor, key| map.find(key).map(|fault| fault.at(0).uint());
        match self.kind {
            kind::CLOSE => Answer::Close(code(&self.map(), 0)),
            kind::REPLY if self.map().at(1).uint() == 0 => {
                Answer::Fault(self.map().at(2).at(0).uint())
            }
            kind::REPLY => Answer::Done,
            kind::FAILED => Answer::Failed(code(&self.map(), 3).unwrap()),
            kind::CANCEL => Answer::Cancel(code(&self.map(), 1).unwrap()),
            other => Answer::Frame(other),
        }
    }
}

impl Peer {
    pub fn over(link: Link) -> Self {
        Self { link, heard: Vec::new(), taken: 0, welcome: None }
    }

    /// A TLS connection on which nothing was said yet.
    pub fn dial(port: u16) -> Self {
        Self::over(Link::tls(port, &[b"floe/1"]).unwrap())
    }

    /// A session of whoever holds the ticket.
    pub fn greet(port: u16, ticket: &Ticket) -> Self {
        let peer = Self::dial(port);
        let hello = ticket.hello(b"floe/1", &peer.link.exporter());
        peer.enter(&hello)
    }

    /// The same, of a server without TLS.
    pub fn greet_plain(port: u16, ticket: &Ticket) -> Self {
        let mut peer = Self::over(Link::Plain(Link::tcp(port)));
        let challenge = peer.hears(kind::CHALLENGE).body;
        let hello = ticket.hello(b"floe/1 plaintext", &challenge.try_into().unwrap());
        peer.enter(&hello)
    }

    /// Says HELLO, and is welcome.
    pub fn enter(mut self, hello: &Cbor) -> Self {
        let peer = &mut self;
        peer.say(&cold(kind::HELLO, hello));
        let welcome = peer.hears(kind::WELCOME);
        self.welcome = Some(welcome.map());
        self
    }

    /// JOIN of this peer's session, as another connection should say it.
    pub fn join(&self, exporter: &[u8; 32]) -> Cbor {
        let welcome = self.welcome.as_ref().unwrap();
        let mac = join_mac(welcome.at(2).string(), b"floe/1", exporter);
        map([(0, welcome.at(1).clone()), (1, mac[..].into())])
    }

    /// Says it, as far as the other end takes it.
    pub fn say(&mut self, bytes: &[u8]) {
        let _ = self.try_say(bytes);
    }

    pub fn try_say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.link.write_all(bytes)?;
        self.link.flush()
    }

    /// The next frame; none where the connection ends.
    pub fn hear(&mut self) -> Option<Frame> {
        let head = self.ahead(8)?;
        let len = u32::from_be_bytes(head[..4].try_into().unwrap()) as usize;
        assert!(len <= 1_048_576 + 16, "a frame of {len} bytes");
        let kind = head[4];
        let body = self.ahead(8 + len)?[8..].to_vec();
        self.taken += 8 + len;
        Some(Frame { kind, body })
    }

    fn ahead(&mut self, len: usize) -> Option<&[u8]> {
        let mut part = [0; 16 << 10];
        while self.heard.len() < self.taken + len {
            match self.link.read(&mut part) {
                Ok(0) => return None,
                Ok(count) => self.heard.extend(&part[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("silence, and no end of the connection")
                }
                Err(_) => return None,
            }
        }
        Some(&self.heard[self.taken..self.taken + len])
    }

    /// The next frame of a kind; no other, but for those that may come at any time.
    #[track_caller]
    pub fn hears(&mut self, kind: u8) -> Frame {
        let next = self.next();
        match next {
            Some(frame) if frame.kind == kind => frame,
            other => panic!("{:?} in place of {kind:#x}", other.map(|it| it.answer())),
        }
    }

    /// The next frame but STATS, PING and PONG.
    pub fn next(&mut self) -> Option<Frame> {
        std::iter::from_fn(|| self.hear())
            .find(|frame| ![kind::STATS, kind::PING, kind::PONG].contains(&frame.kind))
    }

    /// What the next frame comes to.
    pub fn answer(&mut self) -> Answer {
        self.next().map_or(Answer::End, |frame| frame.answer())
    }

    /// Hears until one of the answers comes, or the end; what that is.
    pub fn until(&mut self, wanted: &[Answer]) -> Answer {
        loop {
            let answer = self.answer();
            if answer == Answer::End || wanted.contains(&answer) {
                return answer;
            }
        }
    }

    /// Hears until the connection ends, or is judged.
    pub fn verdict(&mut self) -> Answer {
        loop {
            match self.answer() {
                Answer::Frame(_) | Answer::Done => {}
                judged => return judged,
            }
        }
    }
}

/// What a ticket is to its holder.
#[derive(Clone)]
pub struct Ticket([u8; 16]);

static CLIENTS: AtomicU64 = AtomicU64::new(1);

impl Ticket {
    pub fn parse(text: &str) -> Self {
        let upper = text.trim().strip_prefix("floe1").unwrap().to_uppercase();
        let body = data_encoding::BASE32_NOPAD.decode(upper.as_bytes()).unwrap();
        Self(body[32..48].try_into().unwrap())
    }

    /// One that no server knows.
    pub fn forged() -> Self {
        Self(*b"of nobody at all")
    }

    fn key(&self) -> Ed25519KeyPair {
        let seed = blake3::derive_key("floe/1 ticket signing key", &self.0);
        Ed25519KeyPair::from_seed_unchecked(&seed).unwrap()
    }

    pub fn id(&self) -> Vec<u8> {
        use aws_lc_rs::signature::KeyPair;
        let key = self.key();
        blake3::derive_key("floe/1 ticket id", key.public_key().as_ref())[..16].to_vec()
    }

    /// The signature of section 6.
    pub fn sign(&self, channel: &[u8], exporter: &[u8; 32]) -> Vec<u8> {
        let message = [b"floe/1 hello\0", channel, exporter].concat();
        self.key().sign(&message).as_ref().to_vec()
    }

    /// HELLO as it should be, of another client each time.
    pub fn hello(&self, channel: &[u8], exporter: &[u8; 32]) -> Cbor {
        let mut client = [0x55; 16];
        let nth = CLIENTS.fetch_add(1, Ordering::Relaxed);
        client[..8].copy_from_slice(&nth.to_be_bytes());
        map([
            (0, 1.into()),
            (1, client[..].into()),
            (2, self.id()[..].into()),
            (3, self.sign(channel, exporter)[..].into()),
            (4, Cbor::text("attack")),
        ])
    }
}

/// The MAC of section 6.
pub fn join_mac(secret: &[u8], channel: &[u8], exporter: &[u8; 32]) -> Vec<u8> {
    let message = [b"floe/1 join\0", channel, exporter].concat();
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &message).as_ref().to_vec()
}
