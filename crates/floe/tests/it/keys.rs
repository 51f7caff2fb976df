//! `floe key`: how a server gets another key, and how its clients follow.

use crate::live_tickets::moving;
use crate::stage::{Ended, Stage, wait_until, words};
use crate::tickets::{grant, ticket};
use floe_engine::ticket::Ticket;
use rustix::process::Signal;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `floe key` on the server of a stage.
fn key(stage: &Stage, args: &[&str]) -> Ended {
    let mut all = words([&"key"]);
    all.extend(args.iter().map(OsString::from));
    all.extend(words([&"--state", &stage.path("state-server")]));
    stage.run(&all)
}

fn rotate(stage: &Stage, overlap: &str) -> String {
    key(stage, &["rotate", "--overlap", overlap]).ok().text().trim().to_owned()
}

/// The fingerprint that is pinned for a name.
fn pinned(stage: &Stage, name: &str) -> String {
    let hosts = stage.run(&["hosts"]).ok().text();
    let line = hosts.lines().find(|line| line.starts_with(&format!("{name}\t"))).unwrap();
    line.rsplit('\t').next().unwrap().to_owned()
}

fn named(ticket: &str) -> String {
    ticket.trim().parse::<Ticket>().unwrap().pin().to_string()
}

fn with_ticket(stage: &Stage, args: &[&str], ticket: &str) -> Ended {
    stage.run_env(args, "FLOE_TICKET", ticket.trim())
}

#[test]
fn a_saved_login_follows_a_running_server_to_its_new_key() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let url = server.url("");
    let old_ticket = stage.owner_ticket();
    let old = pinned(&stage, "nas");
    assert_eq!(key(&stage, &["show"]).ok().text(), format!("current   {old}\n"));
    stage.log_in("twin", &server, &old_ticket, &[]).ok();
    let new = rotate(&stage, "30d");
    assert_ne!(new, old);
    // What is made from now on names the new key, and is good at once.
    assert_eq!(named(&stage.owner_ticket()), new);
    let made = ticket(&stage, &["create", "guest"]).ok().text();
    assert_eq!(named(&made), new);
    with_ticket(&stage, &["ls", &url], &made).ok();
    // Who knows the old one gets in, is told once, and knows the new one for good.
    let told = stage.run(&["ls", "nas:/"]).ok();
    let lines: Vec<_> = told.err.lines().filter(|line| line.contains(&new)).collect();
    assert_eq!(lines.len(), 1, "{}", told.err);
    assert!(lines[0].contains("nas, twin pins it") && lines[0].contains("vouches"), "{}", lines[0]);
    assert_eq!((pinned(&stage, "nas"), pinned(&stage, "twin")), (new.clone(), new.clone()));
    assert_eq!(stage.run(&["ls", "nas:/"]).ok().err, "");
    // A text stays what it is: good, and told each time.
    let told = with_ticket(&stage, &["ls", &url], &old_ticket).ok();
    assert!(told.err.contains("names the old one") && told.err.contains(&new), "{}", told.err);
    assert_eq!(with_ticket(&stage, &["ls", &url, "-q"], &old_ticket).ok().err, "");
    let event = with_ticket(&stage, &["ls", &url, "--json"], &old_ticket).ok();
    let event = event.event("key_changed");
    assert_eq!((&event["old"], &event["fingerprint"]), (&old.clone().into(), &new.clone().into()));
    // Logging in with it pins the new key.
    let told = stage.log_in("late", &server, &old_ticket, &[]).ok();
    assert!(told.err.contains(&new), "{}", told.err);
    assert_eq!(pinned(&stage, "late"), new);
    let shown = key(&stage, &["show", "--json"]).ok();
    let is: Vec<_> = shown.events().iter().map(|event| event["is"].clone()).collect();
    assert_eq!(is, ["current", "retiring"]);
    // A restart changes nothing of that.
    assert_eq!(server.terminate(), 0);
    let server = stage.serve(&[]);
    let said = || server.errors.lock().unwrap().clone();
    wait_until("both keys are said", || said().contains("on the other machine"));
    assert!(said().contains(&format!("fingerprint   {new}\n")), "{}", said());
    assert!(said().contains(&format!("old key       {old} until ")), "{}", said());
    with_ticket(&stage, &["ls", &server.url("")], &old_ticket).ok();
}

