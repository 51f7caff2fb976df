//! What a session has open, and disk operations as calls of the store.
//!
//! A server's session works in the served store; a client's transfers each have an end of their
//! own: a store, standard input or standard output. Everything here may block on a disk and runs on
//! disk threads, but what `Handle`s answer at once. Which thread runs what is `port`'s matter.

mod table; // what is open
mod short; // what takes one job in place of three
mod begun; // directories that are not ended
mod open; // entries that are opened
mod probe; // bytes that are nobody's
mod moved; // what hangs beneath what is renamed
mod apply;
mod commit;
mod hole;

use crate::audit::Scribe;
use crate::buffer::{Piece, Pool};
use crate::customer::Customer;
use crate::descriptors::Slot;
use crate::disk_threads::{Crew, Strand};
use crate::identity::Signer;
use crate::pipe::{Input, Output};
use crate::rules::TreeCaps;
use begun::Begun;
use floe_proto::disk::{DiskDone, DiskOp, OpenHow};
use floe_store::{OwnerId, Progress, Sink, Source, Store};
use floe_types::{
    ByteCount, ChunkDigest, Code, EntryId, Fault, ObjectPath, Range, Subtree, TransferId,
};
use short::Prefetch;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use table::Table;

pub use short::{Short, ShortSink};

/// An operation on pooled pieces.
pub type Op = DiskOp<Piece>;
/// Its end.
pub type Done = DiskDone<Piece>;

/// Where a client's transfer ends on its own side.
#[derive(Clone)]
pub enum LocalEnd {
    /// In a store.
    Store(Arc<dyn Store>),
    /// It reads standard input.
    Input(Input),
    /// It writes standard output.
    Output(Output),
}

/// Something open.
#[derive(Clone)]
pub enum Handle {
    /// To be read.
    Source(Arc<dyn Source>),
    /// To be read, and read already.
    Short(Arc<Short>),
    /// Being staged.
    Sink(Arc<dyn Sink>),
    /// Being staged, and short.
    ShortSink(Arc<ShortSink>),
    /// Standard input.
    Input(Input),
    /// Standard output.
    Output(Output),
    /// What is written is gone.
    Nowhere,
}

/// Given up by being dropped.
pub type Claim = Box<dyn Send>;

/// What a session has open.
pub struct Files {
    served: Option<Arc<dyn Store>>,
    ends: Mutex<HashMap<TransferId, LocalEnd>>,
    /// Transfers that are over and have an end yet.
    retired: Mutex<HashSet<TransferId>>,
    open: Table,
    begun: Begun,
    /// What others wait for while an entry is open here.
    claims: Mutex<HashMap<EntryId, Claim>>,
    prefetch: Prefetch,
    /// Memory that short objects keep.
    held: Arc<AtomicU64>,
    owner: OwnerId,
    /// To threads that open, list and pack for other sessions, too.
    customer: Customer,
    /// To lanes, and threads that move bytes and sync.
    party: Customer,
    pool: Pool,
    page_entries_max: u32,
    /// How deep what is renamed may come.
    trees: TreeCaps,
    /// Whether nobody is there any more to hear of long work.
    deserted: AtomicBool,
    /// Whether its peer is gone, and may have come again.
    cut_off: AtomicBool,
    /// Writes down what is changed, before it is told.
    scribe: Option<Arc<Scribe>>,
    /// Signs for what is committed.
    notary: Option<Notary>,
}

/// A server's key, and the name of the ticket that is signed for.
pub struct Notary {
    /// The key.
    pub signer: Arc<Signer>,
    /// The name.
    pub ticket: String,
}

impl Files {
    /// For a server's session: everything is in the served store.
    #[must_use]
    pub fn served(store: Arc<dyn Store>, owner: OwnerId, pool: Pool, page_max: u32) -> Self {
        let customer = Customer::next();
        let local = Self::local(owner, pool, page_max);
        Self { served: Some(store), customer, party: customer, ..local }
    }

