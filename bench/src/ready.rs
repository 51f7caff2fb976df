//! What is done before each transfer, so that every program finds the same machine.

use crate::Result;
use crate::accounts::available;
use floe_types::ByteCount;
use std::fs::File;
use std::hint::black_box;
use std::path::Path;

/// The file system has nothing left to write, and the kernel has memory that was in use just now:
/// on a virtual machine the first touch of other memory waits for the host, which takes whoever
/// comes first several times as long. `moved` is what the transfer will write.
pub fn make_ready(dir: &Path, moved: ByteCount) -> Result<()> {
    let wrong = |error: std::io::Error| format!("sync {}: {error}", dir.display());
    rustix::fs::syncfs(File::open(dir).map_err(wrong)?).map_err(|error| wrong(error.into()))?;
    touch(ByteCount(moved.0 + moved.0 / 4).min(ByteCount(available().0 / 2)));
    Ok(())
}

/// Writes to so much memory and gives it back.
fn touch(bytes: ByteCount) {
    drop(black_box(vec![1_u8; bytes.to_len().unwrap_or(0)]));
}
