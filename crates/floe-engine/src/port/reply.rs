//! Where the ends of operations arrive, and the promise that each does.

use crate::buffer::Bell;
use crate::clock::{micros, waits};
use crate::files::Done;
use floe_proto::disk::{Took, Waited};
use floe_types::{ByteCount, Code, Fault, OpId};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// An operation's end, or (`Working`) a sign of life.
pub struct Ended {
    /// Which.
    pub op: OpId,
    /// How.
    pub done: Done,
    /// How long it took.
    pub took: Took,
}

/// Where ends arrive, from any thread; its bell wakes the one task that takes them.
#[derive(Default)]
pub struct Inbox {
    ended: Mutex<Vec<Ended>>,
    bell: Notify,
}

impl Inbox {
    /// Wakes the task, or lets it pass its next wait at once.
    pub fn ring(&self) {
        self.bell.notify_one();
    }

    /// Waits for the bell.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    pub(super) fn put(&self, ended: impl IntoIterator<Item = Ended>) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
        self.ring();
    }

    pub(super) fn take(&self, into: &mut Vec<Ended>) {
        into.append(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Bell for Inbox {
    fn ring(&self) {
        Self::ring(self);
    }
}

/// How often a long operation tells that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

/// The promise of one end. Dropped without one, it ends as failed.
pub(super) struct Reply {
    inbox: Arc<Inbox>,
    op: OpId,
    pub(super) submitted: Instant,
    queued: Option<Duration>,
    /// Of the thread that began, at that time.
    waits: Option<u64>,
    ended: Sent,
}

#[derive(PartialEq, Eq)]
enum Sent {
    Not,
    Yes,
}

impl Reply {
    pub(super) fn new(inbox: &Arc<Inbox>, op: OpId) -> Self {
        let submitted = Instant::now();
        Self {
            inbox: Arc::clone(inbox),
            op,
            submitted,
            queued: None,
            waits: None,
            ended: Sent::Not,
        }
    }

    pub(super) fn begin(&mut self) {
        self.queued = Some(self.submitted.elapsed());
        self.waits = waits();
    }

    /// What a long operation tells how far it is, now and then.
    pub(super) fn signs_of_life(&self) -> impl Fn(ByteCount, ByteCount) + Sync {
        let spoke = Mutex::new(Instant::now());
        move |done, of| {
            let mut spoke = spoke.lock().unwrap_or_else(PoisonError::into_inner);
            if spoke.elapsed() >= SIGN_OF_LIFE {
                *spoke = Instant::now();
                self.working(done, of);
            }
        }
    }

    fn working(&self, done: ByteCount, of: ByteCount) {
        let took = Took::default();
        self.inbox.put([Ended { op: self.op, done: Done::Working { done, of }, took }]);
    }

    pub(super) fn end(self, result: Result<Done, Fault>) {
        let inbox = Arc::clone(&self.inbox);
        inbox.put([self.into_end(result.unwrap_or_else(Done::Failed))]);
    }

    fn into_end(mut self, done: Done) -> Ended {
        self.ended = Sent::Yes;
        self.end_with(done)
    }

    fn end_with(&self, done: Done) -> Ended {
        let all = self.submitted.elapsed();
        let queued = self.queued.unwrap_or(all);
        // It ends on the thread that began it, or nothing is known.
        let waited = match self.waits {
            Some(before) if waits() == Some(before) => Waited::No,
            _ => Waited::Yes,
        };
        let busy = micros(all.saturating_sub(queued));
        let took = Took { queued: micros(queued), busy, waited };
        Ended { op: self.op, done, took }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.ended == Sent::Not {
            let failed = Done::Failed(Fault::new(Code::Io, "a disk thread failed"));
            self.inbox.put([self.end_with(failed)]);
        }
    }
}

/// Ends that wait to be told together. Dropped, also in a panic, they are told.
#[derive(Default)]
pub(super) struct Gathered {
    ended: Vec<Ended>,
    inbox: Option<Arc<Inbox>>,
    since: Option<Instant>,
}

impl Gathered {
    pub(super) fn add(&mut self, reply: Reply, done: Done) {
        self.inbox.get_or_insert_with(|| Arc::clone(&reply.inbox));
        self.ended.push(reply.into_end(done));
        if self.since.get_or_insert_with(Instant::now).elapsed() >= GATHER {
            self.tell();
        }
    }

    fn tell(&mut self) {
        self.since = None;
        if let (Some(inbox), false) = (&self.inbox, self.ended.is_empty()) {
            inbox.put(self.ended.drain(..));
        }
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        self.tell();
    }
}

/// How long an end may wait for others.
const GATHER: Duration = Duration::from_micros(200);
