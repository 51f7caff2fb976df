//! The repository as tidy sees it: packages with their sources, and the papers beside them.
//!
//! The one module that reads files. Paths are relative to the repository and use `/`.

use std::fs;
use std::io;
use std::path::Path;

/// A text file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Source {
    /// Relative to the repository.
    pub path: String,
    /// Its whole text.
    pub text: String,
}

/// A Cargo package: its manifest and its Rust sources.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    /// Its directory, such as `crates/floe-store`.
    pub dir: String,
    /// The text of its manifest.
    pub manifest: String,
    /// Its Rust sources, by path.
    pub sources: Vec<Source>,
}

impl Package {
    /// The last part of the directory, which is the package's name.
    pub fn name(&self) -> &str {
        self.dir.rsplit('/').next().unwrap_or(&self.dir)
    }

    /// The path of a file of this package below `src/`, without `.rs`; `None` for other files.
    pub fn module_file<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&self.dir)?.strip_prefix("/src/")?.strip_suffix(".rs")
    }
}

/// All that tidy looks at.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tree {
    /// `crates/*`, `xtask`, `bench`, `fuzz`: those that exist.
    pub packages: Vec<Package>,
    /// Papers and settings.
    pub papers: Vec<Source>,
}

/// Reads the repository at `root`.
///
/// # Errors
/// A directory or file that cannot be read, named.
pub fn read(root: &Path) -> io::Result<Tree> {
    let mut dirs: Vec<String> = names(root, "crates")?;
    dirs.extend(["xtask", "bench", "fuzz"].map(str::to_owned));
    let mut tree = Tree::default();
    for dir in dirs {
        if root.join(&dir).join("Cargo.toml").is_file() {
            tree.packages.push(package(root, dir)?);
        }
    }
    papers(root, &mut tree.papers)?;
    Ok(tree)
}

fn package(root: &Path, dir: String) -> io::Result<Package> {
    let manifest = text(root, &format!("{dir}/Cargo.toml"))?;
    let mut sources = Vec::new();
    walk(root, &dir, &[".rs"], &mut sources)?;
    Ok(Package { dir, manifest, sources })
}

fn papers(root: &Path, into: &mut Vec<Source>) -> io::Result<()> {
    let wanted = [".md", ".toml", ".yml", ".yaml"];
    for path in names(root, "")? {
        if root.join(&path).is_file() && wanted.iter().any(|end| path.ends_with(end)) {
            into.push(Source { text: text(root, &path)?, path });
        }
    }
    for dir in ["bench", "crates", "docs", "examples", "fuzz", "xtask", ".cargo", ".github"] {
        if root.join(dir).is_dir() {
            walk(root, dir, &wanted, into)?;
        }
    }
    if root.join(".ci").is_dir() {
        walk(root, ".ci", &[""], into)?;
    }
    Ok(())
}

/// Adds every file below `dir` whose name has one of the endings; build outputs are left out.
fn walk(root: &Path, dir: &str, ends: &[&str], into: &mut Vec<Source>) -> io::Result<()> {
    for path in names(root, dir)? {
        let here = root.join(&path);
        if here.is_dir() {
            if !path.ends_with("/target") && !here.is_symlink() {
                walk(root, &path, ends, into)?;
            }
        } else if ends.iter().any(|end| path.ends_with(end)) {
            into.push(Source { text: text(root, &path)?, path });
        }
    }
    Ok(())
}

fn names(root: &Path, dir: &str) -> io::Result<Vec<String>> {
    let blame = |error: io::Error| io::Error::new(error.kind(), format!("list {dir:?}: {error}"));
    let mut found = Vec::new();
    for entry in fs::read_dir(root.join(dir)).map_err(blame)? {
        let name = entry.map_err(blame)?.file_name().to_string_lossy().into_owned();
        found.push(if dir.is_empty() { name } else { format!("{dir}/{name}") });
    }
    found.sort();
    Ok(found)
}

fn text(root: &Path, path: &str) -> io::Result<String> {
    fs::read_to_string(root.join(path))
        .map_err(|error| io::Error::new(error.kind(), format!("read {path:?}: {error}")))
}
