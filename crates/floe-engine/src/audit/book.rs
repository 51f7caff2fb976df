//! The files of the log, and the one way to write in them.
//!
//! ```text
//! audit.jsonl      the lines of now          audit.lock   held while anybody writes
//! audit.<N>.jsonl  lines of before, up to line N; never removed by floe
//! ```
//! Several servers may share a state directory: whoever writes holds the lock, and first reads what
//! others appended. The chain goes on through all files. Room for what is about to be done is
//! allocated ahead, behind the file's end, so that a disk that fills up meanwhile cannot keep a
//! line from being written.

use super::chain::{Ended, TORN_BYTES_MAX, Torn, Walk, walk};
use super::line::{Draft, Head, Record};
use crate::state::State;
use floe_types::{Code, Fault};
use rustix::fs::{AtFlags, FallocateFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

/// The log of a state directory, open to be written.
pub(super) struct Book {
    state: State,
    lock: Arc<OwnedFd>,
    page: Page,
    /// Where the chain goes on.
    head: Head,
    file_bytes_max: u64,
    /// Written, and not synced.
    unsynced: u64,
    room: Room,
    /// What was found wrong, and has no line yet.
    found: Vec<Draft>,
    /// After a sync that failed nobody knows what is on the disk: for good, until the next start.
    broken: Option<Fault>,
}

/// The file of now.
struct Page {
    file: File,
    inode: u64,
    end: u64,
    /// Up to here there are blocks for it.
    allocated: u64,
}

/// Whether the file system can allocate ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    CanBeKept,
    CannotBe,
}

/// The lock, while this lives.
struct Held(Arc<OwnedFd>);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(self.0.as_fd(), FlockOperation::Unlock);
    }
}

impl Book {
    /// Opens the log of a state directory where it ends; a torn end is cut. What was found wrong is
    /// said.
    ///
    /// # Errors
    /// `State`; that of a sync.
    pub(super) fn open(state: &State, file_bytes_max: u64) -> Result<Self, Fault> {
        let fail = |error: Errno| state.fault("open", LOCK, &error.kind().to_string());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::openat(state.handle(), LOCK, flags, PRIVATE).map_err(fail)?;
        let lock = Arc::new(lock);
        let held = hold(&lock).map_err(fail)?;
        let file = open_now(state)?;
        let unsynced = |error: Errno| state.fault("sync", NOW, &error.kind().to_string());
        sync_for_others(state, &file).map_err(unsynced)?;
        let (page, head, found) = stand(state, file)?;
        let (state, room) = (state.clone(), Room::CanBeKept);
        let (unsynced, broken) = (0, None);
        let mut book =
            Self { state, lock, page, head, file_bytes_max, unsynced, room, found, broken };
        // Without room for it, it comes before the next line.
        if let Err(fault) = book.tell_found()
            && book.is_broken()
        {
            return Err(fault);
        }
        drop(held);
        Ok(book)
    }

    /// What there are blocks for behind the end; without end where that cannot be known. None for
    /// what cannot be written for good: whoever counts on room must be refused before it acts.
    pub(super) fn ahead(&self) -> u64 {
        match self.room {
            _ if self.is_broken() => 0,
            Room::CanBeKept => self.page.allocated.saturating_sub(self.page.end),
            Room::CannotBe => u64::MAX,
        }
    }

    /// Whether nothing can be written for good.
    pub(super) const fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    fn whole(&self) -> Result<(), Fault> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    /// Written, and not synced.
    pub(super) const fn unsynced(&self) -> u64 {
        self.unsynced
    }

