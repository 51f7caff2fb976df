//! The server of a round: started, killed, ended and started again over the same directory.

use crate::breach::Promise;
use crate::case::{Awake, Case, TICK, lock};
use crate::process::{Ended, Process};
use crate::proxy::Door;
use floe_types::Escaped;
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How a server is run.
pub(crate) struct Serving {
    /// The program under test.
    pub(crate) program: PathBuf,
    /// What it serves.
    pub(crate) served: PathBuf,
    /// Its state directory.
    pub(crate) state: PathBuf,
    /// Where what it says goes.
    pub(crate) log: PathBuf,
    /// `--memory`, in bytes.
    pub(crate) memory: u64,
    /// Whether connections are encrypted.
    pub(crate) wire: Wire,
}

/// Whether connections are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wire {
    Tls,
    Plain,
}

/// Where servers stand one after the other.
pub(crate) struct Seat {
    case: Arc<Case>,
    serving: Serving,
    door: Door,
    running: Mutex<Option<Process>>,
    /// Servers that were asked to end and let their clients finish.
    draining: Mutex<Vec<JoinHandle<()>>>,
}

/// A server drains for 30 s, then has 10 s for checkpoints.
const DRAIN: Duration = Duration::from_secs(45);
/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(30);

impl Seat {
    /// Starts the first server.
    pub(crate) fn start(case: &Arc<Case>, serving: Serving) -> io::Result<Self> {
        let seat = Self {
            case: Arc::clone(case),
            serving,
            door: Door::default(),
            running: Mutex::default(),
            draining: Mutex::default(),
        };
        seat.begin()?;
        Ok(seat)
    }

    /// Where it listens, whichever it is.
    pub(crate) fn door(&self) -> Door {
        Arc::clone(&self.door)
    }

    /// The owner ticket.
    pub(crate) fn ticket(&self) -> io::Result<String> {
        Ok(fs::read_to_string(self.serving.state.join("owner.ticket"))?.trim().to_owned())
    }

    /// Starts a server; whoever comes is led to it.
    pub(crate) fn begin(&self) -> io::Result<()> {
        let Serving { program, served, state, log, memory, wire } = &self.serving;
        let log_file = File::options().append(true).create(true).open(log)?;
        let mut command = Command::new(program);
        command.arg("serve").arg(served).args(["--listen", "127.0.0.1:0", "--state"]).arg(state);
        command.args(["--memory", &memory.to_string()]);
        if *wire == Wire::Plain {
            command.arg("--plaintext");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log_file);
        let process = Process::start(&mut command)?;
        let output = process.pipes(|child| child.stdout.take());
        let Some(port) = output.and_then(port_of) else {
            self.case.breach(Promise::Continues, format!("no server starts: {}", self.last_line()));
            return Ok(());
        };
        self.case.note(&format_args!("server listens at {port}"));
        self.door.store(port, Ordering::Release);
        *lock(&self.running) = Some(process);
        Ok(())
    }

    /// SIGKILL, and nobody is there for a while.
    pub(crate) fn kill(&self, down: Duration) -> io::Result<()> {
        self.door.store(0, Ordering::Release);
        if let Some(process) = lock(&self.running).take() {
            process.send(Signal::KILL);
            self.judge(&process, START, "killed")?;
        }
        self.case.pause(down);
        self.begin()
    }

    /// SIGTERM; the next one stands beside it while it drains.
    pub(crate) fn hand_over(self: &Arc<Self>) -> io::Result<()> {
        let old = lock(&self.running).take();
        self.begin()?;
        if let Some(old) = old {
            // One that stands still would never hear of it.
            old.send(Signal::CONT);
            old.send(Signal::TERM);
            let seat = Arc::clone(self);
            lock(&self.draining).push(thread::Builder::new().spawn(move || {
                let _ = seat.judge(&old, DRAIN, "ended");
            })?);
        }
        Ok(())
    }

    /// Stops or continues it.
    pub(crate) fn send(&self, signal: Signal) {
        if let Some(process) = lock(&self.running).as_ref() {
            process.send(signal);
        }
    }

    /// Ends it in good order, and waits for all that drain.
    pub(crate) fn end(&self) -> io::Result<()> {
        self.door.store(0, Ordering::Release);
        if let Some(process) = lock(&self.running).take() {
            process.send(Signal::CONT);
            process.send(Signal::TERM);
            self.judge(&process, DRAIN, "ended")?;
        }
        for drained in std::mem::take(&mut *lock(&self.draining)) {
            let _ = drained.join();
        }
        let said = fs::read(&self.serving.log)?;
        if let Some(line) = panic_of(&said) {
            self.case.breach(Promise::Told, format!("the server said {line}"));
        }
        Ok(())
    }

    /// Whether it ends as it was told to, in time.
    fn judge(&self, process: &Process, patience: Duration, told: &str) -> io::Result<()> {
        let mut awake = Awake::begin();
        let ended = loop {
            match process.ended()? {
                Some(ended) => break Some(ended),
                None if awake.elapsed() >= patience => break None,
                None => thread::sleep(TICK),
            }
        };
        self.case.peak(SERVER_PEAK, process.peak_bytes());
        if process.peak_bytes() > self.serving.memory.max(MEMORY_BYTES) {
            let (peak, memory) = (process.peak_bytes(), self.serving.memory);
            let seen = format!("a server with --memory {memory} came to {peak} bytes");
            self.case.breach(Promise::Bounded, seen);
        }
        let wrong = match ended {
            Some(Ended::Killed | Ended::Status(0)) => return Ok(()),
            Some(other) => {
                format!("a server that was {told} ended as {other:?}: {}", self.last_line())
            }
            None => {
                format!("a server that was {told} is stuck after {patience:?}: {}", process.doing())
            }
        };
        self.case.breach(Promise::Told, wrong);
        Ok(())
    }

    fn last_line(&self) -> String {
        let said = fs::read(&self.serving.log).unwrap_or_default();
        let last = said.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty());
        Escaped(last.unwrap_or(b"it said nothing")).to_string()
    }
}

/// What the largest resident memory of a server is counted as.
pub(crate) const SERVER_PEAK: &str = "server memory, bytes";
/// What no child may need more than.
pub(crate) const MEMORY_BYTES: u64 = 128 << 20;

/// The line of a panic, if there is one.
pub(crate) fn panic_of(said: &[u8]) -> Option<String> {
    let line = said.split(|byte| *byte == b'\n').find(|line| {
        let of = b"panicked at";
        line.windows(of.len()).any(|part| part == of)
    })?;
    Some(Escaped(line).to_string())
}

/// The port in the first line that a server says, in time.
fn port_of(output: ChildStdout) -> Option<u16> {
    let (told, heard) = std::sync::mpsc::channel();
    thread::Builder::new()
        .spawn(move || {
            let mut lines = BufReader::new(output).lines();
            // Nobody listens any more only where it was too late.
            let _ = told.send(lines.next().and_then(Result::ok));
        })
        .ok()?;
    let line = heard.recv_timeout(START).ok()??;
    line.rsplit(':').next()?.parse().ok()
}
