//! Locks that keep two identical transfers of one user apart.
//!
//! A lock is an flock, so it ends with its process however that ends. The file's name is a hash of
//! the key; it holds the pid of the owner, for the message only. The file is removed while the lock
//! is still held, and a lock on a removed file is not taken for one.

use super::{PRIVATE, State};
use floe_types::{Code, Fault};
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, OwnedFd};

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    dir: OwnedFd,
    name: String,
    _file: OwnedFd,
}

impl State {
    /// Takes the lock of a transfer; `key` is whatever makes two commands identical.
    ///
    /// # Errors
    /// `AlreadyRunning` with the pid of the holder; `State`.
    pub fn lock_transfer(&self, key: &[u8]) -> Result<Lock, Fault> {
        let name = data_encoding::HEXLOWER.encode(&blake3::hash(key).as_bytes()[..16]);
        let fail = |error: Errno| self.fault("lock", LOCKS, &error.kind().to_string());
        match rustix::fs::mkdirat(self.dir.as_fd(), LOCKS, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(fail(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir =
            rustix::fs::openat(self.dir.as_fd(), LOCKS, flags, Mode::empty()).map_err(fail)?;
        for _ in 0..ATTEMPTS_MAX {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&dir, &name, flags, PRIVATE).map_err(fail)?;
            match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => return Err(running(&file)),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(fail(error)),
            }
            if is_named(&dir, &name, &file).map_err(fail)? {
                let pid = std::process::id().to_string();
                rustix::fs::ftruncate(&file, 0).map_err(fail)?;
                rustix::io::pwrite(&file, pid.as_bytes(), 0).map_err(fail)?;
                return Ok(Lock { dir, name, _file: file });
            }
        }
        Err(self.fault("lock", LOCKS, "it is taken and let go all the time"))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A file that stays behind is only a few bytes; the lock itself ends with the descriptor.
        let _ = rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty());
    }
}

fn running(file: &OwnedFd) -> Fault {
    let mut text = [0; 16];
    let len = rustix::io::pread(file, &mut text, 0).unwrap_or(0);
    let pid = std::str::from_utf8(&text[..len]).ok().and_then(|pid| pid.parse::<u32>().ok());
    let who = pid.map_or_else(|| "another process".to_owned(), |pid| format!("pid {pid}"));
    Fault::new(Code::AlreadyRunning, who)
}

/// Whether the name still leads to this file.
fn is_named(dir: &OwnedFd, name: &str, file: &OwnedFd) -> Result<bool, Errno> {
    let held = rustix::fs::fstat(file)?;
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(named) => Ok(named.st_ino == held.st_ino),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

const LOCKS: &str = "locks";
const ATTEMPTS_MAX: u32 = 16;
