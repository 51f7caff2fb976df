//! A part of a local store as a store of its own: whoever holds it sees a directory as the root.
//!
//! Paths that change something are joined to the directory's, as lists of names; the disk passes no
//! link on such a path. Paths that read are resolved beneath the directory's own handle, so that no
//! link leads out of it, also none that its holder made. Stages lie in the whole store's `.floe`.
//! No fault names the directory: its holder need not know where it lies. Its mode and time are not
//! the holder's to set: a tree that is put there sets those of what is in it.

use crate::admit::commit_admitted;
use crate::api::{
    Begun, Commit, Cursor, Depth, Detail, Follow, OpenedEntry, OpenedSink, Overwrite, Page,
    Progress, Result, RootWanted, Sink, SinkSpec, StageKey, Stat, Store, Wanted,
};
use crate::browse::Browser;
use crate::disk::{Disk, Doing};
use crate::local::LocalStore;
use floe_types::{
    ByteCount, ChunkDigest, Code, DiskSpeed, Fault, ObjectPath, Offset, Precondition, Range,
};
use std::any::Any;
use std::sync::Arc;

/// What lies in one directory of a store.
pub struct Confined<D: Disk> {
    store: Arc<LocalStore<D>>,
    directory: ObjectPath,
}

impl<D: Disk> Confined<D> {
    /// The directory need not stand yet; where it does not, there is nothing to read, and the first
    /// write makes it.
    #[must_use]
    pub fn new(store: Arc<LocalStore<D>>, directory: ObjectPath) -> Self {
        Self { store, directory }
    }

    fn browser(&self, doing: &str, path: &ObjectPath) -> Result<Browser<D>> {
        let browser = self.store.browser_beneath(&self.directory);
        browser.doing(format_args!("{doing} {path:?}"))
    }

    fn whole(&self, doing: &str, path: &ObjectPath) -> Result<ObjectPath> {
        self.directory
            .join_path(path)
            .map_err(|why| Fault::new(Code::BadPath, format!("{doing} {path:?}: {why}")))
    }

    /// The root of it is the whole store's to remove or rename.
    fn below(&self, doing: &str, path: &ObjectPath) -> Result<ObjectPath> {
        if path.is_root() {
            return Err(Fault::new(Code::Usage, format!("{doing} {path:?}")));
        }
        self.whole(doing, path)
    }
}

/// A fault without the directory's path.
fn told<T>(answer: Result<T>, doing: &str, path: &ObjectPath) -> Result<T> {
    answer.map_err(|fault| Fault::new(fault.code, format!("{doing} {path:?}")))
}

/// A stage of a confined store.
struct ConfinedSink {
    whole: Arc<dyn Sink>,
    path: ObjectPath,
}

impl Sink for ConfinedSink {
    fn write_at(&self, at: Offset, bytes: &[u8]) -> Result<()> {
        told(self.whole.write_at(at, bytes), "write", &self.path)
    }

    fn write_hole(&self, chunk: Range) -> Result<()> {
        told(self.whole.write_hole(chunk), "write", &self.path)
    }

    fn record(&self, chunk: Range, digest: &ChunkDigest) -> Result<()> {
        told(self.whole.record(chunk, digest), "write", &self.path)
    }

    fn forget(&self, range: Range) -> Result<()> {
        told(self.whole.forget(range), "write", &self.path)
    }

    fn checkpoint(&self) -> Result<()> {
        told(self.whole.checkpoint(), "sync", &self.path)
    }

    fn has_final_name(&self) -> bool {
        self.whole.has_final_name()
    }
}

fn unwrapped(sink: Arc<dyn Sink>) -> Result<(Arc<dyn Sink>, ObjectPath)> {
    let any: Arc<dyn Any + Send + Sync> = sink;
    match any.downcast::<ConfinedSink>() {
        Ok(sink) => Ok((Arc::clone(&sink.whole), sink.path.clone())),
        Err(_) => Err(Fault::new(Code::Usage, "the stage is not of this store")),
    }
}

fn wrapped(sink: Arc<dyn Sink>, path: ObjectPath) -> Arc<dyn Sink> {
    Arc::new(ConfinedSink { whole: sink, path })
}

impl<D: Disk> Store for Confined<D> {
    fn open(&self, path: &ObjectPath, follow: Follow) -> Result<OpenedEntry> {
        self.browser("open", path)?.open(path, follow)
    }

    fn list(
        &self,
        path: &ObjectPath,
        after: Option<&Cursor>,
        max: usize,
        detail: Detail,
    ) -> Result<Page> {
        self.browser("list", path)?.list(path, after, max, detail)
    }

