//! `lib.rs`, `main.rs` and every `foo.rs` with children list modules foundation first, and a module
//! imports only what stands above it there. So a crate can be read from the top of its list.
//!
//! Parents use their children and children their parents' items; between siblings, at any depth,
//! the list decides. Tests may use anything. Names are followed through `pub use`.

use crate::finding::{Finding, Rule};
use crate::modules::{self, ModulePath, Modules, within};
use crate::shape::Shape;
use crate::tree::Package;

/// Imports that go down a list of modules.
pub fn check(package: &Package, shapes: &[Shape<'_>]) -> Vec<Finding> {
    let root = modules::root(package);
    let files: Vec<(ModulePath, &Shape<'_>)> = shapes
        .iter()
        .filter_map(|shape| Some((modules::of_file(package, root, &shape.source.path)?, shape)))
        .collect();
    let modules = Modules::of(files.iter().map(|(path, shape)| (path.clone(), *shape)));
    files.iter().flat_map(|(path, shape)| check_file(path, shape, &modules)).collect()
}

fn check_file(path: &[String], shape: &Shape<'_>, modules: &Modules) -> Vec<Finding> {
    if !is_listed(path, modules) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for mention in shape.mentions.iter().filter(|mention| !shape.is_test(mention.at)) {
        let from = within(path, shape, mention.at);
        let Some(target) = modules.target(&from, mention) else { continue };
        let shared = from.iter().zip(&target).take_while(|(a, b)| a == b).count();
        let (Some(user), Some(used)) = (from.get(shared), target.get(shared)) else { continue };
        let parent = &from[..shared];
        if modules.place(parent, used) > modules.place(parent, user) {
            let at = if parent.is_empty() { "the root".to_owned() } else { parent.join("::") };
            let advice = format!(
                "`{used}` is listed below `{user}` in {at}: list it above, or turn the need round"
            );
            found.push(Finding::new(&shape.source.path, mention.line, Rule::ModuleOrder, advice));
        }
    }
    found
}

/// Whether every step to the module is listed, which test modules are not.
fn is_listed(path: &[String], modules: &Modules) -> bool {
    (0..path.len()).all(|depth| modules.place(&path[..depth], &path[depth]).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::sample::{package, shapes};

    fn found(files: &[(&str, &str)]) -> Vec<(String, usize)> {
        let package = package("crates/a", "", files);
        let findings = check(&package, &shapes(&package));
        findings.into_iter().map(|f| (f.path.replace("crates/a/src/", ""), f.line)).collect()
    }

    const ROOT: (&str, &str) = ("src/lib.rs", "pub mod low;\nmod high;\npub use high::Tall;\n");

    #[test]
    fn upward_imports_pass() {
        let low =
            ("src/low.rs", "use crate::low::Own;\n#[cfg(test)]\nmod t { use crate::high::X; }\n");
        assert!(found(&[ROOT, low, ("src/high.rs", "use crate::low::{A, B};\n")]).is_empty());
    }

    #[test]
    fn downward_imports_are_found() {
        let low = ("src/low.rs", "\nuse crate::{high::A, low::B};\n");
        assert_eq!(found(&[ROOT, low]), [("low.rs".to_owned(), 2)]);
        let expression = ("src/low/deep.rs", "fn f() { crate::high::g() }\n");
        let low = ("src/low.rs", "mod deep;\n");
        assert_eq!(found(&[ROOT, low, expression]), [("low/deep.rs".to_owned(), 1)]);
    }

    #[test]
    fn exported_names_lead_to_their_module() {
        let low = ("src/low.rs", "use crate::Tall;\nuse super::high;\nfn f() -> crate::Tall {}\n");
        assert_eq!(found(&[ROOT, low]).len(), 3);
        let root = ("src/lib.rs", "mod low;\nmod high;\npub use high::*;\n");
        let low = ("src/low.rs", "use crate::{Tall, Other};\n");
        let high = ("src/high.rs", "pub struct Tall;\n");
        assert_eq!(found(&[root, low, high]), [("low.rs".to_owned(), 1)]);
    }

    #[test]
    fn siblings_below_the_root_have_an_order_too() {
        let root = ("src/main.rs", "mod a;\n");
        let a = ("src/a.rs", "mod one;\nmod two;\npub use two::Two;\nstruct Own;\n");
        let one = ("src/a/one.rs", "use super::{Own, two::Two};\n");
        let two = ("src/a/two.rs", "use super::one::One;\n");
        assert_eq!(found(&[root, a, one, two]), [("a/one.rs".to_owned(), 1)]);
    }

    #[test]
    fn test_modules_may_use_anything() {
        let root = ("src/lib.rs", "mod low;\n#[cfg(test)]\nmod proof;\nmod high;\n");
        assert!(found(&[root, ("src/proof.rs", "use crate::high::A;\n")]).is_empty());
    }
}
