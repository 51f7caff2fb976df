//! The meters of tickets whose sessions run: one each, however many sessions there are.
//!
//! They are opened by a thread of their own: it looks for what an earlier process left, and nobody
//! else waits for that. What a process left that died in a commit is looked at before anybody is
//! let in: later something else may stand there.

use crate::disk_threads::Crew;
use crate::grant::{Meter, Quota};
use crate::state::State;
use crate::ticket::{Entry, TicketId};
use floe_store::Store;
use floe_types::{Code, Fault, ObjectPath};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

pub(super) struct Meters {
    crew: Crew,
    shelf: Arc<Shelf>,
}

struct Shelf {
    state: State,
    open: Mutex<HashMap<TicketId, Weak<Meter>>>,
}

impl Meters {
    /// Looks at what was left of these tickets; `beneath` is the store of a prefix.
    pub(super) fn new(
        state: State,
        tickets: Vec<Entry>,
        beneath: impl Fn(ObjectPath) -> Arc<dyn Store> + Send + 'static,
    ) -> Self {
        let shelf = Arc::new(Shelf { state, open: Mutex::default() });
        let (crew, own) = (Crew::new("floe-meters", 1), Arc::clone(&shelf));
        // Whoever asks for a meter comes after this.
        crew.submit(Box::new(move || {
            for Entry { id, bounds, .. } in tickets {
                let unsettled = Meter::is_unsettled(&own.state, &id.to_string());
                // What cannot be read is read again at once, before others come; where that fails,
                // too, it is said, and its holder is not let in.
                if bounds.quota.is_some() && unsettled.unwrap_or(true) {
                    drop(own.take(id, bounds.quota, beneath(bounds.prefix)));
                }
            }
        }));
        Self { crew, shelf }
    }

    /// A ticket's meter, opened if no session has it. `store` is where its holder writes.
    ///
    /// # Errors
    /// `Busy`: another process has it, or what was used cannot be known now; the log says which.
    pub(super) async fn of(
        &self,
        id: TicketId,
        quota: Quota,
        store: Arc<dyn Store>,
        deadline: Instant,
    ) -> Result<Arc<Meter>, Fault> {
        let (said, heard) = oneshot::channel();
        let shelf = Arc::clone(&self.shelf);
        self.crew.submit(Box::new(move || {
            // Nobody may wait any more.
            let _ = said.send(shelf.take(id, quota, store));
        }));
        match timeout_at(deadline, heard).await {
            Ok(Ok(meter)) => meter,
            _ => Err(busy()),
        }
    }
}

impl Shelf {
    fn take(&self, id: TicketId, quota: Quota, store: Arc<dyn Store>) -> Result<Arc<Meter>, Fault> {
        // Held throughout: only the crew's one thread comes here.
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, meter| meter.strong_count() > 0);
        if let Some(meter) = open.get(&id).and_then(Weak::upgrade) {
            meter.set_quota(quota);
            return Ok(meter);
        }
        let meter = Meter::open(&self.state, &id.to_string(), quota, store).map_err(|fault| {
            tracing::error!(%fault, ticket = %id, "what a ticket has used is not known");
            if fault.code == Code::NoSpace { Fault::new(fault.code, LOOKING) } else { busy() }
        })?;
        let meter = Arc::new(meter);
        open.insert(id, Arc::downgrade(&meter));
        Ok(meter)
    }
}

fn busy() -> Fault {
    Fault::new(Code::Busy, LOOKING)
}

const LOOKING: &str = "look at what the ticket has used";
