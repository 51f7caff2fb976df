//! The store over a disk: objects under their own names, stages in `.floe`, every promise of the
//! crash contract.
//!
//! `LocalStore` joins three parts: the browser (what needs no stage), the sinks (one object being
//! staged each) and the commit (a batch made visible and durable). The order of effects is decided
//! in `commit`, what a stage keeps in `ledger`, what counts after a crash in `recover`.

mod ancestry; // which directories must be synced
mod remembered; // paths, as many as fit
mod reserve; // space that is kept free
mod area; // `.floe`: where stages rest
mod ledger; // a journal while it is written
mod metadata; // mode, mtime and mark
mod wanted; // whether a commit is
mod hole; // a range of a staged file without its bytes
mod recover; // what of an earlier stage counts
mod stage; // an object staged with a journal
mod plain; // an object staged without one
mod standing; // what stands at a final name
mod directories; // those that are made, or lent to a transfer
mod sink; // the handle of either
mod commit; // a batch made visible and durable

pub use area::RootId;

use crate::api::{
    Basis, Begun, Commit, Cursor, Depth, Detail, Follow, Journaling, OpenedEntry, OpenedSink,
    Overwrite, Page, Progress, Recognise, Result, RootWanted, Sink, SinkSpec, StageKey, Stat,
    Store, Wanted,
};
use crate::beneath;
use crate::browse::Browser;
use crate::disk::{Disk, DiskError, DiskResult, Doing, FileSystem, Name};
use crate::kernel::KernelDisk;
use crate::measure::{self, Gauge};
use ancestry::Ancestry;
use area::Areas;
use directories::Directories;
use floe_types::{ByteCount, Code, DiskSpeed, Fault, ObjectPath, Precondition, Timestamp};
use reserve::{Asked, PAGE};
use sink::LocalSink;
use stage::Found;
use std::any::Any;
use std::cell::RefCell;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// A store of the objects beneath one directory of a disk.
pub struct LocalStore<D: Disk> {
    ground: Arc<Ground<D>>,
    browser: Browser<D>,
    directories: Directories,
    /// How fast the disk was.
    gauge: Gauge,
}

/// What every part of a store stands on.
pub(crate) struct Ground<D: Disk> {
    disk: Arc<D>,
    root: Arc<D::Handle>,
    ancestry: Arc<Ancestry>,
    areas: Arc<Areas<D>>,
    /// What the root is on.
    file_system: FileSystem,
    /// The directory of the last entry that was staged: entries of one directory come one after the
    /// other.
    recent: Mutex<Option<Arc<Recent<D>>>>,
    /// What the person calls the root, escaped (empty: the working directory); nothing where others
    /// are told of it.
    called: Option<String>,
}

/// An open directory to stage for. Forgotten at every commit, so that it is never far from what
/// stands.
struct Recent<D: Disk> {
    path: ObjectPath,
    directory: D::Handle,
    /// The directory that holds the area.
    place: ObjectPath,
}

fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    floe_types::escape::Escaped(path.as_os_str().as_bytes()).to_string()
}

impl LocalStore<KernelDisk> {
    /// The store beneath a directory of this machine. Nothing is made in it.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `PermissionDenied`, the system's.
    pub fn open(root: &Path) -> Result<Self> {
        Self::over(root, None)
    }

    /// As `open`, for the person who calls the directory so: what fails to be written is shown by
    /// that name.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_own(root: &Path, called: &Path) -> Result<Self> {
        Self::over(root, Some(shown(called)))
    }

    fn over(root: &Path, called: Option<String>) -> Result<Self> {
        let doing = match called.as_deref() {
            None => format!("open \"{}\"", shown(root)),
            Some("") => "open \".\"".to_owned(),
            Some(called) => format!("open \"{called}\""),
        };
        let disk = KernelDisk::open(root).doing(&doing)?;
        Self::called(disk, called).map_err(|fault| Fault::new(fault.code, doing))
    }
}

impl<D: Disk> LocalStore<D> {
    /// The store beneath the root of a disk. Nothing is made in it.
    ///
    /// # Errors
    /// The disk's.
    pub fn new(disk: D) -> Result<Self> {
        Self::called(disk, None)
    }

    fn called(disk: D, called: Option<String>) -> Result<Self> {
        let disk = Arc::new(disk);
        let root = Arc::new(disk.root().doing("open root")?);
        let ancestry = Arc::new(Ancestry::default());
        let areas = Areas::new(Arc::clone(&disk), Arc::clone(&root), Arc::clone(&ancestry));
        let browser =
            Browser::new(Arc::clone(&disk), Arc::clone(&root), standing::root_of_mark::<D>);
        let file_system = disk.file_system(&root).doing("open root")?;
        let recent = Mutex::default();
        let ground = Arc::new(Ground { disk, root, ancestry, areas, file_system, recent, called });
        let (directories, gauge) = (Directories::default(), Gauge::default());
        Ok(Self { ground, browser, directories, gauge })
    }

