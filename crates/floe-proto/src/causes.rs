//! Where the time goes: every stream is in exactly one cause at a time; and what that says of the
//! whole.
//!
//! What a stream waits for is known here, but for two things. Why a socket is full TCP knows: its
//! samples split the wait. And a thread that never rests waits for nothing: then its end's
//! processor is what the wait was for. Each sample says how the time until the next is split.

mod limit; // which cause is the limit
mod split; // what a sample says of a wait

pub use limit::{Limit, Limited};

use crate::command::PathSample;
use crate::frame::Causes;
use floe_types::{Micros, Time};
use split::Split;

/// What a stream spends its time on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) enum Cause {
    SourceDisk,
    Cpu,
    Network,
    Window,
    Limiter,
    Starved,
    SinkDisk,
    SinkCpu,
    Sync,
    Memory,
    #[default]
    Idle,
}

/// The clock of one stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct CauseClock {
    current: Cause,
    since: Time,
    split: Split,
}

impl CauseClock {
    pub(crate) fn new(now: Time) -> Self {
        Self { current: Cause::Idle, since: now, split: Split::new(now) }
    }

    /// The time since the last turn turns out to belong to `cause`.
    pub(crate) fn blame(&mut self, cause: Cause) {
        self.current = cause;
    }

    /// The disk that a stream waited for never made a thread wait: the processor did.
    pub(crate) fn acquit_disk(&mut self) {
        if self.current == Cause::SinkDisk {
            self.current = Cause::SinkCpu;
        }
    }

    /// What TCP and the thread say, from the last sample to this one.
    pub(crate) fn sample(&mut self, sample: &PathSample, now: Time) {
        self.split.sample(sample, now);
    }

    /// Charges the time since the last call to the cause that held, and goes on with `next`.
    pub(crate) fn turn(&mut self, next: Cause, now: Time, into: &mut Causes) {
        let spent = now.since(self.since);
        match self.current {
            Cause::SourceDisk => add(&mut into.source_disk, spent),
            Cause::Cpu => add(&mut into.cpu, spent),
            Cause::Network => {
                let [cpu, peer_socket, loss, network] = self.split.of_sending(spent);
                add(&mut into.cpu, cpu);
                add(&mut into.peer_socket, peer_socket);
                add(&mut into.loss, loss);
                add(&mut into.network, network);
            }
            Cause::Window => add(&mut into.window, spent),
            Cause::Limiter => add(&mut into.limiter, spent),
            Cause::Starved => {
                let [cpu, starved] = self.split.of_receiving(spent);
                add(&mut into.sink_cpu, cpu);
                add(&mut into.starved, starved);
            }
            Cause::SinkDisk => add(&mut into.sink_disk, spent),
            Cause::SinkCpu => add(&mut into.sink_cpu, spent),
            Cause::Sync => add(&mut into.sync, spent),
            Cause::Memory => add(&mut into.memory, spent),
            Cause::Idle => add(&mut into.idle, spent),
        }
        self.current = next;
        self.since = self.since.max(now);
    }
}

fn add(slot: &mut Micros, spent: Micros) {
    *slot = slot.plus(spent);
}

impl Causes {
    /// The sum of both, cause by cause.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        self.each(other, Micros::plus)
    }

    /// What this holds beyond another, cause by cause.
    #[must_use]
    pub fn beyond(self, other: Self) -> Self {
        self.each(other, |all, others| Micros(all.0.saturating_sub(others.0)))
    }

    fn each(self, other: Self, both: impl Fn(Micros, Micros) -> Micros) -> Self {
        Self {
            source_disk: both(self.source_disk, other.source_disk),
            cpu: both(self.cpu, other.cpu),
            network: both(self.network, other.network),
            window: both(self.window, other.window),
            limiter: both(self.limiter, other.limiter),
            starved: both(self.starved, other.starved),
            sink_disk: both(self.sink_disk, other.sink_disk),
            sync: both(self.sync, other.sync),
            memory: both(self.memory, other.memory),
            idle: both(self.idle, other.idle),
            loss: both(self.loss, other.loss),
            peer_socket: both(self.peer_socket, other.peer_socket),
            sink_cpu: both(self.sink_cpu, other.sink_cpu),
        }
    }
}
