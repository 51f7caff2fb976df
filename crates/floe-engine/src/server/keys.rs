//! The keys that a server shows: the operator's own, or those of the state directory, which change
//! while it runs.
//!
//! The files are looked at together with the tickets (`Roster`), by that thread: twice a second,
//! and whenever a client expects a key that is not known here. A client that names no key in its
//! ClientHello is an old one: it gets the key that was there before, as long as that is there.

use super::ServeSecurity;
use crate::clock::timestamp;
use crate::identity::{BOOK, FILE, Identity, KeyPin, ServerKeys, Signer};
use crate::secure::TlsServer;
use crate::state::{Stamp, State};
use crate::ticket::TicketStore;
use floe_types::{Code, Fault, Timestamp, Utc};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The keys of a server.
pub(super) struct Keys {
    /// Where they lie, unless they are the operator's own.
    state: Option<State>,
    wire: Wire,
    ring: Mutex<Arc<Ring>>,
    /// What was read last, and whether it could be.
    seen: Mutex<Option<[Option<Stamp>; 2]>>,
    old_sessions: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wire {
    Tls,
    Plaintext,
}

/// The keys as they are now.
struct Ring {
    current: Arc<Key>,
    retiring: Option<(Arc<Key>, Timestamp)>,
}

/// One key, ready to be used.
struct Key {
    pin: KeyPin,
    tls: Option<TlsServer>,
    signer: Arc<Signer>,
}

/// The key that one connection is secured with.
pub(super) struct Shown {
    key: Arc<Key>,
    named: Named,
}

/// Whether a client said which key it expects.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    Yes,
    No,
}

/// What that key is when the client is let in.
pub(super) struct Standing {
    /// Who signs receipts of the session: its client knows that key.
    pub(super) signer: Arc<Signer>,
    /// The key that the client is to be told of, and until when the shown one is there.
    pub(super) successor: Option<(Arc<Signer>, Timestamp)>,
}

/// What a connection is to be secured with.
pub(super) enum Choice {
    /// This key.
    Key(Shown),
    /// One that nobody here knows; another may stand there by now.
    Unknown(Shown),
    /// None: it is plaintext.
    Plaintext(Shown),
}

impl Shown {
    /// The server's side of TLS, where there is any.
    pub(super) fn tls(&self) -> Option<&TlsServer> {
        self.key.tls.as_ref()
    }
}

impl Keys {
    /// Those that a server begins with, and the pin of the current one.
    ///
    /// # Errors
    /// `State`; `Tls`: a key does not fit its certificate.
    pub(super) fn open(security: ServeSecurity, state: &State) -> Result<(Self, KeyPin), Fault> {
        let (wire, own) = match security {
            ServeSecurity::Tls(own) => (Wire::Tls, Some(own)),
            ServeSecurity::TlsOfState => (Wire::Tls, None),
            // Without TLS tickets still name a key: the one that this state would serve with.
            ServeSecurity::Plaintext => (Wire::Plaintext, None),
        };
        let stamps = stamps(state)?;
        let ring = match &own {
            Some(own) => Ring { current: Key::new(own, wire)?, retiring: None },
            None => {
                // One whose time ended while no server ran.
                ServerKeys::drop_expired(state, timestamp())?;
                Ring::new(&ServerKeys::load_or_create(state, timestamp())?, wire)?
            }
        };
        let pin = ring.current.pin;
        let state = own.is_none().then(|| state.clone());
        let (ring, seen) = (Mutex::new(Arc::new(ring)), Mutex::new(Some(stamps)));
        let old_sessions = AtomicU64::new(0);
        Ok((Self { state, wire, ring, seen, old_sessions }, pin))
    }

    /// Whether connections are secured.
    pub(super) fn is_tls(&self) -> bool {
        self.wire == Wire::Tls
    }

