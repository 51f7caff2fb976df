//! What a rule found: a place, the rule, and what to do about it.
//!
//! A finding is a line a person can click on and act on; nothing in tidy branches on its text.

use std::fmt;

/// The rules, by the name that stands in a finding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Rule {
    /// A file is too long.
    FileLength,
    /// A function is too long.
    FunctionLength,
    /// A line is too wide.
    LineWidth,
    /// A crate depends on what it may not know.
    Layers,
    /// A crate that must build for a bare target reaches for the system.
    BareTarget,
    /// A module imports what is listed below it.
    ModuleOrder,
    /// A module goes past the seam it must use.
    ForbiddenEdge,
    /// A name that says nothing.
    Names,
    /// `unsafe` outside the list, or without its reason.
    Unsafe,
    /// A macro that marks unfinished work.
    Unfinished,
    /// A test that sleeps.
    TestSleep,
    /// A test that does not run.
    TestIgnored,
    /// A paper or setting names one machine.
    MachineName,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FileLength => "file-length",
            Self::FunctionLength => "function-length",
            Self::LineWidth => "line-width",
            Self::Layers => "layers",
            Self::BareTarget => "bare-target",
            Self::ModuleOrder => "module-order",
            Self::ForbiddenEdge => "forbidden-edge",
            Self::Names => "names",
            Self::Unsafe => "unsafe",
            Self::Unfinished => "unfinished",
            Self::TestSleep => "test-sleep",
            Self::TestIgnored => "test-ignored",
            Self::MachineName => "machine-name",
        })
    }
}

/// One place that breaks a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// The file, relative to the repository.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The rule it breaks.
    pub rule: Rule,
    /// What is wrong and what to do.
    pub advice: String,
}

impl Finding {
    /// A finding at a line of a file.
    pub fn new(path: &str, line: usize, rule: Rule, advice: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, rule, advice: advice.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}: {}", self.path, self.line, self.rule, self.advice)
    }
}
