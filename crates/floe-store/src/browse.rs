//! What a store shows and moves about, once objects are committed: open, list, stat, remove,
//! rename, make directories.
//!
//! Nothing here stages or commits. Paths that read may pass links beneath the root, paths that
//! change names pass none (see `beneath`). What changes a name syncs the directories before it
//! returns.

mod hash;
mod page;
mod remove;

use crate::api::{
    Cursor, Depth, Detail, Follow, OpenedEntry, Overwrite, Page, Progress, Result, RootWanted,
    Stat, Wanted,
};
use crate::beneath::{self, Spot};
use crate::disk::{Access, Disk, DiskError, DiskResult, Doing, FileKind, FileStat, Name};
use crate::source::{FileSource, Readers, freshness_of, version_of};
use floe_types::{ByteCount, Code, Component, EntryKind, Metadata, ObjectPath, Root};
use std::sync::Arc;

/// The root that a finished object's mark vouches for, if its mark fits what the file is now.
pub(crate) type RootOfMark<D> = fn(&D, &<D as Disk>::Handle, &FileStat) -> Option<Root>;

/// The half of a store over a disk that needs no stage. Its methods are those of `Store`, to the
/// letter.
pub(crate) struct Browser<D: Disk> {
    disk: Arc<D>,
    root: Arc<D::Handle>,
    readers: Arc<Readers>,
    mark: RootOfMark<D>,
}

impl<D: Disk> Browser<D> {
    pub(crate) fn new(disk: Arc<D>, root: Arc<D::Handle>, mark: RootOfMark<D>) -> Self {
        Self { disk, root, readers: Arc::default(), mark }
    }

    /// The same beneath a directory, which no link may lead to: nothing beyond it is reached.
    pub(crate) fn beneath(&self, path: &ObjectPath) -> DiskResult<Self> {
        let root = Arc::new(self.disk.open_directory(&self.root, path.components())?);
        let (disk, readers) = (Arc::clone(&self.disk), Arc::clone(&self.readers));
        Ok(Self { disk, root, readers, mark: self.mark })
    }

    pub(crate) fn open(&self, path: &ObjectPath, follow: Follow) -> Result<OpenedEntry> {
        self.opened(path, follow).doing(format_args!("open {path:?}"))
    }

    fn opened(&self, path: &ObjectPath, follow: Follow) -> DiskResult<OpenedEntry> {
        let Spot { directory, name } = self.locate(path, follow)?;
        let Some(name) = name else {
            let metadata = metadata_of(&self.disk.stat(&directory)?);
            return Ok(OpenedEntry::Directory { metadata });
        };
        let name = Name::from(&name);
        let stat = self.disk.stat_at(&directory, name)?;
        let metadata = metadata_of(&stat);
        match stat.kind {
            FileKind::File => self.opened_file(path, &directory, name),
            FileKind::Directory => Ok(OpenedEntry::Directory { metadata }),
            FileKind::Link => {
                let target = self.disk.read_link(&directory, name)?;
                Ok(OpenedEntry::Link { target, metadata })
            }
            FileKind::Other => Err(DiskError::new(Code::NotRegular)),
        }
    }

    fn opened_file(
        &self,
        path: &ObjectPath,
        at: &D::Handle,
        name: Name<'_>,
    ) -> DiskResult<OpenedEntry> {
        // The clock is read before the stamps: a change between the two makes them look fresh,
        // never settled.
        let now = self.disk.now();
        let (handle, stat) = self.disk.open_seen(at, name, Access::Read)?;
        let source = FileSource::new(&self.disk, (handle, &stat), path, &self.readers);
        Ok(OpenedEntry::File {
            source: Arc::new(source),
            version: Some(version_of(&stat)),
            freshness: freshness_of(&stat, now),
            metadata: metadata_of(&stat),
        })
    }

    pub(crate) fn list(
        &self,
        path: &ObjectPath,
        after: Option<&Cursor>,
        max: usize,
        detail: Detail,
    ) -> Result<Page> {
        let page = || {
            let directory = beneath::directory(&*self.disk, &self.root, path)?;
            page::page(&*self.disk, &directory, after, max, |name| match detail {
                Detail::Names => None,
                // It may have vanished, or be a device: then the name stands alone.
                Detail::Stats => {
                    self.stat_of(path, &directory, name, RootWanted::IfKnown, &|_, _| {}).ok()
                }
            })
        };
        page().doing(format_args!("list {path:?}"))
    }

