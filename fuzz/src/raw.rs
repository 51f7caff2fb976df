//! A connection of the article's wire that brings a file: bytes in any portions, silence, resets
//! and interruptions at any place.
//!
//! Checked: nothing panics; what is taken is what came, in order, never more than was announced;
//! a whole file is told with its size and root; an early end, a byte too many, a reset and a cut
//! connection are faults of their own; memory is constant.
//!
//! ```text
//! input: options 1 | count 1 | turns (count % 64) | what comes
//! options: 1 sized, 2 whole buffers, 4 the size is that of what comes
//! turn: 0..=239 so many bytes (0 is 4096), then interrupted, silence, reset, cut
//! ```

use crate::heap::measure;
use floe_engine::raw::{Brings, Framing, Incoming, Pace, Terms, read_all, read_size};
use floe_types::{ByteCount, Code, Fault, Root};
use std::cell::Cell;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// Runs one input.
pub fn run(data: &[u8]) {
    let [options, count, rest @ ..] = data else { return };
    let Some((turns, body)) = rest.split_at_checked(usize::from(count % 64)) else { return };
    let framing = if options & 1 != 0 { Framing::Sized } else { Framing::Open };
    let pace = if options & 2 != 0 { Pace::Whole } else { Pace::AtOnce };
    let sized = options & 5 == 5;
    let stream =
        if sized { [&(body.len() as u64).to_be_bytes()[..], body].concat() } else { body.to_vec() };
    let from = Script { stream: &stream, turns, at: Cell::new((0, 0)), cut: Cell::new(Cut::No) };
    let mut taken = Vec::with_capacity(stream.len());
    let measured = measure(|| receive(&from, framing, pace, &mut taken));
    assert!(measured.peak_bytes < MEMORY_BYTES, "{} bytes", measured.peak_bytes);
    check(&from, framing, &taken, measured.value);
}

fn receive(
    from: &Script<'_>,
    framing: Framing,
    pace: Pace,
    taken: &mut Vec<u8>,
) -> Result<(ByteCount, Root), Fault> {
    let who = "from a script";
    let announced = match framing {
        Framing::Open => None,
        Framing::Sized => Some(read_size(from, who)?),
    };
    let incoming = Incoming { from, announced, who, pace };
    read_all(incoming, &Terms::new(framing), &mut |at, bytes| {
        assert_eq!(at.0, taken.len() as u64, "bytes are taken in order");
        taken.extend_from_slice(bytes);
        Ok(())
    })
}

fn check(
    from: &Script<'_>,
    framing: Framing,
    taken: &[u8],
    result: Result<(ByteCount, Root), Fault>,
) {
    let (announced, body) = match (framing, from.stream.split_first_chunk()) {
        (Framing::Open, _) => (None, from.stream),
        (Framing::Sized, None) => {
            assert!(result.is_err() && taken.is_empty());
            return;
        }
        (Framing::Sized, Some((size, body))) => (Some(u64::from_be_bytes(*size)), body),
    };
    assert!(body.starts_with(taken), "what is taken is what came");
    assert!(announced.is_none_or(|size| taken.len() as u64 <= size), "more than announced");
    match result {
        Ok((size, root)) => {
            assert_eq!((size.0, root), (taken.len() as u64, Root::of(taken)));
            let is_cut = announced.is_none() && from.cut.get() == Cut::Yes;
            assert!(!is_cut, "a cut connection passes for whole");
            match announced {
                Some(announced) => assert_eq!(size.0, announced),
                None => assert_eq!(taken, body, "an end that is none"),
            }
        }
        Err(fault) => {
            let known = [Code::ConnectionLost, Code::TimedOut, Code::Violation, Code::Interrupted];
            assert!(known.contains(&fault.code), "{fault}");
            let too_many = announced.is_some_and(|size| (body.len() as u64) > size);
            let no_size = announced.is_some_and(|size| size > i64::MAX as u64);
            assert!(fault.code != Code::Violation || too_many || no_size, "{fault}");
            assert!(fault.code != Code::Interrupted || from.cut.get() == Cut::Yes, "{fault}");
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    No,
    Yes,
}

/// A connection that does what a script says; at its end the rest comes at once, and then the end.
struct Script<'a> {
    stream: &'a [u8],
    turns: &'a [u8],
    /// How far the stream has come, and the script.
    at: Cell<(usize, usize)>,
    cut: Cell<Cut>,
}

impl Brings for Script<'_> {
    fn read(&self, into: &mut [u8]) -> io::Result<usize> {
        let (at, turn) = self.at.get();
        if self.cut.get() == Cut::Yes {
            return Ok(0);
        }
        let bytes_max = match self.turns.get(turn) {
            None => usize::MAX,
            Some(0) => 4096,
            Some(&count @ 1..=239) => usize::from(count),
            Some(240..=247) => {
                self.at.set((at, turn + 1));
                return Err(ErrorKind::Interrupted.into());
            }
            Some(248..=250) => {
                self.at.set((at, turn + 1));
                return Err(ErrorKind::WouldBlock.into());
            }
            Some(251..=253) => return Err(ErrorKind::ConnectionReset.into()),
            Some(_) => {
                self.cut.set(Cut::Yes);
                return Ok(0);
            }
        };
        let rest = &self.stream[at..];
        let count = rest.len().min(into.len()).min(bytes_max);
        into[..count].copy_from_slice(&rest[..count]);
        self.at.set((at + count, turn + 1));
        Ok(count)
    }

    fn wait_at_most(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn is_cut(&self) -> bool {
        self.cut.get() == Cut::Yes
    }
}

/// One buffer of 256 KiB, a hasher, and a line of text.
const MEMORY_BYTES: usize = 300 << 10;
