//! What both ends of a session agreed on.

use floe_proto::codec::Agreed;
use floe_proto::frame::{PackLevel, Packing};

/// What both ends of a session agreed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Terms {
    /// The longest piece, as WELCOME said.
    pub piece_bytes_max: u32,
    /// The most effort for packing pieces; nothing where they do not travel packed.
    pub packing: Option<PackLevel>,
    /// Whether entries may travel packed.
    pub packed_entries: Agreed,
}

impl Terms {
    /// What follows from what both ends can, where this one packs with so much effort at most.
    #[must_use]
    pub fn new(piece_bytes_max: u32, most: Option<PackLevel>, abilities: u64) -> Self {
        let both = |ability| abilities & ability != 0;
        let packing = most.filter(|_| both(Packing::ABILITY));
        let entries = most.is_some() && both(Packing::ENTRIES_ABILITY);
        let packed_entries = if entries { Agreed::Yes } else { Agreed::No };
        Self { piece_bytes_max, packing, packed_entries }
    }
}
