//! The books of a quota in memory: the account, what is set aside for each stage, what is about to
//! come to be. No files, no locks, no store.
//!
//! Every change that the file is to know gives the book another generation. What the file says of a
//! stage may be more than the truth, never less.

use super::quota::{Account, Load, Quota, Short};
use super::usage::{Extent, Pending, Staged, Usage, What};
use floe_store::StageKey;
use floe_types::{ByteCount, ObjectPath};
use std::collections::HashMap;

#[derive(Debug)]
pub(super) struct Book {
    pub(super) quota: Quota,
    pub(super) account: Account,
    /// What is about to come to be, by batch.
    pending: Vec<(BatchId, Pending)>,
    batches: u64,
    /// Stages that somebody holds.
    held: HashMap<StageKey, Lot>,
    /// Stages that nobody does.
    idle: HashMap<StageKey, Lot>,
    /// Of what the file is to know.
    generation: u64,
}

/// What is set aside for one stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lot {
    /// Nothing where the stage is only expected.
    pub(super) load: Load,
    pub(super) holders: u32,
    pub(super) keeping: Keeping,
    pub(super) extent: Extent,
    /// When it was changed last.
    touched: u64,
}

/// Whether a stage outlives whoever holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keeping {
    Yes,
    No,
}

/// A stage as it was when it was asked for.
#[derive(Clone, Debug)]
pub(super) struct Idle {
    pub(super) stage: StageKey,
    pub(super) extent: Extent,
    touched: u64,
}

/// Entries that are about to come to be together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct BatchId(u64);

/// A stage finds no room.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Short(Short),
    /// So many stages are there.
    TooMany,
}

impl From<Short> for Refusal {
    fn from(short: Short) -> Self {
        Self::Short(short)
    }
}

impl Book {
    /// The books as a file has them: stages stand, and what is pending is the caller's to ask for.
    pub(super) fn of(usage: Usage, quota: Quota) -> Self {
        let mut account = Account::new(usage.used);
        let mut idle = HashMap::new();
        for Staged { stage, bytes, extent } in usage.staged {
            let load = Load::of_entry(bytes);
            account.find(load);
            let lot = Lot { load, holders: 0, keeping: Keeping::Yes, extent, touched: 0 };
            idle.insert(stage, lot);
        }
        let (pending, held) = (Vec::new(), HashMap::new());
        Self { quota, account, pending, batches: 0, held, idle, generation: 1 }
    }

    pub(super) fn usage(&self) -> Usage {
        let staged = self.kept().map(|(stage, lot)| Staged {
            stage: stage.clone(),
            bytes: lot.load.bytes,
            extent: lot.extent,
        });
        Usage {
            used: self.account.used(),
            staged: staged.collect(),
            pending: self.pending.iter().map(|(_, entry)| entry.clone()).collect(),
        }
    }

    /// Names what is about to come to be.
    pub(super) fn begin(&mut self, entries: Vec<Pending>) -> BatchId {
        self.changed();
        self.batches += 1;
        let batch = BatchId(self.batches);
        self.pending.extend(entries.into_iter().map(|entry| (batch, entry)));
        batch
    }

    /// It did, or not.
    pub(super) fn end(&mut self, batch: BatchId) {
        self.changed();
        self.pending.retain(|(of, _)| *of != batch);
    }

