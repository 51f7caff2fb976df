//! `floe rm`: remove entries on a server.

use crate::args::{ConnectFlags, OutputFlags, after_help};
use crate::change::change_each;
use crate::fault::Result;
use floe_proto::frame::{Recursive, Request};
use std::ffi::OsString;

/// Remove files and directories on a server
///
/// A directory needs -r, and goes depth first: this is not atomic, and what was removed before a
/// failure stays removed. When it is done it is durable.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub struct RmArgs {
    /// What to remove: floe://host[:port]/path or NAME:/path
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,
    /// Remove directories with all they hold
    #[arg(short, long)]
    recursive: bool,
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(flatten)]
    pub output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe rm nas:/images/old.img
  floe rm -r nas:/backup/photos";

/// Runs `floe rm` to its end.
///
/// # Errors
/// What the server answers; others go on.
pub async fn run(args: RmArgs) -> Result<()> {
    let recursive = if args.recursive { Recursive::Yes } else { Recursive::No };
    change_each("removed", &args.paths, &args.connect, &args.output, |path| Request::Remove {
        path,
        recursive,
    })
    .await
}
