//! Makes entries visible, whole and durable: a batch at a time, in one order.
//!
//! ```text
//! metadata and mark -> sync of bytes -> rename, links, directories
//!                   -> sync of directories -> journals removed
//! ```
//! Each step is done for the whole batch before the next one begins; an entry that fails drops out
//! alone. Until its rename nothing of an object can be seen; until the directories are synced
//! nothing is answered.

use crate::api::{Commit, Overwrite, Result, SinkSpec, Wanted};
use crate::disk::{Disk, DiskError, DiskResult, Doing, FileKind, Locality, Name};
use crate::local::Ground;
use crate::local::area::{Area, WholeSync, name};
use crate::local::directories;
use crate::local::plain::Plain;
use crate::local::reserve::PAGE;
use crate::local::sink::{LocalSink, Phase};
use crate::local::stage;
use crate::local::standing;
use crate::local::wanted::still;
use floe_types::planted::{self, Bug};
use floe_types::{ByteCount, Code, Fault, Metadata, ObjectPath, Precondition, Root};
use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};

/// From so many files on, one sync of the file system costs less than one of each.
const WHOLE_SYNC_FILES_MIN: usize = 64;

/// Commits a batch; the answers are in its order.
pub(super) fn commit<D: Disk>(
    ground: &Arc<Ground<D>>,
    batch: Vec<Commit>,
    wanted: Wanted<'_>,
) -> Vec<Result<()>> {
    ground.forget_recent();
    let mut entries: Vec<Entry<D>> = batch.into_iter().map(Entry::new).collect();
    entries.iter_mut().for_each(Entry::prepare);
    sync_stages(ground, &mut entries);
    let mut parents = Parents { ground, last: None, wanted };
    for entry in &mut entries {
        entry.publish(ground, &mut parents);
    }
    settle(ground, &mut entries);
    clear_away(ground, &entries);
    entries.into_iter().map(|entry| entry.answer).collect()
}

/// One entry on its way.
struct Entry<D: Disk> {
    work: Work<D>,
    answer: Result<()>,
}

enum Work<D: Disk> {
    /// An object to be renamed.
    Object {
        sink: Arc<LocalSink<D>>,
        size: ByteCount,
        root: Root,
    },
    /// An object that stands there already.
    Keep {
        sink: Arc<LocalSink<D>>,
    },
    /// An object whose rename is done.
    Renamed {
        sink: Arc<LocalSink<D>>,
    },
    Link {
        path: ObjectPath,
        target: Vec<u8>,
        metadata: Metadata,
        precondition: Precondition,
    },
    Directory {
        path: ObjectPath,
        metadata: Metadata,
    },
    Nothing,
}

impl<D: Disk> Entry<D> {
    fn new(commit: Commit) -> Self {
        let (work, answer) = match commit {
            Commit::Object { sink, size, root } => {
                let any: Arc<dyn Any + Send + Sync> = sink;
                match any.downcast::<LocalSink<D>>() {
                    Ok(sink) => object(sink, size, root),
                    Err(_) => {
                        let what = "commit: the stage is not of this store";
                        (Work::Nothing, Err(Fault::new(Code::Usage, what)))
                    }
                }
            }
            Commit::Link { path, target, metadata, precondition } => {
                (Work::Link { path, target, metadata, precondition }, Ok(()))
            }
            Commit::Directory { path, metadata } => (Work::Directory { path, metadata }, Ok(())),
        };
        Self { work, answer }
    }

    fn prepare(&mut self) {
        if let (Work::Object { sink, size, root }, Ok(())) = (&self.work, &self.answer) {
            self.answer = sink.prepare(*size, *root);
        }
    }

    /// Gives the entry its final name.
    fn publish(&mut self, ground: &Ground<D>, parents: &mut Parents<'_, D>) {
        if self.answer.is_err() {
            return;
        }
        self.answer = match &self.work {
            Work::Object { sink, size, root } => {
                publish_object(sink, (*size, *root), parents).and_then(|()| sink.complete())
            }
            Work::Keep { sink } => keep_object(sink, parents),
            Work::Link { path, target, metadata, precondition } => {
                let link = Link { path, target, metadata, precondition: *precondition };
                publish_link(ground, &link, parents)
            }
            Work::Directory { path, metadata } => finish_directory(parents, path, metadata),
            Work::Renamed { sink } => sink.complete(),
            Work::Nothing => Ok(()),
        };
    }

