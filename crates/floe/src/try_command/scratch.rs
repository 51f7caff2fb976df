//! The temporary directory of `floe try`, bytes to fill it, and roots computed apart from any
//! transfer.

use super::children::Children;
use crate::civil;
use crate::fault::{Failure, Result, Shown, of_path};
use floe_types::{ByteCount, Code};
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A directory that goes with everything in it when it is dropped, unless it is kept.
pub struct Scratch {
    path: PathBuf,
    kept: AtomicBool,
}

impl Scratch {
    /// Makes it where temporary files go (TMPDIR), for this user alone.
    ///
    /// # Errors
    /// The system's.
    pub fn create() -> Result<Self> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("floe-try-{}-{:x}", std::process::id(), since.as_nanos());
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(|error| of_path("make the directory", &path, &error))?;
        Ok(Self { path, kept: AtomicBool::new(false) })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it where it is.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Takes it away now, unless it is kept.
    pub fn remove(&self) {
        if !self.kept.load(Ordering::Relaxed) {
            // A child that is just being killed may still make a file. What cannot be removed lies
            // where temporary files are cleaned.
            (0..ATTEMPTS).find(|_| fs::remove_dir_all(&self.path).is_ok());
        }
    }
}

const ATTEMPTS: u32 = 8;

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Refuses to begin what would fill the disk: two copies have to fit.
///
/// # Errors
/// `NoSpace`; the system's.
pub fn check_room(dir: &Path, size: ByteCount) -> Result<()> {
    let stat = rustix::fs::statvfs(dir).map_err(|errno| of_path("ask", dir, &errno.into()))?;
    let free = ByteCount(stat.f_bavail.saturating_mul(stat.f_frsize));
    let wanted = size.plus(size);
    if free < wanted {
        let (free, wanted) = (civil::bytes(free), civil::bytes(wanted));
        let detail = format!("{} has {free} free, {wanted} are needed", Shown(dir));
        return Err(Failure::hinted(Code::NoSpace, detail, "set TMPDIR, or --size smaller"));
    }
    Ok(())
}

/// The length of a regular file that can be read.
///
/// # Errors
/// `NotFound`, `IsDirectory`, `NotRegular`, `PermissionDenied`, the system's.
pub fn readable_len(path: &Path) -> Result<u64> {
    floe_engine::raw::check_readable(path).map_err(|fault| {
        Failure::from(fault)
            .of_this_machine()
            .hinting(Code::IsDirectory, "floe try takes one file; floe put takes directories too")
            .hinting(Code::NotRegular, "floe try takes one file, or none: then it makes one")
    })?;
    let found = fs::metadata(path).map_err(|error| of_path("open", path, &error))?;
    Ok(found.len())
}

/// Makes a file of bytes that do not compress; `children` can interrupt it.
///
/// # Errors
/// `NoSpace`, `Interrupted`, the system's.
pub fn fill(path: &Path, size: ByteCount, children: &Children) -> Result<()> {
    let wrong = |error: &io::Error| of_path("write", path, error);
    let mut file = File::create_new(path).map_err(|error| wrong(&error))?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut state = since
        .as_nanos()
        .to_le_bytes()
        .iter()
        .fold(0, |seed, byte| u64::rotate_left(seed, 7) ^ u64::from(*byte));
    let mut block = vec![0; 1 << 20];
    let mut left = size.0;
    while left > 0 {
        children.check_wanted()?;
        for word in block.chunks_exact_mut(8) {
            word.copy_from_slice(&split_mix(&mut state).to_le_bytes());
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
        file.write_all(&block[..count]).map_err(|error| wrong(&error))?;
        left -= ByteCount::of_len(count).0;
    }
    Ok(())
}

/// SplitMix64 (Steele, Lea, Flood 2014): fast, and nothing compresses it.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The BLAKE3 hash of a file, read here and now.
///
/// # Errors
/// The system's.
pub fn root_of(path: &Path) -> Result<String> {
    let wrong = |error: &io::Error| of_path("read", path, error);
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).map_err(|error| wrong(&error))?;
    Ok(hasher.finalize().to_hex().to_string())
}
