//! A disk for the core alone: files and stages in memory, hashed for real, nothing timed.

use floe_proto::disk::{
    CommitOp, CommitWhat, DiskDone, DiskOp, Ends, Journal, Keep, OpenHow, Opened, Reread, Standing,
};
use floe_proto::frame::{Basis, EntryBody, Receipt, ReceiptWish, Reply, Request};
use floe_types::{
    ByteCount, ChunkDigest, ChunkHasher, Code, Component, EntryId, Fault, Freshness, Metadata,
    Mode, ObjectPath, Offset, Range, RangeSet, Root, SourceVersion, Subtree, Subtrees, Timestamp,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub type Bytes = Arc<[u8]>;

/// A stream may read and write at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Way {
    Read,
    Write,
}

/// One end's files and stages.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    pub files: BTreeMap<ObjectPath, Vec<u8>>,
    pub dirs: BTreeSet<ObjectPath>,
    pub links: BTreeMap<ObjectPath, Vec<u8>>,
    /// Roots and versions of files that were committed here.
    pub marks: BTreeMap<ObjectPath, (Root, SourceVersion)>,
    pub stages: BTreeMap<ObjectPath, Stage>,
    /// Files whose bytes come once only.
    pub streams: BTreeSet<ObjectPath>,
    /// What was spent of them; outlives a session, but no process.
    spent: BTreeMap<ObjectPath, Subtrees>,
    /// Bumped when a file is changed under a reader.
    pub generation: BTreeMap<ObjectPath, u64>,
    /// Fails the next write of this path.
    pub full: Option<ObjectPath>,
    /// Directories that cannot be listed.
    pub unlistable: BTreeSet<ObjectPath>,
    /// Directories with a `.floe` in them.
    pub reserved: BTreeSet<ObjectPath>,
    pub checkpoints: u32,
    /// Holes that were made here.
    pub holes_written: u32,
    /// Bytes that came before they were asked for as a hole.
    pub filled: BTreeMap<ObjectPath, Vec<u8>>,
    open: BTreeMap<EntryId, ObjectPath>,
    hashers: BTreeMap<(u32, Way), (EntryId, ChunkHasher)>,
}

#[derive(Clone, Debug, Default)]
pub struct Stage {
    pub bytes: Vec<u8>,
    pub held: Vec<Subtree>,
    version: Option<SourceVersion>,
}

pub const METADATA: Metadata = Metadata {
    mode: Mode::from_bits(0o644),
    mtime: match Timestamp::new(1_700_000_000, 5) {
        Some(time) => time,
        None => panic!("a constant"),
    },
};

impl Disk {
    pub fn version(&self, path: &ObjectPath) -> SourceVersion {
        let size = ByteCount::of_len(self.files.get(path).map_or(0, Vec::len));
        let inode = self.generation.get(path).copied().unwrap_or(0);
        SourceVersion { inode, size, mtime: METADATA.mtime, ctime: METADATA.mtime }
    }

