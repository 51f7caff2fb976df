//! Cold frames of a transfer but ENTRIES: OPEN to CANCEL.

use super::bounds::{CodecLimits, HANDLE_BYTES_MAX, OBJECT_BYTES_MAX, bad};
use super::cbor::{Field, Key, Reader, Writer};
use super::values::ascend;
use crate::command::Violation;
use crate::frame::{
    Basis, CommittedEntry, Direction, DoneEntry, Failed, More, Open, Opened, Pace, PackLevel,
    Packing, Priority, ReceiptWish, RecogniseWish, ResumeWish, Unasked, Want,
};
use alloc::vec::Vec;
use floe_types::{
    ByteCount, ChunkSize, EntryCount, EntryId, Fault, Precondition, Range, Rate, TransferId,
};

const DIRECTIONS: [Direction; 2] = [Direction::Put, Direction::Get];
const PACES: [Pace; 2] = [Pace::Streaming, Pace::Lockstep];
const PRECONDITIONS: [Precondition; 2] = [Precondition::None, Precondition::Absent];
const RESUMES: [ResumeWish; 2] = [ResumeWish::Continue, ResumeWish::Discard];
const RECOGNISES: [RecogniseWish; 2] = [RecogniseWish::ByVersion, RecogniseWish::ByContent];
const UNASKED: [Unasked; 2] = [Unasked::Refused, Unasked::Welcome];
const RECEIPTS: [ReceiptWish; 2] = [ReceiptWish::None, ReceiptWish::Signed];
const PRIORITIES: [Priority; 2] = [Priority::Normal, Priority::Background];
const BASES: [Basis; 2] = [Basis::Version, Basis::Content];
const MORES: [More; 2] = [More::Last, More::Follows];

pub(super) fn read_open(r: &mut Reader<'_>) -> Result<Open, Violation> {
    let (mut transfer, mut direction, mut path) = (Field::new(), Field::new(), Field::new());
    let (mut chunk, mut window, mut pace) = (Field::new(), Field::new(), Field::new());
    let (mut precondition, mut resume, mut recognise) = (Field::new(), Field::new(), Field::new());
    let (mut unasked, mut receipts, mut probe) = (Field::new(), Field::new(), Field::new());
    let (mut packing, mut priority, mut rate) = (Field::new(), Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => transfer.set(r.transfer()),
        1 => direction.set(r.choice(&DIRECTIONS)),
        2 => path.set(r.path()),
        3 => chunk.set(r.uint()),
        4 => window.set(read_window(r)),
        5 => pace.set(r.choice(&PACES)),
        6 => precondition.set(r.choice(&PRECONDITIONS)),
        7 => resume.set(r.choice(&RESUMES)),
        8 => recognise.set(r.choice(&RECOGNISES)),
        9 => unasked.set(r.choice(&UNASKED)),
        10 => receipts.set(r.choice(&RECEIPTS)),
        11 => probe.set(r.size()),
        12 => packing.set(read_packing(r)),
        13 => priority.set(r.choice(&PRIORITIES)),
        14 => rate.set(read_rate(r)),
        _ => Ok(Key::Unknown),
    })?;
    let Some(chunk) = ChunkSize::new(chunk.need()?) else { return bad("not a chunk size") };
    Ok(Open {
        transfer: transfer.need()?,
        direction: direction.need()?,
        path: path.need()?,
        chunk,
        window: window.need()?,
        pace: pace.need()?,
        precondition: precondition.need()?,
        resume: resume.need()?,
        recognise: recognise.need()?,
        unasked: unasked.maybe().unwrap_or_default(),
        receipts: receipts.maybe().unwrap_or_default(),
        probe: probe.maybe(),
        packing: packing.maybe().unwrap_or_default(),
        priority: priority.maybe().unwrap_or_default(),
        rate: rate.maybe(),
    })
}

/// 0 is never, absent is the sender's choice.
fn read_packing(r: &mut Reader<'_>) -> Result<Packing, Violation> {
    match r.at_most(PackLevel::MAX.number().into())? {
        0 => Ok(Packing::Never),
        level => match u8::try_from(level).ok().and_then(PackLevel::new) {
            Some(level) => Ok(Packing::Level(level)),
            None => bad("no level of packing"),
        },
    }
}

fn read_rate(r: &mut Reader<'_>) -> Result<Rate, Violation> {
    match Rate::new(r.at_most(OBJECT_BYTES_MAX)?) {
        Some(rate) => Ok(rate),
        None => bad("a rate of nothing"),
    }
}

fn read_window(r: &mut Reader<'_>) -> Result<ByteCount, Violation> {
    match r.at_most(OBJECT_BYTES_MAX)? {
        0 => bad("a window of nothing"),
        bytes => Ok(ByteCount(bytes)),
    }
}

