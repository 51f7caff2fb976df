//! The raw limits: read, write to a socket; read from a socket, write to a new file. One thread at
//! each end, nothing hashed, nothing encrypted, nothing synced.
//!
//! With 1 MiB it is the best that a plain loop does on the machine; with 1,024 bytes it is the
//! article's.

use crate::Result;
use crate::process::Process;
use crate::table::Sample;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// One end.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum Peer {
    /// Accepts one connection and writes its bytes to a new file
    Receive {
        /// The file
        file: PathBuf,
        /// Bytes of one read and write
        buffer: usize,
    },
    /// Sends a file
    Send {
        /// The file
        file: PathBuf,
        /// Bytes of one read and write
        buffer: usize,
        /// Where to
        address: String,
    },
}

impl Peer {
    /// Runs it to its end.
    pub fn run(self) -> Result<()> {
        let done = match &self {
            Self::Receive { file, buffer } => receive(file, *buffer),
            Self::Send { file, buffer, address } => send(file, *buffer, address),
        };
        done.map_err(|error| format!("{self:?}: {error}"))
    }
}

/// Moves `source` into a new file and removes that again.
pub fn measure(source: &Path, target: &Path, buffer: usize) -> Result<Sample> {
    let program = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    let buffer = buffer.to_string();
    let mut receive = Command::new(&program);
    receive.args(["peer", "receive"]).arg(target).arg(&buffer);
    let mut receiver = Process::start(&mut receive)?;
    let address = receiver.listening()?;
    let begun = Instant::now();
    let mut send = Command::new(&program);
    send.args(["peer", "send"]).arg(source).arg(&buffer).arg(address);
    let sender = Process::start(&mut send)?;
    let (_, sending) = sender.finish()?;
    let (_, receiving) = receiver.finish()?;
    let wall = begun.elapsed();
    same_size(source, target)?;
    fs::remove_file(target).map_err(|error| format!("remove {}: {error}", target.display()))?;
    Ok(Sample { wall, cpu: sending + receiving })
}

/// Whether as many bytes arrived as were sent.
pub fn same_size(source: &Path, target: &Path) -> Result<()> {
    let len = |path: &Path| {
        fs::metadata(path)
            .map(|found| found.len())
            .map_err(|error| format!("{}: {error}", path.display()))
    };
    if len(source)? == len(target)? {
        return Ok(());
    }
    Err(format!("{} is not as long as {}", target.display(), source.display()))
}

fn receive(file: &Path, buffer: usize) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("listening on {}", listener.local_addr()?);
    let (from, _) = listener.accept()?;
    pump(from, File::create_new(file)?, buffer)
}

fn send(file: &Path, buffer: usize, address: &str) -> io::Result<()> {
    pump(File::open(file)?, TcpStream::connect(address)?, buffer)
}

fn pump(mut from: impl Read, mut to: impl Write, buffer: usize) -> io::Result<()> {
    let mut buffer = vec![0; buffer];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            count => to.write_all(&buffer[..count])?,
        }
    }
}
