//! One frame at a time over a connection that is not let in yet, until a deadline.
//!
//! Reads exactly what the decoder wants next, never more. Every bound is the greeting's: 4 KiB a
//! frame, a few skipped frames, one deadline for all.

use crate::secure::{Flushed, Scratch, Secured, Speech, Took};
use floe_proto::codec::{Decoded, Decoder, encode};
use floe_proto::command::Violation;
use floe_proto::frame::Frame;
use floe_types::{Code, Fault, Limits};
use std::io::IoSlice;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

pub(super) struct Talk<'a> {
    link: &'a mut Secured,
    decoder: Decoder,
    scratch: Scratch,
    deadline: Instant,
    /// Whom it talks to, for faults.
    peer: &'static str,
    /// The first bytes heard.
    first: Vec<u8>,
    /// Frames heard.
    frames: u32,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        link: &'a mut Secured,
        limits: &Limits,
        deadline: Instant,
        peer: &'static str,
    ) -> Self {
        let (decoder, scratch) = (Decoder::new(limits), Scratch::small());
        Self { link, decoder, scratch, deadline, peer, first: Vec::new(), frames: 0 }
    }

    pub(super) fn exporter(&self) -> Result<Option<[u8; 32]>, Fault> {
        self.link.exporter()
    }

    pub(super) async fn send(&mut self, frame: &Frame<()>) -> Result<(), Fault> {
        let mut bytes = Vec::new();
        encode(frame, &mut bytes).map_err(|why| Fault::new(Code::Other, why.to_string()))?;
        match timeout_at(self.deadline, push(self.link, &bytes)).await {
            Ok(sent) => sent,
            Err(_) => Err(self.late()),
        }
    }

    pub(super) async fn receive(&mut self) -> Result<Frame<()>, Fault> {
        match timeout_at(self.deadline, self.frame()).await {
            Ok(frame) => frame,
            Err(_) => Err(self.late()),
        }
    }

    /// The frame a plaintext server speaks first; its silence most likely means TLS.
    pub(super) async fn receive_challenge(&mut self) -> Result<Frame<()>, Fault> {
        let heard = self.receive().await;
        heard.map_err(|fault| match fault.code {
            Code::TimedOut if self.first.is_empty() => Fault::new(
                Code::Tls,
                "the server says nothing in plaintext: it most likely wants TLS",
            ),
            _ => fault,
        })
    }

    /// What a frame out of place becomes.
    pub(super) fn broken(&self, violation: Violation) -> Fault {
        Fault::new(Code::Violation, format!("greet {}: {}", self.peer, violation.what))
    }

    /// Says a last frame, ends this half, and hears the peer out for a moment: closing at once
    /// over unread bytes would make the kernel throw the frame away.
    pub(super) async fn part(mut self, frame: &Frame<()>) {
        let deadline = self.deadline.min(Instant::now() + LINGER);
        let parting = async {
            self.send(frame).await?;
            self.link.close()?;
            while self.link.flush()? == Flushed::Pending {
                writable(self.link).await?;
            }
            let (mut waste, mut left) = ([0; 1024], LINGER_BYTES_MAX);
            while left > 0 {
                left = match self.link.read_plain(&mut waste, &mut self.scratch)? {
                    Took::Bytes(len) => left.saturating_sub(len),
                    Took::WouldBlock => {
                        readable(self.link).await?;
                        left
                    }
                    Took::End(_) => 0,
                };
            }
            Ok::<(), Fault>(())
        };
        // Lost, late or done: nothing more can be said.
        let _ = timeout_at(deadline, parting).await;
    }

    async fn frame(&mut self) -> Result<Frame<()>, Fault> {
        let mut bytes = [0; 1024];
        for _ in 0..FRAMES_SKIPPED_MAX {
            loop {
                let want = self.decoder.wanted().min(bytes.len());
                let took = self.pull(&mut bytes[..want]).await?;
                let fed = self.decoder.feed::<()>(&bytes[..took]);
                match fed.map_err(|violation| self.stranger(violation))?.decoded {
                    None => {}
                    Some(Decoded::Frame(frame)) => {
                        self.frames += 1;
                        return Ok(frame);
                    }
                    Some(Decoded::Skipped(_)) => break,
                    Some(Decoded::Data(_) | Decoded::Entries(_)) => {
                        return Err(self.broken(Violation { what: "DATA in the greeting" }));
                    }
                }
            }
        }
        Err(self.broken(Violation { what: "too many unknown frames in the greeting" }))
    }

    /// Some bytes, at least one.
    async fn pull(&mut self, into: &mut [u8]) -> Result<usize, Fault> {
        loop {
            match self.link.read_plain(into, &mut self.scratch)? {
                Took::Bytes(len) => {
                    let room = FIRST_BYTES.saturating_sub(self.first.len());
                    self.first.extend_from_slice(&into[..len.min(room)]);
                    return Ok(len);
                }
                Took::WouldBlock => {
                    if self.link.has_unsent() {
                        self.link.flush()?;
                    }
                    readable(self.link).await?;
                }
                Took::End(_) => {
                    let detail = format!("{} closed the connection in the greeting", self.peer);
                    return Err(Fault::new(Code::ConnectionLost, detail));
                }
            }
        }
    }

    /// What bytes that are no frame become: of somebody who does not speak floe at all, where the
    /// first of them do not look like it.
    fn stranger(&self, violation: Violation) -> Fault {
        let speech = Speech::of(&self.first);
        if self.frames > 0 || speech == Some(Speech::PlainFloe) {
            return self.broken(violation);
        }
        speech.and_then(|speech| speech.fault(self.peer)).unwrap_or_else(|| {
            let detail = format!("greet {}: {}", self.peer, violation.what);
            Fault::new(Code::ProtocolMismatch, detail)
        })
    }

    fn late(&self) -> Fault {
        Fault::new(Code::TimedOut, format!("greet {}", self.peer))
    }
}

async fn push(link: &mut Secured, bytes: &[u8]) -> Result<(), Fault> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let accepted = link.write_plain(&[IoSlice::new(rest)])?;
        rest = &rest[accepted..];
        if accepted == 0 {
            writable(link).await?;
        }
    }
    while link.flush()? == Flushed::Pending {
        writable(link).await?;
    }
    Ok(())
}

async fn readable(link: &Secured) -> Result<(), Fault> {
    link.socket().readable().await.map_err(|error| lost(&error))
}

async fn writable(link: &Secured) -> Result<(), Fault> {
    link.socket().writable().await.map_err(|error| lost(&error))
}

fn lost(error: &std::io::Error) -> Fault {
    Fault::new(Code::ConnectionLost, format!("greet: {}", error.kind()))
}

const FIRST_BYTES: usize = 16;
const FRAMES_SKIPPED_MAX: u32 = 16;
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 64 << 10;
