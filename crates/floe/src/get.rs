//! `floe get`: files or directories from a server, to disk or standard output.

use crate::args::{ConnectFlags, OutputFlags, TransferFlags, after_help};
use crate::dial::Dialer;
use crate::event::{Channel, path_bytes};
use crate::fault::{Failure, Result};
use crate::inside;
use crate::place::{self, Rule, SourceKind, Sources};
use crate::remote::{LocalName, Remote, Spot};
use crate::report::{Hints, Name, Voice};
use crate::signals::Signals;
use crate::transfer::{Course, Job, Tally, lock_key, run_all};
use floe_engine::client::LocalSink;
use floe_proto::frame::{Reply, Request, RootWish};
use floe_types::{Code, EntryKind, Escaped};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Bring files and directories here from a server
///
/// SRC is a file or directory on a server; a directory comes whole. DEST is a local name, or '-'
/// for standard output (one file). DEST ending in '/' or '.', or more than one SRC, means into
/// DEST; otherwise DEST is the final name, and only a file goes into a directory that stands there.
/// Missing directories are made. Nothing partial is ever visible under the final name, and status 0
/// means that everything is durable here. After any interruption the same command continues. A
/// connection that is lost is made again, for up to five minutes without progress.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub struct GetArgs {
    /// What to get: floe://host[:port]/path or NAME:/path
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<OsString>,
    /// Where to: a local name, or '-' for standard output
    #[arg(required = true, value_name = "DEST")]
    dest: OsString,
    #[command(flatten)]
    transfer: TransferFlags,
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(flatten)]
    pub output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe get nas:/images/disk.img .           into this directory, under its own name
  floe get nas:/backup/photos photos        the directory itself, merged into what stands here
  floe get nas:/etc.tar - | tar t           each chunk verified before it is written
  floe get floe://host/a floe://host/b dir/";

/// Runs `floe get` to its end.
///
/// # Errors
/// Those of the transfers, told already; `Usage` and what keeps any of them from beginning.
pub async fn run(args: GetArgs) -> Result<()> {
    let mut signals = Signals::listen()?;
    let options = args.transfer.options()?;
    let voice = Voice::of(&args.output, args.channel());
    let mut dialer = Dialer::new(&args.connect, args.transfer.stream_count(), voice)?;
    let dest = read_dest(&dialer, &args.dest)?;
    let many = Sources::of(args.sources.len());
    let sources = read_sources(&dialer, &args.sources)?;
    refuse_unfit(&dest, &sources, many)?;
    let mut tally = Tally::default();
    let mut jobs = Vec::new();
    for source in sources {
        if tally.must_stop(options.on_failure) {
            break;
        }
        match plan(&mut dialer, &source, &dest, many, &mut signals).await {
            Ok(job) => jobs.push(job),
            Err(failure) if many == Sources::One => return Err(failure),
            Err(failure) => tally.fail(&failure, voice),
        }
    }
    if !tally.must_stop(options.on_failure) {
        run_all(&mut dialer, jobs, &options, voice, &mut signals, &mut tally).await;
    }
    dialer.close().await;
    tally.end()
}

impl GetArgs {
    /// Where events go: not between the bytes.
    pub fn channel(&self) -> Channel {
        if self.dest == "-" { Channel::Error } else { Channel::Output }
    }
}

/// DEST as it was named.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Dest {
    Local(LocalName),
    Standard,
}

fn read_dest(dialer: &Dialer, text: &OsString) -> Result<Dest> {
    match Spot::parse(text, |name| dialer.knows(name))? {
        Spot::Local(local) => {
            place::refuse_reserved(&local.path)?;
            Ok(Dest::Local(local))
        }
        Spot::Standard => Ok(Dest::Standard),
        Spot::Remote(remote) => Err(place::must_not_be_remote(&remote, "DEST")),
    }
}

fn read_sources(dialer: &Dialer, texts: &[OsString]) -> Result<Vec<Remote>> {
    texts
        .iter()
        .map(|text| {
            let spot = Spot::parse(text, |name| dialer.knows(name))?;
            place::must_be_remote(spot, "SRC")
        })
        .collect()
}

/// What can be known to be wrong before any server is asked.
fn refuse_unfit(dest: &Dest, sources: &[Remote], many: Sources) -> Result<()> {
    match (dest, many) {
        (Dest::Standard, Sources::Several) => Err(Failure::hinted(
            Code::Usage,
            "standard output takes one file",
            "run floe once for each SRC",
        )),
        (Dest::Local(_), Sources::Several) => {
            place::refuse_same_names(sources.iter().filter_map(|source| source.path.name()))
        }
        _ => Ok(()),
    }
}

async fn plan(
    dialer: &mut Dialer,
    source: &Remote,
    dest: &Dest,
    many: Sources,
    signals: &mut Signals,
) -> Result<Job> {
    let Dest::Local(local) = dest else {
        return job(dialer, source, LocalSink::StandardOutput);
    };
    // Only where a directory stands at DEST does it matter what SRC is.
    let into = match place::rule(local.ending, many, SourceKind::File) {
        Rule::Into => true,
        Rule::Itself => false,
        Rule::Ask => {
            local.path.is_dir() && signals.or(kind_of(dialer, source)).await? == SourceKind::File
        }
    };
    let path = match into {
        true => place::into_local(&local.path, place::own_remote_name(source)?),
        false => place::itself_local(&local.path)?,
    };
    signals.or(inside::refuse_get(dialer, source, &path)).await?;
    job(dialer, source, LocalSink::Path(path))
}

/// A reader that ends before the end is the one failure there that has no code of its own.
const INTO_A_PIPE: Hints = &[
    (Code::Other, "what reads standard output must take all of it; another run starts over"),
    (Code::NoSpace, "make room where standard output goes; another run starts over"),
    (Code::IsDirectory, "standard output takes one file"),
];

/// What stands at SRC. Who may not look there finds out by reading.
async fn kind_of(dialer: &mut Dialer, source: &Remote) -> Result<SourceKind> {
    let request = Request::Stat { path: source.path.clone(), root: RootWish::IfKnown };
    match dialer.request(source, request).await {
        Ok(Reply::Stat(stat)) if stat.kind == EntryKind::Directory => Ok(SourceKind::Directory),
        Ok(_) => Ok(SourceKind::File),
        Err(failure) if failure.code() == Code::NotAllowed => Ok(SourceKind::File),
        Err(failure) => Err(failure),
    }
}

fn job(dialer: &Dialer, source: &Remote, to: LocalSink) -> Result<Job> {
    let address = dialer.address(&source.server)?;
    let (dest, dest_bytes, lock) = match &to {
        LocalSink::StandardOutput => ("-".to_owned(), b"-".to_vec(), None),
        LocalSink::Path(path) => {
            let bytes = path.as_os_str().as_bytes().to_vec();
            let real: PathBuf = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            let remote = path_bytes(&source.path);
            let local = real.as_os_str().as_bytes();
            let key = lock_key("get", &address.to_string(), local, &remote);
            (Escaped(&bytes).to_string(), bytes, Some(key))
        }
    };
    let hints = if to == LocalSink::StandardOutput { INTO_A_PIPE } else { &[] };
    let name = Name { verb: "get", source: source.to_string(), dest, dest_bytes, hints };
    let course = Course::Get { from: source.path.clone(), to };
    Ok(Job { server: source.server.clone(), course, lock, name })
}
