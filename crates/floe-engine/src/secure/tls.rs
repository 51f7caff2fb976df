//! rustls between a socket and plaintext, without waiting.
//!
//! rustls takes at most one record (18 KiB) a call and keeps at most two decrypted. So ciphertext
//! is received into a large scratch, just enough for what the caller wants, and fed from there
//! record by record; what cannot be taken is held per stream, which is rare and bounded by the
//! scratch. Outgoing records are held up to `HELD_BYTES_MAX`.

use super::{Ending, Flushed, Took, is_retry, lost};
use floe_proto::greeting::EXPORTER_LABEL;
use floe_types::escape::Escaped;
use floe_types::{Code, Fault};
use rustls::Connection;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use tokio::net::TcpStream;

/// Plaintext of a full record (RFC 8446 section 5.1), and what encryption adds to it: head 5,
/// content type 1, tag 16.
const RECORD_BYTES: usize = 16 << 10;
const RECORD_OVERHEAD: usize = 22;

/// Outgoing records held at most. A 256 KiB piece with its frame heads fits; 1 MiB cost a third of
/// the throughput.
const HELD_BYTES_MAX: usize = 260 << 10;

/// Socket reads in one call.
const RECEIVES_MAX: usize = 4;

pub(super) struct Tls {
    conn: Connection,
    /// Received, not yet taken by rustls: `held[taken..]`.
    held: Vec<u8>,
    taken: usize,
    queued: usize,
}

impl Tls {
    /// Takes over after the handshake.
    pub(super) fn new(mut conn: Connection) -> Self {
        conn.set_buffer_limit(Some(HELD_BYTES_MAX));
        Self { conn, held: Vec::new(), taken: 0, queued: 0 }
    }

    pub(super) fn exporter(&self) -> Result<[u8; 32], Fault> {
        self.conn
            .export_keying_material([0; 32], EXPORTER_LABEL, Some(b""))
            .map_err(|error| Fault::new(Code::Tls, text(&error)))
    }

    pub(super) fn read(
        &mut self,
        socket: &TcpStream,
        into: &mut [u8],
        scratch: &mut [u8],
    ) -> Result<Took, Fault> {
        let mut done = match self.take(into)? {
            Took::Bytes(len) => len,
            Took::WouldBlock => 0,
            end @ Took::End(_) => return Ok(end),
        };
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            let taken = std::mem::take(&mut self.taken);
            let fed = self.feed(socket, &held[taken..], into, &mut done)?;
            if taken + fed < held.len() {
                (self.held, self.taken) = (held, taken + fed);
                return Ok(Took::Bytes(done));
            }
        }
        for _ in 0..RECEIVES_MAX {
            if done == into.len() {
                break;
            }
            let want = wire_len(into.len() - done).min(scratch.len());
            match socket.try_read(&mut scratch[..want]) {
                Ok(0) => {
                    let _ = self.conn.read_tls(&mut io::empty());
                    break;
                }
                Ok(len) => {
                    let fed = self.feed(socket, &scratch[..len], into, &mut done)?;
                    self.held.extend_from_slice(&scratch[fed..len]);
                }
                Err(error) if is_retry(&error) => break,
                Err(_) if done > 0 => break,
                Err(error) => return Err(lost("read", &error)),
            }
        }
        if done > 0 { Ok(Took::Bytes(done)) } else { self.take(into) }
    }

    /// Feeds ciphertext until it is used up or `into` is full; returns how much of it was used.
    fn feed(
        &mut self,
        socket: &TcpStream,
        wire: &[u8],
        into: &mut [u8],
        done: &mut usize,
    ) -> Result<usize, Fault> {
        let mut rest = wire;
        while !rest.is_empty() && *done < into.len() {
            if self.conn.read_tls(&mut rest).map_err(|error| lost("read", &error))? == 0 {
                rest = &[]; // after close_notify nothing counts
            }
            if let Err(error) = self.conn.process_new_packets() {
                let _ = self.flush(socket); // the alert that says why
                return Err(Fault::new(Code::ConnectionLost, text(&error)));
            }
            match self.take(&mut into[*done..])? {
                Took::Bytes(len) => *done += len,
                Took::WouldBlock => {}
                Took::End(_) => rest = &[],
            }
        }
        Ok(wire.len() - rest.len())
    }

    /// What rustls holds decrypted.
    fn take(&mut self, into: &mut [u8]) -> Result<Took, Fault> {
        match self.conn.reader().read(into) {
            Ok(0) => Ok(Took::End(Ending::CloseNotify)),
            Ok(len) => Ok(Took::Bytes(len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Took::WouldBlock),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Took::End(Ending::Fin)),
            Err(error) => Err(lost("read", &error)),
        }
    }

    pub(super) fn write(
        &mut self,
        socket: &TcpStream,
        parts: &[IoSlice<'_>],
    ) -> Result<usize, Fault> {
        if self.queued > 0 {
            self.flush(socket)?;
        }
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if self.queued > 0 && HELD_BYTES_MAX.saturating_sub(self.queued) < len.min(RECORD_BYTES) {
            return Ok(0);
        }
        let accepted =
            self.conn.writer().write_vectored(parts).map_err(|error| lost("write", &error))?;
        self.queued += accepted + accepted.div_ceil(RECORD_BYTES) * RECORD_OVERHEAD;
        self.flush(socket)?;
        Ok(accepted)
    }

    pub(super) fn flush(&mut self, socket: &TcpStream) -> Result<Flushed, Fault> {
        while self.conn.wants_write() {
            match self.conn.write_tls(&mut Outlet(socket)) {
                Ok(len) => self.queued = self.queued.saturating_sub(len),
                Err(error) if is_retry(&error) => return Ok(Flushed::Pending),
                Err(error) => return Err(lost("write", &error)),
            }
        }
        self.queued = 0;
        Ok(Flushed::All)
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.conn.wants_write()
    }

    pub(super) fn unsent_bytes(&self) -> usize {
        if self.has_unsent() { self.queued.max(1) } else { 0 }
    }

    pub(super) fn send_close_notify(&mut self) {
        self.conn.send_close_notify();
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("queued", &self.queued).finish_non_exhaustive()
    }
}

/// A socket as rustls writes it: never waits.
pub(super) struct Outlet<'a>(pub(super) &'a TcpStream);

impl Write for Outlet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(parts)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What rustls says, safe to show: some of it can hold what the peer sent.
pub(super) fn text(error: &rustls::Error) -> String {
    Escaped(error.to_string().as_bytes()).to_string()
}

/// The ciphertext of so much plaintext in full records.
fn wire_len(plain: usize) -> usize {
    plain.div_ceil(RECORD_BYTES) * (RECORD_BYTES + RECORD_OVERHEAD)
}
