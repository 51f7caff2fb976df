//! Where a path leads beneath a root, without ever leaving it and without ever reaching `.floe`.
//!
//! Paths that write meet no link at all: the disk resolves their parent and refuses. Paths that
//! read may pass links that stay beneath. The kernel could follow those itself, but would also
//! follow one into `.floe`; so links are read as text here, each name parsed like a peer's, and
//! what is opened in the end is again a path without links. A link that another program swaps in
//! meanwhile is refused, not followed. Absolute links lead out, always.

use crate::api::Follow;
use crate::disk::{Disk, DiskError, DiskResult, FileKind, Name};
use floe_types::{Code, Component, Mode, ObjectPath, PathFault};
use std::collections::VecDeque;

/// A name in an open directory; the root itself has none.
pub(crate) struct Spot<H> {
    /// The directory, or the root.
    pub(crate) directory: H,
    /// The name in it; `None` for the root.
    pub(crate) name: Option<Component>,
}

/// A directory that stands, and how many names at the end of its path were missing before.
pub(crate) struct Ensured<H> {
    /// The directory.
    pub(crate) directory: H,
    /// So many last names of the path were made just now, here or by someone at the same time.
    pub(crate) made: usize,
}

/// Where a path to read leads; whether a link at its end is followed is asked, links before it are.
pub(crate) fn locate<D: Disk>(
    disk: &D,
    root: &D::Handle,
    path: &ObjectPath,
    last: Follow,
) -> DiskResult<Spot<D::Handle>> {
    let Some((name, parents)) = path.components().split_last() else {
        return Ok(Spot { directory: disk.open_directory(root, &[])?, name: None });
    };
    match disk.open_directory(root, parents) {
        Ok(directory) => {
            if last == Follow::Yes && disk.stat_at(&directory, name.into())?.kind == FileKind::Link
            {
                return follow(disk, root, path, last);
            }
            Ok(Spot { directory, name: Some(name.clone()) })
        }
        Err(error) if error.code() == Code::NotDirectory => follow(disk, root, path, last),
        Err(error) => Err(error),
    }
}

/// The directory that a path to read leads to.
pub(crate) fn directory<D: Disk>(
    disk: &D,
    root: &D::Handle,
    path: &ObjectPath,
) -> DiskResult<D::Handle> {
    match disk.open_directory(root, path.components()) {
        Err(error) if error.code() == Code::NotDirectory => {
            let spot = locate(disk, root, path, Follow::Yes)?;
            disk.open_directory(&spot.directory, spot.name.as_slice())
        }
        answer => answer,
    }
}

/// The parent of a path to write, and the name in it. No link is passed; `Usage` for the root.
pub(crate) fn parent<'p, D: Disk>(
    disk: &D,
    root: &D::Handle,
    path: &'p ObjectPath,
) -> DiskResult<(D::Handle, &'p Component)> {
    let (name, parents) = path.components().split_last().ok_or(DiskError::new(Code::Usage))?;
    Ok((disk.open_directory(root, parents)?, name))
}

/// Makes a directory to write in, with a mode, and its missing parents. No link is passed. Nothing
/// is synced: `changed` is told of each directory in which a name was made, or may have been
/// although making it failed, by how many names of `path` lead to it.
pub(crate) fn ensure_directory<D: Disk>(
    disk: &D,
    root: &D::Handle,
    (path, mode): (&[Component], Mode),
    changed: &dyn Fn(usize),
) -> DiskResult<Ensured<D::Handle>> {
    match disk.open_directory(root, path) {
        Err(error) if error.code() == Code::NotFound => {}
        answer => return Ok(Ensured { directory: answer?, made: 0 }),
    }
    let (mut directory, mut made) = (disk.open_directory(root, &[])?, 0);
    for (nth, name) in path.iter().enumerate() {
        let below = std::slice::from_ref(name);
        directory = match disk.open_directory(&directory, below) {
            Err(error) if error.code() == Code::NotFound => {
                made += 1;
                let mode = if nth + 1 == path.len() { mode } else { NEW_DIRECTORY };
                let answer = disk.make_directory(&directory, name.into(), mode);
                let failed = answer.err().filter(|error| error.code() != Code::Exists);
                if failed.as_ref().is_none_or(|error| may_have_happened(error.code())) {
                    changed(nth);
                }
                match failed {
                    Some(error) => return Err(error),
                    None => disk.open_directory(&directory, below)?,
                }
            }
            answer if made == 0 => answer?,
            answer => {
                made += 1;
                changed(nth);
                answer?
            }
        };
    }
    Ok(Ensured { directory, made })
}

