//! Bytes of files: a function of a salt and an offset, so that nothing has to be remembered but a
//! root.
//!
//! Written block by block, some of them left out as holes. The root is computed on the way, apart
//! from any transfer.

use crate::dice::nth;
use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

/// The BLAKE3 root of a file.
pub(crate) type Root = blake3::Hash;

/// What a file is filled with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Recipe {
    /// Which bytes.
    pub(crate) salt: u64,
    /// How many.
    pub(crate) size: u64,
    /// Whether some blocks are left out.
    pub(crate) holes: Holes,
}

/// Whether a file has holes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holes {
    None,
    Some,
}

const BLOCK: usize = 256 << 10;
const WORD: usize = 8;

impl Recipe {
    /// Makes the file, which must not exist, and answers its root.
    pub(crate) fn write(&self, path: &Path) -> io::Result<Root> {
        let mut file = File::create_new(path)?;
        let mut hasher = blake3::Hasher::new();
        let mut block = vec![0; BLOCK];
        let (mut at, mut number) = (0, 0_u64);
        while at < self.size {
            let len = usize::try_from(self.size - at).unwrap_or(BLOCK).min(BLOCK);
            let bytes = &mut block[..len];
            if self.is_hole(number) {
                bytes.fill(0);
                file.seek(SeekFrom::Current(i64::try_from(len).unwrap_or(0)))?;
            } else {
                self.fill(number, bytes);
                file.write_all(bytes)?;
            }
            hasher.update(bytes);
            at += len as u64;
            number += 1;
        }
        file.set_len(self.size)?;
        Ok(hasher.finalize())
    }

    fn is_hole(&self, block: u64) -> bool {
        self.holes == Holes::Some && nth(!self.salt, block).is_multiple_of(3)
    }

    fn fill(&self, block: u64, bytes: &mut [u8]) {
        let first = block * (BLOCK / WORD) as u64;
        for (word, at) in bytes.chunks_mut(WORD).zip(first..) {
            word.copy_from_slice(&nth(self.salt, at).to_le_bytes()[..word.len()]);
        }
    }
}

/// The root of what a file holds.
pub(crate) fn root_of(file: &File) -> io::Result<Root> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file)?;
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_has_the_root_that_was_answered() {
        let dir = tempfile::tempdir().unwrap();
        for (nth, holes) in [Holes::None, Holes::Some].into_iter().enumerate() {
            for size in [0, 1, 7, 262_143, 262_144, 262_145, 2_000_003] {
                let path = dir.path().join(format!("{nth}-{size}"));
                let root = Recipe { salt: 3, size, holes }.write(&path).unwrap();
                let bytes = std::fs::read(&path).unwrap();
                assert_eq!(bytes.len() as u64, size);
                assert_eq!(blake3::hash(&bytes), root);
                assert_eq!(root_of(&File::open(&path).unwrap()).unwrap(), root);
            }
        }
    }

    #[test]
    fn other_salts_are_other_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let root = |salt: u64| {
            let path = dir.path().join(salt.to_string());
            Recipe { salt, size: 9, holes: Holes::None }.write(&path).unwrap()
        };
        assert_ne!(root(1), root(2));
    }
}
