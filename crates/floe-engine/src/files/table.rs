//! What is open: entries, their handles, and where their long writes queue.

use super::{Handle, lock, not_open};
use crate::customer::Customer;
use crate::descriptors::Slot;
use crate::disk_threads::{Crew, Strand};
use floe_types::{EntryId, Fault, TransferId};
use std::collections::HashMap;
use std::sync::Mutex;

/// The open entries of a session.
#[derive(Default)]
pub(super) struct Table(Mutex<HashMap<EntryId, Row>>);

struct Row {
    handle: Handle,
    /// While it takes a descriptor.
    slot: Option<Slot>,
    /// Where its long writes queue, once there was one.
    strand: Option<Strand>,
}

impl Table {
    pub(super) fn add(&self, entry: EntryId, handle: Handle, slot: Option<Slot>) {
        lock(&self.0).insert(entry, Row { handle, slot, strand: None });
    }

    pub(super) fn take(&self, entry: EntryId) -> Option<(Handle, Option<Slot>)> {
        lock(&self.0).remove(&entry).map(|row| (row.handle, row.slot))
    }

    pub(super) fn handle(&self, entry: EntryId) -> Result<Handle, Fault> {
        lock(&self.0).get(&entry).map(|row| row.handle.clone()).ok_or_else(|| not_open(entry))
    }

    pub(super) fn strand(
        &self,
        entry: EntryId,
        crew: &Crew,
        customer: Customer,
    ) -> Result<Strand, Fault> {
        let mut rows = lock(&self.0);
        let row = rows.get_mut(&entry).ok_or_else(|| not_open(entry))?;
        Ok(row.strand.get_or_insert_with(|| Strand::new(crew, customer)).clone())
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.0).len()
    }

    /// Whether nothing of a transfer is open.
    pub(super) fn has_none_of(&self, transfer: TransferId) -> bool {
        lock(&self.0).keys().all(|entry| entry.transfer != transfer)
    }

    pub(super) fn clear(&self) {
        // Dropped outside the lock.
        let rows = std::mem::take(&mut *lock(&self.0));
        drop(rows);
    }
}
