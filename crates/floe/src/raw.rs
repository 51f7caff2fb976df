//! `floe raw`: the article's own wire, for nc and for programs that know nothing of floe.
//!
//! No tickets, no TLS, no resume: the help says so. Standard output carries `listening on`, a line
//! for each file received, or the bytes themselves (`fetch ADDR -`); everything else is on standard
//! error.

use crate::args::OutputFlags;
use crate::civil;
use crate::event::{self, Channel, Event};
use crate::fault::{Failure, Result, Shown, say};
use crate::output;
use crate::place::refuse_reserved;
use crate::settings::{OF_THIS_MACHINE, everywhere, parse_listen_or};
use crate::signals::{Manner, Signals};
use floe_engine::raw::{
    FetchInto, Framing, Happening, Inbox, Listening, PeerClose, SendFrom, Stop, Terms, Watch, Work,
    fetch, send, split_file,
};
use floe_types::escape::Escaped;
use floe_types::{ByteCount, Code, Fault, Precondition, Root};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Speak the plain wire of nc: bytes, then close
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = WARNING)]
pub struct RawArgs {
    #[command(subcommand)]
    command: RawCommand,
}

#[derive(clap::Subcommand, Clone, Debug)]
enum RawCommand {
    /// Give every connection the bytes of FILE, then close it
    #[command(after_help = WARNING)]
    Serve(ServeArgs),
    /// Make a new file in DIR of every connection's bytes
    #[command(after_help = WARNING)]
    Recv(RecvArgs),
    /// Send FILE to whatever listens at ADDR
    #[command(after_help = WARNING)]
    Send(SendArgs),
    /// Fetch the bytes that ADDR sends into FILE
    #[command(after_help = WARNING)]
    Fetch(FetchArgs),
}

#[derive(clap::Args, Clone, Debug)]
struct ServeArgs {
    /// The file; it is opened for every connection anew, so it may be replaced (by renaming) at any
    /// time
    #[arg(value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    shared: ListenFlags,
}

#[derive(clap::Args, Clone, Debug)]
struct RecvArgs {
    /// The directory. A file appears in it when its connection has closed cleanly, named after
    /// time, connection and the peer's port; its name, size and BLAKE3 root are printed
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    shared: ListenFlags,
}

#[derive(clap::Args, Clone, Debug)]
struct SendArgs {
    /// The file; '-' is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where to connect: host:port
    #[arg(value_name = "ADDR")]
    addr: String,
    #[command(flatten)]
    framing: FramingFlag,
    #[command(flatten)]
    output: OutputFlags,
}

#[derive(clap::Args, Clone, Debug)]
struct FetchArgs {
    /// Where to connect: host:port
    #[arg(value_name = "ADDR")]
    addr: String,
    /// The file; it appears, or replaces an old one, when the connection has closed cleanly; '-' is
    /// standard output
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Never replace: a FILE that exists fails (status 9)
    #[arg(long)]
    no_clobber: bool,
    #[command(flatten)]
    framing: FramingFlag,
    #[command(flatten)]
    output: OutputFlags,
}

#[derive(clap::Args, Clone, Debug)]
struct FramingFlag {
    /// The size goes ahead as 8 bytes, big-endian: then an early end and a byte too many are
    /// noticed, and leave nothing. Both ends must do it
    #[arg(long)]
    sized: bool,
}

#[derive(clap::Args, Clone, Debug)]
struct ListenFlags {
    /// Listen there; may be repeated; without ADDR on all addresses of this machine; port 0 takes a
    /// free one [default: :8080]
    #[arg(long, value_name = "ADDR:PORT", value_parser = listen_address)]
    listen: Vec<SocketAddr>,
    #[command(flatten)]
    framing: FramingFlag,
    #[command(flatten)]
    output: OutputFlags,
}

const WARNING: &str = "\
This wire has no encryption and no authentication: whoever reaches the port gets the file, or \
fills the disk, and whoever is between can read and change it. Nothing is verified or resumed. \
Without --sized it cannot notice truncation: a sender that dies looks like one that is done. Use \
it on networks you trust, with programs that know nothing else (nc -N HOST PORT < FILE, nc HOST \
PORT > FILE); between two floes, use floe serve, put and get.

A connection that is silent for 60 seconds ends; 256 are attended at once, the others wait.";

/// Where nothing else is said.
const PORT: u16 = 8080;

const START_OVER: &str = "run the same command again; this wire starts over";

impl FramingFlag {
    fn framing(&self) -> Framing {
        if self.sized { Framing::Sized } else { Framing::Open }
    }
}

impl RawArgs {
    /// How it speaks.
    pub fn output(&self) -> &OutputFlags {
        match &self.command {
            RawCommand::Serve(ServeArgs { shared, .. })
            | RawCommand::Recv(RecvArgs { shared, .. }) => &shared.output,
            RawCommand::Send(args) => &args.output,
            RawCommand::Fetch(args) => &args.output,
        }
    }

