use super::*;
use crate::dice::Dice;
use crate::file::{Odds, Unwritten};

const BYTES: Odds =
    Odds { bytes: 16, sizes: 16, attributes: 16, torn: 0, unwritten: Unwritten::Zeros };
const NO_BYTES: Odds = Odds { bytes: 0, sizes: 0, attributes: 0, ..BYTES };
const ALL_NAMES: Survivors = Survivors { odds: NO_BYTES, names: Names::Each(16) };
const NOTHING: Survivors = Survivors { odds: NO_BYTES, names: Names::Each(0) };

fn file(tree: &mut Tree, at: NodeId, name: &str, bytes: &[u8]) -> NodeId {
    let id = tree.make(at, name.as_bytes(), (Kind::File, 0o644, Vec::new())).unwrap();
    tree.write(id, 0, bytes).unwrap();
    id
}

fn directory(tree: &mut Tree, at: NodeId, name: &str) -> NodeId {
    tree.make(at, name.as_bytes(), (Kind::Directory, 0o755, Vec::new())).unwrap()
}

fn bytes(tree: &Tree, at: NodeId, name: &str) -> Option<Vec<u8>> {
    let id = tree.lookup(at, name.as_bytes()).ok()?;
    Some(tree.read(id, 0, usize::MAX).unwrap().to_vec())
}

fn rename(tree: &mut Tree, from: &str, to: &str) {
    let (from, to) = ((ROOT, from.as_bytes()), (ROOT, to.as_bytes()));
    tree.rename(from, to, Replace::Allowed).unwrap();
}

/// The program that forgets to sync what it renames: the name survives, its bytes do not.
#[test]
fn catches_a_rename_of_what_was_not_synced() {
    let mut tree = Tree::new();
    let old = file(&mut tree, ROOT, "name", b"old");
    tree.sync_file(old, false).unwrap();
    tree.sync_names(ROOT).unwrap();
    file(&mut tree, ROOT, "temporary", b"new");
    rename(&mut tree, "temporary", "name");
    tree.sync_names(ROOT).unwrap();
    assert_eq!(bytes(&tree, ROOT, "name").unwrap(), b"new");
    tree.cut(&NOTHING, &mut Dice::new(1));
    assert_eq!(bytes(&tree, ROOT, "name").unwrap(), b"", "neither old nor new");
}

/// The program that does not sync the directory: what it said was done is undone.
#[test]
fn catches_a_rename_whose_directory_was_not_synced() {
    let mut tree = Tree::new();
    let old = file(&mut tree, ROOT, "name", b"old");
    tree.sync_file(old, false).unwrap();
    tree.sync_names(ROOT).unwrap();
    let new = file(&mut tree, ROOT, "temporary", b"new");
    tree.sync_file(new, false).unwrap();
    rename(&mut tree, "temporary", "name");
    let before = tree.clone();
    tree.cut(&NOTHING, &mut Dice::new(1));
    assert_eq!(bytes(&tree, ROOT, "name").unwrap(), b"old");
    let mut tree = before;
    tree.cut(&ALL_NAMES, &mut Dice::new(1));
    assert_eq!(bytes(&tree, ROOT, "name").unwrap(), b"new");
    assert_eq!(bytes(&tree, ROOT, "temporary"), None);
}

#[test]
fn a_program_that_syncs_in_order_loses_nothing_and_is_never_caught() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let mut tree = Tree::new();
        let old = file(&mut tree, ROOT, "name", b"old");
        tree.sync_file(old, false).unwrap();
        tree.sync_names(ROOT).unwrap();
        let calls = dice.below(6);
        tree.arm(Fuse { call: None, left: calls });
        let told = replace(&mut tree).is_ok();
        tree.cut(&Survivors::drawn(&mut dice), &mut dice);
        match bytes(&tree, ROOT, "name").unwrap().as_slice() {
            b"new" => {}
            b"old" if !told => {}
            other => panic!("seed {seed}: {other:?}, told {told}"),
        }
    }
}

