//! From frames to a socket: small ones gathered, a piece behind them, one vectored write.
//!
//! A piece may have to be packed first. Then what stands before it leaves, and it follows, packed
//! or not, when that is done; nothing is polled meanwhile.

use super::packer::{Outcome, Packer, UnderWay};
use crate::buffer::{Charge, Piece};
use crate::pack::pack;
use crate::secure::Secured;
use floe_proto::codec::{Agreed, DataHead, HEAD_LEN, encode, encode_packed, replace_by_packed};
use floe_proto::frame::{Data, Frame, PackLevel, Packing};
use floe_types::{Code, Fault};
use std::io::IoSlice;

/// What has been polled and not yet accepted by the connection: at most one long piece, behind
/// short ones that were copied. More waits until all has left for the kernel, records and all: a
/// peer that does not read costs little more than one piece.
pub(super) struct Outlet {
    small: Vec<u8>,
    small_sent: usize,
    piece: Option<Piece>,
    piece_sent: usize,
    /// The piece that is being packed, of which nothing was said yet.
    packing: Option<(DataHead, UnderWay)>,
    path: Path,
    /// Packs, and knows what.
    pub(super) packer: Packer,
    packed_entries: Agreed,
}

/// Whether the connection took all that it was handed last.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Path {
    #[default]
    Clear,
    Full,
}

/// Frames that are polled before they are written.
const FRAMES_MAX: usize = 32;
/// Pieces up to here are copied behind the frames before them: a call to the kernel, and a record
/// of TLS, cost more than the copy.
const SHORT_BYTES: u64 = 16 << 10;
/// Bytes of short pieces that are polled before they are written.
const GATHERED_BYTES: u64 = 48 << 10;
/// Memory that an idle outlet keeps.
const KEPT_BYTES: usize = 4 << 10;

impl Outlet {
    pub(super) fn new(packer: Packer, packed_entries: Agreed) -> Self {
        Self {
            small: Vec::new(),
            small_sent: 0,
            piece: None,
            piece_sent: 0,
            packing: None,
            path: Path::Clear,
            packer,
            packed_entries,
        }
    }

    /// Whether more frames may be polled behind those that were and are not accepted here yet.
    pub(super) fn wants(&self, polled: &[Frame<Piece>], link: &Secured) -> bool {
        let carried: u64 = polled.iter().map(data_bytes).sum();
        self.gathers()
            && !link.has_unsent()
            && polled.len() < FRAMES_MAX
            && carried < GATHERED_BYTES
            && polled.last().is_none_or(|last| data_bytes(last) <= SHORT_BYTES)
    }

    /// Bytes of what was gathered.
    pub(super) fn len(&self) -> usize {
        self.small.len()
    }

    /// Whether what waits may wait for a little more.
    pub(super) fn gathers(&self) -> bool {
        self.path == Path::Clear
            && self.piece.is_none()
            && self.packing.is_none()
            && (self.small.len() as u64) < GATHERED_BYTES
    }

    /// Takes a frame that was polled; of each HEADER and ENTRIES is wished how they are packed.
    pub(super) fn accept(
        &mut self,
        frame: Frame<Piece>,
        wishes: &mut impl Iterator<Item = Packing>,
    ) -> Result<(), Fault> {
        let frame = match frame {
            Frame::Data(data) => return self.accept_data(data),
            frame => frame,
        };
        let start = self.small.len();
        say(&frame, &mut self.small)?;
        let mut wish = || wishes.next().unwrap_or(Packing::Never);
        match frame {
            Frame::Header(header) => self.packer.begin(header.entry, wish()),
            Frame::Entries(..)
                if wish() != Packing::Never && self.packed_entries == Agreed::Yes =>
            {
                pack_entries(&mut self.small, start);
            }
            _ => {}
        }
        Ok(())
    }

    fn accept_data(&mut self, data: Data<Piece>) -> Result<(), Fault> {
        self.packer.carried(data.len);
        let Some(level) = self.packer.level_for(data.len) else { return self.put(data) };
        let Data { seq, at, len, bytes } = data;
        let head = DataHead { seq, at, len, packed: None };
        if len.0 <= SHORT_BYTES {
            let small = &mut self.small;
            let put = |packed: &[u8]| {
                encode_packed(&head.as_packed(packed.len()), small)?;
                small.extend_from_slice(packed);
                Some(())
            };
            if self.packer.pack_short(&bytes, level, put) {
                return Ok(());
            }
            return self.put(Data { seq, at, len, bytes });
        }
        match self.packer.pack_long(bytes, level) {
            Ok(under_way) => {
                self.packing = Some((head, under_way));
                Ok(())
            }
            Err(bytes) => self.put(Data { seq, at, len, bytes }),
        }
    }

