//! How much a ticket may bring in: to the byte, whoever writes at once, and after a crash.

use crate::reconnect::restart;
use crate::stage::{Running, Server, Stage, content, wait_until};
use crate::tickets::{grant, ticket};
use std::fs;
use std::io::Write;
use std::thread;

fn shown(stage: &Stage) -> serde_json::Value {
    ticket(stage, &["show", "guest", "--json"]).ok().event("ticket")
}

/// Bytes used, bytes staged.
fn bytes(stage: &Stage) -> (u64, u64) {
    let shown = shown(stage);
    (shown["used_bytes"].as_u64().unwrap(), shown["staged_bytes"].as_u64().unwrap())
}

fn with_quota(flags: &[&str]) -> (Stage, Server) {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    grant(&stage, &server, "guest", &[&["--allow", "all"], flags].concat());
    (stage, server)
}

/// What lies in the stages of the server, in bytes.
pub fn staged_bytes(stage: &Stage) -> u64 {
    let Ok(area) = fs::read_dir(stage.path("srv/.floe")) else { return 0 };
    let files = area.map(Result::unwrap);
    let stages = files.filter(|file| file.file_name().to_string_lossy().ends_with(".stage"));
    stages.map(|file| file.metadata().map_or(0, |meta| meta.len())).sum()
}

#[test]
fn the_last_byte_is_taken_and_no_more() {
    let (stage, _server) = with_quota(&["--quota", "1M"]);
    for (name, size) in [("a", 600_000), ("b", 400_001), ("c", 400_000), ("d", 1), ("e", 0)] {
        stage.file(name, size);
    }
    stage.run(&["put", "a", "guest:/a"]).ok();
    let words = ["write \"b\": 400001 more bytes, and its ticket has 400000 left: quota exceeded"];
    stage.run(&["put", "b", "guest:/b"]).fails(7, &words);
    assert!(!stage.path("srv/b").exists());
    stage.run(&["put", "c", "guest:/c"]).ok();
    stage.run(&["put", "d", "guest:/d"]).fails(7, &["1 more bytes, and its ticket has 0 left"]);
    stage.run(&["put", "e", "guest:/e"]).ok();
    assert_eq!((bytes(&stage), shown(&stage)["used_files"].as_u64()), ((1_000_000, 0), Some(3)));
    // What stands already brings nothing in; what replaces it does, and nothing is given back.
    stage.run(&["put", "a", "guest:/a"]).ok();
    stage.run(&["rm", "guest:/c"]).ok();
    stage.run(&["put", "d", "guest:/a"]).fails(7, &["has 0 left"]);
    assert_eq!(fs::read(stage.path("srv/a")).unwrap(), content(600_000));
    ticket(&stage, &["set", "guest", "--quota", "1000001"]).ok();
    stage.run(&["put", "d", "guest:/a"]).ok();
    assert_eq!(bytes(&stage), (1_000_001, 0));
    let listed = ticket(&stage, &["list"]).ok().text();
    assert!(listed.contains("976.56 KiB of 976.56 KiB used, 0 B staged; 4 files used"), "{listed}");
    ticket(&stage, &["set", "guest", "--quota", "none"]).ok();
    stage.run(&["put", "b", "guest:/b"]).ok();
    assert!(shown(&stage)["used_bytes"].is_null());
}

#[test]
fn files_links_and_directories_count() {
    let (stage, _server) = with_quota(&["--quota-files", "4"]);
    fs::create_dir_all(stage.path("here/t")).unwrap();
    std::os::unix::fs::symlink("f", stage.path("here/t/link")).unwrap();
    stage.file("t/f", 3);
    stage.run(&["put", "t", "guest:/t"]).ok();
    assert_eq!(shown(&stage)["used_files"].as_u64(), Some(3));
    // The same once more brings nothing in, a link that replaces another does.
    stage.run(&["put", "t", "guest:/t"]).ok();
    assert_eq!(shown(&stage)["used_files"].as_u64(), Some(3));
    stage.run(&["mkdir", "guest:/d"]).ok();
    stage.run(&["mkdir", "guest:/d"]).ok();
    let words = ["1 more files, and its ticket has 0 left: quota exceeded"];
    stage.run(&["mkdir", "guest:/e"]).fails(7, &words);
    stage.run(&["put", "t/f", "guest:/f"]).fails(7, &words);
    assert!(!stage.path("srv/e").exists() && !stage.path("srv/f").exists());
    let shown = ticket(&stage, &["show", "guest"]).ok().text();
    assert!(shown.contains("3 B used, 0 B staged; 4 of 4 files used, 0 staged"), "{shown}");
}

