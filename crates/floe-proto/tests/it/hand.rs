//! One end, driven by hand: frames in, operations done in the order a test wants, frames out.
//!
//! `world` shows what two honest ends do; this shows what one does about a peer that is not, and
//! about orders that are rare.

use crate::disk::{Bytes, Disk, METADATA};
use floe_proto::command::{
    Command, Config, Event, Holes, OnFailure, Role, StreamCount, TransferOptions, Violation,
};
use floe_proto::disk::{DiskDone, DiskOp, Lane, Took};
use floe_proto::frame::{
    Await, Content, Data, Direction, DoneEntry, Entry, EntryBody, Frame, Header, Open, Pace,
    Packing, Priority, ReceiptWish, RecogniseWish, ResumeWish, Seal, Unasked, Verbs,
};
use floe_proto::session::Session;
use floe_types::{
    ByteCount, ChunkHasher, ChunkSize, EntryId, EntryIndex, Fault, Freshness, Limits, ObjectPath,
    Offset, OpId, Precondition, Root, Seq, SourceVersion, StreamId, Time, TransferId,
};

pub const T: TransferId = TransferId(0);
pub const LEAD: StreamId = StreamId(0);
pub const SECOND: StreamId = StreamId(1);
pub const GRAIN: u64 = 256 << 10;

pub type Op = (Lane, OpId, DiskOp<Bytes>);

/// One end.
pub struct Hand {
    pub session: Session<Bytes>,
    pub disk: Disk,
    pub ops: Vec<Op>,
    pub said: Vec<(StreamId, Frame<Bytes>)>,
    pub events: Vec<Event>,
    pub now: Time,
    /// Streams whose frames are not taken: their sockets are full.
    pub stuck: Vec<StreamId>,
}

pub fn config() -> Config {
    Config {
        limits: Limits::default(),
        verbs: Verbs::ALL,
        piece_bytes: ByteCount(GRAIN),
        streams: StreamCount::Fixed(2),
        buffers: ByteCount(64 << 20),
        holes: Holes::AsHoles,
    }
}

impl Hand {
    pub fn new(role: Role, config: Config) -> Self {
        let now = Time(1_000_000);
        let mut session = Session::new(role, config, now);
        session.handle_stream_up(LEAD, now);
        session.handle_stream_up(SECOND, now);
        let mut it = Self {
            session,
            disk: Disk::default(),
            ops: Vec::new(),
            said: Vec::new(),
            events: Vec::new(),
            now,
            stuck: Vec::new(),
        };
        it.poll();
        it
    }

    /// A server that heard OPEN of a put.
    pub fn receiving() -> Self {
        Self::receiving_with(config())
    }

    pub fn receiving_with(config: Config) -> Self {
        let mut it = Self::new(Role::Server, config);
        it.hears(LEAD, open(T, Direction::Put));
        it
    }

    /// A client that puts `path` of its disk.
    pub fn putting(disk: Disk, path: &str, options: TransferOptions, config: Config) -> Self {
        Self::transferring(Direction::Put, disk, path, options, config)
    }

    /// A client that gets `path`.
    pub fn getting(path: &str, options: TransferOptions) -> Self {
        Self::transferring(Direction::Get, Disk::default(), path, options, config())
    }

    fn transferring(
        direction: Direction,
        disk: Disk,
        path: &str,
        options: TransferOptions,
        config: Config,
    ) -> Self {
        let mut it = Self::new(Role::Client, config);
        it.disk = disk;
        let path = ObjectPath::parse(path.as_bytes()).unwrap();
        let (local, remote) = (path.clone(), path);
        let command = Command::Transfer { direction, local, remote, options };
        it.session.handle_command(command, it.now).unwrap();
        it.poll();
        it
    }

    /// Tells a frame; the peer does nothing wrong.
    pub fn hears(&mut self, stream: StreamId, frame: Frame<Bytes>) {
        assert_eq!(self.try_hears(stream, frame), Ok(()));
    }

    pub fn try_hears(&mut self, stream: StreamId, frame: Frame<Bytes>) -> Result<(), Violation> {
        let heard = self.session.handle_frame(stream, frame, self.now);
        self.poll();
        heard
    }

