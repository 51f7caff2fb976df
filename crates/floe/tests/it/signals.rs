//! Ctrl-C and SIGTERM, at both ends.

use crate::stage::{Stage, content};
use rustix::process::Signal;
use std::fs;

#[test]
fn the_first_ctrl_c_keeps_what_arrived_and_says_how_to_go_on() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 9_000_000);
    let put = stage.start(&["put", "f", "nas:/f", "--limit", "3M", "--json"]);
    put.wait_for("\"progress\"");
    put.signal(Signal::INT);
    let ended = put.end();
    assert_eq!(ended.status, 130, "{}", ended.err);
    assert!(ended.err.contains("run the same command again: it continues"), "{}", ended.err);
    assert!(!stage.path("srv/f").exists());
    assert_eq!(ended.event("summary")["exit_status"], 130);
    stage.run(&["put", "f", "nas:/f"]).ok();
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(9_000_000));
}

#[test]
fn a_get_into_a_directory_that_was_missing_goes_on_where_it_was_killed() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    fs::write(stage.path("srv/f"), content(9_000_000)).unwrap();
    let get = stage.start(&["get", "nas:/f", "new/deep/", "--limit", "3M", "--json"]);
    get.wait_for("\"progress\"");
    get.kill();
    assert!(stage.path("here/new/deep/.floe").exists(), "the stage rests where it will stand");
    stage.run(&["get", "nas:/f", "new/deep/"]).ok();
    assert_eq!(fs::read(stage.path("here/new/deep/f")).unwrap(), content(9_000_000));
    for place in ["here/.floe", "here/new/.floe", "here/new/deep/.floe"] {
        assert!(!stage.path(place).exists(), "{place} was left");
    }
}

#[test]
fn ctrl_c_twice_ends_at_once() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.file("f", 9_000_000);
    let put = stage.start(&["put", "f", "nas:/f", "--limit", "3M", "--json"]);
    put.wait_for("\"progress\"");
    // A server that says nothing keeps the first one waiting.
    server.signal(Signal::STOP);
    put.signal(Signal::INT);
    put.wait_for("stopping");
    put.signal(Signal::INT);
    assert_eq!(put.end().status, 130);
    server.signal(Signal::CONT);
    stage.run(&["put", "f", "nas:/f"]).ok();
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(9_000_000));
}

#[test]
fn ctrl_c_before_anything_began_ends_at_once() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    server.signal(Signal::STOP);
    let ls = stage.start(&["ls", "nas:/", "-vv"]);
    // It connects (the kernel accepts) and waits for a greeting that does not come.
    crate::stage::wait_until("signals are heard", || {
        let status = fs::read_to_string(format!("/proc/{}/status", ls.child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (Signal::INT.as_raw() - 1)) != 0
    });
    ls.signal(Signal::INT);
    assert_eq!(ls.end().status, 130);
    server.signal(Signal::CONT);
}

#[test]
fn sigterm_drains_a_server() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.file("f", 2_000_000);
    let put = stage.start(&["put", "f", "nas:/f", "--limit", "1M", "--json"]);
    put.wait_for("\"progress\"");
    assert_eq!(server.terminate(), 0);
    assert_eq!(put.end().status, 0, "what runs may finish");
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(2_000_000));
}
