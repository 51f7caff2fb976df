//! `floe receipt`: read what servers signed.

mod local; // files of this machine, held against it
mod verify;

use crate::args::{AFTER_HELP, OutputFlags};
use crate::fault::Result;

/// Verify the receipts that 'floe put --receipt FILE' keeps
///
/// A receipt is one line of JSON: a server says that at that time an object of this root and size
/// stood, durably, under this path, put with the ticket of this name; and signs that with the key
/// by which clients know it. Verifying needs the file, and the server's fingerprint to know whose
/// key it is; no connection.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ReceiptArgs {
    #[command(subcommand)]
    verb: ReceiptVerb,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum ReceiptVerb {
    Verify(verify::VerifyArgs),
}

impl ReceiptArgs {
    /// How the command speaks.
    pub fn output(&self) -> &OutputFlags {
        let ReceiptVerb::Verify(args) = &self.verb;
        &args.output
    }
}

/// Runs `floe receipt ...`.
///
/// # Errors
/// `Integrity` where a receipt does not hold; the system's.
pub fn run(args: &ReceiptArgs) -> Result<()> {
    let ReceiptVerb::Verify(args) = &args.verb;
    verify::run(args)
}
