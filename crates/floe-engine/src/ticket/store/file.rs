//! The ticket file: JSON, so that an operator can read it. Everything is checked when it is read.

use super::Entry;
use crate::ticket::{RootId, TicketId};
use data_encoding::HEXLOWER;
use floe_proto::frame::Verbs;
use floe_types::Timestamp;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Whole {
    version: u32,
    tickets: Vec<Line>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    id: String,
    name: String,
    public: String,
    root: String,
    verbs: Vec<String>,
    /// Seconds since 1970.
    created: i64,
    expires: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner_file: Option<String>,
}

/// Reads the bytes of the ticket file.
///
/// # Errors
/// What is wrong with them.
pub fn parse_entries(bytes: &[u8]) -> Result<Vec<Entry>, String> {
    let whole: Whole = serde_json::from_slice(bytes)
        .map_err(|error| format!("line {}: it is damaged", error.line()))?;
    if whole.version != VERSION {
        return Err(format!("it has version {}, this floe reads {VERSION}", whole.version));
    }
    whole.tickets.into_iter().map(|line| line.entry().ok_or("an entry is damaged".into())).collect()
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
        let verbs = VERBS.iter().filter(|(verb, _)| entry.verbs.allow(*verb));
        Self {
            id: entry.id.to_string(),
            name: entry.name.clone(),
            public: HEXLOWER.encode(&entry.public),
            root: entry.root.to_string(),
            verbs: verbs.map(|(_, word)| (*word).to_owned()).collect(),
            created: entry.created.secs(),
            expires: entry.expires.map(Timestamp::secs),
            owner_file: entry.owner_file.clone(),
        }
    }

    fn entry(self) -> Option<Entry> {
        let public = bytes(&self.public)?;
        let id = TicketId(bytes(&self.id)?);
        let verbs = self.verbs.iter().try_fold(Verbs::default(), |verbs, word| {
            let (verb, _) = VERBS.iter().find(|(_, known)| known == word)?;
            Some(verbs.and(*verb))
        })?;
        // A file of the state directory, never a way out of it.
        let is_name = |file: &String| !file.contains('/') && file.ends_with(".ticket");
        if id != TicketId::of_public(&public) || !self.owner_file.as_ref().is_none_or(is_name) {
            return None;
        }
        Some(Entry {
            id,
            name: self.name,
            public,
            root: RootId(bytes(&self.root)?),
            verbs,
            created: Timestamp::new(self.created, 0)?,
            expires: self.expires.and_then(|secs| Timestamp::new(secs, 0)),
            owner_file: self.owner_file,
        })
    }
}

fn bytes<const LEN: usize>(hex: &str) -> Option<[u8; LEN]> {
    HEXLOWER.decode(hex.as_bytes()).ok()?.try_into().ok()
}

const VERSION: u32 = 1;
const VERBS: [(Verbs, &str); 5] = [
    (Verbs::READ, "read"),
    (Verbs::LIST, "list"),
    (Verbs::WRITE, "write"),
    (Verbs::OVERWRITE, "overwrite"),
    (Verbs::REMOVE, "remove"),
];
