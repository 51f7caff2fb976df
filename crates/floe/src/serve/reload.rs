//! SIGHUP: the files of a server are read again while it serves.
//!
//! By a thread of its own that begins before the process is confined: it may read those files,
//! which lie where the server may not look, and does nothing else. Nobody waits for it.

use super::{ServeArgs, Settled, Wire, own_files, settle};
use crate::fault::{Failure, Result};
use floe_engine::server::Control;
use floe_types::{Code, Fault};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Where a server that listens is told of.
pub(super) struct Reload(Sender<(Control, Settled)>);

impl Reload {
    /// Begins; each word of `asked` has the files read.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn begin(args: ServeArgs, asked: Receiver<()>) -> Result<Self> {
        let (tell, told) = channel::<(Control, Settled)>();
        let read = move || {
            let Ok((control, began)) = told.recv() else { return };
            while asked.recv().is_ok() {
                match again(&args, &began, &control) {
                    Ok(()) => tracing::warn!("limits and certificate were read again"),
                    Err(failure) => tracing::error!(%failure, "everything stays as it was"),
                }
            }
        };
        let named = thread::Builder::new().name("floe-reload".to_owned());
        let fault = |error| Fault::new(Code::Other, format!("start a thread: {error}"));
        named.spawn(read).map_err(fault)?;
        Ok(Self(tell))
    }

    /// The server that is to be changed, and what it began with.
    pub(super) fn serves(self, control: Control, began: Settled) {
        // A thread that failed reads nothing again.
        let _ = self.0.send((control, began));
    }
}

fn again(args: &ServeArgs, began: &Settled, control: &Control) -> Result<()> {
    let settled = settle(args.clone())?;
    // Whoever knows the key of its own would not know this server any more.
    let own = match (&settled.own_files, &began.own_files, began.wire) {
        (Some((cert, key)), Some(_), Wire::Tls) => Some(own_files(&began.dir, cert, key)?),
        _ => None,
    };
    control.reload(settled.rules.clone(), own.as_ref()).map_err(Failure::from)?;
    for what in needs_restart(began, &settled) {
        tracing::warn!("another {what} needs a restart");
    }
    Ok(())
}

/// What has changed and is not changed here.
fn needs_restart<'a>(was: &Settled, now: &Settled) -> impl Iterator<Item = &'a str> {
    let same = [
        ("directory", was.dir == now.dir),
        ("address", was.listen == now.listen),
        ("access", was.access == now.access),
        ("wire", was.wire == now.wire),
        ("memory", was.memory == now.memory),
        ("audit log", was.audit == now.audit),
        ("address of the metrics", was.metrics == now.metrics),
        ("state directory", was.state.path() == now.state.path()),
        ("user", was.manner.0 == now.manner.0),
        ("log format", was.manner.1 == now.manner.1),
        ("form of the output", was.voice.form == now.voice.form),
        ("kind of certificate", was.own_files.is_some() == now.own_files.is_some()),
    ];
    same.into_iter().filter(|(_, same)| !same).map(|(what, _)| what)
}
