//! A stream's loop: socket to core to disk and back, on one lane, one piece a turn.
//!
//! ```text
//!  socket -> Inlet -> frame \                 / operations -> Port -> (disk threads)
//!            ends of operations - one round -+
//!                              of the core    \ frames -> Outlet -> socket
//! ```
//! Backpressure both ways is not asking: frames are polled only while the outlet is empty, and a
//! piece is left in the socket while the core has no room for it. A client that takes nothing of
//! what it is owed is not heard, so nothing it asks for can pile up. A stream that is lost stays
//! until its operations have ended; a session that ended in order says what is queued, then closes.

mod inlet;
mod share; // turns on its lane
mod gauge; // how the path is, and the pace
mod thrift; // whether packing pays
mod packer; // what of it is packed
mod outlet;
mod rest; // what is left of it

use crate::buffer::{Bell, Charge, Piece};
use crate::port::{Ended, Port};
use crate::running::{Running, Seat};
use crate::secure::{Flushed, Secured};
use crate::socket;
use floe_proto::command::{Command, Lost};
use floe_proto::disk::Lane;
use floe_proto::frame::Frame;
use floe_proto::session::Asked;
use floe_types::{ByteCount, Code, Fault, StreamId};
use gauge::{Gauge, Look};
use inlet::{Inlet, Taken};
use outlet::Outlet;
use packer::{Means, Packer};
use rest::Rest;
use share::Share;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use thrift::Nearness;
use tokio::time::{Instant, sleep, timeout_at};

/// One connection that has joined a session.
pub struct Stream {
    place: Place,
    link: Secured,
    port: Port,
    inlet: Inlet,
    outlet: Outlet,
    /// What waits encrypted in the connection.
    charge: Charge,
    bell: Arc<dyn Bell>,
    /// Since when it has sent the same piece,
    sending_since: Option<Instant>,
    /// and taken the same piece.
    taking_since: Option<Instant>,
    ended: Vec<Ended>,
    /// Taken from the socket and not told yet.
    frames: VecDeque<Frame<Piece>>,
    room: ByteCount,
    hearing: Hearing,
    asked: Asked,
    gauge: Gauge,
}

/// Whether the peer is still listened to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hearing {
    Yes,
    /// It broke the protocol: nothing more is taken from it.
    No,
}

/// Frames taken in before the core is asked, so that small ones share a round.
const FRAMES_A_ROUND: usize = 64;
/// Bytes that may move before other streams of the lane have their turn.
const TURN_BYTES: u64 = 512 << 10;
/// Turns that a stream may take, however little moves.
const TURNS: u32 = 16;
/// Rounds of one turn.
const ROUNDS: u32 = 16;
/// How long a stream may hold one piece while others wait for memory.
const HOLD: Duration = Duration::from_secs(2);
/// How long a stream that closes in order may take to say its last frames.
const FAREWELL: Duration = Duration::from_secs(5);
/// How long it then waits for the peer's end, so that no reset overtakes what was said.
const LINGER: Duration = Duration::from_secs(1);

/// Why the loop ended.
enum Leave {
    /// The session is over, or the core hung up.
    InOrder,
    /// The connection is.
    Lost(Fault),
}

/// Whether a step found something to do.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Activity {
    Some,
    None,
}

impl Stream {
    /// A greeted connection at its place in a session.
    #[must_use]
    pub fn new(place: Place, link: Secured) -> Self {
        let (running, inbox) = (&place.running, &place.seat.inbox);
        let files = Arc::clone(&running.files);
        let port = Port::new(Arc::clone(&files), running.threads.clone(), Arc::clone(inbox));
        let bell = Arc::clone(inbox) as Arc<dyn Bell>;
        let here = socket::is_local(link.socket());
        let packer = Packer::new(Means {
            most: running.terms.packing,
            nearness: if here { Nearness::Here } else { Nearness::Elsewhere },
            crew: running.threads.pack.clone(),
            customer: files.customer(),
            pool: files.pool().clone(),
            bell: Arc::clone(&bell),
            traffic: Arc::clone(&running.traffic),
        });
        let (traffic, packed) = (Arc::clone(&running.traffic), running.terms.packed_entries);
        Self {
            inlet: Inlet::new(&running.limits, running.terms, traffic, files.pool().charge()),
            bell,
            charge: files.pool().charge(),
            place,
            link,
            port,
            outlet: Outlet::new(packer, packed),
            sending_since: None,
            taking_since: None,
            ended: Vec::new(),
            frames: VecDeque::new(),
            room: ByteCount::ZERO,
            hearing: Hearing::Yes,
            asked: Asked::Yes,
            gauge: Gauge::default(),
        }
    }

