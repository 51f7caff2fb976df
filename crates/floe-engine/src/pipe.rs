//! Standard input as a source and standard output as a sink.
//!
//! Either is a stream of bytes that exists once, in order, while the operations of several streams
//! come in any order. So each has a thread of its own that takes what is next and leaves the rest
//! waiting; no disk thread is ever held by a terminal. What leaves `Output` is verified: a chunk is
//! written only when it is recorded.

mod input;
mod output;

pub use input::Input;
pub use output::{Output, OutputOpened, output_fault};
