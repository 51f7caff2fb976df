//! What the receiver says it holds of a source that cannot be read twice, compared as the source is
//! read.
//!
//! The source comes chunk by chunk, in order. A claim is one subtree of an earlier run. A chunk
//! that claims cover is compared with what they make of it; where a claim is larger than the chunk,
//! the chunks within it are gathered until it can be compared as a whole. So a source of any length
//! is compared with a list of bounded length, while no more is kept than one claim covers.

use crate::codec::OBJECT_BYTES_MAX;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use floe_types::{ByteCount, ChainingValue, ChunkDigest, Offset, Range, Root, Subtree, Subtrees};

/// A chunk read whole. Without pieces, it was spent in an earlier session.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Filled<P> {
    pub(super) range: Range,
    pub(super) digest: ChunkDigest,
    pub(super) attempts: u32,
    pub(super) pieces: Vec<(ByteCount, P)>,
}

/// The claims not yet met, and what is gathered for the one that is being compared.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Claims<P> {
    claims: BTreeMap<Offset, Subtree>,
    gathering: Option<Gathering<P>>,
    /// The whole object stands there with this root.
    finished: Option<Root>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Gathering<P> {
    claim: Subtree,
    read: Subtrees,
    chunks: Vec<Filled<P>>,
}

/// What the comparison of chunks came to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Compared<P> {
    /// The receiver holds them.
    pub(super) same: Vec<Filled<P>>,
    /// It does not.
    pub(super) missing: Vec<Filled<P>>,
    /// What it holds in their place is not theirs.
    pub(super) refuted: Option<Range>,
}

/// What claims make of a range.
enum Made {
    Nothing,
    Value(ChainingValue),
    /// One is larger.
    PartOf(Subtree),
    /// They lie in it, and do not make it.
    Otherwise,
}

impl<P> Claims<P> {
    pub(super) fn new() -> Self {
        Self { claims: BTreeMap::new(), gathering: None, finished: None }
    }

    /// The receiver says so.
    pub(super) fn insert(&mut self, claim: Subtree) {
        self.claims.insert(claim.range.start(), claim);
    }

    /// The receiver says that it holds all, with this root: nothing is compared before the end.
    pub(super) fn finish(&mut self, root: Root) {
        self.finished = Some(root);
    }

    /// What the source has to come to, if the receiver holds all.
    pub(super) const fn finished(&self) -> Option<Root> {
        self.finished
    }

    /// Whether chunks are kept for a comparison.
    pub(super) const fn is_gathering(&self) -> bool {
        self.gathering.is_some()
    }

    /// Compares the next chunk. `room` is what may be kept for a claim.
    pub(super) fn compare(&mut self, chunk: Filled<P>, room: ByteCount) -> Compared<P> {
        if self.finished.is_some() {
            return Compared { same: alloc::vec![chunk], ..Compared::nothing() };
        }
        let read = Subtree { range: chunk.range, digest: chunk.digest };
        if let Some(mut gathering) = self.gathering.take() {
            gathering.add(read, chunk);
            if read.range.end() < gathering.claim.range.end() {
                self.gathering = Some(gathering);
                return Compared::nothing();
            }
            self.forget(gathering.claim.range);
            return gathering.compared();
        }
        let refuted = match self.made(read.range) {
            Made::Nothing => None,
            Made::Value(value) if value == read.digest.value => {
                self.forget(read.range);
                return Compared { same: alloc::vec![chunk], ..Compared::nothing() };
            }
            Made::PartOf(claim) if claim.range.len() <= room => {
                let mut gathering = Gathering { claim, read: Subtrees::new(), chunks: Vec::new() };
                gathering.add(read, chunk);
                self.gathering = Some(gathering);
                return Compared::nothing();
            }
            Made::PartOf(claim) => Some(claim.range),
            Made::Value(_) | Made::Otherwise => Some(read.range),
        };
        if let Some(range) = refuted {
            self.forget(range);
        }
        Compared { missing: alloc::vec![chunk], refuted, ..Compared::nothing() }
    }

    /// The source ended at `end`: what is gathered cannot be compared any more, and what is claimed
    /// beyond is not there.
    pub(super) fn end(&mut self, end: Offset) -> Compared<P> {
        let beyond = Range::new(end, Offset(OBJECT_BYTES_MAX));
        let claimed = self.claims.values().any(|claim| claim.range.end() > end);
        self.claims.clear();
        let missing = self.gathering.take().map_or_else(Vec::new, |gathering| gathering.chunks);
        Compared { missing, refuted: claimed.then_some(beyond), ..Compared::nothing() }
    }

    fn forget(&mut self, range: Range) {
        let touching: Vec<_> = self.touching(range).map(|claim| claim.range.start()).collect();
        for start in touching {
            self.claims.remove(&start);
        }
    }

