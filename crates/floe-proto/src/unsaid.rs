//! Cold frames that wait to be taken, and about how much memory they take.
//!
//! A peer that does not read is not listened to once they take too much, so that is counted as they
//! come and go. Announcements, and what is said of entries, share frames while these wait. Faults
//! are cut here to what the wire carries.

use crate::frame::{CommittedEntry, DoneEntry, Entry, Frame, Reply, SeqRange, Stat};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem::size_of;
use floe_types::{Component, Range, Subtree, TransferId};

/// They, in order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Unsaid<P> {
    frames: VecDeque<Frame<P>>,
    /// About what all of them take.
    bytes: usize,
}

/// What they may take before that: far more than an honest peer leaves, which reads at all times.
const BYTES_MAX: usize = 4 << 20;
/// What they may take before a walk waits: enough for a fast path, and what a slow client leaves of
/// a large tree is little.
const WALKED_BYTES_MAX: usize = 512 << 10;
/// What a batch of announcements may come to; well below the longest frame.
const COLD_BYTES: usize = 40 << 10;
/// Entries of one batch: at most 70 bytes each where they are not announcements.
const BATCH_MAX: usize = 512;

impl<P> Unsaid<P> {
    pub(crate) const fn new() -> Self {
        Self { frames: VecDeque::new(), bytes: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    /// About what all of them take.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether they take so much that nothing is heard which would add to them.
    pub(crate) const fn is_long(&self) -> bool {
        self.bytes >= BYTES_MAX
    }

    /// Whether they take so much that no walk goes on.
    pub(crate) const fn holds_walks(&self) -> bool {
        self.bytes >= WALKED_BYTES_MAX
    }

    pub(crate) fn push(&mut self, frame: Frame<P>) {
        let frame = told(frame);
        self.bytes += footprint(&frame);
        self.frames.push_back(frame);
    }

    pub(crate) fn pop(&mut self) -> Option<Frame<P>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= footprint(&frame);
        Some(frame)
    }

    /// Where the last such frame stands.
    pub(crate) fn last(&self, which: impl Fn(&Frame<P>) -> bool) -> Option<usize> {
        self.frames.iter().rposition(which)
    }

    pub(crate) fn insert(&mut self, at: usize, frame: Frame<P>) {
        let frame = told(frame);
        self.bytes += footprint(&frame);
        self.frames.insert(at, frame);
    }

    /// An announcement: joins the last batch if that is still here and has room.
    pub(crate) fn push_entry(&mut self, transfer: TransferId, entry: Entry) {
        let cost = entry_cost(&entry);
        let room =
            |list: &Vec<Entry>| list.iter().map(entry_cost).sum::<usize>() + cost <= COLD_BYTES;
        for frame in self.frames.iter_mut().rev() {
            match frame {
                Frame::Entries(of, list)
                    if *of == transfer && list.len() < BATCH_MAX && room(list) =>
                {
                    self.bytes += entry_footprint(&entry);
                    return list.push(entry);
                }
                Frame::Done(..) => {}
                _ => break,
            }
        }
        self.push(Frame::Entries(transfer, alloc::vec![entry]));
    }

    /// An entry is whole: joins the last batch if that is still here and has room.
    pub(crate) fn push_done(&mut self, transfer: TransferId, done: DoneEntry) {
        for frame in self.frames.iter_mut().rev() {
            match frame {
                Frame::Done(of, list) if *of == transfer && list.len() < BATCH_MAX => {
                    self.bytes += size_of::<DoneEntry>();
                    return list.push(done);
                }
                Frame::Entries(..) => {}
                _ => break,
            }
        }
        self.push(Frame::Done(transfer, alloc::vec![done]));
    }

    /// An entry is committed: joins the last batch if that is still here and has room.
    pub(crate) fn push_committed(&mut self, transfer: TransferId, committed: CommittedEntry) {
        for frame in self.frames.iter_mut().rev() {
            match frame {
                Frame::Committed(of, list) if *of == transfer && list.len() < BATCH_MAX => {
                    self.bytes += size_of::<CommittedEntry>();
                    return list.push(committed);
                }
                Frame::Want(_) => {}
                _ => break,
            }
        }
        self.push(Frame::Committed(transfer, alloc::vec![committed]));
    }
}

/// A frame with its fault cut.
fn told<P>(frame: Frame<P>) -> Frame<P> {
    match frame {
        Frame::Failed(mut failed) => {
            failed.fault = failed.fault.told();
            Frame::Failed(failed)
        }
        Frame::Cancel(transfer, fault) => Frame::Cancel(transfer, fault.told()),
        Frame::Close(Some(fault)) => Frame::Close(Some(fault.told())),
        Frame::Reply(id, Err(fault)) => Frame::Reply(id, Err(fault.told())),
        frame => frame,
    }
}

/// An upper bound of the bytes an announcement takes on the wire.
fn entry_cost(entry: &Entry) -> usize {
    let path: usize = entry.path.components().iter().map(|name| name.as_bytes().len() + 3).sum();
    160 + path + entry.body.link_len()
}

/// About what a frame takes in memory.
fn footprint<P>(frame: &Frame<P>) -> usize {
    let beside = match frame {
        Frame::Entries(_, list) => list.iter().map(entry_footprint).sum(),
        Frame::Failed(failed) => failed.path.footprint() + failed.fault.detail.len(),
        Frame::Done(_, list) => list.len() * size_of::<DoneEntry>(),
        Frame::Committed(_, list) => list.len() * size_of::<CommittedEntry>(),
        Frame::Want(want) => want.have.len() * size_of::<Subtree>(),
        Frame::Drop(_, ranges) => ranges.len() * size_of::<Range>(),
        Frame::Stored(ranges, _) => ranges.len() * size_of::<SeqRange>(),
        Frame::Receipt(_, receipt) => {
            let signed = receipt.key.len() + receipt.signature.len() + receipt.ticket.len();
            signed + receipt.leaves.len() * 32
        }
        Frame::Open(open) => open.path.footprint(),
        Frame::Cancel(_, fault) | Frame::Close(Some(fault)) | Frame::Reply(_, Err(fault)) => {
            fault.detail.len()
        }
        Frame::Reply(_, Ok(Reply::Page { names, .. })) => names.iter().map(name_footprint).sum(),
        Frame::Reply(_, Ok(Reply::Stat(stat))) => text_len(stat),
        _ => 0,
    };
    size_of::<Frame<P>>() + beside
}

fn entry_footprint(entry: &Entry) -> usize {
    size_of::<Entry>() + entry.footprint()
}

fn name_footprint(named: &(Component, Option<Stat>)) -> usize {
    let (name, stat) = named;
    let text = stat.as_ref().map_or(0, text_len);
    size_of::<(Component, Option<Stat>)>() + NAME_BYTES + name.as_bytes().len() + text
}

/// What a name takes beside its bytes.
const NAME_BYTES: usize = 32;

fn text_len(stat: &Stat) -> usize {
    stat.target.as_ref().map_or(0, Vec::len)
}
