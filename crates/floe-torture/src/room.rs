//! A disk that can be filled: a small file system in memory of this round's own, where the system
//! lets us mount one.

use rustix::fs::{FallocateFlags, fallocate};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A small disk; unmounted when it is dropped, unless it is kept.
pub(crate) struct Room {
    path: PathBuf,
    kept: bool,
}

impl Room {
    /// Mounts one of so many bytes.
    pub(crate) fn mount(path: PathBuf, bytes: u64) -> io::Result<Self> {
        fs::create_dir(&path)?;
        let options = CString::new(format!("size={bytes},mode=0755"))?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        if let Err(errno) = mount("floe-torture", &path, "tmpfs", flags, options.as_c_str()) {
            fs::remove_dir(&path)?;
            return Err(errno.into());
        }
        Ok(Self { path, kept: false })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Fills it up to the last bytes.
    pub(crate) fn fill(&self) -> io::Result<()> {
        let file = File::create(self.path.join(FILLER))?;
        let mut step = 64 << 20;
        let mut len = 0;
        while step >= 4096 {
            match fallocate(&file, FallocateFlags::empty(), len, step) {
                Ok(()) => len += step,
                Err(_) => step /= 2,
            }
        }
        (&file).flush()
    }

    /// Makes room again.
    pub(crate) fn free(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join(FILLER)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Leaves it mounted.
    pub(crate) fn keep(&mut self) {
        self.kept = true;
    }
}

const FILLER: &str = "filler";

impl Drop for Room {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot go now goes when the last process that uses it does.
            let _ = unmount(&self.path, UnmountFlags::DETACH);
        }
    }
}
