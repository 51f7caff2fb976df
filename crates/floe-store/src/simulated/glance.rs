//! What stands at a path, without a handle and without an operation: for whoever judges a disk.

use super::world::{Image, ROOT};
use super::{SimulatedDisk, SimulatedHandle};
use crate::disk::FileKind;
use crate::mark::{MARK_NAME, Mark};
use floe_types::{ByteCount, Metadata, ObjectPath, Root};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

/// What stands at a path.
#[derive(Clone, Debug)]
pub struct Glance {
    /// What it is.
    pub kind: FileKind,
    /// Its mode and mtime.
    pub metadata: Metadata,
    /// A file's bytes, or a link's text.
    pub bytes: Arc<Vec<u8>>,
    mark: Option<Vec<u8>>,
}

impl Glance {
    /// Whether nothing that can be seen has changed. Bytes that were written are taken for other
    /// ones, whatever they are.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.bytes, &other.bytes)
            && (self.kind, self.metadata) == (other.kind, other.metadata)
            && self.mark == other.mark
    }

    /// The root that its mark vouches for.
    #[must_use]
    pub fn marked_root(&self) -> Option<Root> {
        let mark = self.mark.as_deref().and_then(Mark::decode)?;
        mark.root_of(ByteCount::of_len(self.bytes.len()), self.metadata.mtime)
    }
}

impl SimulatedDisk {
    /// A number of all that has a name. Two disks that lost power, in which the same boot comes
    /// next, behave the same where it is the same (but for collisions of 64 bits).
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        let world = self.lock();
        let mut hasher = DefaultHasher::new();
        (world.boot, world.now).hash(&mut hasher);
        let mut waiting = vec![ROOT];
        while let Some(inode) = waiting.pop().and_then(|number| world.inodes.get(&number)) {
            let Image { bytes, mode, mtime, xattrs, pages: _ } = &inode.seen;
            (inode.kind, inode.mount, inode.links, inode.ctime, inode.birth).hash(&mut hasher);
            (bytes, mode, mtime, xattrs).hash(&mut hasher);
            let mut names: Vec<_> = inode.names.iter().collect();
            names.sort_by_key(|(_, (_, place))| *place);
            for (name, (number, _)) in names {
                name.hash(&mut hasher);
                waiting.push(*number);
            }
            inode.names.len().hash(&mut hasher);
        }
        hasher.finish()
    }

    /// The space that an open file takes.
    #[must_use]
    pub fn space(&self, of: &SimulatedHandle) -> ByteCount {
        self.lock().inodes.get(&of.inode).map_or(ByteCount::ZERO, |file| file.seen.pages.space())
    }

    /// What stands at a path; no link is followed.
    #[must_use]
    pub fn glance(&self, path: &ObjectPath) -> Option<Glance> {
        let mut world = self.lock();
        let number = match path.components().split_last() {
            None => ROOT,
            Some((name, parents)) => {
                let directory = world.walk(ROOT, parents).ok()?;
                world.lookup(directory, name.as_bytes()).ok()?
            }
        };
        let inode = world.inode(number).ok()?;
        let seen = &inode.seen;
        Some(Glance {
            kind: inode.kind,
            metadata: Metadata { mode: seen.mode, mtime: seen.mtime },
            bytes: Arc::clone(&seen.bytes),
            mark: seen.xattrs.get(MARK_NAME).cloned(),
        })
    }
}
