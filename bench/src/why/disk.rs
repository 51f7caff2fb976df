//! A slow disk: a program whose reads or writes take as long as the disk would.
//!
//! The program asks before each of its calls, and goes on when the disk has moved the bytes of
//! those before it: one call after the other. Nothing that it reads is in memory already: a read
//! that would wait for no device is told that it would have to. The bytes themselves lie in memory.

use crate::Result;
use crate::os::{self, LISTENER, Reply, Wanted};
use crate::process::Process;
use floe_types::ByteCount;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// What is slow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moves {
    /// Reading.
    Reads,
    /// Writing.
    Writes,
}

const READS: &[libc::c_long] = &[libc::SYS_pread64, libc::SYS_preadv, libc::SYS_preadv2];
const WRITES: &[libc::c_long] = &[libc::SYS_pwrite64];
/// How often the end is looked for where nothing is asked.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// Has a command ask, which `SlowDisk::behind` then answers.
pub fn slow(command: &mut Command, moves: Moves) {
    let calls = if moves == Moves::Reads { READS } else { WRITES };
    os::ask_before(command, calls);
}

/// The disk behind a program, for as long as this lives.
pub struct SlowDisk {
    over: Arc<AtomicBool>,
    serving: Option<JoinHandle<()>>,
}

impl SlowDisk {
    /// One that moves so many bytes a second.
    pub fn behind(process: &Process, rate: ByteCount) -> Result<Self> {
        let wrong = |error| format!("stand in for a disk: {error}");
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or("a process without a number")?;
        let handle = pidfd_open(pid, PidfdFlags::empty()).map_err(wrong)?;
        let listener = pidfd_getfd(&handle, LISTENER, PidfdGetfdFlags::empty()).map_err(wrong)?;
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let serving = thread::spawn(move || serve(&listener, rate, &told));
        Ok(Self { over, serving: Some(serving) })
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Release);
        if let Some(serving) = self.serving.take() {
            let _ = serving.join();
        }
    }
}

fn serve(listener: &OwnedFd, rate: ByteCount, over: &AtomicBool) {
    let mut free_at = Instant::now();
    while !over.load(Ordering::Acquire) {
        let mut asked = [PollFd::new(listener, PollFlags::IN)];
        let ready = poll(&mut asked, Some(&LOOK));
        let events = asked[0].revents();
        if events.contains(PollFlags::HUP) {
            return; // Nobody is left who could ask.
        }
        if ready != Ok(1) || !events.contains(PollFlags::IN) {
            continue;
        }
        // Whoever asked may have been killed since.
        let Ok(wanted) = os::next_wanted(listener.as_fd()) else { continue };
        let reply = reply_to(wanted);
        if reply == Reply::Go {
            let micros = wanted.third.saturating_mul(1_000_000) / rate.0.max(1);
            free_at = free_at.max(Instant::now()) + Duration::from_micros(micros);
            thread::sleep(free_at.saturating_duration_since(Instant::now()));
        }
        os::answer(listener.as_fd(), wanted, reply);
    }
}

fn reply_to(wanted: Wanted) -> Reply {
    match wanted.call {
        libc::SYS_pread64 | libc::SYS_pwrite64 => Reply::Go,
        _ => Reply::Fail(libc::EAGAIN),
    }
}
