//! What the peer says: every frame after the greeting, checked against role, lane and state.

use super::needs::{needed_by, needed_for};
use super::{Half, Session, Staged, apply, options_of};
use crate::command::{Event, Role, Violation};
use crate::disk::Lane;
use crate::frame::{
    Direction, Frame, Open, Opened, Pace, ReceiptWish, RecogniseWish, Request, Verbs,
};
use crate::io::Owner;
use crate::receive::{Receiver, Replacing};
use crate::send::{Listing, Sender};
use crate::session::ending::State;
use floe_types::{
    ByteCount, Code, Fault, Limits, RequestId as Id, Seq, StreamId, Time, TransferId,
};

type Heard = Result<(), Violation>;

const fn violation(what: &'static str) -> Heard {
    Err(Violation { what })
}

impl<P: Clone> Session<P> {
    /// A frame came whole.
    ///
    /// # Errors
    /// What the peer may not do. It is sticky: the engine says CLOSE (violation) and ends the
    /// session.
    pub fn handle_frame(&mut self, stream: StreamId, frame: Frame<P>, now: Time) -> Heard {
        self.io.now = now;
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let Some(pipe) = self.io.pipes.get_mut(&stream) else { return Ok(()) };
        pipe.heard = now;
        if matches!(self.state, State::Closed(_) | State::Ended) {
            return Ok(());
        }
        self.note_move(&frame, now);
        let heard = self.dispatch(stream, frame, now);
        if let Err(broken) = heard {
            self.broken = Some(broken);
            let detail = alloc::string::String::from(broken.what);
            self.close(Some(Fault::new(Code::Violation, detail)));
        }
        self.settle(now);
        heard
    }

    fn dispatch(&mut self, stream: StreamId, frame: Frame<P>, now: Time) -> Heard {
        if is_cold(&frame) && self.io.lead != Some(stream) {
            return violation("a cold frame on a stream that is not the lead");
        }
        match frame {
            Frame::Ping(number) => {
                self.io.say_on(stream, Frame::Pong(number));
                Ok(())
            }
            Frame::Pong(number) => {
                self.note_answer(stream, number, now);
                if self.io.lead == Some(stream) {
                    for half in self.transfers.values_mut() {
                        if let Half::Send(half) = half {
                            half.handle_pong(number, &mut self.io);
                        }
                    }
                }
                Ok(())
            }
            Frame::Close(fault) => {
                self.peer_closed(fault);
                Ok(())
            }
            Frame::Stats(stats) => {
                self.peer_stats = stats;
                Ok(())
            }
            Frame::Open(open) => self.heard_open(open, now),
            Frame::Request(id, request) => self.heard_request(id, request),
            Frame::Reply(id, reply) => {
                if self.role == Role::Server || !self.requests.remove(&id) {
                    return violation("REPLY to nothing");
                }
                self.io.events.push_back(Event::Replied(id, reply));
                Ok(())
            }
            Frame::Challenge(_)
            | Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Join(_)
            | Frame::Joined => violation("a greeting inside a session"),
            Frame::Busy(_) => violation("BUSY inside a session"),
            frame => self.dispatch_transfer(stream, frame, now),
        }
    }

    fn dispatch_transfer(&mut self, stream: StreamId, frame: Frame<P>, now: Time) -> Heard {
        match frame {
            Frame::Opened(opened) => {
                if !self.asked.remove(&opened.transfer) {
                    return violation("OPENED that nothing asked for");
                }
                match self.transfers.get_mut(&opened.transfer) {
                    Some(Half::Send(half)) => half.handle_opened(opened.window, &mut self.io),
                    Some(Half::Receive(half)) => half.handle_opened(opened.window),
                    None => {}
                }
                Ok(())
            }
            Frame::Entries(id, list) => {
                self.with_receiver(id, |half, io| half.handle_entries(list, io, now))?;
                self.announced_within_bound()
            }
            Frame::Done(id, list) => {
                self.with_receiver(id, |half, io| half.handle_done(&list, io, now))
            }
            Frame::Complete(id, count) => {
                self.with_receiver(id, |half, io| half.handle_complete(count, io, now))
            }
            Frame::Drop(entry, ranges) => self.with_receiver(entry.transfer, |half, io| {
                half.handle_drop(entry.index, &ranges, io)
            }),
            Frame::Want(want) => {
                self.with_sender(want.entry.transfer, |half, io| half.handle_want(want, io))
            }
            Frame::Receipt(id, receipt) => {
                self.with_sender(id, |half, io| half.handle_receipt(receipt, io))
            }
            Frame::Committed(id, list) => {
                self.with_sender(id, |half, io| half.handle_committed(&list, io))
            }
            Frame::Completed(id) => self.with_sender(id, |half, _| half.handle_completed()),
            Frame::Failed(failed) => {
                self.known(failed.entry.transfer)?;
                match self.transfers.get_mut(&failed.entry.transfer) {
                    Some(Half::Send(half)) => half.handle_failed(failed, &mut self.io)?,
                    Some(Half::Receive(half)) => half.handle_failed(failed, &mut self.io, now)?,
                    None => {}
                }
                Ok(())
            }
            Frame::Cancel(id, fault) => {
                self.known(id)?;
                self.asked.remove(&id);
                if let Some(half) = self.transfers.get_mut(&id) {
                    half.stop(fault, Staged::Checkpoint, &mut self.io);
                }
                Ok(())
            }
            frame => self.dispatch_hot(stream, frame, now),
        }
    }

