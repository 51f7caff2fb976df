//! The halves that dial: `send` as the article's client does, `fetch` from its server.
//!
//! `send` ends its side and waits for the peer to close: the most this wire can say. `fetch`
//! commits when the peer closes cleanly; whatever else happens leaves FILE as it was.

use super::local::{Inbox, Target, check_unchanged, file_fault, open_regular, shown, store_all};
use super::stop::{Present, Stop};
use super::wire::{
    BUFFER_BYTES, Framing, Incoming, Pace, Terms, bound_waits, fill, read_all, read_size,
    read_some, reset_at_close, socket_fault,
};
use crate::pipe::output_fault;
use floe_types::escape::Escaped;
use floe_types::{ByteCount, Code, Fault, ObjectPath, Precondition, Root};
use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What is sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SendFrom {
    /// A regular file.
    Path(PathBuf),
    /// Standard input, to its end. Its size is known only where it is a file.
    StandardInput,
}

/// Whether the peer's close was seen after everything was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PeerClose {
    /// It was: the peer read to the end. With `raw recv` at the other end, the file is durable
    /// there.
    Seen,
    /// It was not, in the time there is: everything was sent, more cannot be said.
    NotSeen,
}

/// What was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sent {
    /// How many bytes, without the size in front of them.
    pub size: ByteCount,
    /// Their BLAKE3 root.
    pub root: Root,
    /// Whether the peer closed.
    pub close: PeerClose,
}

/// Where fetched bytes go.
pub enum FetchInto {
    /// A file of this name in the inbox's directory.
    File {
        /// The directory.
        inbox: Inbox,
        /// The name in it.
        path: ObjectPath,
        /// Whether a file that stands there is replaced.
        precondition: Precondition,
    },
    /// Standard output, as they come.
    StandardOutput,
}

/// What was fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetched {
    /// How many bytes.
    pub size: ByteCount,
    /// Their BLAKE3 root.
    pub root: Root,
}

/// Sends to `address` (`host:port`). Blocks. `stop.cut()` from another thread ends it.
///
/// # Errors
/// Those of opening the file; `Usage` where `--sized` has no size to send; `SourceChanged`;
/// `Unreachable`, `ConnectionLost` and `TimedOut`; `Interrupted`.
pub fn send(from: &SendFrom, address: &str, terms: &Terms, stop: &Stop) -> Result<Sent, Fault> {
    let mut outgoing = Outgoing::open(from, terms.framing)?;
    let present = dial(address, terms, stop)?;
    let stream = present.stream();
    reset_at_close(stream);
    let sent = stop.blamed(outgoing.send(stream, terms, address))?;
    // The reset at close stays off only from here on: everything is sent.
    let _ = socket2::SockRef::from(stream).set_linger(None);
    let close = stop.blamed(await_close(stream, terms, address))?;
    Ok(Sent { close, ..sent })
}

/// Fetches from `address` (`host:port`). Blocks. `stop.cut()` from another thread ends it. Durable
/// when it returns, except on standard output.
///
/// # Errors
/// `Unreachable`, `ConnectionLost`, `TimedOut`, `Violation`, `NoSpace`; the store's; `Interrupted`.
pub fn fetch(
    address: &str,
    into: &FetchInto,
    terms: &Terms,
    stop: &Stop,
) -> Result<Fetched, Fault> {
    let present = dial(address, terms, stop)?;
    let stream = present.stream();
    let who = format!("from {}", Escaped(address.as_bytes()));
    let fetched = fetch_stream(&present, into, terms, &who);
    if fetched.is_err() {
        reset_at_close(stream);
    }
    stop.blamed(fetched)
}

