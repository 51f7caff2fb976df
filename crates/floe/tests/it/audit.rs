//! `floe audit`, and the log that a server keeps.

use crate::bad_place::may_mount;
use crate::stage::{Ended, Server, Stage, content, root_of, wait_until, words};
use crate::tickets::grant;
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

fn audit(stage: &Stage, args: &[&str]) -> Ended {
    let mut all = words([&"audit"]);
    all.extend(args.iter().map(OsString::from));
    all.extend(words([&"--state", &stage.path("state-server")]));
    stage.run(&all)
}

/// The lines of the log of now.
fn log(stage: &Stage) -> Vec<Value> {
    let text = fs::read_to_string(stage.path("state-server/audit.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'a>(log: &'a [Value], event: &str) -> Vec<&'a Value> {
    log.iter().filter(|line| line["event"] == event).collect()
}

#[test]
fn who_moved_what_is_written_and_whole() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    fs::create_dir(stage.path("srv/box")).unwrap();
    grant(&stage, &server, "alice", &["--prefix", "box", "--allow", "all"]);
    let big = stage.file("big", 3_000_000);
    stage.file("tree/a", 10);
    stage.file("tree/d/b\u{1b}[31m\nx", 10);
    stage.run(&["put", "big", "alice:/big"]).ok();
    stage.run(&["put", "tree", "nas:/tree"]).ok();
    stage.run(&["get", "alice:/big", "back"]).ok();
    stage.run(&["mkdir", "alice:/made"]).ok();
    stage.run(&["mv", "alice:/big", "alice:/made/big"]).ok();
    stage.run(&["rm", "nas:/tree/a"]).ok();
    stage.run(&["rm", "nas:/none"]).fails(3, &[]);
    stage.run_env(&["ls", &server.url("")], "FLOE_TICKET", foreign(&stage)).fails(4, &[]);
    assert_eq!(server.terminate(), 0);
    let log = log(&stage);
    let committed = of(&log, "commit");
    assert_eq!(committed.len(), 3);
    let first = committed[0];
    assert_eq!((&first["path"], &first["size"]), (&"box/big".into(), &3_000_000.into()));
    assert_eq!(first["root"], root_of(&big));
    assert_eq!((&first["ticket"], &first["result"]), (&"alice".into(), &"ok".into()));
    assert_eq!(first["transfer"], 0);
    assert!(first["client"].as_str().unwrap().starts_with("127.0.0.1:"));
    let sent = of(&log, "send");
    assert_eq!(sent.len(), 1);
    assert_eq!((&sent[0]["path"], &sent[0]["root"]), (&first["path"], &first["root"]));
    let renamed = of(&log, "rename")[0];
    assert_eq!((&renamed["path"], &renamed["to"]), (&"box/big".into(), &"box/made/big".into()));
    assert_eq!(of(&log, "mkdir")[0]["path"], "box/made");
    let removed = of(&log, "remove");
    assert_eq!((&removed[0]["result"], &removed[1]["code"]), (&"ok".into(), &3.into()));
    let refused = of(&log, "refuse");
    assert_eq!((refused.len(), &refused[0]["code"]), (1, &6.into()));
    assert!(refused[0]["ticket_id"].as_str().unwrap().len() == 32);
    assert_eq!(of(&log, "begin").len(), of(&log, "end").len());
    assert_eq!(log.last().unwrap()["event"], "stop");
    // What a name holds breaks neither a line nor a terminal.
    let hostile = "tree/d/b\\u{1b}[31m\\u{a}x";
    assert_eq!(committed.iter().filter(|line| line["path"] == hostile).count(), 1);
    let shown = audit(&stage, &["show"]).ok().text();
    assert_eq!(shown.lines().count(), log.len());
    assert!(shown.contains(hostile) && !shown.contains('\x1b'), "{shown}");
    let raw = fs::read_to_string(stage.path("state-server/audit.jsonl")).unwrap();
    assert_eq!(audit(&stage, &["show", "--json"]).ok().text(), raw);
    let verified = audit(&stage, &["verify"]).ok().text();
    assert!(verified.contains(&format!("whole  {} lines", log.len())), "{verified}");
}

/// One that took bytes and never said that it has them, killed or interrupted.
#[test]
fn who_takes_a_file_and_hangs_up_has_a_line_that_names_it() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    fs::write(stage.path("srv/secret"), content(9_000_000)).unwrap();
    let get = || {
        let get = stage.start(&["get", "nas:/secret", "it", "--limit", "1M", "--json"]);
        get.wait_for("\"progress\"");
        get
    };
    get().kill();
    let failed = |count| wait_until("its line", || of(&log(&stage), "fail").len() == count);
    failed(1);
    let it = get();
    it.signal(rustix::process::Signal::INT);
    assert_eq!(it.end().status, 130);
    failed(2);
    assert_eq!(server.terminate(), 0);
    let log = log(&stage);
    for line in of(&log, "fail") {
        assert_eq!(line["path"], "secret");
        assert!((1..9_000_000).contains(&line["size"].as_u64().unwrap()), "{line}");
    }
    assert_eq!(of(&log, "send").len(), 0);
}

