//! Each method of `Disk` with what can go wrong in it.

use super::{Chance, FaultyDisk, Offer};
use crate::api::Overwrite;
use crate::disk::{
    Access, BootId, DirectoryOffset, DirectoryPage, Disk, DiskError, DiskResult, FileStat,
    FileSystem, Lock, Name,
};
use floe_types::{ByteCount, Code, Component, Mode, Offset, Range, Timestamp};
use std::sync::atomic::{AtomicU64, Ordering};

const BROKEN: DiskError = DiskError::new(Code::Io);
const FULL: DiskError = DiskError::new(Code::NoSpace);
const NOT_OFFERED: DiskError = DiskError::new(Code::Unsupported);

impl<D: Disk> FaultyDisk<D> {
    /// Takes a turn; fails where the device is gone.
    fn turn(&self) -> DiskResult<()> {
        let turn = self.state.operations.fetch_add(1, Ordering::Relaxed);
        if self.faults().operations_max.is_some_and(|max| turn >= max) {
            self.state.counts.gone.fetch_add(1, Ordering::Relaxed);
            return Err(BROKEN);
        }
        Ok(())
    }

    fn broken(&self, chance: Chance, count: &AtomicU64) -> DiskResult<()> {
        if self.state.dice.hits(chance) {
            count.fetch_add(1, Ordering::Relaxed);
            return Err(BROKEN);
        }
        Ok(())
    }

    fn lookup<T>(&self, look: impl FnOnce() -> DiskResult<T>) -> DiskResult<T> {
        self.turn()?;
        self.broken(self.faults().lookup_error, &self.state.counts.lookup_errors)?;
        look()
    }

    fn name<T>(&self, change: impl FnOnce() -> DiskResult<T>) -> DiskResult<T> {
        self.turn()?;
        self.broken(self.faults().name_error, &self.state.counts.name_errors)?;
        let changed = change()?;
        self.broken(self.faults().name_error_after, &self.state.counts.name_errors)?;
        Ok(changed)
    }

    /// A name that takes space where it is made.
    fn new_name<T>(&self, change: impl FnOnce() -> DiskResult<T>) -> DiskResult<T> {
        let written = self.state.written.load(Ordering::Relaxed);
        if self.faults().space_bytes_max.is_some_and(|max| written >= max.0) {
            self.turn()?;
            return Err(self.full());
        }
        self.name(change)
    }

    fn full(&self) -> DiskError {
        self.state.counts.no_space.fetch_add(1, Ordering::Relaxed);
        FULL
    }

    fn metadata(&self, change: impl FnOnce() -> DiskResult<()>) -> DiskResult<()> {
        self.turn()?;
        self.broken(self.faults().metadata_error, &self.state.counts.metadata_errors)?;
        change()
    }

    fn sync(&self, sync: impl FnOnce() -> DiskResult<()>) -> DiskResult<()> {
        self.turn()?;
        let broken = self.broken(self.faults().sync_error, &self.state.counts.sync_errors);
        match (broken, self.state.lose) {
            (Err(_), Some(lose)) => {
                lose(&self.below, 1);
                // Should it succeed in spite of that, nothing was to be lost.
                let synced = sync();
                lose(&self.below, 0);
                synced
            }
            (Err(error), None) => Err(error),
            (Ok(()), _) => sync(),
        }
    }

    /// The length a read is cut to: the whole, or some of it.
    fn read_len(&self, len: usize) -> usize {
        if len < 2 || !self.state.dice.hits(self.faults().short_read) {
            return len;
        }
        self.state.counts.short_reads.fetch_add(1, Ordering::Relaxed);
        1 + self.some_of(len - 1)
    }

    /// A length below `len`.
    fn some_of(&self, len: usize) -> usize {
        let end = ByteCount::of_len(len).0;
        usize::try_from(self.state.dice.below(end)).unwrap_or(0).min(len.saturating_sub(1))
    }

    /// How many of `len` bytes there is room for.
    fn room(&self, len: usize) -> usize {
        let wanted = ByteCount::of_len(len).0;
        let before = self.state.written.fetch_add(wanted, Ordering::Relaxed);
        let Some(max) = self.faults().space_bytes_max else { return len };
        usize::try_from(max.0.saturating_sub(before)).map_or(len, |room| room.min(len))
    }
}

impl<D: Disk> Disk for FaultyDisk<D> {
    type Handle = D::Handle;

    fn root(&self) -> DiskResult<D::Handle> {
        self.lookup(|| self.below.root())
    }

