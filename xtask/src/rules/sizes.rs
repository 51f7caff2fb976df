//! A file has at most 500 lines, a function 70, a line 100 columns. Nothing is exempt but a line
//! with an address in it (`://`), which cannot be broken.
//!
//! A tail that has grown cannot be cut later, so this holds from the first commit, tests included.

use crate::finding::{Finding, Rule};
use crate::shape::Shape;

const FILE_LINES_MAX: usize = 500;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_COLUMNS_MAX: usize = 100;

/// Files, functions and lines that are too long.
pub fn check(shape: &Shape<'_>) -> Vec<Finding> {
    let path = &shape.source.path;
    let mut found = Vec::new();
    let lines = shape.source.text.lines().count();
    if lines > FILE_LINES_MAX {
        let advice =
            format!("{lines} lines; split it into foo.rs and foo/ (at most {FILE_LINES_MAX})");
        found.push(Finding::new(path, FILE_LINES_MAX + 1, Rule::FileLength, advice));
    }
    for function in shape.functions.iter().filter(|f| f.lines > FUNCTION_LINES_MAX) {
        let (name, lines) = (&function.name, function.lines);
        let advice = format!("`{name}` has {lines} lines; split it (at most {FUNCTION_LINES_MAX})");
        found.push(Finding::new(path, function.line, Rule::FunctionLength, advice));
    }
    for (nth, line) in shape.source.text.lines().enumerate() {
        let columns = line.chars().count();
        if columns > LINE_COLUMNS_MAX && !line.contains("://") {
            let advice = format!("{columns} columns; break it (at most {LINE_COLUMNS_MAX})");
            found.push(Finding::new(path, nth + 1, Rule::LineWidth, advice));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::sample::source;

    fn rules(text: &str) -> Vec<(Rule, usize)> {
        let source = source("crates/a/src/lib.rs", text);
        check(&Shape::of(&source)).into_iter().map(|f| (f.rule, f.line)).collect()
    }

    #[test]
    fn long_files_are_found() {
        assert!(rules(&"//\n".repeat(500)).is_empty());
        assert_eq!(rules(&"//\n".repeat(501)), [(Rule::FileLength, 501)]);
    }

    #[test]
    fn long_functions_are_found() {
        assert!(rules(&format!("\nfn a() {{\n{}}}\n", "b();\n".repeat(68))).is_empty());
        let long = format!("\nfn a() {{\n{}}}\n", "b();\n".repeat(69));
        assert_eq!(rules(&long), [(Rule::FunctionLength, 2)]);
    }

    #[test]
    fn wide_lines_are_found_but_addresses_are_not() {
        assert!(rules(&format!("// {}\n", "\u{e9}".repeat(97))).is_empty());
        assert_eq!(rules(&format!("\n// {}\n", "a".repeat(98))), [(Rule::LineWidth, 2)]);
        assert!(rules(&format!("// see https://example.org/{}\n", "a".repeat(98))).is_empty());
    }
}
