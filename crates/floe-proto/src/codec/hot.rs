//! Hot frames: fixed fields, big-endian, read and written without allocation (but STORED's list).
//!
//! ```text
//!  PING, PONG  number 8                       CORRUPT  seq 8
//!  HEADER      seq 8, index 8, offset 8, transfer 4 [, length 4] [, value 32] [, root 32]
//!  VERDICT     first 8, last 8, verdict 1     STORED   (first 8, last 8) one or more times
//!  DATA        seq 8, at 8, payload           SEAL     seq 8, length 4, value 32 [, root 32]
//!  PACKED      seq 8, at 8, length 4, payload
//!  PACKED_ENTRIES  length 4, payload
//! ```

use super::bounds::{CHUNK_BYTES_MAX, CodecLimits, OBJECT_BYTES_MAX, bad};
use super::kind::{
    HEADER_AWAITS, HEADER_DIGEST, HEADER_HOLE, HEADER_LEN, Kind, STORED_DURABLE, WITH_ROOT,
};
use crate::command::Violation;
use crate::frame::{Await, Content, Frame, Header, Level, Seal, SeqRange, Verdict};
use alloc::vec::Vec;
use floe_types::{
    ByteCount, ChainingValue, ChunkDigest, ChunkSize, EntryId, EntryIndex, Offset, Root, Seq,
    TransferId,
};

/// The bytes of a DATA frame before its payload.
pub const DATA_FIXED_LEN: usize = 16;

/// The bytes of a PACKED frame before its payload.
pub const PACKED_FIXED_LEN: usize = 20;

/// What stands before the payload of a DATA or PACKED frame.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DataHead {
    /// The chunk.
    pub seq: Seq,
    /// Where the piece starts, from the chunk's start.
    pub at: ByteCount,
    /// How long the piece is: 1 to `piece_bytes_max`.
    pub len: ByteCount,
    /// How long it is as it travels, where it is packed: at least 1, and less than `len`.
    pub packed: Option<ByteCount>,
}

impl DataHead {
    /// The same piece, packed to so many bytes.
    #[must_use]
    pub fn as_packed(self, bytes: usize) -> Self {
        Self { packed: Some(ByteCount::of_len(bytes)), ..self }
    }

    /// How many payload bytes follow.
    #[must_use]
    pub fn carried(&self) -> ByteCount {
        self.packed.unwrap_or(self.len)
    }
}

/// The body of ENTRIES as it travels packed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct PackedEntries {
    /// How long the body is: within the bound of a frame, and more than it is packed.
    pub len: usize,
    /// It, packed; not nothing.
    pub packed: Vec<u8>,
}

/// Reads the fixed part of DATA, of which `len` payload bytes follow.
pub(super) fn read_data(fixed: &[u8], len: u64) -> Result<DataHead, Violation> {
    let mut fields = Fields(fixed);
    let (seq, at) = (Seq(fields.u64()?), fields.u64()?);
    fields.end()?;
    within_chunk(at, len)?;
    Ok(DataHead { seq, at: ByteCount(at), len: ByteCount(len), packed: None })
}

/// Reads the fixed part of PACKED, of which `carried` payload bytes follow.
pub(super) fn read_packed(
    fixed: &[u8],
    carried: u64,
    limits: &CodecLimits,
) -> Result<DataHead, Violation> {
    let mut fields = Fields(fixed);
    let (seq, at, len) = (Seq(fields.u64()?), fields.u64()?, fields.u32()?);
    fields.end()?;
    if len > limits.piece_bytes_max {
        return bad("a packed piece above its bound");
    }
    let len = u64::from(len);
    if carried >= len {
        return bad("a packed piece that is no shorter");
    }
    within_chunk(at, len)?;
    let packed = Some(ByteCount(carried));
    Ok(DataHead { seq, at: ByteCount(at), len: ByteCount(len), packed })
}

/// Reads entries that travel packed, but not what they are.
pub(super) fn read_entries(body: &[u8], limits: &CodecLimits) -> Result<PackedEntries, Violation> {
    let mut fields = Fields(body);
    let (len, packed) = (fields.u32()?, fields.0.to_vec());
    if len > limits.frame_bytes_max {
        return bad("packed entries above their bound");
    }
    let len = len as usize;
    if packed.is_empty() || packed.len() >= len {
        return bad("packed entries that are no shorter");
    }
    Ok(PackedEntries { len, packed })
}