    /// Does one operation. `lane` names the hasher, as the engine has one a stream.
    pub fn run(&mut self, lane: u32, op: DiskOp<Bytes>) -> DiskDone<Bytes> {
        match op {
            DiskOp::Open { entry, path, how } => self.open(entry, path, how),
            DiskOp::List { path, .. } => self.list(&path),
            DiskOp::Read { entry, chunk, piece, ends, keep } => {
                self.read(lane, entry, chunk, piece, ends, keep)
            }
            DiskOp::ReadHole { entry, chunk } => self.read_hole(entry, chunk),
            DiskOp::WriteHole { entry, chunk } => {
                let path = self.open[&entry].clone();
                if self.full.as_ref() == Some(&path) {
                    return failed(Code::NoSpace, &path);
                }
                let (start, end) = bounds(chunk);
                let stage = self.stages.entry(path).or_default();
                stage.bytes.resize(stage.bytes.len().max(end), 0);
                stage.bytes[start..end].fill(0);
                self.holes_written += 1;
                DiskDone::Wrote { digest: ChunkDigest::of_zeros(chunk) }
            }
            DiskOp::Check { entry } => DiskDone::Checked(Some(self.version(&self.open[&entry]))),
            DiskOp::Write { entry, chunk, piece, ends, bytes } => {
                self.write(lane, entry, chunk, piece, ends, &bytes)
            }
            DiskOp::Finish { entry, chunk } => {
                let digest = self
                    .hasher((lane, Way::Write), entry, chunk, Range::new(chunk, chunk))
                    .finish();
                DiskDone::Wrote { digest }
            }
            DiskOp::Record { entry, chunk, digest } => {
                let path = self.open[&entry].clone();
                let stage = self.stages.get_mut(&path).expect("recorded without a stage");
                stage.held.push(Subtree { range: chunk, digest });
                DiskDone::Recorded
            }
            DiskOp::Forget { entry, range } => {
                let path = self.open[&entry].clone();
                let stage = self.stages.get_mut(&path).expect("forgot without a stage");
                stage.held.retain(|held| held.range.intersect(range).is_empty());
                DiskDone::Forgotten
            }
            DiskOp::Checkpoint { .. } => {
                self.checkpoints += 1;
                DiskDone::Checkpointed
            }
            DiskOp::Commit { batch, receipts } => self.commit_all(batch, receipts),
            DiskOp::Discard { entry } => {
                if let Some(path) = self.open.remove(&entry) {
                    self.stages.remove(&path);
                }
                DiskDone::Discarded
            }
            DiskOp::Spend { entry, chunk, digest } => {
                let spent = self.spent.entry(self.open[&entry].clone()).or_default();
                assert!(spent.insert(Subtree { range: chunk, digest }), "spent twice");
                DiskDone::Spent
            }
            DiskOp::Release { entry } => {
                assert!(self.open.remove(&entry).is_some(), "released what was not open");
                DiskDone::Released
            }
            DiskOp::Apply { request } => self.apply(&request),
        }
    }

    fn open(&mut self, entry: EntryId, path: ObjectPath, how: OpenHow) -> DiskDone<Bytes> {
        match how {
            OpenHow::Directory(_) => {
                if self.files.contains_key(&path) {
                    return failed(Code::NotDirectory, &path);
                }
                let made = self.dirs.insert(path);
                let standing = if made { Standing::Made } else { Standing::Stood };
                DiskDone::Opened(Opened::Directory(standing))
            }
            OpenHow::Source(_) => self.open_source(entry, path),
            OpenHow::ProbeSource(size) => {
                self.files.insert(path.clone(), vec![7; usize::try_from(size.0).unwrap()]);
                self.open_source(entry, path)
            }
            OpenHow::ProbeSink => {
                self.open.insert(entry, path.clone());
                self.stages.insert(path, Stage::default());
                let (have, basis) = (Vec::new(), Basis::Content);
                DiskDone::Opened(Opened::Sink { have, basis, finished: None })
            }
            OpenHow::Sink(wish) => {
                if self.dirs.contains(&path) {
                    return failed(Code::IsDirectory, &path);
                }
                self.open.insert(entry, path.clone());
                let mark =
                    self.marks.get(&path).filter(|(_, version)| Some(*version) == wish.version);
                if let Some((root, _)) = mark {
                    let settled = wish.freshness == Freshness::Settled;
                    let basis = if settled { Basis::Version } else { Basis::Content };
                    let finished = Some(*root);
                    return DiskDone::Opened(Opened::Sink { have: Vec::new(), basis, finished });
                }
                let stage = self.stages.entry(path).or_default();
                if wish.journal == Journal::None {
                    *stage = Stage::default();
                }
                let known = stage.version.is_some() && stage.version == wish.version;
                let basis = if known && wish.freshness == Freshness::Settled {
                    Basis::Version
                } else {
                    Basis::Content
                };
                stage.version = wish.version;
                let have = match basis {
                    Basis::Version => {
                        let mut merged = Subtrees::new();
                        for held in &stage.held {
                            assert!(merged.insert(*held), "a stage recorded a chunk twice");
                        }
                        merged.iter().collect()
                    }
                    Basis::Content => {
                        let mut held = stage.held.clone();
                        held.sort_by_key(|subtree| subtree.range);
                        held
                    }
                };
                DiskDone::Opened(Opened::Sink { have, basis, finished: None })
            }
        }
    }

