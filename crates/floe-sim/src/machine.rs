//! One machine: a disk that can fail, a civil clock that can jump, and what other programs do to
//! its files.

use crate::content::Content;
use crate::dice::Dice;
use crate::options::CALM_FAULTS;
use floe_store::disk::{Access, Disk, DiskResult, FileKind, Name};
use floe_store::faulty::{Faults, FaultyDisk, Offer};
use floe_store::simulated::{Glance, SimulatedDisk, SimulatedHandle};
use floe_store::{Overwrite, Result};
use floe_types::{ByteCount, Component, Metadata, Mode, ObjectPath, Offset, Root, Time, Timestamp};

/// The disk that a process of floe sees.
pub type Broken = FaultyDisk<SimulatedDisk>;
/// A store on it.
pub type Local = floe_store::local::LocalStore<Broken>;

/// One machine.
pub struct Machine {
    /// Its name in the trace.
    pub name: String,
    /// The disk itself.
    pub disk: SimulatedDisk,
    /// The disk as floe sees it.
    pub seen: Broken,
    /// What fails now.
    pub faults: Faults,
    /// What its disk never offers, whatever fails.
    pub lacks: Lacks,
    /// Its civil clock is off by so many microseconds.
    pub skew: i64,
    /// What happens once so many operations were asked of the disk.
    pub doom: Option<(u64, Doom)>,
}

/// How a process ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Doom {
    /// It is killed.
    Kill,
    /// The machine loses power.
    Cut,
}

/// How another program changes a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It writes into it.
    InPlace,
    /// It renames another one over it.
    Replace,
}

/// What a disk does not offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lacks {
    /// Extended attributes.
    pub xattr: Offer,
    /// To set space aside, and to make holes: what cannot do the one cannot do the other.
    pub allocate: Offer,
}

impl Lacks {
    /// Of a machine's own number; most disks offer all.
    fn of(seed: u64) -> Self {
        let mut dice = Dice::new(!seed);
        let is_poor = dice.one_in(6);
        let mut offer = || if is_poor && dice.one_in(2) { Offer::Refused } else { Offer::AsBelow };
        Self { xattr: offer(), allocate: offer() }
    }

    fn among(self, faults: Faults) -> Faults {
        let both = |never, now| if never == Offer::Refused { never } else { now };
        Faults {
            without_xattr: both(self.xattr, faults.without_xattr),
            without_allocate: both(self.allocate, faults.without_allocate),
            without_holes: both(self.allocate, faults.without_holes),
            ..faults
        }
    }
}

/// What stands at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Look {
    /// Nothing.
    Absent,
    /// A file.
    File {
        /// Its root.
        root: Root,
        /// Its mode and mtime.
        metadata: Metadata,
    },
    /// A directory, with its mode and mtime.
    Directory(Metadata),
    /// A link with this text.
    Link(Vec<u8>),
}

const BORN: i64 = 1_700_000_000;

impl Machine {
    /// A machine with an empty disk.
    #[must_use]
    pub fn new(name: String, seed: u64) -> Self {
        let disk = SimulatedDisk::default();
        let lose = SimulatedDisk::fail_syncs;
        let lacks = Lacks::of(seed);
        let seen = FaultyDisk::losing(disk.clone(), seed, lacks.among(CALM_FAULTS), lose);
        Self { name, disk, seen, faults: CALM_FAULTS, lacks, skew: 0, doom: None }
    }

    /// A store on its disk.
    ///
    /// # Errors
    /// The disk's.
    pub fn store(&self) -> Result<Local> {
        Local::new(self.seen.clone())
    }

    /// Its civil time.
    #[must_use]
    pub fn civil(&self, now: Time) -> Timestamp {
        let micros = i64::try_from(now.0).unwrap_or(i64::MAX).saturating_add(self.skew);
        let nanos = u32::try_from(micros.rem_euclid(1_000_000)).unwrap_or(0) * 1_000;
        Timestamp::new(BORN + micros.div_euclid(1_000_000), nanos).unwrap_or_default()
    }

    /// Sets the clock of its disk.
    pub fn tick(&self, now: Time) {
        self.disk.set_now(self.civil(now));
    }

