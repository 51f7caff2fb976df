//! Bytes that are never there: a piece names a stretch of one of a few contents, each a function
//! of the offset, and digests are computed of what the stretches stand for.

use floe_types::{ChainingValue, ChunkDigest, ChunkHasher, Offset, Range, Root};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

/// The content that is zeros, as holes are.
pub const ZEROS: u8 = u8::MAX;

/// What a hole is.
pub fn zeros(range: Range) -> Stretch {
    Stretch { salt: ZEROS, from: range.start().0, len: range.len().0 }
}

/// A stretch of a content: the payload of the core under test.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Stretch {
    /// Which content.
    pub salt: u8,
    /// From where on.
    pub from: u64,
    /// How many bytes.
    pub len: u64,
}

/// What is in a file: stretches by the offset they were written at, without overlap.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Written {
    at: BTreeMap<u64, Stretch>,
}

impl Written {
    /// The first `size` bytes of a content.
    pub fn of(salt: u8, size: u64) -> Self {
        let mut written = Self::default();
        written.write(0, Stretch { salt, from: 0, len: size });
        written
    }

    /// Writes a stretch over what is there.
    pub fn write(&mut self, at: u64, stretch: Stretch) {
        let end = at + stretch.len;
        let over: Vec<_> = self
            .at
            .range(..end)
            .filter(|(start, old)| **start + old.len > at)
            .map(|(start, old)| (*start, *old))
            .collect();
        for (start, old) in over {
            self.at.remove(&start);
            if start < at {
                self.at.insert(start, Stretch { len: at - start, ..old });
            }
            if start + old.len > end {
                let skip = end - start;
                let rest = Stretch { from: old.from + skip, len: old.len - skip, ..old };
                self.at.insert(end, rest);
            }
        }
        if stretch.len > 0 {
            self.at.insert(at, stretch);
        }
    }

    /// What is in a range, if every byte of it was written.
    pub fn read(&self, range: Range) -> Option<Vec<Stretch>> {
        let (mut at, end) = (range.start().0, range.end().0);
        let mut found = Vec::new();
        while at < end {
            let (start, stretch) = self.at.range(..=at).next_back()?;
            let skip = at - start;
            if skip >= stretch.len {
                return None;
            }
            let len = (stretch.len - skip).min(end - at);
            found.push(Stretch { salt: stretch.salt, from: stretch.from + skip, len });
            at += len;
        }
        Some(found)
    }

    /// The digest of a chunk, if every byte of it was written.
    pub fn digest(&self, chunk: Range) -> Option<ChunkDigest> {
        digest_of(chunk.start(), &self.read(chunk)?)
    }

    /// The root of the first `size` bytes, if all were written.
    pub fn root(&self, size: u64) -> Option<Root> {
        Some(root_of(&self.read(Range::new(Offset(0), Offset(size)))?))
    }
}

/// The digest of a chunk made of stretches; `None` where it has no bytes.
pub fn digest_of(start: Offset, stretches: &[Stretch]) -> Option<ChunkDigest> {
    let stretches = merged(stretches);
    if stretches.is_empty() {
        return None;
    }
    Some(remembered((start.0, stretches), |key| {
        if length(&key.1) > REAL_BYTES_MAX {
            let root = (start == Offset::ZERO).then_some(Root([1; 32]));
            return ChunkDigest { value: ChainingValue(stand_in(key)), root };
        }
        let mut hasher = ChunkHasher::new(Offset(key.0));
        each_byte(&key.1, |bytes| hasher.update(bytes));
        let nothing = ChunkDigest { value: ChainingValue([0; 32]), root: None };
        hasher.finish().unwrap_or(nothing)
    }))
}

/// The root of an object made of stretches.
pub fn root_of(stretches: &[Stretch]) -> Root {
    let stretches = merged(stretches);
    let whole = remembered((u64::MAX, stretches), |key| {
        let mut hasher = ChunkHasher::new(Offset(0));
        each_byte(&key.1, |bytes| hasher.update(bytes));
        hasher.finish().unwrap_or(ChunkDigest {
            value: ChainingValue([0; 32]),
            root: Some(Root::of_nothing()),
        })
    });
    whole.root.unwrap_or_else(Root::of_nothing)
}

/// Neighbours of one content as one.
fn merged(stretches: &[Stretch]) -> Vec<Stretch> {
    let mut merged: Vec<Stretch> = Vec::new();
    for next in stretches.iter().filter(|stretch| stretch.len > 0) {
        match merged.last_mut() {
            Some(last) if last.salt == next.salt && last.from + last.len == next.from => {
                last.len += next.len;
            }
            _ => merged.push(*next),
        }
    }
    merged
}

fn length(stretches: &[Stretch]) -> u64 {
    stretches.iter().map(|stretch| stretch.len).sum()
}

fn stand_in(key: &Key) -> [u8; 32] {
    Root::of(format!("{key:?}").as_bytes()).0
}

/// Feeds what stretches stand for.
fn each_byte(stretches: &[Stretch], mut take: impl FnMut(&[u8])) {
    for stretch in stretches {
        let end = stretch.from.saturating_add(stretch.len);
        let mut at = stretch.from;
        while at < end {
            let to = end.min(at.saturating_add(1 << 16));
            let bytes: Vec<u8> = (at..to)
                .map(|nth| {
                    if stretch.salt == ZEROS {
                        return 0;
                    }
                    let mixed = nth.wrapping_add(u64::from(stretch.salt) << 50);
                    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56).to_le_bytes()[0]
                })
                .collect();
            take(&bytes);
            at = to;
        }
    }
}

type Key = (u64, Vec<Stretch>);

/// Hashes what was not hashed before; a fuzzer asks for the same few again and again.
fn remembered(key: Key, compute: impl FnOnce(&Key) -> ChunkDigest) -> ChunkDigest {
    REMEMBERED.with_borrow_mut(|known| {
        if let Some(digest) = known.get(&key) {
            return *digest;
        }
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        let digest = compute(&key);
        known.insert(key, digest);
        digest
    })
}

thread_local! {
    static REMEMBERED: RefCell<HashMap<Key, ChunkDigest>> = RefCell::new(HashMap::new());
}

const REMEMBERED_MAX: usize = 20_000;
/// A longer chunk is no honest one here: its digest need only be its own.
const REAL_BYTES_MAX: u64 = 4 << 20;
