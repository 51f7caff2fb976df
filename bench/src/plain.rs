//! The raw limits: read, write to a socket; read from a socket, write to new files. One thread at
//! each end, nothing hashed, nothing encrypted, nothing synced unless asked.
//!
//! With 1 MiB it is the best that a plain loop does on the machine; with 1,024 bytes it is the loop
//! that many programs start with. A tree goes as one sequence of entries: the length of the path as
//! 2 bytes, its bytes, the length of the file as 8 bytes (all ones: a directory), its bytes.

use crate::Result;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// One end.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Plain {
    /// Accepts one connection and writes its bytes to a new file
    Receive(End),
    /// Connects, and writes what comes to a new file
    Fetch(End),
    /// Connects, and sends a file
    Send(End),
    /// Accepts one connection and sends a file
    Offer(End),
    /// Sends zeros until nobody takes them
    Flood(Rival),
    /// Takes what comes, and says ten times a second how much that was so far
    Drain(Rival),
}

/// One end of a connection that only competes.
#[derive(clap::Args, Clone, Debug)]
pub struct Rival {
    /// The address to connect to
    address: String,
    /// Wait for a connection there instead
    #[arg(long)]
    listen: bool,
}

/// What both ends are told.
#[derive(clap::Args, Clone, Debug)]
pub struct End {
    /// The file or directory
    path: PathBuf,
    /// The address to listen on or to connect to
    address: String,
    /// Bytes of one read and write
    #[arg(long, default_value_t = 1 << 20)]
    buffer: usize,
    /// Whether one file or a tree travels
    #[arg(long, value_enum, default_value = "file")]
    shape: Shape,
    /// What is done at the end of receiving
    #[arg(long, value_enum, default_value = "nothing")]
    then: Then,
}

/// What travels.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Shape {
    File,
    Tree,
}

/// How receiving ends.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
enum Then {
    Nothing,
    Sync,
}

const SAY: Duration = Duration::from_millis(100);
const DIRECTORY: u64 = u64::MAX;

impl Plain {
    /// Runs it to its end.
    pub fn run(self) -> Result<()> {
        let done = match &self {
            Self::Receive(end) => accept(end).and_then(|from| receive(from, end)),
            Self::Fetch(end) => {
                TcpStream::connect(&end.address).and_then(|from| receive(from, end))
            }
            Self::Send(end) => TcpStream::connect(&end.address).and_then(|to| send(to, end)),
            Self::Offer(end) => accept(end).and_then(|to| send(to, end)),
            Self::Flood(rival) => rival.meet().and_then(flood),
            Self::Drain(rival) => rival.meet().and_then(drain),
        };
        done.map_err(|error| format!("{self:?}: {error}"))
    }
}

impl Rival {
    fn meet(&self) -> io::Result<TcpStream> {
        if self.listen {
            return TcpListener::bind(&self.address)?.accept().map(|(stream, _)| stream);
        }
        TcpStream::connect(&self.address)
    }
}

fn flood(mut to: TcpStream) -> io::Result<()> {
    let zeros = vec![0; 256 << 10];
    loop {
        to.write_all(&zeros)?;
    }
}

fn drain(mut from: TcpStream) -> io::Result<()> {
    let (mut buffer, mut sum, mut said) = (vec![0; 256 << 10], 0, Instant::now());
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => sum += count,
        }
        if said.elapsed() >= SAY {
            println!("{sum}");
            said = Instant::now();
        }
    }
}

fn accept(end: &End) -> io::Result<TcpStream> {
    TcpListener::bind(&end.address)?.accept().map(|(stream, _)| stream)
}

fn receive(from: TcpStream, end: &End) -> io::Result<()> {
    match end.shape {
        Shape::File => pump(from, &mut File::create(&end.path)?, end.buffer)?,
        Shape::Tree => receive_tree(&mut BufReader::with_capacity(end.buffer, from), &end.path)?,
    }
    match end.then {
        Then::Nothing => Ok(()),
        Then::Sync => {
            let file = File::open(&end.path)?;
            match end.shape {
                Shape::File => file.sync_all(),
                Shape::Tree => rustix::fs::syncfs(&file).map_err(io::Error::from),
            }
        }
    }
}

fn send(to: TcpStream, end: &End) -> io::Result<()> {
    match end.shape {
        Shape::File => pump(File::open(&end.path)?, &mut { to }, end.buffer),
        Shape::Tree => {
            let mut to = BufWriter::with_capacity(end.buffer, to);
            send_tree(&mut to, &end.path, &end.path)?;
            to.flush()
        }
    }
}

fn pump(mut from: impl Read, to: &mut impl Write, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}

fn send_tree(to: &mut impl Write, top: &Path, dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.strip_prefix(top).map_err(io::Error::other)?.as_os_str().as_bytes();
        to.write_all(&u16::try_from(name.len()).map_err(io::Error::other)?.to_be_bytes())?;
        to.write_all(name)?;
        if path.is_dir() {
            to.write_all(&DIRECTORY.to_be_bytes())?;
            send_tree(to, top, &path)?;
        } else {
            let mut file = File::open(&path)?;
            to.write_all(&file.metadata()?.len().to_be_bytes())?;
            io::copy(&mut file, to)?;
        }
    }
    Ok(())
}

fn receive_tree(from: &mut impl Read, top: &Path) -> io::Result<()> {
    fs::create_dir(top)?;
    let mut len = [0; 2];
    while from.read(&mut len[..1])? > 0 {
        from.read_exact(&mut len[1..])?;
        let mut name = vec![0; usize::from(u16::from_be_bytes(len))];
        from.read_exact(&mut name)?;
        let path = top.join(std::ffi::OsString::from_vec(name));
        let mut size = [0; 8];
        from.read_exact(&mut size)?;
        match u64::from_be_bytes(size) {
            DIRECTORY => fs::create_dir(path)?,
            size => {
                io::copy(&mut from.take(size), &mut File::create(path)?)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_arrives_as_it_was_sent() {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        fs::create_dir_all(source.join("a/b")).unwrap();
        fs::write(source.join("a/b/c"), "some bytes").unwrap();
        fs::write(source.join("empty"), "").unwrap();
        let mut wire = Vec::new();
        send_tree(&mut wire, &source, &source).unwrap();
        receive_tree(&mut wire.as_slice(), &target).unwrap();
        assert_eq!(fs::read(target.join("a/b/c")).unwrap(), b"some bytes");
        assert_eq!(fs::read(target.join("empty")).unwrap(), b"");
    }
}
