//! How a command fails: one line that says what happened, to what, and what to do, and an exit
//! status.
//!
//! The words and the status come from the one table of codes in floe-types; this page adds the hint
//! and converts the system's errors. Every detail is escaped before it gets here.

use floe_types::{Code, Escaped, Fault};
use std::fmt;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a command comes to.
pub type Result<T> = std::result::Result<T, Failure>;

/// Why a command failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Failure {
    /// Not yet said: `main` prints its line.
    Fault {
        /// What happened.
        fault: Fault,
        /// What to do, where the table's hint does not fit.
        hint: Option<String>,
    },
    /// Said already, entry by entry; only the exit status is left.
    Told(Code),
    /// Whoever read standard output has enough: no failure, but nothing is left to do.
    ReaderGone,
}

impl Failure {
    /// A failure with the table's own hint.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self::from(Fault::new(code, detail))
    }

    /// A failure with a hint of its own.
    pub fn hinted(code: Code, detail: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Fault { fault: Fault::new(code, detail), hint: Some(hint.into()) }
    }

    /// The failure with a better hint, if it is of that kind.
    #[must_use]
    pub fn hinting(self, code: Code, better: &str) -> Self {
        match self {
            Self::Fault { fault, .. } if fault.code == code => {
                Self::Fault { fault, hint: Some(better.to_owned()) }
            }
            other => other,
        }
    }

    /// The failure of what stands there.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        match self {
            Self::Fault { fault, hint } => {
                let detail = format!("{place}: {}", fault.detail);
                Self::Fault { fault: Fault::new(fault.code, detail), hint }
            }
            other => other,
        }
    }

    /// The failure of a name on this machine: what a server shows does not help.
    #[must_use]
    pub fn of_this_machine(self) -> Self {
        self.hinting(Code::NotFound, HERE).hinting(Code::NotDirectory, WAY)
    }

    /// The failure of a directory on this machine that is not there, or is no directory.
    #[must_use]
    pub fn naming_directory(self) -> Self {
        self.hinting(Code::NotFound, DIRECTORY).hinting(Code::NotDirectory, DIRECTORY)
    }

    /// What to do about it; empty where nothing can be said.
    pub fn hint(&self) -> &str {
        match self {
            Self::Fault { fault, hint } => hint.as_deref().unwrap_or_else(|| fault.code.hint()),
            Self::Told(_) | Self::ReaderGone => "",
        }
    }

    /// What kind it is.
    pub const fn code(&self) -> Code {
        match self {
            Self::Fault { fault, .. } => fault.code,
            Self::Told(code) => *code,
            Self::ReaderGone => Code::Other,
        }
    }
}

const HERE: &str = "check the name: it is one on this machine";
const WAY: &str = "check the name: it leads through something that is no directory";
const DIRECTORY: &str = "name a directory that exists";

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault { fault, hint: None }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault { fault, .. } => {
                write!(f, "{fault}")?;
                match self.hint() {
                    "" => Ok(()),
                    hint => write!(f, " ({hint})"),
                }
            }
            Self::Told(code) => f.write_str(code.text()),
            Self::ReaderGone => f.write_str("whoever read standard output has enough"),
        }
    }
}

/// Says one line on standard error; there is nobody to tell if that fails.
pub fn say(line: &dyn fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Says a failure as `floe: ...`, unless it was said before.
pub fn tell(failure: &Failure) {
    if let Failure::Fault { .. } = failure {
        say(&format_args!("floe: {failure}"));
    }
}

/// A local path as it may be shown: quoted and escaped.
pub struct Shown<'a>(pub &'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Escaped(self.0.as_os_str().as_bytes()))
    }
}

/// The system's error at a local path.
pub fn of_path(operation: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::from(fault_of_path(operation, path, error)).of_this_machine()
}

fn fault_of_path(operation: &str, path: &Path, error: &io::Error) -> Fault {
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        let detail = format!("{operation} {}: its links lead round in a loop", Shown(path));
        return Fault::new(Code::NotFound, detail);
    }
    let code = code_of(error.kind());
    let detail = match code {
        Code::Other | Code::Io => format!("{operation} {}: {error}", Shown(path)),
        _ => format!("{operation} {}", Shown(path)),
    };
    Fault::new(code, detail)
}

/// The code of a kind of system error.
pub fn code_of(kind: io::ErrorKind) -> Code {
    match kind {
        io::ErrorKind::NotFound => Code::NotFound,
        io::ErrorKind::PermissionDenied => Code::PermissionDenied,
        io::ErrorKind::AlreadyExists => Code::Exists,
        io::ErrorKind::IsADirectory => Code::IsDirectory,
        io::ErrorKind::NotADirectory => Code::NotDirectory,
        io::ErrorKind::DirectoryNotEmpty => Code::NotEmpty,
        io::ErrorKind::ReadOnlyFilesystem => Code::ReadOnly,
        io::ErrorKind::StorageFull => Code::NoSpace,
        io::ErrorKind::QuotaExceeded => Code::Quota,
        io::ErrorKind::InvalidFilename => Code::NameTooLong,
        io::ErrorKind::AddrInUse => Code::AddressInUse,
        io::ErrorKind::Interrupted => Code::Interrupted,
        _ => Code::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_with_its_hint() {
        let failure = of_path("read", Path::new("a\nb"), &io::ErrorKind::PermissionDenied.into());
        let line = failure.to_string();
        let hint = Code::PermissionDenied.hint();
        assert_eq!(line, format!("read \"a\\u{{a}}b\": permission denied ({hint})"));
        let own = Failure::hinted(Code::Usage, "put", "name a SRC");
        assert_eq!(own.to_string(), "put: not a valid request (name a SRC)");
        assert_eq!(own.code().exit_status(), 2);
    }

    #[test]
    fn exit_statuses_are_the_documented_ones() {
        for (code, status) in [
            (Code::Other, 1),
            (Code::Usage, 2),
            (Code::BadPath, 2),
            (Code::NotFound, 3),
            (Code::PermissionDenied, 4),
            (Code::TicketExpired, 4),
            (Code::ServerKeyMismatch, 4),
            (Code::Integrity, 5),
            (Code::Unreachable, 6),
            (Code::ProtocolMismatch, 6),
            (Code::NoSpace, 7),
            (Code::Quota, 7),
            (Code::SourceChanged, 8),
            (Code::Exists, 9),
            (Code::AlreadyRunning, 9),
            (Code::Conflict, 9),
            (Code::Partial, 10),
            (Code::Interrupted, 130),
        ] {
            assert_eq!(code.exit_status(), status, "{code:?}");
        }
    }
}
