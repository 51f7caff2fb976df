//! Files that a person named, opened without hanging; and the stage that incoming bytes go through.
//!
//! Whatever fails between the first byte and the commit discards the stage: a final name shows the
//! old bytes, or nothing, or all of the new ones.

use super::wire::{Incoming, Terms, read_all};
use crate::clock::timestamp;
use floe_store::disk::DiskError;
use floe_store::local::LocalStore;
use floe_store::{
    Commit, Journaling, OpenedSink, OwnerId, Recognise, Resume, Sink, SinkSpec, Store,
};
use floe_types::escape::Escaped;
use floe_types::{
    ByteCount, Code, Fault, Freshness, Metadata, Mode, ObjectPath, Precondition, Root,
};
use rustix::fs::{Mode as OpenMode, OFlags};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

/// Where received files go.
pub struct Inbox {
    store: Arc<dyn Store>,
    directory: File,
}

impl Inbox {
    /// An inbox in a directory of this machine.
    ///
    /// # Errors
    /// `NotFound`, `NotDirectory`, `PermissionDenied`, the system's.
    pub fn open(directory: &Path) -> Result<Self, Fault> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(directory, flags, OpenMode::empty()).map_err(|errno| {
            DiskError::from(errno).fault(format_args!("open {}", shown(directory)))
        })?;
        let called = if directory == Path::new(".") { Path::new("") } else { directory };
        let store = Arc::new(LocalStore::open_own(directory, called)?);
        Ok(Self { store, directory: File::from(opened) })
    }

    /// Refuses a size that does not fit into what is free now.
    ///
    /// # Errors
    /// `NoSpace`; the system's.
    pub(super) fn check_room(&self, size: ByteCount, who: &str) -> Result<(), Fault> {
        let stat = rustix::fs::fstatvfs(&self.directory)
            .map_err(|errno| DiskError::from(errno).fault("ask for the free space"))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if size.0 > free {
            let detail = format!("refuse {who}: it announced {size} bytes, {free} are free");
            return Err(Fault::new(Code::NoSpace, detail));
        }
        Ok(())
    }
}

/// What bytes become.
pub(super) struct Target {
    pub(super) path: ObjectPath,
    pub(super) precondition: Precondition,
}

/// Receives into a stage and commits it. Durable when it returns; nothing is visible where it
/// fails.
///
/// # Errors
/// What `read_all` and the store answer.
pub(super) fn store_all(
    inbox: &Inbox,
    target: Target,
    incoming: Incoming<'_>,
    terms: &Terms,
) -> Result<(ByteCount, Root), Fault> {
    let store = &*inbox.store;
    let sink = match store.open_sink(spec(target, incoming.announced)?, &|_, _| {})? {
        OpenedSink::Staged { sink, .. } | OpenedSink::Finished { sink, .. } => sink,
    };
    let received = read_all(incoming, terms, &mut |at, bytes| {
        if bytes.is_empty() { Ok(()) } else { sink.write_at(at, bytes) }
    });
    let result = received.and_then(|(size, root)| {
        commit(store, &sink, size, root)?;
        Ok((size, root))
    });
    result.map_err(|fault| match store.discard(sink) {
        Ok(()) => fault,
        Err(second) => {
            let detail = format!("{} (and its stage stays: {second})", fault.detail);
            Fault::new(fault.code, detail)
        }
    })
}

fn commit(
    store: &dyn Store,
    sink: &Arc<dyn Sink>,
    size: ByteCount,
    root: Root,
) -> Result<(), Fault> {
    let commit = Commit::Object { sink: Arc::clone(sink), size, root };
    store.commit(vec![commit]).into_iter().collect()
}

fn spec(target: Target, size: Option<ByteCount>) -> Result<SinkSpec, Fault> {
    let mut owner = [0; 32];
    getrandom::fill(&mut owner)
        .map_err(|error| Fault::new(Code::Unsupported, format!("draw random bytes ({error})")))?;
    Ok(SinkSpec {
        path: target.path,
        owner: OwnerId(owner),
        size,
        holes: ByteCount::ZERO,
        version: None,
        freshness: Freshness::Fresh,
        metadata: Metadata { mode: new_file_mode(), mtime: timestamp() },
        precondition: target.precondition,
        resume: Resume::Discard,
        recognise: Recognise::ByVersion,
        journaling: Journaling::None,
    })
}

/// Opens a file to be sent; never waits for the other end of a FIFO.
///
/// # Errors
/// `NotFound`, `IsDirectory`, `NotRegular`, `PermissionDenied`, the system's.
pub(super) fn open_regular(path: &Path) -> Result<(File, ByteCount, SystemTime), Fault> {
    let what = || format!("open {}", shown(path));
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let opened = rustix::fs::open(path, flags, OpenMode::empty())
        .map_err(|errno| DiskError::from(errno).fault(what()))?;
    let file = File::from(opened);
    let found = file.metadata().map_err(|error| file_fault(&error, what()))?;
    if found.is_dir() {
        return Err(Fault::new(Code::IsDirectory, what()));
    }
    if !found.is_file() {
        return Err(Fault::new(Code::NotRegular, what()));
    }
    let changed = found.modified().map_err(|error| file_fault(&error, what()))?;
    Ok((file, ByteCount(found.len()), changed))
}

/// Tells whether a file could be sent now.
///
/// # Errors
/// Those of opening it: `NotFound`, `IsDirectory`, `NotRegular`, `PermissionDenied`, the system's.
pub fn check_readable(path: &Path) -> Result<(), Fault> {
    open_regular(path).map(drop)
}

/// Whether an open file still has the size and time of change it had.
///
/// # Errors
/// `SourceChanged`; the system's.
pub(super) fn check_unchanged(
    file: &File,
    size: ByteCount,
    changed: SystemTime,
    path: &Path,
) -> Result<(), Fault> {
    let what = || format!("read {}", shown(path));
    let found = file.metadata().map_err(|error| file_fault(&error, what()))?;
    let same = found.modified().is_ok_and(|now| now == changed) && found.len() == size.0;
    if same { Ok(()) } else { Err(Fault::new(Code::SourceChanged, what())) }
}

/// The fault of a local file.
pub(super) fn file_fault(error: &io::Error, what: impl std::fmt::Display) -> Fault {
    match error.raw_os_error() {
        Some(errno) => DiskError::from(rustix::io::Errno::from_raw_os_error(errno)).fault(what),
        None => Fault::new(Code::Io, format!("{what} ({error})")),
    }
}

/// A path as it may be shown, in quotes.
pub(super) fn shown(path: &Path) -> String {
    format!("\"{}\"", Escaped(path.as_os_str().as_bytes()))
}

/// What `open(2)` would give a new file: 0666 without the umask, which only /proc tells without
/// changing it.
fn new_file_mode() -> Mode {
    static MODE: OnceLock<Mode> = OnceLock::new();
    *MODE.get_or_init(|| {
        let umask = std::fs::read_to_string("/proc/self/status").ok().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        });
        Mode::from_bits(0o666 & !umask.unwrap_or(0o077))
    })
}
