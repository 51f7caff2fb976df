//! One session: a peer, all its streams, its transfers and requests. Clone, Eq and Hash where the
//! payload is.
//!
//! ```text
//!            handle_command handle_frame handle_disk handle_timeout ...
//!                                   |
//!                             +-----v-----+
//!    Open --- Drain --------> | transfers | ---> poll_frame poll_disk poll_event ...
//!     |         |             +-----------+
//!     +--Close--+--> Closing --(transfers over)--> Closed --(operations ended)--> Event::Ended
//! ```
//! A session locks nothing, waits for nothing and asks no clock; the engine owns those. The first
//! fatal error is sticky: after it every frame is refused.

mod needs; // which verbs what is asked for needs
mod ending; // closing, draining, and the loss of streams
mod hold; // bounds of an operator, and of others, too
mod yields; // transfers that give way
mod stalls; // when neither end has anything left to do
mod frames; // what the peer says
mod output; // what is handed out

use crate::background::Background;
use crate::bucket;
use crate::causes::Cause;
use crate::command::{
    Accepted, Command, Config, Event, PathSample, Role, Summary, TransferOptions, Violation,
};
use crate::disk::{DiskDone, DiskOp, Took, Waited};
use crate::frame::{Causes, Direction, Frame, Open, Packing, Priority, Request, Stats, Verbs};
use crate::io::{Io, Owner, ReceiveOp};
use crate::receive::{Receiver, Replacing};
use crate::send::{Listing, Queued, Sender};
use crate::tune::Tune;
use alloc::collections::{BTreeMap, BTreeSet};
use ending::State;
use floe_types::planted::{self, Bug};
use floe_types::{
    ByteCount, Code, Fault, Micros, ObjectPath, OpId, Precondition, RequestId, StreamId, Time,
    TransferId,
};
use needs::needed_for;
pub use output::Asked;

/// The protocol of one session.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Session<P> {
    role: Role,
    config: Config,
    io: Io<P>,
    transfers: BTreeMap<TransferId, Half<P>>,
    /// The highest transfer id used so far, plus one.
    next_transfer: u32,
    /// Transfers that were asked for and not answered.
    asked: BTreeSet<TransferId>,
    requests: BTreeSet<RequestId>,
    next_request: u32,
    state: State,
    tune: Tune,
    /// While there are transfers that give way.
    background: Option<Background>,
    causes: Causes,
    peer_stats: Stats,
    stats_said: Time,
    /// A server's next STATS, where nothing else asks for it.
    stats_owed: stalls::Owed,
    /// When anything of a transfer or request moved for the last time.
    moved: Time,
    /// When the peer was known to have heard all that was said before that.
    reached: Time,
    data_bytes: ByteCount,
    /// No DATA goes or is taken before.
    round_trip: Option<Micros>,
    broken: Option<Violation>,
}

/// One end of a transfer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Half<P> {
    Send(Sender<P>),
    Receive(Receiver),
}

impl<P: Clone> Session<P> {
    /// A session right after its greeting; its lead stream comes up next.
    pub fn new(role: Role, config: Config, now: Time) -> Self {
        config.limits.assert_sound();
        let ignores = planted::is(Bug::IgnoreTheBudget);
        let io = Io::new(if ignores { ByteCount(u64::MAX) } else { config.buffers }, now);
        let tune = Tune::new(config.streams, &config.limits, now);
        Self {
            role,
            config,
            io,
            transfers: BTreeMap::new(),
            next_transfer: 0,
            asked: BTreeSet::new(),
            requests: BTreeSet::new(),
            next_request: 0,
            state: State::Open,
            tune,
            background: None,
            causes: Causes::default(),
            peer_stats: Stats::default(),
            stats_said: now,
            stats_owed: stalls::Owed::Yes,
            moved: now,
            reached: now,
            data_bytes: ByteCount::ZERO,
            round_trip: None,
            broken: None,
        }
    }