fn fetch_stream(
    present: &Present,
    into: &FetchInto,
    terms: &Terms,
    who: &str,
) -> Result<Fetched, Fault> {
    let announced = match terms.framing {
        Framing::Open => None,
        Framing::Sized => Some(read_size(present, who)?),
    };
    let (size, root) = match into {
        FetchInto::File { inbox, path, precondition } => {
            if let Some(size) = announced {
                inbox.check_room(size, who)?;
            }
            let target = Target { path: path.clone(), precondition: *precondition };
            let incoming = Incoming { from: present, announced, who, pace: Pace::Whole };
            store_all(inbox, target, incoming, terms)?
        }
        FetchInto::StandardOutput => {
            let mut output = io::stdout().lock();
            let incoming = Incoming { from: present, announced, who, pace: Pace::AtOnce };
            read_all(incoming, terms, &mut |_, bytes| {
                output
                    .write_all(bytes)
                    .and_then(|()| output.flush())
                    .map_err(|error| output_fault(&error))
            })?
        }
    };
    Ok(Fetched { size, root })
}

/// Open, with what is known of it.
struct Outgoing {
    file: File,
    announced: Option<ByteCount>,
    origin: Origin,
}

enum Origin {
    Path { path: PathBuf, size: ByteCount, changed: SystemTime },
    StandardInput,
}

impl Outgoing {
    fn open(from: &SendFrom, framing: Framing) -> Result<Self, Fault> {
        let (file, known, origin) = match from {
            SendFrom::Path(path) => {
                let (file, size, changed) = open_regular(path)?;
                (file, Some(size), Origin::Path { path: path.clone(), size, changed })
            }
            SendFrom::StandardInput => {
                let file = standard_input()?;
                let known = rest_of(&file);
                (file, known, Origin::StandardInput)
            }
        };
        let announced = match framing {
            Framing::Open => None,
            Framing::Sized => Some(known.ok_or_else(|| {
                let detail = "send standard input: --sized needs a size, and a pipe has none";
                Fault::new(Code::Usage, detail)
            })?),
        };
        Ok(Self { file, announced, origin })
    }

    fn send(
        &mut self,
        mut stream: &TcpStream,
        terms: &Terms,
        address: &str,
    ) -> Result<Sent, Fault> {
        let name = self.name();
        let lost = |at: ByteCount, error: &io::Error| {
            let to = Escaped(address.as_bytes());
            socket_fault(error, format_args!("send {name} to {to} at {at}"))
        };
        let mut size = ByteCount::ZERO;
        if let Some(announced) = self.announced {
            let head = announced.0.to_be_bytes();
            stream.write_all(&head).map_err(|error| lost(size, &error))?;
        }
        let mut buffer = vec![0; BUFFER_BYTES];
        let mut hasher = blake3::Hasher::new();
        let limit = self.limit();
        loop {
            let room = usize::try_from(limit.minus(size).0).unwrap_or(usize::MAX);
            let wanted = room.min(buffer.len());
            let count = self.read(&mut buffer[..wanted], size)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            stream.write_all(&buffer[..count]).map_err(|error| lost(size, &error))?;
            size = size.plus(ByteCount::of_len(count));
        }
        self.check_whole(size)?;
        stream.shutdown(Shutdown::Write).map_err(|error| lost(size, &error))?;
        let root = Root(*hasher.finalize().as_bytes());
        // Waiting for the peer's end is not silence within a transfer.
        let wait = terms.idle + Duration::from_secs(1);
        stream.set_read_timeout(Some(wait)).map_err(|error| lost(size, &error))?;
        Ok(Sent { size, root, close: PeerClose::NotSeen })
    }

    /// Reads on. A pipe is passed on as it comes, so that a slow writer is seen at once.
    fn read(&mut self, buffer: &mut [u8], at: ByteCount) -> Result<usize, Fault> {
        let result = match self.origin {
            Origin::Path { .. } => fill(&self.file, buffer),
            Origin::StandardInput => read_some(&self.file, buffer),
        };
        result
            .map_err(|(_, error)| file_fault(&error, format_args!("read {} at {at}", self.name())))
    }

    /// How much may be sent at most: what was announced, or what the file held when opened.
    fn limit(&self) -> ByteCount {
        match (&self.origin, self.announced) {
            (Origin::Path { size, .. }, _) => *size,
            (Origin::StandardInput, announced) => announced.unwrap_or(ByteCount(u64::MAX)),
        }
    }

