//! `floe status`: what runs on a server, ended, limited and paused.

use crate::stage::{Ended, Running, Stage, content, wait_until};
use crate::tickets::{grant, ticket};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub fn status(stage: &Stage, args: &[&str]) -> Ended {
    let state = stage.path("state-server");
    stage.run(&[&["status"], args, &["--state", state.to_str().unwrap()]].concat())
}

/// The transfers that run.
fn transfers(stage: &Stage) -> Vec<Value> {
    let shown = status(stage, &["--json"]).ok();
    shown.events().into_iter().filter(|event| event["event"] == "transfer").collect()
}

/// The one transfer that runs, once it does.
fn running(stage: &Stage) -> Value {
    let mut found = Vec::new();
    wait_until("a transfer runs", || {
        found = transfers(stage);
        found.first().is_some_and(|one| one["bytes_moved"].as_u64().unwrap() > 0)
    });
    found.remove(0)
}

fn moved(stage: &Stage) -> u64 {
    transfers(stage)[0]["bytes_moved"].as_u64().unwrap()
}

/// The sockets that lie in the state directory.
pub fn sockets(stage: &Stage) -> Vec<PathBuf> {
    let dir = fs::read_dir(stage.path("state-server")).unwrap();
    let all = dir.map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_string_lossy().ends_with(".sock")).collect()
}

/// Asks over a socket itself, and says what is answered.
pub fn say(socket: &Path, bytes: &[u8]) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    // It may hang up before all is said.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

/// A slow put that runs.
fn slow(stage: &Stage, rate: &str) -> Running {
    stage.file("f", 30_000_000);
    stage.start(&["put", "f", "nas:/f", "--limit", rate, "--json"])
}

#[test]
fn what_runs_is_shown_and_names_are_harmless() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    fs::create_dir(stage.path("srv/box")).unwrap();
    grant(&stage, &server, "alice", &["--prefix", "box", "--allow", "all"]);
    status(&stage, &[]).ok();
    stage.file("f", 30_000_000);
    let hostile = "alice:/a\u{1b}[31m\nb";
    let put = stage.start(&["put", "f", hostile, "--limit", "1M"]);
    let one = running(&stage);
    assert_eq!((&one["direction"], &one["path"]), (&"put".into(), &"box/a\u{1b}[31m\nb".into()));
    assert_eq!(one["bytes_total"], 30_000_000);
    assert!(one["bytes_per_second"].as_u64().unwrap() < 8_000_000, "{one}");
    let text = status(&stage, &[]).ok().text();
    assert!(text.contains("put \"box/a\\u{1b}[31m\\u{a}b\""), "{text}");
    assert!(text.contains("\"alice\" from 127.0.0.1:") && !text.contains('\x1b'), "{text}");
    assert!(text.contains("1 sessions, 1 transfers"), "{text}");
    put.kill();
    wait_until("it is gone", || transfers(&stage).is_empty());
    // The socket is this user's alone, and goes with the server.
    assert_eq!(fs::metadata(&sockets(&stage)[0]).unwrap().mode() & 0o777, 0o600);
    assert_eq!(server.terminate(), 0);
    assert_eq!(sockets(&stage).len(), 0);
    status(&stage, &[]).fails(3, &["none runs here"]);
}

