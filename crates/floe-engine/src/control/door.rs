//! The sockets: `status.<8 hex digits>.sock`, one for each server that runs.
//!
//! One that a dead server left is removed by the next that starts: nobody answers there. So each
//! has its name only once it answers.

use crate::state::{State, random};
use floe_types::Fault;
use rustix::fs::{Mode, renameat};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Duration;

/// A socket that a server listens on. Its file goes with it.
pub(crate) struct Door {
    state: State,
    name: String,
    listener: UnixListener,
}

impl Door {
    /// Makes one, readable and writable by this user only from its first instant on.
    ///
    /// # Errors
    /// `State`.
    pub(crate) fn open(state: &State) -> Result<Self, Fault> {
        // Not one that was stopped, or has no time: its socket takes connections all the same.
        for name in names(state)? {
            let left = connect_to(state, &name, STALE);
            if left.is_err_and(|error| error == rustix::io::Errno::CONNREFUSED) {
                state.remove(&name)?;
            }
        }
        let name = format!("{BEFORE}{}{BEHIND}", data_encoding::HEXLOWER.encode(&random::<4>()?));
        let made = make(state, &name);
        let listener =
            made.map_err(|error| state.fault("listen on", &name, &error.kind().to_string()))?;
        Ok(Self { state: state.clone(), name, listener })
    }

    /// What to listen with, without waiting.
    ///
    /// # Errors
    /// `LimitExceeded` without descriptors.
    pub(crate) fn listener(&self) -> Result<tokio::net::UnixListener, Fault> {
        let clone = self.listener.try_clone().and_then(tokio::net::UnixListener::from_std);
        clone.map_err(|error| self.state.fault("listen on", &self.name, &error.kind().to_string()))
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // What is left of it is removed by the next server.
        let _ = self.state.remove(&self.name);
    }
}

fn make(state: &State, name: &str) -> rustix::io::Result<UnixListener> {
    let socket = new()?;
    // The file takes the mode of its socket: nobody else can open it, whatever the umask.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    let beside = format!(".{name}");
    bind(&socket, &address(state, &beside)?)?;
    let listens = listen(&socket, WAITING_MAX)
        .and_then(|()| rustix::io::ioctl_fionbio(&socket, true))
        .and_then(|()| renameat(state.handle(), &beside, state.handle(), name));
    if let Err(error) = listens {
        let _ = state.remove(&beside);
        return Err(error);
    }
    Ok(UnixListener::from(socket))
}

/// Connects to a server's socket; waits so long at most, then and for each read and write.
pub(super) fn connect_to(
    state: &State,
    name: &str,
    patience: Duration,
) -> rustix::io::Result<UnixStream> {
    let socket = new()?;
    set_socket_timeout(&socket, Timeout::Send, Some(patience))?;
    set_socket_timeout(&socket, Timeout::Recv, Some(patience))?;
    connect(&socket, &address(state, name)?)?;
    Ok(UnixStream::from(socket))
}

fn new() -> rustix::io::Result<OwnedFd> {
    socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
}

/// An address has room for 107 bytes; a longer one goes by the directory's handle.
fn address(state: &State, name: &str) -> rustix::io::Result<SocketAddrUnix> {
    let mut path = state.path().join(name);
    if path.as_os_str().len() > ADDRESS_BYTES_MAX {
        let handle = state.handle().as_raw_fd();
        path = PathBuf::from(format!("/proc/self/fd/{handle}/{name}"));
    }
    SocketAddrUnix::new(path)
}

/// The sockets of a state directory, also those that nobody listens on.
///
/// # Errors
/// `State`.
pub(super) fn names(state: &State) -> Result<Vec<String>, Fault> {
    let fail = |error: std::io::Error| state.fault("list", ".", &error.kind().to_string());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(state.path()).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name().to_string_lossy().into_owned();
        if name.starts_with(BEFORE) && name.ends_with(BEHIND) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

const BEFORE: &str = "status.";
const BEHIND: &str = ".sock";
const ADDRESS_BYTES_MAX: usize = 100;
const WAITING_MAX: i32 = 8;
/// How long a dead server's socket may take to say so.
const STALE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_socket_is_private_and_goes_with_its_server() {
        let dir = tempfile::tempdir().unwrap();
        for below in ["s".to_owned(), "l".repeat(120)] {
            let state = State::open(&dir.path().join(below)).unwrap();
            let door = Door::open(&state).unwrap();
            let name = names(&state).unwrap().remove(0);
            let mode = std::fs::metadata(state.path().join(&name)).unwrap().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert!(connect_to(&state, &name, STALE).is_ok());
            drop(door);
            assert_eq!(names(&state).unwrap(), Vec::<String>::new());
        }
    }

    #[test]
    fn what_a_dead_server_left_is_removed_and_what_lives_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(dir.path()).unwrap();
        let dead = Door::open(&state).unwrap();
        drop(std::os::unix::net::UnixListener::bind(dir.path().join("status.0.sock")).unwrap());
        let alive = Door::open(&state).unwrap();
        let mut both = vec![dead.name.clone(), alive.name.clone()];
        both.sort_unstable();
        assert_eq!(names(&state).unwrap(), both);
    }
}
