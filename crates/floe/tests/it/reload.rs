//! Bounds from `floe.toml`, a reserve of the disk, and what SIGHUP changes while a server runs.

use crate::live_tickets::moving;
use crate::stage::{Server, Stage, content, wait_until};
use crate::trust::fingerprint_of;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::Signal;
use std::fs;

/// A server that goes by a file with this text, and `nas`.
fn serve(stage: &Stage, text: &str, flags: &[&str]) -> Server {
    fs::write(stage.path("floe.toml"), text).unwrap();
    let file = stage.path("floe.toml");
    stage.serve_and_log_in(&[&["--config", file.to_str().unwrap()], flags].concat())
}

fn reload(server: &Server, says: &str) {
    let count = || server.errors.lock().unwrap().matches(says).count();
    let before = count();
    server.signal(Signal::HUP);
    wait_until("the server has read its files again", || count() > before);
}

const AGAIN: &str = "were read again";

#[test]
fn limits_change_for_who_comes_next_and_disturb_nobody() {
    let stage = Stage::new();
    let server = serve(&stage, "[limits]\nstreams = 3\n", &[]);
    stage.file("f", 30_000_000);
    stage.file("g", 9_000_000);
    let streams = |name: &str| {
        // Long enough for all of them to come.
        let args = ["put", "f", name, "--streams", "8", "--json", "--limit", "40000000"];
        stage.run(&args).ok().event("summary")["streams"].as_u64()
    };
    assert_eq!(streams("nas:/a"), Some(3));
    let running = moving(&stage, &["put", "g", "nas:/b"]);
    fs::write(stage.path("floe.toml"), "[limits]\nstreams = 1\n").unwrap();
    reload(&server, AGAIN);
    assert_eq!(streams("nas:/c"), Some(1));
    // What is wrong changes nothing, and is said with its line.
    fs::write(stage.path("floe.toml"), "keep-free = \"1G\"\n[limits]\nstreams = 70\n").unwrap();
    reload(&server, "line 3: a whole number from 1 to 64");
    assert_eq!(streams("nas:/d"), Some(1));
    fs::write(stage.path("floe.toml"), "memory = \"64Mi\"\n").unwrap();
    reload(&server, "another memory needs a restart");
    for (line, what) in [
        ("user = \"nobody\"\n", "user"),
        ("log-format = \"json\"\n", "log format"),
        ("json = true\n", "form of the output"),
    ] {
        fs::write(stage.path("floe.toml"), line).unwrap();
        reload(&server, &format!("another {what} needs a restart"));
    }
    assert!(streams("nas:/e") > Some(3));
    assert_eq!(running.end().ok().event("summary")["reconnects"], 0);
    assert_eq!(fs::read(stage.path("srv/b")).unwrap(), content(9_000_000));
}

#[test]
fn sessions_are_as_many_as_the_file_says() {
    let stage = Stage::new();
    let _server = serve(&stage, "[limits]\nsessions-per-ticket = 1\n", &[]);
    stage.file("f", 9_000_000);
    let first = moving(&stage, &["put", "f", "nas:/a"]);
    // It is told to come back, and does.
    let second = stage.start(&["ls", "nas:/", "-vv"]);
    second.wait_for("first contact is made again");
    first.end().ok();
    let second = second.end().ok();
    assert!(second.err.contains("the server is busy"), "{}", second.err);
}

#[test]
fn a_transfer_has_no_more_entries_than_the_file_says() {
    let stage = Stage::new();
    let server = serve(&stage, "[limits]\nentries = 5\n", &[]);
    (0..4).for_each(|nth| drop(stage.file(&format!("four/{nth}"), 10)));
    (0..5).for_each(|nth| drop(stage.file(&format!("five/{nth}"), 10)));
    fs::create_dir(stage.path("here/links")).unwrap();
    for nth in 0..5 {
        std::os::unix::fs::symlink("x", stage.path("here/links").join(nth.to_string())).unwrap();
    }
    // The directory is one of them.
    let words = ["transfer more than 5 entries at once: the server takes no larger tree"];
    stage.run(&["put", "four", "nas:/four"]).ok();
    stage.run(&["put", "five", "nas:/five"]).fails(1, &words);
    stage.run(&["put", "links", "nas:/links"]).fails(1, &words);
    let stand = |name| fs::read_dir(stage.path("srv").join(name)).map_or(0, Iterator::count);
    assert!(stand("five") < 5 && stand("links") < 5);
    fs::create_dir(stage.path("srv/six")).unwrap();
    (0..6).for_each(|nth| fs::write(stage.path("srv/six").join(nth.to_string()), "x").unwrap());
    stage.run(&["get", "nas:/four", "."]).ok();
    stage.run(&["get", "nas:/six", "."]).fails(1, &words);
    fs::write(stage.path("floe.toml"), "").unwrap();
    reload(&server, AGAIN);
    stage.run(&["put", "five", "nas:/five"]).ok();
    stage.run(&["get", "nas:/six", "."]).ok();
}

