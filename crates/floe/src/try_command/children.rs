//! Processes of this very program that end with this command: one server, one client at a time.
//!
//! They are process groups of their own, so that Ctrl-C on the terminal reaches only this command,
//! which then kills them. A process is killed only while it is registered, and it is reaped only
//! after it is not: no other process can have its number.

use crate::event::code_name;
use crate::fault::{Failure, Result, of_path};
use floe_types::{ByteCount, Code, Escaped};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// The longest line a child may write.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Who runs now.
#[derive(Clone, Default)]
pub struct Children(Arc<Mutex<Registry>>);

#[derive(Default)]
struct Registry {
    running: Vec<Pid>,
    phase: Phase,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    #[default]
    Wanted,
    Interrupted,
}

/// The server.
pub struct Server {
    process: Process,
    address: String,
    ticket: String,
}

/// How clients are run.
pub struct Client {
    children: Children,
    program: PathBuf,
    address: String,
    ticket: String,
    state: PathBuf,
    log: PathBuf,
    verbose: u8,
}

/// What to do with a client after an event of its.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Nothing.
    GoOn,
    /// Kill it (SIGKILL).
    Kill,
}

/// How a client ended.
pub enum End {
    /// With status 0 and this summary.
    Finished {
        /// Its last event.
        summary: Value,
        /// Its whole life, from start to exit.
        elapsed: Duration,
    },
    /// By our hand.
    Killed,
}

