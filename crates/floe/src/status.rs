//! `floe status`: what a server on this machine does now, and a hand on it.

use crate::args::{OutputFlags, StateFlag, after_help, rate};
use crate::civil;
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result};
use crate::output;
use crate::report::{Form, Voice};
use crate::settings::find_state;
use data_encoding::HEXLOWER;
use floe_engine::control::{Answer, Ask, LiveSession, LiveTransfer, Shown, ask};
use floe_types::escape::is_hidden;
use floe_types::{ByteCount, Code, Escaped, Fault, Rate, Timestamp, Utc};
use std::time::Duration;

/// Show and steer what runs on a server (on the server)
///
/// Without a command: the sessions and transfers of every server of the state directory that runs
/// now. It asks over a socket there, which is for the user that the server runs as: be that one. ID
/// is a session's, as in the log, or a transfer's, SESSION.N; what is done to a session is done to
/// each transfer that it has at that moment. It is done within a second, and lasts until the
/// transfer's session ends: a client that begins again is not held to it.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES), args_conflicts_with_subcommands = true)]
pub struct StatusArgs {
    #[command(subcommand)]
    verb: Option<StatusVerb>,
    #[command(flatten)]
    state: StateFlag,
    #[command(flatten)]
    output: OutputFlags,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum StatusVerb {
    End(IdArgs),
    Limit(LimitArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
}

/// End a session or a transfer
///
/// What is staged is kept: the same command continues. The client is told that the server's
/// operator ended it (status 4).
#[derive(clap::Args, Clone, Debug)]
struct IdArgs {
    #[command(flatten)]
    named: Named,
}

/// Let a transfer move at most so much a second
///
/// What its ticket allows holds all the same: the slower one counts. One that is paused stays so.
#[derive(clap::Args, Clone, Debug)]
struct LimitArgs {
    #[command(flatten)]
    named: Named,
    /// As in 20M or 100Mbit; 'none' takes the limit away
    #[arg(value_name = "RATE", value_parser = limit)]
    rate: Limit,
}

/// Let a transfer move nothing until it is resumed
///
/// Its connections stay, and neither side takes it for lost, however long that is. It counts as
/// running: a server that is told to stop waits for it, for its 30 seconds.
#[derive(clap::Args, Clone, Debug)]
struct PauseArgs {
    #[command(flatten)]
    named: Named,
}

/// Let a transfer that was paused go on, within the limits that it had
#[derive(clap::Args, Clone, Debug)]
struct ResumeArgs {
    #[command(flatten)]
    named: Named,
}

/// Which.
#[derive(clap::Args, Clone, Debug)]
struct Named {
    /// A session's or a transfer's id, as 'floe status' shows them
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    state: StateFlag,
    #[command(flatten)]
    output: OutputFlags,
}

/// A limit, or that there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Limit {
    To(Rate),
    None,
}

const EXAMPLES: &str = "\
Examples:
  floe status
  floe status --state /var/lib/floe --json
  floe status limit 3f2a9c1d.0 20M
  floe status end 3f2a9c1d";

fn limit(text: &str) -> std::result::Result<Limit, String> {
    match text {
        "none" => Ok(Limit::None),
        text => rate(text).map(Limit::To).map_err(|why| format!("{why}; or 'none'")),
    }
}

impl StatusArgs {
    /// How the command speaks.
    pub fn output(&self) -> &OutputFlags {
        self.verb.as_ref().map_or(&self.output, |verb| &verb.named().output)
    }
}

impl StatusVerb {
    const fn named(&self) -> &Named {
        match self {
            Self::End(IdArgs { named })
            | Self::Limit(LimitArgs { named, .. })
            | Self::Pause(PauseArgs { named })
            | Self::Resume(ResumeArgs { named }) => named,
        }
    }

