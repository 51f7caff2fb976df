//! The sending half of a transfer: it walks, announces, reads, hashes, sends, sends again, and says
//! when it is whole.
//!
//! ```text
//!  entry: Opening -> Announced -> Sending -> Checking -> Done -> Ending -> gone
//!             |          |           |           |         ^
//!             +----------+-----------+-----------+---------+--> failed: FAILED, Ending
//! ```
//! A source that changed while it was sent restarts once under a new index (`replaces`), then
//! fails. Everything an entry still has under way with a disk is awaited before its handle is
//! released.

mod claims; // what the receiver says it holds of them, compared
mod fill; // sources that cannot be read twice
mod entry; // one entry, from open to commit
mod flights; // chunks under way, by number and by entry
mod chunk; // one chunk on one stream: read, header, data, seal
mod hole; // one that holds nothing
mod lost; // chunks of a stream that is gone
mod dropped; // chunks of entries that ended here, and the window
mod dirs; // directories begun and not ended, and those that could not be made
mod tree; // what is walked: opened, announced, ended
mod peer; // what the receiver says

use crate::bucket::Bucket;
use crate::command::{Config, Event, Holes, OnFailure, Summary, TransferOptions};
use crate::disk::{DiskDone, DiskOp, Lane, Opened};
use crate::entries::Entries;
use crate::frame::{EntryBody, Failed, Frame, Packing, Priority};
use crate::io::{Io, Owner, SendOp};
use crate::walk::{OpenedChild, Walk};
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use chunk::Task;
use dirs::SentDirs;
use dropped::Dropped;
use entry::{SendEntry, Stage};
use flights::Flights;
use floe_types::{
    ByteCount, Code, EntryCount, EntryId, EntryIndex, Fault, Limits, ObjectPath, Rate, Seq,
    StreamId, Time, TransferId,
};

/// The sending half of one transfer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Sender<P> {
    id: TransferId,
    base: ObjectPath,
    options: TransferOptions,
    limits: Limits,
    /// The largest piece both ends take.
    piece: ByteCount,
    holes: Holes,
    listing: Listing,
    walk: Walk,
    entries: Entries<SendEntry<P>>,
    dirs: SentDirs,
    /// Entries that streams can pull from.
    ready: BTreeSet<EntryIndex>,
    /// The entry that cannot be read twice; standard input is a transfer of its own.
    once: Option<EntryIndex>,
    tasks: BTreeMap<StreamId, Task<P>>,
    next_task: u64,
    flights: Flights<P>,
    /// Streams that are gone, and the PING whose answer shows that the peer is not.
    gone: BTreeMap<StreamId, u64>,
    in_flight: ByteCount,
    /// Those of them that a lost stream had under way, and that were not begun again.
    lost: ByteCount,
    /// What of it belongs to entries that ended here.
    dropped: Dropped,
    window: ByteCount,
    signed: Signed,
    /// Objects that receipts were for: no more than were announced.
    signed_for: u32,
    bucket: Option<Bucket>,
    announced: u32,
    ending: Ending,
    first_fault: Option<Fault>,
    /// The receiver cannot make the root of the tree.
    unplaced: Option<Fault>,
    summary: Summary,
}

/// Whether directories may be listed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Listing {
    Allowed,
    Refused,
}

/// Whether a receipt was heard whose objects were not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Signed {
    Nothing,
    Objects,
}

/// How far the end of a transfer is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Ending {
    Running,
    /// COMPLETE was said: COMPLETED is awaited.
    Complete,
    /// COMPLETED was heard.
    Completed,
    /// It ends early.
    Stopped(Fault),
}

/// What goes at once at a rate: a fiftieth of a second, so that it is smooth, and right to the end.
fn piece_at(rate: Rate) -> ByteCount {
    ByteCount((rate.bytes_per_sec() / 50).max(LIMITED_PIECE_MIN).next_power_of_two())
}

const LIMITED_PIECE_MIN: u64 = 4 << 10;

impl<P: Clone> Sender<P> {
    pub(crate) fn new(
        id: TransferId,
        base: ObjectPath,
        options: TransferOptions,
        listing: Listing,
        config: &Config,
        now: Time,
    ) -> Self {
        let limits = config.limits.clone();
        let window = options.window.min(limits.window_bytes_max);
        let bucket = options.rate.map(|rate| Bucket::new(rate, now));
        let piece = match options.priority {
            Priority::Normal => config.piece_bytes,
            // On a slow link a long piece is a queue of its own.
            Priority::Background => {
                config.piece_bytes.min(ByteCount(limits.piece_bytes_min.into()))
            }
        };
        let piece = options.rate.map_or(piece, |rate| piece.min(piece_at(rate)));
        Self {
            id,
            base,
            options,
            limits,
            piece,
            holes: config.holes,
            listing,
            walk: Walk::new(),
            entries: Entries::new(),
            dirs: SentDirs::default(),
            ready: BTreeSet::new(),
            once: None,
            tasks: BTreeMap::new(),
            next_task: 0,
            flights: Flights::new(),
            gone: BTreeMap::new(),
            in_flight: ByteCount::ZERO,
            lost: ByteCount::ZERO,
            dropped: Dropped::default(),
            window,
            signed: Signed::Nothing,
            signed_for: 0,
            bucket,
            announced: 0,
            ending: Ending::Running,
            first_fault: None,
            unplaced: None,
            summary: Summary::default(),
        }
    }

