//! What of an earlier stage counts: its journal judged, and bytes hashed again where records alone
//! are not enough.
//!
//! Under the same boot and mount of a local file system every record counts, unless a sync began
//! and no end of it is recorded. Otherwise a power loss is assumed: records before the last
//! checkpoint count, all others only if the staged bytes still have their digest. After damage in
//! the journal that holds for every record.
//!
//! Bytes that are read to be hashed are written again: after a failed sync memory may show what the
//! disk does not hold, and would not be written by another sync.

use crate::api::{Progress, Result};
use crate::disk::Disk;
use crate::journal::Epoch;
use crate::replay::{Condition, JournalBytes, LastSync, Recorded, Survey, replay};
use crate::source::fill;
use floe_types::digest::ChunkHasher;
use floe_types::planted::{self, Bug};
use floe_types::{ByteCount, ChunkDigest, Offset, Range, RangeSet};

const READ_BYTES: usize = 1 << 20;

/// Which records count without a look at the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trust {
    /// All.
    All,
    /// Those that a checkpoint covers.
    Covered,
    /// None.
    Nothing,
}

/// How far a journal is trusted under the epoch of now.
pub(super) fn trust(survey: &Survey, now: Option<Epoch>) -> Trust {
    match survey.condition {
        _ if planted::is(Bug::TrustTheJournalAfterAPowerCut) => Trust::All,
        Condition::Damaged => Trust::Nothing,
        Condition::Sound if survey.last_sync == LastSync::Unknown => Trust::Covered,
        Condition::Sound if now.is_some() && survey.head.epoch == now => Trust::All,
        Condition::Sound => Trust::Covered,
    }
}

/// A staged file, and how it is read.
pub(super) struct Staged<'a, D: Disk> {
    pub(super) disk: &'a D,
    pub(super) file: &'a D::Handle,
    pub(super) size: ByteCount,
    /// The object's size now, if known.
    pub(super) object: Option<ByteCount>,
    pub(super) progress: Progress<'a>,
}

impl<D: Disk> Staged<'_, D> {
    /// Gives every record that counts to `keep`, later ones first, and returns the ranges of those
    /// that do not.
    pub(super) fn recover(
        &self,
        journal: &dyn JournalBytes,
        survey: &Survey,
        trust: Trust,
        keep: &mut dyn FnMut(Recorded) -> Result<()>,
    ) -> Result<RangeSet> {
        let suspect = |recorded: &Recorded| match trust {
            Trust::All => false,
            Trust::Covered => recorded.slot >= survey.covered,
            Trust::Nothing => true,
        };
        let mut total = ByteCount::ZERO;
        if trust != Trust::All {
            replay(journal, survey, &mut |recorded| {
                if suspect(&recorded) && self.fits(recorded.range) {
                    total = total.plus(recorded.range.len());
                }
                Ok(())
            })?;
        }
        let mut work = Rehash { staged: self, done: ByteCount::ZERO, total, buffer: Vec::new() };
        let mut dropped = RangeSet::new();
        replay(journal, survey, &mut |recorded| {
            let counts = self.fits(recorded.range)
                && (!suspect(&recorded) || work.digest(recorded.range) == Some(recorded.digest));
            if counts {
                return keep(recorded);
            }
            dropped.insert(recorded.range);
            Ok(())
        })?;
        Ok(dropped)
    }

    /// Whether a chunk can be one of the object as it is now: within both sizes, and short only at
    /// the end.
    fn fits(&self, chunk: Range) -> bool {
        let within = chunk.end().0 <= self.size.0;
        let whole = chunk.len().0.is_power_of_two() && chunk.len().0 >= CHUNK_BYTES_MIN;
        match self.object {
            Some(size) => within && (chunk.end().0 == size.0 || whole && chunk.end().0 < size.0),
            None => within && whole,
        }
    }
}

const CHUNK_BYTES_MIN: u64 = floe_types::ChunkSize::MIN.bytes().0;

struct Rehash<'a, D: Disk> {
    staged: &'a Staged<'a, D>,
    done: ByteCount,
    total: ByteCount,
    buffer: Vec<u8>,
}

impl<D: Disk> Rehash<'_, D> {
    /// The digest of staged bytes, which are written again; `None` where they end early.
    fn digest(&mut self, range: Range) -> Option<ChunkDigest> {
        self.buffer.resize(READ_BYTES, 0);
        let mut hasher = ChunkHasher::new(range.start());
        while hasher.len() < range.len() {
            let at = Offset(range.start().0 + hasher.len().0);
            let rest = range.len().minus(hasher.len()).to_len().unwrap_or(READ_BYTES);
            let into = &mut self.buffer[..rest.min(READ_BYTES)];
            let read = |at, into: &mut [u8]| {
                self.staged.disk.read_at(self.staged.file, at, into).map(Some)
            };
            // Bytes that cannot be read, or written, have no digest: they are sent again.
            let count = fill(at, into, read).ok().flatten().unwrap_or(0);
            let read = &into[..count];
            hasher.update(read);
            self.staged.disk.write_at(self.staged.file, at, read).ok()?;
            self.done = self.done.plus(ByteCount::of_len(count));
            (self.staged.progress)(self.done, self.total);
            if count < into.len() {
                return None;
            }
        }
        hasher.finish()
    }
}
