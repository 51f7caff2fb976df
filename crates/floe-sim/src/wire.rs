//! Frames to bytes and back, as a stream of the engine does it, over a simulated connection.

use floe_engine::buffer::{Blank, Piece, Pool};
use floe_proto::codec::{DataHead, Decoded, Decoder, Fed, TooLong, encode};
use floe_proto::command::Violation;
use floe_proto::frame::{Data, Frame};
use floe_types::{ByteCount, Limits};
use std::collections::VecDeque;

/// From bytes to frames.
pub struct Inlet {
    decoder: Decoder,
    step: Step,
}

enum Step {
    Frames,
    /// A piece comes, and has no buffer yet.
    Announced(DataHead),
    Filling(DataHead, Blank, usize),
}

/// What was taken.
pub enum Taken {
    /// A frame.
    Frame(Frame<Piece>),
    /// There is nothing more.
    Nothing,
    /// There is a piece, and no room for it.
    NoRoom,
}

impl Inlet {
    /// An inlet behind the greeting.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let mut decoder = Decoder::new(limits);
        decoder.enter_session();
        Self { decoder, step: Step::Frames }
    }

    /// Whether it cannot take anything now: a piece without room.
    #[must_use]
    pub fn is_full(&self, room: ByteCount) -> bool {
        matches!(self.step, Step::Announced(_)) && room == ByteCount::ZERO
    }

    /// Takes one frame, if all of it is there.
    ///
    /// # Errors
    /// What the peer did wrong.
    pub fn take(
        &mut self,
        arrived: &mut VecDeque<u8>,
        pool: &Pool,
        room: ByteCount,
    ) -> Result<Taken, Violation> {
        loop {
            match std::mem::replace(&mut self.step, Step::Frames) {
                Step::Announced(head) if room == ByteCount::ZERO => {
                    self.step = Step::Announced(head);
                    return Ok(Taken::NoRoom);
                }
                Step::Announced(head) => {
                    let len = head.len.to_len().unwrap_or(0);
                    self.step = Step::Filling(head, pool.blank(len), 0);
                }
                Step::Filling(head, mut into, filled) => {
                    let len = head.len.to_len().unwrap_or(0);
                    let count = arrived.len().min(len - filled);
                    take_bytes(arrived, &mut into.bytes_mut()[filled..filled + count]);
                    if filled + count < len {
                        self.step = Step::Filling(head, into, filled + count);
                        return Ok(Taken::Nothing);
                    }
                    let DataHead { seq, at, len: bytes, .. } = head;
                    let data = Data { seq, at, len: bytes, bytes: into.seal(len) };
                    return Ok(Taken::Frame(Frame::Data(data)));
                }
                Step::Frames => {
                    if arrived.is_empty() {
                        return Ok(Taken::Nothing);
                    }
                    let Fed { used, decoded } = self.decoder.feed(arrived.as_slices().0)?;
                    arrived.drain(..used);
                    match decoded {
                        Some(Decoded::Frame(frame)) => return Ok(Taken::Frame(frame)),
                        Some(Decoded::Data(head)) => self.step = Step::Announced(head),
                        Some(Decoded::Entries(_) | Decoded::Skipped(_)) | None => {}
                    }
                }
            }
        }
    }
}

/// Moves so many bytes as there is place for; they are there.
fn take_bytes(arrived: &mut VecDeque<u8>, into: &mut [u8]) {
    let (first, second) = arrived.as_slices();
    let (one, other) = into.split_at_mut(first.len().min(into.len()));
    one.copy_from_slice(&first[..one.len()]);
    other.copy_from_slice(&second[..other.len()]);
    arrived.drain(..into.len());
}

/// From frames to bytes.
#[derive(Default)]
pub struct Outlet {
    bytes: Vec<u8>,
    sent: usize,
}

impl Outlet {
    /// Whether everything was taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// Takes a frame; where its bytes stand, and how many of the last are a piece.
    ///
    /// # Errors
    /// The core made a frame that no peer would take.
    pub fn accept(&mut self, frame: &Frame<Piece>) -> Result<Written<'_>, TooLong> {
        let start = self.bytes.len();
        encode(frame, &mut self.bytes)?;
        let piece = match frame {
            Frame::Data(data) => {
                self.bytes.extend_from_slice(data.bytes.bytes());
                data.bytes.bytes().len()
            }
            _ => 0,
        };
        Ok(Written { bytes: &mut self.bytes[start..], piece })
    }

    /// What waits.
    #[must_use]
    pub fn waiting(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// So many were taken.
    pub fn advance(&mut self, count: usize) {
        self.sent += count;
        if self.is_empty() {
            self.bytes.clear();
            self.sent = 0;
        }
    }
}

/// A frame's bytes, before they leave.
pub struct Written<'a> {
    /// All of them.
    pub bytes: &'a mut [u8],
    /// So many of the last are a piece.
    pub piece: usize,
}
