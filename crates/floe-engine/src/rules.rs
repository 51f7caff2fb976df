//! What of a server can be changed while it runs: bounds, the reserve of the disk, packing.

use floe_proto::frame::Packing;
use floe_types::{ByteCount, Code, Fault, Limits, ObjectPath};
use std::sync::{Arc, PoisonError, RwLock};

/// The bounds of a server. Whoever came before a change keeps those that were.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Those of each session.
    pub limits: Limits,
    /// Those of all together.
    pub caps: Caps,
    /// How large a tree may be.
    pub trees: TreeCaps,
    /// No byte of an object is staged that would leave less free on its file system.
    pub keep_free: ByteCount,
    /// What effort clients may ask for when they get; with `Never` pieces are not taken packed,
    /// either.
    pub packing: Packing,
}

/// How many may come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Caps {
    /// Connections in their greeting at once.
    pub greetings: u32,
    /// Those of one address (of IPv6: of one /64).
    pub greetings_per_address: u32,
    /// Sessions; never more than memory and descriptors allow.
    pub sessions: u32,
    /// Those of one ticket; where none is said, half of all.
    pub sessions_per_ticket: Option<u32>,
    /// Those of one address without a ticket; where none is said, a sixteenth.
    pub sessions_per_address: Option<u32>,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            greetings: 256,
            greetings_per_address: 32,
            sessions: 16_384,
            sessions_per_ticket: None,
            sessions_per_address: None,
        }
    }
}

/// How large the trees of transfers may be, whichever way they go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TreeCaps {
    /// Files, links and directories of one transfer, those that changed meanwhile once more; where
    /// none is said, as many as there are.
    pub entries: Option<u32>,
    /// Directories beneath one another that are put into or made, from the root or the ticket's
    /// prefix on. What is renamed counts as deep as its own name, and to a deeper place as what
    /// hangs beneath it.
    pub depth: u32,
}

impl Default for TreeCaps {
    fn default() -> Self {
        Self { entries: None, depth: ObjectPath::COMPONENTS_MAX }
    }
}

impl TreeCaps {
    /// Whether a transfer may have so many entries.
    ///
    /// # Errors
    /// `LimitExceeded`.
    pub(crate) fn check_count(&self, count: u64) -> Result<(), Fault> {
        match self.entries {
            Some(most) if count > u64::from(most) => {
                let detail = format!(
                    "transfer more than {most} entries at once: the server takes no larger tree"
                );
                Err(Fault::new(Code::LimitExceeded, detail))
            }
            _ => Ok(()),
        }
    }

    /// Whether a directory may be made there.
    ///
    /// # Errors
    /// `LimitExceeded`.
    pub(crate) fn check_depth(&self, path: &ObjectPath) -> Result<(), Fault> {
        if self.are_within(path) { Ok(()) } else { Err(self.too_deep(&format!("make {path:?}"))) }
    }

    /// Whether directories may be so deep.
    pub(crate) fn are_within(&self, path: &ObjectPath) -> bool {
        path.components().len() <= self.depth as usize
    }

    /// That what somebody does makes a directory that is too deep.
    pub(crate) fn too_deep(&self, doing: &str) -> Fault {
        let most = self.depth;
        let detail = format!(
            "{doing}: the server takes no more than {most} directories beneath one another"
        );
        Fault::new(Code::LimitExceeded, detail)
    }
}

impl Default for Rules {
    fn default() -> Self {
        let (limits, caps, trees) = (Limits::default(), Caps::default(), TreeCaps::default());
        Self { limits, caps, trees, keep_free: ByteCount::ZERO, packing: Packing::Auto }
    }
}

impl Rules {
    /// As a server goes by them: pieces are no larger than its buffers.
    fn settled(mut self) -> Self {
        self.limits.piece_bytes_max = self.limits.piece_bytes_max.min(Limits::PIECE_BYTES);
        self.limits.assert_sound();
        self
    }
}

/// The rules that hold now.
pub(crate) struct Board(RwLock<Arc<Rules>>);

impl Board {
    pub(crate) fn new(rules: Rules) -> Self {
        Self(RwLock::new(Arc::new(rules.settled())))
    }

    pub(crate) fn now(&self) -> Arc<Rules> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn set(&self, rules: Rules) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules.settled());
    }
}
