//! The state directory: what a client or a server keeps between runs, for its own user only.
//!
//! Files are small, 0600 in a directory 0700 of this user, and appear whole: written beside,
//! synced, then linked (first one wins) or renamed (last one wins). Several processes may use one
//! directory at once. What the files mean is said by the modules that own them; here are the
//! client id and the locks that keep two identical transfers apart.

mod lock;

pub use lock::Lock;

use floe_types::escape::Escaped;
use floe_types::{Code, Fault};
use rustix::fs::{Access, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// An open state directory.
#[derive(Clone, Debug)]
pub struct State {
    path: PathBuf,
    dir: Arc<OwnedFd>,
}

/// What a file of the state directory is known by: changes whenever the file is replaced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    inode: u64,
    size: u64,
    mtime: (i64, i64),
}

/// A file's bytes, and the stamp of the very file they were read from.
#[derive(PartialEq, Eq)]
pub(crate) struct Stamped {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) stamp: Stamp,
}

/// Whether a file was made, or another process had made it before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Created {
    ByUs,
    Before,
}

/// Who may see a file that is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Privacy {
    /// Refused if anyone but its owner may read or write it.
    Secret,
    /// As its owner wants it.
    Any,
}

impl State {
    /// The directory where the person names none: `$XDG_STATE_HOME/floe`, else
    /// `~/.local/state/floe`.
    ///
    /// # Errors
    /// `State`: neither XDG_STATE_HOME nor HOME is an absolute path.
    pub fn default_dir() -> Result<PathBuf, Fault> {
        let absolute = |name: &str| {
            std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
        };
        absolute("XDG_STATE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .map(|base| base.join("floe"))
            .ok_or_else(|| Fault::new(Code::State, "find the state directory: HOME is not set"))
    }

    /// Opens a state directory, and makes it and its parents (0700) where they are missing. What it
    /// makes is durable.
    ///
    /// # Errors
    /// `State`: it cannot be made or written, belongs to another user, or others may write in it.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        let refuse = |error: std::io::Error| refused(path, &error.kind().to_string());
        let missing: Vec<&Path> =
            path.ancestors().take_while(|one| one.symlink_metadata().is_err()).collect();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(refuse)?;
        let state = Self::open_standing(path)?;
        for made in missing {
            sync_above(made).map_err(|error| refuse(error.into()))?;
        }
        Ok(state)
    }

