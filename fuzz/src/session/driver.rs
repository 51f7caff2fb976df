//! The core under test, and all that it is driven with: streams, a disk, a clock, a peer.
//!
//! Checked here: what it says can be said, stands on the right stream and is true (`truth`); a
//! violation is sticky; a timer passes; an end leaves nothing under way.

use super::content::Stretch;
use super::dice::Dice;
use super::disk::{Disk, Ending, Op};
use super::peer::{Known, Said};
use crate::wire::session_decoder;
use floe_proto::codec::{Decoded, encode};
use floe_proto::command::{Command, Config, Event, Lost, Role, Violation};
use floe_proto::disk::{DiskDone, DiskOp, Lane, Took};
use floe_proto::frame::{Data, Frame};
use floe_proto::session::{Asked, Session};
use floe_types::{ByteCount, EntryId, Micros, OpId, StreamId, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::LazyLock;

mod truth; // what is said against what was done

/// The core and its surroundings.
pub struct Driver {
    core: Session<Stretch>,
    role: Role,
    piece_bytes: ByteCount,
    /// Its disk.
    disk: Disk,
    /// Its peer.
    pub known: Known,
    ops: Vec<(Lane, OpId, Op)>,
    /// Streams that are up; the lead is the first one ever.
    pub streams: Vec<StreamId>,
    streams_ever: u32,
    /// Streams whose frames are not taken.
    stuck: BTreeSet<StreamId>,
    /// Dials that were asked for.
    dials: u32,
    /// What each stream sends of a chunk.
    sending: BTreeMap<StreamId, truth::Sending>,
    now: Time,
    broken: Option<Violation>,
    ended: Option<()>,
}

const LEAD: StreamId = StreamId(0);

impl Driver {
    /// A session with its lead stream.
    pub fn new(role: Role, config: Config) -> Self {
        let now = Time(1_000_000);
        let piece_bytes = config.piece_bytes;
        let mut driver = Self {
            core: Session::new(role, config, now),
            role,
            piece_bytes,
            disk: Disk::default(),
            known: Known::default(),
            ops: Vec::new(),
            streams: Vec::new(),
            streams_ever: 0,
            stuck: BTreeSet::new(),
            dials: 0,
            sending: BTreeMap::new(),
            now,
            broken: None,
            ended: None,
        };
        driver.comes_up();
        driver
    }

    /// Which end it is.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether the session is over.
    pub fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// One more stream.
    pub fn comes_up(&mut self) {
        let stream = StreamId(self.streams_ever);
        self.streams_ever += 1;
        self.dials = self.dials.saturating_sub(1);
        self.streams.push(stream);
        self.core.handle_stream_up(stream, self.now);
        self.poll();
    }

    /// Whether a stream may come up: a client's were dialed, a server counts those that join.
    pub fn may_come_up(&self) -> bool {
        let room = self.streams.len() < STREAMS_MAX;
        room && (self.role == Role::Server || self.dials > 0)
    }

    /// A dial fails.
    pub fn dial_fails(&mut self) {
        if self.dials > 0 {
            self.dials -= 1;
            self.core.handle_dial_failed(self.now);
            self.poll();
        }
    }

    /// A stream is gone.
    pub fn loses(&mut self, stream: StreamId, why: Lost) {
        self.streams.retain(|up| *up != stream);
        self.sending.remove(&stream);
        note("loses", &(stream, why));
        self.core.handle_stream_lost(stream, why, self.now);
        self.poll();
    }

    /// Its frames are taken no more, or again.
    pub fn turns(&mut self, stream: StreamId) {
        if !self.stuck.remove(&stream) {
            self.stuck.insert(stream);
        }
        self.poll();
    }

    /// The peer says a frame, if a decoder would let it through and it is listened to.
    pub fn hears(&mut self, stream: StreamId, frame: Said) {
        if !self.streams.contains(&stream) || self.core.hearing(stream) == Asked::No {
            return;
        }
        if let Frame::Data(data) = &frame
            && (data.len > self.piece_bytes || self.core.data_room(stream) == ByteCount::ZERO)
        {
            return;
        }
        let Some(frame) = through_the_wire(frame) else { return };
        self.known.says(&frame);
        note("hears", &(stream, &frame));
        let heard = self.core.handle_frame(stream, frame, self.now);
        if let Some(broken) = self.broken {
            assert_eq!(heard, Err(broken), "the first violation is sticky");
        }
        if let Err(violation) = heard {
            self.broken = Some(violation);
        }
        self.poll();
    }

    /// A person, or the engine, asks something; refusals are answers.
    pub fn asks(&mut self, command: Command) {
        note("asks", &command);
        let _ = self.core.handle_command(command, self.now);
        self.poll();
    }

    /// The buffers' share changes.
    pub fn shares(&mut self, buffers: ByteCount) {
        self.core.handle_budget(buffers, self.now);
        self.poll();
    }

    /// Bytes of a frame come that is not whole.
    pub fn trickles(&mut self, stream: StreamId) {
        self.core.handle_bytes(stream, self.now);
    }

    /// Time passes: so much, or until the next timer.
    pub fn passes(&mut self, span: Option<Micros>) {
        let due = self.core.poll_timeout();
        self.now = match (span, due) {
            (Some(span), _) => self.now.plus(span),
            (None, Some(due)) => self.now.max(due),
            (None, None) => return,
        };
        note("passes", &self.now);
        if due.is_some_and(|due| due <= self.now) {
            self.core.handle_timeout(self.now);
            let again = self.core.poll_timeout();
            assert!(again.is_none_or(|at| at > self.now), "a timer that never passes");
        }
        self.poll();
    }

    /// Ends an operation: the nth, or the first of its stream, whose operations end in order.
    pub fn ends(&mut self, nth: usize, how: Ending, dice: &mut Dice<'_>) {
        let Some((lane, ..)) = self.ops.get(nth) else { return };
        let lane = *lane;
        let first = self.ops.iter().position(|(of, ..)| *of == lane);
        let nth = if lane == Lane::Session { nth } else { first.unwrap_or(nth) };
        let (lane, id, op) = self.ops.remove(nth);
        let done = self.disk.run(lane, &op, how, dice);
        note("ends", &(lane, id, &done));
        let (queued, busy) = (Micros(dice.small(2)), Micros(dice.small(9)));
        let took = Took { queued, busy, ..Took::default() };
        self.core.handle_disk(id, done, took, self.now);
        self.poll();
    }

    /// A long operation tells that it is alive.
    pub fn works(&mut self, nth: usize) {
        if let Some((_, id, _)) = self.ops.get(nth) {
            let (done, of) = (ByteCount(1), ByteCount(2));
            self.core.handle_disk(*id, DiskDone::Working { done, of }, Took::default(), self.now);
            self.poll();
        }
    }

    /// Operations under way.
    pub fn under_way(&self) -> usize {
        self.ops.len()
    }

    /// Ends all operations, also those that follow.
    pub fn ends_all(&mut self) {
        let mut none = Dice::new(&[]);
        for _ in 0..ROUNDS_MAX {
            if self.ops.is_empty() {
                return;
            }
            self.ends(0, Ending::Well, &mut none);
        }
        panic!("operations follow each other without an end");
    }

    /// How much memory the core holds.
    pub fn core_bytes(&self) -> usize {
        let before = crate::heap::held_bytes();
        let copy = self.core.clone();
        let bytes = crate::heap::held_bytes() - before;
        assert!(copy == self.core, "a copy is the same");
        bytes.unsigned_abs()
    }

    /// The disk answers, nothing is stuck, and nothing more is heard: the session has to end.
    pub fn comes_to_an_end(&mut self) {
        self.stuck.clear();
        self.poll();
        while self.dials > 0 {
            self.dial_fails();
        }
        let began = self.now;
        for _ in 0..ROUNDS_MAX {
            self.ends_all();
            if self.is_ended() {
                assert!(self.disk.is_quiet(), "something stays open: {:?}", self.disk);
                assert_eq!(self.core.poll_timeout(), None);
                return;
            }
            assert!(self.core.poll_timeout().is_some(), "stuck without a timer: {:#?}", self.core);
            self.passes(None);
            assert!(self.now.since(began) < PATIENCE, "it does not end: {:#?}", self.core);
        }
        panic!("timers follow each other without an end: {:#?}", self.core);
    }

    /// Takes all that is handed out.
    fn poll(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let quiet = self.poll_ops() & self.poll_frames() & self.poll_events();
            while self.core.poll_wake().is_some() {}
            if quiet {
                return;
            }
        }
        panic!("it hands out without an end");
    }

    fn poll_ops(&mut self) -> bool {
        let mut quiet = true;
        let streams = self.streams.iter().map(|stream| Lane::Stream(*stream));
        for lane in streams.chain([Lane::Session]).collect::<Vec<_>>() {
            while let Some((id, op)) = self.core.poll_disk(lane, self.now) {
                quiet = false;
                assert!(!self.is_ended(), "an operation after the end");
                let alone = match &op {
                    DiskOp::Commit { batch, .. } => batch.iter().map(|one| one.entry).collect(),
                    DiskOp::Discard { entry } | DiskOp::Release { entry } => vec![*entry],
                    _ => Vec::new(),
                };
                for (_, _, other) in &self.ops {
                    let met = alone.iter().any(|entry| is_of(other, *entry));
                    assert!(!met, "{op:?} beside {other:?}");
                }
                note("    op", &(lane, id, &op));
                self.ops.push((lane, id, op));
            }
        }
        quiet
    }

    fn poll_frames(&mut self) -> bool {
        let mut quiet = true;
        for stream in self.streams.clone() {
            while !self.stuck.contains(&stream)
                && let Some(frame) = self.core.poll_frame(stream, self.now)
            {
                quiet = false;
                note("    says", &(stream, &frame));
                self.check_said(stream, &frame);
                self.known.hears(stream, &frame);
            }
        }
        quiet
    }

    fn poll_events(&mut self) -> bool {
        let mut quiet = true;
        while let Some(event) = self.core.poll_event() {
            quiet = false;
            note("    tells", &event);
            assert!(!self.is_ended(), "{event:?} after the end");
            match event {
                Event::Dial => self.dials += 1,
                Event::HangUp(stream) => {
                    while let Some(frame) = self.core.poll_frame(stream, self.now) {
                        self.check_said(stream, &frame);
                    }
                    self.streams.retain(|up| *up != stream);
                    self.core.handle_stream_lost(stream, Lost::HungUp, self.now);
                }
                Event::Ended(_) => {
                    assert!(self.ops.is_empty(), "it ended before {:?}", self.ops);
                    self.ended = Some(());
                }
                Event::EntryFinished { entry, object, .. } => {
                    self.check_finished(entry, object.map(|(_, root)| root));
                }
                _ => {}
            }
        }
        quiet
    }
}

