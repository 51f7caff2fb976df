//! Every kept input, again: what was found once stays found.

use floe_fuzz::{TARGETS, Target};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The kept inputs of a target, by name.
pub fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target.name);
    let entries = fs::read_dir(&dir).unwrap_or_else(|why| panic!("{}: {why}", dir.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_kept_input_keeps_the_promises() {
    for target in TARGETS {
        for (path, input) in corpus(target) {
            eprintln!("{}", path.display()); // shown where the next one fails
            (target.run)(&input);
        }
    }
}

#[test]
fn every_target_has_a_fuzzer_and_a_small_corpus() {
    let names: BTreeSet<_> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = |of: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(dir.join(of)).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(listed("fuzz_targets"), names);
    assert_eq!(listed("corpus"), names);
    let sizes = TARGETS.iter().flat_map(corpus).map(|(_, input)| input.len());
    assert!(sizes.sum::<usize>() < 1 << 20, "the corpora are to stay small");
    assert!(TARGETS.iter().all(|target| !corpus(target).is_empty()));
}
