//! `floe stat`: what stands at a path on a server, with its BLAKE3 root.

use crate::args::{ConnectFlags, OutputFlags, after_help};
use crate::civil;
use crate::dial::Dialer;
use crate::event::Channel;
use crate::fault::Result;
use crate::ls::{kind_text, mode_text, stat_event, unexpected};
use crate::output;
use crate::place::must_be_remote;
use crate::remote::{Remote, Spot};
use crate::report::{Form, Voice};
use crate::signals::Signals;
use floe_proto::command::StreamCount;
use floe_proto::frame::{Reply, Request, RootWish, Stat};
use floe_types::{EntryKind, Escaped};
use std::ffi::OsString;

/// Show what stands at a path on a server
///
/// The root is the BLAKE3 hash of a file, the 64 digits that b3sum prints. It is kept beside files
/// that floe wrote; where it is not known, --hash computes it on the server.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub struct StatArgs {
    /// The paths: floe://host[:port]/path or NAME:/path
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<OsString>,
    /// Compute the root where it is not known: the server reads the whole file
    #[arg(long)]
    hash: bool,
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(flatten)]
    pub output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe stat nas:/images/disk.img
  floe stat --hash floe://host/disk.img";

/// Runs `floe stat` to its end.
///
/// # Errors
/// What the server answers; the first path that fails ends it.
pub async fn run(args: StatArgs) -> Result<()> {
    let mut signals = Signals::listen()?;
    let voice = Voice::of(&args.output, Channel::Output);
    let mut dialer = Dialer::new(&args.connect, StreamCount::Fixed(1), voice)?;
    let root = if args.hash { RootWish::Computed } else { RootWish::IfKnown };
    for text in &args.paths {
        let remote = must_be_remote(Spot::parse(text, |name| dialer.knows(name))?, "PATH")?;
        let request = Request::Stat { path: remote.path.clone(), root };
        let Reply::Stat(stat) = signals.or(dialer.request(&remote, request)).await? else {
            return Err(unexpected(&remote));
        };
        match voice.form {
            Form::Json(channel) => stat_event("stat", &remote.path, Some(&stat)).send(channel),
            Form::Text => output::line(&lines(&remote, &stat))?,
        }
    }
    dialer.close().await;
    Ok(())
}

fn lines(remote: &Remote, stat: &Stat) -> String {
    let mut lines = vec![
        format!("name   {remote}"),
        format!("kind   {}", kind_text(stat.kind)),
        format!("mode   {:04o} {}", stat.metadata.mode.bits(), mode_text(stat)),
        format!("mtime  {}", civil::utc(stat.metadata.mtime)),
    ];
    match (&stat.target, stat.kind) {
        (Some(target), _) => lines.push(format!("target {}", Escaped(target))),
        (None, EntryKind::File) => {
            let size = stat.size;
            lines.push(format!("size   {} ({})", size, civil::bytes(size)));
            let root = stat.root.map_or_else(|| "unknown".to_owned(), |root| root.to_string());
            lines.push(format!("root   {root}"));
        }
        _ => {}
    }
    lines.join("\n")
}
