//! How much of a list one frame takes: the sender cuts lists here, so that no frame is too long.
//!
//! Each function returns how many items from the front fit; at least one where there is one. Sizes
//! are upper bounds, so a frame may come out a little shorter than it could be.

use super::bounds::FRAME_BYTES_MAX;
use crate::frame::{CommittedEntry, DoneEntry, Entry, EntryBody, Stat};
use floe_types::{Component, Limits, ObjectPath, Range, Subtree};

/// Head of the map, keys, ids and the list's own head, of any frame that holds a list.
const AROUND_BYTES: usize = 128;
/// A number with its head, at most.
const NUMBER: usize = 9;
/// A digest with its head.
const DIGEST: usize = 34;
/// Metadata: an array of three numbers.
const METADATA: usize = 1 + 3 + NUMBER + 5;
/// A source's version: an array of six numbers.
const VERSION: usize = 1 + 2 * NUMBER + 2 * (NUMBER + 5);

/// How many entries one ENTRIES takes.
#[must_use]
pub fn entries_that_fit(entries: &[Entry]) -> usize {
    count(entries, Limits::default().entries_ahead_max, entry_bytes)
}

/// How many subtrees one WANT takes.
#[must_use]
pub fn subtrees_that_fit(subtrees: &[Subtree]) -> usize {
    count(subtrees, Limits::default().want_ranges_max, |_| 1 + 2 * NUMBER + 2 * DIGEST)
}

/// How many ranges one DROP takes.
#[must_use]
pub fn ranges_that_fit(ranges: &[Range]) -> usize {
    count(ranges, Limits::default().want_ranges_max, |_| 1 + 2 * NUMBER)
}

/// How many entries one DONE takes.
#[must_use]
pub fn done_that_fit(done: &[DoneEntry]) -> usize {
    count(done, Limits::default().entries_ahead_max, |_| 1 + 2 * NUMBER + DIGEST)
}

/// How many entries one COMMITTED takes.
#[must_use]
pub fn committed_that_fit(committed: &[CommittedEntry]) -> usize {
    count(committed, Limits::default().entries_ahead_max, |_| 1 + NUMBER + DIGEST)
}

/// How many names one page of a REPLY takes.
#[must_use]
pub fn names_that_fit(names: &[(Component, Option<Stat>)]) -> usize {
    count(names, Limits::default().page_entries_max, name_bytes)
}

/// The bytes that one name of a page takes at most.
#[must_use]
pub fn name_bytes((name, stat): &(Component, Option<Stat>)) -> usize {
    let stat = stat.as_ref().map_or(0, |stat| {
        let target = stat.target.as_ref().map_or(0, |target| 4 + target.len());
        8 + NUMBER + METADATA + target + DIGEST
    });
    1 + 3 + name.as_bytes().len() + stat
}

/// The bytes that one entry takes at most.
#[must_use]
pub fn entry_bytes(entry: &Entry) -> usize {
    let body = match &entry.body {
        EntryBody::File { .. } => 6 + 2 * NUMBER + VERSION + METADATA,
        EntryBody::Directory => 0,
        EntryBody::DirectoryEnd { .. } => 2 + NUMBER + METADATA,
        EntryBody::Link { target, .. } => 5 + METADATA + target.len(),
    };
    7 + 2 * NUMBER + path_bytes(&entry.path) + body
}

fn path_bytes(path: &ObjectPath) -> usize {
    3 + path.components().iter().map(|name| 2 + name.as_bytes().len()).sum::<usize>()
}

fn count<T>(items: &[T], most: u32, bytes: impl Fn(&T) -> usize) -> usize {
    let mut left = FRAME_BYTES_MAX - AROUND_BYTES;
    let fitting = items
        .iter()
        .take(most as usize)
        .take_while(|item| {
            let rest = left.checked_sub(bytes(item));
            left = rest.unwrap_or(0);
            rest.is_some()
        })
        .count();
    fitting.max(usize::from(!items.is_empty()))
}
