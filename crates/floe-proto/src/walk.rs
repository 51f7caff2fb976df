//! The source's walk of a tree: depth first, names sorted within a page, children opened ahead.
//!
//! Bounded: each open directory keeps one page of names; entries opened but not yet announced are
//! at most `OPENED_AHEAD` over the whole stack (and one a level). A directory among opened children
//! waits for its turn: it is announced, walked and ended before the sibling after it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use floe_types::{Component, EntryIndex, Metadata, ObjectPath, PathFault};

/// Entries opened ahead of their announcement.
const OPENED_AHEAD: usize = 64;

/// What the walk wants done next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Open this entry.
    Open(EntryIndex, ObjectPath),
    /// List the next page of the directory with this index.
    List(EntryIndex, ObjectPath, Option<Vec<u8>>),
    /// This name of a directory has no path: the two together would be too long.
    NoPath { index: EntryIndex, dir: ObjectPath, name: Component, why: PathFault },
    /// Announce this opened entry.
    Announce(EntryIndex),
    /// All entries of a directory are announced: announce its end.
    End { index: EntryIndex, begun: EntryIndex, path: ObjectPath, metadata: Metadata },
    /// Nothing until an operation ends.
    Wait,
    /// The walk is over.
    Over,
}

/// How many more entries may be opened, and announced. What is opened can always be announced in
/// the end: the two do not wait for each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Room {
    pub(crate) open: usize,
    pub(crate) announce: usize,
}

