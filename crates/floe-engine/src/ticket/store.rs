//! The server's side of tickets: public halves, and what each allows. No secrets.
//!
//! One file in the state directory, replaced whole under a lock, so that `floe ticket` and a
//! running server share it. The server looks at the file's stamp at every HELLO and reads it again
//! when it changed: a new or revoked ticket counts for the next session, not for running ones.
//!
//! Expiry compares civil time and nothing else: a clock that is set back makes an expired ticket
//! valid again. To be sure that a ticket is gone, revoke it.

mod file;

pub use file::{format_entries, parse_entries};

use super::{RootId, Ticket, TicketId, is_signed};
use crate::identity::KeyPin;
use crate::state::{Privacy, Stamp, Stamped, State};
use floe_proto::frame::{TicketProof, Verbs};
use floe_types::{Code, Fault, Timestamp};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A ticket as the server knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its id.
    pub id: TicketId,
    /// What its operator calls it; unique for its root.
    pub name: String,
    /// The public half of its key.
    pub public: [u8; 32],
    /// The root that it opens, and no other.
    pub root: RootId,
    /// What it allows there.
    pub verbs: Verbs,
    /// When it was made.
    pub created: Timestamp,
    /// From when on it is not taken any more.
    pub expires: Option<Timestamp>,
    /// The owner ticket's text lies in this file of the state directory.
    owner_file: Option<String>,
}

/// What a new ticket is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTicket {
    /// 1 to 64 printable characters, not "owner", no other ticket's of that root.
    pub name: String,
    /// What it allows; not nothing.
    pub verbs: Verbs,
    /// From when on it is not taken any more.
    pub expires: Option<Timestamp>,
    /// The root that it opens.
    pub root: RootId,
    /// The server's key.
    pub pin: KeyPin,
}

/// What a verified ticket gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// Which ticket.
    pub id: TicketId,
    /// Its name, for logs.
    pub name: String,
    /// What it allows.
    pub verbs: Verbs,
}

/// As whom a client is let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Admission {
    /// With a ticket.
    Ticket(Grant),
    /// Without one.
    Anonymous,
}

/// Where the owner ticket of a root lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnerTicket {
    /// The file with its text, 0600.
    pub path: PathBuf,
    /// Which ticket it is.
    pub id: TicketId,
}

/// The tickets of a state directory.
#[derive(Debug)]
pub struct TicketStore {
    state: State,
    cached: Mutex<Cached>,
    /// A key that no ticket has: an unknown id takes as long as a wrong signature.
    decoy: [u8; 32],
}

#[derive(Debug)]
struct Cached {
    stamp: Option<Stamp>,
    entries: Arc<Vec<Entry>>,
}

impl TicketStore {
    /// Reads the tickets of a state directory; none where there is no file.
    ///
    /// # Errors
    /// `State`.
    pub fn open(state: &State) -> Result<Self, Fault> {
        let decoy = Ticket::generate(KeyPin([0; 32]))?.public();
        let cached = Mutex::new(load(state)?);
        Ok(Self { state: state.clone(), cached, decoy })
    }

    /// Makes a ticket. Only its public half stays here: show the ticket now or never. Durable.
    ///
    /// # Errors
    /// `Usage`: not a name, no verbs, or expired before it begins; `Exists`: the name is taken;
    /// `LimitExceeded`; `State`.
    pub fn create(&self, new: NewTicket, now: SystemTime) -> Result<Ticket, Fault> {
        let now = timestamp(now);
        new.check(now)?;
        self.change(|entries| {
            if entries.iter().any(|entry| entry.root == new.root && entry.name == new.name) {
                return Err(Fault::new(Code::Exists, format!("create ticket \"{}\"", new.name)));
            }
            let ticket = Ticket::generate(new.pin)?;
            entries.push(Entry {
                id: ticket.id(),
                name: new.name,
                public: ticket.public(),
                root: new.root,
                verbs: new.verbs,
                created: now,
                expires: new.expires,
                owner_file: None,
            });
            Ok(ticket)
        })
    }

