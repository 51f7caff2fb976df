//! What stands in a store in memory: nodes by path, with the root as the empty path.

use crate::api::{Depth, Follow, Overwrite, Stat};
use crate::mark::Mark;
use floe_types::{
    ByteCount, Code, Component, EntryKind, Freshness, Metadata, Mode, ObjectPath, Precondition,
    SourceVersion, Timestamp,
};
use std::collections::BTreeMap;
use std::sync::Arc;

type Answer<T> = Result<T, Code>;

/// As many links as are followed on one path.
const LINKS_MAX: usize = 40;
/// A version whose ctime is younger is fresh.
const SETTLED_SECS: i64 = 2;

pub(super) struct Tree {
    pub(super) nodes: BTreeMap<ObjectPath, Node>,
    pub(super) now: Timestamp,
    inodes: u64,
}

pub(super) enum Node {
    Directory(Metadata),
    Link(Vec<u8>, Metadata),
    File(Arc<File>),
}

/// A committed object. It never changes: what replaces it is another one.
pub(super) struct File {
    pub(super) bytes: Vec<u8>,
    pub(super) metadata: Metadata,
    pub(super) mark: Option<Mark>,
    inode: u64,
    ctime: Timestamp,
}

impl File {
    pub(super) fn size(&self) -> ByteCount {
        ByteCount::of_len(self.bytes.len())
    }

    pub(super) fn version(&self) -> SourceVersion {
        let (inode, size, ctime) = (self.inode, self.size(), self.ctime);
        SourceVersion { inode, size, mtime: self.metadata.mtime, ctime }
    }

    pub(super) fn freshness(&self, now: Timestamp) -> Freshness {
        let settled = (self.ctime.secs().saturating_add(SETTLED_SECS), self.ctime.nanos());
        if settled <= (now.secs(), now.nanos()) { Freshness::Settled } else { Freshness::Fresh }
    }
}

impl Node {
    pub(super) fn stat(&self) -> Stat {
        let stat = |kind, size, metadata| Stat { kind, size, metadata, target: None, root: None };
        match self {
            Self::Directory(metadata) => stat(EntryKind::Directory, ByteCount::ZERO, *metadata),
            Self::Link(target, metadata) => Stat {
                target: Some(target.clone()),
                ..stat(EntryKind::Link, ByteCount::of_len(target.len()), *metadata)
            },
            Self::File(file) => Stat {
                root: file.mark.and_then(|mark| mark.root_of(file.size(), file.metadata.mtime)),
                ..stat(EntryKind::File, file.size(), file.metadata)
            },
        }
    }
}

impl Tree {
    pub(super) fn new() -> Self {
        let now = Timestamp::new(1_000_000_000, 0).unwrap_or_default();
        let mut tree = Self { nodes: BTreeMap::new(), now, inodes: 1 };
        let root = tree.directory();
        tree.nodes.insert(ObjectPath::root(), root);
        tree
    }

    pub(super) fn file(&mut self, bytes: Vec<u8>, metadata: Metadata, mark: Mark) -> Node {
        self.inodes += 1;
        let (inode, ctime) = (self.inodes, self.now);
        Node::File(Arc::new(File { bytes, metadata, mark: Some(mark), inode, ctime }))
    }

    fn directory(&self) -> Node {
        Node::Directory(Metadata { mode: Mode::from_bits(0o755), mtime: self.now })
    }

    /// The names directly beneath a directory, sorted.
    pub(super) fn children(&self, path: &ObjectPath) -> impl Iterator<Item = (&Component, &Node)> {
        let depth = path.components().len() + 1;
        self.beneath(path)
            .filter(move |(at, _)| at.components().len() == depth)
            .filter_map(|(at, node)| Some((at.name()?, node)))
    }

    /// All that is beneath a path.
    fn beneath(&self, path: &ObjectPath) -> impl Iterator<Item = (&ObjectPath, &Node)> {
        let within = path.clone();
        self.nodes.range(path.clone()..).skip_while(move |(at, _)| **at == within).take_while({
            let path = path.clone();
            move |(at, _)| path.contains(at)
        })
    }

