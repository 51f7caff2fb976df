//! What is wrong with the place a file goes to: full, read-only, a directory, not writable, in use.

use crate::stage::{Running, Server, Stage, content};
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

#[test]
fn destination_is_a_directory_or_a_file_is_in_the_way() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    fs::create_dir_all(stage.path("srv/d/f")).unwrap();
    fs::write(stage.path("srv/file"), b"old").unwrap();
    stage.file("f", 3);
    stage.run(&["put", "f", "nas:/d/"]).fails(1, &["d/f", "is a directory"]);
    stage.run(&["put", "f", "nas:/file/x"]).fails(1, &["is not a directory"]);
    stage.run_with(&["put", "-", "nas:/d"], b"x").fails(1, &["is a directory"]);
    fs::create_dir_all(stage.path("here/there/file")).unwrap();
    stage.run(&["get", "nas:/file", "there/"]).fails(1, &["is a directory"]);
    stage.run(&["get", "nas:/file", "f/x"]).fails(1, &["is not a directory"]);
    assert_eq!(fs::read(stage.path("srv/file")).unwrap(), b"old");
}

/// Its log is a pipe that nobody reads any more, and every session has lines there.
#[test]
fn a_server_whose_log_cannot_be_written_serves_on() {
    let stage = Stage::new();
    let (log, end) = std::io::pipe().unwrap();
    let mut serve = stage.serving(&["-v"]);
    let server = Server::start_telling(&mut serve, end.into());
    drop((serve, log));
    stage.log_in_as_owner(&server, &[]);
    stage.file("f", 100_000);
    stage.run(&["put", "f", "nas:/f"]).ok();
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(100_000));
    assert_eq!(server.terminate(), 0);
}

#[test]
fn no_clobber_keeps_what_stands_there() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 3);
    fs::write(stage.path("srv/f"), b"old").unwrap();
    stage.run(&["put", "f", "nas:/f", "--no-clobber"]).fails(9, &["\"f\"", "exists already"]);
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), b"old");
    stage.run(&["get", "nas:/f", "f", "--no-clobber"]).fails(9, &["exists already"]);
    assert_eq!(fs::read(stage.path("here/f")).unwrap(), content(3));
    stage.run(&["put", "f", "nas:/g", "--no-clobber"]).ok();
}

