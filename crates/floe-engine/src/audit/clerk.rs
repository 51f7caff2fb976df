//! The thread that writes the log, and the desk where lines are left for it.
//!
//! Lines that somebody waits for are synced before he is told, those of many at once by one sync.
//! The others (notes) are written at once and synced within a second. Whoever is about to do
//! something that must have a line takes room for it first (`Desk::promise`): where there is none
//! it is refused before it is done. Notes never take promised room; while there is none for them
//! they wait, and what does not fit the desk any more is counted, and said as soon as it can be.

use super::book::Book;
use super::line::{Draft, Record};
use floe_types::{Code, Fault};
use std::collections::VecDeque;
use std::mem::take;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// Where lines are left.
pub(super) struct Desk {
    state: Mutex<State>,
    bell: Condvar,
    /// Whether notes pile up.
    behind: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    notes: VecDeque<Draft>,
    note_bytes: u64,
    /// Notes that found no place.
    lost: u64,
    asks: Vec<Ask>,
    /// Bytes of lines that may come.
    promised: u64,
    /// Bytes that there is room for.
    ahead: u64,
    closing: bool,
    /// Nobody writes any more.
    left: bool,
}

enum Ask {
    /// Lines to be durable.
    Lines(Vec<Draft>, SyncSender<Result<(), Fault>>),
    /// So much more room.
    Room(u64, SyncSender<Result<(), Fault>>),
    /// Whatever came before is to be durable, if it can be.
    Flush(oneshot::Sender<()>),
}

/// Room for lines that may come, while this lives.
pub(super) struct Promise {
    desk: Arc<Desk>,
    bytes: u64,
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.desk.lock().promised -= self.bytes;
    }
}

impl Desk {
    pub(super) fn new() -> Arc<Self> {
        let behind = watch::Sender::new(false);
        Arc::new(Self { state: Mutex::default(), bell: Condvar::new(), behind })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves a line that nobody waits for. Never waits.
    pub(super) fn note(&self, draft: Draft) {
        let mut state = self.lock();
        if state.left || state.note_bytes + draft.bytes_max() > NOTE_BYTES_MAX {
            state.lost += 1;
            return;
        }
        state.note_bytes += draft.bytes_max();
        state.notes.push_back(draft);
        let much = state.note_bytes > NOTE_BYTES_BEHIND;
        drop(state);
        if much {
            self.behind.send_if_modified(|behind| !std::mem::replace(behind, true));
        }
        self.bell.notify_one();
    }

    /// Takes room for lines of so many bytes. May wait for a disk.
    ///
    /// # Errors
    /// `NoSpace` and the like: then what needs them must not be done.
    pub(super) fn promise(self: &Arc<Self>, bytes: u64) -> Result<Promise, Fault> {
        let mut state = self.lock();
        if state.promised.saturating_add(bytes) <= state.ahead {
            state.promised += bytes;
            return Ok(Promise { desk: Arc::clone(self), bytes });
        }
        let (said, heard) = sync_channel(1);
        self.ask(state, Ask::Room(bytes, said))?;
        heard.recv().unwrap_or_else(|_| Err(gone()))?;
        Ok(Promise { desk: Arc::clone(self), bytes })
    }

    /// Has lines written, durably. Waits for a disk.
    ///
    /// # Errors
    /// The system's: nobody may be told of what they say.
    pub(super) fn write(&self, drafts: Vec<Draft>) -> Result<(), Fault> {
        let (said, heard) = sync_channel(1);
        self.ask(self.lock(), Ask::Lines(drafts, said))?;
        heard.recv().unwrap_or_else(|_| Err(gone()))
    }

    /// Waits until what was left before is written and synced, or cannot be.
    pub(super) async fn flush(&self) {
        let (said, heard) = oneshot::channel();
        if self.ask(self.lock(), Ask::Flush(said)).is_ok() {
            let _ = heard.await;
        }
    }

    fn ask(&self, mut state: MutexGuard<'_, State>, ask: Ask) -> Result<(), Fault> {
        if state.closing {
            return Err(gone());
        }
        state.asks.push(ask);
        drop(state);
        self.bell.notify_one();
        Ok(())
    }

    /// Whether notes pile up: who causes more should wait.
    pub(super) fn is_behind(&self) -> bool {
        *self.behind.borrow()
    }

    /// Waits until they do not.
    pub(super) async fn caught_up(&self) {
        let _ = self.behind.subscribe().wait_for(|behind| !behind).await;
    }

    /// The thread ends once everything is written that can be.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.bell.notify_one();
    }