    pub(crate) fn entry_id(&self, index: EntryIndex) -> EntryId {
        EntryId { transfer: self.id, index }
    }

    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    pub(crate) fn bucket_mut(&mut self) -> &mut Option<Bucket> {
        &mut self.bucket
    }

    pub(crate) const fn packing(&self) -> Packing {
        self.options.packing
    }

    /// The rate that the transfer began with.
    pub(crate) const fn asked_rate(&self) -> Option<Rate> {
        self.options.rate
    }

    pub(crate) const fn priority(&self) -> Priority {
        self.options.priority
    }

    pub(crate) const fn bucket(&self) -> Option<&Bucket> {
        self.bucket.as_ref()
    }

    /// Whether its own limit holds it back, or, where it `yields`, that it gives way.
    pub(crate) fn is_limited(&self, yields: Yields, now: Time) -> bool {
        let own = self.bucket.as_ref().is_some_and(|bucket| !bucket.is_open(now));
        own || yields == Yields::Now && self.priority() == Priority::Background
    }

    pub(crate) fn has_flight(&self, seq: Seq) -> bool {
        self.flights.contains(seq)
    }

    /// Bytes of DATA were handed to the network.
    pub(crate) fn count_sent(&mut self, len: ByteCount) {
        self.summary.bytes_sent = self.summary.bytes_sent.plus(len);
    }

    /// About what it remembers, but for what is announced.
    pub(crate) fn footprint(&self) -> usize {
        self.entries.tally().footprint::<SendEntry<P>>()
    }

    /// Bytes that streams could pull now: whether more streams would have work.
    pub(crate) fn backlog(&self) -> ByteCount {
        ByteCount(self.entries.values().map(|entry| entry.plan.len().0).sum())
    }

    pub(crate) fn is_window_full(&self) -> bool {
        self.in_flight.0 > 0 && !self.ready.is_empty()
    }

    fn full_path(&self, path: &ObjectPath) -> Result<ObjectPath, Fault> {
        self.base
            .join_path(path)
            .map_err(|why| Fault::new(Code::BadPath, alloc::format!("open \"{path}\": {why}")))
    }

    pub(super) fn submit(
        &mut self,
        index: EntryIndex,
        lane: Lane,
        op: DiskOp<P>,
        why: SendOp,
        io: &mut Io<P>,
    ) {
        if let Some(entry) = self.entries.lend(&index) {
            entry.ops += 1;
        }
        io.submit(lane, op, Owner::Send(self.id, why));
    }

    /// The end of one of this half's operations.
    pub(crate) fn handle_disk(
        &mut self,
        op: SendOp,
        done: DiskDone<P>,
        queued: Queued,
        io: &mut Io<P>,
    ) {
        if let SendOp::Open(index)
        | SendOp::Read(index, ..)
        | SendOp::Check(index)
        | SendOp::Spend(index)
        | SendOp::Release(index) = op
            && let Some(entry) = self.entries.lend(&index)
        {
            entry.ops -= 1;
        }
        match (op, done) {
            (SendOp::Open(index), DiskDone::Opened(opened @ Opened::Source { .. })) => {
                self.opened(index, opened, io);
            }
            (SendOp::Open(index), DiskDone::Failed(fault)) => self.open_failed(index, fault, io),
            // Nothing of it is wanted any more.
            (SendOp::List(index), _) if !self.walk.is_listing(index) => {}
            (SendOp::List(index), DiskDone::Listed { names, next, passed_over }) => {
                self.walk.listed(index, names, next);
                passed_over.into_iter().for_each(|fault| self.pass_over(index, fault, io));
            }
            (SendOp::List(index), DiskDone::Failed(fault)) => {
                let path = self.walk.path_of(index);
                self.walk.cut_short(index);
                self.report_failure(index, path, fault, Tell::Peer, io);
            }
            (SendOp::Read(index, stream, number, asked), done) => {
                io.buffered = io.buffered.minus(asked);
                self.read_ended(index, stream, number, done, queued, io);
            }
            (SendOp::Check(index), DiskDone::Checked(version)) => self.checked(index, version, io),
            (SendOp::Check(index), DiskDone::Failed(fault)) => {
                self.fail(index, fault, Tell::Peer, io)
            }
            (SendOp::Release(index), _) => {
                self.entries.remove(&index);
            }
            // What could not be spent is kept for longer than need be.
            (SendOp::Spend(_), _) => {}
            (SendOp::Open(index) | SendOp::Check(index), _) => {
                let fault = Fault::new(Code::Other, "the disk answered another question");
                self.fail(index, fault, Tell::Peer, io);
            }
            (SendOp::List(index), _) => self.walk.cut_short(index),
        }
        self.settle_ended(op, io);
        self.advance(io);
    }

