//! `floe serve`: let clients in to one directory.

mod announce; // what is said at the beginning
mod early; // what is done before there are threads
mod reload; // what is read again

use crate::args::{AFTER_HELP, OutputFlags, StateFlag, packing};
use crate::civil;
use crate::event::Channel;
use crate::fault::{Failure, Result, Shown, of_path};
use crate::place::refuse_reserved;
use crate::report::Voice;
use crate::settings::{
    LogFormat, METRICS, OF_THIS_MACHINE, Places, ServeFile, everywhere, own_identity,
    parse_audit_file_size, parse_listen, parse_memory, parse_metrics, parse_umask, read_serve_file,
    state_dir_or,
};
use crate::signals::{Manner, Signals};
use crate::user::Use;
use early::Early;
use floe_engine::audit::{Auditing, FILE_BYTES};
use floe_engine::identity::Identity;
use floe_engine::rules::Rules;
use floe_engine::server::{
    Access, Confine, MEMORY_BYTES, Public, ReadOnly, Serve, ServeSecurity, Server,
};
use floe_engine::state::State;
use floe_proto::frame::Packing;
use floe_types::{ByteCount, Code, Mode};
use reload::Reload;
use rustix::process::{Resource, Rlimit};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::channel;
use tokio::sync::watch;

/// Serve a directory to clients with a ticket
///
/// Clients put files into DIR, get them from it, and list, rename and remove what is there, as far
/// as their tickets allow. Everything is encrypted (TLS 1.3). The first start makes a key, and
/// a start makes an owner ticket, which allows everything, whenever there is none: also where 'floe
/// ticket revoke owner' took it away. Both lie in the state directory.
///
/// SIGTERM and Ctrl-C let nobody in any more and give running transfers 30 seconds to finish; those
/// that do not are ended, with a checkpoint, and continue with the same command (10 seconds more at
/// most). Whatever supervises a server should wait that long. A second Ctrl-C ends at once.
///
/// Standard output carries one line 'listening on ADDR:PORT' for each address, once it accepts.
/// Standard error carries a log: warnings, with -v each session and transfer too, by the first
/// eight digits of the session's id. 'floe status' shows and steers what runs.
///
/// The state directory holds the audit log, which 'floe audit' verifies and shows: who moved what.
/// What is committed has its line on the disk before the client hears of it. Where a line finds no
/// room, puts and other changes are refused ('no space left') until there is; reads go on, and
/// lines that are missing are counted. Full files of the log stay until you take them away.
///
/// Root without --user gives up its capabilities for good, and may what any user may: what only its
/// owner may read is not served where that is not root, and where DIR or the state directory is
/// another user's, nothing begins. Another user gives up what capabilities it was started with.
/// Ports below 1024 (or as the system has it) are opened before anything is given up.
///
/// With --config or --cert, SIGHUP has the files of --config, --cert and --key read again: other
/// limits and another certificate hold for who comes next, and connections that are there go on.
/// Another --keep-free holds at once: what finds no room any more ends as on a full disk, and the
/// same command continues. A certificate of another key is another server to clients, who pin the
/// key. What else has changed needs a restart, and the log says so; where a file is wrong,
/// everything stays as it was. Without them SIGHUP ends it like SIGTERM.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ServeArgs {
    /// The directory to serve [default: .]
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Listen there; may be repeated; without ADDR on all addresses of this machine; port 0 takes a
    /// free one [default: :3563]
    #[arg(long, value_name = "ADDR:PORT", value_parser = parse_listen)]
    listen: Vec<SocketAddr>,
    /// Refuse everything that would change DIR
    #[arg(long)]
    read_only: bool,
    /// Let everybody read and list, without a ticket; writing always needs one
    #[arg(long)]
    public: bool,
    /// No TLS: clients must use --plaintext too, and whoever is between can read everything, and
    /// take a connection over once it is let in
    #[arg(long)]
    plaintext: bool,
    /// Run as this user: root becomes that one before anything but FILE of --config is opened; only
    /// with 'root' it keeps all of its rights
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Permission bits that nothing that clients put gets, as in 027 [default: 000]
    #[arg(long, value_name = "MODE", value_parser = parse_umask)]
    umask: Option<Mode>,
    /// Read settings from FILE (TOML: the names of these flags, and bounds under [limits], all of
    /// them in packaging/floe.toml); flags and FLOE_STATE come first
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Use this certificate (PEM) in place of the one in the state directory
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// And this private key (PEM)
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Resident memory that clients together can make this process use [default: 256Mi]
    #[arg(long, value_name = "SIZE", value_parser = parse_memory)]
    memory: Option<ByteCount>,
    /// Refuse puts that would leave less free on the disk of DIR [default: 0]
    #[arg(long, value_name = "SIZE", value_parser = civil::parse_bytes)]
    keep_free: Option<ByteCount>,
    /// Compress what clients get: 'auto' for levels up to 3, 'never' (then nothing that clients put
    /// comes compressed, either), or up to this level of zstd where they ask for it [default: auto]
    #[arg(long, value_name = "auto|never|LEVEL", value_parser = packing)]
    compress: Option<Packing>,
    /// Keep no audit log
    #[arg(long, conflicts_with = "audit_file_size")]
    no_audit: bool,
    /// Begin another file of the audit log when one has this size; at least 64Ki [default: 64Mi]
    #[arg(long, value_name = "SIZE", value_parser = parse_audit_file_size)]
    audit_file_size: Option<ByteCount>,
    /// Tell numbers (/metrics, for Prometheus) and health (/healthz) over plain HTTP there, to
    /// whoever can connect; without ADDR on 127.0.0.1:3564
    #[arg(long, value_name = "ADDR:PORT", value_parser = parse_metrics, num_args = 0..=1)]
    #[arg(require_equals = true, default_missing_value = METRICS)]
    metrics: Option<SocketAddr>,
    /// How the log on standard error is written [default: text]
    #[arg(long, value_name = "FORMAT", hide_default_value = true)]
    log_format: Option<LogFormat>,
    #[command(flatten)]
    state: StateFlag,
    #[command(flatten)]
    pub output: OutputFlags,
    #[arg(skip)]
    early: Early,
}

