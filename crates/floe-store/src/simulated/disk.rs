//! Each method of `Disk` on the simulated state.

use super::holes;
use super::world::{Change, Effect, ROOT, Synced, World};
use super::{SimulatedDisk, SimulatedHandle};
use crate::api::Overwrite;
use crate::disk::{
    Access, BootId, DirectoryOffset, DirectoryPage, Disk, DiskError, DiskResult, FileKind,
    FileStat, FileSystem, Locality, Lock, Name, Owner,
};
use floe_types::{ByteCount, Code, Component, Mode, Offset, Range, Timestamp};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// No file ends beyond: it is held in memory, holes and all.
const FILE_END_MAX: Offset = Offset(32 << 20);

type Spot<'a> = (&'a SimulatedHandle, Name<'a>);

impl SimulatedDisk {
    /// Takes a turn with an open handle.
    fn with<R>(
        &self,
        handle: &SimulatedHandle,
        then: impl FnOnce(&mut World, u64) -> DiskResult<R>,
    ) -> DiskResult<R> {
        let mut world = self.lock();
        world.turn()?;
        if handle.boot != world.boot {
            return Err(DiskError::new(Code::Io));
        }
        then(&mut world, handle.inode)
    }

    fn handle(&self, world: &mut MutexGuard<'_, World>, inode: u64) -> SimulatedHandle {
        let (id, boot) = (world.fresh(), world.boot);
        let told = Mutex::new(world.failures_told(inode));
        SimulatedHandle { world: Arc::clone(&self.world), inode, id, boot, told }
    }

    /// A sync of a handle's file: done, and then what that handle was not told yet is told.
    fn synced(&self, of: &SimulatedHandle, data_only: bool) -> DiskResult<()> {
        self.with(of, |world, inode| {
            world.sync(inode, data_only)?;
            let mut told = of.told.lock().unwrap_or_else(PoisonError::into_inner);
            world.tell(inode, &mut told.0)
        })
    }

    fn opened(
        &self,
        at: &SimulatedHandle,
        find: impl FnOnce(&mut World, u64) -> DiskResult<u64>,
    ) -> DiskResult<SimulatedHandle> {
        let inode = self.with(at, find)?;
        Ok(self.handle(&mut self.lock(), inode))
    }
}

/// Fails where this disk knows no holes.
fn holes_offered(world: &World) -> DiskResult<()> {
    if world.breaks.without_holes { failed(Code::Unsupported) } else { Ok(()) }
}

fn failed<T>(code: Code) -> DiskResult<T> {
    Err(DiskError::new(code))
}

fn len(count: u64) -> DiskResult<usize> {
    usize::try_from(count).map_err(|_| DiskError::new(Code::LimitExceeded))
}

/// Gives an inode a name that nothing has.
fn name_it(world: &mut World, at: u64, name: Name<'_>, inode: u64) {
    let place = world.fresh();
    let come = vec![(at, name.as_bytes().to_vec(), (inode, place))];
    world.change(Change { gone: Vec::new(), come });
}

fn make(
    world: &mut World,
    at: u64,
    name: Name<'_>,
    kind: FileKind,
    (mode, bytes): (Mode, Vec<u8>),
) -> DiskResult<u64> {
    match world.lookup(at, name.as_bytes()) {
        Ok(_) => return failed(Code::Exists),
        Err(error) if error.code() != Code::NotFound => return Err(error),
        Err(_) => {}
    }
    let directory = world.inode(at)?;
    if directory.links == 0 && at != ROOT {
        return failed(Code::NotFound);
    }
    let mount = directory.mount;
    let inode = world.make(kind, mode, mount, bytes);
    name_it(world, at, name, inode);
    Ok(inode)
}

fn stat(world: &mut World, number: u64) -> DiskResult<FileStat> {
    let tells = !world.breaks.without_birth;
    let inode = world.inode(number)?;
    Ok(FileStat {
        kind: inode.kind,
        owner: Owner::Us,
        inode: number,
        size: ByteCount::of_len(inode.seen.bytes.len()),
        mode: inode.seen.mode,
        mtime: inode.seen.mtime,
        ctime: inode.ctime,
        birth: tells.then_some(inode.birth),
        links: inode.links,
        allocated: ByteCount::of_len(inode.seen.bytes.len()),
    })
}

fn remove(world: &mut World, at: u64, name: Name<'_>) {
    let gone = vec![(at, name.as_bytes().to_vec())];
    world.change(Change { gone, come: Vec::new() });
}

impl Disk for SimulatedDisk {
    type Handle = SimulatedHandle;

