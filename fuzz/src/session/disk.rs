//! A disk for the core under test, which checks what it is asked.
//!
//! Checked here: an operation is of an entry that is open; a commit, discard or release waits for
//! all others of its entry; what is recorded is what was written, agrees with the digest and is
//! not written again; what is committed is whole and has its root (promises 1 and 4).

use super::content::{Stretch, Written, ZEROS, digest_of, zeros};
use super::dice::Dice;
use floe_proto::disk::{
    CommitOp, CommitWhat, DiskDone, DiskOp, Ends, Journal, Keep, Lane, OpenHow, Opened, Reread,
    SinkWish, Standing,
};
use floe_proto::frame::{Basis, EntryBody, Receipt, ReceiptWish, Reply, Request, Stat};
use floe_types::{
    ByteCount, ChunkDigest, Code, Component, EntryId, EntryIndex, EntryKind, Fault, Freshness,
    Metadata, Mode, ObjectPath, Offset, Range, RangeSet, Root, SourceVersion, Subtree, Subtrees,
    Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};

/// A completion of the core under test.
pub type Done = DiskDone<Stretch>;
/// An operation of the core under test.
pub type Op = DiskOp<Stretch>;

/// How an operation ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// As it should.
    Well,
    /// As the dice say: failed, short, with another version.
    Badly,
}

/// Files and stages of one end.
#[derive(Debug, Default)]
pub struct Disk {
    sources: BTreeMap<EntryId, SourceFile>,
    sinks: BTreeMap<EntryId, Stage>,
    hashing: BTreeMap<(Lane, Way), (EntryId, Offset, Vec<Stretch>)>,
    /// What was committed: by entry, each root it ever had.
    pub committed: BTreeSet<(EntryId, Option<Root>)>,
    /// What the receiver may say it holds: recorded, resumed or written whole.
    pub held: BTreeMap<EntryId, RangeSet>,
    /// Entries that were recognised as finished.
    pub finished: BTreeSet<EntryId>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way {
    Read,
    Write,
}

#[derive(Debug)]
struct SourceFile {
    salt: u8,
    size: u64,
    holes: RangeSet,
    version: Option<SourceVersion>,
    once: Once,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Once {
    Yes,
    No,
}

#[derive(Debug)]
struct Stage {
    written: Written,
    recorded: Vec<(Range, ChunkDigest)>,
    finished: Option<Root>,
    journal: Journal,
}

const GRAIN: u64 = 256 << 10;

impl Disk {
    /// Does an operation.
    pub fn run(&mut self, lane: Lane, op: &Op, how: Ending, dice: &mut Dice<'_>) -> Done {
        let badly = how == Ending::Badly;
        if badly
            && !matches!(op, DiskOp::Release { .. } | DiskOp::Discard { .. })
            && dice.once_in(2)
        {
            return failed(dice);
        }
        match op {
            DiskOp::Open { entry, path, how } => self.open(*entry, path, how, dice),
            DiskOp::List { .. } => listed(dice),
            DiskOp::Read { entry, chunk, piece, ends, keep } => {
                self.read((lane, *entry), *chunk, *piece, *ends, *keep, badly.then_some(dice))
            }
            DiskOp::ReadHole { entry, chunk } => self.read_hole(*entry, *chunk, how),
            DiskOp::WriteHole { entry, chunk } => self.write_hole(*entry, *chunk),
            DiskOp::Check { entry } => {
                let version = self.source(*entry).version;
                let inode = if badly { u64::from(dice.byte()) } else { 1 };
                DiskDone::Checked(version.map(|version| SourceVersion { inode, ..version }))
            }
            DiskOp::Write { entry, chunk, piece, ends, bytes } => {
                self.write((lane, *entry), *chunk, *piece, *ends, *bytes)
            }
            DiskOp::Finish { entry, chunk } => self.finish(lane, *entry, *chunk),
            DiskOp::Record { entry, chunk, digest } => self.record(*entry, *chunk, *digest),
            DiskOp::Forget { entry, range } => {
                let stage = self.stage(*entry);
                stage.recorded.retain(|(chunk, _)| chunk.intersect(*range).is_empty());
                if let Some(held) = self.held.get_mut(entry) {
                    held.remove(*range);
                }
                DiskDone::Forgotten
            }
            DiskOp::Checkpoint { entry } => {
                self.stage(*entry);
                DiskDone::Checkpointed
            }
            DiskOp::Commit { batch, receipts } => {
                let each = batch.iter().map(|one| {
                    if badly && dice.once_in(2) {
                        return Err(Fault::new(dice.pick(CODES), "commit"));
                    }
                    self.commit(one);
                    Ok(())
                });
                match receipts {
                    ReceiptWish::None => DiskDone::Committed(each.collect()),
                    ReceiptWish::Signed => DiskDone::Signed(each.collect(), receipt()),
                }
            }
            DiskOp::Discard { entry } => {
                assert!(self.sinks.remove(entry).is_some(), "discarded what is not open");
                self.held.remove(entry);
                DiskDone::Discarded
            }
            DiskOp::Spend { entry, .. } => {
                assert_eq!(self.source(*entry).once, Once::Yes, "it can be read again");
                DiskDone::Spent
            }
            DiskOp::Release { entry } => {
                let open =
                    self.sinks.remove(entry).is_some() || self.sources.remove(entry).is_some();
                assert!(open, "released what is not open: {entry:?}");
                DiskDone::Released
            }
            DiskOp::Apply { request } => applied(request, dice),
        }
    }

