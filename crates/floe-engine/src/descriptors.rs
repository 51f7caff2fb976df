//! Descriptors: how many this process may have, and how many of them its open files take.
//!
//! Sockets, files of transfers and everything else share one number. Each has its part, so that
//! many clients cannot keep the transfers that run from opening what they need, nor one large tree
//! the others.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// More than any process here would use.
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// Raises what this process may have to what it may ask for; how many that is.
pub fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(DESCRIPTORS_MAX).min(DESCRIPTORS_MAX);
    let current = current.unwrap_or(u64::MAX);
    if current >= wanted {
        return current.min(DESCRIPTORS_MAX);
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }) {
        Ok(()) => wanted,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            current
        }
    }
}

/// Whether the next descriptor would be refused now.
#[must_use]
pub fn are_short() -> bool {
    // It takes a descriptor and nothing else.
    rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).is_err()
}

/// How many entries may be open at once in a process, and who waits for one.
pub struct OpenFiles {
    max: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    open: usize,
    waiting: usize,
}

/// Counts as one open entry while it lives.
pub struct Slot(Arc<OpenFiles>);

impl OpenFiles {
    /// As many as a quarter of the descriptors allows: a stage takes two.
    #[must_use]
    pub fn new(descriptors: u64) -> Arc<Self> {
        let max = usize::try_from(descriptors / 8).unwrap_or(usize::MAX).max(1);
        Arc::new(Self { max, state: Mutex::default(), freed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A slot, if there is one and nobody was there before.
    #[must_use]
    pub fn slot(self: &Arc<Self>) -> Option<Slot> {
        let mut state = self.lock();
        if state.waiting > 0 || state.open >= self.max {
            return None;
        }
        state.open += 1;
        Some(Slot(Arc::clone(self)))
    }

    /// Comes into the line; `wait` is to follow, perhaps on another thread.
    pub fn queue(&self) {
        self.lock().waiting += 1;
    }

    /// Waits for a slot after `queue`; blocks. `None`: there was none until then.
    #[must_use]
    pub fn wait(self: &Arc<Self>, until: Instant) -> Option<Slot> {
        let mut state = self.lock();
        let mut left = until.saturating_duration_since(Instant::now());
        while state.open >= self.max && !left.is_zero() {
            let waited = self.freed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            left = until.saturating_duration_since(Instant::now());
        }
        state.waiting -= 1;
        (state.open < self.max).then(|| {
            state.open += 1;
            Slot(Arc::clone(self))
        })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.open -= 1;
        // A notification is a system call, also where nobody waits.
        if state.waiting > 0 {
            self.0.freed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn all_that_may_be_asked_for_is_there_after_it_was_raised() {
        let raised = raise();
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        assert!(current == maximum || current.is_some_and(|current| current >= raised));
        assert!(!are_short());
    }

    #[test]
    fn who_waits_for_a_slot_comes_before_who_comes_later() {
        let files = OpenFiles::new(16);
        let (one, two) = (files.slot().unwrap(), files.slot().unwrap());
        assert!(files.slot().is_none());
        files.queue();
        let waits = Arc::clone(&files);
        let thread = std::thread::spawn(move || {
            waits.wait(Instant::now() + Duration::from_secs(60)).is_some()
        });
        drop(one);
        assert!(thread.join().unwrap());
        assert!(files.slot().is_some(), "the thread has given its own back");
        files.queue();
        assert!(files.slot().is_none(), "somebody is in the line");
        assert!(files.wait(Instant::now()).is_some());
        drop(two);
    }

    #[test]
    fn a_wait_ends() {
        let files = OpenFiles::new(8);
        let held = files.slot().unwrap();
        files.queue();
        assert!(files.wait(Instant::now()).is_none());
        drop(held);
        assert!(files.slot().is_some());
    }
}
