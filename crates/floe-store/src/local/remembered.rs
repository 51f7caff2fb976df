//! Paths that are remembered between operations, with something for each, and what they take.

use floe_types::ObjectPath;
use std::collections::BTreeMap;

/// What the paths of one purpose may take.
const BYTES_MAX: usize = 4 << 20;

/// Some paths.
#[derive(Debug)]
pub(super) struct Remembered<T> {
    paths: BTreeMap<ObjectPath, T>,
    bytes: usize,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { paths: BTreeMap::new(), bytes: 0 }
    }
}

impl<T> Remembered<T> {
    pub(super) fn contains(&self, path: &ObjectPath) -> bool {
        self.paths.contains_key(path)
    }

    /// Whether it is there, or there is room for it.
    pub(super) fn takes(&self, path: &ObjectPath) -> bool {
        self.contains(path) || self.bytes + path.footprint() <= BYTES_MAX
    }

    /// Adds one, unless it is there.
    pub(super) fn add(&mut self, path: &ObjectPath, with: T) {
        if !self.contains(path) {
            self.bytes += path.footprint();
            self.paths.insert(path.clone(), with);
        }
    }

    /// Adds one; others are forgotten for it.
    pub(super) fn add_for_others(&mut self, path: &ObjectPath, with: T) {
        while !self.takes(path) {
            let Some((other, _)) = self.paths.pop_first() else { break };
            self.bytes -= other.footprint();
        }
        self.add(path, with);
    }

    pub(super) fn remove(&mut self, path: &ObjectPath) -> Option<T> {
        let with = self.paths.remove(path)?;
        self.bytes -= path.footprint();
        Some(with)
    }

    /// Removes a path and all beneath it: those.
    pub(super) fn take_beneath(&mut self, path: &ObjectPath) -> BTreeMap<ObjectPath, T> {
        let all = std::mem::take(&mut self.paths);
        let (taken, kept) = all.into_iter().partition(|(one, _)| path.contains(one));
        self.paths = kept;
        self.bytes = self.paths.keys().map(ObjectPath::footprint).sum();
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_by_bytes_not_by_count() {
        let mut remembered = Remembered::default();
        let long = |nth: u32| {
            let text = format!("{nth:05}/{}", "d/".repeat(250));
            ObjectPath::parse(text.as_bytes()).unwrap()
        };
        for nth in 0..1000 {
            remembered.add_for_others(&long(nth), nth);
        }
        let bytes =
            |of: &Remembered<u32>| of.paths.keys().map(ObjectPath::footprint).sum::<usize>();
        assert!(remembered.bytes <= BYTES_MAX && remembered.bytes == bytes(&remembered));
        assert!(remembered.contains(&long(999)) && !remembered.contains(&long(0)));
        assert!(!remembered.takes(&long(2000)) && remembered.takes(&long(999)));
        remembered.remove(&long(999));
        remembered.add(&long(999), 7);
        remembered.add(&long(999), 8);
        assert_eq!(remembered.bytes, bytes(&remembered));
        let above = ObjectPath::parse(b"00998").unwrap();
        remembered.take_beneath(&above);
        assert!(!remembered.contains(&long(998)) && remembered.bytes == bytes(&remembered));
        let all = remembered.take_beneath(&ObjectPath::root());
        assert_eq!(all.get(&long(999)), Some(&7));
        assert_eq!(remembered.bytes, 0);
    }
}
