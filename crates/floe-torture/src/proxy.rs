//! The network between a client and its server: a TCP proxy that cuts, stalls, throttles,
//! half-closes and corrupts what passes, as its weather and a seed decide.
//!
//! Every connection draws its own fate when it is accepted. In calm weather what was held up goes
//! on, and what can never go on is cut, so that both ends notice.

mod fate; // what will happen to a connection
mod pump; // one direction of a connection

pub(crate) use fate::Weather;

use crate::case::{TICK, lock};
use crate::dice::Dice;
use fate::Fate;
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Where the server listens at present; 0 where there is none.
pub(crate) type Door = Arc<AtomicU16>;

/// The network of one task.
pub(crate) struct Proxy {
    port: u16,
    net: Arc<Net>,
    accepting: Option<JoinHandle<()>>,
}

/// What all connections share.
struct Net {
    door: Door,
    weather: Mutex<Weather>,
    dice: Mutex<Dice>,
    /// Connections of an earlier generation are cut.
    generation: AtomicU64,
    frozen: AtomicBool,
    closed: AtomicBool,
    up: AtomicU64,
    down: AtomicU64,
    accepted: AtomicU64,
    disturbed: AtomicU64,
    corrupted: AtomicU64,
}

/// How much passed, and what was done to it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Passed {
    /// Bytes from the client.
    pub(crate) up: u64,
    /// Bytes to the client.
    pub(crate) down: u64,
    /// Connections.
    pub(crate) accepted: u64,
    /// Connections that were cut or broken.
    pub(crate) disturbed: u64,
    /// Bits that were flipped.
    pub(crate) corrupted: u64,
}

impl Proxy {
    /// A network that leads to a door.
    pub(crate) fn start(door: Door, weather: Weather, dice: Dice) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let port = listener.local_addr()?.port();
        let net = Arc::new(Net {
            door,
            weather: Mutex::new(weather),
            dice: Mutex::new(dice),
            generation: AtomicU64::new(0),
            frozen: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
            disturbed: AtomicU64::new(0),
            corrupted: AtomicU64::new(0),
        });
        let shared = Arc::clone(&net);
        let accepting = thread::Builder::new().spawn(move || accept(&listener, &shared))?;
        Ok(Self { port, net, accepting: Some(accepting) })
    }

    /// Where clients find it.
    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        self.net.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Holds everything up, or lets it go on.
    pub(crate) fn freeze(&self, frozen: bool) {
        self.net.frozen.store(frozen, Ordering::Release);
    }

    /// Nothing happens to connections any more, neither to new ones nor to those that are up.
    pub(crate) fn calm(&self) {
        *lock(&self.net.weather) = Weather::CALM;
        self.freeze(false);
    }

    /// What passed so far.
    pub(crate) fn passed(&self) -> Passed {
        let net = &self.net;
        let of = |count: &AtomicU64| count.load(Ordering::Acquire);
        Passed {
            up: of(&net.up),
            down: of(&net.down),
            accepted: of(&net.accepted),
            disturbed: of(&net.disturbed),
            corrupted: of(&net.corrupted),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.net.closed.store(true, Ordering::Release);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, net: &Arc<Net>) {
    while !net.closed.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((client, _)) => {
                // Who cannot be connected sees an end at once.
                let _ = join(&client, net);
            }
            Err(_) => thread::sleep(TICK),
        }
    }
}

fn join(client: &TcpStream, net: &Arc<Net>) -> io::Result<()> {
    let port = net.door.load(Ordering::Acquire);
    if port == 0 {
        return Ok(());
    }
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    net.accepted.fetch_add(1, Ordering::AcqRel);
    let fates = {
        let weather = *lock(&net.weather);
        let mut dice = lock(&net.dice);
        [Fate::roll(&weather, &mut dice), Fate::roll(&weather, &mut dice)]
    };
    let link = Arc::new(pump::Link::new(Arc::clone(net)));
    let ways = [(client, &server, pump::Way::Up), (&server, client, pump::Way::Down)];
    for ((from, into, way), fate) in ways.into_iter().zip(fates) {
        let (from, into, link) = (from.try_clone()?, into.try_clone()?, Arc::clone(&link));
        from.set_nonblocking(false)?;
        thread::Builder::new().spawn(move || pump::pump(from, into, way, fate, &link))?;
    }
    Ok(())
}
