//! A journal read as its module says, without a thought for time or memory.

use floe_store::journal::{Head, Record, SLOT_BYTES, Slot, SlotIndex};
use floe_store::replay::{Condition, LastSync, Recorded};
use floe_types::Range;

/// What a journal says.
#[derive(Debug)]
pub struct Plain {
    /// The slot behind the last that is not blank.
    pub end: SlotIndex,
    /// What the last checkpoint covers.
    pub covered: SlotIndex,
    /// How the last sync ended.
    pub last_sync: LastSync,
    /// Whether every slot reads, and what is known to be durable is there.
    pub condition: Condition,
    /// The records that count, later ones first.
    pub counted: Vec<Recorded>,
}

/// Reads a journal.
pub fn read(journal: &[u8]) -> Option<Plain> {
    let (_, binding) = Head::decode(journal)?;
    let start = usize::try_from(binding.offset(SlotIndex(0)).0).ok()?;
    let whole = journal.get(start..)?.chunks_exact(SLOT_BYTES);
    let mut slots: Vec<Slot> = whole
        .zip(0..)
        .filter_map(|(bytes, nth)| Some(binding.decode(SlotIndex(nth), bytes.first_chunk()?)))
        .collect();
    while slots.last() == Some(&Slot::Blank) {
        slots.pop();
    }
    let records = || {
        slots.iter().enumerate().filter_map(|(nth, slot)| match slot {
            Slot::Record(record) => Some((SlotIndex(nth as u64), *record)),
            _ => None,
        })
    };
    let mut covered = records().filter_map(|(_, record)| match record {
        Record::Checkpoint(covered) => Some(covered),
        _ => None,
    });
    let mut last_sync = records().filter_map(|(_, record)| match record {
        Record::Checkpoint(_) => Some(LastSync::Good),
        Record::Syncing => Some(LastSync::Unknown),
        _ => None,
    });
    let checkpoints = || records().filter(|(_, one)| matches!(one, Record::Checkpoint(_)));
    let firm = checkpoints().rev().nth(1).map_or(0, |(slot, _)| slot.0 + 1);
    let is_lost = |nth: u64| slots.get(usize::try_from(nth).unwrap_or(0)) == Some(&Slot::Blank);
    let condition = if slots.contains(&Slot::Bad) || (0..firm).any(is_lost) {
        Condition::Damaged
    } else if slots.contains(&Slot::Blank) {
        Condition::Gapped
    } else {
        Condition::Sound
    };
    let touches = |range: Range, record: Record| match record {
        Record::Chunk(other, _) | Record::Forget(other) => !other.intersect(range).is_empty(),
        _ => false,
    };
    let mut counted: Vec<Recorded> = records()
        .enumerate()
        .filter_map(|(nth, (slot, record))| match record {
            Record::Chunk(range, digest) => {
                let mut later = records().skip(nth + 1);
                let is_taken_back = later.any(|(_, other)| touches(range, other));
                (!is_taken_back).then_some(Recorded { slot, range, digest })
            }
            _ => None,
        })
        .collect();
    counted.reverse();
    Some(Plain {
        end: SlotIndex(slots.len() as u64),
        covered: covered.next_back().unwrap_or_default(),
        last_sync: last_sync.next_back().unwrap_or(LastSync::Good),
        condition,
        counted,
    })
}
