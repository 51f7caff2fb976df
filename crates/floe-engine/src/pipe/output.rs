//! A sink whose bytes leave in order, chunk by chunk, once each is verified.
//!
//! ```text
//! write ---> held ---record---> its turn came? ---> written, answered
//! ```
//! What was written cannot be taken back: after a reconnect the object goes on where it stopped if
//! its version is the same, and fails as changed if not.

use crate::buffer::Piece;
use crate::socket::reason;
use floe_types::{
    ByteCount, ChunkDigest, Code, Fault, Freshness, Offset, Range, SourceVersion, Subtree, Subtrees,
};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// How an operation ended.
pub type Answer = Box<dyn FnOnce(Result<(), Fault>) + Send>;

/// Bytes that go once. Clones are the same place.
#[derive(Clone)]
pub struct Output {
    owner: Arc<Owner>,
}

/// What an output holds of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OutputOpened {
    /// What was written already: complete subtrees.
    pub have: Vec<Subtree>,
    /// Whether that is the very version the sender named, and a settled one.
    pub trusted: bool,
}

struct Desk {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    held: BTreeMap<Offset, Piece>,
    held_bytes: ByteCount,
    recorded: BTreeMap<Offset, (Range, Option<ChunkDigest>, Answer)>,
    written: Offset,
    kept: Subtrees,
    version: Option<Option<SourceVersion>>,
    failed: Option<Fault>,
    closed: bool,
}

impl Output {
    /// Writes to a descriptor in a thread of its own.
    ///
    /// # Errors
    /// `LimitExceeded` where the system gives no thread.
    pub fn start(to: OwnedFd) -> Result<Self, Fault> {
        let desk = Arc::new(Desk { state: Mutex::default(), changed: Condvar::new() });
        let worker = Arc::clone(&desk);
        let thread = std::thread::Builder::new().name("floe-output".to_owned());
        thread
            .spawn(move || worker.serve(&mut File::from(to)))
            .map_err(|error| Fault::new(Code::LimitExceeded, format!("start a thread: {error}")))?;
        Ok(Self { owner: Arc::new(Owner(desk)) })
    }

    /// Begins an object, or goes on with it after a reconnect.
    ///
    /// # Errors
    /// `SourceChanged` where bytes of another version are out already.
    pub fn open(
        &self,
        version: Option<SourceVersion>,
        freshness: Freshness,
    ) -> Result<OutputOpened, Fault> {
        let mut state = self.owner.0.lock();
        state.let_go_of(Range::new(Offset::ZERO, Offset(u64::MAX)));
        let before = *state.version.get_or_insert(version);
        if state.written == Offset::ZERO {
            state.version = Some(version);
        } else if before != version || version.is_none() {
            return Err(gone());
        }
        let trusted = version.is_some() && freshness == Freshness::Settled;
        Ok(OutputOpened { have: state.kept.iter().collect(), trusted })
    }

    /// Holds a piece until its chunk is recorded. What may be held is bounded by the window, and
    /// for a peer that begins chunks and never ends them by `HELD_BYTES_MAX`.
    ///
    /// # Errors
    /// `LimitExceeded`.
    pub fn hold(&self, at: Offset, piece: Piece) -> Result<(), Fault> {
        let mut state = self.owner.0.lock();
        let len = ByteCount::of_len(piece.bytes().len());
        if state.held_bytes.plus(len) > HELD_BYTES_MAX {
            return Err(Fault::new(Code::LimitExceeded, "chunks that were begun and never ended"));
        }
        state.let_go_of(Range::new(at, at.plus(ByteCount(1))));
        state.held_bytes = state.held_bytes.plus(len);
        state.held.insert(at, piece);
        Ok(())
    }

    /// A chunk is verified: written when all before it are; answered then.
    pub fn record(&self, chunk: Range, digest: &ChunkDigest, answer: Answer) {
        self.queue(chunk, Some(*digest), answer);
    }

    /// An object of `size` is whole and verified: answered when all of it is written.
    pub fn finish(&self, size: ByteCount, answer: Answer) {
        let written = self.owner.0.lock().written;
        let rest = Range::new(written, Offset(size.0));
        if rest.is_empty() && written.0 == size.0 {
            return answer(Ok(()));
        }
        if rest.is_empty() {
            return answer(Err(Fault::new(Code::Integrity, "more bytes left than there are")));
        }
        self.queue(rest, None, answer);
    }

