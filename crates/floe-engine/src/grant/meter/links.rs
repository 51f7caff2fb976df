//! Symbolic links, which have no stage that says whether they were counted.

use super::{Load, Meter, Pending, What, Writing};
use floe_store::{Follow, OpenedEntry};
use floe_types::{Fault, ObjectPath};

impl Meter {
    /// Sets one entry aside, unless the very link stands already: what its commit brings in, and
    /// `commit` settles.
    ///
    /// # Errors
    /// `Quota`.
    pub(in crate::grant) fn link(
        &self,
        path: &ObjectPath,
        target: &[u8],
    ) -> Result<Option<Pending>, Fault> {
        if self.has_link(path, target) {
            return Ok(None);
        }
        let reserved = self.find_room(|book| book.reserve(Load::ENTRY));
        reserved.map_err(|short| short.fault(Writing(path)))?;
        Ok(Some(Pending { path: path.clone(), what: What::Link }))
    }

    /// Whether the very link stands.
    pub(in crate::grant) fn has_link(&self, path: &ObjectPath, target: &[u8]) -> bool {
        let is_same = |entry| matches!(entry, OpenedEntry::Link { target: it, .. } if it == target);
        self.store.open(path, Follow::No).is_ok_and(is_same)
    }
}
