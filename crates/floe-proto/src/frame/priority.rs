//! Whether a transfer gives way to other traffic: a wish. How is the sender's matter.

/// What a transfer is beside other traffic on its path.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Priority {
    /// It takes its share.
    #[default]
    Normal,
    /// It takes what others leave.
    Background,
}

impl Priority {
    /// The ability bit of a server whose gets give way where they are asked to.
    pub const ABILITY: u64 = 32;
}
