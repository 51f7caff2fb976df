//! As whom a server runs: root gives itself up before anything is opened or any thread begins, or
//! at least all that it may beyond any other user, as whoever else was given a part of that.

use crate::fault::{Failure, Result, Shown};
use floe_types::{Code, Escaped};
use nix::unistd::{Uid, User, geteuid, initgroups, setgid, setuid};
use rustix::fs::Access;
use rustix::io::Errno;
use rustix::thread::{self, CapabilitiesSecureBits, CapabilitySet, CapabilitySets};
use std::ffi::CString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

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

/// Whether this process may open the ports that not everybody may.
pub fn may_open_low_ports() -> bool {
    let own = thread::capabilities(None);
    is_root() || own.is_ok_and(|own| own.effective.contains(CapabilitySet::NET_BIND_SERVICE))
}

/// Gives up all that this process may beyond any other user, in this thread and every one that it
/// starts: what is left is what modes of files let their owner. No program and no call gives it
/// back. What that was.
///
/// # Errors
/// The system's: then nothing is served.
pub fn give_up_capabilities() -> Result<CapabilitySet> {
    let fail = |error: Errno| {
        let error = std::io::Error::from(error).kind();
        let detail = format!("give up its capabilities: {error}");
        let hint = match is_root() {
            true => "give --user NAME",
            false => "start it without any, or let it call capset",
        };
        Failure::hinted(Code::Other, detail, hint)
    };
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    // Filters of systemd refuse the call that gives them up, also to who has none.
    let had = thread::capabilities(None).map_err(fail)?;
    if !is_root() && had == none {
        return Ok(CapabilitySet::empty());
    }
    thread::set_no_new_privs(true).map_err(fail)?;
    // A program that is run as root would have what is left here. Where this is refused (to root of
    // a container), no new privileges stands for it, as for the ambient set.
    let _ = thread::clear_ambient_capability_set();
    for nth in 0..u64::BITS {
        let one = CapabilitySet::from_bits_retain(1 << nth);
        if thread::remove_capability_from_bounding_set(one).is_err() {
            break;
        }
    }
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE
        | CapabilitiesSecureBits::NO_CAP_AMBIENT_RAISE_LOCKED;
    let _ = thread::set_capabilities_secure_bits(bits);
    thread::set_capabilities(None, none).map_err(fail)?;
    match thread::capabilities(None).map_err(fail)? {
        left if left == none => Ok(had.permitted),
        _ => Err(fail(Errno::PERM)),
    }
}

/// Refuses a directory that root without its capabilities cannot use so.
///
/// # Errors
/// `PermissionDenied`; the hint names whose it is.
pub fn refuse_foreign(path: &Path, needed: Access) -> Result<()> {
    match rustix::fs::access(path, needed) {
        // That it is no directory is told by whoever opens it, as what else is wrong.
        Err(Errno::ACCESS | Errno::PERM) if !fs::metadata(path).is_ok_and(|it| !it.is_dir()) => {
            let detail = format!("use {} as root without its capabilities", Shown(path));
            let own = "root owns it, and its mode keeps it out: change that, or give --user root";
            let code = Code::PermissionDenied;
            Err(name_owner(Failure::hinted(code, detail, own), path, Use::Served))
        }
        _ => Ok(()),
    }
}

/// What a directory is to a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// The one that it serves.
    Served,
    /// Where its state is: nobody's but its owner's, also not root's.
    State,
}

/// The failure with a hint that names the owner of what could not be used, where that is not root.
pub fn name_owner(failure: Failure, path: &Path, what: Use) -> Failure {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    // What lies behind a directory that may not be entered is its owner's, as far as can be seen.
    let owner = path.ancestors().find_map(|at| Some(fs::metadata(at).ok()?.uid()));
    let owner = Uid::from_raw(owner.unwrap_or(0));
    match failure {
        Failure::Fault { fault, .. } if !owner.is_root() => {
            Failure::Fault { fault, hint: Some(as_owner(owner, what)) }
        }
        other => other,
    }
}

fn as_owner(owner: Uid, what: Use) -> String {
    let instead = match what {
        Use::Served => "give --user root for all of root's rights",
        Use::State => "name another with --state",
    };
    match User::from_uid(owner) {
        Ok(Some(user)) => {
            let name = Escaped(user.name.as_bytes());
            format!("it is {name}'s: give --user {name}, or {instead}")
        }
        _ => format!("it is user {owner}'s, who has no name here: {instead}"),
    }
}
