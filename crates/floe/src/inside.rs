//! Whether a tree would be copied into itself, by way of a server on this machine.
//!
//! Names cannot say so: the server's directory has its own. But a server on this machine serves a
//! directory that carries `.floe/id`, and the root that the server describes is that directory if
//! both show one mtime. Where that cannot be asked or seen, nothing is refused: this is a guard
//! against an accident, and what it misses ends at the limits of names and disks.

use crate::dial::Dialer;
use crate::fault::{Failure, Result, Shown};
use crate::remote::Remote;
use floe_proto::frame::{Reply, Request, RootWish};
use floe_types::{Code, ObjectPath, Timestamp};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs;
use std::net::{ToSocketAddrs, UdpSocket};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Refuses to put a directory to a place within itself.
///
/// # Errors
/// `Usage`.
pub async fn refuse_put(dialer: &mut Dialer, source: &Path, dest: &Remote) -> Result<()> {
    let Some(root) = root_here(dialer, dest).await else { return Ok(()) };
    let Ok(source) = fs::canonicalize(source) else { return Ok(()) };
    let candidates = source.ancestors().map(Path::to_owned).chain(served_beneath(&source));
    for served in candidates.filter(|dir| is_served_as(dir, root)) {
        refuse(&at(&served, &dest.path), &source)?;
    }
    Ok(())
}

/// Refuses to get a directory to a place within itself.
///
/// # Errors
/// `Usage`.
pub async fn refuse_get(dialer: &mut Dialer, source: &Remote, dest: &Path) -> Result<()> {
    let Some(dest) = settled(dest) else { return Ok(()) };
    // Most often nothing above is served, and no round trip is spent on asking.
    if !dest.ancestors().any(is_served) {
        return Ok(());
    }
    let Some(root) = root_here(dialer, source).await else { return Ok(()) };
    for served in dest.ancestors().filter(|dir| is_served_as(dir, root)) {
        refuse(&dest, &at(served, &source.path))?;
    }
    Ok(())
}

fn refuse(dest: &Path, source: &Path) -> Result<()> {
    if !dest.starts_with(source) || !source.is_dir() {
        return Ok(());
    }
    Err(Failure::hinted(
        Code::Usage,
        format!("DEST is inside SRC: on this machine it is {}", Shown(dest)),
        "DEST must lie outside of SRC",
    ))
}

/// The mtime of the served root, if the server is on this machine and shows it.
async fn root_here(dialer: &mut Dialer, remote: &Remote) -> Option<Timestamp> {
    let address = dialer.address(&remote.server).ok()?;
    let mut found = (address.host.as_str(), address.port).to_socket_addrs().ok()?;
    // Only an address of this machine can be bound.
    found.find(|address| UdpSocket::bind((address.ip(), 0)).is_ok())?;
    let request = Request::Stat { path: ObjectPath::root(), root: RootWish::IfKnown };
    match dialer.request(remote, request).await {
        Ok(Reply::Stat(stat)) => Some(stat.metadata.mtime),
        _ => None,
    }
}

fn is_served(dir: &Path) -> bool {
    dir.join(ID).is_file()
}

fn is_served_as(dir: &Path, root: Timestamp) -> bool {
    is_served(dir)
        && fs::metadata(dir).is_ok_and(|found| {
            found.mtime() == root.secs() && found.mtime_nsec() == i64::from(root.nanos())
        })
}

/// Served directories beneath a tree; a large tree is not searched to its end.
fn served_beneath(source: &Path) -> Vec<PathBuf> {
    let mut served = Vec::new();
    let mut rest = VecDeque::from([source.to_owned()]);
    let mut seen = 0;
    while let Some(dir) = rest.pop_front() {
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            seen += 1;
            if seen > ENTRIES_MAX {
                return served;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                if is_served(&path) {
                    served.push(path.clone());
                }
                rest.push_back(path);
            }
        }
    }
    served
}

fn at(root: &Path, path: &ObjectPath) -> PathBuf {
    path.components()
        .iter()
        .fold(root.to_owned(), |longer, name| longer.join(OsStr::from_bytes(name.as_bytes())))
}

/// The path with everything resolved that exists of it.
fn settled(path: &Path) -> Option<PathBuf> {
    let whole = std::path::absolute(path).ok()?;
    let real = whole.ancestors().find_map(|above| Some((above, fs::canonicalize(above).ok()?)));
    let (above, real) = real?;
    Some(real.join(whole.strip_prefix(above).ok()?))
}

const ID: &str = ".floe/id";
const ENTRIES_MAX: usize = 50_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_served_directories_by_their_id_and_time() {
        let dir = tempfile::tempdir().unwrap();
        let served = dir.path().join("a/b");
        fs::create_dir_all(served.join(".floe")).unwrap();
        fs::write(served.join(ID), b"x").unwrap();
        assert_eq!(served_beneath(dir.path()), std::slice::from_ref(&served));
        let found = fs::metadata(&served).unwrap();
        let nanos = u32::try_from(found.mtime_nsec()).unwrap();
        let stamp = Timestamp::new(found.mtime(), nanos).unwrap();
        assert!(is_served_as(&served, stamp) && !is_served_as(dir.path(), stamp));
        assert!(!is_served_as(&served, Timestamp::default()));
    }

    #[test]
    fn paths_are_settled_as_far_as_they_exist() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        std::os::unix::fs::symlink(&real, dir.path().join("link")).unwrap();
        assert_eq!(settled(&dir.path().join("link/x/y")), Some(real.join("x/y")));
        assert!(refuse(Path::new("/none/a"), Path::new("/none")).is_ok());
        assert!(refuse(&real.join("x"), &real).is_err());
        assert!(refuse(&real, &real.join("link")).is_ok());
    }
}
