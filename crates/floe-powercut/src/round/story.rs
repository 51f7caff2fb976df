//! What is drawn for a round before anything runs.

use crate::content::{Planned, Shape, plan};
use crate::dice::Dice;
use crate::tree::{Call, Fuse};
use std::fmt;

/// Who loses power, in which direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// The server, while files are put.
    PutServer,
    /// The client that puts them.
    PutClient,
    /// The server, while files are got.
    GetServer,
    /// The client that gets them.
    GetClient,
}

impl Side {
    /// Whether the server is on the mount.
    #[must_use]
    pub const fn is_server(self) -> bool {
        matches!(self, Self::PutServer | Self::GetServer)
    }

    /// Whether the receiver is on the mount.
    #[must_use]
    pub const fn is_receiver(self) -> bool {
        matches!(self, Self::PutServer | Self::GetClient)
    }
}

/// Which calls a cut is armed for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Any, anywhere in the transfer.
    Anywhere,
    /// Any, behind the time of the first checkpoint of a slow transfer.
    AfterCheckpoint,
    /// One of the first of a kind.
    AtA(Call),
}

/// What happens at the other side of a cut server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// The client is killed too, and the command is run again.
    AnotherClient,
    /// The client goes on with the server that comes back.
    SameClient,
}

/// What is drawn. See the module.
#[derive(Clone, Debug)]
pub struct Story {
    /// Who loses power.
    pub side: Side,
    /// What is sent.
    pub new: Vec<Planned>,
    /// What stands there before, under the same names; nothing where it is empty.
    pub old: Vec<Planned>,
    /// More flags of the command.
    pub flags: &'static [&'static str],
    /// How often power is lost.
    pub cuts: u64,
    /// When.
    pub cut: Cut,
    /// What happens at the other side.
    pub then: Then,
}

/// A little more than a checkpoint's interval, for what `SLOW` sends.
const SLOW: &[&str] = &["--limit", "6M"];
const SLOW_BYTES_MIN: usize = 40 << 20;
const FILE_BYTES_MAX: usize = 64 << 20;

impl Story {
    /// A story.
    pub fn drawn(dice: &mut Dice) -> Self {
        let slow = dice.happens(1);
        let side = match slow {
            true => dice.of([Side::PutServer, Side::GetClient]),
            false => dice.of([
                Side::PutServer,
                Side::PutServer,
                Side::GetClient,
                Side::GetClient,
                Side::PutClient,
                Side::GetServer,
            ]),
        };
        let small = dice.of([64 << 10, 1 << 20, 8 << 20, FILE_BYTES_MAX]);
        let shape = if !slow && dice.happens(6) { Shape::Tree } else { Shape::File(small) };
        let mut new = plan(shape, dice);
        if slow {
            new[0].len = SLOW_BYTES_MIN + dice.count_below(16 << 20);
        }
        let old = if !slow && dice.happens(8) { earlier(&new, dice) } else { Vec::new() };
        let kinds = [
            Call::Make,
            Call::Write,
            Call::Attribute,
            Call::Rename,
            Call::Remove,
            Call::SyncFile,
            Call::SyncNames,
        ];
        let cut = match (slow, dice.happens(6)) {
            (true, _) => Cut::AfterCheckpoint,
            (false, true) => Cut::Anywhere,
            (false, false) => Cut::AtA(dice.of(kinds)),
        };
        let then = dice.of([Then::AnotherClient, Then::AnotherClient, Then::SameClient]);
        let flags = if slow { SLOW } else { dice.of([&[][..], &["--chunk", "256Ki"][..]]) };
        Self { side, new, old, flags, cuts: 1 + dice.below(3), cut, then }
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { side, new, old, flags, cuts, cut, then } = self;
        let bytes: usize = new.iter().map(|file| file.len).sum();
        let before = if old.is_empty() { "nothing" } else { "an old version" };
        write!(
            f,
            "{side:?}, {} files of {bytes} bytes over {before}, {flags:?}, {cuts} cuts {cut:?}, \
             then {then:?}",
            new.len()
        )
    }
}

/// Another version of the same names.
fn earlier(new: &[Planned], dice: &mut Dice) -> Vec<Planned> {
    let version = |file: &Planned, dice: &mut Dice| Planned {
        number: dice.bits(),
        len: if dice.happens(8) { file.len } else { dice.count_below(2 << 20) },
        mtime: file.mtime - 1,
        ..file.clone()
    };
    new.iter().map(|file| version(file, dice)).collect()
}

impl Cut {
    /// When the power goes in a transfer of these files.
    pub(super) fn fuse(self, files: &[Planned], dice: &mut Dice) -> Fuse {
        let bytes: u64 = files.iter().map(|file| file.len as u64).sum();
        let about = 30 + bytes / (200 << 10) + 12 * files.len() as u64;
        match self {
            Self::Anywhere => Fuse { call: None, left: dice.below(about) },
            Self::AfterCheckpoint => Fuse { call: None, left: 180 + dice.below(about / 2) },
            Self::AtA(call) => {
                let many = match call {
                    Call::Write => about,
                    _ => 3 * files.len() as u64,
                };
                let left = if dice.happens(8) { dice.below(3) } else { dice.below(many) };
                Fuse { call: Some(call), left }
            }
        }
    }
}
