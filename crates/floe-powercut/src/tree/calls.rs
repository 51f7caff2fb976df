//! The calls of a file system on a `Tree`.

use super::{Answer, Call, Change, Kind, Node, NodeId, Spot, Tree};
use crate::file::{Effect, File, Image};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// What is known of an inode without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// Which it is.
    pub id: NodeId,
    /// Its kind.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
    /// Its permission bits.
    pub mode: u32,
    /// The time of last change of its bytes.
    pub mtime: SystemTime,
    /// The time of last change of anything of it.
    pub ctime: SystemTime,
    /// How many names it has.
    pub links: u32,
}

/// What of an inode is to be set.
#[derive(Clone, Copy, Default, Debug)]
pub struct Attributes {
    /// Its size.
    pub size: Option<usize>,
    /// Its permission bits.
    pub mode: Option<u32>,
    /// The time of last change of its bytes.
    pub mtime: Option<SystemTime>,
}

/// One name of a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// What has it.
    pub id: NodeId,
    /// Its kind.
    pub kind: Kind,
    /// Its place; a listing goes on behind it.
    pub place: u64,
}

/// What a rename does where something has the new name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replace {
    /// Takes its place.
    Allowed,
    /// Fails.
    Refused,
    /// Both change places.
    Exchange,
}

impl Tree {
    /// What an inode is.
    ///
    /// # Errors
    /// `STALE` where there is none.
    pub fn stat(&self, id: NodeId) -> Answer<Found> {
        let node = self.node(id)?;
        let image = node.file.seen();
        Ok(Found {
            id,
            kind: node.kind,
            size: image.bytes.len() as u64,
            mode: image.mode,
            mtime: image.mtime,
            ctime: node.ctime,
            links: node.links,
        })
    }

    /// What has a name.
    ///
    /// # Errors
    /// `NOENT`, `NOTDIR`.
    pub fn lookup(&self, directory: NodeId, name: &[u8]) -> Answer<NodeId> {
        let node = self.directory(directory)?;
        node.names.get(name).map(|spot| spot.node).ok_or(Errno::NOENT)
    }

    /// Names behind a place.
    ///
    /// # Errors
    /// `NOTDIR`.
    pub fn list(&self, directory: NodeId, behind: u64) -> Answer<Vec<Listed>> {
        let mut listed = Vec::new();
        for (name, spot) in &self.directory(directory)?.names {
            if spot.place > behind {
                let kind = self.node(spot.node)?.kind;
                listed.push(Listed { name: name.clone(), id: spot.node, kind, place: spot.place });
            }
        }
        listed.sort_by_key(|one| one.place);
        Ok(listed)
    }

    /// Some bytes at an offset, fewer where the file ends.
    ///
    /// # Errors
    /// `STALE`.
    pub fn read(&self, id: NodeId, at: usize, len: usize) -> Answer<&[u8]> {
        let bytes = &self.node(id)?.file.seen().bytes;
        let rest = bytes.get(at..).unwrap_or_default();
        Ok(&rest[..rest.len().min(len)])
    }

    /// Makes an inode with a name; a link has its text from the start.
    ///
    /// # Errors
    /// `EXIST`, `NOENT` in a directory that was removed.
    pub fn make(
        &mut self,
        at: NodeId,
        name: &[u8],
        (kind, mode, bytes): (Kind, u32, Vec<u8>),
    ) -> Answer<NodeId> {
        self.begin(Call::Make)?;
        self.vacant(at, name)?;
        let node = self.add(kind, mode, bytes);
        let directories = if kind == Kind::Directory { vec![node] } else { Vec::new() };
        self.name_it(at, name, node, directories);
        Ok(node)
    }

    /// Gives an inode one more name.
    ///
    /// # Errors
    /// `EXIST`; `PERM` for a directory.
    pub fn link(&mut self, node: NodeId, at: NodeId, name: &[u8]) -> Answer<()> {
        self.begin(Call::Rename)?;
        if self.node(node)?.kind == Kind::Directory {
            return Err(Errno::PERM);
        }
        self.vacant(at, name)?;
        self.name_it(at, name, node, Vec::new());
        Ok(())
    }