    fn source(&self, entry: EntryId) -> &SourceFile {
        self.sources.get(&entry).unwrap_or_else(|| panic!("not open to be read: {entry:?}"))
    }

    fn source_mut(&mut self, entry: EntryId) -> &mut SourceFile {
        self.sources.get_mut(&entry).unwrap_or_else(|| panic!("not open to be read: {entry:?}"))
    }

    fn stage(&mut self, entry: EntryId) -> &mut Stage {
        self.sinks.get_mut(&entry).unwrap_or_else(|| panic!("not open to be written: {entry:?}"))
    }

    /// Whether nothing is open any more.
    pub fn is_quiet(&self) -> bool {
        self.sources.is_empty() && self.sinks.is_empty()
    }

    fn open(
        &mut self,
        entry: EntryId,
        path: &ObjectPath,
        how: &OpenHow,
        dice: &mut Dice<'_>,
    ) -> Done {
        match how {
            OpenHow::Directory(_) => {
                DiskDone::Opened(Opened::Directory(dice.pick(&[Standing::Made, Standing::Stood])))
            }
            OpenHow::Source(_) => self.open_source(entry, path, dice),
            OpenHow::ProbeSource(_) | OpenHow::ProbeSink => {
                DiskDone::Failed(Fault::new(Code::Unsupported, "no probes in a fuzzer"))
            }
            OpenHow::Sink(wish) => self.open_sink(entry, wish, dice),
        }
    }

    /// A name says what it is; the dice say how large.
    fn open_source(&mut self, entry: EntryId, path: &ObjectPath, dice: &mut Dice<'_>) -> Done {
        let name = path.name().map_or(b'd', |name| name.as_bytes()[0]);
        let none = RangeSet::new();
        let source = |body, reread, holes: &RangeSet| {
            let (metadata, holes) = (METADATA, holes.iter().collect());
            DiskDone::Opened(Opened::Source { body, metadata, reread, holes })
        };
        match name {
            b'd' => source(EntryBody::Directory, Reread::Yes, &none),
            b'l' => {
                let (target, metadata) = (b"a".to_vec(), METADATA);
                source(EntryBody::Link { target, metadata }, Reread::Yes, &none)
            }
            _ => {
                // Standard input is a transfer of its own.
                let is_root = entry.index == EntryIndex(0);
                let once = if name == b's' && is_root { Once::Yes } else { Once::No };
                let size = dice.pick(SIZES);
                let known = once == Once::No;
                let version = (known && name != b'u').then(|| version_of(size));
                let freshness = dice.pick(&[Freshness::Settled, Freshness::Fresh]);
                let holes = if known { holes_in(size, dice) } else { RangeSet::new() };
                let spent = Vec::new();
                let reread = if known { Reread::Yes } else { Reread::No { spent } };
                let (told, metadata) = (ByteCount::ZERO, METADATA);
                let known = known.then_some(ByteCount(size));
                let body =
                    EntryBody::File { size: known, holes: told, version, freshness, metadata };
                let opened = source(body, reread, &holes);
                self.sources.insert(entry, SourceFile { salt: 0, size, holes, version, once });
                opened
            }
        }
    }

