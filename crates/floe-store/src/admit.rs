//! A batch of which a store that stands before another lets a part through.

use crate::api::{Commit, Result};

/// Commits by `commit` what `admit` lets through, in the form that it gives it; what it does not is
/// answered as it says. `tell` makes of the answer the one to give, by what `admit` kept beside.
pub fn commit_admitted<T>(
    commit: impl FnOnce(Vec<Commit>) -> Vec<Result<()>>,
    batch: Vec<Commit>,
    mut admit: impl FnMut(Commit) -> std::result::Result<(Commit, T), Result<()>>,
    tell: impl Fn(T, Result<()>) -> Result<()>,
) -> Vec<Result<()>> {
    let mut answers: Vec<Result<()>> = Vec::with_capacity(batch.len());
    let (mut admitted, mut places) = (Vec::new(), Vec::new());
    for (nth, entry) in batch.into_iter().enumerate() {
        answers.push(match admit(entry) {
            Ok((entry, beside)) => {
                admitted.push(entry);
                places.push((nth, beside));
                Ok(())
            }
            Err(answer) => answer,
        });
    }
    for ((nth, beside), answer) in places.into_iter().zip(commit(admitted)) {
        answers[nth] = tell(beside, answer);
    }
    answers
}
