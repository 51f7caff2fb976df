//! The other end: frames in any order with any values, and honest steps that lead somewhere.
//!
//! What it knows is what a peer can know: what it announced itself, and what it was told.

use super::content::{Stretch, Written};
use super::dice::Dice;
use super::disk::{METADATA, NAMES, SIZES, version_of};
use floe_proto::frame::{
    Await, Basis, CommittedEntry, Content, Data, Direction, DoneEntry, Entry, EntryBody, Failed,
    Frame, Header, Hello, More, Open, Opened, Pace, Packing, Priority, ReceiptWish, RecogniseWish,
    Recursive, Replace, Reply, Request, ResumeWish, RootWish, Seal, SeqRange, Stats, Unasked,
    Verdict, Want,
};
use floe_types::{
    ByteCount, ChainingValue, ChunkDigest, ChunkSize, Code, Component, EntryCount, EntryId,
    EntryIndex, Fault, Freshness, Micros, ObjectPath, Offset, Precondition, Range, RequestId, Root,
    Seq, Subtree, TransferId,
};

mod known; // what it knows
mod honest; // steps of a peer that means well

pub use honest::step;
pub use known::Known;

/// A frame on a payload that is never there.
pub type Said = Frame<Stretch>;

const GRAIN: u64 = 256 << 10;

/// Any frame, most often with numbers that mean something.
pub fn any_frame(dice: &mut Dice<'_>, known: &Known) -> Said {
    match dice.byte() % 29 {
        0 => Frame::Open(open(dice)),
        1 => Frame::Opened(Opened {
            transfer: transfer(dice),
            handle: vec![7],
            window: window(dice),
        }),
        2 | 3 => {
            let list = (0..=dice.small(3)).map(|_| entry(dice)).collect();
            Frame::Entries(transfer(dice), list)
        }
        4 | 5 => Frame::Want(want(dice)),
        6 => Frame::Drop(id(dice), ascending(dice)),
        7 | 8 => Frame::Header(header(dice)),
        9 => {
            Frame::Verdict(seqs(dice), dice.pick(&[Verdict::Send, Verdict::Have, Verdict::Refuse]))
        }
        10 | 11 => Frame::Data(data(dice)),
        12 | 13 => {
            let (seq, len) = (seq(dice), chunk_len(dice));
            Frame::Seal(Seal { seq, len, digest: digest(dice, dice_offset) })
        }
        14 => {
            let level =
                dice.pick(&[floe_proto::frame::Level::Recorded, floe_proto::frame::Level::Durable]);
            Frame::Stored(vec![seqs(dice)], level)
        }
        15 => Frame::Corrupt(seq(dice)),
        16 => {
            let (index, size) = (index(dice), ByteCount(size(dice)));
            let root = root(dice, size.0);
            Frame::Done(transfer(dice), vec![DoneEntry { index, size, root }])
        }
        17 => {
            let index = index(dice);
            let root = dice.once_in(2).then(|| known_root(dice, known));
            Frame::Committed(transfer(dice), vec![CommittedEntry { index, root }])
        }
        18 => Frame::Failed(Failed { entry: id(dice), path: path(dice), fault: fault(dice) }),
        19 => {
            let count = EntryCount(u32::from(dice.byte() % 9));
            Frame::Complete(transfer(dice), count)
        }
        20 => Frame::Completed(transfer(dice)),
        21 => Frame::Cancel(transfer(dice), fault(dice)),
        22 => Frame::Request(RequestId(u32::from(dice.byte() % 5)), request(dice)),
        23 => {
            let answer = if dice.once_in(2) { Err(fault(dice)) } else { Ok(Reply::Done) };
            Frame::Reply(RequestId(u32::from(dice.byte() % 3)), answer)
        }
        24 => Frame::Stats(Stats { round_trip: Some(Micros(dice.wild())), ..Stats::default() }),
        25 => Frame::Ping(dice.wild()),
        26 => Frame::Pong(dice.wild()),
        27 => Frame::Close(dice.once_in(2).then(|| fault(dice))),
        _ => misplaced(dice),
    }
}

/// The same frame once more, with the number that names its subject one higher.
pub fn next_of(frame: &mut Said) {
    match frame {
        Frame::Open(open) => open.transfer.0 = open.transfer.0.saturating_add(1),
        Frame::Request(id, _) | Frame::Reply(id, _) => id.0 = id.0.saturating_add(1),
        Frame::Entries(_, list) => {
            for entry in list {
                entry.index = entry.index.next();
            }
        }
        Frame::Header(header) => header.seq = header.seq.next(),
        Frame::Corrupt(seq) => *seq = seq.next(),
        Frame::Failed(failed) => failed.entry.index = failed.entry.index.next(),
        Frame::Ping(number) => *number = number.wrapping_add(1),
        _ => {}
    }
}