    /// The tickets of a root, in the order they were made, expired ones too.
    ///
    /// # Errors
    /// `State`.
    pub fn list(&self, root: RootId) -> Result<Vec<Entry>, Fault> {
        let entries = self.entries()?;
        Ok(entries.iter().filter(|entry| entry.root == root).cloned().collect())
    }

    /// Takes a ticket of a root back, by its name or id, for all sessions that begin from now on.
    /// Durable.
    ///
    /// # Errors
    /// `NotFound`, `State`.
    pub fn revoke(&self, root: RootId, name_or_id: &str) -> Result<Entry, Fault> {
        let id = name_or_id.to_ascii_lowercase();
        self.change(|entries| {
            entries
                .iter()
                .position(|entry| {
                    entry.root == root && (entry.name == name_or_id || entry.id.to_string() == id)
                })
                .map(|nth| entries.remove(nth))
                .ok_or_else(|| {
                    let shown = floe_types::escape::Escaped(name_or_id.as_bytes());
                    Fault::new(Code::NotFound, format!("revoke ticket \"{shown}\""))
                })
        })
    }

    /// What the ticket of a proof allows at a root.
    ///
    /// # Errors
    /// `TicketUnknown`: no such ticket, or not its signature, which takes the same time;
    /// `TicketExpired`; `NotAllowed`: it belongs to another root; `Other`: the tickets cannot be
    /// read, and the server's log says why.
    pub fn verify(
        &self,
        proof: &TicketProof,
        message: &[u8],
        root: RootId,
        now: SystemTime,
    ) -> Result<Grant, Fault> {
        let entries = self.entries().map_err(|fault| {
            tracing::error!(%fault, "tickets cannot be read, nobody is let in");
            Fault::new(Code::Other, "the server cannot read its tickets")
        })?;
        let entry = entries.iter().find(|entry| entry.id.0 == proof.ticket);
        let public = entry.map_or(&self.decoy, |entry| &entry.public);
        let signed = is_signed(public, message, &proof.signature);
        let Some(entry) = entry.filter(|_| signed) else {
            return Err(Fault::new(Code::TicketUnknown, "log in"));
        };
        if entry.expires.is_some_and(|end| end <= timestamp(now)) {
            return Err(Fault::new(Code::TicketExpired, "log in"));
        }
        if entry.root != root {
            let detail = "log in: the ticket is for another directory of this server";
            return Err(Fault::new(Code::NotAllowed, detail));
        }
        Ok(Grant { id: entry.id, name: entry.name.clone(), verbs: entry.verbs })
    }

    /// The owner ticket of a root: allows everything, never expires. Made at the first call, and
    /// again after it was revoked; its text is renewed when the server's key is another. Durable.
    ///
    /// # Errors
    /// `State`.
    pub fn owner(&self, root: RootId, pin: KeyPin, now: SystemTime) -> Result<OwnerTicket, Fault> {
        self.change(|entries| {
            let known = entries
                .iter()
                .find(|entry| entry.root == root && entry.owner_file.is_some())
                .cloned();
            if let Some(entry) = known
                && let Some(file) = &entry.owner_file
            {
                let owner = OwnerTicket { path: self.state.path().join(file), id: entry.id };
                return self.renew_owner(file, pin).map(|()| owner);
            }
            let taken = entries.iter().any(|entry| entry.owner_file.as_deref() == Some(OWNER_FILE));
            let file = if taken { format!("owner-{root}.ticket") } else { OWNER_FILE.to_owned() };
            let ticket = Ticket::generate(pin)?;
            // The text first: an entry without its text would lock the owner out, a text without
            // its entry only opens nothing and is replaced by the next start.
            self.write_text(&file, &ticket)?;
            entries.push(Entry {
                id: ticket.id(),
                name: OWNER_NAME.to_owned(),
                public: ticket.public(),
                root,
                verbs: Verbs::ALL,
                created: timestamp(now),
                expires: None,
                owner_file: Some(file.clone()),
            });
            Ok(OwnerTicket { path: self.state.path().join(file), id: ticket.id() })
        })
    }

