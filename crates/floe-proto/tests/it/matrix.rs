//! The state matrix: what a session answers to every kind of frame in every state that matters, as
//! a snapshot.
//!
//! A change of a cell is a change of the protocol: read it before `matrix.txt` follows.

use crate::disk::{Bytes, METADATA};
use floe_proto::command::{Config, Holes, Role, StreamCount};
use floe_proto::disk::{DiskDone, DiskOp, Lane, Opened, Reread, Took};
use floe_proto::frame::{
    Await, Basis, CommittedEntry, Content, Data, Direction, DoneEntry, Entry, EntryBody, Failed,
    Frame, Header, Hello, Join, Level, More, Open, Pace, Packing, Priority, Receipt, ReceiptWish,
    RecogniseWish, Reply, Request, ResumeWish, Seal, SeqRange, Stats, Unasked, Verbs, Verdict,
    Want, Welcome,
};
use floe_proto::session::Session;
use floe_types::{
    ByteCount, ChunkDigest, ChunkHasher, ChunkSize, Code, EntryCount, EntryId, EntryIndex, Fault,
    Freshness, Limits, Micros, ObjectPath, Offset, Precondition, Range, RequestId, Root, Seq,
    SourceVersion, StreamId, Time, TransferId,
};
use std::fmt::Write;

const LEAD: StreamId = StreamId(0);
const NOW: Time = Time(5);
const T: TransferId = TransferId(0);
const E: EntryId = EntryId { transfer: T, index: EntryIndex(0) };
const LEN: u64 = 256 << 10;

fn bytes() -> Bytes {
    vec![7u8; 256 << 10].into()
}

fn digest() -> ChunkDigest {
    let mut hasher = ChunkHasher::new(Offset(0));
    hasher.update(&bytes());
    hasher.finish().unwrap()
}

fn fault() -> Fault {
    Fault::new(Code::Other, "x")
}

fn version() -> SourceVersion {
    let stamp = METADATA.mtime;
    SourceVersion { inode: 1, size: ByteCount(LEN), mtime: stamp, ctime: stamp }
}

fn body() -> EntryBody {
    EntryBody::File {
        size: Some(ByteCount(LEN)),
        holes: ByteCount::ZERO,
        version: Some(version()),
        freshness: Freshness::Settled,
        metadata: METADATA,
    }
}

fn open(transfer: u32, direction: Direction) -> Frame<Bytes> {
    Frame::Open(Open {
        transfer: TransferId(transfer),
        direction,
        path: ObjectPath::parse(b"f").unwrap(),
        chunk: ChunkSize::MIN,
        window: ByteCount(1 << 20),
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
    })
}

fn entries() -> Frame<Bytes> {
    let entry = Entry { index: E.index, path: ObjectPath::root(), replaces: None, body: body() };
    Frame::Entries(T, vec![entry])
}

fn header() -> Frame<Bytes> {
    let (offset, len) = (Offset(0), Some(ByteCount(LEN)));
    let awaits = Await::Implied;
    Frame::Header(Header {
        seq: Seq(0),
        entry: E,
        offset,
        len,
        awaits,
        digest: None,
        content: Content::Bytes,
    })
}

fn hole() -> Frame<Bytes> {
    let (offset, len) = (Offset(0), Some(ByteCount(LEN)));
    let digest = ChunkDigest::of_zeros(Range::new(offset, Offset(LEN)));
    let (awaits, content) = (Await::Implied, Content::Hole);
    Frame::Header(Header { seq: Seq(0), entry: E, offset, len, awaits, digest, content })
}

fn data() -> Frame<Bytes> {
    Frame::Data(Data { seq: Seq(0), at: ByteCount(0), len: ByteCount(LEN), bytes: bytes() })
}

fn seal() -> Frame<Bytes> {
    Frame::Seal(Seal { seq: Seq(0), len: ByteCount(LEN), digest: digest() })
}

fn want() -> Frame<Bytes> {
    let (have, finished) = (Vec::new(), None);
    Frame::Want(Want { entry: E, basis: Basis::Version, have, finished, more: More::Last })
}

