//! Where resumes are measured: a directory that can be mounted anew, one file that is moved, a
//! server and a client of the real program.
//!
//! In it: `source` (for a put), `root`, which is served, `near`, where a get arrives, and the
//! states of both programs.

use super::Way;
use crate::Result;
use crate::content::{self, Content, Look};
use crate::os;
use crate::process::{Process, await_that};
use crate::site::{End, Site};
use floe_types::ByteCount;
use rustix::fs::Advice;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

/// How long a server has to listen.
const START: Duration = Duration::from_secs(20);
/// The first port; each server takes the next.
const PORT: u16 = 22_000;
/// A source that changed less than 2 s ago may change again unseen, so a resume does not trust its
/// version: each is left alone for longer.
const SETTLED: Duration = Duration::from_secs(3);
const NAME: &str = "file";

/// A directory with all of it.
pub struct Bed {
    dir: TempDir,
    program: PathBuf,
    mounts: Mounts,
    port: u16,
    /// Where the two run.
    pub site: Site,
    /// Of the file.
    pub size: ByteCount,
    /// When a transfer is given up.
    pub cap: Duration,
}

/// Whether mounts may be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mounts {
    Own,
    NotAllowed,
}

/// A server and its client.
pub struct Pair {
    server: Process,
    /// The client.
    pub client: Process,
}

impl Bed {
    /// Makes it, with the file. Call it before any thread is started.
    pub fn make(
        within: &Path,
        program: PathBuf,
        site: Site,
        size: ByteCount,
        cap: Duration,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("floe-bench-resume-").tempdir_in(within);
        let dir = dir.map_err(|e| format!("make a directory in {}: {e}", within.display()))?;
        let own = os::leave_mounts().and_then(|()| mount(dir.path()));
        let mounts = if own.is_ok() { Mounts::Own } else { Mounts::NotAllowed };
        for part in ["root", "near"] {
            fs::create_dir(dir.path().join(part)).map_err(|e| format!("make {part}: {e}"))?;
        }
        let bed = Self { dir, program, mounts, port: PORT, site, size, cap };
        Content::File(size).make(&bed.at("source"))?;
        Ok(bed)
    }

    /// Whether a power loss can be shown.
    pub fn can_mount(&self) -> bool {
        self.mounts == Mounts::Own
    }

    /// Puts the file where it is moved from, with a version that is trusted.
    pub fn place_source(&self, way: Way) -> Result<()> {
        let (put, get) = (self.at("source"), self.at("root").join(NAME));
        if way == Way::Get && put.exists() {
            fs::rename(&put, &get).map_err(|e| format!("move {}: {e}", put.display()))?;
        }
        let sync = || File::open(self.dir.path()).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
        sync().map_err(|e| format!("sync {}: {e}", self.dir.path().display()))?;
        let placed = SystemTime::now();
        await_that(SETTLED * 2, || placed.elapsed().is_ok_and(|since| since > SETTLED));
        Ok(())
    }

    /// What the interface has carried so far.
    pub fn carried(&self) -> Result<ByteCount> {
        self.site.carried().ok_or_else(|| "the interface does not tell its bytes".to_owned())
    }

    /// Starts both.
    pub fn start(&mut self, way: Way) -> Result<Pair> {
        let server = self.serve()?;
        Ok(Pair { server, client: self.client(way)? })
    }

    /// Starts a server and waits until it listens.
    pub fn serve(&mut self) -> Result<Process> {
        self.port += 1;
        let script = r#"exec "$FLOE" serve root --listen "$ADDRESS" --state server"#;
        let mut command = self.site.command(End::Far, script, self.dir.path());
        let process = Process::start(self.with_words(&mut command), "serve", &self.at("serve.log"));
        let process = process?;
        process.listening(self.port, START)?;
        Ok(process)
    }

    /// Starts a client.
    pub fn client(&self, way: Way) -> Result<Process> {
        let script = match way {
            Way::Put => r#"exec "$FLOE" put -q source "floe://$ADDRESS/arrived""#,
            Way::Get => r#"exec "$FLOE" get -q "floe://$ADDRESS/file" near/arrived"#,
        };
        let ticket = self.at("server/owner.ticket");
        let ticket = fs::read_to_string(&ticket)
            .map_err(|error| format!("read {}: {error}", ticket.display()))?;
        let mut command = self.site.command(End::Near, script, self.dir.path());
        command.env("FLOE_TICKET", ticket.trim()).env("FLOE_STATE", "client");
        Process::start(self.with_words(&mut command), "floe", &self.at("client.log"))
    }

    fn with_words<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let address = format!("{}:{}", self.site.host, self.port);
        command.env("FLOE", &self.program).env("ADDRESS", address)
    }

    /// Mounts the directory anew and lets memory forget its files; nobody may use them.
    pub fn lose_power(&self) -> Result<()> {
        let wrong = |error| format!("mount {} anew: {error}", self.dir.path().display());
        forget(self.dir.path()).map_err(wrong)?;
        rustix::mount::unmount(self.dir.path(), rustix::mount::UnmountFlags::empty())
            .map_err(|error| wrong(error.into()))?;
        mount(self.dir.path()).map_err(wrong)
    }

    /// Looks at what arrived, and removes it.
    pub fn clear(&self, way: Way) -> Result<()> {
        let (source, arrived) = match way {
            Way::Put => (self.at("source"), self.at("root/arrived")),
            Way::Get => (self.at("root").join(NAME), self.at("near/arrived")),
        };
        content::same(&source, &arrived, Look::Lengths)?;
        fs::remove_file(&arrived).map_err(|e| format!("remove {}: {e}", arrived.display()))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.mounts == Mounts::Own {
            // The mount goes with this process in any case; the directory must not be busy.
            let detach = rustix::mount::UnmountFlags::DETACH;
            let _ = rustix::mount::unmount(self.dir.path(), detach);
        }
    }
}

impl Pair {
    /// Kills both, the receiver first.
    pub fn kill(self, way: Way) -> Result<()> {
        let (first, then) = match way {
            Way::Put => (self.server, self.client),
            Way::Get => (self.client, self.server),
        };
        first.kill()?;
        then.kill().map(drop)
    }
}

/// Mounts a directory on itself: another mount, the same files.
fn mount(dir: &Path) -> std::io::Result<()> {
    Ok(rustix::mount::mount_bind(dir, dir)?)
}

/// Writes every file below a directory to the disk, and lets memory forget it.
fn forget(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        return fs::read_dir(path)?.try_for_each(|entry| forget(&entry?.path()));
    }
    let file = File::open(path)?;
    file.sync_all()?;
    Ok(rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?)
}
