//! Buffers of pieces: pooled, zeroed once, shared without copying.
//!
//! A `Blank` is written by one owner; sealed, it is a `Piece`: shared, read-only, and back on its
//! shelf when the last holder drops it. Shelves hold four sizes; what is smaller than the smallest
//! comes from the heap. The core decides how much a session should hold (`handle_budget`); a
//! bounded pool decides how much all of them do: past its bound whoever wants a buffer waits for a
//! turn, in order (`buffer/turn.rs`). Records of TLS that wait for a slow reader count as well
//! (`Charge`).

mod turn; // who waits for a buffer
mod remembered; // what peers have sessions remember

pub use remembered::{Remembered, Weight};
pub use turn::{Bell, Turn};

use floe_types::ByteCount;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use turn::Line;

/// The sizes that are kept; a larger request is refused a shelf and freed after use.
const SHELF_BYTES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];
/// What a piece takes beside its bytes, about.
const PIECE_COST: u64 = 128;
/// Below this the heap is as good as a shelf.
const POOLED_BYTES_MIN: usize = 8 << 10;

/// All buffers of one process, or of one server.
#[derive(Clone)]
pub struct Pool {
    store: Arc<Shelves>,
}

struct Shelves {
    idle: [Mutex<Vec<Box<[u8]>>>; SHELF_BYTES.len()],
    idle_bytes: AtomicU64,
    keep: ByteCount,
    held_bytes: AtomicU64,
    held_bytes_max: AtomicU64,
    /// What sessions remember beside them.
    remembered: remembered::Sum,
    /// What may be held at once.
    bound: u64,
    line: Line,
}

impl Pool {
    /// A pool that keeps at most `keep` bytes of idle buffers and lends any number.
    #[must_use]
    pub fn new(keep: ByteCount) -> Self {
        Self::bounded(keep, ByteCount(u64::MAX))
    }

    /// A pool that lends no more than `bound` at once.
    #[must_use]
    pub fn bounded(keep: ByteCount, bound: ByteCount) -> Self {
        Self {
            store: Arc::new(Shelves {
                idle: Default::default(),
                idle_bytes: AtomicU64::new(0),
                keep,
                held_bytes: AtomicU64::new(0),
                held_bytes_max: AtomicU64::new(0),
                remembered: remembered::Sum::default(),
                bound: bound.0,
                line: Line::default(),
            }),
        }
    }

    /// A buffer of at least `len` bytes, of which the first `len` are shown. What stands in it is
    /// left from an earlier use of this process. Lent whatever the bound: for what a process needs
    /// to work at all.
    #[must_use]
    pub fn blank(&self, len: usize) -> Blank {
        self.store.lend(size_of(len));
        self.filled(len)
    }

    /// A buffer as of `blank`, if the bound allows. If not, the caller has a turn, and the bell
    /// rings when it is worth asking again, with the same turn and the same length.
    pub fn blank_in_turn(
        &self,
        len: usize,
        turn: &mut Turn,
        bell: &Arc<dyn Bell>,
    ) -> Option<Blank> {
        turn.take(&self.store, size_of(len), bell).then(|| self.filled(len))
    }

    /// A buffer for what could as well be read later: while less than half of the bound is lent,
    /// and nobody waits.
    #[must_use]
    pub fn spare(&self, len: usize) -> Option<Blank> {
        let plenty = self.held().0 <= self.store.bound / 2 && !self.is_short();
        (plenty && self.store.try_lend(size_of(len)) == Lent::Yes).then(|| self.filled(len))
    }

    /// Whether somebody waits for a buffer.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.store.line.is_waited_in()
    }

    /// Counts memory that is no buffer of this pool. It is there already: the bound is not asked.
    #[must_use]
    pub fn charge(&self) -> Charge {
        Charge { bytes: 0, home: Arc::clone(&self.store) }
    }

    fn filled(&self, len: usize) -> Blank {
        let shelf = SHELF_BYTES.iter().position(|size| len <= *size);
        let kept = shelf.filter(|_| len > POOLED_BYTES_MIN).and_then(|nth| self.store.take(nth));
        let bytes = kept.unwrap_or_else(|| vec![0; size_of(len)].into_boxed_slice());
        Blank { len, held: Held { bytes, home: Arc::clone(&self.store) } }
    }

    /// Bytes of buffers in use now.
    #[must_use]
    pub fn held(&self) -> ByteCount {
        ByteCount(self.store.held_bytes.load(Ordering::Relaxed))
    }

    /// The most bytes of buffers that were in use at once.
    #[must_use]
    pub fn held_max(&self) -> ByteCount {
        ByteCount(self.store.held_bytes_max.load(Ordering::Relaxed))
    }
}

