//! The journal of a stage, with any bytes in it.
//!
//! Checked: nothing panics; what `survey` and `replay` make of a journal is what the plainest
//! reading makes of it (`plain`); every record that counts stands in the journal, whole and under
//! its checksum; heads and records encode again to what they were. With a stage beside it
//! (`stage`): the store gives nothing as held that no valid record covers, and nothing whose bytes
//! are wrong where the journal may not be trusted.
//!
//! ```text
//! input: 0 | the bytes of a journal
//!        1 | edits of a sound journal, until the end: what 1 | where 2 | with 4
//!        3 | the same, where the process was killed and the machine is still up
//! ```

use floe_store::Result;
use floe_store::journal::{Head, SLOT_BYTES, Slot, SlotIndex};
use floe_store::replay::{JournalBytes, Recorded, Survey, replay, survey};
use floe_types::{ByteCount, Offset};

mod plain; // the plainest reading of a journal
mod stage; // a stage beside it
mod edit; // what is done to a sound journal

/// Runs one input.
pub fn run(data: &[u8]) {
    match data {
        [how, journal @ ..] if how % 2 == 0 => {
            check(journal);
        }
        [how, edits @ ..] => {
            let mut journal = stage::sound_journal();
            edit::apply(&mut journal, edits);
            if let Some(survey) = check(&journal) {
                let boot = if how & 2 == 0 { stage::Boot::Another } else { stage::Boot::TheSame };
                stage::check(&journal, &survey, boot);
            }
        }
        [] => {}
    }
}

struct Bytes<'a>(&'a [u8]);

impl JournalBytes for Bytes<'_> {
    fn size(&self) -> Result<ByteCount> {
        Ok(ByteCount::of_len(self.0.len()))
    }

    fn read(&self, at: Offset, into: &mut [u8]) -> Result<usize> {
        let start = usize::try_from(at.0).unwrap_or(usize::MAX).min(self.0.len());
        let count = into.len().min(self.0.len() - start);
        into[..count].copy_from_slice(&self.0[start..start + count]);
        Ok(count)
    }
}

/// Reads a journal in both ways.
fn check(journal: &[u8]) -> Option<Survey> {
    let read = survey(&Bytes(journal));
    let Ok(read) = read else { panic!("bytes in memory can be read: {read:?}") };
    let plain = plain::read(journal);
    let Some(survey) = read else {
        assert!(plain.is_none(), "a head that reads is passed over");
        return None;
    };
    let Some(plain) = plain else { panic!("a journal without a head is read: {survey:?}") };
    check_head(&survey.head);
    let whole = (survey.end, survey.covered, survey.last_sync, survey.condition);
    assert_eq!(whole, (plain.end, plain.covered, plain.last_sync, plain.condition));
    assert!(survey.firm <= survey.end && survey.covered <= survey.end);
    let mut counted = Vec::new();
    let replayed = replay(&Bytes(journal), &survey, &mut |recorded| {
        counted.push(recorded);
        Ok(())
    });
    assert_eq!(replayed, Ok(()));
    assert_eq!(counted, plain.counted, "what counts");
    counted.iter().for_each(|one| check_record(journal, &survey, one));
    Some(survey)
}

fn check_head(head: &Head) {
    let (bytes, binding) = head.encode();
    assert_eq!(bytes.len() % SLOT_BYTES, 0);
    assert_eq!(Head::decode(&bytes), Some((head.clone(), binding)));
}

/// A record that counts is in its slot, and encodes again to what reads the same.
fn check_record(journal: &[u8], survey: &Survey, one: &Recorded) {
    let at = survey.binding.offset(one.slot).0;
    let at = usize::try_from(at).unwrap_or(usize::MAX);
    let Some(slot) = journal.get(at..).and_then(<[u8]>::first_chunk::<SLOT_BYTES>) else {
        panic!("{one:?} is not in the journal")
    };
    let Slot::Record(record) = survey.binding.decode(one.slot, slot) else {
        panic!("{one:?} does not read")
    };
    assert_eq!(record, floe_store::journal::Record::Chunk(one.range, one.digest));
    let again = survey.binding.encode(one.slot, &record);
    assert_eq!(survey.binding.decode(one.slot, &again), Slot::Record(record));
    assert_eq!(survey.binding.decode(SlotIndex(one.slot.0 ^ 1), &again), Slot::Bad);
}
