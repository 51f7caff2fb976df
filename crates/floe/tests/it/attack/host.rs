//! A server by hand, and the client that it would harm.

use super::channel::Link;
use super::fort::SECRET;
use super::peer::Peer;
use super::wire::{self, Cbor, cold, hot, kind, map};
use crate::stage::{Ended, PATIENCE, Stage, census};
use std::fs;
use std::net::TcpListener;
use std::sync::Arc;

/// A server without TLS that runs a script for each connection, from its first byte on; its port.
pub fn host(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = Arc::new(script);
    std::thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let script = Arc::clone(&script);
            std::thread::spawn(move || {
                socket.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut peer = Peer::over(Link::Plain(socket));
                script(&mut peer);
                // What the client says to it is heard to its end, so that no reset cuts it.
                while peer.hear().is_some() {}
            });
        }
    });
    port
}

/// One that lets everybody in first.
pub fn welcoming(script: impl Fn(&mut Peer) + Send + Sync + 'static) -> u16 {
    host(move |peer| {
        challenge(peer);
        peer.say(&cold(kind::WELCOME, &welcome()));
        script(peer);
    })
}

/// The challenge, and the HELLO that answers it.
pub fn challenge(peer: &mut Peer) {
    peer.say(&hot(kind::CHALLENGE, 0, &[3; 32]));
    peer.hears(kind::HELLO);
}

pub fn welcome() -> Cbor {
    map([
        (0, 1.into()),
        (1, Cbor::from(&[1; 16][..])),
        (2, Cbor::from(&[2; 32][..])),
        (3, 95.into()),
        (4, (1 << 18).into()),
        (5, 1.into()),
        (6, 4096.into()),
        (7, Cbor::text("floe/0.1.0")),
    ])
}

/// Answers requests until OPEN comes.
pub fn asked(peer: &mut Peer) -> Cbor {
    loop {
        let frame = peer.next().expect("no OPEN came");
        match frame.kind {
            kind::OPEN => return frame.map(),
            kind::REQUEST => {
                let stat = map([(0, 1.into()), (1, 0.into()), (2, wire::metadata())]);
                let reply = map([(0, frame.map().at(0).clone()), (1, 2.into()), (3, stat)]);
                peer.say(&cold(kind::REPLY, &reply));
            }
            other => panic!("{other:#x} before OPEN"),
        }
    }
}

/// Answers requests until OPEN comes, and grants it.
pub fn opened(peer: &mut Peer) {
    let open = asked(peer);
    let (id, window) = (open.at(0).clone(), open.at(4).clone());
    let body = map([(0, id), (1, Cbor::from(&[][..])), (2, window)]);
    peer.say(&cold(kind::OPENED, &body));
}

/// Sends whatever is wanted as `content`, and says COMPLETE when so many entries have ended.
pub fn send_all(peer: &mut Peer, content: &[u8], entries: u64, ends: usize) {
    let (mut seq, mut ended) = (0, 0);
    while let Some(frame) = peer.next() {
        match frame.kind {
            kind::WANT => {
                let index = frame.map().at(1).uint();
                peer.say(&chunk(seq, index, content));
                peer.say(&done(index, content.len() as u64, *blake3::hash(content).as_bytes()));
                seq += 1;
            }
            kind::COMMITTED => ended += frame.map().at(1).items().len(),
            kind::FAILED => ended += 1,
            kind::CLOSE => return,
            _ => {}
        }
        if ended == ends {
            peer.say(&cold(kind::COMPLETE, &map([(0, 0.into()), (1, entries.into())])));
            ended = usize::MAX >> 1;
        }
    }
}

/// All of an object of one chunk, as it should be.
pub fn chunk(seq: u64, index: u64, bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).unwrap();
    let root = *blake3::hash(bytes).as_bytes();
    let sent = [wire::header(seq, 0, index, 0, len), wire::data(seq, 0, bytes)].concat();
    [sent, wire::seal(seq, len, wire::value(0, bytes), Some(root))].concat()
}

pub fn done(index: u64, size: u64, root: [u8; 32]) -> Vec<u8> {
    let one = vec![index.into(), size.into(), Cbor::from(&root[..])];
    cold(kind::DONE, &map([(0, 0.into()), (1, vec![one.into()].into())]))
}

/// Whose machine it is.
pub struct Victim {
    pub stage: Stage,
}

impl Victim {
    pub fn new() -> Self {
        let stage = Stage::new();
        fs::create_dir_all(stage.path("outside")).unwrap();
        fs::write(stage.path("outside/secret"), SECRET).unwrap();
        fs::write(stage.path("here/f"), "sent").unwrap();
        Self { stage }
    }

    /// Runs a command against a server, whose address stands for `URL`; outside of where it was to
    /// write nothing has changed, and nothing it says is obeyed by a terminal.
    #[track_caller]
    pub fn run(&self, port: u16, args: &[&str]) -> Ended {
        let url = format!("floe://127.0.0.1:{port}");
        let args: Vec<_> = args.iter().map(|arg| arg.replace("URL", &url)).collect();
        let args: Vec<_> = args.iter().map(String::as_str).chain(["--plaintext"]).collect();
        let (outside, hidden) = (self.stage.path("outside"), self.stage.path("here/.floe"));
        let before = census(&outside);
        let ended = self.stage.run_env(&args, "FLOE_TICKET", ticket());
        assert_eq!(census(&outside), before, "{args:?}");
        for said in [ended.err.clone(), String::from_utf8_lossy(&ended.out).into_owned()] {
            let obeyed = |c: char| (c.is_control() && c != '\n') || "\u{202e}\u{2066}".contains(c);
            assert!(!said.contains(obeyed), "{args:?}: {said:?}");
            assert!(!said.lines().any(|line| line.starts_with(INJECTED)), "{args:?}: {said:?}");
            assert!(!said.contains("panicked"), "{args:?}: {said}");
        }
        if hidden.is_dir() {
            assert!(!hidden.join("secret").exists());
        }
        ended
    }

    /// Runs it, and the server's fault is told as such.
    #[track_caller]
    pub fn refuses(&self, name: &str, port: u16, args: &[&str]) {
        eprintln!("{name}");
        let ended = self.run(port, args);
        assert_eq!(ended.status, 6, "{name}: {}", ended.err);
        assert!(ended.err.contains("broke the protocol"), "{name}: {}", ended.err);
        let lines = ended.err.lines().filter(|line| line.starts_with("floe: ")).count();
        assert_eq!(lines, 1, "{name}: {}", ended.err);
    }
}

/// A line that only a server could have brought in.
pub const INJECTED: &str = "injected";
/// What a terminal would obey.
pub const HOSTILE: &str = "\x1b[2J\x1b]0;owned\x07\r\ninjected\u{202e}\u{9b}31m\u{2066}";

/// A ticket of no server; without TLS its fingerprint is not looked at.
fn ticket() -> String {
    let body = [&[0; 32][..], b"of nobody at all"].concat();
    let check = blake3::hash(&body);
    let text = data_encoding::BASE32_NOPAD.encode(&[&body, &check.as_bytes()[..4]].concat());
    format!("floe1{}", text.to_lowercase())
}
