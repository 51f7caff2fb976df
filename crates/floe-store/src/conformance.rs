//! What every store promises, as checks that panic where a promise is broken. For tests.
//!
//! `run` holds one kind of store to the page of `api`: each check gets a new, empty store. What
//! only a disk can show (power loss, failed syncs, extended attributes that others change) is
//! tested beside that store.

mod browsing;
mod committing;
mod recognising;
mod staging;

use crate::api::{
    Basis, Commit, Follow, Journaling, OpenedEntry, OpenedSink, OwnerId, Progress, Recognise,
    Result, Resume, Sink, SinkSpec, Store,
};
use floe_types::digest::ChunkHasher;
use floe_types::{
    ByteCount, ChunkDigest, Code, Fault, Freshness, Metadata, Mode, ObjectPath, Offset,
    Precondition, Range, Root, SourceVersion, Subtree, Timestamp,
};
use std::sync::Arc;

/// A store under test.
pub trait Subject {
    /// It.
    fn store(&self) -> Arc<dyn Store>;

    /// Ends its process and starts another one over the same objects. Every sink was dropped
    /// before.
    fn restart(&mut self);
}

/// Makes a new, empty store.
pub type Make<'a> = &'a dyn Fn() -> Box<dyn Subject>;

/// Holds a store to every promise.
///
/// # Panics
/// Where one is broken.
pub fn run(make: Make<'_>) {
    staging::run(make);
    committing::run(make);
    recognising::run(make);
    browsing::run(make);
}

const MIB: u64 = 1 << 20;
const QUIET: Progress<'static> = &|_, _| {};

#[track_caller]
fn must<T>(answer: Result<T>) -> T {
    match answer {
        Ok(value) => value,
        Err(fault) => panic!("{fault}"),
    }
}

#[track_caller]
fn code<T>(answer: Result<T>) -> Option<Code> {
    answer.err().map(|fault: Fault| fault.code)
}

#[track_caller]
fn path(text: &str) -> ObjectPath {
    match ObjectPath::parse(text.as_bytes()) {
        Ok(path) => path,
        Err(fault) => panic!("{text}: {fault}"),
    }
}

fn time(secs: i64) -> Timestamp {
    Timestamp::new(secs, 123_456_789).unwrap_or_default()
}

/// An object as a sender has it: its bytes are a function of offset and seed.
#[derive(Clone)]
struct Sent {
    spec: SinkSpec,
    bytes: Vec<u8>,
}

/// A file of the sender: `seed` names its content and its version.
fn sent(at: &str, size: u64, seed: u64) -> Sent {
    let byte = |nth: u64| (nth / 251).wrapping_mul(31).wrapping_add(nth ^ seed).to_le_bytes()[0];
    let bytes: Vec<u8> = (0..size).map(byte).collect();
    let version = SourceVersion {
        inode: seed,
        size: ByteCount(size),
        mtime: time(1_000_000),
        ctime: time(1_000_001),
    };
    let spec = SinkSpec {
        path: path(at),
        owner: OwnerId([7; 32]),
        size: Some(ByteCount(size)),
        holes: ByteCount::ZERO,
        version: Some(version),
        freshness: Freshness::Settled,
        metadata: Metadata { mode: Mode::from_bits(0o640), mtime: time(1_000_000) },
        precondition: Precondition::None,
        resume: Resume::Continue,
        recognise: Recognise::ByVersion,
        journaling: Journaling::Journal,
    };
    Sent { spec, bytes }
}

/// A small file of the sender, which gets no journal.
fn small(at: &str, size: u64, seed: u64) -> Sent {
    let mut sent = sent(at, size, seed);
    sent.spec.journaling = Journaling::None;
    sent
}

impl Sent {
    fn root(&self) -> Root {
        Root::of(&self.bytes)
    }

    fn size(&self) -> ByteCount {
        ByteCount::of_len(self.bytes.len())
    }

    /// The nth chunk of one MiB.
    fn chunk(&self, nth: u64) -> Range {
        Range::new(Offset(nth * MIB), Offset(((nth + 1) * MIB).min(self.size().0)))
    }

    fn chunks(&self) -> u64 {
        self.size().0.div_ceil(MIB)
    }