    /// From now on no byte of an object is staged that would leave less free on its file system.
    pub fn keep_free(&self, bytes: ByteCount) {
        self.ground.areas.reserve.set(bytes);
    }

    /// The root's id, if it has one.
    ///
    /// # Errors
    /// `State` where `.floe/id` holds none; the system's where it cannot be read.
    pub fn standing_root_id(&self) -> Result<Option<RootId>> {
        area::read_id(&self.ground.areas)
    }

    /// The root's id, made (and durable) now if it has none. It keeps `.floe` in being.
    ///
    /// # Errors
    /// `State` where `.floe/id` holds none; the system's.
    pub fn root_id(&self) -> Result<RootId> {
        area::root_id(&self.ground.areas)
    }

    /// Removes stages that nobody owns and that are older than seven days at `now`, and what dead
    /// processes left. Answers how many files went. May be called at any time.
    ///
    /// # Errors
    /// The system's.
    pub fn sweep(&self, now: Timestamp) -> Result<u64> {
        self.ground.areas.sweep(now)
    }

    /// What reads beneath a directory of it, and nothing beyond.
    pub(crate) fn browser_beneath(&self, path: &ObjectPath) -> DiskResult<Browser<D>> {
        self.browser.beneath(path)
    }
}

impl<D: Disk> Drop for LocalStore<D> {
    /// Directories whose commit never came get back the mode they had.
    fn drop(&mut self) {
        self.directories.give_back(&self.ground, &ObjectPath::root());
    }
}

impl<D: Disk> Ground<D> {
    /// Notes that the name of `path` was made.
    fn touched_parent(&self, path: &ObjectPath) {
        if let Some((parent, _)) = path.split_last() {
            self.ancestry.touched(&parent);
        }
    }