    /// Takes recorded bytes back, which only what is not written yet allows.
    ///
    /// # Errors
    /// `SourceChanged`.
    pub fn forget(&self, range: Range) -> Result<(), Fault> {
        let mut state = self.owner.0.lock();
        if range.start() < state.written && !range.is_empty() {
            return Err(gone());
        }
        state.let_go_of(range);
        Ok(())
    }

    /// The session that recorded is over, or its object: what waits for earlier chunks ends.
    pub fn let_go(&self) {
        let waiting = std::mem::take(&mut self.owner.0.lock().recorded);
        for (_, (_, _, answer)) in waiting {
            answer(Err(Fault::new(Code::ConnectionLost, "write standard output")));
        }
    }

    fn queue(&self, chunk: Range, digest: Option<ChunkDigest>, answer: Answer) {
        let mut state = self.owner.0.lock();
        if let Some(fault) = state.failed.clone() {
            drop(state);
            return answer(Err(fault));
        }
        state.recorded.insert(chunk.start(), (chunk, digest, answer));
        drop(state);
        self.owner.0.changed.notify_one();
    }
}

/// Ends the thread when the last handle is gone.
struct Owner(Arc<Desk>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_one();
    }
}

fn gone() -> Fault {
    Fault::new(Code::SourceChanged, "bytes of another version are on standard output already")
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self, file: &mut File) {
        let mut state = self.lock();
        loop {
            let next = state.written;
            if let Some((chunk, digest, answer)) = state.recorded.remove(&next) {
                let pieces = take_pieces(&mut state, chunk);
                drop(state);
                let result = pieces.and_then(|pieces| write_all(file, &pieces));
                state = self.lock();
                let failed = state.note(chunk, digest, &result);
                drop(state);
                for (_, (_, _, answer)) in failed {
                    answer(result.clone());
                }
                answer(result);
                state = self.lock();
            } else if state.closed {
                return;
            } else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

type Waiting = BTreeMap<Offset, (Range, Option<ChunkDigest>, Answer)>;

/// The largest window, and a chunk of the largest size for each of many streams.
const HELD_BYTES_MAX: ByteCount = ByteCount(2 << 30);

impl State {
    /// Pieces that begin in a range are held no more.
    fn let_go_of(&mut self, range: Range) {
        let within: Vec<_> =
            self.held.range(range.start()..range.end()).map(|(at, _)| *at).collect();
        for at in within {
            let piece = self.held.remove(&at);
            let len = piece.map_or(0, |piece| piece.bytes().len());
            self.held_bytes = self.held_bytes.minus(ByteCount::of_len(len));
        }
    }

    /// Notes what became of a chunk; after a failure, hands out everyone who waits behind it.
    fn note(
        &mut self,
        chunk: Range,
        digest: Option<ChunkDigest>,
        result: &Result<(), Fault>,
    ) -> Waiting {
        match result {
            Ok(()) => {
                self.written = chunk.end();
                if let Some(digest) = digest {
                    // A chunk follows the last one written, so it touches none that is kept.
                    let _ = self.kept.insert(Subtree { range: chunk, digest });
                }
                Waiting::new()
            }
            Err(fault) => {
                self.failed = Some(fault.clone());
                std::mem::take(&mut self.recorded)
            }
        }
    }
}

/// The pieces that make up a chunk. Those of an earlier attempt lie beside, and go with it.
fn take_pieces(state: &mut State, chunk: Range) -> Result<Vec<Piece>, Fault> {
    let mut pieces = Vec::new();
    let mut at = chunk.start();
    while at < chunk.end() {
        let Some(piece) = state.held.get(&at).filter(|piece| !piece.bytes().is_empty()) else {
            return Err(Fault::new(
                Code::Other,
                format!("write standard output: no bytes at {at}"),
            ));
        };
        at = at.plus(ByteCount::of_len(piece.bytes().len()));
        pieces.push(piece.clone());
    }
    state.let_go_of(chunk);
    Ok(pieces)
}

fn write_all(file: &mut File, pieces: &[Piece]) -> Result<(), Fault> {
    pieces
        .iter()
        .try_for_each(|piece| file.write_all(piece.bytes()))
        .map_err(|error| output_fault(&error))
}

/// Why standard output took no more; a reader that went away is no fault of a disk.
pub fn output_fault(error: &std::io::Error) -> Fault {
    let (code, why) = match error.kind() {
        ErrorKind::BrokenPipe => (Code::Other, "its reader is gone".to_owned()),
        // The code says it all.
        ErrorKind::StorageFull => return Fault::new(Code::NoSpace, "write standard output"),
        _ => (Code::Io, reason(error)),
    };
    Fault::new(code, format!("write standard output: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::Pool;
    use floe_types::{ChainingValue, Timestamp};
    use std::io::Read;
    use std::sync::mpsc::{Receiver, channel};

    const CHUNK: u64 = 256 << 10;

    fn hold(output: &Output, at: u64, len: usize, with: u8) {
        let mut blank = Pool::new(ByteCount(0)).blank(len);
        blank.bytes_mut().fill(with);
        output.hold(Offset(at), blank.seal(len)).unwrap();
    }

    fn record(output: &Output, start: u64, end: u64) -> Receiver<Result<(), Fault>> {
        let (said, heard) = channel();
        let digest = ChunkDigest { value: ChainingValue([0; 32]), root: None };
        let range = Range::new(Offset(start), Offset(end));
        output.record(range, &digest, Box::new(move |answer| said.send(answer).unwrap()));
        heard
    }

    #[test]
    fn chunks_leave_in_order_and_only_when_recorded() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let output = Output::start(writer.into()).unwrap();
        let got = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        let len = usize::try_from(CHUNK).unwrap();
        hold(&output, CHUNK, 10, 2);
        let second = record(&output, CHUNK, CHUNK + 10);
        hold(&output, 0, len / 2, 9);
        hold(&output, 0, len, 1); // the second attempt, in one piece
        assert!(second.try_recv().is_err());
        assert_eq!(record(&output, 0, CHUNK).recv(), Ok(Ok(())));
        assert_eq!(second.recv(), Ok(Ok(())));
        let (said, heard) = channel();
        output.finish(ByteCount(CHUNK + 10), Box::new(move |end| said.send(end).unwrap()));
        assert_eq!(heard.recv(), Ok(Ok(())));
        drop(output);
        let all = got.join().unwrap();
        assert_eq!((all.len(), all[0], all[len - 1], all[len]), (len + 10, 1, 1, 2));
    }

    #[test]
    fn a_chunk_that_waits_for_an_earlier_one_ends_with_its_session() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let output = Output::start(writer.into()).unwrap();
        hold(&output, CHUNK, 10, 2);
        let later = record(&output, CHUNK, CHUNK + 10);
        output.let_go();
        assert_eq!(later.recv().unwrap().unwrap_err().code, Code::ConnectionLost);
        hold(&output, 0, 10, 1);
        assert_eq!(record(&output, 0, 10).recv(), Ok(Ok(())), "the next session goes on");
    }

    #[test]
    fn goes_on_with_the_same_version_and_refuses_another() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let output = Output::start(writer.into()).unwrap();
        let mtime = Timestamp::default();
        let version = SourceVersion { inode: 1, size: ByteCount(5), mtime, ctime: mtime };
        let first = output.open(Some(version), Freshness::Settled).unwrap();
        assert_eq!(first, OutputOpened { have: vec![], trusted: true });
        hold(&output, 0, 5, 1);
        assert_eq!(record(&output, 0, 5).recv(), Ok(Ok(())));
        let again = output.open(Some(version), Freshness::Settled).unwrap();
        assert_eq!(again.have.len(), 1);
        let other = Some(SourceVersion { inode: 2, ..version });
        let fault = output.open(other, Freshness::Settled).unwrap_err();
        assert_eq!(fault.code, Code::SourceChanged);
        assert_eq!(
            output.forget(Range::new(Offset(0), Offset(5))).unwrap_err().code,
            Code::SourceChanged
        );
    }
}
