//! One child: a process of the program under test, signalled, watched, and waited for in time.
//!
//! A signal is sent only while the process is not reaped, so no other process can have its number.
//! It is a process group of its own: Ctrl-C on the terminal does not reach it.

use crate::case::lock;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A child; killed when it is dropped.
pub(crate) struct Process {
    pid: Pid,
    life: Mutex<Life>,
    peak_kib: AtomicU64,
}

struct Life {
    child: Child,
    sent: Vec<Signal>,
    ended: Option<ExitStatus>,
}

/// Behind the name in /proc/PID/stat: the kernel's flags of a process (proc(5)).
const FLAGS_FIELD: usize = 6;
/// It was forked, and runs no program yet.
const FORK_NO_EXEC: u64 = 0x40;

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    /// With this status.
    Status(u8),
    /// By SIGKILL of ours.
    Killed,
    /// By a signal that nobody sent.
    Died(i32),
}

impl Process {
    /// Starts one.
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let child = command.process_group(0).spawn()?;
        let pid = Pid::from_child(&child);
        let life = Mutex::new(Life { child, sent: Vec::new(), ended: None });
        Ok(Self { pid, life, peak_kib: AtomicU64::new(0) })
    }

    /// Its pipes.
    pub(crate) fn pipes<T>(&self, take: impl FnOnce(&mut Child) -> T) -> T {
        take(&mut lock(&self.life).child)
    }

    /// Sends a signal, unless it is over.
    pub(crate) fn send(&self, signal: Signal) {
        let mut life = lock(&self.life);
        if life.ended.is_none() {
            self.sample();
            // A process that has just ended takes no signal and needs none.
            let _ = kill_process(self.pid, signal);
            life.sent.push(signal);
        }
    }

    /// Whether it was sent one of these.
    pub(crate) fn was_sent(&self, signals: &[Signal]) -> bool {
        lock(&self.life).sent.iter().any(|sent| signals.contains(sent))
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> io::Result<Option<Ended>> {
        let mut life = lock(&self.life);
        if life.ended.is_none() {
            self.sample();
            life.ended = life.child.try_wait()?;
        }
        Ok(life.ended.map(|status| match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Status(u8::try_from(code).unwrap_or(u8::MAX)),
            (None, Some(signal))
                if signal == Signal::KILL.as_raw() && life.sent.contains(&Signal::KILL) =>
            {
                Ended::Killed
            }
            (None, signal) => Ended::Died(signal.unwrap_or(0)),
        }))
    }

    /// Its peak of resident memory as far as it was seen, in bytes.
    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak_kib.load(Ordering::Relaxed) << 10
    }

    /// What it is doing, for who finds it stuck.
    pub(crate) fn doing(&self) -> String {
        let pid = self.pid.as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = |name: &str| status.lines().find(|line| line.starts_with(name));
        let state = line("State:").unwrap_or("State: unknown");
        let threads: Vec<String> = fs::read_dir(format!("/proc/{pid}/task"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|task| {
                let read = |file: &str| fs::read_to_string(task.path().join(file));
                let name = read("comm").unwrap_or_default();
                format!("{} in {}", name.trim(), read("wchan").unwrap_or_default())
            })
            .collect();
        format!("{state}; {}", threads.join(", "))
    }

    /// Until its program begins, a child has the memory of who started it.
    fn has_begun(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero()));
        let stat = stat.unwrap_or_default();
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let flags = fields.split_whitespace().nth(FLAGS_FIELD).and_then(|text| text.parse().ok());
        flags.is_some_and(|flags: u64| flags & FORK_NO_EXEC == 0)
    }

    fn sample(&self) {
        if !self.has_begun() {
            return;
        }
        let pid = self.pid.as_raw_nonzero();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
        self.peak_kib.fetch_max(kib.unwrap_or(0), Ordering::Relaxed);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.send(Signal::KILL);
        let mut life = lock(&self.life);
        if life.ended.is_none() {
            life.ended = life.child.wait().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(process: &Process) -> Ended {
        loop {
            if let Some(ended) = process.ended().unwrap() {
                return ended;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_memory_that_counts_is_of_a_program_that_runs() {
        let sleeping = Process::start(Command::new("sleep").arg("1000")).unwrap();
        while sleeping.peak_bytes() == 0 {
            assert_eq!(sleeping.ended().unwrap(), None);
        }
        // This process has some MiB more.
        assert!(sleeping.has_begun() && sleeping.peak_bytes() < 8 << 20);
        sleeping.send(Signal::KILL);
        assert_eq!(end(&sleeping), Ended::Killed);
        assert!(!sleeping.has_begun());
    }

    #[test]
    fn the_three_ends_are_told_apart() {
        let shell = |script: &str| Process::start(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(end(&shell("exit 7")), Ended::Status(7));
        assert_eq!(end(&shell("kill -SEGV $$")), Ended::Died(11));
        assert_eq!(end(&shell("kill -KILL $$")), Ended::Died(9));
        let sleeping = shell("exec sleep 1000");
        assert_eq!(sleeping.ended().unwrap(), None);
        sleeping.send(Signal::KILL);
        assert_eq!(end(&sleeping), Ended::Killed);
        assert!(sleeping.was_sent(&[Signal::KILL]) && !sleeping.was_sent(&[Signal::TERM]));
    }
}
