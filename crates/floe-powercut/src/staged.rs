//! What the journals of an area say, read in the plainest way: the bytes that a checkpoint covers
//! need not be sent again after a power loss.

use floe_store::journal::{Head, Record, SLOT_BYTES, Slot, SlotIndex};
use floe_types::RangeSet;
use std::fs;
use std::io;
use std::path::Path;

/// Names in an area that belong to no stage.
const LASTING: &str = "id";

/// The bytes that the last checkpoint of the largest stage in an area covers.
///
/// # Errors
/// The system's.
pub fn checkpointed(area: &Path) -> io::Result<u64> {
    let mut most = 0;
    for name in names(area)? {
        if name.ends_with(".journal") && stands(area, &name) {
            most = most.max(covered(&fs::read(area.join(&name))?).unwrap_or(0));
        }
    }
    Ok(most)
}

/// Whether the bytes of a journal stand beside it.
fn stands(area: &Path, journal: &str) -> bool {
    area.join(journal.replace(".journal", ".stage")).exists()
}

/// What the last checkpoint of a journal covers and no later record takes back, read slot by slot:
/// floe's own judgement of a journal is not asked. Slots that stayed blank are no excuse; one with
/// bytes of another file in it is, since it may have been any record.
fn covered(journal: &[u8]) -> Option<u64> {
    let (_, binding) = Head::decode(journal)?;
    let start = usize::try_from(binding.offset(SlotIndex(0)).0).ok()?;
    let slots = journal.get(start..)?.chunks_exact(SLOT_BYTES).zip(0..);
    let slots: Vec<_> = slots
        .filter_map(|(bytes, nth)| Some(binding.decode(SlotIndex(nth), bytes.first_chunk()?)))
        .collect();
    if slots.contains(&Slot::Bad) {
        return None;
    }
    let covered = slots.iter().rev().find_map(|slot| match slot {
        Slot::Record(Record::Checkpoint(covered)) => Some(*covered),
        _ => None,
    })?;
    let (mut sum, mut taken) = (0, RangeSet::new());
    for (nth, slot) in slots.iter().enumerate().rev() {
        let (Slot::Record(Record::Chunk(range, _)) | Slot::Record(Record::Forget(range))) = slot
        else {
            continue;
        };
        let is_chunk = matches!(slot, Slot::Record(Record::Chunk(..)));
        if is_chunk && SlotIndex(nth as u64) < covered && !taken.touches(*range) {
            sum += range.len().0;
        }
        taken.insert(*range);
    }
    Some(sum)
}

/// What the areas beneath a directory hold beyond the root's id. A journal without a stage does not
/// count: where its removal was lost it says nothing of any byte, and goes after seven days.
///
/// # Errors
/// The system's.
pub fn left(top: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(directory) = waiting.pop() {
        for name in names(&directory)? {
            let path = directory.join(&name);
            if name == ".floe" {
                let inside = names(&path)?.into_iter().filter(|one| {
                    let orphan = one.ends_with(".journal") && !stands(&path, one);
                    one != LASTING && !orphan
                });
                found.extend(inside.map(|one| format!("{}/{one}", path.display())));
            } else if path.symlink_metadata()?.is_dir() {
                waiting.push(path);
            }
        }
    }
    Ok(found)
}

fn names(directory: &Path) -> io::Result<Vec<String>> {
    let listed = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        answer => answer?,
    };
    listed.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}