    /// An entry whose last operation ended while it was ending is released.
    fn settle_ended(&mut self, op: SendOp, io: &mut Io<P>) {
        if let SendOp::Open(index)
        | SendOp::Read(index, ..)
        | SendOp::Check(index)
        | SendOp::Spend(index) = op
        {
            self.release_if_quiet(index, io);
        }
    }

    /// An entry fails: its work is dropped, its handle released, its line reported.
    pub(super) fn fail(&mut self, index: EntryIndex, fault: Fault, tell: Tell, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        if entry.stage == Stage::Ending {
            return;
        }
        let path = entry.path.clone();
        let mut told = index;
        if entry.stage == Stage::Opening {
            // Until it is announced, the peer knows it as the one that it replaces.
            told = entry.replaces.unwrap_or(index);
            self.walk.opened(index, OpenedChild::Gone);
        }
        match tell {
            Tell::Peer => {
                let dropped = self.end_entry_here(index, io);
                self.dropped.told(dropped);
            }
            Tell::Nobody => self.end_entry(index, io),
        }
        self.report_failure(told, path, fault, tell, io);
    }

    fn report_failure(
        &mut self,
        index: EntryIndex,
        path: ObjectPath,
        fault: Fault,
        tell: Tell,
        io: &mut Io<P>,
    ) {
        let entry = self.entry_id(index);
        self.summary.entries_failed = EntryCount(self.summary.entries_failed.0 + 1);
        self.first_fault.get_or_insert_with(|| fault.clone());
        if tell == Tell::Peer {
            io.say(Frame::Failed(Failed { entry, path: path.clone(), fault: fault.clone() }));
        }
        io.events.push_back(Event::EntryFailed { entry, path, fault: fault.clone() });
        if self.options.on_failure == OnFailure::Stop {
            io.say(Frame::Cancel(self.id, fault.clone()));
            self.stop(fault, io);
        }
    }

    /// The transfer ends early: nothing new starts; what is under way is awaited.
    pub(crate) fn stop(&mut self, fault: Fault, io: &mut Io<P>) {
        if matches!(self.ending, Ending::Stopped(_)) {
            return;
        }
        self.ending = Ending::Stopped(fault);
        self.walk.stop();
        let indices: alloc::vec::Vec<_> = self.entries.keys().collect();
        for index in indices {
            self.end_entry(index, io);
        }
        self.discount_directories(io);
    }

    /// Drops an entry's work; releases its handle once nothing of it is under way.
    pub(super) fn end_entry(&mut self, index: EntryIndex, io: &mut Io<P>) {
        self.ready.remove(&index);
        self.drop_flights(index, io);
        self.give_back_lost(index, ByteCount(u64::MAX));
        self.drop_tasks(index, io);
        if let Some(entry) = self.entries.lend(&index) {
            entry.stage = Stage::Ending;
            if let Some(EntryBody::DirectoryEnd { begun, .. }) = entry.body {
                io.announced.dirs -= self.dirs.end(begun);
            }
            io.announced.entries -= core::mem::take(&mut entry.announced_bytes);
            entry.drop_payloads(io);
            entry.checks = VecDeque::new();
            if entry.ops > 0 {
                io.events.push_back(Event::EntryEnding(EntryId { transfer: self.id, index }));
            }
        }
        self.release_if_quiet(index, io);
    }

    fn release_if_quiet(&mut self, index: EntryIndex, io: &mut Io<P>) {
        let Some(entry) = self.entries.lend(&index) else { return };
        if entry.stage != Stage::Ending || entry.ops > 0 {
            return;
        }
        if entry.take_handle() {
            let op = DiskOp::Release { entry: self.entry_id(index) };
            self.submit(index, Lane::Session, op, SendOp::Release(index), io);
        } else {
            self.entries.remove(&index);
        }
    }

    /// How it ended, once nothing is under way any more.
    pub(crate) fn outcome(&self) -> Option<Result<(), Fault>> {
        if !self.entries.is_empty() {
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
}

/// Whether those that give way are held back now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Yields {
    Now,
    No,
}

/// Whether the peer is told of a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tell {
    Peer,
    /// It told us.
    Nobody,
}

/// Whether an operation waited for a thread: if it did not, it ran inline and its time is the
/// processor's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Queued {
    Inline,
    Waited,
}

/// What a tree's end means: one failure of one object keeps its own code.
pub(crate) fn outcome_of(summary: &Summary, first: Option<&Fault>) -> Result<(), Fault> {
    match first {
        None => Ok(()),
        Some(fault) if summary.entries_failed.0 == 1 && summary.entries_found.0 <= 1 => {
            Err(fault.clone())
        }
        Some(_) => {
            // Not "of so many": what failed before it was announced is among those found nowhere.
            let detail = match summary.entries_failed.0 {
                1 => "1 entry".into(),
                many => alloc::format!("{many} entries"),
            };
            Err(Fault::new(Code::Partial, detail))
        }
    }
}
