//! `floe try`: the main job on this machine, in one command and with no set-up.
//!
//! A server on a free loopback port, an upload that is killed half way and run again, a download,
//! and the BLAKE3 root taken three ways. Server and clients are this very program, run as a person
//! would run it; nothing is simulated. Everything lies in one temporary directory that goes at the
//! end, also on Ctrl-C.

mod children; // processes that end with this command
mod scratch; // the temporary directory, and bytes to fill it
mod findings; // what is told in the end, and whether it is good

use crate::args::OutputFlags;
use crate::civil;
use crate::fault::{Failure, Result, Shown, say};
use crate::place::refuse_reserved;
use crate::signals::Signals;
use children::{Children, Client, End, Server, Then};
use findings::{Findings, Killed, Summary, number};
use floe_proto::command::StreamCount;
use floe_types::{ByteCount, Code};
use scratch::Scratch;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// Try it here: server and client on this machine, put, kill, resume, get back, verify, report
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER)]
pub struct TryArgs {
    /// Move this file; without it, bytes that do not compress are made
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// How much is made without FILE
    #[arg(long, value_name = "SIZE", default_value = "1Gi", conflicts_with = "file",
        value_parser = civil::parse_bytes)]
    size: ByteCount,
    /// TCP connections to use: a number from 1 to 64, or 'auto'
    #[arg(long, value_name = "N|auto", default_value = "auto",
        value_parser = crate::args::streams)]
    streams: StreamCount,
    /// Keep the temporary directory and say where it is
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    pub output: OutputFlags,
}

const AFTER: &str = "\
Two copies of the file (three with bytes that are made) have to fit into the temporary directory; \
set TMPDIR to choose another place for it. FILE itself is only read.

Exit status: 0 if every check held, 5 if a root differs or bytes were sent again beyond one \
window, else that of the step that failed.";

/// Below it an upload is over before it can be killed half way.
const KILL_FROM: ByteCount = ByteCount(16 << 20);

/// Everything's name on the server.
const REMOTE: &str = "try";

/// How long a child may take to end when it is told to.
const PATIENCE: Duration = Duration::from_secs(10);

/// And the work as a whole, when a person wants it to.
const PATIENCE_ASKED: Duration = Duration::from_secs(4);

/// Runs `floe try` to its end.
///
/// # Errors
/// Those of the steps; `Integrity` where a check did not hold; `Interrupted`.
pub async fn run(args: TryArgs) -> Result<()> {
    let mut signals = Signals::listen()?;
    let scratch = Arc::new(Scratch::create()?);
    if args.keep {
        say(&format_args!("everything is kept in {}", Shown(scratch.path())));
        scratch.keep();
    }
    let children = Children::default();
    let last = (children.clone(), Arc::downgrade(&scratch));
    signals.before_the_end(move || {
        last.0.kill();
        if let Some(scratch) = last.1.upgrade() {
            scratch.remove();
        }
    });
    let (told, mut ended) = oneshot::channel();
    let attempt = Attempt { args, dir: scratch.path().to_owned(), children: children.clone() };
    thread::Builder::new()
        .name("try".to_owned())
        .spawn(move || {
            // Nobody listens any more only where the process ends.
            let _ = told.send(attempt.run());
        })
        .map_err(|error| Failure::new(Code::LimitExceeded, format!("start a thread: {error}")))?;
    let lost = || Err(Failure::new(Code::Other, "a thread ended without an answer"));
    tokio::select! {
        result = &mut ended => result.unwrap_or_else(|_| lost()),
        () = signals.next() => {
            children.kill();
            let _ = tokio::time::timeout(PATIENCE_ASKED, ended).await;
            Err(Failure::hinted(Code::Interrupted, "", "nothing of it is left"))
        }
    }
}

/// One run, on a thread of its own.
struct Attempt {
    args: TryArgs,
    dir: PathBuf,
    children: Children,
}

impl Attempt {
    fn run(self) -> Result<()> {
        let source = self.source()?;
        let size = ByteCount(scratch::readable_len(&source)?);
        scratch::check_room(&self.dir, size)?;
        self.say("starting a server");
        let server = Server::start(&self.children, &self.dir)?;
        let client = Client::new(&self.children, &server, &self.dir, self.args.output.verbose)?;
        let killed = self.put_killed(&client, &source, size)?;
        if killed.is_some() {
            self.say("killed it; the same command again");
        }
        let put = Summary::of(client.run(&self.put_args(&client, &source), &mut |_| Then::GoOn)?)?;
        self.say("getting it back");
        let back = self.dir.join("back");
        let get = [OsString::from("get"), client.url(REMOTE), back.clone().into()];
        let get = Summary::of(client.run(&self.with_streams(&get), &mut |_| Then::GoOn)?)?;
        self.say("computing the roots of both files");
        let (root_source, root_back) = (scratch::root_of(&source)?, scratch::root_of(&back)?);
        let server_peak = server.peak_rss_bytes();
        server.end(PATIENCE)?;
        let findings = Findings { size, killed, put, get, root_source, root_back, server_peak };
        findings.tell(&self.args.output)?;
        findings.check()
    }

    fn source(&self) -> Result<PathBuf> {
        if let Some(file) = &self.args.file {
            refuse_reserved(file)?;
            return Ok(file.clone());
        }
        let made = self.dir.join("source");
        self.say(&format!("making {}", civil::bytes(self.args.size)));
        scratch::check_room(&self.dir, self.args.size)?;
        scratch::fill(&made, self.args.size, &self.children)?;
        Ok(made)
    }

    /// Puts until half of it is stored, then kills. `None` where the file is too small, or was
    /// through before.
    fn put_killed(
        &self,
        client: &Client,
        source: &Path,
        size: ByteCount,
    ) -> Result<Option<Killed>> {
        if size < KILL_FROM {
            return Ok(None);
        }
        self.say("putting it, to be killed half way");
        let mut args = self.put_args(client, source);
        // At least five seconds for all of it: progress is told once a second.
        let rate = size.0 / 5;
        args.extend(["--limit".into(), rate.to_string().into()]);
        let mut last = None;
        let end = client.run(&args, &mut |event| {
            let (stored, total) = (number(event, "bytes_stored"), number(event, "bytes_total"));
            if event["event"] != "progress" || stored.0.saturating_mul(2) < total.0.max(1) {
                return Then::GoOn;
            }
            let (sent, window) = (number(event, "bytes_sent"), number(event, "window_bytes_max"));
            last = Some(Killed { stored, sent, window });
            Then::Kill
        })?;
        Ok(last.filter(|_| matches!(end, End::Killed)))
    }

    fn put_args(&self, client: &Client, source: &Path) -> Vec<OsString> {
        self.with_streams(&["put".into(), source.into(), client.url(REMOTE)])
    }

    fn with_streams(&self, args: &[OsString]) -> Vec<OsString> {
        let streams = match self.args.streams {
            StreamCount::Auto => "auto".to_owned(),
            StreamCount::Fixed(count) => count.to_string(),
        };
        let mut all = args.to_vec();
        all.extend(["--streams".into(), streams.into()]);
        all
    }

    fn say(&self, line: &str) {
        if !self.args.output.quiet && !self.args.output.json {
            say(&line);
        }
    }
}