    /// Makes sure of blocks for so many bytes more.
    ///
    /// # Errors
    /// `NoSpace`, `Quota`; the system's.
    pub(super) fn reserve(&mut self, bytes: u64) -> Result<(), Fault> {
        self.whole()?;
        if self.ahead() >= bytes {
            return Ok(());
        }
        let page = &mut self.page;
        for more in [bytes.saturating_add(AHEAD_BYTES), bytes] {
            match allocate(&page.file, page.end, more) {
                Ok(()) => {
                    page.allocated = page.end.saturating_add(more);
                    return Ok(());
                }
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.room = Room::CannotBe;
                    return Ok(());
                }
                Err(_) if more > bytes => {}
                Err(error) => return Err(fault_of(error)),
            }
        }
        Ok(())
    }

    /// Appends lines, whole or not at all; durable after `sync`.
    ///
    /// # Errors
    /// The system's; then the log ends where it ended.
    pub(super) fn append(&mut self, drafts: &[Draft]) -> Result<(), Fault> {
        self.whole()?;
        let _held = hold(&self.lock).map_err(fault_of)?;
        self.catch_up()?;
        if self.page.end >= self.file_bytes_max
            && let Err(fault) = self.turn_page()
        {
            self.whole()?;
            tracing::warn!(%fault, "the audit log grows past its bound");
        }
        self.tell_found()?;
        let (mut text, mut head) = (String::new(), self.head);
        for draft in drafts {
            head = head.write(draft, &mut text);
            if text.len() as u64 >= UNSYNCED_BYTES_MAX {
                self.put(&text, head)?;
                text.clear();
            }
        }
        self.put(&text, head)
    }

    /// Says what was found wrong: a torn end is moved by now, and nothing else would ever tell.
    /// Durably, as a hole before a `start` is not torn but broken.
    fn tell_found(&mut self) -> Result<(), Fault> {
        if self.found.is_empty() {
            return Ok(());
        }
        let (mut text, mut head) = (String::new(), self.head);
        self.found.iter().for_each(|draft| head = head.write(draft, &mut text));
        self.put(&text, head)?;
        self.found.clear();
        self.sync()
    }

    /// Writes lines behind the end, so many at most as a crash may tear.
    fn put(&mut self, text: &str, head: Head) -> Result<(), Fault> {
        let page = &mut self.page;
        if let Err(error) = page.file.write_all_at(text.as_bytes(), page.end) {
            // What is left of it where this fails too is cut by whoever writes next.
            let _ = page.file.set_len(page.end);
            page.allocated = page.end;
            return Err(fault_of(Errno::from_io_error(&error).unwrap_or(Errno::IO)));
        }
        page.end += text.len() as u64;
        self.unsynced += text.len() as u64;
        self.head = head;
        if self.unsynced >= UNSYNCED_BYTES_MAX { self.sync() } else { Ok(()) }
    }

    /// Makes durable what was appended.
    ///
    /// # Errors
    /// The system's; then nobody knows what of it is on the disk.
    pub(super) fn sync(&mut self) -> Result<(), Fault> {
        self.whole()?;
        if self.unsynced > 0 {
            self.unsynced = 0;
            let synced = rustix::fs::fdatasync(&self.page.file);
            self.judge(synced)?;
        }
        Ok(())
    }

    /// What a sync comes to. The next one would call durable what this one lost: there is none.
    fn judge(&mut self, synced: Result<(), Errno>) -> Result<(), Fault> {
        synced.map_err(|error| {
            let error = fault_of(error);
            tracing::error!(
                %error,
                "a sync of the audit log failed: nothing is committed before this is restarted"
            );
            let detail = "write the server's audit log, of which a sync failed: its server has to \
                          be started again";
            let broken = Fault::new(error.code, detail);
            self.broken = Some(broken.clone());
            broken
        })
    }

    /// Reads what others did since, under the lock: appended, or turned the page. Keeps what is
    /// wrong, to be said.
    fn catch_up(&mut self) -> Result<(), Fault> {
        let named = match rustix::fs::statat(self.state.handle(), NOW, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Some((stat.st_ino, u64::try_from(stat.st_size).unwrap_or_default())),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(fault_of(error)),
        };
        if named == Some((self.page.inode, self.page.end)) {
            return Ok(());
        }
        self.sync()?;
        // Clients are told of it: not where the state directory lies.
        let hidden = |fault: Fault| {
            tracing::error!(%fault, "the audit log cannot be opened again");
            Fault::new(fault.code, "open the audit log")
        };
        let file = open_now(&self.state).map_err(hidden)?;
        let synced = sync_for_others(&self.state, &file);
        self.judge(synced)?;
        let (page, head, found) = stand(&self.state, file).map_err(hidden)?;
        self.found.extend(found);
        if head.n < self.head.n {
            // Lines that were there are gone: the chain shows it, too, where this goes on.
            self.found.push(damage("lines were taken away while the server ran"));
            tracing::error!("the audit log was cut or replaced while it was written");
        } else {
            self.head = head;
        }
        self.page = page;
        Ok(())
    }

    /// Goes on in a new file, under the lock. What fails leaves everything as it is, but for syncs.
    fn turn_page(&mut self) -> Result<(), Fault> {
        self.sync()?;
        let synced = rustix::fs::fsync(&self.page.file);
        self.judge(synced)?;
        let dir = self.state.handle();
        let file = File::from(
            rustix::fs::openat(dir, NEXT, opened() | OFlags::TRUNC, PRIVATE).map_err(fault_of)?,
        );
        // No promise may be lost.
        let ahead = self.ahead();
        let mut allocated = 0;
        if ahead != u64::MAX {
            allocate(&file, 0, ahead.saturating_add(AHEAD_BYTES)).map_err(fault_of)?;
            allocated = ahead.saturating_add(AHEAD_BYTES);
        }
        let inode = file.metadata().map_err(|error| io_fault(&error))?.ino();
        // By its last line, so that no name comes again where somebody took files away; behind
        // what stands where the chain began anew.
        let last = files(&self.state)?.last().copied();
        let number =
            last.map_or(1, |last| last.saturating_add(1)).max(self.head.n.saturating_sub(1));
        let kept = name_of(number);
        rustix::fs::renameat_with(dir, NOW, dir, &kept, RenameFlags::NOREPLACE)
            .map_err(fault_of)?;
        // Durably, before another takes its name.
        if let Err(error) = rustix::fs::fsync(dir) {
            return self.judge(Err(error));
        }
        if let Err(error) = rustix::fs::renameat(dir, NEXT, dir, NOW) {
            let _ = rustix::fs::renameat_with(dir, &kept, dir, NOW, RenameFlags::NOREPLACE);
            return Err(fault_of(error));
        }
        let synced = rustix::fs::fsync(dir);
        self.judge(synced)?;
        // Blocks behind its end are not needed any more.
        let _ = self.page.file.set_len(self.page.end);
        self.page = Page { file, inode, end: 0, allocated };
        Ok(())
    }
}

