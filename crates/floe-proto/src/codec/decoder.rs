//! Bytes from a transport, in any portions, to frames.
//!
//! Holds at most one body that is not DATA (64 KiB), and none where a frame lies whole in what it
//! is fed. A length is bounded before a byte behind its head is kept. The payload of DATA and
//! PACKED never passes here: after `Decoded::Data` the caller takes it from the transport itself.
//! Entries that travel packed are given as they came: the caller unpacks them, and has them read.
//!
//! ```text
//!  Head --known, not DATA--> Body --> Frame --> Head        any violation: sticky
//!       --DATA, PACKED-----> Body (16, 20 bytes) --> Data --> Head
//!       --PACKED_ENTRIES---> Body --> Entries --> Head
//!       --unknown, 0x80..--> Skip --> Skipped --> Head
//! ```

use super::bounds::{Agreed, CodecLimits, bad};
use super::hot::{DATA_FIXED_LEN, DataHead, PACKED_FIXED_LEN, PackedEntries};
use super::kind::{Kind, SKIPPABLE_FROM};
use super::{body, hot};
use crate::command::Violation;
use crate::frame::Frame;
use alloc::vec::Vec;
use floe_types::Limits;

/// The bytes of a frame's head.
pub const HEAD_LEN: usize = 8;

/// A held body beyond this is given back to the allocator when its frame is decoded.
const HELD_BYTES_KEPT: usize = 4 << 10;

/// Whether a connection is let in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Phase {
    /// Not yet: only greeting frames, and short ones.
    Greeting,
    /// It is.
    Session,
}

/// The head of a frame, within its bounds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Head {
    /// How many bytes follow the head.
    pub len: u32,
    /// The number of its kind, which may be unknown (then it is skipped).
    pub kind: u8,
    /// Its flag bits; none that its kind does not define.
    pub flags: u8,
}

impl Head {
    /// Reads a head.
    ///
    /// # Errors
    /// An unknown kind below 0x80, a flag that the kind does not define, a reserved byte that is
    /// set, a length above its bound, anything but a greeting in `Phase::Greeting`, PACKED or
    /// PACKED_ENTRIES without agreement.
    pub fn parse(
        bytes: &[u8; HEAD_LEN],
        limits: &CodecLimits,
        phase: Phase,
    ) -> Result<Self, Violation> {
        let [l0, l1, l2, l3, kind, flags, r0, r1] = *bytes;
        let head = Self { len: u32::from_be_bytes([l0, l1, l2, l3]), kind, flags };
        if (r0, r1) != (0, 0) {
            return bad("reserved bytes of a head are set");
        }
        match head.known() {
            None if kind < SKIPPABLE_FROM => return bad("a frame of an unknown kind"),
            Some(known) if flags & !known.flags() != 0 => return bad("a flag without meaning"),
            Some(known) if phase == Phase::Greeting && !known.is_greeting() => {
                return bad("a frame before the greeting is over");
            }
            Some(Kind::Packed) if limits.packing == Agreed::No => {
                return bad("a packed piece that was not agreed on");
            }
            Some(Kind::PackedEntries) if limits.packed_entries == Agreed::No => {
                return bad("packed entries that were not agreed on");
            }
            _ => {}
        }
        let len_max = match (head.known(), phase) {
            (Some(Kind::Data), _) => limits.piece_bytes_max.saturating_add(16),
            // Shorter than the piece that it is.
            (Some(Kind::Packed), _) => limits.piece_bytes_max.saturating_add(19),
            (_, Phase::Greeting) => limits.greeting_bytes_max,
            (_, Phase::Session) => limits.frame_bytes_max,
        };
        if head.len > len_max {
            return bad("a frame above its bound");
        }
        if let Some(kind @ (Kind::Data | Kind::Packed)) = head.known()
            && head.len as usize <= body_len(head, kind)
        {
            return bad("a piece of nothing");
        }
        Ok(head)
    }

    /// Its kind, if floe/1 defines it.
    #[must_use]
    pub const fn known(self) -> Option<Kind> {
        Kind::from_wire(self.kind)
    }
}

/// What came out of bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Decoded<P> {
    /// A frame; never DATA.
    Frame(Frame<P>),
    /// A DATA or PACKED frame begins: the next `carried` bytes of the transport are its payload,
    /// for the caller to take; what comes after them is fed again.
    Data(DataHead),
    /// ENTRIES that travel packed: what they are unpacked to is for `Decoder::read_entries`.
    Entries(PackedEntries),
    /// A frame of an unknown kind was passed over.
    Skipped(u8),
}

/// What became of the bytes that were fed.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Fed<P> {
    /// How many of them were taken. Never more than up to the end of one frame.
    pub used: usize,
    /// What they completed. `None`: all were taken, and more are wanted.
    pub decoded: Option<Decoded<P>>,
}

/// The state between two portions.
#[derive(Clone, Debug)]
pub struct Decoder {
    limits: CodecLimits,
    phase: Phase,
    step: Step,
    /// The bytes of this step so far.
    held: Vec<u8>,
    broken: Option<Violation>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Head,
    Body(Head, Kind),
    Skip { kind: u8, left: usize },
}

