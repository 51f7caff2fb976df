//! Room on the disk of the state directory that is kept for changes of tickets: one must be taken
//! back also where somebody has filled that disk.
//!
//! It is a file of random bytes, which no file system makes smaller. Where it was given up it is
//! made again by the first change that finds room for it.

use super::FILE;
use crate::state::{State, fill_randomly};
use floe_types::{Code, Fault};

const SPARE: &str = "tickets.spare";
const STEP: usize = 64 << 10;

/// Whether a change may use what is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Room {
    Found,
    Kept,
}

/// Replaces the file of tickets.
pub(super) fn replace(state: &State, bytes: &[u8], room: Room) -> Result<(), Fault> {
    let replaced = state.replace(FILE, bytes);
    let is_full = |fault: &Fault| matches!(fault.code, Code::NoSpace | Code::Quota);
    match replaced {
        Err(fault) if room == Room::Kept && is_full(&fault) => {
            state.remove(SPARE)?;
            // A file system with a journal gives room again once that is durable.
            state.sync()?;
            state.replace(FILE, bytes)
        }
        replaced => replaced,
    }
}

/// Keeps room for the file and as much again, if there is any.
pub(super) fn keep(state: &State, bytes: usize) {
    let wanted = (2 * bytes).next_multiple_of(STEP);
    let stands = state.stamp(SPARE).ok().flatten();
    if stands.is_some_and(|stamp| stamp.size() >= wanted as u64) {
        return;
    }
    let mut filling = vec![0; wanted];
    let kept = fill_randomly(&mut filling).and_then(|()| state.replace(SPARE, &filling));
    if let Err(fault) = kept {
        tracing::debug!(%fault, "no room is kept for taking tickets back");
    }
}
