//! The command line as a whole: every command, and how to run the one that was typed.
//!
//! A wrong command line is one line on standard error and status 2, like every other failure.

use crate::args::{AFTER_HELP, OutputFlags, STYLES};
use crate::event::{self, Channel, Event};
use crate::fault::{Failure, Result, tell};
use crate::settings::LogFormat;
use crate::{
    audit, completions, doctor, get, hosts, key, login, logout, ls, man, mkdir, mv, put, raw,
    receipt, rm, serve, stat, status, ticket, torture, try_command,
};
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use floe_types::Code;
use std::ffi::{OsStr, OsString};
use std::io::IsTerminal;
use std::os::unix::ffi::OsStrExt;

/// Move large files between machines: whole, verified, resumable
///
/// 'floe serve' on one machine, 'floe put' and 'floe get' on another. Every byte is encrypted on
/// the way and verified at the other end against the BLAKE3 root that b3sum prints; nothing partial
/// is ever visible; the same command after any interruption continues.
#[derive(Parser, Clone, Debug)]
#[command(name = "floe", version, styles = STYLES, after_help = AFTER_HELP, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Clone, Debug)]
enum Verb {
    Serve(serve::ServeArgs),
    Status(status::StatusArgs),
    Put(put::PutArgs),
    Get(get::GetArgs),
    Ls(ls::LsArgs),
    Stat(stat::StatArgs),
    Rm(rm::RmArgs),
    Mv(mv::MvArgs),
    Mkdir(mkdir::MkdirArgs),
    Login(login::LoginArgs),
    Logout(logout::LogoutArgs),
    Hosts(hosts::HostsArgs),
    Ticket(ticket::TicketArgs),
    Key(key::KeyArgs),
    Audit(audit::AuditArgs),
    Receipt(receipt::ReceiptArgs),
    Doctor(doctor::DoctorArgs),
    Try(try_command::TryArgs),
    Torture(torture::TortureArgs),
    Raw(raw::RawArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

/// The description of the whole command line.
fn command() -> clap::Command {
    Cli::command()
}

/// Runs what was typed; the exit status.
pub fn run(words: impl IntoIterator<Item = OsString>) -> u8 {
    let words: Vec<OsString> = words.into_iter().collect();
    let mut verb = match read(&words) {
        Ok(cli) => cli.verb,
        Err(Refusal::Shown) => return 0,
        Err(Refusal::Wrong(failure)) => {
            let json = words.iter().any(|word| word == "--json").then_some(Channel::Output);
            return end(Err(failure), json);
        }
    };
    let (verbose, json) = verb.voice();
    if let Verb::Serve(args) = &mut verb
        && let Err(failure) = args.give_up_root()
    {
        return end(Err(failure), json);
    }
    match &verb {
        Verb::Serve(args) => log_to_stderr(verbose, tracing::Level::INFO, args.log_format()),
        _ => log_to_stderr(verbose, tracing::Level::WARN, LogFormat::Text),
    }
    end(run_verb(verb), json)
}

enum Refusal {
    /// Help or version was asked for, and printed.
    Shown,
    Wrong(Failure),
}

fn read(words: &[OsString]) -> std::result::Result<Cli, Refusal> {
    let refuse = |error: clap::Error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            Refusal::Shown
        }
        _ => Refusal::Wrong(wrong(&error, words)),
    };
    let command = command();
    let words_in_order = names_last(words, &command);
    let matches = command.try_get_matches_from(words_in_order).map_err(refuse)?;
    Cli::from_arg_matches(&matches).map_err(refuse)
}

/// SRC... DEST with the options first, as the parser takes the name before an option for DEST.
fn names_last(words: &[OsString], command: &clap::Command) -> Vec<OsString> {
    let verb = words.get(1).filter(|verb| *verb == "put" || *verb == "get");
    let Some(verb) = verb.and_then(|verb| command.find_subcommand(verb)) else {
        return words.to_vec();
    };
    let takes_value = |word: &OsStr| {
        let mut valued = verb.get_arguments().filter(|arg| arg.get_action().takes_values());
        valued.any(|arg| arg.get_long().is_some_and(|long| word == &*format!("--{long}")))
    };
    // Behind it names may begin with a dash, which the parser takes in no other place.
    if words.iter().any(|word| word == "--") {
        return words.to_vec();
    }
    let (mut options, mut names) = (words[..2].to_vec(), vec![OsString::from("--")]);
    let mut rest = words[2..].iter().cloned();
    while let Some(word) = rest.next() {
        if word == "-" || !word.as_bytes().starts_with(b"-") {
            names.push(word);
            continue;
        }
        let value = if takes_value(&word) { rest.next() } else { None };
        options.push(word);
        options.extend(value);
    }
    options.extend(names);
    options
}

