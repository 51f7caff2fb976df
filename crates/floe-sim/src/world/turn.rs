//! Turns: what a stream's loop and a session's driver do in the engine, one round of the core each.
//!
//! A lane gets its turn only where the engine's would: the core named it, an operation of it ended,
//! its socket can be read or written, or its timer came. So a wake that the core forgets is a
//! session that stands still.

use super::flip::keeps_names;
use super::{TOOK, World};
use crate::link::{Break, Side};
use crate::peer::{Core, Peer, PeerId, Phase, Stream};
use crate::wire::Taken;
use floe_engine::buffer::Piece;
use floe_engine::files::Done;
use floe_proto::command::{Command, Event, Lost, Role};
use floe_proto::disk::Lane;
use floe_proto::frame::Frame;
use floe_types::{ByteCount, Code, Fault, Micros, OpId, StreamId, Time};

const FRAMES_A_ROUND: usize = 64;
const FRAMES_OUT_MAX: usize = 32;
const SMALL_BYTES: u64 = 16 << 10;
const FAREWELL: Micros = Micros::from_secs(5);

impl World {
    pub(super) fn turn(&mut self, id: PeerId, lane: Lane) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        self.trace.count(self.now, u64::from(id.0));
        let mut told = Vec::new();
        match lane {
            Lane::Session => told = self.drive(id, &mut peer),
            Lane::Stream(stream) => {
                if let Some(mut own) = peer.streams.remove(&stream) {
                    self.serve(id, &mut peer, stream, &mut own);
                    peer.streams.insert(stream, own);
                }
            }
        }
        self.watch_memory(&peer);
        let (client, gone) = (peer.client, peer.is_gone());
        if !gone {
            self.peers.insert(id, peer);
        }
        for event in told {
            self.hear(client, id, event);
        }
        if gone {
            self.session_over(client, id);
        }
        self.settle_waiting();
    }

    /// One round of the core: who it wakes has a turn, its timer is set.
    pub(super) fn round<R>(
        &mut self,
        id: PeerId,
        peer: &mut Peer,
        tell: impl FnOnce(&mut Core, Time) -> R,
    ) -> R {
        let told = tell(&mut peer.core, self.now);
        if peer.core.is_cut_off() {
            peer.files.cut_off();
        }
        while let Some(lane) = peer.core.poll_wake() {
            self.ready.insert((id, lane));
        }
        while let Some(event) = peer.core.poll_event() {
            peer.events.push_back(event);
        }
        if !peer.events.is_empty() {
            self.ready.insert((id, Lane::Session));
        }
        if let Some(at) = peer.core.poll_timeout()
            && peer.armed.is_none_or(|armed| at < armed)
        {
            peer.armed = Some(at);
            self.at(at.max(self.now), super::Happening::Timer(id));
        }
        told
    }

    /// Gives a session a command, unless it is over.
    pub(super) fn command(&mut self, id: PeerId, command: Command) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        if peer.ending.is_none() {
            // What cannot be asked now, is not.
            let _ = self.round(id, &mut peer, |core, now| core.handle_command(command, now));
        }
        self.peers.insert(id, peer);
    }

    /// As `command`, with the answer.
    pub(super) fn ask<R>(
        &mut self,
        id: PeerId,
        tell: impl FnOnce(&mut Core, Time) -> R,
    ) -> Option<R> {
        let mut peer = self.peers.remove(&id)?;
        let told = (peer.ending.is_none()).then(|| self.round(id, &mut peer, tell));
        self.peers.insert(id, peer);
        told
    }

    /// The driver's turn; what others must hear of.
    fn drive(&mut self, id: PeerId, peer: &mut Peer) -> Vec<Event> {
        if peer.ending.is_some() {
            return Vec::new();
        }
        let ended = peer.port.take_ended();
        let mut ops = std::mem::take(&mut peer.late);
        let late = ops.len();
        self.round(id, peer, |core, now| {
            if core.poll_timeout().is_some_and(|at| at <= now) {
                core.handle_timeout(now);
            }
            for (op, done) in ended {
                core.handle_disk(op, done, TOOK, now);
            }
            while let Some(op) = core.poll_disk(Lane::Session, now) {
                ops.push(op);
            }
        });
        if !ops.is_empty() {
            self.ready.insert((id, Lane::Session));
        }
        for (nth, (op, what)) in ops.into_iter().enumerate() {
            let what = if nth < late { Some(what) } else { self.admit(id, peer, op, what) };
            if let Some(what) = what {
                self.submit(id, (&mut peer.port, &peer.files), Lane::Session, (op, what));
            }
        }
        let mut told = Vec::new();
        while let Some(event) = peer.events.pop_front() {
            match event {
                Event::HangUp(stream) => {
                    if let Some(stream) =
                        peer.streams.get_mut(&stream).filter(|stream| stream.is_up())
                        && !matches!(stream.phase, Phase::Farewell(_))
                    {
                        stream.phase = Phase::HungUp;
                    }
                    self.ready.insert((id, Lane::Stream(stream)));
                }
                Event::Ended(fault) => self.end_session(id, peer, fault),
                event => told.push(event),
            }
        }
        told
    }

    fn end_session(&mut self, id: PeerId, peer: &mut Peer, fault: Option<Fault>) {
        let name = &self.machines[peer.machine].name;
        self.trace.say(self.now, || format!("{name} {id:?} ends: {fault:?}"));
        if fault.as_ref().is_some_and(|fault| fault.code == Code::Violation)
            && !self.has_flipped_frames()
        {
            let detail = fault.as_ref().map(|fault| fault.detail.clone()).unwrap_or_default();
            self.oracle.break_promise(|| format!("one end broke the protocol: {detail}"));
        }
        peer.ending = Some(fault);
        self.machines[peer.machine].tick(self.now);
        peer.files.close();
        self.claims.retain(|_, owner| *owner != id);
        let streams: Vec<_> = peer.streams.keys().copied().collect();
        for stream in streams {
            self.ready.insert((id, Lane::Stream(stream)));
        }
    }

    /// A stream's turn.
    fn serve(&mut self, id: PeerId, peer: &mut Peer, stream: StreamId, own: &mut Stream) {
        match own.phase {
            Phase::Gone => self.rest(id, peer, own),
            Phase::Farewell(until) => self.say_farewell(id, peer, stream, own, until),
            Phase::HungUp => self.begin_farewell(id, peer, stream, own),
            Phase::Open | Phase::Deaf if peer.ending.is_some() => {
                self.begin_farewell(id, peer, stream, own);
            }
            Phase::Open | Phase::Deaf => self.speak(id, peer, stream, own),
        }
    }

    fn speak(&mut self, id: PeerId, peer: &mut Peer, stream: StreamId, own: &mut Stream) {
        let ended = own.port.take_ended();
        let (frames, over) = self.take_in(id, peer, own);
        let mut busy = !ended.is_empty() || !frames.is_empty();
        let (mut ops, mut out) = (Vec::new(), Vec::new());
        let mut deaf = false;
        let outlet_empty = own.outlet.is_empty();
        own.room = self.round(id, peer, |core, now| {
            tell(core, ended, now);
            for frame in frames {
                if core.handle_frame(stream, frame, now).is_err() {
                    deaf = true;
                    break;
                }
            }
            while let Some(op) = core.poll_disk(Lane::Stream(stream), now) {
                ops.push(op);
            }
            while outlet_empty
                && out.len() < FRAMES_OUT_MAX
                && !matches!(out.last(), Some(Frame::Data(_)))
                && let Some(frame) = core.poll_frame(stream, now)
            {
                out.push(frame);
            }
            core.data_room(stream)
        });
        if deaf {
            own.phase = Phase::Deaf;
        }
        busy |= !ops.is_empty() || !out.is_empty();
        for (op, what) in ops {
            let at = (&mut own.port, &peer.files);
            self.submit(id, at, Lane::Stream(stream), (op, what));
        }
        self.put(id, peer, own, out);
        let waited = !own.outlet.is_empty();
        self.write(own);
        // Frames that wait in the core were not polled while this was full.
        busy |= waited && own.outlet.is_empty();
        if over && peer.ending.is_none() {
            return self.lose(id, peer, stream, own, Lost::Connection);
        }
        if busy || self.can_read(own) {
            self.ready.insert((id, Lane::Stream(stream)));
        }
    }

    /// Takes frames from the connection; whether it is over.
    fn take_in(
        &mut self,
        id: PeerId,
        peer: &mut Peer,
        own: &mut Stream,
    ) -> (Vec<Frame<Piece>>, bool) {
        let mut frames = Vec::new();
        let Some(link) = self.links.get_mut(&own.link) else { return (frames, true) };
        let way = link.to(own.side);
        let before = way.arrived.len();
        let mut violation = None;
        while frames.len() < FRAMES_A_ROUND && own.phase == Phase::Open {
            match own.inlet.take(&mut way.arrived, &peer.pool, own.room) {
                Ok(Taken::Frame(frame)) => {
                    let len = match &frame {
                        Frame::Data(data) => data.len,
                        _ => ByteCount::ZERO,
                    };
                    let effort = self.clients[peer.client].effort_of(peer.errand);
                    effort.into_iter().for_each(|effort| effort.count_came(len.0));
                    // As in the engine: what there is room for in a chunk is for the core to say.
                    let begins = matches!(frame, Frame::Header(_));
                    own.room = if begins { ByteCount::ZERO } else { own.room.minus(len) };
                    frames.push(frame);
                    if len.0 >= SMALL_BYTES {
                        break;
                    }
                }
                Ok(Taken::Nothing | Taken::NoRoom) => break,
                Err(what) => {
                    own.phase = Phase::Deaf;
                    violation = Some(what);
                }
            }
        }
        let over = way.is_over();
        if way.arrived.len() < before {
            self.wake_writer(own.link, own.side.other());
        }
        if let Some(violation) = violation {
            let fault = Fault::new(Code::Violation, violation.what);
            let close = Command::Close(Some(fault));
            let _ = self.round(id, peer, |core, now| core.handle_command(close, now));
        }
        (frames, over)
    }

    fn can_read(&mut self, own: &Stream) -> bool {
        if own.phase != Phase::Open || own.inlet.is_full(own.room) {
            return false;
        }
        let Some(link) = self.links.get_mut(&own.link) else { return true };
        let way = link.to(own.side);
        !way.arrived.is_empty() || way.is_over()
    }

    /// Turns frames into bytes, some of which change on the way.
    fn put(&mut self, id: PeerId, peer: &Peer, own: &mut Stream, out: Vec<Frame<Piece>>) {
        let network = self.options.network;
        for frame in out {
            let link = own.link;
            self.trace.say(self.now, || format!("{id:?} on {link:?}: {}", described(&frame)));
            if let Frame::Data(data) = &frame {
                let effort = self.clients[peer.client].effort_of(peer.errand);
                effort.into_iter().for_each(|effort| effort.count_sent(data.len.0));
            }
            // What a digest of the whole rests on is worth more flips.
            let sums = self.has_flipped_frames() && self.calm.is_none();
            let sums = sums && matches!(frame, Frame::Done(..) | Frame::Want(_));
            let flip = self.dice.hits(network.flip_frame) || sums && self.dice.one_in(24);
            let flip_piece = self.dice.hits(network.flip_piece);
            match own.outlet.accept(&frame) {
                Err(error) => self.oracle.break_promise(|| error.to_string()),
                Ok(written) => {
                    let len = written.bytes.len();
                    let from = if flip { 0 } else { len - written.piece };
                    if (flip || flip_piece) && from < len {
                        let (at, bit) = (from + self.dice.index(len - from), self.dice.below(8));
                        written.bytes[at] ^= 1 << bit;
                        match keeps_names(&frame, written.bytes) {
                            true => {
                                self.trace.say(self.now, || format!("byte {at} of {len} flips"))
                            }
                            false => written.bytes[at] ^= 1 << bit,
                        }
                    }
                }
            }
        }
    }

    /// Hands over what the connection takes now.
    fn write(&mut self, own: &mut Stream) {
        let to = own.side.other();
        while !own.outlet.is_empty() {
            let Some(link) = self.links.get_mut(&own.link) else { return };
            let network = &self.options.network;
            let sent = link.send(to, own.outlet.waiting(), self.now, network, &mut self.dice);
            own.outlet.advance(sent.taken);
            let mut arrivals: Vec<_> = link.to(to).next_alarm().into_iter().collect();
            if let Some(how) = sent.broke {
                link.break_it(how, to);
                self.trace.say(self.now, || format!("{how:?} of {:?}", own.link));
                arrivals.push(self.now);
                if how == Break::Reset {
                    self.at(self.now, super::Happening::Arrive(own.link, own.side));
                }
            }
            for at in arrivals {
                self.at(at, super::Happening::Arrive(own.link, to));
            }
            if sent.taken == 0 {
                return;
            }
        }
    }

    fn begin_farewell(&mut self, id: PeerId, peer: &mut Peer, stream: StreamId, own: &mut Stream) {
        let until = self.now.plus(FAREWELL);
        own.phase = Phase::Farewell(until);
        self.at(until, super::Happening::Wake(id, Lane::Stream(stream)));
        self.say_farewell(id, peer, stream, own, until);
    }

    /// Says what is queued, then closes.
    fn say_farewell(
        &mut self,
        id: PeerId,
        peer: &mut Peer,
        stream: StreamId,
        own: &mut Stream,
        until: Time,
    ) {
        let ended = own.port.take_ended();
        self.round(id, peer, |core, now| tell(core, ended, now));
        self.write(own);
        while own.outlet.is_empty() && self.now < until {
            match self.round(id, peer, |core, now| core.poll_frame(stream, now)) {
                Some(frame) => self.put(id, peer, own, vec![frame]),
                None => break,
            }
            self.write(own);
        }
        if own.outlet.is_empty() || self.now >= until {
            self.lose(id, peer, stream, own, Lost::HungUp);
        }
    }

    /// The connection is gone, for this end.
    fn lose(&mut self, id: PeerId, peer: &mut Peer, stream: StreamId, own: &mut Stream, why: Lost) {
        own.phase = Phase::Gone;
        // One that was hung up for its silence is lost as well, whichever end did it, and one that
        // only the server sees go. Where the other end's session is over, all of it is one loss.
        if peer.ending.is_none() && self.other_lives(id, peer) {
            self.clients[peer.client].effort.lose_stream(own.link);
        }
        self.leave_link(own.link, own.side);
        self.trace.say(self.now, || format!("{id:?} loses {stream:?}: {why:?}"));
        if peer.ending.is_none() {
            self.round(id, peer, |core, now| core.handle_stream_lost(stream, why, now));
        }
        self.rest(id, peer, own);
    }

    /// Whether the session of the other end goes on.
    fn other_lives(&self, id: PeerId, peer: &Peer) -> bool {
        let lives = |other: &Peer| other.ending.is_none();
        match peer.role {
            Role::Client => peer.other.and_then(|other| self.peers.get(&other)).is_some_and(lives),
            Role::Server => {
                self.peers.values().find(|other| other.other == Some(id)).is_some_and(lives)
            }
        }
    }

    /// Operations of a stream that is gone end through the core.
    fn rest(&mut self, id: PeerId, peer: &mut Peer, own: &mut Stream) {
        let ended = own.port.take_ended();
        if !ended.is_empty() {
            self.round(id, peer, |core, now| tell(core, ended, now));
        }
    }

    /// Whoever writes towards a side has room again.
    pub(super) fn wake_writer(&mut self, link: super::LinkId, from: Side) {
        if let Some((peer, stream)) = self.holders.get(&(link, from)).copied() {
            let waits = self
                .peers
                .get(&peer)
                .and_then(|peer| peer.streams.get(&stream))
                .is_some_and(|stream| !stream.outlet.is_empty());
            if waits {
                self.ready.insert((peer, Lane::Stream(stream)));
            }
        }
    }

    /// Buffers are within the budget of whoever may hold them.
    fn watch_memory(&mut self, peer: &Peer) {
        let own = |other: &&Peer| other.machine == peer.machine;
        let of = |peer: &Peer| {
            let streams = peer.streams.len() as u64;
            let piece = peer.limits.piece_bytes_max.into();
            // A shelf holds up to four times what is put in it.
            4 * self.options.work.buffers.0
                + streams * 4 * self.options.work.piece_bytes.0.min(piece)
        };
        let most = of(peer) + self.peers.values().filter(own).map(of).sum::<u64>();
        let held = peer.pool.held().0;
        if held > most {
            self.oracle.break_promise(|| format!("{held} bytes in buffers, {most} at most"));
        }
    }
}

fn tell(core: &mut Core, ended: Vec<(OpId, Done)>, now: Time) {
    for (op, done) in ended {
        core.handle_disk(op, done, TOOK, now);
    }
}

fn described(frame: &Frame<Piece>) -> String {
    match frame {
        Frame::Data(data) => format!("DATA {:?} at {}, {}", data.seq, data.at, data.len),
        Frame::Want(want) => format!("WANT {:?}, {} held", want.entry, want.have.len()),
        frame => {
            let text = format!("{frame:?}");
            text.chars().take(LINE_CHARS).collect()
        }
    }
}

/// A frame is cut to so much of a line.
const LINE_CHARS: usize = 160;