pub(super) fn write_open(w: &mut Writer<'_>, open: &Open) {
    let signed = open.receipts != ReceiptWish::None;
    let packing = match open.packing {
        Packing::Auto => None,
        Packing::Never => Some(0),
        Packing::Level(level) => Some(u64::from(level.number())),
    };
    let (probe, yields) = (open.probe.is_some(), open.priority != Priority::Normal);
    let (unasked, packs) = (open.unasked != Unasked::Refused, packing.is_some());
    let some = [unasked, signed, probe, packs, yields, open.rate.is_some()];
    w.map(9, &some).uint(0).uint(open.transfer.0.into());
    w.uint(1).choice(&DIRECTIONS, &open.direction).uint(2).path(&open.path);
    w.uint(3).uint(open.chunk.bytes().0).uint(4).uint(open.window.0);
    w.uint(5).choice(&PACES, &open.pace);
    w.uint(6).choice(&PRECONDITIONS, &open.precondition);
    w.uint(7).choice(&RESUMES, &open.resume).uint(8).choice(&RECOGNISES, &open.recognise);
    if open.unasked != Unasked::Refused {
        w.uint(9).choice(&UNASKED, &open.unasked);
    }
    if signed {
        w.uint(10).choice(&RECEIPTS, &open.receipts);
    }
    if let Some(size) = open.probe {
        w.uint(11).uint(size.0);
    }
    if let Some(level) = packing {
        w.uint(12).uint(level);
    }
    if yields {
        w.uint(13).choice(&PRIORITIES, &open.priority);
    }
    if let Some(rate) = open.rate {
        w.uint(14).uint(rate.bytes_per_sec().min(OBJECT_BYTES_MAX));
    }
}

pub(super) fn read_opened(r: &mut Reader<'_>) -> Result<Opened, Violation> {
    let (mut transfer, mut handle, mut window) = (Field::new(), Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => transfer.set(r.transfer()),
        1 => handle.set(r.bytes(HANDLE_BYTES_MAX).map(<[u8]>::to_vec)),
        2 => window.set(read_window(r)),
        _ => Ok(Key::Unknown),
    })?;
    Ok(Opened { transfer: transfer.need()?, handle: handle.need()?, window: window.need()? })
}

pub(super) fn write_opened(w: &mut Writer<'_>, opened: &Opened) {
    w.map(3, &[]).uint(0).uint(opened.transfer.0.into());
    w.uint(1).bytes(&opened.handle).uint(2).uint(opened.window.0);
}

pub(super) fn read_want(r: &mut Reader<'_>, limits: &CodecLimits) -> Result<Want, Violation> {
    let (mut transfer, mut index, mut basis) = (Field::new(), Field::new(), Field::new());
    let (mut have, mut finished, mut more) = (Field::new(), Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => transfer.set(r.transfer()),
        1 => index.set(r.index()),
        2 => basis.set(r.choice(&BASES)),
        3 => have.set(r.list(limits.ranges_max, Reader::subtree)),
        4 => finished.set(r.root()),
        5 => more.set(r.choice(&MORES)),
        _ => Ok(Key::Unknown),
    })?;
    let want = Want {
        entry: EntryId { transfer: transfer.need()?, index: index.need()? },
        basis: basis.need()?,
        have: have.need()?,
        finished: finished.maybe(),
        more: more.need()?,
    };
    if want.finished.is_some() && (!want.have.is_empty() || want.more == More::Follows) {
        return bad("ranges of an object that is whole");
    }
    ascend(want.have.iter().map(|subtree| subtree.range))?;
    Ok(want)
}

pub(super) fn write_want(w: &mut Writer<'_>, want: &Want) {
    w.map(5, &[want.finished.is_some()]).uint(0).uint(want.entry.transfer.0.into());
    w.uint(1).uint(want.entry.index.0).uint(2).choice(&BASES, &want.basis);
    w.uint(3).array(want.have.len());
    for subtree in &want.have {
        w.subtree(subtree);
    }
    if let Some(root) = want.finished {
        w.uint(4).bytes(&root.0);
    }
    w.uint(5).choice(&MORES, &want.more);
}

pub(super) fn read_drop(
    r: &mut Reader<'_>,
    limits: &CodecLimits,
) -> Result<(EntryId, Vec<Range>), Violation> {
    let (mut transfer, mut index, mut ranges) = (Field::new(), Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => transfer.set(r.transfer()),
        1 => index.set(r.index()),
        2 => ranges.set(r.list(limits.ranges_max, Reader::range)),
        _ => Ok(Key::Unknown),
    })?;
    let ranges: Vec<Range> = ranges.need()?;
    ascend(ranges.iter().copied())?;
    Ok((EntryId { transfer: transfer.need()?, index: index.need()? }, ranges))
}

pub(super) fn write_drop(w: &mut Writer<'_>, entry: EntryId, ranges: &[Range]) {
    w.map(3, &[]).uint(0).uint(entry.transfer.0.into()).uint(1).uint(entry.index.0);
    w.uint(2).array(ranges.len());
    for range in ranges {
        w.range(*range);
    }
}

