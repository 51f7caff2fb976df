//! What became of the entries of a batch, and what that means for the account.

use super::super::book::Book;
use super::super::quota::Load;
use super::super::usage::{Pending, What};
use super::Rest;
use floe_store::{Commit, Sink};
use floe_types::{Code, Fault};
use std::sync::Arc;

/// Whether an entry stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    Yes,
    No,
}

/// Counts what became of an entry of a batch.
pub(super) fn settle(
    book: &mut Book,
    entry: &Pending,
    answer: &Result<(), Fault>,
    stands: Stands,
) -> Rest {
    match (stands, &entry.what, answer) {
        (Stands::Yes, ..) => book.spend(entry, Load::ENTRY),
        (Stands::No, What::Link | What::Directory, _) => book.account.release(Load::ENTRY),
        // One whose name was taken is discarded.
        (Stands::No, What::Object { stage, .. }, answer) if is_taken(answer) => {
            book.forget(stage);
        }
        (Stands::No, What::Object { .. }, _) => return Rest::Staged,
    }
    Rest::Nothing
}

/// Whether something has the name of an entry, and may not be replaced.
pub(super) fn is_taken(answer: &Result<(), Fault>) -> bool {
    answer.as_ref().is_err_and(|fault| fault.code == Code::Exists)
}

/// The stage that an entry of a batch is made of.
pub(super) fn stage_of(commit: &Commit) -> Option<Arc<dyn Sink>> {
    match commit {
        Commit::Object { sink, .. } => Some(Arc::clone(sink)),
        Commit::Link { .. } | Commit::Directory { .. } => None,
    }
}
