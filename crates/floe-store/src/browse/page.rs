//! One page of a directory: names parsed, those no path may have left out, the rest sorted by
//! bytes.
//!
//! A page can be empty and not be the last, where every name of it was left out.

use crate::api::{Cursor, Listed, Page, Stat};
use crate::disk::{DirectoryOffset, Disk, DiskError, DiskResult};
use floe_types::{Code, Component};

/// More names than this are not put in one page, whoever asks.
const PAGE_NAMES_MAX: usize = 4096;

pub(super) fn page<D: Disk>(
    disk: &D,
    directory: &D::Handle,
    after: Option<&Cursor>,
    max: usize,
    stat: impl Fn(&Component) -> Option<Stat>,
) -> DiskResult<Page> {
    let from = after.map(offset_of).transpose()?;
    let found = disk.list(directory, from, max.clamp(1, PAGE_NAMES_MAX))?;
    let (mut parsed, mut passed_over) = (Vec::new(), Vec::new());
    for name in found.names {
        match Component::new(&name) {
            Ok(name) => parsed.push(name),
            Err(_) => passed_over.push(name),
        }
    }
    parsed.sort_unstable();
    let listed = |name| Listed { stat: stat(&name), name };
    let names = parsed.into_iter().map(listed).collect();
    Ok(Page { names, next: found.next.map(cursor_of), passed_over })
}

fn cursor_of(offset: DirectoryOffset) -> Cursor {
    Cursor(offset.0.to_be_bytes().to_vec())
}

fn offset_of(cursor: &Cursor) -> DiskResult<DirectoryOffset> {
    let bytes = <[u8; 8]>::try_from(&*cursor.0).map_err(|_| DiskError::new(Code::Usage))?;
    Ok(DirectoryOffset(u64::from_be_bytes(bytes)))
}