#[test]
fn a_link_that_may_not_replace_another_does_not_count() {
    let (stage, _server) = with_quota(&["--quota-files", "9"]);
    let link = |to: &str| {
        let path = stage.path("here/t/link");
        let _ = fs::remove_file(&path);
        std::os::unix::fs::symlink(to, path).unwrap();
    };
    fs::create_dir_all(stage.path("here/t")).unwrap();
    link("a");
    stage.run(&["put", "t", "guest:/t"]).ok();
    for other in ["b", "c"] {
        link(other);
        assert_eq!(stage.run(&["put", "--no-clobber", "t", "guest:/t"]).status, 10);
        assert_eq!(shown(&stage)["used_files"].as_u64(), Some(2));
    }
    stage.run(&["put", "t", "guest:/t"]).ok();
    assert_eq!(shown(&stage)["used_files"].as_u64(), Some(3));
}

#[test]
fn what_of_a_tree_fits_is_brought_in_and_the_rest_has_its_line() {
    let (stage, _server) = with_quota(&["--quota", "50k"]);
    (0..8).for_each(|nth| drop(stage.file(&format!("t/{nth}"), 10_000)));
    let ended = stage.run(&["put", "t", "guest:/t"]);
    assert_eq!(ended.status, 10, "{}", ended.err);
    let words = "10000 more bytes, and its ticket has 0 left";
    let refused = ended.err.lines().filter(|line| line.starts_with("floe: write"));
    assert_eq!(refused.filter(|line| line.contains(words)).count(), 3, "{}", ended.err);
    assert_eq!(
        (bytes(&stage), fs::read_dir(stage.path("srv/t")).unwrap().count()),
        ((50_000, 0), 5)
    );
}

#[test]
fn eight_writers_at_once_bring_in_what_fits_to_the_byte() {
    let (stage, _server) = with_quota(&["--quota", "12M"]);
    stage.file("f", 3_000_000);
    let names: Vec<_> = (0..8).map(|nth| format!("guest:/f{nth}")).collect();
    let start = |name: &String| stage.start(&["put", "f", name, "--limit", "3M"]);
    let writers: Vec<Running> = names.iter().map(start).collect();
    let ended: Vec<_> = writers.into_iter().map(Running::end).collect();
    let count = |status| ended.iter().filter(|one| one.status == status).count();
    let said: Vec<_> = ended.iter().map(|one| &one.err).collect();
    assert_eq!((count(0), count(7)), (4, 4), "{said:?}");
    assert_eq!((bytes(&stage), staged_bytes(&stage)), ((12_000_000, 0), 0));
    let stand = fs::read_dir(stage.path("srv")).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(stand.filter(|name| name.to_string_lossy().starts_with('f')).count(), 4);
}

#[test]
fn eight_writers_of_unknown_size_stage_no_more_than_fits() {
    let (stage, _server) = with_quota(&["--quota", "12M"]);
    let input = content(3_000_000);
    let start = |nth: usize| {
        let mut command = stage.command();
        Running::start(command.args(["put", "-", &format!("guest:/f{nth}")]), &input)
    };
    let writers: Vec<Running> = (0..8).map(start).collect();
    let ended: Vec<_> = writers.into_iter().map(Running::end).collect();
    let whole = ended.iter().filter(|one| one.status == 0).count() as u64;
    let said: Vec<_> = ended.iter().map(|one| &one.err).collect();
    assert!(ended.iter().all(|one| [0, 7].contains(&one.status)), "{said:?}");
    let (used, staged) = bytes(&stage);
    assert_eq!((used, staged), (whole * 3_000_000, staged_bytes(&stage)));
    assert!(whole < 8 && used + staged <= 12_000_000, "{used} and {staged}");
}

