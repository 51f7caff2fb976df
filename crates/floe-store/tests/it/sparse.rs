//! Holes: found in sources, and holes again where they are staged.

use crate::tree::{Tree, path};
use floe_store::faulty::{Faults, FaultyDisk, Offer};
use floe_store::local::LocalStore;
use floe_store::{
    Commit, Follow, Journaling, OpenedEntry, OpenedSink, OwnerId, Recognise, Resume, SinkSpec,
    Source, Stands, Store,
};
use floe_types::{
    ByteCount, ChunkDigest, ChunkHasher, Freshness, Limits, Metadata, Mode, Offset, Precondition,
    Range, Root, SourceVersion, Timestamp,
};
use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

fn range(start: u64, end: u64) -> Range {
    Range::new(Offset(start), Offset(end))
}

fn source(store: &dyn Store, at: &str) -> Arc<dyn Source> {
    match store.open(&path(at), Follow::No).unwrap() {
        OpenedEntry::File { source, .. } => source,
        _ => panic!("{at} is a file"),
    }
}

/// A file of this size with a page of bytes at each offset.
fn sparse(tree: &Tree, name: &str, size: u64, pages: &[u64]) -> File {
    let file = File::create(tree.at(name)).unwrap();
    file.set_len(size).unwrap();
    for at in pages {
        file.write_all_at(&[7; 4096], *at).unwrap();
    }
    file
}

#[test]
fn a_source_tells_its_holes_in_whole_chunks() {
    let tree = Tree::new();
    let store = tree.store();
    let size = 8 * MIB + 5;
    sparse(&tree, "f", size, &[MIB, 2 * MIB + 100 * KIB, 4 * MIB + 512 * KIB]);
    let holes = source(store, "f").holes();
    let expected = [
        range(0, MIB),
        range(MIB + 256 * KIB, 2 * MIB),
        range(2 * MIB + 256 * KIB, 4 * MIB + 512 * KIB),
        range(4 * MIB + 768 * KIB, size),
    ];
    assert_eq!(holes, expected);
    sparse(&tree, "small", 255 * KIB, &[]);
    assert_eq!(source(store, "small").holes(), [], "less than a chunk");
    sparse(&tree, "whole", 256 * KIB, &[]);
    assert_eq!(source(store, "whole").holes(), [range(0, 256 * KIB)]);
    std::fs::write(tree.at("dense"), vec![1; 600_000]).unwrap();
    assert_eq!(source(store, "dense").holes(), []);
}

#[test]
fn what_was_a_hole_is_none_once_it_was_written() {
    let tree = Tree::new();
    let file = sparse(&tree, "f", 4 * MIB, &[]);
    let source = source(tree.store(), "f");
    assert_eq!(source.standing_in(range(MIB, 2 * MIB)), Ok(Stands::Hole));
    file.write_all_at(b"x", 2 * MIB - 1).unwrap();
    assert_eq!(source.standing_in(range(MIB, 2 * MIB)), Ok(Stands::Bytes));
    assert_eq!(source.standing_in(range(2 * MIB, 4 * MIB)), Ok(Stands::Hole));
    file.set_len(3 * MIB).unwrap();
    assert_eq!(source.standing_in(range(2 * MIB, 4 * MIB)), Ok(Stands::Bytes), "it is shorter");
}

#[test]
fn of_too_many_holes_the_longest_are_told() {
    let tree = Tree::new();
    let count = Limits::HOLES_MAX as u64 + 9;
    // Every third is longer.
    let mut pages = vec![0];
    for nth in 0..count {
        let len = if nth % 3 == 0 { 768 * KIB } else { 512 * KIB };
        pages.push(pages.last().unwrap() + len);
    }
    let size = pages.last().unwrap() + 4096;
    sparse(&tree, "f", size, &pages);
    let holes = source(tree.store(), "f").holes();
    assert_eq!(holes.len(), Limits::HOLES_MAX);
    assert!(holes.windows(2).all(|pair| pair[0].end() < pair[1].start()));
    let long = holes.iter().filter(|hole| hole.len().0 == 512 * KIB).count() as u64;
    assert_eq!(long, count.div_ceil(3));
}

#[test]
fn a_disk_that_tells_of_no_holes_has_none() {
    let tree = Tree::new();
    sparse(&tree, "f", 4 * MIB, &[]);
    let faults = Faults { without_holes: Offer::Refused, ..Faults::default() };
    let store = LocalStore::new(FaultyDisk::new(tree.disk(), 1, faults)).unwrap();
    let source = source(&store, "f");
    assert_eq!(source.holes(), []);
    assert_eq!(source.standing_in(range(0, MIB)), Ok(Stands::Bytes));
}

