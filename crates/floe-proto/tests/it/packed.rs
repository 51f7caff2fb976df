//! PACKED, a DATA whose piece travels packed, and PACKED_ENTRIES. What is packed is nobody's matter
//! here.

use crate::codec::{bytes_of, open_decoder, raw};
use floe_proto::codec::{
    DataHead, Decoded, Decoder, Fed, PackedEntries, encode_packed, replace_by_packed,
};
use floe_proto::frame::{Entry, EntryBody, Frame};
use floe_types::{ByteCount, EntryIndex, ObjectPath, Seq, TransferId};

const TEXT: &str = include_str!("../../../../PROTOCOL.md");
const KIND: u8 = 0x22;
/// What PROTOCOL.md shows: 600 bytes of 0x61.
const FIXED: &str = "0000000000000003000000000000000000000258";
const FRAME: &str = "28b52ffd6058014d00001061610100532a8005";

fn head() -> DataHead {
    let (len, packed) = (ByteCount(600), Some(ByteCount(19)));
    DataHead { seq: Seq(3), at: ByteCount::ZERO, len, packed }
}

fn agreed() -> Decoder {
    let mut decoder = open_decoder();
    decoder.agree_packing();
    decoder.agree_packed_entries();
    decoder
}

fn body(at: u64, len: u32, packed: usize) -> Vec<u8> {
    let numbers = [3, at].map(u64::to_be_bytes).concat();
    [&numbers[..], &len.to_be_bytes(), &vec![9; packed]].concat()
}

fn heard(decoder: &mut Decoder, bytes: &[u8]) -> Result<Option<Decoded<()>>, &'static str> {
    decoder.feed::<()>(bytes).map(|fed| fed.decoded).map_err(|violation| violation.what)
}

#[test]
fn it_has_its_bytes_and_the_protocol_shows_them() {
    let mut bytes = Vec::new();
    encode_packed(&head(), &mut bytes).unwrap();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, format!("0000002722000000{FIXED}"));
    let shown = format!("PACKED       00000027 22 00 0000\n    {FIXED}\n    {FRAME}\n");
    assert!(TEXT.contains(&shown), "PROTOCOL.md has another PACKED:\n{shown}");
    let Fed { used, decoded } = agreed().feed::<()>(&bytes).unwrap();
    assert_eq!((used, decoded), (bytes.len(), Some(Decoded::Data(head()))));
    assert_eq!(head().carried(), ByteCount(19));
}

#[test]
fn what_is_no_shorter_is_not_written() {
    for packed in [None, Some(0), Some(600), Some(601)] {
        let mut bytes = vec![1];
        let packed = packed.map(ByteCount);
        assert_eq!(encode_packed(&DataHead { packed, ..head() }, &mut bytes), None);
        assert_eq!(bytes, [1], "{packed:?}");
    }
}

#[test]
fn it_is_bounded_before_a_byte_of_it_is_taken() {
    let mib = 1 << 20;
    for (bytes, what) in [
        (raw(KIND, 1, &body(0, 600, 19)), "a flag without meaning"),
        (raw(KIND, 0, &[0; 20]), "a piece of nothing"),
        (raw(KIND, 0, &[0; 3]), "a piece of nothing"),
        (raw(KIND, 0, &body(0, 0, 1)), "a packed piece that is no shorter"),
        (raw(KIND, 0, &body(0, 19, 19)), "a packed piece that is no shorter"),
        (raw(KIND, 0, &body(0, mib + 1, 19)), "a packed piece above its bound"),
        (raw(KIND, 0, &body(0, u32::MAX, 19)), "a packed piece above its bound"),
        (raw(KIND, 0, &body(16 << 20, 600, 19)), "a piece beyond the largest chunk"),
        (raw(KIND, 0, &body(u64::MAX, 600, 19)), "a piece beyond the largest chunk"),
        ([&(mib + 20).to_be_bytes()[..], &[KIND, 0, 0, 0]].concat(), "a frame above its bound"),
    ] {
        assert_eq!(heard(&mut agreed(), &bytes), Err(what));
    }
    let most = [&(mib + 19).to_be_bytes()[..], &[KIND, 0, 0, 0]].concat();
    assert_eq!(heard(&mut agreed(), &most), Ok(None), "a byte shorter than the longest piece");
    let mut small = agreed();
    small.agree_piece_bytes_max(599);
    let bytes = raw(KIND, 0, &body(0, 600, 19));
    assert_eq!(heard(&mut small, &bytes), Err("a packed piece above its bound"));
}

