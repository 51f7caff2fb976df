//! Who reads which file here, by inode: only the last reader of a file may let go of its page
//! cache.
//!
//! Two files with one inode number on two file systems count as one: then a cache stays that could
//! have gone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The readers of all big files of one store.
#[derive(Default)]
pub(crate) struct Readers {
    by_inode: Mutex<BTreeMap<u64, usize>>,
}

/// One of them; leaves on drop.
pub(super) struct Reading {
    readers: Arc<Readers>,
    inode: u64,
}

impl Readers {
    pub(super) fn enter(self: &Arc<Self>, inode: u64) -> Reading {
        self.with(|by_inode| *by_inode.entry(inode).or_insert(0) += 1);
        Reading { readers: Arc::clone(self), inode }
    }

    fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<u64, usize>) -> T) -> T {
        act(&mut self.by_inode.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Reading {
    pub(super) fn is_alone(&self) -> bool {
        self.readers.with(|by_inode| by_inode.get(&self.inode) == Some(&1))
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.readers.with(|by_inode| match by_inode.get_mut(&self.inode) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                by_inode.remove(&self.inode);
            }
        });
    }
}
