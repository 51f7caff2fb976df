//! A local process that exchanges directories, files and links as fast as it can, for half a
//! minute, while clients use every verb there: nothing outside is read, written, listed, renamed or
//! removed.

use crate::stage::{Server, Stage, census};
use crate::tickets::grant;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

const SECRET: &str = "what lies outside";
/// How long the exchanges go on.
const SPAN: Duration = Duration::from_secs(30);

/// Ends the exchanges, also where a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Exchanges the pairs while `rounds` go on for `SPAN`, side by side.
fn while_exchanged(pairs: &[(PathBuf, PathBuf)], rounds: &[&(dyn Fn(u32) + Sync)]) {
    let (over, until) = (AtomicBool::new(false), Instant::now() + SPAN);
    scope(|threads| {
        threads.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for (a, b) in pairs {
                    // Either may be gone for a moment.
                    let _ = renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE);
                }
            }
        });
        let _over = Over(&over);
        scope(|workers| {
            for round in rounds {
                workers.spawn(move || {
                    (0..).take_while(|_| Instant::now() < until).for_each(round);
                });
            }
        });
    });
}

/// `name` of `dir` is a directory with a file, and `name`-link leads to `outside`.
fn pair(dir: &Path, name: &str, outside: &Path) -> (PathBuf, PathBuf) {
    let (own, link) = (dir.join(name), dir.join(format!("{name}-link")));
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("secret"), "inside").unwrap();
    symlink(outside, &link).unwrap();
    (own, link)
}

fn outside(stage: &Stage) -> PathBuf {
    let outside = stage.path("outside");
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::write(outside.join("secret"), SECRET).unwrap();
    fs::write(outside.join("sub/only-outside"), SECRET).unwrap();
    outside
}

fn says_nothing(stage: &Stage, args: &[&str]) -> bool {
    let ended = stage.run(args);
    for said in [&ended.out[..], ended.err.as_bytes()] {
        let said = String::from_utf8_lossy(said);
        assert!(!said.contains(SECRET) && !said.contains("only-outside"), "{args:?}: {said}");
    }
    ended.status == 0
}

#[test]
fn no_verb_leads_out_of_what_is_served() {
    let stage = Stage::new();
    let outside = outside(&stage);
    let server: Server = stage.serve_and_log_in(&[]);
    let srv = stage.path("srv");
    let mut pairs = vec![pair(&srv, "d", &outside)];
    fs::write(srv.join("f"), "inside").unwrap();
    symlink(outside.join("secret"), srv.join("f-link")).unwrap();
    pairs.push((srv.join("f"), srv.join("f-link")));
    stage.file("new", 10);
    stage.file("large", 1_000_000);
    stage.file("t/a", 10);
    stage.file("t/sub/b", 10);
    // What is exchanged is all that this one's holder sees.
    grant(&stage, &server, "boxed", &["--prefix", "d", "--allow", "all"]);
    let before = census(&outside);
    let done = AtomicU32::new(0);
    let run = |args: &[&str]| {
        if says_nothing(&stage, args) {
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    let boxed_done = AtomicU32::new(0);
    let boxed = |nth: u32| {
        let made = format!("boxed:/made{}", nth % 3);
        for args in [
            &["get", "boxed:/secret", "-"][..],
            &["get", "boxed:/", "copy"],
            &["ls", "boxed:/"],
            &["stat", "boxed:/sub/only-outsid"],
            &["put", "new", "boxed:/sub/new"],
            &["put", "t", &made],
            &["mv", "boxed:/secret", "boxed:/sub/secret"],
            &["rm", "-r", &made],
        ] {
            if says_nothing(&stage, args) {
                boxed_done.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let reads = |_: u32| {
        run(&["get", "nas:/d/secret", "-"]);
        run(&["get", "nas:/f", "-"]);
        run(&["ls", "-l", "nas:/d"]);
        run(&["ls", "nas:/d/sub"]);
        run(&["stat", "nas:/d/secret"]);
        run(&["stat", "nas:/d/sub/only-outsid"]);
    };
    let writes = |nth: u32| {
        run(&["put", "new", "nas:/d/secret"]);
        run(&["put", "large", "nas:/d/sub/large"]);
        run(&["put", "t", &format!("nas:/d/t{}", nth % 3)]);
        run(&["put", "new", "nas:/f"]);
        run(&["mkdir", &format!("nas:/d/sub/made{nth}")]);
    };
    let renames = |nth: u32| {
        run(&["mv", "nas:/d/secret", "nas:/d/moved"]);
        run(&["mv", "nas:/d/moved", "nas:/d/secret"]);
        run(&["rm", "-r", &format!("nas:/d/t{}", nth % 3)]);
        run(&["rm", "-r", "nas:/d/sub"]);
        run(&["rm", "nas:/d/secret"]);
    };
    while_exchanged(&pairs, &[&reads, &writes, &renames, &boxed]);
    assert_eq!(census(&outside), before);
    assert!(done.load(Ordering::Relaxed) > 20, "the race never went our way");
    assert!(boxed_done.load(Ordering::Relaxed) > 5, "nor that of the ticket");
}

#[test]
fn no_transfer_leads_a_client_out_of_its_own_tree() {
    let stage = Stage::new();
    let outside = outside(&stage);
    let _server = stage.serve_and_log_in(&[]);
    let (srv, here) = (stage.path("srv"), stage.path("here"));
    for name in ["secret", "sub/only", "sub/sub/deep"] {
        let at = srv.join("tree/d").join(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, "from the server").unwrap();
    }
    // One is written into, the other is sent.
    let pairs = [pair(&here.join("in"), "d", &outside), pair(&here.join("out"), "d", &outside)];
    let before = census(&outside);
    let done = AtomicU32::new(0);
    let run = |args: &[&str]| {
        if says_nothing(&stage, args) {
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    // Links in what a person names are followed, as by any command; within a tree none is.
    let gets = |_: u32| run(&["get", "nas:/tree/.", "in"]);
    let puts = |nth: u32| {
        run(&["put", "out", &format!("nas:/sent{nth}")]);
        for (at, (_, _, content, ..)) in census(&srv.join(format!("sent{nth}"))) {
            assert!(!String::from_utf8_lossy(&content).contains(SECRET), "{}", at.display());
            assert!(!at.ends_with("only-outside"), "{}", at.display());
        }
    };
    while_exchanged(&pairs, &[&gets, &puts]);
    assert_eq!(census(&outside), before);
    assert!(done.load(Ordering::Relaxed) > 10, "the race never went our way");
}
