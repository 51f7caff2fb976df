//! A final name, looked at all the time: whatever stands there must be a version that may.
//!
//! Before a command, what stood there may stand, or what the command brings; once it ended with
//! status 0, only that. A tree has such a set for each of its names.

use crate::entry::{Compare, Entry, Known};
use crate::tree::{Tree, at, strangers};
use floe_types::Escaped;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A final name and all beneath it.
pub(crate) struct Place {
    base: PathBuf,
    /// Whether names that nobody asked for may appear: where bits of plain frames are flipped.
    others: Others,
    names: Mutex<BTreeMap<Vec<u8>, Allowed>>,
}

/// Whether names that nobody asked for may appear.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Others {
    Refused,
    Allowed,
}

#[derive(Default)]
struct Allowed {
    versions: Vec<Entry>,
    /// Those among them that a command brings: one may be just what stood there before.
    coming: Vec<Entry>,
    absent: bool,
    known: Option<Known>,
}

impl Place {
    /// A name where this stands and nothing else may.
    pub(crate) fn new(base: PathBuf, standing: &Tree, others: Others) -> Self {
        let allowed =
            |entry: &Entry| Allowed { versions: vec![entry.clone()], ..Allowed::default() };
        let names = standing.iter().map(|(name, entry)| (name.clone(), allowed(entry))).collect();
        Self { base, others, names: Mutex::new(names) }
    }

    /// Where it is.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// From now on this may appear, too.
    pub(crate) fn expect(&self, coming: &Tree) {
        let mut names = self.lock();
        for (name, entry) in coming {
            let fresh = || Allowed { absent: true, ..Allowed::default() };
            let allowed = names.entry(name.clone()).or_insert_with(fresh);
            for list in [&mut allowed.versions, &mut allowed.coming] {
                if !list.contains(entry) {
                    list.push(entry.clone());
                }
            }
        }
    }

    /// From now on what stood there before may not: one of those that came since must.
    pub(crate) fn leave(&self, standing: &Tree) {
        for (name, allowed) in &mut *self.lock() {
            let Allowed { versions, coming, .. } = &mut *allowed;
            versions.retain(|entry| standing.get(name) != Some(entry) || coming.contains(entry));
            allowed.absent = false;
        }
    }

    /// From now on it must stand there: one of these versions, and no other.
    pub(crate) fn settle(&self, versions: &[&Tree]) {
        let mut names = self.lock();
        for (name, allowed) in &mut *names {
            let kept: Vec<Entry> =
                versions.iter().filter_map(|tree| tree.get(name)).cloned().collect();
            if !kept.is_empty() {
                allowed.versions = kept;
                allowed.absent = false;
            }
        }
    }

    /// What stands there and may not, or does not and must, in words.
    pub(crate) fn look(&self, compare: Compare) -> io::Result<Vec<String>> {
        let mut wrong = Vec::new();
        let mut names = self.lock();
        for (name, allowed) in &mut *names {
            let path = at(&self.base, name);
            let found = Entry::look(&path, &mut allowed.known)?;
            let good = match &found {
                None => allowed.absent,
                Some(found) => allowed.versions.iter().any(|one| one.agrees(found, compare)),
            };
            if !good {
                wrong.push(complaint(&path, found.as_ref(), allowed));
            }
        }
        if self.others == Others::Refused {
            for name in strangers(&self.base, &|name| names.contains_key(name))? {
                let path = at(&self.base, &name);
                wrong.push(format!("{} is a name that nobody gave", shown(&path)));
            }
        }
        Ok(wrong)
    }

    /// Whether exactly this stands there.
    pub(crate) fn holds(&self, tree: &Tree, compare: Compare) -> io::Result<bool> {
        for (name, entry) in tree {
            match Entry::look(&at(&self.base, name), &mut None)? {
                Some(found) if entry.agrees(&found, compare) => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Vec<u8>, Allowed>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A path as it may be shown.
pub(crate) fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    format!("\"{}\"", Escaped(path.as_os_str().as_bytes()))
}

fn complaint(path: &Path, found: Option<&Entry>, allowed: &Allowed) -> String {
    let found = found.map_or("nothing".to_owned(), Entry::to_string);
    let mut may: Vec<String> = allowed.versions.iter().map(Entry::to_string).collect();
    if allowed.absent {
        may.push("nothing".to_owned());
    }
    format!("{} holds {found}; expected: {}", shown(path), may.join(", or "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;
    use crate::tree::{plant_file, plant_tree};
    use std::fs;

    #[test]
    fn a_version_that_may_not_stand_there_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        let mut dice = Dice::new(2);
        let standing = plant_file(&mut dice, &old, 5000).unwrap();
        let coming = plant_file(&mut dice, &new, 5001).unwrap();
        let place = Place::new(old.clone(), &standing, Others::Refused);
        assert!(place.look(Compare::All).unwrap().is_empty());
        place.expect(&coming);
        assert!(place.look(Compare::All).unwrap().is_empty());
        place.settle(&[&coming]);
        assert_eq!(place.look(Compare::All).unwrap().len(), 1);
        fs::rename(&new, &old).unwrap();
        assert!(place.look(Compare::All).unwrap().is_empty());
        assert!(place.holds(&coming, Compare::All).unwrap());
        fs::File::options().write(true).open(&old).unwrap().set_len(100).unwrap();
        assert_eq!(place.look(Compare::Bytes).unwrap().len(), 1);
        fs::remove_file(&old).unwrap();
        let wrong = place.look(Compare::Bytes).unwrap();
        assert!(wrong[0].contains("holds nothing"), "{wrong:?}");
    }

    #[test]
    fn a_version_that_comes_again_may_stay_where_it_stood() {
        let dir = tempfile::tempdir().unwrap();
        let (base, other) = (dir.path().join("f"), dir.path().join("g"));
        let mut dice = Dice::new(3);
        let standing = plant_file(&mut dice, &base, 0).unwrap();
        let rival = plant_file(&mut dice, &other, 356).unwrap();
        let place = Place::new(base.clone(), &standing, Others::Refused);
        // The same empty file, mode and time, as the dice once had it.
        place.expect(&standing);
        place.expect(&rival);
        place.leave(&standing);
        assert!(place.look(Compare::All).unwrap().is_empty());
        let place = Place::new(base, &standing, Others::Refused);
        place.expect(&rival);
        place.leave(&standing);
        assert_eq!(place.look(Compare::All).unwrap().len(), 1);
    }

    #[test]
    fn a_stranger_in_a_tree_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let base = dir.path().join("t");
        let tree = plant_tree(&mut Dice::new(4), &base, 5, 10).unwrap();
        let _ = fs::remove_file(base.join("fifo"));
        let place = Place::new(base.clone(), &tree, Others::Refused);
        assert!(place.look(Compare::Bytes).unwrap().is_empty());
        fs::write(base.join("half"), b"x").unwrap();
        assert_eq!(place.look(Compare::Bytes).unwrap().len(), 1);
    }
}
