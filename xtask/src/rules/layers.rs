//! Which crate may depend on which: `floe -> floe-http -> floe-engine -> {floe-proto, floe-store}
//! -> floe-types`. floe-proto and floe-store do not know each other; only the engine joins them.
//!
//! Dependencies of tests count like any other, but for floe-sim, which tests may use from the
//! engine up. floe-sim joins core and store by the engine's own mapping, which needs no runtime, so
//! that what is simulated is what is shipped. tokio is the engine's and what stands above it.
//! floe-types and floe-proto are `no_std` and name nothing of the system, in tests neither: that
//! keeps them a function of their inputs.

use crate::finding::{Finding, Rule};
use crate::shape::Shape;
use crate::tree::Package;

/// A crate, and the crates of this repository it may depend on.
const LAYERS: &[(&str, &[&str])] = &[
    ("floe-types", &[]),
    ("floe-proto", &["floe-types"]),
    ("floe-store", &["floe-types"]),
    ("floe-engine", &["floe-proto", "floe-store", "floe-types"]),
    ("floe-sim", &["floe-engine", "floe-proto", "floe-store", "floe-types"]),
    ("floe-powercut", &["floe-engine", "floe-store", "floe-types"]),
    ("floe-http", &["floe-engine", "floe-proto", "floe-store", "floe-types"]),
    ("floe-torture", &["floe-types"]),
    (
        "floe",
        &["floe-torture", "floe-http", "floe-engine", "floe-proto", "floe-store", "floe-types"],
    ),
];
const TOKIO: &[&str] = &["floe-engine", "floe-http", "floe"];
const SIMULATED: &[&str] = &["floe-engine", "floe-http", "floe"];
const BARE: &[&str] = &["floe-types", "floe-proto"];
const SYSTEM: &[&str] = &["env", "fs", "net", "os", "process", "thread", "time"];

/// Dependencies that a manifest should not have.
pub fn check_manifest(package: &Package) -> Vec<Finding> {
    if !package.dir.starts_with("crates/") {
        return Vec::new();
    }
    let (name, path) = (package.name(), format!("{}/Cargo.toml", package.dir));
    let Some((_, allowed)) = LAYERS.iter().find(|(layer, _)| *layer == name) else {
        let advice = format!("give `{name}` a row in xtask/src/rules/layers.rs");
        return vec![Finding::new(&path, 1, Rule::Layers, advice)];
    };
    let mut found = Vec::new();
    for dependency in dependencies(&package.manifest) {
        let other = dependency.name;
        let simulated = other == "floe-sim" && dependency.test && SIMULATED.contains(&name);
        let ours = other == "floe" || other.starts_with("floe-");
        let tokio = other == "tokio" || other.starts_with("tokio-");
        if ours && !simulated && !allowed.contains(&other) {
            let advice =
                format!("`{name}` may not depend on `{other}`; move the need to a layer above");
            found.push(Finding::new(&path, dependency.line, Rule::Layers, advice));
        }
        if tokio && !TOKIO.contains(&name) {
            let advice =
                format!("`{other}` belongs to floe-engine and above; keep `{name}` synchronous");
            found.push(Finding::new(&path, dependency.line, Rule::Layers, advice));
        }
    }
    found
}

/// A file of such a crate that names the system, and why.
const EXCUSED: &[(&str, &str)] =
    &[("crates/floe-types/src/planted.rs", "with the feature `planted` alone, for tests")];

/// Whether a crate that must build without std says so and names nothing of the system.
pub fn check_bare(package: &Package, shapes: &[Shape<'_>]) -> Vec<Finding> {
    let mut found = Vec::new();
    if !BARE.contains(&package.name()) {
        return found;
    }
    for shape in shapes {
        let path = &shape.source.path;
        if package.module_file(path) == Some("lib") && !shape.source.text.contains("\n#![no_std]\n")
        {
            let advice = "say `#![no_std]`: this crate builds for a target without std";
            found.push(Finding::new(path, 1, Rule::BareTarget, advice));
        }
        for mention in &shape.mentions {
            let [root, module, ..] = &mention.parts[..] else { continue };
            let excused = EXCUSED.iter().any(|(file, _)| *path == **file);
            if root == "std" && SYSTEM.contains(&module.as_str()) && !excused {
                let advice = format!("`std::{module}` is an effect; take its outcome as an input");
                found.push(Finding::new(path, mention.line, Rule::BareTarget, advice));
            }
        }
    }
    found
}

struct Dependency<'a> {
    name: &'a str,
    line: usize,
    test: bool,
}

