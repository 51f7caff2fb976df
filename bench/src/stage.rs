//! One job's servers and directories, and one measured transfer between them: what is timed, and
//! how both ends' processor time, memory and bytes are counted.
//!
//! Servers start once a job. Timed is from the start of the first client to the end of the last,
//! and of the one-time other end where a peer has one. Before each, the machine is made
//! ready, so that none pays for what another left.

use crate::Result;
use crate::accounts::{self, ProcessId};
use crate::os::Ended;
use crate::peer::{Peer, Peers, Service, Task, Words};
use crate::process::{Process, await_that};
use crate::ready::make_ready;
use crate::site::{End, Site, search_path};
use floe_types::ByteCount;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// What every job needs.
#[derive(Debug)]
pub struct Ground {
    /// Where the ends run.
    pub site: Site,
    /// Who is measured.
    pub peers: Peers,
    /// floe.
    pub floe: PathBuf,
    /// Flags to try with floe, with a blank in front.
    pub floe_args: String,
}

/// What one end used.
#[derive(Serialize, Clone, Copy, PartialEq, Debug, Default)]
pub struct Used {
    /// User and system time, seconds.
    pub cpu_s: f64,
    /// Largest resident memory: of all of a server's processes together, of the largest client.
    pub peak_bytes: u64,
}

/// How a transfer ended.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// By itself.
    Whole,
    /// It was cut off; what it moved is estimated from the bytes on the wire.
    Cut,
}

/// One measured transfer, or many at once.
#[derive(Serialize, Clone, Copy, PartialEq, Debug)]
pub struct Sample {
    /// Seconds.
    pub wall_s: f64,
    /// Bytes of content.
    pub moved_bytes: u64,
    /// Bytes on the wire, both ways, all headers included.
    pub wire_bytes: Option<u64>,
    /// The clients' end.
    pub near: Used,
    /// The server's end.
    pub far: Used,
    /// How it ended.
    pub ending: Ending,
}

/// What is moved from where to where.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// By whom.
    pub peer: &'a Peer,
    /// How.
    pub task: Task,
    /// The path of what is moved.
    pub source: PathBuf,
    /// Its name below the served directory.
    pub name: String,
    /// Where it has to arrive.
    pub dest: PathBuf,
    /// How many bytes that are, of one client.
    pub size: ByteCount,
    /// How many clients at once.
    pub clients: u32,
}

/// When a transfer is stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// After a time.
    Elapsed(Duration),
    /// When so much has been on the wire, or after a time.
    Carried(ByteCount, Duration),
}

/// How long a server has to listen.
const START: Duration = Duration::from_secs(20);
/// How long the other end of a transfer may outlive the client.
const REST: Duration = Duration::from_secs(60);
/// How long a server's processes of one transfer may take to go.
const SETTLE: Duration = Duration::from_secs(2);
/// Between two looks at a server's memory; longer where a look takes long.
const SAMPLE: Duration = Duration::from_millis(25);
/// The part of the bytes on the wire that is content, where a transfer was cut off.
const CONTENT_PERCENT: u64 = 96;
/// The first port; each service and each one-time end takes the next.
const PORT: u16 = 21_000;

/// The directories and servers of a job.
pub struct Stage<'a> {
    ground: &'a Ground,
    dir: PathBuf,
    running: BTreeMap<String, Running>,
    port: u16,
}

struct Running {
    process: Process,
    words: Words,
    dir: PathBuf,
}

impl<'a> Stage<'a> {
    /// Without servers yet, in a directory.
    pub fn new(ground: &'a Ground, dir: &Path) -> Result<Self> {
        let stage = Self { ground, dir: dir.to_owned(), running: BTreeMap::new(), port: PORT };
        for part in [stage.root(), stage.near()] {
            fs::create_dir(&part).map_err(|error| format!("make {}: {error}", part.display()))?;
        }
        Ok(stage)
    }

    /// What servers serve.
    pub fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// The clients' directory.
    pub fn near(&self) -> PathBuf {
        self.dir.join("near")
    }

    /// Starts a peer's service, if it has one that does not run yet.
    pub fn prepare(&mut self, peer: &Peer) -> Result<()> {
        let Some(service) = self.ground.peers.service_of(peer)? else { return Ok(()) };
        if !self.running.contains_key(&service.name) {
            let running = self.serve(service)?;
            self.running.insert(service.name.clone(), running);
        }
        Ok(())
    }

    /// Ends all servers.
    pub fn end(self) -> Result<()> {
        self.running.into_values().try_for_each(|running| running.process.end().map(drop))
    }