    fn root(&self) -> DiskResult<SimulatedHandle> {
        Ok(self.handle(&mut self.lock(), ROOT))
    }

    fn open_directory(
        &self,
        at: &SimulatedHandle,
        path: &[Component],
    ) -> DiskResult<SimulatedHandle> {
        self.opened(at, |world, at| world.walk(at, path))
    }

    fn open_child(&self, at: &SimulatedHandle, name: Name<'_>) -> DiskResult<SimulatedHandle> {
        self.opened(at, |world, at| {
            let inode = world.lookup(at, name.as_bytes())?;
            match world.inode(inode)?.kind {
                FileKind::Directory => Ok(inode),
                _ => failed(Code::NotDirectory),
            }
        })
    }

    fn unnamed(&self, _at: &SimulatedHandle) -> DiskResult<SimulatedHandle> {
        failed(Code::Unsupported)
    }

    fn open_file(
        &self,
        at: &SimulatedHandle,
        name: Name<'_>,
        _access: Access,
    ) -> DiskResult<SimulatedHandle> {
        self.opened(at, |world, at| {
            let inode = world.lookup(at, name.as_bytes())?;
            match world.inode(inode)?.kind {
                FileKind::File => Ok(inode),
                FileKind::Directory => failed(Code::IsDirectory),
                FileKind::Link | FileKind::Other => failed(Code::NotRegular),
            }
        })
    }

    fn create_file(
        &self,
        at: &SimulatedHandle,
        name: Name<'_>,
        mode: Mode,
    ) -> DiskResult<SimulatedHandle> {
        self.opened(at, |world, at| make(world, at, name, FileKind::File, (mode, Vec::new())))
    }

    fn make_directory(&self, at: &SimulatedHandle, name: Name<'_>, mode: Mode) -> DiskResult<()> {
        self.with(at, |world, at| {
            make(world, at, name, FileKind::Directory, (mode, Vec::new())).map(drop)
        })
    }

    fn make_link(&self, at: &SimulatedHandle, name: Name<'_>, target: &[u8]) -> DiskResult<()> {
        let body = (Mode::from_bits(0o777), target.to_vec());
        self.with(at, |world, at| make(world, at, name, FileKind::Link, body).map(drop))
    }

    fn stat(&self, of: &SimulatedHandle) -> DiskResult<FileStat> {
        self.with(of, stat)
    }

    fn stat_at(&self, at: &SimulatedHandle, name: Name<'_>) -> DiskResult<FileStat> {
        self.with(at, |world, at| {
            let inode = world.lookup(at, name.as_bytes())?;
            stat(world, inode)
        })
    }

    fn read_link(&self, at: &SimulatedHandle, name: Name<'_>) -> DiskResult<Vec<u8>> {
        self.with(at, |world, at| {
            let inode = world.lookup(at, name.as_bytes())?;
            Ok(world.inode(inode)?.seen.bytes.to_vec())
        })
    }

    fn read_at(&self, from: &SimulatedHandle, at: Offset, into: &mut [u8]) -> DiskResult<usize> {
        self.with(from, |world, inode| {
            let bytes = &world.inode(inode)?.seen.bytes;
            let rest = bytes.get(len(at.0)?..).unwrap_or_default();
            let count = rest.len().min(into.len());
            into[..count].copy_from_slice(&rest[..count]);
            Ok(count)
        })
    }

    fn read_cached(
        &self,
        from: &SimulatedHandle,
        at: Offset,
        into: &mut [u8],
    ) -> DiskResult<Option<usize>> {
        self.read_at(from, at, into).map(Some)
    }

    fn write_at(&self, to: &SimulatedHandle, at: Offset, bytes: &[u8]) -> DiskResult<()> {
        self.with(to, |world, inode| {
            world.room_for(bytes.len())?;
            if at.plus(ByteCount::of_len(bytes.len())) > FILE_END_MAX {
                return Err(DiskError::new(Code::NoSpace));
            }
            world.effect(inode, Effect::Write(len(at.0)?, bytes.into()))
        })
    }

    fn allocate(&self, of: &SimulatedHandle, _range: Range) -> DiskResult<()> {
        self.with(of, |_, _| Ok(()))
    }

    fn next_data(&self, of: &SimulatedHandle, from: Offset) -> DiskResult<Option<Offset>> {
        self.with(of, |world, inode| {
            holes_offered(world)?;
            Ok(holes::next_data(&world.inode(inode)?.seen.bytes, len(from.0)?))
        })
    }