/// A ticket of another server.
fn foreign(stage: &Stage) -> String {
    let theirs = stage.path("state-server/owner.ticket");
    let server = fs::read_to_string(&theirs).unwrap();
    let ticket: floe_engine::ticket::Ticket = server.trim().parse().unwrap();
    floe_engine::ticket::Ticket::generate(ticket.pin()).unwrap().reveal().to_string()
}

#[test]
fn what_is_committed_is_in_the_log_of_a_server_that_is_killed() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.file("f", 10);
    stage.run(&["put", "f", "nas:/f"]).ok();
    server.kill();
    assert_eq!(of(&log(&stage), "commit").len(), 1);
    let path = stage.path("state-server/audit.jsonl");
    let mut torn = fs::read(&path).unwrap();
    torn.extend(b"{\"n\":4,\"prev\":\"12");
    fs::write(&path, &torn).unwrap();
    let said = audit(&stage, &["verify", "--json"]).ok();
    assert_eq!(said.event("verified")["torn_bytes"], 17);
    let server = stage.serve_and_log_in(&[]);
    stage.run(&["put", "f", "nas:/g"]).ok();
    assert_eq!(server.terminate(), 0);
    let log = log(&stage);
    assert_eq!((of(&log, "cut").len(), of(&log, "start").len()), (1, 2));
    let verified = audit(&stage, &["verify", "--json"]).ok().event("verified");
    assert_eq!((&verified["torn_bytes"], &verified["cuts"][0]["bytes"]), (&0.into(), &17.into()));
    let text = audit(&stage, &["verify"]).ok().text();
    assert!(text.contains("cut    17 bytes behind line "), "{text}");
}

#[test]
fn verify_tells_how_many_lines_were_never_written() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    assert_eq!(server.terminate(), 0);
    let whole = audit(&stage, &["verify", "--json"]).ok().event("verified");
    assert_eq!(whole["gaps"], serde_json::json!([]));
    let n = whole["last"].as_u64().unwrap() + 1;
    let (prev, time) = (&whole["hash"], "2025-01-31T09:05:00.000000Z");
    let gap = format!(
        r#"{{"n":{n},"prev":{prev},"time":"{time}","event":"gap","count":3,"result":"ok"}}"#
    );
    let path = stage.path("state-server/audit.jsonl");
    fs::write(&path, fs::read_to_string(&path).unwrap() + &gap + "\n").unwrap();
    let gapped = audit(&stage, &["verify", "--json"]).ok().event("verified");
    assert_eq!(gapped["gaps"], serde_json::json!([{ "line": n, "count": 3 }]));
    let text = audit(&stage, &["verify"]).ok().text();
    assert!(text.contains(&format!("gap    3 lines before line {n} ")), "{text}");
}

