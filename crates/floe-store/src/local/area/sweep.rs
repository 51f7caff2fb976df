//! Takes away what nobody owns: what dead processes left at once, stages after seven days.
//!
//! A stage is unowned when its lock can be had. Age is the inode's (ctime): mtime may already be
//! the sender's.

use super::name;
use crate::disk::{Access, DirectoryOffset, Disk, DiskResult, Lock};
use floe_types::{Code, Timestamp};
use std::collections::BTreeMap;

/// After so long a stage that nobody owns goes.
const EXPIRY_SECS: i64 = 7 * 24 * 3600;
const PAGE_NAMES: usize = 256;
/// Other processes dealt with in one sweep; the rest wait for the next.
const PROCESSES_MAX: usize = 64;

enum Liveness<H> {
    Alive,
    /// Its file is locked here until it is removed, so that nobody can be at the point of owning
    /// it.
    Dead {
        _lock: Option<H>,
    },
}

/// Sweeps one area; how many files went.
pub(super) fn sweep<D: Disk>(disk: &D, area: &D::Handle, now: Timestamp) -> DiskResult<u64> {
    let mut processes = BTreeMap::new();
    let mut from: Option<DirectoryOffset> = None;
    let mut gone = 0;
    loop {
        let page = disk.list(area, from, PAGE_NAMES)?;
        for file in page.names.iter().filter_map(|name| std::str::from_utf8(name).ok()) {
            gone += match classify(file) {
                Some(Left::Moment(nonce)) => moment(disk, area, file, nonce, &mut processes)?,
                Some(Left::Stage(key)) => stage(disk, area, file, key, now)?,
                Some(Left::Journal(key)) => orphan(disk, area, file, key, now)?,
                None => 0,
            };
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    for (nonce, liveness) in &processes {
        if matches!(liveness, Liveness::Dead { .. }) {
            gone += remove(disk, area, &format!("{nonce}.owner"))?;
        }
    }
    Ok(gone)
}

enum Left<'n> {
    /// Made for a moment by the process of this nonce, or that process's own file.
    Moment(&'n str),
    Stage(&'n str),
    Journal(&'n str),
}

fn classify(file: &str) -> Option<Left<'_>> {
    let is_hex = |text: &str, len| text.len() == len && text.bytes().all(|b| b.is_ascii_hexdigit());
    if let Some((key, kind)) = file.split_once('.') {
        return match kind {
            "owner" if is_hex(key, 16) => Some(Left::Moment(key)),
            "stage" => Some(Left::Stage(key)),
            "journal" | "rewrite" => Some(Left::Journal(key)),
            _ => None,
        };
    }
    let (nonce, _) = file.split_once('-')?;
    is_hex(nonce, 16).then_some(Left::Moment(nonce))
}

fn moment<D: Disk>(
    disk: &D,
    area: &D::Handle,
    file: &str,
    nonce: &str,
    processes: &mut BTreeMap<String, Liveness<D::Handle>>,
) -> DiskResult<u64> {
    if !processes.contains_key(nonce) {
        if processes.len() >= PROCESSES_MAX {
            return Ok(0);
        }
        processes.insert(nonce.to_owned(), liveness(disk, area, nonce)?);
    }
    let dead = matches!(processes.get(nonce), Some(Liveness::Dead { .. }));
    // The process's own file goes last: while it stands, what is left of the others is known to be
    // dead.
    if dead && !file.ends_with(".owner") { remove(disk, area, file) } else { Ok(0) }
}

fn liveness<D: Disk>(disk: &D, area: &D::Handle, nonce: &str) -> DiskResult<Liveness<D::Handle>> {
    let file = format!("{nonce}.owner");
    match disk.open_file(area, name(&file)?, Access::ReadWrite) {
        Err(error) if error.code() == Code::NotFound => Ok(Liveness::Dead { _lock: None }),
        Err(error) => Err(error),
        Ok(owner) => Ok(match disk.try_lock(&owner)? {
            Lock::Taken => Liveness::Dead { _lock: Some(owner) },
            Lock::HeldElsewhere => Liveness::Alive,
        }),
    }
}

fn stage<D: Disk>(
    disk: &D,
    area: &D::Handle,
    file: &str,
    key: &str,
    now: Timestamp,
) -> DiskResult<u64> {
    if !is_old(disk, area, file, now)? {
        return Ok(0);
    }
    let opened = match disk.open_file(area, name(file)?, Access::ReadWrite) {
        Err(error) if error.code() == Code::NotFound => return Ok(0),
        answer => answer?,
    };
    if disk.try_lock(&opened)? == Lock::HeldElsewhere {
        return Ok(0);
    }
    // Between open and lock it may have been committed, and its key staged anew.
    match disk.stat_at(area, name(file)?) {
        Ok(stands) if stands.inode == disk.stat(&opened)?.inode => {}
        Err(error) if error.code() != Code::NotFound => return Err(error),
        _ => return Ok(0),
    }
    let mut gone = remove(disk, area, &format!("{key}.rewrite"))?;
    gone += remove(disk, area, &format!("{key}.journal"))?;
    Ok(gone + remove(disk, area, file)?)
}

/// A journal whose stage is gone.
fn orphan<D: Disk>(
    disk: &D,
    area: &D::Handle,
    file: &str,
    key: &str,
    now: Timestamp,
) -> DiskResult<u64> {
    match disk.stat_at(area, name(&format!("{key}.stage"))?) {
        Err(error) if error.code() == Code::NotFound => {}
        answer => return answer.map(|_| 0),
    }
    if is_old(disk, area, file, now)? { remove(disk, area, file) } else { Ok(0) }
}

fn is_old<D: Disk>(disk: &D, area: &D::Handle, file: &str, now: Timestamp) -> DiskResult<bool> {
    match disk.stat_at(area, name(file)?) {
        Err(error) if error.code() == Code::NotFound => Ok(false),
        answer => Ok(answer?.ctime.secs().saturating_add(EXPIRY_SECS) < now.secs()),
    }
}

fn remove<D: Disk>(disk: &D, area: &D::Handle, file: &str) -> DiskResult<u64> {
    match disk.remove_file(area, name(file)?) {
        Err(error) if error.code() == Code::NotFound => Ok(0),
        answer => answer.map(|()| 1),
    }
}
