//! Flags, then the environment, then the configuration file: settled once, before anything is done.
//!
//! Secrets come from the environment or standard input, never from the command line. `floe.toml` is
//! read only where `--config` names it, and holds the names of the flags; a name it does not know
//! is an error with its line.

mod limits; // the bounds of a server
mod places; // where settings stand in their file

use crate::args::{ConnectFlags, StateFlag, packing};
use crate::civil;
use crate::fault::{Failure, Result, Shown, of_path};
use floe_engine::hosts::OwnKey;
use floe_engine::identity::{Identity, KeyPin};
use floe_engine::secure::TlsServer;
use floe_engine::small_file;
use floe_engine::state::State;
use floe_engine::ticket::Ticket;
use floe_proto::frame::Packing;
use floe_types::{ByteCount, Code, Mode};
use limits::{LimitsTable, parsed};
pub use places::Places;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType, socket};
use serde::{Deserialize, Deserializer};
use std::env;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// What a command needs to reach servers.
#[derive(Clone, Debug)]
pub struct Reach {
    /// The ticket of the environment.
    pub ticket: Option<Ticket>,
    /// The key of the flag or the environment.
    pub key: Option<KeyPin>,
    /// That of the flag alone: a person wants it to hold now, whatever else is known.
    pub key_asked: Option<KeyPin>,
    /// Whether the connection is encrypted.
    pub wire: Wire,
    /// Whether the client's own key is shown.
    pub own_key: OwnKey,
}

/// Whether connections are encrypted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wire {
    /// TLS 1.3.
    Tls,
    /// Nothing hides the bytes (`--plaintext`).
    Plaintext,
}

/// What `floe.toml` may hold: the flags of `floe serve`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ServeFile {
    /// DIR.
    pub dir: Option<PathBuf>,
    /// `--listen`, as often as there are entries.
    #[serde(deserialize_with = "listen_of")]
    pub listen: Vec<SocketAddr>,
    /// `--read-only`.
    pub read_only: bool,
    /// `--public`.
    pub public: bool,
    /// `--plaintext`.
    pub plaintext: bool,
    /// `--state`.
    pub state: Option<PathBuf>,
    /// `--cert`.
    pub cert: Option<PathBuf>,
    /// `--key`.
    pub key: Option<PathBuf>,
    /// `--memory`.
    #[serde(deserialize_with = "memory_of")]
    pub memory: Option<ByteCount>,
    /// `--user`.
    pub user: Option<String>,
    /// `--umask`.
    #[serde(deserialize_with = "umask_of")]
    pub umask: Option<Mode>,
    /// `--keep-free`.
    #[serde(deserialize_with = "keep_free_of")]
    pub keep_free: Option<ByteCount>,
    /// `--compress`.
    #[serde(deserialize_with = "compress_of")]
    pub compress: Option<Packing>,
    /// `--json`.
    pub json: bool,
    /// `--no-audit`.
    pub no_audit: bool,
    /// `--audit-file-size`.
    #[serde(deserialize_with = "audit_file_size_of")]
    pub audit_file_size: Option<ByteCount>,
    /// `--metrics`, with its address.
    #[serde(deserialize_with = "metrics_of")]
    pub metrics: Option<SocketAddr>,
    /// `--log-format`.
    pub log_format: LogFormat,
    /// Bounds that no flag sets.
    pub limits: LimitsTable,
    /// Where all of it stands.
    #[serde(skip)]
    pub places: Places,
}

fn listen_of<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<SocketAddr>, D::Error> {
    let places = Vec::<String>::deserialize(from)?;
    let places =
        places.iter().map(|text| parse_listen(text)).collect::<std::result::Result<_, _>>();
    places.map_err(serde::de::Error::custom)
}

fn memory_of<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<ByteCount>, D::Error> {
    parsed(from, parse_memory).map(Some)
}

fn umask_of<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Mode>, D::Error> {
    parsed(from, parse_umask).map(Some)
}

fn keep_free_of<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<ByteCount>, D::Error> {
    parsed(from, civil::parse_bytes).map(Some)
}

fn compress_of<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<Packing>, D::Error> {
    parsed(from, packing).map(Some)
}

fn audit_file_size_of<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<ByteCount>, D::Error> {
    parsed(from, parse_audit_file_size).map(Some)
}

fn metrics_of<'de, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<SocketAddr>, D::Error> {
    parsed(from, parse_metrics).map(Some)
}

/// How the log is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Opens the state directory: the flag's, else that of FLOE_STATE, else the user's own.
///
/// # Errors
/// `State` where there is none or it cannot be used.
pub fn open_state(flag: &StateFlag) -> Result<State> {
    Ok(State::open(&state_dir_or(flag, None)?)?)
}

