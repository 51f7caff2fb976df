//! What the kernel says of files, file systems, its boot and the time.

use super::errno::of_io;
use crate::disk::{
    BootId, DiskError, DiskResult, FileKind, FileStat, FileSystem, Locality, Name, Owner, Reuse,
};
use floe_types::{ByteCount, Code, Mode, Offset, Timestamp};
use rustix::fs::{
    self, AtFlags, FileType, Statx, StatxFlags, StatxTimestamp, Timespec, Timestamps,
};
use rustix::time::ClockId;
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

pub(super) fn of_handle(of: &OwnedFd) -> DiskResult<FileStat> {
    Ok(file_stat(&fs::statx(of, c"", AtFlags::EMPTY_PATH, WANTED)?))
}

/// The end of a file that has all its blocks: it has no hole, but for space that is set aside and
/// was never written. tmpfs would look at each of its pages to say so: 17 ms a GiB.
pub(super) fn end_of_dense(of: &OwnedFd) -> DiskResult<Option<Offset>> {
    let flags = StatxFlags::SIZE | StatxFlags::BLOCKS;
    let stat = fs::statx(of, c"", AtFlags::EMPTY_PATH, flags)?;
    let dense = stat.stx_blocks.saturating_mul(BLOCK_BYTES) >= stat.stx_size;
    Ok(dense.then_some(Offset(stat.stx_size)))
}

/// As `of_name`, whatever a network file system remembers.
pub(super) fn of_name_now(at: &OwnedFd, name: Name<'_>) -> DiskResult<FileStat> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::STATX_FORCE_SYNC;
    Ok(file_stat(&fs::statx(at, name.as_bytes(), flags, WANTED)?))
}

/// What is asked for.
const WANTED: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);

/// What `stx_blocks` counts in.
const BLOCK_BYTES: u64 = 512;

/// The bits of a directory beyond its permissions; none of anything else.
pub(super) fn special_bits(of: &OwnedFd) -> DiskResult<fs::Mode> {
    let stat = fs::statx(of, c"", AtFlags::EMPTY_PATH, StatxFlags::MODE | StatxFlags::TYPE)?;
    let mode = u32::from(stat.stx_mode);
    Ok(match FileType::from_raw_mode(mode) {
        FileType::Directory => fs::Mode::from_raw_mode(mode & 0o7000),
        _ => fs::Mode::empty(),
    })
}

pub(super) fn of_name(at: &OwnedFd, name: Name<'_>) -> DiskResult<FileStat> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    Ok(file_stat(&fs::statx(at, name.as_bytes(), flags, WANTED)?))
}

fn file_stat(stat: &Statx) -> FileStat {
    let mode = u32::from(stat.stx_mode);
    let kind = match FileType::from_raw_mode(mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Other,
    };
    let told = StatxFlags::from_bits_retain(stat.stx_mask);
    let ours = stat.stx_uid == rustix::process::geteuid().as_raw();
    FileStat {
        kind,
        owner: if ours { Owner::Us } else { Owner::Other },
        inode: stat.stx_ino,
        size: ByteCount(stat.stx_size),
        mode: Mode::from_bits(mode),
        mtime: timestamp(&stat.stx_mtime),
        ctime: timestamp(&stat.stx_ctime),
        birth: told.contains(StatxFlags::BTIME).then(|| timestamp(&stat.stx_btime)),
        links: stat.stx_nlink,
        allocated: ByteCount(stat.stx_blocks.saturating_mul(512)),
    }
}

/// The kernel keeps nanoseconds below 10^9; a file system that does not is read as the whole
/// second.
fn timestamp(stamp: &StatxTimestamp) -> Timestamp {
    Timestamp::new(stamp.tv_sec, stamp.tv_nsec)
        .or_else(|| Timestamp::new(stamp.tv_sec, 0))
        .unwrap_or_default()
}

/// Times that set the mtime and leave the atime.
pub(super) fn only_mtime(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs(), tv_nsec: i64::from(mtime.nanos()) },
    }
}

