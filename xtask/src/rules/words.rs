//! Words that need a reason or have no place: `unsafe`, `todo!`, `unimplemented!`, `dbg!`, a sleep
//! in a test, `#[ignore]`.
//!
//! `unsafe` stands only in the files listed here, each with its reason, and every use has a
//! `SAFETY:` comment close above it. A listed file that has none is a finding too.

use crate::finding::{Finding, Rule};
use crate::lex::Token;
use crate::shape::Shape;

/// A file that may use `unsafe`, and why.
const UNSAFE: &[(&str, &str)] = &[
    ("bench/src/os.rs", "wait4, unshare, TUNSETIFF and seccomp have no safe wrapper"),
    ("crates/floe/src/exit.rs", "_exit has no safe wrapper"),
    ("crates/floe-engine/src/clock.rs", "getrusage of a thread has no safe wrapper"),
    ("crates/floe-engine/src/socket.rs", "TCP_INFO has no safe wrapper"),
    ("crates/floe-store/src/kernel/write_back.rs", "sync_file_range has no safe wrapper"),
    ("fuzz/src/heap.rs", "an allocator that counts is unsafe by its trait"),
];
/// How far above `unsafe` its `SAFETY:` comment may start.
const SAFETY_LINES: usize = 8;

/// Words that have no place.
pub fn check(shape: &Shape<'_>) -> Vec<Finding> {
    let listed: Vec<&str> = UNSAFE.iter().map(|(path, _)| *path).collect();
    check_with(shape, &listed)
}

/// Files on the list that do not exist.
pub fn check_list<'a>(paths: impl Iterator<Item = &'a str> + Clone) -> Vec<Finding> {
    let gone = |path: &&str| paths.clone().all(|known| known != *path);
    let listed = UNSAFE.iter().map(|(path, _)| *path);
    let advice = "is gone: take it off the list in xtask/src/rules/words.rs";
    listed.filter(gone).map(|path| Finding::new(path, 1, Rule::Unsafe, advice)).collect()
}

fn check_with(shape: &Shape<'_>, listed: &[&str]) -> Vec<Finding> {
    let mut found = check_unsafe(shape, listed);
    for (at, spot) in shape.spots.iter().enumerate() {
        let Token::Ident(word) = spot.token else { continue };
        let (rule, advice) = match (word, shape.token(at + 1)) {
            ("todo" | "unimplemented" | "dbg", Some(Token::Punct('!'))) => {
                (Rule::Unfinished, format!("finish it, or leave it out: no `{word}!`"))
            }
            ("sleep" | "sleep_ms" | "sleep_until", _) if shape.is_test(at) => {
                (Rule::TestSleep, "wait for a condition, or use virtual time".to_owned())
            }
            ("ignore", _) if is_attribute(shape, at) => {
                (Rule::TestIgnored, "make the test run, or remove it".to_owned())
            }
            _ => continue,
        };
        found.push(Finding::new(&shape.source.path, spot.line, rule, advice));
    }
    found
}

fn check_unsafe(shape: &Shape<'_>, listed: &[&str]) -> Vec<Finding> {
    let path = &shape.source.path;
    let allowed = listed.contains(&path.as_str());
    let lines: Vec<&str> = shape.source.text.lines().collect();
    let uses: Vec<usize> =
        shape.spots.iter().filter(|s| s.token == Token::Ident("unsafe")).map(|s| s.line).collect();
    if allowed && uses.is_empty() {
        let advice = "has no unsafe: take it off the list in xtask/src/rules/words.rs";
        return vec![Finding::new(path, 1, Rule::Unsafe, advice)];
    }
    let reasoned = |line: usize| {
        lines[line.saturating_sub(SAFETY_LINES + 1)..line].iter().any(|l| l.contains("SAFETY:"))
    };
    let advice = if allowed {
        "say why it is sound in a `// SAFETY:` comment above"
    } else {
        "do without, or list the file with its reason in xtask/src/rules/words.rs"
    };
    let wrong = uses.into_iter().filter(|line| !allowed || !reasoned(*line));
    wrong.map(|line| Finding::new(path, line, Rule::Unsafe, advice)).collect()
}

/// `#[ignore]`, `#[ignore = "..."]`, `#[cfg_attr(..., ignore)]`.
fn is_attribute(shape: &Shape<'_>, at: usize) -> bool {
    let open = (0..at).rev().find(|i| shape.token(*i) == Some(Token::Punct('#')));
    open.is_some_and(|open| {
        let inside = (open..at).all(|i| shape.token(i) != Some(Token::Punct(']')));
        let first = shape.token(open + 2);
        inside && (open + 2 == at || first == Some(Token::Ident("cfg_attr")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::sample::source;

    fn rules(path: &str, text: &str) -> Vec<(Rule, usize)> {
        let source = source(path, text);
        let found = check_with(&Shape::of(&source), &["crates/a/src/raw.rs"]);
        found.into_iter().map(|f| (f.rule, f.line)).collect()
    }

    #[test]
    fn unsafe_needs_a_listed_file_and_a_reason() {
        let reasoned = "// SAFETY: the buffer outlives the call.\nunsafe { f() }\n";
        assert!(rules("crates/a/src/raw.rs", reasoned).is_empty());
        assert_eq!(rules("crates/a/src/other.rs", reasoned), [(Rule::Unsafe, 2)]);
        assert_eq!(rules("crates/a/src/raw.rs", "\nunsafe { f() }\n"), [(Rule::Unsafe, 2)]);
        assert_eq!(rules("crates/a/src/raw.rs", "fn f() {}\n"), [(Rule::Unsafe, 1)]);
    }

    #[test]
    fn listed_files_exist() {
        let known: Vec<&str> = UNSAFE.iter().map(|(path, _)| *path).collect();
        assert!(check_list(known.iter().copied()).is_empty());
        assert_eq!(check_list(std::iter::empty()).len(), UNSAFE.len());
    }

    #[test]
    fn unfinished_work_is_found() {
        let bad = "fn a() { todo!() }\nfn b() { unimplemented!(\"x\") }\nfn c() { dbg!(1) }\n";
        let lines: Vec<_> = rules("crates/a/src/lib.rs", bad).into_iter().map(|f| f.1).collect();
        assert_eq!(lines, [1, 2, 3]);
        assert!(rules("crates/a/src/lib.rs", "// todo!\nlet todo = \"todo!()\";\n").is_empty());
    }

    #[test]
    fn tests_do_not_sleep() {
        let bad = "#[test]\nfn a() {\n  std::thread::sleep(D);\n}\n";
        assert_eq!(rules("crates/a/src/lib.rs", bad), [(Rule::TestSleep, 3)]);
        let it = "use tokio::time::sleep;\n";
        assert_eq!(rules("crates/a/tests/it/main.rs", it), [(Rule::TestSleep, 1)]);
        assert!(rules("crates/a/src/lib.rs", "fn a() { std::thread::sleep(D) }\n").is_empty());
    }

    #[test]
    fn tests_are_not_ignored() {
        let bad = "#[test]\n#[ignore = \"slow\"]\nfn a() {}\n#[cfg_attr(x, ignore)]\nfn b() {}\n";
        let lines: Vec<_> = rules("crates/a/src/lib.rs", bad).into_iter().map(|f| f.1).collect();
        assert_eq!(lines, [2, 4]);
        assert!(rules("crates/a/src/lib.rs", "fn ignore(a: u8) { ignore(a) }\n").is_empty());
    }
}
