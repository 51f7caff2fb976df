//! What happened, as lines for a person and as one number for a comparison.

use floe_types::Time;
use std::collections::VecDeque;
use std::io::Write;

/// Whether lines are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Telling {
    /// None: a seed that fails runs once more.
    Nothing,
    /// The last ones, to be shown with a failure.
    Last,
    /// All, printed as they come.
    Everything,
}

/// The trace of one world.
#[derive(Clone, Debug)]
pub struct Trace {
    telling: Telling,
    kept: VecDeque<String>,
    number: u64,
    /// Events so far.
    pub events: u64,
}

/// Prints a line; where nobody reads any more, that is the end.
pub fn tell(line: &str) {
    if writeln!(std::io::stdout(), "{line}").is_err() {
        std::process::exit(1);
    }
}

/// So many lines are shown with a failure.
const KEPT: usize = 40;

impl Trace {
    /// An empty trace.
    #[must_use]
    pub const fn new(telling: Telling) -> Self {
        Self { telling, kept: VecDeque::new(), number: 0xcbf2_9ce4_8422_2325, events: 0 }
    }

    /// Something happened.
    pub fn say(&mut self, now: Time, line: impl FnOnce() -> String) {
        self.count(now, 0);
        if self.telling == Telling::Nothing {
            return;
        }
        let line = line();
        let (secs, micros) = (now.0 / 1_000_000, now.0 % 1_000_000);
        let line = format!("{secs:>5}.{micros:06} {line}");
        if self.telling == Telling::Everything {
            return tell(&line);
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(line);
    }

    /// Whether anybody reads lines.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.telling != Telling::Nothing
    }

    /// Something happened that is worth no line.
    pub const fn count(&mut self, now: Time, what: u64) {
        self.events += 1;
        self.number = (self.number ^ now.0).wrapping_mul(0x0100_0000_01b3);
        self.number = (self.number ^ what).wrapping_mul(0x0100_0000_01b3);
    }

    /// A number that two equal worlds share.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The last lines.
    pub fn last(&self) -> impl Iterator<Item = &String> {
        self.kept.iter()
    }
}