    /// Writes bytes at an offset.
    ///
    /// # Errors
    /// `STALE`.
    pub fn write(&mut self, id: NodeId, at: usize, bytes: &[u8]) -> Answer<()> {
        self.begin(Call::Write)?;
        let now = SystemTime::now();
        let node = self.node_mut(id)?;
        node.ctime = now;
        node.file.write(at, bytes, now);
        Ok(())
    }

    /// Makes a file at least so long, and where asked reads a part of it as zeros.
    ///
    /// # Errors
    /// `STALE`.
    pub fn allocate(&mut self, id: NodeId, size: usize) -> Answer<()> {
        self.begin(Call::Write)?;
        let node = self.node_mut(id)?;
        if size > node.file.seen().bytes.len() {
            node.ctime = SystemTime::now();
            node.file.change(Effect::Grow(size));
        }
        Ok(())
    }

    /// Sets attributes.
    ///
    /// # Errors
    /// `STALE`.
    pub fn set(&mut self, id: NodeId, to: Attributes) -> Answer<()> {
        self.begin(if to.size.is_some() { Call::Write } else { Call::Attribute })?;
        let now = SystemTime::now();
        let node = self.node_mut(id)?;
        node.ctime = now;
        if let Some(size) = to.size {
            node.file.change(Effect::Mtime(now));
            node.file.change(Effect::Truncate(size));
        }
        if let Some(mode) = to.mode {
            node.file.change(Effect::Mode(mode & 0o7777));
        }
        if let Some(mtime) = to.mtime {
            node.file.change(Effect::Mtime(mtime));
        }
        Ok(())
    }

    /// Sets an extended attribute, or removes it.
    ///
    /// # Errors
    /// `NODATA` where there is none to remove.
    pub fn set_xattr(&mut self, id: NodeId, name: &[u8], value: Option<&[u8]>) -> Answer<()> {
        self.begin(Call::Attribute)?;
        let node = self.node_mut(id)?;
        if value.is_none() && !node.file.seen().xattrs.contains_key(name) {
            return Err(Errno::NODATA);
        }
        node.ctime = SystemTime::now();
        node.file.change(Effect::Xattr(name.to_vec(), value.map(<[u8]>::to_vec)));
        Ok(())
    }

    /// All extended attributes.
    ///
    /// # Errors
    /// `STALE`.
    pub fn xattrs(&self, id: NodeId) -> Answer<&BTreeMap<Vec<u8>, Vec<u8>>> {
        Ok(&self.node(id)?.file.seen().xattrs)
    }

    /// Renames.
    ///
    /// # Errors
    /// `NOENT`, `EXIST`, `ISDIR`, `NOTDIR`, `NOTEMPTY`; `INVAL` for a directory into itself.
    pub fn rename(
        &mut self,
        from: (NodeId, &[u8]),
        to: (NodeId, &[u8]),
        replace: Replace,
    ) -> Answer<()> {
        self.begin(Call::Rename)?;
        let moved = self.lookup(from.0, from.1)?;
        let target = match self.lookup(to.0, to.1) {
            Err(Errno::NOENT) => None,
            answer => Some(answer?),
        };
        if self.is_within(to.0, moved) {
            return Err(Errno::INVAL);
        }
        let mut gone = vec![(from.0, from.1.to_vec())];
        let place = self.fresh();
        let mut come = vec![(to.0, to.1.to_vec(), Spot { node: moved, place })];
        let (mut touched, mut removed) = (vec![moved], None);
        match (target, replace) {
            (Some(_), Replace::Refused) => return Err(Errno::EXIST),
            (Some(target), _) if target == moved => return Ok(()),
            (Some(target), Replace::Exchange) => {
                let place = self.fresh();
                gone.push((to.0, to.1.to_vec()));
                come.push((from.0, from.1.to_vec(), Spot { node: target, place }));
                touched.push(target);
            }
            (Some(target), Replace::Allowed) => {
                self.may_replace(moved, target)?;
                gone.push((to.0, to.1.to_vec()));
                touched.push(target);
                removed = Some(target).filter(|one| self.is_directory(*one));
            }
            (None, Replace::Exchange) => return Err(Errno::NOENT),
            (None, _) => {}
        }
        let directories = touched.into_iter().filter(|one| self.is_directory(*one)).collect();
        self.change(Change { gone, come, directories, removed });
        Ok(())
    }

