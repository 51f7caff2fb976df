//! How much a ticket may bring in: pure counting.
//!
//! ```text
//! reserve --> reserved --spend--> used
//!                      --release--> nothing
//! ```
//! What is used and reserved together never passes the quota, whoever reserves at the same time and
//! in whatever order; what is used is never given back. The one exception is `find`: what is there
//! already is counted, whatever the quota, and nothing more is given while that does not fit.

use floe_types::{ByteCount, Code, EntryCount, Fault};
use std::fmt;

/// How much may be brought in, in all; nothing named is not bounded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Quota {
    /// Bytes of files.
    pub bytes: Option<ByteCount>,
    /// Files, links and directories.
    pub entries: Option<EntryCount>,
}

impl Quota {
    /// Whether it bounds anything.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.bytes.is_some() || self.entries.is_some()
    }
}

/// So many bytes in so many entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    /// Bytes of files.
    pub bytes: ByteCount,
    /// Files, links and directories.
    pub entries: EntryCount,
}

impl Load {
    /// Nothing.
    pub const NONE: Self = Self { bytes: ByteCount::ZERO, entries: EntryCount(0) };
    /// One entry without bytes.
    pub const ENTRY: Self = Self::of_entry(ByteCount::ZERO);

    /// One entry of so many bytes.
    #[must_use]
    pub const fn of_entry(bytes: ByteCount) -> Self {
        Self { bytes, entries: EntryCount(1) }
    }

    /// So many entries without bytes.
    #[must_use]
    pub fn of_entries(count: usize) -> Self {
        let entries = EntryCount(u32::try_from(count).unwrap_or(u32::MAX));
        Self { bytes: ByteCount::ZERO, entries }
    }

    /// Both; as much as can be counted where that is more.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let bytes = ByteCount(self.bytes.0.saturating_add(other.bytes.0));
        Self { bytes, entries: EntryCount(self.entries.0.saturating_add(other.entries.0)) }
    }

    /// What it has more than another.
    #[must_use]
    pub const fn beyond(self, other: Self) -> Self {
        let bytes = ByteCount(self.bytes.0.saturating_sub(other.bytes.0));
        Self { bytes, entries: EntryCount(self.entries.0.saturating_sub(other.entries.0)) }
    }
}

/// What of a quota is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Account {
    used: Load,
    reserved: Load,
}

/// The quota has no room for what was wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Short {
    /// So many more bytes, of those that are left.
    Bytes(ByteCount, ByteCount),
    /// So many more entries, of those that are left.
    Entries(EntryCount, EntryCount),
}

impl Short {
    /// As the end of what was done.
    #[must_use]
    pub fn fault(self, doing: impl fmt::Display) -> Fault {
        let (more, left, what) = match self {
            Self::Bytes(more, left) => (more.0, left.0, "bytes"),
            Self::Entries(more, left) => (more.0.into(), left.0.into(), "files"),
        };
        let detail = match more {
            0 => format!("{doing}: its ticket has {left} {what} left"),
            more => format!("{doing}: {more} more {what}, and its ticket has {left} left"),
        };
        Fault::new(Code::Quota, detail)
    }
}

impl Account {
    /// So much was used before, and nothing is reserved.
    #[must_use]
    pub const fn new(used: Load) -> Self {
        Self { used, reserved: Load::NONE }
    }

    /// What was brought in.
    #[must_use]
    pub const fn used(&self) -> Load {
        self.used
    }

    /// What is on its way, or staged.
    #[must_use]
    pub const fn reserved(&self) -> Load {
        self.reserved
    }

    /// Whether a quota, which may be less than it was, holds all of it and so much more.
    ///
    /// # Errors
    /// `Short`, with what is left.
    pub fn check(&self, more: Load, quota: Quota) -> Result<(), Short> {
        let gone = self.used.plus(self.reserved);
        let left = |most: u64, gone: u64, more: u64| match most.checked_sub(gone) {
            Some(left) if more <= left => None,
            left => Some(left.unwrap_or(0)),
        };
        if let Some(most) = quota.bytes
            && let Some(left) = left(most.0, gone.bytes.0, more.bytes.0)
        {
            return Err(Short::Bytes(more.bytes, ByteCount(left)));
        }
        if let Some(most) = quota.entries
            && let Some(left) = left(most.0.into(), gone.entries.0.into(), more.entries.0.into())
        {
            let left = EntryCount(u32::try_from(left).unwrap_or(u32::MAX));
            return Err(Short::Entries(more.entries, left));
        }
        Ok(())
    }