    fn dispatch_hot(&mut self, stream: StreamId, frame: Frame<P>, now: Time) -> Heard {
        match frame {
            Frame::Header(header) => {
                for (id, half) in &mut self.transfers {
                    if *id != header.entry.transfer
                        && let Half::Receive(half) = half
                    {
                        half.leave(stream);
                    }
                }
                if let Some(pipe) = self.io.pipes.get_mut(&stream) {
                    pipe.carries = Some(header.seq);
                }
                self.with_receiver(header.entry.transfer, |half, io| {
                    half.handle_header(stream, header, io)
                })
            }
            Frame::Data(data) => {
                self.carried(stream, data.seq, "DATA of no chunk of this stream")?;
                self.data_bytes = self.data_bytes.plus(data.len);
                match self.receiver_on(stream) {
                    Some(id) => {
                        self.with_receiver(id, |half, io| half.handle_data(stream, data, io, now))
                    }
                    None => Ok(()),
                }
            }
            Frame::Seal(seal) => {
                self.carried(stream, seal.seq, "SEAL of no chunk of this stream")?;
                match self.receiver_on(stream) {
                    Some(id) => {
                        self.with_receiver(id, |half, io| half.handle_seal(stream, seal, io, now))
                    }
                    None => Ok(()),
                }
            }
            Frame::Verdict(seqs, verdict) => {
                self.used(seqs.last)?;
                self.each_sender(|half, io| half.handle_verdict(stream, seqs, verdict, io))
            }
            Frame::Stored(ranges, _) => {
                ranges.iter().try_for_each(|range| self.used(range.last))?;
                self.each_sender(|half, io| half.handle_stored(&ranges, io))
            }
            Frame::Corrupt(seq) => {
                self.used(seq)?;
                self.each_sender(|half, io| half.handle_corrupt(seq, io))
            }
            _ => violation("a frame that has no place here"),
        }
    }

    /// Whether what the peer announced may be remembered; within a frame it is not looked at.
    fn announced_within_bound(&self) -> Heard {
        let bytes = |half: &Half<P>| match half {
            Half::Receive(half) => half.announced_bytes(),
            Half::Send(_) => 0,
        };
        let all = self.transfers.values().map(bytes).sum();
        if ByteCount::of_len(all) > self.config.limits.announced_bytes_max {
            return violation("entries ahead take too much memory");
        }
        Ok(())
    }

    fn heard_open(&mut self, open: Open, now: Time) -> Heard {
        let next = open.transfer.0.checked_add(1);
        let Some(next) = next.filter(|next| *next > self.next_transfer) else {
            return violation("OPEN of a transfer that was there before");
        };
        if self.role == Role::Client {
            return violation("OPEN said to a client");
        }
        self.next_transfer = next;
        let transfer = open.transfer;
        if let Err(fault) = self.may_open(&open) {
            self.io.say(Frame::Cancel(transfer, fault));
            return Ok(());
        }
        let window = open.window.min(self.config.limits.window_bytes_max);
        self.io.say(Frame::Opened(Opened { transfer, handle: alloc::vec::Vec::new(), window }));
        let (direction, path) = (open.direction, open.path.clone());
        self.io.events.push_back(Event::TransferBegun { transfer, direction, path: path.clone() });
        let mut options = options_of(&open, open.precondition);
        if !self.config.verbs.allow(Verbs::READ) {
            // It would tell the root of what stands there.
            options.recognise = RecogniseWish::ByVersion;
        }
        options.window = window;
        if direction == Direction::Get {
            // Nothing is committed here.
            options.receipts = ReceiptWish::None;
        }
        let half = match direction {
            Direction::Put => {
                let replacing = replacing(self.config.verbs);
                Half::Receive(Receiver::new(transfer, path, options, replacing, &self.config, now))
            }
            Direction::Get => {
                let list = self.config.verbs.allow(Verbs::LIST);
                let listing = if list { Listing::Allowed } else { Listing::Refused };
                let mut half = Sender::new(transfer, path, options, listing, &self.config, now);
                half.advance(&mut self.io);
                Half::Send(half)
            }
        };
        self.transfers.insert(transfer, half);
        Ok(())
    }

    fn may_open(&self, open: &Open) -> Result<(), Fault> {
        if self.state != State::Open {
            return Err(Fault::new(Code::ShuttingDown, ""));
        }
        self.allowed(needed_for(open.direction), &open.path)?;
        if open.probe.is_some_and(|size| size > Limits::PROBE_BYTES_MAX) {
            return Err(Fault::new(Code::LimitExceeded, "a probe of more than 64 GiB"));
        }
        if open.probe.is_some() && open.pace != Pace::Streaming {
            return Err(Fault::new(Code::Unsupported, "a probe in lockstep"));
        }
        if self.transfers.len() >= self.config.limits.transfers_max as usize {
            return Err(Fault::new(Code::LimitExceeded, "too many transfers at once"));
        }
        Ok(())
    }

