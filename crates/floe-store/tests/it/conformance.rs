//! Every store keeps every promise of its contract.

use floe_store::Store;
use floe_store::confined::Confined;
use floe_store::conformance::{self, Subject};
use floe_store::local::LocalStore;
use floe_store::memory::MemoryStore;
use floe_store::simulated::{Breaks, SimulatedDisk};
use std::path::PathBuf;
use std::sync::Arc;

struct Local {
    directory: tempfile::TempDir,
    store: Option<Arc<dyn Store>>,
}

impl Local {
    fn subject(beneath: Option<PathBuf>) -> Box<dyn Subject> {
        let directory = match beneath {
            Some(place) => tempfile::tempdir_in(place).unwrap(),
            None => tempfile::tempdir().unwrap(),
        };
        let mut local = Self { directory, store: None };
        local.restart();
        Box::new(local)
    }
}

impl Subject for Local {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.store.as_ref().unwrap())
    }

    fn restart(&mut self) {
        self.store = None;
        self.store = Some(Arc::new(LocalStore::open(self.directory.path()).unwrap()));
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.store = None;
        let left = std::fs::read_dir(self.directory.path()).unwrap();
        for name in left.map(|entry| entry.unwrap().file_name()) {
            assert!(name != ".floe" || std::thread::panicking() || self.has_stages());
        }
    }
}

impl Local {
    /// An area may only stay while a stage is in it.
    fn has_stages(&self) -> bool {
        std::fs::read_dir(self.directory.path().join(".floe"))
            .unwrap()
            .any(|entry| entry.unwrap().file_name().to_string_lossy().ends_with(".stage"))
    }
}

#[test]
fn the_local_store_keeps_every_promise() {
    conformance::run(&|| Local::subject(None));
}

#[test]
fn the_local_store_keeps_every_promise_in_memory_files() {
    let shm = PathBuf::from("/dev/shm");
    if !shm.is_dir() {
        eprintln!("skipped: /dev/shm is not there");
        return;
    }
    conformance::run(&|| Local::subject(Some(shm.clone())));
}

struct Memory(MemoryStore);

impl Subject for Memory {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.0.clone())
    }

    fn restart(&mut self) {
        self.0.restart();
    }
}

#[test]
fn the_store_in_memory_keeps_every_promise() {
    conformance::run(&|| Box::new(Memory(MemoryStore::default())));
}

struct Simulated(SimulatedDisk, Option<Arc<dyn Store>>);

impl Subject for Simulated {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.1.as_ref().unwrap())
    }

    fn restart(&mut self) {
        self.1 = None;
        self.1 = Some(Arc::new(LocalStore::new(self.0.clone()).unwrap()));
    }
}

#[test]
fn the_local_store_keeps_every_promise_on_a_simulated_disk() {
    conformance::run(&|| {
        let mut subject = Simulated(SimulatedDisk::default(), None);
        subject.restart();
        Box::new(subject)
    });
}

#[test]
fn the_local_store_keeps_every_promise_on_a_disk_that_knows_no_holes() {
    conformance::run(&|| {
        let disk = SimulatedDisk::default();
        disk.set_breaks(Breaks { without_holes: true, ..Breaks::default() });
        let mut subject = Simulated(disk, None);
        subject.restart();
        Box::new(subject)
    });
}

struct Prefixed(tempfile::TempDir, Option<Arc<dyn Store>>);

impl Subject for Prefixed {
    fn store(&self) -> Arc<dyn Store> {
        Arc::clone(self.1.as_ref().unwrap())
    }

    fn restart(&mut self) {
        self.1 = None;
        let whole = Arc::new(LocalStore::open(self.0.path()).unwrap());
        let directory = floe_types::ObjectPath::parse(b"team/box").unwrap();
        self.1 = Some(Arc::new(Confined::new(whole, directory)));
    }
}

#[test]
fn a_part_of_a_store_keeps_every_promise() {
    conformance::run(&|| {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("team/box")).unwrap();
        let mut subject = Prefixed(directory, None);
        subject.restart();
        Box::new(subject)
    });
}
