//! `floe torture`: finds nothing where nothing is wrong, and what is wrong where something is.

use crate::stage::wait_until;
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

fn floe(dir: &TempDir, flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_floe"));
    command.arg("torture").arg(dir.path()).args(flags).stdin(Stdio::null());
    command
}

fn is_empty(dir: &TempDir) -> bool {
    fs::read_dir(dir.path()).unwrap().next().is_none()
}

fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn summary(output: &Output) -> Value {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events[0]["event"], "seed", "{said}");
    let last = events.last().unwrap();
    assert_eq!(last["event"], "summary", "{said}");
    last.clone()
}

#[test]
fn a_short_torture_of_a_fixed_seed_and_of_another_one_breaks_nothing() {
    for flags in [&["--seed", "1"][..], &[]] {
        let dir = TempDir::new().unwrap();
        let limits = ["--time", "10s", "--size", "24Mi", "--json"];
        let output = floe(&dir, flags).args(limits).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", said(&output));
        let summary = summary(&output);
        println!("{summary}");
        assert_eq!(summary["broken"], 0);
        assert!(summary["counts"]["rounds"].as_u64() >= Some(1), "{summary}");
        let done = summary["counts"]["transfers done"].as_u64();
        let refused = summary["counts"]["refused by --no-clobber"].as_u64().unwrap_or(0);
        assert!(done.unwrap_or(0) + refused >= 1, "{summary}");
        assert!(is_empty(&dir));
    }
}

/// Every file beneath a directory that stands under a final name of a server.
fn served(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && entry.file_name() != ".floe" => open.push(path),
                Ok(kind) if kind.is_file() => found.push(path),
                _ => {}
            }
        }
    }
    found.retain(|path| path.components().any(|name| name.as_os_str() == "served"));
    found
}

#[test]
fn an_object_that_is_cut_short_behind_its_back_is_reported_with_a_command_that_does_it_again() {
    let dir = TempDir::new().unwrap();
    let flags = ["--seed", "5", "--time", "10m", "--size", "4Mi", "--jobs", "1"];
    let mut child =
        floe(&dir, &flags).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("a promise broke", || {
        for path in served(dir.path()) {
            // It may just be gone, with its round.
            if let Ok(file) = File::options().write(true).open(path)
                && file.metadata().is_ok_and(|found| found.len() > 1)
            {
                file.set_len(1).unwrap();
            }
        }
        child.try_wait().unwrap().is_some()
    });
    let output = child.wait_with_output().unwrap();
    let said = said(&output);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.starts_with("torture of") && said.contains("seed 5\n"), "{said}");
    let broken = said.lines().find(|line| line.starts_with("BROKEN: round ")).expect(&said);
    assert!(broken.contains("/served/") && broken.contains("file of 1 bytes"), "{said}");
    let round = broken.split([' ', ':']).nth(3).unwrap();
    let last = said.lines().last().unwrap();
    assert!(last.contains(&format!("--seed 5 --round {round} --size 4194304")), "{said}");
    let kept = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
    assert!(last.contains(kept.to_str().unwrap()), "{said}");
    assert!(kept.join(format!("round-{round}/trace")).is_file());
}

#[test]
fn an_interruption_of_a_torture_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let mut child = floe(&dir, &["--size", "8Mi"]).stderr(Stdio::null()).spawn().unwrap();
    wait_until("something is served", || !served(dir.path()).is_empty());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(is_empty(&dir));
}

#[test]
fn what_cannot_be_tortured_is_said_at_once() {
    let dir = TempDir::new().unwrap();
    for (flags, status) in [
        (&["--size", "9000T"][..], 7),
        (&["--time", "soon"], 2),
        (&["--size", "0"], 2),
        (&["--jobs", "0"], 2),
        (&["--round", "1", "--time", "1m"], 2),
    ] {
        let output = floe(&dir, flags).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{flags:?}: {}", said(&output));
        assert!(is_empty(&dir));
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_floe"));
    let output = command.args(["torture", "/none"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
}
