//! A source that can be read once, from start to end: standard input, a pipe.
//!
//! It has no version and answers only the next offset. After a failed read nobody knows where the
//! stream is, so the failure is final.

use crate::api::{Result, Source};
use crate::disk::DiskError;
use floe_types::{ByteCount, Code, Fault, Offset, SourceVersion};
use std::io::{ErrorKind, Read};
use std::sync::{Mutex, PoisonError};

/// A source over any reader. Blocks as long as the reader does.
pub struct StreamSource<R> {
    name: String,
    state: Mutex<State<R>>,
}

struct State<R> {
    reader: R,
    next: Offset,
    condition: Condition,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Open,
    Ended,
    Failed,
}

impl<R: Read + Send> StreamSource<R> {
    /// A source over a reader; `name` is for messages, escaped: `standard input`.
    pub fn new(reader: R, name: impl Into<String>) -> Self {
        let state = State { reader, next: Offset::ZERO, condition: Condition::Open };
        Self { name: name.into(), state: Mutex::new(state) }
    }

    fn fault(&self, at: Offset, code: Code) -> Fault {
        DiskError::new(code).fault(format_args!("read {} at {at}", self.name))
    }
}

impl<R: Read + Send> Source for StreamSource<R> {
    fn version(&self) -> Result<Option<SourceVersion>> {
        Ok(None)
    }

    fn read_at(&self, at: Offset, into: &mut [u8]) -> Result<usize> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if at != state.next || state.condition == Condition::Failed {
            return Err(self.fault(at, Code::SourceGone));
        }
        let count = state.fill(into).map_err(|error| {
            let code = match error.kind() {
                ErrorKind::IsADirectory => Code::IsDirectory,
                ErrorKind::PermissionDenied => Code::PermissionDenied,
                _ => Code::Io,
            };
            self.fault(at, code)
        })?;
        state.next = at.plus(ByteCount::of_len(count));
        Ok(count)
    }

    /// Never without waiting: whether a pipe holds bytes is not asked.
    fn read_cached(&self, _: Offset, _: &mut [u8]) -> Result<Option<usize>> {
        Ok(None)
    }
}

impl<R: Read> State<R> {
    fn fill(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() && self.condition == Condition::Open {
            match self.reader.read(into.get_mut(filled..).unwrap_or_default()) {
                Ok(0) => self.condition = Condition::Ended,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.condition = Condition::Failed;
                    return Err(error);
                }
            }
        }
        Ok(filled)
    }
}
