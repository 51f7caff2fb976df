//! Directories that a session's transfers have begun, and not ended.
//!
//! A directory whose mode keeps its owner out is lent while entries are put into it. Another
//! session that puts the same one may end it first, with that mode: whoever has entries left for it
//! begins it again. What a transfer has not ended when it is over gets back the mode it had.

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

    /// Those of one transfer, or of all; what is in another comes behind it.
    fn take(&self, transfer: Option<TransferId>) -> BTreeSet<(TransferId, ObjectPath)> {
        let mut kept = lock(&self.0);
        let all = std::mem::take(&mut kept.all);
        let taken = |(of, _): &(TransferId, ObjectPath)| transfer.is_none_or(|it| it == *of);
        let (taken, left) = all.into_iter().partition(taken);
        kept.all = left;
        kept.bytes = kept.all.iter().map(|(_, path)| path.footprint()).sum();
        taken
    }

    /// Those of a transfer's that `path` is in, the outermost first.
    fn above(&self, transfer: TransferId, path: &ObjectPath) -> Vec<ObjectPath> {
        let parent = |path: &ObjectPath| path.split_last().map(|(above, _)| above);
        let above = std::iter::successors(parent(path), parent).map(|above| (transfer, above));
        let kept = lock(&self.0);
        let mut begun: Vec<_> = above.filter(|one| kept.all.contains(one)).collect();
        begun.reverse();
        begun.into_iter().map(|(_, above)| above).collect()
    }
}

