//! How a session ends: closed, drained, or left alone by its peer.

use super::{Half, Session, Staged};
use crate::command::{Event, Lost, Role};
use crate::disk::{DiskDone, DiskOp};
use crate::frame::Frame;
use crate::io::Owner;
use crate::send::Queued;
use alloc::vec::Vec;
use floe_types::{Code, Fault, StreamId, Time};

/// How far the end is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum State {
    /// Not at all.
    Open,
    /// Nothing new begins; what runs goes on, then Closing.
    Draining,
    /// Transfers were stopped; CLOSE is said when they are over.
    Closing(Option<Fault>),
    /// The peer is gone or told; operations are awaited.
    Closed(Option<Fault>),
    /// `Event::Ended` was given out.
    Ended,
}

impl<P: Clone> Session<P> {
    pub(super) fn drain(&mut self) {
        if self.state == State::Open {
            self.state = State::Draining;
        }
    }

    pub(super) fn close(&mut self, fault: Option<Fault>) {
        if !matches!(self.state, State::Open | State::Draining) {
            return;
        }
        let why = fault
            .clone()
            .unwrap_or_else(|| Fault::new(Code::ConnectionLost, "the session was closed"));
        self.stop_transfers(&why, Staged::Checkpoint);
        self.state = State::Closing(fault);
    }

    fn stop_transfers(&mut self, fault: &Fault, staged: Staged) {
        for half in self.transfers.values_mut() {
            half.stop(fault.clone(), staged, &mut self.io);
        }
    }

    /// The peer said CLOSE: nothing more is said, what is staged is made durable.
    pub(super) fn peer_closed(&mut self, fault: Option<Fault>) {
        if matches!(self.state, State::Closed(_) | State::Ended) {
            return;
        }
        let why = fault.clone().unwrap_or_else(|| {
            Fault::new(Code::ConnectionLost, "the other side closed the session")
        });
        self.stop_transfers(&why, Staged::Checkpoint);
        self.abandon_requests(&why);
        self.hang_up_all();
        let over = if self.transfers.is_empty() { fault } else { Some(why) };
        self.state = State::Closed(over);
    }

    fn abandon_requests(&mut self, why: &Fault) {
        if self.role == Role::Client {
            for id in core::mem::take(&mut self.requests) {
                self.io.events.push_back(Event::Replied(id, Err(why.clone())));
            }
        }
    }

    fn hang_up_all(&mut self) {
        let streams: Vec<_> = self.io.pipes.keys().copied().collect();
        for stream in streams {
            if let Some(pipe) = self.io.pipes.get_mut(&stream)
                && !pipe.closing
            {
                pipe.closing = true;
                self.io.events.push_back(Event::HangUp(stream));
            }
        }
    }

    /// Goes on with the end as far as it is possible now.
    pub(super) fn settle_end(&mut self) {
        if self.state == State::Draining && self.transfers.is_empty() && self.requests.is_empty() {
            let fault = Fault::new(Code::ShuttingDown, "");
            self.state = State::Closing(Some(fault));
        }
        if let State::Closing(fault) = &self.state
            && self.transfers.is_empty()
        {
            let fault = fault.clone();
            self.io.say(Frame::Close(fault.clone()));
            let why = fault
                .clone()
                .unwrap_or_else(|| Fault::new(Code::ConnectionLost, "the session was closed"));
            self.abandon_requests(&why);
            self.hang_up_all();
            self.state = State::Closed(fault);
        }
        if let State::Closed(fault) = &self.state
            && self.transfers.is_empty()
            && self.io.is_idle()
        {
            let fault = fault.clone();
            self.state = State::Ended;
            self.io.events.push_back(Event::Ended(fault));
        }
    }

    /// A stream is gone. The lead's loss ends the session; any other's sends its chunks to the
    /// rest.
    pub fn handle_stream_lost(&mut self, stream: StreamId, why: Lost, now: Time) {
        self.io.now = now;
        let Some(pipe) = self.io.remove_pipe(stream) else { return };
        // What it carried goes again.
        self.moved = now;
        for half in self.transfers.values_mut() {
            match half {
                Half::Send(half) => half.handle_stream_lost(stream, &mut self.io),
                Half::Receive(half) => half.handle_stream_lost(stream, &mut self.io),
            }
        }
        for (id, op) in pipe.ops {
            self.end_unstarted(id, &op, now);
        }
        if self.io.lead == Some(stream) && !matches!(self.state, State::Closed(_) | State::Ended) {
            let fault = match why {
                Lost::Silence => Fault::new(Code::TimedOut, ""),
                Lost::Connection | Lost::HungUp => Fault::new(Code::ConnectionLost, ""),
            };
            self.stop_transfers(&fault, Staged::Left);
            self.abandon_requests(&fault);
            self.hang_up_all();
            self.state = State::Closed(Some(fault));
        }
        self.settle(now);
    }

    /// Whether it was cut off: its peer hears nothing more, and may have come again.
    pub const fn is_cut_off(&self) -> bool {
        matches!(self.state, State::Closed(Some(_)))
    }

    /// An operation that waited for a stream that is gone ends here, undone.
    fn end_unstarted(&mut self, id: floe_types::OpId, op: &DiskOp<P>, now: Time) {
        let Some(owner) = self.io.end(id) else { return };
        let undone = match (op, owner) {
            (DiskOp::Read { .. } | DiskOp::Write { .. } | DiskOp::Finish { .. }, _)
            | (_, Owner::Send(..) | Owner::Receive(..) | Owner::Request(_)) => {
                DiskDone::Failed(Fault::new(Code::ConnectionLost, "its stream is gone"))
            }
        };
        self.route(owner, undone, Queued::Waited, now);
    }

    /// Heartbeats, and what to do about silence.
    pub(super) fn beat(&mut self, now: Time) {
        let limits = self.config.limits.clone();
        let streams: Vec<_> = self.io.pipes.keys().copied().collect();
        for stream in streams {
            let blocked = self.data_room(stream).0 == 0;
            let Some(pipe) = self.io.pipes.get_mut(&stream) else { continue };
            if blocked {
                pipe.heard = now;
            }
            if now.since(pipe.heard) >= limits.silence && !pipe.closing {
                pipe.closing = true;
                self.io.events.push_back(Event::HangUp(stream));
                self.handle_stream_lost(stream, Lost::Silence, now);
                continue;
            }
            if now.since(pipe.said) >= limits.heartbeat && !pipe.closing {
                pipe.said = now;
                let number = self.io.take_ping();
                self.io.say_on(stream, Frame::Ping(number));
            }
        }
    }
}