#[test]
fn without_agreement_it_is_a_violation() {
    let bytes = raw(KIND, 0, &body(0, 600, 19));
    let refused = Err("a packed piece that was not agreed on");
    assert_eq!(heard(&mut open_decoder(), &bytes), refused);
    let mut greeting = Decoder::new(&floe_types::Limits::default());
    assert_eq!(heard(&mut greeting, &bytes), Err("a frame before the greeting is over"));
}

const LISTED: u8 = 0x23;

/// Two directories; 26 bytes of body.
fn entries() -> Frame<()> {
    let entry = |index, path: &[u8]| Entry {
        index: EntryIndex(index),
        path: ObjectPath::parse(path).unwrap(),
        replaces: None,
        body: EntryBody::Directory,
    };
    Frame::Entries(TransferId(0), vec![entry(0, b""), entry(1, b"a")])
}

fn listed(len: u32, packed: usize) -> Vec<u8> {
    [&len.to_be_bytes()[..], &vec![9; packed]].concat()
}

#[test]
fn entries_travel_packed_and_are_read_from_what_they_are() {
    let plain = bytes_of(&entries());
    let (body, mut bytes) = (plain[8..].to_vec(), [&[7][..], &plain].concat());
    let len = u8::try_from(body.len()).unwrap();
    assert_eq!(replace_by_packed(&mut bytes, 1, &[1, 2, 3]), Some(()));
    assert_eq!(bytes, [7, 0, 0, 0, 7, LISTED, 0, 0, 0, 0, 0, 0, len, 1, 2, 3]);
    let mut decoder = agreed();
    let (len, packed) = (body.len(), vec![1, 2, 3]);
    let came = Decoded::Entries(PackedEntries { len, packed });
    assert_eq!(heard(&mut decoder, &bytes[1..]), Ok(Some(came)));
    assert!(decoder.is_between_frames());
    assert_eq!(decoder.read_entries(&body), Ok(entries()));
    let broken = decoder.read_entries::<()>(&body[1..]).unwrap_err();
    assert_eq!(decoder.read_entries::<()>(&body), Err(broken), "a violation is sticky");
    assert_eq!(heard(&mut decoder, &plain), Err(broken.what));
}

#[test]
fn entries_that_are_no_shorter_packed_go_as_they_are() {
    let plain = bytes_of(&entries());
    let body = plain.len() - 8;
    for (packed, shorter) in [(body - 5, true), (body - 4, false), (body + 9, false)] {
        let mut bytes = plain.clone();
        assert_eq!(replace_by_packed(&mut bytes, 0, &vec![1; packed]).is_some(), shorter);
        assert_eq!(bytes == plain, !shorter);
    }
    let (mut ping, mut two) = (bytes_of(&Frame::Ping(7)), [&plain[..], &plain].concat());
    assert_eq!(replace_by_packed(&mut ping, 0, &[1]), None);
    assert_eq!(replace_by_packed(&mut two, 0, &[1]), None, "more than one frame");
    assert_eq!(replace_by_packed(&mut two, 500, &[1]), None);
}

#[test]
fn packed_entries_are_bounded_before_they_are_unpacked() {
    let shorter = "packed entries that are no shorter";
    for (bytes, what) in [
        (raw(LISTED, 1, &listed(600, 19)), "a flag without meaning"),
        (raw(LISTED, 0, &[0; 3]), "a frame shorter than its fields"),
        (raw(LISTED, 0, &listed(600, 0)), shorter),
        (raw(LISTED, 0, &listed(0, 1)), shorter),
        (raw(LISTED, 0, &listed(19, 19)), shorter),
        (raw(LISTED, 0, &listed(65_537, 19)), "packed entries above their bound"),
        (raw(LISTED, 0, &listed(u32::MAX, 19)), "packed entries above their bound"),
        (raw(LISTED, 0, &listed(600, 65_533)), "a frame above its bound"),
    ] {
        assert_eq!(heard(&mut agreed(), &bytes), Err(what));
    }
    let bytes = raw(LISTED, 0, &listed(600, 19));
    let refused = Err("packed entries that were not agreed on");
    assert_eq!(heard(&mut open_decoder(), &bytes), refused);
    let mut pieces = open_decoder();
    pieces.agree_packing();
    assert_eq!(heard(&mut pieces, &bytes), refused);
    let mut greeting = Decoder::new(&floe_types::Limits::default());
    assert_eq!(heard(&mut greeting, &bytes), Err("a frame before the greeting is over"));
}
