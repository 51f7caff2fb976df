//! `floe put`: files, directories or standard input to a server.

use crate::args::{ConnectFlags, OutputFlags, TransferFlags, after_help};
use crate::dial::Dialer;
use crate::event::{Channel, path_bytes};
use crate::fault::{Failure, Result};
use crate::inside;
use crate::place::{self, Rule, SourceKind, Sources};
use crate::remote::{Ending, LocalName, Remote, Spot};
use crate::report::{Name, Voice};
use crate::signals::Signals;
use crate::transfer::{Course, Job, Tally, lock_key, run_all};
use floe_engine::client::{LocalSource, Receipts};
use floe_engine::receipt::Ledger;
use floe_proto::frame::{Reply, Request, RootWish};
use floe_types::{Code, Component, EntryKind, Escaped};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Send files and directories to a server
///
/// SRC is a local file or directory, which goes whole, or '-' for standard input. DEST ending in
/// '/' or '.', or more than one SRC, means into DEST; otherwise DEST is the final name, and only a
/// file goes into a directory that stands there. Missing directories are made. Nothing partial is
/// ever visible under the final name, and status 0 means that everything is durable there. After
/// any interruption the same command continues. A connection that is lost is made again, for up to
/// five minutes without progress.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = after_help(EXAMPLES))]
pub struct PutArgs {
    /// Local files or directories, or '-' for standard input
    #[arg(required = true, value_name = "SRC")]
    sources: Vec<OsString>,
    /// Where to: floe://host[:port]/path or NAME:/path
    #[arg(required = true, value_name = "DEST")]
    dest: OsString,
    /// Append a receipt of each file to FILE, signed by the server: a line of JSON, durable before
    /// this ends, also for what stands there unchanged; 'floe receipt verify' checks them
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    #[command(flatten)]
    transfer: TransferFlags,
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(flatten)]
    pub output: OutputFlags,
}

const EXAMPLES: &str = "\
Examples:
  floe put disk.img nas:/images/            into /images, under its own name
  floe put photos nas:/backup/photos        the directory itself, whatever stands there is merged
  tar c /etc | floe put - nas:/etc.tar      a stream of unknown size
  floe put --limit 100Mbit big floe://host/big
  floe put photos nas:/backup/photos --receipt photos.receipts";

/// Runs `floe put` to its end.
///
/// # Errors
/// Those of the transfers, told already; `Usage` and what keeps any of them from beginning.
pub async fn run(args: PutArgs) -> Result<()> {
    let mut signals = Signals::listen()?;
    let options = args.transfer.options()?;
    let voice = Voice::of(&args.output, Channel::Output);
    let mut dialer = Dialer::new(&args.connect, args.transfer.stream_count(), voice)?;
    let dest = place::must_be_remote(parse(&dialer, &args.dest)?, "DEST")?;
    let sources = read_sources(&dialer, &args.sources)?;
    let many = Sources::of(sources.len());
    refuse_unfit(&dest, &sources, many)?;
    let receipts = args.receipt.as_deref().map(ledger).transpose()?;
    let mut tally = Tally::default();
    let mut jobs = Vec::new();
    for source in &sources {
        if tally.must_stop(options.on_failure) {
            break;
        }
        match plan(&mut dialer, source, &dest, many, &mut signals).await {
            Ok(job) => jobs.push(job.signed(receipts.clone())),
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

/// The file that receipts go to, before anything is sent.
fn ledger(path: &Path) -> Result<Receipts> {
    let ledger = Ledger::open(path).map_err(|fault| {
        let other = "name a file of receipts, or one that is not there yet";
        Failure::from(fault).of_this_machine().hinting(Code::Usage, other)
    })?;
    Ok(Arc::new(Mutex::new(ledger)))
}

/// A SRC as it was named.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Source {
    Local(LocalName),
    Standard,
}

fn parse(dialer: &Dialer, text: &std::ffi::OsStr) -> Result<Spot> {
    Spot::parse(text, |name| dialer.knows(name))
}

fn read_sources(dialer: &Dialer, texts: &[OsString]) -> Result<Vec<Source>> {
    texts
        .iter()
        .map(|text| match parse(dialer, text)? {
            Spot::Local(local) => Ok(Source::Local(local)),
            Spot::Standard => Ok(Source::Standard),
            Spot::Remote(remote) => Err(place::must_not_be_remote(&remote, "SRC")),
        })
        .collect()
}

/// What can be known to be wrong before anything is looked at.
fn refuse_unfit(dest: &Remote, sources: &[Source], many: Sources) -> Result<()> {
    let needs_name = many == Sources::Several || dest.ending == Ending::Directory;
    if sources.contains(&Source::Standard) && (needs_name || dest.path.is_root()) {
        return Err(Failure::hinted(
            Code::Usage,
            "standard input has no name of its own",
            "give its final name as DEST, and no other SRC",
        ));
    }
    if needs_name {
        let names: Vec<Component> = sources
            .iter()
            .filter_map(|source| match source {
                Source::Local(local) => place::own_name(&local.path).ok(),
                Source::Standard => None,
            })
            .collect();
        place::refuse_same_names(names.iter())?;
    }
    Ok(())
}

async fn plan(
    dialer: &mut Dialer,
    source: &Source,
    dest: &Remote,
    many: Sources,
    signals: &mut Signals,
) -> Result<Job> {
    let Source::Local(local) = source else {
        return job(dialer, LocalSource::StandardInput, dest.clone());
    };
    let tree = place::look_at_source(&local.path)?;
    let into = match place::rule(dest.ending, many, tree.kind) {
        Rule::Into => true,
        Rule::Itself => false,
        Rule::Ask => dest.path.is_root() || signals.or(is_directory(dialer, dest)).await?,
    };
    let path = match into {
        true => place::into_remote(dest, place::own_name(&tree.path)?)?,
        false => dest.path.clone(),
    };
    let dest = dest.at(path);
    if tree.kind == SourceKind::Directory {
        signals.or(inside::refuse_put(dialer, &tree.path, &dest)).await?;
    }
    job(dialer, LocalSource::Path(tree.path), dest)
}

/// Whether a directory stands at DEST. Who may not look there names the final name.
async fn is_directory(dialer: &mut Dialer, dest: &Remote) -> Result<bool> {
    let request = Request::Stat { path: dest.path.clone(), root: RootWish::IfKnown };
    match dialer.request(dest, request).await {
        Ok(Reply::Stat(stat)) => Ok(stat.kind == EntryKind::Directory),
        Ok(_) => Ok(false),
        Err(failure) => match failure.code() {
            Code::NotFound | Code::NotDirectory | Code::NotAllowed => Ok(false),
            _ => Err(failure),
        },
    }
}

fn job(dialer: &Dialer, from: LocalSource, dest: Remote) -> Result<Job> {
    let address = dialer.address(&dest.server)?;
    let (source, lock) = match &from {
        LocalSource::StandardInput => ("-".to_owned(), None),
        LocalSource::Path(path) => {
            let real = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            let remote = path_bytes(&dest.path);
            let local = real.as_os_str().as_bytes();
            (shown(path), Some(lock_key("put", &address.to_string(), local, &remote)))
        }
    };
    let name = Name {
        verb: "put",
        source,
        dest: dest.to_string(),
        dest_bytes: path_bytes(&dest.path),
        hints: &[],
    };
    let course = Course::Put { from, to: dest.path, receipts: None };
    Ok(Job { server: dest.server, course, lock, name })
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}
