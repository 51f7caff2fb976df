//! Where each side of a round keeps what.

use super::Side;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The places of a round.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) side: Side,
    /// The tree that loses power.
    pub(super) mount: PathBuf,
    pub(super) served: PathBuf,
    pub(super) server_state: PathBuf,
    pub(super) client_state: PathBuf,
    /// What is sent, and a directory above it that stands.
    pub(super) source: PathBuf,
    pub(super) source_root: PathBuf,
    /// The final name.
    pub(super) target: PathBuf,
    /// Beneath it everything is received.
    pub(super) received: PathBuf,
    /// Where stages of the final name are.
    pub(super) area: PathBuf,
    pub(super) log: PathBuf,
    /// Of a server that was killed.
    pub(super) address: String,
    pub(super) ticket: String,
}

impl Places {
    /// Places in a directory, and the directories that are not on the mount.
    pub(super) fn new(dir: &Path, side: Side) -> io::Result<Self> {
        let (mount, plain, logs) = (dir.join("mount"), dir.join("plain"), dir.join("logs"));
        for directory in [&mount, &plain, &logs] {
            fs::create_dir_all(directory)?;
        }
        let (server, client) = if side.is_server() { (&mount, &plain) } else { (&plain, &mount) };
        let served = server.join("served");
        let local = client.join("local");
        let (source_root, received) = match side {
            Side::PutServer | Side::PutClient => (local, served.clone()),
            Side::GetServer | Side::GetClient => (served.clone(), local),
        };
        let source = source_root.join("in/x");
        let target = received.join("out/deep/x");
        let area = match side {
            Side::PutServer | Side::PutClient => received.join(".floe"),
            Side::GetServer | Side::GetClient => received.join("out/deep/.floe"),
        };
        Ok(Self {
            side,
            server_state: server.join("server-state"),
            client_state: client.join("client-state"),
            log: logs.join("server"),
            mount,
            served,
            source,
            source_root,
            target,
            received,
            area,
            address: String::new(),
            ticket: String::new(),
        })
    }

    /// Makes what the person makes, durably: the served directory and the local one.
    pub(super) fn prepare(&self) -> io::Result<()> {
        for directory in [&self.source_root, &self.received] {
            fs::create_dir_all(directory)?;
            let parent = directory.parent().unwrap_or(directory);
            File::open(parent)?.sync_all()?;
        }
        Ok(())
    }

    /// The verb of the command, and its two places.
    pub(super) fn command(&self, address: &str) -> (&'static str, String, String) {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        match self.side {
            Side::PutServer | Side::PutClient => {
                ("put", text(&self.source), format!("floe://{address}/out/deep/x"))
            }
            Side::GetServer | Side::GetClient => {
                ("get", format!("floe://{address}/in/x"), text(&self.target))
            }
        }
    }
}
