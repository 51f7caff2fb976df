//! `floe key rotate` and `floe key retire`.

use crate::args::{AFTER_HELP, OutputFlags, StateFlag, after_help};
use crate::civil;
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result};
use crate::output;
use crate::report::{Form, Voice};
use crate::settings::{find_state, open_state};
use floe_engine::clock::timestamp;
use floe_engine::identity::ServerKeys;
use floe_engine::ticket::TicketStore;
use floe_types::Code;
use std::time::Duration;

/// Make another key, and keep the old one for a while
///
/// Prints the new fingerprint. A server that runs has the new key within a second; sessions that
/// run go on. Tickets that are made from now on name the new key, and receipts are signed with it.
/// During the overlap clients that pinned the old key still get in, and those with a saved login
/// move to the new one by themselves; afterwards they are refused and have to log in again. An
/// overlap ends by itself; 'floe key retire' ends it now.
///
/// Whoever stole the old key can tell clients a key of his own, as long as they expect the old
/// one. If it may have been stolen: --overlap none, and new tickets for everybody.
///
/// Servers that share a key (one identity in several state directories) do not share this: rotate
/// one, then copy identity.pem and keys.json to the others.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub(super) struct RotateArgs {
    /// How long clients that know the old key still get in, as in 12h, 30d or 26w; 'none': not at
    /// all
    #[arg(long, value_name = "SPAN|none", default_value = "30d", value_parser = overlap)]
    overlap: Duration,
    #[command(flatten)]
    state: StateFlag,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

/// End the overlap now: the old key is gone for good
///
/// A server that runs shows it to nobody from then on, within a second; sessions that run go on.
/// Metrics tell how many sessions began with it (floe_sessions_old_key_total): where that stays as
/// it is for as long as anybody may be away, nobody needs it any more.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct RetireArgs {
    #[command(flatten)]
    state: StateFlag,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}

fn overlap(text: &str) -> std::result::Result<Duration, String> {
    match text {
        "none" => Ok(Duration::ZERO),
        span => civil::parse_span(span),
    }
}

const EXAMPLES: &str = "\
Examples:
  floe key rotate                   clients have 30 days to come by
  floe key rotate --overlap 26w
  floe key rotate --overlap none    the old key may have been stolen";

pub(super) fn rotate(args: &RotateArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let state = open_state(&args.state)?;
    let before = ServerKeys::load_or_create(&state, timestamp())?.current.pin();
    let rotated = ServerKeys::rotate(&state, args.overlap, timestamp());
    let keys = rotated
        .map_err(|fault| Failure::from(fault).hinting(Code::AlreadyRunning, RETIRE_FIRST))?;
    let pin = keys.current.pin();
    let until = keys.retiring.map(|going| civil::utc(going.until));
    match voice.form {
        Form::Json(channel) => Event::new("rotated")
            .with("fingerprint", pin.to_string())
            .with("old", before.to_string())
            .with("until", until)
            .send(channel),
        Form::Text => {
            output::line(&pin)?;
            match until {
                Some(until) => voice.say(&format_args!(
                    "the old key, {before}, is there until {until} for clients that know it"
                )),
                None => voice.say(&format_args!("the old key, {before}, is gone: {GONE}")),
            }
        }
    }
    // Behind what was done: it stays done where this fails.
    Ok(TicketStore::open(&state)?.renew_owners(before, pin)?)
}

pub(super) fn retire(args: &RetireArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    let state = find_state(&args.state)?;
    let Some(gone) = ServerKeys::retire(&state, timestamp())? else {
        return Err(Failure::hinted(Code::NotFound, "retire the old key", NOTHING));
    };
    voice.say(&format_args!("the old key, {gone}, is gone: {GONE}"));
    voice.send(|| Event::new("retired").with("fingerprint", gone.to_string()));
    Ok(())
}

const GONE: &str = "clients that know no other need a ticket that is made now (floe ticket create)";
const RETIRE_FIRST: &str = "floe key retire ends that overlap now";
const NOTHING: &str = "no overlap runs; floe key show says which keys there are";
