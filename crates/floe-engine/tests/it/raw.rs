//! The article's own wire through its door: real sockets, spoken to by hand.

mod clients; // send and fetch against peers made by hand
mod receiving; // connections that become files
mod serving; // connections that get a file

use floe_engine::raw::{Framing, Happening, Listening, Stop, Terms, Watch, Work};
use socket2::SockRef;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// A listener on a thread, and what it says.
struct Face {
    address: SocketAddr,
    stop: Stop,
    happenings: Receiver<Happening>,
    thread: Option<JoinHandle<()>>,
}

impl Face {
    fn start(work: Work, terms: Terms) -> Self {
        let listening = Listening::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listening.addresses()[0];
        let stop = Stop::new().unwrap();
        let (tell, happenings) = channel();
        let watch: Watch = Arc::new(move |happening| {
            let _ = tell.send(happening);
        });
        let asked = stop.clone();
        let thread = thread::spawn(move || listening.run(work, terms, &asked, &watch).unwrap());
        Self { address, stop, happenings, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream
    }

    fn next(&self) -> Happening {
        self.happenings.recv_timeout(LONG).unwrap()
    }

    /// Waits until so many connections are attended.
    fn await_connections(&self, count: usize) {
        await_that(|| self.stop.connections() == count);
    }
}

impl Drop for Face {
    fn drop(&mut self) {
        self.stop.cut();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(thread::panicking() || ended.is_ok());
        }
    }
}

fn await_that(condition: impl Fn() -> bool) {
    let until = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < until, "waited too long");
        thread::yield_now();
    }
}

fn terms(framing: Framing) -> Terms {
    Terms { settle: Duration::from_millis(100), ..Terms::new(framing) }
}

/// Content as a function of its offset, another for each `seed`.
fn content(seed: u8, len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at / 3 + at / 1024) % 251).unwrap() ^ seed).collect()
}

/// Writes as the article's client does: 1,024 bytes at a time.
fn write_like_the_article(mut stream: &TcpStream, bytes: &[u8]) {
    for piece in bytes.chunks(1024) {
        stream.write_all(piece).unwrap();
    }
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
}

fn read_to_end(mut stream: &TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map(|_| bytes)
}

/// What a person sees in a directory, and that no stage is left in it.
fn visible(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        match entry.file_name().into_string().unwrap() {
            name if name == ".floe" => {
                let left: Vec<_> = fs::read_dir(entry.path())
                    .map(|stages| stages.map(|stage| stage.unwrap().file_name()).collect())
                    .unwrap_or_default();
                assert!(left.is_empty(), "stages are left: {left:?}");
            }
            name => names.push(name),
        }
    }
    names.sort();
    names
}