    /// What pending entries come to in the file.
    pub(super) fn pending_weight(&self) -> usize {
        self.pending.iter().map(|(_, entry)| weight(&entry.path)).sum()
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Something changed that the file is to know.
    pub(super) fn changed(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Sets so much aside of no stage.
    pub(super) fn reserve(&mut self, more: Load) -> Result<(), Short> {
        self.account.reserve(more, self.quota)
    }

    /// Whether what is there fits, which it may not where the quota shrank.
    pub(super) fn check(&self) -> Result<(), Short> {
        self.account.check(Load::NONE, self.quota)
    }

    /// Sets aside what a stage needs, beyond what is set aside for it, for one more holder.
    pub(super) fn hold(
        &mut self,
        stage: &StageKey,
        bytes: ByteCount,
        (keeping, extent): (Keeping, Extent),
    ) -> Result<(), Refusal> {
        let lot = self.held.get(stage).or_else(|| self.idle.get(stage)).copied();
        if lot.is_none() && keeping == Keeping::Yes && !self.has_room_for(stage) {
            return Err(Refusal::TooMany);
        }
        let fresh = Lot { load: Load::NONE, holders: 0, keeping, extent, touched: 0 };
        let mut lot = lot.unwrap_or(fresh);
        let more = Load::of_entry(bytes).beyond(lot.load);
        self.reserve(more)?;
        lot.load = lot.load.plus(more);
        lot.holders += 1;
        lot.touched = self.changed();
        lot.extent = extent;
        if keeping == Keeping::Yes {
            lot.keeping = keeping;
        }
        self.idle.remove(stage);
        self.held.insert(stage.clone(), lot);
        Ok(())
    }

    /// Sets aside what a stage of unknown size comes to.
    pub(super) fn grow(&mut self, stage: &StageKey, to: ByteCount) -> Result<(), Short> {
        let had = self.held.get(stage).map_or(Load::NONE, |lot| lot.load);
        let more = Load::of_entry(to).beyond(had);
        if more == Load::NONE {
            return Ok(());
        }
        self.reserve(more)?;
        if let Some(lot) = self.held.get_mut(stage) {
            lot.load = lot.load.plus(more);
        }
        Ok(())
    }

    /// A stage may come to stand, or does: it is looked for before anybody relies on that.
    pub(super) fn expect(&mut self, stage: &StageKey, extent: Extent) {
        if !self.knows(stage) {
            let touched = self.changed();
            let lot = Lot { load: Load::NONE, holders: 0, keeping: Keeping::Yes, extent, touched };
            self.idle.insert(stage.clone(), lot);
        }
    }

    /// Whether anything is set aside for a stage, or it is expected.
    pub(super) fn knows(&self, stage: &StageKey) -> bool {
        self.held.contains_key(stage) || self.idle.contains_key(stage)
    }

    /// A holder leaves; what it leaves.
    pub(super) fn leave(&mut self, stage: &StageKey) -> Option<Lot> {
        let touched = self.changed();
        let lot = self.held.get_mut(stage)?;
        lot.holders -= 1;
        lot.touched = touched;
        let left = *lot;
        if left.holders == 0 {
            self.held.remove(stage);
            match left.keeping {
                Keeping::Yes => drop(self.idle.insert(stage.clone(), left)),
                Keeping::No => self.account.release(left.load),
            }
        }
        Some(left)
    }

    /// A stage is gone, and came to nothing.
    pub(super) fn forget(&mut self, stage: &StageKey) {
        let gone = self.take(stage);
        self.account.release(gone);
        self.changed();
    }

    /// What was set aside for a stage, which it is no more.
    fn take(&mut self, stage: &StageKey) -> Load {
        let gone = self.held.remove(stage).or_else(|| self.idle.remove(stage));
        gone.map_or(Load::NONE, |lot| lot.load)
    }

    /// An entry came to be. `aside` is what was set aside for one without a stage.
    pub(super) fn spend(&mut self, entry: &Pending, aside: Load) {
        self.changed();
        match &entry.what {
            What::Object { size, stage, .. } => {
                let aside = self.take(stage);
                self.account.spend(aside, Load::of_entry(*size));
            }
            What::Link | What::Directory => self.account.spend(aside, Load::ENTRY),
        }
    }

    /// Stages that nobody holds: all, or those of the path and owner of one.
    pub(super) fn idle(&self, kin: Option<&StageKey>) -> Vec<Idle> {
        let is_kin = |stage: &StageKey| {
            kin.is_none_or(|one| (&one.path, one.owner) == (&stage.path, stage.owner))
        };
        let idle = self.idle.iter().filter(|(stage, _)| is_kin(stage));
        let one = |(stage, lot): (&StageKey, &Lot)| Idle {
            stage: stage.clone(),
            extent: lot.extent,
            touched: lot.touched,
        };
        idle.map(one).collect()
    }

    /// A stage that nobody held was looked for: how far it is written, if it stands.
    pub(super) fn settle(&mut self, idle: &Idle, written: Option<ByteCount>) {
        // Somebody may have come meanwhile, and gone again.
        let lot = self.idle.get_mut(&idle.stage).filter(|lot| lot.touched == idle.touched);
        let Some(lot) = lot else { return };
        let Some(written) = written else { return self.forget(&idle.stage) };
        let bytes = match lot.extent {
            Extent::Known => lot.load.bytes.max(written),
            Extent::Growing => written,
        };
        let (had, load) = (lot.load, Load::of_entry(bytes));
        lot.load = load;
        if had != load {
            self.account.release(had);
            self.account.find(load);
            self.changed();
        }
    }

    /// Stages that outlive whoever holds them.
    fn kept(&self) -> impl Iterator<Item = (&StageKey, &Lot)> {
        self.held.iter().chain(&self.idle).filter(|(_, lot)| lot.keeping == Keeping::Yes)
    }

    /// The file is read whole, so there is a bound of what it holds.
    fn has_room_for(&self, stage: &StageKey) -> bool {
        let kept: usize = self.kept().map(|(one, _)| weight(&one.path)).sum();
        kept + weight(&stage.path) <= KEPT_WEIGHT_MAX
    }
}

/// At least half of what an entry or a stage of that path takes in the file.
pub(super) fn weight(path: &ObjectPath) -> usize {
    path.components().iter().map(|name| name.as_bytes().len() + 1).sum::<usize>() + LINE_BYTES
}

/// Half of a line without its path.
const LINE_BYTES: usize = 256;
/// Stages of one ticket that are open or left: some 10,000.
const KEPT_WEIGHT_MAX: usize = 3 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use floe_store::OwnerId;
    use floe_types::{EntryCount, SourceVersion, Timestamp};

    const MOST: Quota = Quota { bytes: Some(ByteCount(100)), entries: Some(EntryCount(3)) };
    const KEPT: (Keeping, Extent) = (Keeping::Yes, Extent::Known);

    fn stage(path: &str, inode: u64) -> StageKey {
        let stamp = Timestamp::new(0, 0).unwrap();
        let version = SourceVersion { inode, size: ByteCount(0), mtime: stamp, ctime: stamp };
        let path = ObjectPath::parse(path.as_bytes()).unwrap();
        StageKey { path, owner: OwnerId([0; 32]), version: Some(version) }
    }

    fn book() -> Book {
        Book::of(Usage::default(), MOST)
    }

    fn gone(book: &Book) -> (u64, u64) {
        (book.account.used().bytes.0, book.account.reserved().bytes.0)
    }

    #[test]
    fn a_stage_that_is_held_again_is_not_counted_twice() {
        let (mut book, a) = (book(), stage("a", 1));
        book.hold(&a, ByteCount(60), KEPT).unwrap();
        book.leave(&a);
        assert_eq!(gone(&book), (0, 60));
        book.hold(&a, ByteCount(60), KEPT).unwrap();
        assert_eq!(gone(&book), (0, 60));
        let short = Short::Bytes(ByteCount(41), ByteCount(40));
        assert_eq!(book.hold(&stage("b", 1), ByteCount(41), KEPT), Err(short.into()));
        assert_eq!(book.usage().staged.len(), 1);
    }

    #[test]
    fn one_without_a_journal_goes_with_its_holder() {
        let (mut book, a) = (book(), stage("a", 1));
        book.hold(&a, ByteCount(60), (Keeping::No, Extent::Known)).unwrap();
        assert!(book.usage().staged.is_empty());
        book.leave(&a);
        assert_eq!(gone(&book), (0, 0));
    }

    #[test]
    fn what_is_looked_for_counts_as_it_stands() {
        let (mut book, old, new) = (book(), stage("a", 1), stage("a", 2));
        book.hold(&old, ByteCount(60), KEPT).unwrap();
        assert!(book.idle(None).is_empty(), "it is held");
        book.leave(&old);
        book.expect(&new, Extent::Known);
        assert!(book.idle(Some(&stage("b", 1))).is_empty());
        let kin = book.idle(Some(&new));
        assert_eq!(kin.len(), 2);
        // The new one took the old one over.
        for idle in kin {
            let written = (idle.stage == new).then_some(ByteCount(20));
            book.settle(&idle, written);
        }
        assert_eq!(gone(&book), (0, 20));
        book.hold(&new, ByteCount(70), KEPT).unwrap();
        assert_eq!(gone(&book), (0, 70));
        book.leave(&new);
        let stale = book.idle(None);
        book.hold(&new, ByteCount(70), KEPT).unwrap();
        book.leave(&new);
        stale.iter().for_each(|idle| book.settle(idle, None));
        assert_eq!(gone(&book), (0, 70), "somebody was there meanwhile");
    }

    #[test]
    fn one_of_unknown_size_counts_as_far_as_it_is_written() {
        let (mut book, a) = (book(), stage("a", 1));
        book.hold(&a, ByteCount(0), (Keeping::Yes, Extent::Growing)).unwrap();
        book.grow(&a, ByteCount(80)).unwrap();
        book.grow(&a, ByteCount(50)).unwrap();
        let short = Short::Bytes(ByteCount(21), ByteCount(20));
        assert_eq!(book.grow(&a, ByteCount(101)), Err(short));
        assert_eq!(gone(&book), (0, 80));
        let root = floe_types::Root([0; 32]);
        let what = What::Object { size: ByteCount(80), root, stage: a.clone() };
        book.leave(&a);
        let mut again = Book::of(book.usage(), MOST);
        again.idle(None).iter().for_each(|idle| again.settle(idle, Some(ByteCount(30))));
        assert_eq!((gone(&again), again.account.reserved().entries), ((0, 30), EntryCount(1)));
        book.spend(&Pending { path: a.path, what }, Load::NONE);
        assert_eq!(gone(&book), (80, 0));
    }
}