    /// For a client's session: each transfer names its end.
    #[must_use]
    pub fn local(owner: OwnerId, pool: Pool, page_entries_max: u32) -> Self {
        Self {
            served: None,
            ends: Mutex::default(),
            retired: Mutex::default(),
            open: Table::default(),
            begun: Begun::default(),
            claims: Mutex::default(),
            prefetch: Prefetch::default(),
            held: Arc::default(),
            owner,
            // A client's own sessions share its threads as they come.
            customer: Customer::ANYBODY,
            party: Customer::ANYBODY,
            pool,
            page_entries_max,
            trees: TreeCaps::default(),
            deserted: AtomicBool::new(false),
            cut_off: AtomicBool::new(false),
            scribe: None,
            notary: None,
        }
    }

    /// Of a party, whose sessions share turns on lanes.
    #[must_use]
    pub fn of_party(self, party: Customer) -> Self {
        Self { party, ..self }
    }

    /// Whose turns on a lane its streams take, and whose jobs move its bytes.
    #[must_use]
    pub const fn party(&self) -> Customer {
        self.party
    }

    /// Where trees may be so large.
    #[must_use]
    pub fn bounded(self, trees: TreeCaps) -> Self {
        Self { trees, ..self }
    }

    /// With somebody who writes down what is changed.
    #[must_use]
    pub fn audited(self, scribe: Option<Arc<Scribe>>) -> Self {
        Self { scribe, ..self }
    }

    /// With somebody who signs for what is committed.
    #[must_use]
    pub fn signing(self, notary: Option<Notary>) -> Self {
        Self { notary, ..self }
    }

    /// Names the end of a client's transfer.
    pub fn add_end(&self, transfer: TransferId, end: LocalEnd) {
        lock(&self.ends).insert(transfer, end);
    }

    /// A transfer is over: its end goes when the last of its entries is released.
    pub fn retire_end(&self, transfer: TransferId) {
        lock(&self.retired).insert(transfer);
        self.drop_retired(transfer);
    }

    /// A transfer ends early: what waits at its end, and not on a disk, waits no longer.
    pub fn let_go(&self, transfer: TransferId) {
        match lock(&self.ends).get(&transfer) {
            Some(LocalEnd::Input(input)) => input.let_go(),
            Some(LocalEnd::Output(output)) => output.let_go(),
            Some(LocalEnd::Store(_)) | None => {}
        }
    }

    fn drop_retired(&self, transfer: TransferId) {
        let mut retired = lock(&self.retired);
        if !retired.contains(&transfer) {
            return;
        }
        if self.open.has_none_of(transfer) && retired.remove(&transfer) {
            let end = lock(&self.ends).remove(&transfer);
            drop(retired);
            drop(end);
        }
    }

    /// Gives up everything that is open; stages are kept. No operation may be under way.
    pub fn close(&self) {
        self.open.clear();
        self.leave_begun(None);
        lock(&self.ends).clear();
        let claims = std::mem::take(&mut *lock(&self.claims));
        drop(claims);
    }

    /// Keeps a claim for as long as an entry is open; one that does not open loses it.
    pub fn keep(&self, entry: EntryId, claim: Claim) {
        lock(&self.claims).insert(entry, claim);
    }

