//! Children in a process group of their own: their end, what they used, how to end them. None
//! outlives the value that stands for it.

use crate::Result;
use crate::accounts::{self, ProcessId};
use crate::os::{self, Ended};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use rustix::process::{kill_process_group, pidfd_open, waitid};
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take to end when asked, before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How much of what a child said goes into an error.
const SAID_MAX: usize = 400;

/// A child and its group.
pub struct Process {
    pid: Pid,
    name: String,
    said: PathBuf,
    over: bool,
}

impl Process {
    /// Starts it; what it says goes to the file `said`.
    pub fn start(command: &mut Command, name: &str, said: &Path) -> Result<Self> {
        let file = |error: std::io::Error| format!("write {}: {error}", said.display());
        let output = File::create(said).map_err(file)?;
        let errors = output.try_clone().map_err(file)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(|error| format!("start {name}: {error}"))?;
        let (pid, said) = (Pid::from_child(&child), said.to_owned());
        Ok(Self { pid, name: name.to_owned(), said, over: false })
    }

    /// Its id.
    pub fn id(&self) -> ProcessId {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Whether it has ended and waits to be waited for.
    pub fn is_over(&self) -> bool {
        let over = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        !matches!(waitid(WaitId::Pid(self.pid), over), Ok(None))
    }

    /// Waits until it is over, or patience ends; without looking again and again.
    pub fn over_within(&self, patience: Duration) -> bool {
        let Ok(handle) = pidfd_open(self.pid, PidfdFlags::empty()) else {
            return await_that(patience, || self.is_over());
        };
        let begun = Instant::now();
        loop {
            let left = Timespec::try_from(patience.saturating_sub(begun.elapsed())).ok();
            let ended = poll(&mut [PollFd::new(&handle, PollFlags::IN)], left.as_ref());
            if ended != Err(Errno::INTR) {
                return self.is_over();
            }
        }
    }

    /// Waits until it listens on a port.
    pub fn listening(&self, port: u16, patience: Duration) -> Result<()> {
        let listens = await_that(patience, || accounts::listens(self.id(), port) || self.is_over());
        if listens && !self.is_over() {
            return Ok(());
        }
        Err(format!("{} does not listen on port {port}: {}", self.name, self.words()))
    }

    /// Waits for its end; a status other than 0 is an error.
    pub fn finish(self) -> Result<Ended> {
        let (name, said) = (self.name.clone(), self.said.clone());
        let ended = self.wait()?;
        if ended.status.success() {
            return Ok(ended);
        }
        Err(format!("{name} ended with {}: {}", ended.status, words(&said)))
    }

    /// Waits for its end, however that is.
    pub fn wait(mut self) -> Result<Ended> {
        let ended = os::wait(self.pid).map_err(|error| format!("wait for {}: {error}", self.name));
        self.over = true;
        ended
    }

    /// Kills it and its group, at once, and waits.
    pub fn kill(self) -> Result<Ended> {
        let _ = kill_process_group(self.pid, Signal::KILL);
        self.wait()
    }

    /// Asks it and its group to end, and kills them if they do not.
    pub fn end(self) -> Result<Ended> {
        let _ = kill_process_group(self.pid, Signal::TERM);
        await_that(PATIENCE, || self.is_over());
        self.kill()
    }

    /// The last words it said.
    pub fn words(&self) -> String {
        words(&self.said)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.over {
            let _ = kill_process_group(self.pid, Signal::KILL);
            let _ = os::wait(self.pid);
        }
    }
}

/// Looks until a condition holds, or patience ends; answers whether it holds.
pub fn await_that(patience: Duration, holds: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if begun.elapsed() > patience {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

fn words(said: &Path) -> String {
    let text = String::from_utf8_lossy(&fs::read(said).unwrap_or_default()).into_owned();
    let text = text.trim().replace(['\n', '\r'], " / ");
    let cut = text.len().saturating_sub(SAID_MAX);
    let start = (cut..text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    if text.is_empty() { "it said nothing".to_owned() } else { text[start..].to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str, dir: &Path) -> Process {
        let mut command = Command::new("sh");
        Process::start(command.args(["-c", script]), "sh", &dir.join("said")).unwrap()
    }

    #[test]
    fn a_failure_says_what_the_child_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = start("echo no room; exit 4", dir.path()).finish().unwrap_err();
        assert!(error.contains("exit status: 4") && error.contains("no room"), "{error}");
    }

    #[test]
    fn a_group_ends_whole() {
        let dir = tempfile::tempdir().unwrap();
        let process = start("cat /dev/zero > /dev/null & echo $!; wait", dir.path());
        let said = dir.path().join("said");
        assert!(await_that(PATIENCE, || fs::read(&said).is_ok_and(|text| !text.is_empty())));
        let inner: u32 = fs::read_to_string(&said).unwrap().trim().parse().unwrap();
        process.kill().unwrap();
        let gone = || {
            let stat = fs::read_to_string(format!("/proc/{inner}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        assert!(await_that(PATIENCE, gone));
    }
}
