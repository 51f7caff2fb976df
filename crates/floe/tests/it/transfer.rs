//! put and get of files and streams: what arrives, what is printed, what a second run does.

use crate::stage::{Stage, content, root_of, words};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
fn a_file_goes_up_and_comes_down_identical() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    for size in [0, 1, 1 << 20, (1 << 20) + 1, 5_000_000] {
        let file = stage.file("a", size);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let put = stage.run(&["put", "a", "nas:/dir/b"]).ok();
        assert!(put.out.is_empty() && put.err.contains("nas:/dir/b: "), "{}", put.err);
        assert!(put.err.contains(&root_of(&file)), "{}", put.err);
        assert_eq!(fs::read(stage.path("srv/dir/b")).unwrap(), content(size));
        let get = stage.run(&["get", "nas:/dir/b", "deep/er/c"]).ok();
        assert!(get.err.contains(&root_of(&file)), "{}", get.err);
        let back = stage.path("here/deep/er/c");
        assert_eq!(fs::read(&back).unwrap(), content(size));
        let (before, after) = (fs::metadata(&file).unwrap(), fs::metadata(&back).unwrap());
        assert_eq!(after.mode() & 0o777, 0o640);
        assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()));
        fs::remove_file(back).unwrap();
    }
}

#[test]
fn every_way_to_send_gives_the_same_bytes() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let file = stage.file("a", 9_000_001);
    for (nth, flags) in [
        &["--streams", "1"][..],
        &["--streams", "4"],
        &["--streams", "auto", "--chunk", "256Ki"],
        &["--lockstep"],
        &["--chunk", "16Mi", "--window", "16Mi"],
        &["--limit", "200M", "--no-resume", "--checksum"],
        &["--background"],
        &["--background", "--streams", "2", "--limit", "200M"],
    ]
    .iter()
    .enumerate()
    {
        let there = format!("nas:/{nth}");
        let here = format!("back{nth}");
        stage.run(&[&["put", "a", &there], *flags].concat()).ok();
        stage.run(&[&["get", &there, &here], *flags].concat()).ok();
        assert_eq!(root_of(&stage.path("here").join(&here)), root_of(&file), "{flags:?}");
    }
}

#[test]
fn standard_input_and_output_carry_data_of_unknown_size() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    for size in [0, 1, 3_500_000] {
        let bytes = content(size);
        stage.run_with(&["put", "-", "nas:/stream"], &bytes).ok();
        assert_eq!(fs::read(stage.path("srv/stream")).unwrap(), bytes);
        let get = stage.run(&["get", "nas:/stream", "-"]).ok();
        assert_eq!(get.out, bytes);
        assert!(get.err.contains(&blake3::hash(&bytes).to_hex().to_string()), "{}", get.err);
        let get = stage.run(&["get", "nas:/stream", "-", "--json", "-q"]).ok();
        assert_eq!(get.out, bytes);
        assert!(get.err.lines().any(|line| line.contains(r#""event":"summary""#)), "{}", get.err);
    }
}

#[test]
fn a_second_run_sends_no_byte() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let file = stage.file("a", 4_000_000);
    let past = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::open(&file).unwrap().set_modified(past).unwrap();
    wait_until_settled(&file);
    for verb in [&["put", "a", "nas:/a", "--json"], &["get", "nas:/a", "b", "--json"]] {
        let first = stage.run(verb).ok().event("summary");
        assert_eq!(first["bytes_sent"], 4_000_000, "{first}");
        wait_until_settled(&stage.path("srv/a"));
        for how in [&verb[..], &[&verb[..], &["--checksum"]].concat()] {
            let again = stage.run(how).ok().event("summary");
            assert_eq!(again["bytes_sent"], 0, "{how:?}: {again}");
            assert_eq!(again["bytes_resumed"], 4_000_000, "{how:?}: {again}");
            assert_eq!(again["bytes_stored"], 4_000_000, "{how:?}: {again}");
            assert_eq!(again["root"].as_str().unwrap(), root_of(&file));
        }
    }
}

/// A version whose ctime is younger than two seconds is not trusted by a resume.
fn wait_until_settled(file: &std::path::Path) {
    let ctime = fs::metadata(file).unwrap().ctime();
    crate::stage::wait_until("the clock", || {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        now.as_secs() as i64 > ctime + 2
    });
}

#[test]
fn several_sources_go_into_a_directory_over_one_connection() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("a", 10);
    stage.file("sub/b", 20);
    stage.run(&["put", "a", "sub/b", "sub", "nas:/all"]).ok();
    for (name, size) in [("a", 10), ("b", 20), ("sub/b", 20)] {
        assert_eq!(fs::read(stage.path("srv/all").join(name)).unwrap(), content(size), "{name}");
    }
    stage.run(&["get", "nas:/all/a", "nas:/all/b", "."]).ok();
    assert_eq!(fs::read(stage.path("here/b")).unwrap(), content(20));
    let put = stage.run(&["put", "a", "none", "sub/b", "nas:/more/"]);
    assert_eq!(put.status, 10, "{}", put.err);
    assert!(put.err.contains("\"none\": not found"), "{}", put.err);
    assert!(stage.path("srv/more/a").exists() && stage.path("srv/more/b").exists());
    let put = stage.run(&["put", "none", "a", "nas:/last/", "--fail-fast"]);
    assert_eq!((put.status, stage.path("srv/last/a").exists()), (3, false), "{}", put.err);
}

