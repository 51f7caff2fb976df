//! A store in memory that keeps the contract to the letter: for tests and simulations.
//!
//! Objects and stages are shared by all clones; `restart` is the death of the process that had the
//! stages. Time stands still unless it is moved, so equal calls give equal stores. There is no
//! power loss here: what is recorded is durable.

mod tree; // what stands
mod sink; // what is staged

use crate::api::{
    self, Basis, Begun, Commit, Cursor, Depth, Detail, Follow, Journaling, Listed, OpenedEntry,
    OpenedSink, Overwrite, Page, Progress, Recognise, Result, RootWanted, Sink, SinkSpec, Source,
    Stat, Store, Wanted,
};
use crate::mark::{Mark, Names};
use floe_types::{
    ByteCount, Code, Fault, Freshness, ObjectPath, Offset, Precondition, Root, SourceVersion,
};
use sink::{MemorySink, Stage, StageKey, Token};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tree::{File, Node, Tree};

/// A store in memory. Clones are the same store.
#[derive(Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

struct State {
    tree: Tree,
    /// Directories that were made and are not committed.
    begun: BTreeSet<ObjectPath>,
    stages: BTreeMap<StageKey, Stage>,
    tokens: u64,
    room: ByteCount,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new(ByteCount(64 << 30))
    }
}