fn misplaced(dice: &mut Dice<'_>) -> Said {
    match dice.byte() % 5 {
        4 => Frame::Receipt(transfer(dice), super::disk::receipt()),
        0 => Frame::Joined,
        1 => Frame::Busy(Micros(1)),
        2 => Frame::Challenge([1; 32]),
        _ => {
            let agent = "x".to_owned();
            Frame::Hello(Hello { abilities: 0, client: [1; 16], proof: None, agent })
        }
    }
}

fn open(dice: &mut Dice<'_>) -> Open {
    let open = Open {
        transfer: transfer(dice),
        direction: dice.pick(&[Direction::Put, Direction::Get]),
        path: path(dice),
        chunk: dice.pick(&[ChunkSize::MIN, ChunkSize::DEFAULT, ChunkSize::MAX]),
        window: window(dice),
        pace: dice.pick(&[Pace::Streaming, Pace::Lockstep]),
        precondition: dice.pick(&[Precondition::None, Precondition::Absent]),
        resume: dice.pick(&[ResumeWish::Continue, ResumeWish::Discard]),
        recognise: RecogniseWish::ByVersion,
        unasked: Unasked::Refused,
        receipts: ReceiptWish::None,
        probe: None,
        packing: Packing::Auto,
        priority: Priority::Normal,
        rate: None,
    };
    let (recognise, unasked) = dice.pick(&[
        (RecogniseWish::ByVersion, Unasked::Refused),
        (RecogniseWish::ByContent, Unasked::Refused),
        (RecogniseWish::ByVersion, Unasked::Welcome),
        (RecogniseWish::ByContent, Unasked::Welcome),
    ]);
    // Not drawn: every input of before still means what it meant.
    let receipts = match open.chunk == ChunkSize::MAX {
        true => ReceiptWish::Signed,
        false => ReceiptWish::None,
    };
    Open { recognise, unasked, receipts, ..open }
}

fn entry(dice: &mut Dice<'_>) -> Entry {
    let (index, path) = (index(dice), path(dice));
    let replaces = dice.once_in(8).then(|| self::index(dice));
    let metadata = METADATA;
    let body = match dice.byte() % 6 {
        0 => EntryBody::Directory,
        1 => EntryBody::DirectoryEnd { begun: self::index(dice), metadata },
        2 => EntryBody::Link { target: b"a".to_vec(), metadata },
        _ => {
            let size = size(dice);
            let version = (!dice.once_in(4)).then(|| version_of(size));
            let freshness = dice.pick(&[Freshness::Settled, Freshness::Fresh]);
            let size = (!dice.once_in(4)).then_some(ByteCount(size));
            let holes = size.filter(|_| dice.once_in(4)).unwrap_or_default();
            EntryBody::File { size, holes, version, freshness, metadata }
        }
    };
    Entry { index, path, replaces, body }
}

fn want(dice: &mut Dice<'_>) -> Want {
    let ranges = ascending(dice);
    let mut have: Vec<Subtree> = Vec::new();
    for range in ranges {
        let digest = digest(dice, |_| range.start());
        if Subtree::is_aligned(range) {
            have.push(Subtree { range, digest });
        }
    }
    let finished = (have.is_empty() && dice.once_in(3)).then(|| {
        let size = size(dice);
        root(dice, size)
    });
    let more = if finished.is_none() && dice.once_in(4) { More::Follows } else { More::Last };
    Want {
        entry: id(dice),
        basis: dice.pick(&[Basis::Version, Basis::Content]),
        have,
        finished,
        more,
    }
}

/// Ranges in order, most of them of whole chunks.
fn ascending(dice: &mut Dice<'_>) -> Vec<Range> {
    let mut ranges = Vec::new();
    let mut end = 0u64;
    for _ in 0..dice.small(4) {
        let start = end.saturating_add(dice.small(3) * GRAIN);
        let len = if dice.once_in(6) { dice.wild() } else { dice.pick(&[GRAIN, 2 * GRAIN, 7]) };
        end = start.saturating_add(len).min(i64::MAX as u64);
        ranges.push(Range::new(Offset(start), Offset(end)));
    }
    ranges
}

fn header(dice: &mut Dice<'_>) -> Header {
    let offset = Offset(if dice.once_in(8) { dice.wild() } else { dice.small(4) * GRAIN });
    let len = (!dice.once_in(4)).then(|| chunk_len(dice));
    let awaits = dice.pick(&[Await::Implied, Await::Verdict]);
    let digest = dice.once_in(3).then(|| digest(dice, |_| offset));
    let told = awaits == Await::Implied && len.is_some() && digest.is_some();
    let content = if told && dice.once_in(2) { Content::Hole } else { Content::Bytes };
    Header { seq: seq(dice), entry: id(dice), offset, len, awaits, digest, content }
}