const ONE_OF_THEM: &str = "choose one: a certificate is for TLS";
const DRAINING: &str = "floe: ending; what runs has 30 seconds to finish, then takes a checkpoint \
                        (again ends at once)";

impl ServeArgs {
    /// Becomes the user of the flag, or else of the file, if one is named; else root gives up its
    /// capabilities. Listens at the ports that only root may open before.
    ///
    /// # Errors
    /// As `Early::begin`; the file's own: as whom it is to run cannot be guessed.
    pub fn give_up_root(&mut self) -> Result<()> {
        let file = match self.config.as_deref().map(read_serve_file).transpose() {
            // The user is named here, and may be able to read it.
            Err(_) if self.user.is_some() => ServeFile::default(),
            file => file?.unwrap_or_default(),
        };
        let listen = if self.listen.is_empty() { file.listen } else { self.listen.clone() };
        let addresses = listen.into_iter().chain(self.metrics.or(file.metrics));
        let places = self.places(&file.places);
        let user = self.user.clone().or(file.user);
        self.early = Early::begin(user.as_deref(), addresses, &places)?;
        Ok(())
    }

    /// Where in the file those settings stand that count.
    fn places(&self, all: &Places) -> Places {
        all.clone().but(&[
            ("dir", self.dir.is_some()),
            ("listen", !self.listen.is_empty()),
            ("metrics", self.metrics.is_some()),
            ("user", self.user.is_some()),
            ("cert", self.cert.is_some()),
            ("key", self.key.is_some()),
            ("state", self.state.state.is_some()),
            ("plaintext", self.plaintext),
        ])
    }

    /// How it speaks, the configuration file included; that one's own faults are told later, in
    /// `give_up_root`.
    pub fn spoken(&self) -> OutputFlags {
        let file = self.config.as_deref().map(read_serve_file);
        let mut output = self.output.clone();
        output.json |= matches!(file, Some(Ok(ServeFile { json: true, .. })));
        output
    }

    /// How its log is written, the configuration file included.
    pub fn log_format(&self) -> LogFormat {
        let file = || self.config.as_deref().and_then(|path| read_serve_file(path).ok());
        self.log_format.unwrap_or_else(|| file().unwrap_or_default().log_format)
    }
}

/// What flags, environment and file come to.
struct Settled {
    dir: PathBuf,
    listen: Vec<SocketAddr>,
    access: Access,
    own_files: Option<(PathBuf, PathBuf)>,
    wire: Wire,
    memory: ByteCount,
    rules: Rules,
    audit: Auditing,
    metrics: Option<SocketAddr>,
    state: State,
    early: Early,
    /// As whom it runs, where that is said, and how its log is written.
    manner: (Option<String>, LogFormat),
    voice: Voice,
    places: Places,
}