    /// Removes a name of a directory, or of anything else.
    ///
    /// # Errors
    /// `NOENT`, `ISDIR`, `NOTDIR`, `NOTEMPTY`.
    pub fn remove(&mut self, at: NodeId, name: &[u8], kind: Kind) -> Answer<()> {
        self.begin(Call::Remove)?;
        let node = self.lookup(at, name)?;
        let is_directory = self.is_directory(node);
        match (kind, is_directory) {
            (Kind::Directory, false) => return Err(Errno::NOTDIR),
            (Kind::File | Kind::Link, true) => return Err(Errno::ISDIR),
            (Kind::Directory, true) if !self.node(node)?.names.is_empty() => {
                return Err(Errno::NOTEMPTY);
            }
            _ => {}
        }
        let directory = Some(node).filter(|_| is_directory);
        self.change(Change {
            gone: vec![(at, name.to_vec())],
            come: Vec::new(),
            directories: directory.into_iter().collect(),
            removed: directory,
        });
        Ok(())
    }

    pub(super) fn add(&mut self, kind: Kind, mode: u32, bytes: Vec<u8>) -> NodeId {
        let (id, now) = (NodeId(self.fresh()), SystemTime::now());
        let image = Image { bytes, ..Image::new(mode & 0o7777, now) };
        let (names, kept) = (BTreeMap::new(), BTreeMap::new());
        let file = File::new(image);
        self.nodes.insert(id, Node { kind, file, ctime: now, links: 0, names, kept });
        id
    }

    fn name_it(&mut self, at: NodeId, name: &[u8], node: NodeId, directories: Vec<NodeId>) {
        let spot = Spot { node, place: self.fresh() };
        let come = vec![(at, name.to_vec(), spot)];
        self.change(Change { gone: Vec::new(), come, directories, removed: None });
    }

    /// Changes names as they are seen.
    fn change(&mut self, change: Change) {
        let now = SystemTime::now();
        for (at, name) in &change.gone {
            let Some(directory) = self.nodes.get_mut(at) else { continue };
            directory.file.change(Effect::Mtime(now));
            directory.ctime = now;
            let gone = directory.names.remove(name);
            if let Some(node) = gone.and_then(|spot| self.nodes.get_mut(&spot.node)) {
                node.links = node.links.saturating_sub(1);
                node.ctime = now;
            }
        }
        for (at, name, spot) in &change.come {
            if let Some(node) = self.nodes.get_mut(&spot.node) {
                node.links += 1;
                node.ctime = now;
            }
            if let Some(directory) = self.nodes.get_mut(at) {
                directory.file.change(Effect::Mtime(now));
                directory.ctime = now;
                directory.names.insert(name.clone(), *spot);
            }
        }
        self.changes.push(change);
    }

    fn directory(&self, id: NodeId) -> Answer<&Node> {
        let node = self.node(id)?;
        if node.kind == Kind::Directory { Ok(node) } else { Err(Errno::NOTDIR) }
    }

    fn is_directory(&self, id: NodeId) -> bool {
        self.nodes.get(&id).is_some_and(|node| node.kind == Kind::Directory)
    }

    fn vacant(&self, at: NodeId, name: &[u8]) -> Answer<()> {
        match self.lookup(at, name) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) if self.node(at)?.links > 0 || at == super::ROOT => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn may_replace(&self, moved: NodeId, target: NodeId) -> Answer<()> {
        match (self.is_directory(moved), self.is_directory(target)) {
            (false, true) => Err(Errno::ISDIR),
            (true, false) => Err(Errno::NOTDIR),
            (true, true) if !self.node(target)?.names.is_empty() => Err(Errno::NOTEMPTY),
            _ => Ok(()),
        }
    }

    /// Whether a directory is another, or beneath it.
    fn is_within(&self, directory: NodeId, top: NodeId) -> bool {
        let mut waiting = vec![top];
        while let Some(id) = waiting.pop() {
            if id == directory {
                return true;
            }
            if let Some(node) = self.nodes.get(&id) {
                waiting.extend(node.names.values().map(|spot| spot.node));
            }
        }
        false
    }
}
