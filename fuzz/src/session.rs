//! One session, either role: frames in any order with lying fields, disk operations that end in
//! any order and fail, timers, streams that come and go.
//!
//! Checked, beside that nothing panics: a violation is typed and sticky; what the core says is
//! within the protocol's bounds and true (`driver::truth`); what it asks of the disk keeps the
//! rules of `floe_proto::disk` (`disk`); its memory is bounded by `Limits`; when the disk has
//! answered and the peer is silent the session ends, and nothing stays open.
//!
//! ```text
//! input: role and setup 4 | a step each: what 1 | its choices
//! ```

use crate::session::driver::Driver;
use floe_proto::command::{
    Command, Config, Holes, Lost, OnFailure, Role, StreamCount, TransferOptions,
};
use floe_proto::frame::{Direction, Pace, ReceiptWish, Request, RootWish, Unasked, Verbs};
use floe_types::{ByteCount, ChunkSize, Code, EntryCount, Fault, Limits, Micros, Rate, TransferId};

mod dice; // choices of the input
mod content; // bytes that are never there
mod disk; // what the core's operations do
mod peer; // what the other end says
mod driver; // the core and all of it

use dice::Dice;
use disk::Ending;

/// Runs one input.
pub fn run(data: &[u8]) {
    let mut dice = Dice::new(data);
    let role = dice.pick(&[Role::Server, Role::Client]);
    let config = config(&mut dice);
    let memory_max = if config.limits.entries_ahead_max < 100 { SMALL_BYTES } else { LARGE_BYTES };
    let mut driver = Driver::new(role, config);
    for nth in 0..STEPS_MAX {
        if dice.is_over() || driver.is_ended() {
            break;
        }
        step(&mut driver, &mut dice);
        if nth.is_multiple_of(MEASURED_EVERY) {
            check_memory(&driver, memory_max);
        }
    }
    check_memory(&driver, memory_max);
    driver.comes_to_an_end();
}

fn check_memory(driver: &Driver, most: usize) {
    let bytes = driver.core_bytes();
    assert!(bytes <= most, "the core holds {bytes} bytes");
}

/// One thing happens.
fn step(driver: &mut Driver, dice: &mut Dice<'_>) {
    match dice.byte() % 24 {
        0..=4 => says(driver, dice),
        5..=9 => {
            let streams = driver.streams.clone();
            for (stream, frame) in peer::step(dice, &mut driver.known, &streams) {
                driver.hears(stream, frame);
            }
        }
        10 => driver.ends(0, Ending::Well, dice),
        11 => driver.ends(dice.below(driver.under_way()), Ending::Well, dice),
        12 => driver.ends(dice.below(driver.under_way()), Ending::Badly, dice),
        13 => driver.ends_all(),
        14 => driver.passes(None),
        15 => driver.passes(Some(Micros::from_millis(dice.small(255) * 100))),
        16 if driver.may_come_up() => driver.comes_up(),
        16 => driver.dial_fails(),
        17 => {
            if let Some(nth) = dice.index_of(&driver.streams) {
                let why = dice.pick(&[Lost::Connection, Lost::Silence]);
                driver.loses(driver.streams[nth], why);
            }
        }
        18 => {
            if let Some(nth) = dice.index_of(&driver.streams) {
                driver.turns(driver.streams[nth]);
            }
        }
        19 | 20 => driver.asks(command(dice, driver.role())),
        21 => driver.shares(ByteCount(dice.small(64) << 16)),
        22 => driver.works(dice.below(driver.under_way())),
        _ => {
            if let Some(nth) = dice.index_of(&driver.streams) {
                driver.trickles(driver.streams[nth]);
            }
        }
    }
}

/// The peer says any frame, now and then very often.
fn says(driver: &mut Driver, dice: &mut Dice<'_>) {
    let Some(nth) = dice.index_of(&driver.streams) else { return };
    let stream = driver.streams[nth];
    let mut frame = peer::any_frame(dice, &driver.known);
    let times = if dice.once_in(48) { 16 * (1 + dice.small(128)) } else { 1 };
    for _ in 0..times {
        driver.hears(stream, frame.clone());
        peer::next_of(&mut frame);
    }
}