impl Files {
    /// What `attempt` says of `path` in place of a refusal, where what it is in may be begun again.
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
            let above = self.begun.above(transfer, path);
            let begin = |path| store.begin_directory(path, Precondition::None).is_ok();
            if above.is_empty() || !above.iter().all(begin) {
                break;
            }
            answer = attempt();
        }
        answer
    }

    /// Whether a transfer has begun directories that it has not ended.
    pub fn has_begun(&self, transfer: TransferId) -> bool {
        lock(&self.begun.0).all.iter().any(|(of, _)| *of == transfer)
    }

    /// A transfer is over, or all are: what it has not ended gets back the mode it had. An open
    /// that came late may have lent what another session had ended.
    pub fn leave_begun(&self, transfer: Option<TransferId>) {
        // What is in another first: that may be searched yet.
        for (transfer, path) in self.begun.take(transfer).into_iter().rev() {
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
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
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

    fn session(store: &Arc<dyn Store>) -> Files {
        let pool = Pool::new(ByteCount(1 << 20));
        Files::served(Arc::clone(store), OwnerId([0; 32]), pool, 10)
    }

    fn begin(files: &Files, at: &str) {
        let store = files.store(T).unwrap();
        store.begin_directory(&path(at), Precondition::None).unwrap();
        files.begun.add(T, &path(at));
    }

    /// Modes count for who has no power over them: a thread of its own.
    fn powerless<T: Send + 'static>(does: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(|| {
            let none = CapabilitySet::empty();
            let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
            set_capabilities(None, sets).unwrap();
            does()
        });
        thread.join().unwrap()
    }

    /// Torture, seed 20261129812, round 483.
    #[test]
    fn who_ends_a_directory_first_does_not_keep_the_other_out() {
        let told = powerless(|| {
            let dir = tempfile::tempdir().unwrap();
            let store: Arc<dyn Store> = Arc::new(LocalStore::open(dir.path()).unwrap());
            let (one, other) = (session(&store), session(&store));
            begin(&one, "d");
            begin(&other, "d");
            let end = || op("d", CommitWhat::Directory { metadata: mode(0o555) });
            let mut told = vec![one.commit_all(vec![end()])];
            // Who has not begun it is kept out.
            let stranger = session(&store).commit_all(vec![link("d/s")]);
            assert_eq!(stranger[0].as_ref().unwrap_err().code, Code::PermissionDenied);
            told.push(other.commit_all(vec![link("d/l"), link("d/m")]));
            // As the core has it: when nothing in it is left to be committed.
            told.push(other.commit_all(vec![end()]));
            let after = other.commit_all(vec![link("d/n")]);
            assert_eq!(after[0].as_ref().unwrap_err().code, Code::PermissionDenied);
            assert_eq!(std::fs::read_dir(dir.path().join("d")).unwrap().count(), 2);
            assert_eq!(mode_of(&dir.path().join("d")), 0o555);
            set_mode(&dir.path().join("d"), 0o755); // so that it can be removed
            told
        });
        assert!(told.concat().iter().all(Result::is_ok));
    }

    /// Seeds 9100721, 10076402 and 10089131: an open that was stuck lent what another session had
    /// ended meanwhile.
    #[test]
    fn what_an_open_lent_late_has_its_mode_back_when_its_session_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(dir.path()).unwrap());
        let (late, other) = (session(&store), session(&store));
        begin(&other, "d");
        let end = op("d", CommitWhat::Directory { metadata: mode(0o555) });
        assert!(other.commit_all(vec![end]).iter().all(Result::is_ok));
        begin(&late, "d");
        assert_eq!(mode_of(&dir.path().join("d")), 0o755);
        other.close();
        assert_eq!(mode_of(&dir.path().join("d")), 0o755, "it is not this one's");
        late.close();
        assert_eq!(mode_of(&dir.path().join("d")), 0o555);
        set_mode(&dir.path().join("d"), 0o755); // so that it can be removed
    }

    /// Seed 12059823: a commit that was stuck until the next session had committed all of it.
    #[test]
    fn what_a_lost_session_commits_late_changes_nothing_that_the_next_one_committed() {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path().join("d");
        let store: Arc<dyn Store> = Arc::new(LocalStore::open(dir.path()).unwrap());
        let (lost, next) = (session(&store), session(&store));
        begin(&lost, "d");
        begin(&next, "d");
        let end = |bits| op("d", CommitWhat::Directory { metadata: mode(bits) });
        assert_eq!(next.commit_all(vec![link("d/l"), end(0o750)]), [Ok(()), Ok(())]);
        assert!(lost.cut_off() && !lost.cut_off());
        let told = lost.commit_all(vec![link("d/l"), link("d/m"), end(0o700)]);
        lost.close();
        assert!(told.iter().all(|it| it.as_ref().unwrap_err().code == Code::Interrupted));
        assert_eq!(std::fs::read_dir(&d).unwrap().count(), 1);
        assert_eq!(std::fs::metadata(&d).unwrap().modified().unwrap(), std::time::UNIX_EPOCH);
        assert_eq!(mode_of(&d), 0o750);
    }

    /// One that cannot be searched keeps all out of what is in it.
    #[test]
    fn what_a_session_leaves_is_begun_again_by_another_with_all_that_it_is_in() {
        powerless(|| {
            let dir = tempfile::tempdir().unwrap();
            let (d, e) = (dir.path().join("d"), dir.path().join("d/e"));
            std::fs::create_dir_all(&e).unwrap();
            set_mode(&e, 0o555);
            set_mode(&d, 0o644);
            let store: Arc<dyn Store> = Arc::new(LocalStore::open(dir.path()).unwrap());
            let (lost, next) = (session(&store), session(&store));
            for (files, at) in [(&lost, "d"), (&next, "d"), (&lost, "d/e"), (&next, "d/e")] {
                begin(files, at);
            }
            lost.close();
            assert_eq!(mode_of(&dir.path().join("d")), 0o644);
            let told = next.commit_all(vec![link("d/e/l")]);
            assert_eq!(told, [Ok(())]);
            next.close();
            assert_eq!(mode_of(&d), 0o644);
            set_mode(&d, 0o755);
            assert_eq!(mode_of(&e), 0o555);
            set_mode(&e, 0o755);
        });
    }

    #[test]
    fn what_is_kept_of_paths_is_bounded() {
        let begun = Begun::default();
        let deep = |nth: u64| path(&format!("{nth}/{}", "d/".repeat(200)));
        (0..2000).for_each(|nth| begun.add(T, &deep(nth)));
        assert!(lock(&begun.0).bytes <= BYTES_MAX);
        let inside = deep(0).join(floe_types::Component::new(b"f").unwrap()).unwrap();
        assert_eq!(begun.above(T, &inside), [deep(0)]);
        begun.add(T, &path("0/d"));
        assert_eq!(begun.above(T, &inside), [path("0/d"), deep(0)]);
        for at in [deep(0), deep(0), path("0/d")] {
            begun.remove(T, &at);
        }
        assert_eq!(begun.above(T, &inside), []);
        assert!(begun.take(Some(TransferId(9))).is_empty() && lock(&begun.0).bytes > 0);
        assert!(!begun.take(Some(T)).is_empty());
        assert_eq!(lock(&begun.0).bytes, 0);
    }

    fn mode_of(path: &Path) -> u32 {
        PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
    }

    fn set_mode(path: &Path, bits: u32) {
        std::fs::set_permissions(path, PermissionsExt::from_mode(bits)).unwrap();
    }
}