    fn serve(&mut self, service: &Service) -> Result<Running> {
        let dir = self.state(&service.name)?;
        let port = self.next_port();
        let words = self.words(&dir, port);
        for (name, text) in &service.files {
            let path = dir.join(name);
            fs::write(&path, words.fill(text)?)
                .map_err(|error| format!("write {}: {error}", path.display()))?;
        }
        let site = &self.ground.site;
        if let Some(setup) = &service.setup {
            let mut command = site.command(End::Far, &words.fill(setup)?, &dir);
            Process::start(&mut command, &service.name, &dir.join("setup.log"))?.finish()?;
        }
        let mut command = site.command(End::Far, &words.fill(&service.serve)?, &dir);
        let process = Process::start(&mut command, &service.name, &dir.join("serve.log"))?;
        process.listening(port, START)?;
        Ok(Running { process, words, dir })
    }

    fn next_port(&mut self) -> u16 {
        self.port += 1;
        self.port
    }

    fn state(&self, name: &str) -> Result<PathBuf> {
        let dir = self.dir.join(format!("state-{}", slug(name)));
        fs::create_dir_all(&dir).map_err(|error| format!("make {}: {error}", dir.display()))?;
        Ok(dir)
    }

    fn words(&self, dir: &Path, port: u16) -> Words {
        let own = std::env::current_exe().unwrap_or_default();
        Words::default()
            .with("host", &self.ground.site.host)
            .with("port", port.to_string())
            .with("user", std::env::var("USER").unwrap_or_else(|_| "root".to_owned()))
            .with("path", search_path().to_string_lossy())
            .with("rtt", self.ground.site.rtt_ms.to_string())
            .with("bandwidth", self.ground.site.bandwidth.to_string())
            .with("congestion", &self.ground.site.congestion)
            .with("floeargs", &self.ground.floe_args)
            .with_path("floe", &self.ground.floe)
            .with_path("bench", &own)
            .with_path("root", &self.root())
            .with_path("state", dir)
    }

    /// Does and measures it.
    pub fn measure(&mut self, order: &Order<'_>, until: Until) -> Result<Sample> {
        let (words, dir) = self.words_of(order)?;
        let script = order.peer.client.get(&order.task);
        let script = script.ok_or_else(|| format!("{} cannot do this", order.peer.name))?;
        let once = self.start_once(order, &words, &dir)?;
        let written = match order.task {
            Task::Discard => ByteCount(0),
            _ => ByteCount(order.size.0 * u64::from(order.clients)),
        };
        make_ready(&self.dir, written)?;
        let far = self.running_of(order.peer).map(|running| running.process.id());
        let before = Before::note(&self.ground.site, far);
        let begun = Instant::now();
        let (clients, sampled) = beside_sampler(far, || {
            let clients = self.start_clients(order, script, &words, &dir)?;
            watch(&clients, &self.ground.site, before.wire, until);
            finish_clients(clients)
        });
        let (near, ending) = clients?;
        let far_once = once.map(|process| finish_once(process, ending)).transpose()?;
        let wall = begun.elapsed();
        let mut sample = before.sample(&self.ground.site, wall, near);
        sample.ending = ending;
        sample.far.peak_bytes = sample.far.peak_bytes.max(sampled.0);
        if let Some(ended) = far_once {
            sample.far = Used { cpu_s: ended.cpu.as_secs_f64(), peak_bytes: ended.peak.0 };
        }
        sample.moved_bytes = match ending {
            Ending::Whole => order.size.0 * u64::from(order.clients),
            Ending::Cut => sample.wire_bytes.unwrap_or(0) * CONTENT_PERCENT / 100,
        };
        Ok(sample)
    }

    fn running_of(&self, peer: &Peer) -> Option<&Running> {
        peer.service.as_ref().and_then(|name| self.running.get(name))
    }

    fn words_of(&mut self, order: &Order<'_>) -> Result<(Words, PathBuf)> {
        let (words, dir) = match self.running_of(order.peer) {
            Some(running) => (running.words.clone(), running.dir.clone()),
            None => {
                let (dir, port) = (self.state(&order.peer.name)?, self.next_port());
                (self.words(&dir, port), dir)
            }
        };
        let words = words
            .with("name", &order.name)
            .with("size", order.size.0.to_string())
            .with_path("source", &order.source)
            .with_path("dest", &order.dest)
            .with_path("destdir", order.dest.parent().unwrap_or(&order.dest))
            .with_path("destbase", Path::new(order.dest.file_name().unwrap_or_default()));
        Ok((words, dir))
    }

    fn start_once(&self, order: &Order<'_>, words: &Words, dir: &Path) -> Result<Option<Process>> {
        let Some(script) = order.peer.once.get(&order.task) else { return Ok(None) };
        let mut command = self.ground.site.command(End::Far, &words.fill(script)?, dir);
        let name = format!("the other end of {}", order.peer.name);
        let process = Process::start(&mut command, &name, &dir.join("once.log"))?;
        let port: u16 = words.fill("{port}")?.parse().map_err(|_| "a port that is no number")?;
        process.listening(port, START)?;
        Ok(Some(process))
    }