    /// The directory whose names must be durable before this entry is answered.
    fn directory(&self) -> Option<ObjectPath> {
        let path = match &self.work {
            Work::Object { sink, .. } | Work::Keep { sink } | Work::Renamed { sink } => {
                &sink.spec.path
            }
            Work::Link { path, .. } | Work::Directory { path, .. } => path,
            Work::Nothing => return None,
        };
        path.split_last().map(|(parent, _)| parent)
    }

    fn finish(&self) {
        match &self.work {
            Work::Object { sink, .. } | Work::Renamed { sink } => {
                *sink.phase() = Phase::Committed;
                sink.retire();
            }
            // The object stands; a stage of it that stays is the next run's to find.
            Work::Keep { sink } => drop(sink.discard()),
            _ => {}
        }
    }
}

fn object<D: Disk>(sink: Arc<LocalSink<D>>, size: ByteCount, root: Root) -> (Work<D>, Result<()>) {
    let phase = *sink.phase();
    match (phase, &sink.standing) {
        (Phase::Committed, _) => (Work::Nothing, Ok(())),
        (_, Some(standing)) if standing.is(size, root) && sink.is_to_be_kept() => {
            (Work::Keep { sink }, Ok(()))
        }
        (Phase::Renamed, _) => (Work::Renamed { sink }, Ok(())),
        (Phase::Discarded, _) => {
            let what = format!("commit {}: its stage was discarded", sink.shown);
            (Work::Nothing, Err(Fault::new(Code::NotFound, what)))
        }
        (Phase::Staging, _) => (Work::Object { sink, size, root }, Ok(())),
    }
}

/// Makes the bytes of every staged object durable: each by itself, or many small ones at once.
fn sync_stages<D: Disk>(ground: &Ground<D>, entries: &mut [Entry<D>]) {
    let mut small = Vec::new();
    for (nth, entry) in entries.iter_mut().enumerate() {
        let (Work::Object { sink, .. }, Ok(())) = (&entry.work, &entry.answer) else { continue };
        if sink.as_plain().is_some() {
            small.push(nth);
        } else {
            entry.answer = sink.sync();
        }
    }
    let many = small.len() >= WHOLE_SYNC_FILES_MIN;
    let mut whole = WholeSyncs { ground, done: Vec::new() };
    for nth in small {
        let Some(entry) = entries.get_mut(nth) else { continue };
        let Work::Object { sink, .. } = &entry.work else { continue };
        let area = sink.as_plain().filter(|_| many).and_then(Plain::berth);
        let area = area.filter(|area| area.locality != Locality::Remote);
        let tells = area.as_ref().is_some_and(|area| area.locality == Locality::Local);
        entry.answer = match area.and_then(|area| whole.sync(&area)) {
            None => sink.sync(),
            // Nothing is left to be written, and only a file's own sync tells what was not.
            Some(Ok(())) if !tells => sink.sync(),
            Some(answer) => answer.doing(format_args!("sync stage of {}", sink.shown)),
        };
    }
}

/// Syncs of whole file systems, one for each area of a batch.
struct WholeSyncs<'a, D: Disk> {
    ground: &'a Ground<D>,
    done: Vec<(String, Option<DiskResult<()>>)>,
}

impl<D: Disk> WholeSyncs<'_, D> {
    /// `None` where it is not trusted any more.
    fn sync(&mut self, area: &Area<D>) -> Option<DiskResult<()>> {
        if let Some((_, answer)) = self.done.iter().find(|(nonce, _)| nonce == area.nonce()) {
            return *answer;
        }
        let answer = {
            // It waits for other programs' pages too, so one at a time is enough.
            let mut turn = area.whole_sync.lock().unwrap_or_else(PoisonError::into_inner);
            let sync = || self.ground.disk.sync_file_system(&area.handle);
            let answer = (*turn == WholeSync::Trusted).then(sync);
            if matches!(answer, Some(Err(_))) {
                *turn = WholeSync::Failed;
            }
            answer
        };
        self.done.push((area.nonce().to_owned(), answer));
        answer
    }
}

