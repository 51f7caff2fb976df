//! The disk of this machine: each method of `Disk` as the system call it is, through rustix.
//!
//! Containment is the kernel's: every path goes through openat2 with RESOLVE_BENEATH, NO_SYMLINKS
//! and NO_MAGICLINKS, and every other call takes a directory's descriptor and one name, and never
//! follows it. Nothing here decides; what a failure means is said in `kernel/errno.rs`.

mod errno;
mod list;
mod open;
mod stat;
mod write_back;

use crate::api::Overwrite;
use crate::disk::{
    Access, BootId, DirectoryOffset, DirectoryPage, Disk, DiskError, DiskResult, FileKind,
    FileStat, FileSystem, Lock, Name, XATTR_BYTES_MAX,
};
use floe_types::{ByteCount, Code, Component, Mode, Offset, Range, Timestamp};
use rustix::fs::{
    self, Advice, AtFlags, FallocateFlags, FlockOperation, RenameFlags, SeekFrom, XattrFlags,
};
use rustix::io::{Errno, ReadWriteFlags, retry_on_intr};
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The disk of this machine, beneath one directory. See the module.
#[derive(Debug)]
pub struct KernelDisk {
    root: KernelHandle,
}

/// A name in an open directory.
type Spot<'a> = (&'a KernelHandle, Name<'a>);

/// An open descriptor; closed on drop.
#[derive(Debug)]
pub struct KernelHandle(OwnedFd);

impl KernelDisk {
    /// The disk whose root is this directory. The path is the person's own: links in it are
    /// followed, once, here.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `PermissionDenied`, the system's.
    pub fn open(root: &Path) -> DiskResult<Self> {
        // Known from now on; where it cannot be read, journals are not trusted.
        let _ = stat::boot_id();
        Ok(Self { root: KernelHandle(open::named_by_person(root)?) })
    }
}

impl KernelDisk {
    /// A rename that replaces nothing, in two steps: the link fails where the new name stands.
    fn rename_by_link(&self, from: Spot<'_>, to: Spot<'_>) -> DiskResult<()> {
        self.rename_in_steps(from, to, || self.remove_file(from.0, from.1))
    }

    /// As `rename_by_link`, where `remove` takes the old name away. One that fails may have done
    /// it, as over a network: the new name goes again only where the old one is seen to stand.
    fn rename_in_steps(
        &self,
        from: Spot<'_>,
        to: Spot<'_>,
        remove: impl FnOnce() -> DiskResult<()>,
    ) -> DiskResult<()> {
        let moved = self.stat_at(from.0, from.1)?;
        if moved.kind == FileKind::Directory {
            return Err(Errno::INVAL.into());
        }
        self.link(from, to)?;
        // A power loss may keep the second step alone.
        let Err(error) = self.sync_directory(to.0).and_then(|()| remove()) else { return Ok(()) };
        let now = |of: Spot<'_>| stat::of_name_now(&of.0.0, of.1);
        match (now(from), now(to)) {
            // One name more than before: both stand.
            (Ok(old), Ok(new))
                if [old.inode, new.inode] == [moved.inode; 2] && new.links > moved.links =>
            {
                let _ = self.remove_file(to.0, to.1);
                Err(error)
            }
            (Err(gone), _) if gone.code() == Code::NotFound => Ok(()),
            _ => Err(error),
        }
    }
}

impl Disk for KernelDisk {
    type Handle = KernelHandle;

    fn root(&self) -> DiskResult<KernelHandle> {
        self.open_directory(&self.root, &[])
    }

    fn open_directory(&self, at: &KernelHandle, path: &[Component]) -> DiskResult<KernelHandle> {
        open::directory(&at.0, path).map(KernelHandle)
    }

    fn open_child(&self, at: &KernelHandle, name: Name<'_>) -> DiskResult<KernelHandle> {
        open::child(&at.0, name).map(KernelHandle)
    }

    fn open_file(
        &self,
        at: &KernelHandle,
        name: Name<'_>,
        access: Access,
    ) -> DiskResult<KernelHandle> {
        // Looked at before it is opened: the open of a device alone can act on it.
        require_file(self.stat_at(at, name)?.kind)?;
        self.open_seen(at, name, access).map(|(handle, _)| handle)
    }

    fn open_seen(
        &self,
        at: &KernelHandle,
        name: Name<'_>,
        access: Access,
    ) -> DiskResult<(KernelHandle, FileStat)> {
        let handle = KernelHandle(open::file(&at.0, name, access)?);
        let stat = self.stat(&handle)?;
        require_file(stat.kind)?;
        Ok((handle, stat))
    }

    fn create_file(
        &self,
        at: &KernelHandle,
        name: Name<'_>,
        mode: Mode,
    ) -> DiskResult<KernelHandle> {
        let handle = KernelHandle(open::new_file(&at.0, name, mode)?);
        fs::fchmod(&handle.0, mode_of(mode))?;
        Ok(handle)
    }

