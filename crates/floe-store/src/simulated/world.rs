//! The state of a simulated disk: what is seen now, what would survive, and the effects between the
//! two.

use super::Breaks;
use super::holes::{PAGE_BYTES, Pages};
use crate::disk::{DiskError, DiskResult, FileKind};
use floe_types::{ByteCount, Code, Component, Mode, ObjectPath, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub(super) const ROOT: u64 = 1;

#[derive(Clone)]
pub(super) struct World {
    pub(super) inodes: BTreeMap<u64, Inode>,
    /// Changes of names that are not durable, in order.
    pub(super) changes: Vec<Change>,
    pub(super) breaks: Breaks,
    pub(super) operations: u64,
    pub(super) written: u64,
    pub(super) boot: u64,
    pub(super) now: Timestamp,
    /// Failures of syncs of any file.
    pub(super) failures: Failures,
    next: u64,
}

/// What a sync did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Synced {
    Done,
    /// It failed, and lost what it should have written.
    Lost,
}

/// How many syncs failed, and of how many of them anybody was told.
#[derive(Clone, Copy, Default)]
pub(super) struct Failures {
    count: u64,
    told: u64,
}

impl Failures {
    /// Tells a handle that knows of `told` of them.
    fn tell(&mut self, told: &mut u64) -> DiskResult<()> {
        if *told >= self.count {
            return Ok(());
        }
        (*told, self.told) = (self.count, self.count);
        Err(DiskError::new(Code::Io))
    }
}

#[derive(Clone)]
pub(super) struct Inode {
    pub(super) kind: FileKind,
    pub(super) mount: u64,
    pub(super) links: u32,
    pub(super) ctime: Timestamp,
    pub(super) birth: Timestamp,
    pub(super) lock: Option<u64>,
    pub(super) seen: Image,
    pub(super) durable: Image,
    /// Effects on the image that are not durable, in order.
    pub(super) effects: Vec<Effect>,
    pub(super) failures: Failures,
    pub(super) names: Names,
    /// The names that are durable.
    pub(super) kept: Names,
}

/// A directory's names: the inode, and the place in a listing.
pub(super) type Names = BTreeMap<Vec<u8>, (u64, u64)>;

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Image {
    /// Shared by copies of the disk until they are written.
    pub(super) bytes: Arc<Vec<u8>>,
    /// The pages that take space.
    pub(super) pages: Arc<Pages>,
    pub(super) mode: Mode,
    pub(super) mtime: Timestamp,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
}

#[derive(Clone, Debug)]
pub(super) enum Effect {
    Write(usize, Arc<[u8]>),
    /// Zeros from the one to the other, within the file; whole pages give their space back.
    Punch(usize, usize),
    Truncate(usize),
    Mode(Mode),
    Mtime(Timestamp),
    Xattr(String, Option<Vec<u8>>),
}

/// A change of names: some go, some come, at once.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) gone: Vec<(u64, Vec<u8>)>,
    pub(super) come: Vec<(u64, Vec<u8>, (u64, u64))>,
}

impl Change {
    fn keys(&self) -> impl Iterator<Item = (u64, &Vec<u8>)> {
        let gone = self.gone.iter().map(|(directory, name)| (*directory, name));
        gone.chain(self.come.iter().map(|(directory, name, _)| (*directory, name)))
    }
}

impl Effect {
    pub(super) fn is_data(&self) -> bool {
        matches!(self, Self::Write(..) | Self::Punch(..) | Self::Truncate(_))
    }
}

impl Image {
    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        let own = Arc::make_mut(&mut self.bytes);
        let end = at + bytes.len();
        own.resize(own.len().max(end), 0);
        own[at..end].copy_from_slice(bytes);
        Arc::make_mut(&mut self.pages).fill(at, end);
    }

    pub(super) fn punch(&mut self, from: usize, to: usize) {
        let own = Arc::make_mut(&mut self.bytes);
        let to = to.min(own.len());
        if from < to {
            own[from..to].fill(0);
            let end = if to == own.len() { to.next_multiple_of(PAGE_BYTES) } else { to };
            Arc::make_mut(&mut self.pages).free(from, end);
        }
    }

    fn truncate(&mut self, size: usize) {
        Arc::make_mut(&mut self.bytes).resize(size, 0);
        Arc::make_mut(&mut self.pages).free(size, usize::MAX);
    }

    pub(super) fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Write(at, bytes) => self.write(*at, bytes),
            Effect::Punch(from, to) => self.punch(*from, *to),
            Effect::Truncate(size) => self.truncate(*size),
            Effect::Mode(mode) => self.mode = *mode,
            Effect::Mtime(mtime) => self.mtime = *mtime,
            Effect::Xattr(name, Some(value)) => {
                self.xattrs.insert(name.clone(), value.clone());
            }
            Effect::Xattr(name, None) => {
                self.xattrs.remove(name);
            }
        }
    }
}

