//! Directories that transfers make, or put entries into: who made them, and what they are in the
//! end.
//!
//! One that was made, and one that is lent to a transfer, can be written by its owner until its
//! commit. Where nothing may be replaced, one that stands stays as it is: so one that was made is
//! marked (`user.floe.begun`) until it has its mode and mtime durably, and a run that was killed is
//! followed by one that knows it. From the call that makes it to the one that marks it, its mode
//! says so: one that nobody could use.

use crate::api::{Begun, Result, Wanted};
use crate::beneath;
use crate::disk::{Disk, DiskError, DiskResult, Doing, FileStat, Owner};
use crate::local::Ground;
use crate::local::remembered::Remembered;
use crate::local::wanted::still;
use floe_types::digest::ChunkHasher;
use floe_types::{Code, Metadata, Mode, ObjectPath, Offset, Precondition, Root};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The mark of a directory that was made and is not ended.
const BEGUN_NAME: &str = "user.floe.begun";
/// What one that is not marked yet was made with: its owner cannot search it.
const UNMARKED: Mode = Mode::from_bits(0o600);
/// What the owner of a directory needs to put entries in it.
const WRITABLE: u16 = 0o700;

/// Those of a store.
#[derive(Default)]
pub(super) struct Directories {
    /// Made writable for a transfer.
    lent: Mutex<Remembered<Lent>>,
    /// Made and not committed; one that is forgotten, and bears no mark, counts as having stood.
    begun: Mutex<Remembered<()>>,
    /// Being committed.
    ending: Mutex<BTreeMap<ObjectPath, Endings>>,
}

/// A directory that is lent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Lent {
    inode: u64,
    device: u64,
    /// The mode it had.
    had: Mode,
    /// The mode it has for the time being.
    has: Mode,
}

impl Directories {
    /// Makes one with its missing parents, or takes up what stands.
    pub(super) fn begin<D: Disk>(
        &self,
        ground: &Ground<D>,
        path: &ObjectPath,
        precondition: Precondition,
    ) -> Result<Begun> {
        let doing = format_args!("make directory {}", ground.shown(path));
        ground.forget_recent(); // another may stand there
        let begun = self.begun(ground, path, precondition).doing(doing)?;
        if let (Begun::Stood, Precondition::Absent, Some((parent, _))) =
            (begun, precondition, path.split_last())
        {
            // It will be told without a commit; whoever made it may have died before its name was
            // durable.
            let Ground { disk, root, ancestry, .. } = ground;
            let failed = ancestry.settle(&**disk, root, &BTreeSet::from([parent]));
            if let Some(fault) = failed.into_values().next() {
                return Err(fault);
            }
        }
        Ok(begun)
    }

    fn begun<D: Disk>(
        &self,
        ground: &Ground<D>,
        path: &ObjectPath,
        precondition: Precondition,
    ) -> DiskResult<Begun> {
        let Ground { disk, root, ancestry, .. } = ground;
        let changed = |len| drop(ancestry.touched_above(path, len));
        let is_alone = precondition == Precondition::Absent;
        let _room = ground.room_for_directory(path)?;
        let mode = if is_alone { UNMARKED } else { beneath::NEW_DIRECTORY };
        let names = (path.components(), mode);
        let ensured = beneath::ensure_directory(&**disk, root, names, &changed)?;
        let directory = &ensured.directory;
        let stood = match ensured.made {
            0 if is_alone => stood::<D>(disk, directory, path)?,
            0 => Stood::Ended,
            _ => Stood::Unmarked,
        };
        if stood == Stood::Unmarked {
            if is_alone {
                mark::<D>(disk, directory, path)?;
            }
            disk.set_mode(directory, Mode::from_bits(u32::from(WRITABLE)))?;
        }
        let mut begun = lock(&self.begun);
        if stood != Stood::Ended {
            begun.add_for_others(path, ());
        }
        let begun = if begun.contains(path) { Begun::Made } else { Begun::Stood };
        if stood != Stood::Unmarked && (begun, is_alone) != (Begun::Stood, true) {
            self.lend::<D>(disk, path, directory)?;
        }
        Ok(begun)
    }

    /// Lets entries be put in a directory until its commit gives it its mode.
    fn lend<D: Disk>(&self, disk: &D, path: &ObjectPath, directory: &D::Handle) -> DiskResult<()> {
        let stat = disk.stat(directory)?;
        let bits = stat.mode.bits();
        if bits & WRITABLE == WRITABLE {
            return Ok(());
        }
        let (had, has) = (stat.mode, Mode::from_bits(u32::from(bits | WRITABLE)));
        let device = disk.file_system(directory)?.device;
        let mut lent = lock(&self.lent);
        if !lent.takes(path) {
            // What was forgotten would never have its mode again.
            return Err(DiskError::new(Code::LimitExceeded));
        }
        disk.set_mode(directory, has)?;
        // What stood there when it was lent before may be another.
        lent.remove(path);
        lent.add(path, Lent { inode: stat.inode, device, had, has });
        Ok(())
    }

    /// It is about to be committed, by whoever else, too: nobody gives it back meanwhile.
    pub(super) fn ending(&self, path: &ObjectPath) {
        let mut all = lock(&self.ending);
        let one = all.entry(path.clone()).or_default();
        one.count += 1;
        one.lent = lock(&self.lent).remove(path).or(one.lent);
    }

