//! What a task sends, and what is done to it while it is read.
//!
//! Every version that it ever had is told to the final name before it is there. A change in place
//! is one call of the system that touches one page at most, so that whoever reads meanwhile sees
//! one version or the other.

use crate::case::{Case, lock};
use crate::content::Root;
use crate::dice::Dice;
use crate::entry::{Entry, Metadata, metadata_of};
use crate::place::Place;
use crate::plan::Change;
use crate::tree::{Tree, plant_file};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A file or tree that a task sends.
pub(crate) struct Source {
    path: PathBuf,
    /// No version that takes its name is larger.
    most: u64,
    state: Mutex<State>,
}

struct State {
    /// The versions that whoever reads now may have seen; the present one last.
    versions: Vec<Tree>,
    changes: u64,
    changed: Option<Instant>,
    done: bool,
}

/// Two changes within one tick of a file system's clock could leave the same stamps.
const APART: Duration = Duration::from_millis(60);
const PAGE: u64 = 4096;

impl Source {
    /// What stands at a path, and is known.
    pub(crate) fn new(path: PathBuf, tree: Tree) -> Self {
        let most = tree.values().map(Entry::size).max().unwrap_or(0);
        let state = State { versions: vec![tree], changes: 0, changed: None, done: false };
        Self { path, most, state: Mutex::new(state) }
    }

    /// Its present version.
    pub(crate) fn present(&self) -> Tree {
        lock(&self.state).versions.last().cloned().unwrap_or_default()
    }

    /// How often it changed.
    pub(crate) fn changes(&self) -> u64 {
        lock(&self.state).changes
    }

    /// A command begins to read it.
    pub(crate) fn begin(&self) {
        let mut state = lock(&self.state);
        let last = state.versions.len().saturating_sub(1);
        state.versions.drain(..last);
    }

    /// The command ended well: what it may have read. Where that is one version only, it does not
    /// change any more.
    pub(crate) fn end(&self) -> Vec<Tree> {
        let mut state = lock(&self.state);
        state.done = state.versions.len() == 1;
        state.versions.clone()
    }

    /// Changes it, unless it is done or changed a moment ago.
    pub(crate) fn change(
        &self,
        case: &Case,
        place: &Place,
        change: Change,
        dice: &mut Dice,
    ) -> io::Result<()> {
        let mut state = lock(&self.state);
        let soon = state.changed.is_some_and(|at| at.elapsed() < APART);
        if state.done || soon {
            return Ok(());
        }
        let size = fs::metadata(&self.path)?.len();
        let next = match change {
            Change::Replace => {
                let beside = self.path.with_file_name(format!("beside-{:x}", dice.number()));
                let next = plant_file(dice, &beside, dice.clone().scaled(self.most))?;
                place.expect(&next);
                fs::rename(&beside, &self.path)?;
                next
            }
            Change::Truncate => {
                let len = dice.below(size.max(1));
                let next = self.version(&[], 0, len)?;
                place.expect(&next);
                self.writable()?.set_len(len)?;
                next
            }
            Change::Append => {
                let room = PAGE - size % PAGE;
                let bytes = noise(dice, dice.clone().between(1, room));
                self.write(place, &bytes, size, size)?
            }
            Change::Patch => {
                let at = dice.below(size.max(1));
                let room = (PAGE - at % PAGE).min(size - at).max(1);
                let bytes = noise(dice, dice.clone().between(1, room));
                self.write(place, &bytes, at, size)?
            }
        };
        case.count("sources changed");
        case.note(&format_args!("{change:?} of {}", crate::place::shown(&self.path)));
        state.versions.push(next);
        state.changes += 1;
        state.changed = Some(Instant::now());
        Ok(())
    }

    /// Writes within one page of a file of `size`, which succeeds whole or not at all; says what it
    /// became. A full disk takes no byte, and stamps the file all the same.
    fn write(&self, place: &Place, bytes: &[u8], at: u64, size: u64) -> io::Result<Tree> {
        let stamped = self.version(&[], 0, size)?;
        let written = self.version(bytes, at, size.max(at + bytes.len() as u64))?;
        place.expect(&stamped);
        place.expect(&written);
        let took = self.writable()?.write_all_at(bytes, at);
        Ok(if took.is_ok() { written } else { stamped })
    }

    fn writable(&self) -> io::Result<File> {
        File::options().write(true).open(&self.path)
    }

    /// The version that it will be with some bytes at an offset, and so long. Its time is not known
    /// yet.
    fn version(&self, bytes: &[u8], at: u64, len: u64) -> io::Result<Tree> {
        let mut all = Vec::new();
        File::open(&self.path)?.read_to_end(&mut all)?;
        all.resize(usize::try_from(len).unwrap_or(usize::MAX), 0);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(part) = all.get_mut(at..at.saturating_add(bytes.len())) {
            part.copy_from_slice(bytes);
        }
        let root: Root = blake3::hash(&all);
        let mode = metadata_of(&self.path)?.mode;
        let metadata = Metadata { mode, mtime: None };
        Ok(Tree::from([(Vec::new(), Entry::File { size: len, root, metadata })]))
    }
}

fn noise(dice: &mut Dice, len: u64) -> Vec<u8> {
    (0..len).map(|_| dice.number().to_le_bytes()[0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Compare;
    use crate::place::Others;

    #[test]
    fn every_change_leads_to_the_version_that_was_told_before() {
        let dir = tempfile::tempdir().unwrap();
        let case = Case::new(0, &dir.path().join("trace")).unwrap();
        let kinds = [Change::Replace, Change::Truncate, Change::Append, Change::Patch];
        for (nth, change) in kinds.into_iter().cycle().take(40).enumerate() {
            let mut dice = Dice::new(nth as u64);
            let path = dir.path().join(nth.to_string());
            let size = 1 + dice.scaled(20_000);
            let tree = plant_file(&mut dice, &path, size).unwrap();
            let place = Place::new(path.clone(), &tree, Others::Refused);
            let source = Source::new(path.clone(), tree.clone());
            source.begin();
            source.change(&case, &place, change, &mut dice).unwrap();
            let versions = source.end();
            assert_eq!((versions.len(), source.changes()), (2, 1));
            assert!(place.look(Compare::Files).unwrap().is_empty(), "{change:?}");
            let present = Place::new(path, &source.present(), Others::Refused);
            assert!(present.look(Compare::Files).unwrap().is_empty(), "{change:?}");
            source.begin();
            assert_eq!(source.end().len(), 1);
            source.change(&case, &place, change, &mut dice).unwrap();
            assert_eq!(source.changes(), 1, "done");
        }
    }
}