impl Shelves {
    fn take(&self, nth: usize) -> Option<Box<[u8]>> {
        let bytes = self.idle[nth].lock().unwrap_or_else(PoisonError::into_inner).pop()?;
        self.idle_bytes.fetch_sub(bytes.len() as u64, Ordering::Relaxed);
        Some(bytes)
    }

    fn lend(&self, len: usize) {
        let held = self.held_bytes.fetch_add(len as u64, Ordering::SeqCst) + len as u64;
        self.held_bytes_max.fetch_max(held, Ordering::Relaxed);
    }

    /// Lends within the bound, or not at all.
    fn try_lend(&self, len: usize) -> Lent {
        let len = len as u64;
        // One is always lent: a bound below it would keep everybody for ever.
        let within =
            |held: u64| held.checked_add(len).filter(|sum| *sum <= self.bound || held == 0);
        let lent = self.held_bytes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, within);
        match lent {
            Ok(held) => {
                self.held_bytes_max.fetch_max(held + len, Ordering::Relaxed);
                Lent::Yes
            }
            Err(_) => Lent::No,
        }
    }

    fn give_back(&self, len: usize) {
        // Seen by whoever comes into the line after this, or it is seen here by the line.
        self.held_bytes.fetch_sub(len as u64, Ordering::SeqCst);
        self.line.call(self);
    }

    fn take_back(&self, bytes: Box<[u8]>) {
        let len = bytes.len() as u64;
        self.shelve(bytes);
        self.give_back(usize::try_from(len).unwrap_or(usize::MAX));
    }

    fn shelve(&self, bytes: Box<[u8]>) {
        let len = bytes.len() as u64;
        let Some(nth) = SHELF_BYTES.iter().position(|size| *size == bytes.len()) else {
            return;
        };
        if self.idle_bytes.load(Ordering::Relaxed) + len <= self.keep.0 {
            self.idle_bytes.fetch_add(len, Ordering::Relaxed);
            self.idle[nth].lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        }
    }
}

/// Whether a pool lent what was asked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lent {
    Yes,
    No,
}

/// The bytes that a buffer for `len` really has.
fn size_of(len: usize) -> usize {
    let shelf = SHELF_BYTES.iter().find(|size| len <= **size);
    shelf.copied().filter(|_| len > POOLED_BYTES_MIN).unwrap_or(len)
}

/// Memory beside the pool that counts as held while this lives.
pub struct Charge {
    bytes: usize,
    home: Arc<Shelves>,
}

impl Charge {
    /// So many bytes now.
    pub fn set(&mut self, bytes: usize) {
        let before = std::mem::replace(&mut self.bytes, bytes);
        if bytes > before {
            self.home.lend(bytes - before);
        } else if bytes < before {
            self.home.give_back(before - bytes);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// A buffer to be filled.
pub struct Blank {
    len: usize,
    held: Held,
}

impl Blank {
    /// The bytes to be filled.
    #[must_use]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.held.bytes[..self.len]
    }

    /// The buffer, its first `len` bytes now shared and fixed.
    #[must_use]
    pub fn seal(self, len: usize) -> Piece {
        let len = len.min(self.len);
        Piece { len, held: Arc::new(self.held) }
    }
}

/// The bytes of one piece; a clone shares them.
#[derive(Clone)]
pub struct Piece {
    len: usize,
    held: Arc<Held>,
}

impl Piece {
    /// Its bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.held.bytes[..self.len]
    }

    /// The memory that it takes while it is held.
    #[must_use]
    pub fn footprint(&self) -> u64 {
        self.held.bytes.len() as u64 + PIECE_COST
    }

    /// At most so many of its first bytes, shared.
    #[must_use]
    pub fn first(&self, len: usize) -> Self {
        Self { len: len.min(self.len), held: Arc::clone(&self.held) }
    }
}

impl PartialEq for Piece {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Piece {}

impl Hash for Piece {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Piece({} bytes)", self.len)
    }
}

struct Held {
    bytes: Box<[u8]>,
    home: Arc<Shelves>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.home.take_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests;