    /// Does what a person, or the engine, asks.
    ///
    /// # Errors
    /// What cannot be asked now, or of this ticket.
    pub fn handle_command(&mut self, command: Command, now: Time) -> Result<Accepted, Fault> {
        self.io.now = now;
        self.moved = now;
        let accepted = match command {
            Command::Transfer { direction, local, remote, options } => {
                Accepted::Transfer(self.begin(direction, local, remote, options, now)?)
            }
            Command::Request(request) => Accepted::Request(self.ask(request)?),
            Command::Cancel(transfer, fault) => {
                self.cancel(transfer, fault);
                Accepted::Done
            }
            Command::Limit(transfer, rate) => {
                let rate = self.within_what_was_asked(transfer, rate);
                self.limit(transfer, |own| bucket::set_rate(own, rate, now));
                Accepted::Done
            }
            Command::Pause(transfer) => {
                self.limit(transfer, |own| bucket::shut(own, now));
                Accepted::Done
            }
            Command::Drain => {
                self.drain();
                Accepted::Done
            }
            Command::Close(fault) => {
                self.close(fault);
                Accepted::Done
            }
        };
        self.settle(now);
        Ok(accepted)
    }

    fn begin(
        &mut self,
        direction: Direction,
        local: ObjectPath,
        remote: ObjectPath,
        options: TransferOptions,
        now: Time,
    ) -> Result<TransferId, Fault> {
        self.may_begin()?;
        self.allowed(needed_for(direction), &remote)?;
        if self.transfers.len() >= self.config.limits.transfers_max as usize {
            return Err(Fault::new(Code::LimitExceeded, "too many transfers at once"));
        }
        let transfer = TransferId(self.next_transfer);
        self.next_transfer += 1;
        self.asked.insert(transfer);
        self.io.say(Frame::Open(Open {
            transfer,
            direction,
            path: remote,
            chunk: options.chunk,
            window: options.window,
            pace: options.pace,
            precondition: options.precondition,
            resume: options.resume,
            recognise: options.recognise,
            unasked: options.unasked,
            receipts: options.receipts,
            probe: options.probe,
            packing: if direction == Direction::Get { options.packing } else { Packing::Auto },
            priority: if direction == Direction::Get { options.priority } else { Priority::Normal },
            rate: options.rate.filter(|_| direction == Direction::Get),
        }));
        match direction {
            Direction::Put => {
                let mut half =
                    Sender::new(transfer, local, options, Listing::Allowed, &self.config, now);
                half.advance(&mut self.io);
                self.transfers.insert(transfer, Half::Send(half));
            }
            Direction::Get => {
                let replacing = Replacing::Allowed;
                let half = Receiver::new(transfer, local, options, replacing, &self.config, now);
                self.transfers.insert(transfer, Half::Receive(half));
            }
        }
        Ok(transfer)
    }

    fn ask(&mut self, request: Request) -> Result<RequestId, Fault> {
        self.may_begin()?;
        if self.requests.len() >= self.config.limits.requests_max as usize {
            return Err(Fault::new(Code::LimitExceeded, "too many requests at once"));
        }
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.requests.insert(id);
        self.io.say(Frame::Request(id, request));
        Ok(id)
    }

    fn may_begin(&self) -> Result<(), Fault> {
        if self.role == Role::Server {
            return Err(Fault::new(Code::Usage, "only clients begin"));
        }
        match &self.state {
            State::Open => Ok(()),
            State::Closing(Some(fault)) | State::Closed(Some(fault)) => Err(fault.clone()),
            _ => Err(Fault::new(Code::ConnectionLost, "the session is over")),
        }
    }

    /// Whether the ticket and this server allow a verb at a path.
    fn allowed(&self, verbs: Verbs, path: &ObjectPath) -> Result<(), Fault> {
        if self.config.verbs.allow(verbs) {
            return Ok(());
        }
        let lacked = verbs.beyond(self.config.verbs);
        let changes = Verbs::CHANGES.only(lacked) != Verbs::default();
        let code = match changes && self.config.verbs.allow(Verbs::UNCHANGING) {
            true => Code::ReadOnly,
            false => Code::NotAllowed,
        };
        Err(Fault::new(code, alloc::format!("{} {path:?}", lacked.name())))
    }

    fn cancel(&mut self, transfer: TransferId, fault: Fault) {
        if let Some(half) = self.transfers.get_mut(&transfer) {
            self.io.say(Frame::Cancel(transfer, fault.clone()));
            half.stop(fault, Staged::Checkpoint, &mut self.io);
        }
    }

    /// A connection joined the session. The first is its lead stream.
    pub fn handle_stream_up(&mut self, stream: StreamId, now: Time) {
        self.io.now = now;
        self.io.add_pipe(stream, now);
        self.tune.came_up();
        self.io.wake_streams();
        self.settle(now);
    }

