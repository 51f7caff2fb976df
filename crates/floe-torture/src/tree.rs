//! Files and trees on disk, together with what is known of them.
//!
//! A tree is a map from names beneath its root (joined by `/`; the root itself is empty) to
//! entries. A single file is a tree with a root only.

use crate::content::{Holes, Recipe};
use crate::dice::Dice;
use crate::entry::{Entry, metadata_of};
use crate::names;
use rustix::fs::{AtFlags, CWD, FileType, Mode, Timespec, Timestamps, mknodat, utimensat};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Everything beneath a name.
pub(crate) type Tree = BTreeMap<Vec<u8>, Entry>;

/// Where a name of a tree is.
pub(crate) fn at(base: &Path, name: &[u8]) -> PathBuf {
    if name.is_empty() { base.to_owned() } else { base.join(names::os(name)) }
}

/// Makes one file.
pub(crate) fn plant_file(dice: &mut Dice, base: &Path, size: u64) -> io::Result<Tree> {
    let mut tree = Tree::new();
    tree.insert(Vec::new(), file(dice, base, size)?);
    Ok(tree)
}

/// Makes a tree of about so many entries that hold about so many bytes. With a FIFO in it, which no
/// transfer takes.
pub(crate) fn plant_tree(
    dice: &mut Dice,
    base: &Path,
    entries: u64,
    bytes: u64,
) -> io::Result<Tree> {
    let mut tree = Tree::new();
    fs::create_dir(base)?;
    let mut directories = vec![Vec::new()];
    let mut left = bytes;
    for nth in 0..entries {
        let parent = directories[dice.index(directories.len())].clone();
        let mut name = parent;
        if !name.is_empty() {
            name.push(b'/');
        }
        name.extend(names::name(dice, nth));
        let path = at(base, &name);
        match dice.below(10) {
            0 | 1 => {
                fs::create_dir(&path)?;
                directories.push(name);
            }
            2 => {
                let text = dice.of(["nowhere", "/etc/passwd", "..", "e-1", "a/b/../c"]);
                symlink(text, &path)?;
                tree.insert(name, Entry::Link(text.as_bytes().to_vec()));
            }
            _ => {
                let size = dice.scaled(bytes / 4).min(left);
                left -= size;
                tree.insert(name, file(dice, &path, size)?);
            }
        }
    }
    if dice.percent(30) {
        mknodat(CWD, base.join("fifo"), FileType::Fifo, Mode::RUSR, 0)?;
    }
    // Innermost first: what is made in a directory changes its time.
    for name in directories.into_iter().rev() {
        let path = at(base, &name);
        set_metadata(dice, &path, DIRECTORY_MODES)?;
        tree.insert(name, Entry::Directory(metadata_of(&path)?));
    }
    Ok(tree)
}

/// Makes a tree that another is to be merged into: older versions of some of its files, and one
/// file that the other has not.
pub(crate) fn plant_older(dice: &mut Dice, base: &Path, newer: &Tree) -> io::Result<Tree> {
    fs::create_dir(base)?;
    let mut tree = Tree::new();
    for (name, entry) in newer {
        let top = !name.is_empty() && !name.contains(&b'/');
        if top && matches!(entry, Entry::File { .. }) && dice.percent(50) {
            let size = dice.scaled(100_000);
            tree.insert(name.clone(), file(dice, &at(base, name), size)?);
        }
    }
    let own = b"only-here".to_vec();
    tree.insert(own.clone(), file(dice, &at(base, &own), 1000)?);
    tree.insert(Vec::new(), Entry::Directory(metadata_of(base)?));
    Ok(tree)
}

/// Makes a file whose bytes are not known to be anywhere else.
fn file(dice: &mut Dice, path: &Path, size: u64) -> io::Result<Entry> {
    let holes = if dice.percent(20) { Holes::Some } else { Holes::None };
    let root = Recipe { salt: dice.number(), size, holes }.write(path)?;
    set_metadata(dice, path, FILE_MODES)?;
    Ok(Entry::File { size, root, metadata: metadata_of(path)? })
}

const FILE_MODES: [u32; 5] = [0o644, 0o600, 0o444, 0o755, 0o640];
const DIRECTORY_MODES: [u32; 5] = [0o755, 0o700, 0o777, 0o750, 0o555];

/// Any mode of these, and any time: now, long ago, before 1970, in the future.
fn set_metadata<const N: usize>(dice: &mut Dice, path: &Path, modes: [u32; N]) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(dice.of(modes)))?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_secs()).unwrap_or(0);
    let back = i64::try_from(dice.below(40 * 365 * 86_400)).unwrap_or(0);
    let tv_sec = match dice.below(8) {
        0 => return Ok(()),
        1 => -1,
        2 => 0,
        3 => i64::from(i32::MAX) - 1,
        4 => -back,
        _ => now - back,
    };
    let tv_nsec = dice.of([0, 1, 999_999_999, 123_456_789]);
    let time = Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Every name beneath a path that is not in a tree, but for what `floe` keeps beside objects.
pub(crate) fn strangers(base: &Path, tree: &dyn Fn(&[u8]) -> bool) -> io::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut open = vec![Vec::new()];
    while let Some(directory) = open.pop() {
        let listed = match fs::read_dir(at(base, &directory)) {
            Ok(listed) => listed,
            Err(error) if is_no_directory(&error) => continue,
            Err(error) => return Err(error),
        };
        for entry in listed {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if is_no_directory(&error) => continue,
                Err(error) => return Err(error),
            };
            let mut name = directory.clone();
            if !name.is_empty() {
                name.push(b'/');
            }
            name.extend(entry.file_name().into_vec());
            if !tree(&name) {
                found.push(name.clone());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                open.push(name);
            }
        }
    }
    Ok(found)
}

fn is_no_directory(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Compare;

    #[test]
    fn a_tree_is_found_as_it_was_made_and_strangers_are_named() {
        for seed in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let base = dir.path().join("t");
            let tree = plant_tree(&mut Dice::new(seed), &base, 30, 100_000).unwrap();
            for (name, entry) in &tree {
                let found = Entry::look(&at(&base, name), &mut None).unwrap().unwrap();
                assert!(entry.agrees(&found, Compare::All), "{seed}: {entry}, found {found}");
            }
            let known = |name: &[u8]| tree.contains_key(name) || name == b"fifo";
            assert_eq!(strangers(&base, &known).unwrap(), Vec::<Vec<u8>>::new());
            let all = strangers(&base, &|_| false).unwrap();
            assert!(all.len() + 1 >= tree.len());
        }
    }
}
