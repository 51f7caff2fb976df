//! From a socket to frames: small ones through a short buffer, pieces straight into their own.
//!
//! A piece is begun only when there is room for it; until then it stays where it is, and TCP tells
//! the peer. An idle stream holds no buffer. The short buffer belongs to the connection, as its TLS
//! state does; those of pieces are bounded for all connections together.

use crate::buffer::{Bell, Blank, Charge, Piece, Pool, Turn};
use crate::pack::unpack;
use crate::running::{Terms, Traffic};
use crate::secure::{Ending, Scratch, Secured, Took};
use floe_proto::codec::{Agreed, DataHead, Decoded, Decoder, Fed, PackedEntries};
use floe_proto::command::Violation;
use floe_proto::frame::{Data, Frame};
use floe_types::{ByteCount, Code, Fault, Limits};
use std::cell::RefCell;
use std::sync::Arc;

thread_local! {
    // One for all streams of a lane: nothing stays in it between two reads.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::new());
}

/// The bytes that are taken ahead of knowing what they are.
const AHEAD_BYTES: usize = 16 << 10;

/// What a stream has of its next frame.
pub(super) struct Inlet {
    decoder: Decoder,
    /// The part of a frame that the decoder holds.
    held: Charge,
    /// Bytes of the frame that comes.
    frame_len: usize,
    ahead: Option<Ahead>,
    step: Step,
    /// Bytes of a piece came since this was last asked.
    came: Came,
    turn: Turn,
    traffic: Arc<Traffic>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Nothing,
    Bytes,
}

struct Ahead {
    bytes: Box<[u8]>,
    from: usize,
    to: usize,
}

enum Step {
    /// Between frames, or within one that is small.
    Frames,
    /// A piece comes, and has no buffer yet.
    Announced(DataHead),
    /// A piece comes.
    Filling { head: DataHead, into: Blank, filled: usize, len: usize },
}

/// What was taken.
pub(super) enum Taken {
    /// A frame, and how much of it came or was unpacked.
    Frame(Frame<Piece>, ByteCount),
    /// There is nothing more in the socket.
    Nothing,
    /// A frame that means nothing here was passed over.
    Skipped,
    /// There is a piece, and no room for it.
    NoRoom,
}

/// Why nothing more can be taken.
pub(super) enum Broken {
    /// The peer broke the protocol.
    Violation(Violation),
    /// The connection ended or broke.
    Connection(Fault),
}

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::Connection(fault)
    }
}

impl Inlet {
    /// Before the first frame.
    pub(super) fn new(limits: &Limits, terms: Terms, traffic: Arc<Traffic>, held: Charge) -> Self {
        let mut decoder = Decoder::new(limits);
        decoder.agree_piece_bytes_max(terms.piece_bytes_max);
        if terms.packing.is_some() {
            decoder.agree_packing();
        }
        if terms.packed_entries == Agreed::Yes {
            decoder.agree_packed_entries();
        }
        decoder.enter_session();
        Self {
            decoder,
            held,
            frame_len: 0,
            ahead: None,
            step: Step::Frames,
            came: Came::Nothing,
            turn: Turn::default(),
            traffic,
        }
    }

    /// Takes one frame, if all of it is there. `room` is what the core takes of pieces now.
    pub(super) fn take(
        &mut self,
        link: &mut Secured,
        pool: &Pool,
        room: ByteCount,
        bell: &Arc<dyn Bell>,
    ) -> Result<Taken, Broken> {
        loop {
            match std::mem::replace(&mut self.step, Step::Frames) {
                Step::Announced(head) if room == ByteCount::ZERO => {
                    self.step = Step::Announced(head);
                    return Ok(Taken::NoRoom);
                }
                Step::Announced(head) => {
                    // One that is packed comes into what it is unpacked to, and is shorter.
                    let room = head.len.to_len().unwrap_or(0);
                    let len = head.carried().to_len().unwrap_or(0);
                    let Some(into) = pool.blank_in_turn(room, &mut self.turn, bell) else {
                        self.step = Step::Announced(head);
                        return Ok(Taken::NoRoom);
                    };
                    self.step = Step::Filling { head, into, filled: 0, len };
                }
                Step::Filling { head, into, filled, len } => {
                    if let Some(frame) = self.fill(link, head, into, filled, len)? {
                        return Ok(Taken::Frame(frame, head.len));
                    }
                    return Ok(Taken::Nothing);
                }
                Step::Frames => match self.decode()? {
                    Some(Decoded::Frame(frame)) => {
                        let len = std::mem::take(&mut self.frame_len);
                        return Ok(Taken::Frame(frame, ByteCount::of_len(len)));
                    }
                    Some(Decoded::Data(head)) => {
                        self.frame_len = 0;
                        self.step = Step::Announced(head);
                    }
                    Some(Decoded::Entries(entries)) => {
                        self.frame_len = 0;
                        let frame = self.unpack_entries(&entries).map_err(Broken::Violation)?;
                        return Ok(Taken::Frame(frame, ByteCount::of_len(entries.len)));
                    }
                    Some(Decoded::Skipped(_)) => {
                        self.frame_len = 0;
                        return Ok(Taken::Skipped);
                    }
                    None => {
                        if !self.read_ahead(link)? {
                            return Ok(Taken::Nothing);
                        }
                    }
                },
            }
        }
    }

