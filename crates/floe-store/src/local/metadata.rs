//! Mode, mtime and mark of a staged file: what it has before its sync, and so before anyone can see
//! it.

use crate::api::SinkSpec;
use crate::disk::{Disk, DiskResult};
use crate::mark::{MARK_NAME, Mark};
use floe_types::{ByteCount, Code, Mode, Root};

/// The bit without which its owner may not set an extended attribute.
const OWNER_WRITES: u16 = 0o200;
/// The bit without which its owner may not open it to read.
const OWNER_READS: u16 = 0o400;
/// The bits without which its owner may not open it again.
const OWNER_OPENS: u16 = 0o600;

/// The mode a staged file may be made with: its final one where that lets the mark be set.
pub(super) fn staging_mode(spec: &SinkSpec) -> Option<Mode> {
    let mode = spec.metadata.mode;
    (mode.bits() & OWNER_WRITES != 0).then_some(mode)
}

/// Whether the object's mode keeps its owner from opening it to write.
pub(super) fn keeps_owner_out(spec: &SinkSpec) -> bool {
    spec.metadata.mode.bits() & OWNER_OPENS != OWNER_OPENS
}

/// Whether the object's mode keeps its owner from opening it to sync it.
pub(super) fn keeps_reader_out(spec: &SinkSpec) -> bool {
    spec.metadata.mode.bits() & OWNER_READS == 0
}

/// Sets mark, mode and mtime; the mode is one that still lets the owner take the stage up again, if
/// need be.
pub(super) fn apply<D: Disk>(
    disk: &D,
    file: &D::Handle,
    spec: &SinkSpec,
    size: ByteCount,
    root: Root,
) -> DiskResult<()> {
    apply_mark(disk, file, spec, size, root)?;
    disk.set_mode(file, Mode::from_bits(u32::from(spec.metadata.mode.bits() | OWNER_OPENS)))?;
    disk.set_mtime(file, spec.metadata.mtime)
}

/// Sets the mark, where the file system takes one: without it the object is only not recognised
/// later.
pub(super) fn apply_mark<D: Disk>(
    disk: &D,
    file: &D::Handle,
    spec: &SinkSpec,
    size: ByteCount,
    root: Root,
) -> DiskResult<()> {
    let mark = Mark::new(root, size, spec.metadata.mtime, spec.version, spec.freshness);
    match disk.set_xattr(file, MARK_NAME, &mark.encode()) {
        Err(error) if !matches!(error.code(), Code::Io | Code::ReadOnly) => Ok(()),
        answer => answer,
    }
}
