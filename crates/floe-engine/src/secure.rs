//! The byte transport under every floe connection: TLS 1.3 by rustls, or plaintext where both ends
//! asked for it.
//!
//! A `Secured` is used by one task. It never waits: reads and writes take what is there, and the
//! caller waits on `socket()` for readiness. It knows nothing of frames. A clean end (close_notify)
//! is told from a cut one, but only a CLOSE frame ends a session in good order.
//! Handshakes, which do wait, are in `secure/handshake.rs`; settings in `secure/config.rs`.

mod verify; // is the server's key the pinned one?
mod tls; // rustls between a socket and plaintext
mod config; // what floe's TLS is
mod handshake; // from a fresh TCP connection to a `Secured`

pub use config::TlsServer;
pub(crate) use handshake::{Speech, hear_client};
pub use handshake::{client_handshake, client_handshake_as, first_record, plaintext};
pub use handshake::{server_handshake, shown_key};
pub use verify::KeyMismatch;

use crate::identity::KeyPin;
use floe_proto::greeting::Channel;
use floe_types::{ByteCount, Code, Fault};
use std::io::{self, ErrorKind, IoSlice};
use std::net::Shutdown;
use tls::Tls;
use tokio::net::TcpStream;

/// What a client asks of the connections to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    /// TLS, and the server's key is this one.
    Tls {
        /// Its pin.
        pin: KeyPin,
    },
    /// No TLS: whoever is on the way can read, and take the connection over once it is let in.
    Plaintext,
}

/// What a read took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Took {
    /// So many bytes, at least one.
    Bytes(usize),
    /// Nothing is there now: wait until the socket is readable, then read again.
    WouldBlock,
    /// Nothing comes any more.
    End(Ending),
}

/// How the peer's bytes ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// TLS said so: nothing was cut off.
    CloseNotify,
    /// Only TCP said so; always this on plaintext.
    Fin,
}

/// Whether everything accepted has been handed to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flushed {
    /// It has.
    All,
    /// It has not: wait until the socket is writable, then flush again.
    Pending,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Closing {
    Open,
    Asked,
    Shut,
}

/// Memory for ciphertext on its way in; one per lane serves all its streams.
#[derive(Debug)]
pub struct Scratch(Box<[u8]>);

impl Scratch {
    /// The size that reads are fastest with.
    pub const BYTES: usize = 256 << 10;

    /// Memory for a lane: 256 KiB.
    #[must_use]
    pub fn new() -> Self {
        Self(vec![0; Self::BYTES].into_boxed_slice())
    }