    fn decode(&mut self) -> Result<Option<Decoded<Piece>>, Broken> {
        let Some(ahead) = &mut self.ahead else { return Ok(None) };
        let bytes = &ahead.bytes[ahead.from..ahead.to];
        if bytes.is_empty() {
            return Ok(None);
        }
        let Fed { used, decoded } = self.decoder.feed(bytes).map_err(Broken::Violation)?;
        ahead.from += used;
        self.frame_len += used;
        self.held.set(self.decoder.held_bytes());
        Ok(decoded)
    }

    fn unpack_entries(&mut self, entries: &PackedEntries) -> Result<Frame<Piece>, Violation> {
        let mut body = vec![0; entries.len];
        body[..entries.packed.len()].copy_from_slice(&entries.packed);
        unpack(&mut body, entries.packed.len())?;
        self.decoder.read_entries(&body)
    }

    /// Whether anything came. The buffer is empty when this is called.
    fn read_ahead(&mut self, link: &mut Secured) -> Result<bool, Broken> {
        let ahead = self.ahead.get_or_insert_with(|| Ahead {
            bytes: vec![0; AHEAD_BYTES].into_boxed_slice(),
            from: 0,
            to: 0,
        });
        (ahead.from, ahead.to) = (0, 0);
        match read(link, &mut ahead.bytes)? {
            Took::Bytes(count) => {
                ahead.to = count;
                Ok(true)
            }
            Took::WouldBlock => Ok(false),
            Took::End(ending) => Err(Broken::Connection(self.end(ending))),
        }
    }

    fn fill(
        &mut self,
        link: &mut Secured,
        head: DataHead,
        mut into: Blank,
        mut filled: usize,
        len: usize,
    ) -> Result<Option<Frame<Piece>>, Broken> {
        if let Some(ahead) = &mut self.ahead {
            let held = &ahead.bytes[ahead.from..ahead.to];
            let count = held.len().min(len - filled);
            into.bytes_mut()[filled..filled + count].copy_from_slice(&held[..count]);
            ahead.from += count;
            filled += count;
        }
        while filled < len {
            match read(link, &mut into.bytes_mut()[filled..len])? {
                Took::Bytes(count) => {
                    filled += count;
                    self.came = Came::Bytes;
                }
                Took::WouldBlock => {
                    self.step = Step::Filling { head, into, filled, len };
                    return Ok(None);
                }
                Took::End(ending) => return Err(Broken::Connection(self.end(ending))),
            }
        }
        let DataHead { seq, at, len: count, packed } = head;
        if packed.is_some() {
            unpack(into.bytes_mut(), len).map_err(Broken::Violation)?;
            self.traffic.packed(count, count.minus(head.carried()));
        }
        let bytes = into.seal(count.to_len().unwrap_or(0));
        Ok(Some(Frame::Data(Data { seq, at, len: count, bytes })))
    }

    fn end(&self, ending: Ending) -> Fault {
        let between = self.decoder.is_between_frames() && matches!(self.step, Step::Frames);
        let what = match (between, ending) {
            (true, Ending::CloseNotify) => "the peer ended the connection",
            (true, Ending::Fin) => "the connection ended",
            (false, _) => "the connection ended within a frame",
        };
        Fault::new(Code::ConnectionLost, what)
    }

    /// Whether a piece has grown since this was last asked: one on a slow path may take longer than
    /// a silence.
    pub(super) fn has_come(&mut self) -> bool {
        std::mem::replace(&mut self.came, Came::Nothing) == Came::Bytes
    }

    /// Whether it cannot take anything now, whatever comes: a piece without room, or without a
    /// buffer. It was tried just before: what can be taken is.
    pub(super) fn is_full(&self) -> bool {
        matches!(self.step, Step::Announced(_))
    }

    /// Whether it holds a buffer for a piece that is not whole.
    pub(super) fn is_filling(&self) -> bool {
        matches!(self.step, Step::Filling { .. })
    }

    /// Whether it holds memory for a long frame that is not whole.
    pub(super) fn is_gathering(&self) -> bool {
        self.decoder.held_bytes() > AHEAD_BYTES
    }

    /// Gives the buffer back while there is nothing in it.
    pub(super) fn rest(&mut self) {
        if self.ahead.as_ref().is_some_and(|ahead| ahead.from == ahead.to) {
            self.ahead = None;
        }
    }

    /// Drops what was taken.
    pub(super) fn clear(&mut self) {
        self.ahead = None;
        self.step = Step::Frames;
    }

    /// Reads and forgets until the peer's end.
    pub(super) async fn drain(&mut self, link: &mut Secured) -> Result<(), Fault> {
        self.clear();
        let mut into = vec![0; AHEAD_BYTES];
        loop {
            match read(link, &mut into)? {
                Took::Bytes(_) => tokio::task::yield_now().await,
                Took::End(_) => return Ok(()),
                Took::WouldBlock => link.socket().readable().await.map_err(|error| {
                    Fault::new(Code::ConnectionLost, crate::socket::reason(&error))
                })?,
            }
        }
    }
}

fn read(link: &mut Secured, into: &mut [u8]) -> Result<Took, Fault> {
    SCRATCH.with_borrow_mut(|scratch| link.read_plain(into, scratch))
}
