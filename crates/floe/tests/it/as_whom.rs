//! As whom a server runs, and which permissions what it makes has.

use crate::stage::{Running, Server, Stage, content, threads_of};
use crate::status::{say, sockets};
use rustix::process::Uid;
use rustix::thread::{
    CapabilitySet, CapabilitySets, configure_capability_in_ambient_set, set_capabilities,
    set_keep_capabilities, set_thread_res_uid,
};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

const NOBODY: u32 = 65534;

fn mode(stage: &Stage, at: &str) -> u32 {
    fs::metadata(stage.path("srv").join(at)).unwrap().mode() & 0o7777
}

fn set_mode(stage: &Stage, at: &str, mode: u32) {
    fs::set_permissions(stage.path("here").join(at), fs::Permissions::from_mode(mode)).unwrap();
}

/// A server that is nobody, or root without its capabilities: modes count for it.
#[test]
fn what_stands_and_must_not_be_replaced_keeps_its_mode_and_takes_nothing() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    let there = stage.path("srv/t/d");
    fs::create_dir_all(&there).unwrap();
    fs::set_permissions(&there, fs::Permissions::from_mode(0o555)).unwrap();
    stage.file("t/d/f", 10);
    std::os::unix::fs::symlink("x", stage.path("here/t/d/l")).unwrap();
    let put = stage.run(&["put", "t", "nas:/t", "--no-clobber"]);
    assert_eq!(put.status, 10, "{}", put.err);
    assert!(put.err.contains("permission denied"), "{}", put.err);
    assert_eq!((mode(&stage, "t/d"), fs::read_dir(&there).unwrap().count()), (0o555, 0));
    // Whoever may replace it lends it to itself, as before.
    stage.run(&["put", "t", "nas:/t"]).ok();
    assert_eq!(fs::read_dir(&there).unwrap().count(), 2);
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
        crate::stage::skip("not root");
        stage.run(&["serve", "--user", "root"]).fails(4, &["only root"]);
        return;
    }
    let (nobody, root) = (NOBODY, fs::metadata("/").unwrap().uid());
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

/// What each thread of a process may, by its sets of capabilities.
fn capabilities(pid: u32, set: &str) -> Vec<u64> {
    let of = |status: String| {
        let bits = status.lines().find_map(|line| line.strip_prefix(set)).unwrap();
        u64::from_str_radix(bits.trim(), 16).unwrap()
    };
    threads_of(pid).into_iter().map(of).collect()
}

fn hand_over(at: &Path, mode: u32) {
    fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
    chown(at, Some(NOBODY), Some(NOBODY)).unwrap();
}

#[test]
fn root_that_names_no_user_may_no_more_than_others() {
    if !rustix::process::geteuid().is_root() {
        crate::stage::skip("not root");
        return;
    }
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let own = capabilities(std::process::id(), "CapEff:")[0];
    // Where root may not touch the bounding set (in some containers), no new privileges holds.
    let sets = ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:", "CapBnd:"];
    for set in &sets[..if own & 1 << 8 == 0 { 4 } else { 5 }] {
        let all = capabilities(server.pid(), set);
        assert!(all.len() >= 4 && all.iter().all(|bits| *bits == 0), "{set} {all:?}");
    }
    assert!(capabilities(server.pid(), "NoNewPrivs:").iter().all(|bits| *bits == 1));
    assert!(server.errors.lock().unwrap().contains("root without its capabilities"));
    stage.file("f", 1_000_000);
    stage.run(&["put", "f", "nas:/f"]).ok();
    // What is another's, is that one's.
    let srv = stage.path("srv");
    fs::write(srv.join("theirs"), "theirs").unwrap();
    fs::create_dir(srv.join("dir")).unwrap();
    hand_over(&srv.join("theirs"), 0o600);
    hand_over(&srv.join("dir"), 0o755);
    stage.run(&["get", "nas:/theirs", "-"]).fails(4, &["permission"]);
    let put = stage.run(&["put", "f", "nas:/dir/f"]);
    assert_eq!(put.status, 4, "{}", put.err);
    assert_eq!(fs::read_dir(srv.join("dir")).unwrap().count(), 0);
    assert_eq!(server.terminate(), 0);
    // Nothing begins where it could not go on, and who could is named.
    let serve = |dir: &Path, state: &Path, more: &[&str]| {
        let mut command = stage.command();
        command.arg("serve").arg(dir).arg("--state").arg(state).args(["--listen", "127.0.0.1:0"]);
        Running::start(command.args(more), b"").end()
    };
    let (state, other) = (stage.path("state-server"), stage.path("other"));
    fs::create_dir_all(other.join("deep/dir")).unwrap();
    hand_over(&other, 0o700);
    for (dir, state) in [(&srv.join("dir"), &state), (&other.join("deep/dir"), &state)] {
        serve(dir, state, &[]).fails(4, &["as root without", "nobody's", "--user nobody"]);
    }
    let ended = serve(&srv, &other, &[]);
    assert!(ended.status != 0 && ended.err.contains("--user nobody"), "{}", ended.err);
    // Nobody but its owner may use a state directory: no more rights help.
    assert!(!ended.err.contains("--user root"), "{}", ended.err);
    chown(srv.join("dir"), Some(3_000_000), None).unwrap();
    serve(&srv.join("dir"), &state, &[]).fails(4, &["user 3000000's", "--user root"]);
    // Reading is what others may there, too.
    let listed = stage.serve(&["--read-only"]);
    assert_eq!(listed.terminate(), 0);
    // Who means it has all.
    let server = stage.serve_and_log_in(&["--user", "root"]);
    assert_eq!(capabilities(server.pid(), "CapEff:")[0], own);
    assert_eq!(stage.run(&["get", "nas:/theirs", "-"]).ok().out, b"theirs");
}

