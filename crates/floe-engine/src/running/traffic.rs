//! What packing did in a session, both ways.

use floe_proto::command::Packed;
use floe_types::ByteCount;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Totals of a session's streams.
#[derive(Default)]
pub struct Traffic {
    bytes: AtomicU64,
    saved: AtomicU64,
    unshrunk: AtomicU64,
    /// Streams for which packing pays now.
    paying: AtomicU64,
}

/// Counts as a stream for which packing pays, while it lives.
pub struct Paying(Arc<Traffic>);

impl Drop for Paying {
    fn drop(&mut self) {
        self.0.paying.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Traffic {
    /// Packing pays for a stream.
    #[must_use]
    pub fn pays(self: &Arc<Self>) -> Paying {
        self.paying.fetch_add(1, Ordering::Relaxed);
        Paying(Arc::clone(self))
    }

    /// Whether it does for any.
    #[must_use]
    pub fn is_paying(&self) -> bool {
        self.paying.load(Ordering::Relaxed) > 0
    }

    /// A piece of so many bytes goes, or came, packed, by so many shorter.
    pub fn packed(&self, bytes: ByteCount, saved: ByteCount) {
        self.bytes.fetch_add(bytes.0, Ordering::Relaxed);
        self.saved.fetch_add(saved.0, Ordering::Relaxed);
    }

    /// One was tried and did not shrink.
    pub fn unshrunk(&self, bytes: ByteCount) {
        self.unshrunk.fetch_add(bytes.0, Ordering::Relaxed);
    }

    /// All so far.
    #[must_use]
    pub fn total(&self) -> Packed {
        let count = |of: &AtomicU64| ByteCount(of.load(Ordering::Relaxed));
        Packed {
            bytes: count(&self.bytes),
            saved: count(&self.saved),
            unshrunk: count(&self.unshrunk),
        }
    }
}
