//! What an argument names: a local path, '-', or an object on a server.
//!
//! `floe://host[:port]/path` is percent-decoded name by name, `NAME:/path` is taken as it is, and
//! an argument whose first `:` stands before any `/` never silently means a local file. Remote
//! paths are parsed into `ObjectPath` here, so a name that could escape never gets further.

use crate::fault::{Failure, Result};
use floe_types::{Code, Component, Escaped, ObjectPath, PathFault};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The port where nothing else is said.
pub const DEFAULT_PORT: u16 = 3563;

/// One argument of a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Spot {
    /// A path on this machine.
    Local(LocalName),
    /// '-': standard input or output.
    Standard,
    /// An object on a server.
    Remote(Remote),
}

/// A local path, and whether it was written as a directory to go into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalName {
    /// The path without trailing slashes.
    pub path: PathBuf,
    /// How it ended.
    pub ending: Ending,
}

/// An object on a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remote {
    /// Which server.
    pub server: ServerName,
    /// Its path there.
    pub path: ObjectPath,
    /// How it ended.
    pub ending: Ending,
}

/// Which server.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum ServerName {
    /// By address.
    Url(Address),
    /// By a name that `floe hosts` knows.
    Known(String),
}

/// Host and port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Address {
    /// A host name or IP address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// How a name ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// With its last component.
    Name,
    /// With `/` or `.`: the directory itself, to go into.
    Directory,
}

impl Spot {
    /// Reads one argument; `knows` says whether a NAME is known.
    ///
    /// # Errors
    /// `Usage` where it can mean nothing, `BadPath` for a remote path that no object can have.
    pub fn parse(text: &OsStr, knows: impl Fn(&str) -> bool) -> Result<Self> {
        let bytes = text.as_bytes();
        if bytes == b"-" {
            return Ok(Self::Standard);
        }
        if bytes.is_empty() {
            return Err(Failure::hinted(Code::Usage, "\"\"", "a name cannot be empty"));
        }
        if bytes.starts_with(SCHEME) {
            return Ok(Self::Remote(parse_url(bytes)?));
        }
        match colon_before_slash(bytes) {
            Some(at) => Ok(Self::Remote(parse_known(bytes, at, knows)?)),
            None => Ok(Self::Local(parse_local(bytes))),
        }
    }
}

const SCHEME: &[u8] = b"floe://";

fn colon_before_slash(bytes: &[u8]) -> Option<usize> {
    let at = bytes.iter().position(|byte| matches!(byte, b':' | b'/'))?;
    (bytes[at] == b':').then_some(at)
}

fn parse_local(bytes: &[u8]) -> LocalName {
    let ending = if bytes == b"." || bytes.ends_with(b"/") || bytes.ends_with(b"/.") {
        Ending::Directory
    } else {
        Ending::Name
    };
    let mut path = bytes;
    while path.len() > 1 && path.ends_with(b"/") {
        path = &path[..path.len() - 1];
    }
    LocalName { path: PathBuf::from(OsString::from_vec(path.to_vec())), ending }
}

fn parse_known(bytes: &[u8], colon: usize, knows: impl Fn(&str) -> bool) -> Result<Remote> {
    let name = std::str::from_utf8(&bytes[..colon]).ok().filter(|name| knows(name));
    let Some(name) = name else {
        let whole = Escaped(bytes);
        let part = Escaped(&bytes[..colon]);
        return Err(Failure::hinted(
            Code::Usage,
            format!("\"{whole}\": \"{part}\" is not a name that 'floe hosts' knows"),
            format!(
                "for a local file write ./{whole}; for a server: floe login {part} floe://HOST"
            ),
        ));
    };
    let (path, ending) = parse_path(bytes, &bytes[colon + 1..], |name| Ok(name.to_vec()))?;
    Ok(Remote { server: ServerName::Known(name.to_owned()), path, ending })
}

fn parse_url(bytes: &[u8]) -> Result<Remote> {
    let rest = &bytes[SCHEME.len()..];
    let slash = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
    let address = std::str::from_utf8(&rest[..slash])
        .map_err(|_| "the host is not UTF-8")
        .and_then(parse_address)
        .map_err(|why| {
            let form = "write floe://host[:port]/path";
            Failure::hinted(Code::Usage, format!("\"{}\": {why}", Escaped(&shown(bytes))), form)
        })?;
    let (path, ending) = parse_path(bytes, &rest[slash..], percent_decode)?;
    Ok(Remote { server: ServerName::Url(address), path, ending })
}

/// As it may be repeated: what stands before an @ may be a secret, typed in the wrong place.
fn shown(url: &[u8]) -> Vec<u8> {
    match url.iter().rposition(|byte| *byte == b'@') {
        Some(at) => [SCHEME, b"...", &url[at..]].concat(),
        None => url.to_vec(),
    }
}