    fn asked(&self) -> Ask {
        let id = self.named().id.clone();
        match self {
            Self::End(_) => Ask::End { id },
            Self::Limit(LimitArgs { rate: Limit::To(rate), .. }) => {
                Ask::Limit { id, rate: Some(rate.bytes_per_sec()) }
            }
            Self::Limit(LimitArgs { rate: Limit::None, .. }) => Ask::Limit { id, rate: None },
            Self::Pause(_) => Ask::Pause { id },
            Self::Resume(_) => Ask::Resume { id },
        }
    }
}

/// Runs `floe status`.
///
/// # Errors
/// `NotFound`: no server runs, or nothing has that id; `State`, `TimedOut`.
pub fn run(args: &StatusArgs) -> Result<()> {
    let voice = Voice::of(args.output(), Channel::Output);
    let (state, what) = match &args.verb {
        Some(verb) => (&verb.named().state, verb.asked()),
        None => (&args.state, Ask::Show),
    };
    let answers = ask(&find_state(state)?, &what)
        .map_err(|fault| Failure::from(fault).hinting(Code::NotFound, NONE_RUNS))?;
    if args.verb.is_some() {
        return acted(answers);
    }
    let mut silent = None;
    for answer in answers {
        match (answer, voice.form) {
            (Answer::Shown(shown), Form::Json(channel)) => {
                events(&shown).into_iter().for_each(|event| event.send(channel));
            }
            (Answer::Shown(shown), Form::Text) => {
                for line in lines(&shown) {
                    output::line(&line)?;
                }
            }
            (answer, _) => silent = Some(failed(answer)),
        }
    }
    // Behind those that answer.
    silent.map_or(Ok(()), |fault| Err(fault.into()))
}

/// One server did it; the others do not know it.
fn acted(answers: Vec<Answer>) -> Result<()> {
    let mut why = None;
    for answer in answers {
        if answer == Answer::Done {
            return Ok(());
        }
        let fault = failed(answer);
        if why.as_ref().is_none_or(|why: &Fault| why.code == Code::NotFound) {
            why = Some(fault);
        }
    }
    let fault = why.unwrap_or_else(|| Fault::new(Code::NotFound, "ask"));
    Err(Failure::from(fault).hinting(Code::NotFound, "'floe status' shows what runs, and its ids"))
}

fn failed(answer: Answer) -> Fault {
    match answer {
        Answer::Failed { code, detail } => Fault::new(Code::from_wire(code), detail),
        Answer::Done | Answer::Shown(_) => Fault::new(Code::ProtocolMismatch, "ask the server"),
    }
}

fn lines(shown: &Shown) -> Vec<String> {
    let (dir, since) = (&shown.dir, utc(shown.since));
    let ends = if shown.draining { ", ending" } else { "" };
    let count = shown.sessions.len() + shown.more;
    let transfers: usize = shown.sessions.iter().map(|session| session.transfers.len()).sum();
    let mut lines = vec![format!(
        "server    \"{dir}\" since {since} (process {}){ends}: {count} sessions, {transfers} \
         transfers",
        shown.pid
    )];
    for session in &shown.sessions {
        lines.push(of_session(session));
        lines.extend(session.transfers.iter().map(of_transfer));
    }
    if shown.more > 0 {
        lines.push(format!("and {} sessions more", shown.more));
    }
    // Whatever a server says: nothing that a terminal obeys.
    let safe = |line: &String| line.chars().map(|c| if is_hidden(c) { '?' } else { c }).collect();
    lines.iter().map(safe).collect()
}

fn of_session(session: &LiveSession) -> String {
    let LiveSession { id, client, agent, streams, .. } = session;
    let (ticket, since) = (Escaped(session.ticket.as_bytes()), utc(session.since));
    format!("{id}  \"{ticket}\" from {client} since {since}, {streams} streams ({agent})")
}

fn of_transfer(it: &LiveTransfer) -> String {
    let path = path_of(it);
    let (stored, total) = (ByteCount(it.bytes_stored), ByteCount(it.bytes_total));
    let (stored, total) = (civil::bytes(stored), civil::bytes(total));
    let rate = civil::rate(ByteCount(it.rate), Duration::from_secs(1));
    let since = utc(it.since);
    let limit = it
        .limit
        .map(|limit| format!(", limit {}", civil::rate(ByteCount(limit), Duration::from_secs(1))));
    let limit = limit.unwrap_or_default();
    let paused = if it.paused { ", paused" } else { "" };
    let (id, way, path) = (&it.id, &it.direction, Escaped(&path));
    format!("  {id}  {way} \"{path}\" {stored} of {total}, {rate}{limit}{paused}, since {since}")
}

fn events(shown: &Shown) -> Vec<Event> {
    let mut events = vec![
        Event::new("server")
            .with("pid", shown.pid)
            .with("dir", shown.dir.as_str())
            .with("since", utc(shown.since))
            .with("draining", shown.draining)
            .with("sessions", shown.sessions.len() + shown.more),
    ];
    for session in &shown.sessions {
        events.push(
            Event::new("session")
                .with("id", session.id.as_str())
                .with("ticket", session.ticket.as_str())
                .with("client", session.client.as_str())
                .with("agent", session.agent.as_str())
                .with("since", utc(session.since))
                .with("streams", session.streams),
        );
        let transfers = session.transfers.iter();
        events.extend(transfers.map(|it| event_of(it).with("session", session.id.as_str())));
    }
    events
}

fn event_of(it: &LiveTransfer) -> Event {
    Event::new("transfer")
        .with("id", it.id.as_str())
        .with("direction", it.direction.as_str())
        .with_name("path", &path_of(it))
        .with("since", utc(it.since))
        .with("bytes_stored", it.bytes_stored)
        .with("bytes_total", it.bytes_total)
        .with("bytes_moved", it.bytes_moved)
        .with("bytes_per_second", it.rate)
        .with("limit", it.limit)
        .with("paused", it.paused)
}

/// Beneath the served directory; that itself is `/`.
fn path_of(it: &LiveTransfer) -> Vec<u8> {
    match HEXLOWER.decode(it.path_hex.as_bytes()) {
        Ok(path) if path.is_empty() => b"/".to_vec(),
        Ok(path) => path,
        Err(_) => b"?".to_vec(),
    }
}

fn utc(secs: i64) -> String {
    Timestamp::new(secs, 0).map_or_else(String::new, |stamp| Utc(stamp).to_string())
}

const NONE_RUNS: &str = "name the state directory of a server that runs with --state";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_shown_whatever_names_hold() {
        let path = "a\u{1b}[2J\n\u{202e}b";
        let transfer = LiveTransfer {
            id: "1.0\u{1b}".to_owned(),
            direction: "put\n".to_owned(),
            path_hex: HEXLOWER.encode(path.as_bytes()),
            since: 0,
            bytes_stored: 1,
            bytes_total: 2,
            bytes_moved: 3,
            rate: 4,
            limit: Some(5),
            paused: true,
        };
        let session = LiveSession {
            id: "1".to_owned(),
            ticket: "t\u{1b}".to_owned(),
            client: "c\n".to_owned(),
            agent: "a\u{9b}".to_owned(),
            since: 0,
            streams: 1,
            transfers: vec![transfer],
        };
        let dir = "d\u{1b}".to_owned();
        let shown =
            Shown { pid: 1, dir, since: 0, draining: true, sessions: vec![session], more: 1 };
        let text = lines(&shown);
        assert_eq!(text.len(), 4);
        assert!(!text.iter().any(|line| line.chars().any(is_hidden)), "{text:?}");
        assert!(text[2].contains("a\\u{1b}[2J\\u{a}\\u{202e}b"), "{text:?}");
        let events: Vec<_> = events(&shown).iter().map(ToString::to_string).collect();
        assert!(events.iter().all(|event| !event.contains('\n') && !event.contains('\u{1b}')));
    }
}