/// A walk.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Walk {
    stack: Vec<Level>,
    next: EntryIndex,
    opened_ahead: usize,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Level {
    /// The directory; `None` for the level that holds only the walk's root.
    dir: Option<(EntryIndex, Metadata)>,
    path: ObjectPath,
    names: VecDeque<Component>,
    pages: Pages,
    /// Children given out to be opened, in the order of the walk, and whether they are.
    children: VecDeque<(EntryIndex, Child)>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Pages {
    Next(Option<Vec<u8>>),
    Listing,
    Ended,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Child {
    Opening,
    Ready,
    Gone,
}

impl Walk {
    /// A walk of the tree (or the one file) at the transfer's root.
    pub(crate) fn new() -> Self {
        let root = Level {
            dir: None,
            path: ObjectPath::root(),
            names: VecDeque::new(),
            pages: Pages::Ended,
            children: VecDeque::new(),
        };
        Self { stack: alloc::vec![root], next: EntryIndex(0), opened_ahead: 0 }
    }

    /// An index outside the walk's order, for an entry that replaces an earlier one.
    pub(crate) fn take_index(&mut self) -> EntryIndex {
        let index = self.next;
        self.next = index.next();
        index
    }

    /// Whether an index was ever taken.
    pub(crate) fn gave_out(&self, index: EntryIndex) -> bool {
        index < self.next
    }

    /// What is to be done next, as far as there is room. `Open` and `List` count as given out.
    pub(crate) fn step(&mut self, room: Room) -> Step {
        if self.next == EntryIndex(0) {
            return self.open_child(ObjectPath::root());
        }
        loop {
            let Some(level) = self.stack.last_mut() else { return Step::Over };
            match level.children.front() {
                Some((_, Child::Gone)) => {
                    level.children.pop_front();
                    continue;
                }
                Some((index, Child::Ready)) if room.announce > 0 => {
                    let index = *index;
                    level.children.pop_front();
                    self.opened_ahead -= 1;
                    return Step::Announce(index);
                }
                Some((_, Child::Ready | Child::Opening)) | None => {}
            }
            return self.fill(room);
        }
    }

    fn fill(&mut self, room: Room) -> Step {
        let Some(level) = self.stack.last_mut() else { return Step::Over };
        if level.names.is_empty() {
            if let Pages::Next(after) = &mut level.pages
                && let Some((index, _)) = level.dir
            {
                let after = after.take();
                level.pages = Pages::Listing;
                return Step::List(index, level.path.clone(), after);
            }
            if level.pages == Pages::Ended && level.children.is_empty() && room.announce > 0 {
                return self.leave();
            }
            return Step::Wait;
        }
        if room.open == 0 {
            return Step::Wait;
        }
        if self.opened_ahead >= OPENED_AHEAD && !level.children.is_empty() {
            return Step::Wait;
        }
        let Some(name) = level.names.pop_front() else { return Step::Wait };
        match level.path.join(name.clone()) {
            Ok(path) => self.open_child(path),
            Err(why) => {
                let dir = level.path.clone();
                Step::NoPath { index: self.take_index(), dir, name, why }
            }
        }
    }

    fn open_child(&mut self, path: ObjectPath) -> Step {
        let index = self.take_index();
        if let Some(level) = self.stack.last_mut() {
            level.children.push_back((index, Child::Opening));
        }
        self.opened_ahead += 1;
        Step::Open(index, path)
    }

    fn leave(&mut self) -> Step {
        let Some(level) = self.stack.pop() else { return Step::Over };
        let Some((begun, metadata)) = level.dir else { return Step::Over };
        Step::End { index: self.take_index(), begun, path: level.path, metadata }
    }

    /// A page of a directory came.
    pub(crate) fn listed(&mut self, dir: EntryIndex, names: Vec<Component>, next: Option<Vec<u8>>) {
        if let Some(level) = self.level_of(dir).filter(|level| level.pages == Pages::Listing) {
            level.names.extend(names);
            level.pages = next.map_or(Pages::Ended, |next| Pages::Next(Some(next)));
        }
    }

    /// The rest of a directory cannot be listed, or is not wanted.
    pub(crate) fn cut_short(&mut self, dir: EntryIndex) {
        if let Some(level) = self.level_of(dir) {
            level.names.clear();
            level.pages = Pages::Ended;
        }
    }

    /// Nothing beneath a directory is wanted any more; what was given out to be opened there, and
    /// is not announced, is given up.
    pub(crate) fn abandon(&mut self, dir: EntryIndex) -> Vec<EntryIndex> {
        let is_it = |level: &Level| level.dir.is_some_and(|(index, _)| index == dir);
        let from = self.stack.iter().position(is_it).unwrap_or(self.stack.len());
        let mut given_up = Vec::new();
        for level in self.stack.iter_mut().skip(from) {
            level.names.clear();
            level.pages = Pages::Ended;
            for (index, child) in &mut level.children {
                if *child != Child::Gone {
                    *child = Child::Gone;
                    given_up.push(*index);
                }
            }
        }
        self.opened_ahead -= given_up.len();
        given_up
    }

    /// Whether the next page of a directory is awaited.
    pub(crate) fn is_listing(&mut self, dir: EntryIndex) -> bool {
        self.level_of(dir).is_some_and(|level| level.pages == Pages::Listing)
    }

    /// Where an open directory of the walk is.
    pub(crate) fn path_of(&mut self, dir: EntryIndex) -> ObjectPath {
        self.level_of(dir).map(|level| level.path.clone()).unwrap_or_default()
    }

    fn level_of(&mut self, dir: EntryIndex) -> Option<&mut Level> {
        self.stack.iter_mut().rev().find(|level| level.dir.is_some_and(|(index, _)| index == dir))
    }

    /// An entry given out by `Open` is open, or is gone.
    pub(crate) fn opened(&mut self, index: EntryIndex, outcome: OpenedChild) {
        for level in self.stack.iter_mut().rev() {
            if let Some(child) = level.children.iter_mut().find(|(child, _)| *child == index) {
                if child.1 != Child::Opening {
                    return;
                }
                child.1 = match outcome {
                    OpenedChild::Ready => Child::Ready,
                    OpenedChild::Gone => {
                        self.opened_ahead -= 1;
                        Child::Gone
                    }
                };
                return;
            }
        }
    }

    /// The directory that was just announced is entered.
    pub(crate) fn enter(&mut self, index: EntryIndex, path: ObjectPath, metadata: Metadata) {
        self.stack.push(Level {
            dir: Some((index, metadata)),
            path,
            names: VecDeque::new(),
            pages: Pages::Next(None),
            children: VecDeque::new(),
        });
    }

    /// No further entry is found.
    pub(crate) fn stop(&mut self) {
        self.stack.clear();
        self.next = self.next.max(EntryIndex(1));
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stack.is_empty()
    }
}

/// What became of an entry given out by `Open`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OpenedChild {
    /// It is to be announced.
    Ready,
    /// It failed or is passed over.
    Gone,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use alloc::string::{String, ToString};
    use floe_types::{Mode, Timestamp};

    /// Walks a tree of which every name ending in `/` is a directory; returns the announcements.
    fn walk(tree: &[&str]) -> Vec<String> {
        let (mut walk, mut told, mut paths) = (Walk::new(), Vec::new(), BTreeMap::new());
        let metadata = Metadata { mode: Mode::from_bits(0o755), mtime: Timestamp::default() };
        let is_dir = |path: &ObjectPath| {
            path.is_root() || tree.contains(&alloc::format!("{path}/").as_str())
        };
        for _ in 0..10_000 {
            match walk.step(Room { open: 9, announce: 9 }) {
                Step::Open(index, path) => {
                    paths.insert(index, path);
                    walk.opened(index, OpenedChild::Ready);
                }
                Step::List(index, path, _) => {
                    let depth = path.components().len() + 1;
                    let mut names: Vec<_> = tree
                        .iter()
                        .map(|name| ObjectPath::parse(name.as_bytes()).unwrap())
                        .filter(|p| path.contains(p) && p.components().len() == depth)
                        .map(|p| p.name().unwrap().clone())
                        .collect();
                    names.sort();
                    walk.listed(index, names, None);
                }
                Step::Announce(index) => {
                    let path = paths[&index].clone();
                    told.push(path.to_string());
                    if is_dir(&path) {
                        walk.enter(index, path, metadata);
                    }
                }
                Step::End { path, .. } => told.push(alloc::format!("end {path}")),
                Step::NoPath { name, .. } => panic!("{name} has a path"),
                Step::Wait => panic!("waits for nothing"),
                Step::Over => return told,
            }
        }
        panic!("does not end")
    }

    #[test]
    fn goes_depth_first_and_ends_every_directory() {
        let told = walk(&["b", "a/", "a/y", "a/x/", "a/x/1", "c"]);
        let want = ["/", "a", "a/x", "a/x/1", "end a/x", "a/y", "end a", "b", "c", "end /"];
        assert_eq!(told, want);
    }
}
