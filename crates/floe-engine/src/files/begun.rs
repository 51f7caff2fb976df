//! Directories that a session's transfers have begun, and not ended.
//!
//! A directory whose mode keeps its owner out is lent while entries are put into it. Another
//! session that puts the same one may end it first, with that mode: whoever has entries left for it
//! begins it again. What a session has not ended when it is over gets back the mode it had.

use super::{Files, lock};
use floe_store::Store;
use floe_types::{Code, Fault, ObjectPath, Precondition, TransferId};
use std::collections::BTreeSet;
use std::sync::Mutex;

/// How often others may end it meanwhile.
const ATTEMPTS_MAX: usize = 3;

/// What the paths of a session's may take; one that is not kept is not begun again.
const BYTES_MAX: usize = 1 << 20;

/// Those of a session.
#[derive(Default)]
pub(super) struct Begun(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    all: BTreeSet<(TransferId, ObjectPath)>,
    bytes: usize,
}

impl Begun {
    pub(super) fn add(&self, transfer: TransferId, path: &ObjectPath) {
        let mut kept = lock(&self.0);
        let bytes = kept.bytes + path.footprint();
        if bytes <= BYTES_MAX && kept.all.insert((transfer, path.clone())) {
            kept.bytes = bytes;
        }
    }

    pub(super) fn remove(&self, transfer: TransferId, path: &ObjectPath) {
        let mut kept = lock(&self.0);
        if kept.all.remove(&(transfer, path.clone())) {
            kept.bytes -= path.footprint();
        }
    }

    fn take_all(&self) -> BTreeSet<(TransferId, ObjectPath)> {
        std::mem::take(&mut *lock(&self.0)).all
    }

    /// The directory of `path`, if it is one of these.
    fn above(&self, transfer: TransferId, path: &ObjectPath) -> Option<ObjectPath> {
        let (parent, _) = path.split_last()?;
        let begun = (transfer, parent);
        let is_begun = lock(&self.0).all.contains(&begun);
        is_begun.then_some(begun.1)
    }
}

impl Files {
    /// What `attempt` says of `path` in place of a refusal, where its directory may be begun again.
    pub(super) fn insist<T>(
        &self,
        mut answer: Result<T, Fault>,
        (transfer, path, store): (TransferId, &ObjectPath, &dyn Store),
        attempt: impl Fn() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        for _ in 0..ATTEMPTS_MAX {
            if !answer.as_ref().is_err_and(|fault| fault.code == Code::PermissionDenied) {
                break;
            }
            let Some(directory) = self.begun.above(transfer, path) else { break };
            if store.begin_directory(&directory, Precondition::None).is_err() {
                break;
            }
            answer = attempt();
        }
        answer
    }

