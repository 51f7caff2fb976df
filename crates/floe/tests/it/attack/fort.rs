//! A server under attack, what must not be seen or changed, and what must hold at the end.

use super::peer::{Peer, Ticket};
use crate::stage::{Census, Server, Stage, census, content};
use crate::tickets::ticket;
use std::fs;
use std::path::PathBuf;

/// What stands outside of what is served, and where floe keeps its own.
pub const SECRET: &str = "nobody may read this";
/// What `--memory` says in these tests: clients together make the server use no more.
const MEMORY: u64 = 64 << 20;

pub struct Fort {
    pub stage: Stage,
    pub server: Server,
    pub owner: Ticket,
    plain: bool,
    outside: Census,
    reserved: PathBuf,
    resident: u64,
}

impl Fort {
    pub fn new() -> Self {
        Self::with(&[], "")
    }

    /// Without TLS: for tables of many sessions, each of which would be a handshake.
    pub fn plain() -> Self {
        Self::with(&["--plaintext"], "")
    }

    /// With more flags, and lines of `floe.toml`.
    pub fn with(flags: &[&str], settings: &str) -> Self {
        Self::start(flags, settings, None)
    }

    /// The same, where the server may open so many files and sockets.
    pub fn with_descriptors(flags: &[&str], settings: &str, descriptors: u32) -> Self {
        Self::start(flags, settings, Some(descriptors))
    }

    fn start(flags: &[&str], settings: &str, descriptors: Option<u32>) -> Self {
        let stage = Stage::new();
        let outside = stage.path("outside");
        fs::create_dir_all(outside.join("sub")).unwrap();
        fs::write(outside.join("secret"), SECRET).unwrap();
        fs::write(outside.join("sub/secret"), SECRET).unwrap();
        fs::write(stage.path("srv/kept"), content(100_000)).unwrap();
        fs::write(stage.path("floe.toml"), settings).unwrap();
        let file = stage.path("floe.toml");
        let config = ["--memory", "64Mi", "--config", file.to_str().unwrap()];
        let flags = [&config, flags].concat();
        let server = match descriptors {
            Some(descriptors) => stage.serve_with(&flags, descriptors),
            None => stage.serve(&flags),
        };
        stage.log_in_as_owner(&server, &flags);
        let reserved = stage.path("srv/.floe/secret");
        fs::write(&reserved, SECRET).unwrap();
        let owner = Ticket::parse(&stage.owner_ticket());
        let (outside, resident) = (census(&outside), peak(server.pid()));
        let plain = flags.contains(&"--plaintext");
        Self { stage, server, owner, plain, outside, reserved, resident }
    }

    pub fn is_plain(&self) -> bool {
        self.plain
    }

    /// A session of the owner.
    pub fn peer(&self) -> Peer {
        self.peer_of(&self.owner)
    }

    pub fn peer_of(&self, ticket: &Ticket) -> Peer {
        let greet = if self.plain { Peer::greet_plain } else { Peer::greet };
        greet(self.server.port, ticket)
    }

    /// A connection on which nothing was said.
    pub fn dial(&self) -> Peer {
        Peer::dial(self.server.port)
    }

    /// Another ticket.
    pub fn grant(&self, name: &str, flags: &[&str]) -> Ticket {
        let made = ticket(&self.stage, &[&["create", name], flags].concat()).ok().text();
        let plain = if self.plain { &["--plaintext"][..] } else { &[] };
        self.stage.log_in(name, &self.server, &made, plain).ok();
        Ticket::parse(&made)
    }

    /// `floe ticket`, which succeeds.
    pub fn ticket(&self, args: &[&str]) {
        ticket(&self.stage, args).ok();
    }

    pub fn served(&self, name: &str) -> PathBuf {
        self.stage.path("srv").join(name)
    }

    /// Somebody else is served, now.
    #[track_caller]
    pub fn serves(&self) {
        assert!(self.stage.run(&["get", "nas:/kept", "-"]).ok().out == content(100_000));
    }

    /// No more was ever resident than clients together may make it.
    pub fn resident(&self) -> bool {
        peak(self.server.pid()) <= self.resident + MEMORY
    }

    /// What the attacks were not to do, they did not; and whoever belongs is served. Sessions with
    /// transfers should be gone: an end in good order waits for them.
    #[track_caller]
    pub fn stands(self) {
        self.serves();
        assert_eq!(census(&self.stage.path("outside")), self.outside);
        assert_eq!(fs::read_to_string(&self.reserved).unwrap(), SECRET);
        let peak = peak(self.server.pid());
        let said = self.server.errors.lock().unwrap().clone();
        assert_eq!(self.server.terminate(), 0);
        assert!(!said.contains("panicked") && !said.contains(SECRET), "{said}");
        assert!(peak <= self.resident + MEMORY, "{} KiB and {peak} at last", self.resident);
    }
}

/// No byte of what nobody may read came to a peer.
#[track_caller]
pub fn saw_nothing(peer: &Peer) {
    let seen = peer.heard.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
    assert!(!seen, "a secret was told");
}

/// The most bytes that were resident at once.
pub fn peak(pid: u32) -> u64 {
    bytes_of(pid, "VmHWM:")
}

/// The bytes that are resident now.
pub fn resident(pid: u32) -> u64 {
    bytes_of(pid, "VmRSS:")
}

fn bytes_of(pid: u32, what: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
