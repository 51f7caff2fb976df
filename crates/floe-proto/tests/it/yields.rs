//! Transfers that give way, between two cores: the sender holds back, whichever end it is.

use crate::disk::Disk;
use crate::transfers::{assert_whole, one_file, run, tree};
use crate::world::{Faults, Setup};
use floe_proto::frame::{Direction, Priority};
use floe_types::Micros;

const BOTH: [Direction; 2] = [Direction::Put, Direction::Get];

#[test]
fn the_sender_holds_back_and_the_rest_is_as_ever() {
    for direction in BOTH {
        for streams in [1, 3] {
            let mut setup = Setup::new(direction, "file");
            setup.streams = streams;
            let source = one_file(1 << 20);
            let (fast, _) = run(&setup, &source, Disk::default(), Faults::default());
            setup.options.priority = Priority::Background;
            let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
            assert_whole(&run, &source, &sink);
            // Nobody tells it of its path here: it stays at the rate that it begins with.
            let limited = run.summary.causes.limiter;
            assert!(limited >= Micros::from_secs(5), "{direction:?} {streams}: {limited:?}");
            assert_eq!(fast.summary.causes.limiter, Micros::ZERO);
        }
    }
}

#[test]
fn a_tree_that_gives_way_arrives_whole() {
    for direction in BOTH {
        let (source, mut setup) = (tree(), Setup::new(direction, "t"));
        setup.options.priority = Priority::Background;
        let (run, sink) = run(&setup, &source, Disk::default(), Faults::default());
        assert_whole(&run, &source, &sink);
    }
}
