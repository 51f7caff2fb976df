//! What is moved: bytes that are a function of a salt and an offset, and edits of them.

use crate::dice::Dice;
use floe_types::Root;
use std::sync::Arc;

/// Holes are kept in units of the smallest chunk.
const GRAIN: usize = 256 << 10;

/// One version of an object's bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Content {
    /// The bytes.
    pub bytes: Arc<[u8]>,
    /// Their root.
    pub root: Root,
}

impl Content {
    /// These bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let root = Root::of(&bytes);
        Self { bytes: bytes.into(), root }
    }

    /// So many bytes that no other salt has.
    #[must_use]
    pub fn of(salt: u64, len: usize) -> Self {
        let mut dice = Dice::new(salt);
        let mut bytes = vec![0; len];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&dice.number().to_le_bytes()[..part.len()]);
        }
        Self::new(bytes)
    }

    /// As `of`; of some salts, with stretches of zeros, which a disk keeps as holes. They end
    /// before the last bytes, which no other salt has.
    #[must_use]
    pub fn with_holes(salt: u64, len: usize) -> Self {
        let mut bytes = Self::of(salt, len).bytes.to_vec();
        let mut dice = Dice::new(!salt);
        let sparse = dice.one_in(2);
        let last = len.saturating_sub(1) / GRAIN;
        for grain in bytes.chunks_mut(GRAIN).take(last) {
            if sparse && dice.one_in(2) {
                grain.fill(0);
            }
        }
        Self::new(bytes)
    }

    /// Another version: some bytes overwritten, appended, or cut off.
    #[must_use]
    pub fn edited(&self, dice: &mut Dice) -> Self {
        let mut bytes = self.bytes.to_vec();
        let salt = dice.number();
        match dice.below(4) {
            0 => bytes.truncate(dice.index(bytes.len() + 1)),
            1 => {
                let more = dice.index(300_000);
                bytes.extend_from_slice(&Self::of(salt, more).bytes);
            }
            _ if bytes.is_empty() => bytes.push(1),
            _ => {
                let at = dice.index(bytes.len());
                let len = (1 + dice.index(100_000)).min(bytes.len() - at);
                bytes[at..at + len].copy_from_slice(&Self::of(salt, len).bytes);
                if salt.is_multiple_of(4) {
                    let first = at - at % GRAIN;
                    let end = bytes.len().min(first + GRAIN);
                    bytes[first..end].fill(0);
                }
            }
        }
        let edited = Self::new(bytes);
        if edited.root == self.root { Self::of(salt, self.bytes.len() + 1) } else { edited }
    }
}