    /// An `Event::Dial` came to nothing.
    pub fn handle_dial_failed(&mut self, now: Time) {
        self.io.now = now;
        self.tune.dial_failed(u32::try_from(self.io.pipes.len()).unwrap_or(u32::MAX), now);
        self.settle(now);
    }

    /// What TCP says of a path.
    pub fn handle_path(&mut self, stream: StreamId, sample: PathSample, now: Time) {
        if let Some(pipe) = self.io.pipes.get_mut(&stream) {
            pipe.clock.sample(&sample, now);
        }
        let best = self.round_trip.map_or(sample.round_trip, |best| best.min(sample.round_trip));
        self.round_trip = Some(best);
        self.tune.path(best);
    }

    /// This session's share of the buffers changed.
    pub fn handle_budget(&mut self, buffers: ByteCount, now: Time) {
        self.io.now = now;
        self.io.buffers_max = buffers;
        self.io.wake_streams();
    }

    /// The end of an operation, or (`Working`) a sign of its life.
    pub fn handle_disk(&mut self, op: OpId, done: DiskDone<P>, took: Took, now: Time) {
        self.io.now = now;
        if let DiskDone::Working { .. } = done {
            return;
        }
        let Some(owner) = self.io.end(op) else { return };
        self.moved = now;
        // Nobody reads more of it at a server than it says.
        let done = if self.role == Role::Server { done.told() } else { done };
        let inline = took.queued == Micros::ZERO || took.waited == Waited::No;
        let queued = if inline { Queued::Inline } else { Queued::Waited };
        if let (Owner::Receive(_, ReceiveOp::Write(_, _, stream, _)), Waited::No) =
            (owner, took.waited)
            && let Some(pipe) = self.io.pipes.get_mut(&stream)
        {
            pipe.clock.acquit_disk();
        }
        self.route(owner, done, queued, now);
        self.settle(now);
    }

    fn route(&mut self, owner: Owner, done: DiskDone<P>, queued: Queued, now: Time) {
        match owner {
            Owner::Send(transfer, op) => {
                if let Some(Half::Send(half)) = self.transfers.get_mut(&transfer) {
                    half.handle_disk(op, done, queued, &mut self.io);
                }
            }
            Owner::Receive(transfer, op) => {
                if let Some(Half::Receive(half)) = self.transfers.get_mut(&transfer) {
                    half.handle_disk(op, done, &mut self.io, now);
                }
            }
            Owner::Request(id) => {
                // It counts until its answer is taken.
                let reply = match done {
                    // A root tells of an object's bytes: it is for those who may read them.
                    DiskDone::Applied(reply) if self.config.verbs.allow(Verbs::READ) => Ok(reply),
                    DiskDone::Applied(reply) => Ok(reply.without_roots()),
                    DiskDone::Failed(fault) => Err(fault),
                    _ => Err(Fault::new(Code::Other, "the disk answered another question")),
                };
                self.io.say(Frame::Reply(id, reply));
            }
        }
    }

    /// A time asked for with `poll_timeout` has come.
    pub fn handle_timeout(&mut self, now: Time) {
        self.io.now = now;
        for half in self.transfers.values_mut() {
            if let Half::Receive(half) = half {
                half.handle_timeout(&mut self.io, now);
            }
        }
        self.beat(now);
        if let Some(background) = &mut self.background {
            background.handle_timeout(now);
        }
        if self.role == Role::Client {
            let limit = self.limit_of_all();
            self.tune.sample(self.data_bytes, limit, now);
            self.end_stall(now);
        } else {
            self.say_stats(now);
        }
        self.io.wake_streams();
        self.settle(now);
    }

    /// What every input ends with: transfers that are over are reported, streams dialed, the end
    /// prepared.
    fn settle(&mut self, now: Time) {
        for half in self.transfers.values_mut() {
            if let Half::Receive(half) = half {
                half.open_queued(&mut self.io, now);
            }
        }
        self.go_on_announcing();
        self.say_last_stats(now);
        self.report_finished();
        self.tend_background(now);
        let streams = u32::try_from(self.io.pipes.len()).unwrap_or(u32::MAX);
        if self.role == Role::Client && self.state == State::Open {
            let halves = self.transfers.values();
            let backlog = || ByteCount(halves.map(|half| half.backlog().0).sum());
            for _ in 0..self.tune.dials(streams, backlog, now) {
                self.io.events.push_back(Event::Dial);
            }
        }
        self.settle_end();
    }

