//! What the last looks at the file of tickets gave.

use super::Entry;
use crate::ticket::TicketId;
use floe_types::Fault;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// What the last looks at the file gave.
#[derive(Clone, Debug)]
pub(super) struct Known {
    /// The entries when the file could be read last: by them sessions that run are judged.
    pub(super) entries: Arc<Entries>,
    /// Why the file cannot be read now: then nobody is let in.
    pub(super) unread: Option<Unread>,
}

/// That another file stands there than the one that was read, or may, and cannot be read.
#[derive(Clone, Debug)]
pub(super) struct Unread {
    pub(super) why: Fault,
    /// When that was seen first.
    pub(super) since: Instant,
    /// And when last.
    pub(super) until: Instant,
}

impl Known {
    pub(super) fn readable(self) -> Result<Arc<Entries>, Fault> {
        self.unread.map_or(Ok(self.entries), |unread| Err(unread.why))
    }
}

/// The entries in the order they were made, and where each id stands.
#[derive(Debug, Default)]
pub(super) struct Entries {
    pub(super) list: Vec<Entry>,
    pub(super) by_id: BTreeMap<TicketId, usize>,
}

impl Entries {
    pub(super) fn new(list: Vec<Entry>) -> Self {
        let by_id = list.iter().enumerate().map(|(nth, entry)| (entry.id, nth)).collect();
        Self { list, by_id }
    }

    pub(super) fn get(&self, id: TicketId) -> Option<&Entry> {
        self.list.get(*self.by_id.get(&id)?)
    }
}
