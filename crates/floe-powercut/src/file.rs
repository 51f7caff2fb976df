//! One inode's bytes and attributes: as they are seen, as they are durable, and the effects between
//! the two, in order.
//!
//! A write is many effects: that the file grew, its time of last change, and each block of its
//! bytes. Each survives a cut or not by itself: bytes may outlive their size, a size its bytes.

use crate::dice::Dice;
use std::collections::BTreeMap;
use std::time::SystemTime;

/// Bytes survive in blocks of so many, at multiples of it.
pub const BLOCK_BYTES: usize = 4096;
/// A torn block is cut at a multiple of so many.
const SECTOR_BYTES: usize = 512;

/// Bytes and attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// The bytes; of a link, its text.
    pub bytes: Vec<u8>,
    /// The permission bits.
    pub mode: u32,
    /// The time of last change of the bytes.
    pub mtime: SystemTime,
    /// The extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// One change of an image that a sync has not reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// At least so long, the new part reads as zeros.
    Grow(usize),
    /// Bytes within one block, as far as they are within the size.
    Write(usize, Vec<u8>),
    /// Exactly so long.
    Truncate(usize),
    /// The permission bits.
    Mode(u32),
    /// The time of last change.
    Mtime(SystemTime),
    /// An extended attribute, or its end.
    Xattr(Vec<u8>, Option<Vec<u8>>),
}

/// How likely an unsynced effect survives a cut, in sixteenths, and what stands where one did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Odds {
    /// Of each block of bytes.
    pub bytes: u64,
    /// Of each size.
    pub sizes: u64,
    /// Of each mode, time and extended attribute.
    pub attributes: u64,
    /// That a block that survives is torn.
    pub torn: u64,
    /// What a size without its bytes shows.
    pub unwritten: Unwritten,
}

/// What a part of a file shows that is within the size and was never written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unwritten {
    /// Zeros.
    Zeros,
    /// What the device held there before.
    Stale,
}

/// How many unsynced effects a cut met.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Toll {
    /// Effects that survived, torn ones too.
    pub kept: u64,
    /// Effects that did not.
    pub dropped: u64,
}

impl Toll {
    /// Counts one.
    pub const fn count(&mut self, kept: bool) {
        if kept { self.kept += 1 } else { self.dropped += 1 }
    }

    /// Counts what another counted.
    pub const fn add(&mut self, other: Self) {
        self.kept += other.kept;
        self.dropped += other.dropped;
    }
}

impl Effect {
    /// Whether fdatasync must make it durable: bytes, and what is needed to read them.
    const fn is_content(&self) -> bool {
        matches!(self, Self::Grow(_) | Self::Write(..) | Self::Truncate(_))
    }
}

impl Image {
    /// An image without bytes and extended attributes.
    #[must_use]
    pub const fn new(mode: u32, mtime: SystemTime) -> Self {
        Self { bytes: Vec::new(), mode, mtime, xattrs: BTreeMap::new() }
    }

    /// Makes a change.
    pub fn apply(&mut self, effect: &Effect) {
        match effect {
            Effect::Grow(size) if *size > self.bytes.len() => self.bytes.resize(*size, 0),
            Effect::Grow(_) => {}
            Effect::Write(at, bytes) => {
                let end = (at + bytes.len()).min(self.bytes.len());
                if let Some(into) = self.bytes.get_mut(*at..end) {
                    into.copy_from_slice(&bytes[..end - at]);
                }
            }
            Effect::Truncate(size) => self.bytes.resize(*size, 0),
            Effect::Mode(mode) => self.mode = *mode,
            Effect::Mtime(mtime) => self.mtime = *mtime,
            Effect::Xattr(name, Some(value)) => {
                self.xattrs.insert(name.clone(), value.clone());
            }
            Effect::Xattr(name, None) => {
                self.xattrs.remove(name);
            }
        }
    }
}

