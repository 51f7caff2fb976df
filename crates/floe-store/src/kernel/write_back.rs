//! sync_file_range, which rustix does not offer: the one foreign call of this crate.
#![allow(unsafe_code)]

use super::errno::of_io;
use crate::disk::{DiskError, DiskResult};
use floe_types::{Code, Range};
use std::os::fd::{AsRawFd, OwnedFd};

/// Starts to write a range back and does not wait for it. Promises nothing: a sync must follow.
pub(super) fn start(of: &OwnedFd, range: Range) -> DiskResult<()> {
    let (Ok(start), Ok(len)) = (i64::try_from(range.start().0), i64::try_from(range.len().0))
    else {
        return Err(DiskError::new(Code::LimitExceeded));
    };
    if len == 0 {
        return Ok(()); // zero means "to the end" there
    }
    // SAFETY: takes a descriptor that is open for as long as `of` is borrowed, and three numbers;
    // touches no memory.
    let answer =
        unsafe { libc::sync_file_range(of.as_raw_fd(), start, len, libc::SYNC_FILE_RANGE_WRITE) };
    if answer == 0 {
        return Ok(());
    }
    Err(of_io(&std::io::Error::last_os_error()))
}
