//! Which cause is the limit of a transfer.
//!
//! The sender's times make up the whole. What it spent waiting for the socket or the window is what
//! the receiver was busy with meanwhile, as far as the receiver says that it was; the rest is the
//! path's. Where the other end has said too little there is nothing honest to say.

use crate::frame::{Causes, Direction};
use floe_types::Micros;

/// What limits a transfer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Limit {
    /// What the sender reads from.
    SourceDisk,
    /// The sender's processor.
    SenderCpu,
    /// What the path carries.
    Network,
    /// Losses on the path.
    Loss,
    /// The window of the receiver's TCP.
    PeerSocket,
    /// The window of the transfer: what is sent and not yet answered.
    Window,
    /// The rate that a person set.
    Limiter,
    /// What the receiver writes to.
    SinkDisk,
    /// The receiver's processor.
    ReceiverCpu,
    /// Making durable.
    Sync,
    /// Buffers.
    Memory,
}

/// A limit, and how much of the time went to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Limited {
    /// What.
    pub by: Limit,
    /// At most 100.
    pub percent: u8,
}

impl Causes {
    /// The limit of a transfer of that direction, seen from its client; from the times of both
    /// ends. `None` where the other end has said too little.
    #[must_use]
    pub fn limit(&self, direction: Direction) -> Option<Limited> {
        if !self.is_heard(direction) {
            return None;
        }
        let shares = self.shares(direction);
        let whole: u128 = shares.iter().map(|(_, time)| u128::from(*time)).sum();
        let (by, most) = shares.into_iter().max_by_key(|(_, time)| *time)?;
        let percent = (u128::from(most) * 100).checked_div(whole)?;
        Some(Limited { by, percent: u8::try_from(percent).ok()? })
    }

    /// Whether the other end, which tells its times now and then, has told enough of them.
    fn is_heard(&self, direction: Direction) -> bool {
        let waits = [self.network, self.window, self.loss, self.peer_socket];
        let sender = sum(&[self.source_disk, self.cpu]).saturating_add(sum(&waits));
        let receiver = sum(&[self.starved, self.sink_disk, self.memory, self.sink_cpu]);
        match direction {
            Direction::Put => receiver.saturating_add(self.sync.0) >= sender / 4,
            Direction::Get => sender > 0 && sender >= receiver / 4,
        }
    }

    /// What the sender's time went to, and making durable, for which it has none.
    fn shares(&self, direction: Direction) -> [(Limit, u64); 11] {
        // A window can be full because what came is just being made durable.
        let window = self.window.0.saturating_sub(self.sync.0);
        let waits = [self.network.0, self.loss.0, self.peer_socket.0, window];
        let waiting = sum(&waits.map(Micros));
        let is_put = direction == Direction::Put;
        let theirs_limiter = if is_put { 0 } else { self.limiter.0 };
        let theirs = [self.sink_disk.0, self.sink_cpu.0, self.memory.0, theirs_limiter];
        let busy = sum(&theirs.map(Micros));
        let taken = waiting.min(busy);
        let [sink, sink_cpu, memory, limiter] = theirs.map(|time| part(time, taken, busy));
        let rest = waiting - taken;
        let [network, loss, peer_socket, window] = waits.map(|time| part(time, rest, waiting));
        // A sender is short of buffers, too, and a put is limited where it is sent.
        let memory = memory.max(if is_put { self.memory.0 } else { 0 });
        let limiter = if is_put { self.limiter.0 } else { limiter };
        [
            (Limit::SourceDisk, self.source_disk.0),
            (Limit::SenderCpu, self.cpu.0),
            (Limit::Network, network),
            (Limit::Loss, loss),
            (Limit::PeerSocket, peer_socket),
            (Limit::Window, window),
            (Limit::Limiter, limiter),
            (Limit::SinkDisk, sink),
            (Limit::ReceiverCpu, sink_cpu),
            (Limit::Sync, self.sync.0),
            (Limit::Memory, memory),
        ]
    }
}

fn sum(times: &[Micros]) -> u64 {
    times.iter().fold(0, |sum, time| sum.saturating_add(time.0))
}

/// `time * taken / all`.
fn part(time: u64, taken: u64, all: u64) -> u64 {
    let scaled = (u128::from(time) * u128::from(taken)).checked_div(u128::from(all)).unwrap_or(0);
    u64::try_from(scaled).unwrap_or(u64::MAX)
}