/// Reads `floe://host[:port]`, as `login` takes it: no path behind it.
///
/// # Errors
/// `Usage` for anything else.
pub fn parse_server(text: &str) -> Result<Address> {
    let form = || {
        Failure::hinted(
            Code::Usage,
            format!("\"{}\"", Escaped(&shown(text.as_bytes()))),
            "write floe://host[:port], without a path",
        )
    };
    let rest = text.strip_prefix("floe://").ok_or_else(form)?;
    parse_address(rest.strip_suffix('/').unwrap_or(rest)).map_err(|_| form())
}

fn parse_address(text: &str) -> std::result::Result<Address, &'static str> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or("the bracket is not closed")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| "not an IPv6 address in the brackets")?;
        (host, port)
    } else {
        let colon = text.find(':').unwrap_or(text.len());
        text.split_at(colon)
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    if host.contains('@') {
        return Err("a user name or secret does not belong in a URL");
    }
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
    if !host.chars().all(allowed) || host.len() > HOST_BYTES_MAX {
        return Err("not a host name");
    }
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => DEFAULT_PORT,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
            digits.parse().ok().filter(|port| *port != 0).ok_or("the port is not 1 to 65535")?
        }
        _ => return Err("the port is not a number"),
    };
    Ok(Address { host: host.to_owned(), port })
}

const HOST_BYTES_MAX: usize = 255;

/// Splits first and decodes each name then, so an encoded `/` is refused, never a separator.
fn parse_path(
    whole: &[u8],
    path: &[u8],
    decode: impl Fn(&[u8]) -> std::result::Result<Vec<u8>, &'static str>,
) -> Result<(ObjectPath, Ending)> {
    let wrong = |why: &dyn fmt::Display| {
        Failure::new(Code::BadPath, format!("\"{}\": {why}", Escaped(whole)))
    };
    let mut rest = path.strip_prefix(b"/").unwrap_or(path);
    let mut ending = if path.is_empty() { Ending::Name } else { Ending::Directory };
    if rest == b"." || rest.ends_with(b"/.") {
        rest = &rest[..rest.len() - 1];
    } else if !rest.is_empty() && !rest.ends_with(b"/") {
        ending = Ending::Name;
    }
    let rest = rest.strip_suffix(b"/").unwrap_or(rest);
    let mut object = ObjectPath::root();
    for name in rest.split(|byte| *byte == b'/').take_while(|_| !rest.is_empty()) {
        let name = decode(name).map_err(|why| wrong(&why))?;
        let name = Component::new(&name).map_err(|fault| wrong(&fault))?;
        object = object.join(name).map_err(|fault: PathFault| wrong(&fault))?;
    }
    Ok((object, ending))
}

fn percent_decode(name: &[u8]) -> std::result::Result<Vec<u8>, &'static str> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, tail)) = rest.split_first() {
        if *first != b'%' {
            decoded.push(*first);
            rest = tail;
            continue;
        }
        let digit = |at: usize| tail.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err("a '%' must stand before two hexadecimal digits (write %25 for itself)");
        };
        decoded.push(u8::try_from(high * 16 + low).unwrap_or_default());
        rest = &tail[2..];
    }
    Ok(decoded)
}

impl Remote {
    /// The object with another path on the same server.
    pub fn at(&self, path: ObjectPath) -> Self {
        Self { server: self.server.clone(), path, ending: Ending::Name }
    }
}

/// As a person would type it again.
impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            ServerName::Known(name) if self.path.is_root() => write!(f, "{name}:/"),
            ServerName::Known(name) => write!(f, "{name}:/{}", self.path),
            ServerName::Url(address) => {
                write!(f, "{address}/")?;
                for (nth, name) in self.path.components().iter().enumerate() {
                    f.write_str(if nth > 0 { "/" } else { "" })?;
                    percent_encode(name.as_bytes(), f)?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "floe://{open}{}{close}", self.host)?;
        if self.port == DEFAULT_PORT { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(address) => address.fmt(f),
            Self::Known(name) => f.write_str(name),
        }
    }
}

/// A Spot for messages and summaries.
impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(local) => Escaped(local.path.as_os_str().as_bytes()).fmt(f),
            Self::Standard => f.write_str("-"),
            Self::Remote(remote) => remote.fmt(f),
        }
    }
}

fn percent_encode(name: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    name.iter().try_for_each(|byte| match byte {
        b'-' | b'.' | b'_' | b'~' | b'+' | b',' | b'=' | b'@' => {
            write!(f, "{}", char::from(*byte))
        }
        byte if byte.is_ascii_alphanumeric() => write!(f, "{}", char::from(*byte)),
        byte => write!(f, "%{byte:02X}"),
    })
}

#[cfg(test)]
mod tests;