impl Settled {
    /// What kept a server from beginning, with the line of the setting that it is about.
    fn blame(&self, failure: Failure) -> Failure {
        let said = failure.to_string();
        let names = |addresses: &[SocketAddr]| {
            addresses.iter().any(|at| said.contains(&format!("listen on {at}:")))
        };
        let of = match failure.code() {
            _ if names(self.metrics.as_slice()) => "metrics",
            _ if names(&self.listen) => "listen",
            Code::NotFound | Code::NotDirectory => "dir",
            Code::Tls => "cert",
            _ => return failure,
        };
        self.places.blame(failure, &[of])
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Tls,
    Plaintext,
}

/// Runs `floe serve` until it is told to end.
///
/// # Errors
/// What keeps it from beginning: `NotFound`, `NotDirectory`, `State`, `AddressInUse`, `Usage`, ...
pub async fn run(args: ServeArgs) -> Result<()> {
    let (hang_up, asked) = channel();
    let reload = match args.config.is_some() || args.cert.is_some() {
        true => Some(Reload::begin(args.clone(), asked)?),
        false => None,
    };
    let hang_up = reload.as_ref().map(|_| hang_up);
    let mut signals = Signals::listen_as(Manner::Server(hang_up))?;
    let settled = settle(args)?;
    let voice = settled.voice;
    let own = settled.own_files.as_ref();
    let places = &settled.places;
    let own = own.map(|(cert, key)| own_files(&settled.dir, cert, key)).transpose();
    let own = own.map_err(|failure| places.blame(failure, &["cert", "key"]))?;
    let security = match (settled.wire, own) {
        (Wire::Tls, Some(own)) => ServeSecurity::Tls(own),
        (Wire::Tls, None) => ServeSecurity::TlsOfState,
        (Wire::Plaintext, _) => ServeSecurity::Plaintext,
    };
    // A dump of its memory would hold its key and the secrets of sessions. A limit that cannot be
    // set is one that is set already.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(Resource::Core, none);
    // What is made without a mode of its own: directories of mkdir, those above a put.
    if settled.access.umask != Mode::NONE {
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(settled.access.umask.bits().into()));
    }
    let server = Server::bind(Serve {
        root: settled.dir.clone(),
        listen: settled.listen.clone(),
        bound: settled.early.listeners(),
        state: settled.state.clone(),
        security,
        access: settled.access,
        rules: settled.rules.clone(),
        memory: settled.memory,
        confine: Confine::Process,
        audit: settled.audit,
        metrics: settled.metrics,
    })
    .await
    .map_err(|fault| {
        settled
            .early
            .blame(Failure::from(fault), &settled.dir, Use::Served)
            .hinting(Code::ReadOnly, "serve it with --read-only")
            .naming_directory()
            .hinting(Code::Usage, OF_THIS_MACHINE)
            .hinting(Code::Tls, "check that the key of --key belongs to the certificate of --cert")
    })
    .map_err(|failure| settled.blame(failure))?;
    announce::announce(&server, &settled)?;
    let (stop, stopped) = watch::channel(false);
    if let Some(reload) = reload {
        reload.serves(server.control(), settled);
    }
    let work = server.run(stopped);
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => return Ok(result?),
        () = signals.next() => {
            let _ = stop.send(true);
            voice.say(&DRAINING);
        }
    }
    // A second signal ends the process.
    Ok(work.await?)
}

fn settle(args: ServeArgs) -> Result<Settled> {
    let file = match &args.config {
        Some(path) => read_serve_file(path)?,
        None => ServeFile::default(),
    };
    let places = args.places(&file.places);
    let mut listen = args.listen;
    if listen.is_empty() {
        listen = file.listen;
    }
    if listen.is_empty() {
        listen.push(everywhere(crate::remote::DEFAULT_PORT));
    }
    let memory = args.memory.or(file.memory).unwrap_or(MEMORY_BYTES);
    let audit = match (args.audit_file_size, args.no_audit || file.no_audit) {
        (Some(size), _) => Auditing::Log(size),
        (None, true) => Auditing::Nothing,
        (None, false) => Auditing::Log(file.audit_file_size.unwrap_or(FILE_BYTES)),
    };
    let keep_free = args.keep_free.or(file.keep_free).unwrap_or_default();
    let plaintext = args.plaintext || file.plaintext;
    let own_files = (args.cert.or(file.cert), args.key.or(file.key));
    let (wire, own_files) = wire_of(plaintext, own_files)
        .map_err(|failure| places.blame(failure, &["plaintext", "cert", "key"]))?;
    let mut output = args.output;
    output.json |= file.json;
    let log_format = args.log_format.unwrap_or(file.log_format);
    let voice = match (output.json, log_format) {
        // Whoever reads the log reads nothing else there.
        (false, LogFormat::Json) => {
            Voice::of(&OutputFlags { json: true, ..output }, Channel::Error)
        }
        _ => Voice::of(&output, Channel::Output),
    };
    let dir = args.dir.or(file.dir).unwrap_or_else(|| PathBuf::from("."));
    refuse_reserved(&dir)?;
    let read_only = if args.read_only || file.read_only { ReadOnly::Yes } else { ReadOnly::No };
    args.early.refuse_foreign(&dir, read_only)?;
    let state = state_dir_or(&args.state, file.state)?;
    let state =
        State::open(&state).map_err(|fault| args.early.blame(fault.into(), &state, Use::State))?;
    refuse_within(&dir, state.path(), "the state directory")?;
    Ok(Settled {
        dir,
        listen,
        access: Access {
            read_only,
            public: match args.public || file.public {
                true => Public::Yes,
                false => Public::No,
            },
            umask: args.umask.or(file.umask).unwrap_or(Mode::NONE),
        },
        own_files,
        wire,
        memory,
        rules: Rules {
            packing: args.compress.or(file.compress).unwrap_or_default(),
            ..file.limits.rules(keep_free)
        },
        audit,
        metrics: args.metrics.or(file.metrics),
        state,
        early: args.early,
        manner: (args.user.or(file.user), log_format),
        voice,
        places,
    })
}

