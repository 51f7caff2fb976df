//! A stream as it is seen every quarter of a second.

use super::*;
use floe_types::{EntryIndex, TransferId};

const LOOK: u64 = 250_000;

/// What a look sees of the time since the last, in thousandths, and of the bytes, in MB a second.
#[derive(Clone, Copy)]
struct Look {
    full: u64,
    packing: u64,
    raw: u64,
    wire: u64,
    peer_limited: u64,
    theirs: Causes,
}

/// A path that is full, at 25 MB a second, plain.
const FULL_PATH: Look =
    Look { full: 950, packing: 0, raw: 25, wire: 25, peer_limited: 0, theirs: SILENT };
const SILENT: Causes = Causes {
    source_disk: Micros::ZERO,
    cpu: Micros::ZERO,
    network: Micros::ZERO,
    window: Micros::ZERO,
    limiter: Micros::ZERO,
    starved: Micros::ZERO,
    sink_disk: Micros::ZERO,
    sync: Micros::ZERO,
    memory: Micros::ZERO,
    idle: Micros::ZERO,
    loss: Micros::ZERO,
    peer_socket: Micros::ZERO,
    sink_cpu: Micros::ZERO,
};
const STARVES: Causes = Causes { starved: Micros(900_000), sink_disk: Micros(100_000), ..SILENT };
const WRITES: Causes = Causes { starved: Micros(100_000), sink_disk: Micros(900_000), ..SILENT };

struct Stream {
    thrift: Thrift,
    seen: Seen,
}

impl Stream {
    fn new(nearness: Nearness) -> Self {
        Self { thrift: Thrift::new(nearness), seen: Seen::default() }
    }

    /// Looks so many times; the level then.
    fn look(&mut self, times: u32, look: Look) -> Option<u8> {
        for _ in 0..times {
            let seen = &mut self.seen;
            let part = |thousandths: u64| Micros(LOOK * thousandths / 1000);
            let bytes = |mega: u64| ByteCount(mega * LOOK);
            seen.at = seen.at.plus(Micros(LOOK));
            seen.full = seen.full.plus(part(look.full));
            seen.packing = seen.packing.plus(part(look.packing));
            seen.raw = seen.raw.plus(bytes(look.raw));
            seen.wire = seen.wire.plus(bytes(look.wire));
            seen.path.sending = seen.path.sending.plus(Micros(LOOK));
            seen.path.peer_limited = seen.path.peer_limited.plus(part(look.peer_limited));
            seen.theirs = seen.theirs.plus(look.theirs);
            self.thrift.look(self.seen);
        }
        self.thrift.level().map(PackLevel::number)
    }
}

#[test]
fn a_full_path_is_packed_for_and_with_more_effort_where_there_is_time() {
    let mut stream = Stream::new(Nearness::Elsewhere);
    assert_eq!(stream.look(1, FULL_PATH), Some(1));
    let packed = Look { packing: 100, raw: 75, ..FULL_PATH };
    assert_eq!(stream.look(1, packed), Some(3));
    assert_eq!(stream.look(4, Look { packing: 400, ..packed }), Some(3));
    assert_eq!(stream.look(1, Look { packing: 800, ..packed }), Some(1));
    assert_eq!(stream.look(100, Look { packing: 400, ..packed }), Some(1));
}

#[test]
fn a_path_with_room_or_one_that_is_faster_than_packing_is_left_alone() {
    let mut stream = Stream::new(Nearness::Elsewhere);
    assert_eq!(stream.look(40, Look { full: 600, ..FULL_PATH }), None);
    assert_eq!(stream.look(40, Look { raw: 1000, wire: 1000, ..FULL_PATH }), None);
}