/// Reads a frame of a transfer and a list: DONE, COMMITTED.
pub(super) fn read_listed<T>(
    r: &mut Reader<'_>,
    limits: &CodecLimits,
    mut each: impl FnMut(&mut Reader<'_>) -> Result<T, Violation>,
) -> Result<(TransferId, Vec<T>), Violation> {
    let (mut transfer, mut list) = (Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => transfer.set(r.transfer()),
        1 => list.set(r.list(limits.entries_max, &mut each)),
        _ => Ok(Key::Unknown),
    })?;
    let list: Vec<T> = list.need()?;
    if list.is_empty() {
        return bad("a list of nothing");
    }
    Ok((transfer.need()?, list))
}

/// Writes a frame of a transfer and a list.
pub(super) fn write_listed<T>(
    w: &mut Writer<'_>,
    transfer: TransferId,
    list: &[T],
    mut each: impl FnMut(&mut Writer<'_>, &T),
) {
    w.map(2, &[]).uint(0).uint(transfer.0.into()).uint(1).array(list.len());
    for item in list {
        each(w, item);
    }
}

pub(super) fn read_done(r: &mut Reader<'_>) -> Result<DoneEntry, Violation> {
    r.tuple(3)?;
    Ok(DoneEntry { index: r.index()?, size: r.size()?, root: r.root()? })
}

pub(super) fn write_done(w: &mut Writer<'_>, done: &DoneEntry) {
    w.array(3).uint(done.index.0).uint(done.size.0).bytes(&done.root.0);
}

pub(super) fn read_committed(r: &mut Reader<'_>) -> Result<CommittedEntry, Violation> {
    let fields = r.array()?;
    let index = if fields == 0 { return bad("an array of nothing") } else { r.index()? };
    let root = match fields {
        1 => None,
        2 => Some(r.root()?),
        _ => return bad("an array of the wrong length"),
    };
    Ok(CommittedEntry { index, root })
}

pub(super) fn write_committed(w: &mut Writer<'_>, committed: &CommittedEntry) {
    w.array(1 + usize::from(committed.root.is_some())).uint(committed.index.0);
    if let Some(root) = committed.root {
        w.bytes(&root.0);
    }
}

pub(super) fn read_failed(r: &mut Reader<'_>) -> Result<Failed, Violation> {
    let (mut transfer, mut index) = (Field::new(), Field::new());
    let (mut path, mut fault) = (Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => transfer.set(r.transfer()),
        1 => index.set(r.index()),
        2 => path.set(r.path()),
        3 => fault.set(r.fault()),
        _ => Ok(Key::Unknown),
    })?;
    let entry = EntryId { transfer: transfer.need()?, index: index.need()? };
    Ok(Failed { entry, path: path.need()?, fault: fault.need()? })
}

pub(super) fn write_failed(w: &mut Writer<'_>, failed: &Failed) {
    w.map(4, &[]).uint(0).uint(failed.entry.transfer.0.into());
    w.uint(1).uint(failed.entry.index.0).uint(2).path(&failed.path).uint(3).fault(&failed.fault);
}

pub(super) fn read_complete(r: &mut Reader<'_>) -> Result<(TransferId, EntryCount), Violation> {
    let (mut transfer, mut count) = (Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => transfer.set(r.transfer()),
        1 => count.set(r.u32().map(EntryCount)),
        _ => Ok(Key::Unknown),
    })?;
    Ok((transfer.need()?, count.need()?))
}

pub(super) fn write_complete(w: &mut Writer<'_>, transfer: TransferId, count: EntryCount) {
    w.map(2, &[]).uint(0).uint(transfer.0.into()).uint(1).uint(count.0.into());
}

pub(super) fn read_completed(r: &mut Reader<'_>) -> Result<TransferId, Violation> {
    let mut transfer = Field::new();
    r.map(|r, key| match key {
        0 => transfer.set(r.transfer()),
        _ => Ok(Key::Unknown),
    })?;
    transfer.need()
}

pub(super) fn write_completed(w: &mut Writer<'_>, transfer: TransferId) {
    w.map(1, &[]).uint(0).uint(transfer.0.into());
}

pub(super) fn read_cancel(r: &mut Reader<'_>) -> Result<(TransferId, Fault), Violation> {
    let (mut transfer, mut fault) = (Field::new(), Field::new());
    r.map(|r, key| match key {
        0 => transfer.set(r.transfer()),
        1 => fault.set(r.fault()),
        _ => Ok(Key::Unknown),
    })?;
    Ok((transfer.need()?, fault.need()?))
}

pub(super) fn write_cancel(w: &mut Writer<'_>, transfer: TransferId, fault: &Fault) {
    w.map(2, &[]).uint(0).uint(transfer.0.into()).uint(1).fault(fault);
}
