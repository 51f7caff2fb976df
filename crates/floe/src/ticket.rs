//! `floe ticket`: make, list, show, change and revoke tickets, on the server.
//!
//! A ticket is shown once, on standard output, when it is made; the server keeps only what checks
//! it. A running server looks at the list whenever a session begins, and twice a second for those
//! that run.

mod bounds; // what a ticket allows, as flags and as text
mod create;
mod list;
mod revoke;
mod set;

use crate::args::{AFTER_HELP, OutputFlags, StateFlag};
use crate::fault::{Failure, Result};
use crate::place::refuse_reserved;
use crate::settings::find_state;
use floe_engine::server::root_id_of;
use floe_engine::state::State;
use floe_engine::ticket::{RootId, TicketStore};
use floe_types::{Code, Fault};
use std::path::PathBuf;

/// Make, list, show, change and revoke tickets (on the server)
///
/// A ticket lets a client in to one served directory, or to a part of it, for what it says. The
/// owner ticket allows everything there; 'floe serve' makes it at its start whenever there is none,
/// also where it was revoked.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct TicketArgs {
    #[command(subcommand)]
    verb: TicketVerb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum TicketVerb {
    Create(create::CreateArgs),
    List(list::ListArgs),
    Show(list::ShowArgs),
    Set(set::SetArgs),
    Revoke(revoke::RevokeArgs),
}

#[derive(clap::Args, Clone, Debug)]
struct PlaceFlags {
    /// The served directory
    #[arg(long, value_name = "DIR", default_value = ".")]
    root: PathBuf,
    #[command(flatten)]
    state: StateFlag,
}

impl PlaceFlags {
    /// The tickets of this machine, and the id of the served directory.
    ///
    /// # Errors
    /// `State`, and as `root_id`.
    fn open(&self) -> Result<(TicketStore, RootId)> {
        refuse_reserved(&self.root)?;
        let state = find_state(&self.state)?;
        let root = self.root_id(&state)?;
        Ok((TicketStore::open(&state)?, root))
    }

    /// The id of the served directory.
    ///
    /// # Errors
    /// As opening it; `BadPath` for what floe keeps for itself.
    fn root_id(&self, state: &State) -> Result<RootId> {
        refuse_reserved(&self.root)?;
        root_id_of(&self.root, state).map_err(|fault| Failure::from(fault).naming_directory())
    }
}

impl TicketArgs {
    /// How the command speaks.
    pub fn output(&self) -> &OutputFlags {
        match &self.verb {
            TicketVerb::Create(args) => &args.output,
            TicketVerb::List(args) => &args.output,
            TicketVerb::Show(args) => &args.output,
            TicketVerb::Set(args) => &args.output,
            TicketVerb::Revoke(args) => &args.output,
        }
    }
}

/// Runs `floe ticket ...`.
///
/// # Errors
/// `Usage`, `Exists`, `NotFound`, `State`, the served directory's.
pub fn run(args: &TicketArgs) -> Result<()> {
    match &args.verb {
        TicketVerb::Create(args) => create::run(args),
        TicketVerb::List(args) => list::run(args),
        TicketVerb::Show(args) => list::show(args),
        TicketVerb::Set(args) => set::run(args),
        TicketVerb::Revoke(args) => revoke::run(args),
    }
}

/// Of a ticket that was named.
fn unknown(fault: Fault) -> Failure {
    Failure::from(fault).hinting(Code::NotFound, KNOWN)
}

/// Of a ticket that is as it was.
fn undone(fault: Fault) -> Failure {
    unknown(fault).hinting(Code::NoSpace, AS_IT_WAS)
}

const AS_IT_WAS: &str = "the ticket is as it was: make room for the state directory; until then \
                         'floe status end' ends what runs";
const KNOWN: &str = "floe ticket list shows the tickets of --root";
