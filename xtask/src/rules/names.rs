//! Names that say nothing: manager, helper, utils, common anywhere in the name of a type, module or
//! file; info and data as its whole name. Functions are not called `get_`, and files not `mod.rs`.
//!
//! The names of tests say behaviour and may use any word.

use crate::finding::{Finding, Rule};
use crate::shape::Shape;
use crate::tree::Package;

const EMPTY_WORDS: &[&str] =
    &["common", "helper", "helpers", "manager", "managers", "misc", "util", "utility", "utils"];
const EMPTY_NAMES: &[&str] = &["data", "info"];

/// Types that bear such a name for a reason: the file, the type, and why.
const ALLOWED: &[(&str, &str, &str)] =
    &[("crates/floe-proto/src/frame.rs", "Data", "the DATA frame of PROTOCOL.md")];

/// Files, modules, types and functions whose names say nothing.
pub fn check(package: &Package, shape: &Shape<'_>) -> Vec<Finding> {
    let path = &shape.source.path;
    let mut found = Vec::new();
    let stem = path.rsplit('/').next().unwrap_or(path).trim_end_matches(".rs");
    if let Some(word) = empty(stem) {
        let advice = format!("`{word}` says nothing: name the file after what it holds");
        found.push(Finding::new(path, 1, Rule::Names, advice));
    }
    if stem == "mod" && package.module_file(path).is_some() {
        let advice = "a module `foo` is foo.rs and foo/, not foo/mod.rs";
        found.push(Finding::new(path, 1, Rule::Names, advice));
    }
    let allowed =
        |name: &str| ALLOWED.iter().any(|(file, known, _)| file == path && *known == name);
    for named in shape.named.iter().filter(|named| !allowed(&named.name)) {
        if let Some(word) = empty(&named.name) {
            let (keyword, name) = (&named.keyword, &named.name);
            let advice = format!("`{word}` says nothing: name `{keyword} {name}` after what it is");
            found.push(Finding::new(path, named.line, Rule::Names, advice));
        }
    }
    for function in shape.functions.iter().filter(|function| !shape.is_test(function.at)) {
        if let Some(rest) = function.name.strip_prefix("get_") {
            let advice = format!("name `get_{rest}` after what it gives, such as `{rest}`");
            found.push(Finding::new(path, function.line, Rule::Names, advice));
        }
    }
    found
}

/// The word of a name that says nothing.
fn empty(name: &str) -> Option<String> {
    let words = words(name);
    let whole = words.len() == 1 && EMPTY_NAMES.contains(&words[0].as_str());
    let found = words.iter().find(|word| whole || EMPTY_WORDS.contains(&word.as_str()));
    found.cloned()
}

/// `LaneManager` and `lane_manager` are both lane and manager, `IOHelper` is io and helper.
fn words(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    let mut before = ' ';
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let ends_capitals = before.is_uppercase() && chars.peek().is_some_and(|c| c.is_lowercase());
        if !c.is_alphanumeric() || (c.is_uppercase() && (before.is_lowercase() || ends_capitals)) {
            words.push(String::new());
        }
        if let (Some(word), true) = (words.last_mut(), c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        before = c;
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::sample::{package, shapes};

    fn lines(file: &str, text: &str) -> Vec<usize> {
        let package = package("crates/a", "", &[(file, text)]);
        let shapes = shapes(&package);
        check(&package, &shapes[0]).into_iter().map(|f| f.line).collect()
    }

    #[test]
    fn empty_names_are_found() {
        assert_eq!(lines("src/utils.rs", ""), [1]);
        assert_eq!(lines("src/lane/mod.rs", ""), [1]);
        let text =
            "struct LaneManager;\nmod common;\ntype Info = u8;\nenum Data {}\ntrait IOHelper {}\n";
        assert_eq!(lines("src/a.rs", text), [1, 2, 3, 4, 5]);
        assert_eq!(lines("src/a.rs", "fn get_name(&self) -> u8 { 0 }\n"), [1]);
    }

    #[test]
    fn names_that_say_something_pass() {
        let text =
            "struct TcpInfo;\nstruct DataRoom;\nmod command;\nfn get(&self) {}\nfn target() {}\n";
        assert!(lines("src/a.rs", text).is_empty());
        assert!(lines("tests/it/mod.rs", "").is_empty());
        assert!(lines("src/a.rs", "#[test]\nfn get_resumes_after_a_kill() {}\n").is_empty());
    }
}
