//! What hangs beneath a directory that is renamed to a deeper place, looked at before it goes
//! there.
//!
//! Without a look, directory moved into directory, a tree grows deeper than any path names, and its
//! removal takes the square of that. Two that move at once are not looked at as one: what one puts
//! into a directory while another looks at it has the depth that it had.

use crate::rules::TreeCaps;
use floe_store::{Cursor, Detail, Listed, RootWanted, Store, Wanted};
use floe_types::{Code, Component, EntryKind, Fault, ObjectPath};

/// Names that are looked at at a time; so many of each level on the way down are kept at most.
const PAGE_NAMES: usize = 256;

/// Whether all that is beneath `from` may be beneath `to`; what is no deeper there needs no look.
///
/// # Errors
/// `LimitExceeded`: the first that would be too deep, or have no path; `Interrupted` once nobody
/// wants it; the system's, also for a directory that may not be read.
pub(super) fn check_beneath(
    store: &dyn Store,
    (from, to): (&ObjectPath, &ObjectPath),
    trees: &TreeCaps,
    wanted: Wanted<'_>,
) -> Result<(), Fault> {
    if to.components().len() <= from.components().len() {
        return Ok(());
    }
    match store.stat(from, RootWanted::IfKnown, &|_, _| {}) {
        Ok(stat) if stat.kind == EntryKind::Directory => {}
        // It is the rename's to say what is wrong.
        _ => return Ok(()),
    }
    // Who may not list is not told what is there.
    let doing = format!("rename {from:?} to {to:?}");
    let told = |why| match why {
        Why::Deep => trees.too_deep(&doing),
        Why::Failed(code) => Fault::new(code, doing.as_str()),
    };
    let mut way = vec![Level::new(from.clone(), to.clone())];
    while let Some(level) = way.last_mut() {
        if !wanted() {
            return Err(told(Why::Failed(Code::Interrupted)));
        }
        if let Some(next) = level.descend().map_err(told)? {
            way.push(next);
        } else if level.is_over {
            way.pop();
        } else {
            level.look(store, trees).map_err(told)?;
        }
    }
    Ok(())
}

/// Why it may not go there.
enum Why {
    /// Something would be too deep, or have no path.
    Deep,
    /// It cannot be told.
    Failed(Code),
}

/// A directory on the way down: where it is, and where it would be.
struct Level {
    from: ObjectPath,
    to: ObjectPath,
    /// Directories of the last page that were not descended to.
    left: Vec<Component>,
    next: Option<Cursor>,
    is_over: bool,
}

impl Level {
    fn new(from: ObjectPath, to: ObjectPath) -> Self {
        Self { from, to, left: Vec::new(), next: None, is_over: false }
    }

    fn descend(&mut self) -> Result<Option<Self>, Why> {
        let Some(name) = self.left.pop() else { return Ok(None) };
        let from = joined(&self.from, name.clone())?;
        Ok(Some(Self::new(from, joined(&self.to, name)?)))
    }

    /// Reads one page.
    fn look(&mut self, store: &dyn Store, trees: &TreeCaps) -> Result<(), Why> {
        let page = match store.list(&self.from, self.next.as_ref(), PAGE_NAMES, Detail::Stats) {
            // It went meanwhile, or became something else.
            Err(fault) if matches!(fault.code, Code::NotFound | Code::NotDirectory) => {
                self.is_over = true;
                return Ok(());
            }
            page => page.map_err(|fault| Why::Failed(fault.code))?,
        };
        for Listed { name, stat } in page.names {
            let path = joined(&self.to, name.clone())?;
            if stat.is_some_and(|stat| stat.kind == EntryKind::Directory) {
                if !trees.are_within(&path) {
                    return Err(Why::Deep);
                }
                self.left.push(name);
            }
        }
        self.is_over = page.next.is_none();
        self.next = page.next;
        Ok(())
    }
}

fn joined(above: &ObjectPath, name: Component) -> Result<ObjectPath, Why> {
    above.join(name).map_err(|_| Why::Deep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_store::memory::MemoryStore;
    use std::cell::Cell;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::parse(text.as_bytes()).unwrap()
    }

    fn look(store: &MemoryStore, from: &str, to: &str, depth: u32) -> Result<(), Code> {
        let trees = TreeCaps { depth, ..TreeCaps::default() };
        check_beneath(store, (&path(from), &path(to)), &trees, &|| true).map_err(|fault| fault.code)
    }

    #[test]
    fn the_deepest_directory_beneath_counts_where_it_would_be() {
        let store = MemoryStore::default();
        // More than one page, and the deep one among them.
        (0..600).for_each(|nth| store.make_dir(&path(&format!("a/{nth}"))).unwrap());
        store.make_dir(&path("a/300/x")).unwrap();
        assert_eq!(look(&store, "a", "b/a", 4), Ok(()));
        assert_eq!(look(&store, "a", "b/a", 3), Err(Code::LimitExceeded));
        // No deeper than it is, it is as it was.
        assert_eq!(look(&store, "a", "b", 2), Ok(()));
        assert_eq!(look(&store, "a/300", "b", 1), Ok(()));
        assert_eq!(look(&store, "none", "b/a", 3), Ok(()));
        let trees = TreeCaps { depth: 3, ..TreeCaps::default() };
        let refused = check_beneath(&store, (&path("a"), &path("b/a")), &trees, &|| true);
        assert!(
            !refused.unwrap_err().to_string().contains("300"),
            "a name that may be nobody's to see"
        );
    }

    #[test]
    fn nothing_goes_where_it_has_no_path() {
        let store = MemoryStore::default();
        let deep = |names: u32| "d/".repeat(names as usize);
        store.make_dir(&path(&deep(200))).unwrap();
        let most = ObjectPath::COMPONENTS_MAX;
        assert_eq!(look(&store, "d", &deep(most - 199), most), Ok(()));
        assert_eq!(look(&store, "d", &deep(most - 198), most), Err(Code::LimitExceeded));
        let long = format!("{}d", format!("{}/", "n".repeat(250)).repeat(15));
        assert_eq!(look(&store, "d", &long, most), Err(Code::LimitExceeded));
    }

    #[test]
    fn a_look_ends_when_nobody_wants_it() {
        let store = MemoryStore::default();
        (0..100).for_each(|nth| store.make_dir(&path(&format!("a/{nth}"))).unwrap());
        let asked = Cell::new(0);
        let wanted = || asked.replace(asked.get() + 1) < 10;
        let (from, to) = (path("a"), path("b/a"));
        let looked = check_beneath(&store, (&from, &to), &TreeCaps::default(), &wanted);
        assert_eq!(looked.map_err(|fault| fault.code), Err(Code::Interrupted));
        assert_eq!(asked.get(), 11);
    }
}
