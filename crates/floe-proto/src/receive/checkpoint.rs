//! When what is recorded of an entry is made durable before its end.

use super::Receiver;
use super::entry::{RecvEntry, Stage};
use crate::disk::{DiskOp, Lane};
use crate::io::{Io, ReceiveOp};
use floe_types::{ByteCount, EntryIndex, Limits, Time};

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

    fn due(&self, limits: &Limits) -> Option<Time> {
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

    fn begin(&mut self) {
        self.running = Running::Yes;
        self.unsynced = ByteCount::ZERO;
    }
}

impl RecvEntry {
    /// When the next checkpoint is due: only while chunks come. The last one, of an entry that
    /// ends, is not timed.
    pub(super) fn checkpoint_due(&self, limits: &Limits) -> Option<Time> {
        (self.stage == Stage::Open).then(|| self.checkpoint.due(limits)).flatten()
    }
}

impl Receiver {
    pub(super) fn checkpoint<P: Clone>(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let id = self.entry_id(index);
        let Some(entry) = self.entries.get_mut(&index) else { return };
        if entry.stage != Stage::Open {
            return;
        }
        entry.checkpoint.begin();
        let op = DiskOp::Checkpoint { entry: id };
        self.submit(index, Lane::Session, op, ReceiveOp::Checkpoint(index), io);
    }
}
