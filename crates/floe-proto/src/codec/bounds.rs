//! The bounds a decoder holds a peer to: the constants of floe/1, and this end's own `Limits`.

use crate::command::Violation;
use floe_types::{ChunkSize, Fault, Limits};

/// The longest frame of floe/1 but DATA, in bytes behind the head.
pub const FRAME_BYTES_MAX: usize = 64 << 10;
/// The longest name and version of a program, in bytes.
pub const AGENT_BYTES_MAX: usize = 128;
/// The longest line of a fault, in bytes.
pub const DETAIL_BYTES_MAX: usize = Fault::DETAIL_BYTES_MAX;
/// The longest transfer handle, in bytes.
pub const HANDLE_BYTES_MAX: usize = 1024;
/// The longest cursor of a directory page, in bytes.
pub const CURSOR_BYTES_MAX: usize = 512;
/// The longest text of a symbolic link, in bytes.
pub const LINK_BYTES_MAX: usize = 4095;
/// The longest name of a ticket in a receipt, in bytes.
pub const TICKET_NAME_BYTES_MAX: usize = 255;
/// The longest public key of a receipt, in bytes.
pub const KEY_BYTES_MAX: usize = 2048;
/// The longest signature of a receipt, in bytes.
pub const SIGNATURE_BYTES_MAX: usize = 1024;
/// The largest size of an object, and the largest offset in one.
pub const OBJECT_BYTES_MAX: u64 = i64::MAX as u64;
/// The longest chunk, in bytes.
pub(super) const CHUNK_BYTES_MAX: u64 = ChunkSize::MAX.bytes().0;
/// How deep an unknown value may nest.
pub(super) const DEPTH_MAX: u8 = 8;

/// What a decoder takes from `Limits`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CodecLimits {
    /// The longest frame but DATA.
    pub frame_bytes_max: u32,
    /// The longest frame before the greeting is over.
    pub greeting_bytes_max: u32,
    /// The longest piece of a DATA frame.
    pub piece_bytes_max: u32,
    /// The most entries of one frame.
    pub entries_max: u32,
    /// The most ranges of one WANT or DROP.
    pub ranges_max: u32,
    /// The most names of one page.
    pub names_max: u32,
    /// Whether pieces may come packed.
    pub packing: Agreed,
    /// Whether entries may.
    pub packed_entries: Agreed,
}

/// Whether both ends agreed on something.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Agreed {
    /// They did not.
    No,
    /// They did.
    Yes,
}

impl From<&Limits> for CodecLimits {
    fn from(limits: &Limits) -> Self {
        Self {
            frame_bytes_max: limits.frame_bytes_max,
            greeting_bytes_max: limits.greeting_bytes_max,
            piece_bytes_max: limits.piece_bytes_max,
            entries_max: limits.entries_ahead_max,
            ranges_max: limits.want_ranges_max,
            names_max: limits.page_entries_max,
            packing: Agreed::No,
            packed_entries: Agreed::No,
        }
    }
}

/// A violation, as an error.
pub(super) const fn bad<T>(what: &'static str) -> Result<T, Violation> {
    Err(Violation { what })
}
