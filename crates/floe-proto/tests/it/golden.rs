//! One frame of every kind, byte by byte. A change here is a change of the protocol: other programs
//! were written from these bytes.

use crate::codec::{bytes_of, decode};
use crate::golden_asked::{replies, requests};
use floe_proto::codec::Kind;
use floe_proto::frame::*;
use floe_types::*;

#[test]
fn every_kind_has_its_bytes() {
    let mut kinds = Vec::new();
    for (frame, hex) in golden() {
        let kind = Kind::of(&frame);
        assert_eq!(hex_of(&bytes_of(&frame)), squeezed(hex), "{} {frame:?}", kind.name());
        assert_eq!(decode(&bytes_of(&frame)).as_ref(), Ok(&frame), "{}", kind.name());
        kinds.push(kind);
    }
    kinds.dedup();
    // Those that are packed are no frames of their own: their bytes stand in packed.rs.
    let packed = [Kind::Packed, Kind::PackedEntries];
    let all: Vec<_> = Kind::ALL.iter().copied().filter(|kind| !packed.contains(kind)).collect();
    assert_eq!(kinds, all, "every kind has golden bytes, in order");
}

#[test]
fn kinds_keep_their_numbers() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_wire(kind.wire()), Some(*kind));
        assert!(kind.wire() < 0x80);
    }
    assert!(Kind::ALL.windows(2).all(|pair| pair[0].wire() < pair[1].wire()));
}

