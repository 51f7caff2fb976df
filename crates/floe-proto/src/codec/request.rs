//! Cold frames beside transfers: REQUEST, REPLY, STATS.

use super::bounds::{CURSOR_BYTES_MAX, CodecLimits, bad};
use super::cbor::{Field, Key, Reader, Writer};
use crate::command::Violation;
use crate::frame::{
    Causes, Recursive, Replace, Reply, Request, RootWish, Speeds, Stat, Stats, Work,
};
use alloc::vec::Vec;
use floe_types::{ByteCount, Component, DiskSpeed, EntryCount, Fault, Micros, RequestId};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    List,
    Stat,
    Remove,
    Rename,
    MakeDirectory,
    Measure,
}

const VERBS: [Verb; 6] =
    [Verb::List, Verb::Stat, Verb::Remove, Verb::Rename, Verb::MakeDirectory, Verb::Measure];
const ROOT_WISHES: [RootWish; 2] = [RootWish::IfKnown, RootWish::Computed];
const RECURSIVES: [Recursive; 2] = [Recursive::No, Recursive::Yes];
const REPLACES: [Replace; 2] = [Replace::Refused, Replace::Allowed];

pub(super) fn read_request(r: &mut Reader<'_>) -> Result<(RequestId, Request), Violation> {
    let (mut id, mut verb, mut path) = (Field::new(), Field::new(), Field::new());
    let (mut after, mut max, mut root) = (Field::new(), Field::new(), Field::new());
    let (mut recursive, mut to, mut replace) = (Field::new(), Field::new(), Field::new());
    let keys = r.map(|r, key| match key {
        0 => id.set(r.u32().map(RequestId)),
        1 => verb.set(r.choice(&VERBS)),
        2 => path.set(r.path()),
        3 => after.set(read_cursor(r)),
        4 => max.set(r.u32().map(EntryCount)),
        5 => root.set(r.choice(&ROOT_WISHES)),
        6 => recursive.set(r.choice(&RECURSIVES)),
        7 => to.set(r.path()),
        8 => replace.set(r.choice(&REPLACES)),
        _ => Ok(Key::Unknown),
    })?;
    let (verb, path) = (verb.need()?, path.need()?);
    keys.only(match verb {
        Verb::List => &[0, 1, 2, 3, 4],
        Verb::Stat => &[0, 1, 2, 5],
        Verb::Remove => &[0, 1, 2, 6],
        Verb::Rename => &[0, 1, 2, 7, 8],
        Verb::MakeDirectory | Verb::Measure => &[0, 1, 2],
    })?;
    let request = match verb {
        Verb::List => match max.need()? {
            EntryCount(0) => return bad("a page of nothing"),
            max => Request::List { path, after: after.maybe(), max },
        },
        Verb::Stat => Request::Stat { path, root: root.need()? },
        Verb::Remove => Request::Remove { path, recursive: recursive.need()? },
        Verb::Rename => Request::Rename { from: path, to: to.need()?, replace: replace.need()? },
        Verb::MakeDirectory => Request::MakeDirectory { path },
        Verb::Measure => Request::Measure { path },
    };
    Ok((id.need()?, request))
}

pub(super) fn write_request(w: &mut Writer<'_>, id: RequestId, request: &Request) {
    let (verb, path, always, cursor) = match request {
        Request::List { path, after, .. } => (Verb::List, path, 4, after.as_deref()),
        Request::Stat { path, .. } => (Verb::Stat, path, 4, None),
        Request::Remove { path, .. } => (Verb::Remove, path, 4, None),
        Request::Rename { from, .. } => (Verb::Rename, from, 5, None),
        Request::MakeDirectory { path } => (Verb::MakeDirectory, path, 3, None),
        Request::Measure { path } => (Verb::Measure, path, 3, None),
    };
    w.map(always, &[cursor.is_some()]).uint(0).uint(id.0.into());
    w.uint(1).choice(&VERBS, &verb).uint(2).path(path);
    if let Some(after) = cursor {
        w.uint(3).bytes(after);
    }
    match request {
        Request::List { max, .. } => w.uint(4).uint(max.0.into()),
        Request::Stat { root, .. } => w.uint(5).choice(&ROOT_WISHES, root),
        Request::Remove { recursive, .. } => w.uint(6).choice(&RECURSIVES, recursive),
        Request::Rename { to, replace, .. } => {
            w.uint(7).path(to).uint(8).choice(&REPLACES, replace)
        }
        Request::MakeDirectory { .. } | Request::Measure { .. } => w,
    };
}

