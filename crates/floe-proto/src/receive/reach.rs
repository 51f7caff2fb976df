//! Where chunks of an object may be: aligned, within it, and short only where it ends.
//!
//! Where its size is not known, a short chunk tells where it ends, and nothing of it is beyond,
//! whatever came before or comes, and over whichever stream. Short ones anywhere would be held as
//! many ranges as there are bytes in flight, none of which join.

use super::{Heard, Receiver, violation};
use floe_types::{ByteCount, ChunkSize, EntryIndex, Offset, Range, Subtree};

/// How far chunks of an object of unknown size have reached, and where it ends, if one said so.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Reach {
    far: Offset,
    end: Option<Offset>,
}

impl Reach {
    fn reaches(&mut self, to: Offset) -> Heard {
        if self.end.is_some_and(|end| end < to) {
            return violation("a chunk beyond a short one");
        }
        self.far = self.far.max(to);
        Ok(())
    }

    fn ends(&mut self, at: Offset) -> Heard {
        self.reaches(at)?;
        if self.far > at {
            return violation("a short chunk that is not the last");
        }
        self.end = Some(at);
        Ok(())
    }
}

impl Receiver {
    /// Whether a chunk may begin where its HEADER says. `end` is set where that said a length.
    pub(super) fn check_place(
        &mut self,
        index: EntryIndex,
        range: Range,
        end: Option<Offset>,
    ) -> Heard {
        let long = range.len() > ChunkSize::MAX.bytes();
        if end.is_some() && (long || !Subtree::is_aligned(range)) {
            return violation("a chunk that is too long or not aligned");
        }
        if !range.start().0.is_multiple_of(ChunkSize::MIN.bytes().0) {
            return violation("a chunk that is not aligned");
        }
        let size = self.entries.get(&index).and_then(|entry| entry.size);
        if size.is_some_and(|size| range.end().0 > size.0) {
            return violation("a chunk beyond the object");
        }
        if end.is_some() { self.check_end(index, range) } else { Ok(()) }
    }

    /// Whether a chunk, of which all is known, may end where it does.
    pub(super) fn check_end(&mut self, index: EntryIndex, range: Range) -> Heard {
        let whole = range.len().0.is_power_of_two() && range.len() >= ChunkSize::MIN.bytes();
        let Some(entry) = self.entries.lend(&index) else { return Ok(()) };
        match (entry.size, whole) {
            (Some(ByteCount(size)), false) if range.end().0 != size => {
                violation("a short chunk that is not the last")
            }
            (Some(_), _) => Ok(()),
            (None, true) => entry.reach.reaches(range.end()),
            (None, false) => entry.reach.ends(range.end()),
        }
    }

    /// Whether a piece of a chunk of unknown length may come where the size is not known either.
    pub(super) fn check_piece(&mut self, index: EntryIndex, piece: Range) -> Heard {
        match self.entries.lend(&index) {
            Some(entry) if entry.size.is_none() => entry.reach.reaches(piece.end()),
            _ => Ok(()),
        }
    }
}
