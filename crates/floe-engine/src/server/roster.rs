//! The tickets of a running server as they are now.
//!
//! The ticket file is looked at by a thread of its own: no greeting holds up the others while a
//! disk takes its time. Every HELLO with a ticket has it looked at once, before it is answered.
//! Twice a second it is looked at for the sessions that run: one whose ticket is revoked or has
//! expired is closed, and so is one that would be allowed less now; its client comes again and
//! continues as far as it still may. What a quota holds is told to those who write.

use super::Hall;
use super::keys::Keys;
use crate::disk_threads::Crew;
use crate::grant::Bounds;
use crate::registry::{Member, Pass};
use crate::ticket::{RootId, TicketStore};
use floe_proto::command::Command;
use floe_types::{Code, Fault};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::broadcast;
use tokio::time::{Instant, sleep, timeout_at};

/// How often it is looked whether sessions may go on: a revocation is to count within two seconds.
const ROUND: Duration = Duration::from_millis(500);

/// Who is let in.
pub(super) struct Roster {
    tickets: Arc<TicketStore>,
    /// They lie beside the tickets, and are looked at with them.
    keys: Arc<Keys>,
    reader: Crew,
    /// The look that was asked for and has not begun, if there is one: it answers all who wait.
    asked: Arc<Mutex<Option<broadcast::Sender<Answer>>>>,
}

type Answer = Result<(), Fault>;

impl Roster {
    pub(super) fn new(tickets: TicketStore, keys: Arc<Keys>) -> Self {
        let (reader, asked) = (Crew::new("floe-tickets", 1), Arc::default());
        Self { tickets: Arc::new(tickets), keys, reader, asked }
    }

    /// Has the file looked at from now on. Whoever asks before that begins shares its answer: a
    /// disk that hangs holds up two looks, the one that runs and the one that is asked for.
    fn ask(&self) -> broadcast::Receiver<Answer> {
        let mut asked = lock(&self.asked);
        if let Some(waiting) = &*asked {
            return waiting.subscribe();
        }
        let (said, heard) = broadcast::channel(1);
        *asked = Some(said);
        drop(asked);
        let (tickets, asked) = (Arc::clone(&self.tickets), Arc::clone(&self.asked));
        let keys = Arc::clone(&self.keys);
        self.reader.submit(Box::new(move || {
            // What changes from here on may be missed: who asks next has it looked at again.
            let waiting = lock(&asked).take();
            let answer = tickets.refresh();
            keys.refresh(&tickets);
            // Nobody may wait any more.
            let _ = waiting.map(|waiting| waiting.send(answer));
        }));
        heard
    }

    /// The tickets as they stood when they were looked at, which is after this was called.
    ///
    /// # Errors
    /// `TimedOut`: the state directory does not answer.
    pub(super) async fn now(&self, deadline: Instant) -> Result<&TicketStore, Fault> {
        match timeout_at(deadline, self.ask().recv()).await {
            Ok(Ok(Err(fault))) => {
                tracing::error!(%fault, "tickets cannot be read, nobody is let in");
                Ok(&self.tickets)
            }
            Ok(Ok(Ok(()))) => Ok(&self.tickets),
            _ => Err(Fault::new(Code::TimedOut, "look at the tickets")),
        }
    }

    /// Whether the tickets could be read by the last look.
    ///
    /// # Errors
    /// `State`: they could not, and nobody is let in who has one.
    pub(super) fn is_read(&self) -> Result<(), Fault> {
        self.tickets.is_read()
    }

    /// How often a ticket may be used, as far as that was read last.
    pub(super) fn uses_now(&self, pass: &Pass, root: RootId) -> Option<NonZeroU32> {
        let now = self.tickets.bounds_now(pass.id, root, SystemTime::now());
        // One that is no more has its sessions closed.
        now.map_or(pass.bounds.uses, |bounds| bounds.uses)
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Goes round the sessions, for ever.
pub(super) async fn patrol(hall: Arc<Hall>) {
    loop {
        sleep(ROUND).await;
        // Where the file cannot be looked at, what was read last counts, and expires.
        let _ = hall.roster.now(Instant::now() + ROUND).await;
        go_round(hall.registry.members(), |member| {
            let Some(pass) = &member.pass else { return };
            match bounds_now(&hall.roster.tickets, pass, hall.root, SystemTime::now()) {
                Ok(bounds) => {
                    if let Some(meter) = &pass.meter {
                        meter.set_quota(bounds.quota);
                    }
                    hall.rates.set(pass.id, bounds.rate, hall.clock.now());
                    member.running.look_at_rate();
                }
                Err(why) => close(member, why),
            }
        });
    }
}

/// Looks at each session. One whose core panics meanwhile is over; the others are looked at.
fn go_round(members: Vec<Arc<Member>>, look: impl Fn(&Member)) {
    for member in members {
        if catch_unwind(AssertUnwindSafe(|| look(&member))).is_err() {
            member.running.break_off(Fault::new(Code::Other, "a session's core failed"));
        }
    }
}

/// What a session may now that goes on, or why it may not. A file that is damaged for 10 s at most
/// ends nobody's work (nobody is let in meanwhile), and lengthens nobody's: what was read last
/// counts. After that nobody knows who is revoked, and clients come again later.
fn bounds_now(
    tickets: &TicketStore,
    pass: &Pass,
    root: RootId,
    now: SystemTime,
) -> Result<Bounds, Fault> {
    let bounds = tickets.bounds_now(pass.id, root, now)?;
    match pass.bounds.still_hold(&bounds) {
        true => Ok(bounds),
        false => Err(Fault::new(Code::TicketChanged, "")),
    }
}

fn close(member: &Member, why: Fault) {
    // One that is over needs no command.
    let _ = member.running.command(Command::Close(Some(why)));
}

#[cfg(test)]
mod tests;
