//! Digests: the chaining value of a subtree, the digest of a chunk, the root of an object.
//!
//! A root cannot be made from a single chaining value, so the chunk at offset 0 carries both
//! (the root flag changes the last compression). See `blake3::hazmat` and section 2.4
//! of the BLAKE3 paper.

use crate::number::{ByteCount, Offset};
use crate::range::Range;
use crate::size::ChunkSize;
use blake3::hazmat::HasherExt;
use core::fmt;

macro_rules! digest {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

digest!(/// The BLAKE3 chaining value of a complete subtree at its offset.
    ChainingValue);
digest!(/// The BLAKE3 hash of a whole object: the 64 hex digits `b3sum` prints.
    Root);

/// The digest of one chunk at its offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ChunkDigest {
    /// Its chaining value.
    pub value: ChainingValue,
    /// For the chunk at offset 0, and only for it: the hash of these bytes as a whole object.
    pub root: Option<Root>,
}

impl ChunkDigest {
    /// The digest of a chunk that is all zeros, as a hole is; `None` where the range is empty.
    ///
    /// Each KiB's value depends on where it stands, so all of them are hashed, about 7 GB/s,
    /// because the zeros stay in the nearest cache; but not those of the longest chunks within
    /// the first 64 GiB, which are known.
    #[must_use]
    pub fn of_zeros(range: Range) -> Option<Self> {
        Self::of_known_zeros(range).or_else(|| Self::of_hashed_zeros(range))
    }

    /// The chunk at offset 0 is not among them: its root would have to be known as well.
    fn of_known_zeros(range: Range) -> Option<Self> {
        let longest = ChunkSize::MAX.bytes();
        let nth = range.start().0.checked_div(longest.0).filter(|nth| *nth > 0)?;
        if range.len() != longest || !range.start().0.is_multiple_of(longest.0) {
            return None;
        }
        let (values, _) = KNOWN_ZEROS.as_chunks::<32>();
        let value = values.get(usize::try_from(nth).ok()?)?;
        Some(Self { value: ChainingValue(*value), root: None })
    }

    fn of_hashed_zeros(range: Range) -> Option<Self> {
        let mut hasher = ChunkHasher::new(range.start());
        while let Some(left) = range.len().0.checked_sub(hasher.len().0).filter(|left| *left > 0) {
            let len = ByteCount(left).to_len().map_or(ZEROS.len(), |left| left.min(ZEROS.len()));
            hasher.update(&ZEROS[..len]);
        }
        hasher.finish()
    }
}

/// The values of the first 4,096 chunks of 16 MiB of zeros, one after the other, computed once: for
/// each, what `of_hashed_zeros` gives. A test computes all of them again.
static KNOWN_ZEROS: &[u8] = include_bytes!("zeros.bin");

/// What a hole is hashed as, piece by piece.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

impl Root {
    /// The root of an object without bytes.
    #[must_use]
    pub fn of_nothing() -> Self {
        Self::of(&[])
    }

    /// The root of an object that is in memory.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Reads the 64 hex digits that `Display` writes.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        Some(Self(*blake3::Hash::from_hex(text).ok()?.as_bytes()))
    }
}

/// Hashes one chunk, or any complete subtree, in one pass at its offset. Feed whole, aligned
/// pieces: odd lengths cost three quarters of the speed.
#[derive(Clone, Debug)]
pub struct ChunkHasher {
    hasher: blake3::Hasher,
    start: Offset,
    len: ByteCount,
}

impl ChunkHasher {
    /// A hasher for the chunk at `start`, which must be a multiple of the chunk's nominal size.
    #[must_use]
    pub fn new(start: Offset) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(start.0);
        Self { hasher, start, len: ByteCount::ZERO }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.len = self.len.plus(ByteCount::of_len(bytes.len()));
    }

    /// How many bytes it took.
    #[must_use]
    pub const fn len(&self) -> ByteCount {
        self.len
    }

    /// Whether it took none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == ByteCount::ZERO
    }

    /// The digest of what it took; `None` if that is nothing (no chunk is empty).
    #[must_use]
    pub fn finish(&self) -> Option<ChunkDigest> {
        if self.is_empty() {
            return None;
        }
        let value = ChainingValue(self.hasher.finalize_non_root());
        let root = (self.start == Offset::ZERO).then(|| Root(*self.hasher.finalize().as_bytes()));
        Some(ChunkDigest { value, root })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_have_the_digest_of_their_bytes_wherever_they_stand() {
        const MIB: u64 = 1 << 20;
        for (start, len) in [(0, 1), (0, MIB + 5), (MIB, MIB), (3 * MIB / 4, MIB / 4 - 1)] {
            let range = Range::new(Offset(start), Offset(start + len));
            let mut hasher = ChunkHasher::new(range.start());
            hasher.update(&alloc::vec![0; range.len().to_len().unwrap()]);
            assert_eq!(ChunkDigest::of_zeros(range), hasher.finish(), "{range:?}");
        }
        assert_eq!(ChunkDigest::of_zeros(Range::new(Offset(MIB), Offset(MIB))), None);
    }

    #[test]
    fn what_is_known_of_zeros_is_what_they_hash_to() {
        let longest = ChunkSize::MAX.bytes().0;
        let known = KNOWN_ZEROS.len() as u64 / 32;
        for nth in 0..known + 2 {
            let range = Range::new(Offset(nth * longest), Offset((nth + 1) * longest));
            let table = ChunkDigest::of_known_zeros(range);
            assert_eq!(table.is_some(), (1..known).contains(&nth));
            if table.is_some() {
                assert_eq!(table, ChunkDigest::of_hashed_zeros(range), "chunk {nth}");
            }
        }
    }
}
