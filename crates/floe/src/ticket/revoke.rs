//! `floe ticket revoke`.

use super::{PlaceFlags, undone};
use crate::args::{AFTER_HELP, OutputFlags};
use crate::event::{Channel, Event};
use crate::fault::Result;
use crate::report::Voice;
use crate::settings::find_state;
use floe_engine::grant::{Meter, Uses};
use floe_types::Escaped;

/// Revoke a ticket, for sessions that run and all that would begin
///
/// A running server closes the ticket's sessions within two seconds; what they have staged stays
/// for seven days, for nobody but the same client with the same ticket.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RevokeArgs {
    /// Its name or id, as 'floe ticket list' shows it
    #[arg(value_name = "NAME|ID")]
    ticket: String,
    #[command(flatten)]
    place: PlaceFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

pub(super) fn run(args: &RevokeArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let (tickets, root) = args.place.open()?;
    let gone = tickets.revoke(root, &args.ticket).map_err(undone)?;
    // It counts for nothing any more, and a session that is still to be closed may write it again.
    let (state, id) = (find_state(&args.place.state)?, gone.id.to_string());
    let _ = Meter::remove(&state, &id);
    let _ = Uses::remove(&state, &id);
    voice.say(&format_args!("\"{}\" is revoked", Escaped(gone.name.as_bytes())));
    voice.send(|| {
        Event::new("revoked").with("name", gone.name.as_str()).with("id", gone.id.to_string())
    });
    Ok(())
}
