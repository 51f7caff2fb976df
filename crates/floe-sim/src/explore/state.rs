//! One state of the small world, and the steps out of it.

use super::disk::{Disk, Piece, Right};
use floe_proto::command::{
    Command, Config, Event, Holes, Lost, Role, StreamCount, TransferOptions,
};
use floe_proto::disk::{DiskDone, DiskOp, Lane, Took};
use floe_proto::frame::{Direction, Frame, Verbs};
use floe_proto::session::Session;
use floe_types::{
    ByteCount, ChunkSize, Code, Fault, Limits, Micros, ObjectPath, OpId, StreamId, Time,
};
use std::collections::{BTreeMap, VecDeque};

const CLIENT: usize = 0;
const SERVER: usize = 1;
const ENDS: [usize; 2] = [CLIENT, SERVER];
/// Time goes on so often where nothing else does, then the state is stuck.
const TICKS_MAX: u8 = 8;
/// A client looks so often at whether a further stream is worth its dial.
const LOOK: Micros = Micros::from_millis(10);
/// The most a window holds: two of the three chunks.
const WINDOW: ByteCount = ByteCount(2 * ChunkSize::MIN.bytes().0);

/// A step.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Step {
    /// The next frame of a stream reaches an end.
    Deliver(StreamId, usize),
    /// The nth operation of an end is done.
    Finish(usize, usize),
    /// A dial is answered.
    Dialled,
    /// Nothing else is left: time goes on to the next timer.
    Tick,
    /// Bytes of the next piece change.
    Flip(StreamId, usize),
    /// A stream is gone for both.
    Cut(StreamId),
    /// The process of an end is killed; it comes back.
    Kill(usize),
    /// An end loses power; it comes back.
    PowerCut(usize),
    /// The nth operation of an end fails.
    Fail(usize, usize),
}

/// A state.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Small {
    direction: Direction,
    ends: [End; 2],
    wires: BTreeMap<(StreamId, usize), VecDeque<Frame<Piece>>>,
    dials: u8,
    streams: u32,
    now: Time,
    ticks: u8,
    faults: u8,
    restarts: u8,
    result: Option<Result<(), Code>>,
    /// A disk failed: then the transfer may.
    failed: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct End {
    session: Session<Piece>,
    disk: Disk,
    ops: Vec<(Lane, OpId, DiskOp<Piece>)>,
    ended: bool,
}

impl End {
    fn new(role: Role, disk: Disk, now: Time) -> Self {
        let config = Config {
            // Every further stream is worth its dial; two chunks are worth a checkpoint.
            limits: Limits {
                stream_worth_bytes: ByteCount(1),
                checkpoint_bytes: WINDOW,
                ..Limits::default()
            },
            verbs: Verbs::ALL,
            piece_bytes: ChunkSize::MIN.bytes(),
            streams: StreamCount::Fixed(2),
            // Enough for pieces of a whole chunk on every stream: the disks count in chunks.
            buffers: ByteCount(8 << 20),
            holes: Holes::AsHoles,
        };
        Self { session: Session::new(role, config, now), disk, ops: Vec::new(), ended: false }
    }
}

impl Small {
    pub(super) fn new(direction: Direction, faults: u8, restarts: u8) -> Self {
        let now = Time(1_000_000);
        let end = |role| End::new(role, Disk::default(), now);
        let mut small = Self {
            direction,
            ends: [end(Role::Client), end(Role::Server)],
            wires: BTreeMap::new(),
            dials: 0,
            streams: 0,
            now,
            ticks: 0,
            faults,
            restarts,
            result: None,
            failed: false,
        };
        small.begin();
        small
    }

    fn begin(&mut self) {
        self.dials = 0;
        self.stream_up();
        let options =
            TransferOptions { chunk: ChunkSize::MIN, window: WINDOW, ..TransferOptions::default() };
        let command = Command::Transfer {
            direction: self.direction,
            local: ObjectPath::parse(b"file").unwrap_or_default(),
            remote: ObjectPath::parse(b"file").unwrap_or_default(),
            options,
        };
        // A session that has just begun takes a transfer.
        let _ = self.ends[CLIENT].session.handle_command(command, self.now);
        self.collect();
    }

    fn stream_up(&mut self) {
        let stream = StreamId(self.streams);
        self.streams += 1;
        for nth in ENDS {
            self.wires.insert((stream, nth), VecDeque::new());
            self.ends[nth].session.handle_stream_up(stream, self.now);
        }
    }

