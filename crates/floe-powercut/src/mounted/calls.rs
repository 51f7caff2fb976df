//! The kernel's requests as calls on the tree.
//!
//! The kernel checks permissions, and keeps locks and open files. A sync of the whole file system
//! does not reach a file system of this kind: it succeeds and does nothing, so whoever relies on it
//! loses.

use super::{Shared, State, Stuck};
use crate::tree::{Answer, Attributes, Found, Kind, NodeId, Power, Replace};
use fuser::{
    Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, LockOwner, OpenFlags,
    RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// Nothing is remembered by the kernel: links and sizes are asked for each time.
const REMEMBERED: Duration = Duration::ZERO;
const BLOCK_BYTES: u32 = 4096;
/// What the file system claims to hold, in blocks: 64 GiB.
const BLOCKS: u64 = 1 << 24;
/// Places of `.` and `..` in a listing; those of names come behind.
const DOTS: u64 = 2;

pub(super) struct Calls {
    shared: Arc<Shared>,
}

impl Calls {
    pub(super) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Does a call, or waits for its end where there is no power, also where it goes with the call.
    fn call<T>(&self, call: impl FnOnce(&mut State) -> Answer<T>) -> Result<T, Errno> {
        let mut state = self.shared.lock();
        if state.tree.power() == Power::On {
            let answer = call(&mut state);
            if state.tree.power() == Power::On {
                return answer.map_err(|errno| Errno::from_i32(errno.raw_os_error()));
            }
            self.shared.changed.notify_all();
        }
        self.wait(state);
        Err(Errno::EIO)
    }

    fn wait(&self, state: MutexGuard<'_, State>) {
        let waiting = |state: &mut State| state.stuck == Stuck::Waiting;
        drop(
            self.shared.changed.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner),
        );
    }

    /// Makes an inode and says what it is.
    fn make(
        &self,
        parent: INodeNo,
        name: &OsStr,
        what: (Kind, u32, Vec<u8>),
    ) -> Result<FileAttr, Errno> {
        self.call(|state| {
            let id = state.tree.make(node(parent), name.as_bytes(), what)?;
            state.tree.stat(id)
        })
        .map(|found| attributes(&found))
    }
}

const fn node(id: INodeNo) -> NodeId {
    NodeId(id.0)
}

const fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Directory => FileType::Directory,
        Kind::Link => FileType::Symlink,
    }
}

