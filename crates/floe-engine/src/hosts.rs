//! The servers a person has logged in to: a NAME for an address, a pinned key and a ticket.
//!
//! One private file (0600) in the state directory, because it holds tickets. Several commands may
//! change it at once. Nothing here connects anywhere.

use crate::identity::{KeyPin, NewKey};
use crate::secure::Security;
use crate::state::{Privacy, State};
use crate::ticket::Ticket;
use floe_types::escape::Escaped;
use floe_types::{Code, Fault};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::{Zeroize, Zeroizing};

/// A server a person has logged in to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Host {
    /// Its name or address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What the connection runs over.
    pub security: Security,
    /// The ticket; `None` for a server that serves the public.
    pub ticket: Option<Ticket>,
    /// Whether it is shown the client's own key.
    pub own_key: OwnKey,
}

/// Whether a server is shown the key that a client has of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OwnKey {
    /// It is not: servers could tell each other that it is the same client.
    #[default]
    Hidden,
    /// It is.
    Shown,
}

/// The known servers of a state directory.
#[derive(Clone, Debug)]
pub struct Hosts {
    state: State,
}

impl Host {
    /// Pins a key that took the place of the one that is pinned.
    pub fn follow(&mut self, key: &NewKey) {
        if self.security != (Security::Tls { pin: key.old }) {
            return;
        }
        self.security = Security::Tls { pin: key.new };
        self.ticket = self.ticket.take().map(|ticket| match ticket.pin() == key.old {
            true => ticket.with_pin(key.new),
            false => ticket,
        });
    }
}

impl Hosts {
    /// Those of a state directory.
    #[must_use]
    pub fn new(state: &State) -> Self {
        Self { state: state.clone() }
    }

    /// The server of a name.
    ///
    /// # Errors
    /// `State`.
    pub fn find(&self, name: &str) -> Result<Option<Host>, Fault> {
        Ok(self.load()?.remove(name))
    }

    /// All of them, sorted by name.
    ///
    /// # Errors
    /// `State`.
    pub fn list(&self) -> Result<Vec<(String, Host)>, Fault> {
        Ok(self.load()?.into_iter().collect())
    }

    /// Keeps a server under a name; what the name stood for before is forgotten. Durable.
    ///
    /// # Errors
    /// `Usage`: the name is none (see `is_name`), or the address is empty or holds white space;
    /// `LimitExceeded`; `State`.
    pub fn insert(&self, name: &str, host: Host) -> Result<(), Fault> {
        let shown = Escaped(name.as_bytes());
        if !Self::is_name(name) {
            let detail =
                format!("log in as \"{shown}\": a name has 1 to 64 letters, digits, '.', '_', '-'");
            return Err(Fault::new(Code::Usage, detail));
        }
        let address = &host.host;
        let is_odd = |c: char| c.is_whitespace() || c.is_control() || c == '/';
        if address.is_empty() || address.len() > 255 || address.contains(is_odd) {
            return Err(Fault::new(Code::Usage, format!("log in as \"{shown}\": not an address")));
        }
        let _held = self.state.hold(LOCK)?;
        let mut hosts = self.load()?;
        hosts.insert(name.to_owned(), host);
        if hosts.len() > HOSTS_MAX {
            let detail = format!("log in as \"{shown}\": there are {HOSTS_MAX} already");
            return Err(Fault::new(Code::LimitExceeded, detail));
        }
        self.save(&hosts)
    }

    /// Follows the server at an address to another key, under each name that it has with the old
    /// one pinned; the names. Durable. Another address may lead to another server with that key,
    /// which has not replaced it yet.
    ///
    /// # Errors
    /// `State`.
    pub fn follow(&self, address: &str, port: u16, key: &NewKey) -> Result<Vec<String>, Fault> {
        let _held = self.state.hold(LOCK)?;
        let mut hosts = self.load()?;
        let mut names = Vec::new();
        for (name, host) in &mut hosts {
            let is_it = host.host == address && host.port == port;
            if is_it && host.security == (Security::Tls { pin: key.old }) {
                host.follow(key);
                names.push(name.clone());
            }
        }
        if !names.is_empty() {
            self.save(&hosts)?;
        }
        Ok(names)
    }