    /// Serves the stream until it is gone and nothing of it is under way.
    pub async fn run(mut self) {
        match self.serve().await {
            Leave::InOrder => {
                let said = timeout_at(Instant::now() + FAREWELL, self.say_farewell()).await;
                tracing::debug!(stream = self.place.id.0, heard = said.is_ok(), "stream closed");
                self.place.running.lose(self.place.id, Lost::HungUp);
            }
            Leave::Lost(fault) => {
                tracing::debug!(stream = self.place.id.0, %fault, "stream lost");
                self.place.running.lose(self.place.id, Lost::Connection);
            }
        }
        let Self { place, mut port, ended, link, inlet, outlet, charge, frames, .. } = self;
        drop((link, inlet, outlet, charge, frames));
        port.give_up();
        let (running, seat) = (Arc::clone(&place.running), Arc::clone(&place.seat));
        Rest { running, seat, port, ended }.end().await;
        drop(place);
    }

    async fn serve(&mut self) -> Leave {
        let mut share = Share::of(self.place.running.files.party());
        let mut moved = ByteCount::ZERO;
        let mut turns = 0;
        loop {
            if self.place.running.ending().is_some() || self.place.seat.is_hung_up() {
                return Leave::InOrder;
            }
            let activity = match self.turn(&mut moved) {
                Ok(activity) => activity,
                Err(fault) => return Leave::Lost(fault),
            };
            turns += 1;
            if activity == Activity::None {
                (moved, turns) = (ByteCount::ZERO, 0);
                share.rest();
                if let Err(fault) = self.wait().await {
                    return Leave::Lost(fault);
                }
                continue;
            }
            share.begin();
            if moved.0 >= TURN_BYTES || turns >= TURNS {
                (moved, turns) = (ByteCount::ZERO, 0);
                share.give_way().await;
            }
        }
    }

    /// In, round, out: never waits.
    fn turn(&mut self, moved: &mut ByteCount) -> Result<Activity, Fault> {
        self.port.take_ended(&mut self.ended);
        let mut activity = Activity::None;
        let mut end = self.take_in(moved, &mut activity);
        if !self.ended.is_empty() || self.has_to_tell() {
            activity = Activity::Some;
        }
        self.write()?;
        let clear = self.is_clear();
        // What ended at once goes on at once: the frames of many small files leave together.
        for _ in 0..ROUNDS {
            let gathered = self.outlet.len();
            // Behind the end nobody is left who could take the answers, or not.
            let told = if end.is_some() { Told::All } else { Told::WhatIsAskedFor };
            if self.round(moved, told)? == Activity::Some {
                activity = Activity::Some;
            }
            self.port.take_ended(&mut self.ended);
            let grows = self.outlet.len() > gathered || gathered == 0;
            if self.ended.is_empty() || !grows || !self.outlet.gathers() {
                break;
            }
        }
        self.write()?;
        if self.is_clear() && !clear {
            // Frames were not asked for, and can be now.
            activity = Activity::Some;
        }
        self.give_way()?;
        // What came before the end has been told: the connection's end comes after it.
        match end.take() {
            Some(fault) if self.place.running.ending().is_none() => Err(fault),
            _ => Ok(activity),
        }
    }

    /// Takes frames from the socket, one piece at most; the fault that ended the connection, if.
    fn take_in(&mut self, moved: &mut ByteCount, activity: &mut Activity) -> Option<Fault> {
        // What there is room for is known once all that came before has been told.
        if !self.frames.is_empty() {
            return None;
        }
        let (mut skipped, mut listed) = (0, ByteCount::ZERO);
        while self.frames.len() + skipped < FRAMES_A_ROUND && self.hears() {
            let pool = self.place.running.files.pool();
            let taken = self.inlet.take(&mut self.link, pool, self.room, &self.bell);
            match taken {
                Ok(Taken::Frame(frame, len)) => {
                    // What there is room for in a chunk is for the core to say, once it knows it.
                    self.room = match &frame {
                        Frame::Header(_) => ByteCount::ZERO,
                        Frame::Data(_) => self.room.minus(len),
                        _ => self.room,
                    };
                    *moved = moved.plus(len);
                    // Memory for what a list says is many times its bytes.
                    let is_data = matches!(frame, Frame::Data(_));
                    listed = listed.plus(if is_data { ByteCount::ZERO } else { len });
                    self.frames.push_back(frame);
                    self.taking_since = None;
                    if len.max(listed).0 >= SMALL_BYTES {
                        return None;
                    }
                }
                Ok(Taken::Skipped) => {
                    // They cost their sender nothing, and must not keep others from their turn.
                    skipped += 1;
                    *moved = moved.plus(ByteCount(TURN_BYTES / FRAMES_A_ROUND as u64));
                    *activity = Activity::Some;
                }
                Ok(Taken::Nothing | Taken::NoRoom) => return None,
                Err(inlet::Broken::Violation(violation)) => {
                    self.hearing = Hearing::No;
                    let fault = Fault::new(Code::Violation, violation.what);
                    // The session says CLOSE and ends; this stream says it, if it leads.
                    let _ = self.place.running.command(Command::Close(Some(fault)));
                    return None;
                }
                Err(inlet::Broken::Connection(fault)) => return Some(fault),
            }
        }
        None
    }

