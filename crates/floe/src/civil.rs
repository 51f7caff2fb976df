//! Civil time and quantities as people read them: UTC stamps, spans, byte counts, rates.
//!
//! Pure text from numbers and back; the clock is read by those who call.

use floe_types::{ByteCount, Timestamp, Utc, parse_size};
use std::time::Duration;

/// A stamp as `2025-01-31T09:05:00Z`.
pub fn utc(stamp: Timestamp) -> String {
    Utc(stamp).to_string()
}

/// Reads a span: `90s`, `30m`, `12h`, `7d`, `4w`.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let wrong = || "a span is a whole number with s, m, h, d or w behind it".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let factor = match &text[digits.len()..] {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return Err(wrong()),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|secs| *secs <= SPAN_SECS_MAX)
        .map(Duration::from_secs)
        .ok_or_else(|| "the span is too long (a hundred years at most)".to_owned())
}

/// Reads a size in bytes.
///
/// # Errors
/// What is wrong with it.
pub fn parse_bytes(text: &str) -> Result<ByteCount, String> {
    parse_size(text).map_err(|fault| fault.to_string())
}

const SPAN_SECS_MAX: u64 = 100 * 366 * 86_400;

/// A count of bytes: `17 B`, `1.50 GiB`.
pub fn bytes(count: ByteCount) -> String {
    scaled(count.0).unwrap_or_else(|| format!("{} B", count.0))
}

/// Bytes over a span as a rate: `1.50 GiB/s`; nothing to say of no time at all.
pub fn rate(count: ByteCount, over: Duration) -> String {
    format!("{}/s", bytes(ByteCount(per_second(count, over))))
}

/// Bytes a second, rounded down; a span below a microsecond counts as one.
pub fn per_second(count: ByteCount, over: Duration) -> u64 {
    let micros = over.as_micros().max(1);
    u64::try_from(u128::from(count.0) * 1_000_000 / micros).unwrap_or(u64::MAX)
}

fn scaled(count: u64) -> Option<String> {
    let step = [(4, "TiB"), (3, "GiB"), (2, "MiB"), (1, "KiB")]
        .into_iter()
        .find(|(power, _)| count >> (10 * power) > 0)?;
    let unit = 1u128 << (10 * step.0);
    let hundredths = u128::from(count) * 100 / unit;
    Some(format!("{}.{:02} {}", hundredths / 100, hundredths % 100, step.1))
}

/// A span as people say it: `0.42 s`, `12.3 s`, `4m 05s`, `3h 20m`.
pub fn span(time: Duration) -> String {
    let secs = time.as_secs();
    match secs {
        0..10 => format!("{}.{:02} s", secs, time.subsec_millis() / 10),
        10..60 => format!("{}.{} s", secs, time.subsec_millis() / 100),
        60..3600 => format!("{}m {:02}s", secs / 60, secs % 60),
        _ => format!("{}h {:02}m", secs / 3600, secs / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_bounded() {
        assert_eq!(parse_span("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_span("90s"), Ok(Duration::from_secs(90)));
        for bad in ["", "d", "7", "-1d", "1.5h", "1 h", "7D", "99999999999w", "+1d"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn quantities_are_short() {
        assert_eq!(bytes(ByteCount(17)), "17 B");
        assert_eq!(bytes(ByteCount(1536)), "1.50 KiB");
        assert_eq!(bytes(ByteCount(4 << 30)), "4.00 GiB");
        assert_eq!(bytes(ByteCount(u64::MAX)), "16777215.99 TiB");
        assert_eq!(rate(ByteCount(3 << 20), Duration::from_secs(2)), "1.50 MiB/s");
        assert_eq!(per_second(ByteCount(5), Duration::ZERO), 5_000_000);
        assert_eq!(span(Duration::from_millis(420)), "0.42 s");
        assert_eq!(span(Duration::from_secs(245)), "4m 05s");
        assert_eq!(span(Duration::from_secs(12_000)), "3h 20m");
    }
}