/// Opens parents; entries of one directory come one after the other.
struct Parents<'a, D: Disk> {
    ground: &'a Ground<D>,
    last: Option<(ObjectPath, D::Handle)>,
    wanted: Wanted<'a>,
}

impl<D: Disk> Parents<'_, D> {
    fn with<R>(
        &mut self,
        path: &ObjectPath,
        then: impl FnOnce(&D::Handle, Name<'_>) -> DiskResult<R>,
    ) -> DiskResult<R> {
        let (parent, last) = path.split_last().ok_or(DiskError::new(Code::IsDirectory))?;
        if self.last.as_ref().is_none_or(|(path, _)| *path != parent) {
            let handle = self.ground.disk.open_directory(&self.ground.root, parent.components())?;
            self.last = Some((parent, handle));
        }
        let (_, handle) = self.last.as_ref().ok_or(DiskError::new(Code::NotFound))?;
        then(handle, Name::from(last))
    }
}

fn publish_object<D: Disk>(
    sink: &LocalSink<D>,
    object: (ByteCount, Root),
    parents: &mut Parents<'_, D>,
) -> Result<()> {
    let ground = parents.ground;
    let overwrite = overwrite(sink.spec.precondition);
    let wanted = parents.wanted;
    let renamed = parents.with(&sink.spec.path, |parent, last| {
        sink.spot(|area, file| {
            still(wanted)?;
            ground.disk.rename((area, file), (parent, last), overwrite)
        })
    });
    match renamed {
        Ok(()) => {
            sink.renamed();
            ground.touched_parent(&sink.spec.path);
            Ok(())
        }
        Err(error) => {
            if error.code() == Code::Exists {
                sink.discard()?;
                if keep_twin(sink, object, parents)? {
                    ground.touched_parent(&sink.spec.path);
                    return Ok(());
                }
            }
            Err(error.fault(format_args!("commit {}", sink.shown)))
        }
    }
}

/// Whether what stands where nothing may be replaced is this very object, committed meanwhile by
/// the same command, of which this sender may not have heard. It is kept then.
fn keep_twin<D: Disk>(
    sink: &LocalSink<D>,
    (size, root): (ByteCount, Root),
    parents: &mut Parents<'_, D>,
) -> Result<bool> {
    let disk = &*parents.ground.disk;
    let doing = format_args!("commit {}", sink.shown);
    let wanted = parents.wanted;
    let kept = parents.with(&sink.spec.path, |parent, last| {
        if disk.stat_at(parent, last).is_ok_and(|stat| stat.size != size) {
            return Ok(None);
        }
        let found = standing::look(disk, (parent, last), &sink.spec, doing, &|_, _| {});
        let twin = found.ok().flatten().filter(|twin| twin.is(size, root));
        Ok(twin.map(|twin| twin.keep(disk, (parent, last), &sink.spec, (&sink.shown, wanted))))
    });
    kept.doing(doing)?.transpose().map(|kept| kept.is_some())
}

fn keep_object<D: Disk>(sink: &LocalSink<D>, parents: &mut Parents<'_, D>) -> Result<()> {
    let ground = parents.ground;
    let Some(standing) = &sink.standing else { return Ok(()) };
    let wanted = parents.wanted;
    let kept = parents.with(&sink.spec.path, |parent, last| {
        Ok(standing.keep(&*ground.disk, (parent, last), &sink.spec, (&sink.shown, wanted)))
    });
    kept.doing(format_args!("commit {}", sink.shown))??;
    // Whoever made the name may have died before it was durable.
    ground.touched_parent(&sink.spec.path);
    Ok(())
}

struct Link<'a> {
    path: &'a ObjectPath,
    target: &'a [u8],
    metadata: &'a Metadata,
    precondition: Precondition,
}

