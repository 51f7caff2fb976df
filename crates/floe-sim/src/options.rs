//! What can go wrong, as lists; and how much of it a seed meets.
//!
//! A seed meets each kind of trouble or not, so that no kind is always hidden behind another.

use crate::dice::Dice;
use floe_store::faulty::{Chance, Faults, Offer};
use floe_store::simulated::Survivors;
use floe_types::{ByteCount, Limits, Micros};

/// Everything of one world.
#[derive(Clone, Debug)]
pub struct Options {
    /// Who moves what.
    pub work: Work,
    /// Between machines.
    pub network: Network,
    /// On a server's or client's disk.
    pub disk: DiskTrouble,
    /// To processes and machines.
    pub machines: Machines,
    /// To what is sent, and to clocks.
    pub people: People,
    /// Whether any byte may ever change on the way.
    pub flips: Flips,
    /// After so many events, or
    pub calm_after_events: u64,
    /// so long, nothing goes wrong any more.
    pub calm_after: Micros,
    /// How long all may then take to end well.
    pub patience: Micros,
}

/// Who moves what.
#[derive(Clone, Debug)]
pub struct Work {
    /// Client machines.
    pub clients: usize,
    /// Commands of each, one after the other.
    pub errands: usize,
    /// The largest file.
    pub file_bytes_max: usize,
    /// Files are large and chunks small: several streams have work at once.
    pub wide: Tries,
    /// Streams of a client; `None` for auto.
    pub streams: Option<u32>,
    /// The window of a transfer.
    pub window: ByteCount,
    /// Pieces of a client.
    pub piece_bytes: ByteCount,
    /// What a session may hold in buffers.
    pub buffers: ByteCount,
    /// Two clients put different files under one name.
    pub rivals: Tries,
    /// They are one client to the server: a machine and its copy.
    pub twins: Tries,
    /// They replace nothing.
    pub no_clobber: Tries,
}

/// How a connection behaves.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// One way, at least;
    pub delay: Micros,
    /// at most so much more.
    pub jitter: Micros,
    /// Bytes that arrive at once, at most.
    pub segment_bytes_max: usize,
    /// Bytes under way or unread at most, each way.
    pub window_bytes: usize,
    /// A segment, and all behind it, is late,
    pub stall: Chance,
    /// by at most this.
    pub stall_max: Micros,
    /// Both ways end where a segment should arrive.
    pub reset: Chance,
    /// One way ends where a segment should arrive.
    pub half_close: Chance,
    /// From a segment on nothing arrives, and nobody is told.
    pub black_hole: Chance,
    /// A byte of a piece is another.
    pub flip_piece: Chance,
    /// A byte of any frame is another.
    pub flip_frame: Chance,
    /// A connection does not come about.
    pub refuse: Chance,
    /// A connection is a slow one,
    pub slow: Chance,
    /// and takes at most so much longer, one way.
    pub slow_max: Micros,
    /// So often one connection of several of a session is reset, never its first.
    pub losses: u32,
    /// So often a client's connections all stall, then go on.
    pub partitions: u32,
    /// For at most so long.
    pub partition_max: Micros,
}

/// Whether bytes may change on the way.
#[derive(Clone, Copy, Debug)]
pub struct Flips {
    /// Those of pieces.
    pub pieces: Tries,
    /// Any.
    pub frames: Tries,
}

/// How disks behave.
#[derive(Clone, Copy, Debug)]
pub struct DiskTrouble {
    /// What fails, while it does.
    pub faults: Faults,
    /// So often a disk begins to fail so, for a while.
    pub spells: u32,
    /// At most so long.
    pub spell_max: Micros,
    /// An operation takes at most this,
    pub busy_max: Micros,
    /// or, where it is stuck,
    pub stuck: Chance,
    /// at most this.
    pub stuck_max: Micros,
    /// So often a disk is full, then has room again.
    pub full: u32,
}

