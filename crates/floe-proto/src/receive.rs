//! The receiving half of a transfer: it opens, says what it wants, writes, verifies, records,
//! commits.
//!
//! ```text
//!  entry: Waiting -> Opening -> Open -> Committing -> gone          (file)
//!         Waiting -> Committing -> gone                             (link, directory's end)
//!         any -> Ending -> gone                                     (failed, replaced, stopped)
//! ```
//! Nothing is acknowledged before it is recorded, nothing committed before its root agrees, and a
//! commit waits until no other operation of its entry is under way.

mod coarse; // a list of what is held, short enough to be told
mod checkpoint; // when what is recorded is made durable
mod reach; // where chunks may be
mod entry; // one entry: announced, opened, wanted
mod replacing; // one in the place of another
mod held; // how many ranges are held
mod directory; // directories: made first, ended last
mod carried; // the chunk of each stream, and how much of it was heard
mod chunk; // one chunk: header, seal, record
mod over; // how it ends
mod piece; // its pieces: let in, written
mod hole; // one that has none
mod last; // the last of an entry
mod commit; // batches, and what follows from them

use crate::bucket::Bucket;
use crate::causes::Cause;
use crate::command::{Config, Event, Holes, OnFailure, Summary, TransferOptions, Violation};
use crate::disk::{DiskDone, Opened};
use crate::entries::Entries;
use crate::frame::{EntryBody, Failed, Frame};
use crate::io::{Io, ReceiveOp};
use crate::send::outcome_of;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use carried::Carried;
use chunk::Chunk;
use commit::Batch;
use directory::Dir;
use entry::{LastWish, RecvEntry, Stage, Word};
use floe_types::{
    ByteCount, Code, EntryCount, EntryId, EntryIndex, Fault, Limits, ObjectPath, Seq, StreamId,
    Time, TransferId,
};

/// What a handler of a peer's frame answers.
pub(crate) type Heard = Result<(), Violation>;

pub(crate) const fn violation(what: &'static str) -> Heard {
    Err(Violation { what })
}

/// The receiving half of one transfer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Receiver {
    id: TransferId,
    base: ObjectPath,
    options: TransferOptions,
    replacing: Replacing,
    limits: Limits,
    piece: ByteCount,
    holes: Holes,
    entries: Entries<RecvEntry>,
    dirs: BTreeMap<ObjectPath, Dir>,
    /// What their paths count of what the session may have announced.
    dirs_bytes: usize,
    /// Files that wait until fewer objects are open.
    queue: VecDeque<EntryIndex>,
    /// By an entry that ends: the one that replaces it, and begins once it is gone.
    behind: BTreeMap<EntryIndex, EntryIndex>,
    chunks: BTreeMap<Seq, Chunk>,
    /// Holes that wait until nothing else is written in their place, and what was seen there.
    holes_due: BTreeMap<Seq, Option<Seq>>,
    /// The chunk that each stream carries now.
    current: BTreeMap<StreamId, Carried>,
    batch: Batch,
    bucket: Option<Bucket>,
    /// Bytes that came and are not recorded (or, without a journal, not committed).
    in_flight: ByteCount,
    announced: u32,
    last_index: Option<EntryIndex>,
    ending: Ending,
    first_fault: Option<Fault>,
    /// The root of the tree cannot be made.
    unplaced: Option<Fault>,
    summary: Summary,
}

/// Whether the ticket lets this end replace what stands there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Replacing {
    Allowed,
    Denied,
    /// Nor is the peer to learn what stands there: a name that is taken has one answer.
    Unseen,
}

