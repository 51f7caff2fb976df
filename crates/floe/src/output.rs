//! Standard output as data: what is written there is meant to be read by the next program.
//!
//! A reader that went away (`floe ls | head`) ends the command quietly; any other failure is one.

use crate::fault::{Failure, Result, code_of};
use floe_types::Code;
use std::io::{self, Write};

/// Writes bytes whole.
///
/// # Errors
/// `ReaderGone`, which ends the command; the system's.
pub fn write_all(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| failure(&error))
}

/// What a failed write to standard output comes to: `ReaderGone`, or the system's.
pub fn failure(error: &io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::ReaderGone;
    }
    failure_of("write to standard output", error)
}

/// What the system refused where this program's words go.
pub fn failure_of(operation: &str, error: &io::Error) -> Failure {
    match code_of(error.kind()) {
        code @ (Code::NoSpace | Code::Quota) => Failure::hinted(code, operation, MAKE_ROOM),
        code => Failure::new(code, format!("{operation}: {error}")),
    }
}

const MAKE_ROOM: &str = "make room where it goes, and run the same command again";

/// Writes one line.
///
/// # Errors
/// As `write_all`.
pub fn line(text: &dyn std::fmt::Display) -> Result<()> {
    write_all(&mut io::stdout().lock(), format!("{text}\n").as_bytes())
}

/// Writes one line for whoever waits for it; a command that goes on does so without a reader.
///
/// # Errors
/// As `write_all`, but for a reader that went away.
pub fn announce(text: &dyn std::fmt::Display) -> Result<()> {
    match line(text) {
        Err(Failure::ReaderGone) => Ok(()),
        result => result,
    }
}
