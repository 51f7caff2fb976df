//! A process that dies right behind the rename of its stage, and power that fails in the next one's
//! life: the rename may be lost, and then the stage is to be there again, as it was.

use super::*;

/// Each cut of a life on a disk as a death left it, where one effect of those that are not durable
/// is kept alone, or none; `breaks` holds beside the cut. How many there were.
fn each_cut(
    disk: &SimulatedDisk,
    breaks: Breaks,
    life: impl Fn(&LocalStore<SimulatedDisk>),
    look: impl Fn(SimulatedDisk, &str),
) -> u64 {
    let mut looked = 0;
    for cut in 0.. {
        let next = disk.twin();
        let second = store(&next);
        next.set_breaks(Breaks { operations_max: Some(cut), ..breaks });
        life(&second);
        let (took, unsynced) = (next.operations(), next.unsynced());
        for kept in 0..=unsynced {
            let after = next.copy();
            after.cut_choosing(&|nth| nth == kept);
            after.set_breaks(breaks);
            look(after, &format!("cut {cut}, kept {kept}"));
            looked += 1;
        }
        if took <= cut {
            break;
        }
    }
    looked
}

/// Every death behind the checkpoint, and every cut of the next life.
fn what_a_checkpoint_covers_is_there(without_xattr: bool) {
    let (old, new) = (object("x", 100, 1), object("x", 2 * CHUNK + 900, 2));
    let breaks = |operations_max| Breaks { operations_max, without_xattr, ..Breaks::default() };
    let counted = std::cell::Cell::new(0);
    for death in 30.. {
        let disk = with_old(&old);
        let first = store(&disk);
        disk.set_breaks(breaks(Some(death)));
        let told = new.transfer(&first);
        drop(first);
        if told.is_ok() {
            break;
        }
        disk.set_breaks(breaks(None));
        if !new.stands(&store(&disk.twin())) {
            continue; // not renamed yet
        }
        let look = |after: SimulatedDisk, at: &str| {
            if without_xattr && new.stands(&store(&after)) {
                return; // it is renamed for good, and nothing says of which version it is
            }
            let (_, sent) = new.fill(&store(&after)).unwrap();
            assert!(sent <= 900, "death {death}, {at}: {sent} sent again");
            counted.set(counted.get() + 1);
        };
        each_cut(&disk, breaks(None), |second| drop(new.fill(second)), look);
    }
    assert!(counted.get() > 100, "{}", counted.get());
}

#[test]
fn a_rename_that_is_not_durable_takes_no_stage_from_who_clears_up_behind_it() {
    what_a_checkpoint_covers_is_there(false);
}

#[test]
fn a_rename_that_is_not_durable_takes_no_stage_from_who_begins_again() {
    what_a_checkpoint_covers_is_there(true);
}

/// Version B takes over what A staged and dies at any operation, goes on, and the power fails then.
#[test]
fn what_is_taken_over_is_not_written_over_before_that_is_durable() {
    let (a, b) = (object("x", 2 * CHUNK + 900, 1), object("x", 2 * CHUNK + 900, 2));
    let limited = |operations_max| Breaks { operations_max, ..Breaks::default() };
    let staged = || {
        let disk = SimulatedDisk::default();
        drop(a.fill(&store(&disk)).unwrap());
        disk
    };
    let mut looked = 0;
    for death in 30.. {
        let disk = staged();
        let first = store(&disk);
        disk.set_breaks(limited(Some(death)));
        let opened = first.open_sink(b.spec.clone(), &|_, _| {});
        let is_over = opened.is_ok();
        drop((opened, first));
        disk.set_breaks(limited(None));
        let look = |after: SimulatedDisk, at: &str| {
            a.transfer(&store(&after)).unwrap();
            assert!(a.stands(&store(&after)), "death {death}, {at}");
        };
        looked += each_cut(&disk, limited(None), |second| drop(b.fill(second)), look);
        if is_over {
            break;
        }
    }
    assert!(looked > 1_000, "{looked}");
}
