//! The crash contract as checks: what may be seen under a final name, at any instant and after any
//! power cut.
//!
//! A target is a final name that somebody writes. What may stand there: what stood there first,
//! until something was committed; each version that anybody could have sent, until another one was
//! committed whose transfer began after the first was. A version that was never told to be
//! committed may appear late: last commit wins.

use crate::machine::{Look, look_at};
use floe_store::simulated::{Glance, SimulatedDisk, Survivors};
use floe_types::{Metadata, ObjectPath, Root, Time};
use std::collections::BTreeMap;

/// A machine's final name.
pub type Name = (usize, ObjectPath);

/// Every target, and the first broken promise.
#[derive(Default)]
pub struct Oracle {
    targets: BTreeMap<Name, Target>,
    broken: Option<String>,
    /// Whether mode and mtime come over as they are. Without TLS nothing vouches for them.
    pub metadata: Metadatas,
    /// How often a final name was looked at.
    pub looks: u64,
}

/// Whether metadata are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Metadatas {
    /// They are.
    #[default]
    Compared,
    /// They are not: bytes of their frames may change on the way.
    Ignored,
}

/// What somebody was told to be committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// A version that could be sent.
    Offered,
    /// One that could, until somebody else was told of another since that transfer began.
    Late,
    /// Another one.
    Unknown,
}

/// What a transfer may replace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Replaces {
    /// Whatever stands there.
    Anything,
    /// Nothing, as nobody who writes that name may.
    Nothing,
}

#[derive(Default)]
struct Target {
    offers: Vec<Offer>,
    /// What may not stand there any more, and since when.
    gone: BTreeMap<Root, Time>,
    /// Nothing may stand there.
    absent: bool,
    /// What was found right.
    right: Option<Glance>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Offer {
    root: Root,
    metadata: Metadata,
    committed: Option<Time>,
}

impl Oracle {
    /// The first promise that was broken.
    #[must_use]
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// A promise is broken.
    pub fn break_promise(&mut self, what: impl FnOnce() -> String) {
        self.broken.get_or_insert_with(what);
    }

    /// A final name that is written from now on, with what stands there.
    pub fn watch(&mut self, name: Name, standing: Option<(Root, Metadata)>) {
        let target = self.targets.entry(name).or_default();
        match standing {
            None => target.absent = true,
            Some((root, metadata)) => {
                target.offers.push(Offer { root, metadata, committed: Some(Time(0)) });
            }
        }
    }

    /// Whether a name is a target.
    #[must_use]
    pub fn watches(&self, name: &Name) -> bool {
        self.targets.contains_key(name)
    }

    /// Whether somebody was told that something stands there, or it stood there first.
    #[must_use]
    pub fn is_taken(&self, name: &Name) -> bool {
        let target = self.targets.get(name);
        target.is_some_and(|target| target.offers.iter().any(|offer| offer.committed.is_some()))
    }

    /// A version that may be sent there from now on.
    pub fn offer(&mut self, name: &Name, root: Root, metadata: Metadata) {
        if let Some(target) = self.targets.get_mut(name) {
            target.offers.retain(|offer| (offer.root, offer.metadata) != (root, metadata));
            target.offers.push(Offer { root, metadata, committed: None });
        }
    }

    /// Somebody was told that a version is committed there, of a transfer that began then.
    ///
    /// Whoever is told last need not have committed last: only what was told before a transfer
    /// began stood there before it.
    pub fn committed(
        &mut self,
        name: &Name,
        root: Root,
        replaces: Replaces,
        (began, now): (Time, Time),
    ) -> Told {
        let Some(target) = self.targets.get_mut(name) else { return Told::Unknown };
        let old =
            |offer: &Offer| offer.root != root && offer.committed.is_some_and(|at| at < began);
        if replaces == Replaces::Nothing && target.offers.iter().any(old) {
            let what = || format!("{} was replaced, and nobody might", name.1);
            self.broken.get_or_insert_with(what);
        }
        let mut told = Told::Unknown;
        for offer in target.offers.iter_mut().filter(|offer| offer.root == root) {
            (offer.committed, told) = (Some(now), Told::Offered);
        }
        if told == Told::Unknown {
            let since = target.gone.get(&root);
            return if since.is_some_and(|since| *since >= began) { Told::Late } else { told };
        }
        for offer in target.offers.extract_if(.., |offer| old(offer)) {
            target.gone.insert(offer.root, now);
        }
        target.absent = false;
        target.right = None;
        told
    }

