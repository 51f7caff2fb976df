//! One page of a directory: getdents from a position, which is the cookie of the last name of the
//! page before.

use crate::disk::{DirectoryOffset, DirectoryPage, DiskError, DiskResult};
use floe_types::Code;
use rustix::fs::{RawDir, SeekFrom, seek};
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Holds some hundred names; the longest one a file system gives fits many times.
const BUFFER_BYTES: usize = 32 << 10;

pub(super) fn page(
    directory: &OwnedFd,
    from: Option<DirectoryOffset>,
    max: usize,
) -> DiskResult<DirectoryPage> {
    if let Some(DirectoryOffset(offset)) = from {
        // A cursor comes back from a peer, so it can be any number: the kernel refuses those it
        // cannot use.
        seek(directory, SeekFrom::Start(offset)).map_err(|errno| match errno {
            Errno::INVAL | Errno::OVERFLOW => DiskError::new(Code::Usage),
            errno => errno.into(),
        })?;
    }
    let mut buffer = Vec::with_capacity(BUFFER_BYTES);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let (mut names, mut last) = (Vec::new(), None);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            last = Some(DirectoryOffset(entry.next_entry_cookie()));
            continue;
        }
        if names.len() == max {
            return Ok(DirectoryPage { names, next: last });
        }
        names.push(name.to_vec());
        last = Some(DirectoryOffset(entry.next_entry_cookie()));
    }
    Ok(DirectoryPage { names, next: None })
}
