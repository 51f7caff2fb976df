//! What is kept free of a disk, on a small one.

use crate::mounted::with_tmpfs;
use crate::stage::{CHUNK, chunk, content, spec, stage, write};
use floe_store::local::LocalStore;
use floe_store::{Sink, Store};
use floe_types::{ByteCount, Code};
use std::panic::UnwindSafe;
use std::path::Path;
use std::sync::Arc;

/// Runs with a file system of 16 MiB, and what is free on it, unless this process may not mount
/// one.
fn on_a_small_disk(test: &str, run: impl FnOnce(&Path, &dyn Fn() -> u64) + UnwindSafe) {
    with_tmpfs(test, c"size=16m", |_, point| {
        let free = || {
            let space = rustix::fs::statvfs(point).unwrap();
            space.f_bavail * space.f_frsize
        };
        run(point, &free);
    });
}

#[test]
fn what_an_earlier_run_was_given_is_not_asked_for_again() {
    on_a_small_disk("what_an_earlier_run_was_given_is_not_asked_for_again", |point, free| {
        let store = LocalStore::open(point).unwrap();
        let spec = spec("f", 32);
        let (sink, _, _) = stage(&store, &spec);
        write(&*sink, 0);
        drop(sink);
        // All of it was set aside, and now nothing else is free.
        store.keep_free(ByteCount(free() - (128 << 10)));
        let (sink, have, _) = stage(&store, &spec);
        assert_eq!(have.len(), 1);
        (1..32).for_each(|nth| write(&*sink, nth));
        let other = store.open_sink(self::spec("g", 1), &|_, _| {});
        assert_eq!(other.err().unwrap().code, Code::NoSpace);
    });
}

/// Killed before a chunk was recorded: what was set aside is its own, and no record shows it.
#[test]
fn what_was_set_aside_for_a_first_chunk_is_not_missed_by_the_next_run() {
    let test = "what_was_set_aside_for_a_first_chunk_is_not_missed_by_the_next_run";
    on_a_small_disk(test, |point, _| {
        let store = LocalStore::open(point).unwrap();
        store.keep_free(ByteCount(1 << 20));
        let spec = spec("f", 40);
        let (sink, _, _) = stage(&store, &spec);
        sink.write_at(chunk(0).start(), &content(0)[..4096]).unwrap();
        drop(sink);
        let (sink, have, _) = stage(&store, &spec);
        assert!(have.is_empty());
        (0..40).for_each(|nth| write(&*sink, nth));
    });
}

#[test]
fn eight_writers_leave_free_what_is_kept_free() {
    on_a_small_disk("eight_writers_leave_free_what_is_kept_free", |point, free| {
        let store = LocalStore::open(point).unwrap();
        let keep = 6 << 20;
        store.keep_free(ByteCount(keep));
        // Of a size that is known it is said before a byte is written.
        let big = store.open_sink(spec("big", 48), &|_, _| {});
        assert_eq!(big.err().unwrap().code, Code::NoSpace);
        let sinks: Vec<_> = (0..8u64)
            .map(|nth| {
                let mut spec = spec(&format!("f{nth}"), 16);
                if nth % 2 == 0 {
                    (spec.size, spec.version) = (None, None);
                }
                stage(&store, &spec).0
            })
            .collect();
        let fill = |sink: &Arc<dyn Sink>| {
            (0..16).find_map(|nth| sink.write_at(chunk(nth).start(), &content(nth)).err())
        };
        let refused: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = sinks.iter().map(|sink| scope.spawn(|| fill(sink))).collect();
            writers.into_iter().filter_map(|writer| writer.join().unwrap()).collect()
        });
        assert!(!refused.is_empty() && refused.iter().all(|fault| fault.code == Code::NoSpace));
        // Journals are not counted: a few pages each.
        let (left, journals) = (free(), 8 * 3 * 4096);
        assert!(left + journals >= keep, "{left} free");
        // One more takes what is left, to the chunk.
        let more =
            (16..80).find_map(|nth| sinks[0].write_at(chunk(nth).start(), &content(nth)).err());
        assert_eq!(more.unwrap().code, Code::NoSpace);
        assert!((keep..keep + CHUNK + journals).contains(&(free() + journals)), "{} free", free());
        store.keep_free(ByteCount::ZERO);
        sinks[0].write_at(chunk(99).start(), &content(99)).unwrap();
    });
}