/// Opens the file of now, under the lock.
fn open_now(state: &State) -> Result<File, Fault> {
    let fail = |error: Errno| state.fault("open", NOW, &error.kind().to_string());
    let fd = rustix::fs::openat(state.handle(), NOW, opened(), PRIVATE).map_err(fail)?;
    let file = File::from(fd);
    if !file.metadata().map_err(|error| io_fault(&error))?.is_file() {
        return Err(state.fault("open", NOW, "it is no file"));
    }
    Ok(file)
}

/// What another process wrote and did not sync may not be missing before what follows. To be done
/// before anything is cut: who begins once more after it failed must find the same.
fn sync_for_others(state: &State, file: &File) -> Result<(), Errno> {
    rustix::fs::fdatasync(file)?;
    if rustix::fs::fstat(file)?.st_size == 0 {
        // Its name may not be durable yet, whoever made it.
        rustix::fs::fsync(state.handle())?;
    }
    Ok(())
}

/// Finds where the chain goes on in the file of now, under the lock. Cuts a torn end.
fn stand(state: &State, mut file: File) -> Result<(Page, Head, Vec<Draft>), Fault> {
    let inode = file.metadata().map_err(|error| io_fault(&error))?.ino();
    let mut walked = walk(&file, None, |_, _| {}).map_err(|error| io_fault(&error))?;
    if walked.bytes == 0 {
        // It is new, and what came first in it may be torn.
        let before = end_of_kept(state)?;
        (walked.head, walked.last) = (before, walked.last.or(before));
    }
    let mut found = Vec::new();
    let settled = settle(state, &mut file, &walked, &mut found);
    let (head, end) = settled.map_err(|error| io_fault(&error))?;
    let head = head.unwrap_or(Head::START);
    let page = Page { file, inode, end, allocated: end };
    Ok((page, head, found))
}

/// Where the newest file of before ends.
fn end_of_kept(state: &State) -> Result<Option<Head>, Fault> {
    let Some(number) = files(state)?.pop() else { return Ok(None) };
    let name = name_of(number);
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(state.handle(), &name, flags, Mode::empty()).map_err(fault_of)?;
    let walked = walk(File::from(fd), None, |_, _| {}).map_err(|error| io_fault(&error))?;
    Ok(walked.last)
}

