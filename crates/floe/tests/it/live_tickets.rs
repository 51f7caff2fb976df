//! What becomes of sessions that run when their ticket is revoked, expires, is renewed or changed.

use crate::stage::{Running, Stage, content, wait_until};
use crate::status::status;
use crate::tickets::{grant, ticket};
use rustix::process::Signal;
use std::fs;
use std::time::{Duration, Instant};

/// A stage whose server has `f`, and a client that has it too: about nine seconds at `--limit 1M`.
fn stage() -> (Stage, crate::stage::Server) {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.file("f", BYTES);
    fs::write(stage.path("srv/f"), content(BYTES)).unwrap();
    (stage, server)
}

const BYTES: usize = 9_000_000;
/// Two seconds are promised; a machine that is busy with other tests has its own.
const SOON: Duration = Duration::from_secs(6);

/// What runs slowly, once it moves.
pub fn moving(stage: &Stage, args: &[&str]) -> Running {
    let running = stage.start(&[args, &["--limit", "1M", "--json"]].concat());
    running.wait_for("\"progress\"");
    running
}

#[test]
fn a_revoked_ticket_ends_what_runs_with_one_line() {
    let (stage, server) = stage();
    for args in [&["put", "f", "guest:/g"][..], &["get", "guest:/f", "g"]] {
        grant(&stage, &server, "guest", &["--allow", "all"]);
        // Under another name each time: what stands there already is not sent.
        let other = moving(&stage, &["put", "f", &format!("nas:/beside-{}", args[0])]);
        let running = moving(&stage, args);
        ticket(&stage, &["revoke", "guest"]).ok();
        let revoked = Instant::now();
        let ended = running.end();
        let after = revoked.elapsed();
        assert!(after < SOON, "{args:?}: {after:?}");
        let ended = ended.fails(4, &["the ticket was revoked"]);
        let lines = ended.err.lines().filter(|line| line.contains("revoked")).count();
        assert_eq!(lines, 1, "{}", ended.err);
        stage.run(args).fails(4, &["not known"]);
        assert!(!stage.path("srv/g").exists() && !stage.path("here/g").exists());
        other.end().ok();
        stage.run(&["logout", "guest"]).ok();
    }
}

/// Nothing moves by then, for three reasons.
#[test]
fn a_revoked_ticket_ends_what_stands_still() {
    let (stage, server) = stage();
    let clients = |stage: &Stage| -> Vec<serde_json::Value> {
        let shown = status(stage, &["--json"]).ok().events().into_iter();
        shown.filter(|event| event["event"] == "session" && event["ticket"] == "guest").collect()
    };
    for (nth, why) in ["paused", "held by a rate", "stopped"].into_iter().enumerate() {
        let rate = if nth == 1 { &["--rate", "1"][..] } else { &[] };
        grant(&stage, &server, "guest", &[&["--allow", "all"], rate].concat());
        let name = format!("guest:/{nth}");
        let running = stage.start(&["put", "f", &name, "--limit", "1M"]);
        let mut id = String::new();
        wait_until("its transfer", || {
            let mut shown = status(&stage, &["--json"]).ok().events().into_iter();
            let one = shown.rfind(|event| event["event"] == "transfer");
            id = one.map_or(String::new(), |one| one["id"].as_str().unwrap().to_owned());
            !id.is_empty()
        });
        match nth {
            0 => drop(status(&stage, &["pause", &id]).ok()),
            2 => running.signal(Signal::STOP),
            _ => {}
        }
        assert_eq!(clients(&stage).len(), 1, "{why}");
        ticket(&stage, &["revoke", "guest"]).ok();
        let revoked = Instant::now();
        wait_until("its session is gone", || clients(&stage).is_empty());
        assert!(revoked.elapsed() < SOON, "{why}: {:?}", revoked.elapsed());
        running.signal(Signal::CONT);
        running.end().fails(4, &["the ticket was revoked"]);
        assert!(!stage.path(format!("srv/{nth}")).exists(), "{why}");
        stage.run(&["logout", "guest"]).ok();
    }
}

#[test]
fn a_ticket_that_expires_ends_what_runs() {
    let (stage, server) = stage();
    grant(&stage, &server, "guest", &["--allow", "all", "--expires", "3s"]);
    let running = moving(&stage, &["put", "f", "guest:/g"]);
    running.end().fails(4, &["the ticket has expired"]);
    assert!(!stage.path("srv/g").exists());
}

#[test]
fn a_transfer_outlives_its_ticket_if_that_is_renewed() {
    let (stage, server) = stage();
    grant(&stage, &server, "guest", &["--allow", "all", "--expires", "6s"]);
    let began = Instant::now();
    let running = moving(&stage, &["put", "f", "guest:/g"]);
    let said = ticket(&stage, &["set", "guest", "--expires", "1h"]).ok();
    assert!(said.err.contains("\"guest\" allows read,list"), "{}", said.err);
    let ended = running.end().ok();
    assert!(began.elapsed() > Duration::from_secs(6), "it was over before the ticket was");
    assert_eq!(ended.event("summary")["reconnects"], 0);
    assert_eq!(fs::read(stage.path("srv/g")).unwrap(), content(BYTES));
    // The secret is the same.
    stage.run(&["ls", "guest:/"]).ok();
    ticket(&stage, &["set", "guest", "--expires", "never"]).ok();
    assert!(ticket(&stage, &["show", "guest"]).ok().text().contains("expires  never"));
}

#[test]
fn what_is_taken_from_a_ticket_is_taken_from_what_runs() {
    let (stage, server) = stage();
    grant(&stage, &server, "guest", &["--allow", "all"]);
    let put = moving(&stage, &["put", "f", "guest:/g"]);
    let get = moving(&stage, &["get", "guest:/f", "g"]);
    ticket(&stage, &["set", "guest", "--allow", "read,list"]).ok();
    put.end().fails(4, &["write \"g\"", "not allowed"]);
    // What it still may goes on: its client came again.
    get.end().ok();
    assert_eq!(fs::read(stage.path("here/g")).unwrap(), content(BYTES));
    assert!(!stage.path("srv/g").exists());
    // What is added counts for what begins next.
    ticket(&stage, &["set", "guest", "--allow", "all"]).ok();
    stage.run(&["put", "f", "guest:/g"]).ok();
}

#[test]
fn a_change_that_makes_no_sense_is_refused() {
    let stage = Stage::new();
    let _server = stage.serve(&[]);
    ticket(&stage, &["create", "guest"]).ok();
    ticket(&stage, &["set", "guest"]).fails(2, &["--allow"]);
    ticket(&stage, &["set", "guest", "--allow", "overwrite"]).fails(2, &["guest", "write-new"]);
    ticket(&stage, &["set", "none", "--expires", "1h"]).fails(3, &["none", "floe ticket list"]);
    ticket(&stage, &["set", "owner", "--allow", "read"]).fails(2, &["owner ticket"]);
    assert!(ticket(&stage, &["show", "guest"]).ok().text().contains("allows   read,list\n"));
}