impl MemoryStore {
    /// An empty store that refuses objects of more than `room`.
    #[must_use]
    pub fn new(room: ByteCount) -> Self {
        let state = State {
            tree: Tree::new(),
            begun: BTreeSet::new(),
            stages: BTreeMap::new(),
            tokens: 0,
            room,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The death of the process: no stage is owned any more. Sinks given out before only fail from
    /// now on.
    pub fn restart(&self) {
        let mut state = self.lock();
        state.stages.retain(|_, stage| stage.keeps);
        state.stages.values_mut().for_each(|stage| stage.owner = None);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sink(&self, key: StageKey, spec: SinkSpec, standing: Option<Arc<File>>) -> Arc<MemorySink> {
        let mut state = self.lock();
        state.tokens += 1;
        let token = Token(state.tokens);
        Arc::new(MemorySink::new(self.clone(), key, token, spec, standing))
    }
}

fn fault(code: Code, doing: impl std::fmt::Display) -> Fault {
    Fault::new(code, doing.to_string())
}

/// A file as a source: it stays what it was when it was opened.
struct MemorySource(Arc<File>);

impl Source for MemorySource {
    fn version(&self) -> Result<Option<SourceVersion>> {
        Ok(Some(self.0.version()))
    }

    fn read_at(&self, at: Offset, into: &mut [u8]) -> Result<usize> {
        let start = ByteCount(at.0).to_len().unwrap_or(usize::MAX);
        let rest = self.0.bytes.get(start..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn read_cached(&self, at: Offset, into: &mut [u8]) -> Result<Option<usize>> {
        self.read_at(at, into).map(Some)
    }
}

impl State {
    fn recognise(&self, spec: &SinkSpec) -> Result<Option<(Arc<File>, Root, Basis)>> {
        let doing = || format!("stage {:?}", spec.path);
        let found = match self.tree.nodes.get(&spec.path) {
            None => return Ok(None),
            Some(Node::Directory(_)) => return Err(fault(Code::IsDirectory, doing())),
            Some(Node::Link(..)) => None,
            Some(Node::File(file)) => Self::recognise_file(file, spec),
        };
        // One of known size is known by its version alone.
        let knowable = spec.recognise == Recognise::ByVersion || spec.size.is_none();
        let is_own =
            |(file, ..): &(Arc<File>, Root, Basis)| knowable && file.metadata == spec.metadata;
        if spec.precondition == Precondition::Absent && !found.as_ref().is_some_and(is_own) {
            return Err(fault(Code::Exists, doing()));
        }
        Ok(found)
    }

    fn recognise_file(file: &Arc<File>, spec: &SinkSpec) -> Option<(Arc<File>, Root, Basis)> {
        if spec.size.is_some_and(|size| size != file.size()) {
            return None;
        }
        if spec.recognise == Recognise::ByContent {
            return Some((Arc::clone(file), Root::of(&file.bytes), Basis::Content));
        }
        let (version, mark) = (spec.version?, file.mark.as_ref()?);
        let root = mark.root_of(file.size(), file.metadata.mtime)?;
        let basis = match (mark.names(version), spec.freshness) {
            (Names::Other, _) => return None,
            (Names::Settled, Freshness::Settled) => Basis::Version,
            _ => Basis::Content,
        };
        Some((Arc::clone(file), root, basis))
    }

    fn is_twin(&self, spec: &SinkSpec, object: (ByteCount, Root)) -> bool {
        let found = self.recognise(spec).ok().flatten();
        found.is_some_and(|(file, root, _)| (file.size(), root) == object)
    }

    fn commit(&mut self, entry: &Commit, wanted: Wanted<'_>) -> Result<()> {
        match entry {
            Commit::Object { sink, size, root } => {
                let any: &dyn Any = &**sink;
                let Some(sink) = any.downcast_ref::<MemorySink>() else {
                    return Err(fault(Code::Usage, "commit: the stage is not of this store"));
                };
                if !sink.is_committed() {
                    still(wanted)?;
                }
                self.commit_object(sink, *size, *root)
            }
            Commit::Link { path, target, metadata, precondition } => {
                let doing = format!("commit link {path:?}");
                still(wanted)?;
                let stands = self.tree.nodes.get(path);
                let is_own = matches!(stands, Some(Node::Link(text, stands))
                    if text == target && stands.mtime == metadata.mtime);
                if *precondition == Precondition::Absent && is_own {
                    return Ok(());
                }
                let node = Node::Link(target.clone(), *metadata);
                self.tree.replace(path, node, *precondition).map_err(|code| fault(code, doing))
            }
            Commit::Directory { path, metadata } => {
                let doing = format!("commit directory {path:?}");
                still(wanted)?;
                self.begun.remove(path);
                match self.tree.nodes.get_mut(path) {
                    None => Err(fault(Code::NotFound, doing)),
                    Some(Node::Directory(own)) => {
                        *own = *metadata;
                        Ok(())
                    }
                    Some(_) => Err(fault(Code::NotDirectory, doing)),
                }
            }
        }
    }

    fn commit_object(&mut self, sink: &MemorySink, size: ByteCount, root: Root) -> Result<()> {
        let doing = format!("commit {:?}", sink.spec.path);
        if sink.is_committed() {
            return Ok(());
        }
        let spec = &sink.spec;
        let mark = Mark::new(root, size, spec.metadata.mtime, spec.version, spec.freshness);
        let is_it = |standing: &Arc<File>| Root::of(&standing.bytes) == root;
        if spec.precondition == Precondition::Absent && sink.standing.as_ref().is_some_and(is_it) {
            // It was written again, for nothing.
            self.stages.remove(&sink.key);
        }
        // Nothing is written of what is empty, also where it takes another's place.
        let is_kept = |standing: &&Arc<File>| size > ByteCount::ZERO || standing.size() == size;
        let standing = sink.standing.as_ref().filter(is_kept);
        let bytes = match (standing, self.stages.get(&sink.key)) {
            (Some(standing), None) => {
                let stands = matches!(self.tree.nodes.get(&spec.path),
                    Some(Node::File(file)) if Arc::ptr_eq(file, standing));
                if standing.size() != size {
                    return Err(fault(Code::Integrity, doing));
                }
                if !stands {
                    // Another writer has replaced it since: one commit after the other.
                    return Ok(());
                }
                standing.bytes.clone()
            }
            (_, Some(stage)) if stage.owner == Some(sink.token) => {
                stage.whole(size).ok_or_else(|| fault(Code::Integrity, &doing))?
            }
            (None, None) if size == ByteCount::ZERO && root == Root::of_nothing() => Vec::new(),
            _ => return Err(fault(Code::NotFound, doing)),
        };
        let precondition = match standing {
            Some(_) if !self.stages.contains_key(&sink.key) => Precondition::None,
            _ => spec.precondition,
        };
        let node = self.tree.file(bytes, spec.metadata, mark);
        let answer = self.tree.replace(&spec.path, node, precondition);
        if matches!(answer, Ok(()) | Err(Code::Exists)) {
            self.stages.remove(&sink.key);
        }
        match answer {
            // The same, committed meanwhile.
            Err(Code::Exists) if self.is_twin(spec, (size, root)) => {}
            answer => answer.map_err(|code| fault(code, doing))?,
        }
        sink.set_committed();
        Ok(())
    }
}

fn still(wanted: Wanted<'_>) -> Result<()> {
    if wanted() { Ok(()) } else { Err(fault(Code::Interrupted, "commit")) }
}

impl Store for MemoryStore {
    fn open(&self, path: &ObjectPath, follow: Follow) -> Result<OpenedEntry> {
        let state = self.lock();
        let doing = || format!("open {path:?}");
        let path = state.tree.resolve(path, follow).map_err(|code| fault(code, doing()))?;
        match state.tree.nodes.get(&path) {
            None => Err(fault(Code::NotFound, doing())),
            Some(Node::Directory(metadata)) => Ok(OpenedEntry::Directory { metadata: *metadata }),
            Some(Node::Link(target, metadata)) => {
                Ok(OpenedEntry::Link { target: target.clone(), metadata: *metadata })
            }
            Some(Node::File(file)) => Ok(OpenedEntry::File {
                source: Arc::new(MemorySource(Arc::clone(file))),
                version: Some(file.version()),
                freshness: file.freshness(state.tree.now),
                metadata: file.metadata,
            }),
        }
    }

    fn list(
        &self,
        path: &ObjectPath,
        after: Option<&Cursor>,
        max: usize,
        detail: Detail,
    ) -> Result<Page> {
        let state = self.lock();
        let doing = || format!("list {path:?}");
        let path = state.tree.resolve(path, Follow::Yes).map_err(|code| fault(code, doing()))?;
        match state.tree.nodes.get(&path) {
            None => return Err(fault(Code::NotFound, doing())),
            Some(Node::Directory(_)) => {}
            Some(_) => return Err(fault(Code::NotDirectory, doing())),
        }
        let mut names: Vec<_> = state
            .tree
            .children(&path)
            .filter(|(name, _)| after.is_none_or(|after| name.as_bytes() > &after.0[..]))
            .take(max.saturating_add(1))
            .map(|(name, node)| {
                let stat = (detail == Detail::Stats).then(|| node.stat());
                Listed { name: name.clone(), stat }
            })
            .collect();
        let more = names.len() > max;
        names.truncate(max);
        let last = names.last().map(|listed| Cursor(listed.name.as_bytes().to_vec()));
        Ok(Page { names, next: last.filter(|_| more), passed_over: Vec::new() })
    }

    fn open_sink(&self, spec: SinkSpec, _progress: Progress<'_>) -> Result<OpenedSink> {
        let doing = format!("stage {:?}", spec.path);
        let mut state = self.lock();
        let Some((parent, _)) = spec.path.split_last() else {
            return Err(fault(Code::IsDirectory, doing));
        };
        state.tree.make_directories(&parent).map_err(|code| fault(code, &doing))?;
        let key = StageKey::of(&spec);
        let mut sought = spec.clone();
        // Of unknown size, an object whose stage stands is not finished, whatever has its name.
        if spec.size.is_none() && state.stages.contains_key(&key) {
            sought.recognise = Recognise::ByVersion;
        }
        let recognised = state.recognise(&sought)?;
        if spec.size.is_some_and(|size| size > state.room) {
            return Err(fault(Code::NoSpace, doing));
        }
        drop(state);
        let (resume, journaling) = (spec.resume, spec.journaling);
        if let Some((file, root, basis)) = recognised {
            let sink = self.sink(key, spec, Some(file));
            return Ok(OpenedSink::Finished { root, basis, sink });
        }
        let sink = self.sink(key, spec, None);
        let (have, basis) = match journaling {
            Journaling::Journal => sink.begin(resume)?,
            Journaling::None => (Vec::new(), Basis::Content),
        };
        Ok(OpenedSink::Staged { sink, have, basis })
    }

    fn begin_directory(&self, path: &ObjectPath, _: Precondition) -> Result<Begun> {
        let mut state = self.lock();
        let stood = state.tree.nodes.contains_key(path) && !state.begun.contains(path);
        let answer = state.tree.make_directories(path);
        answer.map_err(|code| fault(code, format_args!("make directory {path:?}")))?;
        if stood {
            return Ok(Begun::Stood);
        }
        state.begun.insert(path.clone());
        Ok(Begun::Made)
    }

    fn leave_directory(&self, _: &ObjectPath) {} // nothing keeps its owner out

    fn commit_while(&self, batch: Vec<Commit>, wanted: Wanted<'_>) -> Vec<Result<()>> {
        let answers = {
            let mut state = self.lock();
            batch.iter().map(|entry| state.commit(entry, wanted)).collect()
        };
        // Sinks are dropped without the lock, which they take.
        drop(batch);
        answers
    }

    fn discard(&self, sink: Arc<dyn Sink>) -> Result<()> {
        let any: Arc<dyn Any + Send + Sync> = sink;
        let Ok(sink) = any.downcast::<MemorySink>() else {
            return Err(fault(Code::Usage, "discard: the stage is not of this store"));
        };
        let mut state = self.lock();
        if state.stages.get(&sink.key).is_some_and(|stage| stage.owner == Some(sink.token)) {
            state.stages.remove(&sink.key);
        }
        Ok(())
    }

    fn staged(&self, stage: &api::StageKey) -> Result<Option<ByteCount>> {
        let state = self.lock();
        Ok(state.stages.get(&StageKey::named(stage)).map(Stage::written))
    }

    fn stat(&self, path: &ObjectPath, root: RootWanted, _progress: Progress<'_>) -> Result<Stat> {
        let state = self.lock();
        let doing = || format!("stat {path:?}");
        let path = state.tree.resolve(path, Follow::No).map_err(|code| fault(code, doing()))?;
        let node = state.tree.nodes.get(&path).ok_or_else(|| fault(Code::NotFound, doing()))?;
        let mut stat = node.stat();
        if let (Node::File(file), RootWanted::Computed, None) = (node, root, stat.root) {
            stat.root = Some(Root::of(&file.bytes));
        }
        Ok(stat)
    }

    fn remove(&self, path: &ObjectPath, depth: Depth, _wanted: Wanted<'_>) -> Result<()> {
        let answer = self.lock().tree.remove(path, depth);
        answer.map_err(|code| fault(code, format_args!("remove {path:?}")))
    }

    fn rename(&self, from: &ObjectPath, to: &ObjectPath, overwrite: Overwrite) -> Result<()> {
        let answer = self.lock().tree.rename(from, to, overwrite);
        answer.map_err(|code| fault(code, format_args!("rename {from:?} to {to:?}")))
    }

    fn make_dir(&self, path: &ObjectPath) -> Result<()> {
        let answer = self.lock().tree.make_directories(path);
        answer.map_err(|code| fault(code, format_args!("make directory {path:?}")))
    }
}
