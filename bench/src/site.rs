//! Where the two ends run: the prefixes that put a command into its network, the address of the far
//! end, and the interface whose bytes are counted.
//!
//! The near end is the client's, the far end the server's. Over loopback both are this machine, in
//! a network of the bench's own, so that nothing else is counted.

use crate::accounts::{self, ProcessId};
use crate::process::Process;
use crate::{Result, os};
use floe_types::ByteCount;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The client's.
    Near,
    /// The server's.
    Far,
}

/// Two ends and what joins them.
#[derive(Clone, Debug)]
pub struct Site {
    /// What stands before a command at the near end.
    pub near: Vec<String>,
    /// What stands before a command at the far end.
    pub far: Vec<String>,
    /// The address of the far end.
    pub host: String,
    /// Whose network has the counted interface.
    pub watched: ProcessId,
    /// The counted interface.
    pub interface: &'static str,
    /// What programs are told of the path that ask for it: a round trip.
    pub rtt_ms: u64,
    /// The same: bytes a second.
    pub bandwidth: u64,
    /// The same: the congestion control.
    pub congestion: String,
    /// What is worth knowing about it.
    pub remarks: Vec<String>,
}

impl Site {
    /// This machine, in a network of its own with a congestion control; without the right to make
    /// one, in the network that is there. Call it before any thread is started.
    pub fn loopback(congestion: &str) -> Self {
        let remark = match os::leave_network().map(|()| loopback_up(congestion)) {
            Ok(Ok(())) => format!("a loopback of the run's own, congestion control {congestion}"),
            Ok(Err(reason)) => {
                format!("a loopback of the run's own, its routes as they are: {reason}")
            }
            Err(error) => format!(
                "no network of the run's own ({error}): the machine's congestion control, and \
                 bytes on the wire count all traffic of the machine"
            ),
        };
        Self {
            near: Vec::new(),
            far: Vec::new(),
            host: "127.0.0.1".to_owned(),
            watched: std::process::id(),
            interface: "lo",
            rtt_ms: 1,
            bandwidth: 1_000_000_000,
            congestion: congestion.to_owned(),
            remarks: vec![remark],
        }
    }

    /// A script at one end.
    pub fn command(&self, end: End, script: &str, dir: &Path) -> Command {
        let (prefix, guard) = match end {
            End::Near => (&self.near, &[][..]),
            End::Far => (&self.far, WITH_PARENT),
        };
        let prefix = guard.iter().copied().chain(prefix.iter().map(String::as_str));
        let mut words = prefix.chain(["sh", "-c", script]);
        let mut command = Command::new(words.next().unwrap_or("sh"));
        command.args(words).current_dir(dir).env("PATH", search_path()).env("LC_ALL", "C");
        command
    }

    /// A server at the far end over `served` of a directory, once it listens. It keeps its state in
    /// `server` there, and what it says in `serve.log`.
    pub fn serve(&self, program: &Path, dir: &Path, port: u16) -> Result<Process> {
        let script = r#"exec "$FLOE" serve served --listen "$ADDRESS" --state server"#;
        let mut command = self.command(End::Far, script, dir);
        command.env("FLOE", program).env("ADDRESS", format!("{}:{port}", self.host));
        let server = Process::start(&mut command, "serve", &dir.join("serve.log"))?;
        server.listening(port, START)?;
        Ok(server)
    }

    /// Bytes on the wire so far, both ways.
    pub fn carried(&self) -> Option<ByteCount> {
        match self.interface {
            // What goes out of a loopback interface comes in at once.
            "lo" => accounts::received(self.watched, "lo"),
            interface => accounts::carried(self.watched, interface),
        }
    }
}

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(60);

/// What stands before a server, so that it does not outlive the bench however that ends.
pub const WITH_PARENT: &[&str] = &["setpriv", "--pdeathsig", "TERM"];

/// Brings the interface up, and gives its routes a congestion control: what new networks have is
/// the machine's, and which ones may be set is too.
fn loopback_up(congestion: &str) -> Result<()> {
    run(&["ip", "link", "set", "lo", "up"])?;
    ["127.0.0.0/8", "127.0.0.1"].into_iter().try_for_each(|net| {
        let route = ["ip", "route", "replace", "local", net, "dev", "lo", "src", "127.0.0.1"];
        let lock = ["table", "local", "congctl", "lock", congestion];
        run(&[&route[..], &lock].concat())
    })
}

/// Runs a short command to its end.
pub fn run(words: &[&str]) -> Result<()> {
    let name = words.join(" ");
    let (program, arguments) = words.split_first().ok_or("a command without words")?;
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", search_path())
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// Where programs are looked for: what install-peers.sh built, then PATH, then where servers lie.
pub fn search_dirs() -> Vec<PathBuf> {
    let cache = || {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
        std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)
    };
    let built = std::env::var_os("FLOE_BENCH_PEERS")
        .map(PathBuf::from)
        .or_else(|| cache().map(|cache| cache.join("floe-bench")));
    let mut dirs: Vec<PathBuf> = built.into_iter().map(|dir| dir.join("bin")).collect();
    dirs.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    dirs.extend(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from));
    dirs
}

/// The same as one string.
pub fn search_path() -> OsString {
    std::env::join_paths(search_dirs()).unwrap_or_default()
}
