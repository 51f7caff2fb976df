//! The operator's side: asks every server of a state directory.

use super::door::{connect_to, names};
use super::{ANSWER_BYTES_MAX, Answer, Ask};
use crate::state::State;
use floe_types::{Code, Fault};
use rustix::io::Errno;
use std::io::{Read, Write};
use std::time::Duration;

/// What each server of a state directory that runs answers; `Failed` of one that does not
/// (`TimedOut`, `PermissionDenied`, `Busy`), which keeps nobody from the others. Blocks, for some
/// seconds at most.
///
/// # Errors
/// `NotFound`: none runs.
pub fn ask(state: &State, what: &Ask) -> Result<Vec<Answer>, Fault> {
    let names = names(state)?;
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        let asked = names.iter().map(|name| scope.spawn(|| ask_one(state, name, what)));
        let asked: Vec<_> = asked.collect();
        for answer in asked.into_iter().filter_map(|asked| asked.join().ok()) {
            match answer {
                // It died, or ended just now.
                Err(fault) if fault.code == Code::NotFound => {}
                Err(Fault { code, detail, .. }) => {
                    answers.push(Answer::Failed { code: code.wire(), detail });
                }
                Ok(answer) => answers.push(answer),
            }
        }
    });
    if answers.is_empty() {
        let shown = crate::state::show(state.path());
        let detail = format!("ask the server of \"{shown}\": none runs here");
        return Err(Fault::new(Code::NotFound, detail));
    }
    Ok(answers)
}

fn ask_one(state: &State, name: &str, what: &Ask) -> Result<Answer, Fault> {
    let fail = |code, why: &str| Fault { code, ..state.fault("ask", name, why) };
    let connected = connect_to(state, name, PATIENCE).map_err(|error| match error {
        Errno::CONNREFUSED | Errno::NOENT => fail(Code::NotFound, "nobody listens"),
        Errno::AGAIN => fail(Code::Busy, "others ask"),
        Errno::ACCESS | Errno::PERM => fail(Code::PermissionDenied, "it is another user's"),
        error => fail(Code::State, &error.kind().to_string()),
    });
    let mut socket = connected?;
    let late = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            fail(Code::TimedOut, "no answer")
        }
        kind => fail(Code::Busy, &kind.to_string()),
    };
    let question = serde_json::to_string(what).unwrap_or_default() + "\n";
    socket.write_all(question.as_bytes()).map_err(late)?;
    let mut answer = Vec::new();
    socket.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(late)?;
    match serde_json::from_slice(&answer) {
        Ok(answer) => Ok(answer),
        Err(_) if answer.is_empty() => Err(fail(Code::Busy, "it hung up")),
        Err(_) => Err(fail(Code::ProtocolMismatch, "it is of another version")),
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
