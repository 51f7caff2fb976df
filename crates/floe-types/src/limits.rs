//! Every bound in one place, with the relations among them asserted where they are made.
//!
//! A loop, queue, buffer, wait or retry without a bound from here is a bug. Units stand last in a
//! name.

use crate::number::{ByteCount, Micros};

/// The bounds of one end. `Limits::default()` is what the product ships.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Limits {
    /// The longest frame but DATA.
    pub frame_bytes_max: u32,
    /// The longest frame before WELCOME.
    pub greeting_bytes_max: u32,
    /// How long the greeting may take.
    pub greeting: Micros,
    /// The largest piece.
    pub piece_bytes_max: u32,
    /// The smallest piece a full buffer is cut to.
    pub piece_bytes_min: u32,
    /// Streams of one session.
    pub streams_max: u32,
    /// With so much work for each a further stream is worth its dial on any path.
    pub stream_worth_bytes: ByteCount,
    /// Transfers of one session at once.
    pub transfers_max: u32,
    /// Requests of one session at once.
    pub requests_max: u32,
    /// Entries announced and not finished, per transfer.
    pub entries_ahead_max: u32,
    /// What the paths and link texts take of all entries of a session that are announced and have
    /// not ended, directories until their end has: `ObjectPath::footprint`, PROTOCOL.md 3. A sender
    /// stops well below.
    pub announced_bytes_max: ByteCount,
    /// Entries that hold a file open at once, per session.
    pub objects_open_max: u32,
    /// Objects of at most `UNASKED_BYTES` that may be open at once.
    pub small_objects_open_max: u32,
    /// The bytes handed to the network and not yet recorded, per transfer.
    pub window_bytes_max: ByteCount,
    /// Pieces read ahead or being written, per stream.
    pub pieces_ahead_max: u32,
    /// Attempts for one chunk before the object fails.
    pub chunk_attempts_max: u32,
    /// Ranges of one WANT frame.
    pub want_ranges_max: u32,
    /// Ranges of all WANT frames of one entry.
    pub have_ranges_max: u32,
    /// Ranges that are held, as far as they do not join, of all objects of a session.
    pub held_ranges_max: u32,
    /// Names of one page of a directory.
    pub page_entries_max: u32,
    /// Send something at least this often while there is work.
    pub heartbeat: Micros,
    /// Give up after so much silence.
    pub silence: Micros,
    /// Begin again after so long in which neither end had anything to do.
    pub stall: Micros,
    /// A batch of small objects closes at so many entries,
    pub batch_entries_max: u32,
    /// so many bytes,
    pub batch_bytes_max: ByteCount,
    /// or after so long.
    pub batch: Micros,
    /// A checkpoint every so many bytes
    pub checkpoint_bytes: ByteCount,
    /// or so often.
    pub checkpoint: Micros,
}

impl Default for Limits {
    fn default() -> Self {
        let limits = Self {
            frame_bytes_max: 64 << 10,
            greeting_bytes_max: 4 << 10,
            greeting: Micros::from_secs(10),
            piece_bytes_max: 1 << 20,
            piece_bytes_min: 64 << 10,
            streams_max: 64,
            stream_worth_bytes: ByteCount(4 << 20),
            transfers_max: 16,
            requests_max: 64,
            entries_ahead_max: 4096,
            announced_bytes_max: ByteCount(48 << 20),
            objects_open_max: 128,
            small_objects_open_max: 1024,
            window_bytes_max: ByteCount(256 << 20),
            pieces_ahead_max: 4,
            chunk_attempts_max: 8,
            want_ranges_max: 512,
            have_ranges_max: 65_536,
            held_ranges_max: 131_072,
            page_entries_max: 256,
            heartbeat: Micros::from_secs(15),
            silence: Micros::from_secs(60),
            stall: Micros::from_secs(120),
            batch_entries_max: 1024,
            batch_bytes_max: ByteCount(32 << 20),
            batch: Micros::from_millis(200),
            checkpoint_bytes: ByteCount(256 << 20),
            checkpoint: Micros::from_secs(5),
        };
        limits.assert_sound();
        limits
    }
}

impl Limits {
    /// The piece size where buffers are not scarce.
    pub const PIECE_BYTES: u32 = 256 << 10;
    /// The longest file that may be sent before it was wanted.
    pub const UNASKED_BYTES: ByteCount = ByteCount(64 << 10);
    /// Holes of one object that are known; the longest, where it has more. The others are read.
    pub const HOLES_MAX: usize = 4096;
    /// What a probe may ask for: more than anybody waits for.
    pub const PROBE_BYTES_MAX: ByteCount = ByteCount(64 << 30);
    /// The window where the person names none.
    pub const WINDOW_BYTES: ByteCount = ByteCount(64 << 20);

    /// Panics where two bounds contradict each other: a programmer's error, found by every test.
    pub fn assert_sound(&self) {
        assert!(
            self.piece_bytes_min <= Self::PIECE_BYTES && Self::PIECE_BYTES <= self.piece_bytes_max
        );
        assert!(self.piece_bytes_min.is_power_of_two() && self.piece_bytes_max.is_power_of_two());
        assert!(self.greeting_bytes_max <= self.frame_bytes_max);
        assert!(self.heartbeat.0 * 2 < self.silence.0);
        assert!(self.silence < self.stall);
        assert!(self.batch_entries_max <= self.entries_ahead_max);
        assert!(
            self.batch_bytes_max <= Self::WINDOW_BYTES
                && Self::WINDOW_BYTES <= self.window_bytes_max
        );
        assert!(self.want_ranges_max <= self.have_ranges_max);
        // What is told leaves room for what comes.
        assert!(self.have_ranges_max <= self.held_ranges_max / 2);
        // One range of a WANT takes at most 96 bytes, one name of a page at most 400.
        assert!(self.want_ranges_max * 96 < self.frame_bytes_max);
    }
}
