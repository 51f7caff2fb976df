//! `floe put --receipt` and `floe receipt verify`.

use crate::stage::{Running, Stage, content, root_of, wait_until};
use crate::tickets::grant;
use floe_engine::ticket::Ticket;
use floe_proto::codec::{HEAD_LEN, Kind, encode};
use floe_proto::frame::{Frame, Verbs, Welcome};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

fn lines(stage: &Stage, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(stage.path("here").join(name)).unwrap();
    assert!(text.ends_with('\n') && text.is_ascii(), "{text}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn fingerprint(stage: &Stage) -> String {
    stage.owner_ticket().trim().parse::<Ticket>().unwrap().pin().to_string()
}

#[test]
fn each_file_of_a_tree_has_a_receipt_that_holds_offline() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    fs::create_dir(stage.path("srv/box")).unwrap();
    grant(&stage, &server, "alice", &["--prefix", "box", "--allow", "all"]);
    let big = stage.file("t/big", 3_000_000);
    stage.file("t/empty", 0);
    stage.file("t/d/b\u{1b}[31m\nx", 10);
    std::os::unix::fs::symlink("big", stage.path("here/t/link")).unwrap();
    stage.run(&["put", "t", "alice:/in/t", "--receipt", "r"]).ok();
    assert_eq!(server.terminate(), 0);
    let receipts = lines(&stage, "r");
    assert_eq!(receipts.len(), 3);
    let of_big = receipts.iter().find(|line| line["path"] == "in/t/big").unwrap();
    assert_eq!((&of_big["size"], &of_big["ticket"]), (&3_000_000.into(), &"alice".into()));
    assert_eq!(
        (&of_big["root"], &of_big["server"]),
        (&root_of(&big).into(), &fingerprint(&stage).into())
    );
    let server = fingerprint(&stage);
    let shown = stage.run(&["receipt", "verify", "r", "t", "--server", &server, "-v"]).ok().text();
    assert!(shown.contains("signed  3 receipts") && shown.contains("local   3 files"), "{shown}");
    assert!(shown.contains("in/t/d/b\\u{1b}[31m\\u{a}x") && !shown.contains('\x1b'), "{shown}");
    let told = stage.run(&["receipt", "verify", "r", "--json"]).ok();
    assert_eq!(told.event("verified")["receipts"], 3);
    assert_eq!(told.events().len(), 4);
    // One file alone, under whatever name.
    fs::rename(stage.path("here/t/big"), stage.path("here/other")).unwrap();
    stage.run(&["receipt", "verify", "r", "other"]).ok();
}

#[test]
fn what_was_changed_is_found() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    for name in ["a", "b", "c"] {
        fs::write(stage.file(&format!("t/{name}"), 0), name.repeat(100)).unwrap();
    }
    stage.run(&["put", "t", "nas:/t", "--receipt", "r"]).ok();
    let verify = |args: &[&str]| stage.run(&[&["receipt", "verify", "r"], args].concat());
    let zeros = "0".repeat(64);
    verify(&["--server", &zeros]).fails(5, &["line 1", "another key"]);
    verify(&["--server", "zeros"]).fails(2, &["64 hex digits"]);
    fs::rename(stage.path("here/t/a"), stage.path("here/t/z")).unwrap();
    verify(&["t"]).fails(5, &["t/z", "under this name"]);
    fs::write(stage.path("here/t/b"), "other").unwrap();
    verify(&["t/b"]).fails(5, &["t/b", "no receipt is for these bytes"]);
    let whole = fs::read_to_string(stage.path("here/r")).unwrap();
    let second = whole.lines().nth(1).unwrap();
    for (from, to) in [("\"size\":100", "\"size\":101"), ("\"time\":1", "\"time\":2")] {
        assert!(second.contains(from), "{second}");
        let changed = whole.replace(second, &second.replacen(from, to, 1));
        fs::write(stage.path("here/r"), changed).unwrap();
        verify(&[]).fails(5, &["line 2", "does not hold"]);
    }
    for more in ["\"path\":\"evil\",\"size\":999,", "\"verified_by\":\"court\","] {
        let changed = whole.replace(second, &second.replacen('{', &format!("{{{more}"), 1));
        fs::write(stage.path("here/r"), changed).unwrap();
        verify(&[]).fails(5, &["line 2", "no receipt", "changed"]);
    }
    fs::write(stage.path("here/r"), &whole).unwrap();
    let shown = verify(&[]).ok().text();
    assert!(shown.contains("holds   \"t/b\" 100 bytes\n"), "{shown}");
    assert!(!verify(&["-q"]).ok().text().contains("holds"));
    fs::write(stage.path("here/r"), &whole[..whole.len() - 9]).unwrap();
    verify(&[]).fails(5, &["line 3", "no receipt"]);
    fs::write(stage.path("here/r"), "").unwrap();
    verify(&[]).fails(5, &["there is no receipt"]);
    stage.run(&["receipt", "verify", "none"]).fails(3, &["none"]);
}

