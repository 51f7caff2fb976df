//! `floe mv`: rename an entry on a server.

use crate::args::{ConnectFlags, OutputFlags, after_help};
use crate::change::tell_done;
use crate::dial::Dialer;
use crate::event::Channel;
use crate::fault::{Failure, Result};
use crate::place::{into_remote, must_be_remote, own_remote_name, refuse_inside};
use crate::remote::{Ending, Spot};
use crate::report::Voice;
use crate::signals::Signals;
use floe_proto::command::StreamCount;
use floe_proto::frame::{Replace, Request};
use floe_types::Code;
use std::ffi::OsString;

/// Rename or move a file or directory on a server
///
/// Both names are on one server. TO ending in '/' means into TO. What stands at the new name is
/// replaced only with --overwrite; missing directories are not made. When it is done it is durable.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub struct MvArgs {
    /// What: floe://host[:port]/path or NAME:/path
    #[arg(value_name = "FROM")]
    from: OsString,
    /// Its new name, on the same server
    #[arg(value_name = "TO")]
    to: OsString,
    /// Replace what stands at the new name
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(flatten)]
    pub output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe mv nas:/in/disk.img nas:/images/disk.img
  floe mv --overwrite nas:/new.img nas:/disk.img";

/// Runs `floe mv` to its end.
///
/// # Errors
/// What the server answers; `Usage` for two servers, or a place within what is moved.
pub async fn run(args: MvArgs) -> Result<()> {
    let mut signals = Signals::listen()?;
    let voice = Voice::of(&args.output, Channel::Output);
    let mut dialer = Dialer::new(&args.connect, StreamCount::Fixed(1), voice)?;
    let read =
        |text: &OsString, role| must_be_remote(Spot::parse(text, |name| dialer.knows(name))?, role);
    let (from, mut to) = (read(&args.from, "FROM")?, read(&args.to, "TO")?);
    if dialer.address(&from.server)? != dialer.address(&to.server)? {
        let hint = "get it here and put it there";
        return Err(Failure::hinted(Code::Usage, format!("{from} and {to}: two servers"), hint));
    }
    if to.ending == Ending::Directory {
        to = to.at(into_remote(&to, own_remote_name(&from)?.clone())?);
    }
    refuse_inside(&from, &to.path)?;
    let replace = if args.overwrite { Replace::Allowed } else { Replace::Refused };
    let request = Request::Rename { from: from.path.clone(), to: to.path.clone(), replace };
    signals
        .or(dialer.request(&from, request))
        .await
        .map_err(|failure| failure.hinting(Code::Exists, "--overwrite replaces it"))?;
    tell_done(voice, "moved", &to);
    dialer.close().await;
    Ok(())
}
