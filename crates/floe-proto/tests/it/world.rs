//! Two cores, their disks and the streams between them, in virtual time, driven by one seed.
//!
//! Frames are handed over as values (the codec has tests of its own). A plan of faults cuts a
//! stream at the n-th frame, flips a byte of the n-th DATA, or kills one end. After the loss of a
//! session the same command runs again.

use crate::disk::{Bytes, Disk};
use floe_proto::command::{
    Command, Config, Event, Holes, Lost, Role, StreamCount, Summary, TransferOptions,
};
use floe_proto::disk::{DiskOp, Lane, Took, Waited};
use floe_proto::frame::{Data, Direction, Frame, ReceiptWish, Verbs};
use floe_proto::session::Session;
use floe_types::{
    ByteCount, ChunkSize, Fault, Limits, Micros, ObjectPath, OpId, StreamId, Time, TransferId,
};
use std::collections::{BTreeMap, VecDeque};

/// What goes wrong, counted over the whole run.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Cut the stream that carries the n-th frame, in place of delivering it.
    pub cut_at: Option<u64>,
    /// Flip a byte of the n-th DATA frame.
    pub flip_at: Option<u64>,
    /// Dials that fail.
    pub refuse_dials: u32,
    /// The server's stages are gone after the loss of a session.
    pub forgetful: bool,
    /// The server's operator pauses the transfer at the n-th DATA frame.
    pub pause: Option<Pause>,
}

/// A pause at the server.
#[derive(Clone, Copy, Debug)]
pub struct Pause {
    /// At the n-th DATA frame,
    pub at: u64,
    /// for so long;
    pub span: Micros,
    /// then a rate that the session shares with others holds it back for so long.
    pub held: Micros,
}

/// How the run is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    pub direction: Direction,
    pub path: ObjectPath,
    pub streams: u32,
    pub options: TransferOptions,
    pub limits: Limits,
    pub verbs: Verbs,
    pub buffers: ByteCount,
    pub holes: Holes,
    pub after_loss: AfterLoss,
    pub seed: u64,
}

/// Who goes on after the loss of a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AfterLoss {
    /// Another process, which runs the same command.
    Rerun,
    /// The same process, in another session.
    Reconnect,
}

impl Setup {
    pub fn new(direction: Direction, path: &str) -> Self {
        let chunk = ChunkSize::MIN;
        let options =
            TransferOptions { chunk, window: ByteCount(1 << 20), ..TransferOptions::default() };
        Self {
            direction,
            path: ObjectPath::parse(path.as_bytes()).unwrap(),
            streams: 1,
            options,
            limits: Limits::default(),
            verbs: Verbs::ALL,
            buffers: ByteCount(8 << 20),
            holes: Holes::AsHoles,
            after_loss: AfterLoss::Rerun,
            seed: 1,
        }
    }
}

/// One end.
struct End {
    session: Session<Bytes>,
    disk: Disk,
    running: Vec<(Time, u32, OpId, DiskOp<Bytes>)>,
    ended: Option<Option<Fault>>,
}

/// What a run came to, seen from the client.
#[derive(Clone, Debug, Default)]
pub struct Run {
    pub result: Option<Result<(), Fault>>,
    pub summary: Summary,
    pub server_result: Option<Result<(), Fault>>,
    pub failed: Vec<(ObjectPath, Fault)>,
    pub finished: Vec<ObjectPath>,
    pub receipts: u32,
    /// Of the last receipt.
    pub leaves: Vec<[u8; 32]>,
    pub sessions: u32,
    pub frames: u64,
    /// DATA bytes of the first session, and of the second.
    pub sent: Vec<ByteCount>,
    /// The session was lost after the server had committed.
    pub lost_after_commit: bool,
    /// DATA that the server took or sent while it was paused or held back; nothing without a pause.
    pub despite_pause: Option<ByteCount>,
}

/// Frames under way in one direction of a stream, and when they arrive.
type Wire = VecDeque<(Time, Frame<Bytes>)>;

pub struct World {
    setup: Setup,
    ends: [End; 2],
    /// Frames under way: stream, to which end.
    wires: BTreeMap<(StreamId, usize), Wire>,
    now: Time,
    dials: Vec<(Time, StreamId)>,
    next_stream: u32,
    faults: Faults,
    data: u64,
    /// When the pause ends, then what holds it back, and what had moved before.
    paused: Option<(Time, Time, ByteCount)>,
    random: u64,
    run: Run,
}

