//! Syncs of a `Tree`, and what is left of it when the power goes.

use super::{Answer, Call, Change, Kind, Node, NodeId, Power, ROOT, Tree};
use crate::dice::Dice;
use crate::file::{Odds, Toll, Unwritten};
use std::collections::BTreeMap;

/// What survives a cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Survivors {
    /// Of the inodes.
    pub odds: Odds,
    /// Of the changes of names.
    pub names: Names,
}

/// Which unsynced changes of names survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// Those before one moment, as where a file system keeps one log.
    First,
    /// Each by itself, so many sixteenths of them.
    Each(u64),
}

impl Survivors {
    /// Odds drawn anew for each cut, so that extremes are met as well: all names without bytes, all
    /// bytes without names, nothing at all.
    pub fn drawn(dice: &mut Dice) -> Self {
        const CHANCES: [u64; 6] = [0, 1, 8, 8, 15, 16];
        let unwritten = if dice.happens(4) { Unwritten::Stale } else { Unwritten::Zeros };
        let odds = Odds {
            bytes: dice.of(CHANCES),
            sizes: dice.of(CHANCES),
            attributes: dice.of(CHANCES),
            torn: dice.of([0, 1, 8]),
            unwritten,
        };
        let names = if dice.happens(4) { Names::First } else { Names::Each(dice.of(CHANCES)) };
        Self { odds, names }
    }
}

impl Tree {
    /// fsync of a file, or fdatasync.
    ///
    /// # Errors
    /// `STALE`.
    pub fn sync_file(&mut self, id: NodeId, content_only: bool) -> Answer<()> {
        self.begin(Call::SyncFile)?;
        let node = self.node_mut(id)?;
        if content_only {
            node.file.sync_content();
        } else {
            node.file.sync();
        }
        Ok(())
    }

    /// fsync of a directory: its names, and its own attributes.
    ///
    /// # Errors
    /// `STALE`.
    pub fn sync_names(&mut self, directory: NodeId) -> Answer<()> {
        self.begin(Call::SyncNames)?;
        self.node_mut(directory)?.file.sync();
        let mut wanted: Vec<bool> =
            self.changes.iter().map(|change| change.touches(directory)).collect();
        self.complete(&mut wanted, |later, earlier| {
            later.rests_on(earlier) || later.shares_name(earlier)
        });
        for (change, wanted) in std::mem::take(&mut self.changes).into_iter().zip(wanted) {
            if wanted {
                self.keep(&change);
            } else {
                self.changes.push(change);
            }
        }
        Ok(())
    }

    /// Loses the power, drops what does not survive, and has power again. What was open is gone.
    pub fn cut(&mut self, survivors: &Survivors, dice: &mut Dice) -> Toll {
        let mut toll = Toll::default();
        let wanted = self.surviving(survivors.names, dice);
        for (change, wanted) in std::mem::take(&mut self.changes).into_iter().zip(wanted) {
            toll.count(wanted);
            if wanted {
                self.keep(&change);
            }
        }
        self.forget_unnamed(&mut toll);
        for node in self.nodes.values_mut() {
            toll.add(node.file.cut(&survivors.odds, dice));
            node.names = node.kept.clone();
        }
        (self.power, self.fuse) = (Power::On, None);
        self.toll.add(toll);
        toll
    }

    fn surviving(&self, names: Names, dice: &mut Dice) -> Vec<bool> {
        let count = self.changes.len();
        let mut wanted: Vec<bool> = match names {
            Names::First => {
                let first = dice.below(count as u64 + 1);
                (0..count as u64).map(|nth| nth < first).collect()
            }
            Names::Each(chance) => (0..count).map(|_| dice.happens(chance)).collect(),
        };
        self.complete(&mut wanted, Change::rests_on);
        wanted
    }

    /// Adds whatever earlier change a chosen one needs.
    fn complete(&self, wanted: &mut [bool], needs: impl Fn(&Change, &Change) -> bool) {
        for nth in (0..self.changes.len()).rev() {
            if !wanted[nth] {
                continue;
            }
            for (wanted, earlier) in wanted[..nth].iter_mut().zip(&self.changes) {
                *wanted |= needs(&self.changes[nth], earlier);
            }
        }
    }

    fn keep(&mut self, change: &Change) {
        for (at, name) in &change.gone {
            if let Some(directory) = self.nodes.get_mut(at) {
                directory.kept.remove(name);
            }
        }
        for (at, name, spot) in &change.come {
            if let Some(directory) = self.nodes.get_mut(at) {
                directory.kept.insert(name.clone(), *spot);
            }
        }
    }

    /// Forgets inodes that no durable name leads to, with whatever was unsynced of them.
    fn forget_unnamed(&mut self, toll: &mut Toll) {
        let mut links: BTreeMap<NodeId, u32> = BTreeMap::from([(ROOT, 1)]);
        let mut waiting = vec![ROOT];
        while let Some(id) = waiting.pop() {
            let Some(Node { kind: Kind::Directory, kept, .. }) = self.nodes.get(&id) else {
                continue;
            };
            for spot in kept.values() {
                let count = links.entry(spot.node).or_default();
                *count += 1;
                if *count == 1 {
                    waiting.push(spot.node);
                }
            }
        }
        self.nodes.retain(|id, node| {
            node.links = links.get(id).copied().unwrap_or(0);
            if node.links == 0 {
                toll.dropped += node.file.unsynced();
            }
            node.links > 0
        });
    }
}
