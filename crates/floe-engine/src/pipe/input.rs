//! A source that can be read once, from its start on.
//!
//! What was read is kept until it is spent (the receiver recorded it), so that another session can
//! go on where one was lost: what was spent it knows by digest, the rest it reads again from here.

use crate::buffer::{Blank, Piece};
use crate::clock::timestamp;
use crate::socket::reason;
use floe_types::{ByteCount, Code, Fault, Offset, Range, Subtree, Subtrees, Timestamp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What a read became: the bytes, fewer than asked only at the end, none past it.
pub type Answer = Box<dyn FnOnce(Result<Piece, Fault>) + Send>;

/// Bytes that come once. Clones are the same bytes.
#[derive(Clone)]
pub struct Input {
    owner: Arc<Owner>,
    began: Timestamp,
}

struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: BTreeMap<Offset, (Blank, Answer)>,
    /// Where the descriptor stands.
    next: Offset,
    /// Read and not spent, by where it starts.
    kept: BTreeMap<Offset, Piece>,
    spent: Subtrees,
    phase: Phase,
    /// Counts `let_go`: a read that waits for bytes ends when it changes.
    round: u64,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Reading,
    Ended,
    Stopped,
}

/// How often a read that waits for a person looks whether it is still wanted.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

impl Input {
    /// Reads a descriptor (of a pipe, a terminal, a file) in a thread of its own.
    ///
    /// # Errors
    /// `LimitExceeded` where the system gives no thread.
    pub fn start(from: OwnedFd) -> Result<Self, Fault> {
        let desk = Arc::new(Desk { state: Mutex::default(), changed: Condvar::new() });
        let worker = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("floe-input".to_owned());
        thread
            .spawn(move || worker.serve(&mut File::from(from)))
            .map_err(|error| Fault::new(Code::LimitExceeded, format!("start a thread: {error}")))?;
        Ok(Self { owner: Arc::new(Owner(desk)), began: timestamp() })
    }

    /// When it was begun: the mtime of what it becomes, the same in every session.
    #[must_use]
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// Asks for the bytes at `at`; `answer` is called from another thread, once their turn came.
    pub fn read(&self, at: Offset, into: Blank, answer: Answer) {
        let mut state = self.owner.0.lock();
        if state.phase == Phase::Stopped {
            drop(state);
            return answer(Err(stopped()));
        }
        if at < state.next && state.kept_at(at).is_none() {
            drop(state);
            return answer(Err(Fault::new(Code::SourceGone, format!("read input at {at} again"))));
        }
        let replaced = state.asked.insert(at, (into, answer));
        drop(state);
        self.owner.0.changed.notify_one();
        if let Some((_, answer)) = replaced {
            answer(Err(Fault::new(Code::SourceGone, format!("read input at {at} twice"))));
        }
    }

    /// A chunk's bytes are not needed again.
    pub fn spend(&self, chunk: Subtree) {
        let mut state = self.owner.0.lock();
        // A chunk that comes back is recorded twice, and spent once.
        let _first = state.spent.insert(chunk);
        state.kept.retain(|at, piece| {
            let piece = Range::new(*at, at.plus(ByteCount::of_len(piece.bytes().len())));
            piece.intersect(chunk.range).is_empty()
        });
    }

    /// What was spent, ascending.
    #[must_use]
    pub fn spent(&self) -> Vec<Subtree> {
        self.owner.0.lock().spent.iter().collect()
    }

    /// Whether all of it was read and some of it, or all of nothing, is spent: whoever recorded
    /// that may have finished.
    #[must_use]
    pub fn may_be_finished(&self) -> bool {
        let state = self.owner.0.lock();
        let some_spent = state.spent.iter().next().is_some() || state.next == Offset::ZERO;
        state.phase == Phase::Ended && some_spent
    }

    /// The session that asked is over: its reads end, what they have got is kept for the next.
    pub fn let_go(&self) {
        let mut state = self.owner.0.lock();
        state.round += 1;
        let asked = std::mem::take(&mut state.asked);
        drop(state);
        self.owner.0.changed.notify_one();
        for (_, (_, answer)) in asked {
            answer(Err(let_go()));
        }
    }

    /// Reads nothing more: what was asked and what will be asked fails as interrupted.
    pub fn stop(&self) {
        self.owner.0.stop();
    }
}

/// Ends the thread when the last handle is gone.
struct Owner(Arc<Desk>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.stop();
    }
}

fn stopped() -> Fault {
    Fault::new(Code::Interrupted, "read standard input")
}

