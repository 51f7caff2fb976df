//! `cargo xtask fuzz`: builds a coverage-guided fuzzer with the stable compiler and runs it.
//!
//! The compiler's coverage pass is switched on by flags that stable takes; libFuzzer itself comes
//! with the crate libfuzzer-sys and needs a C++ compiler. What a campaign finds stays below
//! `target/fuzz`: `corpus/TARGET` grows, `artifacts/TARGET` holds inputs that failed. Nothing is
//! written to `fuzz/corpus`, which ordinary tests replay, but by `keep`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// How it is called.
pub const USAGE: &str = "\
usage: cargo xtask fuzz                      the targets
       cargo xtask fuzz TARGET|all [SECONDS] [-- LIBFUZZER-FLAG...]
                                             a campaign, 600 s a target unless said otherwise
       cargo xtask fuzz TARGET FILE...       run these inputs
       cargo xtask fuzz keep TARGET          add what covers more to fuzz/corpus/TARGET";

/// Runs what the arguments ask for.
pub fn run(root: &Path, arguments: &[&str]) -> ExitCode {
    match attempt(root, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("fuzz: {why}");
            ExitCode::FAILURE
        }
    }
}

fn attempt(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let targets = targets(root)?;
    let (before, flags) = match arguments.iter().position(|argument| *argument == "--") {
        Some(at) => (&arguments[..at], &arguments[at + 1..]),
        None => (arguments, &[][..]),
    };
    let known = |name: &str| match targets.iter().any(|target| target == name) {
        true => Ok(()),
        false => Err(format!("no target \"{name}\"\n{USAGE}")),
    };
    match before {
        [] => {
            println!("{USAGE}\n\ntargets: {}", targets.join(", "));
            Ok(())
        }
        ["keep", target] => known(target).and_then(|()| keep(root, target)),
        ["all"] => campaigns(root, &targets, SECONDS, flags),
        ["all", seconds] => campaigns(root, &targets, parse(seconds)?, flags),
        [target] => known(target).and_then(|()| campaign(root, target, SECONDS, flags)),
        [target, seconds] if parse(seconds).is_ok() => {
            known(target).and_then(|()| campaign(root, target, parse(seconds)?, flags))
        }
        [target, files @ ..] => known(target).and_then(|()| {
            let fuzzer = build(root, target)?;
            perform(Command::new(fuzzer).args(flags).args(files))
        }),
    }
}

fn campaigns(root: &Path, targets: &[String], seconds: u32, flags: &[&str]) -> Result<(), String> {
    let failed: Vec<_> =
        targets.iter().filter_map(|target| campaign(root, target, seconds, flags).err()).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\nfuzz: ")) }
}

/// Runs one fuzzer for so long. What it fails on is kept.
fn campaign(root: &Path, target: &str, seconds: u32, flags: &[&str]) -> Result<(), String> {
    let fuzzer = build(root, target)?;
    let (grown, artifacts) = (place(root, "corpus", target)?, place(root, "artifacts", target)?);
    let seeds = root.join("fuzz/corpus").join(target);
    let mut prefix = OsString::from("-artifact_prefix=");
    prefix.push(artifacts.join(""));
    let mut command = Command::new(fuzzer);
    command.arg(format!("-max_total_time={seconds}")).arg(prefix).args(ALWAYS).args(flags);
    command.arg(grown);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    perform(&mut command)
        .map_err(|why| format!("{target}: {why}; what it failed on: {}", artifacts.display()))
}

/// Adds inputs of the grown corpus that reach code which the kept ones do not.
fn keep(root: &Path, target: &str) -> Result<(), String> {
    let fuzzer = build(root, target)?;
    let kept = root.join("fuzz/corpus").join(target);
    fs::create_dir_all(&kept).map_err(|why| format!("make {}: {why}", kept.display()))?;
    let grown = place(root, "corpus", target)?;
    let flags = ["-set_cover_merge=1", "-use_counters=0", "-max_len=4096"];
    perform(Command::new(fuzzer).args(flags).arg(kept).arg(grown))
}

/// Builds a fuzzer, apart from all other builds: its flags differ.
fn build(root: &Path, target: &str) -> Result<PathBuf, String> {
    let host = host()?;
    let place = root.join("target/fuzz");
    let mut command = Command::new(cargo());
    command
        .current_dir(root)
        .env("RUSTFLAGS", COVERAGE)
        .args(["build", "--locked", "--package", "floe-fuzz", "--features", "libfuzzer"])
        .args(["--profile", "fuzz", "--bin", target, "--target", &host, "--target-dir"])
        .arg(&place);
    perform(&mut command)?;
    Ok(place.join(host).join("fuzz").join(target))
}

/// The names of all targets, sorted.
fn targets(root: &Path) -> Result<Vec<String>, String> {
    let dir = root.join("fuzz/fuzz_targets");
    let blame = |why: io::Error| format!("list {}: {why}", dir.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(&dir).map_err(blame)? {
        let name = entry.map_err(blame)?.file_name().to_string_lossy().into_owned();
        found.extend(name.strip_suffix(".rs").map(str::to_owned));
    }
    found.sort();
    Ok(found)
}

/// A directory of what campaigns leave.
fn place(root: &Path, what: &str, target: &str) -> Result<PathBuf, String> {
    let dir = root.join("target/fuzz").join(what).join(target);
    fs::create_dir_all(&dir).map_err(|why| format!("make {}: {why}", dir.display()))?;
    Ok(dir)
}

/// The platform that the compiler runs on: code of the build itself is not instrumented then.
fn host() -> Result<String, String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let told = Command::new(rustc).arg("-vV").output();
    let told = told.map_err(|why| format!("run rustc: {why}"))?;
    let text = String::from_utf8_lossy(&told.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not name its host".to_owned())
}

fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn parse(seconds: &str) -> Result<u32, String> {
    seconds.parse().map_err(|_| format!("not a number of seconds: \"{seconds}\"\n{USAGE}"))
}

fn perform(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{name}: {status}")),
        Err(why) => Err(format!("{name}: {why}")),
    }
}

/// How long a campaign is unless said otherwise.
const SECONDS: u32 = 600;
/// An input that takes longer than 20 s, or more than 1 GiB, is one that failed.
const ALWAYS: &[&str] = &["-timeout=20", "-rss_limit_mb=1024", "-len_control=20"];
/// What cargo-fuzz gives the compiler too: counters of edges, and the operands of comparisons.
const COVERAGE: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fuzzer_is_in_the_manifest() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        let names: Vec<_> =
            manifest.lines().filter_map(|line| line.strip_prefix("name = \"")).skip(1).collect();
        let mut names: Vec<_> = names.iter().map(|name| name.trim_end_matches('"')).collect();
        names.sort_unstable();
        assert_eq!(targets(root).unwrap(), names);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for wrong in [&["nothing"][..], &["nothing", "5"], &["all", "soon"], &["keep", "nothing"]] {
            assert!(attempt(root, wrong).is_err(), "{wrong:?}");
        }
    }
}
