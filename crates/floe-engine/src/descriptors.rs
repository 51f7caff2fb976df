//! Descriptors: how many this process may have, and how many of them its open files take.
//!
//! Sockets, files of transfers and everything else share one number. Each has its part, so that
//! many clients cannot keep the transfers that run from opening what they need, nor one large tree
//! the others.

use crate::customer::Customer;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::BTreeMap;
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

/// How many entries may be open at once in a process, and who waits for one. Of what a server has
/// no customer takes more than half.
pub struct OpenFiles {
    max: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Default)]
struct State {
    open: usize,
    customers: BTreeMap<Customer, Own>,
}

/// What is one customer's.
#[derive(Default)]
struct Own {
    open: usize,
    waiting: usize,
}

/// Counts as one open entry while it lives.
pub struct Slot {
    files: Arc<OpenFiles>,
    customer: Customer,
}

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

    /// As many as one customer may have.
    const fn own_max(&self, customer: Customer) -> usize {
        if customer.is_anybody() { self.max } else { self.max.div_ceil(2) }
    }

    /// A slot, if there is one and nobody was there before who may have it.
    #[must_use]
    pub fn slot(self: &Arc<Self>, customer: Customer) -> Option<Slot> {
        let mut state = self.lock();
        let first = |(who, own): (&Customer, &Own)| {
            own.waiting > 0 && (*who == customer || own.open < self.own_max(*who))
        };
        if state.customers.iter().any(first) {
            return None;
        }
        self.take(&mut state, customer)
    }

    fn take(self: &Arc<Self>, state: &mut State, customer: Customer) -> Option<Slot> {
        let own = state.customers.entry(customer).or_default();
        if state.open >= self.max || own.open >= self.own_max(customer) {
            return None;
        }
        own.open += 1;
        state.open += 1;
        Some(Slot { files: Arc::clone(self), customer })
    }

    /// Comes into the line; `wait` is to follow, perhaps on another thread.
    pub fn queue(&self, customer: Customer) {
        self.lock().customers.entry(customer).or_default().waiting += 1;
    }

    /// Waits for a slot after `queue`; blocks. `None`: there was none until then.
    #[must_use]
    pub fn wait(self: &Arc<Self>, customer: Customer, until: Instant) -> Option<Slot> {
        let mut state = self.lock();
        loop {
            let slot = self.take(&mut state, customer);
            let left = until.saturating_duration_since(Instant::now());
            if slot.is_some() || left.is_zero() {
                state.leave(customer, |own| own.waiting -= 1);
                return slot;
            }
            let waited = self.freed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// Changes what is a customer's, and forgets one that has nothing.
    fn leave(&mut self, customer: Customer, change: impl FnOnce(&mut Own)) {
        if let Some(own) = self.customers.get_mut(&customer) {
            change(own);
            if own.open + own.waiting == 0 {
                self.customers.remove(&customer);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut state = self.files.lock();
        state.open -= 1;
        state.leave(self.customer, |own| own.open -= 1);
        // A notification is a system call, also where nobody waits.
        if state.customers.values().any(|own| own.waiting > 0) {
            self.files.freed.notify_all();
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

    const ALL: Customer = Customer::ANYBODY;

    #[test]
    fn who_waits_for_a_slot_comes_before_who_comes_later() {
        let files = OpenFiles::new(16);
        let (one, two) = (files.slot(ALL).unwrap(), files.slot(ALL).unwrap());
        assert!(files.slot(ALL).is_none());
        files.queue(ALL);
        let waits = Arc::clone(&files);
        let thread = std::thread::spawn(move || {
            waits.wait(ALL, Instant::now() + Duration::from_secs(60)).is_some()
        });
        drop(one);
        assert!(thread.join().unwrap());
        assert!(files.slot(ALL).is_some(), "the thread has given its own back");
        files.queue(ALL);
        assert!(files.slot(Customer::next()).is_none(), "somebody is in the line");
        assert!(files.wait(ALL, Instant::now()).is_some());
        drop(two);
    }

    #[test]
    fn a_wait_ends() {
        let files = OpenFiles::new(8);
        let held = files.slot(ALL).unwrap();
        files.queue(ALL);
        assert!(files.wait(ALL, Instant::now()).is_none());
        drop(held);
        assert!(files.slot(ALL).is_some());
        assert!(files.lock().customers.is_empty());
    }

    /// One ticket that opens whatever it may and sends nothing, and another.
    #[test]
    fn who_has_half_of_them_open_waits_for_its_own_and_holds_up_nobody() {
        let (one, other) = (Customer::next(), Customer::next());
        let files = OpenFiles::new(64);
        let mut held: Vec<_> = std::iter::from_fn(|| files.slot(one)).collect();
        assert_eq!(held.len(), 4);
        files.queue(one);
        assert_eq!(std::iter::from_fn(|| files.slot(other)).collect::<Vec<_>>().len(), 4);
        assert!(files.wait(one, Instant::now()).is_none());
        held.pop();
        assert!(files.slot(one).is_some());
    }
}