impl Decoder {
    /// A decoder at the start of a connection.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.into(),
            phase: Phase::Greeting,
            step: Step::Head,
            held: Vec::new(),
            broken: None,
        }
    }

    /// The connection is let in: from here on every frame may come.
    pub fn enter_session(&mut self) {
        self.phase = Phase::Session;
    }

    /// Lowers the bound of a piece to what both ends agreed on.
    pub fn agree_piece_bytes_max(&mut self, bytes: u32) {
        self.limits.piece_bytes_max = self.limits.piece_bytes_max.min(bytes);
    }

    /// Both ends agreed that pieces may come packed.
    pub fn agree_packing(&mut self) {
        self.limits.packing = Agreed::Yes;
    }

    /// Both ends agreed that entries may come packed.
    pub fn agree_packed_entries(&mut self) {
        self.limits.packed_entries = Agreed::Yes;
    }

    /// Reads the body of ENTRIES that came packed.
    ///
    /// # Errors
    /// As `feed`.
    pub fn read_entries<P>(&mut self, body: &[u8]) -> Result<Frame<P>, Violation> {
        let read = match self.broken {
            Some(violation) => Err(violation),
            None => body::read(Kind::Entries, 0, body, &self.limits),
        };
        self.broken = read.as_ref().err().copied();
        read
    }

    /// How many bytes are wanted to get on; at least one. Never beyond the frame.
    #[must_use]
    pub fn wanted(&self) -> usize {
        match self.step {
            Step::Head => HEAD_LEN - self.held.len(),
            Step::Body(head, kind) => body_len(head, kind) - self.held.len(),
            Step::Skip { left, .. } => left,
        }
    }

    /// Whether the connection may end here: between two frames.
    #[must_use]
    pub fn is_between_frames(&self) -> bool {
        matches!(self.step, Step::Head) && self.held.is_empty()
    }

    /// Memory for the part of a frame that came.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.capacity()
    }

    /// Takes bytes up to the end of one frame.
    ///
    /// # Errors
    /// What the peer did wrong, and the same again ever after.
    pub fn feed<P>(&mut self, bytes: &[u8]) -> Result<Fed<P>, Violation> {
        if let Some(violation) = self.broken {
            return Err(violation);
        }
        let mut rest = bytes;
        match self.advance(&mut rest) {
            Ok(decoded) => Ok(Fed { used: bytes.len() - rest.len(), decoded }),
            Err(violation) => {
                self.broken = Some(violation);
                self.held = Vec::new();
                Err(violation)
            }
        }
    }

    fn advance<P>(&mut self, rest: &mut &[u8]) -> Result<Option<Decoded<P>>, Violation> {
        if matches!(self.step, Step::Head) {
            let Some(bytes) = collect(&mut self.held, rest, HEAD_LEN) else { return Ok(None) };
            let bytes = bytes.try_into().or(bad("a head of the wrong length"))?;
            let head = Head::parse(bytes, &self.limits, self.phase)?;
            self.held.clear();
            self.step = match head.known() {
                Some(kind) => Step::Body(head, kind),
                None => Step::Skip { kind: head.kind, left: head.len as usize },
            };
        }
        match self.step {
            Step::Head => Ok(None),
            Step::Body(head, kind) => self.body(head, kind, rest),
            Step::Skip { kind, left } => {
                let passed = left.min(rest.len());
                *rest = &rest[passed..];
                if passed < left {
                    self.step = Step::Skip { kind, left: left - passed };
                    return Ok(None);
                }
                self.step = Step::Head;
                Ok(Some(Decoded::Skipped(kind)))
            }
        }
    }

    fn body<P>(
        &mut self,
        head: Head,
        kind: Kind,
        rest: &mut &[u8],
    ) -> Result<Option<Decoded<P>>, Violation> {
        let len = body_len(head, kind);
        let Some(bytes) = collect(&mut self.held, rest, len) else { return Ok(None) };
        let behind = u64::from(head.len) - len as u64;
        let decoded = match kind {
            Kind::Data => Decoded::Data(hot::read_data(bytes, behind)?),
            Kind::Packed => Decoded::Data(hot::read_packed(bytes, behind, &self.limits)?),
            Kind::PackedEntries => Decoded::Entries(hot::read_entries(bytes, &self.limits)?),
            _ => Decoded::Frame(body::read(kind, head.flags, bytes, &self.limits)?),
        };
        if self.held.capacity() > HELD_BYTES_KEPT {
            self.held = Vec::new();
        }
        self.held.clear();
        self.step = Step::Head;
        Ok(Some(decoded))
    }
}

/// The bytes behind the head that the decoder takes itself.
const fn body_len(head: Head, kind: Kind) -> usize {
    match kind {
        Kind::Data => DATA_FIXED_LEN,
        Kind::Packed => PACKED_FIXED_LEN,
        _ => head.len as usize,
    }
}

/// Exactly `len` bytes: from `rest` alone where they all lie there, else gathered in `held`, which
/// the caller clears.
fn collect<'a, 'b: 'a>(held: &'a mut Vec<u8>, rest: &mut &'b [u8], len: usize) -> Option<&'a [u8]> {
    if held.is_empty()
        && let Some((bytes, behind)) = rest.split_at_checked(len)
    {
        *rest = behind;
        return Some(bytes);
    }
    let (bytes, behind) = rest.split_at((len - held.len()).min(rest.len()));
    *rest = behind;
    held.extend_from_slice(bytes);
    (held.len() == len).then_some(held.as_slice())
}