#[test]
fn a_transfer_that_is_ended_says_who_ended_it_and_continues_with_the_same_command() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&["-v"]);
    for whole in [false, true] {
        let put = slow(&stage, "1M");
        let one = running(&stage);
        wait_until("a chunk is recorded", || {
            transfers(&stage)[0]["bytes_stored"].as_u64() > Some(0)
        });
        let id = if whole { &one["session"] } else { &one["id"] };
        let began = Instant::now();
        status(&stage, &["end", id.as_str().unwrap()]).ok();
        let put = put.end().fails(4, &["ended by the server's operator ("]);
        assert!(!put.err.contains("ticket") && !put.err.contains("not allowed"), "{}", put.err);
        assert!(began.elapsed() < Duration::from_secs(5));
        assert!(!stage.path("srv/f").exists());
    }
    let again = stage.run(&["put", "f", "nas:/f", "--json"]).ok();
    assert!(again.event("summary")["bytes_resumed"].as_u64().unwrap() > 0);
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(30_000_000));
    for id in ["none", "00000000", "00000000.0", "", "x.y", "\u{1b}"] {
        status(&stage, &["end", id]).fails(3, &["find"]);
    }
    // What it says at its end stands behind them all.
    let errors = Arc::clone(&server.errors);
    assert_eq!(server.terminate(), 0);
    wait_until("the log has come", || errors.lock().unwrap().contains("floe: ending"));
    assert_eq!(errors.lock().unwrap().matches("the operator ends it").count(), 2);
}

#[test]
fn a_pause_stops_the_bytes_of_both_ways_and_a_resume_finishes() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    fs::write(stage.path("srv/g"), content(30_000_000)).unwrap();
    stage.file("f", 30_000_000);
    for args in [["put", "f", "nas:/f"], ["get", "nas:/g", "g"]] {
        let it = stage.start(&[&args[..], &["--limit", "1M"]].concat());
        let one = running(&stage);
        let id = one["id"].as_str().unwrap();
        status(&stage, &["pause", id]).ok();
        // What was under way is counted by then: showing takes half a second.
        assert_eq!(transfers(&stage)[0]["paused"], true);
        let before = moved(&stage);
        let one = &transfers(&stage)[0];
        assert_eq!((moved(&stage), &one["bytes_per_second"]), (before, &0.into()), "{args:?}");
        status(&stage, &["resume", id]).ok();
        wait_until("it goes on", || moved(&stage) > before);
        it.kill();
        stage.run(&args).ok();
    }
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(30_000_000));
    assert_eq!(fs::read(stage.path("here/g")).unwrap(), content(30_000_000));
}

#[test]
fn a_limit_holds_and_is_taken_away() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let put = slow(&stage, "2M");
    let one = running(&stage);
    let session = one["session"].as_str().unwrap();
    status(&stage, &["limit", session, "300k"]).ok();
    let (before, began) = (moved(&stage), Instant::now());
    assert_eq!(transfers(&stage)[0]["limit"], 300_000);
    let rate = (moved(&stage) - before) as f64 / began.elapsed().as_secs_f64();
    // A piece is 256 KiB, and may go whole.
    assert!(rate < 1_200_000.0, "{rate}");
    status(&stage, &["limit", session, "0"]).fails(2, &["RATE"]);
    status(&stage, &["limit", session, "none"]).ok();
    assert_eq!(transfers(&stage)[0]["limit"], Value::Null);
    put.kill();
}

#[test]
fn strangers_and_nonsense_on_the_socket_do_no_harm() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let socket = sockets(&stage).remove(0);
    let say = |bytes: &[u8]| say(&socket, bytes);
    let silent: Vec<_> = (0..20).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    drop(silent);
    wait_until("there is room again", || !say(b"{}\n").is_empty());
    for nonsense in [&b""[..], b"\n", b"{\"ask\":\"burn\"}\n", &[b'{'; 100_000], b"\xff\xfe\n"] {
        let answer = say(nonsense);
        assert!(answer.is_empty() || answer.contains("\"failed\""), "{answer}");
    }
    status(&stage, &[]).ok();
}