    /// Takes what is handed out.
    pub fn poll(&mut self) {
        loop {
            let before = (self.ops.len(), self.said.len(), self.events.len());
            for lane in [Lane::Session, Lane::Stream(LEAD), Lane::Stream(SECOND)] {
                while let Some((id, op)) = self.session.poll_disk(lane, self.now) {
                    self.ops.push((lane, id, op));
                }
            }
            for stream in [LEAD, SECOND] {
                while !self.stuck.contains(&stream)
                    && let Some(frame) = self.session.poll_frame(stream, self.now)
                {
                    self.said.push((stream, frame));
                }
            }
            while let Some(event) = self.session.poll_event() {
                self.events.push(event);
            }
            if before == (self.ops.len(), self.said.len(), self.events.len()) {
                return;
            }
        }
    }

    /// Does the first operation that `which` picks.
    pub fn does(&mut self, which: impl Fn(&DiskOp<Bytes>) -> bool) {
        let op = self.takes(which);
        let hasher = match op.0 {
            Lane::Stream(stream) => stream.0,
            Lane::Session => u32::MAX,
        };
        let done = self.disk.run(hasher, op.2);
        self.ends(op.1, done);
    }

    /// Does every operation, also those that follow.
    pub fn does_all(&mut self) {
        while !self.ops.is_empty() {
            self.does(|_| true);
        }
    }

    /// Lets the first operation that `which` picks fail.
    pub fn fails(&mut self, which: impl Fn(&DiskOp<Bytes>) -> bool, code: floe_types::Code) {
        let (_, id, _) = self.takes(which);
        self.ends(id, DiskDone::Failed(Fault::new(code, "told to")));
    }

    pub fn takes(&mut self, which: impl Fn(&DiskOp<Bytes>) -> bool) -> Op {
        let at = self.ops.iter().position(|(_, _, op)| which(op));
        let at = at.unwrap_or_else(|| panic!("no such operation among {:?}", self.ops));
        self.ops.remove(at)
    }

    pub fn ends(&mut self, id: OpId, done: DiskDone<Bytes>) {
        self.session.handle_disk(id, done, Took::default(), self.now);
        self.poll();
    }

    pub fn loses(&mut self, stream: StreamId) {
        self.session.handle_stream_lost(stream, floe_proto::command::Lost::Connection, self.now);
        self.poll();
    }

    pub fn passes(&mut self, micros: u64) {
        self.now = self.now.plus(floe_types::Micros(micros));
        self.session.handle_timeout(self.now);
        self.poll();
    }

    /// Whether a frame was said.
    pub fn has_said(&self, which: impl Fn(&Frame<Bytes>) -> bool) -> bool {
        self.said.iter().any(|(_, frame)| which(frame))
    }

    pub fn result(&self) -> Option<Result<(), Fault>> {
        self.events.iter().find_map(|event| match event {
            Event::TransferFinished { result, .. } => Some(result.clone()),
            _ => None,
        })
    }

    /// Announces one file of content() as the whole tree, and opens its stage.
    pub fn hears_file(&mut self, size: u64) {
        self.hears(LEAD, entries(vec![file(0, "", size, 1)]));
        self.does(is_open);
    }

    /// A whole chunk.
    pub fn hears_chunk(&mut self, stream: StreamId, seq: u64, start: u64, end: u64) {
        self.hears(stream, header(seq, 0, start, Some(end - start)));
        self.hears_pieces(stream, seq, start, end);
        self.hears(stream, seal(seq, start, end));
    }

    pub fn hears_pieces(&mut self, stream: StreamId, seq: u64, start: u64, end: u64) {
        let mut at = start;
        while at < end {
            let to = (at + GRAIN).min(end);
            self.hears(stream, data(seq, start, at, to));
            at = to;
        }
    }
}

pub fn options() -> TransferOptions {
    TransferOptions {
        chunk: ChunkSize::MIN,
        window: ByteCount(4 << 20),
        ..TransferOptions::default()
    }
}

pub fn fail_fast() -> TransferOptions {
    TransferOptions { on_failure: OnFailure::Stop, ..options() }
}

pub fn is_open(op: &DiskOp<Bytes>) -> bool {
    matches!(op, DiskOp::Open { .. })
}

pub fn is_write(op: &DiskOp<Bytes>) -> bool {
    matches!(op, DiskOp::Write { .. } | DiskOp::Finish { .. })
}

pub fn is_record(op: &DiskOp<Bytes>) -> bool {
    matches!(op, DiskOp::Record { .. })
}