    /// What fails from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
        let operations_max = self.doom.map(|(max, _)| max);
        self.seen.set_faults(Faults { operations_max, ..self.lacks.among(faults) });
    }

    /// After so many more operations it ends.
    pub fn arm(&mut self, after: u64, doom: Doom) {
        self.doom = Some((self.seen.operations() + after, doom));
        self.set_faults(self.faults);
    }

    /// Whether that has come.
    #[must_use]
    pub fn is_doomed(&self) -> Option<Doom> {
        self.doom.filter(|(max, _)| self.seen.operations() > *max).map(|(_, doom)| doom)
    }

    /// Its disk does nothing until the next `set_faults`: a process that is gone tidies nothing up.
    pub fn freeze(&self) {
        self.seen.set_faults(Faults { operations_max: Some(0), ..self.faults });
    }

    /// Writes a file as another program does, durably; its metadata then.
    ///
    /// # Errors
    /// The disk's.
    pub fn write(
        &self,
        path: &ObjectPath,
        content: &Content,
        change: Change,
    ) -> DiskResult<Metadata> {
        let disk = &self.disk;
        let Some((parent, name)) = path.split_last() else { return Ok(NO_METADATA) };
        let directory = self.directory(&parent)?;
        let name = Name::from(name);
        let other = Component::new(b"another-program").ok();
        let file = match (change, disk.open_file(&directory, name, Access::ReadWrite), &other) {
            (Change::InPlace, Ok(file), _) => file,
            (Change::Replace, Ok(_), Some(other)) => {
                let file = disk.create_file(&directory, other.into(), Mode::from_bits(0o640))?;
                disk.rename((&directory, other.into()), (&directory, name), Overwrite::Allowed)?;
                file
            }
            _ => disk.create_file(&directory, name, Mode::from_bits(0o644))?,
        };
        disk.truncate(&file, ByteCount::of_len(content.bytes.len()))?;
        disk.write_at(&file, Offset::ZERO, &content.bytes)?;
        self.settle(&file)?;
        let stat = disk.stat(&file)?;
        Ok(Metadata { mode: stat.mode, mtime: stat.mtime })
    }

    /// Makes durable what another program did; of a sync that failed before it is told first.
    fn settle(&self, file: &SimulatedHandle) -> DiskResult<()> {
        self.disk.sync_file_system(file).or_else(|_| self.disk.sync_file_system(file))
    }

    /// Changes mode and mtime of a file as another program does, durably; its metadata then.
    ///
    /// # Errors
    /// The disk's.
    pub fn touch(&self, path: &ObjectPath, mode: Mode) -> DiskResult<Metadata> {
        let disk = &self.disk;
        let Some((parent, name)) = path.split_last() else { return Ok(NO_METADATA) };
        let directory = self.directory(&parent)?;
        let file = disk.open_file(&directory, Name::from(name), Access::ReadWrite)?;
        disk.set_mode(&file, mode)?;
        disk.set_mtime(&file, disk.now())?;
        self.settle(&file)?;
        let stat = disk.stat(&file)?;
        Ok(Metadata { mode: stat.mode, mtime: stat.mtime })
    }

    /// Opens a directory, made with its parents where it is missing.
    ///
    /// # Errors
    /// The disk's.
    pub fn directory(&self, path: &ObjectPath) -> DiskResult<SimulatedHandle> {
        let mut at = self.disk.root()?;
        for component in path.components() {
            let name = Name::from(component);
            // One that is there already is what was asked for.
            let _ = self.disk.make_directory(&at, name, Mode::from_bits(0o755));
            at = self.disk.open_child(&at, name)?;
        }
        Ok(at)
    }

    /// Gives a directory a mode, made with its parents where it is missing; durable with the next
    /// file or link that is written.
    ///
    /// # Errors
    /// The disk's.
    pub fn directory_of_mode(&self, path: &ObjectPath, mode: Mode) -> DiskResult<()> {
        self.disk.set_mode(&self.directory(path)?, mode)
    }

    /// Makes a link as another program does.
    ///
    /// # Errors
    /// The disk's.
    pub fn link(&self, path: &ObjectPath, text: &[u8]) -> DiskResult<()> {
        let Some((parent, name)) = path.split_last() else { return Ok(()) };
        let directory = self.directory(&parent)?;
        self.disk.make_link(&directory, Name::from(name), text)?;
        self.settle(&directory)
    }
}

const NO_METADATA: Metadata = Metadata {
    mode: Mode::from_bits(0),
    mtime: match Timestamp::new(0, 0) {
        Some(time) => time,
        None => panic!("a constant"),
    },
};

/// The root that a file's mark vouches for.
#[must_use]
pub fn known_root(disk: &SimulatedDisk, path: &ObjectPath) -> Option<Root> {
    disk.glance(path)?.marked_root()
}

/// Looks at a path.
#[must_use]
pub fn look(disk: &SimulatedDisk, path: &ObjectPath) -> Look {
    look_at(disk.glance(path).as_ref())
}

/// Looks closer at what was found.
#[must_use]
pub fn look_at(found: Option<&Glance>) -> Look {
    let Some(found) = found else { return Look::Absent };
    match found.kind {
        FileKind::Directory => Look::Directory(found.metadata),
        FileKind::Link => Look::Link(found.bytes.to_vec()),
        FileKind::File | FileKind::Other => {
            Look::File { root: Root::of(&found.bytes), metadata: found.metadata }
        }
    }
}