    /// How many entries are open.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.count()
    }

    /// Whether this is a server's session.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.served.is_some()
    }

    /// The session was cut off: the next one of the same command may have come. Whether that was
    /// not known before.
    pub fn cut_off(&self) -> bool {
        self.desert();
        !self.cut_off.swap(true, Ordering::AcqRel)
    }

    /// Whether what is committed is anybody's. A client's next session waits for the last one.
    pub(super) fn is_wanted(&self) -> bool {
        self.served.is_none() || !self.cut_off.load(Ordering::Acquire)
    }

    /// The last stream of the session is gone, or it was ended.
    pub fn desert(&self) {
        self.deserted.store(true, Ordering::Release);
    }

    /// Whether it is.
    #[must_use]
    pub fn is_deserted(&self) -> bool {
        self.deserted.load(Ordering::Acquire)
    }

    /// Where buffers come from.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Who stages here.
    #[must_use]
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// What is open as an entry.
    ///
    /// # Errors
    /// `Other`: the core asked for an entry that it did not open.
    pub fn handle(&self, entry: EntryId) -> Result<Handle, Fault> {
        self.open.handle(entry)
    }

    /// Where the writes of an entry queue whatever stream they came by: the kernel lets one at a
    /// time into a file, and the others would only spin for their turn.
    ///
    /// # Errors
    /// As `handle`.
    pub fn strand(&self, entry: EntryId, crew: &Crew) -> Result<Strand, Fault> {
        self.open.strand(entry, crew, self.party)
    }

    /// Whose the jobs of this session are.
    pub fn customer(&self) -> Customer {
        self.customer
    }

    /// Opens an entry, which takes a slot where it needs a handle; blocks. One that fails keeps its
    /// claim: it may be tried again, or is given up by `not_opened`.
    pub fn try_open(
        &self,
        entry: EntryId,
        path: &ObjectPath,
        how: &OpenHow,
        slot: Slot,
        working: Progress<'_>,
    ) -> Done {
        self.open(entry, path, how, slot, working).unwrap_or_else(Done::Failed)
    }

    /// An entry did not open, and is not tried again.
    pub fn not_opened(&self, entry: EntryId) {
        self.let_claim_go(entry);
    }

    /// Does an operation that moves no bytes, nor opens; blocks. `working` is told how far a long
    /// one is.
    pub fn perform(&self, op: Op, working: Progress<'_>) -> Done {
        let done = match op {
            DiskOp::List { entry, path, after, max } => self.list(entry, &path, after, max),
            DiskOp::Check { entry } => self.check(entry),
            DiskOp::Forget { entry, range } => self.handle(entry).and_then(|handle| {
                match handle {
                    Handle::Sink(sink) => sink.forget(range),
                    Handle::ShortSink(sink) => sink.forget(range),
                    Handle::Output(output) => output.forget(range),
                    Handle::Nowhere => Ok(()),
                    _ => Err(wrong_kind(entry)),
                }
                .map(|()| Done::Forgotten)
            }),
            DiskOp::Checkpoint { entry } => self.handle(entry).and_then(|handle| {
                match handle {
                    Handle::Sink(sink) => sink.checkpoint()?,
                    Handle::ShortSink(short) => short.written()?.checkpoint()?,
                    _ => {}
                }
                Ok(Done::Checkpointed)
            }),
            DiskOp::Commit { batch, receipts } => Ok(self.commit(batch, receipts)),
            DiskOp::Discard { entry } => self.discard(entry),
            DiskOp::Spend { entry, chunk, digest } => match self.handle(entry) {
                Ok(Handle::Input(input)) => {
                    input.spend(Subtree { range: chunk, digest });
                    Ok(Done::Spent)
                }
                Ok(_) => Err(wrong_kind(entry)),
                Err(fault) => Err(fault),
            },
            DiskOp::Release { entry } => Ok(self.release(entry)),
            DiskOp::Apply { request } => self.apply(request, working),
            DiskOp::Record { entry, chunk, digest } => self.record(entry, chunk, &digest),
            DiskOp::ReadHole { entry, chunk } => self.read_hole(entry, chunk),
            DiskOp::WriteHole { entry, chunk } => self.write_hole(entry, chunk),
            DiskOp::Open { entry, .. }
            | DiskOp::Read { entry, .. }
            | DiskOp::Write { entry, .. }
            | DiskOp::Finish { entry, .. } => Err(wrong_kind(entry)),
        };
        done.unwrap_or_else(Done::Failed)
    }

    fn end(&self, transfer: TransferId) -> Result<LocalEnd, Fault> {
        if let Some(store) = &self.served {
            return Ok(LocalEnd::Store(Arc::clone(store)));
        }
        lock(&self.ends)
            .get(&transfer)
            .cloned()
            .ok_or_else(|| Fault::new(Code::Other, format!("transfer {transfer} has no end here")))
    }

    fn store(&self, transfer: TransferId) -> Result<Arc<dyn Store>, Fault> {
        match self.end(transfer)? {
            LocalEnd::Store(store) => Ok(store),
            LocalEnd::Input(_) | LocalEnd::Output(_) => {
                Err(Fault::new(Code::NotDirectory, "standard input or output"))
            }
        }
    }

    /// Does an operation that asks no disk.
    pub fn at_once(&self, op: &Op) -> Option<Done> {
        let (DiskOp::Check { entry } | DiskOp::Release { entry }) = op else { return None };
        let Ok(Handle::Short(short)) = self.handle(*entry) else { return None };
        Some(match op {
            DiskOp::Check { .. } => short.version().map_or_else(Done::Failed, Done::Checked),
            _ => self.release(*entry),
        })
    }

    fn release(&self, entry: EntryId) -> Done {
        self.close_entry(entry);
        self.drop_retired(entry.transfer);
        Done::Released
    }

    /// A file is read that was not read when it was opened.
    pub fn read_late(&self) {
        self.prefetch.wanted();
    }

    /// Gives an entry up; its claim last, so that whoever waits for it finds it free.
    fn close_entry(&self, entry: EntryId) {
        if let Some((Handle::Short(short), _slot)) = self.open.take(entry) {
            self.prefetch.let_go(&short);
        }
        self.let_claim_go(entry);
    }

    fn let_claim_go(&self, entry: EntryId) {
        // Dropped outside the lock.
        let claim = lock(&self.claims).remove(&entry);
        drop(claim);
    }

    fn list(
        &self,
        entry: EntryId,
        path: &ObjectPath,
        after: Option<Vec<u8>>,
        max: u32,
    ) -> Result<Done, Fault> {
        let after = after.map(floe_store::Cursor);
        let max = usize::try_from(max).unwrap_or(usize::MAX);
        let store = self.store(entry.transfer)?;
        let page = store.list(path, after.as_ref(), max, floe_store::Detail::Names)?;
        let names = page.names.into_iter().map(|listed| listed.name).collect();
        // Where this server keeps its own stages is nobody's loss.
        let own = self.served.is_some() && path.is_root();
        let passed_over = if own { Vec::new() } else { page.passed_over };
        let passed_over = passed_over.iter().map(|name| passed_over_in(path, name)).collect();
        Ok(Done::Listed { names, next: page.next.map(|cursor| cursor.0), passed_over })
    }

    fn check(&self, entry: EntryId) -> Result<Done, Fault> {
        match self.handle(entry)? {
            Handle::Source(source) => source.version().map(Done::Checked),
            Handle::Short(short) => short.version().map(Done::Checked),
            Handle::Input(_) => Ok(Done::Checked(None)),
            _ => Err(wrong_kind(entry)),
        }
    }

    fn record(&self, entry: EntryId, chunk: Range, digest: &ChunkDigest) -> Result<Done, Fault> {
        match self.handle(entry)? {
            Handle::Sink(sink) => sink.record(chunk, digest).map(|()| Done::Recorded),
            Handle::ShortSink(sink) => sink.record(chunk, digest).map(|()| Done::Recorded),
            Handle::Nowhere => Ok(Done::Recorded),
            _ => Err(wrong_kind(entry)),
        }
    }

    fn discard(&self, entry: EntryId) -> Result<Done, Fault> {
        let discarded = match self.open.take(entry) {
            Some((Handle::Sink(sink), _slot)) => {
                self.store(entry.transfer).and_then(|store| store.discard(sink))
            }
            Some((Handle::ShortSink(sink), _slot)) => {
                self.store(entry.transfer).and_then(|store| store.discard(sink.stage()))
            }
            _ => Ok(()),
        };
        self.let_claim_go(entry);
        self.drop_retired(entry.transfer);
        discarded.map(|()| Done::Discarded)
    }
}

/// A name of a directory that no path may have.
fn passed_over_in(path: &ObjectPath, name: &[u8]) -> Fault {
    let name = floe_types::Escaped(name);
    let place = if path.is_root() { String::new() } else { format!(" in {path:?}") };
    Fault::new(Code::BadPath, format!("\"{name}\"{place}"))
}

/// The core asked for an entry that is not open.
fn not_open(entry: EntryId) -> Fault {
    let EntryId { transfer, index } = entry;
    Fault::new(Code::Other, format!("entry {index} of transfer {transfer} is not open"))
}

/// The core asked an entry for what its kind does not do.
pub fn wrong_kind(entry: EntryId) -> Fault {
    let EntryId { transfer, index } = entry;
    Fault::new(Code::Other, format!("entry {index} of transfer {transfer} cannot do that"))
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing to be told.
pub fn silent(_done: ByteCount, _of: ByteCount) {}
