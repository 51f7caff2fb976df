//! login, keys and tickets: who is let in, and what for.

use crate::stage::{Server, Stage, threads_of, wait_until, words};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub fn fingerprint(stage: &Stage) -> String {
    fingerprint_of(&stage.serve(&[]))
}

/// What a server says of its key.
pub fn fingerprint_of(server: &Server) -> String {
    let mut key = None;
    wait_until("the fingerprint", || {
        let text = server.errors.lock().unwrap().clone();
        key = text.lines().find_map(|line| line.strip_prefix("fingerprint ")).map(str::to_owned);
        key.is_some()
    });
    key.unwrap().trim().to_owned()
}

fn ticket(stage: &Stage, args: &[&str]) -> String {
    let (root, state) = (stage.path("srv"), stage.path("state-server"));
    let mut all = words([&"ticket", &"create", &"--root", &root, &"--state", &state]);
    all.extend(args.iter().map(|arg| (*arg).into()));
    stage.run(&all).ok().text().trim().to_owned()
}

#[test]
fn who_may_list_and_not_read_gets_no_root_computed() {
    let stage = Stage::new();
    let server = stage.serve(&[]);
    std::fs::write(stage.path("srv/secret"), "contents").unwrap();
    let lists = ticket(&stage, &["lists", "--allow", "list"]);
    stage.log_in("nas", &server, &lists, &[]).ok();
    stage.run(&["stat", "nas:/secret"]).ok();
    stage.run(&["stat", "--hash", "nas:/secret"]).fails(4, &["read \"secret\"", "not allow"]);
}

#[test]
fn serve_says_where_it_listens_and_how_to_log_in() {
    let stage = Stage::new();
    let server = stage.serve(&[]);
    wait_until("the login line", || server.errors.lock().unwrap().contains("floe login "));
    let said = server.errors.lock().unwrap().clone();
    assert!(said.contains("owner.ticket") && said.contains("fingerprint"), "{said}");
    assert!(said.contains(&format!("floe://127.0.0.1:{}", server.port)), "{said}");
    assert!(!said.contains("floe1"), "the ticket itself is not shown: {said}");
    let mode = fs::metadata(stage.path("state-server/owner.ticket")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(server.terminate(), 0);
}

#[test]
fn a_server_does_not_serve_its_own_key_and_tickets() {
    let stage = Stage::new();
    let inside = stage.path("srv/a/state");
    fs::create_dir_all(&inside).unwrap();
    let serve = |dir: &Path, state: &Path| {
        stage.run(&words([&"serve", &dir, &"--listen", &"127.0.0.1:0", &"--state", &state]))
    };
    let said = &["inside the served directory", "--state"];
    serve(&stage.path("srv"), &inside).fails(2, said);
    serve(&inside, &inside).fails(2, said);
    std::os::unix::fs::symlink(&inside, stage.path("link")).unwrap();
    serve(&stage.path("srv"), &stage.path("link")).fails(2, said);
}

#[test]
fn the_process_of_a_server_is_confined() {
    let stage = Stage::new();
    fs::write(stage.path("floe.toml"), "[limits]\n").unwrap();
    let config = stage.path("floe.toml");
    let server = stage.serve_and_log_in(&["--config", config.to_str().unwrap()]);
    let said = server.errors.lock().unwrap().clone();
    let line = said.lines().find(|line| line.starts_with("confined ")).unwrap();
    stage.run(&words([&"put", &stage.file("a", 300_000), &"nas:/a"])).ok();
    if line.contains("no Landlock") {
        crate::stage::skip("no Landlock");
        return;
    }
    let threads = threads_of(server.pid());
    for status in &threads {
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        let filters = !line.contains("no program") || status.contains("Seccomp:\t2");
        assert!(filters, "{status}");
    }
    assert!(threads.len() > 3, "lanes, the porch and disks");
}

#[test]
fn login_keeps_a_name_and_logout_forgets_it() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let hosts = stage.run(&["hosts"]).ok().text();
    assert!(hosts.starts_with("nas\t") && hosts.contains("\tticket\t"), "{hosts}");
    assert!(!hosts.contains("floe1"), "{hosts}");
    let event = stage.run(&["hosts", "--json"]).ok().event("host");
    assert_eq!((&event["name"], &event["ticket"]), (&"nas".into(), &true.into()));
    // The saved login serves the server's address as well.
    stage.run(&["ls", &server.url("")]).ok();
    stage.run(&["logout", "nas"]).ok();
    stage.run(&["logout", "nas"]).fails(3, &["nas"]);
    stage.run(&["ls", "nas:/"]).fails(2, &["./nas:/", "floe login nas"]);
    stage.run(&["ls", &server.url("")]).fails(4, &["log in", "FLOE_TICKET"]);
}