/// Opens it to look into it: none is made.
///
/// # Errors
/// `NotFound`: there is none. As `open_state`.
pub fn find_state(flag: &StateFlag) -> Result<State> {
    let found = State::open_standing(&state_dir_or(flag, None)?);
    found.map_err(|fault| Failure::from(fault).hinting(Code::NotFound, NO_STATE))
}

/// Where that is; what a configuration file says comes after the environment.
///
/// # Errors
/// `State`: nothing says.
pub fn state_dir_or(flag: &StateFlag, file: Option<PathBuf>) -> Result<PathBuf> {
    let named = flag.state.clone().or_else(|| variable("FLOE_STATE").map(PathBuf::from));
    match named.or(file) {
        Some(dir) => Ok(dir),
        None => Ok(State::default_dir()?),
    }
}

impl Reach {
    /// What flags and environment say of servers.
    ///
    /// # Errors
    /// `Usage` where the environment's ticket or a key is malformed; neither is repeated.
    pub fn of(flags: &ConnectFlags) -> Result<Self> {
        let ticket = variable("FLOE_TICKET").map(|text| parse_ticket(&text, "FLOE_TICKET"));
        let key_asked = flags.key.as_deref().map(|key| parse_key(key, "--key")).transpose()?;
        let key = match key_asked {
            Some(key) => Some(key),
            None => variable("FLOE_KEY")
                .map(|text| parse_key(&text.to_string_lossy(), "FLOE_KEY"))
                .transpose()?,
        };
        let wire = if flags.plaintext { Wire::Plaintext } else { Wire::Tls };
        let own_key = if flags.own_key { OwnKey::Shown } else { OwnKey::Hidden };
        Ok(Self { ticket: ticket.transpose()?, key, key_asked, wire, own_key })
    }
}

fn parse_ticket(text: &OsString, what: &str) -> Result<Ticket> {
    text.to_str().and_then(|text| text.trim().parse().ok()).ok_or_else(|| {
        let hint = "copy it whole: it begins with floe1";
        Failure::hinted(Code::Usage, format!("{what} is not a ticket"), hint)
    })
}

/// Reads a fingerprint.
///
/// # Errors
/// `Usage`.
pub fn parse_key(text: &str, what: &str) -> Result<KeyPin> {
    text.trim().parse().map_err(|_| {
        let hint = "copy the fingerprint whole, as 'floe serve' shows it";
        Failure::hinted(Code::Usage, format!("{what} is not a key fingerprint"), hint)
    })
}

/// A variable of the environment; an empty one counts as unset.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// Reads `floe.toml`.
///
/// # Errors
/// The system's; `Usage` with the line where it is not understood.
pub fn read_serve_file(path: &Path) -> Result<ServeFile> {
    let bytes = small_file::read(path, FILE_BYTES_MAX).map_err(|error| match error.kind() {
        ErrorKind::InvalidData => {
            let detail = format!("read {}: not a small file", Shown(path));
            Failure::hinted(Code::Usage, detail, "name a file of settings with --config")
        }
        _ => of_path("read", path, &error),
    })?;
    let parsed = match std::str::from_utf8(&bytes) {
        Ok(text) => parse_serve_file(text)
            .map(|parsed| ServeFile { places: Places::of(path, text), ..parsed }),
        Err(error) => Err(format!("line {}: it is no UTF-8", line_at(&bytes, error.valid_up_to()))),
    };
    parsed.map_err(|why| {
        let detail = format!("{} {why}", Shown(path));
        Failure::hinted(Code::Usage, detail, "its names are those of the flags of 'floe serve'")
    })
}

/// Reads the text of `floe.toml`.
///
/// # Errors
/// What is wrong with it, with its line.
pub fn parse_serve_file(text: &str) -> std::result::Result<ServeFile, String> {
    toml::from_str(text).map_err(|error| {
        let line = line_at(text.as_bytes(), error.span().map_or(0, |span| span.start));
        let message: String = error.message().lines().collect::<Vec<_>>().join(", ");
        format!("line {line}: {message}")
    })
}

/// The line of a place in a text, counted from 1.
fn line_at(text: &[u8], at: usize) -> usize {
    text.iter().take(at).filter(|byte| **byte == b'\n').count() + 1
}

/// Reads where `floe serve` listens: see `parse_listen_or`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_listen(text: &str) -> std::result::Result<SocketAddr, String> {
    parse_listen_or(text, crate::remote::DEFAULT_PORT)
}