#[test]
fn destination_is_not_writable() {
    if !rustix::process::geteuid().is_root() {
        let stage = Stage::new();
        let _server = stage.serve_and_log_in(&[]);
        fs::write(stage.path("srv/f"), b"x").unwrap();
        fs::create_dir(stage.path("here/closed")).unwrap();
        fs::set_permissions(stage.path("here/closed"), fs::Permissions::from_mode(0o555)).unwrap();
        stage.run(&["get", "nas:/f", "closed/f"]).fails(4, &["permission denied"]);
        return;
    }
    // Root may write anywhere: the client is somebody else.
    let stage = Stage::new();
    let server = stage.serve(&[]);
    fs::write(stage.path("srv/f"), b"x").unwrap();
    fs::set_permissions(stage.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(stage.path("nobody")).unwrap();
    chown(stage.path("nobody"), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = stage.command();
    command.args(["get", &server.url("f"), "f"]).uid(NOBODY).gid(NOBODY);
    command.env("FLOE_STATE", stage.path("nobody"));
    command.env("FLOE_TICKET", stage.owner_ticket().trim());
    match command.output() {
        Ok(_) => {}
        Err(error) => {
            crate::stage::skip(&format!("nobody cannot run the binary here: {error}"));
            return;
        }
    }
    let denied = Running::start(&mut command, b"").end();
    denied.fails(4, &["permission denied", "write \"f\" in \".\""]);
    assert!(!stage.path("here/f").exists());
}

#[test]
fn what_may_not_be_placed_is_refused_before_its_bytes_are_sent() {
    let mut nobody = Command::new(env!("CARGO_BIN_EXE_floe"));
    if nobody.arg("--version").uid(NOBODY).gid(NOBODY).output().is_err() {
        crate::stage::skip("nobody cannot run the binary here");
        return;
    }
    let stage = Stage::new();
    fs::set_permissions(stage.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    chown(stage.path("srv"), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::create_dir(stage.path("srv/closed")).unwrap();
    fs::create_dir(stage.path("state-server")).unwrap();
    chown(stage.path("state-server"), Some(NOBODY), Some(NOBODY)).unwrap();
    let mut command = stage.command();
    command.arg("serve").arg(stage.path("srv")).arg("--state").arg(stage.path("state-server"));
    command.args(["--listen", "127.0.0.1:0"]).uid(NOBODY).gid(NOBODY);
    let server = Server::start(&mut command);
    stage.log_in("nas", &server, &stage.owner_ticket(), &[]).ok();
    stage.file("f", 6_000_000);
    let put = stage.run(&["put", "f", "nas:/closed/f", "--json"]);
    assert_eq!(put.status, 4, "{}", put.err);
    assert_eq!(put.event("summary")["bytes_sent"], 0);
    let line = put.event("failed").to_string();
    assert!(line.contains("write \\\"f\\\" in \\\"closed\\\""), "{line}");
    let left = fs::read_dir(stage.path("srv/.floe")).unwrap();
    let left: Vec<_> = left.map(|name| name.unwrap().file_name()).collect();
    assert_eq!(left, ["id"], "no stage");
}

const NOBODY: u32 = 65_534;

/// Whether this system lets us mount.
pub fn may_mount() -> bool {
    let may = Command::new("unshare").args(["-rm", "true"]).output();
    may.is_ok_and(|ended| ended.status.success())
}

/// A server whose directory is a file system of its own, mounted for it alone; nothing where this
/// system does not let us.
fn serve_on(stage: &Stage, mount: &str, flags: &str) -> Option<Server> {
    if !may_mount() {
        crate::stage::skip("no mounts of our own here");
        return None;
    }
    let script = format!(
        "{mount} && exec \"$0\" serve srv --state state-server --listen 127.0.0.1:0 {flags}"
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script, env!("CARGO_BIN_EXE_floe")]);
    command.current_dir(stage.path(""));
    let server = Server::start(&mut command);
    stage.log_in("nas", &server, &stage.owner_ticket(), &[]).ok();
    Some(server)
}

#[test]
fn destination_is_full() {
    let stage = Stage::new();
    let Some(_server) = serve_on(&stage, "mount -t tmpfs -o size=3m none srv", "") else { return };
    stage.file("big", 8_000_000);
    stage.file("small", 100_000);
    stage.run(&["put", "small", "nas:/small"]).ok();
    stage.run(&["put", "big", "nas:/big"]).fails(7, &["no space left"]);
    stage.run_with(&["put", "-", "nas:/stream"], &content(8_000_000)).fails(7, &["no space left"]);
    // What was there is untouched, and nothing of the rest is visible.
    assert_eq!(stage.run(&["ls", "nas:/"]).ok().text(), "small\n");
    assert_eq!(stage.run(&["get", "nas:/small", "-"]).ok().out, content(100_000));
}

#[test]
fn destination_is_a_read_only_file_system() {
    let stage = Stage::new();
    stage.serve(&[]);
    let Some(_server) = serve_on(&stage, READ_ONLY, "") else { return };
    stage.file("f", 100);
    stage.file("tree/a/b", 100);
    stage.run(&["put", "tree", "nas:/tree"]).fails(4, &["\"tree\"", "read-only"]);
    stage.run(&["put", "f", "nas:/f"]).fails(4, &["read-only"]);
    stage.run(&["mkdir", "nas:/d"]).fails(4, &["read-only"]);
    assert_eq!(stage.run(&["ls", "nas:/"]).ok().text(), "");
}

const READ_ONLY: &str = "mount --bind srv srv && mount -o remount,bind,ro srv";

#[test]
fn a_directory_that_cannot_hold_its_id_is_served_read_only_with_the_same_tickets() {
    let stage = Stage::new();
    fs::write(stage.path("srv/a"), b"a").unwrap();
    let Some(server) = serve_on(&stage, READ_ONLY, "--read-only") else { return };
    let owner = stage.owner_ticket();
    assert_eq!(stage.run(&["get", "nas:/a", "-"]).ok().out, b"a");
    assert_eq!(server.terminate(), 0);
    let Some(again) = serve_on(&stage, READ_ONLY, "--read-only") else { return };
    assert_eq!(stage.owner_ticket(), owner);
    stage.log_in("old", &again, &owner, &[]).ok();
    assert_eq!(stage.run(&["get", "old:/a", "-"]).ok().out, b"a");
    let (root, state) = (stage.path("srv"), stage.path("state-server"));
    let list: [&std::ffi::OsStr; 6] = [
        "ticket".as_ref(),
        "list".as_ref(),
        "--root".as_ref(),
        root.as_ref(),
        "--state".as_ref(),
        state.as_ref(),
    ];
    assert!(stage.run(&list).ok().text().contains("\towner\t"));
    assert!(!stage.path("srv/.floe").exists());
    // Without --read-only it says how it can be served.
    assert_eq!(again.terminate(), 0);
    fs::remove_dir_all(&state).unwrap();
    let script = format!("{READ_ONLY} && exec \"$0\" serve srv --state state-server");
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script, env!("CARGO_BIN_EXE_floe")]);
    let refused = Running::start(command.current_dir(stage.path("")), b"").end();
    refused.fails(4, &["\"srv\"", "serve it with --read-only"]);
}

#[test]
fn a_local_destination_is_named_as_it_was_given() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    fs::write(stage.path("srv/f"), b"new").unwrap();
    fs::create_dir_all(stage.path("here/there/deep/f")).unwrap();
    fs::write(stage.path("here/there/f"), b"old").unwrap();
    std::os::unix::fs::symlink("there", stage.path("here/link")).unwrap();
    let get = |dest: &str, flags: &[&str]| stage.run(&[&["get", "nas:/f", dest], flags].concat());
    get("there/deep/", &[]).fails(1, &["\"there/deep/f\"", "is a directory"]);
    get("./there/deep", &[]).fails(1, &["\"./there/deep/f\"", "is a directory"]);
    get("there/f", &["--no-clobber"]).fails(9, &["\"there/f\"", "exists already"]);
    get("link/f", &["--no-clobber"]).fails(9, &["\"link/f\"", "exists already"]);
    get("/dev/null", &[]).fails(1, &["\"/dev/null\"", "is not a regular file"]);
    get("there/f/x", &[]).fails(1, &["\"there/f\"", "is not a directory"]);
    let whole = stage.path("here/there/f");
    let shown = format!("\"{}\"", whole.display());
    get(whole.to_str().unwrap(), &["--no-clobber"]).fails(9, &[&shown]);
    let raw = stage.path("here/source");
    fs::write(&raw, b"x").unwrap();
    let mut command = stage.command();
    let listen = ["--listen", "127.0.0.1:0"];
    let raw = Server::start(command.args(["raw", "serve", "source"]).args(listen));
    let address = format!("127.0.0.1:{}", raw.port);
    let fetch = ["raw", "fetch", &address, "there/f", "--no-clobber"];
    stage.run(&fetch).fails(9, &["\"there/f\"", "exists already"]);
    drop(server);
}