#[test]
fn bytes_of_unknown_size_count_as_they_come() {
    let (stage, _server) = with_quota(&["--quota", "1M"]);
    let put =
        |size, name: &str| stage.run_with(&["put", "-", &format!("guest:/{name}")], &content(size));
    put(1_000_001, "over").fails(7, &["write \"over\"", "left: quota exceeded"]);
    assert!(!stage.path("srv/over").exists());
    assert_eq!(bytes(&stage), (0, staged_bytes(&stage)));
    ticket(&stage, &["set", "guest", "--quota", "3M"]).ok();
    put(1_000_000, "fits").ok();
    assert_eq!(bytes(&stage), (1_000_000, staged_bytes(&stage)));
}

/// A new server over the same directories, and `guest` logged in there.
fn serve_again(stage: &Stage, text: &str) -> Server {
    let server = stage.serve(&[]);
    stage.run(&["logout", "guest"]).ok();
    stage.log_in("guest", &server, text, &[]).ok();
    server
}

#[test]
fn two_crashes_lose_no_count_and_no_stage() {
    let stage = Stage::new();
    let mut server = stage.serve_and_log_in(&[]);
    let text = grant(&stage, &server, "guest", &["--allow", "all", "--quota", "10M"]);
    for (name, size) in [("done", 2_000_000), ("half", 6_000_000), ("rest", 2_000_001)] {
        stage.file(name, size);
    }
    stage.run(&["put", "done", "guest:/done"]).ok();
    for _ in 0..2 {
        let half = stage.start(&["put", "half", "guest:/half", "--limit", "2M", "--json"]);
        half.wait_for("\"progress\"");
        server.kill();
        half.kill();
        assert_eq!(bytes(&stage), (2_000_000, 6_000_000));
        server = serve_again(&stage, &text);
        // What is staged is set aside, though nobody holds it.
        let words = ["2000001 more bytes, and its ticket has 2000000 left"];
        stage.run(&["put", "rest", "guest:/rest"]).fails(7, &words);
        assert_eq!(bytes(&stage), (2_000_000, 6_000_000));
    }
    stage.run(&["put", "half", "guest:/half"]).ok();
    assert_eq!((bytes(&stage), staged_bytes(&stage)), ((8_000_000, 0), 0));
    assert_eq!(fs::read(stage.path("srv/half")).unwrap(), content(6_000_000));
    server.kill();
    let _server = serve_again(&stage, &text);
    stage.run(&["put", "rest", "guest:/rest"]).fails(7, &["has 2000000 left"]);
    assert_eq!(bytes(&stage), (8_000_000, 0));
}

#[test]
fn a_crash_leaves_of_unknown_size_what_is_written() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let text = grant(&stage, &server, "guest", &["--allow", "all", "--quota", "10M"]);
    let mut command = stage.command();
    let (put, mut input) = Running::start_fed(command.args(["put", "-", "guest:/f"]));
    input.write_all(&content(6_000_000)).unwrap();
    wait_until("something staged", || staged_bytes(&stage) > 1_000_000);
    server.kill();
    put.kill();
    let left = staged_bytes(&stage);
    let _server = serve_again(&stage, &text);
    // Whoever comes has it looked at.
    stage.run(&["ls", "guest:/"]).ok();
    assert_eq!(bytes(&stage), (0, left));
    stage.file("rest", usize::try_from(10_000_001 - left).unwrap());
    stage.file("fits", usize::try_from(10_000_000 - left).unwrap());
    let words = format!("has {} left", 10_000_000 - left);
    stage.run(&["put", "rest", "guest:/rest"]).fails(7, &[words.as_str()]);
    stage.run(&["put", "fits", "guest:/fits"]).ok();
}

/// What stands in the served directory, in bytes.
fn standing_bytes(stage: &Stage) -> u64 {
    let all = fs::read_dir(stage.path("srv")).unwrap().map(|entry| entry.unwrap().metadata());
    all.map(Result::unwrap).filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}

