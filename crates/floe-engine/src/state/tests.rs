use super::*;
use std::os::unix::fs::PermissionsExt;

fn fresh() -> (tempfile::TempDir, State) {
    let dir = tempfile::tempdir().unwrap();
    let state = State::open(&dir.path().join("a/state")).unwrap();
    (dir, state)
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn makes_a_private_directory_and_private_files() {
    let (_dir, state) = fresh();
    assert_eq!(mode(state.path()), 0o700);
    state.replace("x", b"1").unwrap();
    assert_eq!(mode(&state.path().join("x")), 0o600);
    assert_eq!(state.create("x", b"2").unwrap(), Created::Before);
    assert_eq!(state.read("x", Privacy::Secret).unwrap().unwrap().as_slice(), b"1");
    assert_eq!(state.read("y", Privacy::Secret).unwrap(), None);
    let names = std::fs::read_dir(state.path()).unwrap().count();
    assert_eq!(names, 1, "nothing is left beside");
}

#[test]
fn looks_into_what_stands_and_makes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    assert_eq!(State::open_standing(&none).unwrap_err().code, Code::NotFound);
    assert!(!none.exists());
    let state = State::open(&none).unwrap();
    state.replace("x", b"1").unwrap();
    assert!(State::open_standing(&none).unwrap().read("x", Privacy::Any).unwrap().is_some());
}

#[test]
fn refuses_what_others_can_reach() {
    let (_dir, state) = fresh();
    state.replace("key", b"1").unwrap();
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(state.path().join("key"), open).unwrap();
    assert_eq!(state.read("key", Privacy::Secret).unwrap_err().code, Code::State);
    assert!(state.read("key", Privacy::Any).is_ok());
    std::fs::set_permissions(state.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let fault = State::open(state.path()).unwrap_err();
    assert_eq!(fault.code, Code::State);
    assert!(fault.detail.contains("others may write"), "{fault}");
}

#[test]
fn refuses_a_path_that_is_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), b"").unwrap();
    for path in ["file", "file/below"] {
        assert_eq!(State::open(&dir.path().join(path)).unwrap_err().code, Code::State);
    }
}

#[test]
fn refuses_a_link_a_fifo_and_a_huge_file() {
    let (_dir, state) = fresh();
    std::os::unix::fs::symlink("/etc/passwd", state.path().join("link")).unwrap();
    assert_eq!(state.read("link", Privacy::Any).unwrap_err().code, Code::State);
    let fifo = state.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, PRIVATE, 0).unwrap();
    assert_eq!(state.read("fifo", Privacy::Any).unwrap_err().code, Code::State);
    File::create(state.path().join("huge")).unwrap().set_len(1 << 40).unwrap();
    assert_eq!(state.read("huge", Privacy::Any).unwrap_err().code, Code::State);
}

#[test]
fn client_id_is_made_once_by_many_at_once() {
    let (_dir, state) = fresh();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| State::open(state.path()).unwrap().client_id()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_ne!(ids[0], [0; 16]);
    std::fs::write(state.path().join("client-id"), "short").unwrap();
    assert_eq!(state.client_id().unwrap_err().code, Code::State);
}

#[test]
fn a_full_disk_is_told_as_one() {
    let (_dir, state) = fresh();
    let fault = |why| state.failed("write", "x", why);
    let path = state.path().join("x").display().to_string();
    let full = format!("write \"{path}\": no space left");
    assert!(fault(ErrorKind::StorageFull).to_string().starts_with(&full));
    assert_eq!(fault(ErrorKind::QuotaExceeded).code, Code::Quota);
    assert_eq!(fault(ErrorKind::PermissionDenied).code, Code::State);
}

#[test]
fn stamp_changes_when_a_file_is_replaced() {
    let (_dir, state) = fresh();
    assert_eq!(state.stamp("x").unwrap(), None);
    state.replace("x", b"1").unwrap();
    let first = state.stamp("x").unwrap();
    assert_eq!(state.read_stamped("x", Privacy::Any).unwrap().map(|file| file.stamp), first);
    let held = File::open(state.path().join("x")).unwrap();
    state.replace("x", b"2").unwrap();
    assert_ne!(state.stamp("x").unwrap(), first);
    drop(held);
}

#[test]
fn a_second_identical_transfer_is_refused_with_the_pid() {
    let (_dir, state) = fresh();
    let lock = state.lock_transfer(b"put a b").unwrap();
    let other = State::open(state.path()).unwrap();
    let fault = other.lock_transfer(b"put a b").unwrap_err();
    assert_eq!(fault.code, Code::AlreadyRunning);
    assert_eq!(fault.detail, format!("pid {}", std::process::id()));
    other.lock_transfer(b"put a c").unwrap();
    drop(lock);
    other.lock_transfer(b"put a b").unwrap();
    let left = std::fs::read_dir(state.path().join("locks")).unwrap().count();
    assert_eq!(left, 0, "a lock leaves no file");
}

#[test]
fn a_lock_has_one_holder_however_many_try() {
    let (_dir, state) = fresh();
    let holders = std::sync::atomic::AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    if let Ok(_lock) = state.lock_transfer(b"k") {
                        use std::sync::atomic::Ordering::SeqCst;
                        assert_eq!(holders.fetch_add(1, SeqCst), 0);
                        holders.fetch_sub(1, SeqCst);
                    }
                }
            });
        }
    });
}
