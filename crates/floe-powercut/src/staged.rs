//! What the journals of an area say, read as floe reads them after a power loss: the bytes that a
//! checkpoint covers need not be sent again.

use floe_store::replay::{Condition, JournalBytes, replay, survey};
use floe_types::{ByteCount, Fault, Offset};
use std::fs;
use std::io;
use std::path::Path;

/// Names in an area that belong to no stage.
const LASTING: &str = "id";

struct Bytes(Vec<u8>);

impl JournalBytes for Bytes {
    fn size(&self) -> Result<ByteCount, Fault> {
        Ok(ByteCount::of_len(self.0.len()))
    }

    fn read(&self, at: Offset, into: &mut [u8]) -> Result<usize, Fault> {
        let rest = usize::try_from(at.0).ok().and_then(|at| self.0.get(at..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// The bytes that the last checkpoint of the largest stage in an area covers.
///
/// # Errors
/// The system's.
pub fn checkpointed(area: &Path) -> io::Result<u64> {
    let mut most = 0;
    for name in names(area)? {
        if name.ends_with(".journal") && stands(area, &name) {
            most = most.max(covered(&Bytes(fs::read(area.join(&name))?)).unwrap_or(0));
        }
    }
    Ok(most)
}

/// Whether the bytes of a journal stand beside it.
fn stands(area: &Path, journal: &str) -> bool {
    area.join(journal.replace(".journal", ".stage")).exists()
}

fn covered(journal: &Bytes) -> Option<u64> {
    let survey = survey(journal).ok()??;
    if survey.condition == Condition::Damaged {
        return None;
    }
    let mut sum = 0;
    let counted = replay(journal, &survey, &mut |recorded| {
        if recorded.slot < survey.covered {
            sum += recorded.range.len().0;
        }
        Ok(())
    });
    counted.ok().map(|()| sum)
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
