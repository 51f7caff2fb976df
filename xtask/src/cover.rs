//! `cargo xtask cover`: which lines of floe-proto and floe-store the tests below them and around
//! them run, file by file; it fails where either has less than [`FLOOR_PERCENT`].
//!
//! The compiler counts (`-C instrument-coverage`), and only in crates of this repository: cargo
//! calls this program in place of rustc for those, so dependencies are built once for all. LLVM's
//! own tools read the counts. A line that several copies of generic code share counts where any
//! copy ran. Lines of tests do not count.

mod lcov; // counts by line, as llvm-cov writes them
mod report; // what they come to
mod tools; // LLVM's tools, of the compiler's LLVM

use crate::{modules, shape::Shape, tree};
use report::{File, Report};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// How it is called.
pub const USAGE: &str = "\
usage: cargo xtask cover                     run the tests; lines that ran, by file
       cargo xtask cover again               the figures of the last run once more";

/// Less than so much of a crate, and the command fails.
const FLOOR_PERCENT: usize = 90;
/// The crates that are looked at.
const CRATES: [&str; 2] = ["floe-proto", "floe-store"];
/// Whose tests are run: those two, and what is built on them and checks them. The tests of
/// floe-fuzz replay its corpora.
const PACKAGES: [&str; 5] = ["floe-proto", "floe-store", "floe-engine", "floe-fuzz", "floe-sim"];
/// How many seeds of the simulation are run besides.
const SEEDS: &str = "300";
/// Set where this program stands in for rustc.
const STANDS_IN: &str = "FLOE_COVER_RUSTC";

/// Runs what the arguments ask for.
pub fn run(root: &Path, arguments: &[&str]) -> ExitCode {
    let done = match arguments {
        [] => measure(root).and_then(|()| tell(root)),
        ["again"] => tell(root),
        _ => Err(format!("not understood\n{USAGE}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("cover: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What this program does where cargo calls it as rustc for a crate of this repository.
pub fn stand_in() -> Option<ExitCode> {
    std::env::var_os(STANDS_IN)?;
    let mut words = std::env::args_os().skip(1);
    let mut command = Command::new(words.next()?);
    let words: Vec<OsString> = words.collect();
    // Questions about the compiler name no crate.
    if words.iter().any(|word| word == "--crate-name") {
        command.arg("-Cinstrument-coverage");
    }
    Some(match command.args(words).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("cover: run rustc: {why}");
            ExitCode::FAILURE
        }
    })
}

/// Runs everything and leaves the counts by line in a file.
fn measure(root: &Path) -> Result<(), String> {
    // Before the long part: without them it would be for nothing.
    let tools = tools::find()?;
    let place = place(root);
    let counts = place.join("counts");
    match fs::remove_dir_all(&counts) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            return Err(format!("remove {}: {why}", counts.display()));
        }
        _ => {}
    }
    fs::create_dir_all(&counts).map_err(|why| format!("make {}: {why}", counts.display()))?;
    let programs = build(root, &counts)?;
    let simulation =
        programs.iter().find(|program| program.file_name() == Some("floe-sim".as_ref()));
    let simulation = simulation.ok_or("cargo did not build floe-sim")?;
    perform(&mut tests(root, &counts)?)?;
    let mut seeds = Command::new(simulation);
    seeds.args(["seeds", "--count", SEEDS]).env("LLVM_PROFILE_FILE", pattern(&counts));
    perform(&mut seeds)?;
    let merged = place.join("merged.profdata");
    tools.merge(&counts, &merged)?;
    let sources: Vec<PathBuf> =
        CRATES.iter().map(|name| root.join("crates").join(name).join("src")).collect();
    tools.export(&merged, &programs, &sources, &place.join("lcov"))
}

/// Says what the counts of the last run come to, and writes the lines that did not run.
fn tell(root: &Path) -> Result<(), String> {
    let place = place(root);
    let (lcov, unrun) = (place.join("lcov"), place.join("unrun"));
    let text = fs::read_to_string(&lcov)
        .map_err(|why| format!("read {}: {why}; 'cargo xtask cover' makes it", lcov.display()))?;
    let report = Report { files: files(root, &lcov::parse(&text)?)? };
    print!("{}", report.table());
    fs::write(&unrun, report.unrun()).map_err(|why| format!("write {}: {why}", unrun.display()))?;
    println!("\nlines that did not run: {}", unrun.display());
    let below: Vec<&str> =
        CRATES.into_iter().filter(|name| report.of(name).is_below(FLOOR_PERCENT)).collect();
    match below[..] {
        [] => Ok(()),
        _ => Err(format!("below {FLOOR_PERCENT} %: {}", below.join(", "))),
    }
}

