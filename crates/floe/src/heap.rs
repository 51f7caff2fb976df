//! The C library's allocator, set up before anything else runs.
#![allow(unsafe_code)] // no safe wrapper of mallopt exists

/// Free memory that each of its heaps keeps. What glibc starts with, 128 KiB, is below what one
/// write of TLS records takes and frees: its pages would be given back and faulted in again.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: libc::c_int = 2 << 20;
/// From this size on memory comes from the kernel and goes back to it. glibc raises this by itself
/// only while nothing is set.
#[cfg(target_env = "gnu")]
const MAPPED_BYTES: libc::c_int = 4 << 20;

/// Sets it up. Other C libraries than glibc stay as they are.
pub fn set_up() {
    // SAFETY: mallopt changes what later frees do, and nothing in use; no other thread runs.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MAPPED_BYTES);
    }
}
