//! `floe doctor`.

use crate::link::Link;
use crate::stage::{Server, Stage, census, wait_until, words};
use crate::trust::fingerprint;
use floe_proto::codec::encode;
use floe_proto::frame::{Frame, Verbs, Welcome};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::thread;

/// Every name beneath a directory.
fn names(dir: &Path) -> Vec<PathBuf> {
    census(dir).into_keys().collect()
}

/// Files that a process holds and that have no name.
fn nameless(server: &Server) -> usize {
    let Ok(open) = fs::read_dir(format!("/proc/{}/fd", server.pid())) else { return 0 };
    let targets = open.flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
    let beneath = |target: &Path| {
        let text = target.to_string_lossy();
        text.contains("/srv/") && text.ends_with("(deleted)")
    };
    targets.filter(|target| beneath(target)).count()
}

#[track_caller]
fn rate(value: &Value) -> u64 {
    value["rate"].as_u64().unwrap_or_else(|| panic!("no rate in {value}"))
}

#[track_caller]
fn stage_of(event: &Value, id: &str) -> Value {
    let stages = event["stages"].as_array().unwrap();
    let found = stages.iter().find(|stage| stage["stage"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {event}")).clone()
}

/// What a forecast has to be, whatever the machine: the slowest of its stages, of which the path
/// is slower where a processor that is its limit copies as well.
#[track_caller]
fn is_sound(event: &Value) {
    let of = |id| rate(&stage_of(event, id));
    let path = |id, sender, receiver| {
        let path = stage_of(event, id);
        let note = path["note"].as_str().unwrap();
        let at_sender = ["sender_cpu", "source_disk"].iter().any(|limit| note.ends_with(limit));
        let at_receiver =
            ["receiver_cpu", "sink_disk", "sync"].iter().any(|limit| note.ends_with(limit));
        let copies = if at_sender { sender } else { receiver };
        let alone = u128::from(rate(&path));
        if !at_sender && !at_receiver {
            return rate(&path);
        }
        let copies = u128::from(of(copies));
        u64::try_from(alone * copies / (alone + copies)).unwrap()
    };
    let up = path("to_server", "local_copy_out", "server_copy_in");
    let down = path("from_server", "server_copy_out", "local_copy_in");
    let put = [of("local_disk_read"), up, of("server_disk_write")];
    let get = [of("local_disk_write"), down, of("server_disk_read")];
    for (found, stages) in [(&event["put"], put), (&event["get"], get)] {
        assert_eq!(Some(rate(found)), stages.into_iter().min(), "{event}");
        assert!(found["early_rate"].as_u64().unwrap() <= found["rate"].as_u64().unwrap());
        assert!(found["limit"].is_string() && found["helps"].is_string(), "{event}");
    }
}

#[test]
fn each_stage_is_measured_and_nothing_is_left() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.file("f", 3);
    fs::write(stage.path("srv/g"), "x").unwrap();
    let before = (names(&stage.path("srv")), names(&stage.path("here")));
    let event = stage.run(&["doctor", "nas", "--json"]).ok().event("doctor");
    is_sound(&event);
    let stages = event["stages"].as_array().unwrap();
    assert_eq!(stages.len(), 18, "{event}");
    for found in stages {
        assert!(found["rate"].as_u64().or(found["micros"].as_u64()).is_some(), "{found}");
    }
    assert_eq!((names(&stage.path("srv")), names(&stage.path("here"))), before);
    assert_eq!(nameless(&server), 0);
    assert_eq!(server.terminate(), 0);
}

#[test]
fn people_read_a_table_and_what_would_help_also_in_plaintext() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&["--plaintext"]);
    let text = stage.run(&["doctor", "nas:/a/b", "--plaintext"]).ok().text();
    let cipher = text.lines().find(|line| line.starts_with("cipher here")).unwrap();
    assert!(cipher.ends_with("plaintext"), "{text}");
    for start in ["to the server ", "disk there, read ", "put: about ", "get: about "] {
        assert!(text.lines().any(|line| line.starts_with(start)), "{start:?} in {text}");
    }
    assert!(text.contains("what would help: "), "{text}");
}

fn ticket(stage: &Stage, name: &str, flags: &[&str]) -> String {
    let (root, state) = (stage.path("srv"), stage.path("state-server"));
    let mut all = words([&"ticket", &"create", &name, &"--root", &root, &"--state", &state]);
    all.extend(flags.iter().map(Into::into));
    stage.run(&all).ok().text().trim().to_owned()
}

