//! The engine's clock: monotonic, from an origin that only this process knows.
//!
//! The core is told the time and never asks for it. Civil time stamps what has no stamp of its own,
//! tells how old a file is and when a ticket expires; nothing else depends on it.

use floe_types::{Micros, Time, Timestamp};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells the time to every session of one process.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Now.
    #[must_use]
    pub fn now(self) -> Time {
        Time(micros(self.origin.elapsed()).0)
    }

    /// The instant of a time of this clock; `None` where the system cannot hold it.
    #[must_use]
    pub fn instant(self, time: Time) -> Option<Instant> {
        self.origin.checked_add(Duration::from_micros(time.0))
    }
}

/// Civil time now; its origin where the system's clock stands before that.
#[must_use]
pub fn timestamp() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let secs = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp::new(secs, since.subsec_nanos()).unwrap_or_default()
}

/// How often this thread has waited so far, for anything but a core; `None` where the system does
/// not tell.
#[must_use]
#[allow(unsafe_code)] // no safe wrapper of getrusage for a thread exists in rustix
pub fn waits() -> Option<u64> {
    // SAFETY: rusage is plain numbers, for which zero is a value; the kernel writes one.
    let (used, done) = unsafe {
        let mut used: libc::rusage = std::mem::zeroed();
        let done = libc::getrusage(libc::RUSAGE_THREAD, &raw mut used);
        (used, done)
    };
    if done == 0 { u64::try_from(used.ru_nvcsw).ok() } else { None }
}

/// A span in microseconds; saturates.
#[must_use]
pub fn micros(span: Duration) -> Micros {
    Micros(u64::try_from(span.as_micros()).unwrap_or(u64::MAX))
}

/// A span of the system's.
#[must_use]
pub const fn duration(span: Micros) -> Duration {
    Duration::from_micros(span.0)
}
