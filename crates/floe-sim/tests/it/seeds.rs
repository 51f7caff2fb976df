//! A fixed number of seeds, and that a seed is one world.

use floe_sim::run::{self, Seeds};
use floe_sim::trace::Telling;

#[test]
fn no_seed_of_the_first_ones_breaks_a_promise() {
    let seeds = Seeds { first: 1, count: 500, failures_max: 3 };
    let report = run::seeds(seeds, &|_, _| {});
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
    assert_eq!(report.passed, seeds.count);
    assert!(report.sum.succeeded > 0 && report.sum.cuts > 0 && report.sum.kills > 0);
}

#[test]
fn a_seed_is_the_same_world_each_time() {
    for seed in 1..8 {
        let once = run::seed(seed, Telling::Nothing).unwrap();
        assert_eq!(run::seed(seed, Telling::Nothing).unwrap(), once);
    }
}
