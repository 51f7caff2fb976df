//! The server's side of tickets: public halves, and what each allows. No secrets.
//!
//! One file in the state directory, replaced whole under a lock, so that `floe ticket` and a
//! running server share it. `refresh` looks at the file's stamp and reads it again when it changed;
//! it may wait for a disk. `verify` only looks at what was read: it never waits. A server refreshes
//! on a disk thread before it verifies, so that a ticket counts, or does not any more, from the
//! moment on that the command that changed it has ended.
//!
//! A file that cannot be read, or that says something unknown, lets nobody in.
//!
//! Expiry compares civil time and nothing else: a clock that is set back makes an expired ticket
//! valid again. To be sure that a ticket is gone, revoke it.

mod file;
mod known; // what was read last
mod spare; // room for changes on a full disk

pub use file::{format_entries, parse_entries};

use super::{RootId, Ticket, TicketId, is_signed};
use crate::grant::Bounds;
use crate::identity::KeyPin;
use crate::state::{Privacy, Stamp, Stamped, State};
use floe_proto::frame::{TicketProof, Verbs};
use floe_types::{Code, Fault, Timestamp};
use known::{Entries, Known, Unread};
use spare::Room;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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
    pub bounds: Bounds,
    /// When it was made.
    pub created: Timestamp,
    /// The owner ticket's text lies in this file of the state directory.
    owner_file: Option<String>,
}

/// What a new ticket is to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewTicket {
    /// 1 to 64 printable characters, not "owner", no other ticket's of that root.
    pub name: String,
    /// What it allows.
    pub bounds: Bounds,
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
    pub bounds: Bounds,
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
    /// Held only to take or to put.
    known: Mutex<Known>,
    /// The stamp of what is known; held while a file is read.
    stamp: Mutex<Option<Stamp>>,
    /// A key that no ticket has: an unknown id takes as long as a wrong signature.
    decoy: [u8; 32],
}

impl TicketStore {
    /// Reads the tickets of a state directory; none where there is no file.
    ///
    /// # Errors
    /// `State`.
    pub fn open(state: &State) -> Result<Self, Fault> {
        let decoy = Ticket::generate(KeyPin([0; 32]))?.public();
        let (entries, stamp) = load(state)?;
        let known = Known { entries, unread: None };
        let (known, stamp) = (Mutex::new(known), Mutex::new(stamp));
        Ok(Self { state: state.clone(), known, stamp, decoy })
    }

    /// Reads the file again if another stands there. May wait for a disk; nobody who verifies waits
    /// for it.
    ///
    /// # Errors
    /// `State`: nobody is let in until it can be read.
    pub fn refresh(&self) -> Result<(), Fault> {
        self.refresh_at(Instant::now())
    }

    fn refresh_at(&self, now: Instant) -> Result<(), Fault> {
        let mut stamp = self.stamp.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = self.state.stamp(FILE);
        if standing.as_ref().is_ok_and(|standing| *standing == *stamp) {
            // Also where another could not be read meanwhile: what is known is of this one.
            self.known.lock().unwrap_or_else(PoisonError::into_inner).unread = None;
            return Ok(());
        }
        let loaded = standing.and_then(|_| load(&self.state));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match loaded {
            Ok((entries, read)) => {
                *known = Known { entries, unread: None };
                *stamp = read;
                Ok(())
            }
            Err(why) => {
                let since = known.unread.as_ref().map_or(now, |unread| unread.since);
                known.unread = Some(Unread { why: why.clone(), since, until: now });
                Err(why)
            }
        }
    }

