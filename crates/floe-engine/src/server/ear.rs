//! What a server does about the events of a session: logs them, and keeps stages to one owner.
//!
//! A client that was cut off and came back finds its stage held by its own old session. That one is
//! told to end; the open waits, without holding a thread, until it has let go or the bound is over.

use super::Hall;
use crate::clock::duration;
use crate::files::Op;
use crate::registry::{Claim, StageKey};
use crate::running::{Listener, Running};
use floe_proto::command::{Command, Event};
use floe_proto::disk::{DiskOp, OpenHow};
use floe_store::OwnerId;
use floe_types::{Code, Fault, OpId};
use std::sync::Arc;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// The listener of one session.
pub(super) struct Ear {
    hall: Arc<Hall>,
    owner: OwnerId,
}

impl Ear {
    pub(super) fn new(hall: &Arc<Hall>, owner: OwnerId) -> Self {
        Self { hall: Arc::clone(hall), owner }
    }
}

impl Listener for Ear {
    fn hear(&mut self, _running: &Arc<Running>, event: Event) {
        match event {
            Event::TransferBegun { transfer, direction, path } => {
                tracing::info!(transfer = transfer.0, ?direction, %path, "transfer begins");
            }
            Event::TransferFinished { transfer, result, summary } => {
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
            | Event::HangUp(_)
            | Event::Replied(..)
            | Event::Ended(_) => {}
        }
    }

    fn admit(&mut self, running: &Arc<Running>, op: OpId, what: Op) -> Option<Op> {
        let DiskOp::Open { entry, path, how: OpenHow::Sink(_) } = &what else {
            return Some(what);
        };
        let (entry, key) = (*entry, (path.clone(), self.owner));
        match self.hall.registry.claim(&key, running) {
            Ok(claim) => {
                running.files.keep(entry, Box::new(claim));
                Some(what)
            }
            Err(old) => {
                tracing::info!(path = %key.0, "taking over from an earlier session");
                let (hall, running) = (Arc::clone(&self.hall), Arc::clone(running));
                spawn_local(async move {
                    // If it is still held, the store says so.
                    if let Some(claim) = take_over(&hall, &running, &key, old).await {
                        running.files.keep(entry, Box::new(claim));
                    }
                    running.submit_later(op, what);
                });
                None
            }
        }
    }
}

/// Has whoever holds a stage end, and waits until it is free, within a bound.
async fn take_over(
    hall: &Hall,
    running: &Arc<Running>,
    key: &StageKey,
    mut old: Arc<Running>,
) -> Option<Claim> {
    let claimed = timeout(duration(hall.limits.greeting), async {
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
    let claimed = claimed.await.ok();
    if claimed.is_none() {
        tracing::warn!("an earlier session does not let go of its stage");
    }
    claimed
}
