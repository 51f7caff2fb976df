//! All rules over the whole repository.

use crate::finding::Finding;
use crate::modules::mark_tests;
use crate::rules::{edges, layers, names, order, papers, sizes, words};
use crate::shape::Shape;
use crate::tree::{Package, Tree};

/// Every finding, sorted by place.
pub fn check(tree: &Tree) -> Vec<Finding> {
    let mut found: Vec<Finding> = tree.packages.iter().flat_map(check_package).collect();
    found.extend(tree.papers.iter().flat_map(papers::check));
    let sources = tree.packages.iter().flat_map(|package| &package.sources);
    found.extend(words::check_list(sources.map(|source| source.path.as_str())));
    found.sort();
    found.dedup();
    found
}

fn check_package(package: &Package) -> Vec<Finding> {
    let mut shapes: Vec<Shape<'_>> = package.sources.iter().map(Shape::of).collect();
    mark_tests(package, &mut shapes);
    let mut found = layers::check_manifest(package);
    found.extend(layers::check_bare(package, &shapes));
    found.extend(order::check(package, &shapes));
    for shape in &shapes {
        found.extend(sizes::check(shape));
        found.extend(names::check(package, shape));
        found.extend(edges::check(package, shape));
        found.extend(words::check(shape));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Rule;
    use crate::tree::Source;

    fn source(path: &str, text: &str) -> Source {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn findings_come_from_all_rules_in_order() {
        let tree = Tree {
            packages: vec![Package {
                dir: "crates/floe-store".to_owned(),
                manifest: "[dependencies]\ntokio = \"1\"\n".to_owned(),
                sources: vec![source("crates/floe-store/src/utils.rs", "use std::fs;\n")],
            }],
            papers: vec![source("README.md", "/root/x\n")],
        };
        let known = |path: &str| path == "README.md" || path.starts_with("crates/floe-store/src/u");
        let found = check(&tree).into_iter().filter(|f| known(&f.path) || f.rule == Rule::Layers);
        let rules: Vec<Rule> = found.map(|finding| finding.rule).collect();
        let expected = [Rule::MachineName, Rule::Layers, Rule::ForbiddenEdge, Rule::Names];
        assert_eq!(rules, expected);
    }

    #[test]
    fn a_finding_is_one_line_with_its_place() {
        let finding = Finding::new("a/b.rs", 7, Rule::LineWidth, "break it");
        assert_eq!(finding.to_string(), "a/b.rs:7: line-width: break it");
    }
}
