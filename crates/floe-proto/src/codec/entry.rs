//! One entry of ENTRIES. Which keys may stand depends on its kind; a key of another kind is a
//! violation.

use super::bounds::bad;
use super::cbor::{Field, Key, Reader, Writer};
use crate::command::Violation;
use crate::frame::{Entry, EntryBody};
use floe_types::{ByteCount, Freshness};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    File,
    Directory,
    DirectoryEnd,
    Link,
}

const TAGS: [Tag; 4] = [Tag::File, Tag::Directory, Tag::DirectoryEnd, Tag::Link];
const FRESHNESSES: [Freshness; 2] = [Freshness::Settled, Freshness::Fresh];

pub(super) fn read(r: &mut Reader<'_>) -> Result<Entry, Violation> {
    let (mut index, mut path, mut tag) = (Field::new(), Field::new(), Field::new());
    let (mut size, mut version, mut freshness) = (Field::new(), Field::new(), Field::new());
    let (mut metadata, mut begun, mut target) = (Field::new(), Field::new(), Field::new());
    let (mut replaces, mut holes) = (Field::new(), Field::new());
    let keys = r.map(|r, key| match key {
        0 => index.set(r.index()),
        1 => path.set(r.path()),
        2 => tag.set(r.choice(&TAGS)),
        3 => size.set(r.size()),
        4 => version.set(r.version()),
        5 => freshness.set(r.choice(&FRESHNESSES)),
        6 => metadata.set(r.metadata()),
        7 => begun.set(r.index()),
        8 => target.set(r.link()),
        9 => replaces.set(r.index()),
        10 => holes.set(r.size()),
        _ => Ok(Key::Unknown),
    })?;
    let tag = tag.need()?;
    keys.only(match tag {
        Tag::File => &[0, 1, 2, 3, 4, 5, 6, 9, 10],
        Tag::Directory => &[0, 1, 2, 9],
        Tag::DirectoryEnd => &[0, 1, 2, 6, 7, 9],
        Tag::Link => &[0, 1, 2, 6, 8, 9],
    })?;
    let body = match tag {
        Tag::File => EntryBody::File {
            size: size.maybe(),
            holes: holes.maybe().unwrap_or_default(),
            version: version.maybe(),
            freshness: freshness.need()?,
            metadata: metadata.need()?,
        },
        Tag::Directory => EntryBody::Directory,
        Tag::DirectoryEnd => {
            EntryBody::DirectoryEnd { begun: begun.need()?, metadata: metadata.need()? }
        }
        Tag::Link => EntryBody::Link { target: target.need()?, metadata: metadata.need()? },
    };
    if matches!(&body, EntryBody::File { size, holes, .. } if *holes > size.unwrap_or_default()) {
        return bad("holes beyond the object");
    }
    let (index, path, replaces) = (index.need()?, path.need()?, replaces.maybe());
    let begun = match &body {
        EntryBody::DirectoryEnd { begun, .. } => Some(*begun),
        _ => None,
    };
    if begun.max(replaces) >= Some(index) {
        return bad("an entry that names a later one");
    }
    Ok(Entry { index, path, replaces, body })
}

pub(super) fn write(w: &mut Writer<'_>, entry: &Entry) {
    let (always, size, version, holes) = match &entry.body {
        EntryBody::File { size, version, holes, .. } => {
            (5, size.is_some(), version.is_some(), *holes > ByteCount::ZERO)
        }
        EntryBody::Directory => (3, false, false, false),
        EntryBody::DirectoryEnd { .. } | EntryBody::Link { .. } => (5, false, false, false),
    };
    w.map(always, &[size, version, holes, entry.replaces.is_some()])
        .uint(0)
        .uint(entry.index.0)
        .uint(1)
        .path(&entry.path)
        .uint(2);
    match &entry.body {
        EntryBody::File { size, version, freshness, metadata, .. } => {
            w.choice(&TAGS, &Tag::File);
            if let Some(size) = size {
                w.uint(3).uint(size.0);
            }
            if let Some(version) = version {
                w.uint(4).version(version);
            }
            w.uint(5).choice(&FRESHNESSES, freshness).uint(6).metadata(metadata);
        }
        EntryBody::Directory => {
            w.choice(&TAGS, &Tag::Directory);
        }
        EntryBody::DirectoryEnd { begun, metadata } => {
            w.choice(&TAGS, &Tag::DirectoryEnd);
            w.uint(6).metadata(metadata).uint(7).uint(begun.0);
        }
        EntryBody::Link { target, metadata } => {
            w.choice(&TAGS, &Tag::Link);
            w.uint(6).metadata(metadata).uint(8).bytes(target);
        }
    }
    if let Some(replaced) = entry.replaces {
        w.uint(9).uint(replaced.0);
    }
    if let EntryBody::File { holes, .. } = &entry.body
        && *holes > ByteCount::ZERO
    {
        w.uint(10).uint(holes.0);
    }
}
