//! What can be said against floe after a round: which promise did not hold, and of what.

use std::fmt;

/// What floe promises (docs/crash-contract.md), and what every program should.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Promise {
    /// 1: nothing partial, mixed or wrong under a final name.
    Whole,
    /// 2: status 0 means that it is there.
    Kept,
    /// 3: the same command continues and finishes, and sends at most a window again.
    Continues,
    /// 6: every failure has a line and a status of its own.
    Told,
    /// Nothing is left behind in the end.
    Clean,
    /// Memory stays within its bound.
    Bounded,
}

/// A promise that did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    /// In which round.
    pub round: u64,
    /// Which.
    pub promise: Promise,
    /// What was seen; what a file is called is escaped.
    pub seen: String,
}

impl Promise {
    /// In a few words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Whole => "promise 1 (nothing partial, mixed or wrong is visible)",
            Self::Kept => "promise 2 (status 0 means that it is there)",
            Self::Continues => "promise 3 (the same command continues)",
            Self::Told => "promise 6 (every failure has its own status)",
            Self::Clean => "nothing is left behind",
            Self::Bounded => "memory is bounded",
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "round {}: {}: {}", self.round, self.promise.text(), self.seen)
    }
}