fn publish_link<D: Disk>(
    ground: &Ground<D>,
    link: &Link<'_>,
    parents: &mut Parents<'_, D>,
) -> Result<()> {
    let shown = ground.shown(link.path);
    let doing = format_args!("commit link {shown}");
    let disk = &*ground.disk;
    let place =
        parents.with(link.path, |parent, _| ground.place_of(link.path, parent)).doing(doing)?;
    let berth = ground.areas.enter(&place)?;
    let _room = berth.reserve().ask(disk, &berth.handle, PAGE).doing(doing)?;
    let temporary = berth.fresh_name();
    let wanted = parents.wanted;
    let mut made = || {
        let spot = (&berth.handle, name(&temporary)?);
        disk.make_link(spot.0, spot.1, link.target)?;
        let renamed = disk.set_mtime_at(spot.0, spot.1, link.metadata.mtime).and_then(|()| {
            parents.with(link.path, |parent, last| {
                still(wanted)?;
                match disk.rename(spot, (parent, last), overwrite(link.precondition)) {
                    Err(error) if error.code() == Code::Exists => {
                        // Its own, whose commit this sender may not have heard of.
                        let is_own = is_same_link(disk, spot, (parent, last), link.target)?;
                        if is_own { disk.remove_file(spot.0, spot.1) } else { Err(error) }
                    }
                    answer => answer,
                }
            })
        });
        if renamed.is_err() {
            let _ = disk.remove_file(spot.0, spot.1);
        }
        renamed
    };
    made().doing(doing)?;
    ground.touched_parent(link.path);
    Ok(())
}

/// Whether a link with this text stands that has the time of one that was just made.
fn is_same_link<D: Disk>(
    disk: &D,
    made: (&D::Handle, Name<'_>),
    stands: (&D::Handle, Name<'_>),
    text: &[u8],
) -> DiskResult<bool> {
    let (made, found) = (disk.stat_at(made.0, made.1)?, disk.stat_at(stands.0, stands.1)?);
    let may_be = found.kind == FileKind::Link && found.mtime == made.mtime;
    Ok(may_be && disk.read_link(stands.0, stands.1)? == text)
}

fn finish_directory<D: Disk>(
    parents: &Parents<'_, D>,
    path: &ObjectPath,
    metadata: &Metadata,
) -> Result<()> {
    let (ground, disk) = (parents.ground, &*parents.ground.disk);
    disk.open_directory(&ground.root, path.components())
        .and_then(|directory| directories::finish(disk, &directory, metadata, parents.wanted))
        .doing(format_args!("commit directory {}", ground.shown(path)))
}

/// Syncs every directory in which a name was made; what depends on one that fails, fails.
fn settle<D: Disk>(ground: &Ground<D>, entries: &mut [Entry<D>]) {
    let directories: BTreeSet<_> =
        entries.iter().filter(|entry| entry.answer.is_ok()).filter_map(Entry::directory).collect();
    let failed = ground.ancestry.settle(&*ground.disk, &ground.root, &directories);
    for entry in entries.iter_mut().filter(|entry| entry.answer.is_ok()) {
        let directory = entry.directory();
        let fault = directory.and_then(|directory| {
            failed.iter().find(|(path, _)| path.contains(&directory)).map(|(_, fault)| fault)
        });
        match fault {
            Some(fault) => entry.answer = Err(fault.clone()),
            None => entry.finish(),
        }
    }
}

/// Removes what is left of earlier stages of what is committed now: of other versions, or of this
/// one where it was staged another way. What cannot be removed goes when it is old.
fn clear_away<D: Disk>(ground: &Ground<D>, entries: &[Entry<D>]) {
    let mut places: BTreeMap<&ObjectPath, Vec<&SinkSpec>> = BTreeMap::new();
    for entry in entries.iter().filter(|entry| entry.answer.is_ok()) {
        if let Work::Object { sink, .. } | Work::Keep { sink } | Work::Renamed { sink } =
            &entry.work
        {
            places.entry(&sink.place).or_default().push(&sink.spec);
        }
    }
    for (place, specs) in places {
        let disk = &*ground.disk;
        let _ = disk
            .open_directory(&ground.root, place.components())
            .and_then(|directory| disk.open_child(&directory, Name::RESERVED))
            .and_then(|area| stage::remove_all(disk, &area, &specs));
    }
}

fn overwrite(precondition: Precondition) -> Overwrite {
    match precondition {
        _ if planted::is(Bug::ReplaceInSpiteOfNoClobber) => Overwrite::Allowed,
        Precondition::None => Overwrite::Allowed,
        Precondition::Absent => Overwrite::Refused,
    }
}
