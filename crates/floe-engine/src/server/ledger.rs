//! The uses of tickets, counted by a thread of their own: nobody else waits for that disk.

use crate::disk_threads::Crew;
use crate::grant::{Deed, Uses};
use crate::state::State;
use crate::ticket::TicketId;
use floe_types::{Code, Fault};
use std::num::NonZeroU32;
use std::sync::Arc;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

pub(super) struct Ledger {
    crew: Crew,
    state: State,
}

/// What becomes of a use that was asked for; nothing yet, or what `Uses::begin` said.
pub(super) type Gate = watch::Receiver<Option<Result<(), Fault>>>;

/// A use that began, and is to be told when it was completed.
pub(super) struct Use {
    ledger: Arc<Ledger>,
    ticket: TicketId,
    deed: Deed,
}

impl Ledger {
    pub(super) fn new(state: State) -> Self {
        Self { crew: Crew::new("floe-uses", 1), state }
    }

    /// Whether a ticket has anything left for a client.
    ///
    /// # Errors
    /// `TicketExpired`; `Busy`: it cannot be known now, the log says why.
    pub(super) async fn admit(
        &self,
        ticket: TicketId,
        most: NonZeroU32,
        client: [u8; 16],
        deadline: Instant,
    ) -> Result<(), Fault> {
        let (said, heard) = oneshot::channel();
        let state = self.state.clone();
        self.crew.submit(Box::new(move || {
            // Nobody may wait any more.
            let _ = said.send(Uses::peek(&state, &ticket.to_string()));
        }));
        match timeout_at(deadline, heard).await {
            Ok(Ok(Ok(uses))) if uses.admit(most, client) => Ok(()),
            Ok(Ok(Ok(_))) => Err(Uses::spent(most)),
            Ok(Ok(Err(fault))) => Err(unknown(ticket, &fault)),
            _ => Err(busy()),
        }
    }

    /// Counts a use.
    pub(super) fn begin(
        self: &Arc<Self>,
        ticket: TicketId,
        most: NonZeroU32,
        deed: Deed,
    ) -> (Use, Gate) {
        let (said, gate) = watch::channel(None);
        let (state, own) = (self.state.clone(), deed.clone());
        self.crew.submit(Box::new(move || {
            let answer = match Uses::begin(&state, &ticket.to_string(), most, own) {
                Err(fault) if fault.code != Code::TicketExpired => Err(unknown(ticket, &fault)),
                answer => answer,
            };
            said.send_replace(Some(answer));
        }));
        (Use { ledger: Arc::clone(self), ticket, deed }, gate)
    }
}

impl Use {
    /// The same again is another use.
    pub(super) fn complete(self) {
        let Self { ledger, ticket, deed } = self;
        let state = ledger.state.clone();
        ledger.crew.submit(Box::new(move || {
            // Not noted, it can be done once more; that is no harm.
            if let Err(fault) = Uses::complete(&state, &ticket.to_string(), &deed) {
                tracing::warn!(%fault, %ticket, "that a use was completed is not noted");
            }
        }));
    }
}

/// Waits for the answer of a gate.
///
/// # Errors
/// What it says.
pub(super) async fn pass(mut gate: Gate) -> Result<(), Fault> {
    match gate.wait_for(Option::is_some).await {
        Ok(answer) => answer.clone().unwrap_or_else(|| Err(busy())),
        Err(_) => Err(busy()),
    }
}

fn unknown(ticket: TicketId, fault: &Fault) -> Fault {
    tracing::error!(%fault, %ticket, "how often a ticket was used is not known");
    busy()
}

fn busy() -> Fault {
    Fault::new(Code::Busy, "look how often the ticket was used")
}