impl Inode {
    /// Makes all effects on it durable.
    fn settle(&mut self) {
        let effects = std::mem::take(&mut self.effects);
        effects.iter().for_each(|effect| self.durable.apply(effect));
        // One allocation for both, where nothing was lost before.
        if !effects.is_empty() && self.durable.bytes == self.seen.bytes {
            self.durable.bytes = Arc::clone(&self.seen.bytes);
        }
    }

    /// Bytes of a range are read from the disk again, where none of the file's wait to be written.
    pub(super) fn forget_clean(&mut self, from: usize, to: usize) {
        let is_clean = !self.effects.iter().any(Effect::is_data);
        if !is_clean || Arc::ptr_eq(&self.seen.bytes, &self.durable.bytes) {
            return;
        }
        let (stands, to) = (&self.durable.bytes, to.min(self.seen.bytes.len()));
        let seen = Arc::make_mut(&mut self.seen.bytes);
        for (at, byte) in seen.iter_mut().enumerate().take(to).skip(from) {
            *byte = stands.get(at).copied().unwrap_or(0);
        }
    }
}

impl World {
    pub(super) fn new() -> Self {
        let now = Timestamp::new(1_700_000_000, 0).unwrap_or_default();
        let mut world = Self {
            inodes: BTreeMap::new(),
            changes: Vec::new(),
            breaks: Breaks::default(),
            operations: 0,
            written: 0,
            boot: 1,
            now,
            failures: Failures::default(),
            next: ROOT,
        };
        world.make(FileKind::Directory, Mode::from_bits(0o755), 1, Vec::new());
        world
    }

    /// The next number: of an inode, a handle, a place in a listing.
    pub(super) fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    pub(super) fn make(&mut self, kind: FileKind, mode: Mode, mount: u64, bytes: Vec<u8>) -> u64 {
        let number = self.fresh();
        let (bytes, pages) = (Arc::new(bytes), Arc::default());
        let seen = Image { bytes, pages, mode, mtime: self.now, xattrs: BTreeMap::new() };
        let inode = Inode {
            kind,
            mount,
            links: 0,
            ctime: self.now,
            birth: self.now,
            lock: None,
            durable: seen.clone(),
            seen,
            effects: Vec::new(),
            failures: Failures::default(),
            names: Names::new(),
            kept: Names::new(),
        };
        self.inodes.insert(number, inode);
        number
    }

    /// One operation; fails where the device is gone.
    pub(super) fn turn(&mut self) -> DiskResult<()> {
        self.operations += 1;
        match self.breaks.operations_max {
            Some(max) if self.operations > max => Err(DiskError::new(Code::Io)),
            _ => Ok(()),
        }
    }

    pub(super) fn inode(&mut self, number: u64) -> DiskResult<&mut Inode> {
        self.inodes.get_mut(&number).ok_or(DiskError::new(Code::Io))
    }

    pub(super) fn lookup(&mut self, directory: u64, name: &[u8]) -> DiskResult<u64> {
        let directory = self.inode(directory)?;
        if directory.kind != FileKind::Directory {
            return Err(DiskError::new(Code::NotDirectory));
        }
        directory.names.get(name).map(|(inode, _)| *inode).ok_or(DiskError::new(Code::NotFound))
    }

    pub(super) fn walk(&mut self, from: u64, path: &[Component]) -> DiskResult<u64> {
        path.iter().try_fold(from, |at, name| {
            let next = self.lookup(at, name.as_bytes())?;
            match self.inode(next)?.kind {
                FileKind::Directory => Ok(next),
                _ => Err(DiskError::new(Code::NotDirectory)),
            }
        })
    }

    /// Changes names, as it is seen; durable later.
    pub(super) fn change(&mut self, change: Change) {
        let now = self.now;
        for (directory, name) in &change.gone {
            let gone = self.inodes.get_mut(directory).and_then(|inode| {
                (inode.seen.mtime, inode.ctime) = (now, now);
                inode.names.remove(name)
            });
            if let Some(inode) = gone.and_then(|(inode, _)| self.inodes.get_mut(&inode)) {
                inode.links -= 1;
                inode.ctime = now;
            }
        }
        for (directory, name, (number, place)) in &change.come {
            if let Some(inode) = self.inodes.get_mut(number) {
                inode.links += 1;
                inode.ctime = now;
            }
            if let Some(directory) = self.inodes.get_mut(directory) {
                (directory.seen.mtime, directory.ctime) = (now, now);
                directory.names.insert(name.clone(), (*number, *place));
            }
        }
        self.changes.push(change);
    }

