//! Disk operations: which thread runs each, and how their ends come back.
//!
//! Every stream has a port, and so has every session. Pieces are hashed here, on the lane, in the
//! order they were submitted, on the very bytes that are sent or written; a read that the page
//! cache can serve is done at once, everything else is handed to disk threads and comes back
//! through the `Inbox`. The ends of reads and writes are given out in the order of submission.
//! Every operation ends exactly once, even if the thread that does it panics.

mod opening; // entries that are opened, perhaps later

use crate::buffer::{Bell, Blank, Piece, Turn};
use crate::clock::micros;
use crate::disk_threads::{DiskThreads, Job, Strand};
use crate::files::{Done, Files, Handle, Op, wrong_kind};
use floe_proto::disk::{DiskOp, Ends, Keep, OpenHow, Took};
use floe_proto::frame::{RecogniseWish, Request, RootWish};
use floe_store::Source;
use floe_types::digest::ChunkHasher;
use floe_types::{ByteCount, ChunkDigest, Code, EntryId, Fault, Micros, Offset, OpId, Range};
use opening::Opening;
use std::collections::VecDeque;
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

    fn put(&self, ended: Ended) {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).push(ended);
        self.ring();
    }

    fn take(&self, into: &mut Vec<Ended>) {
        into.append(&mut self.ended.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Bell for Inbox {
    fn ring(&self) {
        Self::ring(self);
    }
}

/// The operations of one stream, or of a session.
pub struct Port {
    files: Arc<Files>,
    threads: DiskThreads,
    strand: Strand,
    hashing: Strand,
    inbox: Arc<Inbox>,
    /// What is read is sent, what is written was received: a stream may do both at once.
    reading: Hashing,
    writing: Hashing,
    bell: Arc<dyn Bell>,
    line: VecDeque<Slot>,
    arrived: Vec<Ended>,
    under_way: usize,
    /// Reads that wait for a buffer, in order.
    unbuffered: VecDeque<Unbuffered>,
    turn: Turn,
}

/// A read that has no buffer yet.
struct Unbuffered {
    op: OpId,
    source: Arc<dyn Source>,
    piece: Range,
    len: usize,
}

/// The hash of the chunk that is read, or written.
#[derive(Default)]
struct Hashing {
    chunk: Option<(Offset, ChunkHasher)>,
}

/// A read or a write, in the order of submission.
struct Slot {
    op: OpId,
    kind: Kind,
    ended: Option<(Done, Took)>,
}

#[derive(Clone, Copy)]
enum Kind {
    Read { chunk: Offset, piece: Range, ends: Ends, keep: Keep },
    Write,
}

/// How often a long operation tells that it is alive.
const SIGN_OF_LIFE: Duration = Duration::from_millis(500);

impl Port {
    /// A port whose ends arrive in `inbox`.
    #[must_use]
    pub fn new(files: Arc<Files>, threads: DiskThreads, inbox: Arc<Inbox>) -> Self {
        Self {
            strand: Strand::new(&threads.bulk),
            hashing: Strand::of_long_jobs(&threads.hash),
            files,
            threads,
            bell: Arc::clone(&inbox) as Arc<dyn Bell>,
            inbox,
            reading: Hashing::default(),
            writing: Hashing::default(),
            line: VecDeque::new(),
            arrived: Vec::new(),
            under_way: 0,
            unbuffered: VecDeque::new(),
            turn: Turn::default(),
        }
    }

    /// Whether every operation has ended and its end was taken.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.under_way == 0
    }

    /// Begins an operation. It may have ended when this returns: `take_ended` knows.
    pub fn submit(&mut self, op: OpId, what: Op) {
        self.under_way += 1;
        match what {
            DiskOp::Read { entry, chunk, piece, ends, keep } => {
                let kind = Kind::Read { chunk, piece, ends, keep };
                self.line.push_back(Slot { op, kind, ended: None });
                if let Err(fault) = self.read(op, entry, piece) {
                    self.settle(op, Done::Failed(fault), Took::default());
                }
            }
            DiskOp::Write { entry, chunk, piece, ends, bytes } => {
                self.line.push_back(Slot { op, kind: Kind::Write, ended: None });
                let hashed = self.writing.hash(chunk, piece.start(), bytes.bytes());
                let digest = hashed.map(|()| self.writing.digest(ends));
                if let Err(fault) = digest.and_then(|d| self.write(op, entry, piece, bytes, d)) {
                    self.settle(op, Done::Failed(fault), Took::default());
                }
            }
            DiskOp::Finish { chunk, .. } => {
                let digest = self.writing.end_of(chunk);
                let ended = Some((Done::Wrote { digest }, Took::default()));
                self.line.push_back(Slot { op, kind: Kind::Write, ended });
            }
            other => self.hand_over(op, other),
        }
    }

    /// Ends what has not begun, for want of a buffer: nobody wants it any more.
    pub fn give_up(&mut self) {
        self.turn = Turn::default();
        for Unbuffered { op, .. } in std::mem::take(&mut self.unbuffered) {
            let fault = Fault::new(Code::ConnectionLost, "its stream is gone");
            self.settle(op, Done::Failed(fault), Took::default());
        }
    }

    /// Takes what has ended, reads and writes in the order of submission.
    pub fn take_ended(&mut self, into: &mut Vec<Ended>) {
        self.begin_reads();
        let mut arrived = std::mem::take(&mut self.arrived);
        self.inbox.take(&mut arrived);
        for ended in arrived.drain(..) {
            match self.line.iter_mut().find(|slot| slot.op == ended.op) {
                Some(slot) => slot.ended = Some((ended.done, ended.took)),
                None => {
                    if !matches!(ended.done, Done::Working { .. }) {
                        self.under_way -= 1;
                    }
                    into.push(ended);
                }
            }
        }
        self.arrived = arrived;
        while self.line.front().is_some_and(|slot| slot.ended.is_some()) {
            let Some(Slot { op, kind, ended: Some((done, took)) }) = self.line.pop_front() else {
                break;
            };
            self.under_way -= 1;
            into.push(Ended { op, done: self.arrive(kind, done), took });
        }
    }

    /// What is left to do with an end whose turn has come: bytes that were read are hashed.
    fn arrive(&mut self, kind: Kind, done: Done) -> Done {
        match (kind, done) {
            (Kind::Read { chunk, piece, ends, keep }, Done::Read { bytes, len, .. }) => {
                let shown = bytes.as_ref().map_or(&[][..], Piece::bytes);
                if let Err(fault) = self.reading.hash(chunk, piece.start(), shown) {
                    return Done::Failed(fault);
                }
                let ends = if len < piece.len() { Ends::Chunk } else { ends };
                let digest = self.reading.digest(ends);
                let kept = keep == Keep::Bytes && len > ByteCount::ZERO;
                Done::Read { bytes: bytes.filter(|_| kept), len, digest }
            }
            (Kind::Read { .. }, failed) => {
                self.reading = Hashing::default();
                failed
            }
            (Kind::Write, done) => done,
        }
    }

    fn settle(&mut self, op: OpId, done: Done, took: Took) {
        if let Some(slot) = self.line.iter_mut().find(|slot| slot.op == op) {
            slot.ended = Some((done, took));
        }
    }

    fn read(&mut self, op: OpId, entry: EntryId, piece: Range) -> Result<(), Fault> {
        let len = piece_len(piece)?;
        match self.files.handle(entry)? {
            Handle::Source(source) => {
                self.unbuffered.push_back(Unbuffered { op, source, piece, len });
                self.begin_reads();
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

    /// Begins the reads that there are buffers for, in order.
    fn begin_reads(&mut self) {
        while let Some(first) = self.unbuffered.front() {
            let len = first.len;
            let into = self.files.pool().blank_in_turn(len, &mut self.turn, &self.bell);
            let Some(into) = into else { return };
            let Some(next) = self.unbuffered.pop_front() else { return };
            let op = next.op;
            if let Err(fault) = self.read_into(next, into) {
                self.settle(op, Done::Failed(fault), Took::default());
            }
        }
    }

    fn read_into(&mut self, read: Unbuffered, mut into: Blank) -> Result<(), Fault> {
        let Unbuffered { op, source, piece, .. } = read;
        // A read behind one that is with the disk would only wait for it.
        if self.all_ended_before(op) {
            let started = Instant::now();
            if let Some(count) = source.read_cached(piece.start(), into.bytes_mut())? {
                let took = Took { queued: Micros::ZERO, busy: micros(started.elapsed()) };
                self.settle(op, read_done(into.seal(count)), took);
                return Ok(());
            }
        }
        let reply = Reply::new(&self.inbox, op);
        self.strand.submit(Box::new(move || read_cold(reply, &*source, piece, into)));
        Ok(())
    }

    fn all_ended_before(&self, op: OpId) -> bool {
        self.line.iter().take_while(|slot| slot.op != op).all(|slot| slot.ended.is_some())
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
        enum Crew {
            Names,
            Sync,
            Hash,
            Strand,
        }
        let crew = match &what {
            what if hashes_an_object(what) => Crew::Hash,
            DiskOp::Open { .. }
            | DiskOp::List { .. }
            | DiskOp::Apply { .. }
            | DiskOp::Discard { .. } => Crew::Names,
            DiskOp::Checkpoint { .. } | DiskOp::Commit { .. } => Crew::Sync,
            _ => Crew::Strand,
        };
        let files = Arc::clone(&self.files);
        let threads = self.threads.clone();
        let job: Job = Box::new(move || match what {
            DiskOp::Open { entry, path, how } => {
                Opening { reply, files, threads, entry, path, how }.begin();
            }
            what => perform(reply, &files, what),
        });
        match crew {
            Crew::Names => self.threads.names.submit(job),
            Crew::Sync => self.threads.sync.submit(job),
            Crew::Hash => self.hashing.submit(job),
            Crew::Strand => self.strand.submit(job),
        }
    }
}

impl Hashing {
    fn hash(&mut self, chunk: Offset, at: Offset, bytes: &[u8]) -> Result<(), Fault> {
        if at == chunk {
            self.chunk = Some((chunk, ChunkHasher::new(chunk)));
        }
        match &mut self.chunk {
            Some((start, hasher)) if *start == chunk && chunk.plus(hasher.len()) == at => {
                hasher.update(bytes);
                Ok(())
            }
            // Bytes past the object's end: nothing to hash, wherever they would stand.
            _ if bytes.is_empty() => Ok(()),
            _ => Err(Fault::new(Code::Other, format!("hash the piece at {at} out of order"))),
        }
    }

    fn digest(&self, ends: Ends) -> Option<ChunkDigest> {
        match ends {
            Ends::More => None,
            Ends::Chunk => self.chunk.as_ref().and_then(|(_, hasher)| hasher.finish()),
        }
    }

    /// The digest of a chunk that ends where it is.
    fn end_of(&self, chunk: Offset) -> Option<ChunkDigest> {
        let (start, hasher) = self.chunk.as_ref()?;
        (*start == chunk).then(|| hasher.finish()).flatten()
    }
}

/// Whether an operation reads a whole object, which may take hours.
fn hashes_an_object(what: &Op) -> bool {
    match what {
        DiskOp::Apply { request: Request::Stat { root, .. } } => *root == RootWish::Computed,
        DiskOp::Open { how: OpenHow::Sink(wish), .. } => wish.recognise == RecogniseWish::ByContent,
        _ => false,
    }
}

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

fn perform(mut reply: Reply, files: &Files, what: Op) {
    if files.is_deserted() && hashes_an_object(&what) {
        let fault = Fault::new(Code::ConnectionLost, "whoever asked is gone");
        return reply.end(Err(fault));
    }
    reply.begin();
    let done = files.perform(what, &reply.signs_of_life());
    reply.end(Ok(done));
}

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

    /// What a long operation tells how far it is, now and then.
    fn signs_of_life(&self) -> impl Fn(ByteCount, ByteCount) + Sync {
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
        self.inbox.put(Ended { op: self.op, done: Done::Working { done, of }, took });
    }

    fn end(mut self, result: Result<Done, Fault>) {
        self.send(result.unwrap_or_else(Done::Failed));
    }

    fn send(&mut self, done: Done) {
        self.ended = Sent::Yes;
        let all = self.submitted.elapsed();
        let queued = self.queued.unwrap_or(all);
        let took = Took { queued: micros(queued), busy: micros(all.saturating_sub(queued)) };
        self.inbox.put(Ended { op: self.op, done, took });
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.ended == Sent::Not {
            self.send(Done::Failed(Fault::new(Code::Io, "a disk thread failed")));
        }
    }
}
