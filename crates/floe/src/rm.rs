//! `floe rm`: remove entries on a server.

use crate::args::{ConnectFlags, OutputFlags, after_help};
use crate::change::change_each;
use crate::fault::{Failure, Result};
use floe_proto::frame::{Recursive, Request};
use floe_types::Code;
use std::ffi::OsString;

/// Remove files and directories on a server
///
/// A directory needs -r, also an empty one, and goes depth first: this is not atomic, and what was
/// removed before a failure stays removed. When it is done it is durable.
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
    change_each("removed", &args.paths, &args.connect, &args.output, |remote| {
        if remote.path.is_root() {
            let detail = format!("{remote} is the served directory itself");
            return Err(Failure::hinted(Code::Usage, detail, "name what is in it"));
        }
        Ok(Request::Remove { path: remote.path.clone(), recursive })
    })
    .await
}
