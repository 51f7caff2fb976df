//! Short files: one job of a disk thread in place of three.
//!
//! A short source is read, and looked at again, by the job that opens it; nothing of it stays open.
//! A short object's bytes wait in memory for the job that records them.

use crate::buffer::{Piece, Pool};
use floe_store::{Result, Sink, Source};
use floe_types::{ByteCount, ChunkDigest, Offset, Range, SourceVersion};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Files up to here are short.
const SHORT_BYTES: ByteCount = ByteCount(64 << 10);
/// What the short objects of a session keep in memory at most.
const HELD_BYTES_MAX: u64 = 4 << 20;
/// After so many that nobody wanted to read, none is read until one is.
const UNREAD_MAX: u32 = 32;

/// A file that was read when it was opened.
pub struct Short {
    bytes: Piece,
    /// What was read is part of this version if it is the one it was opened as.
    version: Result<Option<SourceVersion>>,
    read: AtomicBool,
}

impl Short {
    /// Its bytes, if all of them are asked for.
    pub fn whole(&self, piece: Range) -> Option<Piece> {
        self.read.store(true, Ordering::Relaxed);
        let all = piece.start() == Offset::ZERO
            && piece.len() >= ByteCount::of_len(self.bytes.bytes().len());
        all.then(|| self.bytes.clone())
    }
}

impl Source for Short {
    fn version(&self) -> Result<Option<SourceVersion>> {
        self.version.clone()
    }

    fn read_at(&self, at: Offset, into: &mut [u8]) -> Result<usize> {
        let from = ByteCount(at.0).to_len().unwrap_or(usize::MAX);
        let rest = self.bytes.bytes().get(from..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn read_cached(&self, at: Offset, into: &mut [u8]) -> Result<Option<usize>> {
        self.read_at(at, into).map(Some)
    }
}

/// Whether the files that a session opens are read.
#[derive(Default)]
pub(super) struct Prefetch {
    /// Files in a row that were opened and not read.
    unread: AtomicU32,
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
        if size > SHORT_BYTES || self.unread.load(Ordering::Relaxed) >= UNREAD_MAX {
            return None;
        }
        let mut into = pool.spare(size.to_len()?)?;
        // Whoever wants its bytes is told why they cannot be read.
        let count = source.read_at(Offset::ZERO, into.bytes_mut()).ok()?;
        let bytes = into.seal(count);
        Some(Short { bytes, version: source.version(), read: AtomicBool::new(false) })
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
    held: Mutex<Vec<(Offset, Piece)>>,
    /// What all of a session hold.
    all: Arc<AtomicU64>,
}

impl ShortSink {
    /// Whether an object of this size is one.
    pub(super) fn is_fit_for(size: Option<ByteCount>) -> bool {
        size.is_some_and(|size| size <= SHORT_BYTES)
    }

    pub(super) fn new(sink: Arc<dyn Sink>, all: &Arc<AtomicU64>) -> Self {
        Self { sink, held: Mutex::default(), all: Arc::clone(all) }
    }

    /// Keeps bytes, those that come again in the place of what was kept; gives them back where the
    /// session keeps enough.
    pub fn hold(&self, at: Offset, bytes: Piece) -> Option<Piece> {
        let mut held = self.held();
        self.let_go(held.extract_if(.., |(other, _)| *other == at));
        if self.all.load(Ordering::Relaxed) >= HELD_BYTES_MAX {
            return Some(bytes);
        }
        self.all.fetch_add(bytes.bytes().len() as u64, Ordering::Relaxed);
        held.push((at, bytes));
        None
    }

    fn let_go(&self, held: impl IntoIterator<Item = (Offset, Piece)>) {
        for (_, bytes) in held {
            self.all.fetch_sub(bytes.bytes().len() as u64, Ordering::Relaxed);
        }
    }

    /// Its stage, with all that was kept written.
    pub(super) fn written(&self) -> Result<&Arc<dyn Sink>> {
        let held = std::mem::take(&mut *self.held());
        let mut each = held.iter();
        let written = each.try_for_each(|(at, bytes)| self.sink.write_at(*at, bytes.bytes()));
        self.let_go(held);
        written.map(|()| &self.sink)
    }

    /// Its stage, for a piece that is not kept.
    pub fn stage(&self) -> Arc<dyn Sink> {
        Arc::clone(&self.sink)
    }

    pub(super) fn record(&self, chunk: Range, digest: &ChunkDigest) -> Result<()> {
        self.written()?.record(chunk, digest)
    }

    pub(super) fn forget(&self, range: Range) -> Result<()> {
        let within = |at: Offset| range.start() <= at && at < range.end();
        self.let_go(self.held().extract_if(.., |(at, _)| within(*at)));
        self.sink.forget(range)
    }

    fn held(&self) -> MutexGuard<'_, Vec<(Offset, Piece)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ShortSink {
    fn drop(&mut self) {
        let held = std::mem::take(&mut *self.held());
        self.let_go(held);
    }
}
