//! How much memory a call takes at most, counted for the thread that makes it.
//!
//! The system's allocator with two counters a thread in front of it. Memory that another thread
//! gives back is not counted, so a target that starts threads is not measured here.

#![allow(unsafe_code)] // an allocator is unsafe by its trait

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counted.
pub struct Counted;

/// What a call came to, and the most memory it held at once beyond what was held before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Measured<T> {
    /// What it returned.
    pub value: T,
    /// The most bytes it held.
    pub peak_bytes: usize,
}

/// Bytes that a thread holds, which are below zero where it gave back what others took, and the
/// most of them so far.
#[derive(Clone, Copy)]
struct Held {
    now: isize,
    peak: isize,
}

thread_local! {
    static HELD: Cell<Held> = const { Cell::new(Held { now: 0, peak: 0 }) };
}

/// Measures a call. One measurement at a time: an inner one would reset the outer's peak.
pub fn measure<T>(call: impl FnOnce() -> T) -> Measured<T> {
    let before = HELD.get().now;
    HELD.set(Held { now: before, peak: before });
    let value = call();
    Measured { value, peak_bytes: HELD.get().peak.saturating_sub(before).unsigned_abs() }
}

/// Bytes that this thread holds now, against another such count.
#[must_use]
pub fn held_bytes() -> isize {
    HELD.get().now
}

fn count(bytes: usize, sign: isize) {
    // A thread that ends has no counters any more, and nobody asks for them.
    let _ = HELD.try_with(|held| {
        let Held { now, peak } = held.get();
        let now = now.wrapping_add(sign.wrapping_mul(bytes.cast_signed()));
        held.set(Held { now, peak: peak.max(now) });
    });
}

// SAFETY: every call is the system allocator's own with the same arguments; counting allocates
// nothing, since the counters have no destructor and are initialised as constants.
unsafe impl GlobalAlloc for Counted {
    // SAFETY: the caller keeps the contract of `System::alloc`, which is the same.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: the caller keeps the contract of `System::dealloc`, which is the same.
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }

    // SAFETY: the caller keeps the contract of `System::realloc`, which is the same.
    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes, 1);
        count(layout.size(), -1);
        // SAFETY: as above.
        unsafe { System.realloc(at, layout, bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_that_was_held_at_once_is_told() {
        let measured = measure(|| {
            drop(std::hint::black_box(vec![0u8; 1 << 20]));
            let kept = std::hint::black_box(vec![0u8; 4096]);
            std::hint::black_box(vec![0u8; 1 << 16]);
            kept
        });
        assert!((1 << 20..(1 << 20) + 8192).contains(&measured.peak_bytes), "{measured:?}");
        let before = held_bytes();
        drop(measured);
        assert_eq!(before - held_bytes(), 4096);
    }
}
