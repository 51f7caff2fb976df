//! A store as a ticket's holder may use it: what only a store knows is asked here.
//!
//! A write makes the directories above it that are missing; without the verb mkdir they must stand.
//! Whoever may neither read nor list is not told whether they do: such a holder writes in the root.
//! Where the ticket has a quota, every entry that comes to be is counted by its meter.

use super::meter::Meter;
use super::metered::{self, MeteredSink};
use floe_proto::frame::Verbs;
use floe_store::measure::MEASURE_BYTES_MAX;
use floe_store::{
    Begun, Commit, Cursor, Depth, Detail, Follow, OpenedEntry, OpenedSink, Overwrite, OwnerId,
    Page, Progress, RootWanted, Sink, SinkSpec, StageKey, Stat, Store, Wanted, commit_admitted,
};
use floe_types::{
    ByteCount, Code, DiskSpeed, Fault, Metadata, Mode, ObjectPath, Precondition, SourceVersion,
};
use std::sync::Arc;

type Result<T> = std::result::Result<T, Fault>;

/// A store behind what a ticket allows.
pub struct Fence {
    store: Arc<dyn Store>,
    verbs: Verbs,
    meter: Option<Arc<Meter>>,
    umask: Mode,
}

/// Whether a directory is there.
enum Stands {
    Yes,
    No,
}

impl Fence {
    /// That store, for a session that has those verbs.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, verbs: Verbs, meter: Option<Arc<Meter>>) -> Self {
        Self { store, verbs, meter, umask: Mode::NONE }
    }

    /// The same, where nothing that is written gets these permission bits.
    #[must_use]
    pub fn masking(self, umask: Mode) -> Self {
        Self { umask, ..self }
    }

    fn masked(&self, metadata: Metadata) -> Metadata {
        let bits = u32::from(metadata.mode.bits() & !self.umask.bits());
        Metadata { mode: Mode::from_bits(bits), ..metadata }
    }

    /// Whether a directory may be written in: it stands, or may be made.
    fn may_enter(&self, directory: &ObjectPath) -> Result<()> {
        if self.verbs.allow(Verbs::MAKE_DIRECTORY) {
            return Ok(());
        }
        if directory.is_root() {
            // A ticket's own directory that somebody removed: who asks for a name in it learns that
            // in any case, and nothing else.
            return match self.stands(directory)? {
                Stands::Yes => Ok(()),
                Stands::No => Err(Fault::new(Code::NotFound, format!("write in {directory:?}"))),
            };
        }
        let refused = || Fault::new(Code::NotAllowed, format!("make directory {directory:?}"));
        if self.verbs.only(Verbs::SHOWS) == Verbs::default() {
            return Err(refused());
        }
        match self.stands(directory)? {
            Stands::Yes => Ok(()),
            Stands::No => Err(refused()),
        }
    }

    /// Whether a directory stands. A disk that cannot tell is no answer: the write would make it.
    fn stands(&self, directory: &ObjectPath) -> Result<Stands> {
        match self.store.stat(directory, RootWanted::IfKnown, &|_, _| {}) {
            Ok(_) => Ok(Stands::Yes),
            Err(fault) if fault.code == Code::NotFound => Ok(Stands::No),
            Err(fault) => Err(Fault::new(fault.code, format!("write in {directory:?}"))),
        }
    }

    /// An object was asked when it was staged, a directory when it was made.
    fn may_commit(&self, commit: &Commit) -> Result<()> {
        match commit {
            Commit::Link { path, .. } => self.may_write(path),
            Commit::Object { .. } | Commit::Directory { .. } => Ok(()),
        }
    }

    /// An object was masked when it was staged, and a link has no mode.
    fn as_masked(&self, commit: Commit) -> Commit {
        match commit {
            Commit::Directory { path, metadata } => {
                Commit::Directory { path, metadata: self.masked(metadata) }
            }
            commit => commit,
        }
    }

    /// Makes directories by `make`: the ones that are missing count.
    fn make<T>(&self, path: &ObjectPath, make: impl FnOnce() -> Result<T>) -> Result<T> {
        match &self.meter {
            None => make(),
            Some(meter) => meter.bring(|| self.missing(path), path, make),
        }
    }

    fn change_names<T>(&self, change: impl FnOnce() -> T) -> T {
        match &self.meter {
            None => change(),
            Some(meter) => meter.change_names(change),
        }
    }

    /// A directory and those above it, as far as nothing is there.
    fn missing(&self, path: &ObjectPath) -> Result<Vec<ObjectPath>> {
        let mut missing = Vec::new();
        let mut next = Some(path.clone());
        while let Some(path) = next.filter(|path| !path.is_root()) {
            match self.stands(&path)? {
                Stands::Yes => break,
                Stands::No => next = path.split_last().map(|(parent, _)| parent),
            }
            missing.push(path);
        }
        Ok(missing)
    }

    fn may_write(&self, path: &ObjectPath) -> Result<()> {
        path.split_last().map_or(Ok(()), |(parent, _)| self.may_enter(&parent))
    }

    /// What a source's version is called here. Who may not read is known by what it sent itself:
    /// anybody can say a version that somebody else's source has, and would be told its root.
    fn known_as(&self, version: Option<SourceVersion>, owner: OwnerId) -> Option<SourceVersion> {
        if self.verbs.allow(Verbs::READ) {
            return version;
        }
        version.map(|version| {
            let digest = blake3::keyed_hash(&owner.0, &version.inode.to_be_bytes());
            let bytes = digest.as_bytes().first_chunk().copied().unwrap_or_default();
            SourceVersion { inode: u64::from_be_bytes(bytes), ..version }
        })
    }
}

