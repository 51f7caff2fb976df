//! Standard input of a process: bytes whose length nobody knows, that come once.
//!
//! The engine's `pipe::Input` without its thread. What was spent (the receiver recorded it) is
//! gone; what was not is kept for the next session of the same process. Another process reads from
//! the start.

use crate::content::Content;
use floe_engine::buffer::Pool;
use floe_engine::files::{Done, Op};
use floe_proto::disk::{DiskDone, DiskOp, OpenHow, Opened, Reread};
use floe_proto::frame::EntryBody;
use floe_types::{ByteCount, Code, Fault, Freshness, Metadata, Offset, Range, Subtree, Subtrees};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Standard input. Clones are the same.
#[derive(Clone)]
pub struct Stdin {
    content: Content,
    metadata: Metadata,
    spent: Arc<Mutex<Subtrees>>,
    /// Whether its end was read.
    ended: Arc<AtomicBool>,
}

impl Stdin {
    /// These bytes, for an object with these metadata.
    #[must_use]
    pub fn new(content: Content, metadata: Metadata) -> Self {
        Self { content, metadata, spent: Arc::default(), ended: Arc::default() }
    }

    /// Whether all of it was read and some of it, or all of nothing, is spent: whoever recorded
    /// that may have finished.
    #[must_use]
    pub fn may_be_finished(&self) -> bool {
        let some_spent = self.spent().iter().next().is_some() || self.content.bytes.is_empty();
        self.ended.load(Ordering::Relaxed) && some_spent
    }

    /// Does an operation of its entry that moves no bytes; `None` where it is not for this.
    #[must_use]
    pub fn perform(&self, op: &Op) -> Option<Done> {
        Some(match op {
            DiskOp::Open { how: OpenHow::Source(_), .. } => {
                let (metadata, freshness) = (self.metadata, Freshness::Fresh);
                let body = EntryBody::File {
                    size: None,
                    holes: ByteCount::ZERO,
                    version: None,
                    freshness,
                    metadata,
                };
                let reread = Reread::No { spent: self.spent().iter().collect() };
                Done::Opened(Opened::Source { body, metadata, reread, holes: Vec::new() })
            }
            DiskOp::Check { .. } => Done::Checked(None),
            DiskOp::Spend { chunk, digest, .. } => {
                // A chunk that comes back is recorded twice, and spent once.
                let _first = self.spent().insert(Subtree { range: *chunk, digest: *digest });
                DiskDone::Spent
            }
            DiskOp::Release { .. } => DiskDone::Released,
            _ => return None,
        })
    }

    /// Reads a piece; it is shorter only at the end.
    #[must_use]
    pub fn read(&self, piece: Range, pool: &Pool) -> Done {
        if self.spent().iter().any(|spent| !spent.range.intersect(piece).is_empty()) {
            return Done::Failed(Fault::new(Code::SourceGone, "read standard input again"));
        }
        let size = self.content.bytes.len();
        let at = |offset: Offset| usize::try_from(offset.0).unwrap_or(size).min(size);
        let bytes = &self.content.bytes[at(piece.start())..at(piece.end())];
        if bytes.len() < piece.len().to_len().unwrap_or(usize::MAX) {
            self.ended.store(true, Ordering::Relaxed);
        }
        let mut into = pool.blank(piece.len().to_len().unwrap_or(0));
        into.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        let (len, bytes) = (ByteCount::of_len(bytes.len()), Some(into.seal(bytes.len())));
        Done::Read { bytes, len, digest: None }
    }

    fn spent(&self) -> MutexGuard<'_, Subtrees> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
