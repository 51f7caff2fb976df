//! `floe ticket set`.

use super::bounds::{expiry, sentence, ticket_event, verbs};
use super::{PlaceFlags, unknown};
use crate::args::{OutputFlags, after_help};
use crate::civil;
use crate::event::Channel;
use crate::fault::Result;
use crate::report::Voice;
use floe_proto::frame::Verbs;
use floe_types::{Code, Escaped};
use std::time::{Duration, SystemTime};

/// Change what a ticket allows; its holder keeps it
///
/// Sessions that run go on, also past the time at which the ticket would have expired. Where it
/// allows less than before, they are closed within two seconds; their clients come again by
/// themselves and continue as far as they still may. What is not named stays as it is.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
#[group(id = "change", required = true, multiple = true, args = ["allow", "expires"])]
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
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
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
    });
    let entry = changed.map_err(|fault| unknown(fault).hinting(Code::Usage, HELP))?;
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