    /// Where a path to read leads, links beneath the root followed.
    pub(super) fn resolve(&self, path: &ObjectPath, last: Follow) -> Answer<ObjectPath> {
        let mut ahead: Vec<Vec<u8>> =
            path.components().iter().rev().map(|name| name.as_bytes().to_vec()).collect();
        let (mut at, mut links) = (ObjectPath::root(), 0);
        while let Some(name) = ahead.pop() {
            if name.is_empty() || name == b"." {
                continue;
            }
            if name == b".." {
                at = at.split_last().ok_or(Code::PermissionDenied)?.0;
                continue;
            }
            if !matches!(self.nodes.get(&at), Some(Node::Directory(_))) {
                return Err(Code::NotDirectory);
            }
            let name = Component::new(&name).map_err(|_| Code::NotFound)?;
            let next = at.join(name).map_err(|_| Code::NameTooLong)?;
            match self.nodes.get(&next) {
                Some(Node::Link(target, _)) if !ahead.is_empty() || last == Follow::Yes => {
                    links += 1;
                    if links > LINKS_MAX {
                        return Err(Code::LimitExceeded);
                    }
                    if target.first() == Some(&b'/') {
                        return Err(Code::PermissionDenied);
                    }
                    ahead.extend(target.split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
                }
                None if !ahead.is_empty() => return Err(Code::NotFound),
                _ => at = next,
            }
        }
        Ok(at)
    }

    /// Whether the parent of a path to write stands, without a link on the way.
    fn parent(&self, path: &ObjectPath) -> Answer<()> {
        let (parent, _) = path.split_last().ok_or(Code::Usage)?;
        let mut at = ObjectPath::root();
        for name in parent.components() {
            at = at.join(name.clone()).map_err(|_| Code::NameTooLong)?;
            match self.nodes.get(&at) {
                Some(Node::Directory(_)) => {}
                Some(_) => return Err(Code::NotDirectory),
                None => return Err(Code::NotFound),
            }
        }
        Ok(())
    }

    pub(super) fn make_directories(&mut self, path: &ObjectPath) -> Answer<()> {
        let mut at = ObjectPath::root();
        for name in path.components() {
            at = at.join(name.clone()).map_err(|_| Code::NameTooLong)?;
            match self.nodes.get(&at) {
                Some(Node::Directory(_)) => {}
                Some(_) => return Err(Code::NotDirectory),
                None => {
                    let directory = self.directory();
                    self.nodes.insert(at.clone(), directory);
                }
            }
        }
        Ok(())
    }

    /// Gives a file or link its final name.
    pub(super) fn replace(
        &mut self,
        path: &ObjectPath,
        node: Node,
        precondition: Precondition,
    ) -> Answer<()> {
        self.parent(path)?;
        match self.nodes.get(path) {
            Some(_) if precondition == Precondition::Absent => return Err(Code::Exists),
            Some(Node::Directory(_)) => return Err(Code::IsDirectory),
            _ => {}
        }
        self.nodes.insert(path.clone(), node);
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &ObjectPath, depth: Depth) -> Answer<()> {
        self.parent(path)?;
        match self.nodes.get(path).ok_or(Code::NotFound)? {
            Node::Directory(_) if depth == Depth::Single => return Err(Code::IsDirectory),
            _ => {}
        }
        self.nodes.retain(|at, _| !path.contains(at));
        Ok(())
    }

    pub(super) fn rename(
        &mut self,
        from: &ObjectPath,
        to: &ObjectPath,
        overwrite: Overwrite,
    ) -> Answer<()> {
        if from.contains(to) && from != to {
            return Err(Code::Usage);
        }
        self.parent(from)?;
        self.parent(to)?;
        let moved = self.nodes.get(from).ok_or(Code::NotFound)?;
        let is_directory = matches!(moved, Node::Directory(_));
        match self.nodes.get(to) {
            Some(_) if overwrite == Overwrite::Refused => return Err(Code::Exists),
            _ if from == to => return Ok(()),
            Some(Node::Directory(_)) if !is_directory => return Err(Code::IsDirectory),
            Some(Node::Directory(_)) if self.children(to).next().is_some() => {
                return Err(Code::NotEmpty);
            }
            Some(Node::File(_) | Node::Link(..)) if is_directory => return Err(Code::NotDirectory),
            _ => {}
        }
        let depth = from.components().len();
        let (stay, go): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.nodes).into_iter().partition(|(at, _)| !from.contains(at));
        self.nodes = stay;
        for (at, node) in go {
            let tail = at.components().iter().skip(depth).cloned();
            let names = to.components().iter().cloned().chain(tail).collect();
            let path = ObjectPath::from_components(names).map_err(|_| Code::NameTooLong)?;
            self.nodes.insert(path, node);
        }
        Ok(())
    }
}