    fn open_source(&mut self, entry: EntryId, path: ObjectPath) -> DiskDone<Bytes> {
        let metadata = METADATA;
        let holes = self.files.get(&path).map_or_else(Vec::new, |bytes| holes_of(bytes));
        let source =
            |body, reread| DiskDone::Opened(Opened::Source { body, metadata, reread, holes });
        if self.dirs.contains(&path) {
            return source(EntryBody::Directory, Reread::Yes);
        }
        if let Some(target) = self.links.get(&path) {
            return source(EntryBody::Link { target: target.clone(), metadata }, Reread::Yes);
        }
        let Some(bytes) = self.files.get(&path) else { return failed(Code::NotFound, &path) };
        let once = self.streams.contains(&path);
        let size = (!once).then(|| ByteCount::of_len(bytes.len()));
        let version = (!once).then(|| self.version(&path));
        self.open.insert(entry, path);
        let freshness = Freshness::Settled;
        let body = EntryBody::File { size, holes: ByteCount::ZERO, version, freshness, metadata };
        let path = &self.open[&entry];
        let spent = self.spent.get(path).map(|spent| spent.iter().collect()).unwrap_or_default();
        source(body, if once { Reread::No { spent } } else { Reread::Yes })
    }

    fn read_hole(&mut self, entry: EntryId, chunk: Range) -> DiskDone<Bytes> {
        let path = self.open[&entry].clone();
        if let Some(bytes) = self.filled.remove(&path) {
            self.files.insert(path.clone(), bytes);
        }
        let (start, end) = bounds(chunk);
        let hole = self.files[&path][start..end].chunks(GRAIN).all(is_zeros);
        DiskDone::Hole { digest: ChunkDigest::of_zeros(chunk).filter(|_| hole) }
    }

    fn list(&self, path: &ObjectPath) -> DiskDone<Bytes> {
        if self.unlistable.contains(path) {
            return failed(Code::PermissionDenied, path);
        }
        let depth = path.components().len() + 1;
        let names: BTreeSet<Component> = self
            .files
            .keys()
            .chain(&self.dirs)
            .chain(self.links.keys())
            .filter(|other| path.contains(other) && other.components().len() == depth)
            .filter_map(|other| other.name().cloned())
            .collect();
        let passed_over = match self.reserved.contains(path) {
            true => vec![Fault::new(Code::BadPath, "\".floe\"")],
            false => Vec::new(),
        };
        DiskDone::Listed { names: names.into_iter().collect(), next: None, passed_over }
    }

    fn hasher(
        &mut self,
        lane: (u32, Way),
        entry: EntryId,
        chunk: Offset,
        piece: Range,
    ) -> &mut ChunkHasher {
        let fresh = (entry, ChunkHasher::new(chunk));
        if piece.start() == chunk && !piece.is_empty() {
            self.hashers.insert(lane, fresh.clone());
        }
        &mut self.hashers.entry(lane).or_insert(fresh).1
    }

    fn read(
        &mut self,
        lane: u32,
        entry: EntryId,
        chunk: Offset,
        piece: Range,
        ends: Ends,
        keep: Keep,
    ) -> DiskDone<Bytes> {
        let spent = self.spent.get(&self.open[&entry]);
        assert!(
            !spent.is_some_and(|spent| spent.touches(piece)),
            "what is read at {piece:?} is gone"
        );
        let file = &self.files[&self.open[&entry]];
        let start = usize::try_from(piece.start().0).unwrap().min(file.len());
        let end = usize::try_from(piece.end().0).unwrap().min(file.len());
        let bytes = file[start..end].to_vec();
        let hasher = self.hasher((lane, Way::Read), entry, chunk, piece);
        hasher.update(&bytes);
        let short = ByteCount::of_len(bytes.len()) < piece.len();
        let digest = if short || ends == Ends::Chunk { hasher.finish() } else { None };
        let len = ByteCount::of_len(bytes.len());
        let kept = (keep == Keep::Bytes && !bytes.is_empty()).then(|| Bytes::from(bytes));
        DiskDone::Read { bytes: kept, len, digest }
    }

    fn write(
        &mut self,
        lane: u32,
        entry: EntryId,
        chunk: Offset,
        piece: Range,
        ends: Ends,
        bytes: &[u8],
    ) -> DiskDone<Bytes> {
        let path = self.open[&entry].clone();
        if self.full.as_ref() == Some(&path) {
            return failed(Code::NoSpace, &path);
        }
        assert_eq!(piece.len(), ByteCount::of_len(bytes.len()));
        let hasher = self.hasher((lane, Way::Write), entry, chunk, piece);
        hasher.update(bytes);
        let digest = if ends == Ends::Chunk { hasher.finish() } else { None };
        let stage = self.stages.entry(path).or_default();
        let end = usize::try_from(piece.end().0).unwrap();
        if stage.bytes.len() < end {
            stage.bytes.resize(end, 0);
        }
        stage.bytes[usize::try_from(piece.start().0).unwrap()..end].copy_from_slice(bytes);
        DiskDone::Wrote { digest }
    }

