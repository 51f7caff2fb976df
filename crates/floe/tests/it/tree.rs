//! Directories: what a tree keeps, how odd names travel, entries that fail alone.

use crate::stage::{Stage, content};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

/// Everything beneath a directory: kind, mode, mtime and bytes (or a link's text) by path.
fn seen(dir: &Path) -> BTreeMap<PathBuf, (u32, i64, i64, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut rest = vec![PathBuf::new()];
    while let Some(at) = rest.pop() {
        for entry in fs::read_dir(dir.join(&at)).unwrap() {
            let path = at.join(entry.unwrap().file_name());
            if path == Path::new(".floe") {
                continue;
            }
            let found = fs::symlink_metadata(dir.join(&path)).unwrap();
            let (mode, bytes) = if found.is_symlink() {
                (0, fs::read_link(dir.join(&path)).unwrap().into_os_string().into_encoded_bytes())
            } else if found.is_dir() {
                rest.push(path.clone());
                (found.mode(), Vec::new())
            } else {
                (found.mode(), fs::read(dir.join(&path)).unwrap())
            };
            all.insert(path, (mode, found.mtime(), found.mtime_nsec(), bytes));
        }
    }
    all
}

fn odd_tree(stage: &Stage) -> PathBuf {
    let tree = stage.path("here/tree");
    for (name, size) in [
        ("zero", 0),
        ("one", 1),
        ("chunk", 1 << 20),
        ("big", 3_000_001),
        ("a/b/c/d/e/f/g/deep", 77),
        ("with space", 3),
        ("quote\"'\\", 3),
        ("-dash", 3),
        (" ", 3),
        ("ünïcode", 3),
        ("new\nline\x1b[31m", 3),
        (&"long".repeat(50), 3),
    ] {
        let path = tree.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content(size)).unwrap();
    }
    fs::write(tree.join(OsStr::from_bytes(b"caf\xe9")), b"latin").unwrap();
    fs::create_dir(tree.join("empty")).unwrap();
    symlink("../nowhere/\n", tree.join("a/broken")).unwrap();
    symlink("b", tree.join("a/link")).unwrap();
    fs::set_permissions(tree.join("a/b"), fs::Permissions::from_mode(0o750)).unwrap();
    for nth in 0..300 {
        fs::write(tree.join(format!("many{nth:03}")), content(nth)).unwrap();
    }
    tree
}

#[test]
fn a_tree_of_odd_names_goes_up_and_comes_down_identical() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let tree = odd_tree(&stage);
    for streams in ["1", "4"] {
        let there = format!("nas:/t{streams}");
        stage.run(&["put", "tree", &there, "--streams", streams]).ok();
        assert_eq!(seen(&stage.path(format!("srv/t{streams}"))), seen(&tree));
        let here = format!("back{streams}");
        stage.run(&["get", &there, &here, "--streams", streams]).ok();
        assert_eq!(seen(&stage.path(format!("here/{here}"))), seen(&tree));
    }
}

#[test]
fn names_that_are_not_text_are_escaped_and_keep_their_bytes_in_json() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    odd_tree(&stage);
    let put = stage.run(&["put", "tree", "nas:/t", "--json"]).ok();
    let odd = put.events().into_iter().find(|event| event["path_bytes"].is_string()).unwrap();
    assert_eq!((&odd["path"], &odd["path_bytes"]), (&"caf\\xe9".into(), &"Y2Fm6Q==".into()));
    let shown = stage.run(&["put", "tree", "nas:/t2", "-v"]).ok();
    assert!(!shown.err.contains('\x1b') && shown.err.contains("new\\u{a}line\\u{1b}[31m"));
    let listed = stage.run(&["ls", "-l", "nas:/t"]).ok();
    assert!(!listed.text().contains('\x1b') && listed.text().contains("caf\\xe9"));
}

#[test]
fn a_second_run_of_a_tree_means_the_same() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let tree = odd_tree(&stage);
    for _ in 0..2 {
        stage.run(&["put", "tree", "nas:/t"]).ok();
        stage.run(&["get", "nas:/t", "back"]).ok();
    }
    assert_eq!(seen(&stage.path("srv/t")), seen(&tree));
    assert_eq!(seen(&stage.path("here/back")), seen(&tree));
}

