//! A path between a client and a server: a proxy that carries so many bytes a second, and counts
//! them.

use crate::stage::Server;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Faster than any machine.
pub const FAST: u64 = 1 << 40;

pub struct Link {
    port: u16,
    ways: [Pace; 2],
}

impl Link {
    /// So many bytes a second each way, whatever the connections.
    pub fn start(server: &Server, bytes_per_sec: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, to) = (listener.local_addr().unwrap().port(), server.port);
        let ways = [Pace::new(bytes_per_sec), Pace::new(bytes_per_sec)];
        let own = ways.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)) else { continue };
                let ends = [(&client, &server), (&server, &client)];
                for ((from, into), pace) in ends.iter().zip(&own) {
                    let (from, into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                    let pace = pace.clone();
                    thread::spawn(move || pass(from, into, &pace));
                }
            }
        });
        Self { port, ways }
    }

    pub fn url(&self, path: &str) -> String {
        format!("floe://127.0.0.1:{}/{path}", self.port)
    }

    /// Bytes that went to the server.
    pub fn up(&self) -> u64 {
        self.ways[0].passed.load(Ordering::SeqCst)
    }

    /// Bytes that came from it.
    pub fn down(&self) -> u64 {
        self.ways[1].passed.load(Ordering::SeqCst)
    }
}

/// When the next byte may pass.
#[derive(Clone)]
struct Pace {
    free: Arc<Mutex<Instant>>,
    passed: Arc<AtomicU64>,
    bytes_per_sec: u64,
}

impl Pace {
    fn new(bytes_per_sec: u64) -> Self {
        Self { free: Arc::new(Mutex::new(Instant::now())), passed: Arc::default(), bytes_per_sec }
    }

    fn wait_for(&self, len: usize) {
        self.passed.fetch_add(len as u64, Ordering::SeqCst);
        let span = Duration::from_micros(len as u64 * 1_000_000 / self.bytes_per_sec);
        let mut free = self.free.lock().unwrap();
        *free = (*free).max(Instant::now()) + span;
        let due = *free;
        drop(free);
        while Instant::now() < due {
            thread::park_timeout(due.saturating_duration_since(Instant::now()));
        }
    }
}

fn pass(mut from: TcpStream, mut into: TcpStream, pace: &Pace) {
    let mut part = vec![0; 16 << 10];
    while let Ok(len) = from.read(&mut part) {
        pace.wait_for(len);
        if len == 0 || into.write_all(&part[..len]).is_err() {
            break;
        }
    }
    let _ = into.shutdown(Shutdown::Both);
}
