//! Values of floe: what every layer counts, names and compares with.
//!
//! Admission rule: a value without input or output, traits to implement or async. The crate builds
//! without std (alloc only), which proves it. A module imports only modules listed above it.

#![no_std]

extern crate alloc;

pub mod code; // error codes: one table for the wire, the exit status and the hint
pub mod escape; // a peer's bytes made safe for a terminal, a log or a page
pub mod number; // offsets, counts, ids, time: distinct types, one macro
pub mod path; // object paths: lists of byte-string components, parsed once
pub mod range; // half-open ranges of offsets, and sets of them
pub mod size; // the text of sizes and rates, chunk sizes
pub mod digest; // chaining values, chunk digests, roots, and their hex text
pub mod entry; // what an entry is: kind, metadata, source version
pub mod utc; // stamps as people read them
pub mod limits; // every bound, with the relations among them asserted
pub mod planted; // bugs on purpose, in the simulation alone
pub mod subtree; // complete BLAKE3 subtrees: merge, missing ranges, root

pub use code::{Blame, Code, Fault};
pub use digest::{ChainingValue, ChunkDigest, ChunkHasher, Root};
pub use entry::{
    DiskSpeed, EntryKind, Freshness, Metadata, Mode, Precondition, SourceVersion, Timestamp,
};
pub use escape::Escaped;
pub use limits::Limits;
pub use number::{
    ByteCount, EntryCount, EntryId, EntryIndex, Micros, Offset, OpId, RequestId, Seq, StreamId,
    Time, TransferId,
};
pub use path::{Component, ObjectPath, PathFault};
pub use range::{Range, RangeSet};
pub use size::{ChunkSize, Rate, parse_rate, parse_size};
pub use subtree::{Subtree, Subtrees};
pub use utc::Utc;