    /// Memory for a greeting, where a frame has at most 4 KiB.
    #[must_use]
    pub fn small() -> Self {
        Self(vec![0; 4 << 10].into_boxed_slice())
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// One connection: its socket, and TLS where there is any.
#[derive(Debug)]
pub struct Secured {
    socket: TcpStream,
    tls: Option<Box<Tls>>,
    /// The key that the other end holds, if it showed one.
    peer: Option<KeyPin>,
    closing: Closing,
    /// The first fault; the connection is over.
    broken: Option<Fault>,
}

impl Secured {
    /// The socket: for readiness, options, addresses and TCP_INFO. Reading or writing it
    /// directly breaks the connection.
    #[must_use]
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// What the connection runs over.
    #[must_use]
    pub fn channel(&self) -> Channel {
        if self.tls.is_some() { Channel::Tls } else { Channel::Plaintext }
    }

    /// The key that the other end has proved to hold: a server's always, a client's where it showed
    /// one; none on plaintext.
    #[must_use]
    pub const fn peer_key(&self) -> Option<KeyPin> {
        self.peer
    }

    /// The TLS exporter of this connection; `None` on plaintext, where the server's challenge
    /// stands for it.
    ///
    /// # Errors
    /// `Tls` where rustls refuses, which it does not after a handshake.
    pub fn exporter(&self) -> Result<Option<[u8; 32]>, Fault> {
        self.tls.as_ref().map(|tls| tls.exporter()).transpose()
    }

    /// Takes decrypted bytes into `into`, which must not be empty.
    ///
    /// Reads the socket at most a few times, so a fast peer cannot hold the lane. Bytes that were
    /// received and do not fit stay here: read until `WouldBlock` before waiting for the socket.
    /// An answer may have been queued (a key update): see `has_unsent`.
    ///
    /// # Errors
    /// `ConnectionLost`: the connection broke, or a record did not decrypt. Sticky.
    pub fn read_plain(&mut self, into: &mut [u8], scratch: &mut Scratch) -> Result<Took, Fault> {
        if into.is_empty() {
            return Ok(Took::WouldBlock);
        }
        self.unbroken()?;
        let took = match &mut self.tls {
            Some(tls) => tls.read(&self.socket, into, &mut scratch.0),
            None => match self.socket.try_read(into) {
                Ok(0) => Ok(Took::End(Ending::Fin)),
                Ok(len) => Ok(Took::Bytes(len)),
                Err(error) if is_retry(&error) => Ok(Took::WouldBlock),
                Err(error) => Err(lost("read", &error)),
            },
        };
        took.inspect_err(|fault| self.broken = Some(fault.clone()))
    }

    /// Accepts bytes from the start of `parts` and hands them on; returns how many were accepted.
    /// 0 means no room: wait until the socket is writable, `flush`, and write again.
    ///
    /// Over TLS at most 260 KiB are held encrypted beyond what the kernel took, and no small record
    /// is made for want of room. On plaintext nothing is held.
    ///
    /// # Errors
    /// `ConnectionLost`. Sticky.
    pub fn write_plain(&mut self, parts: &[IoSlice<'_>]) -> Result<usize, Fault> {
        if self.closing != Closing::Open {
            return Err(Fault::new(Code::ConnectionLost, "write after close"));
        }
        self.unbroken()?;
        let accepted = match &mut self.tls {
            Some(tls) => tls.write(&self.socket, parts),
            None => match self.socket.try_write_vectored(parts) {
                Ok(len) => Ok(len),
                Err(error) if is_retry(&error) => Ok(0),
                Err(error) => Err(lost("write", &error)),
            },
        };
        accepted.inspect_err(|fault| self.broken = Some(fault.clone()))
    }

    /// Hands what is held to the kernel, as far as it takes it. After `close`, ends the sending
    /// half of the socket once everything is out.
    ///
    /// # Errors
    /// `ConnectionLost`. Sticky.
    pub fn flush(&mut self) -> Result<Flushed, Fault> {
        self.unbroken()?;
        let flushed = match &mut self.tls {
            Some(tls) => tls.flush(&self.socket),
            None => Ok(Flushed::All),
        };
        let flushed = flushed.inspect_err(|fault| self.broken = Some(fault.clone()))?;
        if flushed == Flushed::All && self.closing == Closing::Asked {
            self.closing = Closing::Shut;
            // The peer may be gone already; then there is nothing left to end.
            let _ = socket2::SockRef::from(&self.socket).shutdown(Shutdown::Write);
        }
        Ok(flushed)
    }

    /// Whether anything accepted, or an answer of TLS itself, waits for `flush`.
    #[must_use]
    pub fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_unsent())
    }

    /// How many bytes of records wait here, to within a record's overhead. What the kernel holds
    /// is not counted.
    #[must_use]
    pub fn unsent_bytes(&self) -> ByteCount {
        ByteCount::of_len(self.tls.as_ref().map_or(0, |tls| tls.unsent_bytes()))
    }

    /// Ends this end's bytes: close_notify after all that was accepted, then FIN. Call `flush`
    /// until it says `All`. Reading goes on.
    ///
    /// # Errors
    /// `ConnectionLost`, as `flush`.
    pub fn close(&mut self) -> Result<Flushed, Fault> {
        if self.closing == Closing::Open {
            self.closing = Closing::Asked;
            if let Some(tls) = &mut self.tls {
                tls.send_close_notify();
            }
        }
        self.flush()
    }

    fn unbroken(&self) -> Result<(), Fault> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Takes the connection off this thread's runtime, to go on in another by `attach`.
    ///
    /// # Errors
    /// `Other` where the runtime does not let the socket go.
    pub fn detach(self) -> Result<Detached, Fault> {
        let Self { socket, tls, peer, closing, broken } = self;
        let socket = socket.into_std().map_err(|error| runtime_fault(&error))?;
        Ok(Detached { socket, tls, peer, closing, broken })
    }
}

/// A connection between two runtimes.
#[derive(Debug)]
pub struct Detached {
    socket: std::net::TcpStream,
    tls: Option<Box<Tls>>,
    peer: Option<KeyPin>,
    closing: Closing,
    broken: Option<Fault>,
}

impl Detached {
    /// Goes on in the runtime of this thread.
    ///
    /// # Errors
    /// `Other` where the runtime does not take the socket.
    pub fn attach(self) -> Result<Secured, Fault> {
        let Self { socket, tls, peer, closing, broken } = self;
        let socket = TcpStream::from_std(socket).map_err(|error| runtime_fault(&error))?;
        Ok(Secured { socket, tls, peer, closing, broken })
    }
}

fn runtime_fault(error: &io::Error) -> Fault {
    Fault::new(Code::Other, format!("move a connection: {}", error.kind()))
}

fn is_retry(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn lost(operation: &str, error: &io::Error) -> Fault {
    Fault::new(Code::ConnectionLost, format!("{operation}: {}", error.kind()))
}

#[cfg(test)]
mod tests;