    /// Waits for something to do, at most so long; `None`: nothing will come any more.
    fn take(&self, patience: Option<Duration>) -> Option<Round> {
        let mut state = self.lock();
        let idle = |state: &State| state.asks.is_empty() && state.notes.is_empty();
        if idle(&state) && !state.closing {
            state = match patience {
                None => self.bell.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(most) => {
                    self.bell.wait_timeout(state, most).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
        if idle(&state) && state.closing {
            return None;
        }
        // Nobody is promised what these take.
        state.ahead = state.ahead.saturating_sub(take(&mut state.note_bytes));
        Some(Round {
            asks: take(&mut state.asks),
            notes: take(&mut state.notes),
            lost: take(&mut state.lost),
            promised: state.promised,
        })
    }
}

/// What there is to do.
struct Round {
    asks: Vec<Ask>,
    notes: VecDeque<Draft>,
    lost: u64,
    promised: u64,
}

/// The writer.
pub(super) struct Clerk {
    desk: Arc<Desk>,
    book: Book,
    /// Since when something is written and not synced.
    since: Option<Instant>,
    /// Whether it was said that lines cannot be written.
    stuck: bool,
}

impl Clerk {
    pub(super) fn new(desk: &Arc<Desk>, book: Book) -> Self {
        let desk = Arc::clone(desk);
        Self { desk, book, since: None, stuck: false }
    }

    /// Writes until the desk is closed.
    pub(super) fn run(mut self) {
        let _leaving = Leaving(Arc::clone(&self.desk));
        let mut patience = None;
        while let Some(round) = self.desk.take(patience) {
            let waiting = self.turn(round);
            if waiting && self.desk.lock().closing {
                break;
            }
            patience = self.since.map(|since| LAZY.saturating_sub(since.elapsed()));
            if waiting {
                // Nobody can write now: look again after a while, or when asked.
                self.pause();
            }
        }
        let _ = self.sync();
    }

    /// One round; whether notes could not be written.
    fn turn(&mut self, round: Round) -> bool {
        let Round { asks, notes, lost, mut promised } = round;
        // A session's first line is a note: it stands before those of what the session did.
        let waiting = self.write_notes(notes, lost);
        let (mut answers, mut flushes, mut missing) = (Vec::new(), Vec::new(), 0);
        for ask in asks {
            match ask {
                Ask::Room(bytes, said) => {
                    let answer = self.reserve(promised.saturating_add(bytes));
                    if answer.is_ok() {
                        promised += bytes;
                        self.desk.lock().promised += bytes;
                    }
                    let _ = said.send(answer);
                }
                Ask::Lines(drafts, said) => {
                    let answer = self.append(&drafts);
                    missing += if answer.is_err() { drafts.len() as u64 } else { 0 };
                    answers.push((said, answer));
                }
                Ask::Flush(said) => flushes.push(said),
            }
        }
        let waiting = waiting | (missing > 0 && self.write_notes(VecDeque::new(), missing));
        let due = self.since.is_some_and(|since| since.elapsed() >= LAZY);
        let synced = match !answers.is_empty() || !flushes.is_empty() || due {
            true => self.sync(),
            false => Ok(()),
        };
        self.desk.lock().ahead = self.book.ahead().saturating_sub(OWN_BYTES);
        for (said, answer) in answers {
            let _ = said.send(answer.and(synced.clone()));
        }
        for said in flushes {
            // Whoever asked may have given up.
            let _ = said.send(());
        }
        waiting
    }

    /// Writes notes, and how many are missing; what there is no room for is kept. Whether any is.
    fn write_notes(&mut self, notes: VecDeque<Draft>, mut missing: u64) -> bool {
        let mut notes = Vec::from(notes);
        if self.book.is_broken() {
            let missing = missing.saturating_add(notes.len() as u64);
            self.keep(Vec::new(), missing);
            let lost = self.desk.lock().lost;
            // At first, and whenever they are twice as many: nothing says it in the log itself.
            if lost.checked_ilog2() != lost.saturating_sub(missing).checked_ilog2() {
                tracing::error!(lost, "so many lines at least are missing in the audit log");
            }
            return false;
        }
        if missing > 0 {
            notes.insert(0, Record { count: Some(missing), ..Record::now("gap") }.draft());
        }
        let mut written = 0;
        for some in notes.chunks(NOTES_AT_ONCE) {
            let bytes = some.iter().map(Draft::bytes_max).sum::<u64>();
            let promised = self.desk.lock().promised;
            let done =
                self.reserve(promised.saturating_add(bytes)).and_then(|()| self.append(some));
            if done.is_err() {
                break;
            }
            written += some.len();
            missing = 0;
        }
        let left = notes.split_off(written);
        let waiting = !left.is_empty();
        self.keep(left, missing);
        waiting
    }

    /// Puts notes back in front of those that came since.
    fn keep(&self, mut left: Vec<Draft>, missing: u64) {
        if missing > 0 && !left.is_empty() {
            // Its count is kept instead.
            left.remove(0);
        }
        let mut state = self.desk.lock();
        state.lost += missing;
        state.note_bytes += left.iter().map(Draft::bytes_max).sum::<u64>();
        left.into_iter().rev().for_each(|draft| state.notes.push_front(draft));
        let much = state.note_bytes > NOTE_BYTES_BEHIND;
        drop(state);
        self.desk.behind.send_if_modified(|behind| std::mem::replace(behind, much) != much);
    }

    /// Waits for a while, or for somebody who asks.
    fn pause(&self) {
        let state = self.desk.lock();
        if state.asks.is_empty() && !state.closing {
            drop(self.desk.bell.wait_timeout(state, LAZY));
        }
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), Fault> {
        let done = self.book.reserve(bytes.saturating_add(OWN_BYTES));
        self.tell(&done);
        done
    }

    fn append(&mut self, drafts: &[Draft]) -> Result<(), Fault> {
        let done = self.book.append(drafts);
        self.tell(&done);
        if self.book.unsynced() > 0 {
            self.since.get_or_insert_with(Instant::now);
        }
        done
    }

    fn sync(&mut self) -> Result<(), Fault> {
        self.since = None;
        self.book.sync()
    }

    /// Says that lines cannot be written, and that they can again, once each.
    fn tell(&mut self, done: &Result<(), Fault>) {
        match (done, self.stuck) {
            (Err(fault), false) => {
                self.stuck = true;
                tracing::error!(%fault, "the audit log cannot be written: changes are refused");
            }
            (Ok(()), true) => {
                self.stuck = false;
                tracing::warn!("the audit log can be written again");
            }
            _ => {}
        }
    }
}

/// However the clerk ends, nobody waits for it.
struct Leaving(Arc<Desk>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        (state.closing, state.left) = (true, true);
        state.asks.clear();
        self.0.behind.send_replace(false);
    }
}

fn gone() -> Fault {
    Fault::new(Code::ShuttingDown, "write the server's audit log")
}

/// What the log says of itself meanwhile: of a cut, of damage, of a gap.
const OWN_BYTES: u64 = 8 << 10;
/// How long a note may wait for its sync.
const LAZY: Duration = Duration::from_secs(1);
/// Notes that wait, at most.
const NOTE_BYTES_MAX: u64 = 8 << 20;
/// From here on those who cause them wait.
const NOTE_BYTES_BEHIND: u64 = 1 << 20;
/// Notes of one write.
const NOTES_AT_ONCE: usize = 512;

#[cfg(test)]
mod tests {
    use super::super::book::Room;
    use super::*;

    fn line() -> Draft {
        Record::now("commit").draft()
    }

    #[test]
    fn after_a_sync_that_failed_nobody_has_room_and_missing_lines_are_counted() {
        for room in [Room::CanBeKept, Room::CannotBe] {
            let dir = tempfile::tempdir().unwrap();
            let state = crate::state::State::open(dir.path()).unwrap();
            let mut book = Book::open(&state, 1 << 20).unwrap();
            book.reserve(1 << 16).unwrap();
            book.loses_its_disk(room);
            let desk = Desk::new();
            let clerk = Clerk::new(&desk, book);
            let clerk = std::thread::spawn(move || clerk.run());
            drop(desk.promise(100).unwrap());
            let failed = desk.write(vec![line()]).unwrap_err();
            let refused = desk.promise(100).map(drop);
            assert_eq!(refused, Err(failed), "{room:?}");
            desk.note(line());
            // After it the round that took the note is over, or it was in the same.
            assert!(desk.write(vec![line()]).is_err());
            desk.close();
            clerk.join().unwrap();
            assert_eq!(desk.lock().lost, 2, "{room:?}");
        }
    }
}
