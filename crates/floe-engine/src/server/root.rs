//! The id of a served directory: what its tickets name.
//!
//! It lies in the directory's `.floe/id`, so that it moves with it. A directory that cannot hold
//! one can be served read-only all the same: its id is then kept in the state directory, by the
//! path of the directory, and stays for as long as no other is readable there.

use super::ReadOnly;
use crate::state::{Privacy, State, show};
use crate::ticket::RootId;
use floe_store::confined::Confined;
use floe_store::kernel::KernelDisk;
use floe_store::local::LocalStore;
use floe_store::{RootWanted, Store};
use floe_types::{Code, Fault, ObjectPath};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// The id of a directory that is or will be served; made, and durable, if it has none.
///
/// # Errors
/// As opening the store; `State` where a file with an id is damaged.
pub fn root_id_of(root: &Path, state: &State) -> Result<RootId, Fault> {
    id(&LocalStore::open(root)?, root, state, ReadOnly::Yes)
}

/// Looks for a directory that is to be a ticket's root.
///
/// # Errors
/// `NotFound`, `NotDirectory` (also for a link, or where one is passed), the system's.
pub fn find_prefix(root: &Path, prefix: &ObjectPath) -> Result<(), Fault> {
    let store = Confined::new(Arc::new(LocalStore::open(root)?), prefix.clone());
    let found = store.stat(&ObjectPath::root(), RootWanted::IfKnown, &|_, _| {});
    let refuse = |fault: Fault| Fault::new(fault.code, format!("use {prefix:?} as a root"));
    found.map(|_| ()).map_err(refuse)
}

/// The id of an open store's root.
pub(super) fn id(
    store: &LocalStore<KernelDisk>,
    root: &Path,
    state: &State,
    read_only: ReadOnly,
) -> Result<RootId, Fault> {
    match store.standing_root_id() {
        Ok(Some(id)) => return Ok(RootId(id.0)),
        Err(fault) if !is_closed(&fault) => return Err(fault),
        Ok(None) | Err(_) => {}
    }
    let file = file_of(root)?;
    if let Some(id) = kept(state, &file)? {
        return Ok(id);
    }
    match store.root_id() {
        Ok(id) => Ok(RootId(id.0)),
        Err(fault) if is_closed(&fault) && read_only == ReadOnly::Yes => {
            let id = RootId(crate::state::random()?);
            state.create(&file, format!("{id}\n").as_bytes())?;
            // Another process may have been first.
            kept(state, &file)?.ok_or_else(|| state.fault("read", &file, "it is gone"))
        }
        Err(fault) if is_closed(&fault) => {
            let shown = show(root);
            let detail = format!("serve \"{shown}\" for writing: make \".floe\" in it");
            Err(Fault::new(fault.code, detail))
        }
        Err(fault) => Err(fault),
    }
}

/// Whether nothing can be written, or this user may not look.
fn is_closed(fault: &Fault) -> bool {
    matches!(fault.code, Code::ReadOnly | Code::PermissionDenied)
}

/// The file of the state directory with the id of a directory that cannot hold it.
fn file_of(root: &Path) -> Result<String, Fault> {
    let real = root.canonicalize().map_err(|error| {
        Fault::new(Code::Io, format!("open \"{}\": {}", show(root), error.kind()))
    })?;
    let hash = blake3::hash(real.as_os_str().as_bytes());
    Ok(format!("root-{}.id", data_encoding::HEXLOWER.encode(&hash.as_bytes()[..16])))
}

fn kept(state: &State, file: &str) -> Result<Option<RootId>, Fault> {
    let Some(text) = state.read(file, Privacy::Any)? else { return Ok(None) };
    let id = data_encoding::HEXLOWER.decode(text.trim_ascii()).ok();
    let id = id.and_then(|id| <[u8; 16]>::try_from(id).ok());
    id.map(|id| Some(RootId(id))).ok_or_else(|| state.fault("read", file, "it holds no id"))
}
