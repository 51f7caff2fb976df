//! Short files: one job of a disk thread in place of three.
//!
//! A short source is read, and looked at again, by the job that opens it; nothing of it stays open.
//! A short object's bytes wait in memory for the job that records or commits them.

use crate::buffer::{Piece, Pool};
use floe_store::{Sink, Source};
use floe_types::{ByteCount, ChunkDigest, Offset, Range, SourceVersion};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files up to here are short.
const SHORT_BYTES: ByteCount = ByteCount(64 << 10);
/// What the short files that a session reads keep in memory at most, and the objects that it
/// writes.
const HELD_BYTES_MAX: u64 = 4 << 20;
/// After so many that nobody wanted to read, none is read until one is.
const UNREAD_MAX: u32 = 32;

/// A file that was read when it was opened.
pub struct Short {
    bytes: Piece,
    /// What was read is part of this version if it is the one it was opened as.
    version: floe_store::Result<Option<SourceVersion>>,
    read: AtomicBool,
    /// What all of a session hold.
    all: Arc<AtomicU64>,
}

impl Drop for Short {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes.footprint(), Ordering::Relaxed);
    }
}

impl Short {
    /// Its bytes, if all of them are asked for.
    pub fn whole(&self, piece: Range) -> Option<Piece> {
        self.read.store(true, Ordering::Relaxed);
        let whole = piece.start() == Offset::ZERO
            && piece.len() >= ByteCount::of_len(self.bytes.bytes().len());
        whole.then(|| self.bytes.clone())
    }
}

impl Source for Short {
    fn version(&self) -> floe_store::Result<Option<SourceVersion>> {
        self.version.clone()
    }

