//! Children: their first line, their end, their processor time and memory, as /proc tells them.
//!
//! Processor time is read while the child is a zombie, when it is final, to the 10 ms of the
//! kernel's clock.

use crate::Result;
use floe_types::ByteCount;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// The kernel's clock ticks, in which /proc counts; 100 a second on every Linux that floe runs on.
const TICK: Duration = Duration::from_millis(10);

/// A child; killed when it is dropped.
pub struct Process {
    child: Child,
    pid: Pid,
    output: BufReader<ChildStdout>,
    name: String,
}

impl Process {
    /// Starts it with its standard output to be read here.
    pub fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_program().display().to_string();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("start {name}: {error}"))?;
        let output = child.stdout.take().ok_or("a child without standard output")?;
        let pid = Pid::from_child(&child);
        Ok(Self { child, pid, output: BufReader::new(output), name })
    }

    /// The address of its first line, `listening on ADDR:PORT`.
    pub fn listening(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(|error| error.to_string())?;
        line.trim_end()
            .strip_prefix("listening on ")
            .map(str::to_owned)
            .ok_or_else(|| format!("{} does not listen: {line:?}", self.name))
    }

    /// Processor time so far.
    pub fn cpu(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.pid.as_raw_nonzero());
        let stat = fs::read_to_string(&path).map_err(|error| format!("read {path}: {error}"))?;
        parse_cpu(&stat).ok_or_else(|| format!("read {path}: {stat:?}"))
    }

    /// Peak of resident memory so far.
    pub fn peak(&self) -> Option<ByteCount> {
        let path = format!("/proc/{}/status", self.pid.as_raw_nonzero());
        let status = fs::read_to_string(path).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
        Some(ByteCount(kib << 10))
    }

    /// Reads all it has to say, waits for its end, and answers that and its processor time.
    pub fn finish(mut self) -> Result<(String, Duration)> {
        let mut said = String::new();
        self.output.read_to_string(&mut said).map_err(|error| error.to_string())?;
        let over = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(self.pid), over).map_err(|error| format!("wait: {error}"))?;
        let cpu = self.cpu()?;
        let status = self.child.wait().map_err(|error| format!("wait: {error}"))?;
        if status.success() {
            Ok((said, cpu))
        } else {
            Err(format!("{} ended with {status}", self.name))
        }
    }

    /// Asks it to end (SIGTERM) and waits.
    pub fn end(self) -> Result<()> {
        kill_process(self.pid, Signal::TERM).map_err(|error| format!("end: {error}"))?;
        self.finish().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // One that is over already has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Fields 14 and 15, counted from behind the name, which may hold anything.
fn parse_cpu(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u32 = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u32>().ok())
        .sum::<Option<u32>>()?;
    Some(TICK * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_user_and_system() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 100 0 0 0 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_cpu("7 x"), None);
    }
}
