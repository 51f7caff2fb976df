//! As whom a server runs: root gives itself up before anything is opened or any thread begins.

use crate::fault::{Failure, Result};
use floe_types::{Code, Escaped};
use nix::unistd::{Uid, User, geteuid, initgroups, setgid, setuid};
use std::ffi::CString;

/// Becomes another user of this machine, with that user's groups, for good.
///
/// # Errors
/// `NotFound`: there is no such user; `PermissionDenied`: only root may, and is not asked again.
pub fn become_user(name: &str) -> Result<()> {
    let shown = Escaped(name.as_bytes()).to_string();
    let fail = |what: &str, error: nix::Error| {
        let code = if error == nix::Error::EPERM { Code::PermissionDenied } else { Code::Other };
        let hint = "only root can become another user";
        Failure::hinted(code, format!("{what} user \"{shown}\": {}", error.desc()), hint)
    };
    let user = User::from_name(name).map_err(|error| fail("look for", error))?;
    let unknown = || {
        let hint = "name a user of this machine, as in /etc/passwd";
        Failure::hinted(Code::NotFound, format!("user \"{shown}\""), hint)
    };
    let user = user.ok_or_else(unknown)?;
    if geteuid() == user.uid && Uid::current() == user.uid {
        return Ok(());
    }
    let owned = CString::new(name).map_err(|_| unknown())?;
    initgroups(&owned, user.gid)
        .and_then(|()| setgid(user.gid))
        .and_then(|()| setuid(user.uid))
        .map_err(|error| fail("become", error))?;
    if user.uid.is_root() || setuid(Uid::from_raw(0)).is_err() {
        return Ok(());
    }
    Err(Failure::new(Code::Other, format!("become user \"{shown}\": root can be had again")))
}

/// Whether this process is root.
pub fn is_root() -> bool {
    geteuid().is_root()
}
