//! A hash of 64 bits that is quick and good enough to tell states apart: words are multiplied in
//! (as in FxHash), and mixed once more at the end (the finaliser of SplitMix64).

use std::hash::Hasher;

/// The hash of what was written so far.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Mixer(u64);

impl Mixer {
    fn word(&mut self, word: u64) {
        // The high half is where a product depends on every bit.
        let product = (self.0 ^ word ^ 0xf39c_c060_5ced_c835) as u128 * 0x9e37_79b9_7f4a_7c15;
        let halves = product.to_be_bytes();
        let (high, low) = halves.split_at(8);
        self.0 = half(high) ^ half(low);
    }
}

/// Up to eight bytes as a word.
fn half(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.word(half(word));
        }
        if !words.remainder().is_empty() {
            self.word(half(words.remainder()));
        }
    }

    fn write_u8(&mut self, number: u8) {
        self.word(number.into());
    }

    fn write_u32(&mut self, number: u32) {
        self.word(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.word(number as u64);
    }

    fn finish(&self) -> u64 {
        let mut z = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