    fn commit_all(&mut self, batch: Vec<CommitOp>, receipts: ReceiptWish) -> DiskDone<Bytes> {
        let leaves = batch.iter().filter_map(leaf_of).collect();
        let each = batch.into_iter();
        let each = each.map(|one| self.commit(one.entry, one.path, one.what)).collect();
        match receipts {
            ReceiptWish::None => DiskDone::Committed(each),
            ReceiptWish::Signed => DiskDone::Signed(each, receipt_of(leaves)),
        }
    }

    fn commit(&mut self, entry: EntryId, path: ObjectPath, what: CommitWhat) -> Result<(), Fault> {
        match what {
            CommitWhat::Directory { .. } => {
                assert!(self.dirs.contains(&path), "{path} is not there")
            }
            CommitWhat::Link { target, .. } => {
                self.links.insert(path, target);
            }
            CommitWhat::Object { size, root } => {
                assert_eq!(
                    self.open.remove(&entry),
                    Some(path.clone()),
                    "committed what was not open"
                );
                if self.marks.get(&path).is_some_and(|(old, _)| *old == root) {
                    return Ok(());
                }
                let mut stage = self.stages.remove(&path).unwrap_or_default();
                stage.bytes.truncate(usize::try_from(size.0).unwrap());
                // Promise 1 and 4: what becomes visible is whole, and is what the root says.
                assert_eq!(ByteCount::of_len(stage.bytes.len()), size, "{path} is not whole");
                assert_eq!(Root::of(&stage.bytes), root, "{path} is not what was sent");
                if let Some(version) = stage.version {
                    self.marks.insert(path.clone(), (root, version));
                }
                self.files.insert(path, stage.bytes);
            }
        }
        Ok(())
    }

    fn apply(&mut self, request: &Request) -> DiskDone<Bytes> {
        match request {
            Request::MakeDirectory { path } => {
                self.dirs.insert(path.clone());
                DiskDone::Applied(Reply::Done)
            }
            Request::Remove { path, .. } if self.files.remove(path).is_none() => {
                failed(Code::NotFound, path)
            }
            _ => DiskDone::Applied(Reply::Done),
        }
    }

    /// The session ends: handles are gone, stages stay, and what was spent is known.
    pub fn next_session(&mut self) {
        self.open.clear();
        self.hashers.clear();
    }

    /// The process ends: its successor reads everything from the start.
    pub fn restart(&mut self) {
        self.next_session();
        self.spent.clear();
    }

    pub fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }
}

fn failed(code: Code, path: &ObjectPath) -> DiskDone<Bytes> {
    DiskDone::Failed(Fault::new(code, path.to_string()))
}

fn bounds(range: Range) -> (usize, usize) {
    (usize::try_from(range.start().0).unwrap(), usize::try_from(range.end().0).unwrap())
}

const GRAIN: usize = 256 << 10;

fn is_zeros(bytes: &[u8]) -> bool {
    static ZEROS: [u8; GRAIN] = [0; GRAIN];
    *bytes == ZEROS[..bytes.len()]
}

/// Its zeros, in whole smallest chunks.
fn holes_of(bytes: &[u8]) -> Vec<Range> {
    let mut holes = RangeSet::new();
    for (nth, grain) in bytes.chunks(GRAIN).enumerate() {
        if bytes.len() >= GRAIN && is_zeros(grain) {
            let start = ByteCount::of_len(nth * GRAIN).0;
            let end = start + ByteCount::of_len(grain.len()).0;
            holes.insert(Range::new(Offset(start), Offset(end)));
        }
    }
    holes.iter().collect()
}

/// What stands for an object in a receipt of these disks: its root.
fn leaf_of(op: &CommitOp) -> Option<[u8; 32]> {
    match op.what {
        CommitWhat::Object { root, .. } => Some(root.0),
        _ => None,
    }
}

fn receipt_of(leaves: Vec<[u8; 32]>) -> Receipt {
    let (key, signature) = (vec![1], vec![2]);
    Receipt { time: 1, ticket: "t".into(), key, scheme: 0x403, signature, leaves }
}