#[test]
fn two_clients_put_one_name_at_once() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let other = Stage::new();
    other.log_in("nas", &server, &stage.owner_ticket(), &[]).ok();
    stage.file("f", 6_000_000);
    fs::write(other.path("here/f"), vec![7; 6_000_000]).unwrap();
    let (one, two) = (stage.start(&["put", "f", "nas:/f"]), other.start(&["put", "f", "nas:/f"]));
    one.end().ok();
    two.end().ok();
    // The last commit wins; each is whole.
    let found = fs::read(stage.path("srv/f")).unwrap();
    assert!(found == content(6_000_000) || found == vec![7; 6_000_000]);
}

#[test]
fn tickets_are_taken_back_also_where_the_disk_of_the_state_is_full() {
    let stage = Stage::new();
    if !may_mount() {
        crate::stage::skip("no mounts of our own here");
        return;
    }
    fs::create_dir(stage.path("state")).unwrap();
    let script = r#"
        mount -t tmpfs -o size=1m,mode=700 none state
        ticket() { "$0" ticket "$@" --root srv --state state; }
        for name in a b c; do ticket create $name >/dev/null || exit 10; done
        for name in a b; do
            cat /dev/zero >> state/fill
            ticket create d; [ $? = 7 ] || exit 11
            ticket revoke $name || exit 12
        done
        cat /dev/zero >> state/fill
        ticket set c --expires 1h || exit 13
        ticket list"#;
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", script, env!("CARGO_BIN_EXE_floe")]);
    let ended = command.current_dir(stage.path("")).output().unwrap();
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(
        ended.status.success(),
        "{:?}: {}",
        ended.status,
        String::from_utf8_lossy(&ended.stderr)
    );
    let names: Vec<_> = told.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    assert!(names.contains(&"c") && !names.contains(&"a") && !names.contains(&"b"), "{told}");
}

#[test]
fn a_second_identical_command_fails_at_once() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 3_000_000);
    let slow = ["put", "f", "nas:/f", "--limit", "300k", "--json"];
    let first = stage.start(&slow);
    first.wait_for("\"progress\"");
    stage.run(&["put", "f", "nas:/f"]).fails(9, &["already running", "pid"]);
    // Another name is another command.
    stage.run(&["put", "f", "nas:/g"]).ok();
    first.kill();
    stage.run(&["put", "f", "nas:/f"]).ok();
    assert_eq!(fs::read(stage.path("srv/f")).unwrap(), content(3_000_000));
}

#[test]
fn dest_inside_src_is_refused_where_this_machine_serves_it() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    stage.file("f", 3);
    fs::create_dir_all(stage.path("srv/tree/deep")).unwrap();
    fs::write(stage.path("srv/tree/x"), b"x").unwrap();
    let path = |name: &str| stage.path(name).to_str().unwrap().to_owned();
    for (source, dest) in [
        ("srv/tree", "nas:/tree/copy"),
        ("srv/tree", "nas:/tree/deep/"),
        ("srv", "nas:/all"),
        ("", "nas:/all"),
    ] {
        stage.run(&["put", &path(source), dest]).fails(2, &["inside SRC"]);
    }
    stage.run(&["get", "nas:/tree", &path("srv/tree/copy")]).fails(2, &["inside SRC"]);
    stage.run(&["get", "nas:/", &path("srv/all")]).fails(2, &["inside SRC"]);
    assert!(!stage.path("srv/all").exists() && !stage.path("srv/tree/copy").exists());
    // Beside it there is nothing wrong.
    stage.run(&["put", &path("srv/tree"), "nas:/beside"]).ok();
    stage.run(&["get", "nas:/tree", &path("srv/beside2")]).ok();
    assert!(stage.path("srv/beside/x").exists() && stage.path("srv/beside2/x").exists());
}
