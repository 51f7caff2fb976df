//! `floe key show`.

use crate::args::{AFTER_HELP, OutputFlags, StateFlag};
use crate::civil;
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result, Shown};
use crate::output;
use crate::report::{Form, Voice};
use crate::settings::{find_state, open_state};
use floe_engine::clock::timestamp;
use floe_engine::identity::{Identity, KeyPin, ServerKeys};
use floe_types::{Code, Timestamp};

/// Show the fingerprints of a server's keys, or of this client's own
///
/// One a line: 'current' is what tickets name that are made now, and what signs receipts;
/// 'retiring' is what the server still shows to clients that expect it, and until when; 'former'
/// are those that went, and when. Receipts that a former key signed still hold.
///
/// With --client it is the key of the client with this state directory, made if there is none: for
/// an operator who binds a ticket to it (floe ticket create --client-key). It is secret but for its
/// fingerprint, and shown to servers only where --own-key says so.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct ShowArgs {
    /// The key of this client
    #[arg(long)]
    client: bool,
    #[command(flatten)]
    state: StateFlag,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

pub(super) fn run(args: &ShowArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    if args.client {
        let own = Identity::of_client(&open_state(&args.state)?)?;
        return tell(voice, "client", own.pin(), None);
    }
    let state = find_state(&args.state)?;
    let Some(keys) = ServerKeys::load(&state, timestamp())? else {
        let detail = format!("show the key of {}", Shown(state.path()));
        return Err(Failure::hinted(Code::NotFound, detail, NONE));
    };
    tell(voice, "current", keys.current.pin(), None)?;
    if let Some(going) = &keys.retiring {
        tell(voice, "retiring", going.identity.pin(), Some(("until", going.until)))?;
    }
    for gone in keys.former.iter().rev() {
        tell(voice, "former", gone.pin, Some(("retired", gone.retired)))?;
    }
    Ok(())
}

fn tell(voice: Voice, is: &str, pin: KeyPin, when: Option<(&str, Timestamp)>) -> Result<()> {
    match voice.form {
        Form::Json(channel) => {
            let event = Event::new("key").with("is", is).with("fingerprint", pin.to_string());
            let event = match when {
                Some((what, at)) => event.with(what, civil::utc(at)),
                None => event,
            };
            event.send(channel);
            Ok(())
        }
        Form::Text => {
            let when = when.map(|(what, at)| format!("  {what} {}", civil::utc(at)));
            output::line(&format_args!("{is:<10}{pin}{}", when.unwrap_or_default()))
        }
    }
}

const NONE: &str = "floe serve makes one at its first start with that --state";
