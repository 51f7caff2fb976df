//! Where memory comes from: an allocator in which one thread may free what another took without a
//! lock. Lanes take what disk threads free, a dozen times a small file; under the C library's
//! allocator each made the other wait.

/// Of the whole program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Sets it up: pages of 2 MiB would be zeroed and kept for a few KiB each, 40 MiB a process in
/// place of 17. A kernel that knows no such pages has none to refuse.
pub fn set_up() {
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
