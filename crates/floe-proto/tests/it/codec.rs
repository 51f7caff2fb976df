//! What the codec promises: whatever is encoded is decoded again, in any portions; whatever is not
//! a frame is a violation, never a panic, and never costs memory that was not bounded first.

use crate::codec_frames as any_frame;
use floe_proto::codec::{
    AGENT_BYTES_MAX, DETAIL_BYTES_MAX, Decoded, Decoder, FRAME_BYTES_MAX, Fed, HEAD_LEN, Kind,
    Phase, encode, pack,
};
use floe_proto::codec::{CodecLimits, Head};
use floe_proto::command::Violation;
use floe_proto::frame::*;
use floe_types::*;
use proptest::collection::vec;
use proptest::prelude::*;

pub fn bytes_of(frame: &Frame<()>) -> Vec<u8> {
    let mut out = Vec::new();
    encode(frame, &mut out).unwrap();
    out
}

pub fn open_decoder() -> Decoder {
    let mut decoder = Decoder::new(&Limits::default());
    decoder.enter_session();
    decoder
}

pub fn decode(bytes: &[u8]) -> Result<Frame<()>, Violation> {
    let fed: Fed<()> = open_decoder().feed(bytes)?;
    assert_eq!(fed.used, bytes.len(), "the whole frame is taken");
    match fed.decoded {
        Some(Decoded::Frame(frame)) => Ok(frame),
        Some(Decoded::Data(head)) => {
            Ok(Frame::Data(Data { seq: head.seq, at: head.at, len: head.len, bytes: () }))
        }
        Some(Decoded::Entries(_)) => Err(Violation { what: "packed" }),
        Some(Decoded::Skipped(_)) => Err(Violation { what: "skipped" }),
        None => Err(Violation { what: "incomplete" }),
    }
}

/// One frame of a kind, with a body of one's own.
pub fn raw(kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&len[..], &[kind, flags, 0, 0], body].concat()
}

fn what(bytes: &[u8]) -> &'static str {
    decode(bytes).expect_err("a violation").what
}

