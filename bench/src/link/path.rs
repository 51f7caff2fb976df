//! One direction of a link, in virtual time: a queue of bounded bytes that drains at a rate, then a
//! constant delay, and losses of single packets. No clock, no device: equal inputs give equal
//! outputs.
//!
//! ```text
//! offer -> [ queue, at most queue_bytes_max ] -> rate -> lost? -> delay -> due
//! ```
//!
//! A lost packet has used the link like any other. Packets keep their order.

use std::collections::VecDeque;

/// Virtual time, nanoseconds.
pub type Nanos = u64;

/// What a link is like, one way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// Bits a second.
    pub rate: u64,
    /// From the last bit sent to the last bit received.
    pub delay: Nanos,
    /// Bytes that wait at most; a packet that finds more waiting is dropped.
    pub queue_bytes_max: u64,
    /// Packets of a million that are lost.
    pub loss_ppm: u32,
}

/// One direction, with the packets on it.
#[derive(Clone, Debug)]
pub struct Path<P> {
    shape: Shape,
    /// When the last packet that was let in has left the queue.
    free: Nanos,
    flight: VecDeque<(Nanos, P)>,
    random: u64,
}

impl<P> Path<P> {
    /// Empty; the seed decides which packets are lost.
    pub fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, free: 0, flight: VecDeque::new(), random: seed | 1 }
    }

    /// Takes a packet of `len` bytes, or gives it back where it is dropped or lost.
    pub fn offer(&mut self, now: Nanos, len: u64, packet: P) -> Result<(), P> {
        let start = self.free.max(now);
        if self.bytes_in(start - now) + len > self.shape.queue_bytes_max {
            return Err(packet);
        }
        self.free = start + len * 8 * SECOND / self.shape.rate;
        if self.is_lost() {
            return Err(packet);
        }
        self.flight.push_back((self.free + self.shape.delay, packet));
        Ok(())
    }

    /// The next packet that has arrived.
    pub fn due(&mut self, now: Nanos) -> Option<P> {
        self.next().filter(|at| *at <= now)?;
        self.flight.pop_front().map(|(_, packet)| packet)
    }

    /// When the next packet arrives.
    pub fn next(&self) -> Option<Nanos> {
        self.flight.front().map(|(at, _)| *at)
    }

    /// Bytes that the link carries in a time.
    fn bytes_in(&self, time: Nanos) -> u64 {
        let bits = u128::from(time) * u128::from(self.shape.rate) / u128::from(SECOND);
        u64::try_from(bits / 8).unwrap_or(u64::MAX)
    }

    /// xorshift64* (Vigna 2016): the high half of a product.
    fn is_lost(&mut self) -> bool {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let drawn = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        (drawn * 1_000_000) >> 32 < u64::from(self.shape.loss_ppm)
    }
}

const SECOND: Nanos = 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape =
        Shape { rate: 200_000_000, delay: 50_000_000, queue_bytes_max: 150_000, loss_ppm: 0 };
    /// 1,500 bytes at 200 Mbit/s.
    const PACKET: Nanos = 60_000;

    #[test]
    fn a_packet_arrives_after_its_bits_and_the_delay() {
        let mut path = Path::new(SHAPE, 1);
        path.offer(7, 1500, 'a').unwrap();
        assert_eq!(path.next(), Some(7 + PACKET + SHAPE.delay));
        assert_eq!(path.due(7 + PACKET + SHAPE.delay - 1), None);
        assert_eq!(path.due(7 + PACKET + SHAPE.delay), Some('a'));
        assert_eq!(path.next(), None);
    }

    #[test]
    fn packets_wait_for_each_other_in_order() {
        let mut path = Path::new(SHAPE, 1);
        path.offer(0, 1500, 'a').unwrap();
        path.offer(0, 1500, 'b').unwrap();
        assert_eq!(path.due(PACKET + SHAPE.delay), Some('a'));
        assert_eq!(path.due(PACKET + SHAPE.delay), None);
        assert_eq!(path.due(2 * PACKET + SHAPE.delay), Some('b'));
    }

    #[test]
    fn a_full_queue_drops_and_drains() {
        let mut path = Path::new(SHAPE, 1);
        let taken = (0..200).filter(|nth| path.offer(0, 1500, *nth).is_ok()).count();
        assert_eq!(taken, 100);
        assert_eq!(path.offer(PACKET / 2, 1500, 0), Err(0));
        path.offer(PACKET, 1500, 0).unwrap();
    }

    #[test]
    fn the_rate_holds_over_a_second_of_overload() {
        let mut path = Path::new(SHAPE, 1);
        let mut arrived = 0;
        for now in (0..SECOND + SHAPE.delay).step_by(40_000) {
            let _ = path.offer(now, 1500, ());
            arrived += std::iter::from_fn(|| path.due(now)).count();
        }
        let ideal = usize::try_from(SECOND / PACKET).unwrap();
        assert!(arrived.abs_diff(ideal) <= 2, "{arrived} of {ideal}");
    }

    #[test]
    fn losses_are_as_many_as_asked_and_the_same_for_a_seed() {
        let lost = |seed: u64, loss_ppm: u32| {
            let mut path = Path::new(Shape { loss_ppm, ..SHAPE }, seed);
            let offered = (0..100_000_u64).map(|nth| path.offer(nth * PACKET, 1500, nth));
            offered.filter_map(|offer| offer.err()).collect::<Vec<u64>>()
        };
        assert_eq!(lost(1, 10_000), lost(1, 10_000));
        assert_ne!(lost(1, 10_000), lost(2, 10_000));
        assert!((900..1100).contains(&lost(3, 10_000).len()));
        assert!((70..130).contains(&lost(3, 1000).len()));
        assert!(lost(3, 0).is_empty());
    }
}
