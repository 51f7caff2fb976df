//! Bytes that are read: a file through the disk, or any stream that can be read once.
//!
//! A file is read through one handle, so its bytes are those of one inode whatever happens to its
//! name. Behind the reader of a big file the page cache is let go, unless someone else here reads
//! the same file.

mod readers;
mod sparse; // where a file holds nothing
mod stream;

pub use stream::StreamSource;

pub(crate) use readers::Readers;

use crate::api::{Result, Source, Stands};
use crate::disk::{Disk, DiskError, DiskResult, Doing, FileStat};
use floe_types::{ByteCount, Freshness, ObjectPath, Offset, Range, SourceVersion, Timestamp};
use readers::Reading;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An open file. Blocks on the disk; its errors are the system's, with path and offset.
pub struct FileSource<D: Disk> {
    disk: Arc<D>,
    handle: D::Handle,
    path: ObjectPath,
    size: ByteCount,
    behind: Option<Behind>,
}

/// Files from this size on do not stay in the page cache.
const DROP_FILE_BYTES_MIN: ByteCount = ByteCount(64 << 20);
/// Files from this size on are said to be read in order.
const EXPECTED_BYTES_MIN: ByteCount = ByteCount(128 << 10);
/// So much behind the foremost read stays: chunks are read out of order, and some are sent again.
const KEEP_BEHIND_BYTES: u64 = 64 << 20;
/// Let go in steps of this size.
const DROP_STEP_BYTES: u64 = 8 << 20;
/// Two changes within one tick of a file system's stamps look like one; no tick is longer.
const SETTLED_SECS: i64 = 2;

struct Behind {
    reading: Reading,
    dropped: AtomicU64,
}

impl<D: Disk> FileSource<D> {
    /// A source over a file that is open, and was this then. `path` is for messages.
    pub(crate) fn new(
        disk: &Arc<D>,
        (handle, stat): (D::Handle, &FileStat),
        path: &ObjectPath,
        readers: &Arc<Readers>,
    ) -> Self {
        let behind = (stat.size >= DROP_FILE_BYTES_MIN)
            .then(|| Behind { reading: readers.enter(stat.inode), dropped: AtomicU64::new(0) });
        // A hint: a disk that cannot take it reads as well without, and a short file at once.
        if stat.size >= EXPECTED_BYTES_MIN {
            let _ = disk.expect_sequential(&handle);
        }
        let (disk, path, size) = (Arc::clone(disk), path.clone(), stat.size);
        Self { disk, handle, path, size, behind }
    }

    /// What the file is now.
    pub(crate) fn stamps(&self) -> DiskResult<SourceVersion> {
        Ok(version_of(&self.disk.stat(&self.handle)?))
    }

    /// `Source::read_at`, with the disk's own error.
    pub(crate) fn fill_at(&self, at: Offset, into: &mut [u8]) -> DiskResult<usize> {
        let read = |at, into: &mut [u8]| self.disk.read_at(&self.handle, at, into).map(Some);
        let count = fill(at, into, read)?.unwrap_or(0);
        self.passed(at.plus(ByteCount::of_len(count)).0);
        Ok(count)
    }

    /// Tells how far the reader is, so that what lies well behind can go.
    fn passed(&self, end: u64) {
        let Some(behind) = &self.behind else { return };
        let dropped = behind.dropped.load(Ordering::Relaxed);
        let reached = end.saturating_sub(KEEP_BEHIND_BYTES);
        let reached = reached - reached % DROP_STEP_BYTES;
        if reached <= dropped || !behind.reading.is_alone() {
            return;
        }
        let taken =
            behind.dropped.compare_exchange(dropped, reached, Ordering::Relaxed, Ordering::Relaxed);
        if taken.is_ok() {
            let range = Range::new(Offset(dropped), Offset(reached));
            let _ = self.disk.drop_cache(&self.handle, range);
        }
    }

    fn told<T>(&self, at: Offset, answer: DiskResult<T>) -> Result<T> {
        answer.doing(format_args!("read {:?} at {at}", self.path))
    }
}

impl<D: Disk> Source for FileSource<D> {
    fn version(&self) -> Result<Option<SourceVersion>> {
        self.stamps().doing(format_args!("stat {:?}", self.path)).map(Some)
    }

    fn read_at(&self, at: Offset, into: &mut [u8]) -> Result<usize> {
        self.told(at, self.fill_at(at, into))
    }