/// What happens to processes and machines.
#[derive(Clone, Copy, Debug)]
pub struct Machines {
    /// So often the server's process is killed.
    pub server_kills: u32,
    /// So often a client's process is killed.
    pub client_kills: u32,
    /// So often the server loses power.
    pub server_cuts: u32,
    /// So often a client loses power.
    pub client_cuts: u32,
    /// What a cut leaves.
    pub survivors: Survivors,
    /// Bytes of journals that rot while a machine is down.
    pub rot: Chance,
    /// So often the server is told to drain.
    pub drains: u32,
    /// How long one is down at most.
    pub down_max: Micros,
    /// A server that starts again has other limits.
    pub other_limits: Tries,
    /// Of what is held of an object so many ranges are told; at both ends, which must agree.
    pub have_ranges_max: u32,
    /// Two processes serve one directory.
    pub two_servers: Tries,
}

/// What people and other programs do.
#[derive(Clone, Copy, Debug)]
pub struct People {
    /// So often a source is changed while it may be read.
    pub changes: u32,
    /// So often a command is stopped with Ctrl-C, then given again.
    pub cancels: u32,
    /// So often a civil clock jumps.
    pub jumps: u32,
    /// By at most this, either way.
    pub jump_max: Micros,
    /// Requests beside each session's transfer, at most.
    pub requests: u64,
    /// Some have tickets that allow less than all.
    pub narrow: Tries,
}

/// Whether something is tried at all.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tries {
    /// It is.
    Yes,
    /// It is not.
    No,
}

impl Options {
    /// What a seed meets.
    #[must_use]
    pub fn draw(dice: &mut Dice) -> Self {
        let work = Work::draw(dice);
        let network = Network::draw(dice);
        let ever = |chance| if chance == Chance::NEVER { Tries::No } else { Tries::Yes };
        let flips = Flips { pieces: ever(network.flip_piece), frames: ever(network.flip_frame) };
        let drawn = Self {
            network,
            flips,
            disk: DiskTrouble::draw(dice),
            machines: Machines::draw(dice),
            people: People::draw(dice),
            calm_after_events: 200 + dice.below(6_000),
            calm_after: Micros::from_secs(600),
            patience: Micros::from_secs(1_800),
            work,
        };
        if dice.one_in(6) { drawn.losing_only_connections() } else { drawn }
    }

    /// The same, where nothing but processes and connections is lost.
    fn losing_only_connections(mut self) -> Self {
        self.flips = Flips { pieces: Tries::No, frames: Tries::No };
        self.network.flip_piece = Chance::NEVER;
        self.network.flip_frame = Chance::NEVER;
        (self.disk.spells, self.disk.full) = (0, 0);
        (self.machines.server_cuts, self.machines.client_cuts) = (0, 0);
        self.machines.have_ranges_max = Limits::default().have_ranges_max;
        (self.people.changes, self.people.jumps) = (0, 0);
        (self.people.narrow, self.work.rivals) = (Tries::No, Tries::No);
        (self.work.no_clobber, self.work.clients) = (Tries::No, self.work.clients.min(2));
        self
    }

    /// Whether nothing but processes and connections is ever lost.
    #[must_use]
    pub fn loses_only_connections(&self) -> bool {
        let Self { flips, disk, machines, people, work, .. } = self;
        let bytes = flips.pieces == Tries::No && flips.frames == Tries::No;
        let disks = disk.spells == 0 && disk.full == 0;
        let machines = machines.server_cuts == 0 && machines.client_cuts == 0;
        let alone = work.rivals == Tries::No && people.narrow == Tries::No;
        let people = people.changes == 0 && people.jumps == 0;
        bytes && disks && machines && people && alone
    }

    /// Nothing goes wrong from now on.
    pub fn calm(&mut self) {
        let Network { delay, jitter, segment_bytes_max, window_bytes, .. } = self.network;
        self.network = Network { delay, jitter, segment_bytes_max, window_bytes, ..CALM_NETWORK };
        let DiskTrouble { busy_max, spells, full, .. } = self.disk;
        self.disk = DiskTrouble { busy_max, spells, full, ..CALM_DISK };
    }

    /// What the limits of all have in common.
    #[must_use]
    pub fn common_limits(&self) -> Limits {
        let plain = Limits::default();
        let have_ranges_max = self.machines.have_ranges_max;
        let want_ranges_max = plain.want_ranges_max.min(have_ranges_max);
        Limits { stream_worth_bytes: STREAM_WORTH_BYTES, have_ranges_max, want_ranges_max, ..plain }
    }

