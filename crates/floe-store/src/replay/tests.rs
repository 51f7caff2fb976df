use super::*;
use crate::api::OwnerId;
use crate::journal::Lineage;
use floe_types::{ChainingValue, Freshness, ObjectPath, Root};
use proptest::prelude::*;
use std::collections::BTreeMap;

const GRAIN: u64 = 256 * 1024;

impl JournalBytes for Vec<u8> {
    fn size(&self) -> Result<ByteCount> {
        Ok(ByteCount::of_len(self.len()))
    }

    fn read(&self, at: Offset, into: &mut [u8]) -> Result<usize> {
        let start = usize::try_from(at.0).unwrap().min(self.len());
        let count = into.len().min(self.len() - start);
        into[..count].copy_from_slice(&self[start..start + count]);
        Ok(count)
    }
}

fn head() -> Head {
    Head {
        id: [1; 16],
        epoch: None,
        path: ObjectPath::parse(b"x").unwrap(),
        owner: OwnerId([2; 32]),
        size: None,
        version: None,
        freshness: Freshness::Settled,
        lineage: Lineage::Own,
        birth: None,
    }
}

fn journal(records: &[Record]) -> Vec<u8> {
    let (mut bytes, binding) = head().encode();
    for (nth, record) in records.iter().enumerate() {
        bytes.extend_from_slice(&binding.encode(SlotIndex(nth as u64), record));
    }
    bytes
}

fn range(nth: u64) -> Range {
    Range::new(Offset(nth * GRAIN), Offset((nth + 1) * GRAIN))
}

fn chunk(nth: u64, tag: u8) -> Record {
    let root = (nth == 0).then_some(Root([tag; 32]));
    Record::Chunk(range(nth), ChunkDigest { value: ChainingValue([tag; 32]), root })
}

fn counts(bytes: &Vec<u8>) -> Option<(Survey, BTreeMap<u64, u8>)> {
    let survey = survey(bytes).unwrap()?;
    let mut found = BTreeMap::new();
    replay(bytes, &survey, &mut |recorded| {
        let nth = recorded.range.start().0 / GRAIN;
        assert_eq!(found.insert(nth, recorded.digest.value.0[0]), None);
        Ok(())
    })
    .unwrap();
    Some((survey, found))
}

/// What the first `len` records mean, by the plainest reading.
fn model(records: &[Record]) -> BTreeMap<u64, u8> {
    let mut live = BTreeMap::new();
    for record in records {
        match record {
            Record::Chunk(range, digest) => {
                live.insert(range.start().0 / GRAIN, digest.value.0[0]);
            }
            Record::Forget(range) => {
                live.retain(|nth, _| self::range(*nth).intersect(*range).is_empty());
            }
            Record::Checkpoint(_) | Record::Syncing => {}
        }
    }
    live
}

fn sample() -> Vec<Record> {
    vec![
        chunk(0, 1),
        chunk(1, 2),
        Record::Checkpoint(SlotIndex(2)),
        chunk(2, 3),
        Record::Forget(range(1)),
        chunk(1, 4),
        Record::Checkpoint(SlotIndex(5)),
        chunk(3, 5),
    ]
}

#[test]
fn every_prefix_means_its_whole_records() {
    let records = sample();
    let bytes = journal(&records);
    let head_bytes = bytes.len() - records.len() * SLOT_BYTES;
    for len in 0..=bytes.len() {
        let prefix = bytes[..len].to_vec();
        let Some((survey, found)) = counts(&prefix) else {
            assert!(len < head_bytes, "a whole head reads");
            continue;
        };
        let whole = (len - head_bytes) / SLOT_BYTES;
        assert_eq!(survey.end, SlotIndex(whole as u64));
        assert_eq!(survey.condition, Condition::Sound);
        assert_eq!(found, model(&records[..whole]));
        let covered = match whole {
            0..=2 => 0,
            3..=6 => 2,
            _ => 5,
        };
        assert_eq!(survey.covered, SlotIndex(covered));
    }
}

#[test]
fn a_flipped_byte_anywhere_is_never_taken_for_a_record() {
    let records = sample();
    let bytes = journal(&records);
    let head_bytes = bytes.len() - records.len() * SLOT_BYTES;
    for nth in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[nth] ^= 0x40;
        match counts(&changed) {
            None => assert!(nth < head_bytes),
            Some((survey, _)) => {
                assert!(nth >= head_bytes);
                assert_eq!(survey.condition, Condition::Damaged, "byte {nth}");
            }
        }
    }
}

#[test]
fn zeros_behind_the_last_record_are_a_tail_and_below_what_is_durable_damage() {
    let mut bytes = journal(&sample());
    bytes.resize(bytes.len() + 3 * SLOT_BYTES + 7, 0);
    let (survey, found) = counts(&bytes).unwrap();
    assert_eq!((survey.end, survey.condition), (SlotIndex(8), Condition::Sound));
    assert_eq!(found, model(&sample()));
    for (nth, condition) in [(1, Condition::Damaged), (4, Condition::Gapped)] {
        let mut bytes = journal(&sample());
        let blank = bytes.len() - (sample().len() - nth) * SLOT_BYTES;
        bytes[blank..blank + SLOT_BYTES].fill(0);
        assert_eq!(counts(&bytes).unwrap().0.condition, condition, "slot {nth}");
    }
}

#[test]
fn what_a_power_loss_took_before_later_records_leaves_what_the_last_checkpoint_covers() {
    let records = sample();
    for nth in 0..records.len() - 1 {
        let mut bytes = journal(&records);
        let blank = bytes.len() - (records.len() - nth) * SLOT_BYTES;
        bytes[blank..blank + SLOT_BYTES].fill(0);
        let (survey, found) = counts(&bytes).unwrap();
        // Slots below 3 are durable: the first checkpoint was followed by another.
        let durable = nth < 2;
        let expected = if durable { Condition::Damaged } else { Condition::Gapped };
        assert_eq!(survey.condition, expected, "slot {nth}");
        let rest = records.iter().enumerate().filter(|(at, _)| *at != nth);
        let rest: Vec<_> = rest.map(|(_, record)| *record).collect();
        assert_eq!(found, model(&rest), "slot {nth}");
    }
}

proptest! {
    #[test]
    fn agrees_with_the_plainest_reading(
        ops in prop::collection::vec((0u8..4, 0u64..12, 0u64..4), 0..1500),
    ) {
        let records: Vec<_> = ops.iter().enumerate().map(|(nth, (op, at, len))| match op {
            0 | 1 => chunk(*at, u8::try_from(nth % 251).unwrap()),
            2 => Record::Forget(Range::new(range(*at).start(), range(at + len).end())),
            _ => Record::Checkpoint(SlotIndex(nth as u64)),
        }).collect();
        let (survey, found) = counts(&journal(&records)).unwrap();
        prop_assert_eq!(survey.end, SlotIndex(records.len() as u64));
        prop_assert_eq!(found, model(&records));
    }
}