fn within_chunk(at: u64, len: u64) -> Result<(), Violation> {
    if at > CHUNK_BYTES_MAX || at + len > CHUNK_BYTES_MAX {
        return bad("a piece beyond the largest chunk");
    }
    Ok(())
}

/// Reads the body of a hot frame that is not DATA.
pub(super) fn read<P>(
    kind: Kind,
    flags: u8,
    body: &[u8],
    limits: &CodecLimits,
) -> Result<Frame<P>, Violation> {
    let mut fields = Fields(body);
    let frame = match kind {
        Kind::Challenge => Frame::Challenge(fields.take()?),
        Kind::Joined => Frame::Joined,
        Kind::Ping => Frame::Ping(fields.u64()?),
        Kind::Pong => Frame::Pong(fields.u64()?),
        Kind::Header => Frame::Header(read_header(flags, &mut fields)?),
        Kind::Verdict => Frame::Verdict(fields.seq_range()?, fields.verdict()?),
        Kind::Seal => Frame::Seal(read_seal(flags, &mut fields)?),
        Kind::Stored => {
            let level = if flags & STORED_DURABLE != 0 { Level::Durable } else { Level::Recorded };
            Frame::Stored(read_stored(&mut fields, limits)?, level)
        }
        Kind::Corrupt => Frame::Corrupt(Seq(fields.u64()?)),
        _ => return bad("not a hot frame"),
    };
    fields.end()?;
    Ok(frame)
}

fn read_header(flags: u8, fields: &mut Fields<'_>) -> Result<Header, Violation> {
    let (seq, index, offset) = (Seq(fields.u64()?), EntryIndex(fields.u64()?), fields.u64()?);
    let transfer = TransferId(fields.u32()?);
    let len = if flags & HEADER_LEN != 0 { Some(fields.chunk_len()?) } else { None };
    let end = offset.checked_add(len.unwrap_or(ByteCount(1)).0);
    if end.is_none_or(|end| end > OBJECT_BYTES_MAX) {
        return bad("a chunk beyond the largest object");
    }
    if offset % ChunkSize::MIN.bytes().0 != 0 {
        return bad("a chunk that is not aligned");
    }
    let digest = match flags & (HEADER_DIGEST | WITH_ROOT) {
        0 => None,
        WITH_ROOT => return bad("a root value without a chaining value"),
        both => Some(fields.digest(both)?),
    };
    if digest.is_some_and(|digest| digest.root.is_some() != (offset == 0)) {
        return bad("a root value away from the first chunk, or none at it");
    }
    let awaits = if flags & HEADER_AWAITS != 0 { Await::Verdict } else { Await::Implied };
    let content = if flags & HEADER_HOLE != 0 { Content::Hole } else { Content::Bytes };
    let told = len.is_some() && digest.is_some() && awaits == Await::Implied;
    if content == Content::Hole && !told {
        return bad("a hole without length or digest, or one that waits");
    }
    let entry = EntryId { transfer, index };
    Ok(Header { seq, entry, offset: Offset(offset), len, awaits, digest, content })
}

fn read_seal(flags: u8, fields: &mut Fields<'_>) -> Result<Seal, Violation> {
    Ok(Seal { seq: Seq(fields.u64()?), len: fields.chunk_len()?, digest: fields.digest(flags)? })
}

fn read_stored(fields: &mut Fields<'_>, limits: &CodecLimits) -> Result<Vec<SeqRange>, Violation> {
    let count = fields.0.len() / 16;
    if count == 0 || fields.0.len() > limits.frame_bytes_max as usize {
        return bad("a STORED of no range, or too many");
    }
    (0..count).map(|_| fields.seq_range()).collect()
}

