//! What a ticket allows: read from flags, and said in words and events.

use crate::civil;
use crate::event::Event;
use crate::fault::{Failure, Result};
use floe_engine::grant::{Bounds, verb_of, words_of};
use floe_engine::identity::KeyPin;
use floe_engine::ticket::Entry;
use floe_proto::frame::Verbs;
use floe_types::{ByteCount, Code, EntryCount, ObjectPath, Rate, Timestamp};
use std::num::NonZeroU32;
use std::time::{Duration, SystemTime};

/// Reads verbs with commas between.
///
/// # Errors
/// What is wrong with them.
pub(super) fn verbs(text: &str) -> std::result::Result<Verbs, String> {
    text.split(',').try_fold(Verbs::default(), |verbs, word| {
        Ok(verbs.and(if word == "all" { Verbs::ALL } else { verb_of(word)? }))
    })
}

pub(super) fn verbs_text(verbs: Verbs) -> String {
    words_of(verbs).collect::<Vec<_>>().join(",")
}

/// Reads a path beneath the served directory, as a remote name has it: a leading `/` is its root.
///
/// # Errors
/// What is wrong with it.
pub(super) fn prefix(text: &str) -> std::result::Result<ObjectPath, String> {
    if text.is_empty() {
        // A variable that was not set would open all.
        return Err("a directory beneath the served one, or '/' for all of it".to_owned());
    }
    let beneath = text.strip_prefix('/').unwrap_or(text);
    ObjectPath::parse(beneath.as_bytes()).map_err(|why| why.to_string())
}

pub(super) fn prefix_text(prefix: &ObjectPath) -> String {
    if prefix.is_root() { "/".to_owned() } else { format!("/{prefix}") }
}

/// Reads a number of entries.
///
/// # Errors
/// What is wrong with it.
pub(super) fn count(text: &str) -> std::result::Result<EntryCount, String> {
    let wrong = |_| "a whole number, at most 4294967295".to_owned();
    text.parse().map(EntryCount).map_err(wrong)
}

/// Reads how often something may be.
///
/// # Errors
/// What is wrong with it.
pub(super) fn times(text: &str) -> std::result::Result<NonZeroU32, String> {
    text.parse().map_err(|_| "a whole number from 1 to 4294967295".to_owned())
}

/// Reads the fingerprint of a client's key.
///
/// # Errors
/// What is wrong with it.
pub(super) fn client_key(text: &str) -> std::result::Result<KeyPin, String> {
    text.parse().map_err(|_| "a fingerprint is 64 hex digits".to_owned())
}

/// When a span is over that begins now.
///
/// # Errors
/// `Usage`: it is too long.
pub(super) fn expiry(now: SystemTime, span: Duration) -> Result<Timestamp> {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Whole seconds, and no less than was asked for.
    let whole = |at: Duration| at.as_secs() + u64::from(at.subsec_nanos() > 0);
    let at = since.checked_add(span).and_then(|at| i64::try_from(whole(at)).ok());
    at.and_then(|secs| Timestamp::new(secs, 0))
        .ok_or_else(|| Failure::new(Code::Usage, "--expires is too long"))
}

/// Adds what a ticket allows to an event.
pub(super) fn with_bounds(event: Event, bounds: &Bounds) -> Event {
    event
        .with("allow", verbs_text(bounds.verbs))
        .with("prefix", prefix_text(&bounds.prefix))
        .with("expires", bounds.expires.map(civil::utc))
        .with("quota_bytes", bounds.quota.bytes.map(|bytes| bytes.0))
        .with("quota_files", bounds.quota.entries.map(|entries| entries.0))
        .with("rate", bounds.rate.map(Rate::bytes_per_sec))
        .with("streams", bounds.streams.map(NonZeroU32::get))
        .with("uses", bounds.uses.map(NonZeroU32::get))
        .with("client_key", bounds.client_key.map(|pin| pin.to_string()))
}