    /// Whether all that is held is told.
    #[must_use]
    pub fn tells_all(&self) -> bool {
        self.machines.have_ranges_max == Limits::default().have_ranges_max
    }

    /// The limits of a server.
    #[must_use]
    pub fn limits(&self, dice: &mut Dice, other: Tries) -> Limits {
        let plain = Limits {
            checkpoint_bytes: ByteCount(1 << 20),
            checkpoint: Micros::from_secs(1),
            ..self.common_limits()
        };
        if other == Tries::No {
            return plain;
        }
        Limits {
            checkpoint_bytes: ByteCount(256 << (10 + dice.below(8))),
            checkpoint: Micros::from_millis(dice.between(50, 5_000)),
            pieces_ahead_max: u32::try_from(dice.between(1, 6)).unwrap_or(1),
            streams_max: u32::try_from(dice.between(1, 8)).unwrap_or(1),
            objects_open_max: u32::try_from(dice.between(1, 128)).unwrap_or(1),
            small_objects_open_max: u32::try_from(dice.between(1, 256)).unwrap_or(1),
            batch: Micros::from_millis(dice.between(1, 400)),
            ..plain
        }
    }
}

impl Flips {
    /// Whether any byte of a frame may be another.
    #[must_use]
    pub fn may_change_frames(&self) -> bool {
        self.frames == Tries::Yes
    }
}

impl Work {
    fn draw(dice: &mut Dice) -> Self {
        let mut piece = |least| ByteCount(1 << dice.between(least, 18));
        let piece_bytes = piece(16);
        let wide = tries(dice, 4);
        // As exponents of 2.
        let (streams, least, widest) = match wide {
            Tries::Yes => (dice.between(2, 4), 20, 22),
            Tries::No => (dice.below(5), 18, 22),
        };
        let rivals = tries(dice, 3);
        Self {
            clients: if rivals == Tries::Yes { 2 + dice.index(2) } else { 1 + dice.index(3) },
            errands: 1 + dice.index(4),
            file_bytes_max: 1 << dice.between(least, widest),
            wide,
            streams: u32::try_from(streams).ok().filter(|count| *count > 0),
            window: ByteCount(1 << dice.between(least - 1, widest - 1)),
            piece_bytes,
            buffers: ByteCount(1 << dice.between(18, 22)),
            rivals,
            twins: tries(dice, 2),
            no_clobber: if rivals == Tries::Yes { tries(dice, 3) } else { Tries::No },
        }
    }
}

impl Network {
    fn draw(dice: &mut Dice) -> Self {
        Self {
            delay: Micros(dice.between(10, 60_000)),
            jitter: Micros(dice.below(20_000)),
            segment_bytes_max: 1 << dice.between(11, 17),
            window_bytes: 1 << dice.between(14, 19),
            stall: chance(dice, 200),
            stall_max: Micros::from_secs(90),
            reset: chance(dice, 60),
            half_close: chance(dice, 30),
            black_hole: chance(dice, 20),
            flip_piece: chance(dice, 500),
            flip_frame: if dice.one_in(12) { Chance(20) } else { Chance::NEVER },
            refuse: chance(dice, 3_000),
            slow: chance(dice, 5_000),
            slow_max: Micros(dice.between(1, 2_000) * 1_000),
            losses: count(dice, 5),
            partitions: count(dice, 3),
            partition_max: Micros::from_secs(100),
        }
    }
}

impl DiskTrouble {
    fn draw(dice: &mut Dice) -> Self {
        let without = |dice: &mut Dice| {
            if dice.one_in(4) { Offer::Refused } else { Offer::AsBelow }
        };
        let mut drawn = Self {
            faults: Faults {
                short_read: chance(dice, 2_000),
                read_error: chance(dice, 300),
                cache_miss: chance(dice, 5_000),
                write_error: chance(dice, 300),
                sync_error: if dice.one_in(8) { Chance(3_000) } else { chance(dice, 2_000) },
                lookup_error: chance(dice, 200),
                name_error: chance(dice, 500),
                name_error_after: chance(dice, 500),
                metadata_error: chance(dice, 500),
                without_xattr: without(dice),
                without_allocate: without(dice),
                without_holes: Offer::AsBelow,
                space_bytes_max: None,
                operations_max: None,
            },
            spells: count(dice, 4),
            spell_max: Micros::from_secs(10),
            busy_max: Micros(dice.between(10, 50_000)),
            stuck: chance(dice, 20),
            stuck_max: Micros::from_secs(150),
            full: count(dice, 2),
        };
        // What cannot set space aside cannot give it back.
        drawn.faults.without_holes = drawn.faults.without_allocate;
        drawn
    }
}

