//! Whether packing pays on this stream now, where nobody said: the network must be what it waits
//! for, and packing must make it faster than it was.
//!
//! ```text
//!  Plain   --the connection is full, not for the receiver's sake, and packing keeps up--> Packing
//!  Packing --no faster than it was plain, or the receiver is the limit--> Plain, for a while
//!          --long not full: is the path faster by now?------------------> Plain, one look
//! ```
//! It is looked at a few times a second, by numbers alone; it has no clock. Whether bytes shrink is
//! another matter (`Taste`): what did not is not tried again for some bytes, or until another
//! object comes.

use floe_proto::command::PathSample;
use floe_proto::frame::{Causes, PackLevel};
use floe_types::{ByteCount, EntryId, Micros};

/// What is seen of a stream; all are totals since it began.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Seen {
    /// When.
    pub(super) at: Micros,
    /// How long the connection took nothing more.
    pub(super) full: Micros,
    /// How long pieces were being packed.
    pub(super) packing: Micros,
    /// Bytes of pieces that were handed over, as they are in their objects,
    pub(super) raw: ByteCount,
    /// and as they travel.
    pub(super) wire: ByteCount,
    /// What TCP says.
    pub(super) path: PathSample,
    /// Where the peer's time went, as it told last.
    pub(super) theirs: Causes,
}

/// Whether the peer is on this machine: what TCP says of a path means little then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Nearness {
    Here,
    Elsewhere,
}

/// The judgement.
#[derive(Debug)]
pub(super) struct Thrift {
    nearness: Nearness,
    last: Seen,
    told: Told,
    mode: Mode,
    level: PackLevel,
    /// How long the next disappointment lasts.
    rest: Micros,
}

/// What the peer's own times say, between its last two words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Nothing,
    /// It waits for bytes most of the time.
    Starved,
    /// It does not.
    Busy,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// Pieces go as they are; at the earliest then they do not.
    Plain { until: Micros },
    /// They are packed; plain, so many bytes a second went. Since then the connection is not full.
    Packing { plain: u64, roomy: Micros },
}

/// Thousandths of the time that the connection must be full.
const FULL: u64 = 700;
/// Thousandths of the time that the peer's window may be the reason.
const PEER_LIMITED: u64 = 250;
/// Thousandths of its time that a receiver waits, if it is not the limit.
const STARVED: u64 = 500;
/// What packing is taken to do at the least effort where nothing is known, in bytes a second: a
/// faster path is left alone.
const PACKS: u64 = 200_000_000;
/// Thousandths of the time spent packing: above it is done with less effort, below with more.
const PACKING_MUCH: u64 = 500;
const PACKING_LITTLE: u64 = 200;
/// How long a disappointment lasts, at first and at most.
const REST_MIN: Micros = Micros::from_secs(2);
const REST_MAX: Micros = Micros::from_secs(64);
/// After so long without a full connection nobody knows what the path would carry.
const ROOMY_MAX: Micros = Micros::from_secs(10);
/// Less time says nothing.
const LOOK_MIN: Micros = Micros(100_000);

impl Thrift {
    pub(super) fn new(nearness: Nearness) -> Self {
        Self {
            nearness,
            last: Seen::default(),
            told: Told::Nothing,
            mode: Mode::Plain { until: Micros::ZERO },
            level: PackLevel::MIN,
            rest: REST_MIN,
        }
    }

    /// The effort that pays now, if any does.
    pub(super) fn level(&self) -> Option<PackLevel> {
        matches!(self.mode, Mode::Packing { .. }).then_some(self.level)
    }

    /// Others of its session are packing: one that has seen nothing yet begins as they go on, and
    /// judges for itself from then on. Streams are added while a path is full.
    pub(super) fn follow(&mut self) {
        if self.last == Seen::default() {
            self.mode = Mode::Packing { plain: 0, roomy: Micros::ZERO };
        }
    }