    fn next_hole(&self, of: &SimulatedHandle, from: Offset) -> DiskResult<Offset> {
        self.with(of, |world, inode| {
            holes_offered(world)?;
            Ok(holes::next_hole(&world.inode(inode)?.seen.bytes, len(from.0)?))
        })
    }

    fn punch(&self, of: &SimulatedHandle, range: Range) -> DiskResult<()> {
        self.with(of, |world, inode| {
            holes_offered(world)?;
            let size = world.inode(inode)?.seen.bytes.len();
            let (start, end) = (len(range.start().0)?.min(size), len(range.end().0)?.min(size));
            world.effect(inode, Effect::Punch(start, end))
        })
    }

    fn truncate(&self, of: &SimulatedHandle, size: ByteCount) -> DiskResult<()> {
        self.with(of, |world, inode| world.effect(inode, Effect::Truncate(len(size.0)?)))
    }

    fn set_mode(&self, of: &SimulatedHandle, mode: Mode) -> DiskResult<()> {
        self.with(of, |world, inode| world.effect(inode, Effect::Mode(mode)))
    }

    fn set_mtime(&self, of: &SimulatedHandle, mtime: Timestamp) -> DiskResult<()> {
        self.with(of, |world, inode| world.effect(inode, Effect::Mtime(mtime)))
    }

    fn set_mtime_at(
        &self,
        at: &SimulatedHandle,
        name: Name<'_>,
        mtime: Timestamp,
    ) -> DiskResult<()> {
        self.with(at, |world, at| {
            let inode = world.lookup(at, name.as_bytes())?;
            world.inode(inode)?.durable.mtime = mtime; // a link's inode goes with its name
            world.effect(inode, Effect::Mtime(mtime))
        })
    }

    fn set_xattr(&self, of: &SimulatedHandle, name: &str, value: &[u8]) -> DiskResult<()> {
        self.with(of, |world, inode| {
            if world.breaks.without_xattr {
                return failed(Code::Unsupported);
            }
            world.effect(inode, Effect::Xattr(name.to_owned(), Some(value.to_vec())))
        })
    }

    fn xattr(&self, of: &SimulatedHandle, name: &str) -> DiskResult<Option<Vec<u8>>> {
        self.with(of, |world, inode| Ok(world.inode(inode)?.seen.xattrs.get(name).cloned()))
    }

    fn remove_xattr(&self, of: &SimulatedHandle, name: &str) -> DiskResult<()> {
        self.with(of, |world, inode| world.effect(inode, Effect::Xattr(name.to_owned(), None)))
    }

    fn list(
        &self,
        directory: &SimulatedHandle,
        from: Option<DirectoryOffset>,
        max: usize,
    ) -> DiskResult<DirectoryPage> {
        self.with(directory, |world, inode| {
            let from = from.map_or(0, |DirectoryOffset(place)| place);
            let names = &world.inode(inode)?.names;
            let mut rest: Vec<_> = names.iter().filter(|(_, (_, place))| *place > from).collect();
            rest.sort_by_key(|(_, (_, place))| *place);
            let more = rest.len() > max;
            rest.truncate(max);
            let next = rest.last().map(|(_, (_, place))| DirectoryOffset(*place));
            let names = rest.into_iter().map(|(name, _)| name.clone()).collect();
            Ok(DirectoryPage { names, next: next.filter(|_| more) })
        })
    }

    fn sync_file(&self, of: &SimulatedHandle) -> DiskResult<()> {
        self.synced(of, false)
    }

    fn sync_data(&self, of: &SimulatedHandle) -> DiskResult<()> {
        self.synced(of, true)
    }

    fn sync_directory(&self, directory: &SimulatedHandle) -> DiskResult<()> {
        self.with(directory, |world, inode| {
            // One that fails leaves its names to the next.
            if world.sync(inode, false)? == Synced::Done {
                world.sync_names(inode);
            }
            let mut told = directory.told.lock().unwrap_or_else(PoisonError::into_inner);
            world.tell(inode, &mut told.0)
        })
    }

    fn sync_file_system(&self, of: &SimulatedHandle) -> DiskResult<()> {
        self.with(of, |world, _| {
            world.sync_all();
            if world.breaks.locality == Locality::Layered {
                return Ok(());
            }
            let mut told = of.told.lock().unwrap_or_else(PoisonError::into_inner);
            world.tell_of_all(&mut told.1)
        })
    }

    fn start_write_back(&self, of: &SimulatedHandle, _range: Range) -> DiskResult<()> {
        self.with(of, |_, _| Ok(()))
    }

