//! One round of a session's core: what it says is done about at once, and who waits is called.

use super::{Core, Running, lock};
use crate::buffer::{Piece, Weight};
use floe_proto::command::Command;
use floe_proto::disk::Lane;
use floe_proto::frame::Frame;
use floe_types::{Code, Fault, StreamId, Time};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

impl Running {
    /// One round of the core.
    pub fn round<R>(&self, turn: impl FnOnce(&mut Core, Time) -> R) -> R {
        let mut wakes = Vec::new();
        let mut events = VecDeque::new();
        let mut core = lock(&self.core);
        let now = self.clock.now();
        let told = turn(&mut core, now);
        // Answers that wait count twice. They are lent by the pool as well, and are to leave half
        // of that to buffers: who takes one answer now and then is no slow reader.
        let remembered = core.remembered().plus(core.unsaid_bytes());
        let weight = self.remembered.set(remembered, core.budget());
        if weight == Weight::TooMuch {
            let fault =
                Fault::new(Code::Busy, "memory is short, and this session takes much of it");
            // One that is over needs no command.
            let _ = core.handle_command(Command::Close(Some(fault)), now);
        }
        if let Some(toll) = &self.toll {
            toll.charge(&mut core, now);
        }
        while let Some(lane) = core.poll_wake() {
            wakes.push(lane);
        }
        while let Some(event) = core.poll_event() {
            events.push_back(event);
        }
        let timeout = core.poll_timeout().map_or(u64::MAX, |time| time.0);
        let unsaid = core.unsaid_bytes();
        lock(&self.unsaid).set(unsaid.to_len().unwrap_or(usize::MAX));
        let cut_off = core.is_cut_off();
        drop(core);
        if cut_off && self.files.cut_off() {
            self.driver.ring();
        }
        let news = !events.is_empty();
        if news {
            lock(&self.events).append(&mut events);
        }
        let pages = unsaid.0 < self.pages_below.load(Ordering::Acquire);
        if news || pages || timeout < self.armed.load(Ordering::Acquire) {
            self.driver.ring();
        }
        if !wakes.is_empty() {
            self.wake(&wakes);
        }
        if weight == Weight::TooMuch {
            self.desert();
        }
        told
    }

    /// Lets go of all that waits to be said on a stream that closes, where the session ends for
    /// what it remembers: its peer may not take it for long. The CLOSE, if that waits here.
    pub fn shed(&self, stream: StreamId) -> Option<Frame<Piece>> {
        if !self.remembered.is_over() {
            return None;
        }
        self.round(|core, now| {
            let rest = std::iter::from_fn(|| core.poll_frame(stream, now));
            rest.filter(|frame| matches!(frame, Frame::Close(_))).last()
        })
    }

    fn wake(&self, lanes: &[Lane]) {
        let seats = lock(&self.seats);
        for lane in lanes {
            match lane {
                Lane::Session => self.driver.ring(),
                Lane::Stream(stream) => {
                    if let Some(seat) = seats.get(stream) {
                        seat.inbox.ring();
                    }
                }
            }
        }
    }
}
