//! The uses of tickets, counted by a thread of their own: nobody else waits for that disk.

use crate::disk_threads::Crew;
use crate::grant::{Deed, Uses};
use crate::state::State;
use crate::ticket::TicketId;
use floe_types::{Code, Fault};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout_at};

pub(super) struct Ledger {
    crew: Crew,
    state: State,
    /// Begun and not answered, by ticket.
    asked: Mutex<HashMap<TicketId, u32>>,
}

/// Uses of one ticket that are being counted at once; more are refused at once.
const ASKED_MAX: u32 = 16;

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
        Self { crew: Crew::new("floe-uses", 1), state, asked: Mutex::default() }
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
        let used = Use { ledger: Arc::clone(self), ticket, deed: deed.clone() };
        let mut asked = self.asked();
        let count = asked.entry(ticket).or_default();
        if *count >= ASKED_MAX {
            return (used, watch::channel(Some(Err(busy()))).1);
        }
        *count += 1;
        drop(asked);
        let (said, gate) = watch::channel(None);
        let own = Arc::clone(self);
        self.crew.submit(Box::new(move || {
            let answer = match Uses::begin(&own.state, &ticket.to_string(), most, deed) {
                Err(fault) if fault.code != Code::TicketExpired => Err(unknown(ticket, &fault)),
                answer => answer,
            };
            own.answered(ticket);
            said.send_replace(Some(answer));
        }));
        (used, gate)
    }

    fn asked(&self) -> MutexGuard<'_, HashMap<TicketId, u32>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self, ticket: TicketId) {
        let mut asked = self.asked();
        if let Some(count) = asked.get_mut(&ticket) {
            *count -= 1;
            if *count == 0 {
                asked.remove(&ticket);
            }
        }
    }
}

impl Use {
    /// The same again is another use.
    pub(super) fn complete(self) {
        self.note(Uses::complete);
    }

    /// It came to nothing at all: it was none.
    pub(super) fn forget(self) {
        self.note(Uses::forget);
    }

    fn note(self, note: fn(&State, &str, &Deed) -> Result<(), Fault>) {
        let Self { ledger, ticket, deed } = self;
        let state = ledger.state.clone();
        ledger.crew.submit(Box::new(move || {
            // Not noted, what was completed can be done once more; that is no harm.
            if let Err(fault) = note(&state, &ticket.to_string(), &deed) {
                tracing::warn!(%fault, %ticket, "what became of a use is not noted");
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
    if fault.code == Code::NoSpace { Fault::new(fault.code, NOTING) } else { busy() }
}

fn busy() -> Fault {
    Fault::new(Code::Busy, NOTING)
}

const NOTING: &str = "look how often the ticket was used";
