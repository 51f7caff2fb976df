//! Civil time as people read it: `2025-01-31T09:05:00Z` (RFC 3339, UTC).
//!
//! Pure text from a stamp; the clock is read by those who call.

use crate::entry::Timestamp;
use core::fmt;

/// Shows a stamp in whole seconds; with a precision (`{:.6}`) in so many digits of one, up to nine.
#[derive(Clone, Copy, Debug)]
pub struct Utc(pub Timestamp);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = self.0.secs().div_euclid(86_400);
        let second = self.0.secs().rem_euclid(86_400);
        let (year, month, date) = date_of(day);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{date:02}T{hour:02}:{minute:02}:{second:02}")?;
        if let Some(digits @ 1..) = f.precision().map(|digits| digits.min(9)) {
            let dropped = (digits..9).fold(1, |unit, _| unit * 10);
            write!(f, ".{:0digits$}", self.0.nanos() / dropped)?;
        }
        f.write_str("Z")
    }
}

/// The date of a day counted from 1970-01-01 (Howard Hinnant, `civil_from_days`).
fn date_of(day: i64) -> (i64, i64, i64) {
    let shifted = day.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::{String, ToString};

    fn stamp(secs: i64) -> String {
        Utc(Timestamp::new(secs, 0).unwrap()).to_string()
    }

    #[test]
    fn stamps_are_utc() {
        assert_eq!(stamp(0), "1970-01-01T00:00:00Z");
        assert_eq!(stamp(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(stamp(1_704_067_199), "2023-12-31T23:59:59Z");
        assert_eq!(stamp(-1), "1969-12-31T23:59:59Z");
        assert!(!stamp(i64::MAX).is_empty() && !stamp(i64::MIN).is_empty());
    }

    #[test]
    fn days_become_dates() {
        for (days, date) in [
            (0, "1970-01-01"),
            (59, "1970-03-01"),
            (11_016, "2000-02-29"),
            (20_780, "2026-11-23"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
            (-1, "1969-12-31"),
        ] {
            assert_eq!(stamp(days * 86_400), format!("{date}T00:00:00Z"), "{days}");
        }
    }

    #[test]
    fn digits_of_a_second_are_cut_and_filled_up() {
        let stamp = Utc(Timestamp::new(0, 1_234_567).unwrap());
        assert_eq!(format!("{stamp:.6}"), "1970-01-01T00:00:00.001234Z");
        assert_eq!(format!("{stamp:.9}"), "1970-01-01T00:00:00.001234567Z");
        assert_eq!(format!("{stamp:.0}"), "1970-01-01T00:00:00Z");
    }
}
