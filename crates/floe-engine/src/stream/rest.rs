//! A stream whose connection is gone, until its operations have ended.

use crate::port::{Ended, Port};
use crate::running::{Running, Seat};
use std::sync::Arc;

/// What is left of a stream whose connection is gone: operations that were begun.
pub(super) struct Rest {
    pub(super) running: Arc<Running>,
    pub(super) seat: Arc<Seat>,
    pub(super) port: Port,
    pub(super) ended: Vec<Ended>,
}

impl Rest {
    /// Waits for them; they end through the core.
    pub(super) async fn end(mut self) {
        loop {
            self.port.take_ended(&mut self.ended);
            let ended = std::mem::take(&mut self.ended);
            if !ended.is_empty() && !self.running.is_broken() {
                self.running.round(|core, now| {
                    for Ended { op, done, took } in ended {
                        core.handle_disk(op, done, took, now);
                    }
                });
            }
            if self.port.is_idle() {
                return;
            }
            self.seat.inbox.rung().await;
        }
    }
}