    fn open_directory(&self, at: &D::Handle, path: &[Component]) -> DiskResult<D::Handle> {
        self.lookup(|| self.below.open_directory(at, path))
    }

    fn open_child(&self, at: &D::Handle, name: Name<'_>) -> DiskResult<D::Handle> {
        self.lookup(|| self.below.open_child(at, name))
    }

    fn open_file(&self, at: &D::Handle, name: Name<'_>, access: Access) -> DiskResult<D::Handle> {
        self.lookup(|| self.below.open_file(at, name, access))
    }

    fn create_file(&self, at: &D::Handle, name: Name<'_>, mode: Mode) -> DiskResult<D::Handle> {
        self.new_name(|| self.below.create_file(at, name, mode))
    }

    fn unnamed(&self, at: &D::Handle) -> DiskResult<D::Handle> {
        self.name(|| self.below.unnamed(at))
    }

    fn make_directory(&self, at: &D::Handle, name: Name<'_>, mode: Mode) -> DiskResult<()> {
        self.new_name(|| self.below.make_directory(at, name, mode))
    }

    fn make_link(&self, at: &D::Handle, name: Name<'_>, target: &[u8]) -> DiskResult<()> {
        self.new_name(|| self.below.make_link(at, name, target))
    }

    fn stat(&self, of: &D::Handle) -> DiskResult<FileStat> {
        self.lookup(|| self.below.stat(of))
    }

    fn stat_at(&self, at: &D::Handle, name: Name<'_>) -> DiskResult<FileStat> {
        self.lookup(|| self.below.stat_at(at, name))
    }

    fn read_link(&self, at: &D::Handle, name: Name<'_>) -> DiskResult<Vec<u8>> {
        self.lookup(|| self.below.read_link(at, name))
    }

    fn read_at(&self, from: &D::Handle, at: Offset, into: &mut [u8]) -> DiskResult<usize> {
        self.turn()?;
        self.broken(self.faults().read_error, &self.state.counts.read_errors)?;
        let len = self.read_len(into.len());
        self.below.read_at(from, at, into.get_mut(..len).unwrap_or_default())
    }

    fn read_cached(
        &self,
        from: &D::Handle,
        at: Offset,
        into: &mut [u8],
    ) -> DiskResult<Option<usize>> {
        self.turn()?;
        if self.state.dice.hits(self.faults().cache_miss) {
            self.state.counts.cache_misses.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        }
        let len = self.read_len(into.len());
        self.below.read_cached(from, at, into.get_mut(..len).unwrap_or_default())
    }

    fn write_at(&self, to: &D::Handle, at: Offset, bytes: &[u8]) -> DiskResult<()> {
        self.turn()?;
        if self.state.dice.hits(self.faults().write_error) {
            self.state.counts.write_errors.fetch_add(1, Ordering::Relaxed);
            let part = bytes.get(..self.some_of(bytes.len())).unwrap_or_default();
            self.below.write_at(to, at, part)?;
            return Err(BROKEN);
        }
        let room = self.room(bytes.len());
        self.below.write_at(to, at, bytes.get(..room).unwrap_or_default())?;
        if room < bytes.len() {
            return Err(self.full());
        }
        Ok(())
    }

    fn allocate(&self, of: &D::Handle, range: Range) -> DiskResult<()> {
        self.turn()?;
        let written = ByteCount(self.state.written.load(Ordering::Relaxed));
        let room = self.faults().space_bytes_max.map(|max| max.minus(written));
        match self.faults().without_allocate {
            Offer::Refused => Err(NOT_OFFERED),
            Offer::AsBelow if room.is_some_and(|room| room < range.len()) => Err(self.full()),
            Offer::AsBelow => self.below.allocate(of, range),
        }
    }

    fn next_data(&self, of: &D::Handle, from: Offset) -> DiskResult<Option<Offset>> {
        self.lookup(|| match self.faults().without_holes {
            Offer::Refused => Err(NOT_OFFERED),
            Offer::AsBelow => self.below.next_data(of, from),
        })
    }

    fn next_hole(&self, of: &D::Handle, from: Offset) -> DiskResult<Offset> {
        self.lookup(|| match self.faults().without_holes {
            Offer::Refused => Err(NOT_OFFERED),
            Offer::AsBelow => self.below.next_hole(of, from),
        })
    }

    fn punch(&self, of: &D::Handle, range: Range) -> DiskResult<()> {
        self.metadata(|| match self.faults().without_holes {
            Offer::Refused => Err(NOT_OFFERED),
            Offer::AsBelow => self.below.punch(of, range),
        })
    }

