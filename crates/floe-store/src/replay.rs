//! What a journal's slots mean: which chunks are recorded, and how far each may be trusted.
//!
//! `survey` reads a journal forwards once and judges it; `replay` walks its records backwards, so
//! that later records take back earlier ones while nothing is held but the ranges already spoken
//! for. Nothing is guessed: a head that does not read is no journal, and a torn tail is cut. A slot
//! that stayed blank before others is one that a power loss took: it was not synced, so what it
//! would have taken back was not written over, and what a checkpoint covers counts as ever. Below
//! what is known to be durable, and where a slot holds anything else, every record is suspect.

use crate::api::Result;
use crate::journal::{Binding, HEAD_BYTES_MAX, Head, Record, SLOT_BYTES, Slot, SlotIndex};
use floe_types::{ByteCount, ChunkDigest, Offset, Range, RangeSet};

/// The bytes of a journal, wherever they are.
pub trait JournalBytes {
    /// How many there are.
    ///
    /// # Errors
    /// The system's.
    fn size(&self) -> Result<ByteCount>;

    /// Reads at `at` until `into` is full or the bytes end.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, at: Offset, into: &mut [u8]) -> Result<usize>;
}

/// What became of the slots.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Each reads.
    Sound,
    /// Some are blank that were never known to be durable: the power failed.
    Gapped,
    /// One among them does not read, or is not there any more: it may have been any record.
    Damaged,
}

/// How the last sync of the bytes ended, as far as the journal knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastSync {
    /// Well, or there was none.
    Good,
    /// It failed, or its process died in it: memory may show what is not on the disk.
    Unknown,
}

/// A journal that was read once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Survey {
    /// Its head.
    pub head: Head,
    /// What binds its slots.
    pub binding: Binding,
    /// The slot after the last that was written whole; what lies behind is a torn tail.
    pub end: SlotIndex,
    /// The bytes of every record below this slot are durable.
    pub covered: SlotIndex,
    /// Slots below this one are durable themselves: a checkpoint behind them was followed by
    /// another.
    pub firm: SlotIndex,
    /// How the last sync of the bytes ended.
    pub last_sync: LastSync,
    /// What became of the slots.
    pub condition: Condition,
}

/// A record that no later one takes back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Its slot.
    pub slot: SlotIndex,
    /// The chunk.
    pub range: Range,
    /// Its digest.
    pub digest: ChunkDigest,
}

const BLOCK_SLOTS: u64 = 512;

/// Reads a journal once; `None` where it has no head that reads.
///
/// # Errors
/// The system's.
pub fn survey(bytes: &dyn JournalBytes) -> Result<Option<Survey>> {
    let len = bytes.size()?;
    let mut start = vec![0; HEAD_BYTES_MAX];
    let read = bytes.read(Offset::ZERO, &mut start)?;
    let Some((head, binding)) = Head::decode(&start[..read]) else { return Ok(None) };
    let mut survey = Survey {
        head,
        binding,
        end: SlotIndex(0),
        covered: SlotIndex(0),
        firm: SlotIndex(0),
        last_sync: LastSync::Good,
        condition: Condition::Sound,
    };
    let slots = binding.slots_in(len);
    // The first blank slot of a run; the first that others follow.
    let (mut blank, mut gap, mut checkpoint) = (None, None, SlotIndex(0));
    let mut block = Block::new();
    let mut first = 0;
    while first < slots.0 {
        let count = BLOCK_SLOTS.min(slots.0 - first);
        block.load(bytes, binding, first, count)?;
        for index in first..first + count {
            match block.slot(index) {
                None => break, // the last one, torn
                Some(Slot::Blank) => {
                    blank.get_or_insert(SlotIndex(index));
                    continue;
                }
                Some(Slot::Bad) => survey.condition = Condition::Damaged,
                Some(Slot::Record(Record::Checkpoint(covered))) => {
                    (survey.covered, survey.last_sync) = (covered, LastSync::Good);
                    survey.firm = std::mem::replace(&mut checkpoint, SlotIndex(index + 1));
                }
                Some(Slot::Record(Record::Syncing)) => survey.last_sync = LastSync::Unknown,
                Some(Slot::Record(_)) => {}
            }
            gap = gap.or(blank.take());
            survey.end = SlotIndex(index + 1);
        }
        first += count;
    }
    survey.condition = match (survey.condition, gap) {
        (Condition::Sound, Some(gap)) if gap < survey.firm => Condition::Damaged,
        (Condition::Sound, Some(_)) => Condition::Gapped,
        (condition, _) => condition,
    };
    Ok(Some(survey))
}

/// Gives every record that counts, from the last to the first.
///
/// # Errors
/// The system's, and those of `visit`.
pub fn replay(
    bytes: &dyn JournalBytes,
    survey: &Survey,
    visit: &mut dyn FnMut(Recorded) -> Result<()>,
) -> Result<()> {
    let mut spoken_for = RangeSet::new();
    let mut block = Block::new();
    let mut end = survey.end.0;
    while end > 0 {
        let first = (end - 1) / BLOCK_SLOTS * BLOCK_SLOTS;
        block.load(bytes, survey.binding, first, end - first)?;
        for index in (first..end).rev() {
            let Some(Slot::Record(record)) = block.slot(index) else { continue };
            let (Record::Chunk(range, _) | Record::Forget(range)) = record else { continue };
            if let Record::Chunk(range, digest) = record
                && !spoken_for.touches(range)
            {
                visit(Recorded { slot: SlotIndex(index), range, digest })?;
            }
            spoken_for.insert(range);
        }
        end = first;
    }
    Ok(())
}

/// Some slots in memory.
struct Block {
    bytes: Vec<u8>,
    first: u64,
    binding: Option<Binding>,
}

impl Block {
    const fn new() -> Self {
        Self { bytes: Vec::new(), first: 0, binding: None }
    }

    fn load(
        &mut self,
        bytes: &dyn JournalBytes,
        binding: Binding,
        first: u64,
        count: u64,
    ) -> Result<()> {
        let len = ByteCount(count * SLOT_BYTES as u64).to_len().unwrap_or(0);
        self.bytes.resize(len, 0);
        let read = bytes.read(binding.offset(SlotIndex(first)), &mut self.bytes)?;
        self.bytes.truncate(read);
        (self.first, self.binding) = (first, Some(binding));
        Ok(())
    }

    /// The slot at `index`; `None` where its bytes end early.
    fn slot(&self, index: u64) -> Option<Slot> {
        let nth = usize::try_from(index - self.first).ok()?;
        let slot = self.bytes.get(nth * SLOT_BYTES..)?.first_chunk::<SLOT_BYTES>()?;
        Some(self.binding?.decode(SlotIndex(index), slot))
    }
}

#[cfg(test)]
mod tests;
