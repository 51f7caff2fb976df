//! Pieces packed and unpacked: one Zstandard frame each, alone (PROTOCOL.md, section 10).
//!
//! What a peer packed is looked at before it is decoded: the frame says how long the piece is, and
//! a decoder has to remember no more than that. It is decoded at once into memory of exactly that
//! length, so nothing it holds can grow; and it has no more blocks than bytes make useful, since
//! each may have a decoder build its tables anew. Each thread that packs or unpacks keeps what zstd
//! needs for it: some 160 KiB to unpack, 1 to 2 MiB to pack at the levels that are chosen unasked.

use floe_proto::command::Violation;
use floe_proto::frame::PackLevel;
use std::cell::RefCell;
use zstd_safe::{CCtx, CParameter, DCtx};

thread_local! {
    static PACKER: RefCell<Packer> = RefCell::new(Packer::default());
    static UNPACKER: RefCell<Unpacker> = RefCell::new(Unpacker::default());
}

/// Pieces below this have nothing to gain.
pub const PACKED_FROM: usize = 256;
/// What a piece must lose at least, as a part of its length: the other end has work with it.
const WORTH: usize = 32;

#[derive(Default)]
struct Packer {
    context: Option<CCtx<'static>>,
    level: Option<PackLevel>,
}

#[derive(Default)]
struct Unpacker {
    context: Option<DCtx<'static>>,
    /// The packed bytes of one piece, while it is unpacked over them.
    packed: Vec<u8>,
}

/// The longest piece of any protocol limit, 1 MiB.
const WINDOW_BITS: u32 = 20;

/// Packs a piece into `into`, which is as long at least; how long it is then. `None` where it does
/// not shrink, or there is no memory.
pub fn pack(piece: &[u8], level: PackLevel, into: &mut [u8]) -> Option<usize> {
    if piece.len() < PACKED_FROM {
        return None;
    }
    let most = (piece.len() - piece.len() / WORTH).min(into.len());
    PACKER.with_borrow_mut(|packer| packer.pack(piece, level, &mut into[..most]))
}

impl Packer {
    fn pack(&mut self, piece: &[u8], level: PackLevel, into: &mut [u8]) -> Option<usize> {
        if self.context.is_none() {
            let mut context = CCtx::try_create()?;
            // As far back as the longest piece: it is cut to the piece at hand, and so that is one
            // segment at every level.
            context.set_parameter(CParameter::WindowLog(WINDOW_BITS)).ok()?;
            (self.context, self.level) = (Some(context), None);
        }
        let context = self.context.as_mut()?;
        if self.level != Some(level) {
            context.set_parameter(CParameter::CompressionLevel(level.number().into())).ok()?;
            self.level = Some(level);
        }
        // Says how long the piece is, and no checksum: the chunk has its digest.
        context.compress2(into, piece).ok().filter(|len| *len > 0)
    }
}

/// Unpacks a piece in its place: its packed bytes are the first of `piece`, which is as long as the
/// peer said that it is.
///
/// # Errors
/// Whatever is not one frame that decodes to exactly that.
pub fn unpack(piece: &mut [u8], packed_len: usize) -> Result<(), Violation> {
    let Some(packed) = piece.get(..packed_len) else { return bad("a packed piece too long") };
    check_frame(packed, piece.len())?;
    UNPACKER.with_borrow_mut(|unpacker| unpacker.unpack(piece, packed_len))
}

impl Unpacker {
    fn unpack(&mut self, piece: &mut [u8], packed_len: usize) -> Result<(), Violation> {
        self.packed.clear();
        self.packed.extend_from_slice(&piece[..packed_len]);
        let context = self.context.get_or_insert_with(DCtx::create);
        match context.decompress(piece, &self.packed) {
            Ok(len) if len == piece.len() => Ok(()),
            Ok(_) => bad("a packed piece of another length"),
            Err(_) => bad("a packed piece that does not decode"),
        }
    }
}

/// What RFC 8878, section 3.1.1, says before the first block.
///
/// ```text
///  magic 4 | descriptor 1: content size 2, single segment 1, unused 1, reserved 1, checksum 1,
///                          dictionary 2 bits | content size 1, 2, 4 or 8 (little-endian)
/// ```
fn check_frame(packed: &[u8], len: usize) -> Result<(), Violation> {
    let Some((&[0x28, 0xb5, 0x2f, 0xfd, descriptor], rest)) = packed.split_first_chunk() else {
        return bad("a packed piece that is no frame");
    };
    if descriptor & 0b0010_0000 == 0 {
        return bad("a packed piece with a window of its own");
    }
    if descriptor & 0b0001_1011 != 0 {
        return bad("a packed piece with a dictionary, or a bit without meaning");
    }
    let (wide, more) = [(1, 0), (2, 256), (4, 0), (8, 0)][usize::from(descriptor >> 6)];
    let Some(size) = rest.get(..wide) else { return bad("a packed piece cut short") };
    let size = size.iter().rev().fold(0_u64, |size, byte| size << 8 | u64::from(*byte));
    if size.checked_add(more) != u64::try_from(len).ok() {
        return bad("a packed piece of another length");
    }
    let checksum = if descriptor & 0b0000_0100 == 0 { 0 } else { 4 };
    check_blocks(&rest[wide..], checksum, BLOCKS_MIN + len / BLOCK_BYTES_MEAN)
}

/// Blocks that a piece may have, whatever its length,
const BLOCKS_MIN: usize = 8;
/// and one more for so many bytes. zstd makes no more than 196 of 128 KiB.
const BLOCK_BYTES_MEAN: usize = 512;

/// Section 3.1.1.2: blocks of `last 1 | type 2 | size 21` bits, little-endian, and what they hold.
fn check_blocks(mut rest: &[u8], checksum: usize, most: usize) -> Result<(), Violation> {
    for _ in 0..most {
        let Some((&[low, mid, high], behind)) = rest.split_first_chunk() else {
            return bad("a packed piece that is not one frame");
        };
        let head = u32::from_le_bytes([low, mid, high, 0]);
        // One that repeats a byte has that byte only, whatever its size.
        let held =
            if head >> 1 & 3 == 1 { 1 } else { usize::try_from(head >> 3).unwrap_or(usize::MAX) };
        let Some(behind) = behind.get(held..) else {
            return bad("a packed piece that is not one frame");
        };
        rest = behind;
        if head & 1 == 1 {
            return match rest.len() == checksum {
                true => Ok(()),
                false => bad("a packed piece that is not one frame"),
            };
        }
    }
    bad("a packed piece of too many blocks")
}

const fn bad<T>(what: &'static str) -> Result<T, Violation> {
    Err(Violation { what })
}

#[cfg(test)]
mod tests;