impl Children {
    /// Kills all that run, and lets none begin.
    pub fn kill(&self) {
        let mut registry = self.lock();
        registry.phase = Phase::Interrupted;
        for pid in &registry.running {
            // One that is over already is as good.
            let _ = kill_process(*pid, Signal::KILL);
        }
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// `Interrupted` after `kill`.
    pub fn check_wanted(&self) -> Result<()> {
        match self.lock().phase {
            Phase::Wanted => Ok(()),
            Phase::Interrupted => Err(Failure::new(Code::Interrupted, "")),
        }
    }

    fn start(&self, command: &mut Command) -> Result<Process> {
        let mut registry = self.lock();
        if registry.phase == Phase::Interrupted {
            return Err(Failure::new(Code::Interrupted, ""));
        }
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .env_remove("FLOE_KEY")
            .spawn()
            .map_err(|error| of_path("start", Path::new(command.get_program()), &error))?;
        let pid = Pid::from_child(&child);
        registry.running.push(pid);
        Ok(Process { children: self.clone(), child, pid, ended: None })
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One child; killed when it is dropped.
struct Process {
    children: Children,
    child: Child,
    pid: Pid,
    ended: Option<ExitStatus>,
}

impl Process {
    fn kill(&self) {
        let _ = kill_process(self.pid, Signal::KILL);
    }

    /// Waits for the end, then takes the number back.
    fn wait(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended {
            return Ok(status);
        }
        let wrong = |error: std::io::Error| Failure::new(Code::Other, format!("wait: {error}"));
        let over = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(errno) = waitid(WaitId::Pid(self.pid), over) {
            if errno != rustix::io::Errno::INTR {
                return Err(wrong(errno.into()));
            }
        }
        let mut registry = self.children.lock();
        registry.running.retain(|pid| *pid != self.pid);
        let status = self.child.wait().map_err(wrong)?;
        self.ended = Some(status);
        Ok(status)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
            let _ = self.wait();
        }
    }
}

impl Server {
    /// Starts one over `dir/served` on a free port of the loopback interface.
    ///
    /// # Errors
    /// What it says itself where it does not start; the system's.
    pub fn start(children: &Children, dir: &Path) -> Result<Self> {
        let (served, state, log) =
            (dir.join("served"), dir.join("server-state"), dir.join("server.log"));
        fs::create_dir(&served).map_err(|error| of_path("make the directory", &served, &error))?;
        let log_file = File::create(&log).map_err(|error| of_path("write", &log, &error))?;
        let mut command = Command::new(program()?);
        command.arg("serve").arg(&served).args(["--json", "--listen", "127.0.0.1:0", "--state"]);
        let mut process = children.start(command.arg(&state).stderr(log_file))?;
        let said = match process.child.stdout.take() {
            Some(output) => line(&mut BufReader::new(output))?,
            None => None,
        };
        let event: Value = serde_json::from_str(&said.unwrap_or_default()).unwrap_or_default();
        let Some(address) = event["address"].as_str().map(str::to_owned) else {
            children.check_wanted()?;
            return Err(failure_of("start a server", &event, &log));
        };
        let ticket_file = state.join("owner.ticket");
        let ticket = fs::read_to_string(&ticket_file)
            .map_err(|error| of_path("read", &ticket_file, &error))?;
        Ok(Self { process, address, ticket: ticket.trim().to_owned() })
    }

    /// Its peak of resident memory so far, if the system says.
    pub fn peak_rss_bytes(&self) -> Option<ByteCount> {
        let pid = self.process.pid.as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        crate::event::parse_peak(&status).map(ByteCount)
    }

    /// Ends it as an operator does (SIGTERM); one that does not end in time is killed.
    ///
    /// # Errors
    /// `Other` where it had to be killed or ended with another status than 0.
    pub fn end(mut self, patience: Duration) -> Result<()> {
        let _ = kill_process(self.process.pid, Signal::TERM);
        let (pid, children) = (self.process.pid, self.process.children.clone());
        let (over, watched) = std::sync::mpsc::channel::<()>();
        let watch = thread::spawn(move || {
            let late = watched.recv_timeout(patience).is_err();
            if late && children.lock().running.contains(&pid) {
                let _ = kill_process(pid, Signal::KILL);
            }
        });
        let status = self.process.wait();
        let _ = over.send(());
        let _ = watch.join();
        match status? {
            status if status.success() => Ok(()),
            status => Err(Failure::new(Code::Other, format!("the server ended badly ({status})"))),
        }
    }
}

impl Client {
    /// For a server, with a state directory in `dir`; each says as much as was asked of this
    /// command.
    ///
    /// # Errors
    /// The system's, where it does not know this program.
    pub fn new(children: &Children, server: &Server, dir: &Path, verbose: u8) -> Result<Self> {
        Ok(Self {
            children: children.clone(),
            program: program()?,
            address: server.address.clone(),
            ticket: server.ticket.clone(),
            state: dir.join("client-state"),
            log: dir.join("client.log"),
            verbose,
        })
    }

    /// The remote name of a path on the server.
    pub fn url(&self, path: &str) -> OsString {
        format!("floe://{}/{path}", self.address).into()
    }

    /// Runs one to its end; `on_event` sees its events as they come. What it says to people is
    /// shown only where that was asked for.
    ///
    /// # Errors
    /// Its own failure, with its code and words; the system's.
    pub fn run(&self, args: &[OsString], on_event: &mut dyn FnMut(&Value) -> Then) -> Result<End> {
        let begun = Instant::now();
        let mut command = Command::new(&self.program);
        command.args(args).arg("--json").args((0..self.verbose).map(|_| "-v"));
        command.env("FLOE_TICKET", &self.ticket).env("FLOE_STATE", &self.state);
        if self.verbose == 0 {
            let log =
                File::create(&self.log).map_err(|error| of_path("write", &self.log, &error))?;
            command.stderr(log);
        }
        let mut process = self.children.start(&mut command)?;
        let (mut last, mut asked) = (Value::Null, Then::GoOn);
        if let Some(output) = process.child.stdout.take() {
            let mut lines = BufReader::<ChildStdout>::new(output);
            while let Some(text) = line(&mut lines)? {
                let event: Value = serde_json::from_str(&text).unwrap_or_default();
                if asked == Then::GoOn && on_event(&event) == Then::Kill {
                    process.kill();
                    asked = Then::Kill;
                }
                if event["event"] == "summary" || event["event"] == "error" {
                    last = event;
                }
            }
        }
        let (status, elapsed) = (process.wait()?, begun.elapsed());
        self.children.check_wanted()?;
        let verb = args.first().map_or(OsStr::new(""), OsString::as_os_str).display();
        match status.code() {
            Some(0) => Ok(End::Finished { summary: last, elapsed }),
            None if asked == Then::Kill => Ok(End::Killed),
            _ => Err(failure_of(&format!("floe {verb} ({status})"), &last, &self.log)),
        }
    }
}

/// Why a child failed: what it told programs, or else the last line it said.
fn failure_of(doing: &str, event: &Value, log: &Path) -> Failure {
    let known = |name| Code::ALL.iter().find(|code| code_name(**code) == name);
    if let (Some(code), Some(error)) =
        (event["code"].as_str().and_then(known), event["error"].as_str())
    {
        let detail = format!("{doing}: {}", error.strip_suffix(code.text()).unwrap_or(error));
        let hint = event["hint"].as_str().unwrap_or_default();
        return Failure::hinted(*code, detail.trim_end_matches(": "), hint);
    }
    let log = fs::read_to_string(log).unwrap_or_default();
    let last = log.lines().last().unwrap_or("it said nothing");
    Failure::new(Code::Other, format!("{doing}: {}", Escaped(last.as_bytes())))
}

/// This very program.
fn program() -> Result<PathBuf> {
    std::env::current_exe()
        .map_err(|error| Failure::new(Code::Other, format!("find this program: {error}")))
}

/// The next line without its end; `None` at the end of all.
fn line(from: &mut impl BufRead) -> Result<Option<String>> {
    let mut text = String::new();
    let read = from
        .take(LINE_BYTES_MAX)
        .read_line(&mut text)
        .map_err(|error| Failure::new(Code::Other, format!("read what a child says: {error}")))?;
    Ok((read > 0).then(|| text.trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_child_fails_with_its_own_code_words_and_hint() {
        let log = Path::new("/none");
        let event = json!({"event": "error", "code": "no_space", "hint": "make room",
            "error": "write \"a\": no space left"});
        let failure = failure_of("floe put", &event, log);
        assert_eq!(failure.code(), Code::NoSpace);
        assert_eq!(failure.to_string(), "floe put: write \"a\": no space left (make room)");
        let bare = json!({"code": "interrupted", "error": "interrupted", "hint": ""});
        assert_eq!(failure_of("floe put", &bare, log).to_string(), "floe put: interrupted");
        let silent = failure_of("floe put", &Value::Null, log);
        assert_eq!(silent.to_string(), "floe put: it said nothing: failed");
    }
}