#[test]
fn what_a_ticket_does_not_allow_is_not_measured() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.log_in("reader", &server, &ticket(&stage, "reads", &["--allow", "read"]), &[]).ok();
    let event = stage.run(&["doctor", "reader", "--json"]).ok().event("doctor");
    assert!(event["put"].is_null() && rate(&event["get"]) > 0, "{event}");
    for id in ["to_server", "server_disk_read"] {
        let note = stage_of(&event, id)["note"].to_string();
        assert!(note.contains("does not allow to write"), "{event}");
    }
    let once = ticket(&stage, "once", &["--allow", "all", "--uses", "1"]);
    stage.log_in("once", &server, &once, &[]).ok();
    stage.run(&["doctor", "once"]).fails(1, &["uses are counted"]);
    let lists = ticket(&stage, "lists", &["--allow", "list"]);
    stage.log_in("lister", &server, &lists, &[]).ok();
    stage.run(&["doctor", "lister"]).fails(4, &["neither read nor write"]);
}

#[test]
fn a_quota_bounds_what_is_written_for_a_moment() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let flags = ["--allow", "write-new", "--quota", "1M"];
    let small = ticket(&stage, "small", &flags);
    stage.log_in("small", &server, &small, &[]).ok();
    let event = stage.run(&["doctor", "small", "--json"]).ok().event("doctor");
    let note = stage_of(&event, "server_disk_write")["note"].to_string();
    assert!(note.contains("quota"), "{event}");
    assert!(rate(&event["put"]) > 0, "{event}");
    // Nothing of it was counted.
    stage.file("f", 1000);
    stage.run(&["put", "f", "small:/f"]).ok();
}

#[test]
fn a_slow_link_is_named_as_the_limit() {
    const BYTES_PER_SEC: u64 = 6_000_000;
    let stage = Stage::new();
    let server = stage.serve(&[]);
    let link = Link::start(&server, BYTES_PER_SEC);
    let url = link.url("");
    let ended = stage.run_env(&["doctor", &url, "--json"], "FLOE_TICKET", ticket_of(&stage));
    let event = ended.ok().event("doctor");
    is_sound(&event);
    for way in ["put", "get"] {
        let found = &event[way];
        // A link that is a program is a receiver, too, and its window is full.
        let limit = found["limit"].as_str().unwrap();
        assert!(["network", "receiver_tcp_window"].contains(&limit), "{event}");
        assert!(rate(found) < BYTES_PER_SEC * 3 / 2 && rate(found) > BYTES_PER_SEC / 4, "{event}");
    }
}

fn ticket_of(stage: &Stage) -> String {
    stage.owner_ticket().trim().to_owned()
}

#[test]
fn a_doctor_that_is_killed_leaves_nothing_at_the_server() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let before = names(&stage.path("srv"));
    let doctor = stage.start(&["doctor", "nas"]);
    wait_until("the server measures its disk", || nameless(&server) > 0);
    doctor.kill();
    wait_until("the file is gone", || nameless(&server) == 0);
    assert_eq!(names(&stage.path("srv")), before);
    stage.run(&["ls", "nas:/"]).ok();
}

#[test]
fn without_a_ticket_nothing_is_measured() {
    let stage = Stage::new();
    let server = stage.serve(&["--public"]);
    let (url, key) = (server.url(""), fingerprint(&stage));
    let ended = stage.run(&["doctor", &url, "--key", &key]);
    ended.fails(4, &["measure without a ticket", "floe login"]);
}

/// A server of an earlier version, in plaintext: it lets everybody in, and has no abilities.
fn old_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let welcome = Welcome {
                abilities: 0,
                session: [5; 16],
                secret: [6; 32],
                verbs: Verbs::ALL,
                piece_bytes_max: 1 << 20,
                streams_max: 8,
                entries_ahead_max: 64,
                agent: "floe/0.0".into(),
                successor: None,
            };
            let mut out = Vec::new();
            encode(&Frame::<()>::Challenge([7; 32]), &mut out).unwrap();
            let _ = socket.write_all(&out);
            let mut some = [0; 4096];
            let _ = socket.read(&mut some);
            out.clear();
            encode(&Frame::<()>::Welcome(welcome), &mut out).unwrap();
            let _ = socket.write_all(&out);
            let _ = std::io::copy(&mut socket, &mut std::io::sink());
        }
    });
    port
}

#[test]
fn a_server_that_takes_no_probes_is_told_in_one_line() {
    let stage = Stage::new();
    let _server = stage.serve(&[]);
    let url = format!("floe://127.0.0.1:{}", old_server());
    let args = ["doctor", url.as_str(), "--plaintext"];
    let ended = stage.run_env(&args, "FLOE_TICKET", ticket_of(&stage));
    ended.fails(1, &["does not measure", "update floe"]);
}

#[test]
fn a_name_that_is_no_server_is_refused() {
    let stage = Stage::new();
    stage.run(&["doctor", "./x"]).fails(2, &["is no server", "floe hosts"]);
    stage.run(&["doctor"]).fails(2, &["REMOTE"]);
    stage.run(&["doctor", "floe://127.0.0.1:1", "--dir", "none"]).fails(3, &["\"none\""]);
}