#[test]
fn a_receiver_that_does_not_read_is_no_path() {
    let mut stream = Stream::new(Nearness::Elsewhere);
    assert_eq!(stream.look(40, Look { peer_limited: 900, ..FULL_PATH }), None);
    // Nor is one that says so, whatever TCP says.
    assert_eq!(stream.look(40, Look { theirs: WRITES, ..FULL_PATH }), None);
    // What stands between hands on slowly: the receiver itself waits.
    assert_eq!(stream.look(1, Look { peer_limited: 900, theirs: STARVES, ..FULL_PATH }), Some(1));
    assert_eq!(stream.look(1, Look { theirs: WRITES, packing: 100, ..FULL_PATH }), None);
}

#[test]
fn on_one_machine_the_receiver_has_to_say_that_it_waits() {
    let mut stream = Stream::new(Nearness::Here);
    assert_eq!(stream.look(40, FULL_PATH), None);
    assert_eq!(stream.look(40, Look { theirs: WRITES, ..FULL_PATH }), None);
    assert_eq!(stream.look(1, Look { theirs: STARVES, ..FULL_PATH }), Some(1));
}

#[test]
fn packing_that_is_slower_than_the_path_was_rests_longer_each_time() {
    let mut stream = Stream::new(Nearness::Elsewhere);
    let slow = Look { full: 0, packing: 1000, raw: 20, wire: 7, ..FULL_PATH };
    let mut rests = Vec::new();
    assert_eq!(stream.look(1, FULL_PATH), Some(1));
    for _ in 0..8 {
        assert_eq!(stream.look(1, slow), None);
        let mut looks = 1;
        while stream.look(1, FULL_PATH).is_none() {
            looks += 1;
        }
        rests.push(looks / 4);
    }
    assert_eq!(rests, [2, 4, 8, 16, 32, 64, 64, 64], "seconds");
}

#[test]
fn packing_that_outruns_the_path_goes_on_and_looks_again_now_and_then() {
    let mut stream = Stream::new(Nearness::Elsewhere);
    assert_eq!(stream.look(1, FULL_PATH), Some(1));
    let fast = Look { full: 100, packing: 900, raw: 80, wire: 10, ..FULL_PATH };
    assert_eq!(stream.look(39, fast), Some(1));
    assert_eq!(stream.look(1, fast), None, "ten seconds are over");
    assert_eq!(stream.look(1, FULL_PATH), Some(1));
    // A source that gives nothing says nothing.
    assert_eq!(stream.look(20, Look { full: 0, packing: 0, raw: 0, wire: 0, ..fast }), Some(3));
}

#[test]
fn a_further_stream_goes_on_as_the_others_and_judges_for_itself() {
    let mut stream = Stream::new(Nearness::Elsewhere);
    stream.thrift.follow();
    assert_eq!(stream.thrift.level(), Some(PackLevel::MIN));
    assert_eq!(stream.look(1, Look { packing: 300, ..FULL_PATH }), Some(1));
    assert_eq!(stream.look(1, Look { peer_limited: 900, ..FULL_PATH }), None);
    stream.thrift.follow();
    assert_eq!(stream.thrift.level(), None, "it has seen something");
    let mut here = Stream::new(Nearness::Here);
    here.thrift.follow();
    assert_eq!(here.look(1, FULL_PATH), None, "nobody said that he waits");
}

#[test]
fn what_did_not_shrink_is_tried_less_and_less_until_it_does() {
    let mut taste = Taste::default();
    let object = |index| EntryId { transfer: TransferId(0), index: EntryIndex(index) };
    let piece = ByteCount(256 << 10);
    let tries = |taste: &mut Taste, pieces: u32| {
        let mut tries = 0;
        for _ in 0..pieces {
            if taste.wants(piece) {
                tries += 1;
                taste.did_not();
            }
        }
        tries
    };
    taste.begin(object(0));
    assert_eq!(tries(&mut taste, 4000), 4 + (4000 - 1 - 2 - 4 - 8 - 4) / 17 + 1);
    taste.begin(object(0));
    assert!(!taste.wants(piece), "the next chunk of it");
    taste.begin(object(1));
    assert!(taste.wants(piece), "another object");
    taste.shrank();
    assert!(taste.wants(piece));
}