    pub(crate) fn stat(
        &self,
        path: &ObjectPath,
        root: RootWanted,
        progress: Progress<'_>,
    ) -> Result<Stat> {
        let stat = || {
            let Spot { directory, name } = self.locate(path, Follow::No)?;
            match name {
                Some(name) => self.stat_of(path, &directory, &name, root, progress),
                None => Ok(directory_stat(&self.disk.stat(&directory)?)),
            }
        };
        stat().doing(format_args!("stat {path:?}"))
    }

    fn stat_of(
        &self,
        path: &ObjectPath,
        at: &D::Handle,
        name: &Component,
        root: RootWanted,
        progress: Progress<'_>,
    ) -> DiskResult<Stat> {
        let stat = self.disk.stat_at(at, name.into())?;
        let metadata = metadata_of(&stat);
        match stat.kind {
            FileKind::File => {
                let (stat, root) = match self.disk.open_seen(at, name.into(), Access::Read) {
                    Ok(opened) => self.file_root(path, opened, root, progress)?,
                    // What may not be read still has a size; only a root that was asked for needs
                    // its bytes.
                    Err(_) if root == RootWanted::IfKnown => (stat, None),
                    Err(error) => return Err(error),
                };
                let (size, metadata) = (stat.size, metadata_of(&stat));
                Ok(Stat { kind: EntryKind::File, size, metadata, target: None, root })
            }
            FileKind::Directory => Ok(directory_stat(&stat)),
            FileKind::Link => {
                let target = self.disk.read_link(at, name.into())?;
                let size = ByteCount::of_len(target.len());
                let target = Some(target);
                Ok(Stat { kind: EntryKind::Link, size, metadata, target, root: None })
            }
            FileKind::Other => Err(DiskError::new(Code::NotRegular)),
        }
    }

    fn file_root(
        &self,
        path: &ObjectPath,
        (handle, stat): (D::Handle, FileStat),
        wanted: RootWanted,
        progress: Progress<'_>,
    ) -> DiskResult<(FileStat, Option<Root>)> {
        let known = (self.mark)(&*self.disk, &handle, &stat);
        if known.is_some() || wanted == RootWanted::IfKnown {
            return Ok((stat, known));
        }
        let source = FileSource::new(&self.disk, (handle, &stat), path, &self.readers);
        Ok((stat, Some(hash::root_of(&source, stat.size, progress)?)))
    }

    pub(crate) fn remove(&self, path: &ObjectPath, depth: Depth, wanted: Wanted<'_>) -> Result<()> {
        let remove = || {
            let (parent, name) = beneath::parent(&*self.disk, &self.root, path)?;
            match depth {
                Depth::Single => self.disk.remove_file(&parent, name.into())?,
                Depth::Recursive => remove::tree(&*self.disk, &parent, name.into(), wanted)?,
            }
            self.disk.sync_directory(&parent)
        };
        remove().doing(format_args!("remove {path:?}"))
    }

    pub(crate) fn rename(
        &self,
        from: &ObjectPath,
        to: &ObjectPath,
        overwrite: Overwrite,
    ) -> Result<()> {
        let rename = || {
            if from.contains(to) && from != to {
                return Err(DiskError::new(Code::Usage));
            }
            let (old_parent, old_name) = beneath::parent(&*self.disk, &self.root, from)?;
            let (new_parent, new_name) = beneath::parent(&*self.disk, &self.root, to)?;
            let (old, new) = ((&old_parent, old_name.into()), (&new_parent, new_name.into()));
            self.disk.rename(old, new, overwrite)?;
            // The new name first: a power loss between the two shows both or the new one, never
            // none.
            self.disk.sync_directory(&new_parent)?;
            self.disk.sync_directory(&old_parent)
        };
        rename().doing(format_args!("rename {from:?} to {to:?}"))
    }

    pub(crate) fn make_dir(&self, path: &ObjectPath, changed: &dyn Fn(usize)) -> Result<()> {
        let make = || {
            let (names, mode) = (path.components(), beneath::NEW_DIRECTORY);
            let missing = (names, mode);
            let ensured = beneath::ensure_directory(&*self.disk, &self.root, missing, changed)?;
            beneath::sync_ancestors(&*self.disk, &self.root, names, &ensured)
        };
        make().doing(format_args!("make directory {path:?}"))
    }

    fn locate(&self, path: &ObjectPath, last: Follow) -> DiskResult<Spot<D::Handle>> {
        beneath::locate(&*self.disk, &self.root, path, last)
    }
}

fn metadata_of(stat: &FileStat) -> Metadata {
    Metadata { mode: stat.mode, mtime: stat.mtime }
}

fn directory_stat(stat: &FileStat) -> Stat {
    Stat {
        kind: EntryKind::Directory,
        size: ByteCount::ZERO,
        metadata: metadata_of(stat),
        target: None,
        root: None,
    }
}
