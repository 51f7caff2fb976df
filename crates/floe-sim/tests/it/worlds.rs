//! Every interleaving of the small transfer.

use floe_proto::frame::Direction;
use floe_sim::cuts::{self, Kind, every_cut};
use floe_sim::explore::{Bounds, explore};

/// The first of them; `floe-sim explore` goes on.
const STATES_MAX: usize = 100_000;

#[test]
fn no_interleaving_of_a_small_transfer_breaks_a_promise() {
    for direction in [Direction::Put, Direction::Get] {
        let bounds = Bounds { direction, faults: 2, restarts: 1, states_max: STATES_MAX };
        let found = explore(bounds);
        assert_eq!(found.broken, None);
        assert!(found.states >= STATES_MAX && found.ends > 0, "{found:?}");
    }
}

#[test]
fn no_power_cut_of_a_small_put_breaks_a_promise() {
    let found = every_cut(cuts::Bounds { kind: Kind::Put, restarts: 0, every: 1 });
    assert_eq!(found.broken, None);
    assert!(found.cases > 1_000, "{found:?}");
}