    /// A text that the operator removed stays removed: whoever took it away has it.
    fn renew_owner(&self, file: &str, pin: KeyPin) -> Result<(), Fault> {
        let Some(text) = self.state.read(file, Privacy::Secret)? else { return Ok(()) };
        let ticket = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse::<Ticket>().ok())
            .ok_or_else(|| self.state.fault("read", file, "it holds no ticket"))?;
        if ticket.pin() == pin { Ok(()) } else { self.write_text(file, &ticket.with_pin(pin)) }
    }

    fn write_text(&self, file: &str, ticket: &Ticket) -> Result<(), Fault> {
        let mut text = ticket.reveal();
        text.reserve_exact(1);
        text.push('\n');
        self.state.replace(file, text.as_bytes())
    }

    /// The entries as the file has them now.
    fn entries(&self) -> Result<Arc<Vec<Entry>>, Fault> {
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.stamp(FILE)? != cached.stamp {
            *cached = load(&self.state)?;
        }
        Ok(cached.entries.clone())
    }

    /// Changes the entries, alone among all processes; nothing is written if `by` fails.
    fn change<T>(&self, by: impl FnOnce(&mut Vec<Entry>) -> Result<T, Fault>) -> Result<T, Fault> {
        let _held = self.state.hold(LOCK)?;
        let before = load(&self.state)?.entries;
        let mut entries = before.as_ref().clone();
        let made = by(&mut entries)?;
        if entries.len() > ENTRIES_MAX {
            let detail = format!("create a ticket: there are {ENTRIES_MAX}");
            return Err(Fault::new(Code::LimitExceeded, detail));
        }
        if entries != *before {
            self.state.replace(FILE, &format_entries(&entries))?;
        }
        Ok(made)
    }
}

impl NewTicket {
    fn check(&self, now: Timestamp) -> Result<(), Fault> {
        let refuse = |why: &str| Err(Fault::new(Code::Usage, format!("create a ticket: {why}")));
        let length = self.name.chars().count();
        let is_plain = floe_types::escape::Escaped(self.name.as_bytes()).to_string() == self.name;
        if length == 0 || length > NAME_CHARS_MAX || !is_plain || self.name.trim() != self.name {
            return refuse("a name has 1 to 64 printable characters");
        }
        if self.name == OWNER_NAME {
            return refuse("the name \"owner\" is the owner ticket's");
        }
        if self.verbs == Verbs::default() || !Verbs::ALL.allow(self.verbs) {
            return refuse("it must allow something");
        }
        if self.expires.is_some_and(|end| end <= now) {
            return refuse("it would have expired already");
        }
        Ok(())
    }
}

impl Entry {
    /// Whether it is the owner ticket of its root.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.owner_file.is_some()
    }
}

fn load(state: &State) -> Result<Cached, Fault> {
    match state.read_stamped(FILE, Privacy::Any)? {
        None => Ok(Cached { stamp: None, entries: Arc::default() }),
        Some(Stamped { bytes, stamp }) => {
            let entries = parse_entries(&bytes).map_err(|why| state.fault("read", FILE, &why))?;
            Ok(Cached { stamp: Some(stamp), entries: Arc::new(entries) })
        }
    }
}

/// Whole seconds of civil time.
fn timestamp(at: SystemTime) -> Timestamp {
    let secs = match at.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_secs()).map_or(i64::MIN, |secs| -secs),
    };
    Timestamp::new(secs, 0).unwrap_or_default()
}

const FILE: &str = "tickets.json";
const LOCK: &str = "tickets.lock";
const OWNER_FILE: &str = "owner.ticket";
const OWNER_NAME: &str = "owner";
const ENTRIES_MAX: usize = 10_000;
const NAME_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests;
