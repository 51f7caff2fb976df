//! Chunks that are holes: asked for at a source, made at a sink, hashed as zeros at both.

use super::{Done, Files, Handle, wrong_kind};
use floe_store::Stands;
use floe_types::{ByteCount, ChunkDigest, EntryId, Fault, Limits, Range};

impl Files {
    pub(super) fn read_hole(&self, entry: EntryId, chunk: Range) -> Result<Done, Fault> {
        let Handle::Source(source) = self.handle(entry)? else { return Err(wrong_kind(entry)) };
        let digest = match source.standing_in(chunk)? {
            Stands::Hole => ChunkDigest::of_zeros(chunk),
            Stands::Bytes => None,
        };
        Ok(Done::Hole { digest })
    }

    pub(super) fn write_hole(&self, entry: EntryId, chunk: Range) -> Result<Done, Fault> {
        match self.handle(entry)? {
            Handle::Sink(sink) => sink.write_hole(chunk)?,
            Handle::ShortSink(short) => short.written()?.write_hole(chunk)?,
            Handle::Output(output) => {
                // One buffer, which is held once for each piece of the chunk.
                let whole = Limits::PIECE_BYTES as usize;
                let mut blank = self.pool().blank(whole);
                blank.bytes_mut().fill(0);
                let zeros = blank.seal(whole);
                let mut at = chunk.start();
                while at < chunk.end() {
                    let left = Range::new(at, chunk.end()).len().to_len().unwrap_or(whole);
                    let piece = zeros.first(left);
                    let next = at.plus(ByteCount::of_len(piece.bytes().len()));
                    output.hold(std::mem::replace(&mut at, next), piece)?;
                }
            }
            Handle::Nowhere => {}
            _ => return Err(wrong_kind(entry)),
        }
        Ok(Done::Wrote { digest: ChunkDigest::of_zeros(chunk) })
    }
}
