//! One run of a command: its events, its end, and what it moved by way of a pipe.

use crate::case::{Case, lock};
use crate::process::{Ended, Process};
use serde_json::Value;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// How clients are run.
pub(crate) struct Clients {
    /// The program under test.
    pub(crate) program: PathBuf,
    /// What lets them in.
    pub(crate) ticket: String,
    /// Their state directory.
    pub(crate) state: PathBuf,
}

/// Which way bytes go through pipes.
#[derive(Clone, Debug)]
pub(crate) enum Piped {
    /// None.
    No,
    /// This file's bytes go to standard input.
    Fed(PathBuf),
    /// What comes from standard output has to be this file's bytes.
    Drawn(PathBuf),
}

/// One run.
pub(crate) struct Run {
    /// The process.
    pub(crate) process: Process,
    heard: Arc<Heard>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What it said so far.
#[derive(Default)]
pub(crate) struct Heard {
    said: Mutex<Said>,
    /// Bytes on standard output that were right, and whether all were.
    pub(crate) drawn: AtomicU64,
    wrong: AtomicU64,
}

/// Events that are looked at.
#[derive(Clone, Default, Debug)]
pub(crate) struct Said {
    /// The last one with sums.
    pub(crate) progress: Value,
    /// The summary.
    pub(crate) summary: Value,
    /// Why it failed.
    pub(crate) error: Value,
    /// A line that no program should say.
    pub(crate) panic: Option<String>,
    /// The last line that is no event.
    pub(crate) line: String,
}

/// A number of an event; 0 where it has none.
pub(crate) fn number(event: &Value, name: &str) -> u64 {
    event[name].as_u64().unwrap_or(0)
}

impl Clients {
    /// Starts a command.
    pub(crate) fn start(
        &self,
        case: &Arc<Case>,
        args: &[OsString],
        piped: &Piped,
        log: &Path,
    ) -> io::Result<Run> {
        let mut command = Command::new(&self.program);
        command.args(args).arg("--json");
        for name in ["FLOE_KEY", "XDG_STATE_HOME"] {
            command.env_remove(name);
        }
        command.env("FLOE_TICKET", &self.ticket).env("FLOE_STATE", &self.state);
        let fed = matches!(piped, Piped::Fed(_));
        command.stdin(if fed { Stdio::piped() } else { Stdio::null() });
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let log = File::options().append(true).create(true).open(log)?;
        let process = Process::start(&mut command)?;
        let pipes =
            process.pipes(|child| (child.stdin.take(), child.stdout.take(), child.stderr.take()));
        let heard = Arc::new(Heard::default());
        let mut threads = Vec::new();
        let mut spawn = |work: Box<dyn FnOnce() + Send>| -> io::Result<()> {
            threads.push(thread::Builder::new().spawn(work)?);
            Ok(())
        };
        if let (Some(mut input), Piped::Fed(file)) = (pipes.0, piped) {
            let mut file = File::open(file)?;
            // A command that ends early takes no more; its status says why.
            spawn(Box::new(move || drop(io::copy(&mut file, &mut input))))?;
        }
        if let Some(output) = pipes.1 {
            let heard = Arc::clone(&heard);
            match piped {
                Piped::Drawn(file) => {
                    let expected = File::open(file)?;
                    spawn(Box::new(move || heard.draw(output, expected)))?;
                }
                _ => {
                    let log = log.try_clone()?;
                    spawn(Box::new(move || heard.listen(output, log)))?;
                }
            }
        }
        if let Some(errors) = pipes.2 {
            let heard = Arc::clone(&heard);
            spawn(Box::new(move || heard.listen(errors, log)))?;
        }
        case.count("commands run");
        let threads = Mutex::new(threads);
        Ok(Run { process, heard, threads })
    }
}

impl Run {
    /// Waits for its end; `None` where it became too late.
    pub(crate) fn wait(&self, late: &mut dyn FnMut() -> bool) -> io::Result<Option<Ended>> {
        loop {
            if let Some(ended) = self.process.ended()? {
                return Ok(Some(ended));
            }
            if late() {
                return Ok(None);
            }
            thread::sleep(crate::case::TICK);
        }
    }

    /// What it said in all, once it is over.
    pub(crate) fn said(&self) -> Said {
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            let _ = thread.join();
        }
        lock(&self.heard.said).clone()
    }

    /// How many bytes came on standard output: all of them right, or not.
    pub(crate) fn drawn(&self) -> Result<u64, u64> {
        match self.heard.wrong.load(Ordering::Acquire) {
            0 => Ok(self.heard.drawn.load(Ordering::Acquire)),
            _ => Err(self.heard.drawn.load(Ordering::Acquire)),
        }
    }
}

impl Heard {
    /// Reads events and lines to their end.
    fn listen(&self, from: impl Read, mut log: File) {
        let mut lines = BufReader::new(from);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let _ = log.write_all(&line);
            let mut said = lock(&self.said);
            match serde_json::from_slice::<Value>(&line) {
                Ok(event) => match event["event"].as_str() {
                    Some("progress") => said.progress = event,
                    Some("summary") => said.summary = event,
                    Some("error") => said.error = event,
                    _ => {}
                },
                Err(_) => {
                    said.panic = said.panic.take().or(crate::server::panic_of(&line));
                    said.line = floe_types::Escaped(line.trim_ascii_end()).to_string();
                }
            }
        }
    }

    /// Compares what comes with what it has to be.
    fn draw(&self, mut from: impl Read, mut expected: File) {
        let (mut part, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
        while let Ok(len @ 1..) = from.read(&mut part) {
            let same =
                expected.read_exact(&mut right[..len]).is_ok() && part[..len] == right[..len];
            if !same {
                self.wrong.store(1, Ordering::Release);
            }
            self.drawn.fetch_add(len as u64, Ordering::AcqRel);
        }
    }
}

/// The longest event.
const LINE_BYTES_MAX: u64 = 1 << 20;
