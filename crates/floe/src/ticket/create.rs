//! `floe ticket create`.

use super::PlaceFlags;
use super::bounds::{client_key, count, expiry, prefix, sentence, times, verbs, with_bounds};
use crate::args::{OutputFlags, after_help, rate};
use crate::civil;
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result};
use crate::output;
use crate::report::{Form, Voice};
use crate::settings::{open_state, own_identity};
use floe_engine::grant::{Bounds, Quota};
use floe_engine::identity::{Identity, KeyPin};
use floe_engine::server::find_prefix;
use floe_engine::ticket::{NewTicket, TicketStore};
use floe_proto::frame::Verbs;
use floe_types::{ByteCount, Code, EntryCount, Escaped, ObjectPath, Rate};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Make a ticket and print it, once
///
/// The ticket goes to standard output, and nothing can show it again. Give it to one person or
/// machine over a safe channel; there it is typed into, or piped into, 'floe login'.
///
/// Verbs: 'read' gets objects. 'list' lists and stats, and is needed to get a directory.
/// 'write-new' puts objects under names that nothing has; 'overwrite', beside it, also where
/// something stands. 'mkdir' makes directories, which a put of a directory needs where they are
/// missing. 'remove' removes; with 'write-new' it renames.
///
/// With 'write-new' alone a ticket is a drop box: its holder puts objects into the root (or, with
/// --prefix, into that directory), and is told nothing of what is there but that a name is taken.
///
/// A quota bounds what all sessions of the ticket bring in, together and in all: an object that
/// replaces another counts whole, and removing gives nothing back. What is staged counts from the
/// moment on that its size is announced (of unknown size: as it is written) until it is committed
/// or discarded; what a broken transfer left is kept for seven days. Put again, it counts once.
///
/// A use is one put or get, of a file or a tree, however often it has to be continued: whoever
/// broke off can go on with the same after the last use was begun. Other requests are not counted,
/// and are refused to whoever comes when nothing is left.
///
/// A ticket with a client key is good only on connections whose TLS client proves to hold that key:
/// the text alone lets nobody in, and in plaintext it is good for nothing. Its holder logs in with
/// --own-key.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub(super) struct CreateArgs {
    /// What to call it: 1 to 64 printable characters
    name: String,
    /// What it allows, with commas between: read, list, write-new, overwrite, remove, mkdir, or all
    #[arg(long, value_name = "VERBS", default_value = "read,list", value_parser = verbs)]
    allow: Verbs,
    /// A directory beneath the served one; its holder sees that as the root, and nothing beyond
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = prefix)]
    prefix: ObjectPath,
    /// How long it is valid, as in 12h, 7d or 4w; without it, until it is revoked
    #[arg(long, value_name = "SPAN", value_parser = civil::parse_span)]
    expires: Option<Duration>,
    /// How many bytes may be brought in, in all, as in 500M or 20GiB
    #[arg(long, value_name = "SIZE", value_parser = civil::parse_bytes)]
    quota: Option<ByteCount>,
    /// How many files, links and directories may be brought in, in all
    #[arg(long, value_name = "N", value_parser = count)]
    quota_files: Option<EntryCount>,
    /// How fast bytes may go, as in 10M (bytes a second): both ways, all its sessions together
    #[arg(long, value_name = "RATE", value_parser = rate)]
    rate: Option<Rate>,
    /// How many connections each of its sessions may have
    #[arg(long, value_name = "N", value_parser = times)]
    streams: Option<NonZeroU32>,
    /// How many puts and gets there may be, in all
    #[arg(long, value_name = "N", value_parser = times)]
    uses: Option<NonZeroU32>,
    /// Good only for the client with this key, which 'floe key show --client' shows there
    #[arg(long, value_name = "FINGERPRINT", value_parser = client_key)]
    client_key: Option<KeyPin>,
    /// The server's own certificate, where 'floe serve --cert' is used
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe ticket create alice --root /srv/data --prefix /people/alice --allow all
  floe ticket create guest --root /srv/data --allow read,list --expires 7d
  floe ticket create dropbox --root /srv/data --prefix /incoming --allow write-new --quota 10G
  floe ticket create backup --root /srv/data --allow write-new,mkdir --client-key 7d2a...
  floe ticket create once --root /srv/data --prefix /release --uses 1 --expires 7d";

pub(super) fn run(args: &CreateArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let state = open_state(&args.place.state)?;
    let pin = match (&args.cert, &args.key) {
        (Some(cert), Some(key)) => own_identity(cert, key)?.pin(),
        _ => Identity::load_or_create(&state)?.pin(),
    };
    let now = SystemTime::now();
    let bounds = Bounds {
        verbs: args.allow,
        prefix: args.prefix.clone(),
        expires: args.expires.map(|span| expiry(now, span)).transpose()?,
        quota: Quota { bytes: args.quota, entries: args.quota_files },
        rate: args.rate,
        streams: args.streams,
        uses: args.uses,
        client_key: args.client_key,
    };
    let root = args.place.root_id(&state)?;
    // One that is mistyped would be a root with nothing in it.
    find_prefix(&args.place.root, &bounds.prefix).map_err(|fault| {
        Failure::from(fault).hinting(Code::NotFound, MAKE).hinting(Code::NotDirectory, PLAIN)
    })?;
    let new = NewTicket { name: args.name.clone(), bounds: bounds.clone(), root, pin };
    let ticket = TicketStore::open(&state)?.create(new, now).map_err(|fault| {
        Failure::from(fault).hinting(Code::Exists, TAKEN).hinting(Code::Usage, HELP)
    })?;
    match voice.form {
        Form::Json(channel) => {
            let event = Event::new("ticket")
                .with("name", args.name.as_str())
                .with("id", ticket.id().to_string());
            with_bounds(event, &bounds).with("ticket", ticket.reveal().as_str()).send(channel);
        }
        Form::Text => output::line(&ticket.reveal().as_str())?,
    }
    let name = Escaped(args.name.as_bytes());
    voice.say(&format_args!("\"{name}\" {}; it is shown only now", sentence(&bounds)));
    Ok(())
}

const TAKEN: &str = "floe ticket list shows the names that are taken";
const MAKE: &str = "make that directory in --root first";
const PLAIN: &str = "a prefix is a directory in --root, and no link leads to it";
const HELP: &str = "see floe ticket create --help";
