//! Fixed fields as bytes, big-endian: what the journal's head and the mark of a finished object are
//! made of.
//!
//! Reading is total: bytes that are too few or make no value give `None`, never a guess.

use floe_types::{ByteCount, Freshness, SourceVersion, Timestamp};

/// Reads fields one after the other.
#[derive(Clone, Debug)]
pub struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Fields of these bytes.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Four bytes.
    pub fn word(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn long(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A timestamp: seconds, nanoseconds.
    pub fn timestamp(&mut self) -> Option<Timestamp> {
        let secs = i64::from_be_bytes(self.array()?);
        Timestamp::new(secs, self.word()?)
    }

    /// A value that may be absent: 0, or 1 and the value.
    pub fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.byte()? {
            0 => Some(None),
            1 => read(self).map(Some),
            _ => None,
        }
    }

    /// A source's version.
    pub fn version(&mut self) -> Option<SourceVersion> {
        Some(SourceVersion {
            inode: self.long()?,
            size: ByteCount(self.long()?),
            mtime: self.timestamp()?,
            ctime: self.timestamp()?,
        })
    }

    /// A freshness.
    pub fn freshness(&mut self) -> Option<Freshness> {
        match self.byte()? {
            0 => Some(Freshness::Settled),
            1 => Some(Freshness::Fresh),
            _ => None,
        }
    }
}

/// Writes fields one after the other.
pub trait PutFields {
    /// A timestamp.
    fn put_timestamp(&mut self, at: Timestamp);
    /// A value that may be absent.
    fn put_optional<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T));
    /// A source's version.
    fn put_version(&mut self, version: SourceVersion);
    /// A freshness.
    fn put_freshness(&mut self, freshness: Freshness);
    /// Eight bytes.
    fn put_long(&mut self, value: u64);
}

impl PutFields for Vec<u8> {
    fn put_timestamp(&mut self, at: Timestamp) {
        self.extend_from_slice(&at.secs().to_be_bytes());
        self.extend_from_slice(&at.nanos().to_be_bytes());
    }

    fn put_optional<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.push(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn put_version(&mut self, version: SourceVersion) {
        self.put_long(version.inode);
        self.put_long(version.size.0);
        self.put_timestamp(version.mtime);
        self.put_timestamp(version.ctime);
    }

    fn put_freshness(&mut self, freshness: Freshness) {
        self.push(match freshness {
            Freshness::Settled => 0,
            Freshness::Fresh => 1,
        });
    }

    fn put_long(&mut self, value: u64) {
        self.extend_from_slice(&value.to_be_bytes());
    }
}
