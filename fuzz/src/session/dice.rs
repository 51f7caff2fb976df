//! Choices made of the input's bytes: small numbers first, so that what the fuzzer changes shows.

use arbitrary::Unstructured;

/// What is left of the input. Where nothing is left, every choice is the first one.
pub struct Dice<'a>(Unstructured<'a>);

impl<'a> Dice<'a> {
    /// Choices of these bytes.
    pub fn new(data: &'a [u8]) -> Self {
        Self(Unstructured::new(data))
    }

    /// Whether nothing is left.
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        self.0.arbitrary().unwrap_or(0)
    }

    /// A number below `count`, which is at most 256 and not 0.
    pub fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count.max(1)
    }

    /// A small number.
    pub fn small(&mut self, count: u8) -> u64 {
        u64::from(self.byte() % count.max(1))
    }

    /// One of a list that is not empty.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// One of the items of a list, if there are any.
    pub fn index_of<T>(&mut self, of: &[T]) -> Option<usize> {
        if of.is_empty() { None } else { Some(self.below(of.len())) }
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: u8) -> bool {
        self.byte() % times.max(1) == times.max(1) - 1
    }

    /// Any number, most often one near a bound.
    pub fn wild(&mut self) -> u64 {
        let near = self.small(4);
        let base: u64 =
            self.pick(&[0, 1 << 18, 1 << 24, 1 << 32, 1 << 40, 1 << 62, i64::MAX as u64]);
        match self.byte() % 3 {
            0 => base.saturating_add(near),
            1 => base.saturating_sub(near),
            _ => self.0.arbitrary().unwrap_or(u64::MAX),
        }
    }
}