/// Cuts what a crash left behind the end of a file. Where the chain goes on, if there is any, and
/// where the file ends.
fn settle(
    state: &State,
    file: &mut File,
    walked: &Walk,
    found: &mut Vec<Draft>,
) -> std::io::Result<(Option<Head>, u64)> {
    let name = NOW;
    match walked.ended {
        Ended::Whole => Ok((walked.head, walked.bytes)),
        Ended::Torn(Torn { bytes, .. }) => {
            let torn = bytes_from(file, walked.bytes, bytes)?;
            let kept = keep(state, walked.head.map_or(0, |head| head.n), &torn)?;
            tracing::warn!(name, bytes, kept, "the audit log had a torn end, which is moved");
            file.set_len(walked.bytes)?;
            let about = Some(format!("{kept} {}", blake3::hash(&torn).to_hex()));
            found.push(Record { count: Some(bytes), about, ..Record::now("cut") }.draft());
            Ok((walked.head, walked.bytes))
        }
        Ended::Broken(at) => {
            tracing::error!(name, line = at.line, why = at.why, "the audit log is broken");
            found.push(damage(&format!("{name} line {}: {}", at.line, at.why)));
            // Evidence stays as it is; only a line that was never finished would hide the next.
            file.set_len(walked.last_bytes)?;
            Ok((walked.last, walked.last_bytes))
        }
    }
}

fn bytes_from(file: &mut File, at: u64, bytes: u64) -> std::io::Result<Vec<u8>> {
    file.seek(SeekFrom::Start(at))?;
    let mut torn = Vec::new();
    file.take(bytes.min(TORN_BYTES_MAX)).read_to_end(&mut torn)?;
    Ok(torn)
}

/// Keeps a torn end in a file of its own, which floe never removes: it may be more than a crash
/// left. The file's name.
fn keep(state: &State, line: u64, torn: &[u8]) -> std::io::Result<String> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for nth in 0..u32::MAX {
        let name = format!("audit.cut.{line}.{nth}");
        match rustix::fs::openat(state.handle(), &name, flags, PRIVATE) {
            Err(Errno::EXIST) => {}
            answer => {
                let file = File::from(answer?);
                file.write_all_at(torn, 0)?;
                file.sync_all()?;
                rustix::fs::fsync(state.handle())?;
                return Ok(name);
            }
        }
    }
    Err(Errno::EXIST.into())
}

fn damage(what: &str) -> Draft {
    Record { about: Some(what.to_owned()), ..Record::now("damage") }.draft()
}

/// The numbers of the files of before, ascending.
///
/// # Errors
/// The system's.
pub(super) fn files(state: &State) -> Result<Vec<u64>, Fault> {
    let mut numbers = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(state.handle(), ".", flags, Mode::empty()).map_err(fault_of)?;
    for entry in rustix::fs::Dir::new(dir).map_err(fault_of)? {
        let entry = entry.map_err(fault_of)?;
        let number = entry.file_name().to_str().ok().and_then(|name| {
            name.strip_prefix("audit.")?.strip_suffix(".jsonl")?.parse::<u64>().ok()
        });
        numbers.extend(
            number.filter(|number| name_of(*number).as_bytes() == entry.file_name().to_bytes()),
        );
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The name of a file of before.
pub(super) fn name_of(number: u64) -> String {
    format!("audit.{number}.jsonl")
}

fn allocate(file: &File, at: u64, bytes: u64) -> Result<(), Errno> {
    rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, at, bytes)
}

fn hold(lock: &Arc<OwnedFd>) -> Result<Held, Errno> {
    loop {
        match rustix::fs::flock(lock.as_fd(), FlockOperation::LockExclusive) {
            Ok(()) => return Ok(Held(Arc::clone(lock))),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

fn opened() -> OFlags {
    OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// What a client may be told: not where the log lies.
fn fault_of(error: Errno) -> Fault {
    let code = match error {
        Errno::NOSPC => Code::NoSpace,
        Errno::DQUOT => Code::Quota,
        _ => Code::Io,
    };
    tracing::debug!(error = %error.kind(), "audit log");
    Fault::new(code, "write the server's audit log")
}

fn io_fault(error: &std::io::Error) -> Fault {
    fault_of(Errno::from_io_error(error).unwrap_or(Errno::IO))
}

/// The file of now.
pub(super) const NOW: &str = "audit.jsonl";
const NEXT: &str = "audit.next";
const LOCK: &str = "audit.lock";
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
/// What is allocated ahead of what is promised.
const AHEAD_BYTES: u64 = 1 << 20;
/// What may be lost together in a power cut.
const UNSYNCED_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
impl Book {
    /// From here on writes seem to succeed, and syncs fail: so it is with /dev/null.
    pub(super) fn loses_its_disk(&mut self, room: Room) {
        self.room = room;
        self.page.file = File::options().read(true).write(true).open("/dev/null").unwrap();
    }
}

#[cfg(test)]
mod tests;