    fn ring(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The pins that are shown: the current one, and the one that goes, with its time.
    pub(super) fn pins(&self) -> (KeyPin, Option<(KeyPin, Timestamp)>) {
        let ring = self.ring();
        let retiring = ring.retiring.as_ref().map(|(key, until)| (key.pin, *until));
        (ring.current.pin, retiring)
    }

    /// The key that a client expects who calls the server so.
    pub(super) fn choose(&self, name: Option<&str>, now: Timestamp) -> Choice {
        let ring = self.ring();
        let show = |key: &Arc<Key>, named| Shown { key: Arc::clone(key), named };
        if self.wire == Wire::Plaintext {
            return Choice::Plaintext(show(&ring.current, Named::No));
        }
        let retiring = ring.retiring.as_ref().filter(|(_, until)| *until > now);
        let is = |key: &Key| name.is_some_and(|name| key.is_called(name));
        match (name, retiring) {
            _ if is(&ring.current) => Choice::Key(show(&ring.current, Named::Yes)),
            (None, Some((old, _))) => Choice::Key(show(old, Named::No)),
            (_, Some((old, _))) if is(old) => Choice::Key(show(old, Named::Yes)),
            (Some(name), _) if KeyPin::is_server_name(name) => {
                Choice::Unknown(show(&ring.current, Named::No))
            }
            _ => Choice::Key(show(&ring.current, Named::No)),
        }
    }

    /// What a key that was shown is now: it may go since, and may be gone.
    ///
    /// # Errors
    /// `ConnectionLost`: it is gone. Its client comes again, and sees that for itself.
    pub(super) fn standing(&self, shown: &Shown, now: Timestamp) -> Result<Standing, Fault> {
        let (ring, pin) = (self.ring(), shown.key.pin);
        let plain = |key: &Key| Standing { signer: Arc::clone(&key.signer), successor: None };
        if self.wire == Wire::Plaintext || pin == ring.current.pin {
            return Ok(plain(&ring.current));
        }
        match &ring.retiring {
            Some((old, until)) if old.pin == pin && *until > now => {
                self.old_sessions.fetch_add(1, Ordering::Relaxed);
                let signer = || Arc::clone(&ring.current.signer);
                Ok(match shown.named {
                    Named::Yes => {
                        Standing { signer: signer(), successor: Some((signer(), *until)) }
                    }
                    Named::No => plain(old),
                })
            }
            // Whom the operator's own was shown to before it was replaced.
            _ if self.state.is_none() => Ok(plain(&shown.key)),
            _ => Err(Fault::new(Code::ConnectionLost, "the key that was shown is gone")),
        }
    }

    /// Sessions that began with the key that goes.
    pub(super) fn old_sessions(&self) -> u64 {
        self.old_sessions.load(Ordering::Relaxed)
    }

    /// The operator's own, another one from now on.
    ///
    /// # Errors
    /// `Tls`: it does not fit; then nothing is changed.
    pub(super) fn replace_own(&self, own: &Identity) -> Result<(), Fault> {
        if self.wire == Wire::Tls && self.state.is_none() {
            self.set(Ring { current: Key::new(own, self.wire)?, retiring: None });
        }
        Ok(())
    }

    fn set(&self, ring: Ring) {
        *self.ring.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }

    /// Looks at the files, and takes a key away whose time is over. May wait for a disk. What
    /// cannot be read changes nothing, and is told once.
    pub(super) fn refresh(&self, tickets: &TicketStore) {
        let Some(state) = &self.state else { return };
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = timestamp();
        if self.ring().retiring.as_ref().is_some_and(|(_, until)| *until <= now)
            && let Err(fault) = ServerKeys::drop_expired(state, now)
        {
            // It is not shown any more, and tried again at the next look.
            return tracing::error!(%fault, "a key whose time is over stays in its file");
        }
        let Ok(stamps) = stamps(state) else { return };
        if *seen == Some(stamps) {
            return self.forget_expired(now);
        }
        match self.read(state, tickets, now) {
            Ok(()) => *seen = Some(stamps),
            // They are read again at the next look: it may pass.
            Err(fault) => {
                tracing::error!(%fault, "the keys cannot be read, they stay as they were")
            }
        }
    }

    /// Where its file cannot be written.
    fn forget_expired(&self, now: Timestamp) {
        let ring = self.ring();
        if ring.retiring.as_ref().is_some_and(|(_, until)| *until <= now) {
            self.set(Ring { current: Arc::clone(&ring.current), retiring: None });
        }
    }

    fn read(&self, state: &State, tickets: &TicketStore, now: Timestamp) -> Result<(), Fault> {
        // One that was taken away is not made anew: clients have pinned it.
        let keys = ServerKeys::load(state, now)?;
        let keys = keys.ok_or_else(|| state.fault("read", FILE, "it was removed"))?;
        let ring = Ring::new(&keys, self.wire)?;
        let before = self.pins();
        self.set(ring);
        let after = self.pins();
        if before != after {
            tell(after);
        }
        if before.0 != after.0
            && let Err(fault) = tickets.renew_owners(before.0, after.0)
        {
            tracing::error!(%fault, "an owner ticket still names the old key");
        }
        Ok(())
    }
}

fn tell((pin, retiring): (KeyPin, Option<(KeyPin, Timestamp)>)) {
    match retiring {
        Some((old, until)) => {
            let until = Utc(until);
            tracing::warn!(%pin, %old, %until, "another key, and the old one for a while");
        }
        None => tracing::warn!(%pin, "there is one key"),
    }
}

impl Ring {
    fn new(keys: &ServerKeys, wire: Wire) -> Result<Self, Fault> {
        let retiring = match &keys.retiring {
            Some(going) => Some((Key::new(&going.identity, wire)?, going.until)),
            None => None,
        };
        Ok(Self { current: Key::new(&keys.current, wire)?, retiring })
    }
}

impl Key {
    fn new(identity: &Identity, wire: Wire) -> Result<Arc<Self>, Fault> {
        let tls = match wire {
            Wire::Tls => Some(TlsServer::new(identity)?),
            Wire::Plaintext => None,
        };
        let signer = Arc::new(Signer::new(identity)?);
        Ok(Arc::new(Self { pin: identity.pin(), tls, signer }))
    }