pub fn is_commit(op: &DiskOp<Bytes>) -> bool {
    matches!(op, DiskOp::Commit { .. })
}

pub fn open(transfer: TransferId, direction: Direction) -> Frame<Bytes> {
    Frame::Open(opening(transfer, direction))
}

/// What OPEN says.
pub fn opening(transfer: TransferId, direction: Direction) -> Open {
    Open {
        transfer,
        direction,
        path: ObjectPath::parse(b"f").unwrap(),
        chunk: ChunkSize::MIN,
        window: ByteCount(4 << 20),
        pace: Pace::Streaming,
        precondition: Precondition::None,
        resume: ResumeWish::Continue,
        recognise: RecogniseWish::ByVersion,
        unasked: Unasked::Refused,
        receipts: ReceiptWish::None,
        probe: None,
        packing: Packing::Auto,
        priority: Priority::Normal,
        rate: None,
    }
}

pub fn entries(list: Vec<Entry>) -> Frame<Bytes> {
    Frame::Entries(T, list)
}

pub fn entry(index: u64) -> EntryId {
    EntryId { transfer: T, index: EntryIndex(index) }
}

fn entry_of(index: u64, path: &str, body: EntryBody) -> Entry {
    let path = match path {
        "" => ObjectPath::root(),
        path => ObjectPath::parse(path.as_bytes()).unwrap(),
    };
    Entry { index: EntryIndex(index), path, replaces: None, body }
}

pub fn file(index: u64, path: &str, size: u64, inode: u64) -> Entry {
    let (size, stamp) = (ByteCount(size), METADATA.mtime);
    let version = SourceVersion { inode, size, mtime: stamp, ctime: stamp };
    let body = EntryBody::File {
        size: Some(size),
        holes: ByteCount::ZERO,
        version: Some(version),
        freshness: Freshness::Settled,
        metadata: METADATA,
    };
    entry_of(index, path, body)
}

pub fn dir(index: u64, path: &str) -> Entry {
    entry_of(index, path, EntryBody::Directory)
}

pub fn end_of(index: u64, path: &str, begun: u64) -> Entry {
    let body = EntryBody::DirectoryEnd { begun: EntryIndex(begun), metadata: METADATA };
    entry_of(index, path, body)
}

/// Content by offset.
pub fn content(start: u64, end: u64) -> Vec<u8> {
    (start..end).map(|at| (at.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8).collect()
}

pub fn header(seq: u64, index: u64, start: u64, len: Option<u64>) -> Frame<Bytes> {
    Frame::Header(Header {
        seq: Seq(seq),
        entry: entry(index),
        offset: Offset(start),
        len: len.map(ByteCount),
        awaits: Await::Implied,
        digest: None,
        content: Content::Bytes,
    })
}

/// A piece of the chunk that starts at `start`.
pub fn data(seq: u64, start: u64, from: u64, to: u64) -> Frame<Bytes> {
    piece(seq, from - start, &content(from, to))
}

pub fn piece(seq: u64, at: u64, bytes: &[u8]) -> Frame<Bytes> {
    let len = ByteCount::of_len(bytes.len());
    Frame::Data(Data { seq: Seq(seq), at: ByteCount(at), len, bytes: bytes.into() })
}

pub fn seal(seq: u64, start: u64, end: u64) -> Frame<Bytes> {
    seal_of(seq, start, &content(start, end))
}

pub fn seal_of(seq: u64, start: u64, bytes: &[u8]) -> Frame<Bytes> {
    let mut hasher = ChunkHasher::new(Offset(start));
    hasher.update(bytes);
    let digest = hasher.finish().unwrap();
    Frame::Seal(Seal { seq: Seq(seq), len: ByteCount::of_len(bytes.len()), digest })
}

pub fn done(index: u64, size: u64) -> Frame<Bytes> {
    let root = Root::of(&content(0, size));
    Frame::Done(T, vec![DoneEntry { index: EntryIndex(index), size: ByteCount(size), root }])
}

/// What the other end says first of an entry that it holds nothing of.
pub fn want_all(index: u64) -> Frame<Bytes> {
    let (basis, have) = (floe_proto::frame::Basis::Content, Vec::new());
    let (finished, more) = (None, floe_proto::frame::More::Last);
    Frame::Want(floe_proto::frame::Want { entry: entry(index), basis, have, finished, more })
}
