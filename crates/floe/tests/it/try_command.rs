//! `floe try`: the main job in one command, and nothing left of it.

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use tempfile::TempDir;

fn floe(temporary: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floe"));
    command.arg("try").env("TMPDIR", temporary.path()).stdin(Stdio::null());
    command
}

fn is_empty(temporary: &TempDir) -> bool {
    fs::read_dir(temporary.path()).unwrap().next().is_none()
}

#[test]
fn kills_its_upload_resumes_it_and_finds_everything_the_same() {
    let temporary = TempDir::new().unwrap();
    let output = floe(&temporary).args(["--size", "64Mi", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let event: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(event["good"], true, "{event}");
    let roots = [&event["root_source"], &event["root_back"], &event["put"]["root"]];
    assert!(roots.iter().all(|root| *root == roots[0] && root.is_string()), "{event}");
    let (stored, kept) = (&event["killed"]["bytes_stored"], &event["put"]["bytes_resumed"]);
    assert!(stored.as_u64().unwrap() >= 32 << 20, "{event}");
    assert!(kept.as_u64() >= stored.as_u64(), "{event}");
    assert!(is_empty(&temporary));
}

#[test]
fn a_file_is_only_read() {
    let (temporary, directory) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = directory.path().join("a name with spaces %");
    fs::write(&file, vec![5; 100_000]).unwrap();
    let output = floe(&temporary).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(blake3::hash(&[5; 100_000]).to_hex().as_str()), "{said}");
    assert!(said.contains("floe serve") && said.contains("floe login"), "{said}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    assert!(is_empty(&temporary));
}

#[test]
fn an_interruption_leaves_nothing() {
    let temporary = TempDir::new().unwrap();
    let mut command = floe(&temporary);
    let mut child = command.args(["--size", "256Mi"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().starts_with("putting it")));
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(is_empty(&temporary));
}

#[test]
fn what_cannot_be_tried_is_said_at_once() {
    let temporary = TempDir::new().unwrap();
    for (argument, status) in [("/none", 3), ("/", 1), ("/dev/null", 1)] {
        let output = floe(&temporary).arg(argument).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{argument}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!said.contains("floe ls") && !said.contains("'-'"), "{said}");
        assert!(is_empty(&temporary));
    }
    let output = floe(&temporary).args(["--size", "9000T"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn a_file_that_may_not_be_read_is_said_at_once() {
    let (temporary, directory) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let file = directory.path().join("secret");
    fs::write(&file, b"x").unwrap();
    for (path, mode) in [(file.as_path(), 0o000), (directory.path(), 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let mut command = floe(&temporary);
    if rustix::process::geteuid().is_root() {
        // Root may read anything: be somebody else.
        chown(temporary.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }
    let Ok(output) = command.arg(&file).output() else {
        crate::stage::skip("nobody cannot run the binary here");
        return;
    };
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("secret") && said.contains("permission denied"), "{said}");
    assert!(is_empty(&temporary));
}

const NOBODY: u32 = 65_534;