impl Machines {
    fn draw(dice: &mut Dice) -> Self {
        let any = dice.one_in(2);
        Self {
            server_kills: count(dice, 4),
            client_kills: count(dice, 4),
            server_cuts: count(dice, 3),
            client_cuts: count(dice, 3),
            survivors: if any { Survivors::AnyChanges } else { Survivors::FirstChanges },
            rot: chance(dice, 5_000),
            drains: count(dice, 1),
            down_max: Micros::from_secs(20),
            other_limits: tries(dice, 2),
            have_ranges_max: match dice.below(3) {
                0 => u32::try_from(dice.between(2, 6)).unwrap_or(2),
                _ => Limits::default().have_ranges_max,
            },
            two_servers: tries(dice, 4),
        }
    }
}

impl People {
    fn draw(dice: &mut Dice) -> Self {
        Self {
            changes: count(dice, 4),
            cancels: count(dice, 2),
            jumps: count(dice, 3),
            jump_max: Micros::from_secs(10 * 24 * 3_600),
            requests: if dice.one_in(3) { 4 } else { 0 },
            narrow: tries(dice, 6),
        }
    }
}

fn tries(dice: &mut Dice, one_in: u64) -> Tries {
    if dice.one_in(one_in) { Tries::Yes } else { Tries::No }
}

/// Mostly never; else up to `most`.
fn chance(dice: &mut Dice, most: u32) -> Chance {
    if dice.one_in(3) {
        Chance(u32::try_from(1 + dice.below(u64::from(most))).unwrap_or(0))
    } else {
        Chance::NEVER
    }
}

fn count(dice: &mut Dice, most: u64) -> u32 {
    if dice.one_in(2) { u32::try_from(dice.below(most + 1)).unwrap_or(0) } else { 0 }
}

/// Files here are small: a further stream is worth its dial for less.
pub const STREAM_WORTH_BYTES: ByteCount = ByteCount(64 << 10);

const CALM_NETWORK: Network = Network {
    delay: Micros::ZERO,
    jitter: Micros::ZERO,
    segment_bytes_max: 1,
    window_bytes: 1,
    stall: Chance::NEVER,
    stall_max: Micros::ZERO,
    reset: Chance::NEVER,
    half_close: Chance::NEVER,
    black_hole: Chance::NEVER,
    flip_piece: Chance::NEVER,
    flip_frame: Chance::NEVER,
    refuse: Chance::NEVER,
    slow: Chance::NEVER,
    slow_max: Micros::ZERO,
    losses: 0,
    partitions: 0,
    partition_max: Micros::ZERO,
};

const CALM_DISK: DiskTrouble = DiskTrouble {
    faults: CALM_FAULTS,
    spells: 0,
    spell_max: Micros::ZERO,
    busy_max: Micros::ZERO,
    stuck: Chance::NEVER,
    stuck_max: Micros::ZERO,
    full: 0,
};

/// A disk that does what it is asked.
pub const CALM_FAULTS: Faults = Faults {
    short_read: Chance::NEVER,
    read_error: Chance::NEVER,
    cache_miss: Chance::NEVER,
    write_error: Chance::NEVER,
    sync_error: Chance::NEVER,
    lookup_error: Chance::NEVER,
    name_error: Chance::NEVER,
    name_error_after: Chance::NEVER,
    metadata_error: Chance::NEVER,
    without_xattr: Offer::AsBelow,
    without_allocate: Offer::AsBelow,
    without_holes: Offer::AsBelow,
    space_bytes_max: None,
    operations_max: None,
};