#[test]
fn dest_means_what_the_manual_says() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 5);
    stage.file("d/x", 6);
    fs::create_dir(stage.path("srv/there")).unwrap();
    for (source, dest, made) in [
        ("f", "nas:/name", "name"),
        ("f", "nas:/there", "there/f"),
        ("f", "nas:/new/", "new/f"),
        ("f", "nas:", "f"),
        ("./f", "nas:/dot/.", "dot/f"),
        ("d", "nas:/tree", "tree/x"),
        ("d/", "nas:/tree2", "tree2/x"),
        ("d", "nas:/there", "there/x"),
        ("d", "nas:/there/", "there/d/x"),
        ("d/.", "nas:/in/", "in/d/x"),
    ] {
        stage.run(&["put", source, dest]).ok();
        assert!(stage.path("srv").join(made).is_file(), "{source} {dest}");
    }
    fs::create_dir(stage.path("here/here")).unwrap();
    for (source, dest, made) in [
        ("nas:/name", "g", "g"),
        ("nas:/name", "here", "here/name"),
        ("nas:/name", ".", "name"),
        ("nas:/name", "made/", "made/name"),
        ("nas:/tree", "copy", "copy/x"),
        ("nas:/tree", "here", "here/x"),
        ("nas:/tree/", "here/", "here/tree/x"),
    ] {
        stage.run(&["get", source, dest]).ok();
        assert!(stage.path("here").join(made).is_file(), "{source} {dest}");
    }
}

#[test]
fn urls_are_percent_decoded_and_names_are_not() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.file("f", 5);
    stage.run(&words([&"put", &"f", &server.url("a%20b%2a")])).ok();
    assert!(stage.path("srv/a b*").is_file());
    stage.run(&["put", "f", "nas:/a%20b"]).ok();
    assert!(stage.path("srv/a%20b").is_file());
    let put = stage.run(&words([&"put", &"f", &server.url("%ff")])).ok();
    assert!(put.err.contains("/%FF: "), "{}", put.err);
}

#[test]
fn json_says_everything_the_summary_does() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let file = stage.file("a", 2_000_000);
    let put = stage.run(&["put", "a", "nas:/a", "--json"]).ok();
    assert!(put.err.is_empty(), "{}", put.err);
    assert_eq!(put.event("entry")["path"], ".");
    let summary = put.event("summary");
    for name in [
        "bytes_total",
        "bytes_sent",
        "bytes_on_wire",
        "bytes_resumed",
        "bytes_repeated",
        "window_bytes_max",
        "entries_found",
        "entries_committed",
        "entries_failed",
        "entries_skipped",
        "elapsed",
        "rate",
        "streams",
        "reconnects",
        "peak_rss_bytes",
    ] {
        assert!(summary[name].is_number(), "{name} in {summary}");
    }
    assert!(summary["causes"].is_object() && summary["exit_status"] == 0, "{summary}");
    assert_eq!(summary["size"], 2_000_000);
    assert_eq!(summary["path"], "a");
    assert_eq!(summary["root"].as_str().unwrap(), root_of(&file));
    assert!(summary["window_bytes_max"].as_u64().unwrap() > 0);
    let failed = stage.run(&["get", "nas:/none", "x", "--json"]);
    assert_eq!(failed.status, 3);
    assert_eq!(failed.event("summary")["exit_status"], 3);
    assert_eq!(failed.event("summary")["code"], "not_found");
    let refused = stage.run(&["put", "none", "nas:/x", "--json"]);
    assert_eq!(refused.event("error")["exit_status"], 3);
}