/// Both forms of one inode. See the module.
#[derive(Clone, Debug)]
pub struct File {
    seen: Image,
    durable: Image,
    effects: Vec<Effect>,
}

impl File {
    /// One whose whole image is as durable as its name: what an inode is made with.
    #[must_use]
    pub fn new(image: Image) -> Self {
        Self { durable: image.clone(), seen: image, effects: Vec::new() }
    }

    /// As it is seen now.
    #[must_use]
    pub const fn seen(&self) -> &Image {
        &self.seen
    }

    /// Changes it, unsynced.
    pub fn change(&mut self, effect: Effect) {
        self.seen.apply(&effect);
        self.effects.push(effect);
    }

    /// Writes at an offset, which may lie behind the end.
    pub fn write(&mut self, at: usize, bytes: &[u8], now: SystemTime) {
        if bytes.is_empty() {
            return;
        }
        self.change(Effect::Mtime(now));
        let end = at + bytes.len();
        if end > self.seen.bytes.len() {
            self.change(Effect::Grow(end));
        }
        for (start, part) in blocks(at, bytes) {
            self.change(Effect::Write(start, part.to_vec()));
        }
    }

    /// Makes all of it durable (fsync).
    pub fn sync(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            self.durable.apply(&effect);
        }
    }

    /// Makes its bytes and size durable (fdatasync).
    pub fn sync_content(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            if effect.is_content() {
                self.durable.apply(&effect);
            } else {
                self.effects.push(effect);
            }
        }
    }

    /// How many effects a sync would make durable.
    #[must_use]
    pub fn unsynced(&self) -> u64 {
        self.effects.len() as u64
    }

    /// Loses power: what is seen afterwards is what was durable and what the dice let survive.
    pub fn cut(&mut self, odds: &Odds, dice: &mut Dice) -> Toll {
        let mut toll = Toll::default();
        for effect in std::mem::take(&mut self.effects) {
            let kept = self.survive(&effect, odds, dice);
            toll.count(kept);
        }
        self.seen = self.durable.clone();
        toll
    }

    fn survive(&mut self, effect: &Effect, odds: &Odds, dice: &mut Dice) -> bool {
        let chance = match effect {
            Effect::Write(..) => odds.bytes,
            Effect::Grow(_) | Effect::Truncate(_) => odds.sizes,
            Effect::Mode(_) | Effect::Mtime(_) | Effect::Xattr(..) => odds.attributes,
        };
        if !dice.happens(chance) {
            return false;
        }
        let len = self.durable.bytes.len();
        match effect {
            Effect::Write(at, bytes) if dice.happens(odds.torn) => {
                let (at, bytes) = torn(*at, bytes, dice);
                self.durable.apply(&Effect::Write(at, bytes.to_vec()));
            }
            Effect::Grow(_) if odds.unwritten == Unwritten::Stale => {
                self.durable.apply(effect);
                for byte in self.durable.bytes.iter_mut().skip(len) {
                    *byte = dice.bits().to_le_bytes()[0];
                }
            }
            _ => self.durable.apply(effect),
        }
        true
    }
}

/// A write as parts that each lie in one block.
fn blocks(at: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let start = at + done;
        let rest = bytes.get(done..).filter(|rest| !rest.is_empty())?;
        let part = &rest[..rest.len().min(BLOCK_BYTES - start % BLOCK_BYTES)];
        done += part.len();
        Some((start, part))
    })
}

/// The start or the end of a write, cut at a sector.
fn torn<'a>(at: usize, bytes: &'a [u8], dice: &mut Dice) -> (usize, &'a [u8]) {
    let first = at / SECTOR_BYTES;
    let sectors = (at + bytes.len()).div_ceil(SECTOR_BYTES) - first;
    let border = first + dice.count_below(sectors + 1);
    let split = (border * SECTOR_BYTES).saturating_sub(at).min(bytes.len());
    if dice.happens(8) { (at, &bytes[..split]) } else { (at + split, &bytes[split..]) }
}

#[cfg(test)]
mod tests;
