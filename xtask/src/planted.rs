//! `cargo xtask planted`: plants each bug of floe-types' `planted` alone, and asks every layer of
//! tests whether it notices: a table of which does. A layer that notices none is suspect, and so is
//! a bug that no layer notices; the command fails on either.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

/// How it is called.
pub const USAGE: &str = "\
usage: cargo xtask planted                   bugs on purpose: which layer of tests notices which
       cargo xtask planted BUG...            only these";

/// Tests may hang because of a bug.
const PATIENCE_SECONDS: &str = "600";
const BUILD_SECONDS: &str = "3600";
/// What `timeout` says then.
const TIMED_OUT: i32 = 124;
const FEATURE: &str = "floe-types/planted";

/// What looks for bugs: its name, and the words of the command.
type Layer = (&'static str, &'static [&'static str]);

const LAYERS: [Layer; 6] = [
    ("tests of floe-proto", &["test", "-p", "floe-proto", "--features", FEATURE, "--test", "it"]),
    ("tests of floe-store", &["test", "-p", "floe-store", "--features", FEATURE, "--test", "it"]),
    ("corpora of the fuzzers", &["test", "-p", "floe-fuzz", "--features", FEATURE, "--test", "it"]),
    ("cuts", &["run", "-p", "floe-sim", "--features", "planted", "--", "cuts", "--every", "200"]),
    (
        "explore",
        &["run", "-p", "floe-sim", "--features", "planted", "--", "explore", "--states", "100000"],
    ),
    ("500 seeds", &["run", "-p", "floe-sim", "--features", "planted", "--", "seeds"]),
];

/// What a layer said of a bug.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    /// It failed: so many tests did, where they are told by name.
    Noticed(usize),
    /// It did not end in time.
    Hung,
    /// It passed.
    Nothing,
}

/// Runs what the arguments ask for.
pub fn run(root: &Path, arguments: &[&str]) -> ExitCode {
    match attempt(root, arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("planted: {why}");
            ExitCode::FAILURE
        }
    }
}

fn attempt(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let all = bugs(root)?;
    if let Some(unknown) = arguments.iter().find(|name| !all.iter().any(|bug| bug == *name)) {
        return Err(format!("no bug \"{unknown}\"; there are {}\n{USAGE}", all.join(", ")));
    }
    let bugs = match arguments {
        [] => all,
        some => some.iter().map(|name| (*name).to_owned()).collect(),
    };
    // Without a bug every layer passes, or it would notice anything.
    for layer in &LAYERS {
        if ask(root, layer, None)? != Said::Nothing {
            return Err(format!("{} fail with nothing planted", layer.0));
        }
    }
    let names: Vec<_> = LAYERS.iter().map(|layer| layer.0).collect();
    println!("| bug | {} |\n| --- |{}", names.join(" | "), " --- |".repeat(LAYERS.len()));
    let (mut unnoticed, mut blind) = (Vec::new(), names);
    for bug in bugs {
        let mut row = format!("| `{bug}` |");
        let mut noticed = false;
        for layer in &LAYERS {
            let said = ask(root, layer, Some(&bug))?;
            if said != Said::Nothing {
                noticed = true;
                blind.retain(|name| *name != layer.0);
            }
            row += &match said {
                Said::Noticed(0) => " yes |".to_owned(),
                Said::Noticed(count) => format!(" {count} |"),
                Said::Hung => " no end |".to_owned(),
                Said::Nothing => " |".to_owned(),
            };
        }
        println!("{row}");
        if !noticed {
            unnoticed.push(bug);
        }
    }
    match (unnoticed.is_empty(), blind.is_empty() || !arguments.is_empty()) {
        (true, true) => Ok(()),
        (false, _) => Err(format!("nothing notices {}", unnoticed.join(", "))),
        (true, false) => Err(format!("no bug is noticed by {}", blind.join(", "))),
    }
}

/// Runs one layer with a bug planted, or with none.
fn ask(root: &Path, (name, words): &Layer, bug: Option<&str>) -> Result<Said, String> {
    // It ends the whole group of processes.
    let mut command = Command::new("timeout");
    // The run without a bug builds as well.
    command.arg(if bug.is_some() { PATIENCE_SECONDS } else { BUILD_SECONDS });
    command.arg(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).arg(words[0]).args(["--release", "--locked"]).args(&words[1..]);
    command.stdin(Stdio::null()).stderr(Stdio::null());
    match bug {
        Some(bug) => command.env("FLOE_PLANTED", bug),
        None => command.env_remove("FLOE_PLANTED"),
    };
    let output = command.output().map_err(|why| format!("{name}: run timeout: {why}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = text.lines().filter(|line| line.ends_with("... FAILED")).count();
    Ok(match output.status.code() {
        Some(0) => Said::Nothing,
        Some(TIMED_OUT) => Said::Hung,
        _ => Said::Noticed(failed),
    })
}

/// The names of all bugs, as their enum lists them.
fn bugs(root: &Path) -> Result<Vec<String>, String> {
    let path = root.join("crates/floe-types/src/planted.rs");
    let text =
        std::fs::read_to_string(&path).map_err(|why| format!("read {}: {why}", path.display()))?;
    let listed =
        |line: &str| Some(line.trim().strip_prefix("Self::")?.strip_suffix(',')?.to_owned());
    let bugs: Vec<_> = text.lines().filter_map(listed).collect();
    if bugs.is_empty() { Err(format!("no bug in {}", path.display())) } else { Ok(bugs) }
}
