//! What tickets allow: a part of the tree, verbs, a drop box.

use crate::stage::{Ended, Server, Stage, words};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;

/// `floe ticket` on the served directory of a stage.
pub fn ticket(stage: &Stage, args: &[&str]) -> Ended {
    let (root, state) = (stage.path("srv"), stage.path("state-server"));
    let mut all = words([&"ticket"]);
    all.extend(args.iter().map(OsString::from));
    all.extend(words([&"--root", &root, &"--state", &state]));
    stage.run(&all)
}

/// Makes a ticket, and logs in with it under its own name.
pub fn grant(stage: &Stage, server: &Server, name: &str, flags: &[&str]) -> String {
    let made = ticket(stage, &[&["create", name], flags].concat()).ok();
    stage.log_in(name, server, &made.text(), &[]).ok();
    made.text()
}

fn write(stage: &Stage, at: &str, text: &str) {
    let file = stage.path(at);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

#[test]
fn a_prefix_is_all_that_its_holder_sees() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    write(&stage, "srv/secret", "secret");
    write(&stage, "srv/team/plan", "plan");
    write(&stage, "srv/team/alice/own", "own");
    grant(&stage, &server, "alice", &["--prefix", "/team/alice", "--allow", "all"]);
    assert_eq!(stage.run(&["get", "alice:/own", "-"]).ok().out, b"own");
    let listed = stage.run(&["ls", "alice:/"]).ok().text();
    assert!(listed.contains("own") && !listed.contains("plan"), "{listed}");
    stage.file("f", 3);
    fs::create_dir_all(stage.path("here/t/d")).unwrap();
    stage.file("t/d/g", 2_000_000);
    stage.run(&["put", "f", "alice:/new/f"]).ok();
    stage.run(&["put", "t", "alice:/t"]).ok();
    stage.run(&["mkdir", "alice:/made"]).ok();
    stage.run(&["mv", "alice:/new/f", "alice:/made/f"]).ok();
    for at in ["t/d/g", "made/f"] {
        assert!(stage.path(format!("srv/team/alice/{at}")).exists(), "{at}");
    }
    stage.run(&["get", "alice:/t", "back"]).ok();
    assert_eq!(
        fs::read(stage.path("here/back/d/g")).unwrap(),
        fs::read(stage.path("here/t/d/g")).unwrap()
    );
    stage.run(&["rm", "-r", "alice:/t"]).ok();
    assert!(!stage.path("srv/team/alice/t").exists());
    // What fails does not tell where it lies.
    for args in
        [&["get", "alice:/none", "-"][..], &["put", "f", "alice:/own/f"], &["ls", "alice:/none"]]
    {
        let ended = stage.run(args);
        assert!(ended.status != 0 && !ended.err.contains("team"), "{args:?}: {}", ended.err);
    }
    stage.run(&["rm", "-r", "alice:/"]).fails(2, &[]);
    stage.run(&["get", "alice:/../plan", "-"]).fails(2, &[".."]);
    assert!(stage.path("srv/team/plan").exists());
}

#[test]
fn no_link_leads_out_of_a_prefix() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    write(&stage, "srv/secret", "secret");
    fs::create_dir_all(stage.path("srv/box")).unwrap();
    grant(&stage, &server, "guest", &["--prefix", "box", "--allow", "all"]);
    // Links that the holder brings, and one that stands.
    fs::create_dir_all(stage.path("here/t")).unwrap();
    symlink("../../secret", stage.path("here/t/file")).unwrap();
    symlink("../..", stage.path("here/t/up")).unwrap();
    stage.run(&["put", "t", "guest:/t"]).ok();
    symlink("../secret", stage.path("srv/box/planted")).unwrap();
    assert_eq!(stage.run(&["get", "nas:/box/t/file", "-"]).ok().out, b"secret", "beneath the root");
    for at in ["t/file", "t/up/secret", "planted"] {
        let ended = stage.run(&["get", &format!("guest:/{at}"), "-"]);
        assert!(ended.status != 0 && ended.out.is_empty(), "{at}");
    }
    stage.run(&["ls", "guest:/t/up"]).fails(4, &[]);
    stage.run(&["put", "t", "guest:/t/up/x"]).fails(1, &["not a directory"]);
    assert!(!stage.path("srv/x").exists());
}

#[test]
fn a_prefix_must_stand_and_be_beneath() {
    let stage = Stage::new();
    let _server = stage.serve(&[]);
    write(&stage, "srv/file", "f");
    symlink("/etc", stage.path("srv/link")).unwrap();
    ticket(&stage, &["create", "a", "--prefix", "none"]).fails(3, &["none", "make that directory"]);
    for at in ["file", "link"] {
        ticket(&stage, &["create", "a", "--prefix", at]).fails(1, &[at, "no link"]);
    }
    for at in ["..", "a/../../b", ".floe", ""] {
        ticket(&stage, &["create", "a", "--prefix", at]).fails(2, &["--prefix"]);
    }
    assert!(!ticket(&stage, &["list"]).ok().text().contains("\ta\t"));
}

