//! A tree of inodes and names with two forms: what is seen now, and what is durable.
//!
//! A change of names is one unit, whatever it touches: a rename is never half there. A sync of a
//! directory makes durable the changes that touch it, with those before them that they rest on.
//! Each other change survives a cut by the dice, as far as a tree of directories can hold it. A
//! name may survive without its inode's bytes, and bytes without a name.

mod calls; // what a program may ask of it
mod cut; // what is left of it

pub use calls::{Attributes, Found, Listed, Replace};
pub use cut::{Names, Survivors};

use crate::file::{File, Toll};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// What a call answers.
pub type Answer<T> = Result<T, Errno>;

/// One inode.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeId(pub u64);

/// The directory at the top.
pub const ROOT: NodeId = NodeId(1);

/// What an inode is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
}

/// The calls that a cut can be armed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Call {
    /// Makes an inode with its name.
    Make,
    /// Writes bytes or sets a size.
    Write,
    /// Sets attributes, plain or extended.
    Attribute,
    /// Renames or links.
    Rename,
    /// Removes a name.
    Remove,
    /// Syncs a file.
    SyncFile,
    /// Syncs a directory.
    SyncNames,
}

/// When the power goes: before the nth call of a kind, or of any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fuse {
    /// Which calls count; all where there is none.
    pub call: Option<Call>,
    /// How many of them are still done.
    pub left: u64,
}

/// A name's place: which inode, and where in a listing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Spot {
    node: NodeId,
    place: u64,
}

type Directory = BTreeMap<Vec<u8>, Spot>;

#[derive(Clone, Debug)]
struct Node {
    kind: Kind,
    file: File,
    ctime: SystemTime,
    links: u32,
    /// Names as they are seen.
    names: Directory,
    /// Names that are durable.
    kept: Directory,
}

/// One change of names: some go, some come, at once.
#[derive(Clone, Debug)]
struct Change {
    gone: Vec<(NodeId, Vec<u8>)>,
    come: Vec<(NodeId, Vec<u8>, Spot)>,
    /// Directories among the inodes that it moves or removes.
    directories: Vec<NodeId>,
    /// A directory that it removes.
    removed: Option<NodeId>,
}

/// The file system. See the module.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: BTreeMap<NodeId, Node>,
    changes: Vec<Change>,
    fuse: Option<Fuse>,
    power: Power,
    next: u64,
    calls: u64,
    toll: Toll,
}

/// Whether there is power.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Power {
    /// Calls are done.
    On,
    /// Nothing is done any more.
    Off,
}

impl Change {
    fn touches(&self, directory: NodeId) -> bool {
        self.keys().any(|(at, _)| at == directory)
    }

    fn keys(&self) -> impl Iterator<Item = (NodeId, &Vec<u8>)> {
        let gone = self.gone.iter().map(|(at, name)| (*at, name));
        gone.chain(self.come.iter().map(|(at, name, _)| (*at, name)))
    }

    fn shares_name(&self, other: &Self) -> bool {
        self.keys().any(|key| other.keys().any(|one| one == key))
    }

    /// Whether it can be durable only if an earlier change is: a directory stands in one place, and
    /// one that is removed is empty.
    fn rests_on(&self, earlier: &Self) -> bool {
        let moved = self.directories.iter().any(|one| earlier.directories.contains(one));
        moved || self.removed.is_some_and(|removed| earlier.touches(removed))
    }
}

impl Tree {
    /// A tree with nothing but its top.
    #[must_use]
    pub fn new() -> Self {
        let mut tree = Self {
            nodes: BTreeMap::new(),
            changes: Vec::new(),
            fuse: None,
            power: Power::On,
            next: ROOT.0,
            calls: 0,
            toll: Toll::default(),
        };
        tree.add(Kind::Directory, 0o755, Vec::new());
        tree
    }

    /// Arms a cut.
    pub const fn arm(&mut self, fuse: Fuse) {
        self.fuse = Some(fuse);
    }

    /// Takes the power away, now.
    pub const fn switch_off(&mut self) {
        self.power = Power::Off;
    }

    /// Whether there is power.
    #[must_use]
    pub const fn power(&self) -> Power {
        self.power
    }

    /// How many calls that change something were done.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        self.calls
    }

    /// What all cuts took.
    #[must_use]
    pub const fn toll(&self) -> Toll {
        self.toll
    }

    /// A changing call begins; it is not done where the power goes with it.
    fn begin(&mut self, call: Call) -> Answer<()> {
        if let Some(fuse) = &mut self.fuse
            && fuse.call.is_none_or(|wanted| wanted == call)
        {
            match fuse.left.checked_sub(1) {
                Some(left) => fuse.left = left,
                None => self.power = Power::Off,
            }
        }
        if self.power == Power::Off {
            return Err(Errno::IO);
        }
        self.calls += 1;
        Ok(())
    }

    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn node(&self, id: NodeId) -> Answer<&Node> {
        self.nodes.get(&id).ok_or(Errno::STALE)
    }

    fn node_mut(&mut self, id: NodeId) -> Answer<&mut Node> {
        self.nodes.get_mut(&id).ok_or(Errno::STALE)
    }
}

impl Default for Tree {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
