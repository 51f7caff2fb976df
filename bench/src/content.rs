//! What the jobs move: files that do not compress, and trees of them, the same in every run of a
//! seed; and whether what arrived is what was sent.

use crate::Result;
use floe_types::ByteCount;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

/// What a job moves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Content {
    /// One file.
    File(ByteCount),
    /// So many files of one size, 200 in a directory.
    Files(u64, ByteCount),
    /// So many bytes in files as a source tree with some built things has them: seven of ten below
    /// 8 KiB, one of a thousand of 16 MiB.
    Mix(ByteCount),
}

/// How closely arrivals are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// Every byte.
    Bytes,
    /// Names and lengths.
    Lengths,
}

/// Files of one directory of [`Content::Files`].
const FILES_A_DIRECTORY: u64 = 200;
/// Files of one directory of [`Content::Mix`].
const MIX_A_DIRECTORY: u64 = 40;

impl Content {
    /// Makes it at `path`; answers how many bytes that are.
    pub fn make(self, path: &Path) -> Result<ByteCount> {
        let mut bytes = Bytes::of(0x9e37_79b9_7f4a_7c15);
        let wrong = |error: std::io::Error| format!("make {}: {error}", path.display());
        match self {
            Self::File(size) => write(path, size, &mut bytes).map(|()| size).map_err(wrong),
            Self::Files(count, size) => {
                for nth in 0..count {
                    let dir = path.join(format!("{:04}", nth / FILES_A_DIRECTORY));
                    fs::create_dir_all(&dir).map_err(wrong)?;
                    write(&dir.join(format!("{nth:06}")), size, &mut bytes).map_err(wrong)?;
                }
                Ok(ByteCount(count * size.0))
            }
            Self::Mix(total) => mix(path, total, &mut bytes).map(|()| total).map_err(wrong),
        }
    }
}

fn mix(path: &Path, total: ByteCount, bytes: &mut Bytes) -> std::io::Result<()> {
    let mut left = total.0;
    let mut nth = 0;
    while left > 0 {
        let dir = nth / MIX_A_DIRECTORY;
        let dir = path.join(format!("part{:02}/module{dir:04}", dir % 16));
        fs::create_dir_all(&dir)?;
        let size = bytes.mixed_size().min(left);
        write(&dir.join(format!("file{nth:06}.rs")), ByteCount(size), bytes)?;
        (left, nth) = (left - size, nth + 1);
    }
    Ok(())
}

fn write(path: &Path, size: ByteCount, bytes: &mut Bytes) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let mut block = vec![0; usize::try_from(size.0).unwrap_or(usize::MAX).min(1 << 20)];
    let mut left = size.0;
    while left > 0 {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        bytes.fill(&mut block[..count]);
        file.write_all(&block[..count])?;
        left -= ByteCount::of_len(count).0;
    }
    Ok(())
}

/// xorshift64 (Marsaglia 2003).
struct Bytes(u64);

impl Bytes {
    fn of(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, block: &mut [u8]) {
        for part in block.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            part.copy_from_slice(&word[..part.len()]);
        }
    }

    fn mixed_size(&mut self) -> u64 {
        let (least, most) = match self.next() % 1000 {
            0 => (16 << 20, 16 << 20),
            1..=49 => (64 << 10, 1 << 20),
            50..=299 => (8 << 10, 64 << 10),
            _ => (100, 8 << 10),
        };
        least + self.next() % (most - least + 1)
    }
}

/// Whether `arrived` is what `sent` is; says where not.
pub fn same(sent: &Path, arrived: &Path, look: Look) -> Result<()> {
    if !sent.is_dir() {
        return same_file(sent, arrived, look);
    }
    let (there, here) = (names(sent)?, names(arrived)?);
    if there != here {
        let (there, here) = (there.len(), here.len());
        return Err(format!("{}: {here} entries, not the {there} sent", arrived.display()));
    }
    there.iter().try_for_each(|name| same(&sent.join(name), &arrived.join(name), look))
}

fn names(dir: &Path) -> Result<Vec<PathBuf>> {
    let wrong = |error| format!("list {}: {error}", dir.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(wrong)? {
        names.push(PathBuf::from(entry.map_err(wrong)?.file_name()));
    }
    names.sort();
    Ok(names)
}

fn same_file(sent: &Path, arrived: &Path, look: Look) -> Result<()> {
    let open = |path: &Path| {
        let file = File::open(path).map_err(|error| format!("open {}: {error}", path.display()))?;
        let len = file.metadata().map_err(|error| error.to_string())?.len();
        Ok::<_, String>((file, len))
    };
    let ((mut left, sent_len), (mut right, len)) = (open(sent)?, open(arrived)?);
    if sent_len != len {
        return Err(format!("{} has {len} bytes, not {sent_len}", arrived.display()));
    }
    if look == Look::Lengths {
        return Ok(());
    }
    let (mut one, mut other) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut left_over = len;
    while left_over > 0 {
        let count = usize::try_from(left_over).unwrap_or(usize::MAX).min(one.len());
        left.read_exact(&mut one[..count]).map_err(|error| error.to_string())?;
        right.read_exact(&mut other[..count]).map_err(|error| error.to_string())?;
        if one[..count] != other[..count] {
            return Err(format!("{} has other bytes than were sent", arrived.display()));
        }
        left_over -= ByteCount::of_len(count).0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of(path: &Path) -> u64 {
        if path.is_dir() {
            let names = names(path).unwrap();
            names.iter().map(|name| size_of(&path.join(name))).sum()
        } else {
            fs::metadata(path).unwrap().len()
        }
    }

    #[test]
    fn content_has_the_size_it_says() {
        let dir = tempfile::tempdir().unwrap();
        let cases = [
            Content::File(ByteCount(1_000_001)),
            Content::Files(450, ByteCount(10)),
            Content::Mix(ByteCount(3_000_000)),
        ];
        for (nth, content) in cases.into_iter().enumerate() {
            let path = dir.path().join(nth.to_string());
            assert_eq!(content.make(&path).unwrap().0, size_of(&path));
        }
    }

    #[test]
    fn a_difference_is_found_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        for path in [&one, &other] {
            Content::Files(3, ByteCount(100)).make(path).unwrap();
        }
        same(&one, &other, Look::Bytes).unwrap();
        fs::write(other.join("0000/000001"), vec![1; 100]).unwrap();
        same(&one, &other, Look::Lengths).unwrap();
        assert!(same(&one, &other, Look::Bytes).unwrap_err().contains("000001"));
        fs::write(other.join("0000/000001"), "short").unwrap();
        assert!(same(&one, &other, Look::Lengths).is_err());
        fs::remove_file(other.join("0000/000002")).unwrap();
        assert!(same(&one, &other, Look::Lengths).unwrap_err().contains("2 entries"));
    }
}