fn let_go() -> Fault {
    Fault::new(Code::ConnectionLost, "read standard input")
}

impl State {
    /// What is kept from `at` on, as far as one piece goes.
    fn kept_at(&self, at: Offset) -> Option<&[u8]> {
        let (start, piece) = self.kept.range(..=at).next_back()?;
        let skipped = ByteCount(at.0 - start.0).to_len()?;
        piece.bytes().get(skipped..).filter(|rest| !rest.is_empty())
    }

    /// The read whose turn it is: one of kept bytes, or the next of the descriptor.
    fn take_turn(&mut self) -> Option<(Offset, Blank, Answer)> {
        let (at, _) = self.asked.first_key_value()?;
        let at = *at;
        if at > self.next {
            return None;
        }
        let (blank, answer) = self.asked.remove(&at)?;
        Some((at, blank, answer))
    }
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().phase = Phase::Stopped;
        self.changed.notify_one();
    }

    fn serve(&self, file: &mut File) {
        let mut state = self.lock();
        loop {
            match state.phase {
                Phase::Stopped => return answer_all(state, |_| Err(stopped())),
                Phase::Ended | Phase::Reading => {}
            }
            let ended = state.phase == Phase::Ended;
            if let Some((at, blank, answer)) = state.take_turn() {
                drop(state);
                answer(self.take(file, at, blank));
            } else if ended && !state.asked.is_empty() {
                let asked = std::mem::take(&mut state.asked);
                drop(state);
                for (_, (blank, answer)) in asked {
                    answer(Ok(blank.seal(0)));
                }
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self.lock();
        }
    }

    /// Fills a piece from what is kept, then from the descriptor.
    fn take(&self, file: &mut File, at: Offset, mut blank: Blank) -> Result<Piece, Fault> {
        let mut filled = 0;
        let (round, phase) = {
            let state = self.lock();
            let into = blank.bytes_mut();
            while filled < into.len()
                && let Some(kept) = state.kept_at(at.plus(ByteCount::of_len(filled)))
            {
                let count = kept.len().min(into.len() - filled);
                into[filled..filled + count].copy_from_slice(&kept[..count]);
                filled += count;
            }
            (state.round, state.phase)
        };
        let (got, end) = match phase {
            // Its end is its end, though a file may have grown and a pipe been opened again.
            Phase::Ended => (0, Ok(Filled::Ended)),
            _ => self.fill(file, &mut blank.bytes_mut()[filled..], round),
        };
        let piece = blank.seal(filled + got);
        let mut state = self.lock();
        state.next = state.next.plus(ByteCount::of_len(got));
        if !piece.bytes().is_empty() {
            // In place of what it was made of: no byte is kept twice.
            let whole = Range::new(at, at.plus(ByteCount::of_len(piece.bytes().len())));
            state.kept.retain(|start, old| {
                let old = Range::new(*start, start.plus(ByteCount::of_len(old.bytes().len())));
                old.intersect(whole) != old
            });
            state.kept.insert(at, piece.clone());
        }
        match end? {
            Filled::Whole => {}
            Filled::Ended if state.phase == Phase::Reading => state.phase = Phase::Ended,
            Filled::Ended => {}
        }
        Ok(piece)
    }

    /// Reads until the buffer is full, the source ends, or nobody wants it any more.
    fn fill(&self, file: &mut File, into: &mut [u8], round: u64) -> (usize, Result<Filled, Fault>) {
        let mut filled = 0;
        while filled < into.len() {
            let mut ready = [PollFd::new(file, PollFlags::IN)];
            match poll(&mut ready, Some(&LOOK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {
                    let state = self.lock();
                    match state.phase {
                        Phase::Stopped => return (filled, Err(stopped())),
                        Phase::Ended => return (filled, Ok(Filled::Ended)),
                        Phase::Reading if state.round != round => return (filled, Err(let_go())),
                        Phase::Reading => continue,
                    }
                }
                // What cannot be polled is read.
                Ok(_) | Err(_) => {}
            }
            match file.read(&mut into[filled..]) {
                Ok(0) => return (filled, Ok(Filled::Ended)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let what = format!("read standard input: {}", reason(&error));
                    return (filled, Err(Fault::new(Code::Io, what)));
                }
            }
        }
        (filled, Ok(Filled::Whole))
    }
}

/// How far a buffer was filled.
enum Filled {
    Whole,
    Ended,
}

fn answer_all(mut state: MutexGuard<'_, State>, say: impl Fn(Offset) -> Result<Piece, Fault>) {
    let asked = std::mem::take(&mut state.asked);
    drop(state);
    for (at, (_, answer)) in asked {
        answer(say(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Pool;
    use floe_types::ByteCount;
    use std::io::Write;
    use std::sync::mpsc::{Receiver, channel};

    fn ask(input: &Input, at: u64, len: usize) -> Receiver<Result<Piece, Fault>> {
        let (said, heard) = channel();
        let blank = Pool::new(ByteCount(0)).blank(len);
        input.read(Offset(at), blank, Box::new(move |answer| said.send(answer).unwrap()));
        heard
    }

    #[test]
    fn what_has_ended_stays_ended_though_its_file_grows() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abcde").unwrap();
        let input = Input::start(File::open(file.path()).unwrap().into()).unwrap();
        assert_eq!(ask(&input, 0, 8).recv().unwrap().unwrap().bytes(), b"abcde");
        let mut more = std::fs::OpenOptions::new().append(true).open(file.path()).unwrap();
        more.write_all(b"fghij").unwrap();
        assert_eq!(ask(&input, 5, 8).recv().unwrap().unwrap().bytes(), b"");
    }

    #[test]
    fn reads_come_in_any_order_and_are_answered_in_theirs() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let input = Input::start(reader.into()).unwrap();
        let second = ask(&input, 4, 4);
        let third = ask(&input, 8, 4);
        let first = ask(&input, 0, 4);
        writer.write_all(b"abcdefghi").unwrap();
        drop(writer);
        assert_eq!(first.recv().unwrap().unwrap().bytes(), b"abcd");
        assert_eq!(second.recv().unwrap().unwrap().bytes(), b"efgh");
        assert_eq!(third.recv().unwrap().unwrap().bytes(), b"i");
        assert_eq!(ask(&input, 12, 4).recv().unwrap().unwrap().bytes(), b"");
        let again = ask(&input, 0, 4).recv().unwrap().unwrap();
        assert_eq!(again.bytes(), b"abcd", "what is not spent is kept");
    }

    fn spent(range: Range) -> Subtree {
        let mut hasher = floe_types::ChunkHasher::new(range.start());
        hasher.update(&vec![0; range.len().to_len().unwrap()]);
        Subtree { range, digest: hasher.finish().unwrap() }
    }

    #[test]
    fn what_was_not_spent_is_read_again_and_what_was_is_gone() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let input = Input::start(reader.into()).unwrap();
        let chunk = 256 << 10;
        std::thread::spawn(move || {
            for byte in [b'a', b'b', b'c'] {
                writer.write_all(&vec![byte; chunk]).unwrap();
            }
        });
        for nth in 0..2 {
            assert_eq!(
                ask(&input, nth * chunk as u64, chunk).recv().unwrap().unwrap().bytes().len(),
                chunk
            );
        }
        input.spend(spent(Range::new(Offset(0), Offset(chunk as u64))));
        assert_eq!(input.spent().len(), 1);
        assert_eq!(ask(&input, 0, 4).recv().unwrap().unwrap_err().code, Code::SourceGone);
        // Another size of piece, across what is kept and what was never read.
        let at = chunk as u64 + 4;
        let again = ask(&input, at, chunk).recv().unwrap().unwrap();
        assert_eq!((again.bytes()[0], again.bytes()[chunk - 5]), (b'b', b'b'));
        assert_eq!(again.bytes()[chunk - 4..], *b"cccc");
    }

    #[test]
    fn a_read_of_a_session_that_is_over_ends_and_loses_nothing() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let input = Input::start(reader.into()).unwrap();
        writer.write_all(b"ab").unwrap();
        let first = ask(&input, 0, 4);
        // It has the first bytes once the pipe is empty, or has not begun: either way it ends.
        input.let_go();
        assert_eq!(first.recv().unwrap().unwrap_err().code, Code::ConnectionLost);
        let second = ask(&input, 0, 4);
        writer.write_all(b"cd").unwrap();
        assert_eq!(second.recv().unwrap().unwrap().bytes(), b"abcd");
    }

    #[test]
    fn a_read_that_waits_for_a_person_can_be_stopped() {
        let (reader, writer) = std::io::pipe().unwrap();
        let input = Input::start(reader.into()).unwrap();
        let (first, second) = (ask(&input, 0, 4), ask(&input, 4, 4));
        input.stop();
        assert_eq!(first.recv().unwrap().unwrap_err().code, Code::Interrupted);
        assert_eq!(second.recv().unwrap().unwrap_err().code, Code::Interrupted);
        drop(writer);
    }
}