#[test]
fn scripts_bring_ticket_or_key_in_the_environment() {
    let stage = Stage::new();
    let server = stage.serve(&["--public"]);
    let url = server.url("");
    stage.run_env(&["ls", &url], "FLOE_TICKET", stage.owner_ticket().trim()).ok();
    stage.run_env(&["ls", &url], "FLOE_TICKET", "floe1nonsense").fails(2, &["FLOE_TICKET"]);
    let key = fingerprint(&stage);
    stage.run_env(&["ls", &url], "FLOE_KEY", &key).ok();
    stage.run_env(&["ls", &url], "FLOE_KEY", "12").fails(2, &["FLOE_KEY"]);
    // Flags come before the environment.
    let other = "0".repeat(64);
    let args = ["ls", url.as_str(), "--key", other.as_str()];
    let wrong = stage.run_env(&args, "FLOE_KEY", &key).fails(4, &["key is not the one expected"]);
    assert!(!wrong.err.contains("the ticket names"), "{}", wrong.err);
}

#[test]
fn a_wrong_ticket_is_refused_and_nothing_is_kept() {
    let stage = Stage::new();
    let server = stage.serve(&[]);
    stage.log_in("nas", &server, "rubbish", &[]).fails(2, &["ticket"]);
    let mut damaged = stage.owner_ticket().trim().to_owned();
    let last = if damaged.pop() == Some('a') { 'b' } else { 'a' };
    damaged.push(last);
    let refused = stage.log_in("nas", &server, &damaged, &[]).fails(2, &["ticket"]);
    assert!(!refused.err.contains(&damaged[20..60]), "a ticket is never repeated");
    // A ticket of another server names another key.
    let other = Stage::new();
    let _other_server = other.serve(&[]);
    stage.log_in("nas", &server, &other.owner_ticket(), &[]).fails(4, &["key"]);
    // A ticket of this server that it does not know any more.
    let gone = ticket(&stage, &["gone"]);
    let (root, state) = (stage.path("srv"), stage.path("state-server"));
    stage.run(&words([&"ticket", &"revoke", &"gone", &"--root", &root, &"--state", &state])).ok();
    stage.log_in("nas", &server, &gone, &[]).fails(4, &["not known"]);
    assert_eq!(stage.run(&["hosts"]).ok().text(), "");
}

#[test]
fn login_without_a_ticket_needs_the_key() {
    let stage = Stage::new();
    let key = fingerprint(&stage);
    let server = stage.serve(&["--public"]);
    stage.log_in("nas", &server, "", &[]).fails(4, &["--key"]);
    stage.log_in("nas", &server, "", &["--key", &"0".repeat(64)]).fails(4, &["key"]);
    stage.log_in("nas", &server, "", &["--key", &key]).ok();
    fs::write(stage.path("srv/a"), b"hello").unwrap();
    assert_eq!(stage.run(&["get", "nas:/a", "-"]).ok().out, b"hello");
    // Nothing anonymous ever writes.
    stage.file("f", 3);
    for args in [&["put", "f", "nas:/f"][..], &["rm", "nas:/a"], &["mkdir", "nas:/d"]] {
        let ended = stage.run(args).fails(4, &["not allowed", "it takes a ticket", "floe login"]);
        assert!(!ended.err.contains("the ticket does"), "there is none: {}", ended.err);
    }
    assert!(stage.path("srv/a").exists() && !stage.path("srv/f").exists());
}

#[test]
fn a_server_that_is_not_public_lets_nobody_in_without_a_ticket() {
    let stage = Stage::new();
    let key = fingerprint(&stage);
    let server = stage.serve(&[]);
    stage
        .log_in("nas", &server, "", &["--key", &key])
        .fails(4, &["not public", "it takes a ticket"]);
}