    /// The session is over: an open that came late may have lent what others had ended.
    pub(super) fn leave_begun(&self) {
        for (transfer, path) in self.begun.take_all() {
            if let Ok(store) = self.store(transfer) {
                store.leave_directory(&path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Pool;
    use floe_proto::disk::{CommitOp, CommitWhat};
    use floe_store::OwnerId;
    use floe_store::local::LocalStore;
    use floe_types::{ByteCount, EntryId, EntryIndex, Metadata, Mode, Timestamp};
    use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
    use std::sync::Arc;

    const T: TransferId = TransferId(3);

    fn path(text: &str) -> ObjectPath {
        ObjectPath::parse(text.as_bytes()).unwrap()
    }

    fn op(at: &str, what: CommitWhat) -> CommitOp {
        let entry = EntryId { transfer: T, index: EntryIndex(1) };
        CommitOp { entry, path: path(at), what }
    }

    fn mode(bits: u32) -> Metadata {
        Metadata { mode: Mode::from_bits(bits), mtime: Timestamp::default() }
    }

    fn link(at: &str) -> CommitOp {
        let (target, precondition) = (b"x".to_vec(), Precondition::None);
        op(at, CommitWhat::Link { target, metadata: mode(0o777), precondition })
    }

    fn begin(files: &Files, at: &str) {
        let store = files.store(T).unwrap();
        store.begin_directory(&path(at), Precondition::None).unwrap();
        files.begun.add(T, &path(at));
    }

    /// Torture, seed 20261129812, round 483.
    #[test]
    fn who_ends_a_directory_first_does_not_keep_the_other_out() {
        // Modes count for who has no power over them: of this thread alone.
        let told = std::thread::spawn(|| {
            let none = CapabilitySet::empty();
            let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
            set_capabilities(None, sets).unwrap();
            let dir = tempfile::tempdir().unwrap();
            let store: Arc<dyn Store> = Arc::new(LocalStore::open(dir.path()).unwrap());
            let session = || {
                let pool = Pool::new(ByteCount(1 << 20));
                Files::served(Arc::clone(&store), OwnerId([0; 32]), pool, 10)
            };
            let (one, other) = (session(), session());
            begin(&one, "d");
            begin(&other, "d");
            let end = || op("d", CommitWhat::Directory { metadata: mode(0o555) });
            let mut told = vec![one.commit_all(vec![end()])];
            // Who has not begun it is kept out.
            let stranger = session().commit_all(vec![link("d/s")]);
            assert_eq!(stranger[0].as_ref().unwrap_err().code, Code::PermissionDenied);
            told.push(other.commit_all(vec![link("d/l"), link("d/m")]));
            // As the core has it: when nothing in it is left to be committed.
            told.push(other.commit_all(vec![end()]));
            let after = other.commit_all(vec![link("d/n")]);
            assert_eq!(after[0].as_ref().unwrap_err().code, Code::PermissionDenied);
            assert_eq!(std::fs::read_dir(dir.path().join("d")).unwrap().count(), 2);
            assert_eq!(mode_of(dir.path()), 0o555);
            set_mode_back(dir.path());
            told
        });
        assert!(told.join().unwrap().concat().iter().all(Result::is_ok));
    }

    /// Seeds 9100721, 10076402 and 10089131: an open that was stuck lent what another session had
    /// ended meanwhile.
    #[test]
    fn what_an_open_lent_late_has_its_mode_back_when_its_session_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(dir.path()).unwrap());
        let session = || {
            Files::served(Arc::clone(&store), OwnerId([0; 32]), Pool::new(ByteCount(1 << 20)), 10)
        };
        let (late, other) = (session(), session());
        begin(&other, "d");
        let end = op("d", CommitWhat::Directory { metadata: mode(0o555) });
        assert!(other.commit_all(vec![end]).iter().all(Result::is_ok));
        begin(&late, "d");
        assert_eq!(mode_of(dir.path()), 0o755);
        other.close();
        assert_eq!(mode_of(dir.path()), 0o755, "it is not this one's");
        late.close();
        assert_eq!(mode_of(dir.path()), 0o555);
        set_mode_back(dir.path());
    }

    #[test]
    fn what_is_kept_of_paths_is_bounded() {
        let begun = Begun::default();
        let deep = |nth: u64| path(&format!("{nth}/{}", "d/".repeat(200)));
        (0..2000).for_each(|nth| begun.add(T, &deep(nth)));
        assert!(lock(&begun.0).bytes <= BYTES_MAX);
        let inside = deep(0).join(floe_types::Component::new(b"f").unwrap()).unwrap();
        assert_eq!(begun.above(T, &inside), Some(deep(0)));
        begun.remove(T, &deep(0));
        begun.remove(T, &deep(0));
        assert_eq!(begun.above(T, &inside), None);
        assert!(!begun.take_all().is_empty());
        assert_eq!(lock(&begun.0).bytes, 0);
    }

    fn mode_of(dir: &std::path::Path) -> u32 {
        let permissions = std::fs::metadata(dir.join("d")).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::mode(&permissions) & 0o777
    }

    /// So that it can be removed.
    fn set_mode_back(dir: &std::path::Path) {
        let mode = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o755);
        std::fs::set_permissions(dir.join("d"), mode).unwrap();
    }
}
