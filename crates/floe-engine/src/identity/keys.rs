//! The keys of a server over the years: the one it has, the one that goes, those that went.
//!
//! A rotation makes another key. For a while, the overlap, the server has the old one too, for
//! clients that pinned it; then that goes for good. What the server is known by stays in
//! `identity.pem`; everything else is in one file beside it. Each is replaced whole. The book comes
//! first, and what it says of the key that stands in `identity.pem` does not count: whenever a
//! process is killed, either the old state stands or the new one, and the command can be repeated.

use super::{FILE, Identity, KeyPin, generate};
use crate::state::{Privacy, State};
use floe_types::{Code, Fault, Timestamp, Utc};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

/// The keys of a server's state directory.
#[derive(Debug)]
pub struct ServerKeys {
    /// The one that it is known by, and signs receipts with.
    pub current: Identity,
    /// The one before, for a while.
    pub retiring: Option<Retiring>,
    /// Those that went, the oldest first.
    pub former: Vec<Former>,
}

/// A key that goes.
#[derive(Debug)]
pub struct Retiring {
    /// The key and its certificate.
    pub identity: Identity,
    /// When it is gone.
    pub until: Timestamp,
}

/// A key that went. Receipts that it signed still hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Former {
    /// By which clients knew it.
    pub pin: KeyPin,
    /// When it went.
    pub retired: Timestamp,
}

/// What a client is told: a key that takes the place of another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NewKey {
    /// The one that was pinned.
    pub old: KeyPin,
    /// The one to pin from now on.
    pub new: KeyPin,
    /// Until when the server has the old one, at most.
    pub until: Timestamp,
}

impl ServerKeys {
    /// The keys of a state directory; nothing where it has none yet.
    ///
    /// # Errors
    /// `State`: a file is damaged, or others may read it.
    pub fn load(state: &State, now: Timestamp) -> Result<Option<Self>, Fault> {
        // In this order: a key that is in no file at one instant is in both at another.
        let Some(current) = Identity::load(state)? else { return Ok(None) };
        let (book, retiring) = read(state)?;
        Ok(Some(Self::settled(current, book.former, retiring, now)))
    }

    /// As `load`; makes the first key.
    ///
    /// # Errors
    /// As `load`; `State`: it cannot be made.
    pub fn load_or_create(state: &State, now: Timestamp) -> Result<Self, Fault> {
        let current = Identity::load_or_create(state)?;
        let (book, retiring) = read(state)?;
        Ok(Self::settled(current, book.former, retiring, now))
    }

    fn settled(
        current: Identity,
        mut former: Vec<Former>,
        retiring: Option<Retiring>,
        now: Timestamp,
    ) -> Self {
        let mut retiring = retiring.filter(|one| one.identity.pin() != current.pin());
        if let Some(over) = retiring.take_if(|one| one.until <= now) {
            former.push(Former { pin: over.identity.pin(), retired: over.until });
        }
        let stays = |pin| pin == current.pin() || is(&retiring, pin);
        former.retain(|one| !stays(one.pin));
        Self { current, retiring, former }
    }

    /// Makes another key, which counts from now on; the one before goes after `overlap`, or now
    /// where that is zero. Durable.
    ///
    /// # Errors
    /// `AlreadyRunning`: the overlap of the last rotation is not over; `Usage`: it would be too
    /// long; `State`.
    pub fn rotate(state: &State, overlap: Duration, now: Timestamp) -> Result<Self, Fault> {
        let _held = state.hold(LOCK)?;
        state.sync()?;
        let Self { current, retiring, mut former } = Self::load_or_create(state, now)?;
        if let Some(Retiring { identity, until }) = retiring {
            let detail = format!("rotate the key: {} goes only at {}", identity.pin(), Utc(until));
            return Err(Fault::new(Code::AlreadyRunning, detail));
        }
        let mut goes = None;
        if overlap.is_zero() {
            former.push(Former { pin: current.pin(), retired: now });
        } else {
            let secs = i64::try_from(overlap.as_secs()).ok();
            let until = secs.and_then(|secs| Timestamp::new(now.secs().checked_add(secs)?, 0));
            let until = until.ok_or_else(|| Fault::new(Code::Usage, "the overlap is too long"))?;
            let pem = state.read(FILE, Privacy::Secret)?.unwrap_or_default();
            let pem = std::str::from_utf8(&pem).map_err(|_| state.fault("read", FILE, "text"))?;
            goes = Some((Zeroizing::new(pem.to_owned()), until));
        }
        state.replace(BOOK, &KeyBook { goes, former }.format())?;
        state.replace(FILE, generate()?.as_bytes())?;
        Self::load_or_create(state, now)
    }

