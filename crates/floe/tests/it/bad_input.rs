//! What is wrong with arguments, local files and names: one line, its exit status, nothing
//! half-visible.

use crate::stage::{Running, Stage, words};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;

#[test]
fn missing_source() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.run(&["put", "none", "nas:/x"]).fails(3, &["\"none\"", "not found"]);
    let here = stage.run(&["put", "none", "nas:/x"]);
    assert!(here.err.contains("on this machine") && !here.err.contains("floe ls"), "{}", here.err);
    stage.run(&["get", "nas:/none", "x"]).fails(3, &["\"none\"", "not found", "floe ls"]);
    assert!(!stage.path("srv/x").exists() && !stage.path("here/x").exists());
}

#[test]
fn hints_fit_what_was_named() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    std::os::unix::fs::symlink("loop", stage.path("here/loop")).unwrap();
    stage.run(&["put", "loop", "nas:/x"]).fails(3, &["\"loop\"", "loop"]);
    let state = stage.path("state-2");
    stage
        .run(&words([&"serve", &"none", &"--state", &state]))
        .fails(3, &["\"none\"", "name a directory that exists"]);
    stage
        .run(&words([&"serve", &"--listen", &"192.0.2.1:0", &"--state", &state]))
        .fails(2, &["192.0.2.1:0"]);
}

#[test]
fn source_is_a_device_socket_or_fifo() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let _socket = std::os::unix::net::UnixListener::bind(stage.path("here/socket")).unwrap();
    let _there = std::os::unix::net::UnixListener::bind(stage.path("srv/socket")).unwrap();
    for source in ["/dev/null", "socket"] {
        stage.run(&["put", source, "nas:/x"]).fails(1, &[source, "is not a regular file"]);
    }
    stage.run(&["get", "nas:/socket", "x"]).fails(1, &["is not a regular file"]);
    assert!(!stage.path("srv/x").exists() && !stage.path("here/x").exists());
}

#[test]
fn source_is_unreadable() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let file = stage.file("secret", 10);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
    let ended = if rustix::process::geteuid().is_root() {
        // Root may read anything: be somebody else.
        fs::set_permissions(stage.path(""), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(stage.path("nobody")).unwrap();
        chown(stage.path("nobody"), Some(NOBODY), Some(NOBODY)).unwrap();
        let mut command = stage.command();
        command.args(["put", "secret", &server.url("x")]).uid(NOBODY).gid(NOBODY);
        command.env("FLOE_STATE", stage.path("nobody"));
        command.env("FLOE_TICKET", stage.owner_ticket().trim());
        if command.get_program().to_str().is_some_and(|path| !others_may_run(path)) {
            crate::stage::skip("nobody cannot run the binary here");
            return;
        }
        Running::start(&mut command, b"").end()
    } else {
        stage.run(&["put", "secret", "nas:/x"])
    };
    ended.fails(4, &["secret", "permission denied"]);
    assert!(!stage.path("srv/x").exists());
}

const NOBODY: u32 = 65_534;

fn others_may_run(path: &str) -> bool {
    Path::new(path).ancestors().all(|part| {
        part.as_os_str().is_empty()
            || fs::metadata(part).is_ok_and(|found| found.permissions().mode() & 0o001 != 0)
    })
}

#[test]
fn names_that_no_object_has() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.file("f", 3);
    fs::write(stage.path("outside"), b"secret").unwrap();
    for bad in
        ["nas:/..", "nas:/../outside", "nas:/a//b", "nas://abs", "nas:/a/./b", "nas:/.floe/x"]
    {
        for args in [
            &["put", "f", bad][..],
            &["get", bad, "x"],
            &["ls", bad],
            &["stat", bad],
            &["rm", bad],
            &["mkdir", bad],
            &["mv", "nas:/f", bad],
            &["mv", bad, "nas:/f"],
        ] {
            stage.run(args).fails(2, &["not a valid name"]);
        }
    }
    for bad in ["a%00b", "a%2fb", "%2e%2e/outside", "%2Efloe/id", "%zz"] {
        stage.run(&words([&"get", &server.url(bad), &"x"])).fails(2, &["not a valid name"]);
    }
    let long = format!("nas:/{}", "n".repeat(256));
    stage.run(&["put", "f", &long]).fails(2, &["255 bytes"]);
    stage.run(&["put", "f", ""]).fails(2, &["empty"]);
    stage.run(&["put", "", "nas:/x"]).fails(2, &["empty"]);
}