/// The files of the crates looked at, with the counts of their lines that are no tests.
fn files(root: &Path, counts: &BTreeMap<PathBuf, lcov::Counts>) -> Result<Vec<File>, String> {
    let tree = tree::read(root).map_err(|why| why.to_string())?;
    let mut files = Vec::new();
    for package in tree.packages.iter().filter(|package| CRATES.contains(&package.name())) {
        let mut shapes: Vec<_> = package.sources.iter().map(Shape::of).collect();
        modules::mark_tests(package, &mut shapes);
        for shape in shapes {
            let Some(counts) = counts.get(&root.join(&shape.source.path)) else { continue };
            let tests: BTreeSet<usize> = shape.test_lines().into_iter().flatten().collect();
            let counts = counts.iter().filter(|(line, _)| !tests.contains(line));
            let counts: lcov::Counts = counts.map(|(line, count)| (*line, *count)).collect();
            if !counts.is_empty() {
                let source = shape.source.clone();
                files.push(File { package: package.name().to_owned(), source, counts });
            }
        }
    }
    Ok(files)
}

/// Builds the tests and the simulation; the programs that came out.
fn build(root: &Path, counts: &Path) -> Result<Vec<PathBuf>, String> {
    let mut command = tests(root, counts)?;
    command.args(["--no-run", "--message-format=json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|why| format!("run cargo: {why}"))?;
    if !output.status.success() {
        return Err(format!("build the tests: {}", output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(executable).map(PathBuf::from).collect())
}

/// The program that a message of cargo names.
fn executable(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(r#""executable":""#)?;
    rest.split_once('"').map(|(path, _)| path)
}

/// `cargo test` of all that counts.
fn tests(root: &Path, counts: &Path) -> Result<Command, String> {
    let own = std::env::current_exe().map_err(|why| format!("find this program: {why}"))?;
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(root)
        .env("RUSTC_WORKSPACE_WRAPPER", own)
        .env(STANDS_IN, "1")
        .env("LLVM_PROFILE_FILE", pattern(counts))
        .args(["test", "--release", "--locked", "--tests"]);
    for package in PACKAGES {
        command.args(["-p", package]);
    }
    Ok(command)
}

/// Where programs write their counts: two files a program, into which its runs add.
fn pattern(counts: &Path) -> OsString {
    counts.join("%2m.profraw").into_os_string()
}

fn place(root: &Path) -> PathBuf {
    root.join("target/cover")
}

fn perform(command: &mut Command) -> Result<(), String> {
    let name = Path::new(command.get_program()).file_name().unwrap_or(OsStr::new("")).to_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{}: {status}", name.display())),
        Err(why) => Err(format!("run {}: {why}", name.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_read_out_of_messages_of_cargo() {
        let test = r#"{"reason":"compiler-artifact","executable":"/t/deps/it-0f","fresh":true}"#;
        assert_eq!(executable(test), Some("/t/deps/it-0f"));
        let library = r#"{"reason":"compiler-artifact","executable":null,"fresh":true}"#;
        assert_eq!(executable(library), None);
    }

    #[test]
    fn lines_of_tests_do_not_count() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let path = root.join("crates/floe-store/src/journal.rs");
        let text = fs::read_to_string(&path).unwrap();
        let tests = 1 + text.lines().position(|line| line == "mod tests {").unwrap();
        let all = (1..=text.lines().count()).map(|line| (line, 0)).collect();
        let files = files(root, &BTreeMap::from([(path, all)])).unwrap();
        let [file] = &files[..] else { panic!("one file has counts: {}", files.len()) };
        assert!(file.counts.contains_key(&1) && file.counts.contains_key(&(tests - 2)));
        assert!(!file.counts.contains_key(&tests) && !file.counts.contains_key(&(tests + 5)));
    }
}
