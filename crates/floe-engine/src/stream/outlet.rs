//! From frames to a socket: small ones gathered, a piece behind them, one vectored write.

use crate::buffer::{Charge, Piece};
use crate::secure::Secured;
use floe_proto::codec::encode;
use floe_proto::frame::Frame;
use floe_types::{Code, Fault};
use std::io::IoSlice;

/// What has been polled and not yet accepted by the connection: at most one piece. The next one
/// waits until the last has left for the kernel, records and all: a peer that does not read costs
/// one piece.
#[derive(Default)]
pub(super) struct Outlet {
    small: Vec<u8>,
    small_sent: usize,
    piece: Option<Piece>,
    piece_sent: usize,
}

/// Frames that are polled before they are written.
const FRAMES_MAX: usize = 32;
/// Memory that an idle outlet keeps.
const KEPT_BYTES: usize = 4 << 10;

impl Outlet {
    /// Whether more frames may be polled behind those that were and are not accepted here yet.
    pub(super) fn wants(&self, polled: &[Frame<Piece>], link: &Secured) -> bool {
        self.is_empty()
            && !link.has_unsent()
            && polled.len() < FRAMES_MAX
            && !matches!(polled.last(), Some(Frame::Data(_)))
    }

    /// Takes a frame that was polled.
    pub(super) fn accept(&mut self, frame: Frame<Piece>) -> Result<(), Fault> {
        encode(&frame, &mut self.small)
            .map_err(|error| Fault::new(Code::Other, error.to_string()))?;
        if let Frame::Data(data) = frame {
            self.piece = Some(data.bytes);
        }
        Ok(())
    }

    /// Whether everything was accepted by the connection.
    pub(super) fn is_empty(&self) -> bool {
        self.small.is_empty() && self.piece.is_none()
    }

    /// Hands over as much as the connection takes now; what that holds on to is charged before the
    /// piece is let go.
    pub(super) fn write(&mut self, link: &mut Secured, charge: &mut Charge) -> Result<(), Fault> {
        while !self.is_empty() {
            let small = &self.small[self.small_sent..];
            let piece = self.piece.as_ref().map_or(&[][..], Piece::bytes);
            let parts = [IoSlice::new(small), IoSlice::new(&piece[self.piece_sent..])];
            let count = link.write_plain(&parts)?;
            charge.set(link.unsent_bytes().to_len().unwrap_or(usize::MAX));
            if count == 0 {
                return Ok(());
            }
            self.advance(count);
        }
        charge.set(link.unsent_bytes().to_len().unwrap_or(usize::MAX));
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