/// The dependencies in a manifest, from `[dependencies]` tables of all kinds and targets.
fn dependencies(manifest: &str) -> Vec<Dependency<'_>> {
    let mut found = Vec::new();
    let (mut listed, mut test) = (false, false);
    for (nth, text) in manifest.lines().enumerate() {
        let line = nth + 1;
        if let Some(header) = text.trim().strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            test = header.contains("dev-dependencies");
            listed = header.ends_with("dependencies");
            if let Some((_, name)) = header.split_once("dependencies.") {
                found.push(Dependency { name: unquoted(name), line, test });
            }
        } else if listed && !text.trim_start().starts_with(['#', ' ', '}', ']', '"']) {
            let end = text.find(['.', '=', ' ']).unwrap_or(0);
            if end > 0 {
                found.push(Dependency { name: unquoted(&text[..end]), line, test });
            }
        }
    }
    found
}

fn unquoted(name: &str) -> &str {
    name.trim().trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::sample::{package, shapes};

    fn manifest(dir: &str, text: &str) -> Vec<usize> {
        check_manifest(&package(dir, text, &[])).into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn downward_dependencies_pass() {
        let engine =
            "[dependencies]\nfloe-proto.workspace = true\ntokio = \"1\"\nfloe-store = {}\n";
        assert!(manifest("crates/floe-engine", engine).is_empty());
        assert!(manifest("crates/floe", "[dev-dependencies]\nfloe-sim = {}\n").is_empty());
        assert!(manifest("bench", "[dependencies]\ntokio = \"1\"\n").is_empty());
    }

    #[test]
    fn siblings_and_upward_dependencies_are_found() {
        assert_eq!(manifest("crates/floe-store", "[dependencies]\n\nfloe-proto = {}\n"), [3]);
        assert_eq!(manifest("crates/floe-proto", "[dev-dependencies.floe-store]\n"), [1]);
        assert_eq!(
            manifest("crates/floe-types", "[target.'cfg(a)'.dependencies]\nfloe = {}\n"),
            [2]
        );
        assert_eq!(manifest("crates/floe-engine", "[dependencies]\nfloe-sim = {}\n"), [2]);
    }

    #[test]
    fn tokio_below_the_engine_and_unknown_crates_are_found() {
        assert_eq!(manifest("crates/floe-store", "[dependencies]\ntokio.workspace = true\n"), [2]);
        assert_eq!(manifest("crates/floe-proto", "[dev-dependencies]\ntokio-util = \"1\"\n"), [2]);
        assert_eq!(manifest("crates/floe-new", ""), [1]);
    }

    #[test]
    fn bare_crates_name_nothing_of_the_system() {
        let lines = |dir, text| {
            let package = package(dir, "", &[("src/lib.rs", text)]);
            check_bare(&package, &shapes(&package)).into_iter().map(|f| f.line).collect::<Vec<_>>()
        };
        let good = "//! A.\n#![no_std]\nuse core::time::Duration;\nuse std::vec::Vec;\n";
        assert!(lines("crates/floe-types", good).is_empty());
        assert_eq!(lines("crates/floe-types", "//! A.\n"), [1]);
        let bad = "//! A.\n#![no_std]\nuse std::{fs, vec};\nfn a() { std::thread::yield_now() }\n";
        assert_eq!(lines("crates/floe-proto", bad), [3, 4]);
        assert!(lines("crates/floe-store", bad).is_empty());
    }
}
