//! A ticket's quota while its sessions run: the books, the file that says the same after a crash,
//! and the store that knows what stands.
//!
//! What is staged is set aside before any of it is written, and the file names the stage before
//! that. A batch is named in the file before it is committed, and what it came to after, before
//! anybody is told. Whoever opens the meter next looks which stages and which entries of a batch
//! stand: so every byte is counted once, whenever the process died. One process has a ticket's
//! meter at a time. Everything here but `check` and `set_quota` may block on a disk.

mod ended; // what became of a batch
mod lent; // what is taken for a moment
mod links; // symbolic links

use super::book::{BatchId, Book, Idle, Keeping, Refusal, weight};
use super::quota::{Account, Load, Quota};
use super::usage::{Extent, Pending, Usage, What};
use crate::state::{Privacy, State};
use ended::{Stands, is_taken, settle, stage_of};
use floe_store::{Commit, RootWanted, StageKey, Store, Wanted, commit_admitted};
use floe_types::{ByteCount, Code, EntryKind, Fault, ObjectPath};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The live quota of one ticket.
pub struct Meter {
    state: State,
    store: Arc<dyn Store>,
    file: String,
    /// Held against other processes.
    _alone: OwnedFd,
    book: Mutex<Book>,
    /// Told when entries are no longer pending.
    settled: Condvar,
    /// The generation of the book that the file has; held while it is written.
    written: Mutex<u64>,
    /// Held while directories are made that are missing: each counts once.
    making: Mutex<()>,
}

/// One entry of a batch, and what it brings in: nothing where it stood before.
pub(super) struct Item {
    pub(super) commit: Commit,
    pub(super) brings: Option<Pending>,
}

/// What became of an entry of a batch.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) answer: Result<(), Fault>,
    /// Whether anything is set aside for it yet.
    pub(super) rest: Rest,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// Its stage is there, and counts.
    Staged,
    /// Nothing was, nor is; something may be written.
    Untouched,
    /// It is counted, or came to nothing.
    Nothing,
}

impl Meter {
    /// Opens a ticket's meter, alone among all processes, and looks what an earlier one left.
    /// `store` is where the ticket's holder writes.
    ///
    /// # Errors
    /// `Busy`: another process has it, or a stage of unknown size cannot be looked at; `State`: the
    /// file cannot be read or written.
    pub fn open(
        state: &State,
        ticket: &str,
        quota: Quota,
        store: Arc<dyn Store>,
    ) -> Result<Self, Fault> {
        let alone = state
            .hold_within(&lock_of(ticket), HANDOVER)?
            .ok_or_else(|| Fault::new(Code::Busy, "another process counts for this ticket"))?;
        let (state, file) = (state.clone(), file_of(ticket));
        let mut usage = read(&state, &file)?;
        let pending = std::mem::take(&mut usage.pending);
        let book = Mutex::new(Book::of(usage, quota));
        let (settled, written, making) = (Condvar::new(), Mutex::new(1), Mutex::default());
        let meter = Self { state, store, file, _alone: alone, book, settled, written, making };
        for entry in &pending {
            if meter.came_to_be(entry) == Stands::Yes {
                meter.lock().spend(entry, Load::NONE);
            }
        }
        let idle = meter.lock().idle(None);
        let unseen = meter.look_for(&idle);
        if !pending.is_empty() {
            meter.lock().changed();
        }
        meter.save()?;
        // What the file says of one of unknown size may be less than what is written.
        if unseen.iter().any(|one| one.extent == Extent::Growing) {
            return Err(Fault::new(Code::Busy, "look for what a ticket has staged"));
        }
        Ok(meter)
    }

    /// What a ticket has brought in, and what is staged or on its way, as its file says.
    ///
    /// # Errors
    /// `State`.
    pub fn peek(state: &State, ticket: &str) -> Result<Account, Fault> {
        let usage = read(state, &file_of(ticket))?;
        let made = usage.pending.iter().filter(|entry| entry.what == What::Directory).count();
        let mut account = Book::of(usage, Quota::default()).account;
        // They are written down before they are made, and no more after.
        account.spend(Load::NONE, Load::of_entries(made));
        Ok(account)
    }

    /// Whether the file of a ticket names entries of which it is not known whether they stand.
    ///
    /// # Errors
    /// `State`.
    pub fn is_unsettled(state: &State, ticket: &str) -> Result<bool, Fault> {
        Ok(!read(state, &file_of(ticket))?.pending.is_empty())
    }

    /// Removes what is written down of a ticket that is no more.
    ///
    /// # Errors
    /// `State`.
    pub fn remove(state: &State, ticket: &str) -> Result<(), Fault> {
        state.remove(&file_of(ticket))?;
        state.remove(&lock_of(ticket))
    }