#[test]
fn eight_writers_bring_in_what_fits_also_where_their_server_is_killed() {
    const QUOTA: u64 = 40_000_000;
    let (stage, server) = with_quota(&["--quota", "40M"]);
    let (port, size) = (server.port, 6_000_000);
    let input = content(size);
    stage.file("f", size);
    let start = |nth: usize| {
        let (from, name) = (if nth < 4 { "f" } else { "-" }, format!("guest:/f{nth}"));
        let mut command = stage.command();
        let flags = ["--limit", "1M", "--json"];
        Running::start(command.args(["put", from, &name]).args(flags), &input)
    };
    let mut writers = Vec::new();
    // Four know their size, and 24 MB are set aside for them; the others go on until it is full.
    for four in [0..4, 4..8] {
        writers.extend(four.map(start));
        // Whoever comes to a server that is not there gives up at once.
        writers.iter().for_each(|writer: &Running| writer.wait_for("\"event\":"));
    }
    wait_until("all of them write", || staged_bytes(&stage) > 28_000_000);
    server.kill();
    // Nothing moves, and is there to be looked at.
    let (stands, lies) = (standing_bytes(&stage), staged_bytes(&stage));
    assert!(stands + lies <= QUOTA, "{stands} and {lies}");
    let _server = restart(&stage, port);
    let ends = writers.into_iter().map(|writer| thread::spawn(move || writer.end()));
    let ends: Vec<_> = ends.collect();
    while ends.iter().any(|end| !end.is_finished()) {
        let (used, staged) = bytes(&stage);
        assert!(used + staged <= QUOTA, "{used} and {staged}");
    }
    let ends: Vec<_> = ends.into_iter().map(|end| end.join().unwrap()).collect();
    let said: Vec<_> = ends.iter().map(|end| (end.status, end.text())).collect();
    assert!(ends.iter().all(|end| [0, 7].contains(&end.status)), "{said:?}");
    assert!(said.iter().any(|(_, said)| said.contains("\"reconnected\"")), "{said:?}");
    let whole = ends.iter().filter(|end| end.status == 0).count() as u64;
    assert!((4..8).contains(&whole), "{said:?}");
    for (nth, end) in ends.iter().enumerate() {
        let stands = fs::read(stage.path(format!("srv/f{nth}"))).ok();
        assert!(stands.as_ref() == (end.status == 0).then_some(&input), "{nth}: {said:?}");
    }
    // A session leaves its stage behind its answer.
    wait_until("the books are as the disk", || {
        bytes(&stage) == (standing_bytes(&stage), staged_bytes(&stage))
    });
    let (used, staged) = bytes(&stage);
    assert_eq!(used, whole * size as u64);
    assert!(used + staged <= QUOTA, "{used} and {staged}");
}

#[test]
fn a_source_that_changed_counts_once() {
    let (stage, _server) = with_quota(&["--quota", "8M"]);
    stage.file("f", 6_000_000);
    let put = stage.start(&["put", "f", "guest:/f", "--limit", "2M", "--json"]);
    put.wait_for("\"progress\"");
    put.kill();
    stage.file("f", 7_000_000);
    // Until the server knows that the first client is gone, its stage is held.
    wait_until("the second put", || stage.run(&["put", "f", "guest:/f"]).status == 0);
    assert_eq!((bytes(&stage), staged_bytes(&stage)), ((7_000_000, 0), 0));
}

#[test]
fn a_quota_is_changed_for_what_runs() {
    let (stage, server) = with_quota(&["--quota", "10M"]);
    stage.file("f", 9_000_000);
    let running = |to: &str| {
        let put = stage.start(&["put", "f", to, "--limit", "1M", "--json"]);
        put.wait_for("\"progress\"");
        put
    };
    let put = running("guest:/f");
    ticket(&stage, &["set", "guest", "--quota", "8999999"]).ok();
    put.end().fails(7, &["write \"f\": its ticket has 0 bytes left: quota exceeded"]);
    assert!(!stage.path("srv/f").exists());
    ticket(&stage, &["set", "guest", "--quota", "9M"]).ok();
    stage.run(&["put", "f", "guest:/f"]).ok();
    // One that had none is given one: its sessions come again, and count.
    grant(&stage, &server, "free", &["--allow", "all"]);
    let put = running("free:/g");
    ticket(&stage, &["set", "free", "--quota", "1M"]).ok();
    put.end().fails(7, &["more bytes, and its ticket has "]);
    assert!(!stage.path("srv/g").exists());
}
