//! Opens an entry, which takes descriptors: where there are none it waits for them, in order, on a
//! thread that no other customer needs, and does not fail what runs. A stage that another server of
//! this root still holds, because it drains, is looked for again until that one has let go.

use super::reply::Reply;
use crate::customer::Customer;
use crate::descriptors::{Slot, are_short};
use crate::disk_threads::DiskThreads;
use crate::files::{Done, Files};
use floe_proto::disk::OpenHow;
use floe_types::{Code, EntryId, Fault, ObjectPath};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An entry to be opened, once there is a descriptor for it.
pub(super) struct Opening {
    pub(super) reply: Reply,
    pub(super) files: Arc<Files>,
    pub(super) threads: DiskThreads,
    pub(super) entry: EntryId,
    pub(super) path: ObjectPath,
    pub(super) how: OpenHow,
}

/// How long it may wait: as long as a peer may be silent.
const OPENING_MAX: Duration = Duration::from_secs(60);
/// Where others took the descriptors that were meant for it, it looks again after so long.
const SHORT_REST: Duration = Duration::from_millis(20);
/// A stage that another process holds is looked for again after so long,
const HELD_REST: Duration = Duration::from_millis(50);
/// until it was waited for so long: longer than a server may drain.
const HELD_MAX: Duration = Duration::from_secs(40);

impl Opening {
    /// Opens it with a slot that it was given; the end, unless it comes later.
    pub(super) fn begin(mut self, slot: Slot) -> Option<(Reply, Done)> {
        if self.files.is_deserted() {
            let fault = Fault::new(Code::ConnectionLost, "whoever asked is gone");
            return Some(self.ended(Done::Failed(fault)));
        }
        self.reply.begin();
        match self.attempt(slot) {
            Attempt::Ended(done) => Some(self.ended(done)),
            Attempt::Short(_) => {
                self.queue();
                None
            }
            Attempt::Held(fault) => {
                self.look_again(fault);
                None
            }
        }
    }

    /// Tries it once more a little later, unless that has gone on for too long.
    fn look_again(self, fault: Fault) {
        if self.reply.submitted.elapsed() >= HELD_MAX {
            return self.end(Done::Failed(fault));
        }
        let (due, held) = (Instant::now() + HELD_REST, self.threads.held.clone());
        held.submit(Box::new(move || {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let Some(slot) = self.threads.files.slot(self.files.party()) else {
                return self.queue();
            };
            if let Some((reply, done)) = self.begin(slot) {
                reply.end(Ok(done));
            }
        }));
    }

    /// Goes on where it may wait and holds up nobody but those behind it.
    pub(super) fn queue(self) {
        let (party, late) = (self.files.party(), self.threads.late.clone());
        self.threads.files.queue(party);
        // In order, whoever it is: a later one would hold what an earlier one needs.
        let turn = if party.is_anybody() { Customer::ITSELF } else { party };
        late.submit_for(turn, Box::new(move || self.wait()));
    }

    fn wait(mut self) {
        self.reply.begin();
        let until = self.reply.submitted + OPENING_MAX;
        let party = self.files.party();
        let Some(mut slot) = self.threads.files.wait(party, until) else {
            let fault = Fault::new(Code::LimitExceeded, "too many files are open");
            return self.end(Done::Failed(fault));
        };
        loop {
            if self.files.is_deserted() {
                let fault = Fault::new(Code::ConnectionLost, "whoever asked is gone");
                return self.end(Done::Failed(fault));
            }
            match self.attempt(slot) {
                Attempt::Ended(done) => return self.end(done),
                Attempt::Short(fault) if Instant::now() >= until => {
                    return self.end(Done::Failed(fault));
                }
                Attempt::Short(_) => std::thread::sleep(SHORT_REST),
                Attempt::Held(fault) => return self.look_again(fault),
            }
            // The attempt has given the slot back; whoever has one now is as short.
            self.threads.files.queue(party);
            match self.threads.files.wait(party, until) {
                Some(next) => slot = next,
                None => return self.queue(),
            }
        }
    }

    fn attempt(&self, slot: Slot) -> Attempt {
        let working = self.reply.signs_of_life();
        let done = self.files.try_open(self.entry, &self.path, &self.how, slot, &working);
        match done {
            Done::Failed(fault) if fault.code == Code::LimitExceeded && are_short() => {
                Attempt::Short(fault)
            }
            Done::Failed(fault) if fault.code == Code::AlreadyRunning && self.files.is_served() => {
                Attempt::Held(fault)
            }
            done => Attempt::Ended(done),
        }
    }

    fn end(self, done: Done) {
        let (reply, done) = self.ended(done);
        reply.end(Ok(done));
    }

    fn ended(self, done: Done) -> (Reply, Done) {
        if let Done::Failed(_) = done {
            self.files.not_opened(self.entry);
        }
        (self.reply, done)
    }
}

enum Attempt {
    Ended(Done),
    /// There was no descriptor.
    Short(Fault),
    /// Another process holds the stage.
    Held(Fault),
}
