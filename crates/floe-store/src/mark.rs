//! The mark of a finished object: its extended attribute `user.floe`, which says what stands there.
//!
//! A mark counts only while the object still has the size and mtime that the mark names. It is a
//! hint about sameness, never a substitute for verification of bytes that are sent. It takes 68
//! bytes, the most that fits beside an inode of 256 bytes on ext4; one byte more costs every object
//! a block of its own.
//!
//! ```text
//! format and flags 1 | root 32 | size 8 | mtime secs 8, nanos 4
//!                    | digest over all before and the source's version 15
//! ```

use crate::fields::{Fields, PutFields};
use floe_types::{ByteCount, Freshness, Root, SourceVersion, Timestamp};

/// The attribute's name.
pub const MARK_NAME: &str = "user.floe";

/// How many bytes a mark takes.
pub const MARK_BYTES: usize = 68;
/// What a version adds to what is hashed.
const VERSION_BYTES: usize = 41;

const FORMAT: u8 = 1;
const FORMAT_BITS: u8 = 0x3f;
const HAS_VERSION: u8 = 0x40;
const IS_FRESH: u8 = 0x80;
const DIGEST_BYTES: usize = 15;

/// What a mark says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    root: Root,
    size: ByteCount,
    mtime: Timestamp,
    flags: u8,
    digest: [u8; DIGEST_BYTES],
}

/// Whether a mark names a version.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// It does, and the version could be trusted when the object was staged.
    Settled,
    /// It does, but the version was fresh then.
    Fresh,
    /// It does not.
    Other,
}

impl Mark {
    /// The mark of an object with this root, size and mtime, made of this version of its source.
    #[must_use]
    pub fn new(
        root: Root,
        size: ByteCount,
        mtime: Timestamp,
        version: Option<SourceVersion>,
        freshness: Freshness,
    ) -> Self {
        let version_flag = if version.is_some() { HAS_VERSION } else { 0 };
        let fresh_flag = if freshness == Freshness::Fresh { IS_FRESH } else { 0 };
        let flags = FORMAT | version_flag | fresh_flag;
        let digest = [0; DIGEST_BYTES];
        let mut mark = Self { root, size, mtime, flags, digest };
        mark.digest = mark.digest_with(version);
        mark
    }

    /// The mark as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.encode_plain();
        bytes.extend_from_slice(&self.digest);
        bytes
    }

    /// The mark of these bytes; `None` for anything else, also for a later format.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != MARK_BYTES {
            return None;
        }
        let mut fields = Fields::new(bytes);
        let flags = fields.byte()?;
        if flags & FORMAT_BITS != FORMAT {
            return None;
        }
        Some(Self {
            root: Root(fields.array()?),
            size: ByteCount(fields.long()?),
            mtime: fields.timestamp()?,
            flags,
            digest: fields.array()?,
        })
    }

    /// The object's root, if it still has the size and mtime of its mark.
    #[must_use]
    pub fn root_of(&self, size: ByteCount, mtime: Timestamp) -> Option<Root> {
        (self.size == size && self.mtime == mtime).then_some(self.root)
    }

    /// Whether the object was made of this version of its source.
    #[must_use]
    pub fn names(&self, version: SourceVersion) -> Names {
        if self.flags & HAS_VERSION == 0 || self.digest != self.digest_with(Some(version)) {
            Names::Other
        } else if self.flags & IS_FRESH == 0 {
            Names::Settled
        } else {
            Names::Fresh
        }
    }

    fn encode_plain(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(MARK_BYTES + VERSION_BYTES);
        bytes.push(self.flags);
        bytes.extend_from_slice(&self.root.0);
        bytes.put_long(self.size.0);
        bytes.put_timestamp(self.mtime);
        bytes
    }

    fn digest_with(&self, version: Option<SourceVersion>) -> [u8; DIGEST_BYTES] {
        let mut bytes = self.encode_plain();
        bytes.put_optional(version, PutFields::put_version);
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(&Root::of(&bytes).0[..DIGEST_BYTES]);
        digest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(inode: u64) -> SourceVersion {
        let at = Timestamp::new(5, 6).unwrap();
        SourceVersion { inode, size: ByteCount(7), mtime: at, ctime: at }
    }

    fn mark(freshness: Freshness) -> Mark {
        let mtime = Timestamp::new(-1, 999_999_999).unwrap();
        Mark::new(Root::of(b"x"), ByteCount(1), mtime, Some(version(3)), freshness)
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let mark = mark(Freshness::Settled);
        let bytes = mark.encode();
        assert_eq!(bytes.len(), MARK_BYTES);
        assert_eq!(Mark::decode(&bytes), Some(mark));
        assert_eq!(mark.names(version(3)), Names::Settled);
        assert_eq!(mark.names(version(4)), Names::Other);
        assert_eq!(self::mark(Freshness::Fresh).names(version(3)), Names::Fresh);
    }

    #[test]
    fn counts_only_while_size_and_mtime_stand() {
        let mark = mark(Freshness::Settled);
        let mtime = Timestamp::new(-1, 999_999_999).unwrap();
        assert_eq!(mark.root_of(ByteCount(1), mtime), Some(Root::of(b"x")));
        assert_eq!(mark.root_of(ByteCount(2), mtime), None);
        assert_eq!(mark.root_of(ByteCount(1), Timestamp::default()), None);
    }

    #[test]
    fn a_changed_byte_never_names_the_version() {
        let bytes = mark(Freshness::Settled).encode();
        for nth in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[nth] ^= 0x04;
            let named = Mark::decode(&changed).map(|mark| mark.names(version(3)));
            assert!(matches!(named, None | Some(Names::Other)), "byte {nth}");
        }
        assert_eq!(Mark::decode(&bytes[1..]), None);
    }
}
