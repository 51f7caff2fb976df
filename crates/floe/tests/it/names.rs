//! ls, stat, rm, mv, mkdir.

use crate::stage::{Stage, content, root_of};
use std::fs;

#[test]
fn ls_shows_names_details_and_files_themselves() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    assert_eq!(stage.run(&["ls", "nas:/"]).ok().text(), "");
    for nth in 0..600 {
        fs::write(stage.path(format!("srv/{nth:03}")), content(nth)).unwrap();
    }
    fs::create_dir(stage.path("srv/dir")).unwrap();
    let listed = stage.run(&["ls", "nas:/"]).ok();
    let mut names: Vec<_> = listed.text().lines().map(str::to_owned).collect();
    names.sort();
    assert_eq!(names.len(), 601);
    assert_eq!((names[0].as_str(), names[600].as_str()), ("000", "dir"));
    let long = stage.run(&["ls", "-l", "nas:/007"]).ok().text();
    assert!(long.starts_with("-rw") && long.ends_with(" 007\n") && long.contains(" 7 "), "{long}");
    let events = stage.run(&["ls", "nas:/", "--json"]).ok().events();
    assert_eq!(events.len(), 601);
    assert!(events.iter().any(|event| event["path"] == "dir" && event["kind"] == "directory"));
    stage.run(&["ls", "nas:/none"]).fails(3, &["\"none\"", "not found"]);
}

#[test]
fn stat_shows_the_root_where_it_is_known_and_computes_it_when_asked() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let file = stage.file("a", 100_000);
    stage.run(&["put", "a", "nas:/a"]).ok();
    let known = stage.run(&["stat", "nas:/a", "--json"]).ok().event("stat");
    assert_eq!(known["root"].as_str().unwrap(), root_of(&file));
    assert_eq!((&known["kind"], &known["size"]), (&"file".into(), &100_000.into()));
    fs::write(stage.path("srv/b"), content(100_000)).unwrap();
    assert!(stage.run(&["stat", "nas:/b"]).ok().text().contains("root   unknown\n"));
    let text = stage.run(&["stat", "--hash", "nas:/b"]).ok().text();
    assert!(text.contains(&format!("root   {}\n", root_of(&file))), "{text}");
    std::os::unix::fs::symlink("a", stage.path("srv/l")).unwrap();
    assert!(stage.run(&["stat", "nas:/l"]).ok().text().contains("target a\n"));
    stage.run(&["stat", "nas:/none"]).fails(3, &["not found"]);
}

#[test]
fn rm_needs_r_for_a_directory() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    fs::create_dir_all(stage.path("srv/d/e")).unwrap();
    fs::write(stage.path("srv/d/f"), b"x").unwrap();
    fs::write(stage.path("srv/g"), b"x").unwrap();
    stage.run(&["rm", "nas:/d"]).fails(1, &["is a directory", "-r"]);
    assert!(stage.path("srv/d/f").exists());
    stage.run(&["rm", "-r", "nas:/d", "nas:/g"]).ok();
    assert!(!stage.path("srv/d").exists() && !stage.path("srv/g").exists());
    stage.run(&["rm", "nas:/none"]).fails(3, &["not found"]);
    // An empty one as well: what is in it may come a moment later.
    fs::create_dir(stage.path("srv/empty")).unwrap();
    stage.run(&["rm", "nas:/empty"]).fails(1, &["is a directory", "-r"]);
    assert!(stage.path("srv/empty").is_dir());
    stage.run(&["rm", "-r", "nas:/empty"]).ok();
    assert!(!stage.path("srv/empty").exists());
    fs::write(stage.path("srv/h"), b"x").unwrap();
    for root in [&["rm", "-r", "nas:/"][..], &["rm", "nas:/h", "nas:/."]] {
        stage.run(root).fails(2, &["nas:/ is the served directory itself", "name what is in it"]);
    }
    assert!(stage.path("srv/h").exists());
}

#[test]
fn mv_replaces_only_when_told() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    fs::write(stage.path("srv/a"), b"a").unwrap();
    fs::write(stage.path("srv/b"), b"b").unwrap();
    fs::create_dir(stage.path("srv/d")).unwrap();
    stage.run(&["mv", "nas:/a", "nas:/b"]).fails(9, &["exists already", "--overwrite"]);
    assert_eq!(fs::read(stage.path("srv/b")).unwrap(), b"b");
    stage.run(&["mv", "--overwrite", "nas:/a", "nas:/b"]).ok();
    assert_eq!(fs::read(stage.path("srv/b")).unwrap(), b"a");
    stage.run(&["mv", "nas:/b", "nas:/d/"]).ok();
    assert_eq!(fs::read(stage.path("srv/d/b")).unwrap(), b"a");
    stage.run(&["mv", "nas:/d", "nas:/d/in"]).fails(2, &["inside"]);
    fs::create_dir(stage.path("srv/e")).unwrap();
    let full = stage.run(&["mv", "--overwrite", "nas:/e", "nas:/d"]);
    full.fails(1, &["is not empty", "remove what is in it first"]);
    stage.run(&["mv", "--overwrite", "nas:/d", "nas:/e"]).ok();
    assert_eq!(fs::read(stage.path("srv/e/b")).unwrap(), b"a");
    stage.run(&["mv", "nas:/none", "nas:/x"]).fails(3, &["not found"]);
}

#[test]
fn mkdir_makes_parents_and_may_be_repeated() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    for _ in 0..2 {
        stage.run(&["mkdir", "nas:/a/b/c", "nas:/d"]).ok();
    }
    assert!(stage.path("srv/a/b/c").is_dir() && stage.path("srv/d").is_dir());
    fs::write(stage.path("srv/f"), b"x").unwrap();
    stage.run(&["mkdir", "nas:/f/g"]).fails(1, &["is not a directory"]);
}
