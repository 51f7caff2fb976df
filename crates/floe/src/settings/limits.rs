//! The bounds that `floe.toml` may set: each checked where it stands, so that a fault has its line.

use crate::civil;
use floe_engine::rules::{Caps, Rules, TreeCaps};
use floe_types::{ByteCount, Limits, Micros, ObjectPath};
use serde::de::{Deserialize, Deserializer, Error};
use std::borrow::Cow;

/// `[limits]` of `floe.toml`.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct LimitsTable {
    /// How long a connection may take until it is let in.
    greeting_time: Option<Span<1, 60>>,
    /// Connections that are being let in at once,
    greetings: Option<Number<1, 65_536>>,
    /// and those of one address.
    greetings_per_address: Option<Number<1, 65_536>>,
    /// Sessions at once,
    sessions: Option<Number<1, 65_536>>,
    /// those of one ticket,
    sessions_per_ticket: Option<Number<1, 65_536>>,
    /// and those of one address without a ticket.
    sessions_per_address: Option<Number<1, 65_536>>,
    /// Connections of one session.
    streams: Option<Number<1, 64>>,
    /// Transfers of one session at once; clients count on 16,
    transfers: Option<Number<16, 256>>,
    /// and requests, on 64.
    requests: Option<Number<64, 1024>>,
    /// Entries of a transfer that were announced and are not finished.
    entries_ahead: Option<Number<1024, 65_536>>,
    /// Entries of a transfer in all,
    entries: Option<Number<1, { u32::MAX }>>,
    /// and how deep directories may be made.
    depth: Option<Number<1, { ObjectPath::COMPONENTS_MAX }>>,
    /// Large files that one session may have open at once,
    open_files: Option<Number<1, 4096>>,
    /// and small ones.
    open_small_files: Option<Number<1, 4096>>,
    /// What a transfer may have under way.
    window: Option<Window>,
    /// How long a peer may say nothing.
    silence: Option<Span<31, 3600>>,
}

impl LimitsTable {
    /// The rules of a server that go by it.
    #[must_use]
    pub fn rules(&self, keep_free: ByteCount) -> Rules {
        let (mut limits, mut caps) = (Limits::default(), Caps::default());
        set(&mut limits.greeting, self.greeting_time.map(|span| span.0));
        set(&mut caps.greetings, self.greetings.map(|it| it.0));
        set(&mut caps.greetings_per_address, self.greetings_per_address.map(|it| it.0));
        set(&mut caps.sessions, self.sessions.map(|it| it.0));
        caps.sessions_per_ticket = self.sessions_per_ticket.map(|it| it.0);
        caps.sessions_per_address = self.sessions_per_address.map(|it| it.0);
        set(&mut limits.streams_max, self.streams.map(|it| it.0));
        set(&mut limits.transfers_max, self.transfers.map(|it| it.0));
        set(&mut limits.requests_max, self.requests.map(|it| it.0));
        set(&mut limits.entries_ahead_max, self.entries_ahead.map(|it| it.0));
        set(&mut limits.objects_open_max, self.open_files.map(|it| it.0));
        set(&mut limits.small_objects_open_max, self.open_small_files.map(|it| it.0));
        set(&mut limits.window_bytes_max, self.window.map(|it| it.0));
        set(&mut limits.silence, self.silence.map(|span| span.0));
        let mut trees = TreeCaps { entries: self.entries.map(|it| it.0), ..TreeCaps::default() };
        set(&mut trees.depth, self.depth.map(|it| it.0));
        // Two idle ends part after the longest silence, never before.
        limits.stall = limits.stall.max(Micros(limits.silence.0 * 2));
        Rules { limits, caps, trees, keep_free, ..Rules::default() }
    }
}

fn set<T>(bound: &mut T, to: Option<T>) {
    if let Some(to) = to {
        *bound = to;
    }
}

/// A whole number within bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Number<const MIN: u32, const MAX: u32>(u32);

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Number<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let wrong = || D::Error::custom(format!("a whole number from {MIN} to {MAX}"));
        let number = u32::deserialize(from).map_err(|_| wrong())?;
        (MIN..=MAX).contains(&number).then_some(Self(number)).ok_or_else(wrong)
    }
}

/// A span of so many seconds at least and at most, as in `"30s"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span<const MIN: u64, const MAX: u64>(Micros);

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Span<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let span = parsed(from, civil::parse_span)?.as_secs();
        let within = (MIN..=MAX).contains(&span).then_some(Self(Micros::from_secs(span)));
        within.ok_or_else(|| D::Error::custom(format!("a span from {MIN}s to {MAX}s")))
    }
}

/// What may be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Window(ByteCount);

impl<'de> Deserialize<'de> for Window {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let size = parsed(from, civil::parse_bytes)?;
        let bounds = Limits::WINDOW_BYTES..=ByteCount(1 << 30);
        let within = bounds.contains(&size).then_some(Self(size));
        within.ok_or_else(|| D::Error::custom("a window is from 64Mi to 1Gi"))
    }
}

/// Text, and what it says.
pub(super) fn parsed<'de, D: Deserializer<'de>, T>(
    from: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    parse(&Cow::<str>::deserialize(from)?).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<LimitsTable, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let rules = parse("").unwrap().rules(ByteCount::ZERO);
        assert_eq!(rules, Rules::default());
        rules.limits.assert_sound();
    }

    #[test]
    fn each_bound_has_its_place() {
        let text = "greeting-time = \"3s\"\ngreetings = 4\ngreetings-per-address = 5\n\
                    sessions = 6\nsessions-per-ticket = 7\nsessions-per-address = 8\nstreams = 9\n\
                    transfers = 20\nrequests = 70\nentries-ahead = 1200\nopen-files = 13\n\
                    open-small-files = 14\nentries = 15\ndepth = 16\nwindow = \"64Mi\"\n\
                    silence = \"10m\"\n";
        let Rules { limits, caps, trees, keep_free, .. } =
            parse(text).unwrap().rules(ByteCount(17));
        assert_eq!(trees, TreeCaps { entries: Some(15), depth: 16 });
        limits.assert_sound();
        let spans = (limits.greeting, limits.silence);
        assert_eq!(spans, (Micros::from_secs(3), Micros::from_secs(600)));
        let (ticket, address) = (caps.sessions_per_ticket, caps.sessions_per_address);
        assert_eq!((caps.greetings, caps.greetings_per_address, caps.sessions), (4, 5, 6));
        assert_eq!((ticket, address, keep_free), (Some(7), Some(8), ByteCount(17)));
        assert_eq!((limits.streams_max, limits.transfers_max, limits.requests_max), (9, 20, 70));
        assert_eq!((limits.entries_ahead_max, limits.objects_open_max), (1200, 13));
        let (small, window) = (limits.small_objects_open_max, limits.window_bytes_max);
        assert_eq!((small, window), (14, ByteCount(64 << 20)));
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for wrong in [
            "streams = 0",
            "streams = 65",
            "streams = -1",
            "streams = \"4\"",
            "entries-ahead = 1023",
            "silence = \"30s\"",
            "silence = \"2h\"",
            "greeting-time = 10",
            "window = \"1Mi\"",
            "window = \"large\"",
            "transfers = 15",
            "requests = 63",
            "entries = 0",
            "depth = 0",
            "depth = 256",
            "height = 3",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse("streams = 65").unwrap_err(), "a whole number from 1 to 64");
    }
}