    /// Whether both ends have ended, and the client knows how.
    pub(super) fn is_over(&self) -> bool {
        self.result.is_some() && self.ends.iter().all(|end| end.ended)
    }

    pub(super) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.is_over() {
            return steps;
        }
        for ((stream, nth), wire) in &self.wires {
            let Some(frame) = wire.front() else { continue };
            let data = matches!(frame, Frame::Data(_));
            let room = || self.ends[*nth].session.data_room(*stream).0 > 0;
            if !data || room() {
                steps.push(Step::Deliver(*stream, *nth));
            }
        }
        for nth in ENDS {
            let ops = &self.ends[nth].ops;
            for (at, (lane, ..)) in ops.iter().enumerate() {
                let first = ops.iter().position(|(other, ..)| other == lane) == Some(at);
                if first || *lane == Lane::Session {
                    steps.push(Step::Finish(nth, at));
                }
            }
        }
        if self.dials > 0 {
            steps.push(Step::Dialled);
        }
        if steps.is_empty() {
            steps.push(Step::Tick);
        }
        self.faults_into(&mut steps);
        steps
    }

    fn faults_into(&self, steps: &mut Vec<Step>) {
        if self.faults == 0 || self.result.is_some() {
            return;
        }
        let lead = self.wires.keys().next().map(|(stream, _)| *stream);
        for ((stream, nth), wire) in &self.wires {
            if let Some(Frame::Data(data)) = wire.front()
                && data.bytes.right == Right::Yes
            {
                steps.push(Step::Flip(*stream, *nth));
            }
            if *nth == CLIENT && (self.restarts > 0 || Some(*stream) != lead) {
                steps.push(Step::Cut(*stream));
            }
        }
        if self.restarts > 0 {
            steps.extend(ENDS.map(Step::Kill));
            steps.push(Step::PowerCut(self.sink()));
        }
        for nth in ENDS {
            let fails = |(_, (.., op)): &(usize, &(Lane, OpId, DiskOp<Piece>))| {
                !matches!(op, DiskOp::Release { .. } | DiskOp::Discard { .. })
            };
            let ops = self.ends[nth].ops.iter().enumerate().filter(fails);
            steps.extend(ops.map(|(at, _)| Step::Fail(nth, at)));
        }
    }

    /// Takes a step.
    ///
    /// # Errors
    /// The promise that is broken then.
    pub(super) fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Deliver(stream, nth) => {
                let wire = self.wires.get_mut(&(stream, nth));
                if let Some(frame) = wire.and_then(VecDeque::pop_front) {
                    if nth == CLIENT && matches!(frame, Frame::Want(_) | Frame::Entries(..)) {
                        // There is work now: time goes on to the next look at what to dial.
                        self.now = self.now.plus(LOOK);
                    }
                    let heard = self.ends[nth].session.handle_frame(stream, frame, self.now);
                    heard.map_err(|violation| violation.what.to_owned())?;
                }
            }
            Step::Finish(nth, at) => {
                let (_, id, op) = self.ends[nth].ops.remove(at);
                let end = &mut self.ends[nth];
                let done = end.disk.run(op)?;
                end.session.handle_disk(id, done, Took::default(), self.now);
            }
            Step::Dialled => {
                self.dials -= 1;
                self.stream_up();
            }
            Step::Tick => self.tick()?,
            Step::Flip(stream, nth) => {
                self.faults -= 1;
                if let Some(Frame::Data(data)) =
                    self.wires.get_mut(&(stream, nth)).and_then(VecDeque::front_mut)
                {
                    data.bytes.right = Right::No;
                }
            }
            Step::Cut(stream) => {
                self.faults -= 1;
                let lead = self.wires.keys().next().map(|(lead, _)| *lead);
                if lead == Some(stream) {
                    self.restarts -= 1;
                }
                self.cut(stream);
            }
            Step::Kill(nth) => self.kill(nth),
            Step::PowerCut(nth) => {
                self.kill(nth);
                self.ends[nth].disk.lose_power();
            }
            Step::Fail(nth, at) => {
                self.faults -= 1;
                self.failed = true;
                let (_, id, _) = self.ends[nth].ops.remove(at);
                let done = DiskDone::Failed(Fault::new(Code::Io, ""));
                self.ends[nth].session.handle_disk(id, done, Took::default(), self.now);
            }
        }
        self.collect();
        self.judge()
    }

    fn kill(&mut self, nth: usize) {
        (self.faults, self.restarts) = (self.faults - 1, self.restarts - 1);
        let streams: Vec<_> = self.wires.keys().map(|(stream, _)| *stream).collect();
        streams.into_iter().for_each(|stream| self.cut(stream));
        self.ends[nth].ops.clear();
        self.ends[nth].ended = true;
    }

    fn tick(&mut self) -> Result<(), String> {
        let live = self.ends.iter().filter(|end| !end.ended);
        let next = live.filter_map(|end| end.session.poll_timeout()).min();
        self.ticks += 1;
        let (Some(next), true) = (next, self.ticks <= TICKS_MAX) else {
            return Err("it stands still".to_owned());
        };
        self.now = self.now.max(next);
        for end in self.ends.iter_mut().filter(|end| !end.ended) {
            end.session.handle_timeout(self.now);
        }
        Ok(())
    }

    fn cut(&mut self, stream: StreamId) {
        for nth in ENDS {
            self.wires.remove(&(stream, nth));
            self.ends[nth].session.handle_stream_lost(stream, Lost::Connection, self.now);
        }
    }

    /// Takes what the ends give out, until there is nothing more; begins again after a loss.
    fn collect(&mut self) {
        loop {
            let mut quiet = true;
            for nth in ENDS.into_iter().filter(|nth| !self.ends[*nth].ended).collect::<Vec<_>>() {
                quiet &= !self.collect_from(nth);
            }
            if !quiet {
                continue;
            }
            if self.result.is_none() && self.ends.iter().all(|end| end.ended) {
                for (nth, role) in ENDS.into_iter().zip([Role::Client, Role::Server]) {
                    self.ends[nth] = End::new(role, self.ends[nth].disk, self.now);
                }
                self.wires.clear();
                return self.begin();
            }
            return;
        }
    }

    /// Whether an end gave anything out.
    fn collect_from(&mut self, nth: usize) -> bool {
        let mut busy = false;
        while let Some(event) = self.ends[nth].session.poll_event() {
            busy = true;
            self.hear(nth, event);
        }
        let streams: Vec<_> =
            self.wires.keys().filter(|(_, to)| *to == nth).map(|(stream, _)| *stream).collect();
        let lanes = streams.iter().map(|stream| Lane::Stream(*stream)).chain([Lane::Session]);
        for lane in lanes {
            while let Some((id, op)) = self.ends[nth].session.poll_disk(lane, self.now) {
                busy = true;
                self.ends[nth].ops.push((lane, id, op));
            }
        }
        for stream in streams {
            while let Some(frame) = self.ends[nth].session.poll_frame(stream, self.now) {
                busy = true;
                if let Some(wire) = self.wires.get_mut(&(stream, 1 - nth)) {
                    wire.push_back(frame);
                }
            }
        }
        while self.ends[nth].session.poll_wake().is_some() {}
        busy
    }

    fn hear(&mut self, nth: usize, event: Event) {
        match event {
            Event::Dial => self.dials += 1,
            Event::HangUp(stream) => {
                while let Some(frame) = self.ends[nth].session.poll_frame(stream, self.now) {
                    if let Some(wire) = self.wires.get_mut(&(stream, 1 - nth)) {
                        wire.push_back(frame);
                    }
                }
                self.ends[nth].session.handle_stream_lost(stream, Lost::HungUp, self.now);
                self.wires.remove(&(stream, nth));
            }
            Event::TransferFinished { result, .. } if nth == CLIENT => {
                let result = result.map_err(|fault| fault.code);
                if result != Err(Code::ConnectionLost) {
                    self.result = Some(result);
                    // It ends now, whatever it answers.
                    let close = Command::Close(None);
                    let _ = self.ends[CLIENT].session.handle_command(close, self.now);
                }
            }
            Event::Ended(_) => {
                self.ends[nth].ended = true;
                self.dials = if nth == CLIENT { 0 } else { self.dials };
            }
            _ => {}
        }
    }

    /// The end that receives.
    fn sink(&self) -> usize {
        match self.direction {
            Direction::Put => SERVER,
            Direction::Get => CLIENT,
        }
    }

    fn judge(&self) -> Result<(), String> {
        match self.result {
            Some(Ok(())) if !self.ends[self.sink()].disk.committed => {
                Err("it ended well, and nothing is committed".to_owned())
            }
            Some(Err(Code::Io | Code::Partial)) if self.failed => Ok(()),
            Some(Err(code)) => Err(format!("it failed, and had no reason to: {code:?}")),
            _ => Ok(()),
        }
    }
}
