//! Where the events of a client's session go: to the transfer or request they are about.

use super::{Live, Shared};
use crate::files::Op;
use crate::running::{Listener, Running};
use floe_proto::command::Event;
use floe_proto::frame::Reply;
use floe_types::{EntryId, Fault, OpId, RequestId, TransferId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::{mpsc, oneshot};

/// Who waits for what.
#[derive(Default)]
pub(super) struct Desk {
    transfers: Mutex<HashMap<TransferId, mpsc::UnboundedSender<Event>>>,
    requests: Mutex<HashMap<RequestId, oneshot::Sender<Result<Reply, Fault>>>>,
}

impl Desk {
    pub(super) fn expect_transfer(&self, transfer: TransferId, by: mpsc::UnboundedSender<Event>) {
        lock(&self.transfers).insert(transfer, by);
    }

    pub(super) fn expect_reply(
        &self,
        request: RequestId,
        by: oneshot::Sender<Result<Reply, Fault>>,
    ) {
        lock(&self.requests).insert(request, by);
    }

    fn tell(&self, transfer: TransferId, event: Event) {
        let transfers = lock(&self.transfers);
        if let Some(to) = transfers.get(&transfer) {
            // Who does not listen any more has what it wants.
            let _ = to.send(event);
        }
    }

    /// Nothing comes any more.
    fn clear(&self) {
        lock(&self.transfers).clear();
        lock(&self.requests).clear();
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The listener of a client's session.
pub(super) struct Ear {
    pub(super) shared: Weak<Shared>,
    pub(super) live: Weak<Live>,
    pub(super) desk: Arc<Desk>,
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.desk.clear();
    }
}

impl Listener for Ear {
    fn hear(&mut self, running: &Arc<Running>, event: Event) {
        match event {
            Event::Dial => match (self.shared.upgrade(), self.live.upgrade()) {
                (Some(shared), Some(live)) => live.dial(&shared),
                _ => running.dial_failed(),
            },
            Event::Replied(request, reply) => {
                if let Some(to) = lock(&self.desk.requests).remove(&request) {
                    // Who does not listen any more has given up.
                    let _ = to.send(reply);
                }
            }
            Event::TransferFinished { transfer, .. } => {
                running.files.retire_end(transfer);
                self.desk.tell(transfer, event);
                lock(&self.desk.transfers).remove(&transfer);
            }
            Event::Receipted(transfer, _)
            | Event::EntryFinished { entry: EntryId { transfer, .. }, .. }
            | Event::EntryFailed { entry: EntryId { transfer, .. }, .. } => {
                self.desk.tell(transfer, event);
            }
            // It does not say of which transfer; with one, as in every command, it is that.
            Event::EntrySkipped { .. } => {
                for to in lock(&self.desk.transfers).values() {
                    let _ = to.send(event.clone());
                }
            }
            Event::EntryEnding(entry) => running.files.let_go(entry.transfer),
            Event::Ended(_) => self.desk.clear(),
            Event::Stalled => tracing::warn!("neither end has anything left to do: begin again"),
            Event::EntryFound { .. } | Event::TransferBegun { .. } | Event::HangUp(_) => {}
        }
    }

    fn admit(&mut self, _running: &Arc<Running>, _op: OpId, what: Op) -> Option<Op> {
        Some(what)
    }
}
