//! Frames to bytes and back (PROTOCOL.md is the normative text; the two are changed together).
//!
//! `Decoder` takes bytes in any portions and gives frames; `encode` appends one. Neither reads nor
//! writes the payload of DATA: the caller moves those bytes itself, and is the only one who knows
//! that they may travel packed (PACKED, PACKED_ENTRIES): what a session sees is DATA and ENTRIES.
//! Everything a peer writes is
//! checked against its bound here, so a `Frame` that exists holds only values within bounds;
//! whether it may come now is the session's matter.

mod bounds; // the bounds of floe/1, and this end's
mod kind; // numbers, layouts and flags of the kinds
mod cbor; // the subset of CBOR that cold frames use
mod values; // paths, faults, metadata, subtrees
mod hot; // frames with fixed fields
mod greet; // HELLO to CLOSE
mod entry; // one entry of ENTRIES
mod transfer; // OPEN to CANCEL
mod receipt; // RECEIPT
mod request; // REQUEST, REPLY, STATS
mod body; // which of them a frame has
mod decoder; // bytes in any portions to frames
pub mod pack; // how much of a list one frame takes

use crate::frame::Frame;
use alloc::vec::Vec;
use core::fmt;
use floe_types::ByteCount;

pub use bounds::{
    AGENT_BYTES_MAX, Agreed, CURSOR_BYTES_MAX, CodecLimits, DETAIL_BYTES_MAX, FRAME_BYTES_MAX,
    HANDLE_BYTES_MAX, KEY_BYTES_MAX, LINK_BYTES_MAX, OBJECT_BYTES_MAX, SIGNATURE_BYTES_MAX,
    TICKET_NAME_BYTES_MAX,
};
pub use decoder::{Decoded, Decoder, Fed, HEAD_LEN, Head, Phase};
pub use hot::{DATA_FIXED_LEN, DataHead, PACKED_FIXED_LEN, PackedEntries};
pub use kind::{Kind, Layout};

/// A frame that no peer would take: its list was not packed (see `pack`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TooLong {
    /// Its kind.
    pub kind: Kind,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "encode {}: the frame is too long", self.kind.name())
    }
}

impl core::error::Error for TooLong {}

/// Appends what stands before a piece that travels packed: the caller sends `packed` bytes behind
/// it. `None` where the head is that of a DATA, or says what no PACKED may: nothing is appended.
pub fn encode_packed(head: &DataHead, out: &mut Vec<u8>) -> Option<()> {
    let packed = head.packed.filter(|packed| (ByteCount(1)..head.len).contains(packed))?;
    let (body, raw) = (PACKED_FIXED_LEN as u64 + packed.0, u32::try_from(head.len.0).ok()?);
    out.extend_from_slice(&u32::try_from(body).ok()?.to_be_bytes());
    out.extend_from_slice(&[Kind::Packed.wire(), 0, 0, 0]);
    out.extend_from_slice(&head.seq.0.to_be_bytes());
    out.extend_from_slice(&head.at.0.to_be_bytes());
    out.extend_from_slice(&raw.to_be_bytes());
    Some(())
}

/// Has the ENTRIES that stand from `start` on travel packed to these bytes. `None` where they are
/// no shorter so, or something else stands there: all is as before.
pub fn replace_by_packed(out: &mut Vec<u8>, start: usize, packed: &[u8]) -> Option<()> {
    let (head, body) = out.get(start..)?.split_first_chunk::<HEAD_LEN>()?;
    let len = u32::try_from(body.len()).ok()?;
    let shorter = packed.len() + PACKED_ENTRIES_FIXED_LEN < body.len();
    if head[..4] != len.to_be_bytes() || head[4] != Kind::Entries.wire() || !shorter {
        return None;
    }
    let carried = u32::try_from(packed.len() + PACKED_ENTRIES_FIXED_LEN).ok()?;
    out.truncate(start);
    out.extend_from_slice(&carried.to_be_bytes());
    out.extend_from_slice(&[Kind::PackedEntries.wire(), 0, 0, 0]);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(packed);
    Some(())
}

/// The bytes of a PACKED_ENTRIES frame before its payload.
const PACKED_ENTRIES_FIXED_LEN: usize = 4;

/// Appends a frame. Of DATA the head and the 16 fixed bytes are written: the caller sends
/// `data.len` payload bytes behind them. Texts are cut to their bounds.
///
/// # Errors
/// `TooLong`, a programmer's error of whoever made the frame; then `out` is as before.
pub fn encode<P>(frame: &Frame<P>, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let kind = Kind::of(frame);
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_LEN]);
    let flags = body::write(frame, out);
    let body = (out.len() - start - HEAD_LEN) as u64;
    let len = match frame {
        Frame::Data(data) => u32::try_from(body.saturating_add(data.len.0)),
        _ if body > FRAME_BYTES_MAX as u64 => Ok(u32::MAX),
        _ => u32::try_from(body),
    };
    match len {
        Ok(len) if len < u32::MAX => {
            let [l0, l1, l2, l3] = len.to_be_bytes();
            out[start..start + HEAD_LEN].copy_from_slice(&[
                l0,
                l1,
                l2,
                l3,
                kind.wire(),
                flags,
                0,
                0,
            ]);
            Ok(())
        }
        _ => {
            out.truncate(start);
            Err(TooLong { kind })
        }
    }
}
