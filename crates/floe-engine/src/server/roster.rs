//! The tickets of a running server as they are now.
//!
//! The ticket file is looked at by a thread of its own: no greeting holds up the others while a disk
//! takes its time. Every HELLO with a ticket has it looked at once, before it is answered.

use crate::disk_threads::Crew;
use crate::ticket::TicketStore;
use floe_types::{Code, Fault};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

/// Who is let in.
pub(super) struct Roster {
    tickets: Arc<TicketStore>,
    reader: Crew,
}

impl Roster {
    pub(super) fn new(tickets: TicketStore) -> Self {
        Self { tickets: Arc::new(tickets), reader: Crew::new("floe-tickets", 1) }
    }

    /// The tickets as they stood when they were looked at, which is after this was called.
    ///
    /// # Errors
    /// `TimedOut`: the state directory does not answer.
    pub(super) async fn now(&self, deadline: Instant) -> Result<&TicketStore, Fault> {
        let (said, heard) = oneshot::channel();
        let tickets = Arc::clone(&self.tickets);
        self.reader.submit(Box::new(move || {
            if let Err(fault) = tickets.refresh() {
                tracing::error!(%fault, "tickets cannot be read, nobody is let in");
            }
            // Whoever asked may have left.
            let _ = said.send(());
        }));
        match timeout_at(deadline, heard).await {
            Ok(Ok(())) => Ok(&self.tickets),
            _ => Err(Fault::new(Code::TimedOut, "look at the tickets")),
        }
    }
}