    fn is_called(&self, name: &str) -> bool {
        self.pin.server_name().eq_ignore_ascii_case(name)
    }
}

/// What the files are known by.
fn stamps(state: &State) -> Result<[Option<Stamp>; 2], Fault> {
    Ok([state.stamp(FILE)?, state.stamp(BOOK)?])
}

/// Of a connection that is secured by a key that is none.
pub(super) fn no_tls() -> Fault {
    Fault::new(Code::Tls, "secure a connection")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn fresh() -> (tempfile::TempDir, State, Keys, TicketStore) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let (keys, _) = Keys::open(ServeSecurity::TlsOfState, &state).unwrap();
        let tickets = TicketStore::open(&state).unwrap();
        (dir, state, keys, tickets)
    }

    /// Which key a client gets that calls the server so, and which one it is told of.
    fn shown(keys: &Keys, name: Option<&str>, now: Timestamp) -> (KeyPin, Option<KeyPin>) {
        let (Choice::Key(shown) | Choice::Unknown(shown) | Choice::Plaintext(shown)) =
            keys.choose(name, now);
        let standing = keys.standing(&shown, now).unwrap();
        let told = standing.successor.map(|(signer, _)| signer.pin());
        assert_eq!(standing.signer.pin(), told.unwrap_or(shown.key.pin), "it knows that key");
        (shown.key.pin, told)
    }

    #[test]
    fn each_client_gets_the_key_that_it_expects_while_there_are_two() {
        let (_dir, state, keys, tickets) = fresh();
        let old = keys.pins().0;
        assert!(matches!(keys.choose(Some(&KeyPin([0; 32]).server_name()), timestamp()),
            Choice::Unknown(shown) if shown.key.pin == old));
        ServerKeys::rotate(&state, Duration::from_secs(900), timestamp()).unwrap();
        keys.refresh(&tickets);
        let (new, Some((going, until))) = keys.pins() else { panic!("no overlap") };
        assert_eq!(going, old);
        let (early, late) = (timestamp(), until);
        let name = old.server_name();
        assert_eq!(shown(&keys, Some(&name), early), (old, Some(new)));
        assert_eq!(shown(&keys, Some(&name.to_uppercase()), early), (old, Some(new)));
        assert_eq!(shown(&keys, Some(&new.server_name()), early), (new, None));
        assert_eq!(shown(&keys, None, early), (old, None), "an old client");
        assert_eq!(shown(&keys, Some("nas.example.org"), early), (new, None));
        for name in [None, Some(name.as_str()), Some("x")] {
            assert_eq!(shown(&keys, name, late), (new, None), "{name:?}: it is over");
        }
    }

    #[test]
    fn a_key_that_goes_or_is_gone_since_it_was_shown_is_that() {
        let (_dir, state, keys, tickets) = fresh();
        let name = keys.pins().0.server_name();
        let Choice::Key(shown) = keys.choose(Some(&name), timestamp()) else { panic!("no key") };
        ServerKeys::rotate(&state, Duration::from_secs(900), timestamp()).unwrap();
        assert!(keys.standing(&shown, timestamp()).unwrap().successor.is_none(), "not seen yet");
        keys.refresh(&tickets);
        let told = keys.standing(&shown, timestamp()).unwrap().successor;
        assert_eq!(told.map(|(signer, _)| signer.pin()), Some(keys.pins().0));
        assert_eq!(keys.old_sessions(), 1);
        ServerKeys::retire(&state, timestamp()).unwrap();
        keys.refresh(&tickets);
        let gone = keys.standing(&shown, timestamp()).err().unwrap();
        assert_eq!(gone.code, Code::ConnectionLost);
    }

    #[test]
    fn what_cannot_be_read_or_is_gone_changes_nothing() {
        let (_dir, state, keys, tickets) = fresh();
        let before = keys.pins();
        state.replace(BOOK, b"rubbish").unwrap();
        keys.refresh(&tickets);
        state.remove(BOOK).unwrap();
        state.remove(FILE).unwrap();
        keys.refresh(&tickets);
        assert_eq!(keys.pins(), before);
        assert!(state.stamp(FILE).unwrap().is_none(), "no other is made");
    }
}
