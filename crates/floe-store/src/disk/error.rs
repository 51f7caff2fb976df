//! What a disk answers when it fails, and the one table from the system's numbers to codes.
//!
//! A `DiskError` does not know what was done to what; the layer above says so when it makes a
//! `Fault` of it.

use floe_types::{Code, Fault};
use rustix::io::Errno;
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

    /// The failure of a number of the system's.
    #[must_use]
    pub fn from_errno(errno: i32) -> Self {
        Self { code: code_of(Errno::from_raw_os_error(errno)), errno: Some(errno) }
    }

    /// What kind.
    #[must_use]
    pub const fn code(self) -> Code {
        self.code
    }

    /// The system's number, if a system call failed.
    #[must_use]
    pub const fn errno(self) -> Option<i32> {
        self.errno
    }

    /// Whether a rename or link failed because the two names are on different file systems.
    #[must_use]
    pub fn is_cross_device(self) -> bool {
        self.errno == Some(Errno::XDEV.raw_os_error())
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

impl From<Errno> for DiskError {
    fn from(errno: Errno) -> Self {
        Self { code: code_of(errno), errno: Some(errno.raw_os_error()) }
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.text())
    }
}

impl std::error::Error for DiskError {}

/// The table. `LOOP` is what a link in the way of a path gives, where no link may be; `BADF` what a
/// directory gives that may be searched but not read.
fn code_of(errno: Errno) -> Code {
    match errno {
        Errno::NOENT => Code::NotFound,
        Errno::ACCESS | Errno::PERM | Errno::BADF => Code::PermissionDenied,
        Errno::ROFS => Code::ReadOnly,
        Errno::ISDIR => Code::IsDirectory,
        Errno::NOTDIR | Errno::LOOP => Code::NotDirectory,
        Errno::NXIO | Errno::NODEV => Code::NotRegular,
        Errno::NOTEMPTY => Code::NotEmpty,
        Errno::NOSPC => Code::NoSpace,
        Errno::DQUOT => Code::Quota,
        Errno::EXIST => Code::Exists,
        Errno::NAMETOOLONG => Code::NameTooLong,
        Errno::MFILE | Errno::NFILE | Errno::FBIG | Errno::MLINK | Errno::NOMEM => {
            Code::LimitExceeded
        }
        Errno::IO => Code::Io,
        Errno::OPNOTSUPP | Errno::NOSYS | Errno::XDEV => Code::Unsupported,
        Errno::ILSEQ => Code::BadPath,
        _ => Code::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_a_person_can_mend_has_its_code() {
        for (errno, code) in [
            (Errno::NOENT, Code::NotFound),
            (Errno::ACCESS, Code::PermissionDenied),
            (Errno::PERM, Code::PermissionDenied),
            (Errno::ROFS, Code::ReadOnly),
            (Errno::NOSPC, Code::NoSpace),
            (Errno::DQUOT, Code::Quota),
            (Errno::NAMETOOLONG, Code::NameTooLong),
            (Errno::ISDIR, Code::IsDirectory),
            (Errno::NOTDIR, Code::NotDirectory),
            (Errno::LOOP, Code::NotDirectory),
            (Errno::EXIST, Code::Exists),
            (Errno::NOTEMPTY, Code::NotEmpty),
            (Errno::MFILE, Code::LimitExceeded),
            (Errno::IO, Code::Io),
            (Errno::OPNOTSUPP, Code::Unsupported),
            (Errno::XDEV, Code::Unsupported),
        ] {
            let error = DiskError::from_errno(errno.raw_os_error());
            assert_eq!(error.code(), code, "{errno:?}");
            assert_eq!(error.is_cross_device(), errno == Errno::XDEV);
            assert_eq!(error, DiskError::from(errno));
        }
    }

    #[test]
    fn a_fault_says_operation_thing_and_an_unknown_number() {
        let fault = DiskError::new(Code::Io).fault(format_args!("read {:?} at {}", "a", 4096));
        assert_eq!(fault.to_string(), "read \"a\" at 4096: input/output error");
        let unknown = DiskError::from(Errno::BUSY).fault("remove \"a\"");
        assert_eq!(unknown.to_string(), "remove \"a\" (system error 16): failed");
    }
}
