//! Bugs on purpose: each patch of `planted/` is applied to a copy of the repository, and the seeds
//! must catch it. A machine that finds no bug is suspect.
//!
//! The copy is kept between patches, so that only what a patch touches is built again.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What became of one bug.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Caught {
    /// By the seeds, and how they said it.
    BySeeds(String),
    /// By the small world that is explored.
    ByExploring(String),
    /// Not at all.
    No,
    /// It could not be applied, or not be built.
    NotBuilt(String),
}

/// The bugs, by name.
///
/// # Errors
/// The system's.
pub fn patches(repository: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(repository.join(PATCHES))? {
        found.push(entry?.path());
    }
    found.retain(|path| path.extension().is_some_and(|ext| ext == "patch"));
    found.sort();
    Ok(found)
}

/// Plants one bug in a fresh copy beneath `scratch`, builds it, and runs so many seeds.
///
/// # Errors
/// The system's.
pub fn plant(repository: &Path, scratch: &Path, patch: &Path, seeds: u64) -> io::Result<Caught> {
    let tree = scratch.join("tree");
    copy(repository, &tree)?;
    let applied = Command::new("git")
        .args(["apply", "--whitespace=nowarn"])
        .arg(patch)
        .env("GIT_CEILING_DIRECTORIES", scratch)
        .current_dir(&tree)
        .output()?;
    if !applied.status.success() {
        return Ok(Caught::NotBuilt(last_line(&applied.stderr)));
    }
    let built = cargo(&tree, scratch).args(["build", "--release", "-p", "floe-sim"]).output()?;
    if !built.status.success() {
        return Ok(Caught::NotBuilt(last_line(&built.stderr)));
    }
    let program = scratch.join("target/release/floe-sim");
    let count = seeds.to_string();
    let ran = Command::new(&program)
        .args(["seeds", "--failures", "1", "--count", &count])
        .stderr(Stdio::null())
        .output()?;
    if !ran.status.success() {
        return Ok(Caught::BySeeds(first_line(&ran.stdout)));
    }
    let ran = Command::new(&program).arg("explore").stderr(Stdio::null()).output()?;
    let broken = String::from_utf8_lossy(&ran.stdout);
    if !ran.status.success() {
        let what = broken.lines().find(|line| !line.contains("distinct states"));
        return Ok(Caught::ByExploring(what.unwrap_or_default().to_owned()));
    }
    Ok(Caught::No)
}

fn cargo(tree: &Path, scratch: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(tree).env("CARGO_TARGET_DIR", scratch.join("target"));
    // A bug need not run fast: only what it touches is built, and soon.
    let quick = [("LTO", "off"), ("CODEGEN_UNITS", "16"), ("DEBUG", "0"), ("INCREMENTAL", "true")];
    for (name, value) in quick {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    cargo
}

/// Copies what git knows, where it differs from what is there: unchanged files keep their times.
fn copy(repository: &Path, tree: &Path) -> io::Result<()> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(repository).output()?;
    let names = String::from_utf8_lossy(&listed.stdout).into_owned();
    for name in names.split_terminator('\0') {
        let (from, to) = (repository.join(name), tree.join(name));
        let Ok(bytes) = std::fs::read(&from) else { continue };
        if std::fs::read(&to).is_ok_and(|old| old == bytes) {
            continue;
        }
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&to, bytes)?;
    }
    Ok(())
}

fn first_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().next().unwrap_or_default().to_owned()
}

fn last_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).lines().last().unwrap_or_default().to_owned()
}

const PATCHES: &str = "crates/floe-sim/planted";
