//! What Ctrl-C, SIGTERM and a terminal that is closed (SIGHUP) mean. To a server that has something
//! to read again, SIGHUP means that.
//!
//! The first asks: a transfer takes a checkpoint and ends, a server drains. The second ends the
//! process at once with status 130, and so does a command that has not ended five seconds after the
//! first; the crash contract holds either way. Before there is anything to keep, the first one ends
//! at once too.
//!
//! They are heard on a thread of its own, which waits for nothing else: not for a terminal that
//! takes no more lines, nor for a peer, nor for whatever the command does just then.

use crate::exit::exit;
use crate::fault::{Failure, Result};
use floe_types::{Code, Fault};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::future::Future;
use std::io;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::timeout;

/// Hears the signals that ask for an end.
pub struct Signals {
    heard: watch::Receiver<u32>,
    seen: u32,
    last: LastDeed,
}

/// What a command makes of signals.
#[derive(Debug)]
pub enum Manner {
    /// The first asks, and has five seconds; the second ends the process.
    Command,
    /// The first asks, and takes its time; the second ends the process.
    /// Where a sender is, SIGHUP does not ask: it has files read again.
    Server(Option<Sender<()>>),
    /// The first asks, the second asks again, the third ends the process.
    Listener,
}

type LastDeed = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

/// How long a command may take to end once it is asked to.
const PATIENCE: Duration = Duration::from_secs(5);

impl Signals {
    /// Listens from now on, as a command does.
    ///
    /// # Errors
    /// The system's.
    pub fn listen() -> Result<Self> {
        Self::listen_as(Manner::Command)
    }

    /// Listens from now on.
    ///
    /// # Errors
    /// The system's.
    pub fn listen_as(manner: Manner) -> Result<Self> {
        let fault = |error: io::Error| Fault::new(Code::Other, format!("hear signals: {error}"));
        let runtime = Builder::new_current_thread().enable_all().build().map_err(fault)?;
        let within = runtime.enter();
        let sources = Sources {
            interrupt: signal(SignalKind::interrupt()).map_err(fault)?,
            terminate: signal(SignalKind::terminate()).map_err(fault)?,
            // Who was started to outlive the terminal (nohup) does.
            hang_up: match is_ignored(SignalKind::hangup()) {
                true => None,
                false => Some(signal(SignalKind::hangup()).map_err(fault)?),
            },
        };
        drop(within);
        let (tell, heard) = watch::channel(0);
        let last = LastDeed::default();
        let deed = Arc::clone(&last);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                let end = runtime.block_on(sources.hear(manner, &tell));
                end_now(end, &deed);
            })
            .map_err(fault)?;
        Ok(Self { heard, seen: 0, last })
    }

    /// What is still done where a signal ends the process; it must not wait for anything.
    pub fn before_the_end(&self, deed: impl FnOnce() + Send + 'static) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(deed));
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        let seen = self.seen;
        if self.heard.wait_for(|heard| *heard > seen).await.is_err() {
            // The thread is about to end the process.
            std::future::pending::<()>().await;
        }
        self.seen += 1;
    }

    /// Runs work that leaves nothing behind: a signal gives it up.
    ///
    /// # Errors
    /// The work's own, or `Interrupted`.
    pub async fn or<T, E>(
        &mut self,
        work: impl Future<Output = std::result::Result<T, E>>,
    ) -> Result<T>
    where
        Failure: From<E>,
    {
        tokio::select! {
            done = work => Ok(done?),
            () = self.next() => Err(Failure::hinted(
                Code::Interrupted,
                "",
                "nothing was begun",
            )),
        }
    }
}

struct Sources {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Option<Signal>,
}

/// Why the process ends here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// It was told to, once more than it may be asked.
    Told,
    /// It was asked, and did not.
    Late,
}

impl Sources {
    /// Tells of every signal until one means the end of the process.
    async fn hear(mut self, manner: Manner, tell: &watch::Sender<u32>) -> End {
        let (asked_max, patience, reload) = match manner {
            Manner::Command => (1, Some(PATIENCE), None),
            Manner::Server(reload) => (1, None, reload),
            Manner::Listener => (2, None, None),
        };
        let reload = reload.as_ref();
        for _ in 0..asked_max {
            self.next(reload).await;
            tell.send_modify(|heard| *heard += 1);
        }
        match patience {
            Some(patience) if timeout(patience, self.next(reload)).await.is_err() => End::Late,
            Some(_) => End::Told,
            None => {
                self.next(reload).await;
                End::Told
            }
        }
    }

    async fn next(&mut self, reload: Option<&Sender<()>>) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                Some(_) = hear(self.hang_up.as_mut()) => match reload {
                    // Nobody reads any more where that thread failed.
                    Some(reload) => drop(reload.send(())),
                    None => return,
                },
            }
        }
    }
}

async fn hear(source: Option<&mut Signal>) -> Option<()> {
    source?.recv().await
}

/// Whether whoever started this process wants it to ignore a signal.
fn is_ignored(kind: SignalKind) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (kind.as_raw_value() - 1)) != 0
}

fn end_now(end: End, last: &LastDeed) -> ! {
    let deed = last.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(deed) = deed {
        deed();
    }
    if end == End::Late {
        say_if_heard(&format!("floe: {}\n", Failure::new(Code::Interrupted, "")));
    }
    exit(Code::Interrupted.exit_status())
}

/// Says a line on standard error, unless that would wait: what holds the command up may be this.
fn say_if_heard(line: &str) {
    let stderr = io::stderr();
    let mut fds = [PollFd::new(&stderr, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    if poll(&mut fds, Some(&now)) == Ok(1) && fds[0].revents().contains(PollFlags::OUT) {
        // Nobody is left to tell if that fails. Not by way of the lock: another thread may hold it.
        let _ = rustix::io::write(&stderr, line.as_bytes());
    }
}
