//! One connection whose bytes become a new file, committed when the peer closes cleanly.
//!
//! A reset, silence, an early end, a byte too many or a size that cannot be leave nothing visible.

use super::local::{Inbox, Target, store_all};
use super::stop::Present;
use super::wire::{Framing, Incoming, Pace, Peer, Terms, read_size};
use crate::clock::timestamp;
use floe_types::{ByteCount, Code, Component, Fault, ObjectPath, Precondition, Root, Timestamp};

/// What a connection became.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Received {
    pub(super) name: Component,
    pub(super) size: ByteCount,
    pub(super) root: Root,
}

/// Receives one file.
///
/// # Errors
/// `Violation` and `NoSpace` for a size refused; what `store_all` answers.
pub(super) fn receive(
    present: &Present,
    inbox: &Inbox,
    number: u64,
    peer: Peer,
    terms: &Terms,
) -> Result<Received, Fault> {
    let who = format!("from {peer}");
    let announced = match terms.framing {
        Framing::Open => None,
        Framing::Sized => Some(read_size(present, &who)?),
    };
    if let Some(size) = announced {
        inbox.check_room(size, &who)?;
    }
    let name = name(timestamp(), number, peer)?;
    let path = ObjectPath::root()
        .join(name.clone())
        .map_err(|fault| Fault::new(Code::BadPath, format!("name a received file: {fault}")))?;
    let target = Target { path, precondition: Precondition::Absent };
    let incoming = Incoming { from: present, announced, who: &who, pace: Pace::Whole };
    let (size, root) = store_all(inbox, target, incoming, terms)?;
    Ok(Received { name, size, root })
}

/// `20261123T084612.123456Z-000001-53412`: when it began, which connection it was, the peer's port.
fn name(at: Timestamp, number: u64, peer: Peer) -> Result<Component, Fault> {
    let (year, month, day) = civil(at.secs().div_euclid(86_400));
    let second = at.secs().rem_euclid(86_400);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = at.nanos() / 1000;
    let port = peer.0.port();
    let date = format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}");
    let text = format!("{date}.{micros:06}Z-{number:06}-{port}");
    Component::new(text.as_bytes())
        .map_err(|fault| Fault::new(Code::BadPath, format!("name a received file: {fault}")))
}

/// Year, month and day of a count of days since 1970-01-01 in the proleptic Gregorian calendar; the
/// method is Howard Hinnant's `civil_from_days`: years begin in March, eras have 400 years.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let january_or_february = i64::from(month <= 2);
    (year + era * 400 + january_or_february, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_become_dates() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (20_780, (2026, 11, 23)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
            (-1, (1969, 12, 31)),
        ] {
            assert_eq!(civil(days), date, "{days}");
        }
    }

    #[test]
    fn names_tell_when_which_and_who() {
        let at = Timestamp::new(1_795_423_572, 123_456_789).unwrap();
        let peer = Peer("[::ffff:192.0.2.1]:53412".parse().unwrap());
        assert_eq!(peer.to_string(), "192.0.2.1:53412");
        assert_eq!(name(at, 1, peer).unwrap().to_string(), "20261123T084612.123456Z-000001-53412");
    }
}
