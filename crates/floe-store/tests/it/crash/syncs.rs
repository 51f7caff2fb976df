//! Syncs that fail, also while their process dies, and power that fails where a stage begins anew.
//!
//! A failed sync leaves pages that read well and are not on the disk, and is told once: whoever asks
//! again hears that all is well. So nothing that such a sync should have written may count later,
//! unless it was written again.

use super::*;

fn failing(syncs: u32) -> Breaks {
    Breaks { syncs, ..Breaks::default() }
}

#[test]
fn a_failed_sync_of_the_file_system_commits_nothing_of_another_batch() {
    let objects: Vec<_> = (0..140).map(|nth| object(&format!("d/f{nth}"), 500, nth + 1)).collect();
    let disk = SimulatedDisk::default();
    let local = store(&disk);
    let mut entries: Vec<_> =
        objects.iter().map(|object| object.commit(object.fill(&local).unwrap().0)).collect();
    let second = entries.split_off(70);
    disk.set_breaks(failing(1));
    let mut answers = local.commit(entries);
    assert!(answers.iter().all(Result::is_err), "its sync failed");
    answers.extend(local.commit(second));
    drop(local);
    disk.cut(3);
    let after = store(&disk);
    for (object, answer) in objects.iter().zip(&answers) {
        assert!(answer.is_err() || object.stands(&after), "{:?}: answered", object.spec.path);
    }
    assert!(commit_batch(&after, &objects).iter().all(Result::is_ok));
}
