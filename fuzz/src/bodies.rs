//! The body of one frame of a chosen kind, so that no luck is needed with lengths and kinds.
//!
//! Checked: nothing panics; a body is one frame or a violation; in two portions it is the same;
//! memory is in proportion to its bytes; it encodes again (see `wire`).
//!
//! ```text
//! input: kind 1 (counted, modulo) | flags 1 | cut 1 | the body
//! ```

use crate::heap::measure;
use crate::wire::{End, check_encoding, decode_all, session_decoder};
use floe_proto::codec::{Decoded, Kind};

/// Runs one input.
pub fn run(data: &[u8]) {
    let [kind, flags, cut, body @ ..] = data else { return };
    let kind = Kind::ALL[usize::from(*kind) % Kind::ALL.len()];
    let Some(frame) = frame_of(kind, *flags, body) else { return };
    let whole = measure(|| decode_all(session_decoder(), &frame, |_| usize::MAX));
    let most = BYTES_ALWAYS + BYTES_EACH * frame.len();
    assert!(whole.peak_bytes <= most, "{} bytes for {}", whole.peak_bytes, frame.len());
    let whole = whole.value;
    match (&whole.decoded[..], whole.end) {
        ([(Decoded::Data(_), end)], _) => assert!(*end <= frame.len()),
        ([(_, end)], End::Between) => assert_eq!(*end, frame.len()),
        ([], End::Broken(_)) => {}
        _ => panic!("one whole frame became {whole:?}"),
    }
    let cut = frame.len() * usize::from(*cut) / 256;
    let mut portions = [cut].into_iter();
    let parts = decode_all(session_decoder(), &frame, |_| portions.next().unwrap_or(usize::MAX));
    assert_eq!(parts, whole, "cut at {cut}");
    if let [(one, end)] = &whole.decoded[..] {
        check_encoding(one, &frame[..*end]);
    }
}

/// A frame with a head that fits its body; only flags that the kind has.
fn frame_of(kind: Kind, flags: u8, body: &[u8]) -> Option<Vec<u8>> {
    let len = u32::try_from(body.len()).ok()?.to_be_bytes();
    Some([&len[..], &[kind.wire(), flags & kind.flags(), 0, 0], body].concat())
}

/// What a decoder may hold whatever came.
const BYTES_ALWAYS: usize = 1 << 10;
/// What it may hold for each byte that came.
const BYTES_EACH: usize = 128;