    /// Forgets a server and its ticket. Durable.
    ///
    /// # Errors
    /// `NotFound`, `State`.
    pub fn remove(&self, name: &str) -> Result<Host, Fault> {
        let _held = self.state.hold(LOCK)?;
        let mut hosts = self.load()?;
        let gone = hosts.remove(name).ok_or_else(|| {
            let shown = Escaped(name.as_bytes());
            Fault::new(Code::NotFound, format!("log out of \"{shown}\""))
        })?;
        self.save(&hosts)?;
        Ok(gone)
    }

    /// Whether a text can be a NAME: 1 to 64 ASCII letters, digits, `.`, `_` or `-`, the first a
    /// letter or digit.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    }

    fn load(&self) -> Result<BTreeMap<String, Host>, Fault> {
        let Some(bytes) = self.state.read(FILE, Privacy::Secret)? else {
            return Ok(BTreeMap::new());
        };
        parse(&bytes).map_err(|why| self.state.fault("read", FILE, &why))
    }

    fn save(&self, hosts: &BTreeMap<String, Host>) -> Result<(), Fault> {
        let bytes = format(hosts)
            .ok_or_else(|| self.state.fault("write", FILE, "it cannot be written as JSON"))?;
        self.state.replace(FILE, &bytes)
    }
}

/// Reads the bytes of the file: servers by name.
///
/// # Errors
/// What is wrong with them. Nothing of a ticket is repeated.
pub fn parse(bytes: &[u8]) -> Result<BTreeMap<String, Host>, String> {
    let whole: Whole = serde_json::from_slice(bytes)
        .map_err(|error| format!("line {}: it is damaged", error.line()))?;
    if whole.version != VERSION {
        return Err("another version of floe wrote it".to_owned());
    }
    let read = |(name, line): (String, Line)| match line.host().filter(|_| Hosts::is_name(&name)) {
        Some(host) => Ok((name, host)),
        None => Err(format!("{}: it is damaged", Escaped(name.as_bytes()))),
    };
    whole.hosts.into_iter().map(read).collect()
}

/// The bytes of the file, which hold tickets.
#[must_use]
pub fn format(hosts: &BTreeMap<String, Host>) -> Option<Zeroizing<Vec<u8>>> {
    let hosts = hosts.iter().map(|(name, host)| (name.clone(), Line::of(host))).collect();
    serde_json::to_vec_pretty(&Whole { version: VERSION, hosts }).ok().map(Zeroizing::new)
}

#[derive(Serialize, Deserialize)]
struct Whole {
    version: u32,
    hosts: BTreeMap<String, Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    host: String,
    port: u16,
    /// The pinned key; none means plaintext, which the person asked for.
    key: Option<String>,
    ticket: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    own_key: bool,
}

impl Line {
    fn of(host: &Host) -> Self {
        Self {
            host: host.host.clone(),
            port: host.port,
            key: match host.security {
                Security::Tls { pin } => Some(pin.to_string()),
                Security::Plaintext => None,
            },
            ticket: host.ticket.as_ref().map(|ticket| ticket.reveal().to_string()),
            own_key: host.own_key == OwnKey::Shown,
        }
    }

    fn host(&self) -> Option<Host> {
        let security = match &self.key {
            Some(key) => Security::Tls { pin: key.parse::<KeyPin>().ok()? },
            None => Security::Plaintext,
        };
        let ticket = match &self.ticket {
            Some(text) => Some(text.parse().ok()?),
            None => None,
        };
        let own_key = if self.own_key { OwnKey::Shown } else { OwnKey::Hidden };
        Some(Host { host: self.host.clone(), port: self.port, security, ticket, own_key })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.ticket.zeroize();
    }
}