proptest! {
    #[test]
    fn decodes_what_it_encoded(frame in any_frame::frame()) {
        let bytes = bytes_of(&frame);
        prop_assert!(bytes.len() <= HEAD_LEN + FRAME_BYTES_MAX);
        prop_assert_eq!(decode(&bytes), Ok(frame));
    }

    #[test]
    fn portions_make_no_difference(
        frames in vec(any_frame::frame(), 1..5),
        cuts in vec(1usize..50, 1..40),
    ) {
        let mut stream = Vec::new();
        for frame in &frames {
            encode(frame, &mut stream).unwrap();
        }
        let mut decoder = open_decoder();
        let (mut decoded, mut at, mut nth) = (Vec::new(), 0, 0);
        while at < stream.len() {
            let end = (at + cuts[nth % cuts.len()]).min(stream.len());
            let wanted = decoder.wanted();
            let fed: Fed<()> = decoder.feed(&stream[at..end]).unwrap();
            prop_assert!(wanted > 0 || fed.decoded.is_some());
            prop_assert!(fed.decoded.is_some() || fed.used == end - at);
            decoded.extend(fed.decoded);
            (at, nth) = (at + fed.used, nth + 1);
        }
        prop_assert!(decoder.is_between_frames());
        let frames: Vec<_> = frames.into_iter().map(|frame| match frame {
            Frame::Data(data) => (None, Some((data.seq, data.at, data.len))),
            other => (Some(other), None),
        }).collect();
        let decoded: Vec<_> = decoded.into_iter().map(|decoded| match decoded {
            Decoded::Data(head) => (None, Some((head.seq, head.at, head.len))),
            Decoded::Frame(frame) => (Some(frame), None),
            Decoded::Entries(_) | Decoded::Skipped(_) => (None, None),
        }).collect();
        prop_assert_eq!(decoded, frames);
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..400), kind in 0u8..0x40) {
        let _ = decode_all(&bytes);
        let _ = decode_all(&raw(kind, 0, &bytes));
    }

    #[test]
    fn broken_frames_never_panic(
        frame in any_frame::frame(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = bytes_of(&frame);
        for (at, to) in flips {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        let _ = decode_all(&bytes);
    }

    #[test]
    fn a_truncated_body_is_a_violation(
        frame in any_frame::frame(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = bytes_of(&frame);
        let kind = Kind::of(&frame);
        let body = &bytes[HEAD_LEN..];
        // DATA's body is in the caller's hands; STORED is a list without a count.
        prop_assume!(kind != Kind::Data && kind != Kind::Stored && !body.is_empty());
        let cut = raw(kind.wire(), bytes[5], &body[..cut.index(body.len())]);
        prop_assert!(decode(&cut).is_err());
    }

    #[test]
    fn bytes_behind_a_body_are_a_violation(frame in any_frame::frame(), more in any::<u8>()) {
        let bytes = bytes_of(&frame);
        let kind = Kind::of(&frame);
        prop_assume!(kind != Kind::Data);
        let longer = raw(kind.wire(), bytes[5], &[&bytes[HEAD_LEN..], &[more]].concat());
        prop_assert!(decode(&longer).is_err());
    }

    #[test]
    fn packed_lists_fit(entries in vec(any_frame::entry(), 1..400)) {
        let mut rest = &entries[..];
        while !rest.is_empty() {
            let fitting = pack::entries_that_fit(rest);
            prop_assert!(fitting > 0);
            let frame = Frame::<()>::Entries(TransferId(u32::MAX), rest[..fitting].to_vec());
            prop_assert!(encode(&frame, &mut Vec::new()).is_ok());
            rest = &rest[fitting..];
        }
    }

    #[test]
    fn packed_pages_fit(
        names in vec((any_frame::name(), prop::option::of(any_frame::stat())), 1..300),
    ) {
        let fitting = pack::names_that_fit(&names);
        let next = Some(vec![7; 512]);
        let page = Reply::Page { names: names[..fitting].to_vec(), next };
        let frame = Frame::<()>::Reply(RequestId(u32::MAX), Ok(page));
        prop_assert!(encode(&frame, &mut Vec::new()).is_ok());
    }
}

fn decode_all(mut bytes: &[u8]) -> Result<(), Violation> {
    let mut decoder = open_decoder();
    while !bytes.is_empty() {
        let fed: Fed<()> = decoder.feed(bytes)?;
        if let (0, None) = (fed.used, &fed.decoded) {
            break;
        }
        bytes = &bytes[fed.used..];
    }
    Ok(())
}

#[test]
fn the_largest_lists_fit() {
    let root = Root([255; 32]);
    let size = ByteCount(u64::MAX >> 1);
    let digest = ChunkDigest { value: ChainingValue([255; 32]), root: None };
    let transfer = TransferId(u32::MAX);
    let entry = EntryId { transfer, index: EntryIndex(u64::MAX) };
    let done = vec![DoneEntry { index: entry.index, size, root }; 5000];
    let committed = vec![CommittedEntry { index: entry.index, root: Some(root) }; 5000];
    let far = 1u64 << 62;
    let have: Vec<_> = (0..1000u64)
        .map(|nth| Offset(far + (nth << 18)))
        .map(|start| Subtree { range: Range::at(start, ByteCount(1 << 18)).unwrap(), digest })
        .collect();
    let ranges: Vec<_> = have.iter().map(|subtree| subtree.range).collect();
    let frames = [
        Frame::Done(transfer, done[..pack::done_that_fit(&done)].to_vec()),
        Frame::Committed(transfer, committed[..pack::committed_that_fit(&committed)].to_vec()),
        Frame::Want(Want {
            entry,
            basis: Basis::Version,
            have: have[..pack::subtrees_that_fit(&have)].to_vec(),
            finished: None,
            more: More::Follows,
        }),
        Frame::Drop(entry, ranges[..pack::ranges_that_fit(&ranges)].to_vec()),
        Frame::Stored(vec![SeqRange { first: Seq(1), last: Seq(1) }; 4096], Level::Durable),
    ];
    for frame in frames {
        assert_eq!(decode(&bytes_of(&frame)).as_ref(), Ok(&frame));
    }
    assert_eq!(pack::subtrees_that_fit(&have), 512);
    assert!(pack::done_that_fit(&done) > 1000);
}

#[test]
fn a_list_that_was_not_packed_is_refused_and_leaves_nothing() {
    let list =
        vec![DoneEntry { index: EntryIndex(1), size: ByteCount(1), root: Root([1; 32]) }; 4000];
    let mut out = vec![1, 2, 3];
    let error = encode(&Frame::<()>::Done(TransferId(1), list), &mut out).unwrap_err();
    assert_eq!(error.kind, Kind::Done);
    assert_eq!(out, [1, 2, 3]);
}

#[test]
fn heads_are_bounded_before_anything_is_kept() {
    let limits = CodecLimits::from(&Limits::default());
    let head = |len: u32, kind: u8, flags: u8, phase: Phase| {
        let [a, b, c, d] = len.to_be_bytes();
        Head::parse(&[a, b, c, d, kind, flags, 0, 0], &limits, phase).map_err(|v| v.what)
    };
    let session = Phase::Session;
    assert!(head(65_536, 0x12, 0, session).is_ok());
    assert_eq!(head(65_537, 0x12, 0, session), Err("a frame above its bound"));
    assert_eq!(head(u32::MAX, 0x80, 0, session), Err("a frame above its bound"));
    assert!(head(65_536, 0xff, 0xff, session).is_ok(), "flags of unknown kinds mean nothing");
    assert!(head((1 << 20) + 16, 0x17, 0, session).is_ok());
    assert_eq!(head((1 << 20) + 17, 0x17, 0, session), Err("a frame above its bound"));
    assert_eq!(head(16, 0x17, 0, session), Err("a piece of nothing"));
    assert_eq!(head(0, 0x7f, 0, session), Err("a frame of an unknown kind"));
    assert_eq!(head(0, 0, 0, session), Err("a frame of an unknown kind"));
    assert_eq!(head(9, 0x15, 0x20, session), Err("a flag without meaning"), "it is reserved");
    assert_eq!(head(9, 0x12, 0x01, session), Err("a flag without meaning"));
    assert!(head(4096, 0x02, 0, Phase::Greeting).is_ok());
    assert_eq!(head(4097, 0x02, 0, Phase::Greeting), Err("a frame above its bound"));
    assert_eq!(head(17, 0x17, 0, Phase::Greeting), Err("a frame before the greeting is over"));
    assert_eq!(head(8, 0x08, 0, Phase::Greeting), Err("a frame before the greeting is over"));
    let reserved = Head::parse(&[0, 0, 0, 8, 8, 0, 0, 1], &limits, session);
    assert_eq!(reserved.map_err(|v| v.what), Err("reserved bytes of a head are set"));
    let tls = Head::parse(&[0x16, 3, 1, 2, 0, 1, 0, 0], &limits, Phase::Greeting);
    assert!(tls.is_err(), "a TLS client on a plaintext port is told apart at once");
}

#[test]
fn a_violation_is_sticky() {
    let mut decoder = open_decoder();
    let first = decoder.feed::<()>(&raw(0x7f, 0, &[])).unwrap_err();
    assert_eq!(decoder.feed::<()>(&bytes_of(&Frame::Ping(1))), Err(first));
}

#[test]
fn unknown_kinds_are_passed_over_in_portions() {
    let mut decoder = open_decoder();
    let bytes = [raw(0x80, 0xff, &[9; 300]), raw(0xff, 0, &[]), bytes_of(&Frame::Ping(7))].concat();
    let mut seen = Vec::new();
    for byte in &bytes {
        let fed: Fed<()> = decoder.feed(core::slice::from_ref(byte)).unwrap();
        seen.extend(fed.decoded);
    }
    assert_eq!(
        seen,
        [Decoded::Skipped(0x80), Decoded::Skipped(0xff), Decoded::Frame(Frame::Ping(7))]
    );
}

#[test]
fn unknown_keys_are_skipped_and_known_ones_stand_once() {
    let kind = Kind::Completed.wire();
    // {0: 5, 9: {1: [h'00', "x", -1, 1.5, true, null]}, 10: 0(1)}
    let extended = b"\xa3\x00\x05\x09\xa1\x01\x86\x41\x00\x61x\x20\xfb\x3f\xf8\0\0\0\0\0\0\xf5\xf6\
        \x0a\xc0\x01";
    assert_eq!(decode(&raw(kind, 0, extended)), Ok(Frame::Completed(TransferId(5))));
    assert_eq!(what(&raw(kind, 0, b"\xa2\x00\x05\x00\x05")), "a key stands twice");
    assert_eq!(what(&raw(kind, 0, b"\xa0")), "a key is missing");
    assert_eq!(what(&raw(kind, 0, b"\xbf\x00\x05\xff")), "an indefinite length");
    assert_eq!(what(&raw(kind, 0, b"\xa2\x00\x05\x09\x9f\xff")), "an indefinite length");
    assert_eq!(what(&raw(kind, 0, b"\xa1\x61a\x05")), "a key is not an unsigned integer");
    assert_eq!(what(&raw(kind, 0, b"\xa1\x20\x05")), "a key is not an unsigned integer");
    assert_eq!(what(&raw(kind, 0, b"\xa1\x00\x1b\0\0\0\x01\0\0\0\0")), "a number above 32 bits");
    assert_eq!(what(&raw(kind, 0, b"\xbb\xff\xff\xff\xff\xff\xff\xff\xff")), LONGER);
    assert_eq!(what(&raw(kind, 0, b"\xa2\x00\x05\x09\x9b\xff\0\0\0\0\0\0\0")), LONGER);
    let deep = [&b"\xa2\x00\x05\x09"[..], &[0x81; 8], &[0]].concat();
    assert_eq!(what(&raw(kind, 0, &deep)), "nested too deep");
}

const LONGER: &str = "a list longer than its frame";

#[test]
fn hostile_values_are_violations() {
    let entries = Kind::Entries.wire();
    let path = |name: &[u8]| {
        let head = [0x40 | u8::try_from(name.len()).unwrap()];
        [&b"\xa2\x00\x05\x01\x81\xa3\x00\x07\x01\x81"[..], &head, name, b"\x02\x01"].concat()
    };
    assert!(decode(&raw(entries, 0, &path(b"ok"))).is_ok());
    for name in [&b""[..], b".", b"..", b".floe", b"a/b", b"a\0b"] {
        assert_eq!(what(&raw(entries, 0, &path(name))), "a name that no path may have");
    }
    assert_eq!(what(&raw(entries, 0, b"\xa2\x00\x05\x01\x80")), "a list of nothing");
    let stamp = b"\xa2\x00\x05\x01\x81\xa5\x00\x07\x01\x80\x02\x02\x06\x83\x00\x00\x1a\x3b\x9a\xca\
        \x00\x07\x01";
    assert_eq!(what(&raw(entries, 0, stamp)), "nanoseconds above a second");
    let mode =
        b"\xa2\x00\x05\x01\x81\xa5\x00\x07\x01\x80\x02\x02\x06\x83\x19\x02\x00\x00\x00\x07\x01";
    assert_eq!(what(&raw(entries, 0, mode)), "a number above its bound");
    let foreign = b"\xa2\x00\x05\x01\x81\xa4\x00\x07\x01\x80\x02\x01\x03\x05";
    assert_eq!(what(&raw(entries, 0, foreign)), "a key that does not belong here");
    let ahead = b"\xa2\x00\x05\x01\x81\xa5\x00\x07\x01\x80\x02\x02\x06\x83\x00\x00\x00\x07\x07";
    assert_eq!(what(&raw(entries, 0, ahead)), "an entry that names a later one");
    let chunk =
        b"\xa9\x00\x01\x01\x00\x02\x80\x03\x19\x10\x00\x04\x01\x05\x00\x06\x00\x07\x00\x08\x00";
    assert_eq!(what(&raw(Kind::Open.wire(), 0, chunk)), "not a chunk size");
    let early = [&8u64.to_be_bytes()[..], &7u64.to_be_bytes()].concat();
    assert_eq!(what(&raw(Kind::Stored.wire(), 0, &early)), "a range that ends early");
    assert_eq!(what(&raw(Kind::Stored.wire(), 0, b"")), "a STORED of no range, or too many");
    let far = [&[0; 8][..], &(16u64 << 20).to_be_bytes(), b"x"].concat();
    assert_eq!(
        open_decoder().feed::<()>(&raw(Kind::Data.wire(), 0, &far)).unwrap_err().what,
        "a piece beyond the largest chunk"
    );
}

#[test]
fn headers_are_aligned_and_bounded() {
    let entry = EntryId { transfer: TransferId(1), index: EntryIndex(2) };
    let header = |offset: u64, len: u64, digest: Option<ChunkDigest>| {
        let header = Header {
            seq: Seq(3),
            entry,
            offset: Offset(offset),
            len: Some(ByteCount(len)),
            awaits: Await::Implied,
            digest,
            content: Content::Bytes,
        };
        decode(&bytes_of(&Frame::Header(header))).map_err(|v| v.what)
    };
    let (value, root) = (ChainingValue([1; 32]), Some(Root([2; 32])));
    let misplaced = Err("a root value away from the first chunk, or none at it");
    assert!(header(1 << 18, 16 << 20, None).is_ok());
    assert_eq!(header(1 << 17, 1, None), Err("a chunk that is not aligned"));
    assert_eq!(header(0, 0, None), Err("a chunk's length out of bounds"));
    assert_eq!(header(0, (16 << 20) + 1, None), Err("a chunk's length out of bounds"));
    assert_eq!(header(1 << 63, 1, None), Err("a chunk beyond the largest object"));
    assert_eq!(
        header(u64::MAX - (1 << 18) + 1, 16 << 20, None),
        Err("a chunk beyond the largest object")
    );
    assert_eq!(header(0, 1, Some(ChunkDigest { value, root: None })), misplaced);
    assert_eq!(header(1 << 18, 1, Some(ChunkDigest { value, root })), misplaced);
}

#[test]
fn wants_are_aligned_and_ascend() {
    let digest = ChunkDigest { value: ChainingValue([1; 32]), root: None };
    let want = |ranges: &[(u64, u64)], finished: Option<Root>| {
        let have = ranges
            .iter()
            .map(|(start, end)| Subtree { range: Range::new(Offset(*start), Offset(*end)), digest })
            .collect();
        let entry = EntryId { transfer: TransferId(1), index: EntryIndex(2) };
        let (basis, more) = (Basis::Content, More::Last);
        let frame = Frame::Want(Want { entry, basis, have, finished, more });
        decode(&bytes_of(&frame)).map(|_| ()).map_err(|v| v.what)
    };
    let mib = 1 << 20;
    assert_eq!(want(&[(0, mib), (mib, 2 * mib), (4 * mib, 5 * mib - 3)], None), Ok(()));
    assert_eq!(want(&[(mib, 2 * mib), (0, mib)], None), Err("ranges that do not ascend"));
    assert_eq!(want(&[(0, mib), (mib / 2, mib)], None), Err("ranges that do not ascend"));
    assert_eq!(want(&[(mib / 2, 2 * mib)], None), Err("a range that is not aligned"));
    assert_eq!(want(&[(5, 6)], None), Err("a range that is not aligned"));
    assert_eq!(want(&[(mib, mib)], None), Err("a range that is empty or too long"));
    assert_eq!(want(&[(0, mib)], Some(Root([1; 32]))), Err("ranges of an object that is whole"));
    let many: Vec<_> = (0..513).map(|nth| (nth << 18, (nth + 1) << 18)).collect();
    assert_eq!(want(&many[..512], None), Ok(()));
    assert_eq!(want(&many, None), Err("a list above its bound"));
}

#[test]
fn a_peers_text_is_short_and_shows_nothing_a_terminal_obeys() {
    let fault = Fault::new(Code::Io, "a\u{1b}[31m\u{202e}b\n".to_owned());
    let Ok(Frame::Close(Some(read))) = decode(&bytes_of(&Frame::Close(Some(fault)))) else {
        panic!("a CLOSE");
    };
    assert_eq!(read.detail, "a?[31m?b?");
    let long = Fault::new(Code::Io, "ä".repeat(400));
    let Ok(Frame::Close(Some(read))) = decode(&bytes_of(&Frame::Close(Some(long)))) else {
        panic!("a CLOSE");
    };
    assert_eq!(read.detail.len(), DETAIL_BYTES_MAX);
    let hello = Hello {
        abilities: 0,
        client: [0; 16],
        proof: None,
        agent: "x".repeat(AGENT_BYTES_MAX + 9),
    };
    let Ok(Frame::Hello(read)) = decode(&bytes_of(&Frame::Hello(hello))) else {
        panic!("a HELLO");
    };
    assert_eq!(read.agent.len(), AGENT_BYTES_MAX);
    let unknown = raw(Kind::Close.wire(), 0, b"\xa1\x00\xa2\x00\x19\xea\x60\x01\x60");
    assert_eq!(decode(&unknown), Ok(Frame::Close(Some(Fault::new(Code::Other, "")))));
}
