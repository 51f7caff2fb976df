//! Removes a tree depth first, beneath one directory's handle, in bounded memory.
//!
//! Each step names one entry in an open directory and follows no link, so a directory that is
//! swapped for a link meanwhile costs the link, never what it leads to. A directory is listed from
//! its start each time, because what was listed before is gone by then; every round removes
//! something, descends, or counts against `ROUNDS_LOST_MAX`.

use crate::api::Wanted;
use crate::disk::{Disk, DiskError, DiskResult, Name};
use floe_types::Code;

/// Names that are taken from a directory at a time.
const PAGE_NAMES: usize = 256;
/// So many levels hold their handle open; a level below is opened again from the last of those,
/// name by name.
const HANDLES_MAX: usize = 64;
/// Rounds that found a directory empty and yet could not remove it, or lost a name to someone else.
const ROUNDS_LOST_MAX: usize = 16;

/// Removes what stands at a name, and everything beneath, while it is wanted. Nothing is synced.
pub(super) fn tree<D: Disk>(
    disk: &D,
    at: &D::Handle,
    name: Name<'_>,
    wanted: Wanted<'_>,
) -> DiskResult<()> {
    disk.stat_at(at, name)?;
    let mut lost = 0;
    while one(disk, at, name)? == Removal::Holds {
        let names = vec![name.as_bytes().to_vec()];
        Branch { disk, at, names, held: Vec::new(), wanted }.clear(&mut lost)?;
    }
    Ok(())
}

#[derive(PartialEq, Eq)]
enum Removal {
    Done,
    /// A directory with something in it.
    Holds,
}

enum Round {
    Removed,
    Descend(Vec<u8>),
    Empty,
    /// The directory itself went, or became something else.
    Lost,
}

/// The way from the top to the directory being emptied.
struct Branch<'d, D: Disk> {
    disk: &'d D,
    at: &'d D::Handle,
    names: Vec<Vec<u8>>,
    /// The handles of the first names.
    held: Vec<D::Handle>,
    wanted: Wanted<'d>,
}

impl<D: Disk> Branch<'_, D> {
    /// Removes all there is on this branch, unless it becomes something else meanwhile.
    fn clear(&mut self, lost: &mut usize) -> DiskResult<()> {
        while !self.names.is_empty() {
            match self.round()? {
                Round::Removed => {}
                Round::Descend(name) => self.names.push(name),
                Round::Empty if self.leave()? == Removal::Done => {}
                Round::Empty | Round::Lost => *lost += 1,
            }
            if *lost > ROUNDS_LOST_MAX {
                return Err(DiskError::new(Code::NotEmpty));
            }
        }
        Ok(())
    }

    /// One page of the deepest directory.
    fn round(&mut self) -> DiskResult<Round> {
        let deepest = match self.open_deepest() {
            Ok(deepest) => deepest,
            Err(error) if matches!(error.code(), Code::NotFound | Code::NotDirectory) => {
                self.names.pop();
                return Ok(Round::Lost);
            }
            Err(error) => return Err(error),
        };
        let directory = match &deepest {
            Some(own) => own,
            None => self.held.last().ok_or(DiskError::new(Code::Usage))?,
        };
        spare(self.disk, directory)?;
        let page = self.disk.list(directory, None, PAGE_NAMES)?;
        if page.names.is_empty() {
            return Ok(Round::Empty);
        }
        // That one may have been made since.
        for bytes in page.names.into_iter().filter(|bytes| bytes != Name::RESERVED.as_bytes()) {
            if !(self.wanted)() {
                return Err(DiskError::new(Code::Interrupted));
            }
            let name = Name::new(&bytes).ok_or(DiskError::new(Code::BadPath))?;
            if one(self.disk, directory, name)? == Removal::Holds {
                return Ok(Round::Descend(bytes));
            }
        }
        Ok(Round::Removed)
    }

    /// Removes the deepest directory, which was found empty, from the one above.
    fn leave(&mut self) -> DiskResult<Removal> {
        let Some(name) = self.names.pop() else { return Ok(Removal::Done) };
        let above = self.open_deepest()?;
        let above = above.as_ref().or(self.held.last()).unwrap_or(self.at);
        let entry = Name::new(&name).ok_or(DiskError::new(Code::BadPath))?;
        let removal = one(self.disk, above, entry)?;
        if removal == Removal::Holds {
            self.names.push(name);
        }
        Ok(removal)
    }

    /// Opens what `names` lead to: as the last of `held`, or beyond those as a handle of its own.
    fn open_deepest(&mut self) -> DiskResult<Option<D::Handle>> {
        self.held.truncate(self.names.len());
        let mut own: Option<D::Handle> = None;
        for bytes in self.names.iter().skip(self.held.len()) {
            let name = Name::new(bytes).ok_or(DiskError::new(Code::BadPath))?;
            let from = own.as_ref().or(self.held.last()).unwrap_or(self.at);
            let next = self.disk.open_child(from, name)?;
            if own.is_none() && self.held.len() < HANDLES_MAX {
                self.held.push(next);
            } else {
                own = Some(next);
            }
        }
        Ok(own)
    }
}

/// What stands under the reserved name is of some root: of its stages none goes, and nothing beside
/// it. One that is empty is of nobody.
fn spare<D: Disk>(disk: &D, at: &D::Handle) -> DiskResult<()> {
    let answer = disk.remove_directory(at, Name::RESERVED);
    match answer.map_err(DiskError::code) {
        Ok(()) | Err(Code::NotFound) => Ok(()),
        Err(Code::NotEmpty | Code::NotDirectory) => Err(DiskError::new(Code::NotEmpty)),
        Err(_) => answer,
    }
}

/// Removes one name: a file, link or device, or a directory with nothing in it. What is gone
/// already is done; what became something else since it was looked at counts as a directory, and
/// will turn out not to be one.
fn one<D: Disk>(disk: &D, at: &D::Handle, name: Name<'_>) -> DiskResult<Removal> {
    let answer = match disk.remove_file(at, name) {
        Err(error) if error.code() == Code::IsDirectory => disk.remove_directory(at, name),
        answer => answer,
    };
    match answer.map_err(DiskError::code) {
        Ok(()) | Err(Code::NotFound) => Ok(Removal::Done),
        Err(Code::NotEmpty | Code::NotDirectory) => Ok(Removal::Holds),
        Err(_) => answer.map(|()| Removal::Done),
    }
}