/// Whether a change of names that failed so may be there all the same: nobody refused it.
pub(crate) fn may_have_happened(code: Code) -> bool {
    matches!(code, Code::Io | Code::Other)
}

/// Makes a directory, its name and those of all its ancestors beneath the root durable. What was
/// made just now must be; an older one that may not be read cannot be synced, and need not be.
pub(crate) fn sync_ancestors<D: Disk>(
    disk: &D,
    root: &D::Handle,
    path: &[Component],
    ensured: &Ensured<D::Handle>,
) -> DiskResult<()> {
    let made = ensured.made;
    let sync = |directory: &D::Handle, is_older: bool| match disk.sync_directory(directory) {
        Err(error) if error.code() == Code::PermissionDenied && is_older => Ok(()),
        answer => answer,
    };
    sync(&ensured.directory, made == 0)?;
    for len in (0..path.len()).rev() {
        let prefix = path.get(..len).unwrap_or_default();
        sync(&disk.open_directory(root, prefix)?, made == 0 || len + made < path.len())?;
    }
    Ok(())
}

/// Follows links as text. `walked` never holds a link, so opening it again means the same.
fn follow<D: Disk>(
    disk: &D,
    root: &D::Handle,
    path: &ObjectPath,
    last: Follow,
) -> DiskResult<Spot<D::Handle>> {
    let mut walked: Vec<Component> = Vec::new();
    let mut directory = disk.open_directory(root, &[])?;
    let mut ahead: VecDeque<Step> = path.components().iter().cloned().map(Step::Down).collect();
    let mut links = 0;
    for _ in 0..STEPS_MAX {
        let name = match ahead.pop_front() {
            Some(Step::Down(name)) => name,
            Some(Step::Up) => {
                walked.pop().ok_or(LEADS_OUT)?;
                directory = disk.open_directory(root, &walked)?;
                continue;
            }
            None => return spot_of(disk, root, walked),
        };
        let stat = disk.stat_at(&directory, Name::from(&name))?;
        let is_last = ahead.is_empty();
        match stat.kind {
            FileKind::Link if !is_last || last == Follow::Yes => {
                links += 1;
                if links > LINKS_MAX {
                    return Err(DiskError::new(Code::LimitExceeded));
                }
                let target = steps(&disk.read_link(&directory, Name::from(&name))?)?;
                target.into_iter().rev().for_each(|step| ahead.push_front(step));
            }
            _ if is_last => return Ok(Spot { directory, name: Some(name) }),
            _ => {
                directory = disk.open_directory(&directory, std::slice::from_ref(&name))?;
                walked.push(name);
            }
        }
    }
    Err(DiskError::new(Code::LimitExceeded))
}

/// A path that ended in `..` or `.` leads to a directory already walked.
fn spot_of<D: Disk>(
    disk: &D,
    root: &D::Handle,
    mut walked: Vec<Component>,
) -> DiskResult<Spot<D::Handle>> {
    let name = walked.pop();
    Ok(Spot { directory: disk.open_directory(root, &walked)?, name })
}

enum Step {
    Down(Component),
    Up,
}

/// The steps of a link's text. `.floe` is not there for anyone who reads.
fn steps(target: &[u8]) -> DiskResult<Vec<Step>> {
    if target.first() == Some(&b'/') {
        return Err(LEADS_OUT);
    }
    let names = target.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b"."));
    let step = |name: &[u8]| match (name, Component::new(name)) {
        (b"..", _) => Ok(Step::Up),
        (_, Ok(name)) => Ok(Step::Down(name)),
        (_, Err(PathFault::ComponentTooLong)) => Err(DiskError::new(Code::NameTooLong)),
        (_, Err(_)) => Err(DiskError::new(Code::NotFound)),
    };
    names.map(step).collect()
}

/// As many links as Linux itself follows on one path.
const LINKS_MAX: usize = 40;
/// Bounds what a few long links can make of one path.
const STEPS_MAX: usize = 1024;
const LEADS_OUT: DiskError = DiskError::new(Code::PermissionDenied);
/// The umask takes its part; a transferred directory gets its own mode at its end.
pub(crate) const NEW_DIRECTORY: Mode = Mode::from_bits(0o777);
