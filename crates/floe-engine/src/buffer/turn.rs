//! Who waits for a buffer: a line, served in order.
//!
//! Whoever is called has its bytes set aside already, so that nobody who comes later takes them. A
//! turn that is dropped gives them to the next one.

use super::{Lent, Shelves};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Wakes whoever waits.
pub trait Bell: Send + Sync {
    /// Something changed: look again.
    fn ring(&self);
}

/// One waiter's place in the line, if it has one.
#[derive(Default)]
pub struct Turn(Option<Arc<Place>>);

struct Place {
    home: Arc<Shelves>,
    len: usize,
    /// Whether its bytes are set aside.
    called: AtomicBool,
    bell: Arc<dyn Bell>,
}

impl Drop for Place {
    fn drop(&mut self) {
        if *self.called.get_mut() {
            self.home.give_back(self.len);
        }
    }
}

impl Turn {
    /// Whether `len` bytes are lent now; if not, this is a turn for them.
    pub(super) fn take(&mut self, home: &Arc<Shelves>, len: usize, bell: &Arc<dyn Bell>) -> bool {
        if let Some(place) = &self.0
            && place.len == len
        {
            // Taken: it is not given back when the place goes.
            let called = place.called.swap(false, Ordering::SeqCst);
            if called {
                self.0 = None;
            }
            return called;
        }
        self.0 = None;
        if !home.line.is_waited_in() && home.try_lend(len) == Lent::Yes {
            return true;
        }
        let called = AtomicBool::new(false);
        let place = Arc::new(Place { home: Arc::clone(home), len, called, bell: Arc::clone(bell) });
        home.line.join(&place);
        // What came back just before is offered now; perhaps to this very place.
        home.line.call(home);
        let called = place.called.swap(false, Ordering::SeqCst);
        if !called {
            self.0 = Some(place);
        }
        called
    }
}

/// Everybody who waits, first come first.
#[derive(Default)]
pub(super) struct Line {
    places: Mutex<VecDeque<Weak<Place>>>,
    /// How many places there are; read without the lock, which nobody takes while nobody waits.
    count: AtomicUsize,
}

impl Line {
    pub(super) fn is_waited_in(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Weak<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, place: &Arc<Place>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.lock().push_back(Arc::downgrade(place));
    }

    /// Sets bytes aside for as many as there is room for, in order, and rings for them.
    pub(super) fn call(&self, home: &Shelves) {
        if !self.is_waited_in() {
            return;
        }
        // Dropped after the lock: the last handle of a place may come back here.
        let mut seen = Vec::new();
        let mut places = self.lock();
        while let Some(front) = places.front() {
            if let Some(place) = front.upgrade() {
                let lent = home.try_lend(place.len);
                if lent == Lent::Yes {
                    place.called.store(true, Ordering::SeqCst);
                    place.bell.ring();
                }
                seen.push(place);
                if lent == Lent::No {
                    break;
                }
            }
            places.pop_front();
            self.count.fetch_sub(1, Ordering::SeqCst);
        }
        drop(places);
        drop(seen);
    }
}
