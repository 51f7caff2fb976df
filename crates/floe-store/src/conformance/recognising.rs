//! Finished objects: recognised by version or by content, kept when committed again, replaced when
//! written.

use super::{MIB, Make, QUIET, Sent, Subject, commit, finished, must, sent, small, staged};
use crate::api::{Basis, OwnerId, Recognise, RootWanted, SinkSpec};
use floe_types::{Freshness, Mode, Precondition};
use std::sync::Arc;

pub(super) fn run(make: Make<'_>) {
    the_version_that_was_sent_is_recognised(make);
    a_fresh_version_is_recognised_by_content_only(make);
    another_version_is_not_recognised(make);
    content_is_recognised_where_that_is_asked_for(make);
    content_of_unknown_size_is_recognised_unless_a_stage_stands(make);
    a_kept_object_gets_its_metadata(make);
    a_finished_object_is_replaced_when_it_is_written(make);
    an_empty_object_of_unknown_size_replaces_a_finished_one(make);
    what_stands_there_already_may_have_been_written_again(make);
    a_kept_object_that_a_rival_replaces_stays_replaced(make);
    a_version_that_has_settled_is_recognised_as_such_from_then_on(make);
    two_that_keep_one_object_do_not_disturb_each_other(make);
}

/// A store in which an object was committed by an earlier process.
fn put(make: Make<'_>, object: &Sent) -> Box<dyn Subject> {
    let mut subject = make();
    object.put(&*subject.store());
    subject.restart();
    subject
}

fn the_version_that_was_sent_is_recognised(make: Make<'_>) {
    for object in [sent("a/x", 2 * MIB, 60), small("a/x", 9, 61), small("a/x", 0, 62)] {
        let subject = put(make, &object);
        let store = subject.store();
        let (root, basis, sink) = finished(&*store, &object.spec);
        assert_eq!((root, basis), (object.root(), Basis::Version));
        must(commit(&*store, object.committed(sink)));
        object.assert_stands(&*store);
        let stat = must(store.stat(&object.spec.path, RootWanted::IfKnown, QUIET));
        assert_eq!(stat.root, Some(object.root()));
    }
}

fn a_fresh_version_is_recognised_by_content_only(make: Make<'_>) {
    let settled = sent("x", MIB, 63);
    let mut fresh = settled.clone();
    fresh.spec.freshness = Freshness::Fresh;
    for (then, now) in [(&settled, &fresh), (&fresh, &settled)] {
        let subject = put(make, then);
        let store = subject.store();
        let (root, basis, _sink) = finished(&*store, &now.spec);
        assert_eq!((root, basis), (now.root(), Basis::Content));
        let alone = SinkSpec { precondition: Precondition::Absent, ..now.spec.clone() };
        let (root, basis, sink) = finished(&*store, &alone);
        assert_eq!((root, basis), (now.root(), Basis::Content), "a commit may be repeated");
        must(commit(&*store, now.committed(sink)));
        now.assert_stands(&*store);
    }
}

/// A small object comes before anybody said that it stands there.
fn what_stands_there_already_may_have_been_written_again(make: Make<'_>) {
    for mut object in [sent("a/x", 2 * MIB, 70), small("a/x", 9, 71)] {
        let subject = put(make, &object);
        let store = subject.store();
        object.spec.precondition = Precondition::Absent;
        let (_, _, sink) = finished(&*store, &object.spec);
        object.write_all(&*sink);
        must(commit(&*store, object.committed(Arc::clone(&sink))));
        must(commit(&*store, object.committed(sink)));
        object.assert_stands(&*store);
    }
}

fn another_version_is_not_recognised(make: Make<'_>) {
    let object = sent("x", MIB, 64);
    let subject = put(make, &object);
    let store = subject.store();
    drop(staged(&*store, &sent("x", MIB, 65).spec));
    let mut unknown = object.clone();
    unknown.spec.version = None;
    drop(staged(&*store, &unknown.spec));
    object.assert_stands(&*store);
}

fn content_is_recognised_where_that_is_asked_for(make: Make<'_>) {
    let object = sent("x", 2 * MIB + 1, 66);
    let subject = put(make, &object);
    let store = subject.store();
    let mut touched = object.clone();
    touched.spec.recognise = Recognise::ByContent;
    touched.spec.version = sent("x", 2 * MIB + 1, 67).spec.version;
    touched.spec.metadata.mtime = super::time(2_000_000);
    let (root, basis, sink) = finished(&*store, &touched.spec);
    assert_eq!((root, basis), (object.root(), Basis::Content));
    must(commit(&*store, touched.committed(sink)));
    touched.assert_stands(&*store);
    touched.spec.recognise = Recognise::ByVersion;
    assert_eq!(finished(&*store, &touched.spec).1, Basis::Version, "it has its new mark");
    let mut longer = sent("x", 2 * MIB + 2, 66);
    longer.spec.recognise = Recognise::ByContent;
    drop(staged(&*store, &longer.spec));
}