    /// Opens a state directory that stands, and makes nothing.
    ///
    /// # Errors
    /// `NotFound`: there is none. As `open`.
    pub fn open_standing(path: &Path) -> Result<Self, Fault> {
        let refuse = |why: String| refused(path, &why);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| match error {
            Errno::NOENT => {
                Fault::new(Code::NotFound, format!("open the state directory \"{}\"", show(path)))
            }
            error => refuse(error.kind().to_string()),
        })?;
        let stat = rustix::fs::fstat(&dir).map_err(|error| refuse(error.kind().to_string()))?;
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            let whose = stat.st_uid;
            let why = format!("it belongs to another user: run this as that one (uid {whose})");
            return Err(refuse(why));
        }
        if stat.st_mode & 0o022 != 0 {
            return Err(refuse("others may write in it (chmod go-w)".into()));
        }
        rustix::fs::accessat(
            &dir,
            ".",
            Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK,
            AtFlags::EACCESS,
        )
        .map_err(|error| refuse(error.kind().to_string()))?;
        Ok(Self { path: path.to_path_buf(), dir: Arc::new(dir) })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its handle, for what is more than a small file.
    pub(crate) fn handle(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// This client's id: random, made at first use, part of the key of every stage it leaves on a
    /// server.
    ///
    /// # Errors
    /// `State`.
    pub fn client_id(&self) -> Result<[u8; 16], Fault> {
        if self.read(CLIENT_ID, Privacy::Any)?.is_none() {
            let id = data_encoding::HEXLOWER.encode(&random::<16>()?);
            self.create(CLIENT_ID, format!("{id}\n").as_bytes())?;
        }
        let text = self.read(CLIENT_ID, Privacy::Any)?.unwrap_or_default();
        data_encoding::HEXLOWER
            .decode(text.trim_ascii())
            .ok()
            .and_then(|id| id.try_into().ok())
            .ok_or_else(|| self.fault("read", CLIENT_ID, "it is damaged"))
    }

    /// Reads a whole file; `None` where there is none.
    pub(crate) fn read(
        &self,
        name: &str,
        privacy: Privacy,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, Fault> {
        Ok(self.read_stamped(name, privacy)?.map(|stamped| stamped.bytes))
    }

    /// Reads a whole file and its stamp; `None` where there is none.
    pub(crate) fn read_stamped(
        &self,
        name: &str,
        privacy: Privacy,
    ) -> Result<Option<Stamped>, Fault> {
        let fail = |error: std::io::Error| self.fault("read", name, &error.kind().to_string());
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(self.dir.as_fd(), name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(fail(error.into())),
        };
        let meta = file.metadata().map_err(fail)?;
        if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
            return Err(self.fault("read", name, "it is not a small file"));
        }
        if meta.mode() & 0o022 != 0 {
            return Err(self.fault("read", name, "others may write it (chmod 600)"));
        }
        if privacy == Privacy::Secret && meta.mode() & 0o077 != 0 {
            return Err(self.fault("read", name, "others may read it (chmod 600)"));
        }
        let mut bytes = Zeroizing::new(Vec::new());
        // Room ahead, so that no copy of a secret is left behind by growing.
        bytes.reserve_exact(usize::try_from(meta.len()).unwrap_or_default() + 1);
        file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(fail)?;
        Ok(Some(Stamped { bytes, stamp: Stamp::of(&meta) }))
    }

    /// The stamp of a file; `None` where there is none.
    pub(crate) fn stamp(&self, name: &str) -> Result<Option<Stamp>, Fault> {
        match rustix::fs::statat(self.dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Stamp {
                inode: stat.st_ino,
                size: u64::try_from(stat.st_size).unwrap_or_default(),
                mtime: (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default()),
            })),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(self.fault("stat", name, &error.kind().to_string())),
        }
    }

    /// Makes a file that must not exist yet: whole, 0600 and durable, or not at all.
    pub(crate) fn create(&self, name: &str, bytes: &[u8]) -> Result<Created, Fault> {
        let beside = self.write_beside(name, bytes)?;
        let linked =
            rustix::fs::linkat(self.dir.as_fd(), &beside, self.dir.as_fd(), name, AtFlags::empty());
        let removed = rustix::fs::unlinkat(self.dir.as_fd(), &beside, AtFlags::empty());
        let created = match linked {
            Ok(()) => Created::ByUs,
            Err(Errno::EXIST) => Created::Before,
            Err(error) => return Err(self.failed("create", name, error.kind())),
        };
        // The directory's own name too: whoever made it may have died before that was durable.
        removed
            .and_then(|()| rustix::fs::fsync(self.dir.as_fd()))
            .and_then(|()| sync_above(&self.path))
            .map_err(|error| self.failed("create", name, error.kind()))?;
        Ok(created)
    }

    /// Makes a file or replaces it: whole, 0600 and durable, or not at all.
    pub(crate) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), Fault> {
        let beside = self.write_beside(name, bytes)?;
        rustix::fs::renameat(self.dir.as_fd(), &beside, self.dir.as_fd(), name)
            .and_then(|()| rustix::fs::fsync(self.dir.as_fd()))
            .map_err(|error| {
                let _ = rustix::fs::unlinkat(self.dir.as_fd(), &beside, AtFlags::empty());
                self.failed("replace", name, error.kind())
            })
    }

    /// Makes durable whatever names are as they are: whoever finds that nothing needs to be changed
    /// may find what an earlier change left whose own sync failed.
    pub(crate) fn sync(&self) -> Result<(), Fault> {
        rustix::fs::fsync(self.dir.as_fd()).map_err(|error| self.failed("sync", ".", error.kind()))
    }

    /// Holds `name` against other processes (and other calls) until dropped; waits a bounded time.
    /// For the short time between reading a file and replacing it.
    pub(crate) fn hold(&self, name: &str) -> Result<OwnedFd, Fault> {
        self.hold_within(name, HOLD_WAIT)?
            .ok_or_else(|| self.fault("lock", name, "another process holds it"))
    }

    /// As `hold`, waiting so long at most; nothing where it is held for longer.
    pub(crate) fn hold_within(&self, name: &str, wait: Duration) -> Result<Option<OwnedFd>, Fault> {
        let fail = |error: Errno| self.failed("lock", name, error.kind());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(self.dir.as_fd(), name, flags, PRIVATE).map_err(fail)?;
        let until = Instant::now() + wait;
        loop {
            match rustix::fs::flock(&fd, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Some(fd)),
                Err(Errno::WOULDBLOCK) if Instant::now() < until => std::thread::sleep(HOLD_POLL),
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(Errno::INTR) => {}
                Err(error) => return Err(fail(error)),
            }
        }
    }

    /// Removes a file, if there is one.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Fault> {
        match rustix::fs::unlinkat(self.dir.as_fd(), name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.fault("remove", name, &error.kind().to_string())),
        }
    }

    pub(crate) fn fault(&self, operation: &str, name: &str, why: &str) -> Fault {
        let shown = show(&self.path.join(name));
        Fault::new(Code::State, format!("{operation} \"{shown}\": {why}"))
    }

    /// What the system refused: a full disk has a status of its own.
    fn failed(&self, operation: &str, name: &str, why: ErrorKind) -> Fault {
        let code = match why {
            ErrorKind::StorageFull => Code::NoSpace,
            ErrorKind::QuotaExceeded => Code::Quota,
            _ => return self.fault(operation, name, &why.to_string()),
        };
        Fault::new(code, format!("{operation} \"{}\"", show(&self.path.join(name))))
    }

    fn write_beside(&self, name: &str, bytes: &[u8]) -> Result<String, Fault> {
        let nonce = data_encoding::HEXLOWER.encode(&random::<8>()?);
        let beside = format!(".{name}.{nonce}");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let written = rustix::fs::openat(self.dir.as_fd(), &beside, flags, PRIVATE)
            .map_err(std::io::Error::from)
            .and_then(|fd| {
                let mut file = File::from(fd);
                file.write_all(bytes)?;
                file.sync_all()
            });
        written.map(|()| beside.clone()).map_err(|error| {
            let _ = rustix::fs::unlinkat(self.dir.as_fd(), &beside, AtFlags::empty());
            self.failed("write", name, error.kind())
        })
    }
}

