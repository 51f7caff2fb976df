//! What a server allows, whatever its tickets say.

use floe_proto::frame::Verbs;
use floe_types::Mode;

/// What a server allows, whatever a ticket says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// Whether nothing may be changed.
    pub read_only: ReadOnly,
    /// Whether clients without a ticket may read and list.
    pub public: Public,
    /// Permission bits that nothing gets that clients put.
    pub umask: Mode,
}

/// Whether nothing may be changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadOnly {
    /// Nothing.
    Yes,
    /// What the ticket allows.
    No,
}

/// Whether clients without a ticket may read and list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Public {
    /// They may.
    Yes,
    /// They are refused.
    No,
}

impl Access {
    /// What is left of the verbs that a ticket allows.
    pub(super) fn leaves(self, verbs: Verbs) -> Verbs {
        match self.read_only {
            ReadOnly::Yes => verbs.only(Verbs::READ.and(Verbs::LIST)).and(Verbs::UNCHANGING),
            ReadOnly::No => verbs,
        }
    }
}