#[test]
fn an_overlap_ends_by_itself_and_says_how_to_go_on() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let (url, old_ticket, old) = (server.url(""), stage.owner_ticket(), pinned(&stage, "nas"));
    stage.log_in("late", &server, &old_ticket, &[]).ok();
    let new = rotate(&stage, "10s");
    with_ticket(&stage, &["ls", &url], &old_ticket).ok();
    key(&stage, &["rotate"]).fails(9, &[&old, "floe key retire"]);
    let mut refused = None;
    wait_until("the overlap is over", || {
        let ended = with_ticket(&stage, &["ls", &url], &old_ticket);
        let over = ended.status != 0;
        refused = over.then_some(ended);
        over
    });
    let on = ["floe key show", "floe ticket create", &new, &old, "log in again"];
    refused.unwrap().fails(4, &on);
    // A login that was not used meanwhile, too.
    fs::write(stage.path("state/hosts.json"), hosts_with(&stage, "late", &old)).unwrap();
    stage.run(&["ls", "late:/"]).fails(4, &on);
    let book = || fs::read_to_string(stage.path("state-server/keys.json")).unwrap();
    wait_until("the old key is gone from its file", || !book().contains("PRIVATE"));
    let shown = key(&stage, &["show"]).ok().text();
    assert!(shown.contains(&format!("former    {old}  retired ")), "{shown}");
    key(&stage, &["retire"]).fails(3, &["no overlap"]);
    // The next one can begin.
    rotate(&stage, "1d");
    stage.log_in("nas", &server, &stage.owner_ticket(), &[]).ok();
}

/// The client's file of servers, with another key for a name; what else it pins moved already.
fn hosts_with(stage: &Stage, name: &str, pin: &str) -> String {
    let text = fs::read_to_string(stage.path("state/hosts.json")).unwrap();
    let mut whole: serde_json::Value = serde_json::from_str(&text).unwrap();
    whole["hosts"][name]["key"] = pin.into();
    whole.to_string()
}

#[test]
fn a_key_is_retired_at_once_and_what_runs_goes_on() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let (url, old_ticket) = (server.url(""), stage.owner_ticket());
    stage.file("f", 9_000_000);
    let running = moving(&stage, &["put", "f", "nas:/f", "--streams", "2"]);
    rotate(&stage, "30d");
    let second = moving(&stage, &["put", "f", "nas:/g", "--streams", "2"]);
    key(&stage, &["retire"]).ok();
    with_ticket(&stage, &["ls", &url], &old_ticket).fails(4, &["floe key show"]);
    for running in [running, second] {
        assert_eq!(running.end().ok().event("summary")["reconnects"], 0);
    }
    // Without an overlap the old key is gone with the rotation.
    let before = stage.owner_ticket();
    rotate(&stage, "none");
    with_ticket(&stage, &["ls", &url], &before).fails(4, &["floe key show"]);
    with_ticket(&stage, &["ls", &url], &stage.owner_ticket()).ok();
    let shown = key(&stage, &["show"]).ok().text();
    assert_eq!(shown.lines().filter(|line| line.starts_with("former")).count(), 2, "{shown}");
}

#[test]
fn what_is_cut_after_the_old_key_is_gone_goes_on_with_the_new_one() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let port = server.port.to_string();
    stage.file("f", 9_000_000);
    rotate(&stage, "30d");
    // It learns the new key when it begins.
    let url = server.url("f");
    let mut command = stage.command();
    command.args(["put", "f", &url, "--limit", "1M", "--json"]);
    command.env("FLOE_TICKET", old_of(&stage));
    let running = crate::stage::Running::start(&mut command, b"");
    running.wait_for("\"progress\"");
    key(&stage, &["retire"]).ok();
    server.kill();
    let mut command = stage.command();
    command.arg("serve").arg(stage.path("srv")).arg("--state").arg(stage.path("state-server"));
    let listen = format!("127.0.0.1:{port}");
    let _server = crate::stage::Server::start(command.args(["--listen", &listen]));
    let summary = running.end().ok().event("summary");
    assert!(summary["reconnects"].as_u64() > Some(0), "{summary}");
}

/// The owner ticket as it was before the last rotation.
fn old_of(stage: &Stage) -> String {
    let text = fs::read_to_string(stage.path("state/hosts.json")).unwrap();
    let whole: serde_json::Value = serde_json::from_str(&text).unwrap();
    whole["hosts"]["nas"]["ticket"].as_str().unwrap().to_owned()
}

#[test]
fn receipts_of_each_key_hold_and_say_which_it_was() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let (old, old_ticket) = (pinned(&stage, "nas"), stage.owner_ticket());
    for name in ["a", "b", "c"] {
        stage.file(name, 1000);
    }
    stage.run(&["put", "a", "nas:/a", "--receipt", "r"]).ok();
    let new = rotate(&stage, "30d");
    // Over the old key, and signed with the new one.
    let put = ["put", "b", &server.url("b"), "--receipt", "r"];
    with_ticket(&stage, &put, &old_ticket).ok();
    stage.run(&["put", "c", "nas:/c", "--receipt", "r"]).ok();
    key(&stage, &["retire"]).ok();
    assert_eq!(server.terminate(), 0);
    let verify = |args: &[&str]| stage.run(&[&["receipt", "verify", "r"], args].concat());
    let shown = verify(&["--server", &old, "--server", &new, "-v"]).ok().text();
    for line in [format!("by      the server {old} (1)"), format!("by      the server {new} (2)")] {
        assert!(shown.lines().any(|shown| shown == line), "{shown}");
    }
    let of_a = shown.lines().find(|line| line.contains("\"a\"")).unwrap();
    assert!(of_a.ends_with(&format!("signed {old}")), "{of_a}");
    verify(&["--server", &new]).fails(5, &["line 1", &old]);
    verify(&["--server", &old]).fails(5, &["line 2", &new]);
    let events = verify(&["--json"]).ok().events();
    let servers: Vec<_> = events.iter().filter_map(|event| event["server"].as_str()).collect();
    assert_eq!(servers, [&old, &new, &new]);
    // The server still knows that it had that key.
    assert!(key(&stage, &["show"]).ok().text().contains(&format!("former    {old}")));
}

