//! `floe audit`: read the log that a server keeps of who moved what.

mod show;
mod verify;

use crate::args::{AFTER_HELP, OutputFlags, StateFlag};
use crate::fault::{Failure, Result};
use crate::settings::find_state;
use floe_engine::audit::Shelf;
use floe_types::Code;
use std::path::PathBuf;

/// Verify and show the audit log of a server (on the server)
///
/// 'floe serve' writes a line for each object committed or sent whole, each request that changed
/// names, each session. Lines are JSON, in audit.jsonl of its state directory; files that are full
/// stay beside it as audit.N.jsonl, N the number of the last line, until somebody takes them away.
/// Each line carries the BLAKE3 hash of the line before.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct AuditArgs {
    #[command(subcommand)]
    verb: AuditVerb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum AuditVerb {
    Verify(verify::VerifyArgs),
    Show(show::ShowArgs),
}

/// Which log.
#[derive(clap::Args, Clone, Debug)]
struct LogFlags {
    /// One file of a log [default: all files in the state directory, the oldest first]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    state: StateFlag,
}

impl LogFlags {
    /// The files, the oldest first.
    ///
    /// # Errors
    /// `NotFound`, `State`, the system's.
    fn open(&self) -> Result<Shelf> {
        let hint = "name a file, or the state directory of a server with --state";
        let shelf = match &self.file {
            Some(file) => Shelf::one(file),
            None => Shelf::of(&find_state(&self.state)?),
        };
        shelf.map_err(|fault| Failure::from(fault).hinting(Code::NotFound, hint))
    }
}

impl AuditArgs {
    /// How the command speaks.
    pub fn output(&self) -> &OutputFlags {
        match &self.verb {
            AuditVerb::Verify(args) => &args.output,
            AuditVerb::Show(args) => &args.output,
        }
    }
}

/// Runs `floe audit ...`.
///
/// # Errors
/// `Integrity` where a chain breaks; `NotFound`, `State`, the system's.
pub fn run(args: &AuditArgs) -> Result<()> {
    match &args.verb {
        AuditVerb::Verify(args) => verify::run(args),
        AuditVerb::Show(args) => show::run(args),
    }
}
