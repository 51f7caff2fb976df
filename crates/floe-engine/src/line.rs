//! The reads and writes of one stream between the core and a store: hashed in the order they were
//! submitted, on the very bytes that are sent or written, and given back in that order.
//!
//! A line does none of them and waits for nothing: whoever holds it does, and settles each. `port`
//! does so with threads; a simulation can with none.

use crate::buffer::Piece;
use crate::files::Done;
use floe_proto::disk::{DiskDone, Ends, Keep, Took};
use floe_types::digest::ChunkHasher;
use floe_types::{ByteCount, ChunkDigest, Code, Fault, Offset, OpId, Range};
use std::collections::VecDeque;

/// Reads and writes, in the order of submission.
#[derive(Default)]
pub struct Line {
    /// What is read is sent, what is written was received: a stream may do both at once.
    reading: Hashing,
    writing: Hashing,
    slots: VecDeque<Slot>,
}

/// The hash of the chunk that is read, or written.
#[derive(Default)]
struct Hashing {
    chunk: Option<(Offset, ChunkHasher)>,
}

struct Slot {
    op: OpId,
    kind: Kind,
    ended: Option<(Done, Took)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Read(Reading),
    Write,
}

/// A read of the core.
#[derive(Clone, Copy)]
pub struct Reading {
    /// Where its chunk starts.
    pub chunk: Offset,
    /// What is read.
    pub piece: Range,
    /// Whether it ends its chunk.
    pub ends: Ends,
    /// What becomes of the bytes.
    pub keep: Keep,
}

/// A write of the core.
#[derive(Clone, Copy)]
pub struct Writing<'a> {
    /// Where its chunk starts.
    pub chunk: Offset,
    /// Where it is written.
    pub at: Offset,
    /// Whether it ends its chunk.
    pub ends: Ends,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl Line {
    /// A read takes its place; its bytes are hashed when its turn comes.
    pub fn read(&mut self, op: OpId, reading: Reading) {
        self.slots.push_back(Slot { op, kind: Kind::Read(reading), ended: None });
    }

    /// A write takes its place, and is hashed; the chunk's digest at its end.
    ///
    /// # Errors
    /// `Other`: a piece out of order.
    pub fn write(&mut self, op: OpId, writing: Writing<'_>) -> Result<Option<ChunkDigest>, Fault> {
        self.slots.push_back(Slot { op, kind: Kind::Write, ended: None });
        self.writing.hash(writing.chunk, writing.at, writing.bytes)?;
        Ok(self.writing.digest(writing.ends))
    }

    /// The end of a chunk whose last piece was not marked takes its place, and has ended.
    pub fn finish(&mut self, op: OpId, chunk: Offset) {
        let digest = self.writing.end_of(chunk);
        let ended = Some((Done::Wrote { digest }, Took::default()));
        self.slots.push_back(Slot { op, kind: Kind::Write, ended });
    }

    /// Notes the end of a read or write; gives it back where it is of neither.
    pub fn settle(&mut self, op: OpId, done: Done, took: Took) -> Option<(Done, Took)> {
        match self.slots.iter_mut().find(|slot| slot.op == op) {
            Some(slot) => {
                slot.ended = Some((done, took));
                None
            }
            None => Some((done, took)),
        }
    }

    /// Whether everything submitted before has ended.
    #[must_use]
    pub fn all_ended_before(&self, op: OpId) -> bool {
        self.slots.iter().take_while(|slot| slot.op != op).all(|slot| slot.ended.is_some())
    }

    /// The next that has ended, in the order of submission.
    pub fn next_ended(&mut self) -> Option<(OpId, Done, Took)> {
        self.slots.front()?.ended.as_ref()?;
        let slot = self.slots.pop_front()?;
        let (done, took) = slot.ended?;
        Some((slot.op, self.arrive(slot.kind, done), took))
    }

    /// What is left to do with an end whose turn has come: bytes that were read are hashed.
    fn arrive(&mut self, kind: Kind, done: Done) -> Done {
        match (kind, done) {
            (Kind::Read(reading), DiskDone::Read { bytes, len, .. }) => {
                let Reading { chunk, piece, ends, keep } = reading;
                let shown = bytes.as_ref().map_or(&[][..], Piece::bytes);
                if let Err(fault) = self.reading.hash(chunk, piece.start(), shown) {
                    return Done::Failed(fault);
                }
                let ends = if len < piece.len() { Ends::Chunk } else { ends };
                let digest = self.reading.digest(ends);
                let kept = keep == Keep::Bytes && len > ByteCount::ZERO;
                Done::Read { bytes: bytes.filter(|_| kept), len, digest }
            }
            (Kind::Read(_), failed) => {
                self.reading = Hashing::default();
                failed
            }
            (Kind::Write, done) => done,
        }
    }
}

/// What a chunk's offset is a multiple of, to be hashed as a part of its object.
const BLOCK_BYTES: u64 = 1024;

impl Hashing {
    fn hash(&mut self, chunk: Offset, at: Offset, bytes: &[u8]) -> Result<(), Fault> {
        if at == chunk {
            if !bytes.is_empty() && !chunk.0.is_multiple_of(BLOCK_BYTES) {
                return Err(Fault::new(
                    Code::Other,
                    format!("hash a chunk that begins at {chunk}"),
                ));
            }
            // A source that is read at its end has no chunk there, and the end may stand anywhere.
            let begins = !bytes.is_empty() || chunk == Offset::ZERO;
            self.chunk = begins.then(|| (chunk, ChunkHasher::new(chunk)));
        }
        match &mut self.chunk {
            Some((start, hasher)) if *start == chunk && chunk.plus(hasher.len()) == at => {
                hasher.update(bytes);
                Ok(())
            }
            // Bytes past the object's end: nothing to hash, wherever they would stand.
            _ if bytes.is_empty() => Ok(()),
            _ => Err(Fault::new(Code::Other, format!("hash the piece at {at} out of order"))),
        }
    }

    fn digest(&self, ends: Ends) -> Option<ChunkDigest> {
        match ends {
            Ends::More => None,
            Ends::Chunk => self.chunk.as_ref().and_then(|(_, hasher)| hasher.finish()),
        }
    }

    /// The digest of a chunk that ends where it is.
    fn end_of(&self, chunk: Offset) -> Option<ChunkDigest> {
        let (start, hasher) = self.chunk.as_ref()?;
        (*start == chunk).then(|| hasher.finish()).flatten()
    }
}
