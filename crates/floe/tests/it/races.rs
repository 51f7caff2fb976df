//! A local process that exchanges directories, files and links as fast as it can while clients use
//! every verb there: nothing outside is read, written, listed, renamed or removed. A server is
//! confined by the kernel to what it serves; to a ticket's prefix it confines itself alone.

use crate::stage::{Server, Stage, census};
use crate::tickets::grant;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

const SECRET: &str = "what lies outside";
/// How long the exchanges go on.
const SPAN: Duration = Duration::from_secs(30);
/// How long they do where some verb has not won its race yet: a machine that is busy.
const SPAN_MAX: Duration = Duration::from_secs(120);

/// Ends the exchanges, also where a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Exchanges the pairs while `rounds` go on for `SPAN`, side by side, until each verb has worked.
fn while_exchanged(
    pairs: &[(PathBuf, PathBuf)],
    raced: &[&Raced],
    rounds: &[&(dyn Fn(u32) + Sync)],
) {
    let (over, began) = (AtomicBool::new(false), Instant::now());
    let goes_on = &|| match began.elapsed() {
        passed if passed < SPAN => true,
        passed => passed < SPAN_MAX && !raced.iter().all(|raced| raced.each_worked()),
    };
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
                workers.spawn(move || (0..).take_while(|_| goes_on()).for_each(round));
            }
        });
    });
    for raced in raced {
        assert!(raced.each_worked(), "one never won its race: {:?}", raced.worked.lock());
    }
}

/// `name` of `dir` is a directory with a file, and `name`-link leads to `outside`.
fn pair(dir: &Path, name: &str, outside: &Path) -> (PathBuf, PathBuf) {
    let (own, link) = (dir.join(name), dir.join(format!("{name}-link")));
    fs::create_dir_all(&own).unwrap();
    fs::write(own.join("secret"), "inside").unwrap();
    symlink(outside, &link).unwrap();
    (own, link)
}

fn outside(stage: &Stage, at: &str) -> PathBuf {
    let outside = stage.path(at);
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::write(outside.join("secret"), SECRET).unwrap();
    fs::write(outside.join("sub/only-outside"), SECRET).unwrap();
    outside
}

/// What a server and its tickets show, and what they do not.
struct Place {
    stage: Stage,
    server: Server,
    inside: PathBuf,
    outside: PathBuf,
    /// The ticket for all that is inside; `boxed` is for the part that is exchanged.
    wide: &'static str,
}

impl Place {
    fn root(part: &str) -> Self {
        let stage = Stage::new();
        let server = stage.serve_and_log_in(&[]);
        let (inside, outside) = (stage.path("srv"), outside(&stage, "outside"));
        Self { stage, server, inside, outside, wide: "nas" }.with_box(part, part)
    }

    fn prefix(part: &str) -> Self {
        let stage = Stage::new();
        let server = stage.serve_and_log_in(&[]);
        let (inside, outside) = (stage.path("srv/box"), outside(&stage, "srv/outside"));
        fs::create_dir(&inside).unwrap();
        grant(&stage, &server, "wide", &["--prefix", "box", "--allow", "all"]);
        let place = Self { stage, server, inside, outside, wide: "wide" };
        place.with_box(part, &format!("box/{part}"))
    }

    fn with_box(self, part: &str, prefix: &str) -> Self {
        fs::create_dir(self.inside.join(part)).unwrap();
        grant(&self.stage, &self.server, "boxed", &["--prefix", prefix, "--allow", "all"]);
        self.stage.file("new", 10);
        self.stage.file("large", 1_000_000);
        self.stage.file("t/a", 10);
        self.stage.file("t/sub/b", 10);
        self
    }
}

/// Commands of which none may say anything of what is outside, and how often each verb worked.
struct Raced<'a> {
    stage: &'a Stage,
    /// Where its trees are got to.
    copy: &'static str,
    worked: Mutex<BTreeMap<&'static str, u32>>,
}

