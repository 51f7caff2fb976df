//! Tickets that may be used so often, so fast, over so many connections.

use crate::live_tickets::moving;
use crate::stage::{Server, Stage, content, wait_until};
use crate::tickets::{grant, ticket};
use std::fs;
use std::time::{Duration, Instant};

fn with(flags: &[&str]) -> (Stage, Server, String) {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let guest = grant(&stage, &server, "guest", &[&["--allow", "all"], flags].concat());
    (stage, server, guest)
}

fn used(stage: &Stage) -> u64 {
    ticket(stage, &["show", "guest", "--json"]).ok().event("ticket")["used_times"].as_u64().unwrap()
}

const SPENT: &str = "it could be used 2 times, and was";

#[test]
fn each_put_and_get_is_a_use_and_nothing_else_is() {
    let (stage, server, guest) = with(&["--uses", "2"]);
    stage.file("f", 3_000_000);
    stage.file("t/a", 10);
    stage.file("t/b", 10);
    stage.run(&["ls", "guest:/"]).ok();
    stage.run(&["put", "t", "guest:/t"]).ok();
    stage.run(&["stat", "guest:/t/a"]).ok();
    assert_eq!(used(&stage), 1);
    // A name that is not there is no use.
    stage.run(&["get", "guest:/t/none", "a"]).fails(3, &[]);
    // It is given back behind the answer.
    wait_until("the use is given back", || used(&stage) == 1);
    stage.run(&["get", "guest:/t/a", "a"]).ok();
    for args in [&["put", "f", "guest:/f"][..], &["get", "guest:/t/a", "b"], &["ls", "guest:/"]] {
        stage.run(args).fails(4, &[SPENT]);
    }
    assert!(!stage.path("srv/f").exists() && !stage.path("here/b").exists());
    assert!(ticket(&stage, &["list"]).ok().text().contains("\tuses 2 of 2 begun"));
    ticket(&stage, &["set", "guest", "--uses", "3"]).ok();
    stage.run(&["put", "f", "guest:/f"]).ok();
    assert_eq!((used(&stage), fs::read(stage.path("srv/f")).unwrap()), (3, content(3_000_000)));
    // It counts on after the server began anew.
    assert_eq!(server.terminate(), 0);
    let again = stage.serve(&[]);
    assert_eq!(used(&stage), 3);
    let (kept, url) = (guest, again.url("f"));
    stage.run_env(&["get", &url, "-"], "FLOE_TICKET", kept).fails(4, &["used 3 times, and was"]);
}

#[test]
fn what_broke_off_is_continued_within_its_use() {
    let (stage, _server, _) = with(&["--uses", "2"]);
    stage.file("f", 9_000_000);
    stage.file("g", 9_000_000);
    for args in [["put", "f", "guest:/f"], ["get", "guest:/f", "h"]] {
        moving(&stage, &args).kill();
        // Nothing is left for anything else.
        let left = 2 - used(&stage);
        if left == 0 {
            stage.run(&["put", "g", "guest:/g"]).fails(4, &[SPENT]);
        }
        stage.run(&args).ok();
    }
    assert_eq!(fs::read(stage.path("here/h")).unwrap(), content(9_000_000));
    assert_eq!(used(&stage), 2);
    for args in [["put", "f", "guest:/i"], ["get", "guest:/f", "h"]] {
        stage.run(&args).fails(4, &[SPENT]);
    }
}

#[test]
fn of_many_at_once_as_many_go_as_may() {
    let (stage, _server, _) = with(&["--uses", "2"]);
    stage.file("f", 500_000);
    // The same at once is one use.
    stage.file("large", 9_000_000);
    let same = ["put", "large", "guest:/same"];
    let all = [moving(&stage, &same), stage.start(&same), stage.start(&same)];
    all.into_iter().for_each(|one| assert!([0, 9].contains(&one.end().status)));
    assert_eq!(used(&stage), 1);
    ticket(&stage, &["set", "guest", "--uses", "3"]).ok();
    let spent = SPENT.replace('2', "3");
    let names: Vec<_> = (0..6).map(|nth| format!("guest:/{nth}")).collect();
    let all: Vec<_> = names.iter().map(|name| stage.start(&["put", "f", name])).collect();
    let ended: Vec<_> = all.into_iter().map(crate::stage::Running::end).collect();
    let done = ended.iter().filter(|ended| ended.status == 0).count();
    let refused = ended.iter().filter(|ended| ended.status == 4 && ended.err.contains(&spent));
    assert_eq!((done, refused.count(), used(&stage)), (2, 4, 3));
    let stand = names.iter().filter(|name| stage.path(name.replace("guest:", "srv")).exists());
    assert_eq!(stand.count(), 2);
}

#[test]
fn a_rate_holds_for_all_transfers_together_and_can_be_changed_as_they_run() {
    let (stage, _server, _) = with(&["--rate", "1M"]);
    stage.file("f", 1_500_000);
    fs::write(stage.path("srv/g"), content(1_500_000)).unwrap();
    let began = Instant::now();
    let put = stage.start(&["put", "f", "guest:/f"]);
    stage.run(&["get", "guest:/g", "g"]).ok();
    put.end().ok();
    let together = began.elapsed();
    // Each may be ahead by a piece.
    assert!(together > Duration::from_millis(2300), "3 MB in {together:?}");
    // One after the other, they are no faster.
    let began = Instant::now();
    for nth in 0..8 {
        stage.file("s", 250_000 + nth);
        stage.run(&["put", "s", "guest:/s"]).ok();
    }
    let after = began.elapsed();
    assert!(after > Duration::from_millis(1600), "2 MB in {after:?}");
    // A minute and a half at that rate.
    ticket(&stage, &["set", "guest", "--rate", "100k"]).ok();
    stage.file("h", 9_000_000);
    let began = Instant::now();
    let put = stage.start(&["put", "h", "guest:/h", "--json"]);
    put.wait_for("\"progress\"");
    ticket(&stage, &["set", "guest", "--rate", "none"]).ok();
    put.end().ok();
    assert!(began.elapsed() < Duration::from_secs(45), "{:?}", began.elapsed());
    assert!(ticket(&stage, &["show", "guest", "--json"]).ok().event("ticket")["rate"].is_null());
}

#[test]
fn a_session_has_no_more_streams_than_its_ticket_may() {
    let (stage, _server, _) = with(&["--streams", "2"]);
    stage.file("f", 30_000_000);
    let put = ["put", "f", "guest:/f", "--streams", "6", "--json"];
    assert_eq!(stage.run(&put).ok().event("summary")["streams"], 2);
    // Where it may fewer now, what runs comes again with those.
    let get = ["get", "guest:/f", "g", "--streams", "2", "--limit", "10M", "--json"];
    let running = stage.start(&get);
    running.wait_for("\"progress\"");
    ticket(&stage, &["set", "guest", "--streams", "1"]).ok();
    let ended = running.end().ok();
    assert_eq!(ended.event("summary")["reconnects"], 1);
    assert_eq!(fs::read(stage.path("here/g")).unwrap(), content(30_000_000));
}

#[test]
fn bounds_of_nothing_are_refused() {
    let stage = Stage::new();
    let _server = stage.serve(&[]);
    for flags in [["--uses", "0"], ["--streams", "0"], ["--rate", "0"]] {
        ticket(&stage, &["create", "guest", flags[0], flags[1]]).fails(2, &[flags[0]]);
    }
}