    pub(super) fn effect(&mut self, number: u64, effect: Effect) -> DiskResult<()> {
        let now = self.now;
        let inode = self.inode(number)?;
        inode.seen.apply(&effect);
        inode.ctime = now;
        if effect.is_data() {
            inode.seen.mtime = now;
            inode.effects.push(Effect::Mtime(now));
        }
        inode.effects.push(effect);
        Ok(())
    }

    /// A sync of a file; a failed one drops what it should have written, though it can still be
    /// read, and is told by `tell`.
    pub(super) fn sync(&mut self, number: u64, data_only: bool) -> DiskResult<Synced> {
        let fails = self.breaks.syncs > 0;
        self.breaks.syncs = self.breaks.syncs.saturating_sub(1);
        if fails {
            self.failures.count += 1;
        }
        let inode = self.inode(number)?;
        if fails {
            inode.failures.count += 1;
        } else if !data_only {
            inode.settle();
            return Ok(Synced::Done);
        }
        let effects = std::mem::take(&mut inode.effects);
        for effect in effects {
            match (data_only && !effect.is_data(), fails) {
                (true, _) => inode.effects.push(effect),
                (false, true) => {}
                (false, false) => inode.durable.apply(&effect),
            }
        }
        Ok(if fails { Synced::Lost } else { Synced::Done })
    }

    /// A sync of the whole file system; a failed one drops what it should have written.
    pub(super) fn sync_all(&mut self) {
        if self.breaks.syncs == 0 {
            return self.settle_all();
        }
        self.breaks.syncs -= 1;
        self.failures.count += 1;
        for inode in self.inodes.values_mut().filter(|inode| !inode.effects.is_empty()) {
            inode.effects.clear();
            inode.failures.count += 1;
        }
    }

    /// What a handle opened now is taken to know: failures of which somebody was told.
    pub(super) fn failures_told(&self, number: u64) -> (u64, u64) {
        let own = self.inodes.get(&number).map_or(0, |inode| inode.failures.told);
        (own, self.failures.told)
    }

    /// Fails once for the failures that a handle does not know of.
    pub(super) fn tell(&mut self, number: u64, told: &mut u64) -> DiskResult<()> {
        self.inode(number)?.failures.tell(told)
    }

    /// The same for the whole file system.
    pub(super) fn tell_of_all(&mut self, told: &mut u64) -> DiskResult<()> {
        self.failures.tell(told)
    }

    /// Makes the names of one directory durable, and whatever those changes hang on.
    pub(super) fn sync_names(&mut self, directory: u64) {
        let mut keys: BTreeSet<(u64, Vec<u8>)> = BTreeSet::new();
        let mut chosen = vec![false; self.changes.len()];
        for (nth, change) in self.changes.iter().enumerate().rev() {
            let hangs = change
                .keys()
                .any(|(at, name)| at == directory || keys.contains(&(at, name.clone())));
            if hangs {
                chosen[nth] = true;
                keys.extend(change.keys().map(|(at, name)| (at, name.clone())));
            }
        }
        let changes = std::mem::take(&mut self.changes);
        for (change, chosen) in changes.into_iter().zip(chosen) {
            if chosen {
                self.keep(&change);
            } else {
                self.changes.push(change);
            }
        }
    }

    pub(super) fn keep(&mut self, change: &Change) {
        for (directory, name) in &change.gone {
            if let Some(directory) = self.inodes.get_mut(directory) {
                directory.kept.remove(name);
            }
        }
        for (directory, name, entry) in &change.come {
            if let Some(directory) = self.inodes.get_mut(directory) {
                directory.kept.insert(name.clone(), *entry);
            }
        }
    }

    /// Makes everything durable.
    pub(super) fn settle_all(&mut self) {
        for change in std::mem::take(&mut self.changes) {
            self.keep(&change);
        }
        for inode in self.inodes.values_mut() {
            inode.settle();
        }
    }

    pub(super) fn unlock(&mut self, number: u64, holder: u64) {
        if let Some(inode) = self.inodes.get_mut(&number)
            && inode.lock == Some(holder)
        {
            inode.lock = None;
        }
    }

    pub(super) fn mount_at(&mut self, path: &ObjectPath) {
        let mount = self.fresh();
        if let Ok(number) = self.walk(ROOT, path.components())
            && let Some(inode) = self.inodes.get_mut(&number)
        {
            inode.mount = mount;
        }
    }

    pub(super) fn room_for(&mut self, bytes: usize) -> DiskResult<()> {
        self.written += bytes as u64;
        match self.breaks.space_bytes_max {
            Some(ByteCount(max)) if self.written > max => Err(DiskError::new(Code::NoSpace)),
            _ => Ok(()),
        }
    }
}
