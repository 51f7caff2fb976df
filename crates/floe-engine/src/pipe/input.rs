//! A source that can be read once, from its start on.

use crate::buffer::{Blank, Piece};
use crate::socket::reason;
use floe_types::{Code, Fault, Offset};
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
}

struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    asked: BTreeMap<Offset, (Blank, Answer)>,
    next: Offset,
    phase: Phase,
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
        Ok(Self { owner: Arc::new(Owner(desk)) })
    }

    /// Asks for the bytes at `at`; `answer` is called from another thread, once their turn came.
    pub fn read(&self, at: Offset, into: Blank, answer: Answer) {
        let mut state = self.owner.0.lock();
        if state.phase == Phase::Stopped {
            drop(state);
            return answer(Err(stopped()));
        }
        if at < state.next {
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
            let next = state.next;
            match state.phase {
                Phase::Stopped => return answer_all(state, |_| Err(stopped())),
                Phase::Ended if !state.asked.is_empty() => {
                    let asked = std::mem::take(&mut state.asked);
                    drop(state);
                    for (_, (blank, answer)) in asked {
                        answer(Ok(blank.seal(0)));
                    }
                    state = self.lock();
                }
                Phase::Reading if state.asked.contains_key(&next) => {
                    let Some((blank, answer)) = state.asked.remove(&next) else { continue };
                    drop(state);
                    answer(self.take_next(file, blank));
                    state = self.lock();
                }
                _ => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    fn take_next(&self, file: &mut File, mut blank: Blank) -> Result<Piece, Fault> {
        let (filled, phase) = self.fill(file, blank.bytes_mut())?;
        let mut state = self.lock();
        state.next = Offset(state.next.0 + filled as u64);
        if state.phase == Phase::Reading {
            state.phase = phase;
        }
        Ok(blank.seal(filled))
    }

    fn fill(&self, file: &mut File, into: &mut [u8]) -> Result<(usize, Phase), Fault> {
        let mut filled = 0;
        while filled < into.len() {
            let mut ready = [PollFd::new(file, PollFlags::IN)];
            match poll(&mut ready, Some(&LOOK)) {
                Ok(0) | Err(rustix::io::Errno::INTR) if self.lock().phase == Phase::Stopped => {
                    return Err(stopped());
                }
                Ok(0) | Err(rustix::io::Errno::INTR) => continue,
                // What cannot be polled is read.
                Ok(_) | Err(_) => {}
            }
            match file.read(&mut into[filled..]) {
                Ok(0) => return Ok((filled, Phase::Ended)),
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let what = format!("read standard input: {}", reason(&error));
                    return Err(Fault::new(Code::Io, what));
                }
            }
        }
        Ok((filled, Phase::Reading))
    }
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
        assert_eq!(ask(&input, 0, 4).recv().unwrap().unwrap_err().code, Code::SourceGone);
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