#[test]
fn names_and_servers_are_checked_before_anything_is_asked() {
    let stage = Stage::new();
    for (name, url) in [("a/b", "floe://h"), ("", "floe://h"), ("a b", "floe://h")] {
        stage.run(&["login", name, url]).fails(2, &["NAME"]);
    }
    for url in ["h", "floe://h/path", "http://h", "floe://u@h", "floe://h:x"] {
        stage.run(&["login", "nas", url]).fails(2, &["floe://host[:port]"]);
    }
    for args in [&["login", "nas", "floe://s3cret@h"][..], &["ls", "floe://s3cret@h/"]] {
        let ended = stage.run(args);
        assert!(!ended.err.contains("s3cret"), "{}", ended.err);
        ended.fails(2, &["...@h"]);
    }
}

#[test]
fn tickets_allow_what_they_say() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage.file("f", 3);
    fs::write(stage.path("srv/a"), b"a").unwrap();
    stage.log_in("reader", &server, &ticket(&stage, &["r", "--allow", "read,list"]), &[]).ok();
    stage
        .log_in("writer", &server, &ticket(&stage, &["w", "--allow", "write-new,mkdir"]), &[])
        .ok();
    assert_eq!(stage.run(&["get", "reader:/a", "-"]).ok().out, b"a");
    stage.run(&["put", "f", "reader:/f"]).fails(4, &["write \"f\"", "not allow"]);
    stage.run(&["mkdir", "reader:/d"]).fails(4, &["make directory \"d\"", "not allow"]);
    stage.run(&["rm", "reader:/a"]).fails(4, &["remove \"a\"", "not allow"]);
    stage.run(&["put", "f", "writer:/f"]).ok();
    stage.run(&["get", "writer:/f", "-"]).fails(4, &["not allow"]);
    stage.run(&["ls", "writer:/"]).fails(4, &["not allow"]);
    // Writing is not replacing.
    stage.file("g", 4);
    stage.run(&["put", "g", "writer:/a"]).fails(4, &["overwrite \"a\"", "not allow"]);
    assert_eq!(fs::read(stage.path("srv/a")).unwrap(), b"a");
}

#[test]
fn a_ticket_that_may_not_overwrite_leaves_directories_as_they_stand() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    stage
        .log_in("writer", &server, &ticket(&stage, &["w", "--allow", "write-new,mkdir"]), &[])
        .ok();
    let mode = |at: &str| fs::metadata(stage.path(at)).unwrap().permissions().mode() & 0o777;
    let set = |at: &str, mode| {
        fs::set_permissions(stage.path(at), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir_all(stage.path("here/t/new")).unwrap();
    fs::create_dir_all(stage.path("here/t/old")).unwrap();
    stage.file("t/old/f", 3);
    fs::create_dir_all(stage.path("srv/t/old")).unwrap();
    for (at, bits) in
        [("here/t", 0o777), ("here/t/new", 0o755), ("here/t/old", 0o777), ("srv/t/old", 0o700)]
    {
        set(at, bits);
    }
    set("srv/t", 0o750);
    stage.run(&["put", "t", "writer:/t"]).ok();
    assert_eq!((mode("srv/t"), mode("srv/t/old"), mode("srv/t/new")), (0o750, 0o700, 0o755));
    assert!(stage.path("srv/t/old/f").exists());
    stage.run(&["put", "--no-clobber", "t/new", "nas:/t/old"]).ok();
    assert_eq!(mode("srv/t/old"), 0o700);
    stage.run(&["put", "t/new", "nas:/t/old"]).ok();
    assert_eq!(mode("srv/t/old"), 0o755);
}

#[test]
fn tickets_are_listed_revoked_and_expire() {
    let stage = Stage::new();
    let server = stage.serve(&[]);
    let (root, state) = (stage.path("srv"), stage.path("state-server"));
    let short = ticket(&stage, &["short", "--expires", "2s"]);
    let kept = ticket(&stage, &["kept", "--allow", "all"]);
    let list = words([&"ticket", &"list", &"--root", &root, &"--state", &state]);
    let text = stage.run(&list).ok().text();
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("\tkept\tread,list,write-new,overwrite,remove,mkdir\t/\t"), "{text}");
    assert!(!text.contains("floe1"), "{text}");
    stage.log_in("kept", &server, &kept, &[]).ok();
    let revoke = words([&"ticket", &"revoke", &"kept", &"--root", &root, &"--state", &state]);
    stage.run(&revoke).ok();
    stage.run(&revoke).fails(3, &["kept"]);
    stage.run(&["ls", "kept:/"]).fails(4, &["not known"]);
    let mut ended = None;
    wait_until("the ticket's end", || {
        let login = stage.log_in("short", &server, &short, &[]);
        let over = login.status != 0;
        ended = over.then_some(login);
        over
    });
    ended.unwrap().fails(4, &["expired"]);
}