#[test]
fn what_stands_there_already_and_what_is_resumed_has_one_too() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 20_000_000);
    let args = ["put", "f", "nas:/f", "--receipt", "r"];
    let slow = stage.start(&[&args[..], &["--limit", "2M", "--json"]].concat());
    wait_until("some of it is there", || {
        slow.events().iter().any(|event| event["bytes_stored"].as_u64() > Some(1_000_000))
    });
    slow.kill();
    stage.run(&args).ok();
    assert_eq!(lines(&stage, "r").len(), 1);
    let again = stage.run(&[&args[..], &["--json"]].concat()).ok();
    assert_eq!(again.event("summary")["bytes_sent"], 0);
    assert_eq!(lines(&stage, "r").len(), 2);
    let mut command = stage.command();
    command.args(["put", "-", "nas:/piped", "--receipt", "r", "--lockstep"]);
    Running::start(&mut command, &content(700_000)).end().ok();
    stage.run(&["receipt", "verify", "r", "f"]).ok();
    assert_eq!(lines(&stage, "r")[2]["path"], "piped");
}

#[test]
fn small_files_share_signatures() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&["--plaintext"]);
    for nth in 0..300 {
        stage.file(&format!("t/{nth}"), nth);
    }
    stage.run(&["put", "t", "nas:/t", "--receipt", "r", "--plaintext"]).ok();
    let receipts = lines(&stage, "r");
    let mut signatures: Vec<_> =
        receipts.iter().map(|line| line["signature"].as_str().unwrap()).collect();
    signatures.sort_unstable();
    signatures.dedup();
    assert_eq!(receipts.len(), 300);
    assert!(signatures.len() < receipts.len() / 2, "{}", signatures.len());
    stage.run(&["receipt", "verify", "r", "t"]).ok();
}

#[test]
fn a_file_that_is_no_file_of_receipts_is_refused_before_anything_is_sent() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 10);
    let letter = stage.file("letter", 1000);
    for (name, status) in [("letter", 2), ("none/r", 3), (".", 4)] {
        let ended = stage.run(&["put", "f", "nas:/f", "--receipt", name]);
        assert_ne!(ended.status, 0);
        if name != "." {
            ended.fails(status, &[name]);
        }
    }
    assert_eq!(fs::read(letter).unwrap(), content(1000));
    assert!(!stage.path("srv/f").exists());
}

/// A plaintext server that lets anybody in and signs nothing; what it hears behind HELLO.
fn old_server() -> (u16, thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let talk = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut out = Vec::new();
        encode(&Frame::<()>::Challenge([1; 32]), &mut out).unwrap();
        socket.write_all(&out).unwrap();
        let mut head = [0; HEAD_LEN];
        socket.read_exact(&mut head).unwrap();
        let len = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let mut hello = vec![0; len as usize];
        socket.read_exact(&mut hello).unwrap();
        let welcome = Welcome {
            abilities: 1,
            session: [2; 16],
            secret: [3; 32],
            verbs: Verbs::ALL,
            piece_bytes_max: 1 << 18,
            streams_max: 8,
            entries_ahead_max: 4096,
            agent: "floe/0.0.9".to_owned(),
            successor: None,
        };
        out.clear();
        encode(&Frame::<()>::Welcome(welcome), &mut out).unwrap();
        socket.write_all(&out).unwrap();
        let mut heard = Vec::new();
        let _ = socket.read_to_end(&mut heard);
        heard
    });
    (port, talk)
}

#[test]
fn a_server_that_signs_nothing_is_told_before_anything_is_sent() {
    let stage = Stage::new();
    let (port, talk) = old_server();
    let ticket = Ticket::generate(floe_engine::identity::KeyPin([7; 32])).unwrap();
    let url = format!("floe://127.0.0.1:{port}/f");
    let args = ["put", "-", &url, "--plaintext", "--receipt", "r"];
    let ended = stage.run_env(&args, "FLOE_TICKET", ticket.reveal().as_str());
    ended.fails(1, &["this server signs none"]);
    let heard = talk.join().unwrap();
    let mut rest = &heard[..];
    while let [l0, l1, l2, l3, kind, ..] = *rest {
        assert_ne!(kind, Kind::Open.wire());
        let len = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
        rest = rest.get(HEAD_LEN + len..).unwrap_or_default();
    }
    assert_eq!(fs::read(stage.path("here/r")).unwrap(), b"");
}
