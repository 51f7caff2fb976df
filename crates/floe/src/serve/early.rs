//! What is done before there are threads: ports that not everybody may open, and what is given up
//! of what not everybody may.

use crate::fault::{Failure, Result};
use crate::settings::{OF_THIS_MACHINE, Places};
use crate::user::{
    Use, become_user, give_up_capabilities, is_root, may_open_low_ports, name_owner, refuse_foreign,
};
use floe_engine::server::ReadOnly;
use floe_engine::socket;
use floe_types::Code;
use rustix::fs::Access;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// As what a server began.
#[derive(Clone, Debug, Default)]
pub(super) struct Early {
    /// Until they are taken.
    listeners: Arc<Mutex<Vec<TcpListener>>>,
    rights: Rights,
    /// Capabilities that it was started with, and is without.
    gave_up: Vec<&'static str>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Rights {
    /// Those of whoever it runs as.
    #[default]
    All,
    /// It is root that has no more than others.
    Bare,
}

/// Up to here not everybody may open ports, as most systems have it.
const RESERVED_END: u16 = 1024;

/// Ports that not everybody may open, or might not elsewhere on this machine.
fn is_reserved(port: u16) -> bool {
    let here = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    let here = here.ok().and_then(|text| text.trim().parse().ok());
    (1..RESERVED_END.max(here.unwrap_or_default())).contains(&port)
}

impl Early {
    /// Listens at those addresses that not everybody may; becomes the user, and gives up what
    /// others may not. Only root by name keeps that.
    ///
    /// # Errors
    /// As `socket::bind`, `become_user` and `give_up_capabilities`.
    pub(super) fn begin(
        user: Option<&str>,
        addresses: impl Iterator<Item = SocketAddr>,
        places: &Places,
    ) -> Result<Self> {
        let mut early = Self::default();
        if may_open_low_ports() {
            let low = addresses.filter(|at| is_reserved(at.port()));
            let listeners = low.map(socket::bind).collect::<std::result::Result<Vec<_>, _>>();
            let listeners = listeners.map_err(|fault| {
                let failure = Failure::from(fault).hinting(Code::Usage, OF_THIS_MACHINE);
                places.blame(failure, &["listen", "metrics"])
            })?;
            early.listeners = Arc::new(Mutex::new(listeners));
        }
        user.map(become_user).transpose().map_err(|failure| places.blame(failure, &["user"]))?;
        if user.is_none() || !is_root() {
            let gave_up = give_up_capabilities()?;
            early.gave_up = gave_up.iter_names().map(|(name, _)| name).collect();
            early.rights = if is_root() { Rights::Bare } else { Rights::All };
        }
        Ok(early)
    }

    /// Takes what listens already.
    pub(super) fn listeners(&self) -> Vec<TcpListener> {
        std::mem::take(&mut *self.listeners.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether it is root without its capabilities.
    pub(super) fn is_bare(&self) -> bool {
        self.rights == Rights::Bare
    }

    /// What it was started with beyond other users, in words, where it is not root.
    pub(super) fn gave_up(&self) -> Option<String> {
        (!is_root() && !self.gave_up.is_empty()).then(|| self.gave_up.join(", "))
    }

    /// Refuses a directory of another user, where only that one could serve it.
    ///
    /// # Errors
    /// `PermissionDenied`.
    pub(super) fn refuse_foreign(&self, dir: &Path, read_only: ReadOnly) -> Result<()> {
        if !self.is_bare() {
            return Ok(());
        }
        let read = Access::READ_OK | Access::EXEC_OK;
        refuse_foreign(dir, if read_only == ReadOnly::Yes { read } else { read | Access::WRITE_OK })
    }

    /// The failure with whose it is, where that is why.
    pub(super) fn blame(&self, failure: Failure, path: &Path, what: Use) -> Failure {
        let mode = matches!(failure.code(), Code::PermissionDenied | Code::State);
        if self.is_bare() && mode { name_owner(failure, path, what) } else { failure }
    }
}