/// What clap says on several lines, on one.
fn wrong(error: &clap::Error, words: &[OsString]) -> Failure {
    let hint = format!("see {} --help", typed(words));
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Failure::hinted(Code::Usage, "a command is missing", hint);
    }
    let text = error.render().to_string();
    let said = text.split("Usage:").next().unwrap_or(&text);
    let said = said.split("For more information").next().unwrap_or(said);
    let said: Vec<&str> = said.split_whitespace().collect();
    let said = said.join(" ");
    let said = said.strip_prefix("error: ").unwrap_or(&said);
    let said = match said.contains("<SRC>...") && !said.contains("<DEST>") {
        // The only name that was typed is SRC to a person, and DEST to the parser.
        true => said.replace("<SRC>...", "<DEST>"),
        false => said.to_owned(),
    };
    let said: String = said.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    Failure::hinted(Code::Usage, said, hint)
}

/// The command that was typed, as far as there is one.
fn typed(words: &[OsString]) -> String {
    let (mut typed, mut at) = ("floe".to_owned(), command());
    for word in words.iter().skip(1) {
        let Some(below) = at.find_subcommand(word).cloned() else { break };
        typed = format!("{typed} {}", below.get_name());
        at = below;
    }
    typed
}

fn run_verb(verb: Verb) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Code::Other, format!("start the runtime: {error}")))?;
    let result = runtime.block_on(async {
        match verb {
            Verb::Serve(args) => serve::run(args).await,
            Verb::Status(args) => status::run(&args),
            Verb::Put(args) => put::run(args).await,
            Verb::Get(args) => get::run(args).await,
            Verb::Ls(args) => ls::run(args).await,
            Verb::Stat(args) => stat::run(args).await,
            Verb::Rm(args) => rm::run(args).await,
            Verb::Mv(args) => mv::run(args).await,
            Verb::Mkdir(args) => mkdir::run(args).await,
            Verb::Login(args) => login::run(args).await,
            Verb::Logout(args) => logout::run(&args),
            Verb::Hosts(args) => hosts::run(&args),
            Verb::Ticket(args) => ticket::run(&args),
            Verb::Key(args) => key::run(&args),
            Verb::Audit(args) => audit::run(&args),
            Verb::Receipt(args) => receipt::run(&args),
            Verb::Doctor(args) => doctor::run(args).await,
            Verb::Try(args) => try_command::run(args).await,
            Verb::Torture(args) => torture::run(args).await,
            Verb::Raw(args) => raw::run(args).await,
            Verb::Completions(args) => completions::run(&args, command()),
            Verb::Man(args) => man::run(&args, command()),
        }
    });
    // What still waits on a terminal or a pipe must not hold the end up.
    runtime.shutdown_background();
    result
}

impl Verb {
    /// How much is logged, and where an error goes for programs.
    fn voice(&self) -> (u8, Option<Channel>) {
        let of =
            |flags: &OutputFlags, channel: Channel| (flags.verbose, flags.json.then_some(channel));
        match self {
            Self::Serve(args) => of(&args.spoken(), Channel::Output),
            Self::Status(args) => of(args.output(), Channel::Output),
            Self::Put(args) => of(&args.output, Channel::Output),
            Self::Get(args) => of(&args.output, args.channel()),
            Self::Ls(args) => of(&args.output, Channel::Output),
            Self::Stat(args) => of(&args.output, Channel::Output),
            Self::Rm(args) => of(&args.output, Channel::Output),
            Self::Mv(args) => of(&args.output, Channel::Output),
            Self::Mkdir(args) => of(&args.output, Channel::Output),
            Self::Login(args) => of(&args.output, Channel::Output),
            Self::Logout(args) => of(&args.output, Channel::Output),
            Self::Hosts(args) => of(&args.output, Channel::Output),
            Self::Ticket(args) => of(args.output(), Channel::Output),
            Self::Key(args) => of(args.output(), Channel::Output),
            Self::Audit(args) => of(args.output(), Channel::Output),
            Self::Receipt(args) => of(args.output(), Channel::Output),
            Self::Raw(args) => of(args.output(), args.channel()),
            Self::Doctor(args) => of(&args.output, Channel::Output),
            Self::Try(args) => of(&args.output, Channel::Output),
            Self::Torture(args) => of(&args.output, Channel::Output),
            Self::Completions(_) | Self::Man(_) => (0, None),
        }
    }
}

