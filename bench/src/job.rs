//! The jobs, as a table, and how each is done: interleaved runs of all peers that can do it, the
//! first thrown away and compared byte for byte, the others by lengths.
//!
//! A peer that fails is out of its job from then on, and the report says why.

use crate::Result;
use crate::accounts;
use crate::content::{self, Content, Look};
use crate::peer::{Leaves, Peer, Reach, Sync, Task, Wire};
use crate::stage::{Ending, Ground, Order, Sample, Stage, Until, slug};
use floe_types::ByteCount;
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// It goes there, or comes here, and is new.
    Move(Task),
    /// It goes to where it is already.
    Again,
    /// A first command is killed when half of the bytes have been on the wire; a second goes on.
    Resume {
        /// The first.
        begin: Task,
        /// The second.
        resume: Task,
    },
    /// So many clients get it to nowhere, at once; and one client gets a larger file.
    Crowd(u32),
}

/// One job.
#[derive(Clone, Debug)]
pub struct Job {
    /// To choose it by.
    pub name: String,
    /// What it is, for people.
    pub title: String,
    /// Where, and whose commands: on a disk those that sync.
    pub place: Place,
    /// What is moved.
    pub content: Content,
    /// What is done.
    pub act: Act,
    /// Over which paths.
    pub reach: Reach,
}

/// Where files lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// On tmpfs.
    Memory,
    /// On a disk: only what is synced is measured.
    Disk,
}

/// How often, and by whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Runs before the measured ones.
    pub warm: u32,
    /// Measured runs.
    pub runs: u32,
    /// When a transfer is cut off; a peer that it happens to at first is not run again.
    pub cap: Duration,
    /// Parts of names of peers; all if none is given.
    pub only: Vec<String>,
    /// Where each place is.
    pub memory: PathBuf,
    /// A directory on a disk.
    pub disk: Option<PathBuf>,
}

/// All runs of one line of a table.
#[derive(Serialize, Clone, Debug)]
pub struct Case {
    /// As tables and bars name it: the peer, and which part of the job.
    pub name: String,
    /// What an eavesdropper sees, in a word.
    pub wire: &'static str,
    /// Whether it was synced before success was said.
    pub synced: bool,
    /// Its runs.
    pub samples: Vec<Sample>,
    /// Why it has none, or no more.
    pub failure: Option<String>,
}

impl Case {
    /// Whether it is run again: not after a failure, nor where its first run was cut off.
    fn goes_on(&self) -> bool {
        let cut = self.samples.first().is_some_and(|sample| sample.ending == Ending::Cut);
        self.failure.is_none() && !cut
    }
}

/// What a job came to.
#[derive(Serialize, Clone, Debug)]
pub struct Outcome {
    /// The job's name.
    pub job: String,
    /// What it is.
    pub title: String,
    /// Bytes of content of one transfer.
    pub content_bytes: u64,
    /// Its lines.
    pub cases: Vec<Case>,
    /// Peers that were not measured, and why.
    pub absent: Vec<(String, String)>,
}

/// Which part of a job a case is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Whole,
    Resumed,
    One,
}

/// How directories of jobs begin; the process's id follows.
const PREFIX: &str = "floe-bench-";
/// How much larger the file of one client is than that of each of many.
const ONE_CLIENT_FACTOR: u64 = 16;

impl Job {
    /// What it comes to where it cannot be done.
    pub fn not_run(&self, why: &str) -> Outcome {
        Outcome {
            job: self.name.clone(),
            title: self.title.clone(),
            content_bytes: 0,
            cases: Vec::new(),
            absent: vec![("all".to_owned(), why.to_owned())],
        }
    }
}

/// Does a job.
pub fn run(ground: &Ground, job: &Job, plan: &Plan) -> Result<Outcome> {
    let dir = match (job.place, &plan.disk) {
        (Place::Memory, _) => &plan.memory,
        (Place::Disk, Some(disk)) => disk,
        (Place::Disk, None) => return Ok(job.not_run("no --disk was given")),
    };
    sweep(dir);
    let dir = tempfile::Builder::new()
        .prefix(&format!("{PREFIX}{}-", std::process::id()))
        .tempdir_in(dir)
        .map_err(|error| format!("make a directory in {}: {error}", dir.display()))?;
    let mut stage = Stage::new(ground, dir.path())?;
    let mut work = Work::lay_out(job, plan.cap, &stage)?;
    let (peers, absent) = choose(ground, job, plan)?;
    let mut lines: Vec<(&Peer, Part, Case)> = Vec::new();
    for peer in peers {
        let failure = stage.prepare(peer).and_then(|()| work.first(peer, &mut stage)).err();
        for (part, name) in parts(job.act, peer) {
            lines.push((peer, part, case(name, peer, failure.clone())));
        }
    }
    for run in 0..plan.warm + plan.runs {
        let look = if run == 0 { Look::Bytes } else { Look::Lengths };
        for (peer, part, case) in lines.iter_mut().filter(|line| line.2.goes_on()) {
            match work.once(peer, *part, look, &mut stage) {
                Ok(sample) => {
                    eprintln!("{} run {run} {}: {:.2} s", job.name, case.name, sample.wall_s);
                    let counts = run >= plan.warm || sample.ending == Ending::Cut;
                    case.samples.extend(counts.then_some(sample));
                }
                Err(error) => {
                    eprintln!("{} run {run} {}: {error}", job.name, case.name);
                    case.failure = Some(format!("run {run}: {error}"));
                }
            }
        }
    }
    stage.end()?;
    let cases = lines.into_iter().map(|(_, _, case)| case).collect();
    let (job, title) = (job.name.clone(), job.title.clone());
    Ok(Outcome { job, title, content_bytes: work.size.0, cases, absent })
}

