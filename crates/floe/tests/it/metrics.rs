//! `floe serve --metrics`: numbers and health over plain HTTP, apart from everything else.

use crate::stage::{Server, Stage, wait_until};
use std::collections::HashMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A server with metrics on a free port.
pub fn serve(stage: &Stage) -> (Server, u16) {
    serve_with(stage, &["--metrics=127.0.0.1:0"])
}

fn serve_with(stage: &Stage, flags: &[&str]) -> (Server, u16) {
    let server = stage.serve_and_log_in(flags);
    let mut port = None;
    wait_until("the address of the metrics is said", || {
        let said = server.errors.lock().unwrap();
        let line = said.lines().find(|line| line.starts_with("metrics "));
        port = line.and_then(|line| {
            line.split("127.0.0.1:").nth(1)?.split('/').next()?.parse::<u16>().ok()
        });
        port.is_some()
    });
    (server, port.unwrap())
}

fn ask(port: u16, head: &str) -> String {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).unwrap();
    // It may hang up before all is said.
    let _ = socket.write_all(head.as_bytes());
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    answer
}

pub fn numbers(port: u16) -> HashMap<String, u64> {
    let answer = ask(port, "GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
    let lines = body.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, number) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), number.parse().unwrap())
        })
        .collect()
}

#[test]
fn what_a_server_did_is_counted() {
    let stage = Stage::new();
    let (_server, port) = serve(&stage);
    let before = numbers(port);
    stage.file("t/a", 1_000_000);
    stage.file("t/b", 1_000);
    stage.run(&["put", "t", "nas:/t"]).ok();
    stage.run(&["get", "nas:/t/a", "back"]).ok();
    stage.run(&["get", "nas:/none", "back"]).fails(3, &[]);
    wait_until("all sessions are over", || numbers(port)["floe_sessions"] == 0);
    let now = numbers(port);
    assert_eq!(now["floe_transfer_bytes_total{direction=\"put\"}"], 1_001_000);
    assert_eq!(now["floe_transfer_bytes_total{direction=\"get\"}"], 1_000_000);
    assert_eq!(now["floe_transfers_total{direction=\"put\",result=\"done\"}"], 1);
    assert_eq!(now["floe_transfers_total{direction=\"get\",result=\"done\"}"], 1);
    assert_eq!(now["floe_transfers_total{direction=\"get\",result=\"failed\"}"], 1);
    assert_eq!(now["floe_transfers{direction=\"put\"}"], 0);
    assert!(now["floe_sessions_total"] > before["floe_sessions_total"]);
    // A directory, its two files, its end.
    assert!(now["floe_entries_total{direction=\"put\"}"] >= 3);
}

#[test]
fn bytes_of_a_transfer_that_runs_count_and_never_fall() {
    let stage = Stage::new();
    let (_server, port) = serve(&stage);
    stage.file("f", 8_000_000);
    let put = stage.start(&["put", "f", "nas:/f", "--limit", "4M"]);
    let bytes = || numbers(port)["floe_transfer_bytes_total{direction=\"put\"}"];
    let mut last = 0;
    wait_until("all of it is counted", || {
        let now = bytes();
        assert!(now >= last, "{now} after {last}");
        last = now;
        now >= 8_000_000
    });
    put.end().ok();
    assert_eq!(bytes(), 8_000_000);
}

#[test]
fn health_is_told_and_a_drain_is_none() {
    let stage = Stage::new();
    let (server, port) = serve(&stage);
    let healthy = ask(port, "GET /healthz HTTP/1.1\r\n\r\n");
    assert!(healthy.starts_with("HTTP/1.1 200 OK") && healthy.ends_with("\r\n\r\nok\n"));
    stage.file("f", 30_000_000);
    let put = stage.start(&["put", "f", "nas:/f", "--limit", "1M"]);
    wait_until("it runs", || numbers(port)["floe_transfers{direction=\"put\"}"] == 1);
    server.signal(rustix::process::Signal::TERM);
    wait_until("it drains", || {
        ask(port, "GET /healthz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503")
    });
    put.kill();
}

#[test]
fn strangers_are_held_to_a_few_connections_a_deadline_and_no_bodies() {
    let stage = Stage::new();
    let (_server, port) = serve(&stage);
    for (head, status) in [
        ("POST /metrics HTTP/1.1\r\nContent-Length: 9\r\n\r\nsome body", "413"),
        ("DELETE /metrics HTTP/1.1\r\n\r\n", "405"),
        ("GET /../../etc/passwd HTTP/1.1\r\n\r\n", "404"),
        ("nonsense\r\n\r\n", "400"),
        (&format!("GET /metrics HTTP/1.1\r\nX: {}", "x".repeat(5000)), "431"),
    ] {
        let answer = ask(port, head);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{head:.40}: {answer}");
    }
    let silent: Vec<_> =
        (0..50).map(|_| TcpStream::connect(("127.0.0.1", port)).unwrap()).collect();
    // Those that say nothing are hung up on; then there is room.
    wait_until("it answers again", || {
        ask(port, "GET /healthz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200")
    });
    for mut socket in silent {
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(socket.read(&mut [0; 1]).unwrap_or(0), 0, "hung up");
    }
    // Clients are served all the while.
    stage.run(&["ls", "nas:/"]).ok();
}

#[test]
fn connections_that_ask_nothing_or_were_answered_give_way_to_who_asks() {
    const HEALTH: &str = "GET /healthz HTTP/1.1\r\n\r\n";
    let stage = Stage::new();
    let (_server, port) = serve(&stage);
    let dial = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    // As many as there may be, and another for each that had to leave.
    let mut idle: Vec<_> = (0..8).map(|_| dial()).collect();
    for nth in 0..10 {
        assert!(ask(port, HEALTH).starts_with("HTTP/1.1 200"), "{nth} silent ones came again");
        idle.push(dial());
    }
    for nth in 0..10 {
        let mut answered = dial();
        answered.write_all(HEALTH.as_bytes()).unwrap();
        let mut part = [0; 1024];
        assert!(answered.read(&mut part).unwrap() > 0, "{nth} stay after their answer");
        idle.push(answered);
    }
}

#[test]
fn an_address_that_is_taken_is_told_and_none_is_listened_on_unasked() {
    let stage = Stage::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let flag = format!("--metrics={}", taken.local_addr().unwrap());
    let state = stage.path("state-server");
    let args = ["serve", "../srv", "--state", state.to_str().unwrap(), "--listen", "127.0.0.1:0"];
    let ended = stage.run(&[&args[..], &[&flag]].concat());
    ended.fails(1, &["in use"]);
    let server = stage.serve_and_log_in(&[]);
    assert!(!server.errors.lock().unwrap().contains("metrics"));
}

#[test]
fn the_configuration_file_may_say_where_and_another_place_needs_a_restart() {
    let stage = Stage::new();
    let file = stage.path("floe.toml");
    fs::write(&file, "metrics = \"127.0.0.1:0\"\n").unwrap();
    let (server, port) = serve_with(&stage, &["--config", file.to_str().unwrap()]);
    assert!(ask(port, "GET /healthz HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 OK"));
    fs::write(&file, "metrics = \"127.0.0.1\"\n").unwrap();
    server.signal(rustix::process::Signal::HUP);
    wait_until("it says that it needs a restart", || {
        let said = server.errors.lock().unwrap();
        said.contains("another address of the metrics needs a restart")
    });
    assert_eq!(numbers(port)["floe_draining"], 0);
}