fn done() -> Frame<Bytes> {
    let (size, root) = (ByteCount(LEN), Root::of(&bytes()));
    Frame::Done(T, vec![DoneEntry { index: E.index, size, root }])
}

fn receipt() -> Frame<Bytes> {
    let (key, signature, leaves) = (vec![1], vec![2], vec![[3; 32]]);
    let receipt = Receipt { time: 1, ticket: "a".into(), key, scheme: 0x403, signature, leaves };
    Frame::Receipt(T, receipt)
}

fn samples() -> Vec<(&'static str, Frame<Bytes>)> {
    let one = SeqRange { first: Seq(0), last: Seq(0) };
    let path = ObjectPath::parse(b"x").unwrap();
    let hello = Hello { abilities: 0, client: [1; 16], proof: None, agent: "a".into() };
    let welcome = Welcome {
        abilities: 0,
        session: [1; 16],
        secret: [2; 32],
        verbs: Verbs::ALL,
        piece_bytes_max: 1 << 18,
        streams_max: 8,
        entries_ahead_max: 16,
        agent: "a".into(),
        successor: None,
    };
    vec![
        ("CHALLENGE", Frame::Challenge([0; 32])),
        ("HELLO", Frame::Hello(hello)),
        ("WELCOME", Frame::Welcome(welcome)),
        ("JOIN", Frame::Join(Join { session: [1; 16], mac: [2; 32] })),
        ("JOINED", Frame::Joined),
        ("BUSY", Frame::Busy(Micros(1))),
        ("CLOSE", Frame::Close(None)),
        ("PING", Frame::Ping(1)),
        ("PONG", Frame::Pong(1)),
        ("OPEN put", open(9, Direction::Put)),
        ("OPEN get", open(9, Direction::Get)),
        ("OPEN again", open(0, Direction::Get)),
        (
            "OPENED",
            Frame::Opened(floe_proto::frame::Opened {
                transfer: T,
                handle: Vec::new(),
                window: ByteCount(1),
            }),
        ),
        ("ENTRIES", entries()),
        ("WANT", want()),
        ("DROP", Frame::Drop(E, vec![Range::new(Offset(0), Offset(LEN))])),
        ("HEADER", header()),
        ("HEADER hole", hole()),
        ("VERDICT", Frame::Verdict(one, Verdict::Send)),
        ("DATA", data()),
        ("SEAL", seal()),
        ("STORED", Frame::Stored(vec![one], Level::Recorded)),
        ("CORRUPT", Frame::Corrupt(Seq(0))),
        ("DONE", done()),
        ("RECEIPT", receipt()),
        (
            "COMMITTED",
            Frame::Committed(
                T,
                vec![CommittedEntry { index: E.index, root: Some(Root::of(&bytes())) }],
            ),
        ),
        ("FAILED", Frame::Failed(Failed { entry: E, path: path.clone(), fault: fault() })),
        ("COMPLETE 1", Frame::Complete(T, EntryCount(1))),
        ("COMPLETED", Frame::Completed(T)),
        ("CANCEL", Frame::Cancel(T, fault())),
        ("REQUEST", Frame::Request(RequestId(1), Request::MakeDirectory { path })),
        ("REPLY", Frame::Reply(RequestId(1), Ok(Reply::Done))),
        ("STATS", Frame::Stats(Stats::default())),
    ]
}

/// A server's session and the disk operations it has given out.
struct Probe {
    session: Session<Bytes>,
    ops: Vec<(floe_types::OpId, DiskOp<Bytes>)>,
}

impl Probe {
    fn new() -> Self {
        let config = Config {
            limits: Limits::default(),
            verbs: Verbs::ALL,
            piece_bytes: ByteCount(LEN),
            streams: StreamCount::Fixed(1),
            buffers: ByteCount(8 << 20),
            holes: Holes::AsHoles,
        };
        let mut session = Session::new(Role::Server, config, NOW);
        session.handle_stream_up(LEAD, NOW);
        Self { session, ops: Vec::new() }
    }

