//! A disk as a model: of each chunk whether its right bytes are staged and recorded, and whether
//! the object stands under its final name.

use floe_proto::disk::{CommitWhat, DiskDone, DiskOp, OpenHow, Opened, Reread};
use floe_proto::frame::{Basis, EntryBody};
use floe_types::digest::ChunkHasher;
use floe_types::{
    ByteCount, ChainingValue, ChunkDigest, ChunkSize, Freshness, Metadata, Mode, Offset, Range,
    Root, SourceVersion, Subtree, Subtrees, Timestamp,
};
use std::sync::LazyLock;

/// A piece: which chunk, and whether its bytes are right.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Piece {
    pub(super) chunk: usize,
    pub(super) right: Right,
}

/// Whether bytes are what the source has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Right {
    Yes,
    No,
}

/// One end's disk.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Disk {
    staged: [Option<Right>; CHUNKS],
    recorded: [bool; CHUNKS],
    /// Of what is recorded: what a checkpoint covers.
    durable: [bool; CHUNKS],
    pub(super) committed: bool,
}

pub(super) const CHUNKS: usize = 3;
const CHUNK: u64 = ChunkSize::MIN.bytes().0;
/// The last chunk is a short one.
const SIZE: u64 = CHUNK * 2 + 1_000;

struct Sums {
    chunks: [ChunkDigest; CHUNKS],
    root: Root,
}

static SUMS: LazyLock<Sums> = LazyLock::new(|| {
    let chunks = std::array::from_fn(|nth| {
        let range = range_of(nth);
        let mut hasher = ChunkHasher::new(range.start());
        hasher.update(&vec![7; range.len().to_len().unwrap_or(0)]);
        hasher.finish().unwrap_or(NO_DIGEST)
    });
    let mut all = Subtrees::new();
    for (nth, digest) in chunks.iter().enumerate() {
        let _inserted = all.insert(Subtree { range: range_of(nth), digest: *digest });
    }
    Sums { chunks, root: all.root(ByteCount(SIZE)).unwrap_or(Root([0; 32])) }
});

const NO_DIGEST: ChunkDigest = ChunkDigest { value: ChainingValue([0; 32]), root: None };

fn range_of(nth: usize) -> Range {
    let start = CHUNK * nth as u64;
    Range::new(Offset(start), Offset((start + CHUNK).min(SIZE)))
}

fn nth_of(range: Range) -> usize {
    usize::try_from(range.start().0 / CHUNK).unwrap_or(0).min(CHUNKS - 1)
}

fn digest_of(piece: Piece) -> ChunkDigest {
    let mut digest = SUMS.chunks[piece.chunk];
    if piece.right == Right::No {
        digest.value.0[0] ^= 1;
        if let Some(root) = &mut digest.root {
            root.0[0] ^= 1;
        }
    }
    digest
}

impl Disk {
    /// Does an operation.
    ///
    /// # Errors
    /// The promise that it breaks.
    pub(super) fn run(&mut self, op: DiskOp<Piece>) -> Result<DiskDone<Piece>, String> {
        Ok(match op {
            DiskOp::Open { how, .. } => DiskDone::Opened(self.open(&how)),
            DiskOp::Read { piece, .. } => {
                let bytes = Piece { chunk: nth_of(piece), right: Right::Yes };
                let digest = Some(digest_of(bytes));
                DiskDone::Read { bytes: Some(bytes), len: piece.len(), digest }
            }
            DiskOp::Check { .. } => DiskDone::Checked(Some(VERSION)),
            DiskOp::Write { piece, bytes, .. } => {
                let nth = nth_of(piece);
                if self.recorded[nth] && bytes.right == Right::No {
                    return Err(format!("wrong bytes over chunk {nth}, which is recorded"));
                }
                self.staged[nth] = Some(bytes.right);
                DiskDone::Wrote { digest: Some(digest_of(bytes)) }
            }
            DiskOp::Record { chunk, .. } => {
                let nth = nth_of(chunk);
                if self.staged[nth] != Some(Right::Yes) {
                    return Err(format!("chunk {nth} is recorded, and not rightly staged"));
                }
                self.recorded[nth] = true;
                DiskDone::Recorded
            }
            DiskOp::Forget { range, .. } => {
                self.recorded[nth_of(range)] = false;
                self.durable[nth_of(range)] = false;
                DiskDone::Forgotten
            }
            DiskOp::Commit { batch, .. } => {
                for one in &batch {
                    self.commit(&one.what)?;
                }
                DiskDone::Committed(batch.iter().map(|_| Ok(())).collect())
            }
            DiskOp::Checkpoint { .. } => {
                self.durable = self.recorded;
                DiskDone::Checkpointed
            }
            DiskOp::Discard { .. } => {
                *self = Self { committed: self.committed, ..Self::default() };
                DiskDone::Discarded
            }
            DiskOp::Release { .. } => DiskDone::Released,
            other => return Err(format!("an operation that has no place here: {other:?}")),
        })
    }

    /// The power fails: what no checkpoint covers is gone.
    pub(super) fn lose_power(&mut self) {
        self.recorded = self.durable;
        for (staged, durable) in self.staged.iter_mut().zip(self.durable) {
            *staged = staged.filter(|_| durable);
        }
    }

    fn commit(&mut self, what: &CommitWhat) -> Result<(), String> {
        let CommitWhat::Object { size, root } = what else {
            return Err("what is committed is no object".to_owned());
        };
        let whole = self.staged.iter().all(|staged| *staged == Some(Right::Yes));
        if !(self.committed || whole) || *root != SUMS.root || size.0 != SIZE {
            return Err("an object that is not whole is committed".to_owned());
        }
        self.committed = true;
        Ok(())
    }

    fn open(&self, how: &OpenHow) -> Opened {
        if matches!(how, OpenHow::Source(_)) {
            let (size, version) = (Some(ByteCount(SIZE)), Some(VERSION));
            let freshness = Freshness::Settled;
            let body = EntryBody::File {
                size,
                holes: ByteCount::ZERO,
                version,
                freshness,
                metadata: METADATA,
            };
            return Opened::Source {
                body,
                metadata: METADATA,
                reread: Reread::Yes,
                holes: Vec::new(),
            };
        }
        if self.committed {
            let finished = Some(SUMS.root);
            return Opened::Sink { have: Vec::new(), basis: Basis::Version, finished };
        }
        let mut have = Subtrees::new();
        for nth in (0..CHUNKS).filter(|nth| self.recorded[*nth]) {
            let _inserted = have.insert(Subtree { range: range_of(nth), digest: SUMS.chunks[nth] });
        }
        Opened::Sink { have: have.iter().collect(), basis: Basis::Version, finished: None }
    }
}

const STAMP: Timestamp = match Timestamp::new(1_700_000_000, 5) {
    Some(time) => time,
    None => panic!("a constant"),
};
const METADATA: Metadata = Metadata { mode: Mode::from_bits(0o644), mtime: STAMP };
const VERSION: SourceVersion =
    SourceVersion { inode: 1, size: ByteCount(SIZE), mtime: STAMP, ctime: STAMP };