    /// Has the key that goes gone now; which that was, if there was one. Durable.
    ///
    /// # Errors
    /// `State`.
    pub fn retire(state: &State, now: Timestamp) -> Result<Option<KeyPin>, Fault> {
        Self::drop_expired(state, now)?;
        let _held = state.hold(LOCK)?;
        let Some(keys) = Self::load(state, now)? else { return Ok(None) };
        let Some(gone) = keys.retiring.map(|one| one.identity.pin()) else { return Ok(None) };
        let mut former = keys.former;
        former.push(Former { pin: gone, retired: now });
        state.replace(BOOK, &KeyBook { goes: None, former }.format())?;
        Ok(Some(gone))
    }

    /// Takes a key out of its file whose time is over: a clock that is set back brings it not
    /// again. Durable.
    ///
    /// # Errors
    /// `State`.
    pub fn drop_expired(state: &State, now: Timestamp) -> Result<(), Fault> {
        let _held = state.hold(LOCK)?;
        let Some(keys) = Self::load(state, now)? else { return Ok(()) };
        let (book, _) = read(state)?;
        match book.goes {
            Some((_, until)) if until <= now => {
                state.replace(BOOK, &KeyBook { goes: None, former: keys.former }.format())
            }
            // Gone already, by a call whose sync failed: it is told so once it is durable.
            _ => state.sync(),
        }
    }
}

fn is(retiring: &Option<Retiring>, pin: KeyPin) -> bool {
    retiring.as_ref().is_some_and(|one| one.identity.pin() == pin)
}

fn read(state: &State) -> Result<(KeyBook, Option<Retiring>), Fault> {
    let Some(bytes) = state.read(BOOK, Privacy::Secret)? else { return Ok(Default::default()) };
    let book = KeyBook::parse(&bytes).map_err(|why| state.fault("read", BOOK, &why))?;
    let retiring = match &book.goes {
        None => None,
        Some((pem, until)) => {
            let identity = Identity::parse(pem.as_bytes(), pem.as_bytes())
                .map_err(|why| state.fault("read", BOOK, why))?;
            Some(Retiring { identity, until: *until })
        }
    };
    Ok((book, retiring))
}

/// The file beside the key: which key goes, and which went. Holds a private key.
#[derive(PartialEq, Eq, Default)]
pub struct KeyBook {
    /// Certificate and key as PEM, and when they go.
    goes: Option<(Zeroizing<String>, Timestamp)>,
    former: Vec<Former>,
}

impl std::fmt::Debug for KeyBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let until = self.goes.as_ref().map(|(_, until)| *until);
        f.debug_struct("KeyBook")
            .field("until", &until)
            .field("former", &self.former)
            .finish_non_exhaustive()
    }
}

impl KeyBook {
    /// Reads the bytes of the file.
    ///
    /// # Errors
    /// What is wrong with them. Nothing of a key is repeated.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let whole: Whole = serde_json::from_slice(bytes)
            .map_err(|error| format!("line {}: it is damaged", error.line()))?;
        if whole.version != VERSION {
            return Err("another version of floe wrote it".to_owned());
        }
        let damaged = || "an entry is damaged".to_owned();
        let stamp = |secs| Timestamp::new(secs, 0).ok_or_else(damaged);
        let goes = match &whole.goes {
            None => None,
            Some(Goes { pem, until }) => {
                Identity::parse(pem.as_bytes(), pem.as_bytes()).map_err(str::to_owned)?;
                Some((Zeroizing::new(pem.clone()), stamp(*until)?))
            }
        };
        let former = whole.former.iter().map(|line| {
            let pin = line.key.parse().map_err(|_| damaged())?;
            Ok(Former { pin, retired: stamp(line.retired)? })
        });
        Ok(Self { goes, former: former.collect::<Result<_, String>>()? })
    }

    /// The bytes of the file; of many keys that went, the last ones.
    #[must_use]
    pub fn format(&self) -> Zeroizing<Vec<u8>> {
        let goes = self.goes.as_ref();
        let goes = goes.map(|(pem, until)| Goes { pem: pem.to_string(), until: until.secs() });
        let kept = self.former.len().saturating_sub(FORMER_MAX);
        let line = |one: &Former| Went { key: one.pin.to_string(), retired: one.retired.secs() };
        let former = self.former[kept..].iter().map(line).collect();
        let whole = Whole { version: VERSION, goes, former };
        // Text and numbers: it cannot fail.
        let mut bytes = Zeroizing::new(serde_json::to_vec_pretty(&whole).unwrap_or_default());
        bytes.push(b'\n');
        bytes
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    goes: Option<Goes>,
    former: Vec<Went>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Goes {
    pem: String,
    /// Seconds since 1970.
    until: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Went {
    key: String,
    /// Seconds since 1970.
    retired: i64,
}

impl Drop for Goes {
    fn drop(&mut self) {
        self.pem.zeroize();
    }
}

pub(crate) const BOOK: &str = "keys.json";
const LOCK: &str = "keys.lock";
const VERSION: u32 = 1;
/// Keys that went and are remembered.
const FORMER_MAX: usize = 256;

#[cfg(test)]
mod tests;
