//! Steps of a peer that means well: each is a list of frames that belong together.

use super::{GRAIN, Known, Said, path, window};
use crate::session::content::{Stretch, Written};
use crate::session::dice::Dice;
use crate::session::disk::{METADATA, NAMES, SIZES, version_of};
use floe_proto::frame::{
    Await, Basis, CommittedEntry, Content, Data, Direction, DoneEntry, Entry, EntryBody, Frame,
    Header, Level, More, Open, Opened, Pace, Packing, Priority, ReceiptWish, RecogniseWish, Reply,
    ResumeWish, Seal, SeqRange, Unasked, Verdict, Want,
};
use floe_types::{
    ByteCount, ChunkDigest, ChunkSize, Component, EntryCount, EntryId, EntryIndex, Freshness,
    ObjectPath, Offset, Precondition, Range, Root, Seq, StreamId, TransferId,
};

/// Frames for a stream.
pub type Step = Vec<(StreamId, Said)>;

/// What a peer that means well would say next, of one matter that the dice pick.
pub fn step(dice: &mut Dice<'_>, known: &mut Known, streams: &[StreamId]) -> Step {
    let (Some(lead), Some(nth)) = (streams.first(), dice.index_of(streams)) else {
        return Vec::new();
    };
    let (lead, stream) = (*lead, streams[nth]);
    let on_lead = |frame: Option<Said>| frame.map(|frame| (lead, frame)).into_iter().collect();
    match dice.byte() % 12 {
        0 => on_lead(Some(opens(dice))),
        1 | 2 => on_lead(Some(announces(dice, known))),
        3 | 4 => chunk(dice, known, stream),
        5 => on_lead(done(dice, known)),
        6 => on_lead(complete(dice, known)),
        7 => on_lead(grants(dice, known)),
        8 => on_lead(wants(dice, known)),
        9 => takes(dice, known),
        10 => on_lead(commits(dice, known)),
        _ => on_lead(answers(dice, known)),
    }
}

fn opens(dice: &mut Dice<'_>) -> Said {
    Frame::Open(Open {
        transfer: TransferId(u32::from(dice.byte() % 3)),
        direction: dice.pick(&[Direction::Put, Direction::Get]),
        path: path(dice),
        chunk: ChunkSize::MIN,
        window: ByteCount(4 << 20),
        pace: dice.pick(&[Pace::Streaming, Pace::Lockstep]),
        precondition: Precondition::None,
        resume: ResumeWish::Continue,
        recognise: RecogniseWish::ByVersion,
        unasked: Unasked::Refused,
        receipts: ReceiptWish::None,
        probe: None,
        packing: Packing::Auto,
        priority: Priority::Normal,
        rate: None,
    })
}

/// The root of a tree, or a file or directory in it, or the end of the tree.
fn announces(dice: &mut Dice<'_>, known: &Known) -> Said {
    let transfer = TransferId(u32::from(dice.byte() % 3));
    let index = EntryIndex(known.next_index);
    let name = Component::new(dice.pick(NAMES)).ok();
    let beneath = name.and_then(|name| ObjectPath::root().join(name).ok()).unwrap_or_default();
    let metadata = METADATA;
    let file = |size: u64| EntryBody::File {
        size: Some(ByteCount(size)),
        holes: ByteCount::ZERO,
        version: Some(version_of(size)),
        freshness: Freshness::Settled,
        metadata,
    };
    let (path, body) = match dice.byte() % 5 {
        0 => (ObjectPath::root(), file(dice.pick(SIZES))),
        1 => (ObjectPath::root(), EntryBody::Directory),
        2 => (beneath, file(dice.pick(SIZES))),
        3 => {
            let begun = EntryIndex(dice.small(4));
            (ObjectPath::root(), EntryBody::DirectoryEnd { begun, metadata })
        }
        _ => (beneath, EntryBody::Directory),
    };
    Frame::Entries(transfer, vec![Entry { index, path, replaces: None, body }])
}

fn hole(seq: Seq, entry: EntryId, range: Range) -> Said {
    let (offset, len) = (range.start(), Some(range.len()));
    let (awaits, digest) = (Await::Implied, ChunkDigest::of_zeros(range));
    Frame::Header(Header { seq, entry, offset, len, awaits, digest, content: Content::Hole })
}