/// As the verb of a command is counted that gets a tree.
const TREE: &str = "get of a tree";

impl<'a> Raced<'a> {
    fn new(stage: &'a Stage, copy: &'static str, verbs: &[&'static str]) -> Self {
        Self { stage, copy, worked: Mutex::new(verbs.iter().map(|verb| (*verb, 0)).collect()) }
    }

    fn run(&self, args: &[&str]) {
        self.run_as(args[0], args);
    }

    fn run_as(&self, verb: &str, args: &[&str]) {
        let ended = self.stage.run(args);
        for said in [&ended.out[..], ended.err.as_bytes()] {
            let said = String::from_utf8_lossy(said);
            assert!(!said.contains(SECRET) && !said.contains("only-outside"), "{args:?}: {said}");
        }
        if ended.status == 0 {
            *self.worked.lock().unwrap().get_mut(verb).unwrap() += 1;
        }
    }

    /// Gets a tree; whatever came of it, also where it failed, holds nothing of what is outside.
    fn get_tree(&self, from: &str) {
        self.run_as(TREE, &["get", from, self.copy]);
        let copy = self.stage.path("here").join(self.copy);
        if copy.exists() {
            holds_nothing(&copy);
            fs::remove_dir_all(copy).unwrap();
        }
    }

    fn each_worked(&self) -> bool {
        self.worked.lock().unwrap().values().all(|times| *times > 0)
    }
}

fn holds_nothing(dir: &Path) {
    for (at, (_, _, content, ..)) in census(dir) {
        assert!(!String::from_utf8_lossy(&content).contains(SECRET), "{}", at.display());
        assert!(!at.ends_with("only-outside"), "{}", at.display());
    }
}

#[test]
fn no_verb_leads_out_of_what_is_served() {
    race_links(&Place::root("d"));
}

#[test]
fn no_verb_leads_out_of_a_prefix() {
    race_links(&Place::prefix("d"));
}

fn race_links(Place { stage, inside, outside, wide, .. }: &Place) {
    let mut pairs = vec![pair(inside, "d", outside)];
    fs::write(inside.join("f"), "inside").unwrap();
    symlink(outside.join("secret"), inside.join("f-link")).unwrap();
    pairs.push((inside.join("f"), inside.join("f-link")));
    let before = census(outside);
    let at = |path: &str| format!("{wide}:/{path}");
    let own = ["get", TREE, "ls", "stat", "put", "mkdir", "mv", "rm"];
    let own = Raced::new(stage, "copy", &own);
    let in_box = Raced::new(stage, "boxed", &["get", TREE, "ls", "stat", "put", "mv", "rm"]);
    let run = |args: &[&str]| own.run(args);
    let boxed = |nth: u32| {
        let made = format!("boxed:/made{}", nth % 3);
        in_box.get_tree("boxed:/");
        for args in [
            &["get", "boxed:/secret", "-"][..],
            &["ls", "boxed:/"],
            &["stat", "boxed:/secret"],
            &["stat", "boxed:/sub/only-outsid"],
            &["put", "new", "boxed:/sub/new"],
            &["put", "t", &made],
            &["mv", "boxed:/secret", "boxed:/sub/secret"],
            &["rm", "-r", &made],
        ] {
            in_box.run(args);
        }
    };
    let reads = |_: u32| {
        own.get_tree(&at("d"));
        run(&["get", &at("d/secret"), "-"]);
        run(&["get", &at("f"), "-"]);
        run(&["ls", "-l", &at("d")]);
        run(&["ls", &at("d/sub")]);
        run(&["stat", &at("d/secret")]);
        run(&["stat", &at("d/sub/only-outsid")]);
    };
    let writes = |nth: u32| {
        run(&["put", "new", &at("d/secret")]);
        run(&["put", "large", &at("d/sub/large")]);
        run(&["put", "t", &at(&format!("d/t{}", nth % 3))]);
        run(&["put", "new", &at("f")]);
        run(&["mkdir", &at(&format!("d/sub/made{nth}"))]);
    };
    let renames = |nth: u32| {
        run(&["mv", &at("d/secret"), &at("d/moved")]);
        run(&["mv", &at("d/moved"), &at("d/secret")]);
        run(&["rm", "-r", &at(&format!("d/t{}", nth % 3))]);
        run(&["rm", "-r", &at("d/sub")]);
        run(&["rm", &at("d/secret")]);
    };
    while_exchanged(&pairs, &[&own, &in_box], &[&reads, &writes, &renames, &boxed]);
    assert_eq!(census(outside), before);
}

#[test]
fn a_directory_that_is_moved_out_of_what_is_served_leads_nowhere_else() {
    race_moves(&Place::root("m"));
}

#[test]
fn a_directory_that_is_moved_out_of_a_prefix_leads_nowhere_else() {
    race_moves(&Place::prefix("m"));
}

/// What is opened while it is inside is still what its holder may change once it is moved out. But
/// no path leads from there to what was never inside, and no link does.
fn race_moves(Place { stage, inside, outside, wide, .. }: &Place) {
    fs::create_dir(inside.join("sub")).unwrap();
    fs::write(inside.join("secret"), "inside").unwrap();
    let rest = || ["secret", "sub"].map(|name| census(&outside.join(name)));
    let before = rest();
    // Two take turns inside.
    let turns = (inside.join("m"), outside.join("m"));
    for at in [&turns.0, &turns.1] {
        fs::create_dir_all(at.join("d/e")).unwrap();
        fs::write(at.join("d/e/f"), "inside").unwrap();
        symlink("../secret", at.join("up")).unwrap();
        symlink("../../../sub", at.join("d/e/far")).unwrap();
    }
    let verbs = ["get", TREE, "ls", "stat", "put", "mkdir", "mv", "rm"];
    let raced = ["copy", "boxed"].map(|copy| Raced::new(stage, copy, &verbs));
    let [own, in_box] = [&raced[0], &raced[1]];
    let round = |raced: &Raced, at: &str, nth: u32| {
        let path = |name: &str| format!("{at}/{name}");
        raced.get_tree(&path("d"));
        for args in [
            &["get", &path("d/e/f"), "-"][..],
            &["get", &path("up"), "-"],
            &["ls", "-l", &path("d/e/far")],
            &["ls", "-l", &path("d/e")],
            &["stat", &path("d/e/f")],
            &["put", "new", &path("d/e/f")],
            &["put", "large", &path("d/e/large")],
            &["put", "t", &path(&format!("d/t{}", nth % 3))],
            &["put", "new", &path("d/e/far/new")],
            &["mkdir", &path(&format!("made{nth}"))],
            &["mv", &path("d/e/large"), &path("moved")],
            &["rm", "-r", &path(&format!("d/t{}", (nth + 1) % 3))],
            &["rm", &path("moved")],
        ] {
            raced.run(args);
        }
    };
    let by_owner = |nth: u32| round(own, &format!("{wide}:/m"), nth);
    let by_guest = |nth: u32| round(in_box, "boxed:", nth);
    while_exchanged(&[turns], &[own, in_box], &[&by_owner, &by_guest]);
    assert_eq!(rest(), before);
    assert_eq!(fs::read_dir(outside).unwrap().count(), 3);
}

#[test]
fn no_transfer_leads_a_client_out_of_its_own_tree() {
    let stage = Stage::new();
    let outside = outside(&stage, "outside");
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
    let raced = Raced::new(&stage, "none", &["get", "put"]);
    // Links in what a person names are followed, as by any command; within a tree none is.
    let gets = |_: u32| raced.run(&["get", "nas:/tree/.", "in"]);
    let puts = |nth: u32| {
        raced.run(&["put", "out", &format!("nas:/sent{nth}")]);
        holds_nothing(&srv.join(format!("sent{nth}")));
    };
    while_exchanged(&pairs, &[&raced], &[&gets, &puts]);
    assert_eq!(census(&outside), before);
}
