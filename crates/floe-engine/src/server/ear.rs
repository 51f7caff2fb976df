//! What a server does about the events of a session: logs them, and keeps stages to one owner.
//!
//! A client that was cut off and came back finds its stage held by its own old session. That one is
//! told to end; the open waits, without holding a thread, until it has let go. A sync that cannot
//! be called back may take a while; past the bound the client is told to come again.

use super::Hall;
use crate::audit::Scribe;
use crate::clock::duration;
use crate::files::Op;
use crate::registry::{Claim, SessionId};
use crate::running::{Listener, Running};
use floe_proto::command::{Command, Event};
use floe_proto::disk::{DiskOp, OpenHow};
use floe_proto::frame::Direction;
use floe_store::{OwnerId, StageKey};
use floe_types::{Code, Fault, ObjectPath, OpId, TransferId};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// The listener of one session.
pub(super) struct Ear {
    hall: Arc<Hall>,
    session: SessionId,
    owner: OwnerId,
    scribe: Option<Arc<Scribe>>,
    /// Its transfers: which way, and the path that theirs are beneath.
    transfers: BTreeMap<TransferId, (Direction, ObjectPath)>,
}

impl Ear {
    pub(super) fn new(
        hall: &Arc<Hall>,
        session: SessionId,
        owner: OwnerId,
        scribe: Option<Arc<Scribe>>,
    ) -> Self {
        Self { hall: Arc::clone(hall), session, owner, scribe, transfers: BTreeMap::new() }
    }

    /// Leaves the lines of what the disk threads do not see.
    fn write_down(&mut self, event: &Event) {
        let Some(scribe) = &self.scribe else { return };
        let whole = |entry: &TransferId, path: &ObjectPath| {
            let (direction, base) = self.transfers.get(entry)?;
            // One that is too long to be joined was refused.
            Some((*direction, base.join_path(path).unwrap_or_else(|_| path.clone())))
        };
        match event {
            Event::TransferBegun { transfer, direction, path } => {
                self.transfers.insert(*transfer, (*direction, path.clone()));
            }
            Event::TransferFinished { transfer, .. } => {
                self.transfers.remove(transfer);
            }
            Event::EntryFinished { entry, path, object: Some((size, root)) } => {
                if let Some((Direction::Get, path)) = whole(&entry.transfer, path) {
                    scribe.sent(*entry, &path, *size, *root);
                }
            }
            Event::EntryFailed { entry, path, fault } => {
                if let Some((_, path)) = whole(&entry.transfer, path) {
                    scribe.failed(*entry, &path, fault);
                }
            }
            _ => {}
        }
    }

    /// Keeps an open back while lines pile up; on a disk that does not answer, not for ever.
    fn hold_back(&self, scribe: &Arc<Scribe>, running: &Arc<Running>, op: OpId, what: Op) {
        let patience = duration(self.hall.limits.silence);
        let (scribe, running) = (Arc::clone(scribe), Arc::clone(running));
        spawn_local(async move {
            match timeout(patience, scribe.caught_up()).await {
                Ok(()) => running.submit_later(op, what),
                Err(_) => {
                    let fault = Fault::new(Code::Busy, "the server's audit log is behind");
                    running.fail_later(op, fault);
                }
            }
        });
    }
}

impl Listener for Ear {
    fn hear(&mut self, _running: &Arc<Running>, event: Event) {
        self.write_down(&event);
        match event {
            Event::TransferBegun { transfer, direction, path } => {
                self.hall.registry.transfer_begins(&self.session);
                tracing::info!(transfer = transfer.0, ?direction, %path, "transfer begins");
            }
            Event::TransferFinished { transfer, result, summary } => {
                self.hall.registry.transfer_ends(&self.session);
                let (total, sent) = (summary.bytes_total.0, summary.bytes_sent.0);
                let entries = summary.entries_committed.0;
                match result {
                    Ok(()) => {
                        tracing::info!(
                            transfer = transfer.0,
                            total,
                            sent,
                            entries,
                            "transfer done"
                        );
                    }
                    Err(fault) => {
                        tracing::info!(transfer = transfer.0, total, sent, %fault, "transfer ends");
                    }
                }
            }
            Event::EntryFailed { entry, path, fault } => {
                tracing::info!(transfer = entry.transfer.0, %path, %fault, "entry failed");
            }
            Event::EntrySkipped { path, fault } => tracing::debug!(%path, %fault, "entry skipped"),
            Event::EntryFinished { entry, path, .. } => {
                tracing::debug!(transfer = entry.transfer.0, %path, "entry finished");
            }
            // Servers do not dial and do not ask; the rest is the driver's.
            Event::EntryFound { .. }
            | Event::EntryEnding(_)
            | Event::Dial
            | Event::Stalled
            | Event::HangUp(_)
            | Event::Replied(..)
            | Event::Ended(_) => {}
        }
    }

    fn admit(&mut self, running: &Arc<Running>, op: OpId, what: Op) -> Option<Op> {
        let DiskOp::Open { entry, path, how } = &what else { return Some(what) };
        let OpenHow::Sink(wish) = how else {
            return match &self.scribe {
                Some(scribe) if scribe.is_behind() => {
                    self.hold_back(scribe, running, op, what);
                    None
                }
                _ => Some(what),
            };
        };
        let (entry, owner) = (*entry, self.owner);
        let key = StageKey { path: path.clone(), owner, version: wish.version };
        match self.hall.registry.claim(&key, running) {
            Ok(claim) => {
                running.files.keep(entry, Box::new(claim));
                Some(what)
            }
            Err(old) => {
                tracing::info!(path = %key.path, "taking over from an earlier session");
                let (hall, running) = (Arc::clone(&self.hall), Arc::clone(running));
                spawn_local(async move {
                    match take_over(&hall, &running, &key, old).await {
                        Ok(claim) => {
                            running.files.keep(entry, Box::new(claim));
                            running.submit_later(op, what);
                        }
                        Err(fault) => running.fail_later(op, fault),
                    }
                });
                None
            }
        }
    }
}

/// Has whoever holds a stage end, and waits until it is free.
///
/// # Errors
/// `Busy`: it is not, after as long as a peer may be silent.
async fn take_over(
    hall: &Hall,
    running: &Arc<Running>,
    key: &StageKey,
    mut old: Arc<Running>,
) -> Result<Claim, Fault> {
    let claimed = timeout(duration(hall.limits.silence), async {
        loop {
            let fault = Fault::new(Code::TakenOver, "");
            // One that is over already needs no command.
            let _ = old.command(Command::Close(Some(fault)));
            old.released().await;
            match hall.registry.claim(key, running) {
                Ok(claim) => return claim,
                Err(next) => old = next,
            }
        }
    });
    claimed.await.map_err(|_| {
        tracing::warn!(path = %key.path, "an earlier session does not let go of its stage");
        Fault::new(Code::Busy, "an earlier session still holds the stage")
    })
}