    /// The ticket's quota is another now. What is set aside stays so; nothing more is written or
    /// committed while it does not fit.
    pub fn set_quota(&self, quota: Quota) {
        self.lock().quota = quota;
    }

    /// Whether writing may go on.
    ///
    /// # Errors
    /// `Quota`.
    pub(super) fn check(&self, path: &ObjectPath) -> Result<(), Fault> {
        self.lock().check().map_err(|short| short.fault(Writing(path)))
    }

    /// Before a stage is opened: where that may take over another one of the same path and owner,
    /// the file names it, too.
    ///
    /// # Errors
    /// `Other`: it cannot be written down.
    pub(super) fn expect(&self, stage: &StageKey, extent: Extent) -> Result<(), Fault> {
        let mut book = self.lock();
        if book.idle(Some(stage)).is_empty() {
            return Ok(());
        }
        book.expect(stage, extent);
        drop(book);
        self.save()
    }

    /// Sets aside what an opened stage comes to, or takes over what was set aside for it.
    ///
    /// # Errors
    /// `Quota`; `LimitExceeded`: so many are left; `Other`: it cannot be written down.
    pub(super) fn hold(
        &self,
        stage: &StageKey,
        bytes: ByteCount,
        how: (Keeping, Extent),
    ) -> Result<(), Fault> {
        // Another version's stage may just have become this one.
        let kin = self.lock().idle(Some(stage));
        self.look_for(&kin);
        self.find_room(|book| book.hold(stage, bytes, how)).map_err(|refusal| match refusal {
            Refusal::Short(short) => short.fault(Writing(&stage.path)),
            Refusal::TooMany => {
                let detail = format!("{}: its ticket has too many stages", Writing(&stage.path));
                Fault::new(Code::LimitExceeded, detail)
            }
        })?;
        let saved = if how.0 == Keeping::Yes { self.save() } else { Ok(()) };
        if saved.is_err() {
            self.lock().leave(stage);
        }
        saved
    }

    /// Sets aside what a stage of unknown size comes to.
    ///
    /// # Errors
    /// `Quota`.
    pub(super) fn grow(&self, stage: &StageKey, to: ByteCount) -> Result<(), Fault> {
        let grown = self.find_room(|book| book.grow(stage, to));
        grown.map_err(|short| short.fault(Writing(&stage.path)))
    }

    /// A holder leaves a stage, which stays if it is kept.
    pub(super) fn leave(&self, stage: &StageKey) {
        let left = self.lock().leave(stage);
        if left.is_some_and(|lot| lot.extent == Extent::Growing) {
            // Whoever opens the meter looks for itself: this is for who only reads the file.
            let _ = self.save();
        }
    }

    /// A stage is gone.
    pub(super) fn forget(&self, stage: &StageKey) {
        self.lock().forget(stage);
        let _ = self.save();
    }

    /// A stage was given up that may stand all the same.
    pub(super) fn give_up(&self, stage: &StageKey, extent: Extent) {
        self.lock().expect(stage, extent);
        self.look_again(stage);
        // One that is gone need not be known.
        if self.lock().knows(stage) {
            let _ = self.save();
        }
    }

    /// Something may have become of stages of this path and owner.
    pub(super) fn look_again(&self, stage: &StageKey) {
        let kin = self.lock().idle(Some(stage));
        self.look_for(&kin);
    }

