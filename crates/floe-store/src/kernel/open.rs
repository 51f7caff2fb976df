//! How descriptors come to be: the only place that resolves a path.
//!
//! NO_SYMLINKS refuses a link anywhere in a path, BENEATH refuses to leave the directory,
//! NO_MAGICLINKS refuses the links of /proc that lead anywhere. Names hold no `/` and no `..`, so a
//! joined path means what its list means.

use crate::disk::{Access, DiskError, DiskResult, Name};
use floe_types::{Code, Component, Mode};
use rustix::fs::{self, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};
use std::os::fd::OwnedFd;
use std::path::Path;

/// The longest path the kernel takes in one call, without its NUL.
const PATH_BYTES_MAX: usize = 4095;

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// A directory, wherever the person's own path leads.
pub(super) fn named_by_person(path: &Path) -> DiskResult<OwnedFd> {
    readable_or_not(|access| fs::open(path, DIRECTORY | access, fs::Mode::empty()))
}

/// The directory at `path` beneath `at`; `at` itself, opened again, where that is empty.
pub(super) fn directory(at: &OwnedFd, path: &[Component]) -> DiskResult<OwnedFd> {
    let names: Vec<_> = path.iter().map(Component::as_bytes).collect();
    let joined = if names.is_empty() { b".".to_vec() } else { names.join(&b'/') };
    if joined.len() > PATH_BYTES_MAX && path.len() > 1 {
        let (head, tail) = path.split_at(path.len() / 2);
        return directory(&directory(at, head)?, tail);
    }
    readable_or_not(|access| beneath(at, &joined, DIRECTORY | access, Mode::from_bits(0)))
}

/// The directory `name` in `at`.
pub(super) fn child(at: &OwnedFd, name: Name<'_>) -> DiskResult<OwnedFd> {
    readable_or_not(|access| beneath(at, name.as_bytes(), DIRECTORY | access, Mode::from_bits(0)))
}

/// The file `name` in `at`, if it is one still: NONBLOCK, so that the open of a FIFO that took its
/// place returns.
pub(super) fn file(at: &OwnedFd, name: Name<'_>, access: Access) -> DiskResult<OwnedFd> {
    let flags = match access {
        Access::Read => OFlags::RDONLY,
        Access::ReadWrite => OFlags::RDWR,
    };
    let flags = flags | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match beneath(at, name.as_bytes(), flags, Mode::from_bits(0)) {
        Err(Errno::LOOP) => Err(DiskError::new(Code::NotRegular)),
        answer => Ok(answer?),
    }
}

/// A new file. Nobody else may open it before its mode is set.
pub(super) fn new_file(at: &OwnedFd, name: Name<'_>, mode: Mode) -> DiskResult<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let owner_only = Mode::from_bits(u32::from(mode.bits()) & 0o600);
    Ok(beneath(at, name.as_bytes(), flags, owner_only)?)
}

/// A new file without a name on the file system of `at`; it cannot be given one.
pub(super) fn unnamed(at: &OwnedFd) -> DiskResult<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::EXCL | OFlags::CLOEXEC;
    match beneath(at, b".", flags, Mode::from_bits(0o600)) {
        // What file systems without such files say, and kernels that do not know the flag.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => Err(DiskError::new(Code::Unsupported)),
        answer => Ok(answer?),
    }
}

fn beneath(at: &OwnedFd, path: &[u8], flags: OFlags, mode: Mode) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mode = fs::Mode::from_raw_mode(u32::from(mode.bits()));
    retry_on_intr(|| fs::openat2(at, path, flags, mode, resolve))
}

/// A directory that may be searched but not read still leads to what is in it.
fn readable_or_not(open: impl Fn(OFlags) -> rustix::io::Result<OwnedFd>) -> DiskResult<OwnedFd> {
    match open(OFlags::RDONLY) {
        Err(Errno::ACCESS) => Ok(open(OFlags::PATH)?),
        answer => Ok(answer?),
    }
}