#[test]
fn directories_are_made_only_with_their_verb() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    fs::create_dir_all(stage.path("srv/d")).unwrap();
    grant(&stage, &server, "flat", &["--allow", "list,write-new"]);
    stage.file("f", 3);
    fs::create_dir_all(stage.path("here/t")).unwrap();
    stage.file("t/g", 3);
    stage.run(&["put", "f", "flat:/d/f"]).ok();
    stage.run(&["put", "t/g", "flat:/d/"]).ok();
    stage.run(&["put", "f", "flat:/e/f"]).fails(4, &["make directory \"e\"", "not allow"]);
    stage.run(&["put", "t", "flat:/e"]).fails(4, &["make directory \"e\"", "not allow"]);
    stage.run(&["mkdir", "flat:/e"]).fails(4, &["make directory \"e\"", "not allow"]);
    stage.run(&["mv", "flat:/f", "flat:/g"]).fails(4, &["remove", "not allow"]);
    assert!(!stage.path("srv/e").exists());
    // A directory that stands is written in. What this client put there is known; another is new.
    stage.run(&["put", "t", "flat:/d"]).ok();
    stage.file("t/g", 4);
    let ended = stage.run(&["put", "t", "flat:/d"]);
    assert_eq!(ended.status, 10, "{}", ended.err);
    assert!(ended.err.contains("overwrite \"d/g\": not allowed"), "{}", ended.err);
    assert_eq!(fs::read(stage.path("srv/d/g")).unwrap().len(), 3);
    // A rename brings a new name.
    grant(&stage, &server, "sweeper", &["--allow", "list,remove"]);
    stage.run(&["mv", "sweeper:/d/f", "sweeper:/d/h"]).fails(4, &["write", "not allow"]);
    stage.run(&["rm", "sweeper:/d/f"]).ok();
}

#[test]
fn a_drop_box_takes_and_tells_nothing() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    write(&stage, "srv/box/taken", "t");
    write(&stage, "srv/box/room/inner", "i");
    grant(&stage, &server, "drop", &["--prefix", "box", "--allow", "write-new"]);
    let f = stage.file("f", 3_000_000);
    stage.run(&["put", "f", "drop:/new"]).ok();
    assert_eq!(fs::read(stage.path("srv/box/new")).unwrap(), fs::read(&f).unwrap());
    // Whoever was not told that it was done does it again.
    stage.run(&["put", "f", "drop:/new"]).ok();
    // Not so somebody else, who has the very file.
    grant(&stage, &server, "other", &["--prefix", "box", "--allow", "write-new"]);
    let receipt = ["put", "f", "other:/new", "--receipt", "r"];
    stage.run(&receipt).fails(4, &["overwrite \"new\": not allowed"]);
    stage.run(&["put", "f", "nas:/box/owners"]).ok();
    stage.run(&["put", "f", "drop:/owners"]).fails(4, &["overwrite \"owners\": not allowed"]);
    // A name that is taken has one answer, whatever has it.
    let told = |name: &str| {
        let ended = stage.run(&["put", "f", &format!("drop:/{name}")]);
        assert_eq!(ended.status, 4, "{name}: {}", ended.err);
        ended.err.replace(name, "NAME")
    };
    stage.file("g", 100);
    let taken = told("taken");
    assert!(taken.contains("overwrite \"NAME\": not allowed"), "{taken}");
    assert_eq!(told("room"), taken);
    // Beneath a name there is one answer, whether it stands or not, and what it is.
    let beneath = told("none/f");
    assert!(beneath.contains("make directory"), "{beneath}");
    for name in ["room/f", "taken/f", "room/inner"] {
        let answer = told(name).replace(name.split('/').next().unwrap(), "PARENT");
        assert_eq!(answer, beneath.replace("none", "PARENT"), "{name}");
    }
    for args in [
        &["ls", "drop:/"][..],
        &["stat", "drop:/taken"],
        &["stat", "drop:/none"],
        &["get", "drop:/new", "-"],
        &["get", "drop:/none", "-"],
        &["rm", "drop:/taken"],
        &["rm", "drop:/none"],
        &["mv", "drop:/taken", "drop:/x"],
        &["mkdir", "drop:/room"],
        &["mkdir", "drop:/x"],
    ] {
        stage.run(args).fails(4, &["not allowed"]);
    }
    assert_eq!(fs::read(stage.path("srv/box/taken")).unwrap(), b"t");
    assert!(!stage.path("srv/box/none").exists() && !stage.path("srv/box/x").exists());
}

#[test]
fn what_a_ticket_allows_is_shown() {
    let stage = Stage::new();
    let _server = stage.serve(&[]);
    fs::create_dir_all(stage.path("srv/in")).unwrap();
    let flags = ["create", "box", "--prefix", "/in", "--allow", "write-new", "--expires", "7d"];
    let made = ticket(&stage, &flags).ok();
    assert!(made.err.contains("\"box\" allows write-new in /in, until 2"), "{}", made.err);
    let shown = ticket(&stage, &["show", "box"]).ok().text();
    for line in ["name     box", "allows   write-new", "prefix   /in", "expires  2"] {
        assert!(shown.contains(line), "{line}: {shown}");
    }
    assert!(!shown.contains(&made.text().trim()[5..]), "the secret is not kept");
    let event = ticket(&stage, &["show", "box", "--json"]).ok().event("ticket");
    assert_eq!((&event["prefix"], &event["allow"]), (&"/in".into(), &"write-new".into()));
    ticket(&stage, &["show", "none"]).fails(3, &["none", "floe ticket list"]);
    for (verbs, why) in [("write", "write-new"), ("overwrite", "write-new"), ("fly", "no verb")] {
        ticket(&stage, &["create", "x", "--allow", verbs]).fails(2, &[why]);
    }
}