/// Tells what happens, where a person looks at one input.
fn note(what: &str, of: &dyn fmt::Debug) {
    if *TRACING {
        eprintln!("{what} {of:?}");
    }
}

static TRACING: LazyLock<bool> = LazyLock::new(|| std::env::var_os("FLOE_FUZZ_TRACE").is_some());

fn is_of(op: &Op, entry: EntryId) -> bool {
    match op {
        DiskOp::Commit { batch, .. } => batch.iter().any(|one| one.entry == entry),
        op => op.entry() == Some(entry),
    }
}

/// The frame as the session gets it: only what a decoder lets through.
fn through_the_wire(frame: Said) -> Option<Said> {
    let mut bytes = Vec::new();
    encode(&frame, &mut bytes).ok()?;
    let fed = session_decoder().feed::<Stretch>(&bytes).ok()?;
    match (fed.decoded?, frame) {
        (Decoded::Data(head), Frame::Data(Data { bytes, .. })) => {
            let data = Data { seq: head.seq, at: head.at, len: head.len, bytes };
            Some(Frame::Data(data))
        }
        (Decoded::Frame(frame), _) => Some(frame),
        _ => None,
    }
}

const STREAMS_MAX: usize = 4;
const ROUNDS_MAX: usize = 20_000;
/// The longest silence, and all timers before it.
const PATIENCE: Micros = Micros::from_secs(600);