    fn check_whole(&self, sent: ByteCount) -> Result<(), Fault> {
        let expected = match &self.origin {
            Origin::Path { size, .. } => Some(*size),
            Origin::StandardInput => self.announced,
        };
        if let Some(expected) = expected
            && sent < expected
        {
            let detail = format!("read {}: it ended at {sent} of {expected}", self.name());
            return Err(Fault::new(Code::SourceChanged, detail));
        }
        match &self.origin {
            Origin::Path { path, size, changed } => {
                check_unchanged(&self.file, *size, *changed, path)
            }
            Origin::StandardInput => Ok(()),
        }
    }

    fn name(&self) -> String {
        match &self.origin {
            Origin::Path { path, .. } => shown(path),
            Origin::StandardInput => "standard input".to_owned(),
        }
    }
}

/// Standard input as a file of its own, without the library's buffer.
fn standard_input() -> Result<File, Fault> {
    let descriptor = io::stdin().as_fd().try_clone_to_owned();
    descriptor.map(File::from).map_err(|error| file_fault(&error, "open standard input"))
}

/// What is left of a file from where it stands; `None` for anything else.
fn rest_of(mut file: &File) -> Option<ByteCount> {
    let found = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let at = file.stream_position().ok()?;
    Some(ByteCount(found.len()).minus(ByteCount(at)))
}

/// Connects to the first address that answers.
fn dial(address: &str, terms: &Terms, stop: &Stop) -> Result<Present, Fault> {
    let what = || format!("connect to {}", Escaped(address.as_bytes()));
    let candidates = address.to_socket_addrs().map_err(|error| match error.kind() {
        ErrorKind::InvalidInput => Fault::new(Code::Usage, format!("{}: not host:port", what())),
        _ => Fault::new(Code::Unreachable, format!("{}: the name is not known", what())),
    })?;
    let mut last = Fault::new(Code::Unreachable, what());
    for candidate in candidates {
        match TcpStream::connect_timeout(&candidate, terms.connect) {
            Ok(stream) => {
                let present = stop.enter(stream);
                bound_waits(present.stream(), terms)
                    .map_err(|error| socket_fault(&error, what()))?;
                return Ok(present);
            }
            Err(error) => last = socket_fault(&error, what()),
        }
    }
    if last.code == Code::TimedOut {
        Err(Fault::new(Code::Unreachable, last.detail))
    } else {
        Err(last)
    }
}

/// Waits for the peer to close; what it says is thrown away, within bounds.
fn await_close(mut stream: &TcpStream, terms: &Terms, address: &str) -> Result<PeerClose, Fault> {
    let mut scrap = vec![0; 4096];
    let until = std::time::Instant::now() + terms.idle + terms.idle;
    while std::time::Instant::now() < until {
        match stream.read(&mut scrap) {
            Ok(0) => return Ok(PeerClose::Seen),
            Ok(_) => {}
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => break,
                _ => {
                    let to = Escaped(address.as_bytes());
                    return Err(socket_fault(&error, format_args!("end the connection to {to}")));
                }
            },
        }
    }
    Ok(PeerClose::NotSeen)
}

/// The directory and the name of a FILE to be made.
///
/// # Errors
/// `IsDirectory` where it can only be a directory, `BadPath` for a name no file may have.
pub fn split_file(file: &Path) -> Result<(PathBuf, ObjectPath), Fault> {
    use std::os::unix::ffi::OsStrExt;
    let what = || format!("write {}", shown(file));
    let bytes = file.as_os_str().as_bytes();
    let (Some(name), false) = (file.file_name(), bytes.ends_with(b"/") || bytes.ends_with(b"/."))
    else {
        return Err(Fault::new(Code::IsDirectory, what()));
    };
    let path = ObjectPath::parse(name.as_bytes())
        .map_err(|fault| Fault::new(Code::BadPath, format!("{}: {fault}", what())))?;
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")).to_path_buf(), path))
}