#[test]
fn no_directory_is_made_deeper_than_the_file_says() {
    let stage = Stage::new();
    let _server = serve(&stage, "[limits]\ndepth = 3\n", &[]);
    stage.file("t/1/2/3/deep", 10);
    stage.file("t/1/high", 10);
    let words = |path| {
        format!("make \"{path}\": the server takes no more than 3 directories beneath one another")
    };
    let ended = stage.run(&["put", "t", "nas:/t"]);
    assert!(ended.status == 10 && ended.err.contains(&words("t/1/2/3")), "{}", ended.err);
    assert!(stage.path("srv/t/1/high").exists() && !stage.path("srv/t/1/2/3").exists());
    stage.run(&["mkdir", "nas:/a/b/c"]).ok();
    stage.run(&["mkdir", "nas:/a/b/c/d"]).fails(1, &[&words("a/b/c/d")]);
    stage.run(&["mv", "nas:/t/1/high", "nas:/a/b/c/high"]).fails(1, &[&words("a/b/c/high")]);
    stage.run(&["put", "t/1/high", "nas:/a/b/c/high"]).ok();
    stage.run(&["put", "t/1/high", "nas:/a/b/c/d/high"]).fails(1, &[&words("a/b/c/d")]);
    assert!(!stage.path("srv/a/b/c/d").exists());
    fs::create_dir_all(stage.path("srv/x/1/2/3/4")).unwrap();
    stage.run(&["get", "nas:/x", "."]).ok();
}

#[test]
fn no_tree_is_moved_deeper_than_the_file_says() {
    let stage = Stage::new();
    let _server = serve(&stage, "[limits]\ndepth = 3\n", &[]);
    for path in ["nas:/a/a/a", "nas:/b/b/b"] {
        stage.run(&["mkdir", path]).ok();
    }
    // What a link leads to is nowhere beneath it.
    std::os::unix::fs::symlink("../b", stage.path("srv/a/a/l")).unwrap();
    let words = "\"b/b/a\": the server takes no more than 3 directories beneath one another";
    stage.run(&["mv", "nas:/a", "nas:/b/b/a"]).fails(1, &[words]);
    assert!(stage.path("srv/a/a/a").exists() && !stage.path("srv/b/b/a").exists());
    stage.run(&["mv", "nas:/a/a/a", "nas:/a/b"]).ok();
    stage.run(&["mv", "nas:/a", "nas:/b/a"]).ok();
    stage.run(&["mv", "nas:/b/b", "nas:/c"]).ok();
    stage.run(&["mv", "nas:/c/b", "nas:/c/d"]).ok();
    assert!(stage.path("srv/b/a/a/l").is_symlink() && stage.path("srv/c/d").exists());
}

#[test]
fn a_disk_keeps_what_is_to_stay_free() {
    let stage = Stage::new();
    let server = serve(&stage, "keep-free = \"1000T\"\n", &[]);
    for (name, size) in [("small", 10), ("large", 3_000_000)] {
        stage.file(name, size);
        let put = ["put", name, &format!("nas:/{name}")].map(str::to_owned);
        stage.run(&put).fails(7, &["no space left"]);
        stage.run_with(&["put", "-", &format!("nas:/{name}")], &content(size)).fails(7, &[]);
        fs::write(stage.path("srv").join(format!("is-{name}")), content(size)).unwrap();
        stage.run(&["get", &format!("nas:/is-{name}"), "."]).ok();
    }
    assert!(!stage.path("srv/small").exists() && !stage.path("srv/large").exists());
    fs::write(stage.path("floe.toml"), "").unwrap();
    reload(&server, AGAIN);
    stage.run(&["put", "large", "nas:/large"]).ok();
    drop(server);
    let _server = stage.serve_and_log_in(&["--keep-free", "1000T"]);
    stage.run(&["put", "small", "nas:/small"]).fails(7, &["no space left"]);
}

