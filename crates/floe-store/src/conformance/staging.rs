//! Stages: what is recorded is had again, what is not is not, and nobody shares one.

use super::{MIB, Make, QUIET, Sent, assert_missing, code, commit, must, sent, small, staged};
use crate::api::{Basis, OwnerId, Resume};
use floe_types::{ByteCount, Code, Freshness, Offset, Range, SourceVersion, Subtree, Subtrees};
use std::sync::Arc;

pub(super) fn run(make: Make<'_>) {
    what_is_recorded_is_had_again(make);
    survives_the_death_of_the_process(make);
    what_is_forgotten_is_not_had(make);
    a_later_record_takes_the_place_of_an_earlier_one(make);
    another_version_takes_over_chunk_by_chunk(make);
    an_adopted_stage_stays_doubtful(make);
    a_chunk_that_cannot_be_one_any_more_is_not_offered(make);
    fresh_and_missing_versions_are_not_trusted(make);
    a_discarded_stage_is_gone(make);
    it_is_told_how_far_a_stage_is_written(make);
    a_stage_has_one_owner(make);
    owners_stage_apart(make);
    refuses_sizes_beyond_every_disk(make);
    without_a_journal_nothing_is_resumed(make);
    a_hole_takes_the_place_of_what_was_written(make);
    an_object_may_be_one_hole(make);
}

fn whole(range: Range, have: &[Subtree]) -> bool {
    have.iter().map(|subtree| subtree.range.len().0).sum::<u64>() == range.len().0
        && have.iter().all(|subtree| range.covers(subtree.range))
}

fn what_is_recorded_is_had_again(make: Make<'_>) {
    let subject = make();
    let (store, object) = (subject.store(), sent("a/b", 6 * MIB + 5, 1));
    let (sink, have, _) = staged(&*store, &object.spec);
    assert!(have.is_empty());
    for nth in [0, 1, 2, 3, 6] {
        object.write(&*sink, object.chunk(nth));
    }
    must(sink.write_at(object.chunk(4).start(), object.slice(object.chunk(4))));
    must(sink.checkpoint());
    must(sink.checkpoint());
    drop(sink);
    let (sink, have, basis) = staged(&*store, &object.spec);
    assert_eq!(basis, Basis::Version);
    assert!(have.windows(2).all(|pair| pair[0].range.end() <= pair[1].range.start()));
    let mut expected = Subtrees::new();
    for nth in [0, 1, 2, 3, 6] {
        let range = object.chunk(nth);
        assert!(expected.insert(Subtree { range, digest: object.digest(range) }));
    }
    assert_eq!(have, expected.iter().collect::<Vec<_>>(), "what was written, merged");
    for nth in [4, 5] {
        object.write(&*sink, object.chunk(nth));
    }
    assert_missing(&*store, "a/b");
    must(commit(&*store, object.committed(sink)));
    object.assert_stands(&*store);
}

fn survives_the_death_of_the_process(make: Make<'_>) {
    let mut subject = make();
    let object = sent("x", 3 * MIB, 2);
    for nth in 0..3 {
        let store = subject.store();
        let (sink, have, basis) = staged(&*store, &object.spec);
        assert!(nth == 0 || basis == Basis::Version);
        assert!(whole(Range::new(Offset::ZERO, Offset(nth * MIB)), &have));
        object.write(&*sink, object.chunk(nth));
        drop((sink, store));
        subject.restart();
    }
    let store = subject.store();
    let (sink, have, _) = staged(&*store, &object.spec);
    assert!(whole(Range::new(Offset::ZERO, Offset(3 * MIB)), &have));
    must(commit(&*store, object.committed(sink)));
    object.assert_stands(&*store);
    assert_missing(&*store, "y");
}