fn read_cursor(r: &mut Reader<'_>) -> Result<Vec<u8>, Violation> {
    r.bytes(CURSOR_BYTES_MAX).map(<[u8]>::to_vec)
}

/// What a REPLY holds.
type Answer = (RequestId, Result<Reply, Fault>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Fault,
    Done,
    Stat,
    Page,
    Measured,
}

const OUTCOMES: [Outcome; 5] =
    [Outcome::Fault, Outcome::Done, Outcome::Stat, Outcome::Page, Outcome::Measured];

pub(super) fn read_reply(r: &mut Reader<'_>, limits: &CodecLimits) -> Result<Answer, Violation> {
    let (mut id, mut outcome, mut fault) = (Field::new(), Field::new(), Field::new());
    let (mut stat, mut names, mut next) = (Field::new(), Field::new(), Field::new());
    let mut speeds = Field::new();
    let keys = r.map(|r, key| match key {
        0 => id.set(r.u32().map(RequestId)),
        1 => outcome.set(r.choice(&OUTCOMES)),
        2 => fault.set(r.fault()),
        3 => stat.set(read_stat(r)),
        4 => names.set(r.list(limits.names_max, read_name)),
        5 => next.set(read_cursor(r)),
        6 => speeds.set(read_speeds(r)),
        _ => Ok(Key::Unknown),
    })?;
    let outcome = outcome.need()?;
    keys.only(match outcome {
        Outcome::Fault => &[0, 1, 2],
        Outcome::Done => &[0, 1],
        Outcome::Stat => &[0, 1, 3],
        Outcome::Page => &[0, 1, 4, 5],
        Outcome::Measured => &[0, 1, 6],
    })?;
    let answer = match outcome {
        Outcome::Fault => Err(fault.need()?),
        Outcome::Done => Ok(Reply::Done),
        Outcome::Stat => Ok(Reply::Stat(stat.need()?)),
        Outcome::Page => Ok(Reply::Page { names: names.need()?, next: next.maybe() }),
        Outcome::Measured => Ok(Reply::Measured(speeds.need()?)),
    };
    Ok((id.need()?, answer))
}

pub(super) fn write_reply(w: &mut Writer<'_>, id: RequestId, answer: &Result<Reply, Fault>) {
    let (outcome, always, next) = match answer {
        Err(_) => (Outcome::Fault, 3, None),
        Ok(Reply::Done) => (Outcome::Done, 2, None),
        Ok(Reply::Stat(_)) => (Outcome::Stat, 3, None),
        Ok(Reply::Page { next, .. }) => (Outcome::Page, 3, next.as_deref()),
        Ok(Reply::Measured(_)) => (Outcome::Measured, 3, None),
    };
    w.map(always, &[next.is_some()]).uint(0).uint(id.0.into());
    w.uint(1).choice(&OUTCOMES, &outcome);
    match answer {
        Err(fault) => {
            w.uint(2).fault(fault);
        }
        Ok(Reply::Done) => {}
        Ok(Reply::Stat(stat)) => write_stat(w.uint(3), stat),
        Ok(Reply::Page { names, .. }) => {
            w.uint(4).array(names.len());
            names.iter().for_each(|name| write_name(w, name));
        }
        Ok(Reply::Measured(speeds)) => write_speeds(w.uint(6), speeds),
    }
    if let Some(next) = next {
        w.uint(5).bytes(next);
    }
}

fn read_speeds(r: &mut Reader<'_>) -> Result<Speeds, Violation> {
    let (mut write, mut read, mut sync) = (Field::new(), Field::new(), Field::new());
    let (mut hash, mut cipher) = (Field::new(), Field::new());
    let (mut copied_in, mut copied_out) = (Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => write.set(r.size()),
        1 => read.set(r.size()),
        2 => sync.set(r.micros()),
        3 => hash.set(r.size()),
        4 => cipher.set(r.size()),
        5 => copied_in.set(r.size()),
        6 => copied_out.set(r.size()),
        _ => Ok(Key::Unknown),
    })?;
    let disk = DiskSpeed {
        write: write.need()?,
        read: read.need()?,
        sync: sync.need()?,
        copied_in: copied_in.need()?,
        copied_out: copied_out.need()?,
    };
    Ok(Speeds { disk, hash: hash.need()?, cipher: cipher.need()? })
}

fn write_speeds(w: &mut Writer<'_>, speeds: &Speeds) {
    let Speeds { disk: DiskSpeed { write, read, sync, copied_in, copied_out }, hash, cipher } =
        speeds;
    w.map(7, &[]).uint(0).uint(write.0).uint(1).uint(read.0).uint(2).uint(sync.0);
    w.uint(3)
        .uint(hash.0)
        .uint(4)
        .uint(cipher.0)
        .uint(5)
        .uint(copied_in.0)
        .uint(6)
        .uint(copied_out.0);
}

