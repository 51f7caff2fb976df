//! Space of the file system that is nobody's: no byte of an object takes from it, nor do links,
//! directories and the pages of journals.
//!
//! Asked before space is taken, and one at a time: what others are about to take counts, so that
//! many writers at once leave as much as one. Names in directories, and a journal's first page, are
//! not asked for.

use crate::disk::{Disk, DiskError, DiskResult};
use floe_types::{ByteCount, Code};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a link, a directory or a page of a journal may take.
pub(super) const PAGE: ByteCount = ByteCount(4096);

/// How much is kept free.
#[derive(Debug, Default)]
pub(super) struct Reserve {
    keep: AtomicU64,
    /// Asked for, and perhaps not taken yet.
    asked: Mutex<u64>,
}

/// Space that was asked for, until it is taken.
#[derive(Debug)]
#[must_use]
pub(super) struct Asked<'a> {
    reserve: &'a Reserve,
    bytes: u64,
}

impl Reserve {
    /// So much is kept free from now on.
    pub(super) fn set(&self, keep: ByteCount) {
        self.keep.store(keep.0, Ordering::Relaxed);
    }

    /// How much is kept free.
    pub(super) fn keep(&self) -> ByteCount {
        ByteCount(self.keep.load(Ordering::Relaxed))
    }

    /// Asks for space on the file system of `place`; what comes back is held while it is taken.
    /// `NoSpace` where that would leave too little.
    pub(super) fn ask<D: Disk>(
        &self,
        disk: &D,
        place: &D::Handle,
        bytes: ByteCount,
    ) -> DiskResult<Option<Asked<'_>>> {
        let keep = self.keep();
        if keep == ByteCount::ZERO || bytes == ByteCount::ZERO {
            return Ok(None);
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let free = disk.free_space(place)?;
        if free < keep.plus(ByteCount(*asked)).plus(bytes) {
            return Err(DiskError::new(Code::NoSpace));
        }
        *asked += bytes.0;
        Ok(Some(Asked { reserve: self, bytes: bytes.0 }))
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        *self.reserve.asked.lock().unwrap_or_else(PoisonError::into_inner) -= self.bytes;
    }
}
