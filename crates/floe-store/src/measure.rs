//! How fast a disk is where it has nothing else to do: one file without a name, written, synced,
//! forgotten by memory, read. It is gone with its handle, however the process ends.
//!
//! Bounded: at most `MEASURE_BYTES_MAX` bytes and a quarter of what may be taken; after a second no
//! step is begun, and none is more than twice as long as the one before. A store is measured no
//! more often than `EVERY`.

use crate::api::Progress;
use crate::disk::{Disk, DiskError, DiskResult};
use floe_types::{ByteCount, Code, DiskSpeed, Micros, ObjectPath, Offset, Range};
use std::sync::{LazyLock, Mutex, TryLockError};
use std::time::{Duration, Instant};

/// What is written at most.
pub const MEASURE_BYTES_MAX: ByteCount = ByteCount(252 << 20);

const MIB: u64 = 1 << 20;
/// The first step; each is twice the one before.
const FIRST: u64 = 4 * MIB;
const SPAN: Duration = Duration::from_secs(1);
/// Syncs of a few bytes, of which the one in the middle counts.
const SYNCS: usize = 5;
const FEW_BYTES: usize = 4096;

/// How fast the disk of a directory was, and when; held while it is measured.
#[derive(Default)]
pub(crate) struct Gauge(Mutex<Option<Reading>>);

struct Reading {
    path: ObjectPath,
    speed: DiskSpeed,
    at: Instant,
}

/// Who asks sooner is told the same, or of another directory nothing.
const EVERY: Duration = Duration::from_secs(60);

impl Gauge {
    /// What `work` measures there, or measured of late. `Busy` where another asks or just asked.
    pub(crate) fn read(
        &self,
        path: ObjectPath,
        work: impl FnOnce() -> DiskResult<DiskSpeed>,
    ) -> DiskResult<DiskSpeed> {
        let busy = Err(DiskError::new(Code::Busy));
        let mut last = match self.0.try_lock() {
            Ok(last) => last,
            Err(TryLockError::Poisoned(last)) => last.into_inner(),
            Err(TryLockError::WouldBlock) => return busy,
        };
        match &*last {
            Some(last) if last.at.elapsed() >= EVERY => {}
            Some(last) if last.path == path => return Ok(last.speed),
            Some(_) => return busy,
            None => {}
        }
        let speed = work()?;
        *last = Some(Reading { path, speed, at: Instant::now() });
        Ok(speed)
    }
}

/// What may be written of so much space. `NoSpace` where that is hardly anything.
pub(crate) fn room(free: ByteCount) -> DiskResult<ByteCount> {
    let room = MEASURE_BYTES_MAX.0.min(free.0 / 4);
    if room < FIRST { Err(DiskError::new(Code::NoSpace)) } else { Ok(ByteCount(room)) }
}

/// Measures the disk of a directory, with so many bytes at most.
///
/// # Errors
/// `Unsupported` where it has no files without names; the disk's.
pub(crate) fn measure<D: Disk>(
    disk: &D,
    directory: &D::Handle,
    ByteCount(room): ByteCount,
    progress: Progress<'_>,
) -> DiskResult<DiskSpeed> {
    let bench = Bench { disk, file: disk.unnamed(directory)?, block: block(), progress };
    let started = Instant::now();
    let (mut from, mut size) = (0, FIRST);
    let (write, copied_in) = loop {
        let begun = Instant::now();
        bench.write(from, size)?;
        let written = begun.elapsed();
        disk.sync_data(&bench.file)?;
        if started.elapsed() >= SPAN || from + size * 3 > room {
            break (per_second(size, begun.elapsed()), per_second(size, written));
        }
        (from, size) = (from + size, size * 2);
    };
    let sync = bench.sync()?;
    let copied_out = bench.read(from, size)?;
    disk.drop_cache(&bench.file, Range::new(Offset::ZERO, Offset(from + size)))?;
    let read = bench.read(from, size)?;
    Ok(DiskSpeed { write, read, sync, copied_in, copied_out })
}

