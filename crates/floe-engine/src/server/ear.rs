//! What a server does about the events of a session: logs them, and keeps stages to one owner.
//!
//! A client that was cut off and came back finds its stage held by its own old session. That one is
//! told to end; the open waits, without holding a thread, until it has let go or the bound is over.

use super::Hall;
use crate::clock::duration;
use crate::files::Op;
use crate::registry::StageKey;
use crate::running::{Listener, Running};
use floe_proto::command::{Command, Event};
use floe_proto::disk::{DiskOp, OpenHow};
use floe_store::OwnerId;
use floe_types::{Code, EntryId, Fault, OpId};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::spawn_local;
use tokio::time::timeout;

/// The listener of one session.
pub(super) struct Ear {
    hall: Arc<Hall>,
    owner: OwnerId,
    claims: HashMap<EntryId, StageKey>,
}

impl Ear {
    pub(super) fn new(hall: &Arc<Hall>, owner: OwnerId) -> Self {
        Self { hall: Arc::clone(hall), owner, claims: HashMap::new() }
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
        match &what {
            DiskOp::Open { entry, path, how: OpenHow::Sink(_) } => {
                let key = (path.clone(), self.owner);
                self.claims.insert(*entry, key.clone());
                match self.hall.registry.claim(&key, running) {
                    None => Some(what),
                    Some(old) => {
                        tracing::info!(path = %key.0, "taking over from an earlier session");
                        let (hall, running) = (Arc::clone(&self.hall), Arc::clone(running));
                        spawn_local(async move {
                            take_over(&hall, &old).await;
                            // If it is still held, the store says so.
                            hall.registry.claim(&key, &running);
                            running.submit_later(op, what);
                        });
                        None
                    }
                }
            }
            DiskOp::Release { entry } | DiskOp::Discard { entry } => {
                if let Some(key) = self.claims.remove(entry) {
                    self.hall.registry.release(&key, running);
                }
                Some(what)
            }
            _ => Some(what),
        }
    }
}

async fn take_over(hall: &Hall, old: &Running) {
    let fault = Fault::new(Code::TakenOver, "");
    // One that is over already needs no command.
    let _ = old.command(Command::Close(Some(fault)));
    if timeout(duration(hall.limits.greeting), old.released()).await.is_err() {
        tracing::warn!("an earlier session does not let go of its stage");
    }
}