    fn truncate(&self, of: &D::Handle, size: ByteCount) -> DiskResult<()> {
        self.metadata(|| self.below.truncate(of, size))
    }

    fn set_mode(&self, of: &D::Handle, mode: Mode) -> DiskResult<()> {
        self.metadata(|| self.below.set_mode(of, mode))
    }

    fn set_mtime(&self, of: &D::Handle, mtime: Timestamp) -> DiskResult<()> {
        self.metadata(|| self.below.set_mtime(of, mtime))
    }

    fn set_mtime_at(&self, at: &D::Handle, name: Name<'_>, mtime: Timestamp) -> DiskResult<()> {
        self.metadata(|| self.below.set_mtime_at(at, name, mtime))
    }

    fn set_xattr(&self, of: &D::Handle, name: &str, value: &[u8]) -> DiskResult<()> {
        self.metadata(|| match self.faults().without_xattr {
            Offer::Refused => Err(NOT_OFFERED),
            Offer::AsBelow => self.below.set_xattr(of, name, value),
        })
    }

    fn xattr(&self, of: &D::Handle, name: &str) -> DiskResult<Option<Vec<u8>>> {
        self.lookup(|| match self.faults().without_xattr {
            Offer::Refused => Ok(None),
            Offer::AsBelow => self.below.xattr(of, name),
        })
    }

    fn remove_xattr(&self, of: &D::Handle, name: &str) -> DiskResult<()> {
        self.metadata(|| self.below.remove_xattr(of, name))
    }

    fn list(
        &self,
        directory: &D::Handle,
        from: Option<DirectoryOffset>,
        max: usize,
    ) -> DiskResult<DirectoryPage> {
        self.lookup(|| self.below.list(directory, from, max))
    }

    fn sync_file(&self, of: &D::Handle) -> DiskResult<()> {
        self.sync(|| self.below.sync_file(of))
    }

    fn sync_data(&self, of: &D::Handle) -> DiskResult<()> {
        self.sync(|| self.below.sync_data(of))
    }

    fn sync_directory(&self, directory: &D::Handle) -> DiskResult<()> {
        self.sync(|| self.below.sync_directory(directory))
    }

    fn sync_file_system(&self, of: &D::Handle) -> DiskResult<()> {
        self.sync(|| self.below.sync_file_system(of))
    }

    fn start_write_back(&self, of: &D::Handle, range: Range) -> DiskResult<()> {
        self.turn()?;
        self.below.start_write_back(of, range)
    }

    fn drop_cache(&self, of: &D::Handle, range: Range) -> DiskResult<()> {
        self.turn()?;
        self.below.drop_cache(of, range)
    }

    fn expect_sequential(&self, of: &D::Handle) -> DiskResult<()> {
        self.turn()?;
        self.below.expect_sequential(of)
    }

    fn rename(
        &self,
        from: (&D::Handle, Name<'_>),
        to: (&D::Handle, Name<'_>),
        overwrite: Overwrite,
    ) -> DiskResult<()> {
        self.new_name(|| self.below.rename(from, to, overwrite))
    }

    fn link(&self, from: (&D::Handle, Name<'_>), to: (&D::Handle, Name<'_>)) -> DiskResult<()> {
        self.new_name(|| self.below.link(from, to))
    }

    fn remove_file(&self, at: &D::Handle, name: Name<'_>) -> DiskResult<()> {
        self.name(|| self.below.remove_file(at, name))
    }

    fn remove_directory(&self, at: &D::Handle, name: Name<'_>) -> DiskResult<()> {
        self.name(|| self.below.remove_directory(at, name))
    }

    fn try_lock(&self, of: &D::Handle) -> DiskResult<Lock> {
        self.lookup(|| self.below.try_lock(of))
    }

    fn boot_id(&self) -> DiskResult<BootId> {
        self.lookup(|| self.below.boot_id())
    }

    fn file_system(&self, of: &D::Handle) -> DiskResult<FileSystem> {
        self.lookup(|| self.below.file_system(of))
    }

    fn may_change(&self, directory: &D::Handle) -> DiskResult<()> {
        self.lookup(|| self.below.may_change(directory))
    }

    fn free_space(&self, of: &D::Handle) -> DiskResult<ByteCount> {
        let free = self.lookup(|| self.below.free_space(of))?;
        let written = ByteCount(self.state.written.load(Ordering::Relaxed));
        Ok(self.faults().space_bytes_max.map_or(free, |max| free.min(max.minus(written))))
    }

    fn now(&self) -> Timestamp {
        self.below.now()
    }
}