    /// Claims do not overlap: those that touch a range stand together.
    fn touching(&self, range: Range) -> impl Iterator<Item = Subtree> + '_ {
        self.claims
            .range(..range.end())
            .rev()
            .map(|(_, claim)| *claim)
            .take_while(move |claim| claim.range.end() > range.start())
    }

    fn made(&self, range: Range) -> Made {
        let mut within = Subtrees::new();
        for claim in self.touching(range) {
            let inside = claim.range.intersect(range) == claim.range;
            if !inside {
                let part = claim.range.intersect(range) == range;
                return if part { Made::PartOf(claim) } else { Made::Otherwise };
            }
            if !within.insert(claim) {
                return Made::Otherwise;
            }
        }
        if within.is_empty() {
            return Made::Nothing;
        }
        within.value(range).map_or(Made::Otherwise, Made::Value)
    }
}

impl<P> Gathering<P> {
    fn add(&mut self, read: Subtree, chunk: Filled<P>) {
        // Chunks come in order and are aligned; one that is not makes the claim fail, no more.
        let _inserted = self.read.insert(read);
        self.chunks.push(chunk);
    }

    fn compared(self) -> Compared<P> {
        let Self { claim, read, chunks } = self;
        if read.value(claim.range) == Some(claim.digest.value) {
            return Compared { same: chunks, ..Compared::nothing() };
        }
        Compared { missing: chunks, refuted: Some(claim.range), ..Compared::nothing() }
    }
}

impl<P> Compared<P> {
    const fn nothing() -> Self {
        Self { same: Vec::new(), missing: Vec::new(), refuted: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use floe_types::ChunkHasher;

    const KIB: u64 = 1024;
    const CHUNK: u64 = 256 * KIB;

    fn subtree(chunks: core::ops::Range<u64>, salt: u8) -> Subtree {
        let range = Range::new(Offset(chunks.start * CHUNK), Offset(chunks.end * CHUNK));
        let mut hasher = ChunkHasher::new(range.start());
        for nth in chunks {
            let byte = u8::try_from(nth).unwrap().wrapping_add(salt);
            hasher.update(&alloc::vec![byte; usize::try_from(CHUNK).unwrap()]);
        }
        Subtree { range, digest: hasher.finish().unwrap() }
    }

    fn chunk(chunks: core::ops::Range<u64>, salt: u8) -> Filled<()> {
        let Subtree { range, digest } = subtree(chunks, salt);
        Filled { range, digest, attempts: 0, pieces: Vec::new() }
    }

    fn claims(list: &[Subtree]) -> Claims<()> {
        let mut claims = Claims::new();
        list.iter().for_each(|claim| claims.insert(*claim));
        claims
    }

    const ROOM: ByteCount = ByteCount(4 * CHUNK);

    #[test]
    fn a_chunk_is_compared_with_claims_of_its_size_and_smaller() {
        let mut it = claims(&[subtree(0..1, 0), subtree(2..3, 0), subtree(3..4, 0)]);
        assert_eq!(it.compare(chunk(0..1, 0), ROOM).same.len(), 1);
        let none = it.compare(chunk(1..2, 0), ROOM);
        assert_eq!((none.missing.len(), none.refuted), (1, None));
        assert_eq!(it.compare(chunk(2..4, 0), ROOM).same.len(), 1);
    }

    #[test]
    fn a_larger_claim_is_met_once_all_of_it_was_read() {
        let mut it = claims(&[subtree(4..8, 0), subtree(8..12, 0)]);
        for nth in 4..7 {
            assert_eq!(it.compare(chunk(nth..nth + 1, 0), ROOM), Compared::nothing());
            assert!(it.is_gathering());
        }
        assert_eq!(it.compare(chunk(7..8, 0), ROOM).same.len(), 4);
        assert_eq!(it.compare(chunk(8..10, 0), ROOM), Compared::nothing());
        let other = it.compare(chunk(10..12, 1), ROOM);
        assert_eq!((other.missing.len(), other.same.len()), (2, 0));
        assert_eq!(other.refuted, Some(subtree(8..12, 0).range));
    }

    #[test]
    fn a_claim_beyond_the_room_is_refuted_once() {
        let mut it = claims(&[subtree(8..16, 0)]);
        let first = it.compare(chunk(8..9, 0), ROOM);
        assert_eq!((first.missing.len(), first.refuted), (1, Some(subtree(8..16, 0).range)));
        assert_eq!(it.compare(chunk(9..10, 0), ROOM).refuted, None);
    }

    #[test]
    fn what_is_claimed_beyond_the_end_is_refuted() {
        let mut it = claims(&[subtree(0..1, 0), subtree(4..8, 0)]);
        it.compare(chunk(0..1, 0), ROOM);
        it.compare(chunk(4..5, 0), ROOM);
        let ended = it.end(Offset(5 * CHUNK));
        assert_eq!(ended.missing.len(), 1);
        assert_eq!(ended.refuted.map(|range| range.start()), Some(Offset(5 * CHUNK)));
        assert_eq!(it.end(Offset(5 * CHUNK)).refuted, None);
    }
}