    fn open_sink(&mut self, entry: EntryId, wish: &SinkWish, dice: &mut Dice<'_>) -> Done {
        let size = wish.size.unwrap_or_default().0;
        let small = size <= 8 * GRAIN;
        let mut stage = Stage {
            written: Written::default(),
            recorded: Vec::new(),
            finished: None,
            journal: wish.journal,
        };
        let mut basis = dice.pick(&[Basis::Version, Basis::Content]);
        let mut have = Vec::new();
        let mut held = RangeSet::new();
        match dice.byte() % 4 {
            2 if small && wish.journal == Journal::Kept => {
                stage.written = Written::of(dice.byte() % 2, size);
                let taken = dice.byte();
                let chunks = (0..size / GRAIN).filter(|nth| taken & (1 << nth) != 0);
                for nth in chunks {
                    let range = Range::new(Offset(nth * GRAIN), Offset((nth + 1) * GRAIN));
                    let Some(digest) = stage.written.digest(range) else { continue };
                    stage.recorded.push((range, digest));
                    held.insert(range);
                    have.push(Subtree { range, digest });
                }
                if basis == Basis::Version {
                    let mut merged = Subtrees::new();
                    have.iter().for_each(|one| assert!(merged.insert(*one)));
                    have = merged.iter().collect();
                }
            }
            3 if small && wish.size.is_some() => {
                let root = Written::of(dice.byte() % 2, size).root(size);
                stage.finished = root;
                self.finished.insert(entry);
            }
            _ => basis = Basis::Version,
        }
        let finished = stage.finished;
        self.held.insert(entry, held);
        let before = self.sinks.insert(entry, stage);
        assert!(before.is_none(), "opened twice");
        DiskDone::Opened(Opened::Sink { have, basis, finished })
    }

    fn read(
        &mut self,
        (lane, entry): (Lane, EntryId),
        chunk: Offset,
        piece: Range,
        ends: Ends,
        keep: Keep,
        trouble: Option<&mut Dice<'_>>,
    ) -> Done {
        let file = self.source(entry);
        let size = trouble.map_or(file.size, |dice| file.size.min(dice.pick(SIZES)));
        let len = piece.end().0.min(size).saturating_sub(piece.start().0);
        let read = Range::new(piece.start(), piece.start().plus(ByteCount(len)));
        let salt = if file.holes.covers(read) && len > 0 { ZEROS } else { file.salt };
        let bytes = Stretch { salt, from: piece.start().0, len };
        let hashed = self.hash((lane, Way::Read), entry, chunk, piece.start(), bytes);
        assert!(hashed.is_ok(), "a piece is read out of order: {piece:?} of {chunk:?}");
        let ended = len < piece.len().0 || ends == Ends::Chunk;
        let digest = if ended { self.hashed((lane, Way::Read)) } else { None };
        let kept = (keep == Keep::Bytes && len > 0).then_some(bytes);
        DiskDone::Read { bytes: kept, len: ByteCount(len), digest }
    }

