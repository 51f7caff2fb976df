//! Two networks joined by the link's program, set up so that programs can run at both ends.
//!
//! The congestion control is that of the route, which no program can change; the two ends run
//! without the right to configure networks, as programs of users do.

use crate::Result;
use crate::accounts;
use crate::link::DEVICE;
use crate::process::{Process, await_that};
use crate::site::{Site, WITH_PARENT, run as command};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// What a link and its ends are like.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Bits a second each way, of IP packets.
    pub bits: u64,
    /// The round trip, in milliseconds.
    pub rtt_ms: u64,
    /// Packets of a million that are lost, each way.
    pub loss_ppm: u32,
    /// Of the routes at both ends.
    pub congestion: String,
    /// What waits for the link at most; what it carries in a round trip where there is none.
    pub queue_bytes: Option<u64>,
    /// Where losses come from.
    pub seed: u64,
    /// tcp_rmem of both ends.
    pub rmem: &'static str,
}

impl Setting {
    /// Without losses, a queue of a round trip, sockets as distributions ship them, CUBIC.
    pub fn plain(bits: u64, rtt_ms: u64) -> Self {
        Self {
            bits,
            rtt_ms,
            loss_ppm: 0,
            congestion: "cubic".to_owned(),
            queue_bytes: None,
            seed: 1,
            rmem: RMEM,
        }
    }
}

/// A running link, and where its ends are.
pub struct Joined {
    setting: Setting,
    process: Process,
    near: u32,
    far: u32,
    begun: Instant,
    _said: tempfile::TempDir,
}

/// As distributions ship them.
pub const RMEM: &str = "4096 131072 6291456";
/// The same.
pub const WMEM: &str = "4096 16384 4194304";
/// Of the range that is set aside for benchmarks of networks (RFC 2544).
const NEAR: &str = "198.18.0.1";
const FAR: &str = "198.18.0.2";
const NET: &str = "198.18.0.0/30";
/// Packets that a device holds for the link's program; the link's own queue is to be the limit.
const DEVICE_PACKETS: &str = "20000";
const PATIENCE: Duration = Duration::from_secs(5);

impl Joined {
    /// Starts the link's program and sets up both ends.
    pub fn lay(setting: &Setting) -> Result<Self> {
        let dir = tempfile::tempdir().map_err(|error| format!("make a directory: {error}"))?;
        let said = dir.path().join("said");
        let carried = setting.bits / 8 * setting.rtt_ms / 1000;
        let queue = setting.queue_bytes.unwrap_or(carried).max(64 << 10);
        let own = std::env::current_exe().map_err(|error| format!("find this program: {error}"))?;
        // A link does not wait for a core; where this is not allowed, nice goes on without.
        let mut command = Command::new(WITH_PARENT[0]);
        command
            .args(&WITH_PARENT[1..])
            .args(["nice", "-n", "-15"])
            .arg(own)
            .arg("link")
            .args(["--rate", &setting.bits.to_string()]);
        command.args(["--delay-us", &(setting.rtt_ms * 500).to_string()]);
        command.args(["--queue-bytes", &queue.to_string()]);
        command.args(["--loss-ppm", &setting.loss_ppm.to_string()]);
        command.args(["--seed", &setting.seed.to_string()]);
        let process = Process::start(&mut command, "the link", &said)?;
        await_that(PATIENCE, || ends(&said).is_some() || process.is_over());
        let (near, far) =
            ends(&said).ok_or_else(|| format!("the link does not run: {}", process.words()))?;
        let (setting, begun) = (setting.clone(), Instant::now());
        let link = Self { setting, process, near, far, begun, _said: dir };
        set_up(&network(near), NEAR, &link.setting)?;
        set_up(&network(far), FAR, &link.setting)?;
        Ok(link)
    }

    /// Where programs run.
    pub fn site(&self) -> Site {
        Site {
            near: entering(&network(self.near)),
            far: entering(&network(self.far)),
            host: FAR.to_owned(),
            watched: self.near,
            interface: DEVICE,
            rtt_ms: self.setting.rtt_ms,
            bandwidth: self.setting.bits / 8,
            congestion: self.setting.congestion.clone(),
            remarks: Vec::new(),
        }
    }

    /// How busy the program was, and what its devices lost on their own.
    pub fn remark(&self, name: &str) -> String {
        let busy =
            accounts::cpu(self.process.id()).as_secs_f64() / self.begun.elapsed().as_secs_f64();
        let lost = |pid| accounts::dropped(pid, DEVICE).unwrap_or(0);
        let lost = lost(self.near) + lost(self.far);
        format!(
            "{name}: the link's program used {:.0} % of a core; devices lost {lost}",
            busy * 100.0
        )
    }
}

/// What the link's program says first: `near PID far TID`.
fn ends(said: &Path) -> Option<(u32, u32)> {
    let text = fs::read_to_string(said).ok()?;
    let (near, far) = text.strip_suffix('\n')?.strip_prefix("near ")?.split_once(" far ")?;
    Some((near.parse().ok()?, far.parse().ok()?))
}

fn network(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}

/// What stands before a command to run it in a network, without the right to configure it.
fn entering(network: &Path) -> Vec<String> {
    let net = format!("--net={}", network.display());
    let without = ["--inh-caps=-net_admin", "--bounding-set=-net_admin"];
    let words = [&["nsenter", &net], WITH_PARENT, &without].concat();
    words.into_iter().map(str::to_owned).collect()
}

fn set_up(network: &Path, address: &str, setting: &Setting) -> Result<()> {
    let (net, congestion) = (format!("--net={}", network.display()), &setting.congestion);
    let inside = |words: &[&str]| command(&[&["nsenter", &net], words].concat());
    inside(&["ip", "link", "set", "lo", "up"])?;
    inside(&["ip", "address", "add", &format!("{address}/30"), "dev", DEVICE])?;
    inside(&["ip", "link", "set", DEVICE, "mtu", "1500", "txqueuelen", DEVICE_PACKETS, "up"])?;
    inside(&["sysctl", "-q", "-w", &format!("net.ipv4.tcp_rmem={}", setting.rmem)])?;
    inside(&["sysctl", "-q", "-w", &format!("net.ipv4.tcp_wmem={WMEM}")])?;
    // By route, since which ones a network may have as its default is the machine's to say.
    let route = ["ip", "route", "replace", NET, "dev", DEVICE, "src", address];
    inside(&[&route[..], &["congctl", "lock", congestion]].concat())
        .map_err(|error| format!("congestion control {congestion} is not to be had: {error}"))
}