    fn known(&self) -> Known {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the last `refresh` could read the tickets.
    ///
    /// # Errors
    /// `State`: it could not, and nobody is let in who has one.
    pub fn is_read(&self) -> Result<(), Fault> {
        self.entries().map(drop)
    }

    /// What was read last, if it can be read.
    fn entries(&self) -> Result<Arc<Entries>, Fault> {
        self.known().readable()
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
                bounds: new.bounds,
                created: now,
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
        self.refresh()?;
        let entries = self.entries()?;
        Ok(entries.list.iter().filter(|entry| entry.root == root).cloned().collect())
    }

    /// Takes a ticket of a root back, by its name or id. Durable.
    ///
    /// # Errors
    /// `NotFound`, `State`.
    pub fn revoke(&self, root: RootId, name_or_id: &str) -> Result<Entry, Fault> {
        self.change_within(Room::Kept, |entries| {
            let nth = position(entries, root, name_or_id, "revoke")?;
            Ok(entries.remove(nth))
        })
    }

    /// A ticket of a root, by its name or id.
    ///
    /// # Errors
    /// `NotFound`, `State`.
    pub fn find(&self, root: RootId, name_or_id: &str) -> Result<Entry, Fault> {
        self.refresh()?;
        let entries = self.entries()?;
        Ok(entries.list[position(&entries.list, root, name_or_id, "show")?].clone())
    }

    /// What the ticket of a proof allows at a root.
    ///
    /// # Errors
    /// `TicketUnknown`: no such ticket, or not its signature, which takes the same time;
    /// `TicketExpired`; `NotAllowed`: it belongs to another root; `Busy`: the tickets could not be
    /// read by the last `refresh`.
    pub fn verify(
        &self,
        proof: &TicketProof,
        message: &[u8],
        root: RootId,
        now: SystemTime,
    ) -> Result<Grant, Fault> {
        let entries = self
            .entries()
            .map_err(|_| Fault::new(Code::Busy, "the server cannot read its tickets"))?;
        let entry = entries.get(TicketId(proof.ticket));
        let public = entry.map_or(&self.decoy, |entry| &entry.public);
        let signed = is_signed(public, message, &proof.signature);
        let Some(entry) = entry.filter(|_| signed) else {
            return Err(Fault::new(Code::TicketUnknown, "log in"));
        };
        if entry.bounds.has_expired(timestamp(now)) {
            return Err(Fault::new(Code::TicketExpired, "log in"));
        }
        if entry.root != root {
            let detail = "log in: the ticket is for another directory of this server";
            return Err(Fault::new(Code::NotAllowed, detail));
        }
        Ok(Grant { id: entry.id, name: entry.name.clone(), bounds: entry.bounds.clone() })
    }

    /// What a ticket allows now whose session began before. Where the file cannot be read, that is
    /// what it allowed when it could be read last, and it expires as it would have then. Not for
    /// long: what cannot be read may revoke it.
    ///
    /// # Errors
    /// `TicketRevoked`; `TicketExpired`; `Busy`: the file could not be read for 10 s.
    pub fn bounds_now(&self, id: TicketId, root: RootId, now: SystemTime) -> Result<Bounds, Fault> {
        let known = self.known();
        match known.entries.get(id).filter(|entry| entry.root == root) {
            None => Err(Fault::new(Code::TicketRevoked, "")),
            Some(entry) if entry.bounds.has_expired(timestamp(now)) => {
                Err(Fault::new(Code::TicketExpired, ""))
            }
            _ if known.unread.is_some_and(|it| it.until - it.since >= UNREAD_MAX) => {
                Err(Fault::new(Code::Busy, "the server cannot read its tickets"))
            }
            Some(entry) => Ok(entry.bounds.clone()),
        }
    }

    /// Changes what a ticket of a root allows; its holder keeps it. Durable. `by` cannot change
    /// its prefix.
    ///
    /// # Errors
    /// `NotFound`; `Usage`: it is the owner ticket, or would make no sense; `State`.
    pub fn change_bounds(
        &self,
        root: RootId,
        name_or_id: &str,
        now: SystemTime,
        by: impl FnOnce(&mut Bounds),
    ) -> Result<Entry, Fault> {
        self.change_within(Room::Kept, |entries| {
            let nth = position(entries, root, name_or_id, "change")?;
            let entry = &mut entries[nth];
            if entry.is_owner() {
                let detail = "change the owner ticket, which allows everything";
                return Err(Fault::new(Code::Usage, detail));
            }
            let prefix = entry.bounds.prefix.clone();
            by(&mut entry.bounds);
            entry.bounds.prefix = prefix;
            let shown = floe_types::escape::Escaped(entry.name.as_bytes());
            entry.bounds.check(timestamp(now)).map_err(|why| {
                Fault::new(Code::Usage, format!("change ticket \"{shown}\": {why}"))
            })?;
            Ok(entry.clone())
        })
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
                return self.renew_owner(file, None, pin).map(|()| owner);
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
                bounds: Bounds::of(Verbs::ALL),
                created: timestamp(now),
                owner_file: Some(file.clone()),
            });
            Ok(OwnerTicket { path: self.state.path().join(file), id: ticket.id() })
        })
    }

    /// Renews the texts of all owner tickets that name a server's old key: they name the new one
    /// then. Durable. One that cannot be renewed does not hold up the others.
    ///
    /// # Errors
    /// `State`: the first that was met.
    pub fn renew_owners(&self, old: KeyPin, new: KeyPin) -> Result<(), Fault> {
        let mut met = Ok(());
        self.change(|entries| {
            for file in entries.iter().filter_map(|entry| entry.owner_file.as_deref()) {
                met =
                    std::mem::replace(&mut met, Ok(())).and(self.renew_owner(file, Some(old), new));
            }
            Ok(())
        })?;
        met
    }

    /// A text that the operator removed stays removed: whoever took it away has it. Where an old
    /// key is said, only one that names it is renewed.
    fn renew_owner(&self, file: &str, old: Option<KeyPin>, new: KeyPin) -> Result<(), Fault> {
        let Some(text) = self.state.read(file, Privacy::Secret)? else { return Ok(()) };
        let ticket = std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse::<Ticket>().ok())
            .ok_or_else(|| self.state.fault("read", file, "it holds no ticket"))?;
        let pin = ticket.pin();
        if pin == new || old.is_some_and(|old| old != pin) {
            return Ok(());
        }
        self.write_text(file, &ticket.with_pin(new))
    }

    fn write_text(&self, file: &str, ticket: &Ticket) -> Result<(), Fault> {
        let mut text = ticket.reveal();
        text.reserve_exact(1);
        text.push('\n');
        self.state.replace(file, text.as_bytes())
    }

    /// Changes the entries, alone among all processes; nothing is written if `by` fails.
    fn change<T>(&self, by: impl FnOnce(&mut Vec<Entry>) -> Result<T, Fault>) -> Result<T, Fault> {
        self.change_within(Room::Found, by)
    }

    fn change_within<T>(
        &self,
        room: Room,
        by: impl FnOnce(&mut Vec<Entry>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let _held = self.state.hold(LOCK)?;
        let (before, _) = load(&self.state)?;
        let mut entries = before.list.clone();
        let made = by(&mut entries);
        if made.is_err() || entries == before.list {
            // Done already, by a command whose sync failed: it is told so once it is durable.
            self.state.sync()?;
        }
        let made = made?;
        if entries.len() > ENTRIES_MAX {
            let detail = format!("create a ticket: there are {ENTRIES_MAX}");
            return Err(Fault::new(Code::LimitExceeded, detail));
        }
        let bytes = format_entries(&entries);
        if entries != before.list {
            spare::replace(&self.state, &bytes, room)?;
            self.refresh()?;
        }
        spare::keep(&self.state, bytes.len());
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
        self.bounds.check(now).or_else(refuse)
    }
}

