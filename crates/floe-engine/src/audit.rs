//! The audit log of a server: who moved what, each line chained to the one before.
//!
//! Append-only files of JSON lines in the state directory. What is answered COMMITTED, or done of
//! names, has its line on the disk before the answer; what cannot have one is refused before it is
//! done. The chain shows whoever has a later line, or its hash from elsewhere, whether anything
//! before it was changed or taken out; whoever may write the files can cut their end off, and no
//! file can tell that. `floe audit` reads them without a server.

mod line; // one line, and what chains it
mod chain; // whether lines follow each other
mod book; // the files
mod clerk; // the thread that writes, and the desk before it
mod scribe; // one session's hand
mod shelf; // the files as those read them who do not write

pub use chain::{Break, Ended, Torn, Walk, walk};
pub use line::{Head, Record, record_of};
pub use scribe::{Scribe, Who};
pub use shelf::{Shelf, Volume};

use crate::state::State;
use crate::ticket::TicketId;
use book::Book;
use clerk::{Clerk, Desk};
use floe_types::{ByteCount, Code, Fault};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Whether a server keeps a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Auditing {
    /// It does; a file is left for the next when it has so many bytes.
    Log(ByteCount),
    /// It does not.
    Nothing,
}

/// The default size of one file.
pub const FILE_BYTES: ByteCount = ByteCount(64 << 20);

/// A log that is written.
pub struct Audit {
    desk: Arc<Desk>,
    /// Sessions that have begun and not ended.
    present: watch::Sender<usize>,
    refusals: Mutex<Refusals>,
}

impl Audit {
    /// Opens the log of a state directory, starts its thread, and leaves the line of the start.
    ///
    /// # Errors
    /// `State`, the system's.
    pub(crate) fn open(
        state: &State,
        file_bytes_max: ByteCount,
        about: &str,
    ) -> Result<Arc<Self>, Fault> {
        let book = Book::open(state, file_bytes_max.0)?;
        let desk = Desk::new();
        let clerk = Clerk::new(&desk, book);
        std::thread::Builder::new()
            .name("floe-audit".to_owned())
            .spawn(move || clerk.run())
            .map_err(|error| Fault::new(Code::Other, format!("start a thread: {error}")))?;
        desk.note(Record { about: Some(about.to_owned()), ..Record::now(line::BEGINS) }.draft());
        let refusals = Mutex::new(Refusals::new(Instant::now()));
        Ok(Arc::new(Self { desk, present: watch::Sender::new(0), refusals }))
    }

    /// A session was refused. Anybody can cause that: past a rate they are only counted.
    pub(crate) fn refused(&self, client: SocketAddr, ticket: Option<[u8; 16]>, fault: &Fault) {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = refusals.admit(Instant::now()) else { return };
        drop(refusals);
        let record = Record {
            client: Some(client.to_string().into()),
            ticket_id: ticket.map(|id| TicketId(id).to_string().into()),
            count: (count > 0).then_some(count),
            ..Record::now("refuse")
        };
        self.desk.note(record.ending(&Err(fault.clone())).draft());
    }

    /// Whether there is room for the lines of a small transfer. May wait for a disk.
    ///
    /// # Errors
    /// `NoSpace` and the like: nothing would be committed now.
    pub(crate) fn may_write(&self) -> Result<(), Fault> {
        self.desk.promise(scribe::BYTES_MIN).map(drop)
    }

    /// Waits until every session has its last line, leaves the line of the stop, and waits until
    /// all is durable; each for so long at most.
    pub(crate) async fn close(&self, patience: Duration) {
        let mut present = self.present.subscribe();
        let _ = tokio::time::timeout(patience, present.wait_for(|present| *present == 0)).await;
        let held = self.refusals.lock().unwrap_or_else(PoisonError::into_inner).held;
        let count = (held > 0).then_some(held);
        self.desk.note(Record { count, ..Record::now("stop") }.draft());
        let _ = tokio::time::timeout(patience, self.desk.flush()).await;
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        self.desk.close();
    }
}

/// How many refusals have lines: so many at once, then one a second.
struct Refusals {
    left: u64,
    since: Instant,
    /// Refused without a line since the last one.
    held: u64,
}

const REFUSALS_AT_ONCE: u64 = 60;

impl Refusals {
    const fn new(now: Instant) -> Self {
        Self { left: REFUSALS_AT_ONCE, since: now, held: 0 }
    }

    /// Whether one has a line now: then how many had none before it.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        let secs = now.saturating_duration_since(self.since).as_secs();
        self.left = self.left.saturating_add(secs).min(REFUSALS_AT_ONCE);
        self.since += Duration::from_secs(secs);
        if self.left == 0 {
            self.held += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.held))
    }
}

#[cfg(test)]
mod tests;
