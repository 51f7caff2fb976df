//! `floe mkdir`: make directories on a server.

use crate::args::{ConnectFlags, OutputFlags, after_help};
use crate::change::change_each;
use crate::fault::Result;
use floe_proto::frame::Request;
use std::ffi::OsString;

/// Make directories on a server, and their missing parents
///
/// One that stands there already is no error. When it is done it is durable.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub struct MkdirArgs {
    /// What to make: floe://host[:port]/path or NAME:/path
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(flatten)]
    pub output: OutputFlags,
}

const EXAMPLES: &str = "\
Example:
  floe mkdir nas:/images/2025/05";

/// Runs `floe mkdir` to its end.
///
/// # Errors
/// What the server answers; others go on.
pub async fn run(args: MkdirArgs) -> Result<()> {
    change_each("made", &args.paths, &args.connect, &args.output, |remote| {
        Ok(Request::MakeDirectory { path: remote.path.clone() })
    })
    .await
}
