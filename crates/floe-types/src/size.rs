//! The text of sizes and rates, and the size of chunks.

use crate::number::ByteCount;
use core::fmt;

/// The nominal size of a chunk: a power of two from 256 KiB to 16 MiB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ChunkSize(u32);

impl ChunkSize {
    /// 256 KiB.
    pub const MIN: Self = Self(256 << 10);
    /// 16 MiB.
    pub const MAX: Self = Self(16 << 20);
    /// 1 MiB.
    pub const DEFAULT: Self = Self(1 << 20);

    /// The chunk size of so many bytes, if it is one.
    #[must_use]
    pub const fn new(bytes: u64) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= Self::MIN.0 as u64 && bytes <= Self::MAX.0 as u64 {
            Some(Self(1 << bytes.trailing_zeros()))
        } else {
            None
        }
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> ByteCount {
        ByteCount(self.0 as u64)
    }
}

/// Bytes per second; never zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Rate(core::num::NonZeroU64);

impl Rate {
    /// One byte per second.
    pub const MIN: Self = Self(core::num::NonZeroU64::MIN);

    /// A rate of so many bytes per second; `None` for zero.
    #[must_use]
    pub const fn new(bytes_per_sec: u64) -> Option<Self> {
        match core::num::NonZeroU64::new(bytes_per_sec) {
            Some(rate) => Some(Self(rate)),
            None => None,
        }
    }

    /// Bytes per second.
    #[must_use]
    pub const fn bytes_per_sec(self) -> u64 {
        self.0.get()
    }
}

/// Why text is not a size.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SizeFault;

impl fmt::Display for SizeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "a size is a whole number with k, M, G, T (1000) or Ki, Mi, Gi, Ti (1024) behind it",
        )
    }
}

impl core::error::Error for SizeFault {}

/// Reads a SIZE: `4096`, `1M` (10^6), `1Mi` (2^20). A `B` may follow.
///
/// # Errors
/// `SizeFault` for anything else, and where the number is too large.
pub fn parse_size(text: &str) -> Result<ByteCount, SizeFault> {
    let text = text.strip_suffix('B').unwrap_or(text);
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(SizeFault),
    };
    number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).map(ByteCount).ok_or(SizeFault)
}

/// Reads a RATE: a SIZE per second, or bits: `100Mbit`, `1Gbit`, `500kbit`.
///
/// # Errors
/// `SizeFault` for anything else, and for zero.
pub fn parse_rate(text: &str) -> Result<Rate, SizeFault> {
    let text = text.strip_suffix("/s").unwrap_or(text);
    let bytes = match text.strip_suffix("bit") {
        Some(bits) => parse_size(bits)?.0 / 8,
        None => parse_size(text)?.0,
    };
    Rate::new(bytes).ok_or(SizeFault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_sizes_and_rates() {
        assert_eq!(parse_size("0"), Ok(ByteCount(0)));
        assert_eq!(parse_size("1M"), Ok(ByteCount(1_000_000)));
        assert_eq!(parse_size("16MiB"), Ok(ByteCount(16 << 20)));
        assert_eq!(parse_size("99999999999T"), Err(SizeFault));
        for bad in ["", "M", "-1", "1.5M", "1 M", "1X", "0x10"] {
            assert_eq!(parse_size(bad), Err(SizeFault), "{bad}");
        }
        assert_eq!(parse_rate("100Mbit").map(Rate::bytes_per_sec), Ok(12_500_000));
        assert_eq!(parse_rate("5Mi/s").map(Rate::bytes_per_sec), Ok(5 << 20));
        assert_eq!(parse_rate("0"), Err(SizeFault));
        assert_eq!(ChunkSize::new(3 << 20), None);
        assert_eq!(ChunkSize::new(1 << 20), Some(ChunkSize::DEFAULT));
    }
}
