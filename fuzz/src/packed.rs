//! A packed piece as a peer may send it, and a piece as it is packed.
//!
//! Checked: nothing panics; what is taken has one segment, the length that was said, no dictionary
//! and no byte behind it, and packed again means the same; what is packed is shorter and comes out
//! as it was. What libzstd does with memory is its own, and no part of it grows with what a peer
//! says (`floe_engine::pack`).
//!
//! ```text
//! input: length 3 (big-endian, modulo 1 MiB and a byte) | the packed bytes, or the piece
//! ```

use floe_engine::pack::{PACKED_FROM, pack, unpack};
use floe_proto::frame::PackLevel;

/// The longest piece there is, and a byte.
const LEN_MAX: usize = (1 << 20) + 1;

/// Runs one input.
pub fn run(data: &[u8]) {
    let [a, b, c, bytes @ ..] = data else { return };
    let len = (usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c)) % LEN_MAX;
    taken(bytes, len);
    made(bytes);
}

/// What a peer sent: packed bytes of a piece of `len`.
fn taken(bytes: &[u8], len: usize) {
    if bytes.len() > len {
        assert!(unpack(&mut vec![0; len], bytes.len()).is_err(), "longer than its piece");
        return;
    }
    let mut piece = vec![0xa5; len];
    piece[..bytes.len()].copy_from_slice(bytes);
    if unpack(&mut piece, bytes.len()).is_err() {
        return;
    }
    assert_eq!(bytes[..4], [0x28, 0xb5, 0x2f, 0xfd], "a frame");
    assert_eq!(bytes[4] & 0b0011_1011, 0b0010_0000, "one segment, no dictionary");
    // Cut or lengthened it is another thing, which is no piece.
    if bytes.len() < len {
        let mut longer = vec![0; len];
        longer[..bytes.len()].copy_from_slice(bytes);
        assert!(unpack(&mut longer, bytes.len() + 1).is_err(), "a byte behind it");
    }
    let mut shorter = vec![0; len];
    shorter[..bytes.len()].copy_from_slice(bytes);
    assert!(unpack(&mut shorter, bytes.len() - 1).is_err(), "a byte less");
    made(&piece);
}

fn made(piece: &[u8]) {
    for level in [PackLevel::MIN, PackLevel::AUTO_MAX] {
        let mut packed = vec![0; piece.len()];
        let Some(len) = pack(piece, level, &mut packed) else { continue };
        assert!(len < piece.len() && piece.len() >= PACKED_FROM);
        let mut again = vec![0; piece.len()];
        again[..len].copy_from_slice(&packed[..len]);
        assert_eq!(unpack(&mut again, len), Ok(()), "what was packed is a packed piece");
        assert!(again == piece, "and comes out as it was");
    }
}