impl Replacing {
    /// Whether a fault is told as one of replacing what stands.
    const fn hides(self, code: Code) -> bool {
        match self {
            Self::Allowed => false,
            Self::Denied => matches!(code, Code::Exists),
            Self::Unseen => matches!(
                code,
                Code::Exists | Code::IsDirectory | Code::NotDirectory | Code::NotRegular
            ),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Ending {
    Running,
    /// COMPLETE was heard.
    Complete,
    /// COMPLETED was said.
    Completed,
    Stopped(Fault),
}

impl Receiver {
    pub(crate) fn new(
        id: TransferId,
        base: ObjectPath,
        options: TransferOptions,
        replacing: Replacing,
        config: &Config,
        now: Time,
    ) -> Self {
        let bucket = options.rate.map(|rate| Bucket::new(rate, now));
        Self {
            id,
            base,
            options,
            replacing,
            limits: config.limits.clone(),
            piece: config.piece_bytes,
            holes: config.holes,
            entries: Entries::new(),
            dirs: BTreeMap::new(),
            dirs_bytes: 0,
            queue: VecDeque::new(),
            behind: BTreeMap::new(),
            chunks: BTreeMap::new(),
            holes_due: BTreeMap::new(),
            current: BTreeMap::new(),
            batch: Batch::default(),
            bucket,
            in_flight: ByteCount::ZERO,
            announced: 0,
            last_index: None,
            ending: Ending::Running,
            first_fault: None,
            unplaced: None,
            summary: Summary::default(),
        }
    }

    /// The server granted a window.
    pub(crate) fn handle_opened(&mut self, window: ByteCount) {
        self.options.window = self.options.window.min(window);
    }

    fn entry_id(&self, index: EntryIndex) -> EntryId {
        EntryId { transfer: self.id, index }
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    pub(crate) fn bucket_mut(&mut self) -> &mut Option<Bucket> {
        &mut self.bucket
    }

    pub(crate) const fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// Ends early; what is staged is made durable first.
    pub(crate) fn stop_durably<P: Clone>(&mut self, fault: Fault, io: &mut Io<P>) {
        self.stop(fault, LastWish::Checkpoint, io);
    }

    /// Ends early; what is staged is left as it is.
    pub(crate) fn stop_at_once<P: Clone>(&mut self, fault: Fault, io: &mut Io<P>) {
        self.stop(fault, LastWish::Release, io);
    }

    /// What a stream that brings data to this half waits for.
    pub(crate) fn cause<P>(&self, stream: StreamId, io: &Io<P>, now: Time) -> Cause {
        if self.is_on(stream) && self.data_room(stream, io, now).0 == 0 {
            let writing = io.pipes.get(&stream).is_some_and(|pipe| pipe.writing.0 > 0);
            return match (writing, self.bucket.as_ref().is_some_and(|bucket| !bucket.is_open(now)))
            {
                (_, true) => Cause::Limiter,
                (true, false) if io.buffered < io.buffers_max => Cause::SinkDisk,
                (true, false) => Cause::Memory,
                (false, false) => Cause::SinkDisk,
            };
        }
        if self.batch.is_quiet() && self.entries.is_empty() {
            return Cause::Idle;
        }
        if self.nothing_else() { Cause::Sync } else { Cause::Starved }
    }

    /// Bytes announced and not yet held: whether more streams would have work.
    pub(crate) fn backlog(&self) -> ByteCount {
        self.summary.bytes_total.minus(self.summary.bytes_stored)
    }

    /// The end of one of this half's operations.
    pub(crate) fn handle_disk<P: Clone>(
        &mut self,
        op: ReceiveOp,
        done: DiskDone<P>,
        io: &mut Io<P>,
        now: Time,
    ) {
        if let Some(index) = entry_of(op)
            && let Some(entry) = self.entries.lend(&index)
        {
            entry.ops -= 1;
        }
        match (op, done) {
            (ReceiveOp::Open(index), DiskDone::Opened(Opened::Sink { have, basis, finished })) => {
                self.sink_opened(index, have, basis, finished, io, now);
            }
            (ReceiveOp::Open(index), DiskDone::Opened(Opened::Directory(standing))) => {
                self.directory_made(index, standing, io)
            }
            (ReceiveOp::Open(index), DiskDone::Failed(fault)) => self.open_failed(index, fault, io),
            (ReceiveOp::Write(index, seq, stream, cost), done) => {
                piece::give_back(stream, cost, io);
                self.write_ended(index, seq, done, io)
            }
            (ReceiveOp::Record(index, seq), DiskDone::Recorded) => {
                self.recorded(index, seq, io, now)
            }
            (ReceiveOp::Forget(index, range), DiskDone::Forgotten) => {
                if let Some(entry) = self.entries.lend(&index) {
                    entry.forgetting.remove(range);
                }
                io.wake_streams();
            }
            (ReceiveOp::Checkpoint(index), DiskDone::Checkpointed) => {
                if let Some(entry) = self.entries.lend(&index) {
                    entry.checkpoint.ended(now);
                }
            }
            (ReceiveOp::Commit(batch), done) => self.commit_ended(batch, done, io),
            (ReceiveOp::Discard(index) | ReceiveOp::Release(index), _) => self.gone(index, io),
            (
                ReceiveOp::Record(index, _)
                | ReceiveOp::Forget(index, _)
                | ReceiveOp::Checkpoint(index),
                DiskDone::Failed(fault),
            ) => self.fail(index, fault, io),
            (op, _) => {
                if let Some(index) = entry_of(op) {
                    self.fail(
                        index,
                        Fault::new(Code::Other, "the disk answered another question"),
                        io,
                    );
                }
            }
        }
        if let Some(index) = entry_of(op) {
            self.try_finish(index, io, now);
            self.release_if_quiet(index, io);
        }
        self.settle(io, now);
    }

    /// Flushes a batch that is due, and says COMPLETED when all is ended.
    pub(crate) fn settle<P: Clone>(&mut self, io: &mut Io<P>, now: Time) {
        self.begin_holes(io);
        self.flush_if_due(io, now);
        if self.ending == Ending::Complete && self.entries.is_empty() {
            self.ending = Ending::Completed;
            io.say(Frame::Completed(self.id));
        }
    }

    /// An entry fails here: the peer is told, its stage is kept.
    fn fail<P: Clone>(&mut self, index: EntryIndex, fault: Fault, io: &mut Io<P>) {
        self.fail_and(index, fault, LastWish::Release, io);
    }

    fn fail_and<P: Clone>(
        &mut self,
        index: EntryIndex,
        fault: Fault,
        wish: LastWish,
        io: &mut Io<P>,
    ) {
        let Some(entry) = self.entries.get(&index) else { return };
        if entry.stage == Stage::Ending {
            return;
        }
        if entry.word == Word::None {
            return self.end_entry(index, wish, io);
        }
        let path = entry.path.clone();
        let fault = self.as_told(&path, fault);
        let id = self.entry_id(index);
        io.say(Frame::Failed(Failed { entry: id, path: path.clone(), fault: fault.clone() }));
        // What lies in a directory that could not be made is no failure of its own.
        let follows = self.is_unplaced(&path);
        self.end_entry(index, wish, io);
        if !follows {
            self.count_failure(id, path, fault, io);
        }
    }

    /// A fault as the peer may know it.
    fn as_told(&self, path: &ObjectPath, fault: Fault) -> Fault {
        if !self.replacing.hides(fault.code) {
            return fault;
        }
        let full = self.base.join_path(path).unwrap_or_else(|_| path.clone());
        Fault::new(Code::NotAllowed, alloc::format!("overwrite {full:?}"))
    }

    fn count_failure<P: Clone>(
        &mut self,
        entry: EntryId,
        path: ObjectPath,
        fault: Fault,
        io: &mut Io<P>,
    ) {
        self.summary.entries_failed = EntryCount(self.summary.entries_failed.0 + 1);
        self.first_fault.get_or_insert_with(|| fault.clone());
        io.events.push_back(Event::EntryFailed { entry, path, fault: fault.clone() });
        if self.options.on_failure == OnFailure::Stop {
            io.say(Frame::Cancel(self.id, fault.clone()));
            self.stop(fault, LastWish::Checkpoint, io);
        }
    }

    /// The sender says that an entry failed, or passed one over.
    pub(crate) fn handle_failed<P: Clone>(
        &mut self,
        failed: Failed,
        io: &mut Io<P>,
        now: Time,
    ) -> Heard {
        let index = failed.entry.index;
        let known = self.entries.get(&index);
        let passed_over = match failed.fault.code {
            Code::NotRegular => !failed.path.is_root(),
            // A name in that directory, which no path can say.
            Code::BadPath => self.dirs.contains_key(&failed.path),
            _ => false,
        };
        if passed_over && known.is_none() {
            self.summary.entries_skipped.0 += 1;
            io.events.push_back(Event::EntrySkipped { path: failed.path, fault: failed.fault });
            return Ok(());
        }
        // It would be forgotten while it is being made.
        if known.is_some_and(|entry| matches!(entry.body, EntryBody::DirectoryEnd { .. })) {
            return violation("the end of a directory failed at its sender");
        }
        if known.is_some_and(|entry| entry.stage == Stage::Ending) {
            return Ok(());
        }
        let path = known.map_or(failed.path, |entry| entry.path.clone());
        // A directory that fails at the sender (it cannot be listed) ends with its end all the
        // same: until then it is made, and what is in it goes on.
        if known.is_none_or(|entry| !matches!(entry.body, EntryBody::Directory)) {
            self.end_entry(index, LastWish::Checkpoint, io);
        }
        self.count_failure(failed.entry, path, failed.fault, io);
        self.settle(io, now);
        Ok(())
    }

    pub(crate) fn handle_complete<P: Clone>(
        &mut self,
        count: EntryCount,
        io: &mut Io<P>,
        now: Time,
    ) -> Heard {
        if self.ending != Ending::Running {
            return if self.is_stopped() { Ok(()) } else { violation("COMPLETE twice") };
        }
        if count.0 != self.announced {
            return violation("COMPLETE with another count of entries");
        }
        let failed = self.summary.entries_failed.0 + self.summary.entries_skipped.0;
        if self.announced == 0 && failed == 0 {
            return violation("COMPLETE of nothing");
        }
        self.summary.walk = crate::command::Walk::Ended;
        self.ending = Ending::Complete;
        self.settle(io, now);
        Ok(())
    }

    /// The transfer ends early. What is staged stays; with `Checkpoint` it is made durable first.
    pub(crate) fn stop<P: Clone>(&mut self, fault: Fault, wish: LastWish, io: &mut Io<P>) {
        if self.is_stopped() {
            return;
        }
        self.ending = Ending::Stopped(fault);
        self.queue.clear();
        let indices: Vec<_> = self.entries.keys().collect();
        for index in indices {
            self.end_entry(index, wish, io);
        }
        self.batch.clear();
    }

    const fn is_stopped(&self) -> bool {
        matches!(self.ending, Ending::Stopped(_))
    }

    /// A stream is gone: what it carried is abandoned; what is being recorded goes on.
    pub(crate) fn handle_stream_lost<P: Clone>(&mut self, stream: StreamId, io: &mut Io<P>) {
        self.current.remove(&stream);
        self.abandon_stream(stream);
        self.begin_holes(io);
        io.wake_streams();
    }

    pub(crate) fn outcome(&self) -> Option<Result<(), Fault>> {
        if !self.entries.is_empty() || !self.batch.is_quiet() {
            return None;
        }
        match &self.ending {
            Ending::Running | Ending::Complete => None,
            Ending::Stopped(fault) => Some(Err(fault.clone())),
            Ending::Completed => {
                let unplaced = self.unplaced.clone().map(Err);
                let outcome = || outcome_of(&self.summary, self.first_fault.as_ref());
                Some(unplaced.unwrap_or_else(outcome))
            }
        }
    }

    /// When something falls due by itself: a batch, a checkpoint.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        let timed = self.entries.tally().timed > 0;
        let entries = timed.then(|| self.entries.values()).into_iter().flatten();
        let checkpoint = entries.filter_map(|entry| entry.checkpoint_due(&self.limits)).min();
        [self.batch.due(&self.limits), checkpoint].into_iter().flatten().min()
    }

    pub(crate) fn handle_timeout<P: Clone>(&mut self, io: &mut Io<P>, now: Time) {
        let due: Vec<_> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.checkpoint_due(&self.limits).is_some_and(|due| due <= now))
            .map(|(index, _)| index)
            .collect();
        for index in due {
            self.checkpoint(index, io);
        }
        self.settle(io, now);
    }
}

const fn entry_of(op: ReceiveOp) -> Option<EntryIndex> {
    match op {
        ReceiveOp::Open(index)
        | ReceiveOp::Write(index, ..)
        | ReceiveOp::Record(index, _)
        | ReceiveOp::Forget(index, _)
        | ReceiveOp::Checkpoint(index)
        | ReceiveOp::Discard(index)
        | ReceiveOp::Release(index) => Some(index),
        ReceiveOp::Commit(_) => None,
    }
}