fn free_low_ports() -> impl DoubleEndedIterator<Item = u16> {
    (600..1024).filter(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
}

#[test]
fn ports_that_only_root_may_open_are_open_after_it_gave_up_what_it_may() {
    if !rustix::process::geteuid().is_root() {
        crate::stage::skip("not root");
        return;
    }
    let stage = Stage::new();
    let mut free = free_low_ports();
    let (one, other) = (free.next().unwrap(), free.next().unwrap());
    let (listen, metrics) = (format!("127.0.0.1:{one}"), format!("--metrics=127.0.0.1:{other}"));
    let state = stage.path("state-server");
    for user in [None, Some("nobody")] {
        let flags = ["--listen", &listen, &metrics, "--user", user.unwrap_or_default()];
        if user.is_some() {
            fs::set_permissions(stage.path(""), fs::Permissions::from_mode(0o755)).unwrap();
            fs::remove_dir_all(&state).unwrap();
            fs::remove_dir_all(stage.path("srv")).unwrap();
            for dir in [&state, &stage.path("srv")] {
                fs::create_dir(dir).unwrap();
                hand_over(dir, 0o700);
            }
        }
        let server = stage.serve(&flags[..if user.is_some() { 5 } else { 3 }]);
        for port in [server.port, one, other] {
            assert!(TcpStream::connect(("127.0.0.1", port)).is_ok(), "{user:?} {port}");
        }
        assert_eq!(server.terminate(), 0);
    }
}

/// As a supervisor starts it that lets a user open low ports, or read everything.
#[test]
fn who_is_not_root_keeps_none_of_the_capabilities_that_it_was_given() {
    if !rustix::process::geteuid().is_root() {
        crate::stage::skip("not root");
        return;
    }
    let stage = Stage::new();
    let low = free_low_ports().next_back().unwrap();
    hand_over(&stage.path(""), 0o755);
    fs::create_dir(stage.path("state-server")).unwrap();
    [stage.path("state-server"), stage.path("srv")].iter().for_each(|dir| hand_over(dir, 0o700));
    for user in [&[][..], &["--user", "nobody"]] {
        let listen = format!("127.0.0.1:{low}");
        let mut command = stage.serving(&[&["--listen", &listen], user].concat());
        // Of this thread alone, and of what it starts.
        let start = move || {
            let own = CapabilitySet::NET_BIND_SERVICE | CapabilitySet::DAC_OVERRIDE;
            let sets = CapabilitySets { effective: own, permitted: own, inheritable: own };
            let nobody = Uid::from_raw(NOBODY);
            set_keep_capabilities(true).unwrap();
            set_thread_res_uid(nobody, nobody, nobody).unwrap();
            set_capabilities(None, sets).unwrap();
            own.iter().for_each(|one| configure_capability_in_ambient_set(one, true).unwrap());
            Server::start(&mut command)
        };
        let server = std::thread::spawn(start).join().unwrap();
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            let all = capabilities(server.pid(), set);
            assert!(all.len() >= 4 && all.iter().all(|bits| *bits == 0), "{user:?} {set} {all:?}");
        }
        assert!(TcpStream::connect(("127.0.0.1", low)).is_ok(), "{user:?}");
        let told = server.errors.lock().unwrap().contains("a user without DAC_OVERRIDE, NET_BIND");
        assert!(told, "{user:?}");
        assert_eq!(server.terminate(), 0);
    }
}

/// Else the calls by which a server confines itself fail, and it serves unconfined.
#[test]
fn the_unit_lets_a_server_confine_itself() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/floe.service");
    let unit = fs::read_to_string(unit).unwrap();
    let filters = unit.lines().filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let allowed: Vec<_> = filters.filter(|line| !line.starts_with('~')).collect();
    let allowed: Vec<_> = allowed.iter().flat_map(|line| line.split(' ')).collect();
    // Groups that older systemds do not know would be passed over.
    for call in
        ["create_ruleset", "add_rule", "restrict_self"].map(|call| format!("landlock_{call}"))
    {
        assert!(allowed.contains(&&*call), "{call}");
    }
    assert!(allowed.contains(&"seccomp"));
}
