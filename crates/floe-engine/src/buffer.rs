//! Buffers of pieces: pooled, zeroed once, shared without copying.
//!
//! A `Blank` is written by one owner; sealed, it is a `Piece`: shared, read-only, and back on its
//! shelf when the last holder drops it. Shelves hold four sizes; what is smaller than the smallest
//! comes from the heap. The core decides how much a session may hold (`handle_budget`); the pool
//! counts, so that the peak can be shown, and keeps at most `keep` idle bytes for reuse.

use floe_types::ByteCount;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The sizes that are kept; a larger request is refused a shelf and freed after use.
const SHELF_BYTES: [usize; 4] = [16 << 10, 64 << 10, 256 << 10, 1 << 20];
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
}

impl Pool {
    /// A pool that keeps at most `keep` bytes of idle buffers.
    #[must_use]
    pub fn new(keep: ByteCount) -> Self {
        Self {
            store: Arc::new(Shelves {
                idle: Default::default(),
                idle_bytes: AtomicU64::new(0),
                keep,
                held_bytes: AtomicU64::new(0),
                held_bytes_max: AtomicU64::new(0),
            }),
        }
    }

    /// A buffer of at least `len` bytes, of which the first `len` are shown. What stands in it is
    /// left from an earlier use of this process.
    #[must_use]
    pub fn blank(&self, len: usize) -> Blank {
        let shelf = SHELF_BYTES.iter().position(|size| len <= *size);
        let kept = shelf.filter(|_| len > POOLED_BYTES_MIN).and_then(|nth| self.store.take(nth));
        let bytes = kept.unwrap_or_else(|| {
            let size = match shelf {
                Some(nth) if len > POOLED_BYTES_MIN => SHELF_BYTES[nth],
                _ => len,
            };
            vec![0; size].into_boxed_slice()
        });
        self.store.lend(bytes.len());
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
        let held = self.held_bytes.fetch_add(len as u64, Ordering::Relaxed) + len as u64;
        self.held_bytes_max.fetch_max(held, Ordering::Relaxed);
    }

    fn take_back(&self, bytes: Box<[u8]>) {
        let len = bytes.len() as u64;
        self.held_bytes.fetch_sub(len, Ordering::Relaxed);
        let Some(nth) = SHELF_BYTES.iter().position(|size| *size == bytes.len()) else {
            return;
        };
        if self.idle_bytes.load(Ordering::Relaxed) + len <= self.keep.0 {
            self.idle_bytes.fetch_add(len, Ordering::Relaxed);
            self.idle[nth].lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
        }
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
mod tests {
    use super::*;

    #[test]
    fn a_piece_returns_to_its_shelf_when_the_last_holder_drops_it() {
        let pool = Pool::new(ByteCount(1 << 20));
        let mut blank = pool.blank(200_000);
        blank.bytes_mut()[0] = 7;
        let piece = blank.seal(1000);
        let twin = piece.clone();
        assert_eq!((piece.bytes().len(), twin.bytes()[0]), (1000, 7));
        assert_eq!(pool.held(), ByteCount(256 << 10));
        drop(piece);
        assert_eq!(pool.held(), ByteCount(256 << 10));
        drop(twin);
        assert_eq!(pool.held(), ByteCount(0));
        assert_eq!(pool.blank(256 << 10).bytes_mut()[0], 7, "the same memory again");
    }

    #[test]
    fn keeps_no_more_idle_bytes_than_it_may() {
        let pool = Pool::new(ByteCount(300 << 10));
        let blanks: Vec<_> = (0..4).map(|_| pool.blank(256 << 10)).collect();
        assert_eq!(pool.held_max(), ByteCount(1 << 20));
        drop(blanks);
        assert_eq!(pool.store.idle_bytes.load(Ordering::Relaxed), 256 << 10);
        drop(pool.blank(3 << 20));
        drop(pool.blank(10));
        assert_eq!(pool.held(), ByteCount(0));
    }
}
