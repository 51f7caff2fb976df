//! Framing, deadlines, the faults of sockets, and the one loop that reads a connection to its end.
//!
//! ```text
//! open    byte...                       FIN      the end is whatever FIN says it is
//! sized   size: u64 big-endian, byte... FIN      exactly `size` bytes, or nothing is kept
//! ```

use super::stop::Present;
use floe_types::{ByteCount, Code, Fault, Offset, Root};
use socket2::SockRef;
use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Memory of one connection. Below 64 KiB every system gets slower; above 256 KiB none gets faster.
pub(super) const BUFFER_BYTES: usize = 256 << 10;

/// Largest size that a file can have.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// What stands in front of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// Nothing: the bytes end where the connection ends. Truncation cannot be noticed.
    Open,
    /// Their number, 8 bytes, big-endian.
    Sized,
}

/// How a connection is treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// What stands in front of the bytes.
    pub framing: Framing,
    /// The longest silence.
    pub idle: Duration,
    /// How long a sized connection that brought all its bytes is watched for its end, or for a byte
    /// too many. One that stays open longer counts as whole (`nc` without `-N` never closes by
    /// itself).
    pub settle: Duration,
    /// The longest wait for an address to answer.
    pub connect: Duration,
    /// Connections at once; further ones wait in the listener's queue.
    pub connections_max: usize,
}

impl Terms {
    /// What the product ships: 60 s of silence, 256 connections.
    #[must_use]
    pub const fn new(framing: Framing) -> Self {
        Self {
            framing,
            idle: Duration::from_secs(60),
            settle: Duration::from_secs(5),
            connect: Duration::from_secs(10),
            connections_max: 256,
        }
    }
}

/// A peer's address as people write it: an IPv4 address that came over an IPv6 socket is shown as
/// IPv4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SocketAddr::new(self.0.ip().to_canonical(), self.0.port()).fmt(f)
    }
}

/// Bounds every wait of a socket.
pub(super) fn bound_waits(stream: &TcpStream, terms: &Terms) -> io::Result<()> {
    stream.set_read_timeout(Some(terms.idle))?;
    stream.set_write_timeout(Some(terms.idle))?;
    SockRef::from(stream).set_tcp_user_timeout(Some(terms.idle))
}

/// Makes the coming close a reset: the peer learns that this end is not whole.
pub(super) fn reset_at_close(stream: &TcpStream) {
    // A socket that refuses is dead already.
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// The fault of a socket.
pub(super) fn socket_fault(error: &io::Error, what: impl fmt::Display) -> Fault {
    let code = match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Code::TimedOut,
        ErrorKind::ConnectionRefused
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Code::Unreachable,
        ErrorKind::AddrInUse => Code::AddressInUse,
        ErrorKind::AddrNotAvailable => Code::Usage,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            Code::ConnectionLost
        }
        _ => return Fault::new(Code::ConnectionLost, format!("{what} ({error})")),
    };
    Fault::new(code, what.to_string())
}

/// A connection that brings bytes, as far as reading it to its end needs one.
pub trait Brings {
    /// Reads what is there, or waits for the first of it; 0 at the end.
    ///
    /// # Errors
    /// The system's; `WouldBlock` or `TimedOut` after too long a silence.
    fn read(&self, into: &mut [u8]) -> io::Result<usize>;

    /// Bounds every wait from here on.
    ///
    /// # Errors
    /// The system's.
    fn wait_at_most(&self, wait: Duration) -> io::Result<()>;

    /// Whether this end cut it off.
    fn is_cut(&self) -> bool;
}

impl Brings for Present {
    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        self.stream().read(into)
    }

    fn wait_at_most(&self, wait: Duration) -> io::Result<()> {
        self.stream().set_read_timeout(Some(wait))
    }

    fn is_cut(&self) -> bool {
        self.stop().is_cut()
    }
}

impl Read for &dyn Brings {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Brings::read(*self, into)
    }
}

/// Fills the buffer, or as much as there is before the end.
pub(super) fn fill(mut from: impl Read, buffer: &mut [u8]) -> Result<usize, (usize, io::Error)> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err((filled, error)),
        }
    }
    Ok(filled)
}