fn read_name(r: &mut Reader<'_>) -> Result<(Component, Option<Stat>), Violation> {
    match r.array()? {
        1 => Ok((r.component()?, None)),
        2 => Ok((r.component()?, Some(read_stat(r)?))),
        _ => bad("an array of the wrong length"),
    }
}

pub(super) fn write_name(w: &mut Writer<'_>, (name, stat): &(Component, Option<Stat>)) {
    w.array(1 + usize::from(stat.is_some())).bytes(name.as_bytes());
    if let Some(stat) = stat {
        write_stat(w, stat);
    }
}

fn read_stat(r: &mut Reader<'_>) -> Result<Stat, Violation> {
    let (mut kind, mut size, mut metadata) = (Field::new(), Field::new(), Field::new());
    let (mut target, mut root) = (Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => kind.set(r.kind()),
        1 => size.set(r.size()),
        2 => metadata.set(r.metadata()),
        3 => target.set(r.link()),
        4 => root.set(r.root()),
        _ => Ok(Key::Unknown),
    })?;
    let (kind, size, metadata) = (kind.need()?, size.need()?, metadata.need()?);
    Ok(Stat { kind, size, metadata, target: target.maybe(), root: root.maybe() })
}

fn write_stat(w: &mut Writer<'_>, stat: &Stat) {
    w.map(3, &[stat.target.is_some(), stat.root.is_some()]).uint(0).kind(stat.kind);
    w.uint(1).uint(stat.size.0).uint(2).metadata(&stat.metadata);
    if let Some(target) = &stat.target {
        w.uint(3).bytes(target);
    }
    if let Some(root) = stat.root {
        w.uint(4).bytes(&root.0);
    }
}

pub(super) fn read_stats(r: &mut Reader<'_>) -> Result<Stats, Violation> {
    let (mut causes, mut data, mut trip) = (Field::new(), Field::new(), Field::new());
    let mut work = Field::new();
    r.map(|r, key| match key {
        0 => causes.set(read_causes(r)),
        1 => data.set(r.uint().map(ByteCount)),
        2 => trip.set(r.micros()),
        3 => work.set(r.choice(&WORKS)),
        _ => Ok(Key::Unknown),
    })?;
    let (causes, data_bytes) = (causes.need()?, data.need()?);
    Ok(Stats { causes, data_bytes, round_trip: trip.maybe(), work: work.maybe() })
}

pub(super) fn write_stats(w: &mut Writer<'_>, stats: &Stats) {
    w.map(2, &[stats.round_trip.is_some(), stats.work.is_some()]).uint(0);
    let causes = in_order(&stats.causes);
    w.map(causes.len() as u64, &[]);
    for (key, micros) in (0..).zip(causes) {
        w.uint(key).uint(micros.0);
    }
    w.uint(1).uint(stats.data_bytes.0);
    if let Some(trip) = stats.round_trip {
        w.uint(2).uint(trip.0);
    }
    if let Some(work) = &stats.work {
        w.uint(3).choice(&WORKS, work);
    }
}

const WORKS: [Work; 2] = [Work::None, Work::UnderWay];

/// The causes, by key.
const fn in_order(causes: &Causes) -> [Micros; 13] {
    [
        causes.source_disk,
        causes.cpu,
        causes.network,
        causes.window,
        causes.limiter,
        causes.starved,
        causes.sink_disk,
        causes.sync,
        causes.memory,
        causes.idle,
        causes.loss,
        causes.peer_socket,
        causes.sink_cpu,
    ]
}

fn read_causes(r: &mut Reader<'_>) -> Result<Causes, Violation> {
    let mut fields = [const { Field::new() }; 13];
    r.map(|r, key| match usize::try_from(key).ok().and_then(|nth| fields.get_mut(nth)) {
        Some(field) => field.set(r.micros()),
        None => Ok(Key::Unknown),
    })?;
    let times = fields.map(|field| field.maybe().unwrap_or_default());
    let [source_disk, cpu, network, window, limiter, starved, sink_disk, ..] = times;
    let [.., sync, memory, idle, loss, peer_socket, sink_cpu] = times;
    Ok(Causes {
        source_disk,
        cpu,
        network,
        window,
        limiter,
        starved,
        sink_disk,
        sync,
        memory,
        idle,
        loss,
        peer_socket,
        sink_cpu,
    })
}