    /// Where events go: not between the bytes.
    pub fn channel(&self) -> Channel {
        match &self.command {
            RawCommand::Fetch(args) if args.file == Path::new("-") => Channel::Error,
            _ => Channel::Output,
        }
    }
}

/// Runs `floe raw ...` to its end.
///
/// # Errors
/// What the wire, the store and the system answer; `Interrupted`.
pub async fn run(args: RawArgs) -> Result<()> {
    match args.command {
        RawCommand::Serve(args) => {
            check_served(&args.file)?;
            attend(Work::Serve(args.file), args.shared).await
        }
        RawCommand::Recv(args) => {
            refuse_reserved(&args.dir)?;
            let inbox =
                Inbox::open(&args.dir).map_err(|fault| Failure::from(fault).naming_directory())?;
            attend(Work::Receive(inbox), args.shared).await
        }
        RawCommand::Send(args) => run_send(args).await,
        RawCommand::Fetch(args) => run_fetch(args).await,
    }
}

/// A FILE that cannot be served is told now, not to the first connection.
fn check_served(file: &Path) -> Result<()> {
    if file == Path::new("-") {
        let hint = "standard input can be read only once; name a file, or use 'floe raw send -'";
        return Err(Failure::hinted(Code::Usage, "serve standard input", hint));
    }
    refuse_reserved(file)?;
    floe_engine::raw::check_readable(file).map_err(|fault| {
        of_source(fault).hinting(Code::NotRegular, "name a file; floe raw send - takes a pipe")
    })
}

/// Listens until asked to stop; then lets connections end, and cuts them off when asked again.
async fn attend(work: Work, flags: ListenFlags) -> Result<()> {
    let mut signals = Signals::listen_as(Manner::Listener)?;
    let default = [everywhere(PORT)];
    let addresses = if flags.listen.is_empty() { &default[..] } else { &flags.listen };
    let listening = Listening::bind(addresses)
        .map_err(|fault| Failure::from(fault).hinting(Code::Usage, OF_THIS_MACHINE))?;
    for address in listening.addresses() {
        if flags.output.json {
            Event::new("listening").with("address", address.to_string()).send(Channel::Output);
        } else {
            output::announce(&format_args!("listening on {address}"))?;
        }
    }
    let stop = Stop::new()?;
    let terms = Terms::new(flags.framing.framing());
    let watch = watch(&flags.output);
    let asked = stop.clone();
    let mut ended = on_thread(move || listening.run(work, terms, &asked, &watch))?;
    tokio::select! {
        result = &mut ended => return settle(result),
        () = signals.next() => stop.drain(),
    }
    let left = stop.connections();
    if left > 0 {
        say(&format_args!("floe: waiting for {left} connections; again to cut them off"));
    }
    tokio::select! {
        result = &mut ended => settle(result),
        () = signals.next() => {
            stop.cut();
            let _ = tokio::time::timeout(PATIENCE, ended).await;
            Err(Failure::hinted(Code::Interrupted, "", "nothing of them is kept"))
        }
    }
}

fn watch(flags: &OutputFlags) -> Watch {
    let flags = flags.clone();
    Arc::new(move |happening| {
        if flags.json {
            event_of(&happening).send(Channel::Output);
            return;
        }
        match happening {
            Happening::Served { peer, size } => {
                if !flags.quiet {
                    say(&format_args!("sent {size} bytes to {peer}"));
                }
            }
            // The line for the next program; one that went away does not end the others.
            Happening::Received { name, size, root, .. } => {
                let _ = output::line(&format_args!("received {name} {size} {root}"));
            }
            Happening::Failed { fault, .. } => say(&format_args!("floe: {fault}")),
        }
    })
}

fn event_of(happening: &Happening) -> Event {
    match happening {
        Happening::Served { peer, size } => {
            Event::new("served").with("peer", peer.to_string()).with("bytes", size.0)
        }
        Happening::Received { peer, name, size, root } => Event::new("received")
            .with_name("path", name.as_bytes())
            .with("bytes", size.0)
            .with("root", root.to_string())
            .with("peer", peer.to_string()),
        Happening::Failed { peer, fault } => {
            Event::new("failed").with_fault(fault).with("peer", peer.to_string())
        }
    }
}

async fn run_send(args: SendArgs) -> Result<()> {
    let from = if args.file == Path::new("-") {
        SendFrom::StandardInput
    } else {
        refuse_reserved(&args.file)?;
        floe_engine::raw::check_readable(&args.file).map_err(of_source)?;
        SendFrom::Path(args.file)
    };
    let terms = Terms::new(args.framing.framing());
    let (stop, begun, address) = (Stop::new()?, Instant::now(), args.addr.clone());
    let asked = stop.clone();
    let sent = interruptible(&stop, move || send(&from, &address, &terms, &asked)).await?;
    let done = Done { verb: "sent", size: sent.size, root: sent.root, elapsed: begun.elapsed() };
    done.tell(&args.output, &args.addr, Channel::Output);
    if sent.close == PeerClose::NotSeen && !args.output.quiet {
        say(
            &"floe: all is sent, but the other side has not closed: it may not have read all of it",
        );
    }
    Ok(())
}

