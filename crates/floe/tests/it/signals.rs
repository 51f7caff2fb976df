//! Ctrl-C and SIGTERM, at both ends.

use crate::stage::{Running, Stage, content, wait_until};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

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
fn ctrl_c_is_heard_while_nobody_takes_what_is_said() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 9_000_000);
    for (flags, times) in [(&["--json"][..], 1), (&["-v"], 2)] {
        let (reader, writer) = full_pipe();
        let mut command = stage.command();
        command.args(["put", "f", "nas:/f", "--limit", "2M"]).args(flags);
        let mut put = command.stdout(Stdio::piped()).stderr(writer).spawn().unwrap();
        wait_until("a stage", || has_stage(&stage) && hears_signals(&put));
        let pid = rustix::process::Pid::from_child(&put);
        (0..times).for_each(|_| rustix::process::kill_process(pid, Signal::INT).unwrap());
        wait_until("it ends", || put.try_wait().unwrap().is_some());
        assert_eq!(put.wait().unwrap().code(), Some(130), "{flags:?}");
        drop(reader);
    }
    stage.run(&["put", "f", "nas:/f"]).ok();
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(9_000_000));
}

fn hears_signals(child: &Child) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (Signal::INT.as_raw() - 1)) != 0
}

fn has_stage(stage: &Stage) -> bool {
    let Ok(mut names) = fs::read_dir(stage.path("srv/.floe")) else { return false };
    names.any(|name| name.unwrap().path().extension().is_some_and(|kind| kind == "stage"))
}

/// A pipe that takes nothing more.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&writer).unwrap();
    rustix::fs::fcntl_setfl(&writer, flags | rustix::fs::OFlags::NONBLOCK).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    while writer.write(b"x").is_ok() {}
    rustix::fs::fcntl_setfl(&writer, flags).unwrap();
    (reader, writer)
}

#[test]
fn ctrl_c_ends_a_command_that_is_connecting_again() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.file("f", 9_000_000);
    let put = stage.start(&["put", "f", "nas:/f", "--limit", "3M", "--json"]);
    put.wait_for("\"progress\"");
    let port = server.port;
    server.kill();
    put.wait_for("\"reconnecting\"");
    // Somebody is there again, and says nothing.
    let silent = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let _heard = silent.accept().unwrap();
    put.signal(Signal::INT);
    let ended = put.end();
    assert_eq!(ended.status, 130, "{}", ended.err);
    assert!(ended.err.contains("run the same command again: it continues"), "{}", ended.err);
    assert_eq!(ended.event("summary")["code"], "interrupted");
}

#[test]
fn ctrl_c_ends_a_get_to_standard_output_that_nobody_reads() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    fs::write(stage.path("srv/f"), content(40_000_000)).unwrap();
    let mut command = stage.command();
    command.args(["get", "nas:/f", "-", "--streams", "4", "--json"]);
    let mut get = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(get.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("\"progress\"")));
    let pid = rustix::process::Pid::from_child(&get);
    rustix::process::kill_process(pid, Signal::INT).unwrap();
    wait_until("it ends", || get.try_wait().unwrap().is_some());
    assert_eq!(get.wait().unwrap().code(), Some(130));
}

#[test]
fn a_terminal_that_is_closed_ends_it_in_good_order_unless_it_was_to_outlive_it() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 12_000_000);
    let under = |program: &[&str]| {
        let there = stage.command();
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(there.get_program());
        command.args(["put", "f", "nas:/f", "--limit", "3M", "--json"]);
        command.current_dir(there.get_current_dir().unwrap());
        command.env("FLOE_STATE", stage.path("state"));
        Running::start(&mut command, b"")
    };
    // Whoever runs this test may be one to outlive its terminal.
    let put = under(&["env", "--default-signal=HUP"]);
    put.wait_for("\"progress\"");
    put.signal(Signal::HUP);
    let ended = put.end();
    assert_eq!(ended.status, 130, "{}", ended.err);
    assert!(ended.err.contains("run the same command again: it continues"), "{}", ended.err);
    let put = under(&["nohup"]);
    put.wait_for("\"progress\"");
    put.signal(Signal::HUP);
    put.end().ok();
}

#[test]
fn ctrl_c_before_anything_began_ends_at_once() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    server.signal(Signal::STOP);
    let ls = stage.start(&["ls", "nas:/", "-vv"]);
    // It connects (the kernel accepts) and waits for a greeting that does not come.
    wait_until("signals are heard", || hears_signals(&ls.child));
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

#[test]
fn a_server_that_ends_at_once_leaves_nothing_but_its_id() {
    let stage = Stage::new();
    for _ in 0..20 {
        // It looks for what others left, in the area and with a file of its own there.
        assert_eq!(stage.serve(&[]).terminate(), 0);
        let left = fs::read_dir(stage.path("srv/.floe")).unwrap();
        let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["id"]);
    }
}