fn what_is_forgotten_is_not_had(make: Make<'_>) {
    let subject = make();
    let (store, object) = (subject.store(), sent("x", 4 * MIB, 3));
    let (sink, _, _) = staged(&*store, &object.spec);
    object.write_all(&*sink);
    must(sink.checkpoint());
    must(sink.forget(object.chunk(2)));
    let early = commit(&*store, object.committed(Arc::clone(&sink)));
    assert_eq!(code(early), Some(Code::Integrity), "not all of it is recorded");
    assert_missing(&*store, "x");
    must(sink.write_at(object.chunk(2).start(), &vec![0xee; object.slice(object.chunk(2)).len()]));
    drop(sink);
    let (sink, have, _) = staged(&*store, &object.spec);
    assert!(have.iter().all(|subtree| subtree.range.intersect(object.chunk(2)).is_empty()));
    assert!(have.iter().any(|subtree| subtree.range.covers(object.chunk(3))), "only that");
    object.write(&*sink, object.chunk(2));
    must(commit(&*store, object.committed(sink)));
    object.assert_stands(&*store);
}

fn a_later_record_takes_the_place_of_an_earlier_one(make: Make<'_>) {
    let subject = make();
    let (store, object, other) = (subject.store(), sent("x", 2 * MIB, 4), sent("x", 2 * MIB, 5));
    let (sink, _, _) = staged(&*store, &object.spec);
    other.write(&*sink, object.chunk(1));
    object.write(&*sink, object.chunk(1));
    drop(sink);
    let (sink, have, _) = staged(&*store, &object.spec);
    let range = object.chunk(1);
    assert_eq!(have, [Subtree { range, digest: object.digest(range) }]);
    object.write(&*sink, object.chunk(0));
    must(commit(&*store, object.committed(sink)));
    object.assert_stands(&*store);
}

/// Stages all but the last chunk of an object and drops it.
fn left(store: &dyn crate::api::Store, object: &Sent) {
    let (sink, _, _) = staged(store, &object.spec);
    (0..object.chunks() - 1).for_each(|nth| object.write(&*sink, object.chunk(nth)));
    must(sink.checkpoint());
}

fn another_version_takes_over_chunk_by_chunk(make: Make<'_>) {
    let mut subject = make();
    let (old, new) = (sent("x", 5 * MIB, 6), sent("x", 5 * MIB, 7));
    left(&*subject.store(), &old);
    let store = subject.store();
    let (sink, have, basis) = staged(&*store, &new.spec);
    assert_eq!(basis, Basis::Content);
    let expected =
        (0..4).map(|nth| Subtree { range: old.chunk(nth), digest: old.digest(old.chunk(nth)) });
    assert_eq!(have, expected.collect::<Vec<_>>(), "chunk by chunk, ascending");
    for nth in 0..2 {
        must(sink.forget(new.chunk(nth)));
        new.write(&*sink, new.chunk(nth));
    }
    drop((sink, store));
    subject.restart();
    let store = subject.store();
    let (sink, have, _) = staged(&*store, &new.spec);
    assert!(have.contains(&Subtree { range: new.chunk(1), digest: new.digest(new.chunk(1)) }));
    assert!(have.contains(&Subtree { range: new.chunk(2), digest: old.digest(new.chunk(2)) }));
    for nth in 2..5 {
        must(sink.forget(new.chunk(nth)));
        new.write(&*sink, new.chunk(nth));
    }
    must(commit(&*store, new.committed(sink)));
    new.assert_stands(&*store);
    let (_sink, have, _) = staged(&*store, &old.spec);
    assert!(have.is_empty(), "the old stage went");
}

fn an_adopted_stage_stays_doubtful(make: Make<'_>) {
    let subject = make();
    let (store, old, new) = (subject.store(), sent("x", 3 * MIB, 8), sent("x", 3 * MIB, 9));
    left(&*store, &old);
    drop(staged(&*store, &new.spec));
    let (_sink, have, basis) = staged(&*store, &new.spec);
    assert_eq!((have.len(), basis), (2, Basis::Content), "its records name no version");
}

