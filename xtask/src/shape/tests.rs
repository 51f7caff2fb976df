use super::*;

fn source(text: &str) -> Source {
    Source { path: "crates/a/src/b.rs".to_owned(), text: text.to_owned() }
}

fn paths(text: &str) -> Vec<String> {
    let source = source(text);
    Shape::of(&source).mentions.iter().map(|mention| mention.parts.join("::")).collect()
}

#[test]
fn functions_are_measured_from_fn_to_brace() {
    let source = source(concat!(
        "fn one() {}\n",
        "type F = fn(u8) -> [u8; 4];\ntrait T { fn bare(&self) -> [u8; 4]; }\n",
        "fn two(a: [u8; 3]) -> Option<u8>\nwhere u8: Copy,\n{\n  let s = \"}\"; // }\n  {}\n}\n",
        "macro_rules! m { ($n:ident) => { fn $n() {\n} } }\n",
    ));
    let shape = Shape::of(&source);
    let found: Vec<_> = shape.functions.iter().map(|f| (f.name.as_str(), f.lines)).collect();
    assert_eq!(found, [("one", 1), ("two", 6), ("n", 2)]);
}

#[test]
fn use_trees_are_written_out() {
    assert_eq!(
        paths("use a::{b::{C, D as E}, f::*, self};"),
        ["a::b::C", "a::b::D", "a::f::*", "a::self"]
    );
    assert_eq!(paths("use libc; extern crate core; use ::x::y;"), ["libc", "core", "x::y"]);
    assert_eq!(paths("use {a::b, c::d};"), ["a::b", "c::d"]);
}

#[test]
fn paths_in_expressions_count() {
    assert_eq!(
        paths("fn f() { a::b(c::D { e: 1 }); Vec::<u8>::new(); <T as g::H>::i() }"),
        ["a::b", "c::D", "Vec", "g::H"]
    );
}

#[test]
fn exports_are_told_from_imports() {
    let source = source("pub use a::{B, C};\npub(crate) use d::E;\nuse f::G;\n");
    let shape = Shape::of(&source);
    let exports: Vec<_> = shape.mentions.iter().map(|m| (m.parts[0].as_str(), m.export)).collect();
    assert_eq!(exports, [("a", true), ("a", true), ("d", true), ("f", false)]);
}

#[test]
fn test_code_is_known_by_its_attributes() {
    let text = concat!(
        "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests { fn b() {} }\n",
        "#[tokio::test]\nasync fn c() {}\n#[cfg(not(test))]\nfn d() {}\n",
        "#[test]\nfn e() {}\n#[cfg(all(test, unix))]\nuse g::H;\nfn i() {}\n",
    );
    let source = source(text);
    let shape = Shape::of(&source);
    let inside: Vec<_> =
        shape.functions.iter().map(|f| (f.name.as_str(), shape.is_test(f.at))).collect();
    let expected =
        [("a", false), ("b", true), ("c", true), ("d", false), ("e", true), ("i", false)];
    assert_eq!(inside, expected);
    assert!(shape.is_test(shape.mentions.last().unwrap().at));
    assert_eq!(shape.test_lines(), [2..=4, 5..=6, 9..=10, 11..=12]);
}

#[test]
fn every_line_of_a_file_of_tests_is_one_of_tests() {
    let text = "use super::*;\n\nfn f() {}\n".to_owned();
    let source = Source { path: "crates/a/src/b/tests.rs".to_owned(), text };
    assert_eq!(Shape::of(&source).test_lines(), [1..=3]);
}

#[test]
fn modules_inside_a_file_are_seen() {
    let source = source("mod a { mod b { fn f() {} } }\nmod c;\n");
    let shape = Shape::of(&source);
    assert_eq!(shape.inline_modules(shape.functions[0].at), ["a", "b"]);
    assert_eq!(shape.named.iter().filter(|named| named.body.is_none()).count(), 1);
}
