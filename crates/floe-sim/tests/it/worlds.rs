//! Every interleaving of the small transfer.

use floe_proto::frame::Direction;
use floe_sim::explore::{Bounds, explore};

#[test]
fn no_interleaving_of_a_small_transfer_breaks_a_promise() {
    for direction in [Direction::Put, Direction::Get] {
        let bounds = Bounds { direction, faults: 2, restarts: 1, states_max: 100_000 };
        let found = explore(bounds);
        assert_eq!(found.broken, None);
        assert!(found.all && found.states > 10_000, "{found:?}");
    }
}
