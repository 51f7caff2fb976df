//! What a line says to do: it fits what was named, and where that is.

use crate::stage::{Ended, Running, Server, Stage, words};
use std::fs;

/// One line with this status, these texts, and none that speaks of what is not concerned.
#[track_caller]
fn advises(ended: Ended, status: i32, texts: &[&str]) {
    let ended = ended.fails(status, texts);
    let line = ended.err.lines().find(|line| line.starts_with("floe: ")).unwrap();
    for wrong in ["floe ls", "end DEST with", "nothing is removed to make room", "see --help"] {
        assert!(!line.contains(wrong), "{wrong:?} is in {line:?}");
    }
}

#[test]
fn a_missing_name_of_this_machine_is_not_looked_for_on_a_server() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 3);
    let here = "one on this machine";
    for args in [
        &["try", "none"][..],
        &["raw", "serve", "none"],
        &["raw", "send", "none", "127.0.0.1:1"],
        &["serve", "--config", "none"],
        &["serve", "--cert", "none", "--key", "f"],
        &["put", "none", "nas:/x"],
    ] {
        advises(stage.run(args), 3, &["\"none\"", "not found", here]);
    }
    let json = stage.run(&["put", "none", "nas:/x", "--json"]);
    assert!(json.event("error")["hint"].as_str().unwrap().contains(here), "{}", json.text());
    let directory = "name a directory that exists";
    for args in [
        &["serve", "none"][..],
        &["raw", "recv", "none"],
        &["raw", "fetch", "127.0.0.1:1", "none/f"],
        &["ticket", "list", "--root", "none"],
    ] {
        advises(stage.run(args), 3, &["\"none\"", "not found", directory]);
    }
    for args in [
        &["serve", "f"][..],
        &["raw", "recv", "f"],
        &["raw", "fetch", "127.0.0.1:1", "f/g"],
        &["ticket", "list", "--root", "f"],
    ] {
        advises(stage.run(args), 1, &["\"f\"", "is not a directory", directory]);
    }
    let revoke = ["ticket", "revoke", "none", "--root", "../srv"];
    advises(stage.run(&revoke), 3, &["none", "floe ticket list"]);
}

#[test]
fn where_a_directory_stands_another_name_is_advised() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("a", 3);
    fs::create_dir_all(stage.path("srv/d/a")).unwrap();
    fs::create_dir_all(stage.path("here/d")).unwrap();
    advises(stage.run(&["put", "-", "nas:/d"]), 1, &["\"d\"", "or one inside it"]);
    advises(stage.run(&["put", "a", "nas:/d/"]), 1, &["\"d/a\"", "another name"]);
    for file in ["d", "d/"] {
        let fetch = ["raw", "fetch", "127.0.0.1:1", file];
        advises(stage.run(&fetch), 1, &["is a directory", "name the file to be made in it"]);
    }
    for args in [&["raw", "serve", "d"][..], &["raw", "send", "d", "127.0.0.1:1"]] {
        advises(stage.run(args), 1, &["is a directory", "name a file", "floe put"]);
    }
}

#[test]
fn nobody_is_told_to_run_floe_serve_for_the_plain_wire() {
    let stage = Stage::new();
    stage.file("f", 3);
    for args in [["raw", "fetch", "127.0.0.1:1", "g"], ["raw", "send", "f", "127.0.0.1:1"]] {
        let ended = stage.run(&args).fails(6, &["127.0.0.1:1", "something listens there"]);
        assert!(!ended.err.contains("floe serve"), "{}", ended.err);
    }
}

#[test]
fn what_makes_no_sense_is_told_with_its_reason() {
    let stage = Stage::new();
    stage.file("f", 3);
    let elsewhere = ["--listen", "192.0.2.1:0"];
    for args in [&["serve", "../srv"][..], &["raw", "serve", "f"], &["raw", "recv", "."]] {
        let ended = stage.run(&[args, &elsewhere].concat());
        advises(ended, 2, &["192.0.2.1:0", "an address of this machine"]);
    }
    let bad = ["serve", "../srv", "--cert", "f", "--key", "f"];
    advises(stage.run(&bad), 2, &["\"f\"", "--cert takes a chain"]);
    for name in ["", " x", "a\nb", "owner"] {
        let create = ["ticket", "create", name, "--root", "../srv"];
        let ended = stage.run(&create);
        assert!([2, 9].contains(&ended.status), "{}", ended.err);
        let status = ended.status;
        advises(ended, status, &["create a ticket: ", "floe ticket"]);
    }
    for verb in ["put", "get"] {
        let ended = stage.run(&[verb, "a"]).fails(2, &["<DEST>"]);
        assert!(!ended.err.contains("<SRC>"), "{}", ended.err);
    }
}

#[test]
fn a_port_alone_means_every_address_wherever_one_may_listen() {
    let stage = Stage::new();
    stage.file("f", 3);
    let state = stage.path("state-2");
    for args in [
        words([&"serve", &"../srv", &"--listen", &":0", &"--state", &state]),
        words([&"raw", &"serve", &"f", &"--listen", &":0"]),
        words([&"raw", &"serve", &"f", &"--listen", &"127.0.0.1:0"]),
    ] {
        let server = Server::start(stage.command().args(&args));
        assert_ne!(server.port, 0);
    }
    for args in [&["serve", "../srv"][..], &["raw", "serve", "f"]] {
        let mut command = stage.command();
        command.args(args).args(["--listen", "host:1"]);
        Running::start(&mut command, b"").end().fails(2, &["ADDR:PORT"]);
    }
}