    fn slice(&self, range: Range) -> &[u8] {
        let (start, end) = (ByteCount(range.start().0).to_len(), ByteCount(range.end().0).to_len());
        start.zip(end).and_then(|(start, end)| self.bytes.get(start..end)).unwrap_or_default()
    }

    fn digest(&self, range: Range) -> ChunkDigest {
        let mut hasher = ChunkHasher::new(range.start());
        hasher.update(self.slice(range));
        match hasher.finish() {
            Some(digest) => digest,
            None => panic!("no chunk is empty"),
        }
    }

    #[track_caller]
    fn write(&self, sink: &dyn Sink, range: Range) {
        must(sink.write_at(range.start(), self.slice(range)));
        must(sink.record(range, &self.digest(range)));
    }

    /// What its bytes are from now on in a range: zeros.
    fn empty(&mut self, range: Range) {
        let (start, end) = (ByteCount(range.start().0).to_len(), ByteCount(range.end().0).to_len());
        let bytes = start.zip(end).and_then(|(start, end)| self.bytes.get_mut(start..end));
        bytes.into_iter().for_each(|bytes| bytes.fill(0));
    }

    #[track_caller]
    fn write_hole(&self, sink: &dyn Sink, range: Range) {
        must(sink.write_hole(range));
        must(sink.record(range, &self.digest(range)));
    }

    #[track_caller]
    fn write_all(&self, sink: &dyn Sink) {
        (0..self.chunks()).for_each(|nth| self.write(sink, self.chunk(nth)));
    }

    fn committed(&self, sink: Arc<dyn Sink>) -> Commit {
        Commit::Object { sink, size: self.size(), root: self.root() }
    }

    /// Stages and commits it whole.
    #[track_caller]
    fn put(&self, store: &dyn Store) {
        let (sink, _, _) = staged(store, &self.spec);
        self.write_all(&*sink);
        must(commit(store, self.committed(sink)));
    }

    /// Whether it stands under its name, whole, with its metadata.
    #[track_caller]
    fn assert_stands(&self, store: &dyn Store) {
        let (bytes, metadata) = read(store, &self.spec.path);
        assert!(bytes == self.bytes, "{:?} holds other bytes", self.spec.path);
        assert_eq!(metadata, self.spec.metadata, "{:?}", self.spec.path);
    }
}

/// Opens a sink that must be staged.
#[track_caller]
fn staged(store: &dyn Store, spec: &SinkSpec) -> (Arc<dyn Sink>, Vec<Subtree>, Basis) {
    match must(store.open_sink(spec.clone(), QUIET)) {
        OpenedSink::Staged { sink, have, basis } => (sink, have, basis),
        OpenedSink::Finished { .. } => panic!("{:?} is not finished", spec.path),
    }
}

/// Opens a sink that must be recognised as finished.
#[track_caller]
fn finished(store: &dyn Store, spec: &SinkSpec) -> (Root, Basis, Arc<dyn Sink>) {
    match must(store.open_sink(spec.clone(), QUIET)) {
        OpenedSink::Finished { root, basis, sink } => (root, basis, sink),
        OpenedSink::Staged { .. } => panic!("{:?} is finished", spec.path),
    }
}

/// Commits one entry.
#[track_caller]
fn commit(store: &dyn Store, entry: Commit) -> Result<()> {
    let mut answers = store.commit(vec![entry]);
    assert_eq!(answers.len(), 1, "one answer an entry");
    answers.remove(0)
}

/// All bytes and the metadata of a file.
#[track_caller]
fn read(store: &dyn Store, path: &ObjectPath) -> (Vec<u8>, Metadata) {
    let OpenedEntry::File { source, metadata, .. } = must(store.open(path, Follow::No)) else {
        panic!("{path:?} is a file");
    };
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 1 << 20]);
    loop {
        let count = must(source.read_at(Offset(bytes.len() as u64), &mut buffer));
        bytes.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if count < buffer.len() {
            return (bytes, metadata);
        }
    }
}

#[track_caller]
fn assert_missing(store: &dyn Store, at: &str) {
    assert_eq!(code(store.open(&path(at), Follow::No)), Some(Code::NotFound), "{at}");
}