    /// A name that was just told to be committed has mode and mtime of one version, not of two.
    pub fn look_at_metadata(&mut self, name: &Name, disk: &SimulatedDisk) {
        let Some(target) = self.targets.get(name) else { return };
        let Look::File { root, metadata } = look_at(disk.glance(&name.1).as_ref()) else { return };
        let same = |offer: &Offer| offer.root == root && offer.metadata == metadata;
        if self.metadata == Metadatas::Compared && !target.offers.iter().any(same) {
            let path = &name.1;
            let what = || format!("{path} was committed, and has {metadata:?} of no version");
            self.broken.get_or_insert_with(what);
        }
    }

    /// Looks at every target of a machine that changed.
    pub fn look(&mut self, machine: usize, disk: &SimulatedDisk, when: &str) {
        for ((_, path), target) in of_machine(&mut self.targets, machine) {
            match target.check(disk, path, self.metadata) {
                Checked::Same => {}
                Checked::Right(found) => {
                    self.looks += 1;
                    target.right = found;
                }
                Checked::Wrong(what) => {
                    self.broken.get_or_insert_with(|| format!("{when}, {path} is {what}"));
                }
            }
        }
    }

    /// Looks at every target of a machine as if the power failed now.
    pub fn look_after_cut(
        &mut self,
        machine: usize,
        disk: &SimulatedDisk,
        (seed, survivors): (u64, Survivors),
    ) -> SimulatedDisk {
        let fork = disk.copy();
        fork.cut_keeping(seed, survivors);
        for ((_, path), target) in of_machine(&mut self.targets, machine) {
            self.looks += 1;
            if let Checked::Wrong(what) = target.check(&fork, path, self.metadata) {
                let when = "if the power failed now";
                self.broken.get_or_insert_with(|| format!("{when}, {path} would be {what}"));
            }
        }
        fork
    }
}

fn of_machine(
    targets: &mut BTreeMap<Name, Target>,
    machine: usize,
) -> impl Iterator<Item = (&Name, &mut Target)> {
    let from: Name = (machine, ObjectPath::root());
    let to: Name = (machine + 1, ObjectPath::root());
    targets.range_mut(from..to)
}

/// What a look at a target came to.
enum Checked {
    /// It is what was found right before.
    Same,
    /// It may stand there.
    Right(Option<Glance>),
    Wrong(String),
}

impl Target {
    fn check(&self, disk: &SimulatedDisk, path: &ObjectPath, metadatas: Metadatas) -> Checked {
        let found = disk.glance(path);
        if let (Some(found), Some(right)) = (&found, &self.right)
            && found.is_same(right)
        {
            return Checked::Same;
        }
        let look = look_at(found.as_ref());
        if let Err(what) = self.judge(&look, metadatas) {
            return Checked::Wrong(what);
        }
        let told = found.as_ref().and_then(Glance::marked_root);
        match (look, told) {
            (Look::File { root, .. }, Some(told)) if told != root => {
                Checked::Wrong(format!("marked as {told}, and its bytes are {root}"))
            }
            _ => Checked::Right(found),
        }
    }

    fn judge(&self, look: &Look, metadatas: Metadatas) -> Result<(), String> {
        match look {
            Look::Absent if self.absent => Ok(()),
            Look::Absent => Err("gone, and it was there, or committed".to_owned()),
            Look::File { root, metadata } => {
                let same = |offer: &&Offer| offer.root == *root;
                let known: Vec<_> = self.offers.iter().filter(same).collect();
                // Of an object that is kept they change in place, one after the other.
                let mode = known.iter().any(|offer| offer.metadata.mode == metadata.mode);
                let mtime = known.iter().any(|offer| offer.metadata.mtime == metadata.mtime);
                let ignored = metadatas == Metadatas::Ignored && !known.is_empty();
                if ignored || (mode && mtime) {
                    return Ok(());
                }
                if known.is_empty() {
                    let offers = self.offers.len();
                    Err(format!("none of the {offers} versions that may stand there ({root})"))
                } else {
                    Err(format!("a version with {metadata:?}, not {known:?}"))
                }
            }
            Look::Directory(_) | Look::Link(_) => Err(format!("{look:?}")),
        }
    }
}
