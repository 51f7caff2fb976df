//! Help, completions, manual, version, configuration file, JSON of serve.

use crate::stage::{Ended, Server, Stage, content, words};
use std::fs;

const VERBS: [&str; 21] = [
    "serve",
    "status",
    "put",
    "get",
    "ls",
    "stat",
    "rm",
    "mv",
    "mkdir",
    "login",
    "logout",
    "hosts",
    "ticket",
    "key",
    "audit",
    "receipt",
    "try",
    "torture",
    "raw",
    "completions",
    "man",
];

#[test]
fn every_command_has_help_with_exit_statuses() {
    let stage = Stage::new();
    let help = stage.run(&["--help"]).ok().text();
    for verb in VERBS {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb}");
        let own = stage.run(&[verb, "--help"]).ok().text();
        assert!(own.contains("Usage: floe ") && own.len() > 100, "{verb}: {own}");
    }
    assert!(help.contains("Exit status: 0 done"));
    assert!(stage.run(&["--version"]).ok().text().starts_with("floe "));
}

#[test]
fn what_is_not_here_is_an_unknown_option() {
    let stage = Stage::new();
    for args in [
        &["put", "a", "nas:/a", "--foreground"][..],
        &["put", "a", "nas:/a", "--compress", "20"],
        &["frobnicate"],
        &[],
    ] {
        stage.run(args).fails(2, &["see floe"]);
    }
}

/// As with any other command.
#[test]
fn options_stand_between_names_too() {
    let stage = Stage::new();
    let _server = stage.serve_and_log_in(&[]);
    for name in ["a", "b", "-q"] {
        stage.file(name, 3);
    }
    stage.run(&["put", "-q", "a", "--limit", "1G", "nas:/x"]).ok();
    stage.run(&["put", "a", "--limit=1G", "b", "-q", "nas:/d/"]).ok();
    // What stands behind '--' is a name, whatever it looks like.
    stage.run(&["put", "--limit", "1G", "--", "-q", "nas:/d/"]).ok();
    stage.run(&["put", "a", "--", "-q", "nas:/e/"]).ok();
    for name in ["x", "d/a", "d/b", "d/-q", "e/a", "e/-q"] {
        assert_eq!(fs::read(stage.path("srv").join(name)).unwrap(), content(3), "{name}");
    }
    stage.run(&["get", "nas:/x", "--limit", "1M", "o", "-q"]).ok();
    assert_eq!(fs::read(stage.path("here/o")).unwrap(), content(3));
    assert_eq!(stage.run(&["get", "nas:/x", "-q", "-"]).ok().out, content(3));
    stage.run(&["mv", "nas:/x", "--overwrite", "nas:/d/a"]).ok();
    for (verb, alone) in [
        ("put", &["a"][..]),
        ("put", &["a", "-q"]),
        ("put", &["--limit", "1M", "a"]),
        ("get", &["nas:/a", "--json"]),
    ] {
        let help = format!("see floe {verb} --help");
        stage.run(&[&[verb], alone].concat()).fails(2, &["not provided: <DEST>:", &help]);
    }
    stage.run(&["put", "a", "--limit"]).fails(2, &["a value is required", "--limit"]);
    stage.run(&["put", "a", "--limit", "-q", "nas:/a"]).fails(2, &["--limit"]);
    stage.run(&["put", "a", "--none", "nas:/a"]).fails(2, &["unexpected argument '--none'"]);
}

#[test]
fn a_wrong_command_line_names_the_help_of_its_own_command() {
    let stage = Stage::new();
    for (args, own) in [
        (&["ticket", "create", "x", "--allow", "fly"][..], "ticket create"),
        (&["ticket", "create"], "ticket create"),
        (&["ticket", "set", "x", "--expires", "long"], "ticket set"),
        (&["ticket", "set", "x"], "ticket set"),
        (&["ticket", "frob"], "ticket"),
        (&["ticket"], "ticket"),
        (&["key", "rotate", "--overlap", "long"], "key rotate"),
        (&["status", "limit", "3f2a9c1d", "0"], "status limit"),
        (&["put", "a", "nas:/a", "--limit", "0"], "put"),
    ] {
        stage.run(args).fails(2, &[&format!("see floe {own} --help")]);
    }
    stage.run(&["--frob", "put"]).fails(2, &["see floe --help"]);
}