#[test]
fn another_certificate_is_shown_to_who_comes_next() {
    let stage = Stage::new();
    // Keys of two servers that made their own.
    let keys = ["one", "two"].map(|name| {
        let at = stage.path(name);
        let mut command = stage.command();
        command.arg("serve").arg(stage.path("srv")).arg("--state").arg(&at);
        let server = Server::start(command.args(["--listen", "127.0.0.1:0"]));
        let key = fingerprint_of(&server);
        assert_eq!(server.terminate(), 0);
        fs::copy(at.join("identity.pem"), stage.path(format!("{name}.pem"))).unwrap();
        key
    });
    let pem = stage.path("own.pem");
    fs::copy(stage.path("one.pem"), &pem).unwrap();
    let pem = pem.to_str().unwrap();
    let server = stage.serve_and_log_in(&["--cert", pem, "--key", pem]);
    stage.file("f", 9_000_000);
    let running = moving(&stage, &["put", "f", "nas:/f"]);
    fs::copy(stage.path("two.pem"), pem).unwrap();
    reload(&server, AGAIN);
    // What a person compares with what the operator reads out.
    let shown = format!("the server shows {}, pinned is {}: the server's key", keys[1], keys[0]);
    stage.run(&["ls", "nas:/"]).fails(4, &[&shown, "not the one expected", "floe key show there"]);
    running.end().ok();
    fs::write(pem, "no certificate").unwrap();
    reload(&server, "everything stays as it was");
    fs::copy(stage.path("one.pem"), pem).unwrap();
    reload(&server, AGAIN);
    stage.run(&["ls", "nas:/"]).ok();
}

#[test]
fn without_files_a_hang_up_ends_a_server() {
    let stage = Stage::new();
    let server = stage.serve(&[]);
    server.signal(Signal::HUP);
    wait_until("it says that it ends", || server.errors.lock().unwrap().contains("ending"));
}

#[test]
fn a_fifo_in_place_of_the_file_holds_up_no_start_and_no_reload() {
    let stage = Stage::new();
    let server = serve(&stage, "[limits]\ndepth = 3\n", &[]);
    let file = stage.path("floe.toml");
    fs::remove_file(&file).unwrap();
    mknodat(CWD, &file, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    reload(&server, "not a small file");
    stage.run(&["serve", "--config", file.to_str().unwrap()]).fails(2, &["not a small file"]);
    fs::remove_file(&file).unwrap();
    fs::write(&file, "[limits]\ndepth = 2\n").unwrap();
    reload(&server, AGAIN);
    stage.run(&["mkdir", "nas:/a/b/c"]).fails(1, &["2 directories"]);
}

/// What is wrong with a setting only as a server begins is told with its line as well.
#[test]
fn what_cannot_be_served_is_told_with_its_line() {
    let stage = Stage::new();
    let file = stage.path("floe.toml");
    let (served, state) = (stage.path("srv"), stage.path("state-server"));
    let [file, served, state] = [&file, &served, &state].map(|path| path.to_str().unwrap());
    for (text, status, said) in [
        ("user = \"no such user\"", 3, "no such user"),
        ("cert = \"none.pem\"", 2, "--cert and --key"),
        ("cert = \"none.pem\"\nkey = \"none.key\"", 3, "none."),
        ("plaintext = true\ncert = \"c\"\nkey = \"k\"", 2, "a certificate"),
        ("metrics = \"8.8.8.8:1\"", 2, "listen on 8.8.8.8:1"),
        ("dir = \"none\"", 3, "none"),
    ] {
        fs::write(file, format!("# a line before it\n{text}\n")).unwrap();
        let dir = if text.starts_with("dir") { &[][..] } else { &[served][..] };
        let args = ["serve", "--config", file, "--state", state, "--listen", "127.0.0.1:0"];
        let ended = stage.run(&[&args[..], dir].concat());
        ended.fails(status, &["floe.toml\" line 2: ", said]);
    }
    // What the command line says is not the file's.
    fs::write(file, "dir = \"none\"\n").unwrap();
    let gone = stage.run(&["serve", "gone", "--config", file, "--state", state]);
    assert!(gone.status == 3 && !gone.err.contains("line"), "{}", gone.err);
}
