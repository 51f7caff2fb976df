//! What a server does about the events of a session: logs them, and keeps stages to one owner.
//!
//! A client that was cut off and came back finds its stage held by its own old session. That one is
//! told to end; the open waits, without holding a thread, until it has let go. A sync that cannot
//! be called back may take a while; past the bound the client is told to come again.

use super::Hall;
use crate::clock::duration;
use crate::files::Op;
use crate::registry::{Claim, SessionId};
use crate::running::{Listener, Running};
use floe_proto::command::{Command, Event};
use floe_proto::disk::{DiskOp, OpenHow};
use floe_store::{OwnerId, StageKey};
use floe_types::{Code, Fault, OpId};
use std::sync::Arc;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// The listener of one session.
pub(super) struct Ear {
    hall: Arc<Hall>,
    session: SessionId,
    owner: OwnerId,
}

impl Ear {
    pub(super) fn new(hall: &Arc<Hall>, session: SessionId, owner: OwnerId) -> Self {
        Self { hall: Arc::clone(hall), session, owner }
    }
}

impl Listener for Ear {
    fn hear(&mut self, _running: &Arc<Running>, event: Event) {
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
            Event::EntryFailed { path, fault, .. } => {
                tracing::info!(%path, %fault, "entry failed");
            }
            Event::EntrySkipped { path, fault } => tracing::debug!(%path, %fault, "entry skipped"),
            Event::EntryFinished { path, .. } => tracing::debug!(%path, "entry finished"),
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
        let DiskOp::Open { entry, path, how: OpenHow::Sink(wish) } = &what else {
            return Some(what);
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
