//! A stream of bytes as a peer may send it, through the incremental decoder.
//!
//! Checked: nothing panics; any portions give the same frames, the same violation and the same end
//! as one portion; a violation is sticky; memory is in proportion to the bytes that came; every
//! frame encodes again (see `wire`).
//!
//! ```text
//! input: options 1 | count 1 | portions (count % 16) | the stream
//! options: 1 the greeting is over, 2 pieces of at most 64 KiB, 4 pieces may come packed
//! ```

use crate::heap::measure;
use crate::wire::{check_encoding, decode_all};
use floe_proto::codec::Decoder;
use floe_types::Limits;

/// Runs one input.
pub fn run(data: &[u8]) {
    let [options, count, rest @ ..] = data else { return };
    let Some((portions, stream)) = rest.split_at_checked(usize::from(count % 16)) else { return };
    let decoder = || {
        let mut decoder = Decoder::new(&Limits::default());
        if options & 1 != 0 {
            decoder.enter_session();
        }
        if options & 2 != 0 {
            decoder.agree_piece_bytes_max(64 << 10);
        }
        if options & 4 != 0 {
            decoder.agree_packing();
            decoder.agree_packed_entries();
        }
        decoder
    };
    let whole = measure(|| decode_all(decoder(), stream, |_| usize::MAX));
    assert_bounded(whole.peak_bytes, stream.len());
    let whole = whole.value;
    let mut turns = portions.iter().cycle();
    let mut ways: [&mut dyn FnMut(&Decoder) -> usize; 3] =
        [&mut |_| 1, &mut |decoder| decoder.wanted(), &mut |_| {
            turns.next().map_or(7, |portion| usize::from(*portion))
        }];
    for way in &mut ways {
        let parts = measure(|| decode_all(decoder(), stream, way));
        assert_bounded(parts.peak_bytes, stream.len());
        assert_eq!(parts.value, whole, "portions make no difference");
    }
    let mut start = 0;
    for (one, end) in &whole.decoded {
        check_encoding(one, &stream[start..*end]);
        start = match one {
            floe_proto::codec::Decoded::Data(head) => {
                end.saturating_add(head.carried().to_len().unwrap_or(usize::MAX))
            }
            _ => *end,
        };
    }
}

fn assert_bounded(peak_bytes: usize, came: usize) {
    let most = BYTES_ALWAYS + BYTES_EACH * came;
    assert!(peak_bytes <= most, "{peak_bytes} bytes of memory for {came} that came");
}

/// What a decoder may hold whatever came.
const BYTES_ALWAYS: usize = 1 << 10;
/// What it may hold for each byte that came: a name of one byte takes two on the wire, and an
/// allocation and its place in a list here.
const BYTES_EACH: usize = 128;