    fn write(
        &mut self,
        (lane, entry): (Lane, EntryId),
        chunk: Offset,
        piece: Range,
        ends: Ends,
        bytes: Stretch,
    ) -> Done {
        assert_eq!(piece.len(), ByteCount(bytes.len));
        if let Err(fault) = self.hash((lane, Way::Write), entry, chunk, piece.start(), bytes) {
            return DiskDone::Failed(fault);
        }
        let digest = if ends == Ends::Chunk { self.hashed((lane, Way::Write)) } else { None };
        let stage = self.stage(entry);
        let again = stage.recorded.iter().any(|(range, _)| !range.intersect(piece).is_empty());
        assert!(!again, "what is recorded is written again at {piece:?}");
        stage.written.write(piece.start().0, bytes);
        if stage.journal == Journal::None {
            self.held.entry(entry).or_default().insert(piece);
        }
        DiskDone::Wrote { digest }
    }

    fn read_hole(&mut self, entry: EntryId, chunk: Range, how: Ending) -> Done {
        let file = self.source_mut(entry);
        assert!(file.holes.covers(chunk), "asked for a hole that nobody spoke of");
        if how == Ending::Badly {
            file.holes.remove(chunk);
            return DiskDone::Hole { digest: None };
        }
        DiskDone::Hole { digest: digest_of(chunk.start(), &[zeros(chunk)]) }
    }

    fn write_hole(&mut self, entry: EntryId, chunk: Range) -> Done {
        let stage = self.stage(entry);
        let again = stage.recorded.iter().any(|(range, _)| !range.intersect(chunk).is_empty());
        assert!(!again, "a hole is made where something is recorded: {chunk:?}");
        stage.written.write(chunk.start().0, zeros(chunk));
        if stage.journal == Journal::None {
            self.held.entry(entry).or_default().insert(chunk);
        }
        DiskDone::Wrote { digest: digest_of(chunk.start(), &[zeros(chunk)]) }
    }

    fn finish(&mut self, lane: Lane, entry: EntryId, chunk: Offset) -> Done {
        self.stage(entry);
        let hashed = self.hashing.get(&(lane, Way::Write));
        let hashed = hashed.filter(|(of, start, _)| (*of, *start) == (entry, chunk));
        let digest = hashed.and_then(|(_, start, stretches)| digest_of(*start, stretches));
        DiskDone::Wrote { digest }
    }

    /// Hashes the pieces of a chunk in order, one chunk at a time on each lane, as the engine does.
    fn hash(
        &mut self,
        way: (Lane, Way),
        entry: EntryId,
        chunk: Offset,
        at: Offset,
        bytes: Stretch,
    ) -> Result<(), Fault> {
        if at == chunk {
            self.hashing.insert(way, (entry, chunk, vec![bytes]));
            return Ok(());
        }
        match self.hashing.get_mut(&way) {
            Some((of, start, stretches)) if (*of, *start) == (entry, chunk) => {
                let so_far: u64 = stretches.iter().map(|stretch| stretch.len).sum();
                if chunk.0 + so_far != at.0 {
                    return Err(Fault::new(Code::Other, "a piece out of order"));
                }
                stretches.push(bytes);
                Ok(())
            }
            _ => Err(Fault::new(Code::Other, "a piece out of order")),
        }
    }

    fn hashed(&self, way: (Lane, Way)) -> Option<ChunkDigest> {
        let (_, start, stretches) = self.hashing.get(&way)?;
        digest_of(*start, stretches)
    }

    fn record(&mut self, entry: EntryId, chunk: Range, digest: ChunkDigest) -> Done {
        let stage = self.stage(entry);
        assert_eq!(stage.journal, Journal::Kept, "recorded without a journal");
        assert_eq!(stage.written.digest(chunk), Some(digest), "recorded bytes are not there");
        let again = stage.recorded.iter().any(|(range, _)| !range.intersect(chunk).is_empty());
        assert!(!again, "a chunk is recorded twice: {chunk:?}");
        stage.recorded.push((chunk, digest));
        self.held.entry(entry).or_default().insert(chunk);
        DiskDone::Recorded
    }

