//! `floe ticket list` and `floe ticket show`.

use super::bounds::{prefix_text, ticket_event, verbs_text};
use super::{PlaceFlags, unknown};
use crate::args::{AFTER_HELP, OutputFlags};
use crate::civil;
use crate::event::Channel;
use crate::fault::Result;
use crate::output;
use crate::report::{Form, Voice};
use floe_engine::ticket::Entry;
use floe_types::Escaped;

/// List the tickets of a served directory
///
/// One a line: id, name, verbs, prefix, when it was made, when it expires.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ListArgs {
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

/// Show what a ticket allows
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ShowArgs {
    /// Its name or id, as 'floe ticket list' shows it
    #[arg(value_name = "NAME|ID")]
    ticket: String,
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

pub(super) fn run(args: &ListArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let (tickets, root) = args.place.open()?;
    for entry in tickets.list(root)? {
        match voice.form {
            Form::Json(channel) => ticket_event(&entry).send(channel),
            Form::Text => output::line(&entry_line(&entry))?,
        }
    }
    Ok(())
}

pub(super) fn show(args: &ShowArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let (tickets, root) = args.place.open()?;
    let entry = tickets.find(root, &args.ticket).map_err(unknown)?;
    match voice.form {
        Form::Json(channel) => ticket_event(&entry).send(channel),
        Form::Text => {
            for (what, is) in lines(&entry) {
                output::line(&format_args!("{what:<9}{is}"))?;
            }
        }
    }
    Ok(())
}

fn lines(entry: &Entry) -> Vec<(&'static str, String)> {
    let bounds = &entry.bounds;
    vec![
        ("name", Escaped(entry.name.as_bytes()).to_string()),
        ("id", entry.id.to_string()),
        ("allows", verbs_text(bounds.verbs)),
        ("prefix", prefix_text(&bounds.prefix)),
        ("created", civil::utc(entry.created)),
        ("expires", bounds.expires.map_or_else(|| "never".to_owned(), civil::utc)),
    ]
}

fn entry_line(entry: &Entry) -> String {
    format!(
        "{}\t{}\t{}\t{}\t{}\t{}",
        entry.id,
        Escaped(entry.name.as_bytes()),
        verbs_text(entry.bounds.verbs),
        prefix_text(&entry.bounds.prefix),
        civil::utc(entry.created),
        entry.bounds.expires.map_or_else(|| "never expires".to_owned(), civil::utc)
    )
}