    fn report_finished(&mut self) {
        let over: alloc::vec::Vec<_> =
            self.transfers.iter().filter_map(|(id, half)| Some((*id, half.outcome()?))).collect();
        for (transfer, result) in over {
            let Some(summary) = self.summary(transfer) else { continue };
            self.transfers.remove(&transfer);
            self.io.turns.forget(transfer);
            self.io.events.push_back(Event::TransferFinished { transfer, result, summary });
        }
    }

    /// How far a transfer is.
    #[must_use]
    pub fn summary(&self, transfer: TransferId) -> Option<Summary> {
        let half = self.transfers.get(&transfer)?;
        let mut summary = match half {
            Half::Send(half) => half.summary().clone(),
            Half::Receive(half) => half.summary().clone(),
        };
        summary.streams = u32::try_from(self.io.pipes.len()).unwrap_or(u32::MAX);
        summary.causes = self.causes.plus(self.peer_stats.causes);
        Some(summary)
    }

    /// Gives a stream work for its sending halves; accounts for what it waits for.
    fn pump(&mut self, stream: StreamId, now: Time) {
        let Some(closing) = self.io.pipes.get(&stream).map(|pipe| pipe.closing) else { return };
        if closing {
            return;
        }
        let (mut cause, held, yields) = (Cause::Idle, self.is_held(now), self.yields(now));
        let busy = self.transfers.iter().find_map(|(id, half)| match half {
            Half::Send(half) => half.is_busy_on(stream, &self.io).then_some(*id),
            // What is received has a hasher of its own: the two directions do not wait.
            Half::Receive(_) => None,
        });
        for (id, half) in &mut self.transfers {
            if busy.is_some_and(|busy| busy != *id) && matches!(half, Half::Send(_)) {
                continue;
            }
            let next = match half {
                Half::Send(half) => match half.pump(stream, &mut self.io) {
                    // What is queued waits for its token, not for the socket.
                    Cause::Network if held || half.is_limited(yields, now) => Cause::Limiter,
                    cause => cause,
                },
                Half::Receive(half) => match half.cause(stream, &self.io, now) {
                    Cause::Starved if held => Cause::Limiter,
                    cause => cause,
                },
            };
            if next != Cause::Idle {
                cause = next;
            }
            if matches!(half, Half::Send(half) if half.is_busy_on(stream, &self.io)) {
                break;
            }
        }
        if let Some(pipe) = self.io.pipes.get_mut(&stream) {
            pipe.clock.turn(cause, now, &mut self.causes);
        }
    }
}

/// What becomes of stages when a transfer ends early.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Staged {
    /// Made durable first.
    Checkpoint,
    /// Left as they are.
    Left,
}

impl<P: Clone> Half<P> {
    fn stop(&mut self, fault: Fault, staged: Staged, io: &mut Io<P>) {
        match (self, staged) {
            (Self::Send(half), _) => half.stop(fault, io),
            (Self::Receive(half), Staged::Checkpoint) => half.stop_durably(fault, io),
            (Self::Receive(half), Staged::Left) => half.stop_at_once(fault, io),
        }
    }

    fn outcome(&self) -> Option<Result<(), Fault>> {
        match self {
            Self::Send(half) => half.outcome(),
            Self::Receive(half) => half.outcome(),
        }
    }

    fn backlog(&self) -> ByteCount {
        match self {
            Self::Send(half) => half.backlog(),
            Self::Receive(half) => half.backlog(),
        }
    }
}

/// A DiskOp that does a request.
fn apply<P>(request: Request) -> DiskOp<P> {
    DiskOp::Apply { request }
}

/// What an OPEN asks, as options of the half that serves it.
fn options_of(open: &Open, precondition: Precondition) -> TransferOptions {
    TransferOptions {
        chunk: open.chunk,
        window: open.window,
        pace: open.pace,
        precondition,
        resume: open.resume,
        recognise: open.recognise,
        unasked: open.unasked,
        receipts: open.receipts,
        probe: open.probe,
        packing: open.packing,
        priority: open.priority,
        rate: open.rate.filter(|_| open.direction == Direction::Get),
        ..TransferOptions::default()
    }
}