    fn start_clients(
        &self,
        order: &Order<'_>,
        script: &str,
        words: &Words,
        dir: &Path,
    ) -> Result<Vec<Process>> {
        let start = |nth: u32| {
            let script = words.clone().with("nth", nth.to_string()).fill(script)?;
            let mut command = self.ground.site.command(End::Near, &script, dir);
            Process::start(&mut command, &order.peer.name, &dir.join(format!("client{nth}.log")))
        };
        (0..order.clients).map(start).collect()
    }
}

/// What is held against what is found afterwards.
struct Before {
    far: Option<ProcessId>,
    processes: usize,
    cpu: Duration,
    wire: Option<ByteCount>,
}

impl Before {
    fn note(site: &Site, far: Option<ProcessId>) -> Self {
        if let Some(pid) = far {
            accounts::forget_peak(pid);
        }
        let processes = far.map_or(0, |pid| accounts::tree(pid).len());
        Self {
            far,
            processes,
            cpu: far.map(accounts::cpu).unwrap_or_default(),
            wire: site.carried(),
        }
    }

    /// Waits until the server's processes of this transfer are gone, then counts.
    fn sample(&self, site: &Site, wall: Duration, near: Used) -> Sample {
        let mut far = Used::default();
        if let Some(pid) = self.far {
            await_that(SETTLE, || accounts::tree(pid).len() <= self.processes);
            far.cpu_s = accounts::cpu(pid).saturating_sub(self.cpu).as_secs_f64();
            if accounts::tree(pid).len() == 1 {
                far.peak_bytes = accounts::peak(pid).unwrap_or_default().0;
            }
        }
        let wire = site.carried().zip(self.wire).map(|(after, before)| after.0 - before.0);
        Sample {
            wall_s: wall.as_secs_f64(),
            moved_bytes: 0,
            wire_bytes: wire,
            near,
            far,
            ending: Ending::Whole,
        }
    }
}

/// Waits until the clients are over or it is time to stop them.
fn watch(clients: &[Process], site: &Site, before: Option<ByteCount>, until: Until) {
    match until {
        Until::Elapsed(limit) => {
            let begun = Instant::now();
            for client in clients {
                client.over_within(limit.saturating_sub(begun.elapsed()));
            }
        }
        Until::Carried(limit, patience) => {
            let before = before.unwrap_or_default().0;
            let reached = || site.carried().is_none_or(|now| now.0 - before >= limit.0);
            let over = || clients.iter().all(Process::is_over);
            await_that(patience, || over() || reached());
        }
    }
}

/// Kills those that are not over, waits for all, and sums up.
fn finish_clients(clients: Vec<Process>) -> Result<(Used, Ending)> {
    let (mut used, mut ending, mut failed) = (Used::default(), Ending::Whole, Vec::new());
    let count = clients.len();
    for client in clients {
        let ended = if client.is_over() {
            client.finish()
        } else {
            ending = Ending::Cut;
            client.kill()
        };
        match ended {
            Ok(ended) => {
                used.cpu_s += ended.cpu.as_secs_f64();
                used.peak_bytes = used.peak_bytes.max(ended.peak.0);
            }
            Err(error) => failed.push(error),
        }
    }
    match failed.first() {
        None => Ok((used, ending)),
        Some(first) if count == 1 => Err(first.clone()),
        Some(first) => Err(format!("{} of {count} clients failed, such as: {first}", failed.len())),
    }
}

fn finish_once(process: Process, ending: Ending) -> Result<Ended> {
    match ending {
        Ending::Cut => process.kill(),
        Ending::Whole if process.over_within(REST) => process.finish(),
        Ending::Whole => Err("the other end did not end".to_owned()),
    }
}

/// Does something while a server's memory is looked at; answers the largest sum found.
fn beside_sampler<T>(far: Option<ProcessId>, act: impl FnOnce() -> T) -> (T, ByteCount) {
    let stop = AtomicBool::new(false);
    let stopped = &stop;
    thread::scope(|scope| {
        let sampler = far.map(|pid| scope.spawn(move || sample_memory(pid, stopped)));
        let done = act();
        stop.store(true, Ordering::Relaxed);
        if let Some(sampler) = &sampler {
            sampler.thread().unpark();
        }
        let sampled = sampler.and_then(|sampler| sampler.join().ok()).unwrap_or_default();
        (done, sampled)
    })
}

fn sample_memory(pid: ProcessId, stop: &AtomicBool) -> ByteCount {
    let mut most = ByteCount(0);
    loop {
        let begun = Instant::now();
        most = most.max(accounts::resident(pid));
        if stop.load(Ordering::Relaxed) {
            return most;
        }
        // At most a hundredth of one core: what is measured shares the cores with it.
        thread::park_timeout(SAMPLE.max(begun.elapsed() * 100));
    }
}

/// A name as a file's name.
pub fn slug(name: &str) -> String {
    let dashed: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_names_of_files() {
        assert_eq!(slug("nginx + curl, https"), "nginx-curl-https");
    }

    #[test]
    fn the_sampler_sees_memory() {
        let own = std::process::id();
        let (done, most) = beside_sampler(Some(own), || 7);
        assert!(done == 7 && most.0 > 0);
    }
}