fn attributes(found: &Found) -> FileAttr {
    FileAttr {
        ino: INodeNo(found.id.0),
        size: found.size,
        blocks: found.size.div_ceil(512),
        atime: found.mtime,
        mtime: found.mtime,
        ctime: found.ctime,
        crtime: found.ctime,
        kind: file_type(found.kind),
        perm: u16::try_from(found.mode & 0o7777).unwrap_or(0),
        nlink: if found.kind == Kind::Directory { found.links + 1 } else { found.links },
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn offset(at: u64) -> Answer<usize> {
    usize::try_from(at).map_err(|_| rustix::io::Errno::FBIG)
}

fn empty(answer: Result<(), Errno>, reply: ReplyEmpty) {
    match answer {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(error),
    }
}

fn entry(answer: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match answer {
        Ok(attr) => reply.entry(&REMEMBERED, &attr, Generation(0)),
        Err(error) => reply.error(error),
    }
}

fn xattr(answer: Result<Vec<u8>, Errno>, size: u32, reply: ReplyXattr) {
    match answer {
        Ok(bytes) if size == 0 => reply.size(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
        Ok(bytes) if bytes.len() as u64 > u64::from(size) => reply.error(Errno::ERANGE),
        Ok(bytes) => reply.data(&bytes),
        Err(error) => reply.error(error),
    }
}

fn moment(time: TimeOrNow) -> SystemTime {
    match time {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

impl fuser::Filesystem for Calls {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.call(|state| {
            let id = state.tree.lookup(node(parent), name.as_bytes())?;
            state.tree.stat(id)
        });
        entry(found.map(|found| attributes(&found)), reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.call(|state| state.tree.stat(node(ino))) {
            Ok(found) => reply.attr(&REMEMBERED, &attributes(&found)),
            Err(error) => reply.error(error),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let answer = self.call(|state| {
            let size = size.map(offset).transpose()?;
            let to = Attributes { size, mode, mtime: mtime.map(moment) };
            state.tree.set(node(ino), to)?;
            state.tree.stat(node(ino))
        });
        match answer {
            Ok(found) => reply.attr(&REMEMBERED, &attributes(&found)),
            Err(error) => reply.error(error),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.call(|state| state.tree.read(node(ino), 0, usize::MAX).map(<[u8]>::to_vec)) {
            Ok(text) => reply.data(&text),
            Err(error) => reply.error(error),
        }
    }

    fn mkdir(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        entry(self.make(parent, name, (Kind::Directory, mode & !umask, Vec::new())), reply);
    }

    fn symlink(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        let text = target.as_os_str().as_bytes().to_vec();
        entry(self.make(parent, name, (Kind::Link, 0o777, text)), reply);
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.make(parent, name, (Kind::File, mode & !umask, Vec::new())) {
            Ok(attr) => {
                let none = FopenFlags::empty();
                reply.created(&REMEMBERED, &attr, Generation(0), FileHandle(0), none);
            }
            Err(error) => reply.error(error),
        }
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (at, name) = (node(parent), name.as_bytes());
        empty(self.call(|state| state.tree.remove(at, name, Kind::File)), reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (at, name) = (node(parent), name.as_bytes());
        empty(self.call(|state| state.tree.remove(at, name, Kind::Directory)), reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let replace = match flags {
            RenameFlags::RENAME_NOREPLACE => Replace::Refused,
            RenameFlags::RENAME_EXCHANGE => Replace::Exchange,
            flags if flags.is_empty() => Replace::Allowed,
            _ => return reply.error(Errno::EINVAL),
        };
        let (from, to) = ((node(parent), name.as_bytes()), (node(newparent), newname.as_bytes()));
        empty(self.call(|state| state.tree.rename(from, to, replace)), reply);
    }

    fn link(
        &self,
        _: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        let found = self.call(|state| {
            state.tree.link(node(ino), node(newparent), newname.as_bytes())?;
            state.tree.stat(node(ino))
        });
        entry(found.map(|found| attributes(&found)), reply);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        at: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.call(|state| {
            let bytes = state.tree.read(node(ino), offset(at)?, size as usize)?;
            Ok(bytes.to_vec())
        });
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        at: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.call(|state| state.tree.write(node(ino), offset(at)?, bytes)) {
            Ok(()) => reply.written(u32::try_from(bytes.len()).unwrap_or(0)),
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        at: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        const KEEP_SIZE: i32 = 1;
        match mode {
            KEEP_SIZE => empty(self.call(|state| state.tree.stat(node(ino)).map(drop)), reply),
            0 => empty(
                self.call(|state| state.tree.allocate(node(ino), offset(at + length)?)),
                reply,
            ),
            _ => reply.error(Errno::EOPNOTSUPP),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // The end of a handle makes nothing durable, and each write reached the tree already.
        reply.ok();
    }

    fn fsync(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        content_only: bool,
        reply: ReplyEmpty,
    ) {
        empty(self.call(|state| state.tree.sync_file(node(ino), content_only)), reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        empty(self.call(|state| state.tree.sync_names(node(ino))), reply);
    }

    fn readdir(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        behind: u64,
        mut reply: ReplyDirectory,
    ) {
        let names = self.call(|state| state.tree.list(node(ino), behind.saturating_sub(DOTS)));
        let names = match names {
            Ok(names) => names,
            Err(error) => return reply.error(error),
        };
        for (place, dots) in [(1, "."), (2, "..")] {
            if place > behind && reply.add(ino, place, FileType::Directory, dots) {
                return reply.ok();
            }
        }
        for one in names {
            let (id, kind) = (INodeNo(one.id.0), file_type(one.kind));
            if reply.add(id, one.place + DOTS, kind, OsStr::from_bytes(&one.name)) {
                break;
            }
        }
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        reply.statfs(BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCKS, BLOCK_BYTES, 255, BLOCK_BYTES);
    }

    fn setxattr(
        &self,
        _: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        _flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let (id, name) = (node(ino), name.as_bytes());
        empty(self.call(|state| state.tree.set_xattr(id, name, Some(value))), reply);
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let (id, name) = (node(ino), name.as_bytes());
        empty(self.call(|state| state.tree.set_xattr(id, name, None)), reply);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let value = self.call(|state| {
            let found = state.tree.xattrs(node(ino))?.get(name.as_bytes()).cloned();
            found.ok_or(rustix::io::Errno::NODATA)
        });
        xattr(value, size, reply);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.call(|state| {
            let xattrs = state.tree.xattrs(node(ino))?;
            Ok(xattrs.keys().flat_map(|name| name.iter().copied().chain([0])).collect())
        });
        xattr(names, size, reply);
    }
}
