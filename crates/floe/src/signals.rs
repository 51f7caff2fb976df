//! What Ctrl-C and SIGTERM mean.
//!
//! The first asks: a transfer takes a checkpoint and ends, a server drains. The second ends the
//! process at once with status 130; the crash contract holds either way. Before there is anything
//! to keep, the first one ends at once too.

use crate::fault::{Failure, Result};
use floe_types::{Code, Fault};
use std::future::Future;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Hears the signals that ask for an end.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// The system's.
    pub fn listen() -> Result<Self> {
        let hear = |kind| {
            signal(kind).map_err(|error| Fault::new(Code::Other, format!("hear signals: {error}")))
        };
        Ok(Self {
            interrupt: hear(SignalKind::interrupt())?,
            terminate: hear(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
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

/// Ends the process as a second Ctrl-C does.
pub fn exit_at_once() -> ! {
    std::process::exit(i32::from(Code::Interrupted.exit_status()))
}