    /// Whether it was. If nobody's commit came it is lent as before.
    pub(super) fn ended(&self, path: &ObjectPath, committed: bool) {
        if committed {
            lock(&self.begun).remove(path);
        }
        let mut all = lock(&self.ending);
        let Some(one) = all.get_mut(path) else { return };
        one.count -= 1;
        one.committed |= committed;
        if one.count > 0 {
            return;
        }
        let lent = one.lent.filter(|_| !one.committed);
        all.remove(path);
        if let Some(lent) = lent {
            lock(&self.lent).add(path, lent);
        }
    }

    /// Those at and beneath a path are no transfer's any more.
    pub(super) fn forget_begun(&self, path: &ObjectPath) {
        lock(&self.begun).take_beneath(path);
    }

    /// Those at and beneath a path stand there no more.
    pub(super) fn forget_lent(&self, path: &ObjectPath) {
        lock(&self.lent).take_beneath(path);
    }

    /// One whose commit will not come gets back the mode it had.
    pub(super) fn leave<D: Disk>(&self, ground: &Ground<D>, path: &ObjectPath) {
        let mut all = lock(&self.lent);
        let Some(lent) = all.remove(path) else { return };
        match lent.give_back(ground, path) {
            Ok(()) => {}
            Err(gone) if matches!(gone.code(), Code::NotFound | Code::NotDirectory) => {}
            Err(_) => all.add(path, lent),
        }
    }

    /// Those at and beneath a path whose commit did not come get back the mode they had; what is in
    /// another before that.
    pub(super) fn give_back<D: Disk>(&self, ground: &Ground<D>, path: &ObjectPath) {
        let mut all = lock(&self.lent);
        for (path, lent) in all.take_beneath(path).into_iter().rev() {
            let _ = lent.give_back(ground, &path);
        }
    }
}

/// Commits of one directory that are under way.
#[derive(Default)]
struct Endings {
    count: u32,
    /// Whether one came.
    committed: bool,
    lent: Option<Lent>,
}

impl Lent {
    /// The very directory, and only if nobody gave it another mode since.
    fn give_back<D: Disk>(self, ground: &Ground<D>, path: &ObjectPath) -> DiskResult<()> {
        let Ground { disk, root, .. } = ground;
        let directory = disk.open_directory(root, path.components())?;
        let stat = disk.stat(&directory)?;
        let same = stat.inode == self.inode && stat.mode == self.has;
        if !same || disk.file_system(&directory)?.device != self.device {
            return Ok(());
        }
        disk.set_mode(&directory, self.had)
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who made a directory that stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stood {
    /// Somebody who is done with it.
    Ended,
    /// A transfer that did not come to mark it.
    Unmarked,
    /// A transfer that marked it, and did not end it.
    Begun,
}

fn stood<D: Disk>(disk: &D, directory: &D::Handle, path: &ObjectPath) -> DiskResult<Stood> {
    let stat = disk.stat(directory)?;
    if stat.owner == Owner::Other {
        return Ok(Stood::Ended);
    }
    if stat.mode == UNMARKED && disk.list(directory, None, 1)?.names.is_empty() {
        return Ok(Stood::Unmarked);
    }
    let mark = mark_of::<D>(disk, directory)?;
    let own = mark.is_some_and(|mark| mark == value(path, &stat));
    Ok(if own { Stood::Begun } else { Stood::Ended })
}

/// What its mark says. One that its owner may not read has none: it was never made so.
fn mark_of<D: Disk>(disk: &D, directory: &D::Handle) -> DiskResult<Option<Vec<u8>>> {
    match disk.xattr(directory, BEGUN_NAME) {
        Err(error) if error.code() == Code::PermissionDenied => Ok(None),
        answer => answer,
    }
}

/// What a mark says: of this directory at this path, and not of a copy, nor where it was moved.
fn value(path: &ObjectPath, stat: &FileStat) -> Vec<u8> {
    let mut hasher = ChunkHasher::new(Offset::ZERO);
    for name in path.components() {
        hasher.update(name.as_bytes());
        hasher.update(b"/");
    }
    let hash = hasher.finish().and_then(|digest| digest.root).unwrap_or_else(Root::of_nothing);
    [&stat.inode.to_le_bytes()[..], &hash.0[..16]].concat()
}

/// Marks it, where the file system takes that: without it only this process knows.
fn mark<D: Disk>(disk: &D, directory: &D::Handle, path: &ObjectPath) -> DiskResult<()> {
    let value = value(path, &disk.stat(directory)?);
    match disk.set_xattr(directory, BEGUN_NAME, &value) {
        Err(error) if !matches!(error.code(), Code::Io | Code::ReadOnly) => Ok(()),
        answer => answer,
    }
}

/// Gives a directory whose entries are finished its mode and mtime, durably, and then takes its
/// mark away: one that a power loss brings back asks for the same once more.
pub(super) fn finish<D: Disk>(
    disk: &D,
    directory: &D::Handle,
    metadata: &Metadata,
    wanted: Wanted<'_>,
) -> DiskResult<()> {
    still(wanted)?;
    let is_marked = mark_of::<D>(disk, directory)?.is_some();
    // While it is marked, its owner can open it, and take the mark away.
    let bits = metadata.mode.bits() | if is_marked { WRITABLE } else { 0 };
    let first = Mode::from_bits(u32::from(bits));
    disk.set_mode(directory, first)?;
    disk.set_mtime(directory, metadata.mtime)?;
    disk.sync_directory(directory)?;
    still(wanted)?;
    if is_marked {
        disk.remove_xattr(directory, BEGUN_NAME)?;
    }
    if first != metadata.mode {
        disk.set_mode(directory, metadata.mode)?;
        disk.sync_directory(directory)?;
    }
    Ok(())
}