    fn commit(&mut self, one: &CommitOp) {
        let CommitWhat::Object { size, root } = one.what else {
            self.committed.insert((one.entry, None));
            return;
        };
        let Some(stage) = self.sinks.remove(&one.entry) else {
            panic!("committed what is not open: {one:?}")
        };
        let untouched = stage.written == Written::default();
        if !(untouched && stage.finished == Some(root)) {
            let whole = stage.written.root(size.0);
            assert_eq!(whole, Some(root), "what is committed is not whole, or not that");
        }
        self.committed.insert((one.entry, Some(root)));
    }
}

/// Some of a file's whole smallest chunks.
fn holes_in(size: u64, dice: &mut Dice<'_>) -> RangeSet {
    let mut holes = RangeSet::new();
    let mask = if size < GRAIN { 0 } else { dice.byte() };
    for nth in (0..4).filter(|nth| mask & (0x10 << nth) != 0) {
        holes.insert(Range::new(Offset(nth * GRAIN), Offset(size.min((nth + 1) * GRAIN))));
    }
    holes
}

fn failed(dice: &mut Dice<'_>) -> Done {
    DiskDone::Failed(Fault::new(dice.pick(CODES), "told to"))
}

fn listed(dice: &mut Dice<'_>) -> Done {
    let mask = dice.byte();
    let names = NAMES.iter().enumerate().filter(|(nth, _)| mask & (1 << nth) != 0);
    let names = names.filter_map(|(_, name)| Component::new(name).ok()).collect();
    let next = dice.once_in(8).then(|| b"next".to_vec());
    let passed_over = match dice.once_in(8) {
        true => vec![Fault::new(Code::BadPath, "\".floe\"")],
        false => Vec::new(),
    };
    DiskDone::Listed { names, next, passed_over }
}

fn applied(request: &Request, dice: &mut Dice<'_>) -> Done {
    let stat = Stat {
        kind: EntryKind::File,
        size: ByteCount(dice.wild() >> 1),
        metadata: METADATA,
        target: None,
        root: dice.once_in(2).then(Root::of_nothing),
    };
    DiskDone::Applied(match request {
        Request::Stat { .. } => Reply::Stat(stat),
        Request::List { .. } => {
            let name = |name: &&[u8]| Some((Component::new(name).ok()?, Some(stat.clone())));
            Reply::Page { names: NAMES.iter().filter_map(name).collect(), next: None }
        }
        _ => Reply::Done,
    })
}

/// The version of a source of that size.
pub fn version_of(size: u64) -> SourceVersion {
    let at = METADATA.mtime;
    SourceVersion { inode: 1, size: ByteCount(size), mtime: at, ctime: at }
}

/// Mode and mtime of everything here.
pub const METADATA: Metadata = Metadata {
    mode: Mode::from_bits(0o644),
    mtime: match Timestamp::new(1_700_000_000, 5) {
        Some(time) => time,
        None => panic!("a constant"),
    },
};

/// What a name begins with says what it is: directory, link, read once, without a version, file.
pub const NAMES: &[&[u8]] = &[b"a", b"b", b"d", b"dd", b"l", b"s", b"u", b"z"];

/// Sizes of files: around a piece, a chunk, and what may come unasked.
pub const SIZES: &[u64] =
    &[5, 0, 1 << 16, (1 << 16) + 1, GRAIN, GRAIN + 1, 2 * GRAIN, 2 * GRAIN + 7, 6 * GRAIN];

/// What a disk says.
const CODES: &[Code] = &[
    Code::Io,
    Code::NoSpace,
    Code::NotFound,
    Code::PermissionDenied,
    Code::IsDirectory,
    Code::Exists,
    Code::NotRegular,
    Code::SourceChanged,
    Code::AlreadyRunning,
    Code::Conflict,
    Code::Integrity,
];

/// What a disk of these signs.
pub fn receipt() -> Receipt {
    let (key, signature, leaves) = (vec![1], vec![2], vec![[3; 32]]);
    Receipt { time: 1, ticket: "t".to_owned(), key, scheme: 0x403, signature, leaves }
}
