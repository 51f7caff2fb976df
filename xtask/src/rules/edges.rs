//! What may cross which seam inside a crate.
//!
//! floe-store reaches the kernel in `kernel.rs` and `kernel/` only: staging, journal and commit go
//! through the `Disk` seam, or the simulation could not break the disk under them. Tests are
//! exempt.

use crate::finding::{Finding, Rule};
use crate::shape::Shape;
use crate::tree::Package;

/// A seam: in `package`, outside `inside`, these paths are not to be named.
struct Seam {
    package: &'static str,
    inside: &'static str,
    paths: &'static [&'static [&'static str]],
    advice: &'static str,
}

const SEAMS: &[Seam] = &[Seam {
    package: "floe-store",
    inside: "kernel",
    paths: &[&["rustix"], &["libc"], &["std", "fs"]],
    advice: "go through the Disk seam; only kernel.rs and kernel/ call the system",
}];

/// Paths that go past a seam.
pub fn check(package: &Package, shape: &Shape<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(file) = package.module_file(&shape.source.path) else { return found };
    for seam in SEAMS.iter().filter(|seam| seam.package == package.name()) {
        let inside = file == seam.inside
            || file.strip_prefix(seam.inside).is_some_and(|rest| rest.starts_with('/'));
        if inside {
            continue;
        }
        for mention in shape.mentions.iter().filter(|mention| !shape.is_test(mention.at)) {
            let crosses = |path: &&&[&str]| {
                mention.parts.len() >= path.len()
                    && path.iter().zip(&mention.parts).all(|(a, b)| a == b)
            };
            if let Some(path) = seam.paths.iter().find(crosses) {
                let advice = format!("`{}`: {}", path.join("::"), seam.advice);
                let rule = Rule::ForbiddenEdge;
                found.push(Finding::new(&shape.source.path, mention.line, rule, advice));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::sample::{package, shapes};

    fn lines(dir: &str, file: &str, text: &str) -> Vec<usize> {
        let package = package(dir, "", &[(file, text)]);
        let shapes = shapes(&package);
        check(&package, &shapes[0]).into_iter().map(|f| f.line).collect()
    }

    const TEXT: &str = "use rustix::fs;\nuse std::{fs::File, io};\nfn a() { libc::sync() }\n";

    #[test]
    fn the_kernel_is_called_in_its_module_only() {
        assert_eq!(lines("crates/floe-store", "src/journal.rs", TEXT), [1, 2, 3]);
        assert_eq!(lines("crates/floe-store", "src/kernels.rs", TEXT), [1, 2, 3]);
        assert!(lines("crates/floe-store", "src/kernel.rs", TEXT).is_empty());
        assert!(lines("crates/floe-store", "src/kernel/beneath.rs", TEXT).is_empty());
    }

    #[test]
    fn files_that_a_parent_lists_as_tests_are_free() {
        let files = [
            ("src/lib.rs", "mod a;\n#[cfg(test)]\nmod proof;\n"),
            ("src/proof.rs", TEXT),
            ("src/proof/deep.rs", TEXT),
            ("src/a.rs", TEXT),
        ];
        let package = package("crates/floe-store", "", &files);
        let found: usize = shapes(&package).iter().map(|shape| check(&package, shape).len()).sum();
        assert_eq!(found, 3);
    }

    #[test]
    fn tests_and_other_crates_are_free() {
        assert!(lines("crates/floe-store", "src/journal/tests.rs", TEXT).is_empty());
        assert!(lines("crates/floe-store", "tests/it/main.rs", TEXT).is_empty());
        assert!(lines("crates/floe-engine", "src/socket.rs", TEXT).is_empty());
        assert!(lines("crates/floe-store", "src/journal.rs", "use std::io;\n").is_empty());
    }
}
