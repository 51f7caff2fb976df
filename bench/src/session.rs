//! What the commands share: options, the program to measure, doing jobs in turn, and where results
//! are written.

use crate::Result;
use crate::bar::{Bar, judge};
use crate::job::{self, Job, Outcome, Plan};
use crate::peer::{Peers, Words};
use crate::report::{Report, figures, machine, table};
use crate::site::{Site, search_path};
use crate::stage::Ground;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Which way the bytes go, seen from the client.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// The client sends.
    Put,
    /// The server sends.
    Get,
}

/// Options of every command.
#[derive(clap::Args, Clone, Debug)]
pub struct Choices {
    /// Measured runs of each; over loopback one more is made first and thrown away
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Seconds after which a transfer is cut off; a peer whose first is cut off is not run again
    #[arg(long, default_value_t = 120)]
    cap: u64,
    /// Only jobs with such a name, or with a name that begins so and goes on with '-'
    #[arg(long, value_delimiter = ',')]
    jobs: Vec<String>,
    /// Only peers whose name has such a part
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Divide sizes and counts by this, to try the bench out
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub shrink: u32,
    /// Where files of jobs in memory lie (tmpfs); three times the size has to fit
    #[arg(long, default_value = "/dev/shm")]
    memory: PathBuf,
    /// Where files of jobs on a disk lie; without it those jobs are not run
    #[arg(long)]
    disk: Option<PathBuf>,
    /// The program to measure; without it, floe is built from this workspace
    #[arg(long)]
    floe: Option<PathBuf>,
    /// Flags to give floe's put and get, such as '--streams 1'
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    floe_args: String,
    /// Where the table and the JSON are written
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/results"))]
    out: PathBuf,
    /// Names jobs and peers, and what is installed of them, and measures nothing
    #[arg(long)]
    list: bool,
}

impl Choices {
    /// The program to measure.
    pub fn program(&self) -> Result<PathBuf> {
        program(self.floe.as_deref())
    }

    /// What to measure at a site.
    pub fn ground(&self, site: Site, floe: PathBuf) -> Result<Ground> {
        let floe_args = self.floe_args.clone();
        Ok(Ground { site, peers: Peers::load()?, floe, floe_args })
    }

    /// Whether a job was asked for.
    pub fn wants(&self, job: &str) -> bool {
        let named = |name: &String| job.strip_prefix(name.as_str()).is_some_and(is_end);
        self.jobs.is_empty() || self.jobs.iter().any(named)
    }

    /// Whether only names are asked for; prints them.
    pub fn lists(&self, jobs: &[Job]) -> Result<bool> {
        if self.list {
            for job in jobs {
                println!("{:<24} {}", job.name, job.title);
            }
            let (peers, dirs) = (Peers::load()?, crate::site::search_dirs());
            for peer in &peers.peer {
                let missing = peers.missing(peer, &dirs)?;
                let state = if missing.is_empty() { "here".to_owned() } else { missing.join(", ") };
                println!("{:<32} {state}", peer.name);
            }
        }
        Ok(self.list)
    }

    /// How the jobs are run, after so many runs that are thrown away.
    pub fn plan(&self, warm: u32) -> Plan {
        Plan {
            warm,
            runs: self.runs,
            cap: Duration::from_secs(self.cap),
            only: self.peers.clone(),
            memory: self.memory.clone(),
            disk: self.disk.clone(),
        }
    }

    /// Does jobs, in turn; one that cannot be done is told of and does not stop the others.
    pub fn perform(&self, ground: &Ground, plan: &Plan, jobs: &[Job]) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for job in jobs.iter().filter(|job| self.wants(&job.name)) {
            let outcome = job::run(ground, job, plan).unwrap_or_else(|error| job.not_run(&error));
            println!("{}", table(&outcome));
            outcomes.push(outcome);
        }
        outcomes
    }

    /// Judges, prints and writes. A bar that was missed is a failure, unless the run was shrunk:
    /// such a run compares nothing.
    pub fn conclude(
        &self,
        name: &str,
        remarks: &[String],
        floe: &Path,
        bars: &[Bar],
        outcomes: Vec<Outcome>,
    ) -> Result<()> {
        let verdicts = judge(bars, &outcomes);
        let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        let mut machine = machine();
        machine.extend(remarks.iter().cloned());
        machine.extend(versions(&outcomes, floe)?);
        machine.push(format!("{} measured runs of each, interleaved", self.runs));
        let command = format!("cargo run --release -p floe-bench -- {command}");
        let missed = verdicts.iter().filter(|verdict| verdict.is_missed()).count();
        let report = Report { machine, command, figures: figures(&outcomes), outcomes, verdicts };
        let text = report.markdown();
        if let Some((_, bars)) = text.split_once("\n## Bars") {
            println!("## Bars{bars}");
        }
        fs::create_dir_all(&self.out).map_err(|e| format!("make {}: {e}", self.out.display()))?;
        write(&self.out.join(format!("{name}.md")), &text)?;
        let json = serde_json::to_string_pretty(&report).map_err(|error| error.to_string())?;
        write(&self.out.join(format!("{name}.json")), &json)?;
        match missed {
            1.. if self.shrink == 1 => Err(format!("{missed} bars were missed")),
            _ => Ok(()),
        }
    }
}

/// The program to measure: one that was named, or what this workspace builds.
pub fn program(named: Option<&Path>) -> Result<PathBuf> {
    let Some(named) = named else { return build() };
    fs::canonicalize(named).map_err(|error| format!("{}: {error}", named.display()))
}

/// What the measured peers say of themselves.
fn versions(outcomes: &[Outcome], floe: &Path) -> Result<Vec<String>> {
    let measured = |name: &str| {
        let mut cases = outcomes.iter().flat_map(|outcome| &outcome.cases);
        cases.any(|case| case.name.starts_with(name))
    };
    let words = Words::default().with_path("floe", floe);
    let mut said = Vec::new();
    for peer in Peers::load()?.peer.iter().filter(|peer| measured(&peer.name)) {
        let Some(script) = &peer.version else { continue };
        let output = Command::new("sh")
            .args(["-c", &words.fill(script)?])
            .env("PATH", search_path())
            .output()
            .map_err(|error| format!("ask {}: {error}", peer.name))?;
        let text = String::from_utf8_lossy(&output.stdout).trim().replace('\n', "; ");
        said.push(format!("{}: {text}", peer.name));
    }
    Ok(said)
}

fn is_end(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('-')
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|error| format!("write {}: {error}", path.display()))?;
    eprintln!("written: {}", path.display());
    Ok(())
}

/// Builds floe as it ships, and answers where it is.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "-p", "floe", "--bin", "floe"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .map_err(|error| format!("build floe: {error}"))?;
    if !status.success() {
        return Err(format!("build floe: {status}"));
    }
    let own = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
    match own.with_file_name("floe") {
        built if built.exists() && own.to_string_lossy().contains("release") => Ok(built),
        _ => Err("run it with cargo run --release, or name a program with --floe".to_owned()),
    }
}
