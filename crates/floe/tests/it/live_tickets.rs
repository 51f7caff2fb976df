//! What becomes of sessions that run when their ticket is revoked, expires, is renewed or changed.

use crate::quotas::staged_bytes;
use crate::stage::{Running, Server, Stage, content, wait_until};
use crate::status::status;
use crate::tickets::{grant, ticket};
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::process::ChildStdin;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A stage whose server has `f`, and a client that has it too: about nine seconds at `--limit 1M`.
fn stage() -> (Stage, Server) {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&["-v"]);
    stage.file("f", BYTES);
    fs::write(stage.path("srv/f"), content(BYTES)).unwrap();
    (stage, server)
}

const BYTES: usize = 9_000_000;
/// What a server has for it, by its own log.
const PROMISED: Duration = Duration::from_secs(2);
/// The client has that and its own; a machine that is busy with other tests has more.
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

/// How many sessions have ended for this reason, as the server's log has it.
fn ends_of(server: &Server, why: &str) -> usize {
    let log = server.errors.lock().unwrap();
    log.lines().filter(|line| line.contains("session ends") && line.contains(why)).count()
}

/// How long after the moment that `begin` tells the server says that a session ended.
fn time_to_end(server: &Server, why: &str, begin: impl FnOnce() -> Instant) -> Duration {
    let before = ends_of(server, why);
    let since = begin();
    wait_until("the log says that the session ends", || ends_of(server, why) > before);
    since.elapsed()
}

/// A machine that is busy with other tests may be late, but not three times.
fn in_time(what: &str, attempt: impl Fn(usize) -> Duration) {
    let mut took = Vec::new();
    while took.last().is_none_or(|took| *took > PROMISED) {
        assert!(took.len() < 3, "{what}: {took:?}");
        took.push(attempt(took.len()));
    }
}

#[test]
fn a_server_ends_within_two_seconds_what_its_ticket_allows_no_more() {
    let (stage, server) = stage();
    let lasts = Duration::from_secs(3);
    let cases = [
        ("revoked", "1h", &["revoke", "guest"][..]),
        ("changed", "1h", &["set", "guest", "--allow", "read,list"]),
        ("expired", "3s", &[]),
    ];
    for (why, expires, change) in cases {
        in_time(why, |nth| {
            let (mut put, name) = (None, format!("guest:/{why}{nth}"));
            let took = time_to_end(&server, why, || {
                grant(&stage, &server, "guest", &["--allow", "all", "--expires", expires]);
                let granted = Instant::now();
                put = Some(moving(&stage, &["put", "f", &name]));
                if change.is_empty() {
                    return granted + lasts;
                }
                ticket(&stage, change).ok();
                Instant::now()
            });
            assert_eq!(put.unwrap().end().status, 4);
            if why != "revoked" {
                ticket(&stage, &["revoke", "guest"]).ok();
            }
            stage.run(&["logout", "guest"]).ok();
            took
        });
    }
}

/// As fast as it is taken; then nothing more comes, and nothing ends.
fn flood(mut input: ChildStdin) -> JoinHandle<ChildStdin> {
    thread::spawn(move || {
        let block = content(1 << 20);
        let _ = (0..1024).try_for_each(|_| input.write_all(&block));
        input
    })
}

#[test]
fn a_server_ends_within_two_seconds_what_goes_at_full_speed() {
    let (stage, server) = stage();
    in_time("at full speed", |nth| {
        grant(&stage, &server, "guest", &["--allow", "all"]);
        let mut command = stage.command();
        let (name, before) = (format!("guest:/{nth}"), staged_bytes(&stage));
        let (put, input) = Running::start_fed(command.args(["put", "-", &name]));
        let _input = flood(input);
        wait_until("much is staged", || staged_bytes(&stage) > before + (64 << 20));
        let took = time_to_end(&server, "revoked", || {
            ticket(&stage, &["revoke", "guest"]).ok();
            Instant::now()
        });
        put.end().fails(4, &["the ticket was revoked"]);
        assert!(!stage.path(format!("srv/{nth}")).exists());
        stage.run(&["logout", "guest"]).ok();
        took
    });
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