/// What a ticket allows, behind its name: `allows read,list in /team, until it is revoked`.
pub(super) fn sentence(bounds: &Bounds) -> String {
    let place = match bounds.prefix.is_root() {
        true => String::new(),
        false => format!(" in {}", prefix_text(&bounds.prefix)),
    };
    let until = match bounds.expires {
        None => "until it is revoked".to_owned(),
        Some(at) => format!("until {}", civil::utc(at)),
    };
    let most = [
        bounds.quota.bytes.map(civil::bytes),
        bounds.quota.entries.map(|most| format!("{most} files")),
        bounds.rate.map(rate_text),
        bounds.streams.map(|most| format!("{most} streams")),
        bounds.uses.map(|most| format!("{most} uses")),
    ];
    let most = most.into_iter().flatten().map(|most| format!(", {most} at most"));
    let key = bounds.client_key.map(|pin| format!(" to the client with the key {pin}"));
    let (verbs, key) = (verbs_text(bounds.verbs), key.unwrap_or_default());
    format!("allows {verbs}{place}{key}{}, {until}", most.collect::<String>())
}

pub(super) fn rate_text(rate: Rate) -> String {
    format!("{}/s", civil::bytes(ByteCount(rate.bytes_per_sec())))
}

/// An event about a ticket.
pub(super) fn ticket_event(entry: &Entry) -> Event {
    let event = Event::new("ticket")
        .with("name", entry.name.as_str())
        .with("id", entry.id.to_string())
        .with("created", civil::utc(entry.created));
    with_bounds(event, &entry.bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_words_with_commas() {
        assert_eq!(verbs("read,list"), Ok(Verbs::READ.and(Verbs::LIST)));
        assert_eq!(verbs("all"), Ok(Verbs::ALL));
        for bad in ["", "read,", "execute", "READ", "read list", "write", "read,write"] {
            assert!(verbs(bad).is_err(), "{bad}");
        }
        assert_eq!(verbs_text(Verbs::ALL), "read,list,write-new,overwrite,remove,mkdir");
    }

    #[test]
    fn a_prefix_is_a_path_beneath_the_root() {
        let team = prefix("/team/a").unwrap();
        assert_eq!(prefix("team/a/"), Ok(team.clone()));
        assert_eq!(prefix_text(&team), "/team/a");
        assert!(prefix("/").unwrap().is_root() && prefix_text(&prefix("/").unwrap()) == "/");
        for bad in ["", "..", "a/../b", "//a", ".floe", "a/.floe/b", "a\0b"] {
            assert!(prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sentence_says_all_of_it() {
        let bounds = Bounds::of(Verbs::READ);
        assert_eq!(sentence(&bounds), "allows read, until it is revoked");
        let expires = Timestamp::new(0, 0);
        let bounds = Bounds { prefix: prefix("a/b").unwrap(), expires, ..bounds };
        assert_eq!(sentence(&bounds), "allows read in /a/b, until 1970-01-01T00:00:00Z");
        let quota = floe_engine::grant::Quota {
            bytes: civil::parse_bytes("1Ki").ok(),
            entries: count("3").ok(),
        };
        let bounds = Bounds { quota, expires: None, ..bounds };
        let said = "allows read in /a/b, 1.00 KiB at most, 3 files at most, until it is revoked";
        assert_eq!(sentence(&bounds), said);
        let (rate, streams) = (Rate::new(2048), times("2").ok());
        let bounds = Bounds { rate, streams, uses: times("1").ok(), ..Bounds::of(Verbs::READ) };
        let said = "allows read, 2.00 KiB/s at most, 2 streams at most, 1 uses at most, until it \
                    is revoked";
        assert_eq!(sentence(&bounds), said);
        let bound = Bounds { client_key: Some(KeyPin([7; 32])), ..Bounds::of(Verbs::READ) };
        let key = "07".repeat(32);
        let said = format!("allows read to the client with the key {key}, until it is revoked");
        assert_eq!(sentence(&bound), said);
        assert!(client_key(&key).is_ok() && client_key("07").is_err());
        assert!(times("0").is_err() && times("-1").is_err() && times("").is_err());
    }
}