impl Store for Fence {
    fn open(&self, path: &ObjectPath, follow: Follow) -> Result<OpenedEntry> {
        self.store.open(path, follow)
    }

    fn list(
        &self,
        path: &ObjectPath,
        after: Option<&Cursor>,
        max: usize,
        detail: Detail,
    ) -> Result<Page> {
        self.store.list(path, after, max, detail)
    }

    fn open_sink(&self, spec: SinkSpec, progress: Progress<'_>) -> Result<OpenedSink> {
        self.may_write(&spec.path)?;
        let version = self.known_as(spec.version, spec.owner);
        let spec = SinkSpec { metadata: self.masked(spec.metadata), version, ..spec };
        let Some(meter) = &self.meter else { return self.store.open_sink(spec, progress) };
        let parent = spec.path.split_last().map(|(parent, _)| parent).unwrap_or_default();
        let open = || self.make(&parent, || self.store.open_sink(spec.clone(), progress));
        metered::open_sink(meter, &*self.store, &spec, open)
    }

    fn begin_directory(&self, path: &ObjectPath, precondition: Precondition) -> Result<Begun> {
        self.may_enter(path)?;
        if path.is_root() {
            // Never a transfer's own: neither lent to it, nor given its mode at the end.
            return self.make(path, || self.store.make_dir(path)).map(|()| Begun::Stood);
        }
        self.make(path, || self.store.begin_directory(path, precondition))
    }

    fn leave_directory(&self, path: &ObjectPath) {
        self.store.leave_directory(path);
    }

    fn commit_while(&self, batch: Vec<Commit>, wanted: Wanted<'_>) -> Vec<Result<()>> {
        let admit = |commit| match (&commit, self.may_commit(&commit)) {
            (Commit::Directory { path, .. }, Ok(())) if path.is_root() => Err(Ok(())),
            (_, Ok(())) => Ok((self.as_masked(commit), ())),
            (_, refused) => Err(refused),
        };
        let commit = |admitted| match &self.meter {
            None => self.store.commit_while(admitted, wanted),
            Some(meter) => metered::commit(meter, admitted, wanted),
        };
        commit_admitted(commit, batch, admit, |(), answer| answer)
    }

    fn discard(&self, sink: Arc<dyn Sink>) -> Result<()> {
        match &self.meter {
            None => self.store.discard(sink),
            Some(_) => MeteredSink::of(sink)?.discard(&*self.store),
        }
    }

    fn staged(&self, stage: &StageKey) -> Result<Option<ByteCount>> {
        self.store.staged(stage)
    }

    fn stat(&self, path: &ObjectPath, root: RootWanted, progress: Progress<'_>) -> Result<Stat> {
        self.store.stat(path, root, progress)
    }

    fn remove(&self, path: &ObjectPath, depth: Depth, wanted: Wanted<'_>) -> Result<()> {
        self.change_names(|| self.store.remove(path, depth, wanted))
    }

    fn rename(&self, from: &ObjectPath, to: &ObjectPath, overwrite: Overwrite) -> Result<()> {
        self.change_names(|| self.store.rename(from, to, overwrite))
    }

    fn make_dir(&self, path: &ObjectPath) -> Result<()> {
        self.make(path, || self.store.make_dir(path))
    }