fn end(result: Result<()>, json: Option<Channel>) -> u8 {
    let failure = match result {
        Ok(()) | Err(Failure::ReaderGone) => match event::unsaid() {
            None => return 0,
            Some(failure) => failure,
        },
        Err(failure) => failure,
    };
    tell(&failure);
    let status = failure.code().exit_status();
    if let (Some(channel), Failure::Fault { fault, .. }) = (json, &failure) {
        let event = Event::new("error").with_fault_and_hint(fault, failure.hint());
        event.with("exit_status", status).send(channel);
    }
    status
}

/// `-v` shows a command's own `first`, `-vv` what the layers below log, `-vvv` everything.
fn log_to_stderr(verbose: u8, first: tracing::Level, format: LogFormat) {
    let level = match verbose {
        0 => tracing::Level::WARN,
        1 => first,
        2 => tracing::Level::DEBUG,
        _ => tracing::Level::TRACE,
    };
    // What reads a file or a pipe should not have to take colours out of it.
    let coloured = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(coloured)
        // A line that cannot be written is lost. It would be said on standard error, in a way that
        // panics where that is what cannot be written to.
        .log_internal_errors(false)
        .with_writer(std::io::stderr)
        .with_target(verbose > 1);
    // Another's that stands already is as good.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().flatten_event(true).with_span_list(false).try_init(),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(words: &[&str]) -> String {
        match read(&words.iter().map(OsString::from).collect::<Vec<_>>()) {
            Err(Refusal::Wrong(failure)) => {
                assert_eq!(failure.code().exit_status(), 2, "{words:?}");
                failure.to_string()
            }
            Err(Refusal::Shown) => panic!("{words:?}: shown"),
            Ok(_) => panic!("{words:?}: accepted"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_wrong_command_line_is_one_line() {
        for words in [
            &["floe"][..],
            &["floe", "frob"],
            &["floe", "put"],
            &["floe", "put", "a"],
            &["floe", "put", "a", "nas:/a", "--streams", "0"],
            &["floe", "put", "a", "nas:/a", "--chunk", "3Mi"],
            &["floe", "put", "a", "nas:/a", "--lockstep", "--streams", "4"],
            &["floe", "put", "a", "nas:/a", "--compress", "20"],
            &["floe", "get", "nas:/a", "a", "--compress", "always"],
            &["floe", "serve", "--compress", "0"],
            &["floe", "put", "a", "nas:/a", "--background=no"],
            &["floe", "ticket", "create", "x", "--quota", "much"],
            &["floe", "ticket", "create", "x", "--prefix", ".."],
            &["floe", "ticket", "create", "x", "--client-key", "07"],
            &["floe", "ticket", "set", "x", "--client-key", "any"],
            &["floe", "ls", "nas:/", "--own-key", "--plaintext"],
            &["floe", "key"],
            &["floe", "key", "rotate", "--overlap", "long"],
            &["floe", "status", "end"],
            &["floe", "status", "limit", "3f2a9c1d", "0"],
            &["floe", "status", "frob", "3f2a9c1d"],
            &["floe", "serve", "--metrics=nowhere"],
            &["floe", "serve", "--metrics="],
            &["floe", "put", "a\n\x1b", "--nope\x1b[31m"],
        ] {
            let line = refused(words);
            assert!(!line.contains('\n') && !line.contains('\x1b'), "{line}");
            assert!(line.contains("see floe "), "{line}");
            assert!(!line.contains("For more"), "{line}");
        }
    }

    #[test]
    fn the_name_that_is_missing_is_the_one_that_is_named() {
        for verb in ["put", "get"] {
            let line = refused(&["floe", verb, "a"]);
            assert!(line.contains("<DEST>") && !line.contains("<SRC>"), "{line}");
            let line = refused(&["floe", verb]);
            assert!(line.contains("<DEST>") && line.contains("<SRC>"), "{line}");
        }
    }

    #[test]
    fn several_sources_and_one_dest_are_read() {
        let words = ["floe", "put", "a", "b", "c", "nas:/d/", "--limit", "100Mbit", "-v"];
        assert!(read(&words.map(OsString::from)).is_ok());
        let words = ["floe", "get", "nas:/a", "-", "--json", "-q"];
        assert!(read(&words.map(OsString::from)).is_ok());
    }
}