/// One chunk of a file that was announced: header, pieces, seal.
fn chunk(dice: &mut Dice<'_>, known: &Known, stream: StreamId) -> Step {
    let Some(nth) = dice.index_of(&known.files) else { return Vec::new() };
    let (entry, size) = known.files[nth];
    let size = size.min(4 * GRAIN);
    let start = dice.small(4) * GRAIN;
    let end = size.min(start + GRAIN);
    if end <= start {
        return Vec::new();
    }
    let (seq, kind) = (Seq(known.next_seq), dice.byte());
    let salt = kind / 128;
    let range = Range::new(Offset(start), Offset(end));
    if kind % 8 == 7 {
        return vec![(stream, hole(seq, entry, range))];
    }
    let Some(digest) = Written::of(salt, end).digest(range) else { return Vec::new() };
    let header = Header {
        seq,
        entry,
        offset: Offset(start),
        len: Some(ByteCount(end - start)),
        awaits: Await::Implied,
        digest: None,
        content: Content::Bytes,
    };
    let mut step = vec![(stream, Frame::Header(header))];
    let mut at = start;
    while at < end {
        let len = (end - at).min(1 << 16);
        let bytes = Stretch { salt, from: at, len };
        let (len, from) = (ByteCount(len), ByteCount(at - start));
        step.push((stream, Frame::Data(Data { seq, at: from, len, bytes })));
        at += len.0;
    }
    step.push((stream, Frame::Seal(Seal { seq, len: ByteCount(end - start), digest })));
    step
}

fn done(dice: &mut Dice<'_>, known: &Known) -> Option<Said> {
    let (entry, size) = known.files[dice.index_of(&known.files)?];
    let salt = dice.byte() / 128;
    let root = if size > 4 * GRAIN { Root([7; 32]) } else { Written::of(salt, size).root(size)? };
    let done = DoneEntry { index: entry.index, size: ByteCount(size), root };
    Some(Frame::Done(entry.transfer, vec![done]))
}

fn complete(dice: &mut Dice<'_>, known: &Known) -> Option<Said> {
    let transfer = TransferId(u32::from(dice.byte() % 3));
    let count = known.announced.get(&transfer).copied().unwrap_or(0);
    Some(Frame::Complete(transfer, EntryCount(count)))
}

fn grants(dice: &mut Dice<'_>, known: &Known) -> Option<Said> {
    let transfer = known.opened[dice.index_of(&known.opened)?];
    Some(Frame::Opened(Opened { transfer, handle: Vec::new(), window: window(dice) }))
}

fn wants(dice: &mut Dice<'_>, known: &Known) -> Option<Said> {
    let (entry, _) = known.files[dice.index_of(&known.files)?];
    let (basis, have, finished, more) = (Basis::Version, Vec::new(), None, More::Last);
    Some(Frame::Want(Want { entry, basis, have, finished, more }))
}

/// A verdict or an acknowledgement, on the stream where it belongs.
fn takes(dice: &mut Dice<'_>, known: &Known) -> Step {
    if let Some(nth) = dice.index_of(&known.awaiting)
        && dice.once_in(2)
    {
        let chunk = known.awaiting[nth];
        let seqs = SeqRange { first: chunk.seq, last: chunk.seq };
        return vec![(chunk.stream, Frame::Verdict(seqs, Verdict::Send))];
    }
    let Some(nth) = dice.index_of(&known.seals) else { return Vec::new() };
    let chunk = known.seals[nth];
    let seqs = SeqRange { first: chunk.seq, last: chunk.seq };
    vec![(chunk.stream, Frame::Stored(vec![seqs], Level::Recorded))]
}

fn commits(dice: &mut Dice<'_>, known: &Known) -> Option<Said> {
    if let Some(nth) = dice.index_of(&known.others)
        && dice.once_in(2)
    {
        let EntryId { transfer, index } = known.others[nth];
        return Some(Frame::Committed(transfer, vec![CommittedEntry { index, root: None }]));
    }
    let (transfer, done) = known.dones[dice.index_of(&known.dones)?];
    let committed = CommittedEntry { index: done.index, root: Some(done.root) };
    Some(Frame::Committed(transfer, vec![committed]))
}

fn answers(dice: &mut Dice<'_>, known: &Known) -> Option<Said> {
    if let Some(nth) = dice.index_of(&known.requests)
        && dice.once_in(2)
    {
        return Some(Frame::Reply(known.requests[nth], Ok(Reply::Done)));
    }
    let transfer = known.completes[dice.index_of(&known.completes)?];
    Some(Frame::Completed(transfer))
}
