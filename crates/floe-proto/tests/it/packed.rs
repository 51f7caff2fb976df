//! PACKED: a DATA whose piece travels packed. What is packed is nobody's matter here.

use crate::codec::{open_decoder, raw};
use floe_proto::codec::{DataHead, Decoded, Decoder, Fed, encode_packed};
use floe_types::{ByteCount, Seq};

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
