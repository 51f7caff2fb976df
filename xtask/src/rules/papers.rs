//! Papers and settings hold on every machine: no path that exists on one machine only, and no
//! private package registry.
//!
//! Looked at: `*.md`, `*.toml` and `*.yml` of the repository, and the scripts of CI.

use crate::finding::{Finding, Rule};
use crate::tree::Source;

/// Directories of one machine or one person.
const PLACES: &[&str] = &["/work/", "/root", "/home/", "/Users/", "/tmp/floe"];
/// Hosts that packages come from; the default registry needs no host.
const HOSTS: &[&str] =
    &["artifactory", "index.crates.io", "static.crates.io", ".internal", ".corp/"];

/// Mentions of one machine.
pub fn check(paper: &Source) -> Vec<Finding> {
    let mut found = Vec::new();
    for (nth, line) in paper.text.lines().enumerate() {
        let place = PLACES.iter().find(|place| has_path(line, place));
        let host = HOSTS.iter().find(|host| line.contains(**host));
        for name in place.into_iter().chain(host) {
            let advice = format!("`{name}` is one machine's; say it so that it holds everywhere");
            found.push(Finding::new(&paper.path, nth + 1, Rule::MachineName, advice));
        }
    }
    found
}

/// Whether an absolute path that starts so stands in a line; `crates/work/` is not one.
fn has_path(line: &str, place: &str) -> bool {
    line.match_indices(place).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + place.len()..].chars().next();
        let begins = before.is_none_or(|c| !(c.is_alphanumeric() || "~._-*/:}".contains(c)));
        let ends = place.ends_with('/') || after.is_none_or(|c| !(c.is_alphanumeric() || c == '_'));
        begins && ends
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::sample::source;

    fn lines(text: &str) -> Vec<usize> {
        check(&source("README.md", text)).into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        assert_eq!(lines("a\nsee `/work/main`\n"), [2]);
        assert_eq!(lines("(/root/x)\n\"/home/me\"\n/tmp/floe/a\n"), [1, 2, 3]);
    }

    #[test]
    fn registries_are_found() {
        assert_eq!(lines("from https://a.example/artifactory/b\n"), [1]);
    }

    #[test]
    fn ordinary_paths_pass() {
        assert!(
            lines("crates/work/a ~/root NAME:/home/x floe://host/root /tmp/a /rooted\n").is_empty()
        );
    }
}