/// Reads ADDR:PORT; without an address it is all of this machine, and without a port that one.
///
/// # Errors
/// What is wrong with it.
pub fn parse_listen_or(text: &str, port: u16) -> std::result::Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix(':').and_then(|port| port.parse().ok()) {
        return Ok(everywhere(port));
    }
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = |addr: IpAddr| SocketAddr::new(addr, port);
    text.parse().or_else(|_| bare.parse().map(with_port)).map_err(|_| {
        format!("an address is ADDR:PORT, as in 127.0.0.1:{port}, [::1]:0 or :{port} for all")
    })
}

/// Where metrics are told unless somebody says where.
pub const METRICS: &str = "127.0.0.1:3564";

/// Reads where metrics are told: see `parse_listen_or`.
///
/// # Errors
/// What is wrong with it.
pub fn parse_metrics(text: &str) -> std::result::Result<SocketAddr, String> {
    parse_listen_or(text, 3564)
}

/// All addresses of this machine: of both families, or of IPv4 where the kernel has no other.
pub fn everywhere(port: u16) -> SocketAddr {
    everywhere_if(socket(AddressFamily::INET6, SocketType::STREAM, None).err(), port)
}

fn everywhere_if(refused: Option<Errno>, port: u16) -> SocketAddr {
    let all = match refused {
        Some(Errno::AFNOSUPPORT) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    SocketAddr::new(all, port)
}

/// The operator's own key and certificate.
///
/// # Errors
/// The system's; `Usage` where they are no PEM.
pub fn own_identity(cert: &Path, key: &Path) -> Result<Identity> {
    let hint = "--cert takes a chain with the server's certificate first, --key its private key";
    let own = Identity::from_pem(cert, key)
        .map_err(|fault| Failure::from(fault).of_this_machine().hinting(Code::Usage, hint))?;
    let hint = "check that the key of --key belongs to the certificate of --cert";
    TlsServer::new(&own).map_err(|fault| Failure::from(fault).hinting(Code::Tls, hint))?;
    Ok(own)
}

/// Reads the memory a server may use.
///
/// # Errors
/// What is wrong with it.
pub fn parse_memory(text: &str) -> std::result::Result<ByteCount, String> {
    let size = civil::parse_bytes(text)?;
    if size < MEMORY_MIN {
        return Err("a server needs at least 32Mi".to_owned());
    }
    Ok(size)
}

/// Reads permission bits that nothing gets.
///
/// # Errors
/// What is wrong with them.
pub fn parse_umask(text: &str) -> std::result::Result<Mode, String> {
    let wrong = || "permission bits are octal, from 000 to 777".to_owned();
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    let bits = u32::from_str_radix(text, 8).ok().filter(|bits| plain && *bits <= 0o777);
    bits.map(Mode::from_bits).ok_or_else(wrong)
}

/// Reads the size of one file of the audit log.
///
/// # Errors
/// What is wrong with it.
pub fn parse_audit_file_size(text: &str) -> std::result::Result<ByteCount, String> {
    let size = civil::parse_bytes(text)?;
    if size < AUDIT_FILE_MIN {
        return Err("a file of the audit log has at least 64Ki".to_owned());
    }
    Ok(size)
}

/// What to do about an address that is not of this machine.
pub const OF_THIS_MACHINE: &str = "name an address of this machine, or :PORT for all of them";

const NO_STATE: &str = "name one that is there with --state or FLOE_STATE";
const AUDIT_FILE_MIN: ByteCount = ByteCount(64 << 10);
const MEMORY_MIN: ByteCount = ByteCount(32 << 20);
const FILE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_the_names_of_the_flags() {
        let text = "dir = \"/srv\"\nlisten = [\"[::]:1\"]\nread-only = true\nmemory = \"64Mi\"\n\
                    metrics = \"127.0.0.1\"\ncompress = \"9\"\n";
        let file = parse_serve_file(text).unwrap();
        assert!(file.read_only && !file.public);
        assert_eq!(file.listen, [parse_listen("[::]:1").unwrap()]);
        assert_eq!(file.memory, Some(ByteCount(64 << 20)));
        assert_eq!(file.compress, packing("9").ok());
        assert_eq!(file.metrics, METRICS.parse().ok());
        assert_eq!(file.dir.as_deref(), Some(Path::new("/srv")));
    }

    /// All that a file may say stands in the example, and it shows what holds without it.
    #[test]
    fn the_example_has_every_name_and_no_other_default() {
        let example = include_str!("../../../packaging/floe.toml");
        let said = |line: &str| match line.strip_prefix("# ") {
            Some(words) => words.contains(" = ").then(|| words.to_owned()),
            None => Some(line.to_owned()),
        };
        let text = example.lines().filter_map(said).collect::<Vec<_>>().join("\n");
        let file = parse_serve_file(&text).unwrap();
        for unknown in ["none = 1", "[limits]\nnone = 1"] {
            let known = parse_serve_file(unknown).unwrap_err();
            let names = known.split('`').skip(3).step_by(2).filter(|name| *name != "limits");
            for name in names {
                assert!(text.lines().any(|line| line.starts_with(&format!("{name} ="))), "{name}");
            }
        }
        let nothing = parse_serve_file("").unwrap();
        let (mut rules, plain) =
            (file.limits.rules(ByteCount::ZERO), nothing.limits.rules(ByteCount::ZERO));
        // Where nothing holds by itself, or no number, stands an example.
        assert_eq!(rules.caps.sessions_per_ticket.take(), Some(100));
        assert_eq!(rules.caps.sessions_per_address.take(), Some(10));
        assert_eq!(rules.trees.entries.take(), Some(1_000_000));
        assert_eq!(rules, plain);
        assert_eq!(file.memory, Some(floe_engine::server::MEMORY_BYTES));
        assert_eq!(file.audit_file_size, Some(floe_engine::audit::FILE_BYTES));
        assert_eq!((file.umask, file.keep_free), (Some(Mode::NONE), Some(ByteCount::ZERO)));
        assert_eq!((file.compress, file.metrics), (Some(Packing::default()), METRICS.parse().ok()));
        assert_eq!((file.log_format, file.public, file.read_only), Default::default());
    }

    #[test]
    fn an_unknown_name_is_an_error_with_its_line() {
        let wrong = parse_serve_file("public = true\n\nquota = 3\n").unwrap_err();
        assert!(wrong.starts_with("line 3: ") && wrong.contains("quota"), "{wrong}");
        let wrong = parse_serve_file("public = 7\n").unwrap_err();
        assert!(wrong.starts_with("line 1: ") && !wrong.contains('\n'), "{wrong}");
        assert!(parse_serve_file("public = true\npublic = true").is_err());
        for (text, words) in [
            ("memory = \"1Mi\"", "line 1: a server needs at least 32Mi"),
            ("\nlisten = [\"nowhere\"]", "line 2: an address is ADDR:PORT"),
            ("\n\nmetrics = \"nowhere\"", "line 3: an address is ADDR:PORT"),
            ("metrics = true", "line 1: "),
            ("\ncompress = \"20\"", "line 2: 'auto', 'never' or a level from 1 to 19"),
            ("public = true\n[limits]\nstreams = 9\nsessions = 0\n", "line 4: a whole number"),
            ("[limits]\n\n\nwindow = \"1\"\n", "line 4: a window is"),
            ("\n[limits]\nstream = 9\n", "line 3: unknown field `stream`"),
        ] {
            let wrong = parse_serve_file(text).unwrap_err();
            assert!(wrong.starts_with(words), "{wrong}");
        }
    }

    #[test]
    fn a_kernel_without_ipv6_listens_with_ipv4() {
        assert_eq!(everywhere_if(None, 7).to_string(), "[::]:7");
        assert_eq!(everywhere_if(Some(Errno::AFNOSUPPORT), 7).to_string(), "0.0.0.0:7");
        // Whatever else is wrong is told by those who listen.
        assert_eq!(everywhere_if(Some(Errno::MFILE), 7).to_string(), "[::]:7");
    }

    #[test]
    fn addresses_and_memory_are_checked() {
        assert_eq!(parse_listen("[::]:0").unwrap().port(), 0);
        assert_eq!(parse_listen("127.0.0.1").unwrap().port(), 3563);
        assert_eq!(parse_listen("[::1]").unwrap().port(), 3563);
        assert_eq!(parse_listen("::1").unwrap().port(), 3563);
        assert_eq!(parse_listen(":9000").unwrap(), everywhere(9000));
        assert_eq!(parse_listen_or("[::1]", 8080).unwrap().port(), 8080);
        for bad in ["", ":", ":65536", "9000", "localhost", "host:80", "1.2.3.4:99999", "1.2.3:4"] {
            assert!(parse_listen(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_umask("027"), Ok(Mode::from_bits(0o027)));
        for bad in ["", "8", "1000", "+7", "0o27", "-1", "00027"] {
            assert!(parse_umask(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_memory("256Mi"), Ok(ByteCount(256 << 20)));
        assert!(parse_memory("1Mi").is_err() && parse_memory("x").is_err());
    }
}
