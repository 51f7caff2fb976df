//! `floe ticket`: make, list and revoke tickets, on the server.
//!
//! A ticket is shown once, on standard output, when it is made; the server keeps only what checks
//! it. A running server takes the list as it is when a session begins.

use crate::args::{AFTER_HELP, OutputFlags, StateFlag, after_help};
use crate::civil;
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result};
use crate::output;
use crate::place::refuse_reserved;
use crate::report::{Form, Voice};
use crate::settings::{open_state, own_identity};
use floe_engine::identity::Identity;
use floe_engine::server::root_id_of;
use floe_engine::state::State;
use floe_engine::ticket::{Entry, NewTicket, RootId, TicketStore};
use floe_proto::frame::Verbs;
use floe_types::{Code, Escaped, Timestamp};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Make, list and revoke tickets (on the server)
///
/// A ticket lets a client in to one served directory. The owner ticket, made at the first 'floe
/// serve', allows everything there.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct TicketArgs {
    #[command(subcommand)]
    verb: TicketVerb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum TicketVerb {
    Create(CreateArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Make a ticket and print it, once
///
/// The ticket goes to standard output, and nothing can show it again. Give it to one person or
/// machine over a safe channel; there it is typed into, or piped into, 'floe login'.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
struct CreateArgs {
    /// What to call it: 1 to 64 printable characters
    name: String,
    /// What it allows, with commas between: read, list, write, overwrite, remove, or all
    #[arg(long, value_name = "VERBS", default_value = "read,list", value_parser = verbs)]
    allow: Verbs,
    /// How long it is valid, as in 12h, 7d or 4w; without it, until it is revoked
    #[arg(long, value_name = "SPAN", value_parser = civil::parse_span)]
    expires: Option<Duration>,
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    output: OutputFlags,
}

/// List the tickets of a served directory
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
struct ListArgs {
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    output: OutputFlags,
}

/// Revoke a ticket, for every session that begins from now on
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
struct RevokeArgs {
    /// Its name or id, as 'floe ticket list' shows it
    #[arg(value_name = "NAME|ID")]
    ticket: String,
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    output: OutputFlags,
}

#[derive(clap::Args, Clone, Debug)]
struct PlaceFlags {
    /// The served directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    /// The server's own certificate, where 'floe serve --cert' is used
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    #[command(flatten)]
    state: StateFlag,
}

const EXAMPLES: &str = "\
Examples:
  floe ticket create alice --root /srv/data --allow read,list --expires 7d
  floe ticket create backup --root /srv/data --allow write";

impl PlaceFlags {
    /// The id of the served directory.
    ///
    /// # Errors
    /// As opening it; `BadPath` for what floe keeps for itself.
    fn root_id(&self, state: &State) -> Result<RootId> {
        refuse_reserved(&self.root)?;
        root_id_of(&self.root, state).map_err(|fault| Failure::from(fault).naming_directory())
    }
}

impl TicketArgs {
    /// How the command speaks.
    pub fn output(&self) -> &OutputFlags {
        match &self.verb {
            TicketVerb::Create(args) => &args.output,
            TicketVerb::List(args) => &args.output,
            TicketVerb::Revoke(args) => &args.output,
        }
    }
}

/// Runs `floe ticket ...`.
///
/// # Errors
/// `Usage`, `Exists`, `NotFound`, `State`, the served directory's.
pub fn run(args: &TicketArgs) -> Result<()> {
    match &args.verb {
        TicketVerb::Create(args) => create(args),
        TicketVerb::List(args) => list(args),
        TicketVerb::Revoke(args) => revoke(args),
    }
}

fn create(args: &CreateArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let state = open_state(&args.place.state)?;
    let pin = match (&args.place.cert, &args.place.key) {
        (Some(cert), Some(key)) => own_identity(cert, key)?.pin(),
        _ => Identity::load_or_create(&state)?.pin(),
    };
    let now = SystemTime::now();
    let expires = args.expires.map(|span| expiry(now, span)).transpose()?;
    let new = NewTicket {
        name: args.name.clone(),
        verbs: args.allow,
        expires,
        root: args.place.root_id(&state)?,
        pin,
    };
    let ticket = TicketStore::open(&state)?.create(new, now).map_err(|fault| {
        Failure::from(fault).hinting(Code::Exists, TAKEN).hinting(Code::Usage, HELP)
    })?;
    match voice.form {
        Form::Json(channel) => Event::new("ticket")
            .with("name", args.name.as_str())
            .with("id", ticket.id().to_string())
            .with("allow", verbs_text(args.allow))
            .with("expires", expires.map(civil::utc))
            .with("ticket", ticket.reveal().as_str())
            .send(channel),
        Form::Text => output::line(&ticket.reveal().as_str())?,
    }
    voice.say(&format_args!(
        "\"{}\" allows {}, {}; it is shown only now",
        Escaped(args.name.as_bytes()),
        verbs_text(args.allow),
        expires
            .map_or_else(|| "until it is revoked".into(), |at| format!("until {}", civil::utc(at))),
    ));
    Ok(())
}

fn list(args: &ListArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let state = open_state(&args.place.state)?;
    for entry in TicketStore::open(&state)?.list(args.place.root_id(&state)?)? {
        match voice.form {
            Form::Json(channel) => Event::new("ticket")
                .with("name", entry.name.as_str())
                .with("id", entry.id.to_string())
                .with("allow", verbs_text(entry.verbs))
                .with("created", civil::utc(entry.created))
                .with("expires", entry.expires.map(civil::utc))
                .send(channel),
            Form::Text => output::line(&entry_line(&entry))?,
        }
    }
    Ok(())
}

fn revoke(args: &RevokeArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let state = open_state(&args.place.state)?;
    let root = args.place.root_id(&state)?;
    let gone = TicketStore::open(&state)?
        .revoke(root, &args.ticket)
        .map_err(|fault| Failure::from(fault).hinting(Code::NotFound, KNOWN))?;
    voice.say(&format_args!("\"{}\" is revoked", Escaped(gone.name.as_bytes())));
    voice.send(|| {
        Event::new("revoked").with("name", gone.name.as_str()).with("id", gone.id.to_string())
    });
    Ok(())
}

const TAKEN: &str = "floe ticket list shows the names that are taken";
const HELP: &str = "see floe ticket create --help";
const KNOWN: &str = "floe ticket list shows the tickets of --root";

fn entry_line(entry: &Entry) -> String {
    format!(
        "{}\t{}\t{}\t{}\t{}",
        entry.id,
        Escaped(entry.name.as_bytes()),
        verbs_text(entry.verbs),
        civil::utc(entry.created),
        entry.expires.map_or_else(|| "never expires".to_owned(), civil::utc)
    )
}

fn expiry(now: SystemTime, span: Duration) -> Result<Timestamp> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let at = since.checked_add(span).and_then(|at| i64::try_from(at.as_secs()).ok());
    at.and_then(|secs| Timestamp::new(secs, 0))
        .ok_or_else(|| Failure::new(Code::Usage, "--expires is too long"))
}

const VERBS: [(&str, Verbs); 5] = [
    ("read", Verbs::READ),
    ("list", Verbs::LIST),
    ("write", Verbs::WRITE),
    ("overwrite", Verbs::OVERWRITE),
    ("remove", Verbs::REMOVE),
];

fn verbs(text: &str) -> std::result::Result<Verbs, String> {
    text.split(',').try_fold(Verbs::default(), |verbs, word| {
        if word == "all" {
            return Ok(Verbs::ALL);
        }
        let found = VERBS.iter().find(|(name, _)| *name == word);
        found
            .map(|(_, verb)| verbs.and(*verb))
            .ok_or_else(|| "verbs are read, list, write, overwrite, remove, or all".to_owned())
    })
}

fn verbs_text(verbs: Verbs) -> String {
    let words: Vec<_> =
        VERBS.iter().filter(|(_, verb)| verbs.allow(*verb)).map(|(name, _)| *name).collect();
    words.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_words_with_commas() {
        assert_eq!(verbs("read,list"), Ok(Verbs::READ.and(Verbs::LIST)));
        assert_eq!(verbs("all"), Ok(Verbs::ALL));
        for bad in ["", "read,", "execute", "READ", "read list"] {
            assert!(verbs(bad).is_err(), "{bad}");
        }
        assert_eq!(verbs_text(Verbs::ALL), "read,list,write,overwrite,remove");
    }
}