fn content_of_unknown_size_is_recognised_unless_a_stage_stands(make: Make<'_>) {
    let mut object = sent("x", 2 * MIB + 1, 71);
    (object.spec.size, object.spec.version) = (None, None);
    object.spec.recognise = Recognise::ByContent;
    let mut subject = put(make, &object);
    let (root, basis, sink) = finished(&*subject.store(), &object.spec);
    assert_eq!((root, basis), (object.root(), Basis::Content));
    must(commit(&*subject.store(), object.committed(sink)));
    object.assert_stands(&*subject.store());
    let mut alone = object.spec.clone();
    alone.precondition = Precondition::Absent;
    assert_eq!(finished(&*subject.store(), &alone).0, object.root(), "a commit may be repeated");
    alone.metadata.mtime = super::time(3_000_000);
    assert!(subject.store().open_sink(alone, QUIET).is_err(), "another's object exists");
    let mut next = object.spec.clone();
    next.recognise = Recognise::ByVersion;
    let (sink, _, _) = staged(&*subject.store(), &next);
    object.write_all(&*sink);
    drop(sink);
    subject.restart();
    let (_, have, _) = staged(&*subject.store(), &object.spec);
    assert!(!have.is_empty(), "what a stage holds is not given up for what has its name");
}

fn a_kept_object_gets_its_metadata(make: Make<'_>) {
    let mut object = sent("x", MIB, 68);
    let subject = put(make, &object);
    let store = subject.store();
    object.spec.metadata.mode = Mode::from_bits(0o600);
    let (_, _, sink) = finished(&*store, &object.spec);
    must(commit(&*store, object.committed(sink)));
    object.assert_stands(&*store);
    object.spec.precondition = Precondition::Absent;
    assert_eq!(finished(&*store, &object.spec).1, Basis::Version, "a commit may be repeated");
    object.spec.metadata.mode = Mode::from_bits(0o640);
    assert!(store.open_sink(object.spec.clone(), QUIET).is_err(), "it exists");
    let other = sent("x", MIB, 69);
    object.spec.version = other.spec.version;
    assert!(store.open_sink(object.spec.clone(), QUIET).is_err(), "it exists");
}

fn a_finished_object_is_replaced_when_it_is_written(make: Make<'_>) {
    let (old, new) = (sent("x", 2 * MIB, 69), sent("x", 2 * MIB, 70));
    let subject = put(make, &old);
    let store = subject.store();
    let mut spec = new.spec.clone();
    spec.recognise = Recognise::ByContent;
    let (root, _, sink) = finished(&*store, &spec);
    assert_ne!(root, new.root(), "the sender sees that, and sends");
    new.write_all(&*sink);
    old.assert_stands(&*store);
    must(commit(&*store, new.committed(sink)));
    new.assert_stands(&*store);
}

fn an_empty_object_of_unknown_size_replaces_a_finished_one(make: Make<'_>) {
    let (old, mut new) = (sent("x", 5, 69), sent("x", 0, 70));
    let subject = put(make, &old);
    let store = subject.store();
    (new.spec.size, new.spec.version) = (None, None);
    new.spec.recognise = Recognise::ByContent;
    let (root, _, sink) = finished(&*store, &new.spec);
    assert_ne!(root, new.root(), "the sender sees that, and has nothing to send");
    must(commit(&*store, new.committed(sink)));
    new.assert_stands(&*store);
}

fn a_kept_object_that_a_rival_replaces_stays_replaced(make: Make<'_>) {
    let (mut ours, theirs) = (sent("x", MIB, 71), sent("x", MIB, 72));
    let subject = put(make, &ours);
    let store = subject.store();
    ours.spec.metadata.mode = Mode::from_bits(0o600);
    let (_, _, sink) = finished(&*store, &ours.spec);
    theirs.put(&*store);
    must(commit(&*store, ours.committed(sink)));
    theirs.assert_stands(&*store);
}

/// One that was fresh when it was put, and is no more.
fn settled(make: Make<'_>, seed: u64) -> (Sent, Box<dyn Subject>) {
    let mut object = sent("x", MIB, seed);
    object.spec.freshness = Freshness::Fresh;
    let subject = put(make, &object);
    object.spec.freshness = Freshness::Settled;
    (object, subject)
}

fn a_version_that_has_settled_is_recognised_as_such_from_then_on(make: Make<'_>) {
    let (object, subject) = settled(make, 73);
    let store = subject.store();
    let (_, basis, sink) = finished(&*store, &object.spec);
    assert_eq!(basis, Basis::Content, "its root is compared once more");
    must(commit(&*store, object.committed(sink)));
    object.assert_stands(&*store);
    assert_eq!(finished(&*store, &object.spec).1, Basis::Version);
}

fn two_that_keep_one_object_do_not_disturb_each_other(make: Make<'_>) {
    let (object, subject) = settled(make, 74);
    let store = subject.store();
    let (_, _, one) = finished(&*store, &object.spec);
    let mut other = object.spec.clone();
    other.owner = OwnerId([9; 32]);
    let (_, _, two) = finished(&*store, &other);
    must(commit(&*store, object.committed(one)));
    must(commit(&*store, object.committed(two)));
    object.assert_stands(&*store);
}