/// What is sent: `holes` are zeros, everything else is not.
fn spec(inode: u64, size: u64, holes: ByteCount) -> SinkSpec {
    let (size, mtime) = (ByteCount(size), Timestamp::new(10, 0).unwrap());
    SinkSpec {
        path: path("f"),
        owner: OwnerId([3; 32]),
        size: Some(size),
        holes,
        version: Some(SourceVersion { inode, size, mtime, ctime: mtime }),
        freshness: Freshness::Settled,
        metadata: Metadata { mode: Mode::from_bits(0o640), mtime },
        precondition: Precondition::None,
        resume: Resume::Continue,
        recognise: Recognise::ByVersion,
        journaling: Journaling::Journal,
    }
}

fn write(sink: &dyn floe_store::Sink, at: Range) {
    let bytes = vec![9; at.len().to_len().unwrap()];
    sink.write_at(at.start(), &bytes).unwrap();
    let mut hasher = ChunkHasher::new(at.start());
    hasher.update(&bytes);
    sink.record(at, &hasher.finish().unwrap()).unwrap();
}

fn write_hole(sink: &dyn floe_store::Sink, at: Range) {
    sink.write_hole(at).unwrap();
    sink.record(at, &ChunkDigest::of_zeros(at).unwrap()).unwrap();
}

fn staged(store: &dyn Store, spec: &SinkSpec) -> Arc<dyn floe_store::Sink> {
    match store.open_sink(spec.clone(), &|_, _| {}).unwrap() {
        OpenedSink::Staged { sink, .. } => sink,
        OpenedSink::Finished { .. } => panic!("it is not finished"),
    }
}

fn commit(store: &dyn Store, sink: Arc<dyn floe_store::Sink>, size: u64, bytes: Range) {
    let mut all = vec![0; ByteCount(size).to_len().unwrap()];
    let at = |offset: Offset| ByteCount(offset.0).to_len().unwrap();
    all[at(bytes.start())..at(bytes.end())].fill(9);
    let (size, root) = (ByteCount(size), Root::of(&all));
    let answers = store.commit(vec![Commit::Object { sink, size, root }]);
    assert_eq!(answers, [Ok(())]);
}

fn space(tree: &Tree) -> u64 {
    std::fs::metadata(tree.at("f")).unwrap().blocks() * 512
}

#[test]
fn what_is_staged_takes_the_space_of_its_bytes() {
    let tree = Tree::new();
    let (store, size) = (tree.store(), 64 * MIB);
    let spec = spec(1, size, ByteCount(63 * MIB));
    let sink = staged(store, &spec);
    write_hole(&*sink, range(32 * MIB, 48 * MIB));
    write(&*sink, range(16 * MIB, 17 * MIB));
    for (start, end) in [(0, 16), (17, 18), (18, 20), (20, 24), (24, 32), (48, 64)] {
        write_hole(&*sink, range(start * MIB, end * MIB));
    }
    commit(store, sink, size, range(16 * MIB, 17 * MIB));
    assert_eq!(std::fs::metadata(tree.at("f")).unwrap().len(), size);
    let space = space(&tree);
    assert!((MIB..MIB + 64 * KIB).contains(&space), "{space} bytes of disk");
}

#[test]
fn a_hole_gives_back_what_another_version_had_staged_there() {
    let tree = Tree::new();
    let (store, size) = (tree.store(), 8 * MIB);
    let before = staged(store, &spec(1, size, ByteCount::ZERO));
    (0..8).for_each(|nth| write(&*before, range(nth * MIB, (nth + 1) * MIB)));
    drop(before);
    let sink = staged(store, &spec(2, size, ByteCount(7 * MIB)));
    for (start, end) in [(0, 2), (2, 3), (4, 8)] {
        sink.forget(range(start * MIB, end * MIB)).unwrap();
        write_hole(&*sink, range(start * MIB, end * MIB));
    }
    commit(store, sink, size, range(3 * MIB, 4 * MIB));
    let space = space(&tree);
    assert!((MIB..MIB + 64 * KIB).contains(&space), "{space} bytes of disk");
}

#[test]
fn there_need_be_no_room_for_holes() {
    let tree = Tree::new();
    let huge = 1 << 50;
    let store = tree.store();
    let sink = staged(store, &spec(1, huge, ByteCount(huge - MIB)));
    write(&*sink, range(0, MIB));
    store.discard(sink).unwrap();
    assert!(store.open_sink(spec(1, huge, ByteCount::ZERO), &|_, _| {}).is_err(), "too large");
}