/// A certificate and its key, or neither; not where nothing is encrypted.
fn wire_of(
    plaintext: bool,
    files: (Option<PathBuf>, Option<PathBuf>),
) -> Result<(Wire, Option<(PathBuf, PathBuf)>)> {
    match (plaintext, files) {
        (true, (None, None)) => Ok((Wire::Plaintext, None)),
        (false, (None, None)) => Ok((Wire::Tls, None)),
        (false, (Some(cert), Some(key))) => Ok((Wire::Tls, Some((cert, key)))),
        (false, _) => Err(Failure::hinted(Code::Usage, "--cert and --key", "give both, or none")),
        (true, _) => Err(Failure::hinted(Code::Usage, "plaintext, and a certificate", ONE_OF_THEM)),
    }
}

/// The operator's own certificate and key.
fn own_files(dir: &Path, cert: &Path, key: &Path) -> Result<Identity> {
    let own = own_identity(cert, key)?;
    refuse_within(dir, key, "the key")?;
    if fs::metadata(key).is_ok_and(|stat| stat.mode() & 0o004 != 0) {
        tracing::warn!(key = %key.display(), "everybody may read the private key (chmod o-r)");
    }
    Ok(own)
}

/// Refuses to serve what lets anybody in: whoever may read would be the owner.
fn refuse_within(dir: &Path, secret: &Path, what: &str) -> Result<()> {
    let Some(dir) = there(dir, fs::metadata(dir))? else { return Ok(()) };
    let Some(secret) = there(secret, fs::canonicalize(secret))? else { return Ok(()) };
    for above in secret.ancestors() {
        let it = fs::metadata(above).map_err(|error| of_path("look at", above, &error))?;
        if (it.dev(), it.ino()) == (dir.dev(), dir.ino()) {
            return Err(Failure::hinted(
                Code::Usage,
                format!("{what} {} is inside the served directory", Shown(&secret)),
                "clients could read it; choose another with --state (or --key), or serve another \
                 directory",
            ));
        }
    }
    Ok(())
}

/// What is not there yet is told by whoever opens it; where that cannot be seen, nothing begins.
fn there<T>(path: &Path, answer: std::io::Result<T>) -> Result<Option<T>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match answer {
        Ok(it) => Ok(Some(it)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(of_path("look at", path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_seen_to_be_outside_is_not_served() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("served/state")).unwrap();
        fs::create_dir(at("state")).unwrap();
        std::os::unix::fs::symlink("loop", at("loop")).unwrap();
        let refused = |served: &str, state: &str| {
            refuse_within(&at(served), &at(state), "the state directory").is_err()
        };
        assert!(refused("served", "served/state") && !refused("served", "state"));
        assert!(!refused("served", "none") && !refused("none", "state"));
        assert!(refused("served", "loop") && refused("loop", "state"));
    }

    #[test]
    fn without_its_file_it_does_not_begin_as_somebody() {
        #[derive(clap::Parser)]
        struct Typed {
            #[command(flatten)]
            args: ServeArgs,
        }
        let dir = tempfile::tempdir().unwrap();
        let (file, none) = (dir.path().join("floe.toml"), dir.path().join("none.toml"));
        fs::write(&file, "user = 7\n").unwrap();
        for (file, code) in [(none, Code::NotFound), (file, Code::Usage)] {
            let words = ["floe".into(), "--config".into(), file.into_os_string()];
            let mut typed = <Typed as clap::Parser>::parse_from(words);
            assert_eq!(typed.args.give_up_root().unwrap_err().code(), code);
        }
    }
}