#[test]
fn the_reserved_name_is_refused_in_both_directions() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file(".floe/f", 3);
    stage.file("tree/.floe/f", 3);
    stage.file("tree/g", 3);
    stage.run(&["put", ".floe", "nas:/x"]).fails(2, &["'.floe' is reserved"]);
    stage.run(&["put", ".floe/f", "nas:/x"]).fails(2, &["'.floe' is reserved"]);
    stage.run(&["get", "nas:/x", "tree/.floe/x"]).fails(2, &["'.floe' is reserved"]);
    // In a tree it is passed over.
    stage.run(&["put", "tree", "nas:/tree"]).ok();
    assert!(stage.path("srv/tree/g").exists() && !stage.path("srv/tree/.floe/f").exists());
    let listed = stage.run(&["ls", "nas:/"]).ok().text();
    assert_eq!(listed, "tree\n");
}

/// What floe keeps for itself is neither served nor sent nor written to, whatever way leads there.
#[test]
fn the_reserved_directory_is_no_place_to_serve_or_receive() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 3);
    fs::create_dir_all(stage.path("srv/.floe/sub")).unwrap();
    fs::create_dir_all(stage.path("here/.FLOE")).unwrap();
    let inside = stage.path("srv/.floe");
    for (link, to) in [("link", ""), ("deep", "sub"), ("file", "id")] {
        std::os::unix::fs::symlink(inside.join(to), stage.path("here").join(link)).unwrap();
    }
    let state = stage.path("state-2");
    let refused = |within: &Path, args: &[&str]| {
        let mut command = stage.command();
        command.args(args).current_dir(within).env("FLOE_STATE", &state);
        let shown = format!("{args:?} in {}", within.display());
        let ended = Running::start(&mut command, b"").end();
        assert_eq!(ended.status, 2, "{shown}: {}", ended.err);
        ended.fails(2, &["'.floe' is reserved", "not a valid name"]);
    };
    let (here, srv) = (stage.path("here"), stage.path("srv"));
    let listen = "127.0.0.1:0";
    for (within, dir) in [
        (&srv, ".floe"),
        (&srv, ".floe/"),
        (&srv, ".floe/sub"),
        (&srv, ".floe/none"),
        (&srv, "./.floe/sub/.."),
        (&inside, "."),
        (&inside, "sub"),
        (&here, "link"),
        (&here, "link/sub"),
        (&here, "deep"),
        (&here, ".FLOE"),
    ] {
        refused(within, &["serve", dir, "--listen", listen]);
        refused(within, &["serve", dir, "--listen", listen, "--read-only"]);
        refused(within, &["ticket", "list", "--root", dir]);
        refused(within, &["raw", "recv", dir, "--listen", listen]);
        let file = format!("{dir}/x");
        refused(within, &["raw", "fetch", "127.0.0.1:1", &file]);
        refused(within, &["get", "floe://127.0.0.1/f", &file]);
    }
    refused(&inside, &["serve", "--listen", listen]);
    for (within, file) in [(&srv, ".floe/id"), (&inside, "id"), (&here, "link/id"), (&here, "file")]
    {
        refused(within, &["raw", "serve", file, "--listen", listen]);
        refused(within, &["raw", "send", file, "127.0.0.1:1"]);
        refused(within, &["try", file]);
        refused(within, &["put", file, "floe://127.0.0.1/f"]);
    }
    fs::write(here.join("floe.toml"), format!("dir = \"{}\"\n", inside.display())).unwrap();
    refused(&here, &["serve", "--config", "floe.toml", "--listen", listen]);
    let mut left: Vec<_> =
        fs::read_dir(&inside).unwrap().map(|name| name.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["id", "sub"]);
    assert_eq!(fs::read_dir(inside.join("sub")).unwrap().count(), 0);
}