    fn read_cached(&self, at: Offset, into: &mut [u8]) -> Result<Option<usize>> {
        let read = |at, into: &mut [u8]| self.disk.read_cached(&self.handle, at, into);
        let count = self.told(at, fill(at, into, read))?;
        if let Some(count) = count {
            self.passed(at.plus(ByteCount::of_len(count)).0);
        }
        Ok(count)
    }

    fn holes(&self) -> Vec<Range> {
        sparse::holes(&*self.disk, &self.handle, self.size)
    }

    fn standing_in(&self, range: Range) -> Result<Stands> {
        self.told(range.start(), sparse::standing_in(&*self.disk, &self.handle, range))
    }
}

/// Reads until `into` is full, the file ends, or `read` has nothing at hand.
pub(crate) fn fill(
    at: Offset,
    into: &mut [u8],
    mut read: impl FnMut(Offset, &mut [u8]) -> DiskResult<Option<usize>>,
) -> DiskResult<Option<usize>> {
    let mut filled = 0;
    while filled < into.len() {
        let next = at.checked_plus(ByteCount::of_len(filled)).ok_or(TOO_FAR)?;
        let rest = into.get_mut(filled..).unwrap_or_default();
        match read(next, rest)? {
            None => return Ok(None),
            Some(0) => break,
            Some(count) => filled += count,
        }
    }
    Ok(Some(filled))
}

const TOO_FAR: DiskError = DiskError::new(floe_types::Code::LimitExceeded);

/// The version that a file's stamps name.
pub(crate) fn version_of(stat: &FileStat) -> SourceVersion {
    SourceVersion { inode: stat.inode, size: stat.size, mtime: stat.mtime, ctime: stat.ctime }
}

/// Whether stamps that were read at `now` can be trusted to name one content
/// (docs/crash-contract.md).
pub(crate) fn freshness_of(stat: &FileStat, now: Timestamp) -> Freshness {
    let settled = Timestamp::new(now.secs().saturating_sub(SETTLED_SECS), now.nanos());
    match settled {
        Some(settled) if stat.ctime <= settled => Freshness::Settled,
        _ => Freshness::Fresh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{FileKind, Owner};
    use floe_types::Mode;

    fn changed_at(secs: i64, nanos: u32) -> FileStat {
        let stamp = Timestamp::new(secs, nanos).unwrap();
        let (size, mode) = (ByteCount(1), Mode::from_bits(0o600));
        let (mtime, ctime) = (Timestamp::default(), stamp);
        let (kind, owner) = (FileKind::File, Owner::Us);
        let (inode, birth, links, allocated) = (1, None, 1, size);
        FileStat { kind, owner, inode, size, mode, mtime, ctime, birth, links, allocated }
    }

    #[test]
    fn a_version_is_fresh_for_two_seconds_and_in_the_future() {
        let now = Timestamp::new(100, 500).unwrap();
        assert_eq!(freshness_of(&changed_at(98, 500), now), Freshness::Settled);
        assert_eq!(freshness_of(&changed_at(98, 501), now), Freshness::Fresh);
        assert_eq!(freshness_of(&changed_at(100, 500), now), Freshness::Fresh);
        assert_eq!(freshness_of(&changed_at(86_500, 0), now), Freshness::Fresh);
    }

    #[test]
    fn only_the_last_reader_of_a_file_is_alone() {
        let readers = Arc::<Readers>::default();
        let first = readers.enter(7);
        assert!(first.is_alone());
        let second = readers.enter(7);
        let other = readers.enter(8);
        assert!(!first.is_alone() && !second.is_alone() && other.is_alone());
        drop(first);
        assert!(second.is_alone());
    }

    #[test]
    fn filling_gives_all_up_to_the_end_or_nothing_at_hand() {
        let bytes = b"0123456789";
        let two = |at: Offset, into: &mut [u8]| {
            let from = usize::try_from(at.0).unwrap().min(bytes.len());
            let count = into.len().min(2).min(bytes.len() - from);
            into[..count].copy_from_slice(&bytes[from..from + count]);
            Ok(Some(count))
        };
        let mut into = [0; 7];
        assert_eq!(fill(Offset(1), &mut into, two), Ok(Some(7)));
        assert_eq!(&into, b"1234567");
        assert_eq!(fill(Offset(8), &mut into, two), Ok(Some(2)));
        assert_eq!(fill(Offset(10), &mut into, two), Ok(Some(0)));
        let cold = |at: Offset, into: &mut [u8]| if at.0 < 4 { two(at, into) } else { Ok(None) };
        assert_eq!(fill(Offset(1), &mut into, cold), Ok(None));
    }
}
