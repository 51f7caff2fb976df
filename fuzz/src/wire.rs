//! What every target on frames does: decode in portions, compare, encode again.

use floe_proto::codec::{
    Decoded, Decoder, Fed, HEAD_LEN, Kind, Layout, PackedEntries, encode, encode_packed,
};
use floe_proto::command::Violation;
use floe_proto::frame::{Data, Frame};
use floe_types::Limits;

/// All that came out of a stream of bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heard {
    /// What was decoded, each with the end of its bytes in the stream (for DATA: of those before
    /// its payload).
    pub decoded: Vec<(Decoded<()>, usize)>,
    /// How it ended.
    pub end: End,
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Between two frames.
    Between,
    /// Within a frame that wants so many bytes more, or within a payload.
    Within(usize),
    /// With what no peer may say.
    Broken(Violation),
}

/// A decoder of a connection that is let in.
#[must_use]
pub fn session_decoder() -> Decoder {
    let mut decoder = Decoder::new(&Limits::default());
    decoder.enter_session();
    decoder.agree_packing();
    decoder.agree_packed_entries();
    decoder
}

/// Decodes a stream, fed in portions of as many bytes as `portion` says, at least one.
pub fn decode_all(
    mut decoder: Decoder,
    stream: &[u8],
    mut portion: impl FnMut(&Decoder) -> usize,
) -> Heard {
    let mut decoded = Vec::new();
    let (mut at, mut payload_left) = (0, 0);
    while at < stream.len() {
        let end = stream.len().min(at.saturating_add(portion(&decoder).max(1)));
        let mut fed = match decoder.feed::<()>(&stream[at..end]) {
            Ok(fed) => fed,
            Err(violation) => {
                let again = decoder.feed::<()>(b"\0\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0\0");
                assert_eq!(again, Err(violation), "a violation is sticky");
                return Heard { decoded, end: End::Broken(violation) };
            }
        };
        assert!(fed.used <= end - at, "more was taken than fed");
        assert!(fed.decoded.is_some() || fed.used == end - at, "what was not taken is lost");
        at += fed.used;
        if let Fed { decoded: Some(Decoded::Data(head)), .. } = &fed {
            let len = head.carried().to_len().unwrap_or(usize::MAX);
            payload_left = len.saturating_sub(stream.len() - at);
        }
        let Some(one) = fed.decoded.take() else { continue };
        decoded.push((one.clone(), at));
        if let Decoded::Data(head) = one {
            at = stream.len().min(at.saturating_add(head.carried().to_len().unwrap_or(usize::MAX)));
        }
    }
    let end = match payload_left {
        0 if decoder.is_between_frames() => End::Between,
        0 => End::Within(decoder.wanted()),
        left => End::Within(left),
    };
    Heard { decoded, end }
}

/// A frame that was decoded from these bytes (of DATA without the payload) is encoded again: in
/// the same bytes where its layout has only one form, else in bytes that mean the same and are no
/// longer.
pub fn check_encoding(one: &Decoded<()>, bytes: &[u8]) {
    let frame = match one {
        Decoded::Frame(frame) => frame.clone(),
        Decoded::Data(head) if head.packed.is_some() => {
            let mut again = Vec::new();
            assert_eq!(encode_packed(head, &mut again), Some(()), "{head:?}");
            return assert_eq!(again, bytes, "a hot frame has one form: {head:?}");
        }
        Decoded::Data(head) => {
            Frame::Data(Data { seq: head.seq, at: head.at, len: head.len, bytes: () })
        }
        Decoded::Entries(PackedEntries { len, packed }) => {
            let carried = 4 + packed.len();
            let mut again = u32::try_from(carried).unwrap_or(u32::MAX).to_be_bytes().to_vec();
            again.extend_from_slice(&[0x23, 0, 0, 0]);
            again.extend_from_slice(&u32::try_from(*len).unwrap_or(u32::MAX).to_be_bytes());
            again.extend_from_slice(packed);
            return assert_eq!(again, bytes, "a hot frame has one form: {one:?}");
        }
        Decoded::Skipped(_) => return,
    };
    let mut again = Vec::new();
    let encoded = encode(&frame, &mut again);
    assert_eq!(encoded, Ok(()), "what was decoded can be encoded: {frame:?}");
    if Kind::of(&frame).layout() == Layout::Hot {
        assert_eq!(again, bytes, "a hot frame has one form: {frame:?}");
    }
    // STATS may leave times out, and is written with all of them.
    let is_stats = matches!(frame, Frame::Stats(_));
    assert!(is_stats || again.len() <= bytes.len(), "{again:02x?} is longer than {bytes:02x?}");
    assert!(again.len() >= HEAD_LEN);
    let heard = decode_all(session_decoder(), &again, |_| usize::MAX);
    let [(decoded, end)] = &heard.decoded[..] else { panic!("{heard:?} of {frame:?}") };
    assert_eq!((decoded, *end), (one, again.len()), "encoded, it means another thing");
}
