//! Small repositories for the tests of rules.

use crate::modules::mark_tests;
use crate::shape::Shape;
use crate::tree::{Package, Source};

/// A source file.
pub fn source(path: &str, text: &str) -> Source {
    Source { path: path.to_owned(), text: text.to_owned() }
}

/// A package of files, with a manifest.
pub fn package(dir: &str, manifest: &str, files: &[(&str, &str)]) -> Package {
    let sources = files.iter().map(|(path, text)| source(&format!("{dir}/{path}"), text));
    Package { dir: dir.to_owned(), manifest: manifest.to_owned(), sources: sources.collect() }
}

/// The files of a package, taken apart.
pub fn shapes(package: &Package) -> Vec<Shape<'_>> {
    let mut shapes: Vec<Shape<'_>> = package.sources.iter().map(Shape::of).collect();
    mark_tests(package, &mut shapes);
    shapes
}