#[test]
fn a_read_only_server_changes_nothing_whatever_the_ticket_says() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&["--read-only"]);
    fs::write(stage.path("srv/a"), b"a").unwrap();
    stage.file("f", 3);
    assert_eq!(stage.run(&["get", "nas:/a", "-"]).ok().out, b"a");
    for args in [
        &["put", "f", "nas:/f"][..],
        &["rm", "nas:/a"],
        &["mkdir", "nas:/d"],
        &["mv", "nas:/a", "nas:/b"],
    ] {
        let name = args.last().and_then(|name| name.strip_prefix("nas:/")).unwrap();
        let name = if args[0] == "mv" { "a" } else { name };
        stage.run(args).fails(4, &[name, "read-only", "runs with --read-only"]);
    }
    assert!(stage.path("srv/a").exists());
}

#[test]
fn plaintext_is_asked_for_at_both_ends_and_never_a_fallback() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&["--plaintext"]);
    stage.file("f", 100_000);
    stage.run(&["put", "f", "nas:/f"]).ok();
    assert!(stage.run(&["hosts"]).ok().text().contains("plaintext"));
    let ticket = stage.owner_ticket();
    let tls = stage.run_env(&["ls", &server.url("")], "FLOE_TICKET", ticket.trim());
    tls.fails(6, &["without TLS"]);
}

#[test]
fn an_operators_own_certificate_is_pinned_like_any_other() {
    let stage = Stage::new();
    stage.serve(&[]);
    // The identity file holds both; it serves as the operator's own here.
    let pem = stage.path("state-server/identity.pem");
    let pem = pem.to_str().unwrap();
    let server = stage.serve_and_log_in(&["--cert", pem, "--key", pem]);
    stage.run(&["ls", &server.url("")]).ok();
    let (cert, state) = (stage.path("none.pem"), stage.path("state-server"));
    let args = words([&"serve", &"--cert", &cert, &"--key", &cert, &"--state", &state]);
    stage.run(&args).fails(3, &["none.pem"]);
    stage.run(&["serve", "--cert", "x"]).fails(2, &["--key"]);
    // A key of another certificate is found before anybody relies on it.
    let other = Stage::new();
    other.serve(&[]);
    let key = other.path("state-server/identity.pem");
    let mixed = words([&"serve", &"../srv", &"--cert", &pem, &"--key", &key, &"--state", &state]);
    stage.run(&mixed).fails(6, &["belongs to the certificate"]);
    let create = ["create", "guest", "--cert", pem, "--key", key.to_str().unwrap()];
    crate::tickets::ticket(&stage, &create).fails(6, &["belongs to the certificate"]);
}

#[test]
fn a_key_that_was_asked_for_holds_for_a_name_too() {
    let stage = Stage::new();
    let server = stage.serve_and_log_in(&[]);
    let other = "0".repeat(64);
    stage.run(&["ls", "nas:/", "--key", &other]).fails(4, &["another key than --key"]);
    let all = || server.errors.lock().unwrap().clone();
    crate::stage::wait_until("the fingerprint is said", || all().contains("on the other machine"));
    let said = all();
    let pin = said.lines().find_map(|line| line.strip_prefix("fingerprint")).unwrap().trim();
    stage.run(&["ls", "nas:/", "--key", pin]).ok();
    // A key says whom to trust; the ticket of the login at that address says who comes.
    stage.file("f", 3);
    stage.run_env(&["put", "f", &server.url("f")], "FLOE_KEY", pin).ok();
    let ended = stage.run_env(&["ls", &server.url("")], "FLOE_KEY", &other);
    assert_eq!(ended.status, 4, "{}", ended.err);
}