    /// How far a stage is written.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn written(&self, stage: &StageKey) -> Result<ByteCount, Fault> {
        Ok(self.store.staged(stage)?.unwrap_or_default())
    }

    /// Entries without a stage, such as directories, if there is room; `make` makes them. The ones
    /// that are missing are asked for when nobody else makes any.
    ///
    /// # Errors
    /// `Quota`; `Other`: it cannot be written down; what `missing` and `make` say.
    pub(super) fn bring<T>(
        &self,
        missing: impl Fn() -> Result<Vec<ObjectPath>, Fault>,
        path: &ObjectPath,
        make: impl FnOnce() -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if missing()?.is_empty() {
            return make();
        }
        let _turn = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = missing()?;
        let load = Load::of_entries(wanted.len());
        self.find_room(|book| book.reserve(load)).map_err(|short| short.fault(Writing(path)))?;
        let named = wanted.into_iter().map(|path| Pending { path, what: What::Directory });
        let mut book = self.lock();
        let batch = book.begin(named.collect());
        // Without a bound of entries their number is for show.
        let exact = book.quota.entries.is_some();
        drop(book);
        let made = if exact { self.save() } else { Ok(()) }.and_then(|()| make());
        // What cannot be looked at counts as made.
        let rest = if made.is_err() { missing().map_or(0, |rest| rest.len()) } else { 0 };
        let mut book = self.lock();
        book.end(batch);
        book.account.spend(load, load.beyond(Load::of_entries(rest)));
        drop(book);
        self.settled.notify_all();
        if exact && let Err(fault) = self.save() {
            // The file still names them: whoever reads it looks what stands.
            tracing::error!(%fault, "what a ticket used is not written down");
        }
        made
    }

    /// Changes names while nobody makes entries that are counted: what was missing stays so.
    pub(super) fn change_names<T>(&self, change: impl FnOnce() -> T) -> T {
        let _turn = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        change()
    }

    /// Commits a batch, and counts what it comes to. In parts, where it would be much of the file,
    /// which is read whole.
    pub(super) fn commit(&self, batch: Vec<Item>, wanted: Wanted<'_>) -> Vec<Outcome> {
        let (mut outcomes, mut part, mut size) = (Vec::with_capacity(batch.len()), Vec::new(), 0);
        for item in batch {
            let more = item.brings.as_ref().map_or(0, |entry| weight(&entry.path));
            if size + more > PENDING_WEIGHT_MAX && !part.is_empty() {
                outcomes.extend(self.commit_part(std::mem::take(&mut part), size, wanted));
                size = 0;
            }
            size += more;
            part.push(item);
        }
        outcomes.extend(self.commit_part(part, size, wanted));
        outcomes
    }

    fn commit_part(&self, part: Vec<Item>, size: usize, wanted: Wanted<'_>) -> Vec<Outcome> {
        let (commits, brings): (Vec<_>, Vec<_>) =
            part.into_iter().map(|item| (item.commit, item.brings)).unzip();
        let stages: Vec<_> = commits.iter().map(stage_of).collect();
        let begun = self.begin(&brings, size);
        let mut each = brings.iter();
        let admit = |commit| match (&begun, each.next()) {
            (Err(fault), Some(Some(_))) => Err(Err(fault.clone())),
            _ => Ok((commit, ())),
        };
        let commit = |admitted| self.store.commit_while(admitted, wanted);
        let answers = commit_admitted(commit, commits, admit, |(), answer| answer);
        // One that failed may stand: only its directory was not synced.
        let mut stands = Vec::with_capacity(answers.len());
        for ((brings, answer), stage) in brings.iter().zip(&answers).zip(stages) {
            stands.push(match (brings, answer) {
                (Some(_), Ok(())) => Stands::Yes,
                // Whatever name it has by now.
                (Some(_), Err(_)) if stage.is_some_and(|sink| sink.has_final_name()) => Stands::Yes,
                // Another link may stand there.
                (Some(entry), Err(_)) if entry.what == What::Link && is_taken(answer) => Stands::No,
                (Some(_), Err(fault)) if fault.code == Code::Interrupted => Stands::No,
                (Some(entry), Err(_)) if begun.is_ok() => self.came_to_be(entry),
                _ => Stands::No,
            });
        }
        let mut book = self.lock();
        if let Ok(Some(batch)) = begun {
            book.end(batch);
        }
        let mut outcomes = Vec::with_capacity(answers.len());
        for ((brings, answer), stands) in brings.iter().zip(answers).zip(stands) {
            let rest = match brings {
                Some(entry) => settle(&mut book, entry, &answer, stands),
                None if answer.is_ok() => Rest::Nothing,
                None => Rest::Untouched,
            };
            outcomes.push(Outcome { answer, rest });
        }
        let stages = brings.iter().flatten().filter_map(Pending::stage);
        // A commit clears other versions away.
        let kin: Vec<_> = stages.flat_map(|stage| book.idle(Some(stage))).collect();
        drop(book);
        self.settled.notify_all();
        self.look_for(&kin);
        for (brings, outcome) in brings.iter().zip(&outcomes) {
            // Its stage is discarded; one that could not be counts as it stands.
            if let Some(stage) = brings.as_ref().and_then(Pending::stage)
                && is_taken(&outcome.answer)
            {
                self.give_up(stage, Extent::Known);
            }
        }
        if let Err(fault) = self.save() {
            // The file still names the batch: whoever reads it looks what stands.
            tracing::error!(%fault, "what a ticket used is not written down");
        }
        outcomes
    }

    /// Names a batch in the file.
    fn begin(&self, brings: &[Option<Pending>], size: usize) -> Result<Option<BatchId>, Fault> {
        let Some(first) = brings.iter().flatten().next() else { return Ok(None) };
        let mut book = self.lock();
        book.check().map_err(|short| short.fault(Writing(&first.path)))?;
        let is_full = |book: &Book| {
            let pending = book.pending_weight();
            pending > 0 && pending + size > PENDING_WEIGHT_MAX
        };
        while is_full(&book) {
            book = self.settled.wait(book).unwrap_or_else(PoisonError::into_inner);
        }
        let batch = book.begin(brings.iter().flatten().cloned().collect());
        drop(book);
        self.save().inspect_err(|_| self.lock().end(batch))?;
        Ok(Some(batch))
    }

    /// Whether an entry stands that was about to come to be. Where that cannot be seen, it does:
    /// nothing is brought in that is not counted.
    fn came_to_be(&self, entry: &Pending) -> Stands {
        let stands = self.stands(entry).unwrap_or_else(|fault| {
            tracing::warn!(%fault, "it is not known whether an entry stands, and counts");
            true
        });
        if stands { Stands::Yes } else { Stands::No }
    }

    fn stands(&self, entry: &Pending) -> Result<bool, Fault> {
        let mut wanted = RootWanted::IfKnown;
        if let What::Object { size, stage, .. } = &entry.what {
            // An empty file is what a process made of that name once the object had left it.
            if self.store.staged(stage)?.is_some_and(|staged| staged > ByteCount::ZERO) {
                return Ok(false);
            }
            if *size <= SMALL_BYTES {
                wanted = RootWanted::Computed;
            }
        }
        let stat = match self.store.stat(&entry.path, wanted, &|_, _| {}) {
            Err(fault) if matches!(fault.code, Code::NotFound | Code::NotDirectory) => {
                return Ok(false);
            }
            answer => answer?,
        };
        Ok(match &entry.what {
            What::Object { size, root, .. } => {
                let is_it = |stands| stands == *root;
                (stat.kind, stat.size) == (EntryKind::File, *size) && stat.root.is_none_or(is_it)
            }
            What::Link => stat.kind == EntryKind::Link,
            What::Directory => stat.kind == EntryKind::Directory,
        })
    }

    /// Looks for stages that nobody holds. Those that cannot be looked for count as they did.
    fn look_for<'a>(&self, idle: &'a [Idle]) -> Vec<&'a Idle> {
        let mut unseen = Vec::new();
        for one in idle {
            match self.store.staged(&one.stage) {
                Ok(written) => self.lock().settle(one, written),
                Err(fault) => {
                    tracing::warn!(%fault, "it is not known whether a stage stands");
                    unseen.push(one);
                }
            }
        }
        unseen
    }

    /// Tries; where there is no room, looks whether all that is set aside stands, and tries again.
    fn find_room<T, E>(&self, attempt: impl Fn(&mut Book) -> Result<T, E>) -> Result<T, E> {
        let mut book = self.lock();
        let first = attempt(&mut book);
        let idle = if first.is_err() { book.idle(None) } else { Vec::new() };
        drop(book);
        if idle.is_empty() {
            return first;
        }
        self.look_for(&idle);
        attempt(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the books down as they stand, unless the file has them. Whoever waits for the file
    /// meanwhile finds it written.
    fn save(&self) -> Result<(), Fault> {
        let wanted = self.lock().generation();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written >= wanted {
            return Ok(());
        }
        let now = |book: &Book| (book.generation(), book.usage());
        let (newest, usage) = now(&self.lock());
        self.state.replace(&self.file, &usage.format()).map_err(|fault| {
            tracing::error!(%fault, "a ticket's usage cannot be written");
            let code = if fault.code == Code::NoSpace { fault.code } else { Code::Other };
            Fault::new(code, "the server cannot write down what its ticket used")
        })?;
        *written = newest;
        Ok(())
    }
}

/// What is refused.
struct Writing<'a>(&'a ObjectPath);

impl std::fmt::Display for Writing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "write {:?}", self.0)
    }
}

fn read(state: &State, file: &str) -> Result<Usage, Fault> {
    let Some(bytes) = state.read(file, Privacy::Any)? else { return Ok(Usage::default()) };
    Usage::parse(&bytes).map_err(|why| state.fault("read", file, why))
}

fn file_of(ticket: &str) -> String {
    format!("usage-{ticket}.json")
}

fn lock_of(ticket: &str) -> String {
    format!("usage-{ticket}.lock")
}

/// How long one that is being closed may take to let go.
const HANDOVER: Duration = Duration::from_millis(500);
/// What is about to come to be at a time.
const PENDING_WEIGHT_MAX: usize = 4 << 20;
/// Objects that are hashed to know whether they stand.
const SMALL_BYTES: ByteCount = ByteCount(4 << 20);

#[cfg(test)]
mod tests;