    /// Whether frames are taken: not from a peer that broke the protocol, and not from one that
    /// does not read what it is answered.
    fn hears(&self) -> bool {
        self.hearing == Hearing::Yes && self.asked == Asked::Yes
    }

    /// Whether frames wait here to be told, and are asked for.
    fn has_to_tell(&self) -> bool {
        !self.frames.is_empty() && self.hears()
    }

    /// One round of the core: tells what happened, takes operations and frames.
    fn round(&mut self, moved: &mut ByteCount, told: Told) -> Result<Activity, Fault> {
        let Look { sample, glance } = self.gauge.look(self.link.socket());
        let (id, outlet, link) = (self.place.id, &mut self.outlet, &self.link);
        let (ended, frames) = (&mut self.ended, &mut self.frames);
        let (mut ops, mut out) = (Vec::new(), Vec::new());
        let (mut wishes, mut theirs) = (Vec::new(), None);
        let hearing = &mut self.hearing;
        let came = self.inlet.has_come();
        let (room, asked, pace) = self.place.running.round(|core, now| {
            if came {
                core.handle_bytes(id, now);
            }
            for Ended { op, done, took } in ended.drain(..) {
                core.handle_disk(op, done, took, now);
            }
            while (told == Told::All || core.hearing(id) == Asked::Yes)
                && let Some(frame) = frames.pop_front()
            {
                if let Err(violation) = core.handle_frame(id, frame, now) {
                    tracing::debug!(what = violation.what, "the peer broke the protocol");
                    *hearing = Hearing::No;
                    frames.clear();
                }
            }
            if let Some(sample) = sample {
                core.handle_path(id, sample, now);
                theirs = Some(core.peer_causes());
            }
            if let Some(glance) = glance {
                core.handle_glance(id, &glance, now);
            }
            while let Some(op) = core.poll_disk(Lane::Stream(id), now) {
                ops.push(op);
            }
            let unsaid = core.unsaid_bytes();
            while outlet.wants(&out, link)
                && unsaid.minus(core.unsaid_bytes()) < COLD_BYTES
                && let Some(frame) = core.poll_frame(id, now)
            {
                match &frame {
                    Frame::Header(header) => wishes.push(core.packing(header.entry.transfer)),
                    Frame::Entries(transfer, _) => wishes.push(core.packing(*transfer)),
                    _ => {}
                }
                out.push(frame);
            }
            (core.data_room(id), core.hearing(id), core.pace())
        });
        self.gauge.pace(pace, self.link.socket());
        // What was left in the socket, or taken ahead of it, may come now; nothing else tells.
        let roomier = self.inlet.is_full() && self.room == ByteCount::ZERO && room > self.room;
        let heard = self.hears();
        (self.room, self.asked) = (room, asked);
        let opened = roomier || !heard && self.hears() || self.has_to_tell();
        let busy = opened || !ops.is_empty() || !out.is_empty();
        self.port.submit(ops);
        if let (Some(sample), Some(theirs)) = (sample, theirs) {
            self.outlet.packer.look(sample, theirs);
        }
        let mut wishes = wishes.into_iter();
        for frame in out {
            if let Frame::Data(data) = &frame {
                *moved = moved.plus(data.len);
            }
            self.outlet.accept(frame, &mut wishes)?;
            self.sending_since = None;
        }
        Ok(if busy { Activity::Some } else { Activity::None })
    }