fn a_chunk_that_cannot_be_one_any_more_is_not_offered(make: Make<'_>) {
    let subject = make();
    let store = subject.store();
    let (old, longer) = (sent("x", 2 * MIB + 300_000, 10), sent("x", 6 * MIB, 11));
    let (sink, _, _) = staged(&*store, &old.spec);
    old.write_all(&*sink);
    drop(sink);
    let (sink, have, _) = staged(&*store, &longer.spec);
    assert_eq!(have.len(), 2, "the short last chunk is not a node of a longer object");
    drop(sink);
    let shorter = sent("x", MIB + 1, 12);
    let (sink, have, _) = staged(&*store, &shorter.spec);
    assert_eq!(have.len(), 1, "nothing past the end");
    must(sink.forget(shorter.chunk(0)));
    shorter.write_all(&*sink);
    must(commit(&*store, shorter.committed(sink)));
    shorter.assert_stands(&*store);
}

fn fresh_and_missing_versions_are_not_trusted(make: Make<'_>) {
    let settled = sent("x", 3 * MIB, 13);
    let mut fresh = settled.clone();
    fresh.spec.freshness = Freshness::Fresh;
    let mut unknown = settled.clone();
    unknown.spec.version = None;
    unknown.spec.size = None;
    for (then, now) in [(&settled, &fresh), (&fresh, &settled), (&unknown, &unknown)] {
        let subject = make();
        let store = subject.store();
        left(&*store, then);
        let (_sink, have, basis) = staged(&*store, &now.spec);
        assert_eq!((have.len(), basis), (2, Basis::Content));
    }
}

fn a_discarded_stage_is_gone(make: Make<'_>) {
    let subject = make();
    let (store, object) = (subject.store(), sent("x", 3 * MIB, 14));
    left(&*store, &object);
    let mut again = object.clone();
    again.spec.resume = Resume::Discard;
    let (sink, have, _) = staged(&*store, &again.spec);
    assert!(have.is_empty());
    object.write(&*sink, object.chunk(0));
    must(store.discard(sink));
    let (_sink, have, _) = staged(&*store, &object.spec);
    assert!(have.is_empty());
}

fn it_is_told_how_far_a_stage_is_written(make: Make<'_>) {
    let subject = make();
    let (store, object) = (subject.store(), sent("d/x", 3 * MIB, 14));
    let key = object.spec.key();
    assert_eq!(must(store.staged(&key)), None);
    let (sink, _, _) = staged(&*store, &object.spec);
    assert_eq!(must(store.staged(&key)), Some(ByteCount::ZERO));
    object.write(&*sink, object.chunk(1));
    assert_eq!(
        must(store.staged(&key)),
        Some(ByteCount(2 * MIB)),
        "space that is set aside is not"
    );
    drop(sink);
    let mut newer = sent("d/x", 3 * MIB, 15);
    newer.spec.version = object.spec.version.map(|of| SourceVersion { inode: of.inode + 1, ..of });
    let (sink, _, _) = staged(&*store, &newer.spec);
    assert_eq!(must(store.staged(&key)), None, "another version took it over");
    assert_eq!(must(store.staged(&newer.spec.key())), Some(ByteCount(2 * MIB)));
    (0..3).for_each(|nth| newer.write(&*sink, newer.chunk(nth)));
    must(commit(&*store, newer.committed(sink)));
    assert_eq!(must(store.staged(&newer.spec.key())), None);
}

fn a_stage_has_one_owner(make: Make<'_>) {
    let subject = make();
    let (store, object) = (subject.store(), sent("x", 3 * MIB, 15));
    let (sink, _, _) = staged(&*store, &object.spec);
    object.write(&*sink, object.chunk(0));
    let second = store.open_sink(object.spec.clone(), QUIET);
    assert_eq!(code(second), Some(Code::AlreadyRunning));
    let other = sent("x", 3 * MIB, 16);
    let (_other, have, _) = staged(&*store, &other.spec);
    assert!(have.is_empty(), "an owned stage is not adopted");
    drop(sink);
    let (_sink, have, _) = staged(&*store, &object.spec);
    assert_eq!(have.len(), 1);
}

