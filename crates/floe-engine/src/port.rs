//! Disk operations: which thread runs each, and how their ends come back.
//!
//! Every stream has a port, and so has every session. Pieces are hashed here, on the lane, by the
//! port's `line`; a read that the page cache can serve is done at once, everything else is handed
//! to disk threads and comes back through the `Inbox`. The ends of reads and writes are given out
//! in the order of submission. Every operation ends exactly once, even if the thread that does it
//! panics.

mod reply; // ends, and where they arrive
mod opening; // entries that are opened, perhaps later

pub use reply::{Ended, Inbox};

use crate::buffer::{Bell, Blank, Piece, Turn};
use crate::clock::micros;
use crate::descriptors::Slot;
use crate::disk_threads::{DiskThreads, Job, Strand};
use crate::files::{Done, Files, Handle, Op, wrong_kind};
use crate::line::{Line, Reading, Writing};
use floe_proto::disk::{DiskOp, OpenHow, Took, Waited};
use floe_proto::frame::{RecogniseWish, Request, RootWish};
use floe_store::{Sink, Source};
use floe_types::{ByteCount, ChunkDigest, Code, EntryId, Fault, Micros, OpId, Range};
use opening::Opening;
use reply::{Gathered, Reply};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// The operations of one stream, or of a session.
pub struct Port {
    files: Arc<Files>,
    threads: DiskThreads,
    strand: Strand,
    hashing: Strand,
    inbox: Arc<Inbox>,
    bell: Arc<dyn Bell>,
    line: Line,
    arrived: Vec<Ended>,
    under_way: usize,
    /// Gathered until `submit` has taken the last.
    names: Vec<Work>,
    small: Vec<Work>,
    pace: Pace,
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

impl Port {
    /// A port whose ends arrive in `inbox`.
    #[must_use]
    pub fn new(files: Arc<Files>, threads: DiskThreads, inbox: Arc<Inbox>) -> Self {
        Self {
            strand: Strand::new(&threads.bulk, files.party()),
            hashing: Strand::of_long_jobs(&threads.hash, files.party()),
            files,
            threads,
            bell: Arc::clone(&inbox) as Arc<dyn Bell>,
            inbox,
            line: Line::default(),
            arrived: Vec::new(),
            under_way: 0,
            names: Vec::new(),
            small: Vec::new(),
            pace: Pace::default(),
            unbuffered: VecDeque::new(),
            turn: Turn::default(),
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
                self.files.read_late();
                self.read_in_turn(Unbuffered { op, source, piece, len });
            }
            Handle::Short(short) => match short.whole(piece) {
                Some(bytes) => self.settle(op, read_done(bytes), Took::default()),
                None => self.read_in_turn(Unbuffered { op, source: short, piece, len }),
            },
            Handle::Input(input) => {
                let into = self.files.pool().blank(len);
                let reply = Reply::new(&self.inbox, op);
                let answer = move |read: Result<Piece, Fault>| reply.end(read.map(read_done));
                input.read(piece.start(), into, Box::new(answer));
            }
            _ => return Err(wrong_kind(entry)),
        }
        Ok(())
    }