/// Reads what is there, or waits for the first of it; 0 at the end.
pub(super) fn read_some(
    mut from: impl Read,
    buffer: &mut [u8],
) -> Result<usize, (usize, io::Error)> {
    loop {
        match from.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other.map_err(|error| (0, error)),
        }
    }
}

/// Reads the size that a sized connection begins with.
///
/// # Errors
/// `ConnectionLost` where the connection ends before it, `Violation` for a size that no file can
/// have.
pub fn read_size(from: &dyn Brings, who: &str) -> Result<ByteCount, Fault> {
    let mut head = [0; 8];
    let count = fill(from, &mut head)
        .map_err(|(_, error)| socket_fault(&error, format_args!("read the size {who}")))?;
    if count < head.len() {
        let detail = format!("read the size {who}: {count} of its 8 bytes came");
        return Err(Fault::new(Code::ConnectionLost, detail));
    }
    let size = u64::from_be_bytes(head);
    if size > FILE_BYTES_MAX {
        let detail = format!("refuse {who}: no file can have the announced {size} bytes");
        return Err(Fault::new(Code::Violation, detail));
    }
    Ok(ByteCount(size))
}

/// Takes bytes in the order they came.
pub type Take<'a> = &'a mut dyn FnMut(Offset, &[u8]) -> Result<(), Fault>;

/// When bytes that came are passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// By whole buffers: fastest.
    Whole,
    /// At once: somebody watches.
    AtOnce,
}

/// The bytes of a connection, behind the size if there is one.
#[derive(Clone, Copy)]
pub struct Incoming<'a> {
    /// Where they come from.
    pub from: &'a dyn Brings,
    /// How many were announced.
    pub announced: Option<ByteCount>,
    /// `from 192.0.2.1:4000`, for faults.
    pub who: &'a str,
    /// When they are passed on.
    pub pace: Pace,
}

/// Reads a connection to its end and gives everything to `take`, hashing on the way. It is told of
/// nothing that would go beyond `announced`.
///
/// # Errors
/// `ConnectionLost` for a reset and for an early end, `TimedOut` for silence, `Violation` for a
/// byte too many, `Interrupted` where this end was cut off; what `take` answers.
pub fn read_all(
    incoming: Incoming<'_>,
    terms: &Terms,
    take: Take<'_>,
) -> Result<(ByteCount, Root), Fault> {
    let Incoming { from, announced, who, pace } = incoming;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut hasher = blake3::Hasher::new();
    let mut total = ByteCount::ZERO;
    loop {
        let room = announced.map_or(u64::MAX, |size| size.minus(total).0);
        let wanted = usize::try_from(room).unwrap_or(usize::MAX).min(buffer.len());
        let piece = &mut buffer[..wanted];
        let read = match pace {
            Pace::Whole => fill(from, piece),
            Pace::AtOnce => read_some(from, piece),
        };
        let count = read.map_err(|(came, error)| {
            let total = total.plus(ByteCount::of_len(came));
            socket_fault(&error, format_args!("receive {who} after {total} bytes"))
        })?;
        let bytes = &buffer[..count];
        take(Offset(total.0), bytes)?;
        hasher.update(bytes);
        total = total.plus(ByteCount::of_len(count));
        if count == 0 || announced == Some(total) {
            break;
        }
    }
    // Cutting a connection off looks like its end: bytes that are only the beginning must not pass
    // for all.
    if from.is_cut() {
        return Err(Fault::new(Code::Interrupted, format!("receive {who} after {total} bytes")));
    }
    if let Some(size) = announced {
        if total < size {
            let detail = format!("receive {who}: it ended after {total} of {size} bytes");
            return Err(Fault::new(Code::ConnectionLost, detail));
        }
        expect_end(from, size, terms, who)?;
    }
    Ok((total, Root(*hasher.finalize().as_bytes())))
}

/// Watches a connection that brought all its bytes for one too many.
fn expect_end(from: &dyn Brings, size: ByteCount, terms: &Terms, who: &str) -> Result<(), Fault> {
    let at_end = |error: &io::Error| socket_fault(error, format_args!("end {who}"));
    from.wait_at_most(terms.settle).map_err(|error| at_end(&error))?;
    loop {
        return match from.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => {
                let detail = format!("receive {who}: it sent more than the announced {size} bytes");
                Err(Fault::new(Code::Violation, detail))
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => continue,
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(()),
                _ => Err(at_end(&error)),
            },
        };
    }
}