    fn measure(&self, path: &ObjectPath, progress: Progress<'_>) -> Result<DiskSpeed> {
        // Who is shown nothing is not told by its disk what stands.
        let blind = self.verbs.only(Verbs::SHOWS) == Verbs::default();
        let path = if blind { &ObjectPath::root() } else { path };
        let measure = || self.store.measure(path, progress);
        match &self.meter {
            None => measure(),
            Some(meter) => meter.lend(MEASURE_BYTES_MAX, path, measure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grant::Quota;
    use crate::state::State;
    use floe_store::confined::Confined;
    use floe_store::faulty::{Chance, Faults, FaultyDisk};
    use floe_store::local::LocalStore;
    use floe_store::memory::MemoryStore;
    use floe_store::simulated::SimulatedDisk;
    use floe_types::EntryCount;
    use std::collections::BTreeSet;

    fn fenced(verbs: Verbs) -> (MemoryStore, Fence) {
        let store = MemoryStore::default();
        store.make_dir(&path("here")).unwrap();
        let fence = Fence::new(Arc::new(store.clone()), verbs, None);
        (store, fence)
    }

    fn path(text: &str) -> ObjectPath {
        ObjectPath::parse(text.as_bytes()).unwrap()
    }

    fn begin(fence: &Fence, at: &str) -> std::result::Result<Begun, Code> {
        fence.begin_directory(&path(at), Precondition::Absent).map_err(|fault| fault.code)
    }

    #[test]
    fn nothing_is_made_above_a_write_without_the_verb() {
        let (store, fence) = fenced(Verbs::WRITE_NEW.and(Verbs::LIST));
        assert_eq!(begin(&fence, "here"), Ok(Begun::Stood));
        assert_eq!(begin(&fence, "there"), Err(Code::NotAllowed));
        assert_eq!(begin(&fence, "there/beneath"), Err(Code::NotAllowed));
        assert!(store.stat(&path("there"), RootWanted::IfKnown, &|_, _| {}).is_err());
        let (_, fence) = fenced(Verbs::WRITE_NEW.and(Verbs::MAKE_DIRECTORY));
        assert_eq!(begin(&fence, "there/beneath"), Ok(Begun::Made));
    }

    #[test]
    fn a_tickets_own_directory_is_made_again_only_with_the_verb() {
        let dir = tempfile::tempdir().unwrap();
        let whole = Arc::new(LocalStore::open(dir.path()).unwrap());
        let fence = |verbs| {
            let store = Confined::new(Arc::clone(&whole), path("team/box"));
            Fence::new(Arc::new(store), verbs, None)
        };
        for verbs in [Verbs::WRITE_NEW, Verbs::WRITE_NEW.and(Verbs::LIST)] {
            assert_eq!(begin(&fence(verbs), ""), Err(Code::NotFound));
            assert_eq!(begin(&fence(verbs), "d"), Err(Code::NotAllowed));
        }
        assert!(!dir.path().join("team").exists());
        let may_make = fence(Verbs::WRITE_NEW.and(Verbs::MAKE_DIRECTORY));
        assert_eq!(begin(&may_make, ""), Ok(Begun::Stood));
        assert_eq!(begin(&fence(Verbs::WRITE_NEW), ""), Ok(Begun::Stood));
        assert!(dir.path().join("team/box").exists());
    }

    /// A store of whose looks one in five fails, and the same without a fault.
    fn half_blind() -> (Arc<dyn Store>, LocalStore<SimulatedDisk>) {
        let below = SimulatedDisk::default();
        let disk = FaultyDisk::new(below.clone(), 7, Faults::default());
        let store = LocalStore::new(disk.clone()).unwrap();
        disk.set_faults(Faults { lookup_error: Chance(2_000), ..Faults::default() });
        (Arc::new(store), LocalStore::new(below).unwrap())
    }

    fn stands(store: &dyn Store, at: &str) -> bool {
        store.stat(&path(at), RootWanted::IfKnown, &|_, _| {}).is_ok()
    }

    /// Seed 56237: a look that failed counted as a directory that stands, and the write made it.
    #[test]
    fn where_a_look_fails_no_directory_is_made_without_the_verb() {
        let (store, seeing) = half_blind();
        let fence = Fence::new(store, Verbs::WRITE_NEW.and(Verbs::LIST), None);
        let names: Vec<_> = (0..100).map(|nth| nth.to_string()).collect();
        let answers: BTreeSet<_> = names.iter().map(|at| begin(&fence, at).unwrap_err()).collect();
        assert_eq!(answers, [Code::NotAllowed, Code::Io].into());
        assert!(!names.iter().any(|at| stands(&seeing, at)));
    }

    #[test]
    fn where_a_look_fails_what_is_made_counts_all_the_same() {
        let (store, seeing) = half_blind();
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state")).unwrap();
        let quota = Quota { bytes: None, entries: Some(EntryCount(10)) };
        let meter = Arc::new(Meter::open(&state, "t", quota, Arc::clone(&store)).unwrap());
        let fence = Fence::new(store, Verbs::ALL, Some(meter));
        let names: Vec<_> = (0..200).map(|nth| nth.to_string()).collect();
        let made = names.iter().filter(|at| begin(&fence, at).is_ok()).count();
        let there = names.iter().filter(|at| stands(&seeing, at)).count();
        assert!(made <= there && (1..=10).contains(&there), "{made} {there}");
    }

    #[test]
    fn who_sees_nothing_learns_of_no_directory() {
        let (_, fence) = fenced(Verbs::WRITE_NEW);
        let answers = ["here", "there"].map(|at| begin(&fence, at));
        assert_eq!(answers, [Err(Code::NotAllowed); 2]);
        let fault = fence.begin_directory(&path("here"), Precondition::Absent).unwrap_err();
        assert_eq!(fault.detail, "make directory \"here\"");
        assert!(fence.begin_directory(&path(""), Precondition::Absent).is_ok());
    }
}
