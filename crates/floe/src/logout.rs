//! `floe logout`: forget a server and its ticket.

use crate::args::{AFTER_HELP, OutputFlags, StateFlag};
use crate::event::{Channel, Event};
use crate::fault::{Failure, Result};
use crate::report::Voice;
use crate::settings::find_state;
use floe_engine::hosts::Hosts;
use floe_types::{Code, Fault};

/// Forget a server and its ticket
///
/// The ticket stays valid on the server until it expires or 'floe ticket revoke' takes it back
/// there.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct LogoutArgs {
    /// The name, as 'floe hosts' shows it
    name: String,
    #[command(flatten)]
    state: StateFlag,
    #[command(flatten)]
    pub output: OutputFlags,
}

/// Runs `floe logout`.
///
/// # Errors
/// `NotFound`, `State`.
pub fn run(args: &LogoutArgs) -> Result<()> {
    let voice = Voice::of(&args.output, Channel::Output);
    Hosts::new(&find_state(&args.state)?).remove(&args.name).map_err(|fault: Fault| match fault
        .code
    {
        Code::NotFound => Failure::hinted(fault.code, fault.detail, "see floe hosts"),
        _ => fault.into(),
    })?;
    voice.say(&format_args!("{} is forgotten", args.name));
    voice.send(|| Event::new("logged_out").with("name", args.name.as_str()));
    Ok(())
}
