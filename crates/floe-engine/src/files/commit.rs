//! Commits: a batch of the core's as batches of the stores it is for.

use super::{Done, Files, Handle, LocalEnd, wrong_kind};
use crate::clock::timestamp;
use crate::receipt::{Statement, sign};
use floe_proto::disk::{CommitOp, CommitWhat};
use floe_proto::frame::ReceiptWish;
use floe_store::{Commit, Store};
use floe_types::{ByteCount, Code, EntryId, Fault, ObjectPath, Root, TransferId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

impl Files {
    /// Makes entries visible, whole and durable; answers in the same order. What is committed is
    /// open no more: a large tree would hold every descriptor of the process otherwise.
    pub(super) fn commit(&self, batch: Vec<CommitOp>, receipts: ReceiptWish) -> Done {
        let objects = match receipts {
            ReceiptWish::None => None,
            ReceiptWish::Signed => Some(batch.iter().map(object_of).collect()),
        };
        let results = self.commit_all(batch);
        match objects {
            None => Done::Committed(results),
            Some(objects) => self.sign(objects, results),
        }
    }

    /// Signs for the objects that are committed.
    fn sign(&self, objects: Vec<Option<Object>>, mut results: Vec<Result<(), Fault>>) -> Done {
        let signed = self.notary.as_ref().map_or_else(
            || Err(Fault::new(Code::Unsupported, "sign a receipt")),
            |notary| {
                let time = u64::try_from(timestamp().secs()).unwrap_or_default();
                let done = objects.into_iter().zip(&results).filter(|(_, result)| result.is_ok());
                let statement = |(path, size, root)| Statement {
                    root,
                    size,
                    path,
                    ticket: notary.ticket.clone(),
                    time,
                };
                let statements: Vec<_> =
                    done.filter_map(|(object, _)| object.map(statement)).collect();
                sign(&notary.signer, &statements)
            },
        );
        match signed {
            Ok(Some(receipt)) => Done::Signed(results, receipt),
            Ok(None) => Done::Committed(results),
            Err(fault) => {
                // They stand, and the same command finds them: but nothing says so to anybody yet.
                results.iter_mut().filter(|it| it.is_ok()).for_each(|it| *it = Err(fault.clone()));
                Done::Committed(results)
            }
        }
    }

    pub(super) fn commit_all(&self, batch: Vec<CommitOp>) -> Vec<Result<(), Fault>> {
        let entries: Vec<EntryId> = batch.iter().map(|op| op.entry).collect();
        let results = self.make_visible_and_say_so(batch);
        let mut transfers = BTreeSet::new();
        for (entry, result) in entries.into_iter().zip(&results) {
            if result.is_ok() {
                self.close_entry(entry);
                transfers.insert(entry.transfer);
            }
        }
        transfers.into_iter().for_each(|transfer| self.drop_retired(transfer));
        results
    }

    /// As `make_visible`, with a line in the log for each, durably, before anybody is told.
    fn make_visible_and_say_so(&self, batch: Vec<CommitOp>) -> Vec<Result<(), Fault>> {
        let Some(scribe) = &self.scribe else { return self.make_visible(batch) };
        let lines = match scribe.before_commit(&batch) {
            Ok(lines) => lines,
            Err(fault) => return batch.iter().map(|_| Err(fault.clone())).collect(),
        };
        let mut results = self.make_visible(batch);
        if let Err(fault) = scribe.committed(lines, &results) {
            // They stand, and the same command finds them: but nothing says so to anybody yet.
            results.iter_mut().filter(|it| it.is_ok()).for_each(|it| *it = Err(fault.clone()));
        }
        results
    }

    fn make_visible(&self, batch: Vec<CommitOp>) -> Vec<Result<(), Fault>> {
        let mut results: Vec<Result<(), Fault>> = batch.iter().map(|_| Ok(())).collect();
        let mut stores: Vec<Batch> = Vec::new();
        for (nth, op) in batch.into_iter().enumerate() {
            let transfer = op.entry.transfer;
            match self.prepare(op.clone()) {
                Err(fault) => results[nth] = Err(fault),
                Ok(Prepared::Written(result)) => results[nth] = result,
                Ok(Prepared::Store(commit)) => {
                    // A server has one store; a client's transfers have one each.
                    let same = |with: &TransferId| self.served.is_some() || *with == transfer;
                    match stores.iter_mut().find(|(with, ..)| same(with)) {
                        Some((_, places, commits)) => {
                            places.push((nth, op));
                            commits.push(commit);
                        }
                        None => stores.push((transfer, vec![(nth, op)], vec![commit])),
                    }
                }
            }
        }
        for (transfer, places, commits) in stores {
            let store = match self.store(transfer) {
                Ok(store) => store,
                Err(fault) => {
                    places.iter().for_each(|(nth, _)| results[*nth] = Err(fault.clone()));
                    continue;
                }
            };
            let told = store.commit_while(commits, &|| self.is_wanted());
            for ((nth, op), result) in places.into_iter().zip(told) {
                let again = || self.commit_again(&*store, op.clone());
                results[nth] = self.insist(result, (op.entry.transfer, &op.path, &*store), again);
                if matches!(op.what, CommitWhat::Directory { .. }) && results[nth].is_ok() {
                    self.begun.remove(op.entry.transfer, &op.path);
                }
            }
        }
        results
    }

    fn commit_again(&self, store: &dyn Store, op: CommitOp) -> Result<(), Fault> {
        match self.prepare(op)? {
            Prepared::Written(result) => result,
            Prepared::Store(commit) => {
                let told = store.commit_while(vec![commit], &|| self.is_wanted());
                told.into_iter().next().unwrap_or(Ok(()))
            }
        }
    }

    fn prepare(&self, op: CommitOp) -> Result<Prepared, Fault> {
        let commit = match op.what {
            CommitWhat::Object { size, root } => match self.handle(op.entry)? {
                Handle::Sink(sink) => Commit::Object { sink, size, root },
                Handle::ShortSink(short) => {
                    Commit::Object { sink: Arc::clone(short.written()?), size, root }
                }
                Handle::Output(output) => {
                    return Ok(Prepared::Written(write_out(&output, size)));
                }
                _ => return Err(wrong_kind(op.entry)),
            },
            CommitWhat::Link { target, metadata, precondition } => {
                Commit::Link { path: op.path, target, metadata, precondition }
            }
            CommitWhat::Directory { metadata } => Commit::Directory { path: op.path, metadata },
        };
        match self.end(op.entry.transfer)? {
            LocalEnd::Store(_) => Ok(Prepared::Store(commit)),
            LocalEnd::Input(_) | LocalEnd::Output(_) => {
                let what = "write what is no file to standard output";
                Err(Fault::new(Code::NotRegular, what))
            }
        }
    }
}

/// What is for one store: where each stood, what it was, and as the store takes it.
type Batch = (TransferId, Vec<(usize, CommitOp)>, Vec<Commit>);

/// What is signed of an object.
type Object = (ObjectPath, ByteCount, Root);

fn object_of(op: &CommitOp) -> Option<Object> {
    match op.what {
        CommitWhat::Object { size, root } => Some((op.path.clone(), size, root)),
        CommitWhat::Link { .. } | CommitWhat::Directory { .. } => None,
    }
}

enum Prepared {
    Store(Commit),
    Written(Result<(), Fault>),
}

fn write_out(output: &crate::pipe::Output, size: ByteCount) -> Result<(), Fault> {
    let (said, heard) = sync_channel(1);
    output.finish(size, Box::new(move |result| said.send(result).unwrap_or(())));
    heard.recv().unwrap_or_else(|_| Err(Fault::new(Code::Io, "write standard output")))
}
