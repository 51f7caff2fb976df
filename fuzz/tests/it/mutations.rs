//! A short run without coverage: kept inputs, changed by a seed. What it finds a campaign finds
//! sooner, but it runs with every test.

use crate::corpus::corpus;
use floe_fuzz::{TARGETS, Target};
use std::time::{Duration, Instant};

/// How long each target is tried, and how often at least, however slow the machine.
const FOR: Duration = Duration::from_secs(2);
const INPUTS_MIN: u64 = 300;
const INPUT_BYTES_MAX: usize = 4096;

/// Numbers of a seed (splitmix64).
struct Seeded(u64);

impl Seeded {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, count: usize) -> usize {
        usize::try_from(self.next() % count.max(1) as u64).unwrap()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

#[test]
fn changed_inputs_keep_the_promises() {
    std::thread::scope(|scope| {
        let threads: Vec<_> = TARGETS.iter().map(|one| scope.spawn(|| try_changes(one))).collect();
        for (thread, target) in threads.into_iter().zip(TARGETS) {
            assert!(thread.join().is_ok(), "{} failed; its input is shown above", target.name);
        }
    });
}

fn try_changes(target: &Target) {
    let kept: Vec<Vec<u8>> = corpus(target).into_iter().map(|(_, input)| input).collect();
    let (mut seeded, began) = (Seeded(target.name.len() as u64), Instant::now());
    let mut tried = 0;
    while tried < INPUTS_MIN || began.elapsed() < FOR {
        let input = change(&kept, &mut seeded);
        let outcome = std::panic::catch_unwind(|| (target.run)(&input));
        assert!(outcome.is_ok(), "{} fails on {input:?}", target.name);
        tried += 1;
    }
    eprintln!("{}: {tried} inputs", target.name);
}

/// One kept input, with a few changes.
fn change(kept: &[Vec<u8>], seeded: &mut Seeded) -> Vec<u8> {
    let mut input = kept[seeded.below(kept.len())].clone();
    for _ in 0..=seeded.below(4) {
        let at = seeded.below(input.len() + 1);
        match seeded.below(6) {
            0 if at < input.len() => input[at] = seeded.byte(),
            1 if at < input.len() => input[at] ^= 1 << seeded.below(8),
            2 => input.insert(at, seeded.byte()),
            3 if at < input.len() => {
                let end = (at + 1 + seeded.below(16)).min(input.len());
                input.drain(at..end);
            }
            4 => {
                let other = &kept[seeded.below(kept.len())];
                input.truncate(at);
                input.extend_from_slice(&other[seeded.below(other.len() + 1)..]);
            }
            _ => {
                let end = (at + 1 + seeded.below(32)).min(input.len());
                let copy = input[at.min(end)..end].to_vec();
                input.splice(at..at, copy);
            }
        }
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}