const CLIENT: usize = 0;
const SERVER: usize = 1;
const DELAY: Micros = Micros(1_000);
const STEPS_MAX: u64 = 2_000_000;

impl World {
    pub fn new(setup: Setup, client: Disk, server: Disk, faults: Faults) -> Self {
        let now = Time(1_000_000);
        let ends = [
            End::new(Role::Client, &setup, client, now),
            End::new(Role::Server, &setup, server, now),
        ];
        let random = setup.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Self {
            setup,
            ends,
            wires: BTreeMap::new(),
            now,
            dials: Vec::new(),
            next_stream: 0,
            faults,
            data: 0,
            paused: None,
            random,
            run: Run::default(),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// Runs the command, again after each loss of the session, to its end.
    pub fn run(mut self) -> (Run, Disk, Disk) {
        for _ in 0..4 {
            self.begin();
            self.drive();
            if self.run.result.is_some() {
                break;
            }
            self.run.lost_after_commit =
                self.ends[SERVER].disk.files.contains_key(&self.setup.path);
            for (nth, role) in [Role::Client, Role::Server].into_iter().enumerate() {
                let mut disk = std::mem::take(&mut self.ends[nth].disk);
                match self.setup.after_loss {
                    AfterLoss::Rerun => disk.restart(),
                    AfterLoss::Reconnect => disk.next_session(),
                }
                if self.faults.forgetful && nth == SERVER {
                    disk.stages.clear();
                }
                self.ends[nth] = End::new(role, &self.setup, disk, self.now);
            }
            self.wires.clear();
            self.dials.clear();
        }
        let [client, server] = self.ends;
        (self.run, client.disk, server.disk)
    }

    fn begin(&mut self) {
        self.run.sessions += 1;
        self.run.sent.push(ByteCount::ZERO);
        let lead = self.connect();
        for end in &mut self.ends {
            end.session.handle_stream_up(lead, self.now);
        }
        let command = Command::Transfer {
            direction: self.setup.direction,
            local: self.setup.path.clone(),
            remote: self.setup.path.clone(),
            options: self.setup.options.clone(),
        };
        self.ends[CLIENT].session.handle_command(command, self.now).unwrap();
    }

    fn connect(&mut self) -> StreamId {
        let stream = StreamId(self.next_stream);
        self.next_stream += 1;
        for to in [CLIENT, SERVER] {
            self.wires.insert((stream, to), VecDeque::new());
        }
        stream
    }

    /// Until both sessions have ended.
    fn drive(&mut self) {
        for _ in 0..STEPS_MAX {
            // A cut in the second round gives the first end something to say.
            for end in [CLIENT, SERVER, CLIENT] {
                self.collect(end);
            }
            if self.ends.iter().all(|end| end.ended.is_some()) {
                for end in &self.ends {
                    assert!(end.disk.is_quiet(), "handles stay open after the end");
                }
                return;
            }
            if !self.deliver() {
                self.wait();
            }
        }
        panic!("does not end: {:#?}", self.run);
    }

    /// Takes what one end hands out.
    fn collect(&mut self, nth: usize) {
        loop {
            let mut quiet = true;
            while let Some(event) = self.ends[nth].session.poll_event() {
                quiet = false;
                self.event(nth, event);
            }
            let streams: Vec<_> =
                self.wires.keys().filter(|(_, to)| *to == nth).map(|(stream, _)| *stream).collect();
            let lanes = streams.iter().map(|stream| Lane::Stream(*stream)).chain([Lane::Session]);
            for lane in lanes {
                while let Some((id, op)) = self.ends[nth].session.poll_disk(lane, self.now) {
                    quiet = false;
                    let hasher = match lane {
                        Lane::Stream(stream) => stream.0,
                        Lane::Session => u32::MAX,
                    };
                    // Operations of one stream end in order, as they are hashed in order.
                    let last = self.ends[nth]
                        .running
                        .iter()
                        .filter(|one| one.1 == hasher)
                        .map(|one| one.0)
                        .max();
                    let at = self.now.plus(Micros(1 + self.random(3_000)));
                    let at = if lane == Lane::Session {
                        at
                    } else {
                        last.map_or(at, |last| last.max(at))
                    };
                    self.ends[nth].running.push((at, hasher, id, op));
                }
            }
            for stream in streams {
                let room = self.wires.get(&(stream, 1 - nth)).map(VecDeque::len);
                if room.is_some_and(|queued| queued < 8)
                    && let Some(frame) = self.ends[nth].session.poll_frame(stream, self.now)
                {
                    quiet = false;
                    self.send(nth, stream, frame);
                }
            }
            while self.ends[nth].session.poll_wake().is_some() {}
            if quiet {
                return;
            }
        }
    }

    fn send(&mut self, from: usize, stream: StreamId, mut frame: Frame<Bytes>) {
        self.run.frames += 1;
        if self.faults.cut_at == Some(self.run.frames) {
            return self.cut(stream);
        }
        if let Frame::Data(Data { len, bytes, .. }) = &mut frame {
            self.data += 1;
            if let Some(sent) = self.run.sent.last_mut() {
                *sent = sent.plus(*len);
            }
            if self.faults.flip_at == Some(self.data) {
                let mut flipped = bytes.to_vec();
                flipped[0] ^= 1;
                *bytes = flipped.into();
            }
            self.pause();
        }
        let jitter = self.random(500);
        let at = self.now.plus(DELAY).plus(Micros(jitter));
        if let Some(wire) = self.wires.get_mut(&(stream, 1 - from)) {
            let at = wire.back().map_or(at, |(last, _)| at.max(*last));
            wire.push_back((at, frame));
        }
    }

    fn pause(&mut self) {
        let Some(Pause { span, held, .. }) = self.faults.pause.filter(|it| it.at == self.data)
        else {
            return;
        };
        let server = &mut self.ends[SERVER].session;
        server.handle_command(Command::Pause(TransferId(0)), self.now).unwrap();
        let over = self.now.plus(span);
        self.paused = Some((over, over.plus(held), server.data_bytes()));
    }

    /// Ends the pause, or what follows it, when it is time.
    fn resume(&mut self) {
        let Some((over, free, before)) = self.paused.filter(|it| it.0 <= self.now) else { return };
        let server = &mut self.ends[SERVER].session;
        server.hold_data(free, self.now);
        server.handle_command(Command::Limit(TransferId(0), None), self.now).unwrap();
        self.paused = (over < free).then_some((free, free, before));
        if self.paused.is_none() {
            self.run.despite_pause = Some(server.data_bytes().minus(before));
        }
    }

    /// Both directions of a stream are gone at once, with all that was under way on it.
    fn cut(&mut self, stream: StreamId) {
        for to in [CLIENT, SERVER] {
            self.wires.remove(&(stream, to));
        }
        for end in &mut self.ends {
            end.session.handle_stream_lost(stream, Lost::Connection, self.now);
        }
    }

    fn event(&mut self, nth: usize, event: Event) {
        match event {
            Event::Dial => {
                let stream = self.connect();
                self.dials.push((self.now.plus(DELAY), stream));
            }
            Event::HangUp(stream) => {
                // What is queued still goes out; then the stream is gone for both.
                while let Some(frame) = self.ends[nth].session.poll_frame(stream, self.now) {
                    self.send(nth, stream, frame);
                }
                self.ends[nth].session.handle_stream_lost(stream, Lost::HungUp, self.now);
                self.wires.remove(&(stream, nth));
            }
            Event::TransferFinished { result, summary, .. } if nth == CLIENT => {
                if !result
                    .as_ref()
                    .is_err_and(|fault| fault.code == floe_types::Code::ConnectionLost)
                {
                    self.run.result = Some(result);
                }
                self.run.summary = summary;
                self.ends[CLIENT].session.handle_command(Command::Close(None), self.now).unwrap();
            }
            Event::TransferFinished { result, .. } => self.run.server_result = Some(result),
            Event::EntryFailed { path, fault, .. } if nth == CLIENT => {
                self.run.failed.push((path, fault))
            }
            Event::Receipted(_, receipt) if nth == CLIENT => {
                self.run.receipts += 1;
                self.run.leaves = receipt.leaves;
            }
            Event::EntryFinished { path, object, .. } if nth == CLIENT => {
                if let Some((_, root)) = object
                    && self.setup.options.receipts == ReceiptWish::Signed
                {
                    let signed = self.run.leaves.contains(&root.0);
                    assert!(signed, "{path} is committed, and not signed");
                }
                self.run.finished.push(path);
            }
            Event::Ended(fault) => self.ends[nth].ended = Some(fault),
            _ => {}
        }
    }

    /// Delivers what is due: frames that have room, disk ends, dials. False: nothing is due.
    fn deliver(&mut self) -> bool {
        let now = self.now;
        if let Some(at) = self.dials.iter().position(|(at, _)| *at <= now) {
            let (_, stream) = self.dials.remove(at);
            if self.faults.refuse_dials > 0 {
                self.faults.refuse_dials -= 1;
                self.ends[CLIENT].session.handle_dial_failed(now);
            } else {
                for end in &mut self.ends {
                    end.session.handle_stream_up(stream, now);
                }
            }
            return true;
        }
        for nth in [CLIENT, SERVER] {
            let due: Vec<_> = (0..self.ends[nth].running.len())
                .filter(|at| self.ends[nth].running[*at].0 <= now)
                .collect();
            if !due.is_empty() {
                // The first of its stream among those that are due: order within a stream is kept.
                let pick = due[usize::try_from(self.random(due.len() as u64)).unwrap()];
                let lane = self.ends[nth].running[pick].1;
                let first = due
                    .into_iter()
                    .find(|at| self.ends[nth].running[*at].1 == lane)
                    .unwrap_or(pick);
                let chosen = if lane == u32::MAX { pick } else { first };
                let (_, lane, id, op) = self.ends[nth].running.remove(chosen);
                let end = &mut self.ends[nth];
                let done = end.disk.run(lane, op);
                let took = Took { queued: Micros(1), busy: Micros(1), waited: Waited::Yes };
                end.session.handle_disk(id, done, took, now);
                return true;
            }
        }
        let keys: Vec<_> = self.wires.keys().copied().collect();
        for key in keys {
            let Some((at, frame)) = self.wires[&key].front() else { continue };
            let blocked =
                matches!(frame, Frame::Data(_)) && self.ends[key.1].session.data_room(key.0).0 == 0;
            if *at > now || blocked {
                continue;
            }
            let Some((_, frame)) = self.wires.get_mut(&key).and_then(VecDeque::pop_front) else {
                continue;
            };
            let heard = self.ends[key.1].session.handle_frame(key.0, frame.clone(), now);
            assert_eq!(heard, Ok(()), "{frame:?} to {}", key.1);
            return true;
        }
        false
    }

    /// Time goes on to the next thing that is due.
    fn wait(&mut self) {
        let frames = self.wires.iter().filter_map(|(key, wire)| {
            let (at, frame) = wire.front()?;
            let blocked =
                matches!(frame, Frame::Data(_)) && self.ends[key.1].session.data_room(key.0).0 == 0;
            (!blocked).then_some(*at)
        });
        let ops = self.ends.iter().flat_map(|end| end.running.iter().map(|one| one.0));
        let dials = self.dials.iter().map(|(at, _)| *at);
        let timers = self.ends.iter().filter_map(|end| end.session.poll_timeout());
        let paused = self.paused.map(|(over, ..)| over);
        let next = frames.chain(ops).chain(dials).chain(timers).chain(paused).min();
        let Some(next) = next else { panic!("stuck: {:#?}", self.run) };
        self.now = self.now.max(next).plus(Micros(1));
        let limit = Time(3_600 * 1_000_000);
        assert!(self.now < limit, "an hour went by: {:#?}", self.run);
        self.resume();
        for end in &mut self.ends {
            if end.session.poll_timeout().is_some_and(|due| due <= self.now) {
                end.session.handle_timeout(self.now);
                let again = end.session.poll_timeout();
                assert!(again.is_none_or(|at| at > self.now), "a timer that never passes");
            }
        }
    }
}

impl End {
    fn new(role: Role, setup: &Setup, disk: Disk, now: Time) -> Self {
        let config = Config {
            limits: setup.limits.clone(),
            verbs: setup.verbs,
            piece_bytes: ByteCount(64 << 10),
            streams: StreamCount::Fixed(setup.streams),
            buffers: setup.buffers,
            holes: setup.holes,
        };
        Self { session: Session::new(role, config, now), disk, running: Vec::new(), ended: None }
    }
}