#[test]
fn who_knows_the_new_key_takes_the_old_one_never_again() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let listen = format!("127.0.0.1:{}", server.port);
    let old = pinned(&stage, "nas");
    fs::copy(stage.path("state-server/identity.pem"), stage.path("stolen.pem")).unwrap();
    let new = rotate(&stage, "30d");
    stage.run(&["ls", "nas:/"]).ok();
    assert_eq!(server.terminate(), 0);
    // Whoever has the old key stands in the server's place, with its tickets.
    let pem = stage.path("stolen.pem");
    let mut command = stage.command();
    command.arg("serve").arg(stage.path("srv")).arg("--state").arg(stage.path("state-server"));
    command.args(["--listen", &listen, "--cert"]).arg(&pem).arg("--key").arg(&pem);
    let server = crate::stage::Server::start(&mut command);
    assert_eq!(listen, format!("127.0.0.1:{}", server.port));
    stage.run(&["ls", "nas:/"]).fails(4, &[&old, &new]);
    assert_eq!(pinned(&stage, "nas"), new);
}

#[test]
fn a_rotation_that_is_killed_leaves_one_state_that_serves() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    // Each time it is another file.
    let book = || fs::metadata(stage.path("state-server/keys.json")).map(|file| file.ino()).ok();
    for nth in 0..12 {
        let before = book();
        let state = stage.path("state-server");
        let overlap = if nth % 2 == 0 { "30d" } else { "none" };
        let mut command = stage.command();
        command.args(["key", "rotate", "--overlap", overlap, "--state"]).arg(&state);
        let running = crate::stage::Running::start(&mut command, b"");
        if nth % 3 > 0 {
            // The first file is there, the second perhaps not.
            wait_until("the book is written", || book() != before);
        }
        running.kill();
        let shown = key(&stage, &["show"]).ok().text();
        let current = shown.lines().find_map(|line| line.strip_prefix("current   ")).unwrap();
        assert_eq!(named(&ticket(&stage, &["create", &nth.to_string()]).ok().text()), current);
        let _ = key(&stage, &["retire"]);
        let made = ticket(&stage, &["create", &format!("after {nth}")]).ok().text();
        with_ticket(&stage, &["ls", &server.url("")], &made).ok();
    }
}

#[test]
fn sessions_that_begin_with_the_old_key_are_counted() {
    let stage = Stage::new();
    let (server, port) = crate::metrics::serve(&stage);
    let old_ticket = stage.owner_ticket();
    rotate(&stage, "30d");
    let count = || crate::metrics::numbers(port)["floe_sessions_old_key_total"];
    assert_eq!(count(), 0);
    with_ticket(&stage, &["ls", &server.url("")], &stage.owner_ticket()).ok();
    assert_eq!(count(), 0);
    with_ticket(&stage, &["ls", &server.url("")], &old_ticket).ok();
    assert_eq!(count(), 1);
}

#[test]
fn a_key_that_is_not_there_is_not_shown_and_one_that_was_taken_away_not_made_anew() {
    let stage = Stage::new();
    fs::create_dir(stage.path("state-server")).unwrap();
    key(&stage, &["show"]).fails(3, &["state-server", "floe serve makes one"]);
    key(&stage, &["retire"]).fails(3, &["no overlap"]);
    key(&stage, &["rotate", "--overlap", "soon"]).fails(2, &["--overlap"]);
    assert!(!Path::new(&stage.path("state-server/identity.pem")).exists());
    let server = stage.serve_and_log_in(&[]);
    fs::rename(stage.path("state-server/identity.pem"), stage.path("kept.pem")).unwrap();
    wait_until("it is said", || server.errors.lock().unwrap().contains("it was removed"));
    stage.run(&["ls", "nas:/"]).ok();
    server.signal(Signal::TERM);
}

#[test]
fn a_damaged_book_changes_nothing_for_who_is_served() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    rotate(&stage, "30d");
    stage.run(&["ls", "nas:/"]).ok();
    let book = stage.path("state-server/keys.json");
    fs::write(&book, "{").unwrap();
    wait_until("it is said", || server.errors.lock().unwrap().contains("keys cannot be read"));
    key(&stage, &["show"]).fails(1, &["keys.json", "damaged"]);
    grant(&stage, &server, "x", &[]);
}
