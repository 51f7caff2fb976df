//! Where the time goes: every stream is in exactly one cause at a time.

use crate::frame::Causes;
use floe_types::Time;

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
}

impl CauseClock {
    pub(crate) const fn new(now: Time) -> Self {
        Self { current: Cause::Idle, since: now }
    }

    /// The time since the last turn turns out to belong to `cause`.
    pub(crate) fn blame(&mut self, cause: Cause) {
        self.current = cause;
    }

    /// Charges the time since the last call to the cause that held, and goes on with `next`.
    pub(crate) fn turn(&mut self, next: Cause, now: Time, into: &mut Causes) {
        let spent = now.since(self.since);
        let slot = match self.current {
            Cause::SourceDisk => &mut into.source_disk,
            Cause::Cpu => &mut into.cpu,
            Cause::Network => &mut into.network,
            Cause::Window => &mut into.window,
            Cause::Limiter => &mut into.limiter,
            Cause::Starved => &mut into.starved,
            Cause::SinkDisk => &mut into.sink_disk,
            Cause::Sync => &mut into.sync,
            Cause::Memory => &mut into.memory,
            Cause::Idle => &mut into.idle,
        };
        *slot = slot.plus(spent);
        self.current = next;
        self.since = self.since.max(now);
    }
}

impl Causes {
    /// The sum of both, cause by cause.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            source_disk: self.source_disk.plus(other.source_disk),
            cpu: self.cpu.plus(other.cpu),
            network: self.network.plus(other.network),
            window: self.window.plus(other.window),
            limiter: self.limiter.plus(other.limiter),
            starved: self.starved.plus(other.starved),
            sink_disk: self.sink_disk.plus(other.sink_disk),
            sync: self.sync.plus(other.sync),
            memory: self.memory.plus(other.memory),
            idle: self.idle.plus(other.idle),
        }
    }
}
