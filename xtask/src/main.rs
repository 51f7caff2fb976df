//! Chores of this repository: `cargo xtask tidy` checks what the compiler does not, `cargo xtask
//! fuzz` runs a fuzzer, `cargo xtask cover` tells which lines tests run, `cargo xtask planted`
//! which layer of tests notices which bug.
//!
//! Only std, so that it builds in a moment on any machine. CONTRIBUTING.md says what the rules are
//! for; the modules below rules/ say what exactly they check.

mod finding; // what a rule found
mod lex; // source as tokens
mod tree; // the files of the repository
mod shape; // functions, names, modules and paths of one file
mod modules; // the modules of a package, and where a path leads
mod rules; // one module a rule
mod tidy; // all of them
mod fuzz; // fuzzers, built and run
mod cover; // lines that tests run
mod planted; // bugs on purpose, and what notices them

use std::path::{Path, PathBuf};
use std::process::ExitCode;

const TIDY: &str = "usage: cargo xtask tidy";

fn main() -> ExitCode {
    if let Some(status) = cover::stand_in() {
        return status;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["tidy"] => run_tidy(&root()),
        ["fuzz", ref rest @ ..] => fuzz::run(&root(), rest),
        ["cover", ref rest @ ..] => cover::run(&root(), rest),
        ["planted", ref rest @ ..] => planted::run(&root(), rest),
        ["--help" | "-h"] => {
            println!("{}", usage());
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("{}", usage());
            ExitCode::from(2)
        }
    }
}

fn usage() -> String {
    [TIDY, fuzz::USAGE, cover::USAGE, planted::USAGE].join("\n")
}

/// The repository: the directory above this package's own.
fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

fn run_tidy(root: &Path) -> ExitCode {
    let tree = match tree::read(root) {
        Ok(tree) => tree,
        Err(error) => {
            eprintln!("tidy: {error}");
            return ExitCode::FAILURE;
        }
    };
    let findings = tidy::check(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    let sources: usize = tree.packages.iter().map(|package| package.sources.len()).sum();
    let papers = tree.papers.len();
    eprintln!("tidy: {sources} sources, {papers} papers, {} findings", findings.len());
    if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