fn case(name: String, peer: &Peer, failure: Option<String>) -> Case {
    let wire = match peer.wire {
        Wire::None => "none",
        Wire::Plain => "plain",
        Wire::Encrypted => "encrypted",
    };
    Case { name, wire, synced: peer.sync != Sync::Never, samples: Vec::new(), failure }
}

/// Removes what runs that were killed have left; a run that goes on has a process.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
        let owner = owner.and_then(|owner| owner.parse::<u32>().ok());
        if owner.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            // What cannot be removed is in nobody's way but the file system's.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// The task that a peer must be able to do.
fn needed(act: Act) -> Task {
    match act {
        Act::Move(task) => task,
        Act::Again => Task::AgainTree,
        Act::Resume { resume, .. } => resume,
        Act::Crowd(_) => Task::Discard,
    }
}

fn parts(act: Act, peer: &Peer) -> Vec<(Part, String)> {
    match act {
        Act::Move(_) | Act::Again => vec![(Part::Whole, peer.name.clone())],
        Act::Resume { .. } => vec![
            (Part::Whole, format!("{}, whole", peer.name)),
            (Part::Resumed, format!("{}, resumed", peer.name)),
        ],
        Act::Crowd(_) => vec![
            (Part::One, format!("{}, one client", peer.name)),
            (Part::Whole, peer.name.clone()),
        ],
    }
}

type Absent = Vec<(String, String)>;

/// Who takes part, and who is absent though it could.
fn choose<'a>(ground: &'a Ground, job: &Job, plan: &Plan) -> Result<(Vec<&'a Peer>, Absent)> {
    let (mut chosen, mut absent) = (Vec::new(), Absent::new());
    let dirs = crate::site::search_dirs();
    for peer in &ground.peers.peer {
        let fits = match job.place {
            Place::Memory => peer.sync != Sync::Asked,
            Place::Disk => peer.sync != Sync::Never,
        };
        let reaches = peer.reach == Reach::Both || peer.reach == job.reach;
        if !fits || !reaches || !peer.client.contains_key(&needed(job.act)) {
            continue;
        }
        let missing = ground.peers.missing(peer, &dirs)?;
        if !plan.only.is_empty() && !plan.only.iter().any(|part| peer.name.contains(part)) {
            absent.push((peer.name.clone(), "not chosen".to_owned()));
        } else if !missing.is_empty() {
            absent.push((peer.name.clone(), format!("not installed: {}", missing.join(", "))));
        } else {
            chosen.push(peer);
        }
    }
    Ok((chosen, absent))
}

/// The files of a job.
struct Work<'a> {
    job: &'a Job,
    source: PathBuf,
    size: ByteCount,
    moved: u32,
    cap: Duration,
    one_client: ByteCount,
}

const KEPT: &str = "kept";
const KEPT_FOR_ONE: &str = "kept-for-one";

impl<'a> Work<'a> {
    /// Makes them: what is got lies below the root, what is put does not.
    fn lay_out(job: &'a Job, cap: Duration, stage: &Stage<'_>) -> Result<Self> {
        let source = match job.act {
            Act::Move(Task::Get | Task::GetTree)
            | Act::Resume { resume: Task::ResumeGet, .. }
            | Act::Crowd(_) => stage.root().join(KEPT),
            _ => stage.near().join("source"),
        };
        let size = job.content.make(&source)?;
        if let Act::Crowd(_) = job.act {
            let large = Content::File(ByteCount(size.0 * ONE_CLIENT_FACTOR));
            large.make(&stage.root().join(KEPT_FOR_ONE))?;
        }
        Ok(Self { job, source, size, moved: 0, cap, one_client: ByteCount(0) })
    }

    /// What is done before all runs, not timed.
    fn first(&mut self, peer: &Peer, stage: &mut Stage<'_>) -> Result<()> {
        if self.job.act != Act::Again {
            return Ok(());
        }
        let order = self.order(peer, Task::PutTree, stage);
        if stage.measure(&order, Until::Elapsed(self.cap))?.ending == Ending::Cut {
            return Err("the first put did not end in time".to_owned());
        }
        content::same(&self.source, &order.dest, Look::Bytes)
    }

    /// Every arrival has a name of its own: servers may remember what was there.
    fn order<'p>(&self, peer: &'p Peer, task: Task, stage: &Stage<'_>) -> Order<'p> {
        let new = format!("new-{}-{}", slug(&peer.name), self.moved);
        let gets = self.source.starts_with(stage.root());
        let dest = if gets { stage.near().join(&new) } else { stage.root().join(&new) };
        let name = if gets { KEPT.to_owned() } else { new };
        Order { peer, task, source: self.source.clone(), name, dest, size: self.size, clients: 1 }
    }

