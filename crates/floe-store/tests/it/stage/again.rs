//! A stage that is taken up again: what counts, what space it takes, what is written over.

use super::*;

fn held(have: &[Subtree]) -> Vec<u64> {
    (0..16).filter(|nth| have.iter().any(|one| one.range.covers(chunk(*nth)))).collect()
}

#[test]
fn what_is_written_over_without_being_forgotten_counts_no_more() {
    let spec = spec("x", 4);
    for seed in 0..32 {
        let disk = SimulatedDisk::default();
        let store = LocalStore::new(disk.clone()).unwrap();
        let (sink, _, _) = stage(&store, &spec);
        (0..3).for_each(|nth| write(&*sink, nth));
        sink.checkpoint().unwrap();
        sink.write_at(Offset(CHUNK + 70_000), b"from a peer that was not told of it").unwrap();
        write(&*sink, 3);
        let bytes: Vec<u8> = (0..4).flat_map(content).collect();
        let (size, root) = (ByteCount(4 * CHUNK), Root::of(&bytes));
        let answers = store.commit(vec![Commit::Object { sink, size, root }]);
        assert_eq!(answers[0].as_ref().unwrap_err().code, Code::Integrity);
        drop(store);
        if seed > 0 {
            disk.cut(seed);
        }
        let (_, have, _) = stage(&LocalStore::new(disk.clone()).unwrap(), &spec);
        assert!(!held(&have).contains(&1), "seed {seed}: {have:?}");
        assert!([0, 2].iter().all(|nth| held(&have).contains(nth)), "seed {seed}: {have:?}");
    }
}