    fn read_at(&self, at: Offset, into: &mut [u8]) -> floe_store::Result<usize> {
        let from = ByteCount(at.0).to_len().unwrap_or(usize::MAX);
        let rest = self.bytes.bytes().get(from..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn read_cached(&self, at: Offset, into: &mut [u8]) -> floe_store::Result<Option<usize>> {
        self.read_at(at, into).map(Some)
    }
}

/// Whether the files that a session opens are read.
#[derive(Default)]
pub(super) struct Prefetch {
    /// Files in a row that were opened and not read.
    unread: AtomicU32,
    /// Memory of those that were read.
    held: Arc<AtomicU64>,
}

impl Prefetch {
    /// Reads a file that is short, if there is a buffer to spare and such are read here.
    pub(super) fn read(
        &self,
        source: &dyn Source,
        version: Option<SourceVersion>,
        pool: &Pool,
    ) -> Option<Short> {
        let size = version?.size;
        if size > SHORT_BYTES
            || self.unread.load(Ordering::Relaxed) >= UNREAD_MAX
            || self.held.load(Ordering::Relaxed) >= HELD_BYTES_MAX
        {
            return None;
        }
        let mut into = pool.spare(size.to_len()?)?;
        // Whoever wants its bytes is told why they cannot be read.
        let count = source.read_at(Offset::ZERO, into.bytes_mut()).ok()?;
        let bytes = into.seal(count);
        let (version, all) = (source.version(), Arc::clone(&self.held));
        all.fetch_add(bytes.footprint(), Ordering::Relaxed);
        Some(Short { bytes, version, read: AtomicBool::new(false), all })
    }

    /// A file was wanted.
    pub(super) fn wanted(&self) {
        self.unread.store(0, Ordering::Relaxed);
    }

    /// A short file is let go.
    pub(super) fn let_go(&self, short: &Short) {
        if short.read.load(Ordering::Relaxed) {
            self.wanted();
        } else {
            self.unread.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// An object whose bytes are written when they are recorded, or committed.
pub struct ShortSink {
    sink: Arc<dyn Sink>,
    size: ByteCount,
    /// All of it.
    held: Mutex<Option<Piece>>,
    /// What all of a session hold,
    all: Arc<AtomicU64>,
    /// and where from.
    pool: Pool,
}

impl ShortSink {
    /// The sink of an object, if its size is that of a short one.
    pub(super) fn of(
        sink: Arc<dyn Sink>,
        size: Option<ByteCount>,
        all: &Arc<AtomicU64>,
        pool: &Pool,
    ) -> Result<Self, Arc<dyn Sink>> {
        match size {
            Some(size) if size <= SHORT_BYTES => {
                let (all, pool) = (Arc::clone(all), pool.clone());
                Ok(Self { sink, size, held: Mutex::default(), all, pool })
            }
            _ => Err(sink),
        }
    }

    /// Keeps the bytes of a piece that is the whole object; gives back what is to be written now: a
    /// part, and what there is no memory for. What was kept goes, since it came once more.
    pub fn hold(&self, at: Offset, bytes: Piece) -> Option<Piece> {
        let mut held = self.held();
        self.let_go(held.take());
        let whole = at == Offset::ZERO && ByteCount::of_len(bytes.bytes().len()) == self.size;
        let room = self.all.load(Ordering::Relaxed) < HELD_BYTES_MAX && !self.pool.is_short();
        if !whole || !room {
            return Some(bytes);
        }
        self.all.fetch_add(bytes.footprint(), Ordering::Relaxed);
        *held = Some(bytes);
        None
    }

    fn let_go(&self, held: Option<Piece>) {
        if let Some(bytes) = held {
            self.all.fetch_sub(bytes.footprint(), Ordering::Relaxed);
        }
    }

    /// Its stage, with all that was kept written.
    pub(super) fn written(&self) -> floe_store::Result<&Arc<dyn Sink>> {
        let held = self.held().take();
        let write = |bytes: &Piece| self.sink.write_at(Offset::ZERO, bytes.bytes());
        let written = held.as_ref().map_or(Ok(()), write);
        self.let_go(held);
        written.map(|()| &self.sink)
    }

    /// Its stage, for a piece that is not kept.
    pub fn stage(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.sink)
    }

    pub(super) fn record(&self, chunk: Range, digest: &ChunkDigest) -> floe_store::Result<()> {
        self.written()?.record(chunk, digest)
    }

    pub(super) fn forget(&self, range: Range) -> floe_store::Result<()> {
        self.let_go(self.held().take());
        self.sink.forget(range)
    }

    fn held(&self) -> MutexGuard<'_, Option<Piece>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ShortSink {
    fn drop(&mut self) {
        let held = self.held().take();
        self.let_go(held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Pool;

    #[derive(Default)]
    struct Noted(Mutex<Vec<(Offset, Vec<u8>)>>);

    impl Sink for Noted {
        fn write_at(&self, at: Offset, bytes: &[u8]) -> floe_store::Result<()> {
            self.0.lock().unwrap().push((at, bytes.to_vec()));
            Ok(())
        }

        fn write_hole(&self, _chunk: Range) -> floe_store::Result<()> {
            Ok(())
        }

        fn record(&self, _chunk: Range, _digest: &ChunkDigest) -> floe_store::Result<()> {
            Ok(())
        }

        fn forget(&self, _range: Range) -> floe_store::Result<()> {
            Ok(())
        }

        fn checkpoint(&self) -> floe_store::Result<()> {
            Ok(())
        }

        fn has_final_name(&self) -> bool {
            false
        }
    }

    fn piece(pool: &Pool, bytes: &[u8]) -> Piece {
        let mut blank = pool.blank(bytes.len());
        blank.bytes_mut().copy_from_slice(bytes);
        blank.seal(bytes.len())
    }

    fn short(noted: &Arc<Noted>, size: u64, all: &Arc<AtomicU64>, pool: &Pool) -> ShortSink {
        let sink = Arc::clone(noted) as Arc<dyn Sink>;
        ShortSink::of(sink, Some(ByteCount(size)), all, pool).ok().unwrap()
    }

    #[test]
    fn what_is_kept_is_written_once_and_only_a_whole_object_is_kept() {
        let (noted, all, pool) = (Arc::<Noted>::default(), Arc::default(), Pool::new(ByteCount(0)));
        let sink = short(&noted, 4, &all, &pool);
        assert!(sink.hold(Offset(1), piece(&pool, b"xyz")).is_some(), "a part is written at once");
        assert!(sink.hold(Offset(0), piece(&pool, b"old!")).is_none());
        assert!(sink.hold(Offset(0), piece(&pool, b"part")).is_none());
        sink.written().unwrap();
        sink.written().unwrap();
        assert_eq!(*noted.0.lock().unwrap(), [(Offset(0), b"part".to_vec())]);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_part_that_comes_takes_the_place_of_what_was_kept() {
        let (noted, all, pool) = (Arc::<Noted>::default(), Arc::default(), Pool::new(ByteCount(0)));
        let sink = short(&noted, 4, &all, &pool);
        assert!(sink.hold(Offset(0), piece(&pool, b"old!")).is_none());
        assert!(sink.hold(Offset(2), piece(&pool, b"ew")).is_some());
        sink.written().unwrap();
        assert!(noted.0.lock().unwrap().is_empty(), "nothing old is written over what is new");
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_session_keeps_a_bounded_amount_and_gives_it_back() {
        let (noted, all, pool) = (Arc::<Noted>::default(), Arc::default(), Pool::new(ByteCount(0)));
        let bytes = vec![7; 60 << 10];
        let sinks: Vec<_> = (0..100).map(|_| short(&noted, 60 << 10, &all, &pool)).collect();
        let hold = |sink: &&ShortSink| sink.hold(Offset(0), piece(&pool, &bytes)).is_none();
        let kept = sinks.iter().filter(hold).count() as u64;
        assert!((1..=HELD_BYTES_MAX / (60 << 10)).contains(&kept), "{kept}");
        assert_eq!(pool.held().0, kept * (64 << 10));
        drop(sinks);
        assert_eq!((all.load(Ordering::Relaxed), pool.held().0), (0, 0));
    }
}