async fn run_fetch(args: FetchArgs) -> Result<()> {
    let (into, channel) = if args.file == Path::new("-") {
        (FetchInto::StandardOutput, Channel::Error)
    } else {
        refuse_reserved(&args.file)?;
        let (dir, path) = split_file(&args.file).map_err(in_directory)?;
        if args.file.is_dir() {
            let detail = format!("write {}", Shown(&args.file));
            return Err(in_directory(Fault::new(Code::IsDirectory, detail)));
        }
        let precondition = if args.no_clobber { Precondition::Absent } else { Precondition::None };
        let inbox = Inbox::open(&dir).map_err(|fault| Failure::from(fault).naming_directory())?;
        (FetchInto::File { inbox, path, precondition }, Channel::Output)
    };
    let terms = Terms::new(args.framing.framing());
    let (stop, begun, address) = (Stop::new()?, Instant::now(), args.addr.clone());
    let asked = stop.clone();
    let fetched = interruptible(&stop, move || fetch(&address, &into, &terms, &asked)).await?;
    let (size, root) = (fetched.size, fetched.root);
    let done = Done { verb: "fetched", size, root, elapsed: begun.elapsed() };
    done.tell(&args.output, &args.addr, channel);
    Ok(())
}

/// What a client half did.
struct Done {
    verb: &'static str,
    size: ByteCount,
    root: Root,
    elapsed: Duration,
}

impl Done {
    fn tell(&self, flags: &OutputFlags, address: &str, channel: Channel) {
        let Self { verb, size, root, elapsed } = self;
        if flags.json {
            Event::new("summary")
                .with("bytes", size.0)
                .with("root", root.to_string())
                .with("elapsed", elapsed.as_secs_f64())
                .with("peak_rss_bytes", event::peak_rss_bytes())
                .send(channel);
        } else if !flags.quiet {
            let place = if *verb == "sent" { "to" } else { "from" };
            let address = Escaped(address.as_bytes());
            let (amount, time) = (civil::bytes(*size), civil::span(*elapsed));
            let rate = civil::rate(*size, *elapsed);
            say(&format_args!("{verb} {amount} {place} {address} in {time} ({rate})"));
            say(&format_args!("blake3 {root}"));
        }
    }
}

/// Runs blocking work; a signal cuts its connection off. A second one ends the process.
async fn interruptible<T: Send + 'static>(
    stop: &Stop,
    work: impl FnOnce() -> std::result::Result<T, Fault> + Send + 'static,
) -> Result<T> {
    let mut signals = Signals::listen()?;
    let mut ended = on_thread(work)?;
    tokio::select! {
        result = &mut ended => return settle(result),
        () = signals.next() => stop.cut(),
    }
    match tokio::time::timeout(PATIENCE, ended).await {
        Ok(result) => settle(result),
        Err(_) => Err(Failure::hinted(Code::Interrupted, "", START_OVER)),
    }
}

/// How long work may take to notice that it was cut off.
const PATIENCE: Duration = Duration::from_secs(4);

/// A thread of its own, which the runtime does not wait for: a read of standard input may never
/// return.
fn on_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>> {
    let (told, ended) = oneshot::channel();
    thread::Builder::new()
        .name("raw".to_owned())
        .spawn(move || {
            // Nobody listens any more only where the process ends.
            let _ = told.send(work());
        })
        .map_err(|error| Failure::new(Code::LimitExceeded, format!("start a thread: {error}")))?;
    Ok(ended)
}

fn settle<T>(
    result: std::result::Result<std::result::Result<T, Fault>, oneshot::error::RecvError>,
) -> Result<T> {
    let result =
        result.unwrap_or_else(|_| Err(Fault::new(Code::Other, "a thread ended without an answer")));
    result.map_err(|fault| match fault.code {
        Code::ConnectionLost | Code::TimedOut | Code::NoSpace | Code::Quota | Code::Interrupted => {
            Failure::Fault { fault, hint: Some(START_OVER.to_owned()) }
        }
        Code::Violation => {
            let hint = "both ends must agree on --sized".to_owned();
            Failure::Fault { fault, hint: Some(hint) }
        }
        Code::Unreachable => {
            let hint = "check address and port, and that something listens there".to_owned();
            Failure::Fault { fault, hint: Some(hint) }
        }
        _ => Failure::from(fault),
    })
}

/// A FILE that cannot be read.
fn of_source(fault: Fault) -> Failure {
    let hint = "name a file; floe put takes directories";
    Failure::from(fault).of_this_machine().hinting(Code::IsDirectory, hint)
}

/// A FILE to be made where a directory stands.
fn in_directory(fault: Fault) -> Failure {
    Failure::from(fault).hinting(Code::IsDirectory, "name the file to be made in it")
}

fn listen_address(text: &str) -> std::result::Result<SocketAddr, String> {
    parse_listen_or(text, PORT)
}
