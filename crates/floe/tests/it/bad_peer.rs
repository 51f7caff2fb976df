//! What is wrong with the server or the network.

use crate::stage::{Stage, content};
use rustix::process::Signal;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Something on a port that answers every connection with these bytes, then closes.
fn impostor(answer: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            thread::spawn(move || talk(socket, answer));
        }
    });
    port
}

fn talk(mut socket: TcpStream, answer: &[u8]) {
    let mut some = [0; 16];
    let _ = socket.read(&mut some);
    let _ = socket.write_all(answer);
    let _ = socket.shutdown(std::net::Shutdown::Write);
    let _ = std::io::copy(&mut socket, &mut std::io::sink());
}

#[test]
fn the_server_is_not_there() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    server.kill();
    stage.file("f", 3);
    stage.run(&["put", "f", "nas:/f"]).fails(6, &["cannot reach"]);
    stage.run(&["ls", "nas:/"]).fails(6, &["cannot reach"]);
    let key = "0".repeat(64);
    let nowhere = "floe://no-such-host.invalid/";
    stage.run(&["ls", nowhere, "--key", &key]).fails(6, &["no-such-host.invalid"]);
}

#[test]
fn something_else_is_on_the_port() {
    let stage = Stage::new();
    let key = "0".repeat(64);
    for (answer, text) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "HTTP"),
        (b"SSH-2.0-OpenSSH_9.7\r\n", "SSH"),
        (b"\x00\xff\x00\xffgarbage and more garbage, none of it TLS", ""),
        (b"", ""),
    ] {
        let url = format!("floe://127.0.0.1:{}/", impostor(answer));
        let ended = stage.run(&["ls", &url, "--key", &key]);
        ended.fails(6, &[text]);
    }
}

#[test]
fn garbage_and_scanners_do_no_harm_to_a_server() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    for bytes in [
        &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"",
    ] {
        let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        socket.write_all(bytes).unwrap();
        socket.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        // It hangs up, politely or not; it does not hang.
        let _ = socket.read_to_end(&mut answer);
        stage.run(&["ls", "nas:/"]).ok();
    }
    assert_eq!(server.terminate(), 0);
}

#[test]
fn one_end_without_tls() {
    let stage = Stage::new();
    let server = stage.serve(&[]);
    let ticket = stage.owner_ticket();
    let args = ["ls", &server.url(""), "--plaintext"];
    let ended = stage.run_env(&args, "FLOE_TICKET", ticket.trim());
    assert_eq!(ended.status, 6, "{}", ended.err);
    let plain = Stage::new();
    let server = plain.serve(&["--plaintext"]);
    let ticket = plain.owner_ticket();
    let ended = plain.run_env(&["ls", &server.url("")], "FLOE_TICKET", ticket.trim());
    ended.fails(6, &["TLS"]);
}

#[test]
fn a_server_that_was_killed_comes_back_and_the_command_goes_on() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.file("f", 6_000_000);
    let put = stage.start(&["put", "f", "nas:/f", "--limit", "2M", "--json"]);
    put.wait_for("\"progress\"");
    let port = server.port.to_string();
    server.kill();
    put.wait_for("\"reconnecting\"");
    assert!(!stage.path("srv/f").exists());
    let mut again = stage.command();
    again.arg("serve").arg(stage.path("srv")).arg("--state").arg(stage.path("state-server"));
    let _server =
        crate::stage::Server::start(again.args(["--listen", &format!("127.0.0.1:{port}")]));
    let ended = put.end().ok();
    let summary = ended.event("summary");
    assert!(summary["reconnects"].as_u64().unwrap() >= 1, "{summary}");
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(6_000_000));
}

#[test]
fn a_client_that_was_killed_continues_where_it_was() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let file = stage.file("f", 12_000_000);
    settle(&file);
    for (args, found) in [
        (["put", "f", "nas:/f", "--limit", "6M", "--json"], "srv/f"),
        (["get", "nas:/f", "back", "--limit", "6M", "--json"], "here/back"),
    ] {
        settle_there(&stage, found);
        let running = stage.start(&args);
        running.wait_for("\"progress\"");
        running.kill();
        assert!(!stage.path(found).exists(), "nothing partial is visible");
        let fast = [args[0], args[1], args[2], "--json"];
        let summary = stage.run(&fast).ok().event("summary");
        assert_eq!(fs::read(stage.path(found)).unwrap(), content(12_000_000));
        assert!(summary["bytes_resumed"].as_u64().unwrap() > 0, "{summary}");
        let all =
            summary["bytes_sent"].as_u64().unwrap() + summary["bytes_resumed"].as_u64().unwrap();
        assert_eq!(all, 12_000_000, "{summary}");
    }
    assert_eq!(server.terminate(), 0);
}

/// A version is trusted by a resume when its ctime is two seconds old.
fn settle(file: &std::path::Path) {
    use std::os::unix::fs::MetadataExt;
    let ctime = fs::metadata(file).unwrap().ctime();
    crate::stage::wait_until("the clock", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs() as i64 > ctime + 2
    });
}

fn settle_there(stage: &Stage, found: &str) {
    if found == "here/back" {
        settle(&stage.path("srv/f"));
    }
}

#[test]
fn a_stopped_client_is_taken_over_by_its_second_run() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 9_000_000);
    let put = ["put", "f", "nas:/f", "--limit", "3M", "--json"];
    let stopped = stage.start(&put);
    stopped.wait_for("\"progress\"");
    stopped.signal(Signal::STOP);
    // While it lives, stopped or not, the same command knows it.
    stage.run(&put[..3]).fails(9, &["already running"]);
    stopped.kill();
    stage.run(&put[..3]).ok();
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(9_000_000));
}

#[test]
fn a_source_that_changes_is_noticed() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let file = stage.file("f", 6_000_000);
    let put = stage.start(&["put", "f", "nas:/f", "--limit", "2M", "--json"]);
    put.wait_for("\"progress\"");
    let shorter = fs::File::options().write(true).open(&file).unwrap();
    shorter.set_len(3_000_000).unwrap();
    let ended = put.end();
    // It restarts once with what the file is now, or says that it changed; never a mixture.
    match ended.status {
        0 => assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(3_000_000)),
        8 => assert!(!stage.path("srv/f").exists()),
        other => panic!("status {other}: {}", ended.err),
    }
}

#[test]
fn a_source_that_vanishes_while_it_is_sent_is_told_as_changed() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    for (name, becomes_directory) in [("gone", false), ("other", true)] {
        let (file, dest) = (stage.file(name, 6_000_000), format!("nas:/{name}"));
        let put = stage.start(&["put", name, &dest, "--limit", "2M", "--json"]);
        put.wait_for("\"progress\"");
        fs::remove_file(&file).unwrap();
        if becomes_directory {
            fs::create_dir(&file).unwrap();
        }
        let again = format!("open \"{name}\" again");
        let ended = put.end().fails(8, &[&again, "changed while it was sent"]);
        assert!(!ended.err.contains("floe ls"), "{}", ended.err);
        assert!(!stage.path("srv").join(name).exists());
    }
}
