//! What a disk answers when it fails.
//!
//! A `DiskError` does not know what was done to what; the layer above says so when it makes a
//! `Fault` of it. The table from the system's numbers to codes is the kernel disk's.

use floe_types::{Code, Fault};
use std::fmt;

/// What a disk answers.
pub type DiskResult<T> = Result<T, DiskError>;

/// A failure of one disk operation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DiskError {
    code: Code,
    errno: Option<i32>,
}

impl DiskError {
    /// A failure that no system call reported.
    #[must_use]
    pub const fn new(code: Code) -> Self {
        Self { code, errno: None }
    }

    /// A failure of this kind that a system call reported by this number.
    #[must_use]
    pub const fn of_system(code: Code, errno: i32) -> Self {
        Self { code, errno: Some(errno) }
    }

    /// What kind.
    #[must_use]
    pub const fn code(self) -> Code {
        self.code
    }

    /// Whether a rename or link failed because the two names are on different file systems.
    #[must_use]
    pub fn is_cross_device(self) -> bool {
        self.errno == Some(CROSS_DEVICE)
    }

    /// The fault of it; `what` is operation and thing, escaped: `read "a/b" at 4096`.
    #[must_use]
    pub fn fault(self, what: impl fmt::Display) -> Fault {
        match (self.code, self.errno) {
            (Code::Other, Some(errno)) => {
                Fault::new(self.code, format!("{what} (system error {errno})"))
            }
            _ => Fault::new(self.code, what.to_string()),
        }
    }
}

/// Says what was being done, where a disk failed.
pub trait Doing<T> {
    /// Turns the failure into a fault with this line; `what` is operation and thing, escaped.
    ///
    /// # Errors
    /// The failure, as a fault.
    fn doing(self, what: impl fmt::Display) -> Result<T, Fault>;
}

impl<T> Doing<T> for DiskResult<T> {
    fn doing(self, what: impl fmt::Display) -> Result<T, Fault> {
        self.map_err(|error| error.fault(what))
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.text())
    }
}

impl std::error::Error for DiskError {}

/// EXDEV on every Linux.
const CROSS_DEVICE: i32 = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_operation_thing_and_an_unknown_number() {
        let fault = DiskError::new(Code::Io).fault(format_args!("read {:?} at {}", "a", 4096));
        assert_eq!(fault.to_string(), "read \"a\" at 4096: input/output error");
        let unknown = DiskError::of_system(Code::Other, 16).fault("remove \"a\"");
        assert_eq!(unknown.to_string(), "remove \"a\" (system error 16): failed");
    }
}