    /// One run of one line.
    fn once(
        &mut self,
        peer: &Peer,
        part: Part,
        look: Look,
        stage: &mut Stage<'_>,
    ) -> Result<Sample> {
        let until = Until::Elapsed(self.cap);
        match (self.job.act, part) {
            (Act::Move(task), _) => {
                let order = self.order(peer, task, stage);
                self.anew(&order, until, look, stage)
            }
            (Act::Again, _) => {
                let order = self.order(peer, Task::AgainTree, stage);
                let sample = stage.measure(&order, until)?;
                if sample.ending == Ending::Whole {
                    content::same(&self.source, &order.dest, look)?;
                }
                Ok(sample)
            }
            (Act::Resume { begin, .. }, Part::Whole | Part::One) => {
                let order = self.order(peer, beginning(peer, begin), stage);
                self.anew(&order, until, look, stage)
            }
            (Act::Resume { begin, resume }, Part::Resumed) => {
                let order = self.order(peer, beginning(peer, begin), stage);
                self.begin(&order, stage)?;
                let order = Order { task: resume, ..order };
                self.anew(&order, until, look, stage)
            }
            (Act::Crowd(clients), Part::Whole | Part::Resumed) => {
                self.fits(clients)?;
                let order = self.order(peer, Task::Discard, stage);
                stage.measure(&Order { clients, ..order }, until)
            }
            (Act::Crowd(_), Part::One) => {
                let mut order = self.order(peer, Task::Discard, stage);
                order.source = stage.root().join(KEPT_FOR_ONE);
                order.name = KEPT_FOR_ONE.to_owned();
                order.size = ByteCount(self.size.0 * ONE_CLIENT_FACTOR);
                let sample = stage.measure(&order, until)?;
                self.one_client = ByteCount(sample.near.peak_bytes);
                Ok(sample)
            }
        }
    }

    /// Begins, and is killed when half of it has been on the wire.
    fn begin(&self, order: &Order<'_>, stage: &mut Stage<'_>) -> Result<()> {
        let half = self.size.0 / 2;
        let begun = stage.measure(order, Until::Carried(ByteCount(half), self.cap))?;
        let why = match begun.ending {
            Ending::Whole => "it was over before it was killed",
            Ending::Cut if begun.wire_bytes.is_some_and(|wire| wire < half) => {
                "half of it did not come in time"
            }
            Ending::Cut => return Ok(()),
        };
        remove(&order.dest)?;
        Err(why.to_owned())
    }

    /// Whether so many clients find room, each as large as the one before them. What they share
    /// counts in each, so a little more than there is may be asked for.
    fn fits(&self, clients: u32) -> Result<()> {
        let asked = self.one_client.0 * u64::from(clients);
        if asked <= accounts::available().0 / 5 * 6 {
            return Ok(());
        }
        let mib = self.one_client.0 >> 20;
        Err(format!("{clients} clients of {mib} MiB have no room on this machine"))
    }

    /// Moves it, looks at what arrived, and removes that.
    fn anew(
        &mut self,
        order: &Order<'_>,
        until: Until,
        look: Look,
        stage: &mut Stage<'_>,
    ) -> Result<Sample> {
        let done = stage.measure(order, until);
        let whole = done.as_ref().is_ok_and(|s| s.ending == Ending::Whole);
        let seen = match order.peer.leaves {
            Leaves::Copy if whole => content::same(&self.source, &order.dest, look),
            _ => Ok(()),
        };
        remove(&order.dest)?;
        self.moved += 1;
        seen.and(done)
    }
}

/// The command that a peer begins with, so that it can go on.
fn beginning(peer: &Peer, begin: Task) -> Task {
    match begin {
        Task::BeginPut if !peer.client.contains_key(&begin) => Task::Put,
        Task::BeginGet if !peer.client.contains_key(&begin) => Task::Get,
        other => other,
    }
}

fn remove(path: &Path) -> Result<()> {
    let done = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match done {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_dead_runs_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join(format!("{PREFIX}{}-a", std::process::id()));
        // Above the largest process id that Linux gives.
        let dead = dir.path().join(format!("{PREFIX}4194305-a"));
        let other = dir.path().join("floe-else");
        for path in [&own, &dead, &other] {
            fs::create_dir_all(path.join("inner")).unwrap();
        }
        sweep(dir.path());
        assert!(own.exists() && other.exists() && !dead.exists());
    }

    #[test]
    fn a_peer_without_a_first_command_begins_with_the_plain_one() {
        let text = "name = 'a'\nneeds = []\nwire = 'plain'\nsync = 'never'\n[client]\nput = ''\n";
        let peer: Peer = toml::from_str(text).unwrap();
        assert_eq!(beginning(&peer, Task::BeginPut), Task::Put);
        assert_eq!(beginning(&peer, Task::BeginGet), Task::Get);
    }
}