#[test]
fn devices_sockets_and_fifos_in_a_tree_are_skipped_and_counted() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("d/x", 3);
    let _socket = std::os::unix::net::UnixListener::bind(stage.path("here/d/socket")).unwrap();
    let put = stage.run(&["put", "d", "nas:/d", "--json"]).ok();
    assert_eq!(put.event("skipped")["path"], "socket");
    assert_eq!(put.event("summary")["entries_skipped"], 1);
    let put = stage.run(&["put", "d", "nas:/e"]).ok();
    assert!(
        put.err.contains("floe: skipped: ") && put.err.contains("1 entry skipped"),
        "{}",
        put.err
    );
}

#[test]
fn the_reserved_name_in_a_tree_is_skipped_with_a_line_and_counted() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("d/x", 3);
    stage.file("d/.floe/x", 3);
    stage.file("d/sub/.floe/x", 3);
    let put = stage.run(&["put", "d", "nas:/d"]).ok();
    assert_eq!(put.err.matches("floe: skipped: \".floe\"").count(), 2, "{}", put.err);
    assert!(put.err.contains("2 entries skipped"), "{}", put.err);
    assert!(put.err.contains("\".floe\" in \"sub\": not a valid name"), "{}", put.err);
    let put = stage.run(&["put", "d", "nas:/d", "--json"]).ok();
    assert_eq!(put.event("summary")["entries_skipped"], 2);
    // What the server keeps in its own root is not told of.
    let get = stage.run(&["get", "nas:/", "all", "--json"]).ok();
    assert_eq!(get.event("summary")["entries_skipped"], 0);
}

#[test]
fn entries_fail_alone_and_the_first_ten_stand_again_at_the_end() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    for nth in 0..20 {
        stage.file(&format!("d/f{nth:02}"), 10);
        if nth < 12 {
            // Where a file must go stands a directory.
            fs::create_dir_all(stage.path(format!("srv/d/f{nth:02}"))).unwrap();
        }
    }
    let put = stage.run(&["put", "d", "nas:/d"]);
    assert_eq!(put.status, 10, "{}", put.err);
    assert_eq!(put.err.matches("is a directory").count(), 12 + 10, "{}", put.err);
    assert!(
        put.err.contains("12 entries failed:") && put.err.contains("and 2 more"),
        "{}",
        put.err
    );
    for nth in 12..20 {
        assert!(stage.path(format!("srv/d/f{nth}")).is_file());
    }
    let put = stage.run(&["put", "d", "nas:/d", "--fail-fast"]);
    assert!(matches!(put.status, 1 | 10), "{} {}", put.status, put.err);
}

#[test]
fn nothing_is_removed_to_make_room() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("d/x", 3);
    fs::write(stage.path("srv/file"), b"old").unwrap();
    stage.run(&["put", "d", "nas:/file"]).fails(1, &["file", "is not a directory"]);
    assert_eq!(fs::read(stage.path("srv/file")).unwrap(), b"old");
}

#[test]
fn a_tree_that_cannot_be_placed_is_one_line_with_its_own_status() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    odd_tree(&stage);
    stage.run(&["put", "tree", "nas:/t"]).ok();
    stage.file("plain", 3);
    stage.run(&["put", "plain", "nas:/plain"]).ok();
    let put = stage.run(&["put", "tree", "nas:/plain"]).fails(1, &["is not a directory"]);
    assert_eq!(put.err.matches("is not a directory").count(), 1, "{}", put.err);
    let get = stage.run(&["get", "nas:/t", "plain"]).fails(1, &["is not a directory"]);
    assert_eq!(get.err.matches("is not a directory").count(), 1, "{}", get.err);
    // A directory within the tree is one failure, too, and the rest is there.
    fs::create_dir(stage.path("here/back")).unwrap();
    fs::write(stage.path("here/back/a"), b"in the way").unwrap();
    let get = stage.run(&["get", "nas:/t", "back", "--json"]);
    assert_eq!(get.status, 10, "{}", get.err);
    assert_eq!(get.event("failed")["path"], "a");
    assert_eq!(get.event("summary")["entries_failed"], 1);
    assert_eq!(fs::read(stage.path("here/back/big")).unwrap(), content(3_000_001));
}
