//! Asking the person at the terminal: secrets without echo, questions with a plain answer.
//!
//! Questions go to standard error. The terminal is put back as it was also when the asking is given
//! up.

use crate::fault::{Failure, Result};
use floe_types::{Code, Fault};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead, IsTerminal, Read, Write};

/// Whether somebody can answer.
pub fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Asks for a line that is not shown while it is typed.
///
/// # Errors
/// The terminal's.
pub async fn secret(question: &str) -> Result<String> {
    ask(question)?;
    let _hidden = Hidden::begin()?;
    let line = line().await;
    crate::fault::say(&"");
    line
}

/// Asks a question; only `yes` is one.
///
/// # Errors
/// The terminal's.
pub async fn is_yes(question: &str) -> Result<bool> {
    ask(question)?;
    Ok(line().await?.trim().eq_ignore_ascii_case("yes"))
}

/// All of standard input, where it is not a terminal: a short text.
///
/// # Errors
/// The system's; `Usage` for what is too long or no text.
pub async fn piped() -> Result<String> {
    on_thread(|| {
        let mut bytes = Vec::new();
        io::stdin().lock().take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    })
    .await
}

fn ask(question: &str) -> Result<()> {
    let mut err = io::stderr().lock();
    write!(err, "{question}")
        .and_then(|()| err.flush())
        .map_err(|error| Fault::new(Code::Io, format!("ask on standard error: {error}")).into())
}

async fn line() -> Result<String> {
    on_thread(|| {
        let mut bytes = Vec::new();
        io::stdin().lock().take(BYTES_MAX + 1).read_until(b'\n', &mut bytes)?;
        Ok(bytes)
    })
    .await
}

/// Reading waits for a person: not on the thread that hears Ctrl-C.
async fn on_thread(read: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static) -> Result<String> {
    let fail = |why: String| Fault::new(Code::Io, format!("read standard input: {why}"));
    let bytes = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| fail(error.to_string()))?
        .map_err(|error| fail(error.to_string()))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Failure::hinted(Code::Usage, "standard input", "a ticket is one short line"));
    }
    String::from_utf8(bytes)
        .map_err(|_| Failure::hinted(Code::Usage, "standard input", "a ticket is plain text"))
}

/// No echo until it is dropped.
struct Hidden(Termios);

impl Hidden {
    fn begin() -> Result<Self> {
        let fail = |error| Fault::new(Code::Io, format!("hide what is typed: {error}"));
        let before = tcgetattr(io::stdin()).map_err(fail)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet).map_err(fail)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

const BYTES_MAX: u64 = 4096;
