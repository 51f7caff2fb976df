//! Accepting: one blocking thread a connection, at most so many; the rest wait in the kernel's
//! queue.
//!
//! What a peer can cause is one thread with a small stack, one buffer, one file and one stage. A
//! connection that fails is reported and reset; it never ends the listener.

use super::local::Inbox;
use super::receive::receive;
use super::serve::serve;
use super::stop::{Present, Stop, Telling};
use super::wire::{Peer, Terms, bound_waits, reset_at_close, socket_fault};
use floe_types::{ByteCount, Code, Component, Fault, Root};
use rustix::event::Timespec;
use rustix::fd::{AsFd, BorrowedFd};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

/// Connections that wait in the kernel.
const BACKLOG: i32 = 1024;

/// The deepest stack that was measured is a tenth of it.
const STACK_BYTES: usize = 512 << 10;

/// Pause after an accept that failed for want of descriptors or memory; a connection that ends cuts
/// it short.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// What connections are for.
pub enum Work {
    /// Each gets this file.
    Serve(PathBuf),
    /// Each one's bytes become a file.
    Receive(Inbox),
}

/// What the person may want to know. Peers' addresses are as people write them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happening {
    /// A connection got the whole file and closed, or was quiet after the end.
    Served {
        /// The peer.
        peer: SocketAddr,
        /// How many bytes.
        size: ByteCount,
    },
    /// A connection's bytes are a file now: whole, visible and durable.
    Received {
        /// The peer.
        peer: SocketAddr,
        /// The file's name in the directory.
        name: Component,
        /// Its size.
        size: ByteCount,
        /// Its BLAKE3 root.
        root: Root,
    },
    /// A connection failed; nothing of it is visible, and the peer was sent a reset.
    Failed {
        /// The peer.
        peer: SocketAddr,
        /// Why.
        fault: Fault,
    },
}

/// Told what happens, from the connections' threads.
pub type Watch = Arc<dyn Fn(Happening) + Send + Sync>;

/// Bound and listening; nothing is accepted before `run`.
#[derive(Debug)]
pub struct Listening {
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

impl Listening {
    /// Binds every address. `[::]` takes IPv4 as well.
    ///
    /// # Errors
    /// `AddressInUse`, `PermissionDenied`, `Usage` for an address that is not this machine's, the
    /// system's.
    pub fn bind(addresses: &[SocketAddr]) -> Result<Self, Fault> {
        let mut bound = Self { listeners: Vec::new(), addresses: Vec::new() };
        for address in addresses {
            let fault =
                |error: io::Error| socket_fault(&error, format_args!("listen on {address}"));
            let listener = bind_one(*address).map_err(fault)?;
            bound.addresses.push(listener.local_addr().map_err(fault)?);
            bound.listeners.push(listener);
        }
        Ok(bound)
    }

    /// The addresses, with the ports the system chose.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Accepts until `stop` drains or cuts, then waits for the connections that are left. Blocks.
    ///
    /// # Errors
    /// The system's, where it cannot wait for connections at all.
    pub fn run(self, work: Work, terms: Terms, stop: &Stop, watch: &Watch) -> Result<(), Fault> {
        let work = Arc::new(work);
        let mut number = 0;
        let mut pause = None;
        while !stop.is_draining() {
            let full = stop.connections() >= terms.connections_max || pause.is_some();
            let sources: Vec<BorrowedFd<'_>> =
                self.listeners.iter().filter(|_| !full).map(AsFd::as_fd).collect();
            stop.wait(&sources, pause.take()).map_err(wait_fault)?;
            for listener in &self.listeners {
                if stop.is_draining() || stop.connections() >= terms.connections_max {
                    break;
                }
                match listener.accept() {
                    Ok((stream, peer)) => {
                        tracing::debug!(peer = %canonical(peer), "a connection");
                        number += 1;
                        let present = stop.enter(stream);
                        start(Connection { present, peer, number }, &work, terms, watch);
                    }
                    Err(error) if is_scarcity(&error) => pause = Some(&PAUSE),
                    Err(_) => {}
                }
            }
        }
        drop(self.listeners);
        while stop.connections() > 0 {
            stop.wait(&[], None).map_err(wait_fault)?;
        }
        Ok(())
    }
}

struct Connection {
    present: Present,
    peer: SocketAddr,
    number: u64,
}

/// Gives a connection its thread. Where none can be had, the connection is reset.
fn start(connection: Connection, work: &Arc<Work>, terms: Terms, watch: &Watch) {
    let peer = canonical(connection.peer);
    let (work, telling) = (Arc::clone(work), Arc::clone(watch));
    reset_at_close(connection.present.stream());
    let spawned = thread::Builder::new()
        .name("raw connection".to_owned())
        .stack_size(STACK_BYTES)
        .spawn(move || {
            let (happening, _until_told) = attend(connection, &work, &terms);
            telling(happening);
        });
    if let Err(error) = spawned {
        let fault = Fault::new(Code::LimitExceeded, format!("start a thread for {peer} ({error})"));
        watch(Happening::Failed { peer, fault });
    }
}

/// One connection from beginning to end. It closes as a reset unless everything went well.
fn attend(connection: Connection, work: &Work, terms: &Terms) -> (Happening, Telling) {
    let Connection { present, peer, number } = connection;
    let stream = present.stream();
    let shown = Peer(peer);
    let happened = prepare(stream, terms, shown).and_then(|()| match work {
        Work::Serve(path) => {
            let size = serve(stream, path, terms, &format!("to {shown}"))?;
            Ok(Happening::Served { peer: canonical(peer), size })
        }
        Work::Receive(inbox) => {
            let received = receive(&present, inbox, number, shown, terms)?;
            let (name, size, root) = (received.name, received.size, received.root);
            Ok(Happening::Received { peer: canonical(peer), name, size, root })
        }
    });
    let happening = match present.stop().blamed(happened) {
        Ok(happening) => {
            close_cleanly(stream);
            happening
        }
        Err(fault) => Happening::Failed { peer: canonical(peer), fault },
    };
    (happening, present.close())
}

fn prepare(stream: &TcpStream, terms: &Terms, peer: Peer) -> Result<(), Fault> {
    stream
        .set_nonblocking(false)
        .and_then(|()| bound_waits(stream, terms))
        .map_err(|error| socket_fault(&error, format_args!("accept {peer}")))
}

/// Takes back the reset that `start` arranged.
fn close_cleanly(stream: &TcpStream) {
    // A socket that refuses is dead already.
    let _ = socket2::SockRef::from(stream).set_linger(None);
}

fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Whether a failed accept says that the system has no more to give just now.
fn is_scarcity(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted
    )
}

fn wait_fault(errno: rustix::io::Errno) -> Fault {
    socket_fault(&errno.into(), "wait for connections")
}
