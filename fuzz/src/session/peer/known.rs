//! What a peer knows of a session: what it said that counts later, and what it heard.

use super::Said;
use floe_proto::frame::{Await, DoneEntry, EntryBody, Frame, Header};
use floe_types::{EntryId, Root, Seq, StreamId, TransferId};
use std::collections::{BTreeMap, BTreeSet};

/// A chunk that was sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Chunk {
    /// Its stream.
    pub stream: StreamId,
    /// Its number.
    pub seq: Seq,
}

/// What a peer knows.
#[derive(Debug, Default)]
pub struct Known {
    /// Files that it announced, or heard of: size and content.
    pub files: Vec<(EntryId, u64)>,
    /// Headers that it said: by number, each that had it.
    pub headers: BTreeMap<Seq, Vec<Header>>,
    /// What it said is committed.
    pub committed: BTreeSet<(EntryId, Root)>,
    /// Directories and links that it said are committed.
    pub placed: BTreeSet<EntryId>,
    /// The next number of a chunk of its own.
    pub next_seq: u64,
    /// The next entry of its own.
    pub next_index: u64,
    /// Entries that it announced, by transfer.
    pub announced: BTreeMap<TransferId, u32>,
    /// Transfers that it heard OPEN of.
    pub opened: Vec<TransferId>,
    /// Chunks that it heard the seal of.
    pub seals: Vec<Chunk>,
    /// Chunks whose headers await a verdict.
    pub awaiting: Vec<Chunk>,
    /// What it heard DONE of.
    pub dones: Vec<(TransferId, DoneEntry)>,
    /// Entries that it heard of and that have no bytes.
    pub others: Vec<EntryId>,
    /// Transfers that it heard COMPLETE of.
    pub completes: Vec<TransferId>,
    /// Requests that it heard.
    pub requests: Vec<floe_types::RequestId>,
}

impl Known {
    /// Notes what the peer says.
    pub fn says(&mut self, frame: &Said) {
        match frame {
            Frame::Entries(transfer, list) => {
                let count = u32::try_from(list.len()).unwrap_or(u32::MAX);
                let announced = self.announced.entry(*transfer).or_default();
                *announced = announced.saturating_add(count);
                for entry in list {
                    self.next_index = self.next_index.max(entry.index.0.saturating_add(1));
                    let id = EntryId { transfer: *transfer, index: entry.index };
                    if let EntryBody::File { size: Some(size), .. } = entry.body {
                        self.files.push((id, size.0));
                    }
                }
            }
            Frame::Header(header) => {
                self.headers.entry(header.seq).or_default().push(*header);
                self.next_seq = self.next_seq.max(header.seq.0.saturating_add(1));
            }
            Frame::Committed(transfer, list) => {
                for one in list {
                    let id = EntryId { transfer: *transfer, index: one.index };
                    match one.root {
                        Some(root) => _ = self.committed.insert((id, root)),
                        None => _ = self.placed.insert(id),
                    }
                }
            }
            _ => {}
        }
    }

    /// Notes what the peer hears.
    pub fn hears(&mut self, stream: StreamId, frame: &Said) {
        match frame {
            Frame::Open(open) => self.opened.push(open.transfer),
            Frame::Entries(transfer, list) => {
                for entry in list {
                    let id = EntryId { transfer: *transfer, index: entry.index };
                    match &entry.body {
                        EntryBody::File { size, .. } => {
                            self.files.push((id, size.unwrap_or_default().0));
                        }
                        EntryBody::Directory => {}
                        _ => self.others.push(id),
                    }
                }
            }
            Frame::Header(header) if header.awaits == Await::Verdict => {
                self.awaiting.push(Chunk { stream, seq: header.seq });
            }
            Frame::Seal(seal) => self.seals.push(Chunk { stream, seq: seal.seq }),
            Frame::Done(transfer, list) => {
                self.dones.extend(list.iter().map(|done| (*transfer, *done)));
            }
            Frame::Complete(transfer, _) => self.completes.push(*transfer),
            Frame::Request(id, _) => self.requests.push(*id),
            _ => {}
        }
    }
}
