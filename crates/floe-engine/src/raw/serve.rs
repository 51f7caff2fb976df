//! One connection that gets a file: opened for it alone, so a replaced file is served whole, the
//! old or the new.
//!
//! The kernel copies from the page cache to the socket; this process holds no bytes. The size when
//! opened is what is sent. A file that turns out shorter, or was changed in place meanwhile, ends
//! in a reset: a peer that looks can tell.

use super::local::{check_unchanged, file_fault, open_regular, shown};
use super::wire::{BUFFER_BYTES, Framing, Terms, fill, socket_fault};
use floe_types::{ByteCount, Code, Fault};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

/// Asked of the kernel at once.
const SENDFILE_BYTES: u64 = 1 << 20;

/// Sends the file and waits, bounded, until the peer has closed as well.
///
/// # Errors
/// Those of opening the file; `SourceChanged`; `ConnectionLost` and `TimedOut`.
pub(super) fn serve(
    mut stream: &TcpStream,
    path: &Path,
    terms: &Terms,
    who: &str,
) -> Result<ByteCount, Fault> {
    let (file, size, changed) = open_regular(path)?;
    let lost = |at: u64, error: &io::Error| {
        socket_fault(error, format_args!("send {} {who} at {at}", shown(path)))
    };
    if terms.framing == Framing::Sized {
        stream.write_all(&size.0.to_be_bytes()).map_err(|error| lost(0, &error))?;
    }
    let mut at = 0;
    while at < size.0 {
        let count = match pour(&file, stream, at, (size.0 - at).min(SENDFILE_BYTES)) {
            Ok(count) => count,
            Err(Poured::Source(error)) => {
                return Err(file_fault(&error, format_args!("read {} at {at}", shown(path))));
            }
            Err(Poured::Socket(error)) => return Err(lost(at, &error)),
        };
        if count == 0 {
            let detail = format!("read {}: it ended at {at} of {size}", shown(path));
            return Err(Fault::new(Code::SourceChanged, detail));
        }
        at += count;
    }
    check_unchanged(&file, size, changed, path)?;
    drop(file);
    stream.shutdown(Shutdown::Write).map_err(|error| lost(at, &error))?;
    linger(stream, terms);
    Ok(size)
}

enum Poured {
    Source(io::Error),
    Socket(io::Error),
}

/// Moves up to `len` bytes at `at`; 0 at the end of the file.
fn pour(file: &File, stream: &TcpStream, at: u64, len: u64) -> Result<u64, Poured> {
    let mut offset = at;
    let wanted = usize::try_from(len).unwrap_or(BUFFER_BYTES);
    loop {
        return match rustix::fs::sendfile(stream, file, Some(&mut offset), wanted) {
            Ok(count) => Ok(ByteCount::of_len(count).0),
            Err(Errno::INTR) => continue,
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => copy(file, stream, at, wanted),
            Err(errno @ Errno::IO) => Err(Poured::Source(errno.into())),
            Err(errno) => Err(Poured::Socket(errno.into())),
        };
    }
}

/// The same for a file system that cannot hand its pages to a socket.
fn copy(file: &File, mut stream: &TcpStream, at: u64, len: usize) -> Result<u64, Poured> {
    let mut buffer = vec![0; len.min(BUFFER_BYTES)];
    let count = file.read_at(&mut buffer, at).map_err(Poured::Source)?;
    stream.write_all(&buffer[..count]).map_err(Poured::Socket)?;
    Ok(ByteCount::of_len(count).0)
}

/// Waits for the peer's end and throws away what it says. Closing with unread bytes would reset the
/// connection, and a reset can overtake what is still on its way.
fn linger(stream: &TcpStream, terms: &Terms) {
    let until = Instant::now() + terms.idle;
    let mut scrap = vec![0; 4096];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || stream.set_read_timeout(Some(left)).is_err() {
            return;
        }
        match fill(stream.take(4096), &mut scrap) {
            Ok(count) if count == scrap.len() => {}
            _ => return,
        }
    }
}