    fn heard_request(&mut self, id: Id, request: Request) -> Heard {
        if self.role == Role::Client || self.requests.contains(&id) {
            return violation("a request that has no place here");
        }
        if self.requests.len() >= self.config.limits.requests_max as usize {
            return violation("too many requests at once");
        }
        let refused = if self.state == State::Open {
            self.allowed(needed_by(&request), path_of(&request))
                .and_then(|()| self.replacing_allowed(&request))
                .err()
        } else {
            Some(Fault::new(Code::ShuttingDown, ""))
        };
        // Also one that is refused, until its answer is taken: that answer would free its number
        // for another that runs.
        self.requests.insert(id);
        if let Some(fault) = refused {
            self.io.say(Frame::Reply(id, Err(fault)));
            return Ok(());
        }
        self.stats_owed = super::stalls::Owed::Yes;
        self.io.submit(Lane::Session, apply(request), Owner::Request(id));
        Ok(())
    }

    fn replacing_allowed(&self, request: &Request) -> Result<(), Fault> {
        match request {
            Request::Rename { replace: crate::frame::Replace::Allowed, to, .. } => {
                self.allowed(Verbs::OVERWRITE, to)
            }
            _ => Ok(()),
        }
    }

    /// Whether a transfer was ever opened; one that is over is known, and what comes for it is
    /// passed over.
    fn known(&self, id: TransferId) -> Heard {
        if id.0 < self.next_transfer {
            Ok(())
        } else {
            violation("a transfer that was never opened")
        }
    }

    /// What comes behind a HEADER is of its chunk. A chunk of a transfer that is over has no half
    /// left to say so: its HEADER came, and the rest of it is passed over.
    fn carried(&self, stream: StreamId, seq: Seq, otherwise: &'static str) -> Heard {
        let carries = self.io.pipes.get(&stream).and_then(|pipe| pipe.carries);
        if carries == Some(seq) { Ok(()) } else { violation(otherwise) }
    }

    /// Whether this end ever gave a chunk that number.
    fn used(&self, seq: Seq) -> Heard {
        if seq < self.io.next_seq {
            Ok(())
        } else {
            violation("a sequence number that was never used")
        }
    }

    fn with_sender(
        &mut self,
        id: TransferId,
        f: impl FnOnce(&mut Sender<P>, &mut crate::io::Io<P>) -> Heard,
    ) -> Heard {
        self.known(id)?;
        match self.transfers.get_mut(&id) {
            Some(Half::Send(half)) => f(half, &mut self.io),
            Some(Half::Receive(_)) => violation("a receiver's frame said by a sender"),
            None => Ok(()),
        }
    }

    fn with_receiver(
        &mut self,
        id: TransferId,
        f: impl FnOnce(&mut Receiver, &mut crate::io::Io<P>) -> Heard,
    ) -> Heard {
        self.known(id)?;
        match self.transfers.get_mut(&id) {
            Some(Half::Receive(half)) => f(half, &mut self.io),
            Some(Half::Send(_)) => violation("a sender's frame said by a receiver"),
            None => Ok(()),
        }
    }

    fn each_sender(&mut self, mut f: impl FnMut(&mut Sender<P>, &mut crate::io::Io<P>)) -> Heard {
        for half in self.transfers.values_mut() {
            if let Half::Send(half) = half {
                f(half, &mut self.io);
            }
        }
        Ok(())
    }

    pub(super) fn receiver_on(&self, stream: StreamId) -> Option<TransferId> {
        self.transfers.iter().find_map(|(id, half)| match half {
            Half::Receive(half) => half.is_on(stream).then_some(*id),
            Half::Send(_) => None,
        })
    }
}

/// What a put may do with a name that something has.
fn replacing(verbs: Verbs) -> Replacing {
    if verbs.allow(Verbs::OVERWRITE) {
        Replacing::Allowed
    } else if verbs.only(Verbs::SHOWS) == Verbs::default() {
        Replacing::Unseen
    } else {
        Replacing::Denied
    }
}

/// What a request is about.
const fn path_of(request: &Request) -> &floe_types::ObjectPath {
    match request {
        Request::List { path, .. }
        | Request::Stat { path, .. }
        | Request::Remove { path, .. }
        | Request::Rename { from: path, .. }
        | Request::MakeDirectory { path }
        | Request::Measure { path } => path,
    }
}

/// Whether a frame belongs on the lead stream.
const fn is_cold<P>(frame: &Frame<P>) -> bool {
    !matches!(
        frame,
        Frame::Ping(_)
            | Frame::Pong(_)
            | Frame::Header(_)
            | Frame::Verdict(..)
            | Frame::Data(_)
            | Frame::Seal(_)
            | Frame::Stored(..)
            | Frame::Corrupt(_)
    )
}
