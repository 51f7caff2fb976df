//! A file system of a test's own.

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::ffi::CStr;
use std::panic::{UnwindSafe, catch_unwind};
use std::path::Path;

/// Runs with a tmpfs on `m` of a fresh directory, which is the first path, unless this process may
/// not mount one.
pub fn with_tmpfs(test: &str, options: &CStr, run: impl FnOnce(&Path, &Path) + UnwindSafe) {
    let directory = tempfile::tempdir().unwrap();
    let point = directory.path().join("m");
    std::fs::create_dir(&point).unwrap();
    if let Err(error) = mount("tmpfs", &point, "tmpfs", MountFlags::empty(), Some(options)) {
        eprintln!("SKIPPED {test}: mount: {error}");
        return;
    }
    let outcome = catch_unwind(|| run(directory.path(), &point));
    unmount(&point, UnmountFlags::DETACH).unwrap();
    outcome.unwrap();
}
