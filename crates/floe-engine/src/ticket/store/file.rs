//! The ticket file: JSON, so that an operator can read it. Everything is checked when it is read.
//!
//! A field that this floe does not know is no reason to go on without it: it may be a bound. Files
//! of version 1 are read too; they knew one verb for new objects and directories.

use super::Entry;
use crate::grant::{Bounds, Quota, VERBS, words_of};
use crate::identity::KeyPin;
use crate::ticket::{RootId, TicketId};
use data_encoding::HEXLOWER;
use floe_proto::frame::Verbs;
use floe_types::{ByteCount, EntryCount, ObjectPath, Rate, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroU64};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whole {
    version: u32,
    tickets: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    name: String,
    public: String,
    root: String,
    /// Beneath the root, with `/` between names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    verbs: Vec<String>,
    /// Seconds since 1970.
    created: i64,
    expires: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quota_files: Option<u32>,
    /// Bytes a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rate: Option<NonZeroU64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    streams: Option<NonZeroU32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uses: Option<NonZeroU32>,
    /// 64 hex digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner_file: Option<String>,
}

/// What tells which version a file has, whatever else it holds.
#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// Reads the bytes of the ticket file.
///
/// # Errors
/// What is wrong with them.
pub fn parse_entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let damaged = |error: serde_json::Error| format!("line {}: it is damaged", error.line());
    let Version { version } = serde_json::from_slice(bytes).map_err(damaged)?;
    if version == 0 || version > VERSION {
        return Err(format!("it has version {version}, this floe reads up to {VERSION}"));
    }
    let whole: Whole = serde_json::from_slice(bytes).map_err(damaged)?;
    let entry = |line: Line| line.entry(version).ok_or("an entry is damaged".into());
    let entries: Vec<Entry> =
        whole.tickets.into_iter().map(entry).collect::<Result<_, String>>()?;
    let mut ids = BTreeSet::new();
    match entries.iter().find(|entry| !ids.insert(entry.id)) {
        // Which of the two counts nobody could tell, and one that is revoked would leave the other.
        Some(twice) => Err(format!("ticket {} stands there twice", twice.id)),
        None => Ok(entries),
    }
}

/// The bytes of the ticket file.
#[must_use]
pub fn format_entries(entries: &[Entry]) -> Vec<u8> {
    let tickets = entries.iter().map(Line::of).collect();
    let mut bytes =
        serde_json::to_vec_pretty(&Whole { version: VERSION, tickets }).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

impl Line {
    fn of(entry: &Entry) -> Self {
        let Bounds { verbs, prefix, expires, quota, rate, streams, uses, client_key } =
            &entry.bounds;
        Self {
            id: entry.id.to_string(),
            name: entry.name.clone(),
            public: HEXLOWER.encode(&entry.public),
            root: entry.root.to_string(),
            prefix: (!prefix.is_root()).then(|| text_of(prefix)),
            verbs: words_of(*verbs).map(str::to_owned).collect(),
            created: entry.created.secs(),
            expires: expires.map(Timestamp::secs),
            quota_bytes: quota.bytes.map(|bytes| bytes.0),
            quota_files: quota.entries.map(|entries| entries.0),
            rate: rate.and_then(|rate| NonZeroU64::new(rate.bytes_per_sec())),
            streams: *streams,
            uses: *uses,
            client_key: client_key.map(|pin| pin.to_string()),
            owner_file: entry.owner_file.clone(),
        }
    }

    fn entry(self, version: u32) -> Option<Entry> {
        let public = bytes(&self.public)?;
        let id = TicketId(bytes(&self.id)?);
        let verbs = self.verbs.iter().try_fold(Verbs::default(), |verbs, word| {
            if (version, word.as_str()) == (1, "write") {
                return Some(verbs.and(Verbs::WRITE_NEW).and(Verbs::MAKE_DIRECTORY));
            }
            let (verb, _) = VERBS.iter().find(|(_, known)| known == word)?;
            Some(verbs.and(*verb))
        })?;
        // A file of the state directory, never a way out of it.
        let is_name = |file: &String| !file.contains('/') && file.ends_with(".ticket");
        if id != TicketId::of_public(&public) || !self.owner_file.as_ref().is_none_or(is_name) {
            return None;
        }
        let expires = match self.expires {
            None => None,
            Some(secs) => Some(Timestamp::new(secs, 0)?),
        };
        let quota = Quota {
            bytes: self.quota_bytes.map(ByteCount),
            entries: self.quota_files.map(EntryCount),
        };
        let client_key = match &self.client_key {
            None => None,
            Some(digits) => Some(KeyPin(bytes(digits)?)),
        };
        let prefix = ObjectPath::parse(self.prefix.unwrap_or_default().as_bytes()).ok()?;
        Some(Entry {
            id,
            name: self.name,
            public,
            root: RootId(bytes(&self.root)?),
            bounds: Bounds {
                verbs,
                prefix,
                expires,
                quota,
                rate: self.rate.and_then(|rate| Rate::new(rate.get())),
                streams: self.streams,
                uses: self.uses,
                client_key,
            },
            created: Timestamp::new(self.created, 0)?,
            owner_file: self.owner_file,
        })
    }
}

/// A prefix came from text, and is the same text again.
fn text_of(prefix: &ObjectPath) -> String {
    String::from_utf8_lossy(&prefix.to_bytes()).into_owned()
}

fn bytes<const LEN: usize>(hex: &str) -> Option<[u8; LEN]> {
    HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}

const VERSION: u32 = 2;