impl Stamp {
    /// How long the file is.
    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    fn of(meta: &std::fs::Metadata) -> Self {
        Self { inode: meta.ino(), size: meta.len(), mtime: (meta.mtime(), meta.mtime_nsec()) }
    }
}

/// Random bytes of the operating system.
pub(crate) fn random<const LEN: usize>() -> Result<[u8; LEN], Fault> {
    let mut bytes = [0; LEN];
    fill_randomly(&mut bytes)?;
    Ok(bytes)
}

/// As `random`, so many as there is room for.
pub(crate) fn fill_randomly(bytes: &mut [u8]) -> Result<(), Fault> {
    getrandom::fill(bytes)
        .map_err(|error| Fault::new(Code::Other, format!("draw random bytes: {error}")))
}

/// Makes the name of a directory durable, as far as what stands above it can be opened (not where
/// it may only be searched) and synced (not where it is read-only, or knows no syncs).
fn sync_above(directory: &Path) -> Result<(), Errno> {
    let above = match directory.parent() {
        None => return Ok(()),
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(above, flags, Mode::empty()) {
        Err(Errno::ACCESS) => Ok(()),
        answer => match rustix::fs::fsync(answer?) {
            Err(Errno::INVAL | Errno::ROFS) => Ok(()),
            answer => answer,
        },
    }
}

/// A state directory that cannot be used.
fn refused(path: &Path, why: &str) -> Fault {
    Fault::new(Code::State, format!("open \"{}\": {why}", show(path)))
}

/// A path safe to show.
pub(crate) fn show(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

const CLIENT_ID: &str = "client-id";
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
const FILE_BYTES_MAX: u64 = 16 << 20;
const HOLD_WAIT: Duration = Duration::from_secs(10);
const HOLD_POLL: Duration = Duration::from_millis(5);

#[cfg(test)]
impl State {
    /// The same directory, whose syncs fail: so it is with O_PATH.
    pub(crate) fn without_syncs(&self) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&self.path, flags, Mode::empty()).unwrap();
        Self { path: self.path.clone(), dir: Arc::new(dir) }
    }
}

#[cfg(test)]
mod tests;