    /// Judges by what happened since it looked last.
    pub(super) fn look(&mut self, seen: Seen) {
        let passed = Micros(seen.at.0.saturating_sub(self.last.at.0));
        if passed < LOOK_MIN {
            return;
        }
        let last = std::mem::replace(&mut self.last, seen);
        self.hear(last.theirs, seen.theirs);
        let part = |now: Micros, then: Micros| thousandths(now.0.saturating_sub(then.0), passed.0);
        let rate = |now: ByteCount, then: ByteCount| per_second(now.minus(then).0, passed);
        let full = part(seen.full, last.full) >= FULL;
        let (raw, wire) = (rate(seen.raw, last.raw), rate(seen.wire, last.wire));
        match self.mode {
            Mode::Plain { until } => {
                if full && seen.at >= until && self.is_path(&seen, &last) && wire < PACKS {
                    self.mode = Mode::Packing { plain: wire, roomy: Micros::ZERO };
                    self.level = PackLevel::MIN;
                }
            }
            Mode::Packing { .. } if full => {
                self.mode = match self.is_path(&seen, &last) {
                    true => Mode::Packing { plain: wire, roomy: Micros::ZERO },
                    false => self.disappointed(seen.at),
                };
                self.choose_level(part(seen.packing, last.packing));
            }
            Mode::Packing { plain, roomy } => {
                let roomy = Micros(roomy.0.saturating_add(passed.0));
                // Nothing to send says nothing.
                let slower = raw > 0 && raw < plain && part(seen.packing, last.packing) > 0;
                self.mode = match (slower, roomy >= ROOMY_MAX) {
                    (true, _) => self.disappointed(seen.at),
                    (false, true) => Mode::Plain { until: Micros::ZERO },
                    (false, false) => Mode::Packing { plain, roomy },
                };
                self.choose_level(part(seen.packing, last.packing));
            }
        }
    }

    fn disappointed(&mut self, at: Micros) -> Mode {
        let until = Micros(at.0.saturating_add(self.rest.0));
        self.rest = Micros(self.rest.0 * 2).min(REST_MAX);
        Mode::Plain { until }
    }

    fn choose_level(&mut self, packing: u64) {
        if packing > PACKING_MUCH {
            self.level = PackLevel::MIN;
        } else if packing < PACKING_LITTLE {
            self.level = PackLevel::AUTO_MAX;
        }
    }

    /// What the peer said since, if it said anything.
    fn hear(&mut self, before: Causes, now: Causes) {
        if before == now {
            return;
        }
        let since = now.beyond(before);
        let busy = [since.sink_disk, since.sink_cpu, since.sync, since.memory, since.limiter];
        let busy = busy.iter().fold(0_u64, |all, one| all.saturating_add(one.0));
        let all = busy.saturating_add(since.starved.0);
        self.told = match thousandths(since.starved.0, all) {
            STARVED.. => Told::Starved,
            _ => Told::Busy,
        };
    }

    /// Whether a full connection is the path's doing. A peer that does not read closes its window;
    /// so does whoever stands between and hands on slowly, and then the peer itself says that it
    /// waits.
    fn is_path(&self, seen: &Seen, last: &Seen) -> bool {
        let since = |now: Micros, then: Micros| now.0.saturating_sub(then.0);
        let sending = since(seen.path.sending, last.path.sending);
        let limited = since(seen.path.peer_limited, last.path.peer_limited);
        let open = sending > 0 && thousandths(limited, sending) < PEER_LIMITED;
        match self.told {
            Told::Starved => true,
            Told::Busy => false,
            Told::Nothing => self.nearness == Nearness::Elsewhere && open,
        }
    }
}

/// Whether what comes shrinks, as far as it was tried.
#[derive(Debug, Default)]
pub(super) struct Taste {
    object: Option<EntryId>,
    /// Bytes that go untried,
    skip: u64,
    /// and how many the next time.
    skip_next: u64,
}

/// Bytes that go untried behind what did not shrink, at first and at most.
const SKIP_MIN: u64 = 256 << 10;
const SKIP_MAX: u64 = 4 << 20;

impl Taste {
    /// A chunk of an object begins.
    pub(super) fn begin(&mut self, object: EntryId) {
        if self.object.replace(object) != Some(object) {
            (self.skip, self.skip_next) = (0, SKIP_MIN);
        }
    }

    /// Whether a piece is worth a try; it counts as sent.
    pub(super) fn wants(&mut self, len: ByteCount) -> bool {
        let skipped = self.skip > 0;
        self.skip = self.skip.saturating_sub(len.0);
        !skipped
    }

    pub(super) fn shrank(&mut self) {
        (self.skip, self.skip_next) = (0, SKIP_MIN);
    }

    pub(super) fn did_not(&mut self) {
        self.skip = self.skip_next.max(SKIP_MIN);
        self.skip_next = (self.skip * 2).min(SKIP_MAX);
    }
}

/// At most all of them.
fn thousandths(part: u64, whole: u64) -> u64 {
    part.min(whole).saturating_mul(1_000).checked_div(whole).unwrap_or(0)
}

fn per_second(bytes: u64, passed: Micros) -> u64 {
    bytes.saturating_mul(1_000_000).checked_div(passed.0).unwrap_or(0)
}

#[cfg(test)]
mod tests;
