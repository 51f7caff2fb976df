//! What is said to programs and people beside the job itself: events, hints, standard output.

use crate::stage::{Running, Server, Stage, content};
use std::fs;
use std::process::Stdio;

#[test]
fn every_command_tells_programs_why_it_failed() {
    let stage = Stage::new();
    for (args, status, code) in [
        (&["raw", "send", "none", "127.0.0.1:1", "--json"][..], 3, "not_found"),
        (&["raw", "serve", "none", "--json"], 3, "not_found"),
        (&["raw", "recv", "none", "--json"], 3, "not_found"),
        (&["try", "none", "--json"], 3, "not_found"),
        (&["serve", "none", "--json"], 3, "not_found"),
        (&["ls", "--json", "--nope"], 2, "usage"),
        (&["put", "a", "nas:/a", "--streams", "0", "--json"], 2, "usage"),
    ] {
        let ended = stage.run(args);
        assert_eq!(ended.status, status, "{args:?}: {}", ended.err);
        let event = ended.event("error");
        assert_eq!((&event["code"], &event["exit_status"]), (&code.into(), &status.into()));
    }
    let fetch = stage.run(&["raw", "fetch", "127.0.0.1:1", "-", "--json"]);
    assert!(fetch.out.is_empty(), "standard output is for data");
    assert!(fetch.err.contains("\"event\":\"error\""), "{}", fetch.err);
    fs::write(stage.path("here/floe.toml"), "json = true\ndir = \"none\"\n").unwrap();
    let serve = stage.run(&["serve", "--config", "floe.toml"]);
    assert_eq!(serve.event("error")["code"], "not_found");
}

#[test]
fn a_transfer_that_cannot_begin_tells_programs_why() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.file("t/f", 5);
    server.kill();
    // A tree asks nothing of the server before it begins; of several files each has its event.
    for (args, events) in [(&["put", "t", "nas:/t"][..], 1), (&["put", "no", "t", "nas:/"], 2)] {
        let ended = stage.run(&[args, &["--json"]].concat());
        let errors: Vec<_> =
            ended.events().into_iter().filter(|event| event["event"] == "error").collect();
        assert_eq!(errors.len(), events, "{}", ended.text());
        let last = errors.last().unwrap();
        assert_eq!((&last["code"], &last["exit_status"]), (&"unreachable".into(), &6.into()));
        assert_eq!(ended.status, 6, "{}", ended.err);
    }
}

#[test]
fn verbose_is_heard_by_every_command() {
    let stage = Stage::new();
    let ended = stage.run(&["raw", "send", "none", "127.0.0.1:1", "-vvv"]);
    assert_eq!(ended.status, 3);
    let mut command = stage.command();
    command.args(["try", "--size", "1Mi", "-vvv", "--json"]).env("TMPDIR", stage.path(""));
    let ended = Running::start(&mut command, b"").end().ok();
    assert!(ended.err.contains("TRACE") || ended.err.contains("DEBUG"), "{}", ended.err);
}

#[test]
fn events_that_cannot_be_written_are_a_failure() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 5);
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let mut command = stage.command();
    command.args(["put", "f", "nas:/f", "--json"]).stdin(Stdio::null()).stdout(full);
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(7), "{said}");
    assert!(said.contains("write events: "), "{said}");
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(5));
}

#[test]
fn a_full_standard_output_is_said_once() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    fs::write(stage.path("srv/f"), content(4_000_000)).unwrap();
    for args in
        [&["ls", "nas:/"][..], &["ls", "nas:/", "--json"], &["get", "nas:/f", "-"], &["hosts"]]
    {
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let mut command = stage.command();
        command.args(args).stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(7), "{args:?}: {said}");
        assert_eq!(said.matches("no space left").count(), 1, "{args:?}: {said}");
        assert!(!said.contains("it continues"), "{args:?}: {said}");
    }
}

#[test]
fn a_reader_that_has_enough_is_not_a_broken_disk() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    fs::write(stage.path("srv/f"), content(4_000_000)).unwrap();
    let mut command = stage.command();
    command.args(["get", "nas:/f", "-"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut get = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(get.stdout.take());
    let said = String::from_utf8(get.wait_with_output().unwrap().stderr).unwrap();
    assert!(said.contains("write standard output: its reader is gone"), "{said}");
    assert!(!said.contains("disk") && said.contains("must take all of it"), "{said}");
    // A list that nobody reads on is at its end.
    let mut command = stage.command();
    command.args(["ls", "nas:/"]).stdin(Stdio::null()).stderr(Stdio::piped());
    let mut ls = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(ls.stdout.take());
    let output = ls.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn a_single_object_that_fails_has_one_line() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 100);
    fs::create_dir(stage.path("srv/dir")).unwrap();
    fs::write(stage.path("srv/dir/f"), b"x").unwrap();
    let ended = stage.run(&["put", "f", "nas:/dir/f/below"]);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    let ended = stage.run(&["put", "none", "nas:/x"]);
    assert!(!ended.err.contains("floe ls"), "the name is one of this machine: {}", ended.err);
    let ended = stage.run(&["serve", "--listen", "8.8.8.8:0"]);
    assert_eq!(ended.status, 2, "{}", ended.err);
}

#[test]
fn the_environment_comes_before_the_configuration_file() {
    let stage = Stage::new();
    fs::write(
        stage.path("here/floe.toml"),
        "dir = \"../srv\"\nstate = \"of-the-file\"\nlisten = [\"127.0.0.1:0\"]\n",
    )
    .unwrap();
    let server = Server::start(stage.command().args(["serve", "--config", "floe.toml"]));
    assert!(stage.path("state/owner.ticket").exists(), "{}", server.errors.lock().unwrap());
    assert!(!stage.path("here/of-the-file").exists());
    drop(server);
    let mut command = stage.command();
    let server = Server::start(
        command.env_remove("FLOE_STATE").args(["serve", "--config"]).arg("floe.toml"),
    );
    assert!(stage.path("here/of-the-file/owner.ticket").exists());
    drop(server);
}

#[test]
fn a_working_directory_inside_the_reserved_one_is_refused() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    fs::create_dir_all(stage.path("here/.floe/sub")).unwrap();
    fs::write(stage.path("srv/f"), b"x").unwrap();
    for args in [["put", ".", "nas:/cw"], ["get", "nas:/f", "."], ["get", "nas:/f", "g"]] {
        let mut command = stage.command();
        command.args(args).current_dir(stage.path("here/.floe/sub"));
        Running::start(&mut command, b"").end().fails(2, &["'.floe' is reserved"]);
    }
}