    fn unnamed(&self, at: &KernelHandle) -> DiskResult<KernelHandle> {
        open::unnamed(&at.0).map(KernelHandle)
    }

    fn make_directory(&self, at: &KernelHandle, name: Name<'_>, mode: Mode) -> DiskResult<()> {
        Ok(fs::mkdirat(&at.0, name.as_bytes(), mode_of(mode))?)
    }

    fn make_link(&self, at: &KernelHandle, name: Name<'_>, target: &[u8]) -> DiskResult<()> {
        Ok(fs::symlinkat(target, &at.0, name.as_bytes())?)
    }

    fn stat(&self, of: &KernelHandle) -> DiskResult<FileStat> {
        stat::of_handle(&of.0)
    }

    fn stat_at(&self, at: &KernelHandle, name: Name<'_>) -> DiskResult<FileStat> {
        stat::of_name(&at.0, name)
    }

    fn read_link(&self, at: &KernelHandle, name: Name<'_>) -> DiskResult<Vec<u8>> {
        match fs::readlinkat(&at.0, name.as_bytes(), Vec::new()) {
            Ok(target) => Ok(target.into_bytes()),
            Err(Errno::INVAL) => Err(DiskError::new(Code::NotFound)),
            Err(errno) => Err(errno.into()),
        }
    }

    fn read_at(&self, from: &KernelHandle, at: Offset, into: &mut [u8]) -> DiskResult<usize> {
        let at = position(at)?;
        Ok(retry_on_intr(|| rustix::io::pread(&from.0, &mut *into, at))?)
    }

