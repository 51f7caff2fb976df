//! What was under way on a stream that is gone.
//!
//! It is sent again once the peer is known to live. The receiver may have some of it whole, and
//! counts that until its entry ends or it comes again: so does this end, or the window would be
//! passed by what was lost.

use super::Sender;
use super::chunk::Purpose;
use crate::frame::Frame;
use crate::io::Io;
use crate::plan::Again;
use alloc::vec::Vec;
use floe_types::{ByteCount, EntryIndex, Seq, StreamId};

impl<P: Clone> Sender<P> {
    /// A stream is gone: what it had under way goes to the others, and what it had in flight once
    /// the peer is known to live. A peer that died takes its streams with it one by one: what went
    /// from each to the next would be sent again and again.
    pub(crate) fn handle_stream_lost(&mut self, stream: StreamId, io: &mut Io<P>) {
        if let Some(task) = self.end_task(stream) {
            let index = task.entry;
            if let Some(entry) = self.entries.lend(&index) {
                match task.purpose {
                    Purpose::Check(subtree) => entry.checks.push_front(subtree),
                    Purpose::Hash => {
                        let (range, content) = (task.range, task.content);
                        entry.plan.give_back(Again { range, content, digest: None, attempts: 0 });
                    }
                    Purpose::Send => {}
                }
                self.ready.insert(index);
            }
            io.wake_streams();
        }
        let flights = &self.flights;
        let flew = flights.iter().any(|(_, flight)| flight.stream == stream);
        if let (true, Some(lead)) = (flew, io.lead.filter(|lead| *lead != stream)) {
            let flies = |stream| flights.iter().any(|(_, flight)| flight.stream == stream);
            self.gone.retain(|stream, _| flies(*stream));
            let number = io.take_ping();
            self.gone.insert(stream, number);
            io.say_on(lead, Frame::Ping(number));
        }
    }

    /// The peer lives: it answered a PING on the lead stream.
    pub(crate) fn handle_pong(&mut self, number: u64, io: &mut Io<P>) {
        let left = self.dropped.heard(number);
        if left != ByteCount::ZERO {
            self.in_flight = self.in_flight.minus(left);
            io.wake_streams();
        }
        let gone: Vec<_> = self
            .gone
            .iter()
            .filter(|(_, asked)| **asked <= number)
            .map(|(stream, _)| *stream)
            .collect();
        for stream in gone {
            self.gone.remove(&stream);
            let seqs: Vec<_> = self
                .flights
                .iter()
                .filter(|(_, flight)| flight.stream == stream)
                .map(|(seq, _)| seq)
                .collect();
            for seq in seqs {
                self.send_again_of_lost(seq, io);
            }
        }
    }

    /// A chunk goes back to the plan, and stays in the window until it is begun again.
    fn send_again_of_lost(&mut self, seq: Seq, io: &mut Io<P>) {
        let Some(flight) = self.flights.known(seq) else { return };
        let (index, len) = (flight.entry, flight.window_bytes());
        self.send_again(seq, io);
        if !self.takes_chunks(index) {
            return;
        }
        let Some(entry) = self.entries.lend(&index) else { return };
        entry.lost = entry.lost.plus(len);
        self.lost = self.lost.plus(len);
        self.in_flight = self.in_flight.plus(len);
    }

    /// So much of the window is an entry's own already, of what it begins.
    pub(super) fn lost_of(&self, index: EntryIndex, len: ByteCount) -> ByteCount {
        self.entries.get(&index).map_or(ByteCount::ZERO, |entry| entry.lost.min(len))
    }

    /// A chunk of so many bytes begins again, or its entry ends.
    pub(super) fn give_back_lost(&mut self, index: EntryIndex, len: ByteCount) {
        let Some(entry) = self.entries.lend(&index) else { return };
        let back = entry.lost.min(len);
        entry.lost = entry.lost.minus(back);
        self.lost = self.lost.minus(back);
        self.in_flight = self.in_flight.minus(back);
    }
}
