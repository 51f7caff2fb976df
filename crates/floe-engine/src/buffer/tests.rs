//! Buffers come back, and no more are out than may be.

#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn a_piece_returns_to_its_shelf_when_the_last_holder_drops_it() {
    let pool = Pool::new(ByteCount(1 << 20));
    let mut blank = pool.blank(200_000);
    blank.bytes_mut()[0] = 7;
    let piece = blank.seal(1000);
    let twin = piece.clone();
    assert_eq!((piece.bytes().len(), twin.bytes()[0]), (1000, 7));
    assert_eq!(pool.held(), ByteCount(256 << 10));
    drop(piece);
    assert_eq!(pool.held(), ByteCount(256 << 10));
    drop(twin);
    assert_eq!(pool.held(), ByteCount(0));
    assert_eq!(pool.blank(256 << 10).bytes_mut()[0], 7, "the same memory again");
}

#[test]
fn keeps_no_more_idle_bytes_than_it_may() {
    let pool = Pool::new(ByteCount(300 << 10));
    let blanks: Vec<_> = (0..4).map(|_| pool.blank(256 << 10)).collect();
    assert_eq!(pool.held_max(), ByteCount(1 << 20));
    drop(blanks);
    assert_eq!(pool.store.idle_bytes.load(Ordering::Relaxed), 256 << 10);
    drop(pool.blank(3 << 20));
    drop(pool.blank(10));
    assert_eq!(pool.held(), ByteCount(0));
}

/// Counts how often it rings.
#[derive(Default)]
struct Rings(AtomicU64);

impl Bell for Rings {
    fn ring(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Somebody who wants a buffer.
struct Guest {
    turn: Turn,
    rings: Arc<Rings>,
    bell: Arc<dyn Bell>,
}

impl Guest {
    fn new() -> Self {
        let rings = Arc::new(Rings::default());
        Self { turn: Turn::default(), bell: rings.clone(), rings }
    }

    fn ask(&mut self, pool: &Pool) -> Option<Blank> {
        pool.blank_in_turn(64 << 10, &mut self.turn, &self.bell)
    }

    fn rings(&self) -> u64 {
        self.rings.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_bounded_pool_lends_in_order_and_never_more() {
    let pool = Pool::bounded(ByteCount(0), ByteCount(128 << 10));
    let (mut first, mut second, mut third) = (Guest::new(), Guest::new(), Guest::new());
    let mut held = vec![first.ask(&pool).unwrap(), first.ask(&pool).unwrap()];
    assert!(second.ask(&pool).is_none() && third.ask(&pool).is_none() && pool.is_short());
    held.pop();
    assert_eq!((second.rings(), third.rings()), (1, 0));
    assert!(first.ask(&pool).is_none(), "what is free is the second's");
    assert!(third.ask(&pool).is_none(), "and not the third's");
    let seconds = second.ask(&pool).unwrap();
    drop(held);
    assert!(third.ask(&pool).is_some());
    drop(seconds);
    assert!(first.ask(&pool).is_some() && !pool.is_short());
    assert_eq!(pool.held_max(), ByteCount(128 << 10));
    assert_eq!(pool.held(), ByteCount(0));
}

#[test]
fn who_leaves_the_line_lets_the_next_one_come() {
    let pool = Pool::bounded(ByteCount(0), ByteCount(64 << 10));
    let (mut first, mut second, mut third) = (Guest::new(), Guest::new(), Guest::new());
    let held = first.ask(&pool).unwrap();
    assert!(second.ask(&pool).is_none() && third.ask(&pool).is_none());
    drop(held);
    assert_eq!((second.rings(), third.rings()), (1, 0));
    drop(second);
    assert_eq!(third.rings(), 1);
    drop(third);
    assert!(first.ask(&pool).is_some());
}

#[test]
fn what_a_slow_reader_leaves_elsewhere_counts() {
    let pool = Pool::bounded(ByteCount(0), ByteCount(100 << 10));
    let mut charge = pool.charge();
    charge.set(50 << 10);
    let mut guest = Guest::new();
    assert!(guest.ask(&pool).is_none());
    charge.set(20 << 10);
    assert_eq!(guest.rings(), 1);
    assert!(guest.ask(&pool).is_some());
    drop(charge);
    assert_eq!(pool.held(), ByteCount(0));
}