/// What is asked changes nothing: where there is no state directory, it is said.
#[test]
fn questions_make_no_state_directory() {
    let stage = Stage::new();
    let none = stage.path("none");
    let ask = |args: &[&str]| -> Ended {
        let ended = stage.run_env(args, "FLOE_STATE", &none);
        assert!(!none.exists(), "{args:?}");
        ended
    };
    for args in [
        &["status"][..],
        &["status", "end", "3f2a9c1d"],
        &["audit", "verify"],
        &["audit", "show"],
        &["key", "show"],
        &["key", "retire"],
        &["ticket", "list"],
        &["ticket", "show", "x"],
        &["ticket", "set", "x", "--allow", "all"],
        &["ticket", "revoke", "x"],
    ] {
        ask(args).fails(3, &["the state directory \"", "/none\"", "not found", "--state"]);
    }
    assert!(!stage.path("here/.floe").exists());
    ask(&["logout", "nas"]).fails(3, &["not found"]);
    assert_eq!(ask(&["hosts"]).ok().text(), "");
    stage.run_env(&["key", "show", "--client"], "FLOE_STATE", &none).ok();
    assert!(none.is_dir());
}

#[test]
fn help_says_when_the_owner_ticket_is_made_and_what_comes_before_the_file() {
    let stage = Stage::new();
    let help = |verb: &str| {
        let text = stage.run(&[verb, "--help"]).ok().text();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for verb in ["serve", "ticket"] {
        let text = help(verb);
        assert!(text.contains("whenever there is none"), "{text}");
    }
    assert!(help("serve").contains("flags and FLOE_STATE come first"));
}

#[test]
fn completions_and_manual_know_every_command() {
    let stage = Stage::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = stage.run(&["completions", shell]).ok().text();
        assert!(VERBS.iter().all(|verb| script.contains(verb)), "{shell}");
        assert!(script.contains("no-clobber"), "{shell}");
    }
    let man = stage.run(&["man"]).ok().text();
    for verb in VERBS {
        assert!(man.contains(&format!("floe\\-{verb}")), "{verb}");
    }
    assert!(man.contains(".TH") && man.contains("no\\-resume"));
}

#[test]
fn flags_come_before_the_configuration_file() {
    let stage = Stage::new();
    let file = stage.path("floe.toml");
    let (srv, state) = (stage.path("srv"), stage.path("state-server"));
    let text = format!(
        "dir = {srv:?}\nstate = {state:?}\nlisten = [\"127.0.0.1:0\"]\n\
         read-only = true\nmemory = \"64Mi\"\n"
    );
    fs::write(&file, &text).unwrap();
    let mut command = stage.command();
    // The environment comes before the file, too.
    command.env_remove("FLOE_STATE");
    let server = Server::start(command.arg("serve").arg("--config").arg(&file));
    stage.log_in("nas", &server, &stage.owner_ticket(), &[]).ok();
    stage.run(&["mkdir", "nas:/d"]).fails(4, &[]);
    fs::write(&file, format!("{text}quota = 3\n")).unwrap();
    let wrong = stage.run(&words([&"serve", &"--config", &file]));
    wrong.fails(2, &["line 6", "quota"]);
    fs::write(&file, "listen = [\"here\"]\n").unwrap();
    stage.run(&words([&"serve", &"--config", &file])).fails(2, &["line 1", "ADDR:PORT"]);
    stage.run(&["serve", "--config", "none.toml"]).fails(3, &["none.toml"]);
}

#[test]
fn serve_speaks_json() {
    let stage = Stage::new();
    let (srv, state) = (stage.path("srv"), stage.path("state-server"));
    let args = words([
        &"serve",
        &srv,
        &"--state",
        &state,
        &"--listen",
        &"127.0.0.1:0",
        &"--listen",
        &"127.0.0.1:0",
        &"--metrics=127.0.0.1:0",
        &"--json",
    ]);
    let mut command = stage.command();
    let running = crate::stage::Running::start(command.args(args), b"");
    running.wait_for("\"serving\"");
    running.signal(rustix::process::Signal::TERM);
    let ended = running.end().ok();
    let events = ended.events();
    assert_eq!(events.iter().filter(|event| event["event"] == "listening").count(), 2);
    assert!(ended.event("metrics")["address"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(ended.event("serving")["fingerprint"].as_str().unwrap().len(), 64);
}
