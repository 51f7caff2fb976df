//! As whom a server runs, and which permissions what it makes has.

use crate::stage::{Server, Stage, content};
use crate::status::{say, sockets};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

fn mode(stage: &Stage, at: &str) -> u32 {
    fs::metadata(stage.path("srv").join(at)).unwrap().mode() & 0o7777
}

fn set_mode(stage: &Stage, at: &str, mode: u32) {
    fs::set_permissions(stage.path("here").join(at), fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn nothing_gets_the_bits_of_the_umask() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&["--umask", "027"]);
    for (name, size) in [("t/small", 10), ("t/large", 3_000_000)] {
        stage.file(name, size);
        set_mode(&stage, name, 0o4777);
    }
    set_mode(&stage, "t", 0o777);
    for _ in 0..2 {
        stage.run(&["put", "t", "nas:/new/t"]).ok();
        let modes = ["new", "new/t", "new/t/small", "new/t/large"].map(|at| mode(&stage, at));
        assert_eq!(modes, [0o750; 4]);
    }
    let again = stage.run(&["put", "t", "nas:/new/t", "--json"]).ok();
    assert_eq!(again.event("summary")["bytes_sent"], 0, "it is what stands there");
    stage.run(&["mkdir", "nas:/made"]).ok();
    assert_eq!(mode(&stage, "made"), 0o750);
    stage.run(&["serve", "--umask", "888"]).fails(2, &["--umask", "octal"]);
}

#[test]
fn root_becomes_another_user_for_good() {
    let stage = Stage::new();
    stage.run(&["serve", "--user", "no such user"]).fails(3, &["no such user", "/etc/passwd"]);
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED root_becomes_another_user_for_good: not root");
        stage.run(&["serve", "--user", "root"]).fails(4, &["only root"]);
        return;
    }
    let (nobody, root) = (65534, fs::metadata("/").unwrap().uid());
    let (srv, state) = (stage.path("srv"), stage.path("state-server"));
    fs::set_permissions(stage.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(&state).unwrap();
    fs::set_permissions(&state, fs::Permissions::from_mode(0o700)).unwrap();
    [&srv, &state].into_iter().for_each(|dir| chown(dir, Some(nobody), Some(nobody)).unwrap());
    let server = stage.serve_and_log_in(&["--user", "nobody"]);
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(|id| id.parse().unwrap()).collect::<Vec<u32>>()
    };
    assert_eq!((line("Uid:"), line("Gid:")), (vec![nobody; 4], vec![nobody; 4]));
    assert!(!line("Groups:").contains(&root));
    let caps = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    assert_eq!(caps.trim().trim_start_matches('0'), "");
    stage.file("f", 1_000_000);
    stage.run(&["put", "f", "nas:/f"]).ok();
    assert_eq!(fs::read(srv.join("f")).unwrap(), content(1_000_000));
    assert_eq!(fs::metadata(srv.join("f")).unwrap().uid(), nobody);
    // It is asked and steered there, by that user (or root).
    let socket = sockets(&stage).remove(0);
    let of = fs::metadata(&socket).unwrap();
    assert_eq!((of.uid(), of.mode() & 0o777), (nobody, 0o600));
    assert!(say(&socket, b"{\"ask\":\"show\"}\n").contains("\"answer\":\"shown\""));
    // What only root may read is not served.
    fs::write(srv.join("secret"), "root's").unwrap();
    fs::set_permissions(srv.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    stage.run(&["get", "nas:/secret", "-"]).fails(4, &["permission"]);
    assert_eq!(server.terminate(), 0);
    // From the file, too; and without either it says what it runs as.
    let text = format!("dir = {srv:?}\nstate = {state:?}\nuser = \"nobody\"\n");
    fs::write(stage.path("floe.toml"), text).unwrap();
    let mut command = stage.command();
    command.env_remove("FLOE_STATE").args(["serve", "--listen", "127.0.0.1:0", "--config"]);
    let server = Server::start(command.arg(stage.path("floe.toml")));
    let owner = fs::metadata(format!("/proc/{}", server.pid())).unwrap().uid();
    assert_eq!(owner, nobody);
}