    fn read_in_turn(&mut self, read: Unbuffered) {
        self.unbuffered.push_back(read);
        self.begin_reads();
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
        if self.line.all_ended_before(op) {
            let started = Instant::now();
            if let Some(count) = source.read_cached(piece.start(), into.bytes_mut())? {
                let busy = micros(started.elapsed());
                let took = Took { queued: Micros::ZERO, busy, waited: Waited::No };
                self.settle(op, read_done(into.seal(count)), took);
                return Ok(());
            }
        }
        let reply = Reply::new(&self.inbox, op);
        self.strand.submit(Box::new(move || read_cold(reply, &*source, piece, into)));
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
                let strand = match bytes.bytes().len() {
                    ..SMALL_BYTES => self.strand.clone(),
                    _ => self.files.strand(entry, &self.threads.bulk)?,
                };
                self.write_on(&strand, op, sink, (piece, bytes), digest);
            }
            Handle::ShortSink(sink) => match sink.hold(piece.start(), bytes) {
                None => self.settle(op, Done::Wrote { digest }, Took::default()),
                Some(bytes) => {
                    let strand = self.strand.clone();
                    self.write_on(&strand, op, sink.stage(), (piece, bytes), digest);
                }
            },
            Handle::Output(output) => {
                output.hold(piece.start(), bytes)?;
                self.settle(op, Done::Wrote { digest }, Took::default());
            }
            Handle::Nowhere => self.settle(op, Done::Wrote { digest }, Took::default()),
            _ => return Err(wrong_kind(entry)),
        }
        Ok(())
    }

    fn write_on(
        &self,
        strand: &Strand,
        op: OpId,
        sink: Arc<dyn Sink>,
        (piece, bytes): (Range, Piece),
        digest: Option<ChunkDigest>,
    ) {
        let mut reply = Reply::new(&self.inbox, op);
        strand.submit(Box::new(move || {
            reply.begin();
            let written = sink.write_at(piece.start(), bytes.bytes());
            // Once the end is told nothing here may keep the stage or the memory.
            drop((bytes, sink));
            reply.end(written.map(|()| Done::Wrote { digest }));
        }));
    }

    /// Everything that moves no bytes.
    fn hand_over(&mut self, op: OpId, what: Op) {
        if let Some(done) = self.files.at_once(&what) {
            self.arrived.push(Ended { op, done, took: Took::default() });
            return;
        }
        let reply = Reply::new(&self.inbox, op);
        if let DiskOp::Record { entry, chunk, digest } = &what
            && let Ok(Handle::Output(output)) = self.files.handle(*entry)
        {
            let answer = move |end: Result<(), Fault>| reply.end(end.map(|()| Done::Recorded));
            return output.record(*chunk, digest, Box::new(answer));
        }
        let long = takes_long(&what);
        let (work, crew) = match what {
            DiskOp::Open { entry, path, how } => {
                let (files, threads) = (Arc::clone(&self.files), self.threads.clone());
                let opening = Opening { reply, files, threads, entry, path, how };
                // Here, in order: one that came later must not keep an earlier one waiting, which
                // has to be announced first.
                match self.threads.files.slot(self.files.party()) {
                    Some(slot) => (Work::Open(opening, slot), Crew::Names),
                    None => return opening.queue(),
                }
            }
            what => {
                let crew = match &what {
                    DiskOp::List { .. } | DiskOp::Apply { .. } | DiskOp::Discard { .. } => {
                        Crew::Names
                    }
                    DiskOp::Checkpoint { .. } | DiskOp::Commit { .. } => Crew::Sync,
                    _ => Crew::Strand,
                };
                (Work::Other(reply, what), crew)
            }
        };
        match crew {
            _ if long => self.hashing.submit(self.job(vec![work])),
            Crew::Names => self.names.push(work),
            Crew::Sync => self.threads.sync.submit_for(self.files.party(), self.job(vec![work])),
            Crew::Strand => self.small.push(work),
        }
    }

    /// Hands over what was gathered: a thread's wake-up costs as much as many a quick operation.
    fn send_off(&mut self) {
        let batch_len = self.pace.batch_len();
        while !self.names.is_empty() {
            let rest = self.names.split_off(self.names.len().min(batch_len));
            let batch = std::mem::replace(&mut self.names, rest);
            self.threads.names.submit_for(self.files.customer(), self.job(batch));
        }
        if !self.small.is_empty() {
            let batch = std::mem::take(&mut self.small);
            self.strand.submit(self.job(batch));
        }
    }

    fn job(&self, batch: Vec<Work>) -> Job {
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
        if !matches!(ended.done, Done::Committed(_) | Done::Signed(..) | Done::Checkpointed) {
            self.busy = Micros((self.busy.0 * 7 + ended.took.busy.0.min(SLOW.0 * 8)) / 8);
        }
    }

    fn batch_len(&self) -> usize {
        if self.busy < SLOW { BATCH_LEN } else { 1 }
    }
}

/// Shorter writes of many files share a wake-up; longer ones of one file wait for each other.
const SMALL_BYTES: usize = 64 << 10;
/// An operation that takes longer has a thread to itself.
const SLOW: Micros = Micros(100);
/// Quick operations of one job.
const BATCH_LEN: usize = 16;

/// Whether an operation reads a whole object, which may take hours, or measures, which takes
/// seconds.
fn takes_long(what: &Op) -> bool {
    match what {
        DiskOp::Apply { request: Request::Measure { .. } } => true,
        DiskOp::Apply { request: Request::Stat { root, .. } } => *root == RootWish::Computed,
        DiskOp::Open { how: OpenHow::Sink(wish), .. } => wish.recognise == RecogniseWish::ByContent,
        _ => false,
    }
}

/// Whether it is not done for somebody who is gone, or was shown out.
fn is_called_back(what: &Op) -> bool {
    let names = matches!(
        what,
        DiskOp::Apply {
            request: Request::List { .. }
                | Request::Remove { .. }
                | Request::Rename { .. }
                | Request::MakeDirectory { .. }
        }
    );
    names || takes_long(what)
}

/// What a thread is given.
enum Work {
    Open(Opening, Slot),
    Other(Reply, Op),
}

/// Who does it.
enum Crew {
    Names,
    Sync,
    Strand,
}

/// Does operations one after the other; their ends go out together, unless they take long.
fn perform(files: &Files, batch: Vec<Work>) {
    let mut ends = Gathered::default();
    for work in batch {
        match work {
            Work::Open(opening, slot) => {
                if let Some((reply, done)) = opening.begin(slot) {
                    ends.add(reply, done);
                }
            }
            Work::Other(reply, what) if files.is_deserted() && is_called_back(&what) => {
                let fault = Fault::new(Code::ConnectionLost, "whoever asked is gone");
                ends.add(reply, Done::Failed(fault));
            }
            Work::Other(mut reply, what) => {
                reply.begin();
                let done = files.perform(what, &reply.signs_of_life());
                ends.add(reply, done);
            }
        }
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