    fn read_cached(
        &self,
        from: &KernelHandle,
        at: Offset,
        into: &mut [u8],
    ) -> DiskResult<Option<usize>> {
        let (at, mut into) = (position(at)?, [IoSliceMut::new(into)]);
        let read = || rustix::io::preadv2(&from.0, &mut into, at, ReadWriteFlags::NOWAIT);
        match retry_on_intr(read) {
            Ok(count) => Ok(Some(count)),
            // A file system in memory does not know the flag, and has no device to wait for.
            Err(Errno::OPNOTSUPP) if stat::is_in_memory(&from.0) => {
                let read = || rustix::io::preadv(&from.0, &mut into, at);
                Ok(Some(retry_on_intr(read)?))
            }
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn write_at(&self, to: &KernelHandle, at: Offset, bytes: &[u8]) -> DiskResult<()> {
        let (mut at, mut bytes) = (position(at)?, bytes);
        while !bytes.is_empty() {
            let count = retry_on_intr(|| rustix::io::pwrite(&to.0, bytes, at))?;
            if count == 0 {
                return Err(DiskError::new(Code::Io));
            }
            bytes = bytes.get(count..).unwrap_or_default();
            at = at.saturating_add(ByteCount::of_len(count).0);
        }
        Ok(())
    }

    fn allocate(&self, of: &KernelHandle, range: Range) -> DiskResult<()> {
        fallocate(of, range, FallocateFlags::KEEP_SIZE)
    }

    fn next_data(&self, of: &KernelHandle, from: Offset) -> DiskResult<Option<Offset>> {
        // It moves the position of the descriptor, which nothing here goes by.
        match fs::seek(&of.0, SeekFrom::Data(position(from)?)) {
            Ok(at) => Ok(Some(Offset(at))),
            Err(Errno::NXIO) => Ok(None),
            Err(Errno::INVAL) => Err(DiskError::new(Code::Unsupported)),
            Err(errno) => Err(errno.into()),
        }
    }

    fn next_hole(&self, of: &KernelHandle, from: Offset) -> DiskResult<Offset> {
        if let Some(end) = stat::end_of_dense(&of.0)? {
            return Ok(end);
        }
        match fs::seek(&of.0, SeekFrom::Hole(position(from)?)) {
            Ok(at) => Ok(Offset(at)),
            Err(Errno::INVAL) => Err(DiskError::new(Code::Unsupported)),
            Err(errno) => Err(errno.into()),
        }
    }

    fn punch(&self, of: &KernelHandle, range: Range) -> DiskResult<()> {
        fallocate(of, range, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE)
    }

    fn truncate(&self, of: &KernelHandle, size: ByteCount) -> DiskResult<()> {
        let size = position(Offset(size.0))?;
        Ok(retry_on_intr(|| fs::ftruncate(&of.0, size))?)
    }

    fn set_mode(&self, of: &KernelHandle, mode: Mode) -> DiskResult<()> {
        Ok(fs::fchmod(&of.0, mode_of(mode) | stat::special_bits(&of.0)?)?)
    }

    fn set_mtime(&self, of: &KernelHandle, mtime: Timestamp) -> DiskResult<()> {
        Ok(fs::futimens(&of.0, &stat::only_mtime(mtime))?)
    }

    fn set_mtime_at(&self, at: &KernelHandle, name: Name<'_>, mtime: Timestamp) -> DiskResult<()> {
        let times = stat::only_mtime(mtime);
        Ok(fs::utimensat(&at.0, name.as_bytes(), &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn set_xattr(&self, of: &KernelHandle, name: &str, value: &[u8]) -> DiskResult<()> {
        Ok(fs::fsetxattr(&of.0, name, value, XattrFlags::empty())?)
    }

    fn xattr(&self, of: &KernelHandle, name: &str) -> DiskResult<Option<Vec<u8>>> {
        let mut value = Vec::with_capacity(XATTR_BYTES_MAX);
        match fs::fgetxattr(&of.0, name, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => Ok(Some(value)),
            Err(Errno::NODATA | Errno::RANGE | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn remove_xattr(&self, of: &KernelHandle, name: &str) -> DiskResult<()> {
        match fs::fremovexattr(&of.0, name) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    fn list(
        &self,
        directory: &KernelHandle,
        from: Option<DirectoryOffset>,
        max: usize,
    ) -> DiskResult<DirectoryPage> {
        // A descriptor of its own, because the position in a directory is the descriptor's.
        match self.open_directory(directory, &[]) {
            // One that its owner can read and not search: it is read from its beginning as it is.
            Err(error) if error.code() == Code::PermissionDenied && from.is_none() => {
                fs::seek(&directory.0, fs::SeekFrom::Start(0))?;
                list::page(&directory.0, from, max.max(1))
            }
            own => list::page(&own?.0, from, max.max(1)),
        }
    }

    fn sync_file(&self, of: &KernelHandle) -> DiskResult<()> {
        Ok(fs::fsync(&of.0)?)
    }

    fn sync_data(&self, of: &KernelHandle) -> DiskResult<()> {
        Ok(fs::fdatasync(&of.0)?)
    }

    fn sync_directory(&self, directory: &KernelHandle) -> DiskResult<()> {
        Ok(fs::fsync(&directory.0)?)
    }

    fn sync_file_system(&self, of: &KernelHandle) -> DiskResult<()> {
        Ok(fs::syncfs(&of.0)?)
    }

    fn start_write_back(&self, of: &KernelHandle, range: Range) -> DiskResult<()> {
        write_back::start(&of.0, range)
    }

    fn drop_cache(&self, of: &KernelHandle, range: Range) -> DiskResult<()> {
        match NonZeroU64::new(range.len().0) {
            Some(len) => {
                let start = position(range.start())?;
                Ok(fs::fadvise(&of.0, start, Some(len), Advice::DontNeed)?)
            }
            None => Ok(()),
        }
    }

    fn expect_sequential(&self, of: &KernelHandle) -> DiskResult<()> {
        Ok(fs::fadvise(&of.0, 0, None, Advice::Sequential)?)
    }

    fn rename(
        &self,
        from: (&KernelHandle, Name<'_>),
        to: (&KernelHandle, Name<'_>),
        overwrite: Overwrite,
    ) -> DiskResult<()> {
        let flags = match overwrite {
            Overwrite::Allowed => RenameFlags::empty(),
            Overwrite::Refused => RenameFlags::NOREPLACE,
        };
        let (old, new) = (from.1.as_bytes(), to.1.as_bytes());
        match fs::renameat_with(&from.0.0, old, &to.0.0, new, flags) {
            // File systems that do not know the flag: ZFS before 2.2, NFS, 9p, some in user space.
            Err(Errno::INVAL) if overwrite == Overwrite::Refused => self.rename_by_link(from, to),
            answer => Ok(answer?),
        }
    }

    fn link(
        &self,
        from: (&KernelHandle, Name<'_>),
        to: (&KernelHandle, Name<'_>),
    ) -> DiskResult<()> {
        let (old, new) = (from.1.as_bytes(), to.1.as_bytes());
        Ok(fs::linkat(&from.0.0, old, &to.0.0, new, AtFlags::empty())?)
    }

    fn remove_file(&self, at: &KernelHandle, name: Name<'_>) -> DiskResult<()> {
        Ok(fs::unlinkat(&at.0, name.as_bytes(), AtFlags::empty())?)
    }

    fn remove_directory(&self, at: &KernelHandle, name: Name<'_>) -> DiskResult<()> {
        Ok(fs::unlinkat(&at.0, name.as_bytes(), AtFlags::REMOVEDIR)?)
    }

    fn try_lock(&self, of: &KernelHandle) -> DiskResult<Lock> {
        match retry_on_intr(|| fs::flock(&of.0, FlockOperation::NonBlockingLockExclusive)) {
            Ok(()) => Ok(Lock::Taken),
            Err(Errno::WOULDBLOCK) => Ok(Lock::HeldElsewhere),
            Err(errno) => Err(errno.into()),
        }
    }

    fn boot_id(&self) -> DiskResult<BootId> {
        stat::boot_id()
    }

    fn file_system(&self, of: &KernelHandle) -> DiskResult<FileSystem> {
        stat::file_system(&of.0)
    }

    fn may_change(&self, directory: &KernelHandle) -> DiskResult<()> {
        let access = fs::Access::WRITE_OK | fs::Access::EXEC_OK;
        match fs::accessat(&directory.0, ".", access, AtFlags::EACCESS) {
            Err(errno @ (Errno::ACCESS | Errno::ROFS)) => Err(errno.into()),
            // Where it cannot be asked, doing it will tell.
            _ => Ok(()),
        }
    }

    fn free_space(&self, of: &KernelHandle) -> DiskResult<ByteCount> {
        let space = fs::fstatvfs(&of.0)?;
        Ok(ByteCount(space.f_bavail.saturating_mul(space.f_frsize)))
    }

    fn now(&self) -> Timestamp {
        stat::now()
    }
}

fn require_file(kind: FileKind) -> DiskResult<()> {
    match kind {
        FileKind::File => Ok(()),
        FileKind::Directory => Err(DiskError::new(Code::IsDirectory)),
        FileKind::Link | FileKind::Other => Err(DiskError::new(Code::NotRegular)),
    }
}

fn mode_of(mode: Mode) -> fs::Mode {
    fs::Mode::from_raw_mode(u32::from(mode.bits()))
}

/// An offset as the kernel counts: signed, so half of ours.
fn position(at: Offset) -> DiskResult<u64> {
    match i64::try_from(at.0) {
        Ok(_) => Ok(at.0),
        Err(_) => Err(DiskError::new(Code::LimitExceeded)),
    }
}

fn fallocate(of: &KernelHandle, range: Range, flags: FallocateFlags) -> DiskResult<()> {
    if range.is_empty() {
        return Ok(());
    }
    let start = position(range.start())?;
    Ok(retry_on_intr(|| fs::fallocate(&of.0, flags, start, range.len().0))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_in_two_steps_replaces_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let disk = KernelDisk::open(directory.path()).unwrap();
        let root = disk.root().unwrap();
        let name = |text: &'static str| Name::new(text.as_bytes()).unwrap();
        disk.create_file(&root, name("a"), Mode::from_bits(0o600)).unwrap();
        disk.make_link(&root, name("l"), b"a").unwrap();
        let rename = |from, to| {
            disk.rename_by_link((&root, name(from)), (&root, name(to))).map_err(|e| e.code())
        };
        assert_eq!(rename("a", "l"), Err(Code::Exists));
        assert_eq!(rename("a", "b"), Ok(()));
        assert_eq!(rename("l", "m"), Ok(()));
        assert_eq!(rename("a", "c"), Err(Code::NotFound));
        assert_eq!(disk.stat_at(&root, name("b")).unwrap().links, 1);
        assert_eq!(disk.stat_at(&root, name("m")).unwrap().kind, FileKind::Link);
        disk.make_directory(&root, name("d"), Mode::from_bits(0o700)).unwrap();
        assert!(rename("d", "e").is_err());
    }

    /// What removes the old name did so, or not, or something else stands there; it says EIO.
    #[test]
    fn where_a_removal_fails_in_a_rename_one_name_is_left_at_least() {
        let directory = tempfile::tempdir().unwrap();
        let disk = KernelDisk::open(directory.path()).unwrap();
        let root = disk.root().unwrap();
        let name = |text: &'static str| Name::new(text.as_bytes()).unwrap();
        let make = |text| disk.create_file(&root, name(text), Mode::from_bits(0o600)).unwrap();
        let fails = || Err(DiskError::new(Code::Io));
        let stands = |text| disk.stat_at(&root, name(text)).is_ok();
        let rename = |remove: &dyn Fn() -> DiskResult<()>| {
            make("a");
            let answer = disk.rename_in_steps((&root, name("a")), (&root, name("b")), remove);
            let left = (stands("a"), stands("b"));
            let _ = ["a", "b"].map(|text| disk.remove_file(&root, name(text)));
            (answer.map_err(|error| error.code()), left)
        };
        let remove = || disk.remove_file(&root, name("a"));
        assert_eq!(rename(&|| remove().and_then(|()| fails())), (Ok(()), (false, true)));
        assert_eq!(rename(&fails), (Err(Code::Io), (true, false)));
        let replaced = || {
            remove()?;
            make("a");
            fails()
        };
        assert_eq!(rename(&replaced), (Err(Code::Io), (true, true)));
    }
}
