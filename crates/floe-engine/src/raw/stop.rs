//! Ends a listener, a transfer and every wait of theirs: first no new connections, then none at
//! all.
//!
//! A connection is known here while its `Present` lives. Cutting shuts its socket down, which wakes
//! the thread that waits on it; that thread then cleans up as after any other loss.

use floe_store::disk::DiskError;
use floe_types::{Code, Fault};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{BorrowedFd, OwnedFd};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How far the end has come.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Running,
    Draining,
    Cut,
}

/// A switch that several threads share: `drain`, then `cut`. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    wake: OwnedFd,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    next: u64,
    present: BTreeMap<u64, Arc<TcpStream>>,
    /// Connections that are closed, and whose end is still being told.
    telling: usize,
}

/// The end of a connection while it is told; dropping it says that it was.
#[derive(Debug)]
pub(super) struct Telling(Stop);

/// A connection while it lasts; dropping it says that it is gone.
#[derive(Debug)]
pub(super) struct Present {
    stop: Stop,
    key: u64,
    stream: Arc<TcpStream>,
}

impl Stop {
    /// A switch that is not thrown.
    ///
    /// # Errors
    /// `LimitExceeded` where no more descriptors can be had.
    pub fn new() -> Result<Self, Fault> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| DiskError::from(errno).fault("make an event descriptor"))?;
        let state = State { phase: Phase::Running, next: 0, present: BTreeMap::new(), telling: 0 };
        Ok(Self(Arc::new(Shared { wake, state: Mutex::new(state) })))
    }

    /// Lets no connection in any more; those there may end by themselves.
    pub fn drain(&self) {
        let mut state = self.lock();
        state.phase = state.phase.max(Phase::Draining);
        drop(state);
        self.wake();
    }

    /// Shuts every connection down, now and as they come.
    pub fn cut(&self) {
        let mut state = self.lock();
        state.phase = Phase::Cut;
        for stream in state.present.values() {
            // A socket that is already down is what is wanted.
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(state);
        self.wake();
    }

    /// How many connections there are, those included whose end is not told yet.
    #[must_use]
    pub fn connections(&self) -> usize {
        let state = self.lock();
        state.present.len() + state.telling
    }

    /// Whether `cut` was called.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.lock().phase == Phase::Cut
    }

    /// A failure after `cut` is the interruption itself.
    pub(super) fn blamed<T>(&self, result: Result<T, Fault>) -> Result<T, Fault> {
        result.map_err(|fault| {
            if self.is_cut() { Fault::new(Code::Interrupted, fault.detail) } else { fault }
        })
    }

    pub(super) fn is_draining(&self) -> bool {
        self.lock().phase >= Phase::Draining
    }

    pub(super) fn enter(&self, stream: TcpStream) -> Present {
        let stream = Arc::new(stream);
        let mut state = self.lock();
        if state.phase == Phase::Cut {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let key = state.next;
        state.next += 1;
        state.present.insert(key, Arc::clone(&stream));
        drop(state);
        Present { stop: self.clone(), key, stream }
    }

    /// Waits until one of `sources` can be read, the switch moved, a connection went, or `timeout`
    /// passed.
    pub(super) fn wait(
        &self,
        sources: &[BorrowedFd<'_>],
        timeout: Option<&Timespec>,
    ) -> Result<(), Errno> {
        let mut fds = vec![PollFd::new(&self.0.wake, PollFlags::IN)];
        fds.extend(sources.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        match poll(&mut fds, timeout) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        // Nothing to take is as good as something taken: the caller looks at the state itself.
        let _ = rustix::io::read(&self.0.wake, &mut [0_u8; 8]);
        Ok(())
    }

    fn wake(&self) {
        // Fails only where the counter is full, and then a wake-up is already due.
        let _ = rustix::io::write(&self.0.wake, &1_u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Present {
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) const fn stop(&self) -> &Stop {
        &self.stop
    }

    /// Closes the connection; a listener does not end before what came of it is told.
    pub(super) fn close(self) -> Telling {
        let stop = self.stop.clone();
        stop.lock().telling += 1;
        Telling(stop)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.stop.lock().present.remove(&self.key);
        self.stop.wake();
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.0.lock().telling -= 1;
        self.0.wake();
    }
}