    fn drop_cache(&self, of: &SimulatedHandle, range: Range) -> DiskResult<()> {
        self.with(of, |world, inode| {
            world.inode(inode)?.forget_clean(len(range.start().0)?, len(range.end().0)?);
            Ok(())
        })
    }

    fn expect_sequential(&self, of: &SimulatedHandle) -> DiskResult<()> {
        self.with(of, |_, _| Ok(()))
    }

    fn rename(&self, from: Spot<'_>, to: Spot<'_>, overwrite: Overwrite) -> DiskResult<()> {
        let to_inode = to.0.inode;
        self.with(from.0, |world, from_inode| {
            let moved = world.lookup(from_inode, from.1.as_bytes())?;
            let target = world.lookup(to_inode, to.1.as_bytes());
            if world.inode(moved)?.mount != world.inode(to_inode)?.mount {
                return Err(DiskError::of_system(Code::Unsupported, CROSS_DEVICE));
            }
            let mut gone = vec![(from_inode, from.1.as_bytes().to_vec())];
            if let Ok(target) = target {
                let is_directory = world.inode(moved)?.kind == FileKind::Directory;
                let stands = world.inode(target)?;
                match (overwrite, stands.kind == FileKind::Directory, is_directory) {
                    (Overwrite::Refused, ..) => return failed(Code::Exists),
                    (_, true, false) => return failed(Code::IsDirectory),
                    (_, false, true) => return failed(Code::NotDirectory),
                    (_, true, true) if !stands.names.is_empty() => return failed(Code::NotEmpty),
                    _ => {}
                }
                gone.push((to_inode, to.1.as_bytes().to_vec()));
            }
            let place = world.fresh();
            let come = vec![(to_inode, to.1.as_bytes().to_vec(), (moved, place))];
            world.change(Change { gone, come });
            Ok(())
        })
    }

    fn link(&self, from: Spot<'_>, to: Spot<'_>) -> DiskResult<()> {
        let to_inode = to.0.inode;
        self.with(from.0, |world, at| {
            let inode = world.lookup(at, from.1.as_bytes())?;
            if world.lookup(to_inode, to.1.as_bytes()).is_ok() {
                return failed(Code::Exists);
            }
            name_it(world, to_inode, to.1, inode);
            Ok(())
        })
    }

    fn remove_file(&self, at: &SimulatedHandle, name: Name<'_>) -> DiskResult<()> {
        self.with(at, |world, at| {
            let inode = world.lookup(at, name.as_bytes())?;
            if world.inode(inode)?.kind == FileKind::Directory {
                return failed(Code::IsDirectory);
            }
            remove(world, at, name);
            Ok(())
        })
    }

    fn remove_directory(&self, at: &SimulatedHandle, name: Name<'_>) -> DiskResult<()> {
        self.with(at, |world, at| {
            let inode = world.lookup(at, name.as_bytes())?;
            let directory = world.inode(inode)?;
            if directory.kind != FileKind::Directory {
                return failed(Code::NotDirectory);
            }
            if !directory.names.is_empty() {
                return failed(Code::NotEmpty);
            }
            remove(world, at, name);
            Ok(())
        })
    }

    fn try_lock(&self, of: &SimulatedHandle) -> DiskResult<Lock> {
        self.with(of, |world, inode| {
            let lock = &mut world.inode(inode)?.lock;
            if lock.is_some_and(|holder| holder != of.id) {
                return Ok(Lock::HeldElsewhere);
            }
            *lock = Some(of.id);
            Ok(Lock::Taken)
        })
    }

    fn boot_id(&self) -> DiskResult<BootId> {
        let boot = self.lock().boot;
        Ok(BootId(u128::from(boot).to_be_bytes()))
    }

    fn file_system(&self, of: &SimulatedHandle) -> DiskResult<FileSystem> {
        self.with(of, |world, inode| {
            let mount_id = world.inode(inode)?.mount;
            Ok(FileSystem {
                mount_id,
                mount_id_reuse: world.breaks.mount_ids,
                device: mount_id,
                magic: 0,
                locality: world.breaks.locality,
            })
        })
    }

    fn may_change(&self, _directory: &SimulatedHandle) -> DiskResult<()> {
        Ok(())
    }

    fn free_space(&self, _of: &SimulatedHandle) -> DiskResult<ByteCount> {
        Ok(self.lock().breaks.space_bytes_max.unwrap_or(ByteCount(1 << 40)))
    }

    fn now(&self) -> Timestamp {
        self.lock().now
    }
}

/// EXDEV.
const CROSS_DEVICE: i32 = 18;