/// The full files of the log, the oldest first.
fn kept(stage: &Stage) -> Vec<PathBuf> {
    let number = |path: &PathBuf| {
        path.file_name()?.to_str()?.strip_prefix("audit.")?.strip_suffix(".jsonl")?.parse().ok()
    };
    let files =
        fs::read_dir(stage.path("state-server")).unwrap().map(|entry| entry.unwrap().path());
    let mut kept: Vec<(u64, PathBuf)> =
        files.filter_map(|path| Some((number(&path)?, path))).collect();
    kept.sort();
    kept.into_iter().map(|(_, path)| path).collect()
}

#[test]
fn no_name_of_a_full_file_comes_again_where_somebody_took_them_away() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&["--audit-file-size", "64Ki"]);
    (0..300).for_each(|nth| drop(stage.file(&format!("many/{nth:03}-{}", "x".repeat(200)), 1)));
    let mut taken = Vec::new();
    for to in ["nas:/one", "nas:/two"] {
        stage.run(&["put", "many", to]).ok();
        let full = kept(&stage);
        assert!(!full.is_empty());
        full.iter().for_each(|path| fs::remove_file(path).unwrap());
        assert!(full.iter().all(|path| !taken.contains(path)), "{full:?} after {taken:?}");
        taken.extend(full);
    }
}

#[test]
fn verify_says_where_a_chain_breaks() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&["--audit-file-size", "64Ki"]);
    for nth in 0..150 {
        stage.file(&format!("many/{nth:03}-{}", "x".repeat(200)), 1);
    }
    stage.run(&["put", "many", "nas:/many"]).ok();
    assert_eq!(server.terminate(), 0);
    let whole = audit(&stage, &["verify", "--json"]).ok().event("verified");
    assert!(whole["files"].as_u64().unwrap() >= 2, "{whole}");
    let hash = whole["hash"].as_str().unwrap();
    audit(&stage, &["verify", "--seen", hash]).ok();
    // The end is cut off: only what was kept elsewhere can tell.
    let path = stage.path("state-server/audit.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap() + 1;
    fs::write(&path, &text[..cut]).unwrap();
    audit(&stage, &["verify"]).ok();
    audit(&stage, &["verify", "--seen", hash]).fails(5, &["no line has the hash"]);
    fs::write(&path, &text).unwrap();
    // A byte that no line has hides nothing that stands behind it.
    let mut bytes = text.clone().into_bytes();
    bytes[text.find('\n').unwrap() + 9] = 0xff;
    fs::write(&path, &bytes).unwrap();
    audit(&stage, &["verify"]).fails(5, &["line 2 is torn", "stand behind it"]);
    fs::write(&path, &text).unwrap();
    // A digit of the first file, a line of it, a file.
    let first = kept(&stage).remove(0);
    let name = first.file_name().unwrap().to_str().unwrap().to_owned();
    let old = fs::read_to_string(&first).unwrap();
    fs::write(&first, old.replacen("\"size\":1", "\"size\":2", 1)).unwrap();
    let failed = audit(&stage, &["verify"]).fails(5, &[&name, "hash of the line before"]);
    assert!(failed.err.contains("line "), "{}", failed.err);
    let missing: Vec<_> = old.lines().enumerate().filter(|(nth, _)| *nth != 4).collect();
    let missing: String = missing.iter().map(|(_, line)| format!("{line}\n")).collect();
    fs::write(&first, missing).unwrap();
    audit(&stage, &["verify"]).fails(5, &[&name, "line 5:", "number"]);
    // One file alone, and a log whose oldest files were taken away, are whole in themselves.
    fs::remove_file(&first).unwrap();
    let rest = audit(&stage, &["verify"]).ok().text();
    assert!(rest.contains("what came before is not here"), "{rest}");
    audit(&stage, &["verify", path.to_str().unwrap()]).ok();
    audit(&stage, &["verify", "/dev/null"]).fails(1, &["not a regular file"]);
    audit(&stage, &["verify", "none"]).fails(3, &["none"]);
}

