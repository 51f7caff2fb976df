//! A real directory to test in, removed at the end.

use floe_store::kernel::KernelDisk;
use floe_store::local::LocalStore;
use floe_types::ObjectPath;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

/// `root` is served; `outside` stands beside it and must never be touched.
pub struct Tree {
    directory: tempfile::TempDir,
    store: LocalStore<KernelDisk>,
}

pub fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text.as_bytes()).unwrap()
}

impl Tree {
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("root")).unwrap();
        std::fs::create_dir(directory.path().join("outside")).unwrap();
        std::fs::write(directory.path().join("outside/secret"), b"secret").unwrap();
        let store = LocalStore::open(&directory.path().join("root")).unwrap();
        Self { directory, store }
    }

    pub fn store(&self) -> &LocalStore<KernelDisk> {
        &self.store
    }

    pub fn disk(&self) -> KernelDisk {
        KernelDisk::open(&self.directory.path().join("root")).unwrap()
    }

    pub fn at(&self, beneath: &str) -> PathBuf {
        self.bytes(beneath.as_bytes())
    }

    pub fn bytes(&self, beneath: &[u8]) -> PathBuf {
        self.directory.path().join("root").join(OsStr::from_bytes(beneath))
    }

    pub fn outside(&self) -> PathBuf {
        self.directory.path().join("outside")
    }

    pub fn file(&self, beneath: &str, bytes: &[u8]) {
        let file = self.at(beneath);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    pub fn link(&self, target: &str, beneath: &str) {
        symlink(target, self.at(beneath)).unwrap();
    }

    /// Nothing outside came, went or changed.
    pub fn assert_contained(&self) {
        let names: Vec<_> = std::fs::read_dir(self.outside())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["secret"]);
        assert_eq!(std::fs::read(self.outside().join("secret")).unwrap(), b"secret");
    }
}
