//! `floe key`: show the keys that a server is known by, and replace them.
//!
//! Like `floe ticket`, it changes files of the state directory; a server that runs notices.

mod rotate; // and retire
mod show;

use crate::args::{AFTER_HELP, OutputFlags};
use crate::fault::Result;

/// Show keys; replace the one that a server is known by
///
/// Clients pin the key: its fingerprint is in every ticket. 'rotate' makes another one; for a
/// while, the overlap, the server has the old one too. A client that comes in that time and expects
/// the old key gets it, is told the new one over the connection that the old key secures, and
/// expects that from then on: 'floe hosts' there shows it. What clients hold as text (FLOE_TICKET,
/// FLOE_KEY, tickets that were not logged in with) names the old key until somebody replaces it.
///
/// A server with --cert has no part in this: replace its files and send SIGHUP.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct KeyArgs {
    #[command(subcommand)]
    verb: KeyVerb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum KeyVerb {
    Show(show::ShowArgs),
    Rotate(rotate::RotateArgs),
    Retire(rotate::RetireArgs),
}

impl KeyArgs {
    /// How the command speaks.
    pub fn output(&self) -> &OutputFlags {
        match &self.verb {
            KeyVerb::Show(args) => &args.output,
            KeyVerb::Rotate(args) => &args.output,
            KeyVerb::Retire(args) => &args.output,
        }
    }
}

/// Runs `floe key ...`.
///
/// # Errors
/// `NotFound`, `AlreadyRunning`, `State`.
pub fn run(args: &KeyArgs) -> Result<()> {
    match &args.verb {
        KeyVerb::Show(args) => show::run(args),
        KeyVerb::Rotate(args) => rotate::rotate(args),
        KeyVerb::Retire(args) => rotate::retire(args),
    }
}