fn replace(tree: &mut Tree) -> Answer<()> {
    let new = tree.make(ROOT, b"temporary", (Kind::File, 0o644, Vec::new()))?;
    tree.write(new, 0, b"new")?;
    tree.sync_file(new, false)?;
    tree.rename((ROOT, b"temporary"), (ROOT, b"name"), Replace::Allowed)?;
    tree.sync_names(ROOT)
}

#[test]
fn a_synced_name_in_a_directory_that_has_none_is_lost_with_it() {
    let mut tree = Tree::new();
    let inner = directory(&mut tree, ROOT, "d");
    let id = file(&mut tree, inner, "f", b"x");
    tree.sync_file(id, false).unwrap();
    tree.sync_names(inner).unwrap();
    let before = tree.clone();
    tree.cut(&NOTHING, &mut Dice::new(1));
    assert_eq!(tree.lookup(ROOT, b"d"), Err(Errno::NOENT));
    let mut tree = before;
    tree.sync_names(ROOT).unwrap();
    tree.cut(&NOTHING, &mut Dice::new(1));
    let inner = tree.lookup(ROOT, b"d").unwrap();
    assert_eq!(bytes(&tree, inner, "f").unwrap(), b"x");
}

#[test]
fn a_directory_never_has_two_names_and_never_goes_with_what_was_synced_in_it() {
    for seed in 0..200 {
        let mut tree = Tree::new();
        let moved = directory(&mut tree, ROOT, "a");
        let id = file(&mut tree, moved, "f", b"x");
        tree.sync_file(id, false).unwrap();
        tree.sync_names(moved).unwrap();
        tree.sync_names(ROOT).unwrap();
        rename(&mut tree, "a", "b");
        rename(&mut tree, "b", "c");
        tree.rename((moved, b"f"), (ROOT, b"f"), Replace::Refused).unwrap();
        tree.remove(ROOT, b"c", Kind::Directory).unwrap();
        let survivors = Survivors { odds: NO_BYTES, names: Names::Each(8) };
        tree.cut(&survivors, &mut Dice::new(seed));
        let names: Vec<_> =
            ["a", "b", "c"].iter().filter_map(|n| tree.lookup(ROOT, n.as_bytes()).ok()).collect();
        assert!(names.len() <= 1, "seed {seed}");
        let inside = names.first().and_then(|id| bytes(&tree, *id, "f"));
        assert_eq!(bytes(&tree, ROOT, "f").or(inside).unwrap(), b"x", "seed {seed}");
    }
}

#[test]
fn a_cut_comes_before_the_call_it_was_armed_for() {
    let mut tree = Tree::new();
    let id = file(&mut tree, ROOT, "f", b"x");
    tree.arm(Fuse { call: Some(Call::SyncFile), left: 1 });
    tree.sync_file(id, false).unwrap();
    tree.write(id, 1, b"y").unwrap();
    assert_eq!(tree.sync_file(id, false), Err(Errno::IO));
    assert_eq!(tree.power(), Power::Off);
    assert_eq!(tree.write(id, 1, b"z"), Err(Errno::IO), "nothing is done without power");
    tree.sync_names(ROOT).unwrap_err();
    tree.cut(&ALL_NAMES, &mut Dice::new(1));
    assert_eq!(bytes(&tree, ROOT, "f").unwrap(), b"x");
    assert_eq!(tree.power(), Power::On);
}

#[test]
fn exchanges_and_refuses() {
    let mut tree = Tree::new();
    file(&mut tree, ROOT, "a", b"a");
    file(&mut tree, ROOT, "b", b"b");
    let refused = tree.rename((ROOT, b"a"), (ROOT, b"b"), Replace::Refused);
    assert_eq!(refused, Err(Errno::EXIST));
    tree.rename((ROOT, b"a"), (ROOT, b"b"), Replace::Exchange).unwrap();
    assert_eq!(bytes(&tree, ROOT, "a").unwrap(), b"b");
    assert_eq!(bytes(&tree, ROOT, "b").unwrap(), b"a");
    let inner = directory(&mut tree, ROOT, "d");
    let within = tree.rename((ROOT, b"d"), (inner, b"e"), Replace::Allowed);
    assert_eq!(within, Err(Errno::INVAL));
    assert_eq!(tree.list(ROOT, 0).unwrap().len(), 3);
}