    fn hears(mut self, frame: Frame<Bytes>) -> Self {
        self.session.handle_frame(LEAD, frame, NOW).unwrap();
        self.poll();
        self
    }

    fn poll(&mut self) {
        for lane in [Lane::Session, Lane::Stream(LEAD)] {
            while let Some(op) = self.session.poll_disk(lane, NOW) {
                self.ops.push(op);
            }
        }
        while self.session.poll_frame(LEAD, NOW).is_some() {}
    }

    /// Ends the oldest operation under way.
    fn ends(mut self, done: DiskDone<Bytes>) -> Self {
        let (id, _) = self.ops.remove(0);
        self.session.handle_disk(id, done, Took::default(), NOW);
        self.poll();
        self
    }
}

fn states() -> Vec<(&'static str, Probe)> {
    let sink = || {
        let (have, basis) = (Vec::new(), Basis::Content);
        DiskDone::Opened(Opened::Sink { have, basis, finished: None })
    };
    let source = || {
        let (metadata, reread) = (METADATA, Reread::Yes);
        DiskDone::Opened(Opened::Source { body: body(), metadata, reread, holes: Vec::new() })
    };
    let receiving = || Probe::new().hears(open(0, Direction::Put));
    let opening = || receiving().hears(entries());
    let opened = || opening().ends(sink());
    let begun = || opened().hears(header());
    let whole = || begun().hears(data());
    let sealed = || whole().hears(seal());
    let held = || sealed().ends(DiskDone::Wrote { digest: Some(digest()) });
    let committing = || held().hears(done());
    let sending = || Probe::new().hears(open(0, Direction::Get));
    let announced = || sending().ends(source());
    let going = || announced().hears(want());
    let read = || {
        let (bytes, len) = (Some(bytes()), ByteCount(LEN));
        going().ends(DiskDone::Read { bytes, len, digest: Some(digest()) })
    };
    let said_done = || read().ends(DiskDone::Checked(Some(version())));
    vec![
        ("empty", Probe::new()),
        ("receiving", receiving()),
        ("receiving, entry opening", opening()),
        ("receiving, entry open", opened()),
        ("receiving, chunk begun", begun()),
        ("receiving, chunk whole", whole()),
        ("receiving, chunk sealed", sealed()),
        ("receiving, chunk held", held()),
        ("receiving, committing", committing()),
        ("receiving, hole under way", opened().hears(hole())),
        ("sending, opening", sending()),
        ("sending, announced", announced()),
        ("sending, reading", going()),
        ("sending, checking", read()),
        ("sending, done", said_done()),
        ("closed by the peer", Probe::new().hears(Frame::Close(None))),
    ]
}

#[test]
fn every_frame_in_every_state_is_answered_as_it_always_was() {
    let mut text = String::new();
    for (state, probe) in states() {
        for (name, frame) in samples() {
            let mut session = probe.session.clone();
            let answer = match session.handle_frame(LEAD, frame, NOW) {
                Ok(()) => "ok".to_string(),
                Err(violation) => format!("violation: {}", violation.what),
            };
            writeln!(text, "{state} | {name} | {answer}").unwrap();
        }
    }
    let blessed = include_str!("matrix.txt");
    assert_eq!(text.lines().count(), blessed.lines().count(), "the matrix now:\n{text}");
    for (line, (now, was)) in text.lines().zip(blessed.lines()).enumerate() {
        assert_eq!(now, was, "line {}", line + 1);
    }
}

#[test]
fn a_violation_is_sticky_and_says_close() {
    let mut session = Probe::new().session;
    assert!(session.handle_frame(LEAD, Frame::Joined, NOW).is_err());
    assert!(session.handle_frame(LEAD, Frame::Ping(1), NOW).is_err());
    let said: Vec<_> = std::iter::from_fn(|| session.poll_frame(LEAD, NOW)).collect();
    let closes = |frame: &Frame<Bytes>| match frame {
        Frame::Close(fault) => fault.as_ref().is_some_and(|fault| fault.code == Code::Violation),
        _ => false,
    };
    assert!(said.iter().any(closes), "{said:?}");
}
