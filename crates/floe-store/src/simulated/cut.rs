//! What is there after a cut: by the dice, or by choice.
//!
//! The dice choose for each file how: each effect by itself, whole, in part, torn or rotten; each
//! page as it was at some moment; or a first part of all effects, in order.

use super::holes::PAGE_BYTES;
use super::world::{Effect, Failures, Image, ROOT, World};
use super::{Breaks, Survivors};
use std::collections::BTreeMap;

const SECTOR_BYTES: usize = 512;

impl World {
    pub(super) fn cut(&mut self, seed: u64, survivors: Survivors) {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let changes = std::mem::take(&mut self.changes);
        match survivors {
            Survivors::FirstChanges => {
                let kept = dice.below(changes.len() as u64 + 1);
                for (_, change) in (0..kept).zip(&changes) {
                    self.keep(change);
                }
            }
            Survivors::AnyChanges => {
                for change in &changes {
                    if dice.below(2) == 0 {
                        self.keep(change);
                    }
                }
            }
        }
        for inode in self.inodes.values_mut() {
            let effects = std::mem::take(&mut inode.effects);
            let image = &mut inode.durable;
            match dice.below(3) {
                0 => effects.iter().for_each(|effect| survive(image, effect, &mut dice)),
                1 => survive_by_page(image, &effects, &mut dice),
                _ => {
                    let kept = dice.below(effects.len() as u64 + 1);
                    (0..kept).zip(&effects).for_each(|(_, effect)| image.apply(effect));
                }
            }
        }
        self.come_back();
    }

    /// How many effects `cut_choosing` chooses among.
    pub(super) fn unsynced(&self) -> usize {
        let on_files = self.inodes.values().map(|inode| {
            let begins = |nth: &usize| !goes_with_the_last(&inode.effects, *nth);
            (0..inode.effects.len()).filter(begins).count()
        });
        self.changes.len() + on_files.sum::<usize>()
    }

    pub(super) fn cut_choosing(&mut self, stays: &dyn Fn(usize) -> bool) {
        let mut next = 0;
        let mut choose = || {
            next += 1;
            stays(next - 1)
        };
        for change in std::mem::take(&mut self.changes) {
            if choose() {
                self.keep(&change);
            }
        }
        for inode in self.inodes.values_mut() {
            let effects = std::mem::take(&mut inode.effects);
            let mut stayed = false;
            for (nth, effect) in effects.iter().enumerate() {
                stayed = if goes_with_the_last(&effects, nth) { stayed } else { choose() };
                if stayed {
                    inode.durable.apply(effect);
                }
            }
        }
        self.come_back();
    }

    /// What is durable is what is seen, and nobody has anything open.
    fn come_back(&mut self) {
        for inode in self.inodes.values_mut() {
            inode.seen = inode.durable.clone();
            inode.names = inode.kept.clone();
            (inode.lock, inode.links) = (None, 0);
            // What a sync could not write is known to memory alone.
            inode.failures = Failures::default();
        }
        self.count_links();
        self.boot += 1;
        self.failures = Failures::default();
        self.breaks = Breaks::default();
        self.operations = 0;
    }

    fn count_links(&mut self) {
        let mut links: BTreeMap<u64, u32> = BTreeMap::from([(ROOT, 1)]);
        for (number, _) in self.inodes.values().flat_map(|inode| inode.names.values()) {
            *links.entry(*number).or_default() += 1;
        }
        self.inodes.retain(|number, _| links.contains_key(number));
        for (number, inode) in &mut self.inodes {
            inode.links = links.get(number).copied().unwrap_or(0);
        }
    }
}

/// Whether an effect is a write whose stamp stands before it.
fn goes_with_the_last(effects: &[Effect], nth: usize) -> bool {
    let before = nth.checked_sub(1).and_then(|before| effects.get(before));
    let writes = effects.get(nth).is_some_and(Effect::is_data);
    writes && matches!(before, Some(Effect::Mtime(_)))
}

/// What of one unsynced effect is there after a cut.
fn survive(image: &mut Image, effect: &Effect, dice: &mut Dice) {
    let (at, bytes) = match effect {
        Effect::Write(at, bytes) => (at, bytes),
        Effect::Punch(from, to) => {
            let mut at = *from;
            while at < *to {
                let end = (at + 1).next_multiple_of(PAGE_BYTES).min(*to);
                if dice.below(2) == 0 {
                    image.punch(at, end);
                }
                at = end;
            }
            return;
        }
        _ => {
            if dice.below(2) == 0 {
                image.apply(effect);
            }
            return;
        }
    };
    let mut done = 0;
    while done < bytes.len() {
        let page_end = (at + done + 1).next_multiple_of(PAGE_BYTES) - at;
        let end = page_end.min(bytes.len());
        match dice.below(16) {
            0..=6 => image.write(at + done, &bytes[done..end]),
            7 => image.write(at + done, torn(&bytes[done..end], dice)),
            8 => image.write(at + done, &rotten(&bytes[done..end], dice)),
            _ => {}
        }
        done = end;
    }
}

/// Each page as it was at some moment: written back whole, with all that was in it by then. So is
/// what is no page.
fn survive_by_page(image: &mut Image, effects: &[Effect], dice: &mut Dice) {
    let mut moments: BTreeMap<usize, u64> = BTreeMap::new();
    let end = effects.len() as u64 + 1;
    for (nth, effect) in (1..).zip(effects) {
        let mut is_kept = |page| *moments.entry(page).or_insert_with(|| dice.below(end)) >= nth;
        let (Effect::Write(from, _) | Effect::Punch(from, _)) = effect else {
            if is_kept(usize::MAX) {
                image.apply(effect);
            }
            continue;
        };
        let to = match effect {
            Effect::Write(_, bytes) => from + bytes.len(),
            Effect::Punch(_, to) => *to,
            _ => *from,
        };
        let mut at = *from;
        while at < to {
            let next = (at + 1).next_multiple_of(PAGE_BYTES).min(to);
            match effect {
                _ if !is_kept(at / PAGE_BYTES) => {}
                Effect::Write(_, bytes) => image.write(at, &bytes[at - from..next - from]),
                _ => image.punch(at, next),
            }
            at = next;
        }
    }
}

/// The first sectors of a page that was being written when the power failed.
fn torn<'a>(page: &'a [u8], dice: &mut Dice) -> &'a [u8] {
    let sectors = dice.below(page.len().div_ceil(SECTOR_BYTES) as u64);
    let len = usize::try_from(sectors).unwrap_or(0) * SECTOR_BYTES;
    &page[..len.min(page.len())]
}

/// A page with a byte that is another: nothing vouches for what was not synced.
fn rotten(page: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut page = page.to_vec();
    let at = usize::try_from(dice.below(page.len() as u64)).unwrap_or(0);
    if let Some(byte) = page.get_mut(at) {
        *byte ^= 1 << dice.below(8);
    }
    page
}

struct Dice(u64);

impl Dice {
    /// A number below `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 8) % bound.max(1)
    }
}
