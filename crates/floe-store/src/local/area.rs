//! The `.floe` of a directory: where stages rest until they are committed.
//!
//! Made (mode 0700) when the first stage of this process needs it, removed when the last one leaves
//! and nothing else is in it. While a process is in an area it holds the lock of a file of its own
//! there, named by a random nonce; what it makes there for a moment has that nonce in its name, so
//! that whatever a dead process left is known.
//!
//! ```text
//! <nonce>.owner            locked by the process that made it
//! <nonce>-<number>         an object without a journal, or a link, before its rename
//! <key>.stage .journal     a stage, which is locked by its owner, and its journal
//! <key>.rewrite            what is about to replace a journal
//! id                       the random id of the root
//! ```

mod sweep;

use crate::api::{Overwrite, Result};
use crate::disk::{
    Disk, DiskError, DiskResult, Doing, FileSystem, Locality, Lock, Name, Owner, Reuse,
};
use crate::journal::Epoch;
use crate::local::ancestry::Ancestry;
use crate::local::reserve::Reserve;
use floe_types::{Code, Fault, Mode, ObjectPath, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Only the user that runs floe sees what is staged.
const AREA_MODE: Mode = Mode::from_bits(0o700);
/// Only the user that runs floe sees a stage.
pub(super) const STAGE_MODE: Mode = Mode::from_bits(0o600);
/// How often an area that others remove at the same moment is made again.
const ENTER_ATTEMPTS_MAX: u32 = 16;

/// The areas beneath one root.
pub(crate) struct Areas<D: Disk> {
    disk: Arc<D>,
    root: Arc<D::Handle>,
    ancestry: Arc<Ancestry>,
    open: Mutex<BTreeMap<ObjectPath, Occupied<D>>>,
    swept: Mutex<BTreeSet<ObjectPath>>,
    /// What stages leave free.
    pub(super) reserve: Reserve,
}

struct Occupied<D: Disk> {
    area: Arc<Area<D>>,
    berths: u64,
}

/// One area that this process is in.
pub(crate) struct Area<D: Disk> {
    place: ObjectPath,
    pub(super) handle: D::Handle,
    /// Under which conditions what is written here shows without a sync.
    pub(super) epoch: Option<Epoch>,
    pub(super) locality: Locality,
    /// Held while the whole file system is synced.
    pub(super) whole_sync: Mutex<WholeSync>,
    nonce: String,
    _owner: D::Handle,
    next: AtomicU64,
}

/// Whether one sync of the whole file system may stand for one of each file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WholeSync {
    Trusted,
    /// One failed. It failed for whatever anybody staged here, and said so to one caller only; a
    /// file's own sync still says what became of that file.
    Failed,
}

/// A place in an area; dropping the last one leaves it.
pub(crate) struct Berth<D: Disk> {
    areas: Arc<Areas<D>>,
    area: Arc<Area<D>>,
}

impl<D: Disk> std::ops::Deref for Berth<D> {
    type Target = Area<D>;

    fn deref(&self) -> &Area<D> {
        &self.area
    }
}