const FILE: &str = "hosts.json";
const LOCK: &str = "hosts.lock";
const VERSION: u32 = 1;
const HOSTS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> (tempfile::TempDir, Hosts) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        (dir, Hosts::new(&state))
    }

    fn host(port: u16) -> Host {
        let ticket = Ticket::generate(KeyPin([5; 32])).unwrap();
        let security = Security::Tls { pin: ticket.pin() };
        let own_key = if port == 2 { OwnKey::Shown } else { OwnKey::Hidden };
        Host { host: "example.org".into(), port, security, ticket: Some(ticket), own_key }
    }

    #[test]
    fn keeps_replaces_and_forgets() {
        let (_dir, hosts) = fresh();
        assert_eq!(hosts.list().unwrap(), []);
        let (first, second) = (host(1), host(2));
        let public = Host { security: Security::Plaintext, ticket: None, ..host(3) };
        hosts.insert("lab", first).unwrap();
        hosts.insert("lab", second.clone()).unwrap();
        hosts.insert("a.b-c_9", public.clone()).unwrap();
        let again = Hosts::new(&hosts.state);
        let expected = [("a.b-c_9".to_owned(), public), ("lab".to_owned(), second.clone())];
        assert_eq!(again.list().unwrap(), expected);
        assert_eq!(again.remove("lab").unwrap(), second);
        assert_eq!(hosts.find("lab").unwrap(), None);
        assert_eq!(hosts.remove("lab").unwrap_err().code, Code::NotFound);
    }

    #[test]
    fn a_server_is_followed_to_another_key_where_the_old_one_is_pinned() {
        let (_dir, hosts) = fresh();
        let plain = Host { security: Security::Plaintext, ..host(1) };
        let other = Host { security: Security::Tls { pin: KeyPin([6; 32]) }, ..host(1) };
        let elsewhere = Host { host: "example.net".into(), ..host(1) };
        let left = [("else", elsewhere), ("other", other), ("plain", plain), ("port", host(2))];
        for (name, host) in &left {
            hosts.insert(name, host.clone()).unwrap();
        }
        let (mine, public) = (host(1), Host { ticket: None, ..host(1) });
        hosts.insert("a", mine.clone()).unwrap();
        hosts.insert("b", public).unwrap();
        let key = NewKey { old: KeyPin([5; 32]), new: KeyPin([9; 32]), until: Default::default() };
        assert_eq!(hosts.follow("example.org", 1, &key).unwrap(), ["a", "b"]);
        assert_eq!(hosts.follow("example.org", 1, &key).unwrap(), Vec::<String>::new());
        let moved = hosts.find("a").unwrap().unwrap();
        let ticket = moved.ticket.unwrap();
        assert_eq!((moved.security, ticket.pin()), (Security::Tls { pin: key.new }, key.new));
        assert_eq!(Some(ticket.id()), mine.ticket.map(|ticket| ticket.id()), "the same secret");
        for (name, host) in left {
            assert_eq!(hosts.find(name).unwrap(), Some(host), "{name}");
        }
    }

    #[test]
    fn the_file_is_private_and_refused_when_it_is_not() {
        use std::os::unix::fs::PermissionsExt;
        let (_dir, hosts) = fresh();
        hosts.insert("lab", host(1)).unwrap();
        let path = hosts.state.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(hosts.find("lab").unwrap_err().code, Code::State);
    }

    #[test]
    fn refuses_what_is_no_name_and_no_address() {
        let (_dir, hosts) = fresh();
        for name in ["", "-x", ".x", "a/b", "a:b", "a b", "é", &"x".repeat(65)] {
            assert_eq!(hosts.insert(name, host(1)).unwrap_err().code, Code::Usage, "{name:?}");
        }
        for address in ["", "a b", "a/b", "a\n"] {
            let host = Host { host: address.into(), ..host(1) };
            assert_eq!(hosts.insert("x", host).unwrap_err().code, Code::Usage, "{address:?}");
        }
    }

    #[test]
    fn a_damaged_file_is_an_error_that_shows_no_ticket() {
        let (_dir, hosts) = fresh();
        hosts.insert("lab", host(1)).unwrap();
        let good = hosts.state.read(FILE, Privacy::Secret).unwrap().unwrap();
        let text = String::from_utf8(good.to_vec()).unwrap().replace("floe1", "floe1z");
        hosts.state.replace(FILE, text.as_bytes()).unwrap();
        let fault = hosts.list().unwrap_err();
        assert_eq!(fault.code, Code::State);
        assert!(!fault.to_string().contains("floe1"), "{fault}");
        assert_eq!(hosts.insert("b", host(2)).unwrap_err().code, Code::State);
    }
}