fn hex_of(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn squeezed(hex: &str) -> String {
    hex.split_whitespace().collect()
}

fn golden() -> Vec<(Frame<()>, &'static str)> {
    [
        greeting(),
        opening(),
        entries(),
        wanting(),
        headers(),
        moving(),
        ending(),
        requests(),
        replies(),
    ]
    .concat()
}

pub fn path(text: &str) -> ObjectPath {
    ObjectPath::parse(text.as_bytes()).unwrap()
}

pub fn metadata() -> Metadata {
    let mtime = Timestamp::new(1_700_000_000, 123_456_789).unwrap();
    Metadata { mode: Mode::from_bits(0o644), mtime }
}

const TRANSFER: TransferId = TransferId(7);
const ENTRY: EntryId = EntryId { transfer: TRANSFER, index: EntryIndex(300) };
const VALUE: ChainingValue = ChainingValue([0xc5; 32]);
pub const ROOT: Root = Root([0xa0; 32]);

fn greeting() -> Vec<(Frame<()>, &'static str)> {
    let proof = Some(TicketProof { ticket: [0x11; 16], signature: [0x22; 64] });
    let hello = |proof| Hello { abilities: 0, client: [0xc1; 16], proof, agent: "floe/0.1".into() };
    let welcome = Welcome {
        abilities: 0,
        session: [0x5e; 16],
        secret: [0x77; 32],
        verbs: Verbs::ALL,
        piece_bytes_max: 1 << 20,
        streams_max: 64,
        entries_ahead_max: 4096,
        agent: "floe/0.1".into(),
        successor: None,
    };
    let fault = Fault::new(Code::ShuttingDown, "drain");
    vec![
        (
            Frame::Challenge([0xee; 32]),
            "00000020 01 00 0000 \
             eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee",
        ),
        (
            Frame::Hello(hello(proof)),
            "00000074 02 00 0000 \
             a500000150c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c10250111111111111111111 \
             1111111111111103584022222222222222222222222222222222222222222222 \
             2222222222222222222222222222222222222222222222222222222222222222 \
             222222222222222222220468666c6f652f302e31",
        ),
        (
            Frame::Hello(hello(None)),
            "0000001f 02 00 0000 \
             a300000150c1c1c1c1c1c1c1c1c1c1c1c1c1c1c1c10468666c6f652f302e31",
        ),
        (
            Frame::Welcome(welcome),
            "00000052 03 00 0000 \
             a8000001505e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e0258207777777777777777 \
             77777777777777777777777777777777777777777777777703185f041a001000 \
             00051840061910000768666c6f652f302e31",
        ),
        (
            Frame::Join(Join { session: [0x5e; 16], mac: [0x33; 32] }),
            "00000036 04 00 0000 \
             a200505e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e01582033333333333333333333 \
             33333333333333333333333333333333333333333333",
        ),
        (Frame::Joined, "00000000 05 00 0000"),
        (Frame::Busy(Micros::from_secs(5)), "00000007 06 00 0000 a1001a004c4b40"),
        (Frame::Close(None), "00000001 07 00 0000 a0"),
        (Frame::Close(Some(fault)), "0000000d 07 00 0000 a100a20018250165647261696e"),
        (Frame::Ping(1), "00000008 08 00 0000 0000000000000001"),
        (Frame::Pong(u64::MAX), "00000008 09 00 0000 ffffffffffffffff"),
    ]
}

fn opens() -> [Open; 7] {
    let put = Open {
        transfer: TRANSFER,
        direction: Direction::Put,
        path: path("in/box"),
        chunk: ChunkSize::DEFAULT,
        window: Limits::WINDOW_BYTES,
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
    };
    let get = Open {
        direction: Direction::Get,
        path: ObjectPath::root(),
        pace: Pace::Lockstep,
        precondition: Precondition::Absent,
        resume: ResumeWish::Discard,
        recognise: RecogniseWish::ByContent,
        unasked: Unasked::Welcome,
        ..put.clone()
    };
    let signed = Open { receipts: ReceiptWish::Signed, unasked: Unasked::Refused, ..get.clone() };
    let level = PackLevel::new(19).unwrap();
    let packed =
        Open { packing: Packing::Level(level), receipts: ReceiptWish::None, ..signed.clone() };
    let plain = Open { packing: Packing::Never, ..packed.clone() };
    let yields = Open { packing: Packing::Auto, priority: Priority::Background, ..packed.clone() };
    let slow = Open { rate: Rate::new(1 << 20), priority: Priority::Normal, ..yields.clone() };
    [put, get, signed, packed, plain, yields, slow]
}

fn opening() -> Vec<(Frame<()>, &'static str)> {
    let [put, get, signed, packed, plain, yields, slow] = opens();
    let opened = Opened { transfer: TRANSFER, handle: vec![1, 2, 3], window: Limits::WINDOW_BYTES };
    vec![
        (
            Frame::Open(put),
            "00000022 10 00 0000 \
             a900070100028242696e43626f78031a00100000041a04000000050006000700 \
             0800",
        ),
        (
            Frame::Open(get),
            "0000001d 10 00 0000 \
             aa000701010280031a00100000041a0400000005010601070108010901",
        ),
        (
            Frame::Open(signed),
            "0000001d 10 00 0000 \
             aa000701010280031a00100000041a0400000005010601070108010a01",
        ),
        (
            Frame::Open(packed),
            "0000001d 10 00 0000 \
             aa000701010280031a00100000041a0400000005010601070108010c13",
        ),
        (
            Frame::Open(plain),
            "0000001d 10 00 0000 \
             aa000701010280031a00100000041a0400000005010601070108010c00",
        ),
        (
            Frame::Open(yields),
            "0000001d 10 00 0000 \
             aa000701010280031a00100000041a0400000005010601070108010d01",
        ),
        (
            Frame::Open(slow),
            "00000021 10 00 0000 \
             aa000701010280031a00100000041a0400000005010601070108010e1a00100000",
        ),
        (Frame::Opened(opened), "0000000e 11 00 0000 a300070143010203021a04000000"),
    ]
}

fn entries() -> Vec<(Frame<()>, &'static str)> {
    let ctime = Timestamp::new(-1, 999_999_999).unwrap();
    let version = SourceVersion { inode: 42, size: ByteCount(5), mtime: metadata().mtime, ctime };
    let entry = |index: u64, path: ObjectPath, body: EntryBody| Entry {
        index: EntryIndex(index),
        path,
        replaces: None,
        body,
    };
    let file = EntryBody::File {
        size: Some(ByteCount(5)),
        holes: ByteCount::ZERO,
        version: Some(version),
        freshness: Freshness::Settled,
        metadata: metadata(),
    };
    let stream = EntryBody::File {
        size: None,
        holes: ByteCount::ZERO,
        version: None,
        freshness: Freshness::Fresh,
        metadata: metadata(),
    };
    let tree = vec![
        entry(0, ObjectPath::root(), EntryBody::Directory),
        entry(1, path("a"), file.clone()),
        entry(2, path("l"), EntryBody::Link { target: b"../a".to_vec(), metadata: metadata() }),
        entry(
            3,
            ObjectPath::root(),
            EntryBody::DirectoryEnd { begun: EntryIndex(0), metadata: metadata() },
        ),
    ];
    let again = Entry { replaces: Some(EntryIndex(1)), ..entry(4, path("a"), file) };
    vec![
        (
            Frame::Entries(TRANSFER, tree),
            "00000073 12 00 0000 \
             a200070184a3000001800201a7000101814161020003050486182a051a6553f1 \
             001a075bcd15201a3b9ac9ff050006831901a41a6553f1001a075bcd15a50002 \
             0181416c020306831901a41a6553f1001a075bcd1508442e2e2f61a500030180 \
             020206831901a41a6553f1001a075bcd150700",
        ),
        (
            Frame::Entries(TRANSFER, vec![again]),
            "00000038 12 00 0000 \
             a200070181a8000401814161020003050486182a051a6553f1001a075bcd1520 \
             1a3b9ac9ff050006831901a41a6553f1001a075bcd150901",
        ),
        (
            Frame::Entries(TRANSFER, vec![entry(0, ObjectPath::root(), stream)]),
            "0000001d 12 00 0000 \
             a200070181a5000001800200050106831901a41a6553f1001a075bcd15",
        ),
    ]
}

fn wanting() -> Vec<(Frame<()>, &'static str)> {
    let subtree = |start: u64, end: u64, root: Option<Root>| Subtree {
        range: Range::new(Offset(start), Offset(end)),
        digest: ChunkDigest { value: VALUE, root },
    };
    let want = |have: Vec<Subtree>, finished, more| {
        Frame::Want(Want { entry: ENTRY, basis: Basis::Version, have, finished, more })
    };
    let have = vec![subtree(0, 1 << 20, Some(ROOT)), subtree(1 << 20, 2 << 20, None)];
    let ranges = vec![Range::new(Offset(0), Offset(1 << 20))];
    vec![
        (want(Vec::new(), None, More::Last), "0000000d 13 00 0000 a500070119012c020003800500"),
        (
            want(have, None, More::Follows),
            "00000085 13 00 0000 \
             a500070119012c0200038284001a001000005820c5c5c5c5c5c5c5c5c5c5c5c5 \
             c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c55820a0a0a0a0a0a0a0a0a0a0 \
             a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0831a001000001a001000 \
             005820c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5 \
             c5c5c50501",
        ),
        (
            want(Vec::new(), Some(ROOT), More::Last),
            "00000030 13 00 0000 \
             a600070119012c02000380045820a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0 \
             a0a0a0a0a0a0a0a0a0a0a0a0a0a00500",
        ),
        (Frame::Drop(ENTRY, ranges), "00000010 14 00 0000 a300070119012c028182001a00100000"),
    ]
}

const fn digest(root: Option<Root>) -> ChunkDigest {
    ChunkDigest { value: VALUE, root }
}

fn headers() -> Vec<(Frame<()>, &'static str)> {
    let header = Header {
        seq: Seq(9),
        entry: ENTRY,
        offset: Offset(1 << 20),
        len: Some(ByteCount(1 << 20)),
        awaits: Await::Implied,
        digest: None,
        content: Content::Bytes,
    };
    let ahead = Header {
        offset: Offset(0),
        awaits: Await::Verdict,
        digest: Some(digest(Some(ROOT))),
        ..header
    };
    vec![
        (
            Frame::Header(header),
            "00000020 15 02 0000 \
             0000000000000009000000000000012c00000000001000000000000700100000",
        ),
        (
            Frame::Header(Header { len: None, ..header }),
            "0000001c 15 00 0000 \
             0000000000000009000000000000012c000000000010000000000007",
        ),
        (
            Frame::Header(ahead),
            "00000060 15 0f 0000 \
             0000000000000009000000000000012c00000000000000000000000700100000 \
             c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5 \
             a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0",
        ),
        (
            Frame::Header(Header { digest: Some(digest(None)), content: Content::Hole, ..header }),
            "00000040 15 16 0000 \
             0000000000000009000000000000012c00000000001000000000000700100000 \
             c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5",
        ),
    ]
}

fn moving() -> Vec<(Frame<()>, &'static str)> {
    let seqs = |first, last| SeqRange { first: Seq(first), last: Seq(last) };
    let data = Data { seq: Seq(9), at: ByteCount(1 << 18), len: ByteCount(5), bytes: () };
    let seal =
        |root| Frame::Seal(Seal { seq: Seq(9), len: ByteCount(1 << 20), digest: digest(root) });
    vec![
        (
            Frame::Verdict(seqs(9, 9), Verdict::Send),
            "00000011 16 00 0000 0000000000000009000000000000000900",
        ),
        (
            Frame::Verdict(seqs(9, 12), Verdict::Have),
            "00000011 16 00 0000 0000000000000009000000000000000c01",
        ),
        (
            Frame::Verdict(seqs(9, 9), Verdict::Refuse),
            "00000011 16 00 0000 0000000000000009000000000000000902",
        ),
        (Frame::Data(data), "00000015 17 00 0000 00000000000000090000000000040000"),
        (
            seal(None),
            "0000002c 18 00 0000 \
             000000000000000900100000c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5 \
             c5c5c5c5c5c5c5c5c5c5c5c5",
        ),
        (
            seal(Some(ROOT)),
            "0000004c 18 08 0000 \
             000000000000000900100000c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5c5 \
             c5c5c5c5c5c5c5c5c5c5c5c5a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0 \
             a0a0a0a0a0a0a0a0a0a0a0a0",
        ),
        (
            Frame::Stored(vec![seqs(1, 8), seqs(11, 11)], Level::Recorded),
            "00000020 19 00 0000 \
             00000000000000010000000000000008000000000000000b000000000000000b",
        ),
        (
            Frame::Stored(vec![seqs(1, 8)], Level::Durable),
            "00000010 19 01 0000 00000000000000010000000000000008",
        ),
        (Frame::Corrupt(Seq(9)), "00000008 1a 00 0000 0000000000000009"),
    ]
}

fn ending() -> Vec<(Frame<()>, &'static str)> {
    let done = DoneEntry { index: ENTRY.index, size: ByteCount(5), root: ROOT };
    let committed = |root| CommittedEntry { index: ENTRY.index, root };
    let receipt = Receipt {
        time: 1_700_000_000,
        ticket: "owner".into(),
        key: vec![0x30, 0x31],
        scheme: 0x0403,
        signature: vec![4, 5],
        leaves: vec![[0x5e; 32]],
    };
    let fault = Fault::new(Code::NoSpace, "write \"a\" at 0");
    let failed = Failed { entry: ENTRY, path: path("a"), fault: fault.clone() };
    vec![
        (
            Frame::Done(TRANSFER, vec![done]),
            "0000002c 1b 00 0000 \
             a2000701818319012c055820a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0 \
             a0a0a0a0a0a0a0a0a0a0a0a0",
        ),
        (
            Frame::Committed(TRANSFER, vec![committed(Some(ROOT)), committed(None)]),
            "0000002f 1c 00 0000 \
             a2000701828219012c5820a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0 \
             a0a0a0a0a0a0a0a0a0a0a08119012c",
        ),
        (
            Frame::Failed(failed),
            "00000020 1d 00 0000 \
             a400070119012c0281416103a2001828016e7772697465202261222061742030",
        ),
        (Frame::Complete(TRANSFER, EntryCount(4)), "00000005 1e 00 0000 a200070104"),
        (Frame::Completed(TRANSFER), "00000003 1f 00 0000 a10007"),
        (
            Frame::Cancel(TRANSFER, fault),
            "00000018 20 00 0000 \
             a2000701a2001828016e7772697465202261222061742030",
        ),
        (
            Frame::Receipt(TRANSFER, receipt),
            "00000040 21 00 0000 \
             a70007011a6553f10002656f776e657203423031041904030542040506815820 \
             5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e5e",
        ),
    ]
}