#[test]
fn a_server_whose_log_has_no_room_refuses_changes_and_goes_on_reading() {
    let stage = Stage::new();
    fs::create_dir(stage.path("state-server")).unwrap();
    if !may_mount() {
        crate::stage::skip("no mounts of our own here");
        return;
    }
    let script = "mount -t tmpfs -o size=3m,mode=700 none state-server && exec \"$0\" serve srv \
                  --state state-server --listen 127.0.0.1:0";
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, env!("CARGO_BIN_EXE_floe")]);
    let server = Server::start(command.current_dir(stage.path("")));
    let state = stage.path("state-server");
    let inside = |name: &str| format!("/proc/{}/root{}/{name}", server.pid(), state.display());
    let ticket = fs::read_to_string(inside("owner.ticket")).unwrap();
    stage.log_in("nas", &server, &ticket, &[]).ok();
    stage.file("f", 100_000);
    stage.run(&["put", "f", "nas:/f"]).ok();
    // Somebody fills the state directory. Room that was taken ahead lasts for a while: long lines
    // use most of it up, short ones the rest.
    let filler = inside("fill");
    let _ = fs::write(&filler, content(8_000_000));
    let long = format!("{}/", "\x01".repeat(250)).repeat(12);
    let made: Vec<_> = [long.as_str(), "s"]
        .iter()
        .flat_map(|under| {
            let paths = (0..400).map(move |nth| format!("{under}{nth}"));
            paths.take_while(|path| {
                let ended = stage.run(&["mkdir", &format!("nas:/{path}")]);
                if ended.status == 0 {
                    return true;
                }
                ended.fails(7, &["audit log", "no space left"]);
                assert!(!stage.path("srv").join(path).exists());
                false
            })
        })
        .collect();
    assert!(made.len() > 10, "{}", made.len());
    stage.run(&["put", "f", "nas:/g"]).fails(7, &["audit log", "no space left"]);
    assert!(!stage.path("srv/g").exists());
    stage.run(&["rm", "nas:/f"]).fails(7, &["audit log"]);
    assert_eq!(stage.run(&["get", "nas:/f", "-"]).ok().out, content(100_000));
    // With room again all goes on, and nothing is missing of what was told to anybody.
    fs::remove_file(&filler).unwrap();
    stage.run(&["put", "f", "nas:/g"]).ok();
    let log = inside("audit.jsonl");
    let holds = |text: &str| fs::read_to_string(&log).unwrap().contains(text);
    wait_until("the notes are written", || holds("\"send\""));
    assert!(holds("\"path\":\"g\""));
    let copy = stage.path("here/copy");
    fs::copy(&log, &copy).unwrap();
    audit(&stage, &["verify", copy.to_str().unwrap()]).ok();
    let copied = fs::read_to_string(&copy).unwrap();
    let lines: Vec<Value> =
        copied.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let well = |line: &&&Value| line["result"] == "ok";
    assert_eq!(of(&lines, "mkdir").iter().filter(well).count(), made.len());
}

#[test]
fn a_server_without_a_log_keeps_none() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&["--no-audit"]);
    stage.file("f", 10);
    stage.run(&["put", "f", "nas:/f"]).ok();
    assert!(server.errors.lock().unwrap().contains("audit log     none"));
    assert!(!stage.path("state-server/audit.jsonl").exists());
    audit(&stage, &["verify"]).fails(3, &["audit.jsonl", "--state"]);
}

#[test]
fn the_log_on_standard_error_is_json_where_it_is_asked_for() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&["-v", "--log-format", "json"]);
    stage.file("f", 10);
    stage.run(&["put", "f", "nas:/f"]).ok();
    let errors = std::sync::Arc::clone(&server.errors);
    wait_until("the session has ended", || errors.lock().unwrap().contains("session ends"));
    assert_eq!(server.terminate(), 0);
    let errors = errors.lock().unwrap().clone();
    let lines: Vec<Value> =
        errors.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let done = lines.iter().find(|line| line["message"] == "transfer done").unwrap();
    assert_eq!((&done["transfer"], &done["entries"]), (&0.into(), &1.into()));
    let session = done["span"]["id"].as_str().unwrap();
    assert_eq!(session.len(), 8);
    let log = log(&stage);
    assert!(of(&log, "commit")[0]["session"].as_str().unwrap().starts_with(session));
}
