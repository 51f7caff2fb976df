//! What will happen to one direction of a connection, drawn when it is accepted.

use crate::dice::Dice;
use std::time::Duration;

/// What a network is like: how often in a hundred something happens to one direction of a
/// connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Weather {
    /// It is closed in good order.
    pub(crate) cut: u64,
    /// It is reset.
    pub(crate) reset: u64,
    /// It stands still for a while.
    pub(crate) stall: u64,
    /// It ends in this direction only, and what comes is thrown away.
    pub(crate) half_close: u64,
    /// Bits are flipped.
    pub(crate) corrupt: u64,
    /// It is slow.
    pub(crate) throttle: u64,
    /// Within so many bytes it happens.
    pub(crate) within: u64,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Deed {
    Cut,
    Reset,
    HalfClose,
    Stall(Duration),
    Flip,
}

/// What will happen to one direction.
#[derive(Clone, Debug)]
pub(super) struct Fate {
    /// After how many bytes, in order.
    pub(super) deeds: Vec<(u64, Deed)>,
    /// Bytes a second at most.
    pub(super) rate: Option<u64>,
}

impl Weather {
    /// Nothing happens.
    pub(crate) const CALM: Self =
        Self { cut: 0, reset: 0, stall: 0, half_close: 0, corrupt: 0, throttle: 0, within: 0 };

    /// A weather for about so many bytes; bits are flipped only where that is asked for.
    pub(crate) fn roll(dice: &mut Dice, bytes: u64, corrupt: bool) -> Self {
        let within = (bytes / dice.between(1, 4)).clamp(20_000, 1 << 30);
        let mut weather = Self { within, ..Self::CALM };
        match dice.below(7) {
            0 => {}
            1 => weather.cut = 60,
            2 => weather.reset = 60,
            3 => weather.half_close = 50,
            4 => (weather.stall, weather.throttle) = (70, 30),
            _ => {
                let kinds = [
                    &mut weather.cut,
                    &mut weather.reset,
                    &mut weather.stall,
                    &mut weather.half_close,
                    &mut weather.throttle,
                ];
                for chance in kinds {
                    *chance = 15;
                }
            }
        }
        if corrupt {
            weather.corrupt = 60;
        }
        weather
    }
}

impl Fate {
    pub(super) fn roll(weather: &Weather, dice: &mut Dice) -> Self {
        let mut deeds = Vec::new();
        let stall = Duration::from_millis(dice.between(20, 3000));
        for (chance, deed) in [
            (weather.cut, Deed::Cut),
            (weather.reset, Deed::Reset),
            (weather.half_close, Deed::HalfClose),
            (weather.stall, Deed::Stall(stall)),
            (weather.corrupt, Deed::Flip),
            (weather.corrupt, Deed::Flip),
        ] {
            if dice.percent(chance) {
                deeds.push((dice.scaled(weather.within), deed));
            }
        }
        for (at, deed) in &mut deeds {
            // What names and sizes are in comes first; nothing protects it on a plain wire.
            if *deed == Deed::Flip {
                *at = (*at).max(PLAIN_BYTES);
            }
        }
        deeds.sort_by_key(|(at, _)| *at);
        let slow = dice.between(100_000, 20_000_000);
        let rate = dice.percent(weather.throttle).then_some(slow);
        Self { deeds, rate }
    }
}

/// Greeting, entry and flags of a single file are well within it.
const PLAIN_BYTES: u64 = 16 << 10;