    /// Sets so much aside.
    ///
    /// # Errors
    /// `Short`: nothing changed.
    pub fn reserve(&mut self, more: Load, quota: Quota) -> Result<(), Short> {
        self.check(more, quota)?;
        self.find(more);
        Ok(())
    }

    /// Sets so much aside that is there already, whatever the quota.
    pub fn find(&mut self, there: Load) {
        self.reserved = self.reserved.plus(there);
    }

    /// What was set aside came to nothing.
    pub fn release(&mut self, reserved: Load) {
        self.reserved = self.reserved.beyond(reserved);
    }

    /// What was set aside came to so much, which is not more.
    pub fn spend(&mut self, reserved: Load, came_to: Load) {
        self.release(reserved);
        self.used = self.used.plus(came_to);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MOST: Quota = Quota { bytes: Some(ByteCount(1000)), entries: Some(EntryCount(5)) };

    fn entry(bytes: u64) -> Load {
        Load::of_entry(ByteCount(bytes))
    }

    fn bytes(bytes: u64) -> Load {
        Load { bytes: ByteCount(bytes), entries: EntryCount(0) }
    }

    #[test]
    fn the_last_byte_and_the_last_entry_are_given_and_no_more() {
        let mut account = Account::new(entry(400));
        let short = Short::Bytes(ByteCount(601), ByteCount(600));
        assert_eq!(account.reserve(entry(601), MOST), Err(short));
        assert_eq!(account.reserve(entry(600), MOST), Ok(()));
        let short = Short::Bytes(ByteCount(1), ByteCount(0));
        assert_eq!(account.reserve(bytes(1), MOST), Err(short));
        assert_eq!(
            short.fault("write \"a\"").to_string(),
            "write \"a\": 1 more bytes, and its ticket has 0 left: quota exceeded"
        );
        (0..3).for_each(|_| account.reserve(entry(0), MOST).unwrap());
        let short = Short::Entries(EntryCount(1), EntryCount(0));
        assert_eq!(account.reserve(entry(0), MOST), Err(short));
        account.release(entry(600));
        assert_eq!(account.reserve(entry(600), MOST), Ok(()));
        assert!(account.reserve(entry(u64::MAX), MOST).is_err());
    }

    #[test]
    fn a_quota_that_shrinks_does_not_hold_what_is_reserved() {
        let mut account = Account::default();
        account.reserve(entry(900), MOST).unwrap();
        assert_eq!(account.check(Load::NONE, MOST), Ok(()));
        let less = Quota { bytes: Some(ByteCount(899)), ..MOST };
        let short = Short::Bytes(ByteCount(0), ByteCount(0));
        assert_eq!(account.check(Load::NONE, less), Err(short));
        assert_eq!(account.check(Load::NONE, Quota::default()), Ok(()));
    }

    proptest! {
        /// Eight writers in any order: what each holds is reserved, and all of it fits.
        #[test]
        fn what_is_used_and_reserved_never_passes_the_quota(
            steps in prop::collection::vec((0usize..8, 0u64..400, 0u8..3), 0..200)
        ) {
            let mut account = Account::default();
            let mut held = [None::<Load>; 8];
            let mut used = Load::default();
            for (who, count, what) in steps {
                match (held[who], what) {
                    (None, _) => {
                        if account.reserve(entry(count), MOST).is_ok() {
                            held[who] = Some(entry(count));
                        }
                    }
                    (Some(mine), 0) => {
                        account.release(mine);
                        held[who] = None;
                    }
                    (Some(mine), 1) => {
                        account.spend(mine, mine);
                        used = used.plus(mine);
                        held[who] = None;
                    }
                    (Some(mine), _) => {
                        if account.reserve(bytes(count), MOST).is_ok() {
                            held[who] = Some(mine.plus(bytes(count)));
                        }
                    }
                }
                let reserved = held.iter().flatten().fold(Load::NONE, |all, one| all.plus(*one));
                prop_assert_eq!(account.check(Load::NONE, MOST), Ok(()));
                prop_assert_eq!((account.used(), account.reserved()), (used, reserved));
            }
        }
    }
}
