//! Stages of the same path and owner: found by their names, taken by their locks, removed when the
//! object is committed.

use super::key::Key;
use super::remove as remove_file;
use crate::api::SinkSpec;
use crate::disk::{Access, Disk, DiskResult, Lock};
use crate::local::area::{STAGE_MODE, name};
use floe_types::Code;
use floe_types::planted::{self, Bug};
use std::collections::BTreeSet;

const PAGE_NAMES: usize = 1024;
/// So many stages are removed after one batch; the rest goes with the next, or when it is old.
const REMOVED_MAX: usize = 1024;

/// What became of a stage that was to be owned.
pub(super) enum Taken<H> {
    Ours(H),
    Missing,
    HeldElsewhere,
}

/// Opens and locks the staged file of a key.
pub(super) fn take<D: Disk>(disk: &D, area: &D::Handle, key: &Key) -> DiskResult<Taken<D::Handle>> {
    let file_name = key.stage();
    let file_name = name(&file_name)?;
    let file = match disk.open_file(area, file_name, Access::ReadWrite) {
        Err(error) if error.code() == Code::NotFound => return Ok(Taken::Missing),
        answer => answer?,
    };
    let lock = disk.try_lock(&file)?;
    if lock == Lock::HeldElsewhere && !planted::is(Bug::LetASecondWriterIn) {
        return Ok(Taken::HeldElsewhere);
    }
    // Between open and lock its owner may have committed or removed it.
    match disk.stat_at(area, file_name) {
        Ok(stands) if stands.inode == disk.stat(&file)?.inode => {
            if stands.links == 1 {
                return Ok(Taken::Ours(file));
            }
            // Its owner died between the two steps of a rename: it is the object that stands.
            remove_files(disk, area, key)?;
            Ok(Taken::Missing)
        }
        Err(error) if error.code() != Code::NotFound => Err(error),
        _ => Ok(Taken::Missing),
    }
}

/// The keys of at most about `max` files in an area that `of` picks.
pub(super) fn keys<D: Disk>(
    disk: &D,
    area: &D::Handle,
    max: usize,
    of: impl Fn(&[u8]) -> Option<Key>,
) -> DiskResult<Vec<Key>> {
    let (mut found, mut from) = (Vec::new(), None);
    loop {
        let page = disk.list(area, from, PAGE_NAMES)?;
        found.extend(page.names.iter().filter_map(|file| of(file)));
        from = page.next;
        if from.is_none() || found.len() >= max {
            return Ok(found);
        }
    }
}

/// Removes a stage that nobody owns, or what is left of it: owned first, since another process may
/// begin it at this moment.
pub(super) fn remove<D: Disk>(disk: &D, area: &D::Handle, key: &Key) -> DiskResult<()> {
    match take(disk, area, key)? {
        Taken::Ours(_lock) => remove_files(disk, area, key),
        Taken::Missing => match create(disk, area, key)? {
            Some(_lock) => remove_files(disk, area, key),
            None => Ok(()),
        },
        Taken::HeldElsewhere => Ok(()),
    }
}

/// Before a staged file is made where none stands: a journal there says that one stood and was
/// renamed, maybe not durably. A power loss could keep the new name, and lose the rename and with
/// it what is staged.
pub(super) fn settle<D: Disk>(disk: &D, area: &D::Handle, key: &Key) -> DiskResult<()> {
    match disk.stat_at(area, name(&key.journal())?) {
        Err(error) if error.code() == Code::NotFound => Ok(()),
        answer => answer.and_then(|_| disk.sync_directory(area)),
    }
}

/// Makes and locks the staged file of a key, where there is none.
pub(super) fn create<D: Disk>(
    disk: &D,
    area: &D::Handle,
    key: &Key,
) -> DiskResult<Option<D::Handle>> {
    let stage = key.stage();
    let file = match disk.create_file(area, name(&stage)?, STAGE_MODE) {
        Err(error) if error.code() == Code::Exists => return Ok(None),
        answer => answer?,
    };
    let owned = disk.try_lock(&file)? == Lock::Taken && disk.stat(&file)?.links > 0;
    Ok(owned.then_some(file))
}

/// Removes the files of a stage that is locked here.
pub(super) fn remove_files<D: Disk>(disk: &D, area: &D::Handle, key: &Key) -> DiskResult<()> {
    remove_file(disk, area, &key.journal())?;
    // Of a process that died while it took the stage over.
    remove_file(disk, area, &key.rewrite())?;
    remove_file(disk, area, &key.stage()).map(drop)
}

/// Removes every stage of these objects that nobody owns, and what is left of one: they are
/// committed.
pub(in crate::local) fn remove_all<D: Disk>(
    disk: &D,
    area: &D::Handle,
    committed: &[&SinkSpec],
) -> DiskResult<()> {
    let staged: BTreeSet<_> = keys(disk, area, REMOVED_MAX, Key::of_any)?.into_iter().collect();
    if staged.is_empty() {
        return Ok(());
    }
    let committed: Vec<_> = committed.iter().map(|spec| Key::of(spec)).collect();
    staged
        .iter()
        .filter(|staged| committed.iter().any(|key| key.is_of_the_same(staged)))
        .try_for_each(|key| remove(disk, area, key))
}