/// Bytes a second.
#[must_use]
pub fn per_second(bytes: u64, over: Duration) -> ByteCount {
    let nanos = over.as_nanos().max(1);
    let rate = u128::from(bytes) * 1_000_000_000 / nanos;
    ByteCount(u64::try_from(rate).unwrap_or(u64::MAX).min(u64::MAX >> 1))
}

/// A mebibyte that does not compress, the same in every process.
#[must_use]
pub fn block() -> &'static [u8] {
    static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(make_block);
    &BLOCK
}

fn make_block() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(1 << 17).flatten().collect()
}

struct Bench<'a, D: Disk> {
    disk: &'a D,
    file: D::Handle,
    block: &'static [u8],
    progress: Progress<'a>,
}

impl<D: Disk> Bench<'_, D> {
    /// Writes a range.
    fn write(&self, from: u64, size: u64) -> DiskResult<()> {
        for at in (from..from + size).step_by(self.block.len()) {
            (self.progress)(ByteCount(at), MEASURE_BYTES_MAX);
            self.disk.write_at(&self.file, Offset(at), self.block)?;
        }
        Ok(())
    }

    fn sync(&self) -> DiskResult<Micros> {
        let mut spans = [Duration::ZERO; SYNCS];
        for span in &mut spans {
            let begun = Instant::now();
            self.disk.write_at(&self.file, Offset::ZERO, &self.block[..FEW_BYTES])?;
            self.disk.sync_data(&self.file)?;
            *span = begun.elapsed();
        }
        spans.sort_unstable();
        Ok(Micros(u64::try_from(spans[SYNCS / 2].as_micros()).unwrap_or(u64::MAX)))
    }

    /// Reads a range, or as much of it as a second has time for.
    fn read(&self, from: u64, size: u64) -> DiskResult<ByteCount> {
        let mut into = vec![0; self.block.len()];
        let (begun, mut at) = (Instant::now(), from);
        while at < from + size && begun.elapsed() < SPAN {
            (self.progress)(ByteCount(at), MEASURE_BYTES_MAX);
            let count = self.disk.read_at(&self.file, Offset(at), &mut into)?;
            if count == 0 {
                return Err(DiskError::new(Code::Io)); // somebody cut it
            }
            at += ByteCount::of_len(count).0;
        }
        Ok(per_second(at - from, begun.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::KernelDisk;

    #[test]
    fn a_disk_is_measured_and_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let disk = KernelDisk::open(dir.path()).unwrap();
        let root = disk.root().unwrap();
        let speed = measure(&disk, &root, ByteCount(9 << 20), &|_, _| {}).unwrap();
        assert!(speed.write.0 > 0 && speed.read.0 > 0, "{speed:?}");
        assert!(speed.copied_in >= speed.write && speed.copied_out.0 > 0, "{speed:?}");
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }

    #[test]
    fn a_disk_is_measured_once_a_minute() {
        let (gauge, path) = (Gauge::default(), |text: &[u8]| ObjectPath::parse(text).unwrap());
        let speed = DiskSpeed {
            write: ByteCount(1),
            read: ByteCount(2),
            sync: Micros(3),
            copied_in: ByteCount(4),
            copied_out: ByteCount(5),
        };
        let never = || panic!("it is not measured again");
        assert_eq!(gauge.read(path(b"a"), || Ok(speed)).map_err(|error| error.code()), Ok(speed));
        assert_eq!(gauge.read(path(b"a"), never).map_err(|error| error.code()), Ok(speed));
        assert_eq!(gauge.read(path(b"b"), never).map_err(|error| error.code()), Err(Code::Busy));
        assert!(room(ByteCount(15 << 20)).is_err());
        assert_eq!(room(ByteCount(1 << 40)).map_err(|error| error.code()), Ok(MEASURE_BYTES_MAX));
    }

    #[test]
    fn all_steps_fit_the_bound() {
        let steps: Vec<u64> = (0..).map(|nth| FIRST << nth).take(6).collect();
        assert_eq!(steps.iter().sum::<u64>(), MEASURE_BYTES_MAX.0);
        assert_eq!(per_second(10, Duration::from_millis(500)), ByteCount(20));
        assert_eq!(block().len() as u64, MIB);
    }
}