#[test]
fn a_name_that_is_not_text_travels_faithfully() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let name = OsStr::from_bytes(b"caf\xe9\x01");
    fs::write(stage.path("here").join(name), b"latin").unwrap();
    stage.run(&words([&"put", &name, &"nas:/"])).ok();
    assert_eq!(fs::read(stage.path("srv").join(name)).unwrap(), b"latin");
    stage.run(&words([&"get", &server.url("caf%e9%01"), &"out/"])).ok();
    assert_eq!(fs::read(stage.path("here/out").join(name)).unwrap(), b"latin");
    let stat = stage.run(&words([&"stat", &server.url("caf%e9%01")])).ok().text();
    assert!(stat.contains("caf%E9%01"), "{stat}");
}

#[test]
fn both_ends_on_one_side() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 3);
    stage.run(&["put", "f", "g"]).fails(2, &["not on a server"]);
    stage.run(&["put", "nas:/f", "nas:/g"]).fails(2, &["is on a server"]);
    stage.run(&["get", "f", "g"]).fails(2, &["not on a server"]);
    stage.run(&["get", "nas:/f", "nas:/g"]).fails(2, &["is on a server"]);
    stage.run(&["put", "f", "other:/g"]).fails(2, &["./other:/g", "floe login other"]);
}

#[test]
fn standard_input_and_output_have_no_name() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 3);
    stage.run(&["put", "-", "nas:/"]).fails(2, &["no name of its own"]);
    stage.run(&["put", "-", "nas:/d/"]).fails(2, &["no name of its own"]);
    stage.run(&["put", "-", "f", "nas:/d"]).fails(2, &["no name of its own"]);
    stage.run(&["get", "nas:/a", "nas:/b", "-"]).fails(2, &["one file"]);
    stage.run(&["get", "nas:/", "-"]).fails(1, &["one file"]);
    stage.run(&["get", "nas:/", "into/"]).fails(2, &["no name of its own"]);
}

#[test]
fn two_sources_with_one_name() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("a/x", 3);
    stage.file("b/x", 4);
    stage.run(&["put", "a/x", "b/x", "nas:/d"]).fails(2, &["\"x\""]);
    assert!(!stage.path("srv/d").exists());
}

#[test]
fn values_that_make_no_sense() {
    let stage = Stage::new();
    for flags in [
        &["--streams", "0"][..],
        &["--streams", "65"],
        &["--chunk", "3Mi"],
        &["--chunk", "128Ki"],
        &["--window", "1"],
        &["--window", "256Ki", "--chunk", "1Mi"],
        &["--limit", "0"],
        &["--limit", "fast"],
        &["--lockstep", "--streams", "4"],
        &["-q", "-v"],
    ] {
        stage.run(&[&["put", "f", "nas:/f"], flags].concat()).fails(2, &[]);
    }
    stage.run(&["serve", "--listen", "nowhere"]).fails(2, &["ADDR:PORT"]);
    stage.run(&["serve", "--memory", "1Mi"]).fails(2, &["32Mi"]);
}

#[test]
fn the_state_directory_cannot_be_used() {
    let stage = Stage::new();
    fs::write(stage.path("file"), b"").unwrap();
    let state = stage.path("file/state");
    stage.run(&words([&"hosts", &"--state", &state])).fails(1, &["--state"]);
    stage.run(&words([&"serve", &"--state", &state])).fails(1, &["--state"]);
    fs::create_dir(stage.path("open")).unwrap();
    fs::set_permissions(stage.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    stage.run_env(&["hosts"], "FLOE_STATE", stage.path("open")).fails(1, &["others may write"]);
}

#[test]
fn the_served_directory_is_not_one() {
    let stage = Stage::new();
    fs::write(stage.path("file"), b"").unwrap();
    let listen = "127.0.0.1:0";
    stage.run(&words([&"serve", &stage.path("none"), &"--listen", &listen])).fails(3, &["none"]);
    stage.run(&words([&"serve", &stage.path("file"), &"--listen", &listen])).fails(1, &["file"]);
}

#[test]
fn the_port_is_taken() {
    let stage = Stage::new();
    let server = stage.serve(&[]);
    let address = format!("127.0.0.1:{}", server.port);
    let again = stage.run(&words([&"serve", &stage.path("srv"), &"--listen", &address]));
    again.fails(1, &[&address, "in use"]);
}