    /// Space for a directory, if it is missing; held while it is made.
    fn room_for_directory(&self, path: &ObjectPath) -> DiskResult<Option<Asked<'_>>> {
        let stands = || self.disk.open_directory(&self.root, path.components()).is_ok();
        match self.areas.reserve.keep() == ByteCount::ZERO || stands() {
            true => Ok(None),
            false => self.areas.reserve.ask(&*self.disk, &self.root, PAGE),
        }
    }

    /// The directory in whose area an entry is staged: the root, or, where the entry's directory is
    /// on another mount, or another part of this one (a subvolume), and a rename would not reach
    /// it, that directory.
    fn place_of(&self, path: &ObjectPath, parent: &D::Handle) -> DiskResult<ObjectPath> {
        let (here, there) = (self.file_system, self.disk.file_system(parent)?);
        let (above, _) = path.split_last().ok_or(DiskError::new(Code::IsDirectory))?;
        let reached = here.mount_id == there.mount_id && here.device == there.device;
        Ok(if reached { ObjectPath::root() } else { above })
    }

    /// The directory of an entry about to be staged, made with its parents if it is missing.
    fn parent_of(&self, path: &ObjectPath) -> DiskResult<Arc<Recent<D>>> {
        let (above, _) = path.split_last().ok_or(DiskError::new(Code::IsDirectory))?;
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(recent) = recent.as_ref().filter(|recent| recent.path == above) {
            return Ok(Arc::clone(recent));
        }
        let changed = |len| drop(self.ancestry.touched_above(&above, len));
        let names = (above.components(), beneath::NEW_DIRECTORY);
        let _room = self.room_for_directory(&above)?;
        let ensured = beneath::ensure_directory(&*self.disk, &self.root, names, &changed)?;
        let place = self.place_of(path, &ensured.directory)?;
        let opened = Arc::new(Recent { path: above, directory: ensured.directory, place });
        *recent = Some(Arc::clone(&opened));
        Ok(opened)
    }

    /// A path as it is shown where it cannot be written, in quotes.
    fn shown(&self, path: &ObjectPath) -> String {
        match &self.called {
            None => format!("{path:?}"),
            Some(root) if root.is_empty() && path.is_root() => "\".\"".to_owned(),
            Some(root) if root.is_empty() => format!("{path:?}"),
            Some(root) if path.is_root() => format!("\"{root}\""),
            Some(root) => format!("\"{}/{path}\"", root.trim_end_matches('/')),
        }
    }

    /// What stands of an object's stage, without entering its area.
    fn find_stage(&self, place: &ObjectPath, spec: &SinkSpec) -> DiskResult<Found> {
        let directory = self.disk.open_directory(&self.root, place.components())?;
        let area = self.disk.open_child(&directory, Name::RESERVED)?;
        stage::find(&*self.disk, &area, spec)
    }

    /// How far a stage is written; `NotFound` also where there is no area.
    fn written(&self, stage: &StageKey) -> DiskResult<Option<ByteCount>> {
        let above = stage.path.split_last().map(|(above, _)| above).unwrap_or_default();
        let place = match self.disk.open_directory(&self.root, above.components()) {
            // A directory that is gone, or has become something else, was on no mount of its own.
            Err(error) if matches!(error.code(), Code::NotFound | Code::NotDirectory) => {
                ObjectPath::root()
            }
            parent => self.place_of(&stage.path, &parent?)?,
        };
        let directory = self.disk.open_directory(&self.root, place.components())?;
        let area = self.disk.open_child(&directory, Name::RESERVED)?;
        stage::written(&*self.disk, &area, stage)
    }

    /// Takes away what a process left that died between the rename of this object's stage and its
    /// end. What cannot be taken away is no failure of the object, which stands whole.
    fn clear_after(&self, place: &ObjectPath, spec: &SinkSpec) {
        let entered = self.areas.was_entered(place);
        if entered && spec.journaling == Journaling::None {
            return;
        }
        let Ok(found) = self.find_stage(place, spec) else { return };
        let orphaned = found == Found::Orphan;
        // Entering for the first time sweeps; leaving takes an area that is empty then.
        if (orphaned || !entered)
            && let Ok(berth) = self.areas.enter(place)
            && orphaned
        {
            stage::clear(&*self.disk, &berth.handle, spec);
        }
    }

    fn forget_recent(&self) {
        *self.recent.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn directory_of(entry: &Commit) -> Option<ObjectPath> {
    match entry {
        Commit::Directory { path, .. } => Some(path.clone()),
        Commit::Object { .. } | Commit::Link { .. } => None,
    }
}

impl<D: Disk> Store for LocalStore<D> {
    fn open(&self, path: &ObjectPath, follow: Follow) -> Result<OpenedEntry> {
        self.browser.open(path, follow)
    }

    fn list(
        &self,
        path: &ObjectPath,
        after: Option<&Cursor>,
        max: usize,
        detail: Detail,
    ) -> Result<Page> {
        self.browser.list(path, after, max, detail)
    }

    fn open_sink(&self, spec: SinkSpec, progress: Progress<'_>) -> Result<OpenedSink> {
        let ground = &self.ground;
        let shown = ground.shown(&spec.path);
        let doing = format_args!("stage {shown}");
        let parent = ground.parent_of(&spec.path).doing(doing)?;
        let Some(last) = spec.path.name() else {
            return Err(DiskError::new(Code::IsDirectory).fault(doing));
        };
        let (disk, directory) = (&*ground.disk, &parent.directory);
        let place = parent.place.clone();
        // Of unknown size, an object whose stage stands is not finished, whatever has its name.
        let mut sought = spec.clone();
        if spec.recognise == Recognise::ByContent && spec.size.is_none() {
            match ground.find_stage(&place, &spec) {
                Ok(Found::Stage) => sought.recognise = Recognise::ByVersion,
                Err(error) if error.code() != Code::NotFound => return Err(error.fault(doing)),
                Ok(Found::Nothing | Found::Orphan) | Err(_) => {}
            }
        }
        let standing = standing::look(disk, (directory, last.into()), &sought, doing, progress)?;
        let recognised = standing.as_ref().map(|standing| (standing.root, standing.basis));
        if recognised.is_none() {
            // Said before anything is sent; the rename may fail all the same.
            let above = ground.shown(&parent.path);
            disk.may_change(directory).doing(format_args!("write {last:?} in {above}"))?;
        } else {
            ground.clear_after(&place, &spec);
        }
        if spec.size.is_some_and(|size| i64::try_from(size.0).is_err()) {
            // No file system has room for it.
            return Err(DiskError::new(Code::NoSpace).fault(doing));
        }
        let (resume, journaling) = (spec.resume, spec.journaling);
        let sink = Arc::new(match journaling {
            Journaling::Journal => LocalSink::journaled(ground, (spec, shown), place, standing),
            Journaling::None => LocalSink::plain(ground, (spec, shown), place, standing),
        });
        if let Some((root, basis)) = recognised {
            return Ok(OpenedSink::Finished { root, basis, sink });
        }
        let (have, basis) = match journaling {
            Journaling::Journal => sink.begin(resume, progress)?,
            Journaling::None => (Vec::new(), Basis::Content),
        };
        Ok(OpenedSink::Staged { sink, have, basis })
    }

    fn begin_directory(&self, path: &ObjectPath, precondition: Precondition) -> Result<Begun> {
        self.directories.begin(&self.ground, path, precondition)
    }

    fn leave_directory(&self, path: &ObjectPath) {
        self.directories.leave(&self.ground, path);
    }

    fn commit_while(&self, batch: Vec<Commit>, wanted: Wanted<'_>) -> Vec<Result<()>> {
        let directories: Vec<_> = batch.iter().map(directory_of).collect();
        directories.iter().flatten().for_each(|path| self.directories.ending(path));
        let answers = commit::commit(&self.ground, batch, wanted);
        for (directory, answer) in directories.iter().zip(&answers) {
            if let Some(path) = directory {
                self.directories.ended(path, answer.is_ok());
            }
        }
        answers
    }

    fn discard(&self, sink: Arc<dyn Sink>) -> Result<()> {
        let any: Arc<dyn Any + Send + Sync> = sink;
        match any.downcast::<LocalSink<D>>() {
            Ok(sink) => sink.discard(),
            Err(_) => Err(Fault::new(Code::Usage, "discard: the stage is not of this store")),
        }
    }

    fn staged(&self, stage: &StageKey) -> Result<Option<ByteCount>> {
        let staged = match self.ground.written(stage) {
            Err(error) if error.code() == Code::NotFound => return Ok(None),
            answer => answer,
        };
        staged.doing(format_args!("look at the stage of {}", self.ground.shown(&stage.path)))
    }

    fn stat(&self, path: &ObjectPath, root: RootWanted, progress: Progress<'_>) -> Result<Stat> {
        self.browser.stat(path, root, progress)
    }

    fn remove(&self, path: &ObjectPath, depth: Depth, wanted: Wanted<'_>) -> Result<()> {
        self.directories.forget_begun(path);
        let answer = self.browser.remove(path, depth, wanted);
        if answer.is_ok() {
            self.directories.forget_lent(path);
        }
        self.ground.forget_recent();
        self.ground.ancestry.moved(path);
        answer
    }

    fn rename(&self, from: &ObjectPath, to: &ObjectPath, overwrite: Overwrite) -> Result<()> {
        let Ground { disk, root, ancestry, .. } = &*self.ground;
        // What was made beneath keeps its duty to be synced; here it is done while its path is
        // known. The new name is durable only in a directory that is.
        let mut due = ancestry.dirty_beneath(from);
        due.extend(to.split_last().map(|(parent, _)| parent));
        let failed = ancestry.settle(&**disk, root, &due);
        // What is not there is the rename's to say.
        let is_there = |fault: &Fault| !matches!(fault.code, Code::NotFound | Code::NotDirectory);
        if let Some(fault) = failed.into_values().find(is_there) {
            return Err(fault);
        }
        self.directories.forget_begun(from);
        // While their paths are known.
        self.directories.give_back(&self.ground, from);
        let answer = self.browser.rename(from, to, overwrite);
        self.ground.forget_recent();
        ancestry.moved(from);
        ancestry.moved(to);
        if answer.as_ref().is_err_and(|fault| beneath::may_have_happened(fault.code)) {
            for (parent, _) in [from, to].into_iter().filter_map(ObjectPath::split_last) {
                ancestry.touched(&parent);
            }
        }
        answer
    }

    fn make_dir(&self, path: &ObjectPath) -> Result<()> {
        let (ground, ancestry) = (&self.ground, &self.ground.ancestry);
        let touched = RefCell::new(Vec::new());
        let changed = |len| touched.borrow_mut().extend(ancestry.touched_above(path, len));
        let _room =
            ground.room_for_directory(path).doing(format_args!("make directory {path:?}"))?;
        self.browser.make_dir(path, &changed)?;
        // It has synced what it made; nothing of it need be remembered.
        for (directory, turn) in touched.take() {
            ancestry.synced_since(&directory, turn);
        }
        Ok(())
    }

    fn measure(&self, path: &ObjectPath, progress: Progress<'_>) -> Result<DiskSpeed> {
        let doing = format!("measure the disk of {}", self.ground.shown(path));
        let Ground { disk, root, .. } = &*self.ground;
        let nearest = |path: &ObjectPath| disk.open_directory(root, path.components());
        let above = |path: &ObjectPath| path.split_last().map(|(above, _)| above);
        let mut paths = std::iter::successors(Some(path.clone()), above);
        let found = paths.find_map(|path| nearest(&path).ok().map(|directory| (path, directory)));
        let Some((path, directory)) = found else {
            return Err(Fault::new(Code::NotFound, doing));
        };
        let reserve = &self.ground.areas.reserve;
        let speed = self.gauge.read(path, || {
            let room = measure::room(disk.free_space(&directory)?.minus(reserve.keep()))?;
            let _asked = reserve.ask(&**disk, &directory, room)?;
            measure::measure(&**disk, &directory, room, progress)
        });
        speed.doing(&doing)
    }
}