    fn open_sink(&self, spec: SinkSpec, progress: Progress<'_>) -> Result<OpenedSink> {
        let path = spec.path.clone();
        // Its own root is a directory for certain.
        let spec = match path.is_root() {
            true => return Err(Fault::new(Code::IsDirectory, format!("stage {path:?}"))),
            false => SinkSpec { path: self.whole("stage", &path)?, ..spec },
        };
        Ok(match told(self.store.open_sink(spec, progress), "stage", &path)? {
            OpenedSink::Staged { sink, have, basis } => {
                OpenedSink::Staged { sink: wrapped(sink, path), have, basis }
            }
            OpenedSink::Finished { root, basis, sink } => {
                OpenedSink::Finished { root, basis, sink: wrapped(sink, path) }
            }
        })
    }

    fn begin_directory(&self, path: &ObjectPath, precondition: Precondition) -> Result<Begun> {
        let doing = "make directory";
        if path.is_root() {
            // Never a transfer's own: neither lent to it, nor given its mode at the end.
            return self.make_dir(path).map(|()| Begun::Stood);
        }
        told(self.store.begin_directory(&self.whole(doing, path)?, precondition), doing, path)
    }

    fn leave_directory(&self, path: &ObjectPath) {
        if let Ok(whole) = self.whole("leave directory", path) {
            self.store.leave_directory(&whole);
        }
    }

    fn commit_while(&self, batch: Vec<Commit>, wanted: Wanted<'_>) -> Vec<Result<()>> {
        let admit = |commit| match &commit {
            Commit::Directory { path, .. } if path.is_root() => Err(Ok(())),
            _ => self.whole_commit(commit).map_err(Err),
        };
        let commit = |admitted| self.store.commit_while(admitted, wanted);
        commit_admitted(commit, batch, admit, |path, answer| told(answer, "commit", &path))
    }

    fn discard(&self, sink: Arc<dyn Sink>) -> Result<()> {
        let (sink, path) = unwrapped(sink)?;
        told(self.store.discard(sink), "discard stage of", &path)
    }

    fn staged(&self, stage: &StageKey) -> Result<Option<ByteCount>> {
        let (doing, path) = ("look at the stage of", &stage.path);
        let whole = StageKey { path: self.whole(doing, path)?, ..*stage };
        told(self.store.staged(&whole), doing, path)
    }

    fn stat(&self, path: &ObjectPath, root: RootWanted, progress: Progress<'_>) -> Result<Stat> {
        self.browser("stat", path)?.stat(path, root, progress)
    }

    fn remove(&self, path: &ObjectPath, depth: Depth, wanted: Wanted<'_>) -> Result<()> {
        let doing = "remove";
        told(self.store.remove(&self.below(doing, path)?, depth, wanted), doing, path)
    }

    fn rename(&self, from: &ObjectPath, to: &ObjectPath, overwrite: Overwrite) -> Result<()> {
        let doing = "rename";
        let (old, new) = (self.below(doing, from)?, self.below(doing, to)?);
        let answer = self.store.rename(&old, &new, overwrite);
        answer.map_err(|fault| Fault::new(fault.code, format!("{doing} {from:?} to {to:?}")))
    }

    fn make_dir(&self, path: &ObjectPath) -> Result<()> {
        let doing = "make directory";
        told(self.store.make_dir(&self.whole(doing, path)?), doing, path)
    }

    fn measure(&self, path: &ObjectPath, progress: Progress<'_>) -> Result<DiskSpeed> {
        let doing = "measure the disk of";
        // What is above it is not the holder's.
        self.browser(doing, path)?;
        told(self.store.measure(&self.whole(doing, path)?, progress), doing, path)
    }
}

impl<D: Disk> Confined<D> {
    /// The same of the whole store, and the path as the holder knows it.
    fn whole_commit(&self, commit: Commit) -> Result<(Commit, ObjectPath)> {
        Ok(match commit {
            Commit::Object { sink, size, root } => {
                let (sink, path) = unwrapped(sink)?;
                (Commit::Object { sink, size, root }, path)
            }
            Commit::Link { path, target, metadata, precondition } => {
                let whole = self.below("commit link", &path)?;
                (Commit::Link { path: whole, target, metadata, precondition }, path)
            }
            Commit::Directory { path, metadata } => {
                (Commit::Directory { path: self.whole("commit directory", &path)?, metadata }, path)
            }
        })
    }
}