/// Writes the body of a hot frame (of DATA without the payload); returns the flags. `None` where
/// the frame is a cold one.
pub(super) fn write<P>(frame: &Frame<P>, out: &mut Vec<u8>) -> Option<u8> {
    match frame {
        Frame::Challenge(bytes) => out.extend_from_slice(bytes),
        Frame::Joined => {}
        Frame::Ping(number) | Frame::Pong(number) => put_u64(out, *number),
        Frame::Header(header) => return Some(write_header(header, out)),
        Frame::Verdict(range, verdict) => {
            put_seq_range(out, *range);
            out.push(match verdict {
                Verdict::Send => 0,
                Verdict::Have => 1,
                Verdict::Refuse => 2,
            });
        }
        Frame::Data(data) => {
            put_u64(out, data.seq.0);
            put_u64(out, data.at.0);
        }
        Frame::Seal(seal) => {
            put_u64(out, seal.seq.0);
            put_u32(out, seal.len);
            return Some(put_digest(out, &seal.digest));
        }
        Frame::Stored(ranges, level) => {
            ranges.iter().for_each(|range| put_seq_range(out, *range));
            return Some(if *level == Level::Durable { STORED_DURABLE } else { 0 });
        }
        Frame::Corrupt(seq) => put_u64(out, seq.0),
        _ => return None,
    }
    Some(0)
}

fn write_header(header: &Header, out: &mut Vec<u8>) -> u8 {
    let mut flags = 0;
    if header.awaits == Await::Verdict {
        flags |= HEADER_AWAITS;
    }
    if header.content == Content::Hole {
        flags |= HEADER_HOLE;
    }
    put_u64(out, header.seq.0);
    put_u64(out, header.entry.index.0);
    put_u64(out, header.offset.0);
    out.extend_from_slice(&header.entry.transfer.0.to_be_bytes());
    if let Some(len) = header.len {
        flags |= HEADER_LEN;
        put_u32(out, len);
    }
    if let Some(digest) = &header.digest {
        flags |= HEADER_DIGEST | put_digest(out, digest);
    }
    flags
}

fn put_u64(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(&number.to_be_bytes());
}

/// A chunk's length: the core keeps it below 16 MiB; a larger one saturates and is refused there.
fn put_u32(out: &mut Vec<u8>, len: ByteCount) {
    out.extend_from_slice(&u32::try_from(len.0).unwrap_or(u32::MAX).to_be_bytes());
}

fn put_seq_range(out: &mut Vec<u8>, range: SeqRange) {
    put_u64(out, range.first.0);
    put_u64(out, range.last.0);
}

fn put_digest(out: &mut Vec<u8>, digest: &ChunkDigest) -> u8 {
    out.extend_from_slice(&digest.value.0);
    let Some(root) = digest.root else { return 0 };
    out.extend_from_slice(&root.0);
    WITH_ROOT
}

/// What is left of a body.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Violation> {
        let Some((field, rest)) = self.0.split_first_chunk() else {
            return bad("a frame shorter than its fields");
        };
        self.0 = rest;
        Ok(*field)
    }

    fn end(&self) -> Result<(), Violation> {
        if self.0.is_empty() { Ok(()) } else { bad("a frame longer than its fields") }
    }

    fn u64(&mut self) -> Result<u64, Violation> {
        self.take().map(u64::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Violation> {
        self.take().map(u32::from_be_bytes)
    }

    fn chunk_len(&mut self) -> Result<ByteCount, Violation> {
        let len = u64::from(self.u32()?);
        if (1..=CHUNK_BYTES_MAX).contains(&len) {
            Ok(ByteCount(len))
        } else {
            bad("a chunk's length out of bounds")
        }
    }

    fn seq_range(&mut self) -> Result<SeqRange, Violation> {
        let (first, last) = (Seq(self.u64()?), Seq(self.u64()?));
        if first <= last { Ok(SeqRange { first, last }) } else { bad("a range that ends early") }
    }

    fn verdict(&mut self) -> Result<Verdict, Violation> {
        match self.take()? {
            [0] => Ok(Verdict::Send),
            [1] => Ok(Verdict::Have),
            [2] => Ok(Verdict::Refuse),
            _ => bad("a verdict that is not one"),
        }
    }

    fn digest(&mut self, flags: u8) -> Result<ChunkDigest, Violation> {
        let value = ChainingValue(self.take()?);
        let root = if flags & WITH_ROOT != 0 { Some(Root(self.take()?)) } else { None };
        Ok(ChunkDigest { value, root })
    }
}
