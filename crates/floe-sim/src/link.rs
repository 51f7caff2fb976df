//! One connection: bytes in two directions that split, wait, and end, but never change order.
//!
//! A direction is named by the side that hears it. What ends it is told where the bytes before it
//! have been read, or at once with a reset.

use crate::dice::Dice;
use crate::options::Network;
use floe_types::{Micros, Time};
use std::collections::VecDeque;

/// Which end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Side {
    /// Whoever dialled.
    Client,
    /// Whoever was dialled.
    Server,
}

impl Side {
    /// The one it talks with.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Link {
    /// The machine that dialled.
    pub client: usize,
    /// What it takes longer than others, one way.
    lag: Micros,
    to_client: Way,
    to_server: Way,
}

/// One direction.
#[derive(Debug, Default)]
pub struct Way {
    wire: VecDeque<(Time, Vec<u8>)>,
    under_way: usize,
    /// What has arrived and was not read.
    pub arrived: VecDeque<u8>,
    last: Time,
    /// Nothing arrives before this.
    pub held_until: Time,
    /// When it is looked at next.
    alarm: Option<Time>,
    end: End,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum End {
    #[default]
    Open,
    /// Nothing comes behind what is under way.
    After,
    /// It is over, whatever was under way.
    Now,
    /// What is sent is lost, and nobody is told.
    Silent,
}

/// What became of bytes.
pub struct Sent {
    /// How many were taken.
    pub taken: usize,
    /// The connection broke under them.
    pub broke: Option<Break>,
}

/// How a connection breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Break {
    /// Both ways, at once.
    Reset,
    /// One way, behind what is under way.
    HalfClose,
    /// Silently, both ways.
    BlackHole,
}

impl Link {
    /// A new connection of a client's machine.
    #[must_use]
    pub fn new(client: usize, lag: Micros) -> Self {
        Self { client, lag, to_client: Way::default(), to_server: Way::default() }
    }

    /// What a side hears.
    pub const fn to(&mut self, side: Side) -> &mut Way {
        match side {
            Side::Client => &mut self.to_client,
            Side::Server => &mut self.to_server,
        }
    }

    /// Sends bytes to a side, as many as there is room for.
    pub fn send(
        &mut self,
        to: Side,
        bytes: &[u8],
        now: Time,
        network: &Network,
        dice: &mut Dice,
    ) -> Sent {
        let lag = self.lag;
        let way = self.to(to);
        let room = network.window_bytes.saturating_sub(way.under_way + way.arrived.len());
        let taken = room.min(bytes.len());
        let mut sent = Sent { taken, broke: None };
        if way.end != End::Open {
            sent.taken = bytes.len();
            return sent;
        }
        let mut rest = &bytes[..taken];
        while !rest.is_empty() {
            let most = if dice.one_in(16) { 8 } else { network.segment_bytes_max };
            let (segment, behind) = rest.split_at((1 + dice.index(most)).min(rest.len()));
            rest = behind;
            if let Some(broke) = breaks(network, dice) {
                sent.broke = Some(broke);
                return sent;
            }
            let mut at = now.plus(network.delay).plus(lag).plus(dice.span(network.jitter));
            if dice.hits(network.stall) {
                at = at.plus(dice.span(network.stall_max));
            }
            at = at.max(way.last).max(way.held_until);
            way.last = at;
            way.under_way += segment.len();
            way.wire.push_back((at, segment.to_vec()));
        }
        sent
    }

    /// A side is gone: what it sent still arrives, what is sent to it is lost.
    pub fn leave(&mut self, side: Side) {
        self.to(side.other()).finish();
        let own = self.to(side);
        own.end = if own.end == End::Silent { End::Silent } else { End::Now };
        own.arrived.clear();
        own.wire.clear();
        own.under_way = 0;
    }

    /// Breaks the connection; who must be told at once.
    pub fn break_it(&mut self, how: Break, towards: Side) {
        match how {
            Break::Reset => {
                self.to_client.end = End::Now;
                self.to_server.end = End::Now;
            }
            Break::HalfClose => self.to(towards).finish(),
            Break::BlackHole => {
                self.to_client.end = End::Silent;
                self.to_server.end = End::Silent;
            }
        }
    }
}

fn breaks(network: &Network, dice: &mut Dice) -> Option<Break> {
    if dice.hits(network.reset) {
        Some(Break::Reset)
    } else if dice.hits(network.half_close) {
        Some(Break::HalfClose)
    } else if dice.hits(network.black_hole) {
        Some(Break::BlackHole)
    } else {
        None
    }
}

impl Way {
    /// Moves what is due to where it can be read.
    pub fn arrive(&mut self, now: Time) {
        if self.alarm.is_some_and(|alarm| alarm <= now) {
            self.alarm = None;
        }
        while self.wire.front().is_some_and(|(at, _)| (*at).max(self.held_until) <= now) {
            let Some((_, bytes)) = self.wire.pop_front() else { return };
            self.under_way -= bytes.len();
            if self.end != End::Silent {
                self.arrived.extend(bytes);
            }
        }
    }

    /// When it must be looked at next, unless that is known already.
    pub fn next_alarm(&mut self) -> Option<Time> {
        let due = self.wire.front()?.0.max(self.held_until);
        if self.alarm.is_some_and(|alarm| alarm <= due) {
            return None;
        }
        self.alarm = Some(due);
        Some(due)
    }

    /// Nothing more is sent this way; what is under way still arrives.
    pub fn finish(&mut self) {
        if self.end == End::Open {
            self.end = End::After;
        }
    }

    /// Whether the reader is told that it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        match self.end {
            End::Open | End::Silent => false,
            End::After => self.arrived.is_empty() && self.wire.is_empty(),
            End::Now => true,
        }
    }

    /// Whether there is room for more.
    #[must_use]
    pub fn has_room(&self, network: &Network) -> bool {
        self.end != End::Open || self.under_way + self.arrived.len() < network.window_bytes
    }
}
