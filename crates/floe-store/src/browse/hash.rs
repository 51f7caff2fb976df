//! The root of a file that stands there, computed from its bytes.

use crate::api::Progress;
use crate::disk::{Disk, DiskError, DiskResult};
use crate::source::FileSource;
use floe_types::digest::ChunkHasher;
use floe_types::{ByteCount, Code, Offset, Root};

/// Long enough for the fast path of the hash, short enough to say something every second on a slow
/// disk.
const READ_BYTES: usize = 1 << 20;

/// Reads the whole file. `SourceChanged` where it changed meanwhile.
pub(super) fn root_of<D: Disk>(
    source: &FileSource<D>,
    size: ByteCount,
    progress: Progress<'_>,
) -> DiskResult<Root> {
    let before = source.stamps()?;
    let (mut hasher, mut buffer) = (ChunkHasher::new(Offset::ZERO), vec![0; READ_BYTES]);
    loop {
        let at = Offset(hasher.len().0);
        let count = source.fill_at(at, &mut buffer)?;
        hasher.update(buffer.get(..count).unwrap_or_default());
        progress(hasher.len(), size);
        // A file that only grows would never end.
        if count < buffer.len() || hasher.len() > size {
            break;
        }
    }
    if source.stamps()? != before || hasher.len() != size {
        return Err(DiskError::new(Code::SourceChanged));
    }
    Ok(hasher.finish().and_then(|digest| digest.root).unwrap_or_else(Root::of_nothing))
}