pub(super) fn now() -> Timestamp {
    let now = rustix::time::clock_gettime(ClockId::Realtime);
    u32::try_from(now.tv_nsec)
        .ok()
        .and_then(|nanos| Timestamp::new(now.tv_sec, nanos))
        .unwrap_or_default()
}

/// Mount ids that are never used again in this boot; Linux 6.8 and later. Before, an id can come
/// back, on a disk that was pulled out with bytes unwritten.
const MOUNT_ID_UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

pub(super) fn file_system(of: &OwnedFd) -> DiskResult<FileSystem> {
    let wanted = StatxFlags::MNT_ID | MOUNT_ID_UNIQUE;
    let stat = fs::statx(of, c"", AtFlags::EMPTY_PATH, wanted)?;
    if stat.stx_mask & wanted.bits() == 0 {
        return Err(DiskError::new(Code::Unsupported));
    }
    let unique = stat.stx_mask & MOUNT_ID_UNIQUE.bits() != 0;
    let magic = u64::from_ne_bytes(fs::fstatfs(of)?.f_type.to_ne_bytes());
    Ok(FileSystem {
        mount_id: stat.stx_mnt_id,
        mount_id_reuse: if unique { Reuse::Never } else { Reuse::Possible },
        device: fs::makedev(stat.stx_dev_major, stat.stx_dev_minor),
        magic,
        locality: locality(magic),
    })
}

/// Whether a file rests in memory alone.
pub(super) fn is_in_memory(of: &OwnedFd) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58f6;
    fs::fstatfs(of)
        .is_ok_and(|stat| matches!(u64::from_ne_bytes(stat.f_type.to_ne_bytes()), TMPFS | RAMFS))
}

/// Types known to keep a killed process's writes: the page cache above a device of this machine, or
/// memory.
fn locality(magic: u64) -> Locality {
    match magic {
        0xef53            // ext2, ext3, ext4
        | 0x5846_5342     // xfs
        | 0x9123_683e     // btrfs
        | 0xf2f5_2010     // f2fs
        | 0xca45_1a4e     // bcachefs
        | 0x2fc1_2fc1     // zfs
        | 0x0102_1994     // tmpfs
        | 0x8584_58f6     // ramfs
        | 0x3153_464a     // jfs
        | 0x4d44          // vfat
        | 0x2011_bab0     // exfat
        | 0x7366_746e     // ntfs3
        => Locality::Local,
        0x794c_7630       // overlayfs
        => Locality::Layered,
        _ => Locality::Remote,
    }
}

/// Read once: it is the same for as long as a process lives, and a process that was confined later
/// could not read it. `KernelDisk::open` sees to that.
pub(super) fn boot_id() -> DiskResult<BootId> {
    static BOOT: OnceLock<BootId> = OnceLock::new();
    match BOOT.get() {
        Some(known) => Ok(*known),
        None => read_boot_id().map(|read| *BOOT.get_or_init(|| read)),
    }
}

fn read_boot_id() -> DiskResult<BootId> {
    let text = std::fs::read("/proc/sys/kernel/random/boot_id").map_err(|error| of_io(&error))?;
    parse_uuid(&text).map(BootId).ok_or(DiskError::new(Code::Unsupported))
}

/// 32 hex digits, hyphens anywhere, one line end.
fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut id = [0; 16];
    let mut digits = text.trim_ascii_end().iter().filter(|byte| **byte != b'-');
    for byte in &mut id {
        let high = char::from(*digits.next()?).to_digit(16)?;
        let low = char::from(*digits.next()?).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    digits.next().is_none().then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_boot_id_and_refuses_anything_else() {
        let id = parse_uuid(b"00112233-4455-6677-8899-aabbccddeeff\n").unwrap();
        assert_eq!(id[0], 0);
        assert_eq!(id[15], 0xff);
        for bad in [&b""[..], b"001122", b"00112233-4455-6677-8899-aabbccddeeff0", b"zz"] {
            assert_eq!(parse_uuid(bad), None);
        }
        assert_eq!(boot_id(), boot_id());
    }
}