fn config(dice: &mut Dice<'_>) -> Config {
    let limits = match dice.byte() % 4 {
        0 => Limits::default(),
        _ => Limits {
            entries_ahead_max: 8,
            batch_entries_max: 4,
            objects_open_max: 2,
            small_objects_open_max: 3,
            transfers_max: 2,
            requests_max: 3,
            want_ranges_max: 2,
            have_ranges_max: 2,
            chunk_attempts_max: 3,
            streams_max: 4,
            ..Limits::default()
        },
    };
    let verbs = match dice.byte() % 8 {
        7 => Verbs::READ.and(Verbs::LIST).and(Verbs::UNCHANGING),
        6 => Verbs::READ,
        5 => Verbs::WRITE_NEW,
        _ => Verbs::ALL,
    };
    let piece_bytes = ByteCount(dice.pick(&[1 << 16, 1 << 18]));
    let streams = dice.pick(&[StreamCount::Fixed(1), StreamCount::Fixed(3), StreamCount::Auto]);
    let buffers = ByteCount(dice.pick(&[8 << 20, 1 << 16, 1 << 18]));
    let holes = if dice.once_in(8) { Holes::AsBytes } else { Holes::AsHoles };
    Config { limits, verbs, piece_bytes, streams, buffers, holes }
}

fn command(dice: &mut Dice<'_>, role: Role) -> Command {
    let fault = Fault::new(Code::Interrupted, "");
    match (role, dice.byte() % 8) {
        (Role::Client, 0..=3) => {
            let direction = dice.pick(&[Direction::Put, Direction::Get]);
            let (local, remote) = (peer::path(dice), peer::path(dice));
            Command::Transfer { direction, local, remote, options: options(dice) }
        }
        (Role::Client, 4) => {
            let path = peer::path(dice);
            Command::Request(match dice.byte() % 2 {
                0 => Request::Stat { path, root: RootWish::IfKnown },
                _ => Request::List { path, after: None, max: EntryCount(9) },
            })
        }
        (Role::Client, 5) => Command::Cancel(TransferId(u32::from(dice.byte() % 3)), fault),
        (Role::Client, 6) => {
            let rate = dice.pick(&[None, Rate::new(1), Rate::new(1 << 20)]);
            Command::Limit(TransferId(u32::from(dice.byte() % 3)), rate)
        }
        (_, nth) if nth % 2 == 0 => Command::Drain,
        _ => Command::Close(dice.once_in(2).then_some(fault)),
    }
}

fn options(dice: &mut Dice<'_>) -> TransferOptions {
    let options = TransferOptions {
        chunk: dice.pick(&[ChunkSize::MIN, ChunkSize::DEFAULT]),
        window: ByteCount(dice.pick(&[4 << 20, 1 << 18, 1 << 16, 1])),
        pace: dice.pick(&[Pace::Streaming, Pace::Lockstep]),
        on_failure: dice.pick(&[OnFailure::Continue, OnFailure::Stop]),
        rate: dice.pick(&[None, None, Rate::new(1 << 20), Rate::new(1)]),
        ..TransferOptions::default()
    };
    let unasked = dice.pick(&[Unasked::Refused, Unasked::Welcome]);
    // Not drawn: every input of before still means what it meant.
    let receipts = match options.window == ByteCount(1 << 18) {
        true => ReceiptWish::Signed,
        false => ReceiptWish::None,
    };
    TransferOptions { unasked, receipts, ..options }
}

const STEPS_MAX: usize = 400;
/// So often, and at the end, its memory is looked at: a session that is over has hardly any.
const MEASURED_EVERY: usize = 16;
/// What the core may hold with the small limits, and with those that the product ships.
const SMALL_BYTES: usize = 1 << 20;
const LARGE_BYTES: usize = 8 << 20;
