//! The modules of one package as its files list them, and where a path leads.
//!
//! Order is what this is for: a parent lists its children foundation first. Test modules are left
//! out. Paths are followed through `pub use`, as far as names can be followed without types.

use crate::shape::{Mention, Shape};
use crate::tree::Package;
use std::collections::{BTreeMap, BTreeSet};

/// A module by the names that lead to it from the crate's root; the root is empty.
pub type ModulePath = Vec<String>;

/// What one module declares.
#[derive(Default)]
struct Module {
    children: Vec<String>,
    exports: Vec<Vec<String>>,
    items: BTreeSet<String>,
}

/// The modules of a package.
#[derive(Default)]
pub struct Modules {
    known: BTreeMap<ModulePath, Module>,
}

impl Modules {
    /// Reads the lists of modules out of the files: `(where the file stands, the file)`.
    pub fn of<'s, 'a: 's>(files: impl Iterator<Item = (ModulePath, &'s Shape<'a>)>) -> Self {
        let mut modules = Self::default();
        for (path, shape) in files {
            modules.add(&path, shape);
        }
        modules
    }

    fn add(&mut self, path: &[String], shape: &Shape<'_>) {
        for named in shape.named.iter().filter(|named| !shape.is_test(named.at)) {
            let module = self.known.entry(within(path, shape, named.at)).or_default();
            if named.keyword == "mod" {
                module.children.push(named.name.clone());
            } else {
                module.items.insert(named.name.clone());
            }
        }
        for function in shape.functions.iter().filter(|function| !shape.is_test(function.at)) {
            let module = self.known.entry(within(path, shape, function.at)).or_default();
            module.items.insert(function.name.clone());
        }
        for mention in shape.mentions.iter().filter(|mention| mention.export) {
            let module = self.known.entry(within(path, shape, mention.at)).or_default();
            module.exports.push(mention.parts.clone());
        }
    }

    /// The place of a child in its parent's list.
    pub fn place(&self, parent: &[String], child: &str) -> Option<usize> {
        self.known.get(parent)?.children.iter().position(|name| name == child)
    }

    /// The module that a path leads to when it stands in module `from`; `None` for other crates.
    pub fn target(&self, from: &[String], mention: &Mention) -> Option<ModulePath> {
        self.follow(&start(from, &mention.parts)?, 8)
    }

    fn follow(&self, path: &[String], steps: usize) -> Option<ModulePath> {
        let mut here = ModulePath::new();
        for (nth, part) in path.iter().enumerate() {
            if self.place(&here, part).is_some() {
                here.push(part.clone());
                continue;
            }
            let exported = self.exported(&here, part);
            return match exported {
                Some(mut on) if steps > 0 => {
                    on.extend(path[nth + 1..].iter().cloned());
                    self.follow(&on, steps - 1)
                }
                _ => Some(here),
            };
        }
        Some(here)
    }

    /// Where a name that `here` exports again comes from.
    fn exported(&self, here: &[String], name: &str) -> Option<ModulePath> {
        let exports = &self.known.get(here)?.exports;
        exports.iter().find_map(|parts| {
            let (last, parents) = parts.split_last()?;
            let from = self.beside(here, parents)?;
            let found = last == name || (last == "*" && self.has(&from, name));
            found.then(|| from.into_iter().chain([name.to_owned()]).collect())
        })
    }

    fn has(&self, module: &[String], name: &str) -> bool {
        self.known.get(module).is_some_and(|module| {
            module.items.contains(name) || module.children.iter().any(|child| child == name)
        })
    }

    /// A path in a `use` of module `here`, which may start with a child of it.
    fn beside(&self, here: &[String], parts: &[String]) -> Option<ModulePath> {
        match parts.first() {
            Some(first) if self.place(here, first).is_some() => {
                Some(here.iter().chain(parts).cloned().collect())
            }
            _ => start(here, parts),
        }
    }
}

/// The file that lists the modules of a package: `lib`, or `main` where there is no `lib`.
pub fn root(package: &Package) -> &'static str {
    let lib = |path: &str| package.module_file(path) == Some("lib");
    if package.sources.iter().any(|source| lib(&source.path)) { "lib" } else { "main" }
}

/// The module of a file; `None` for tests and for binaries that are crates of their own.
pub fn of_file(package: &Package, root: &str, path: &str) -> Option<ModulePath> {
    let file = package.module_file(path)?;
    if file == root {
        return Some(ModulePath::new());
    }
    let other = file == "main" || file == "lib" || file.starts_with("bin/");
    let parts = file.strip_suffix("/mod").unwrap_or(file).split('/').map(str::to_owned);
    (!other).then(|| parts.collect())
}

/// Marks the files that a parent lists under `#[cfg(test)]`, and those below them.
pub fn mark_tests(package: &Package, shapes: &mut [Shape<'_>]) {
    let root = root(package);
    let mut tests: Vec<ModulePath> = Vec::new();
    for shape in shapes.iter() {
        let Some(path) = of_file(package, root, &shape.source.path) else { continue };
        let listed = shape.named.iter().filter(|n| n.keyword == "mod" && shape.is_test(n.at));
        tests.extend(listed.map(|named| {
            let mut test = within(&path, shape, named.at);
            test.push(named.name.clone());
            test
        }));
    }
    for shape in shapes {
        let path = of_file(package, root, &shape.source.path);
        shape.all_test = path.is_some_and(|path| tests.iter().any(|test| path.starts_with(test)));
    }
}

/// The module a token of a file stands in.
pub fn within(path: &[String], shape: &Shape<'_>, at: usize) -> ModulePath {
    let inline = shape.inline_modules(at).into_iter().map(str::to_owned);
    path.iter().cloned().chain(inline).collect()
}

/// Makes `crate::`, `self::` and `super::` absolute; `None` for any other start.
fn start(from: &[String], parts: &[String]) -> Option<ModulePath> {
    let (first, rest) = parts.split_first()?;
    match first.as_str() {
        "crate" => Some(rest.to_vec()),
        "self" => Some(from.iter().chain(rest).cloned().collect()),
        "super" => {
            let ups = parts.iter().take_while(|part| *part == "super").count();
            let base = &from[..from.len().checked_sub(ups)?];
            Some(base.iter().chain(&parts[ups..]).cloned().collect())
        }
        _ => None,
    }
}
