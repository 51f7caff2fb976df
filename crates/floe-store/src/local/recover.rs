//! What of an earlier stage counts: its journal judged, and bytes hashed again where records alone
//! are not enough.
//!
//! Under the same boot and mount of a local file system every record counts, unless a sync began
//! and no end of it is recorded, or slots are missing. Otherwise a power loss is assumed: records
//! before the last checkpoint count, all others only if the staged bytes still have their digest.
//! After damage in the journal that holds for every record.
//!
//! Bytes that are read to be hashed are written again: after a failed sync memory may show what the
//! disk does not hold, and would not be written by another sync. A chunk of zeros is made a hole
//! again instead, so that a sparse file takes no more space than before.

use crate::api::{Progress, Result};
use crate::disk::{Disk, DiskResult};
use crate::journal::Epoch;
use crate::local::hole;
use crate::local::reserve::Reserve;
use crate::replay::{Condition, JournalBytes, LastSync, Recorded, Survey, replay};
use crate::source::fill;
use floe_types::digest::ChunkHasher;
use floe_types::planted::{self, Bug};
use floe_types::{ByteCount, ChunkDigest, Range, RangeSet};

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
        Condition::Gapped => Trust::Covered,
        Condition::Sound
            if survey.last_sync == LastSync::Unknown
                && !planted::is(Bug::TrustARetryOfAFailedSync) =>
        {
            Trust::Covered
        }
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
    pub(super) reserve: &'a Reserve,
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
        let mut forgets = planted::is(Bug::ForgetTheLastRecordedChunk);
        replay(journal, survey, &mut |recorded| {
            let counts = !std::mem::take(&mut forgets)
                && self.fits(recorded.range)
                && (!suspect(&recorded) || work.stands(&recorded).unwrap_or(false));
            if counts {
                return keep(recorded);
            }
            dropped.insert(recorded.range);
            Ok(())
        })?;
        Ok(dropped)
    }

    /// Whether a chunk can be one of the object as it is now: within both sizes, and short only at
    /// the end. Of an object of unknown size that is the end of what is staged: its source had come
    /// to its own end, and cannot give those bytes again.
    fn fits(&self, chunk: Range) -> bool {
        let within = chunk.end().0 <= self.size.0;
        let whole = chunk.len().0.is_power_of_two() && chunk.len().0 >= CHUNK_BYTES_MIN;
        match self.object {
            Some(size) => within && (chunk.end().0 == size.0 || whole && chunk.end().0 < size.0),
            None => within && (whole || chunk.end().0 == self.size.0),
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
    /// Whether the staged bytes are those that were recorded, and were written again. Bytes that
    /// cannot be read, or written, are not: they are sent again.
    fn stands(&mut self, recorded: &Recorded) -> DiskResult<bool> {
        let range = recorded.range;
        self.buffer.resize(READ_BYTES, 0);
        let (mut at, mut expected) = (range.start(), Expected::Unknown);
        let mut hasher = ChunkHasher::new(range.start());
        while at < range.end() {
            let rest = Range::new(at, range.end()).len().to_len().unwrap_or(READ_BYTES);
            let into = &mut self.buffer[..rest.min(READ_BYTES)];
            let read = |at, into: &mut [u8]| {
                self.staged.disk.read_at(self.staged.file, at, into).map(Some)
            };
            let count = fill(at, into, read)?.unwrap_or(0);
            let read = &into[..count];
            let is_zeros = read.iter().all(|byte| *byte == 0);
            if expected == Expected::Unknown {
                let hole = is_zeros && ChunkDigest::of_zeros(range) == Some(recorded.digest);
                expected = if hole { Expected::Zeros } else { Expected::Bytes };
            }
            if count < into.len() || (expected == Expected::Zeros && !is_zeros) {
                return Ok(false);
            }
            if expected == Expected::Bytes {
                hasher.update(read);
                self.staged.disk.write_at(self.staged.file, at, read)?;
            }
            at = at.plus(ByteCount::of_len(count));
            self.done = self.done.plus(ByteCount::of_len(count));
            (self.staged.progress)(self.done, self.total);
        }
        match expected {
            Expected::Zeros => {
                hole::make(self.staged.disk, self.staged.file, range, self.staged.reserve)
                    .map(|()| true)
            }
            Expected::Bytes | Expected::Unknown => Ok(hasher.finish() == Some(recorded.digest)),
        }
    }
}

/// What a chunk was recorded as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    Unknown,
    Bytes,
    Zeros,
}
