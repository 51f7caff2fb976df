//! When what is recorded of an entry is made durable before its end.

use floe_types::{ByteCount, Limits, Time};

/// When the next checkpoint is due.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Checkpoints {
    pub(super) unsynced: ByteCount,
    pub(super) last: Time,
    running: Running,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Running {
    No,
    Yes,
}

impl Checkpoints {
    pub(super) const fn new(now: Time) -> Self {
        Self { unsynced: ByteCount::ZERO, last: now, running: Running::No }
    }

    pub(super) fn recorded(&mut self, len: ByteCount) {
        self.unsynced = self.unsynced.plus(len);
    }

    pub(super) fn due(&self, limits: &Limits) -> Option<Time> {
        if self.running == Running::Yes || self.unsynced.0 == 0 {
            return None;
        }
        if self.unsynced >= limits.checkpoint_bytes {
            return Some(self.last);
        }
        Some(self.last.plus(limits.checkpoint))
    }

    pub(super) fn ended(&mut self, now: Time) {
        self.running = Running::No;
        self.last = now;
    }

    pub(super) fn begin(&mut self) {
        self.running = Running::Yes;
        self.unsynced = ByteCount::ZERO;
    }
}