    /// Takes a piece as it is.
    fn put(&mut self, data: Data<Piece>) -> Result<(), Fault> {
        let frame = Frame::Data(data);
        say(&frame, &mut self.small)?;
        match frame {
            Frame::Data(data) if data.len.0 <= SHORT_BYTES => {
                self.small.extend_from_slice(data.bytes.bytes());
            }
            Frame::Data(data) => self.piece = Some(data.bytes),
            _ => {}
        }
        Ok(())
    }

    /// Takes the piece back from the packers, if they are done.
    fn take_packed(&mut self) -> Result<(), Fault> {
        let Some((head, under_way)) = self.packing.take() else { return Ok(()) };
        match self.packer.take(under_way) {
            Ok(Outcome::Packed(bytes)) => {
                let said = encode_packed(&head.as_packed(bytes.bytes().len()), &mut self.small);
                self.piece = Some(bytes);
                said.ok_or_else(|| Fault::new(Code::Other, "a piece was packed to no less"))
            }
            Ok(Outcome::Loose(bytes)) => {
                self.put(Data { seq: head.seq, at: head.at, len: head.len, bytes })
            }
            Err(under_way) => {
                self.packing = Some((head, under_way));
                Ok(())
            }
        }
    }

    /// Whether a piece is with the packers: their bell tells.
    pub(super) fn is_packing(&self) -> bool {
        self.packing.is_some()
    }

    /// Whether everything was accepted by the connection.
    pub(super) fn is_empty(&self) -> bool {
        self.is_drained() && self.packing.is_none()
    }

    /// Whether nothing waits for the connection.
    pub(super) fn is_drained(&self) -> bool {
        self.small.is_empty() && self.piece.is_none()
    }

    /// Hands over as much as the connection takes now; what that holds on to is charged before the
    /// piece is let go.
    pub(super) fn write(&mut self, link: &mut Secured, charge: &mut Charge) -> Result<(), Fault> {
        self.take_packed()?;
        self.path = Path::Full;
        while !self.is_drained() {
            let small = &self.small[self.small_sent..];
            let piece = self.piece.as_ref().map_or(&[][..], Piece::bytes);
            let parts = [IoSlice::new(small), IoSlice::new(&piece[self.piece_sent..])];
            let count = link.write_plain(&parts)?;
            charge.set(small.len().saturating_add(unsent(link)));
            if count == 0 {
                return Ok(());
            }
            self.advance(count);
        }
        self.path = Path::Clear;
        charge.set(unsent(link));
        Ok(())
    }

    fn advance(&mut self, count: usize) {
        let small = count.min(self.small.len() - self.small_sent);
        self.small_sent += small;
        self.piece_sent += count - small;
        if self.small_sent == self.small.len() {
            self.small.clear();
            self.small.shrink_to(KEPT_BYTES);
            self.small_sent = 0;
        }
        if self.piece.as_ref().is_some_and(|piece| piece.bytes().len() == self.piece_sent) {
            self.piece = None;
            self.piece_sent = 0;
        }
    }
}

/// Packs ENTRIES that stand from there on, where that is shorter: names and times shrink to less
/// than half, and little effort is enough.
fn pack_entries(small: &mut Vec<u8>, start: usize) {
    let body = small.get(start + HEAD_LEN..).unwrap_or_default();
    let mut packed = vec![0; body.len()];
    if let Some(len) = pack(body, PackLevel::MIN, &mut packed) {
        let _shorter = replace_by_packed(small, start, &packed[..len]);
    }
}

/// Appends a frame, of DATA all but the piece.
fn say(frame: &Frame<Piece>, into: &mut Vec<u8>) -> Result<(), Fault> {
    encode(frame, into).map_err(|error| Fault::new(Code::Other, error.to_string()))
}

fn unsent(link: &Secured) -> usize {
    link.unsent_bytes().to_len().unwrap_or(usize::MAX)
}

fn data_bytes(frame: &Frame<Piece>) -> u64 {
    match frame {
        Frame::Data(data) => data.len.0,
        _ => 0,
    }
}
