//! `floe ticket list` and `floe ticket show`.

use super::bounds::{prefix_text, rate_text, ticket_event, verbs_text};
use super::{PlaceFlags, unknown};
use crate::args::{AFTER_HELP, OutputFlags};
use crate::civil;
use crate::event::{Channel, Event};
use crate::fault::Result;
use crate::output;
use crate::report::{Form, Voice};
use crate::settings::find_state;
use floe_engine::grant::{Account, Meter, Uses};
use floe_engine::ticket::Entry;
use floe_types::Escaped;

/// List the tickets of a served directory
///
/// One a line: id, name, verbs, prefix, when it was made, when it expires, and its other bounds
/// with what of them is used.
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
        let gone = Gone::of(&args.place, &entry)?;
        match voice.form {
            Form::Json(channel) => gone.with(ticket_event(&entry)).send(channel),
            Form::Text => output::line(&entry_line(&entry, &gone))?,
        }
    }
    Ok(())
}

pub(super) fn show(args: &ShowArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let (tickets, root) = args.place.open()?;
    let entry = tickets.find(root, &args.ticket).map_err(unknown)?;
    let gone = Gone::of(&args.place, &entry)?;
    match voice.form {
        Form::Json(channel) => gone.with(ticket_event(&entry)).send(channel),
        Form::Text => {
            for (what, is) in lines(&entry, &gone) {
                output::line(&format_args!("{what:<9}{is}"))?;
            }
        }
    }
    Ok(())
}

/// What of a ticket's bounds is gone, of those that are counted.
struct Gone {
    account: Option<Account>,
    uses: Option<u32>,
}

impl Gone {
    fn of(place: &PlaceFlags, entry: &Entry) -> Result<Self> {
        let (state, ticket) = (find_state(&place.state)?, entry.id.to_string());
        let account = entry.bounds.quota.is_some().then(|| Meter::peek(&state, &ticket));
        let uses = entry.bounds.uses.map(|_| Uses::peek(&state, &ticket));
        let uses = uses.transpose()?.map(|uses| uses.begun());
        Ok(Self { account: account.transpose()?, uses })
    }

    fn with(&self, event: Event) -> Event {
        let event = event.with("used_times", self.uses);
        let Some(account) = self.account else { return event };
        event
            .with("used_bytes", account.used().bytes.0)
            .with("used_files", account.used().entries.0)
            .with("staged_bytes", account.reserved().bytes.0)
            .with("staged_files", account.reserved().entries.0)
    }
}

fn lines(entry: &Entry, gone: &Gone) -> Vec<(&'static str, String)> {
    let bounds = &entry.bounds;
    let mut lines = vec![
        ("name", Escaped(entry.name.as_bytes()).to_string()),
        ("id", entry.id.to_string()),
        ("allows", verbs_text(bounds.verbs)),
        ("prefix", prefix_text(&bounds.prefix)),
        ("created", civil::utc(entry.created)),
        ("expires", bounds.expires.map_or_else(|| "never".to_owned(), civil::utc)),
    ];
    lines.extend(bounded(entry, gone));
    lines
}

/// Its other bounds, each with its name.
fn bounded(entry: &Entry, gone: &Gone) -> Vec<(&'static str, String)> {
    let bounds = &entry.bounds;
    let mut all = Vec::new();
    all.extend(gone.account.map(|account| ("quota", quota_text(entry, account))));
    all.extend(bounds.rate.map(|rate| ("rate", format!("{} at most", rate_text(rate)))));
    all.extend(bounds.streams.map(|most| ("streams", format!("{most} in a session"))));
    let used = gone.uses.unwrap_or_default();
    all.extend(bounds.uses.map(|most| ("uses", format!("{used} of {most} begun"))));
    all.extend(bounds.client_key.map(|pin| ("client", format!("with the key {pin}"))));
    all
}

/// What of a quota is gone: `1.50 GiB of 9.31 GiB used, 0 B staged; 3 files used, 0 staged`.
fn quota_text(entry: &Entry, account: Account) -> String {
    let quota = entry.bounds.quota;
    let (used, staged) = (account.used(), account.reserved());
    let most = quota.bytes.map(|most| format!(" of {}", civil::bytes(most))).unwrap_or_default();
    let files = quota.entries.map(|most| format!(" of {most}")).unwrap_or_default();
    let [bytes, staged_bytes] = [used.bytes, staged.bytes].map(civil::bytes);
    format!(
        "{bytes}{most} used, {staged_bytes} staged; {}{files} files used, {} staged",
        used.entries, staged.entries
    )
}

fn entry_line(entry: &Entry, gone: &Gone) -> String {
    let bounded = bounded(entry, gone).into_iter().map(|(what, is)| format!("\t{what} {is}"));
    format!(
        "{}\t{}\t{}\t{}\t{}\t{}{}",
        entry.id,
        Escaped(entry.name.as_bytes()),
        verbs_text(entry.bounds.verbs),
        prefix_text(&entry.bounds.prefix),
        civil::utc(entry.created),
        entry.bounds.expires.map_or_else(|| "never expires".to_owned(), civil::utc),
        bounded.collect::<String>()
    )
}
