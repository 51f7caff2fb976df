//! The rules, each a function from what the repository says to what it breaks.
//!
//! A rule knows nothing of the others and reads no files. It stands beside a test that shows it
//! failing on a small bad input and passing on a good one.

pub mod edges; // what may cross which seam inside a crate
pub mod layers; // which crate may depend on which
pub mod names; // names that say nothing
pub mod order; // modules import only what is listed above them
pub mod papers; // papers hold on every machine
pub mod sizes; // files, functions and lines
pub mod words; // unsafe, unfinished, sleeping and ignored

#[cfg(test)]
mod sample;