    fn write(&mut self) -> Result<(), Fault> {
        if self.link.has_unsent() {
            self.link.flush()?;
        }
        self.outlet.write(&mut self.link, &mut self.charge)?;
        self.outlet.packer.note_full(self.is_owed());
        Ok(())
    }

    /// Whether anything waits for the connection.
    fn is_owed(&self) -> bool {
        !self.outlet.is_drained() || self.link.has_unsent()
    }

    /// Whether everything that was polled has left for the kernel.
    fn is_clear(&self) -> bool {
        self.outlet.is_empty() && !self.link.has_unsent()
    }

    /// While others wait for memory, nobody keeps a piece for long that does not move on: a slow
    /// reader or writer comes again and continues.
    fn give_way(&mut self) -> Result<(), Fault> {
        // While it is packed it waits for this end.
        if !self.is_owed() {
            self.sending_since = None;
        } else {
            self.sending_since.get_or_insert_with(Instant::now);
        }
        // The rest of a frame that is not asked for cannot come.
        if self.inlet.is_filling() || self.inlet.is_gathering() && self.hears() {
            self.taking_since.get_or_insert_with(Instant::now);
        } else {
            self.taking_since = None;
        }
        let mut since = [self.sending_since, self.taking_since].into_iter().flatten();
        let is_slow = since.any(|since| since.elapsed() > HOLD);
        if is_slow && self.place.running.files.pool().is_short() {
            return Err(Fault::new(Code::Busy, "memory is short, and this stream too slow"));
        }
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), Fault> {
        self.inlet.rest();
        let writing = self.is_owed();
        let reading = self.hears() && !self.inlet.is_full();
        let socket = self.link.socket();
        let holding = self.sending_since.is_some() || self.taking_since.is_some();
        let ready = tokio::select! {
            () = self.place.seat.inbox.rung() => Ok(()),
            // Whether others wait for what it holds is seen in the next turn.
            () = sleep(HOLD), if holding => Ok(()),
            ready = socket.readable(), if reading => ready,
            ready = socket.writable(), if writing => ready,
        };
        ready.map_err(|error| {
            let why = socket::reason(&error);
            Fault::new(Code::ConnectionLost, format!("wait for the socket: {why}"))
        })
    }

    /// Says what is queued, ends this half and waits briefly for the peer's.
    async fn say_farewell(&mut self) -> Result<(), Fault> {
        if let Some(close) = self.place.running.shed(self.place.id) {
            self.outlet.accept(close, &mut std::iter::empty())?;
        }
        while !self.place.running.is_broken() {
            self.write()?;
            if !self.outlet.is_drained() {
                self.writable().await?;
                continue;
            }
            if self.outlet.is_packing() {
                self.place.seat.inbox.rung().await;
                continue;
            }
            let id = self.place.id;
            match self.place.running.round(|core, now| core.poll_frame(id, now)) {
                Some(frame) => self.outlet.accept(frame, &mut std::iter::empty())?,
                None => break,
            }
        }
        self.link.close()?;
        while self.link.flush()? == Flushed::Pending {
            self.writable().await?;
        }
        let _ = timeout_at(Instant::now() + LINGER, self.inlet.drain(&mut self.link)).await;
        Ok(())
    }

    async fn writable(&self) -> Result<(), Fault> {
        let ready = self.link.socket().writable().await;
        ready.map_err(|error| Fault::new(Code::ConnectionLost, socket::reason(&error)))
    }
}

/// Which of the frames that came are told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    WhatIsAskedFor,
    All,
}

/// Pieces from this size on have a round of their own, and other frames that come to it.
const SMALL_BYTES: u64 = 16 << 10;
/// What cold frames that are taken at once come to: about, and the last may pass it.
const COLD_BYTES: ByteCount = ByteCount(128 << 10);

/// A place in a session, which the core knows of. Given up by being dropped, whether its stream ran
/// or not; if its loop panicked, the session cannot be trusted any more.
pub struct Place {
    running: Arc<Running>,
    id: StreamId,
    seat: Arc<Seat>,
}

impl Place {
    /// The next place: the first of a session is that of its lead stream.
    #[must_use]
    pub fn take(running: &Arc<Running>) -> Self {
        let (id, seat) = running.seat();
        Self { running: Arc::clone(running), id, seat }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.running.break_off(Fault::new(Code::Other, "a stream's loop failed"));
        }
        // Nothing new where its stream said so.
        self.running.lose(self.id, Lost::Connection);
        self.running.leave(self.id);
    }
}

#[cfg(test)]
mod tests;