fn owners_stage_apart(make: Make<'_>) {
    let subject = make();
    let (store, first, mut second) = (subject.store(), sent("x", MIB, 17), sent("x", MIB, 18));
    second.spec.owner = OwnerId([8; 32]);
    let (one, _, _) = staged(&*store, &first.spec);
    let (two, have, _) = staged(&*store, &second.spec);
    assert!(have.is_empty());
    first.write_all(&*one);
    second.write_all(&*two);
    must(commit(&*store, second.committed(two)));
    second.assert_stands(&*store);
    must(commit(&*store, first.committed(one)));
    first.assert_stands(&*store);
}

fn refuses_sizes_beyond_every_disk(make: Make<'_>) {
    let subject = make();
    for size in [u64::MAX, u64::MAX / 2, 1 << 60] {
        let mut object = sent("x", 0, 19);
        object.spec.size = Some(ByteCount(size));
        object.spec.version =
            object.spec.version.map(|version| SourceVersion { size: ByteCount(size), ..version });
        let refused = subject.store().open_sink(object.spec.clone(), QUIET);
        assert_eq!(code(refused), Some(Code::NoSpace), "{size}");
    }
}

fn without_a_journal_nothing_is_resumed(make: Make<'_>) {
    let subject = make();
    let (store, object) = (subject.store(), small("x", 1000, 20));
    let (sink, _, _) = staged(&*store, &object.spec);
    object.write_all(&*sink);
    let (twin, have, _) = staged(&*store, &object.spec);
    assert!(have.is_empty());
    must(twin.write_at(Offset::ZERO, &[0xff; 1000]));
    must(commit(&*store, object.committed(sink)));
    object.assert_stands(&*store);
}

fn a_hole_takes_the_place_of_what_was_written(make: Make<'_>) {
    let mut subject = make();
    let mut object = sent("holes", 5 * MIB + 5, 20);
    let (first, last) = (object.chunk(1), Range::new(Offset(4 * MIB), Offset(5 * MIB + 5)));
    let before = object.clone();
    object.empty(first);
    object.empty(last);
    object.spec.holes = ByteCount(first.len().0 + last.len().0);
    let store = subject.store();
    let (sink, ..) = staged(&*store, &object.spec);
    // The last one first: what comes behind it lies before it.
    object.write_hole(&*sink, last);
    must(sink.write_at(first.start(), before.slice(first)));
    object.write_hole(&*sink, first);
    object.write(&*sink, object.chunk(0));
    let past = Range::new(last.start(), Offset(5 * MIB + 6));
    assert_eq!(code(sink.write_hole(past)), Some(Code::LimitExceeded));
    drop((sink, store));
    subject.restart();
    let store = subject.store();
    let (sink, have, _) = staged(&*store, &object.spec);
    assert_eq!(have.iter().map(|one| one.range.len().0).sum::<u64>(), 3 * MIB + 5);
    for nth in [2, 3] {
        object.write(&*sink, object.chunk(nth));
    }
    must(commit(&*store, object.committed(sink)));
    object.assert_stands(&*store);
}

fn an_object_may_be_one_hole(make: Make<'_>) {
    let subject = make();
    for journaled in [sent("hole", 300_001, 21), small("hole", 300_001, 22)] {
        let mut object = journaled;
        let whole = Range::new(Offset::ZERO, Offset(300_001));
        object.empty(whole);
        object.spec.holes = whole.len();
        let store = subject.store();
        let (sink, ..) = staged(&*store, &object.spec);
        object.write_hole(&*sink, whole);
        must(commit(&*store, object.committed(sink)));
        object.assert_stands(&*store);
    }
}