fn data(dice: &mut Dice<'_>) -> Data<Stretch> {
    let at = if dice.once_in(8) { dice.wild() } else { dice.small(5) << 16 };
    let len = dice.pick(&[1 << 16, 5, 1, GRAIN]);
    let bytes = Stretch { salt: dice.byte() % 3, from: at.min(1 << 40), len };
    Data { seq: seq(dice), at: ByteCount(at), len: ByteCount(len), bytes }
}

fn dice_offset(dice: &mut Dice<'_>) -> Offset {
    Offset(dice.small(4) * GRAIN)
}

fn digest(dice: &mut Dice<'_>, offset: impl FnOnce(&mut Dice<'_>) -> Offset) -> ChunkDigest {
    let start = offset(dice);
    let lie = ChainingValue([9; 32]);
    let root = (start == Offset::ZERO).then_some(Root([9; 32]));
    if start.0 >= 1 << 30 || !start.0.is_multiple_of(GRAIN) || dice.once_in(2) {
        return ChunkDigest { value: lie, root };
    }
    let end = Offset(start.0 + dice.pick(&[GRAIN, 5, 7, 1 << 16]));
    let written = Written::of(0, end.0);
    written.digest(Range::new(start, end)).unwrap_or(ChunkDigest { value: lie, root })
}

fn root(dice: &mut Dice<'_>, size: u64) -> Root {
    if size > 4 * GRAIN || dice.once_in(4) {
        return Root([9; 32]);
    }
    Written::of(dice.byte() % 2, size).root(size).unwrap_or_else(Root::of_nothing)
}

fn known_root(dice: &mut Dice<'_>, known: &Known) -> Root {
    match dice.index_of(&known.dones) {
        Some(nth) if !dice.once_in(4) => known.dones[nth].1.root,
        _ => Root([8; 32]),
    }
}

fn request(dice: &mut Dice<'_>) -> Request {
    let path = path(dice);
    match dice.byte() % 5 {
        0 => Request::List { path, after: None, max: EntryCount(5) },
        1 => Request::Stat { path, root: dice.pick(&[RootWish::IfKnown, RootWish::Computed]) },
        2 => Request::Remove { path, recursive: dice.pick(&[Recursive::Yes, Recursive::No]) },
        3 => {
            let replace = dice.pick(&[Replace::Allowed, Replace::Refused]);
            Request::Rename { from: path, to: self::path(dice), replace }
        }
        _ => Request::MakeDirectory { path },
    }
}

fn fault(dice: &mut Dice<'_>) -> Fault {
    Fault::new(dice.pick(Code::ALL), "said so")
}

fn transfer(dice: &mut Dice<'_>) -> TransferId {
    let number = dice.byte();
    if number == 255 { TransferId(u32::MAX) } else { TransferId(u32::from(number % 3)) }
}

fn index(dice: &mut Dice<'_>) -> EntryIndex {
    let number = dice.byte();
    if number == 255 { EntryIndex(u64::MAX) } else { EntryIndex(u64::from(number % 6)) }
}

fn id(dice: &mut Dice<'_>) -> EntryId {
    EntryId { transfer: transfer(dice), index: index(dice) }
}

fn seq(dice: &mut Dice<'_>) -> Seq {
    let number = dice.byte();
    if number == 255 { Seq(u64::MAX) } else { Seq(u64::from(number % 12)) }
}

fn seqs(dice: &mut Dice<'_>) -> SeqRange {
    let first = seq(dice);
    let last =
        if dice.once_in(8) { Seq(u64::MAX) } else { Seq(first.0.saturating_add(dice.small(3))) };
    SeqRange { first, last }
}

fn window(dice: &mut Dice<'_>) -> ByteCount {
    ByteCount(dice.pick(&[4 << 20, 1, GRAIN, 1 << 16, i64::MAX as u64]))
}

fn size(dice: &mut Dice<'_>) -> u64 {
    if dice.once_in(12) { dice.wild().min(i64::MAX as u64) } else { dice.pick(SIZES) }
}

fn chunk_len(dice: &mut Dice<'_>) -> ByteCount {
    ByteCount(dice.pick(&[GRAIN, 5, 1 << 16, 7, 2 * GRAIN, 1, 16 << 20]))
}

/// A path of at most three names.
pub fn path(dice: &mut Dice<'_>) -> ObjectPath {
    let names = (0..dice.small(4)).filter_map(|_| Component::new(dice.pick(NAMES)).ok());
    let names: Vec<Component> = names.collect();
    ObjectPath::from_components(names).unwrap_or_default()
}
