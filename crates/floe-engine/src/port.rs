//! Disk operations: which thread runs each, and how their ends come back.
//!
//! Every stream has a port, and so has every session. Pieces are hashed here, on the lane, by the
//! port's `line`; a read that the page cache can serve is done at once, everything else is handed
//! to disk threads and comes back through the `Inbox`. The ends of reads and writes are given out
//! in the order of submission. Every operation ends exactly once, even if the thread that does it
//! panics.

use crate::buffer::{Blank, Piece};
use crate::clock::micros;
use crate::disk_threads::{DiskThreads, Job, Strand};
use crate::files::{Done, Files, Handle, Op, wrong_kind};
use crate::line::{Line, Reading, Writing};
use floe_proto::disk::{DiskOp, Took};
use floe_store::Source;
use floe_types::{ByteCount, ChunkDigest, Code, EntryId, Fault, Micros, OpId, Range};
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

    fn put(&self, ended: impl IntoIterator<Item = Ended>) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).extend(ended);
        self.ring();
    }

    fn take(&self, into: &mut Vec<Ended>) {
        into.append(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The operations of one stream, or of a session.
pub struct Port {
    files: Arc<Files>,
    threads: DiskThreads,
    strand: Strand,
    inbox: Arc<Inbox>,
    line: Line,
    arrived: Vec<Ended>,
    under_way: usize,
    /// Gathered until `submit` has taken the last.
    names: Vec<(Reply, Op)>,
    small: Vec<(Reply, Op)>,
    pace: Pace,
}

/// How often a long operation tells that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

impl Port {
    /// A port whose ends arrive in `inbox`.
    #[must_use]
    pub fn new(files: Arc<Files>, threads: DiskThreads, inbox: Arc<Inbox>) -> Self {
        Self {
            strand: Strand::new(&threads.bulk),
            files,
            threads,
            inbox,
            line: Line::default(),
            arrived: Vec::new(),
            under_way: 0,
            names: Vec::new(),
            small: Vec::new(),
            pace: Pace::default(),
        }
    }

    /// Whether every operation has ended and its end was taken.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// Begins operations. They may have ended when this returns: `take_ended` knows.
    pub fn submit(&mut self, ops: impl IntoIterator<Item = (OpId, Op)>) {
        for (op, what) in ops {
            self.begin(op, what);
        }
        self.send_off();
    }

    fn begin(&mut self, op: OpId, what: Op) {
        self.under_way += 1;
        match what {
            DiskOp::Read { entry, chunk, piece, ends, keep } => {
                self.line.read(op, Reading { chunk, piece, ends, keep });
                if let Err(fault) = self.read(op, entry, piece) {
                    self.settle(op, Done::Failed(fault), Took::default());
                }
            }
            DiskOp::Write { entry, chunk, piece, ends, bytes } => {
                let shown = Writing { chunk, at: piece.start(), ends, bytes: bytes.bytes() };
                let digest = self.line.write(op, shown);
                if let Err(fault) = digest.and_then(|d| self.write(op, entry, piece, bytes, d)) {
                    self.settle(op, Done::Failed(fault), Took::default());
                }
            }
            DiskOp::Finish { chunk, .. } => self.line.finish(op, chunk),
            other => self.hand_over(op, other),
        }
    }

    /// Takes what has ended, reads and writes in the order of submission.
    pub fn take_ended(&mut self, into: &mut Vec<Ended>) {
        let mut arrived = std::mem::take(&mut self.arrived);
        self.inbox.take(&mut arrived);
        for Ended { op, done, took } in arrived.drain(..) {
            if let Some((done, took)) = self.line.settle(op, done, took) {
                let ended = Ended { op, done, took };
                if !matches!(ended.done, Done::Working { .. }) {
                    self.under_way -= 1;
                    self.pace.note(&ended);
                }
                into.push(ended);
            }
        }
        self.arrived = arrived;
        while let Some((op, done, took)) = self.line.next_ended() {
            self.under_way -= 1;
            into.push(Ended { op, done, took });
        }
    }

    fn settle(&mut self, op: OpId, done: Done, took: Took) {
        // It stands in the line: nothing comes back.
        let _ = self.line.settle(op, done, took);
    }

    fn read(&mut self, op: OpId, entry: EntryId, piece: Range) -> Result<(), Fault> {
        let len = piece_len(piece)?;
        match self.files.handle(entry)? {
            Handle::Source(source) => {
                let mut into = self.files.pool().blank(len);
                // A read behind one that is with the disk would only wait for it.
                if self.line.all_ended_but_the_last() {
                    let started = Instant::now();
                    if let Some(count) = source.read_cached(piece.start(), into.bytes_mut())? {
                        let busy = micros(started.elapsed());
                        let took = Took { queued: Micros::ZERO, busy };
                        self.settle(op, read_done(into.seal(count)), took);
                        return Ok(());
                    }
                }
                let reply = Reply::new(&self.inbox, op);
                self.strand.submit(Box::new(move || read_cold(reply, &*source, piece, into)));
            }
            Handle::Input(input) => {
                let into = self.files.pool().blank(len);
                let reply = Reply::new(&self.inbox, op);
                let answer = move |read: Result<Piece, Fault>| reply.end(read.map(read_done));
                input.read(piece.start(), into, Box::new(answer));
            }
            Handle::Sink(_) | Handle::Output(_) => return Err(wrong_kind(entry)),
        }
        Ok(())
    }

    fn write(
        &mut self,
        op: OpId,
        entry: EntryId,
        piece: Range,
        bytes: Piece,
        digest: Option<ChunkDigest>,
    ) -> Result<(), Fault> {
        match self.files.handle(entry)? {
            Handle::Sink(sink) => {
                let reply = Reply::new(&self.inbox, op);
                self.strand.submit(Box::new(move || {
                    let mut reply = reply;
                    reply.begin();
                    let written = sink.write_at(piece.start(), bytes.bytes());
                    // Once the end is told nothing here may keep the stage or the memory.
                    drop((bytes, sink));
                    reply.end(written.map(|()| Done::Wrote { digest }));
                }));
            }
            Handle::Output(output) => {
                output.hold(piece.start(), bytes);
                self.settle(op, Done::Wrote { digest }, Took::default());
            }
            Handle::Source(_) | Handle::Input(_) => return Err(wrong_kind(entry)),
        }
        Ok(())
    }

    /// Everything that moves no bytes.
    fn hand_over(&mut self, op: OpId, what: Op) {
        let reply = Reply::new(&self.inbox, op);
        if let DiskOp::Record { entry, chunk, digest } = &what
            && let Ok(Handle::Output(output)) = self.files.handle(*entry)
        {
            let answer = move |end: Result<(), Fault>| reply.end(end.map(|()| Done::Recorded));
            return output.record(*chunk, digest, Box::new(answer));
        }
        match &what {
            DiskOp::Open { .. }
            | DiskOp::List { .. }
            | DiskOp::Apply { .. }
            | DiskOp::Discard { .. } => self.names.push((reply, what)),
            DiskOp::Checkpoint { .. } | DiskOp::Commit { .. } => {
                let files = Arc::clone(&self.files);
                self.threads.sync.submit(Box::new(move || perform(&files, [(reply, what)])));
            }
            _ => self.small.push((reply, what)),
        }
    }

    /// Hands over what was gathered: a thread's wake-up costs as much as many a quick operation.
    fn send_off(&mut self) {
        let batch_len = self.pace.batch_len();
        while !self.names.is_empty() {
            let rest = self.names.split_off(self.names.len().min(batch_len));
            let batch = std::mem::replace(&mut self.names, rest);
            self.threads.names.submit(self.job(batch));
        }
        if !self.small.is_empty() {
            let batch = std::mem::take(&mut self.small);
            self.strand.submit(self.job(batch));
        }
    }

    fn job(&self, batch: Vec<(Reply, Op)>) -> Job {
        let files = Arc::clone(&self.files);
        Box::new(move || perform(&files, batch))
    }
}

/// How long operations that move no bytes take: slow ones are spread over threads, quick ones share
/// one.
struct Pace {
    /// A moving average: each operation weighs an eighth.
    busy: Micros,
}

impl Default for Pace {
    fn default() -> Self {
        Self { busy: SLOW }
    }
}

impl Pace {
    fn note(&mut self, ended: &Ended) {
        // Syncs have threads of their own.
        if !matches!(ended.done, Done::Committed(_) | Done::Checkpointed) {
            self.busy = Micros((self.busy.0 * 7 + ended.took.busy.0.min(SLOW.0 * 8)) / 8);
        }
    }

    fn batch_len(&self) -> usize {
        if self.busy < SLOW { BATCH_LEN } else { 1 }
    }
}

/// An operation that takes longer has a thread to itself.
const SLOW: Micros = Micros(100);
/// Quick operations of one job.
const BATCH_LEN: usize = 16;

fn piece_len(piece: Range) -> Result<usize, Fault> {
    piece.len().to_len().ok_or_else(|| Fault::new(Code::LimitExceeded, "a piece beyond memory"))
}

fn read_done(piece: Piece) -> Done {
    let len = ByteCount::of_len(piece.bytes().len());
    Done::Read { bytes: Some(piece), len, digest: None }
}

fn read_cold(mut reply: Reply, source: &dyn Source, piece: Range, mut into: Blank) {
    reply.begin();
    let read = source.read_at(piece.start(), into.bytes_mut());
    reply.end(read.map(|count| read_done(into.seal(count))));
}

/// Does operations one after the other; their ends go out together, unless they take long.
fn perform(files: &Files, batch: impl IntoIterator<Item = (Reply, Op)>) {
    let mut ends = Gathered::default();
    for (mut reply, what) in batch {
        reply.begin();
        let spoke = Mutex::new(Instant::now());
        let working = |done: ByteCount, of: ByteCount| {
            let mut spoke = spoke.lock().unwrap_or_else(PoisonError::into_inner);
            if spoke.elapsed() >= SIGN_OF_LIFE {
                *spoke = Instant::now();
                reply.working(done, of);
            }
        };
        let done = files.perform(what, &working);
        ends.add(reply, done);
    }
}

/// Ends that wait to be told together. Dropped, also in a panic, they are told.
#[derive(Default)]
struct Gathered {
    ended: Vec<Ended>,
    inbox: Option<Arc<Inbox>>,
    since: Option<Instant>,
}

impl Gathered {
    fn add(&mut self, reply: Reply, done: Done) {
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

/// The promise of one end. Dropped without one, it ends as failed.
struct Reply {
    inbox: Arc<Inbox>,
    op: OpId,
    submitted: Instant,
    queued: Option<Duration>,
    ended: Sent,
}

#[derive(PartialEq, Eq)]
enum Sent {
    Not,
    Yes,
}

impl Reply {
    fn new(inbox: &Arc<Inbox>, op: OpId) -> Self {
        let submitted = Instant::now();
        Self { inbox: Arc::clone(inbox), op, submitted, queued: None, ended: Sent::Not }
    }

    fn begin(&mut self) {
        self.queued = Some(self.submitted.elapsed());
    }

    fn working(&self, done: ByteCount, of: ByteCount) {
        let took = Took::default();
        self.inbox.put([Ended { op: self.op, done: Done::Working { done, of }, took }]);
    }

    fn end(self, result: Result<Done, Fault>) {
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
        let took = Took { queued: micros(queued), busy: micros(all.saturating_sub(queued)) };
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
