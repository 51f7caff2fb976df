//! The seam below the local store: every effect it has on a machine, and nothing else.
//!
//! `KernelDisk` is the machine, `FaultyDisk` wraps any disk and breaks it by a seed, a simulation
//! forgets what was not synced. Staging, journal and commit stand above and never call a kernel
//! otherwise.
//!
//! Containment is a property of this trait: a path is a list of parsed names resolved beneath a
//! directory's handle, and no method here ever follows a symbolic link. Links that may be followed
//! are followed in `beneath`, by name. Every method may block on a device unless it says otherwise,
//! and may be called from several threads at once.

mod error;

pub use error::{DiskError, DiskResult, Doing};

use crate::api::Overwrite;
use floe_types::{ByteCount, Component, Mode, Offset, Range, Timestamp};

/// One name in a directory, as a disk takes it: 1 to 255 bytes, no NUL, no `/`, not `.` or `..`.
/// Unlike a `Component` it may be `.floe`: names that the store itself made pass here, names of a
/// peer are `Component`s.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// The name of the store's own directory.
    pub const RESERVED: Name<'static> = Name(floe_types::path::RESERVED_NAME);

    /// A name of these bytes, if they can be one.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let reserved = bytes == floe_types::path::RESERVED_NAME;
        (reserved || Component::new(bytes).is_ok()).then_some(Self(bytes))
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl<'a> From<&'a Component> for Name<'a> {
    fn from(component: &'a Component) -> Self {
        Self(component.as_bytes())
    }
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        floe_types::escape::Escaped(self.0).fmt(f)
    }
}

impl std::fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// What stands at a name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A device, socket or FIFO: never opened.
    Other,
}

/// Whose a file is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// The user's that runs this process.
    Us,
    /// Another user's, who may change its mode and what is in it.
    Other,
}

/// What a disk knows of a file without reading it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FileStat {
    /// Its kind.
    pub kind: FileKind,
    /// Whose it is.
    pub owner: Owner,
    /// Its inode number.
    pub inode: u64,
    /// Its size; of a link, the length of its text.
    pub size: ByteCount,
    /// Its permission bits.
    pub mode: Mode,
    /// Last change of its bytes.
    pub mtime: Timestamp,
    /// Last change of its inode.
    pub ctime: Timestamp,
    /// When it was made, where the file system tells.
    pub birth: Option<Timestamp>,
    /// How many names it has.
    pub links: u32,
    /// The space it takes.
    pub allocated: ByteCount,
}

/// What a file is opened for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Access {
    /// Reading only.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// Whether a lock was had.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lock {
    /// It is ours until the handle is dropped.
    Taken,
    /// Another handle, here or in another process, holds it.
    HeldElsewhere,
}

/// A place in a directory. Means something only to the disk that gave it, and only for that
/// directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct DirectoryOffset(pub u64);

/// Some names of a directory, in the disk's own order, without `.` and `..`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DirectoryPage {
    /// The names, as bytes; any name a file system can hold.
    pub names: Vec<Vec<u8>>,
    /// Where to go on; `None` at the end.
    pub next: Option<DirectoryOffset>,
}

/// The identity of one boot of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BootId(pub [u8; 16]);

/// Where a file system's bytes rest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Locality {
    /// On a device of this machine: what was written survives the death of a process.
    #[default]
    Local,
    /// The same through another file system (overlayfs): a sync of the whole writes all, and does
    /// not tell of what could not be written; a sync of a file does.
    Layered,
    /// Elsewhere, or a type this build does not know: nothing unsynced is trusted.
    Remote,
}

/// Whether an id may be given again after what it stood for is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Reuse {
    /// Not before the next boot.
    #[default]
    Never,
    /// It may.
    Possible,
}

/// Which mount of which type of file system a handle is on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct FileSystem {
    /// The mount's id: equal for two handles now, the same mount.
    pub mount_id: u64,
    /// Whether a later mount may have it.
    pub mount_id_reuse: Reuse,
    /// The device number, which tells parts of one mount that no rename crosses.
    pub device: u64,
    /// The type's magic number.
    pub magic: u64,
    /// Where its bytes rest.
    pub locality: Locality,
}