impl Entry {
    /// Whether it is the owner ticket of its root.
    #[must_use]
    pub fn is_owner(&self) -> bool {
        self.owner_file.is_some()
    }
}

/// The entries of the file, and its stamp; none where there is no file.
fn load(state: &State) -> Result<(Arc<Entries>, Option<Stamp>), Fault> {
    let Some(Stamped { bytes, stamp }) = state.read_stamped(FILE, Privacy::Any)? else {
        return Ok(Default::default());
    };
    let entries = parse_entries(&bytes).map_err(|why| state.fault("read", FILE, &why))?;
    Ok((Arc::new(Entries::new(entries)), Some(stamp)))
}

/// Where a ticket stands, by its name or id.
fn position(entries: &[Entry], root: RootId, which: &str, doing: &str) -> Result<usize, Fault> {
    let id = which.to_ascii_lowercase();
    let is_it =
        |entry: &Entry| entry.root == root && (entry.name == which || entry.id.to_string() == id);
    entries.iter().position(is_it).ok_or_else(|| {
        let shown = floe_types::escape::Escaped(which.as_bytes());
        Fault::new(Code::NotFound, format!("{doing} ticket \"{shown}\""))
    })
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
/// How long what was read last counts for sessions that run while another file cannot be read.
const UNREAD_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
