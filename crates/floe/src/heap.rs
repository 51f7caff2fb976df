//! The C library's allocator, set up before anything else runs.
#![allow(unsafe_code)] // no safe wrapper of mallopt exists

/// Free memory that each of its heaps keeps. glibc's own 128 KiB is below what one write of TLS
/// records takes and frees, so that its pages would be given back and faulted in again each time.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: libc::c_int = 2 << 20;

/// Sets it up. Other C libraries than glibc stay as they are.
pub fn set_up() {
    // SAFETY: mallopt changes what later frees do, and nothing in use; no other thread runs.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}