impl<D: Disk> Area<D> {
    /// What tells it from every other area that was ever entered.
    pub(crate) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// A name that no other process and no other call was given.
    pub(crate) fn fresh_name(&self) -> String {
        format!("{}-{:x}", self.nonce, self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl<D: Disk> Berth<D> {
    /// Makes the names in the area durable, and the area's own.
    pub(crate) fn sync_names(&self) -> Result<()> {
        let Areas { disk, root, ancestry, .. } = &*self.areas;
        disk.sync_directory(&self.area.handle)
            .doing(format_args!("sync \".floe\" in {:?}", self.area.place))?;
        let failed = ancestry.settle(&**disk, root, &BTreeSet::from([self.area.place.clone()]));
        failed.into_values().next().map_or(Ok(()), Err)
    }

    /// What stages leave free.
    pub(super) fn reserve(&self) -> &Reserve {
        &self.areas.reserve
    }

    /// The same area once more.
    pub(crate) fn again(&self) -> Self {
        let mut open = self.areas.lock();
        if let Some(occupied) = open.get_mut(&self.area.place) {
            occupied.berths += 1;
        }
        Self { areas: Arc::clone(&self.areas), area: Arc::clone(&self.area) }
    }
}

impl<D: Disk> Drop for Berth<D> {
    fn drop(&mut self) {
        let mut open = self.areas.lock();
        let Some(occupied) = open.get_mut(&self.area.place) else { return };
        occupied.berths -= 1;
        if occupied.berths == 0 {
            open.remove(&self.area.place);
            self.areas.leave(&self.area);
        }
    }
}

impl<D: Disk> Areas<D> {
    pub(crate) fn new(disk: Arc<D>, root: Arc<D::Handle>, ancestry: Arc<Ancestry>) -> Arc<Self> {
        let (open, swept, reserve) = (Mutex::default(), Mutex::default(), Reserve::default());
        Arc::new(Self { disk, root, ancestry, open, swept, reserve })
    }

    /// Enters the area in the directory `place`, which must stand.
    pub(crate) fn enter(self: &Arc<Self>, place: &ObjectPath) -> Result<Berth<D>> {
        let mut open = self.lock();
        if let Some(occupied) = open.get_mut(place) {
            occupied.berths += 1;
            return Ok(Berth { areas: Arc::clone(self), area: Arc::clone(&occupied.area) });
        }
        let area = Arc::new(self.open_area(place)?);
        open.insert(place.clone(), Occupied { area: Arc::clone(&area), berths: 1 });
        drop(open);
        let berth = Berth { areas: Arc::clone(self), area };
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.insert(place.clone()) {
            // What others left is not this caller's failure.
            let _ = sweep::sweep(&*self.disk, &berth.area.handle, self.disk.now());
        }
        drop(swept);
        Ok(berth)
    }

    /// Whether this process was in the area, and swept it then.
    pub(crate) fn was_entered(&self, place: &ObjectPath) -> bool {
        self.swept.lock().unwrap_or_else(PoisonError::into_inner).contains(place)
    }

    /// Removes what nobody owns any more, in the area of the root and those that were entered; how
    /// many files went. Where one fails the others are swept all the same.
    pub(crate) fn sweep(self: &Arc<Self>, now: Timestamp) -> Result<u64> {
        let mut places = self.swept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        places.insert(ObjectPath::root());
        let swept: Vec<_> = places.iter().map(|place| self.sweep_one(place, now)).collect();
        swept.into_iter().sum()
    }

    fn sweep_one(self: &Arc<Self>, place: &ObjectPath, now: Timestamp) -> Result<u64> {
        let opened = self
            .disk
            .open_directory(&self.root, place.components())
            .and_then(|directory| self.disk.open_child(&directory, Name::RESERVED));
        match opened {
            Err(error) if error.code() == Code::NotFound => return Ok(0),
            answer => answer.map(drop).doing("open \".floe\"")?,
        }
        let berth = self.enter(place)?;
        sweep::sweep(&*self.disk, &berth.area.handle, now).doing("sweep \".floe\"")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ObjectPath, Occupied<D>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_area(&self, place: &ObjectPath) -> Result<Area<D>> {
        let doing = format!("make \".floe\" in {place:?}");
        let directory = self.disk.open_directory(&self.root, place.components()).doing(&doing)?;
        let mut last = DiskError::new(Code::NotFound);
        for _ in 0..ENTER_ATTEMPTS_MAX {
            let handle = match self.disk.open_child(&directory, Name::RESERVED) {
                Err(error) if error.code() == Code::NotFound => {
                    self.make(place, &directory).doing(&doing)?;
                    continue;
                }
                answer => answer.doing(&doing)?,
            };
            // Another user could exchange what is staged here, whatever its mode: it is theirs.
            if self.disk.stat(&handle).doing(&doing)?.owner == Owner::Other {
                return Err(DiskError::new(Code::PermissionDenied).fault(format_args!(
                    "stage in \".floe\" in {place:?}, which belongs to another user"
                )));
            }
            self.disk.set_mode(&handle, AREA_MODE).doing(&doing)?;
            match self.own(&handle) {
                Ok(Some((nonce, owner))) => return Ok(self.area(place, handle, nonce, owner)),
                Ok(None) => {}
                // Another process removed the empty area between open and create.
                Err(error) if error.code() == Code::NotFound => last = error,
                Err(error) => return Err(error.fault(&doing)),
            }
        }
        Err(last.fault(&doing))
    }

    fn make(&self, place: &ObjectPath, directory: &D::Handle) -> DiskResult<()> {
        match self.disk.make_directory(directory, Name::RESERVED, AREA_MODE) {
            Err(error) if error.code() != Code::Exists => Err(error),
            _ => {
                self.ancestry.touched(place);
                Ok(())
            }
        }
    }

    /// Makes and locks this process's own file in an area; `None` where a sweep was faster.
    fn own(&self, area: &D::Handle) -> DiskResult<Option<(String, D::Handle)>> {
        let nonce = hex(&random::<8>()?);
        let file_name = format!("{nonce}.owner");
        let owner = self.disk.create_file(area, name(&file_name)?, STAGE_MODE)?;
        let locked = self.disk.try_lock(&owner)? == Lock::Taken;
        let stands = self.disk.stat(&owner)?.links > 0;
        if !locked || !stands {
            let _ = self.disk.remove_file(area, name(&file_name)?);
            return Ok(None);
        }
        Ok(Some((nonce, owner)))
    }

    fn area(
        &self,
        place: &ObjectPath,
        handle: D::Handle,
        nonce: String,
        owner: D::Handle,
    ) -> Area<D> {
        let file_system = self.disk.file_system(&handle).ok();
        Area {
            place: place.clone(),
            epoch: epoch(&*self.disk, file_system),
            locality: file_system.map_or(Locality::Remote, |fs| fs.locality),
            handle,
            whole_sync: Mutex::new(WholeSync::Trusted),
            nonce,
            _owner: owner,
            next: AtomicU64::new(0),
        }
    }

    /// The last berth is gone: takes this process's file away, and the area if that leaves it
    /// empty.
    fn leave(&self, area: &Area<D>) {
        let owner = format!("{}.owner", area.nonce);
        if let Ok(owner) = name(&owner) {
            let _ = self.disk.remove_file(&area.handle, owner);
        }
        let _ = self
            .disk
            .open_directory(&self.root, area.place.components())
            .and_then(|directory| self.disk.remove_directory(&directory, Name::RESERVED));
    }
}

/// The epoch of now; `None` where records would not be trusted even under the same one.
fn epoch<D: Disk>(disk: &D, file_system: Option<FileSystem>) -> Option<Epoch> {
    let file_system = file_system
        .filter(|fs| fs.locality != Locality::Remote && fs.mount_id_reuse == Reuse::Never)?;
    let boot = disk.boot_id().ok()?;
    Some(Epoch { boot, mount_id: file_system.mount_id, magic: file_system.magic })
}

/// The id of a root: random, and the same for as long as its `.floe` stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RootId(pub [u8; 16]);

impl std::fmt::Display for RootId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

const ID_NAME: &str = "id";

/// The id of the root, made now if there is none. Durable when it returns.
pub(crate) fn root_id<D: Disk>(areas: &Arc<Areas<D>>) -> Result<RootId> {
    if let Some(id) = read_id(areas)? {
        return Ok(id);
    }
    let berth = areas.enter(&ObjectPath::root())?;
    let made = || {
        let id = RootId(random()?);
        let temporary = berth.fresh_name();
        let (disk, area) = (&*areas.disk, &berth.area.handle);
        let file = disk.create_file(area, name(&temporary)?, STAGE_MODE)?;
        disk.write_at(&file, floe_types::Offset::ZERO, format!("{id}\n").as_bytes())?;
        disk.sync_file(&file)?;
        let (from, to) = ((area, name(&temporary)?), (area, name(ID_NAME)?));
        let renamed = disk.rename(from, to, Overwrite::Refused);
        if renamed.is_err() {
            let _ = disk.remove_file(area, name(&temporary)?);
        }
        match renamed {
            Err(error) if error.code() != Code::Exists => Err(error),
            _ => Ok(()),
        }
    };
    made().doing("make \".floe/id\"")?;
    berth.sync_names()?;
    let missing = || Fault::new(Code::State, "read \".floe/id\"");
    read_id(areas)?.ok_or_else(missing)
}

/// The id that stands; a file that is no id is never replaced.
pub(crate) fn read_id<D: Disk>(areas: &Areas<D>) -> Result<Option<RootId>> {
    let disk = &*areas.disk;
    let doing = "read \".floe/id\"";
    let missing = |error: &DiskError| error.code() == Code::NotFound;
    let area = match disk.open_child(&areas.root, Name::RESERVED) {
        Err(error) if missing(&error) => return Ok(None),
        answer => answer.doing(doing)?,
    };
    if disk.stat(&area).doing(doing)?.owner == Owner::Other {
        let detail = format!("{doing}, which belongs to another user");
        return Err(Fault::new(Code::PermissionDenied, detail));
    }
    let mut text = [0; 64];
    let opened = disk.open_file(&area, name(ID_NAME).doing(doing)?, crate::disk::Access::Read);
    let read = match opened {
        Err(error) if missing(&error) => return Ok(None),
        answer => answer.and_then(|file| disk.read_at(&file, floe_types::Offset::ZERO, &mut text)),
    };
    let len = read.doing(doing)?;
    let id = std::str::from_utf8(&text[..len]).ok().map(str::trim_end).and_then(unhex);
    id.map(|id| Some(RootId(id)))
        .ok_or_else(|| Fault::new(Code::State, format!("{doing}: it holds no id")))
}

/// A name of the store's own; always one.
pub(crate) fn name(text: &str) -> DiskResult<Name<'_>> {
    Name::new(text.as_bytes()).ok_or(DiskError::new(Code::BadPath))
}

/// Random bytes.
pub(crate) fn random<const N: usize>() -> DiskResult<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| DiskError::new(Code::Unsupported))?;
    Ok(bytes)
}

/// Bytes as hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(())?;
    u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes)
}