#[test]
fn what_a_killed_server_left_is_passed_over_and_goes_with_the_next_that_starts() {
    let stage = Stage::new();
    let (killed, lives) = (stage.serve(&[]), stage.serve_and_log_in(&[]));
    assert_eq!(sockets(&stage).len(), 2);
    killed.kill();
    assert_eq!(sockets(&stage).len(), 2);
    let servers = || {
        let events = status(&stage, &["--json"]).ok().events();
        events.iter().filter(|event| event["event"] == "server").count()
    };
    assert_eq!(servers(), 1);
    let put = slow(&stage, "1M");
    let one = running(&stage);
    let _next = stage.serve(&[]);
    assert_eq!((sockets(&stage).len(), servers()), (2, 2));
    // The one that has it does it; the other does not know it.
    status(&stage, &["end", one["id"].as_str().unwrap()]).ok();
    put.end().fails(4, &["ended by the server's operator"]);
    // The client may hear of it before the server has let go.
    wait_until("it is gone", || transfers(&stage).is_empty());
    status(&stage, &["end", one["id"].as_str().unwrap()]).fails(3, &["find"]);
    assert_eq!(lives.terminate(), 0);
    assert_eq!((sockets(&stage).len(), servers()), (1, 1));
}

#[test]
fn a_server_that_does_not_answer_keeps_nobody_from_the_others() {
    let stage = Stage::new();
    let (hangs, _lives) = (stage.serve(&[]), stage.serve_and_log_in(&[]));
    let put = slow(&stage, "1M");
    let one = running(&stage);
    hangs.signal(rustix::process::Signal::STOP);
    let shown = status(&stage, &["--json"]);
    status(&stage, &["end", one["id"].as_str().unwrap()]).ok();
    put.end().fails(4, &["ended by the server's operator"]);
    hangs.signal(rustix::process::Signal::CONT);
    let events = shown.events();
    assert!(events.iter().any(|event| event["event"] == "transfer"), "{events:?}");
    shown.fails(6, &["no answer"]);
    assert_eq!(hangs.terminate(), 0);
}

#[test]
fn a_pause_and_a_limit_hold_beside_the_rate_of_the_ticket() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    grant(&stage, &server, "guest", &["--allow", "all", "--rate", "1M"]);
    fs::write(stage.path("srv/g"), content(90_000_000)).unwrap();
    stage.file("f", 90_000_000);
    for args in [["put", "f", "guest:/f"], ["get", "guest:/g", "g"]] {
        let it = stage.start(&args);
        let one = running(&stage);
        let id = one["id"].as_str().unwrap();
        status(&stage, &["pause", id]).ok();
        transfers(&stage);
        let before = moved(&stage);
        // Neither another rate nor another limit ends a pause.
        ticket(&stage, &["set", "guest", "--rate", "2M"]).ok();
        status(&stage, &["limit", id, "300k"]).ok();
        (0..3).for_each(|_| assert_eq!(moved(&stage), before, "{args:?}"));
        let one = transfers(&stage).remove(0);
        assert_eq!((&one["paused"], &one["limit"]), (&true.into(), &300_000.into()));
        status(&stage, &["resume", id]).ok();
        // The operator's limit is the slower one; then the ticket's is the only one.
        let (moves, took) = (2_000_000, Duration::from_millis(4500));
        assert!(time_of(&stage, moves) > took, "{args:?}: the operator's limit");
        status(&stage, &["limit", id, "none"]).ok();
        let time = time_of(&stage, 6_000_000);
        assert!(time > Duration::from_secs(2), "{args:?}: the ticket's rate: {time:?}");
        assert!(time < Duration::from_secs(15), "{args:?}: the operator's limit: {time:?}");
        ticket(&stage, &["set", "guest", "--rate", "1M"]).ok();
        status(&stage, &["limit", id, "50M"]).ok();
        let time = time_of(&stage, 3_000_000);
        assert!(time > Duration::from_secs(2), "{args:?}: a ticket's rate is not lifted: {time:?}");
        status(&stage, &["end", id]).ok();
        it.end().fails(4, &["ended by the server's operator"]);
    }
}

/// How long so many more bytes take.
fn time_of(stage: &Stage, bytes: u64) -> Duration {
    let (before, began) = (moved(stage), Instant::now());
    wait_until("they have moved", || moved(stage) >= before + bytes);
    began.elapsed()
}