/// A disk with one root. See the module.
///
/// Every error is the system's, as a `DiskError`; the table is in `kernel/errno.rs`.
#[allow(clippy::missing_errors_doc, reason = "said once, in the line above")]
pub trait Disk: Send + Sync + 'static {
    /// An open directory or file. Dropping it closes it.
    type Handle: Send + Sync + 'static;

    /// A handle of the root, a directory.
    fn root(&self) -> DiskResult<Self::Handle>;

    /// Opens the directory at `path` beneath `at` for every use of a directory; an empty path opens
    /// `at` again. No link is passed: `NotDirectory` where one stands.
    fn open_directory(&self, at: &Self::Handle, path: &[Component]) -> DiskResult<Self::Handle>;

    /// Opens the directory `name` in `at`; this one may be `.floe`. No link is passed.
    fn open_child(&self, at: &Self::Handle, name: Name<'_>) -> DiskResult<Self::Handle>;

    /// Opens the regular file `name` in `at`. Never follows a link, never waits for a writer, never
    /// opens a device: `IsDirectory` for a directory, `NotRegular` for everything else.
    fn open_file(
        &self,
        at: &Self::Handle,
        name: Name<'_>,
        access: Access,
    ) -> DiskResult<Self::Handle>;

    /// As `open_file`, of a name that was just seen to be a regular file; and what it is now.
    fn open_seen(
        &self,
        at: &Self::Handle,
        name: Name<'_>,
        access: Access,
    ) -> DiskResult<(Self::Handle, FileStat)> {
        let handle = self.open_file(at, name, access)?;
        let stat = self.stat(&handle)?;
        Ok((handle, stat))
    }

    /// Makes a new, empty regular file and opens it for reading and writing; `Exists` if anything
    /// has the name. The mode is exact: no umask applies.
    fn create_file(
        &self,
        at: &Self::Handle,
        name: Name<'_>,
        mode: Mode,
    ) -> DiskResult<Self::Handle>;

    /// Makes a new, empty regular file without a name on the file system of a directory, for its
    /// owner alone, and opens it for reading and writing. It is gone with its last handle, or after
    /// a crash. `Unsupported` where that cannot be had.
    fn unnamed(&self, at: &Self::Handle) -> DiskResult<Self::Handle>;

    /// Makes a directory; `Exists` if anything has the name. The process's umask applies.
    fn make_directory(&self, at: &Self::Handle, name: Name<'_>, mode: Mode) -> DiskResult<()>;

    /// Makes a symbolic link with this text; `Exists` if anything has the name.
    fn make_link(&self, at: &Self::Handle, name: Name<'_>, target: &[u8]) -> DiskResult<()>;

    /// What an open handle is.
    fn stat(&self, of: &Self::Handle) -> DiskResult<FileStat>;

    /// What stands at a name; a link is not followed.
    fn stat_at(&self, at: &Self::Handle, name: Name<'_>) -> DiskResult<FileStat>;

    /// The text of the link `name`; `NotFound` also where something else has the name.
    fn read_link(&self, at: &Self::Handle, name: Name<'_>) -> DiskResult<Vec<u8>>;

    /// Reads some bytes at an offset: at least one, unless the file ends there or `into` is empty.
    fn read_at(&self, from: &Self::Handle, at: Offset, into: &mut [u8]) -> DiskResult<usize>;

    /// As `read_at`, of what memory already holds, without waiting for a device; `None` if that is
    /// nothing.
    fn read_cached(
        &self,
        from: &Self::Handle,
        at: Offset,
        into: &mut [u8],
    ) -> DiskResult<Option<usize>>;

    /// Writes all bytes at an offset. After an error any part of them may be written.
    fn write_at(&self, to: &Self::Handle, at: Offset, bytes: &[u8]) -> DiskResult<()>;

    /// Sets space aside for a range without changing the size. `Unsupported` where that cannot be
    /// had.
    fn allocate(&self, of: &Self::Handle, range: Range) -> DiskResult<()>;

    /// The first byte at or after an offset that may be other than zero; `None` where there is none
    /// up to the end. `Unsupported` where the file system does not tell.
    fn next_data(&self, of: &Self::Handle, from: Offset) -> DiskResult<Option<Offset>>;

    /// The first byte at or after an offset that is in a hole, or the end; an offset at or past the
    /// end may be an error. `Unsupported` where the file system does not tell.
    fn next_hole(&self, of: &Self::Handle, from: Offset) -> DiskResult<Offset>;

    /// Gives a range's space back; what of it is in the file reads as zeros. The size stays.
    /// `Unsupported` where that cannot be had.
    fn punch(&self, of: &Self::Handle, range: Range) -> DiskResult<()>;

    /// Sets the size: cuts, or extends with zeros.
    fn truncate(&self, of: &Self::Handle, size: ByteCount) -> DiskResult<()>;

    /// Sets the permission bits of an open file or directory. A directory keeps the bits beyond
    /// them (set-group-id, sticky), a file loses them.
    fn set_mode(&self, of: &Self::Handle, mode: Mode) -> DiskResult<()>;

    /// Sets the time of last change of an open file or directory.
    fn set_mtime(&self, of: &Self::Handle, mtime: Timestamp) -> DiskResult<()>;

    /// Sets the time of last change of a name; of a link, the link's own.
    fn set_mtime_at(&self, at: &Self::Handle, name: Name<'_>, mtime: Timestamp) -> DiskResult<()>;

    /// Sets an extended attribute, `user.floe` or the like. `Unsupported` where the file system has
    /// none.
    fn set_xattr(&self, of: &Self::Handle, name: &str, value: &[u8]) -> DiskResult<()>;

    /// An extended attribute of at most `XATTR_BYTES_MAX` bytes; `None` where it is absent, longer,
    /// or not offered.
    fn xattr(&self, of: &Self::Handle, name: &str) -> DiskResult<Option<Vec<u8>>>;

    /// Removes an extended attribute; one that is absent is no error.
    fn remove_xattr(&self, of: &Self::Handle, name: &str) -> DiskResult<()>;

    /// At most `max` names (at least one is asked for) of a directory, from the start or an offset
    /// it gave. Names that come or go meanwhile may be missed or not; all others come exactly once.
    fn list(
        &self,
        directory: &Self::Handle,
        from: Option<DirectoryOffset>,
        max: usize,
    ) -> DiskResult<DirectoryPage>;

    /// Makes bytes and inode of a file durable (fsync). After an error nothing since the last good
    /// one is.
    fn sync_file(&self, of: &Self::Handle) -> DiskResult<()>;

    /// Makes the bytes of a file durable, and of its inode what is needed to read them (fdatasync).
    fn sync_data(&self, of: &Self::Handle) -> DiskResult<()>;

    /// Makes the names of a directory durable.
    fn sync_directory(&self, directory: &Self::Handle) -> DiskResult<()>;

    /// Makes everything on the file system of this handle durable (syncfs); waits for other
    /// programs' writes too.
    fn sync_file_system(&self, of: &Self::Handle) -> DiskResult<()>;

    /// Starts to write a range back, and does not wait. A hint: promises nothing.
    fn start_write_back(&self, of: &Self::Handle, range: Range) -> DiskResult<()>;

    /// Forgets what memory holds of a range and needs not be written. A hint.
    fn drop_cache(&self, of: &Self::Handle, range: Range) -> DiskResult<()>;

    /// Says that a file will be read from start to end. A hint.
    fn expect_sequential(&self, of: &Self::Handle) -> DiskResult<()>;

    /// Renames, atomically. With `Overwrite::Refused`, `Exists` if anything has the new name.
    /// `DiskError::is_cross_device` tells two file systems from every other failure. Where that
    /// cannot be had in one step, a file or link gets its second name first and then loses the
    /// first one, so a crash may leave both.
    fn rename(
        &self,
        from: (&Self::Handle, Name<'_>),
        to: (&Self::Handle, Name<'_>),
        overwrite: Overwrite,
    ) -> DiskResult<()>;

    /// Gives a file one more name; `Exists` if anything has it.
    fn link(
        &self,
        from: (&Self::Handle, Name<'_>),
        to: (&Self::Handle, Name<'_>),
    ) -> DiskResult<()>;

    /// Removes a name that is not a directory's.
    fn remove_file(&self, at: &Self::Handle, name: Name<'_>) -> DiskResult<()>;

    /// Removes an empty directory.
    fn remove_directory(&self, at: &Self::Handle, name: Name<'_>) -> DiskResult<()>;

    /// Tries to lock a file for its handle alone, without waiting. The lock ends with the handle.
    fn try_lock(&self, of: &Self::Handle) -> DiskResult<Lock>;

    /// Which boot of the machine this is.
    fn boot_id(&self) -> DiskResult<BootId>;

    /// Which file system a handle is on.
    fn file_system(&self, of: &Self::Handle) -> DiskResult<FileSystem>;

    /// Whether this user may make, replace and remove names in a directory, as far as that can be
    /// known without doing it: `PermissionDenied`, `ReadOnly`.
    fn may_change(&self, directory: &Self::Handle) -> DiskResult<()>;

    /// How much more this user may write to the file system of a handle.
    fn free_space(&self, of: &Self::Handle) -> DiskResult<ByteCount>;

    /// Civil time, as stamps of this disk are read.
    fn now(&self) -> Timestamp;
}

/// The longest extended attribute that is read.
pub const XATTR_BYTES_MAX: usize = 1024;
