//! One direction of a connection: bytes are passed on until its fate, its weather or its ends stop
//! it.

use super::Net;
use super::fate::{Deed, Fate, Weather};
use crate::case::{TICK, lock};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What the two directions of a connection share.
pub(super) struct Link {
    net: Arc<Net>,
    generation: u64,
    over: AtomicBool,
    reset: AtomicBool,
    /// One direction was thrown away: it never gets anywhere, and in calm weather it ends.
    lame: AtomicBool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Up,
    Down,
}

impl Link {
    pub(super) fn new(net: Arc<Net>) -> Self {
        let generation = net.generation.load(Ordering::Acquire);
        let no = || AtomicBool::new(false);
        Self { net, generation, over: no(), reset: no(), lame: no() }
    }

    fn is_over(&self) -> bool {
        let cut = self.net.generation.load(Ordering::Acquire) != self.generation;
        let lame = self.lame.load(Ordering::Acquire) && self.is_calm();
        cut || lame || self.over.load(Ordering::Acquire) || self.net.closed.load(Ordering::Acquire)
    }

    fn is_calm(&self) -> bool {
        *lock(&self.net.weather) == Weather::CALM
    }

    fn end(&self) {
        self.over.store(true, Ordering::Release);
    }

    fn disturb(&self) {
        self.net.disturbed.fetch_add(1, Ordering::AcqRel);
    }

    /// Waits, but not in calm weather.
    fn hold(&self, span: Duration) {
        let until = Instant::now() + span;
        while Instant::now() < until && !self.is_over() && !self.is_calm() {
            thread::sleep(TICK);
        }
    }
}

const PART: usize = 16 << 10;
/// How long a read or write waits before the rest of the world is looked at.
const PATIENCE: Duration = Duration::from_millis(20);

pub(super) fn pump(
    mut from: TcpStream,
    mut into: TcpStream,
    way: Way,
    mut fate: Fate,
    link: &Arc<Link>,
) {
    let _ = from.set_read_timeout(Some(PATIENCE));
    let _ = into.set_write_timeout(Some(PATIENCE));
    let counted = match way {
        Way::Up => &link.net.up,
        Way::Down => &link.net.down,
    };
    let (mut part, mut passed) = (vec![0; PART], 0);
    while !link.is_over() {
        if link.net.frozen.load(Ordering::Acquire) {
            thread::sleep(TICK);
            continue;
        }
        match from.read(&mut part) {
            Ok(0) => {
                // The other direction may go on.
                let _ = into.shutdown(Shutdown::Write);
                return;
            }
            Ok(len) => {
                if pass(&mut part[..len], passed, &mut into, &mut fate, link, counted).is_none() {
                    break;
                }
                passed += len as u64;
                if let Some(rate) = fate.rate {
                    link.hold(Duration::from_secs_f64(len as f64 / rate as f64));
                }
            }
            Err(error) if is_wait(error.kind()) => {}
            Err(_) => break,
        }
    }
    link.end();
    if link.reset.load(Ordering::Acquire) {
        // With nothing left to linger, the last close of each socket resets it.
        let _ = rustix::net::sockopt::set_socket_linger(&from, Some(Duration::ZERO));
        let _ = rustix::net::sockopt::set_socket_linger(&into, Some(Duration::ZERO));
    } else {
        let _ = from.shutdown(Shutdown::Both);
        let _ = into.shutdown(Shutdown::Both);
    }
}

/// Passes a part on, and does what is due on the way; `None` where the connection is over.
fn pass(
    part: &mut [u8],
    before: u64,
    into: &mut TcpStream,
    fate: &mut Fate,
    link: &Arc<Link>,
    counted: &AtomicU64,
) -> Option<()> {
    let mut start = 0;
    while let Some((at, deed)) = fate.deeds.first().copied() {
        let due = usize::try_from(at.saturating_sub(before)).unwrap_or(usize::MAX);
        if due >= part.len() {
            break;
        }
        fate.deeds.remove(0);
        if link.is_calm() {
            continue;
        }
        let due = due.max(start);
        if deed == Deed::Flip {
            part[due] ^= 1 << (at % 8);
            link.net.corrupted.fetch_add(1, Ordering::AcqRel);
            link.disturb();
            continue;
        }
        write(&part[start..due], into, link, counted)?;
        start = due;
        match deed {
            Deed::Stall(span) => link.hold(span),
            Deed::HalfClose => {
                link.disturb();
                let _ = into.shutdown(Shutdown::Write);
                link.lame.store(true, Ordering::Release);
            }
            Deed::Reset => {
                link.disturb();
                link.reset.store(true, Ordering::Release);
                return None;
            }
            Deed::Cut | Deed::Flip => {
                link.disturb();
                return None;
            }
        }
    }
    write(&part[start..], into, link, counted)
}

fn write(
    mut bytes: &[u8],
    into: &mut TcpStream,
    link: &Arc<Link>,
    counted: &AtomicU64,
) -> Option<()> {
    counted.fetch_add(bytes.len() as u64, Ordering::AcqRel);
    while !bytes.is_empty() {
        if link.is_over() {
            return None;
        }
        match into.write(bytes) {
            Ok(len) => bytes = &bytes[len..],
            Err(error) if is_wait(error.kind()) => {}
            Err(_) if link.lame.load(Ordering::Acquire) => return Some(()),
            Err(_) => return None,
        }
    }
    Some(())
}

fn is_wait(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
