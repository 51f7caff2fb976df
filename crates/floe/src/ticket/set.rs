//! `floe ticket set`.

use super::bounds::{client_key, count, expiry, sentence, ticket_event, times, verbs};
use super::{PlaceFlags, undone};
use crate::args::{OutputFlags, after_help, rate};
use crate::civil;
use crate::event::Channel;
use crate::fault::Result;
use crate::report::Voice;
use floe_engine::identity::KeyPin;
use floe_proto::frame::Verbs;
use floe_types::{ByteCount, Code, EntryCount, Escaped, Rate};
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

/// Change what a ticket allows; its holder keeps it
///
/// Sessions that run go on, also past the time at which the ticket would have expired. Where it
/// allows less than before, they are closed within two seconds; their clients come again by
/// themselves and continue as far as they still may. A quota that is changed counts for what runs
/// within two seconds: where less is left than is staged, nothing more is written. So does a rate;
/// where a session has more streams than it may now, or the ticket is bound to another client key,
/// it is closed and comes again. What is not named stays as it is.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
#[group(id = "change", required = true, multiple = true)]
#[group(args = ["allow", "expires", "quota", "quota_files", "rate", "streams", "uses"])]
#[group(args = ["client_key"])]
pub(super) struct SetArgs {
    /// Its name or id, as 'floe ticket list' shows it
    #[arg(value_name = "NAME|ID")]
    ticket: String,
    /// What it allows, with commas between: read, list, write-new, overwrite, remove, mkdir, or all
    #[arg(long, value_name = "VERBS", value_parser = verbs)]
    allow: Option<Verbs>,
    /// How long it is valid from now on, as in 12h, 7d or 4w; 'never': until it is revoked
    #[arg(long, value_name = "SPAN|never", value_parser = lifetime)]
    expires: Option<Lifetime>,
    /// How many bytes may be brought in, in all, with those that were; 'none': no bound
    #[arg(long, value_name = "SIZE|none", value_parser = bound(civil::parse_bytes))]
    quota: Option<Bound<ByteCount>>,
    /// How many files, links and directories may be brought in, in all; 'none': no bound
    #[arg(long, value_name = "N|none", value_parser = bound(count))]
    quota_files: Option<Bound<EntryCount>>,
    /// How fast bytes may go, as in 10M (bytes a second); 'none': no bound
    #[arg(long, value_name = "RATE|none", value_parser = bound(rate))]
    rate: Option<Bound<Rate>>,
    /// How many connections each of its sessions may have; 'none': no bound
    #[arg(long, value_name = "N|none", value_parser = bound(times))]
    streams: Option<Bound<NonZeroU32>>,
    /// How many puts and gets there may be, with those that were counted; 'none': no bound
    #[arg(long, value_name = "N|none", value_parser = bound(times))]
    uses: Option<Bound<NonZeroU32>>,
    /// Good only for the client with this key; 'none': for whoever has it
    #[arg(long, value_name = "FINGERPRINT|none", value_parser = bound(client_key))]
    client_key: Option<Bound<KeyPin>>,
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

/// A bound that is set, or taken away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bound<T> {
    Most(T),
    None,
}

impl<T> Bound<T> {
    fn most(self) -> Option<T> {
        match self {
            Self::Most(most) => Some(most),
            Self::None => None,
        }
    }
}

fn bound<T: Clone + Send + Sync + 'static>(
    parse: fn(&str) -> std::result::Result<T, String>,
) -> impl Fn(&str) -> std::result::Result<Bound<T>, String> + Clone + Send + Sync {
    move |text| match text {
        "none" => Ok(Bound::None),
        text => parse(text).map(Bound::Most),
    }
}

/// How long a ticket lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Lifetime {
    Span(Duration),
    Endless,
}

fn lifetime(text: &str) -> std::result::Result<Lifetime, String> {
    match text {
        "never" => Ok(Lifetime::Endless),
        span => civil::parse_span(span).map(Lifetime::Span),
    }
}

const EXAMPLES: &str = "\
Examples:
  floe ticket set guest --root /srv/data --expires 7d
  floe ticket set alice --root /srv/data --allow read,list";

pub(super) fn run(args: &SetArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let (tickets, root) = args.place.open()?;
    let now = SystemTime::now();
    let expires = match args.expires {
        None => None,
        Some(Lifetime::Endless) => Some(None),
        Some(Lifetime::Span(span)) => Some(Some(expiry(now, span)?)),
    };
    let changed = tickets.change_bounds(root, &args.ticket, now, |bounds| {
        bounds.verbs = args.allow.unwrap_or(bounds.verbs);
        bounds.expires = expires.unwrap_or(bounds.expires);
        let quota = &mut bounds.quota;
        quota.bytes = args.quota.map_or(quota.bytes, Bound::most);
        quota.entries = args.quota_files.map_or(quota.entries, Bound::most);
        bounds.rate = args.rate.map_or(bounds.rate, Bound::most);
        bounds.streams = args.streams.map_or(bounds.streams, Bound::most);
        bounds.uses = args.uses.map_or(bounds.uses, Bound::most);
        bounds.client_key = args.client_key.map_or(bounds.client_key, Bound::most);
    });
    let entry = changed.map_err(|fault| undone(fault).hinting(Code::Usage, HELP))?;
    let name = Escaped(entry.name.as_bytes());
    voice.say(&format_args!("\"{name}\" {}", sentence(&entry.bounds)));
    voice.send(|| ticket_event(&entry));
    Ok(())
}

const HELP: &str = "see floe ticket set --help";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_span_or_endless() {
        assert_eq!(lifetime("never"), Ok(Lifetime::Endless));
        assert_eq!(lifetime("2h"), Ok(Lifetime::Span(Duration::from_secs(7200))));
        assert!(lifetime("").is_err() && lifetime("Never").is_err());
    }
}
